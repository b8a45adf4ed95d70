"""Everything that somebody who holds a panel can see of it, and when they saw it."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import trio

from span_trio import ConnectionEdge, SpanPanel, SpanPanelSnapshot, SpanPanelStaleDataError
from tests.faults.stamps import stamps

__all__ = ["Seen", "Watch"]

_POLL = 0.02


class Seen(NamedTuple):
    """An edge, and when a subscriber had it."""

    edge: ConnectionEdge
    at: float


class _Taken(NamedTuple):
    since: float  # since when the panel was live
    rounds: list[int]
    holes: int


class Watch:
    """Reads a panel in all the ways there are: updates, snapshots, and asking now and then. ``run`` in a nursery."""

    def __init__(self, panel: SpanPanel) -> None:
        self.panel = panel
        self.while_down = 0
        """Snapshots had while the panel was not live, or between an offline edge and the next online edge."""
        self.older = 0
        """Values older than a repair in snapshots of after it."""
        self.holes = 0
        """Values that were not there, likewise."""
        self.taken = 0
        """Snapshots."""
        self.untrue: list[str] = []
        """What else was seen that cannot be."""
        self._new: list[_Taken] = []  # since the last `judge`
        self._send, self._receive = trio.open_memory_channel[Seen](1000)
        self._online: bool | None = None

    async def run(self) -> None:
        """Until cancelled; or until the panel is closed, which ends it by `SpanPanelClosedError`."""
        async with trio.open_nursery() as nursery:
            for reader in (self._updates, self._snapshots, self._ask):
                nursery.start_soon(partial(reader))

    async def edge(self, *, online: bool, within: float) -> Seen:
        """The next edge."""
        with trio.fail_after(within):
            seen = await self._receive.receive()
        if seen.edge.online is not online:
            self.untrue.append(f"an edge that was not due: {seen.edge}")
        return seen

    def unexpected(self) -> list[ConnectionEdge]:
        """Edges that nobody has waited for."""
        found: list[ConnectionEdge] = []
        while True:
            try:
                found.append(self._receive.receive_nowait().edge)
            except trio.WouldBlock:
                return found

    def judge(self, repaired_at: float, oldest: int) -> int:
        """Look at the snapshots of after the repair, in which no value may be of before the round ``oldest``.

        Returns how many there were.
        """
        new, self._new = [taken for taken in self._new if taken.since >= repaired_at], []
        self.older += sum(number < oldest for taken in new for number in taken.rounds)
        self.holes += sum(taken.holes for taken in new)
        return len(new)

    def forget(self) -> None:
        """What was seen so far is not to be judged."""
        self._new.clear()

    async def _updates(self) -> None:
        async for update in self.panel.updates():
            if isinstance(update, ConnectionEdge):
                if update.online is self._online:
                    self.untrue.append(f"two edges in a row: {update}")
                self._online = update.online
                self._send.send_nowait(Seen(update, trio.current_time()))
            else:
                self.while_down += not self._online
                self._take(update)

    async def _snapshots(self) -> None:
        async for snapshot in self.panel.snapshots():
            self._take(snapshot)

    async def _ask(self) -> None:
        while True:
            await trio.sleep(_POLL)
            obstacle = self.panel.obstacle
            try:
                self._take(self.panel.snapshot)
            except SpanPanelStaleDataError as error:
                if obstacle is None or error.reason != obstacle.reason:
                    self.untrue.append(f"{error}, but the obstacle is {obstacle}")
            with trio.move_on_after(0.001):  # somebody new, who gets what there is now
                self._take(await anext(self.panel.snapshots()))

    def _take(self, snapshot: SpanPanelSnapshot) -> None:
        self.taken += 1
        since = self.panel.live_since
        if since is None:
            self.while_down += 1
            return
        values = list(stamps(snapshot))
        there = [value for value in values if value is not None]
        self._new.append(_Taken(since.monotonic, there, len(values) - len(there)))
