"""The accumulator task: link events in, snapshots out.

Between two awaits it is plain synchronous code around the pure `PanelTracker`, so whoever reads that from another task
sees a whole state.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import trio

from .broadcast import LatestCell
from .errors import SpanPanelAuthError, SpanPanelConnectionError, SpanPanelError
from .homie import Instant
from .link import Link, LinkEvent, LinkLost, Oversize, ReplayEnd
from .snapshot import SpanPanelSnapshot
from .span import HomieSchema
from .tracker import PanelTracker

__all__ = ["PanelAccumulator", "now"]

_log = logging.getLogger("span_trio.panel")


def now() -> Instant:
    """Now, on trio's clock and on the wall."""
    return Instant(trio.current_time(), time.time())


class PanelAccumulator:
    """Feeds one tracker from links, and publishes what is due."""

    def __init__(self, tracker: PanelTracker) -> None:
        self.tracker: Final = tracker
        self.cell: Final = LatestCell[SpanPanelSnapshot]()
        self.first: Final = trio.Event()
        """The first snapshot has been published."""
        self.live_since: Instant | None = None
        self._nap = trio.CancelScope()  # to be cancelled when there is a new reason to look at the clock

    async def run(self, events: trio.MemoryReceiveChannel[list[LinkEvent]], link: Link, epoch: int) -> SpanPanelError:
        """Follow one link until it ends; returns why."""
        tracker = self.tracker
        tracker.link_up(epoch, now())
        failure: SpanPanelError | None = None
        while failure is None:
            request = tracker.tree.next_subscription()
            if request is not None:
                link.subscribe(request)
            snapshot = tracker.publish(now())
            if snapshot is not None:
                self.cell.publish(snapshot)
                self.first.set()
            batch = await self._next(events)
            at = now()
            tracker.tick(at)
            for event in batch:
                failure = failure or self._take(event, at)
            self._note_edges()
        return failure

    async def _next(self, events: trio.MemoryReceiveChannel[list[LinkEvent]]) -> list[LinkEvent]:
        """The next list of events; an empty one when it is time to look at the clock."""
        with trio.CancelScope(deadline=self.tracker.deadline) as self._nap:
            return await events.receive()
        return []

    def _take(self, event: LinkEvent, at: Instant) -> SpanPanelError | None:
        """Take one event; an error ends the link's life."""
        tree = self.tracker.tree
        match event:
            case ReplayEnd(refused=True):
                return SpanPanelAuthError(f"the broker refuses a subscription to the tree of {tree.root}")
            case ReplayEnd(passed=passed):
                tree.barrier(at, passed=passed)
            case Oversize(topic=topic):
                _log.warning("passed over a message that is too large, on %s", topic)
                tree.overflow(topic, at)
            case LinkLost(why=why):
                tree.link_down(why, at)
                return SpanPanelConnectionError(f"the link was lost: {why}")
            case messages:
                self.tracker.receive(messages, at)
        return None

    def _note_edges(self) -> None:
        for edge in self.tracker.take_edges():
            if edge.obstacle is None:
                self.live_since = edge.at
                _log.info("%s is live", self.tracker.tree.root)
            else:
                self.live_since = None
                self.cell.clear()  # what was not delivered yet is not current any more (I2)
                _log.info("%s is not live: %s", self.tracker.tree.root, edge.obstacle)

    def set_interval(self, seconds: float) -> None:
        """See `SpanPanel.snapshot_interval`."""
        self.tracker.throttle.interval = seconds
        self._nap.cancel()

    def adopt(self, schema: HomieSchema) -> None:
        """The panel's REST schema has become known."""
        self.tracker.adopt(schema, now())
        self._nap.cancel()
