"""The accumulator task: link events in, edges and snapshots out.

Between two awaits it is plain synchronous code around the pure `PanelTracker`, so whoever reads that from another task
sees a whole state: what is live, what is published and what `PanelTracker.snapshot` says never part.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

import attrs
import trio

from .broadcast import Broadcast
from .clock import drift, now
from .commands import Commands
from .enums import ConnectionReason
from .errors import SpanPanelDataModelError, SpanPanelError
from .homie import ConnectionEdge, Instant, Obstacle
from .link import Answered, ConnectFailed, Link, LinkEvent, LinkLost, LinkUp, Oversize, ReplayEnd
from .lookout import LOOK_EVERY, Lookout
from .snapshot import SpanPanelSnapshot
from .span import HomieSchema, Version
from .tracker import PanelTracker
from .wiretext import get_logger

__all__ = ["PanelAccumulator"]

_log = get_logger("span_trio.panel")


_TURN: Final = 0.02  # s
_PORTION: Final = 256


def _portions(events: list[LinkEvent]) -> Iterator[LinkEvent]:
    """The same, with messages in portions that end behind a description: those are what may take long."""
    for event in events:
        if not isinstance(event, list):
            yield event
            continue
        start = 0
        for end, message in enumerate(event, 1):
            if end == len(event) or end - start == _PORTION or message.topic.endswith("/$description"):
                yield event[start:end]
                start = end


def _mark(edge: ConnectionEdge, missed: int) -> ConnectionEdge:
    return attrs.evolve(edge, missed=missed)


class PanelAccumulator:
    """Feeds one tracker from one link after another, and publishes what is due.

    Args:
        tracker: new.
        commands: of the same panel: told of the link, and of what comes over it.
        edges_held: see `PanelOptions.edges_held`.
    """

    def __init__(self, tracker: PanelTracker, commands: Commands, *, edges_held: int) -> None:
        self.tracker: Final = tracker
        self.commands: Final = commands
        self.broadcast: Final = Broadcast[SpanPanelSnapshot, ConnectionEdge](
            held=edges_held, mark=_mark, look=self.look
        )
        self.first: Final = trio.Event()
        """The first snapshot has been published."""
        self.live_since: Instant | None = None
        self._told: Version | None = None
        self._misplaced: tuple[int, ...] = ()
        self._lookout = Lookout()
        self._doubted_at: float | None = None  # the answer to any ping that is sent from then on ends the doubt
        commands.look = self.look
        self._nap = trio.CancelScope()  # to be cancelled when there is a new reason to look at the clock

    @property
    def link(self) -> Link | None:
        """The session of now."""
        return self.commands.link

    async def run(self, events: trio.MemoryReceiveChannel[list[LinkEvent]]) -> SpanPanelError:
        """Follow the connection, until what it brings cannot be understood; returns why."""
        tracker = self.tracker
        waiting = deque[LinkEvent]()
        while True:
            request = tracker.tree.next_subscription()
            if request is not None and self.link is not None:
                self.link.subscribe(request)
            snapshot = tracker.publish(now())
            if snapshot is not None:
                self.broadcast.publish(snapshot)
                self._note_version()
                self._note_positions()
                self.first.set()
            if waiting:
                await trio.lowlevel.checkpoint()  # whoever sends us much work shall not keep others from theirs
            else:
                waiting.extend(_portions(await self._next(events)))
            self.look(has_turn=True)
            at = now()
            while waiting:
                self._take(waiting.popleft(), at)
                if now().monotonic > at.monotonic + _TURN:
                    break
            if not waiting:
                tracker.tick(at)  # behind them: time in which we did not look is nobody's silence
            self._note_edges()
            obstacle = tracker.tree.obstacle
            if obstacle is not None and obstacle.reason is ConnectionReason.DATA_MODEL:
                what = f"{tracker.tree.root} publishes a data model that is not known: {obstacle.detail}"
                return SpanPanelDataModelError(what, tracker.published_version.text or "")

    async def _next(self, events: trio.MemoryReceiveChannel[list[LinkEvent]]) -> list[LinkEvent]:
        """The next list of events; an empty one when it is time to look at the clock."""
        longest = math.inf if self.link is None else trio.current_time() + LOOK_EVERY
        with trio.CancelScope(deadline=min(self.tracker.deadline, longest)) as self._nap:
            return await events.receive()
        return []

    def look(self, *, has_turn: bool = False) -> None:
        """Doubt what is known, if this task had no turn for long. To be called before anything is said."""
        at = now()
        why = self._lookout.look(at.monotonic, drift(), has_turn=has_turn)
        if why is not None and self.link is not None:
            self._doubted_at = at.monotonic
            self.tracker.tree.doubt(Obstacle(ConnectionReason.PROGRAM_PAUSED, why), at)
            self._note_edges()
            self.link.ask()

    def _take(self, event: LinkEvent, at: Instant) -> None:
        tree = self.tracker.tree
        match event:
            case LinkUp(link=link, epoch=epoch):
                self.commands.link, self._doubted_at = link, None
                self.tracker.link_up(epoch, at)
            case LinkLost(why=why) | ConnectFailed(why=why):
                self.commands.link_lost()
                tree.link_down(why, at)
            case ReplayEnd(passed=passed):
                tree.barrier(at, passed=passed)
            case Answered(sent_at=sent_at, waiter=waiter):
                if self._doubted_at is not None and sent_at >= self._doubted_at:
                    self._doubted_at = None
                    tree.doubt(None, at)
                if waiter is not None:
                    waiter.set()
            case Oversize(topic=topic):
                _log.warning("passed over a message that is too large, on %s", topic)
                tree.overflow(topic, at)
            case messages:
                self.tracker.receive(messages, at)
                self.commands.saw(messages)

    def _note_edges(self) -> None:
        for edge in self.tracker.take_edges():
            self.live_since = edge.at if edge.online else None
            if edge.online and self.link is not None:
                self.link.succeeded = True
            self.broadcast.edge(edge)
            _log.info("%s is %s", self.tracker.tree.root, edge)

    def _note_version(self) -> None:
        version = self.tracker.version
        if version.odd and version != self._told:
            self._told = version
            _log.warning(
                "%s publishes its data model's version in an odd form: %r", self.tracker.tree.root, version.text
            )

    def _note_positions(self) -> None:
        misplaced = self.tracker.misplaced
        if misplaced and misplaced != self._misplaced:
            self._misplaced = misplaced
            where = ", ".join(map(str, misplaced))
            _log.warning("%s has circuits at positions that its model does not have: %s", self.tracker.tree.root, where)

    def set_interval(self, seconds: float) -> None:
        """See `SpanPanel.snapshot_interval`."""
        self.tracker.throttle.interval = seconds
        self._nap.cancel()

    def adopt(self, schema: HomieSchema) -> None:
        """The panel's REST schema has become known."""
        self.tracker.adopt(schema, now())
        self._nap.cancel()
