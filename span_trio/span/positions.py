"""Breaker positions: which a panel has, which are free, and which are occupied though it has none there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..model.circuit import SpanCircuitSnapshot

__all__ = ["PANEL_SIZES", "POSITIONS", "Positions"]

POSITIONS: Final[Mapping[str, range]] = {
    "MAIN_16": range(9, 25),
    "MLO_24": range(1, 25),
    "MAIN_32": range(1, 33),
    "MAIN_40": range(9, 49),
    "MLO_48": range(1, 49),
}
"""By ``model`` (published from r202609 on). Where there is a main breaker, positions may begin below it."""
PANEL_SIZES: Final[Mapping[str, int]] = {model: len(positions) for model, positions in POSITIONS.items()}
"""How many there are, by ``model``."""


class Positions(NamedTuple):
    """What a snapshot says of a panel's positions, in the order of its fields; and what is odd."""

    size: int | None = None
    first: int | None = None
    last: int | None = None
    unmapped: tuple[int, ...] = ()
    misplaced: tuple[int, ...] = ()
    """Occupied, and none of the panel's: they do not change which it has."""

    @classmethod
    def of(cls, existing: range | None, circuits: Iterable[SpanCircuitSnapshot]) -> Positions:
        """Of a panel that has these positions (``None``: nobody knows which), with these circuits."""
        if not existing:
            return cls()
        occupied = {tab for circuit in circuits for tab in circuit.tabs}
        free = tuple(tab for tab in existing if tab not in occupied)
        misplaced = tuple(sorted(tab for tab in occupied if tab not in existing))
        return cls(len(existing), existing[0], existing[-1], free, misplaced)
