"""The rows of the table, by name; the modules beside this one add them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs

from tests.faults.lab import Lab

__all__ = ["ROWS", "Row", "row"]

Play: TypeAlias = Callable[[Lab], Awaitable[None]]


@attrs.frozen
class Row:
    """A fault.

    Attributes:
        name: in the table.
        play: does it.
        offline: the bound for the median time from the fault to the offline edge, s; ``None``: there is none.
        online: likewise from the repair to the online edge.
        quick: whether it belongs to ``--quick``.
        alone: whether it is about milliseconds: one such row runs at a time.
        namespace: whether it needs a network namespace of its own.
    """

    name: str
    play: Play
    offline: float | None = None
    online: float | None = None
    quick: bool = False
    alone: bool = False
    namespace: bool = False


ROWS: Final[dict[str, Row]] = {}


def row(
    name: str,
    *,
    offline: float | None = None,
    online: float | None = None,
    quick: bool = False,
    alone: bool = False,
    namespace: bool = False,
) -> Callable[[Play], Play]:
    """Make a function a row."""

    def add(play: Play) -> Play:
        ROWS[name] = Row(name, play, offline, online, quick, alone, namespace)
        return play

    return add
