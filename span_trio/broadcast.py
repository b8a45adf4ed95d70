"""One writer, any number of readers, and nobody waits for anybody.

A `LatestCell` holds the newest value or none. ``publish`` and ``clear`` are synchronous and run no code of a reader. A
reader owns a cursor and nothing else: it is not registered anywhere, so one that is slow, dead or forgotten costs
nothing (I7), and ``break`` in its loop leaves nothing to clean up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

__all__ = ["LatestCell", "LatestReader"]

T = TypeVar("T")


class LatestCell(Generic[T]):
    """The newest of what was published."""

    def __init__(self) -> None:
        self.value: T | None = None
        """The current value, if there is one."""
        self.version: int = 0
        """How many values were published."""
        self.error: Callable[[], Exception] | None = None
        """What readers raise once the cell is closed."""
        self.news: trio.Event = trio.Event()
        """Set, and replaced, at each change that a waiting reader must see."""

    def publish(self, value: T) -> None:
        """Make ``value`` the newest, for all readers."""
        self.value = value
        self.version += 1
        self._wake()

    def clear(self) -> None:
        """There is no current value: what no reader has taken yet, none will (I2)."""
        self.value = None

    def close(self, error: Callable[[], Exception]) -> None:
        """Every reader, now and later, raises an ``error`` of its own."""
        self.value = None
        self.error = error
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def reader(self) -> LatestReader[T]:
        """A new reader, which gets the current value first."""
        return LatestReader(self)


class LatestReader(Generic[T]):
    """An async iterator over the newest of what is published: latest wins.

    It yields the current value at once, then the newest whenever it is asked, waiting through times without one. It
    never ends by itself: when the cell is closed it raises.
    """

    def __init__(self, cell: LatestCell[T]) -> None:
        self.skipped: int = 0
        """How many values were published and replaced before this reader asked."""
        self._cell = cell
        self._seen: int | None = None

    def __aiter__(self) -> LatestReader[T]:
        """Itself."""
        return self

    async def __anext__(self) -> T:
        """The newest value that this reader has not had. A checkpoint; cancelling it loses nothing."""
        cell = self._cell
        await trio.lowlevel.checkpoint_if_cancelled()
        if cell.value is not None and cell.version != self._seen:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while cell.value is None or cell.version == self._seen:
            if cell.error is not None:
                raise cell.error()
            await cell.news.wait()
        if self._seen is not None:
            self.skipped += cell.version - self._seen - 1
        self._seen = cell.version
        return cell.value
