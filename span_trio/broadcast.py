"""One writer, any number of readers, and nobody waits for anybody.

A `Broadcast` carries two kinds of things, in one order: *values*, of which only the newest matters (one cell), and
*edges*, of which none may be lost while that can be helped (one ring). An edge makes the value before it obsolete: what
no reader has taken yet, none will (I2).

The rules of this room:

* ``publish``, ``edge`` and ``close`` are synchronous: they wait for nobody and run no code of a reader.
* A reader owns a cursor and nothing else. It is registered nowhere: one that is slow, dead or forgotten costs nothing
  (I7), and ``break`` in its loop leaves nothing to clean up.
* A cursor moves when something is taken, and not before: cancelling a reader loses nothing, and nothing comes twice.
* A reader hears what comes after it was made, whenever it begins to ask; and first what was current then.
* All that is known of edges is that they alternate: a reader that is too slow for the ring misses them in pairs, and
  the next one that it gets says how many.

trio alone is needed here, and nothing of the rest of this package. Like all of trio, it belongs to one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, cast

import trio
from trio.lowlevel import ParkingLot

__all__ = ["Broadcast", "EdgeReader", "UpdateReader", "ValueReader"]

V = TypeVar("V")
E = TypeVar("E")


class Broadcast(Generic[V, E]):
    """The newest value and the newest edges.

    Args:
        held: how many edges are kept for slow readers; 2 or more.
        mark: makes, of an edge, the same edge that says how many its reader missed before it. Called by readers.
        look: called before a reader is told what there is: a chance for the writer, should it be late.

    Raises:
        ValueError: a ring of fewer than two cannot hold an edge of each kind.
    """

    def __init__(self, *, held: int, mark: Callable[[E, int], E], look: Callable[[], None] = lambda: None) -> None:
        if held < 2:
            raise ValueError(f"held must be 2 or more, not {held}")
        self.value: V | None = None
        """The current value, if there is one."""
        self.version: int = 0
        """How many values were published."""
        self.edges: int = 0
        """How many edges there were."""
        self.error: Callable[[], Exception] | None = None
        """What readers raise once the broadcast is closed."""
        self._ring: Final = deque[E](maxlen=held)
        self._mark: Final = mark
        self.look: Callable[[], None] = look
        """See above; until it is closed."""
        # Not an event for each wake-up: a lot costs nothing while nobody is in it.
        self._news: Final = ParkingLot()
        self._turns: Final = ParkingLot()

    # --- the writer ---

    def publish(self, value: V) -> None:
        """Make ``value`` the newest. Nothing happens once it is closed."""
        if self.error is None:
            self.value = value
            self.version += 1
            _wake(self._news)

    def edge(self, edge: E) -> None:
        """Add an edge, which ends the current value. Nothing happens once it is closed."""
        if self.error is None:
            self.value = None
            self._ring.append(edge)
            self.edges += 1
            _wake(self._turns)
            _wake(self._news)

    def close(self, error: Callable[[], Exception]) -> None:
        """Every reader, now and later, raises an ``error`` of its own; edges that it has not had come first.

        What is closed stays so: a second time nothing happens.
        """
        if self.error is None:
            self.value = None
            self.error = error
            self.look = lambda: None  # and so a reader that is held keeps nothing of the writer
            _wake(self._turns)
            _wake(self._news)

    # --- the readers ---

    def values(self) -> ValueReader[V, E]:
        """A new reader of values, which gets the current one first."""
        return ValueReader(self)

    def turns(self) -> EdgeReader[V, E]:
        """A new reader of edges, which gets the newest one first."""
        return EdgeReader(self)

    def updates(self) -> UpdateReader[V, E]:
        """A new reader of both."""
        return UpdateReader(self)

    async def wait_news(self) -> None:
        """Wait until something is published, or it is closed; raise if it is closed already. A checkpoint."""
        await self._wait(self._news)

    async def wait_turn(self) -> None:
        """Wait until there is an edge, or it is closed; raise if it is closed already. A checkpoint."""
        await self._wait(self._turns)

    async def _wait(self, lot: ParkingLot) -> None:
        if self.error is not None:
            await trio.lowlevel.checkpoint()  # who catches the error and tries again must not stop the program
        self.check_open()
        await lot.park()

    def check_open(self) -> None:
        """Raise if it is closed."""
        if self.error is not None:
            raise self.error()

    def edge_after(self, seen: int) -> tuple[E, int, int]:
        """What comes next for a reader that has had ``seen`` edges: an edge, its number, and how many were missed.

        There must be one. The number of those missed is even: the reader awaits an edge of a certain kind.
        """
        oldest = self.edges - len(self._ring) + 1
        missed = max(oldest - seen - 1, 0)
        missed += missed % 2
        number = seen + missed + 1
        edge = self._ring[number - oldest]
        return self._mark(edge, missed) if missed else edge, number, missed


def _wake(lot: ParkingLot) -> None:
    if lot:
        lot.unpark_all()


class _Reader(Generic[V, E]):
    """What all readers are: a cursor, and a way to wait until there is something behind it."""

    def __init__(self, broadcast: Broadcast[V, E]) -> None:
        self._broadcast: Final = broadcast
        self._asked = False

    async def _wait(self, ready: Callable[[], bool], pause: Callable[[], Awaitable[None]]) -> None:
        """Wait until it is ``ready``, which it is at the end for sure: what follows is to be taken without an await."""
        if self._asked:  # each would get what the other misses, and neither would know
            raise trio.BusyResourceError("another task waits for this reader: a reader is for one task")
        self._asked = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._is(ready):
                await trio.lowlevel.cancel_shielded_checkpoint()
            while not self._is(ready):  # an edge may have come at the checkpoint, and taken the value
                await pause()
        finally:
            self._asked = False

    def _is(self, ready: Callable[[], bool]) -> bool:
        self._broadcast.look()
        return ready()


class _ValueCursor(_Reader[V, E]):
    """The part of a reader that takes values."""

    def __init__(self, broadcast: Broadcast[V, E]) -> None:
        super().__init__(broadcast)
        self.skipped: int = 0
        """How many values this reader was too slow for: another value, or an edge, came before it asked."""
        self._version = broadcast.version - (broadcast.value is not None)

    def _has_value(self) -> bool:
        return self._broadcast.value is not None and self._broadcast.version != self._version

    def _take_value(self) -> V:
        version = self._broadcast.version
        self.skipped += version - self._version - 1
        self._version = version
        return cast("V", self._broadcast.value)


class _EdgeCursor(_Reader[V, E]):
    """The part of a reader that takes edges."""

    def __init__(self, broadcast: Broadcast[V, E]) -> None:
        super().__init__(broadcast)
        self.missed: int = 0
        """How many edges were dropped because this reader was too slow."""
        self._edge = broadcast.edges - (broadcast.edges > 0 and broadcast.error is None)

    def _has_edge(self) -> bool:
        return self._broadcast.edges != self._edge

    def _take_edge(self) -> E:
        edge, self._edge, missed = self._broadcast.edge_after(self._edge)
        self.missed += missed
        return edge


class ValueReader(_ValueCursor[V, E]):
    """An async iterator over the newest value: latest wins.

    It yields the current value at once, then the newest whenever it is asked, waiting through times without one. It
    never ends by itself: when the broadcast is closed it raises. ``skipped`` counts what it did not see. It is for one
    task: another that asks meanwhile gets a ``trio.BusyResourceError``.
    """

    def __aiter__(self) -> ValueReader[V, E]:
        """Itself."""
        return self

    async def __anext__(self) -> V:
        """The newest value that this reader has not had. A checkpoint; cancelling it loses nothing."""
        await self._wait(self._has_value, self._broadcast.wait_news)
        return self._take_value()


class EdgeReader(_EdgeCursor[V, E]):
    """An async iterator over the edges, beginning with the newest; they alternate for every reader.

    It never ends by itself: when the broadcast is closed it yields what it has not had, and raises. ``missed`` counts
    what it was too slow for. It is for one task: another that asks meanwhile gets a ``trio.BusyResourceError``.
    """

    def __aiter__(self) -> EdgeReader[V, E]:
        """Itself."""
        return self

    async def __anext__(self) -> E:
        """The next edge. A checkpoint; cancelling it loses nothing."""
        await self._wait(self._has_edge, self._broadcast.wait_turn)
        return self._take_edge()


class UpdateReader(_ValueCursor[V, E], _EdgeCursor[V, E]):
    """An async iterator over both: edges that this reader has not had first, then the newest value.

    So between an edge and the next there are only values of that time. ``skipped`` counts values, ``missed`` edges. For
    the rest it is as `ValueReader` and `EdgeReader`.
    """

    def __aiter__(self) -> UpdateReader[V, E]:
        """Itself."""
        return self

    async def __anext__(self) -> V | E:
        """The next edge, or else the newest value. A checkpoint; cancelling it loses nothing."""
        await self._wait(self._has_update, self._broadcast.wait_news)
        return self._take_edge() if self._has_edge() else self._take_value()

    def _has_update(self) -> bool:
        return self._has_edge() or self._has_value()
