"""The power control system of a house: it keeps the service entrance below a limit. Pure; time is an argument.

The rules of this room:

* Of the limits that are in use the lowest one binds; the one for off grid is in use off grid only.
* When the current is above it, managed circuits are opened, the highest rank number first, one a second. They come back
  in the opposite order, after a minute, when there is room for what they drew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from .devices import PcsSpec
from .switchboard import Circuit, Switchboard

__all__ = ["LIMITS", "Pcs"]

LIMITS: Final[tuple[str, ...]] = ("feed", "grid", "off-grid", "requested")
"""The names of the limits, as the wire has them."""
_WAIT_S: Final = 60
_ROOM: Final = 0.95


@attrs.define
class Pcs:
    """The power control system of a house."""

    spec: PcsSpec
    board: Switchboard
    off_grid: bool = False
    held: dict[str, tuple[Circuit, float, int]] = attrs.field(factory=dict[str, tuple[Circuit, float, int]])
    """By circuit id: the circuit, what it drew (A at the service entrance), and since when (Unix s)."""

    def limit_a(self, name: str) -> float | None:
        """A limit by its name; ``None`` if it is not configured."""
        spec = self.spec
        limits = (spec.feed_limit_a, spec.grid_limit_a, spec.off_grid_limit_a, spec.requested_limit_a)
        return limits[LIMITS.index(name)]

    @property
    def binding(self) -> str | None:
        """The limit that is enforced; ``None`` if there is none."""
        in_use = {
            name: limit
            for name in LIMITS
            if (limit := self.limit_a(name)) is not None and (name != "off-grid" or self.off_grid)
        }
        return min(in_use, key=lambda name: in_use[name]) if in_use else None

    @property
    def import_limit_a(self) -> float | None:
        """What the service entrance may carry now, A."""
        return None if self.binding is None else self.limit_a(self.binding)

    @property
    def active(self) -> bool:
        """Whether a circuit is held open for it."""
        return any(self.board.holds(circuit) for circuit, _, _ in self.held.values())

    def step(self, now: int, entrance_a: float, drawn_a: Callable[[Circuit], float]) -> None:
        """A second has passed.

        Args:
            now: Unix s.
            entrance_a: what comes in at the service entrance, A.
            drawn_a: what a circuit draws of that, A.
        """
        limit = self.import_limit_a
        self._forget()
        if limit is not None and entrance_a > limit:
            for circuit in self.board.managed(lambda circuit: circuit.closed and drawn_a(circuit) > 0):
                self.board.hold(circuit)
                self.held[circuit.id] = (circuit, drawn_a(circuit), now)
                return
        if self.held:
            circuit, drew_a, since = list(self.held.values())[-1]
            fits = limit is None or entrance_a + drew_a < _ROOM * limit
            if fits and now - since >= _WAIT_S:
                self.board.let_go(circuit)
                del self.held[circuit.id]

    def _forget(self) -> None:
        """What somebody else has moved meanwhile is no longer ours."""
        for key in [key for key, (circuit, _, _) in self.held.items() if not self.board.holds(circuit)]:
            del self.held[key]
