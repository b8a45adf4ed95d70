"""The pure core and the model side by side, and a broker whose wire goes to both.

`World` does what the accumulator task does with a link, without trio: it feeds a `PanelTracker` lists of events, and
publishes on a `Broadcast`. Beside it, it feeds the `Model`, message by message. After every list it compares the two.

What may be compared at every turn is compared at every turn; what costs more (a build from scratch, a replay in another
order) whenever there is a new snapshot. Each check bears the number of the invariant that it is for, and can be run by
itself (`World.checks`), which is how `mutations` shows that it bites.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import attrs

from span_trio import PanelOptions, SpanPanelStaleDataError
from span_trio.broadcast import Broadcast, UpdateReader, ValueReader
from span_trio.enums import ConnectionReason
from span_trio.homie import ConnectionEdge, Dirty, Instant, Limits, Message, Obstacle
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FlatBuilder
from span_trio.tracker import PanelTracker

from . import house
from .house import PLACES, ROOT
from .model import Model

T = TypeVar("T")

INVARIANTS: Final = frozenset({"I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9", "I13", "live", "time"})
"""What is checked; beside the invariants, that *live* is what the model says, and that the clock is not spun."""

REACHED: Final[Counter[str]] = Counter()
"""How often what was reached, over all runs of this process."""


class Violation(AssertionError):
    """A check failed; says of which invariant."""


class Barrier(NamedTuple):
    """The end of a replay, on the wire."""

    passed: bool


class Large(NamedTuple):
    """A message too large to be taken."""

    topic: str


_EVERY: Final = house.topic("+/$description")
Item = Message | Barrier | Large
TOO_LARGE: Final = b"too large"

OPTIONS: Final = [
    PanelOptions(settle=settle, max_silence=silence, snapshot_interval=interval, limits=limits)
    for limits in (Limits(), Limits(), Limits(topics=22), Limits(payload_bytes=1900), Limits(devices=2))
    for settle in (2.0, 0.0)
    for silence in (math.inf, math.inf, 5.0)
    for interval in (1.0, 1.0, 0.0)
]


def _mark(edge: ConnectionEdge, missed: int) -> ConnectionEdge:
    return attrs.evolve(edge, missed=missed)


class World:
    """The core and the model, side by side, and a broker with what it has retained."""

    checks: ClassVar[frozenset[str]] = INVARIANTS

    def __init__(self, options: PanelOptions, seed: int) -> None:
        self.options = options
        self.dice = random.Random(seed)  # noqa: S311
        self.now = 100.0
        self.tracker = PanelTracker(ROOT, options)
        self.broadcast = Broadcast[SpanPanelSnapshot, ConnectionEdge](held=4, mark=_mark)
        self.model = Model(
            options.limits,
            settle=options.settle,
            first=options.ready_timeout / 2,
            later=options.child_patience,
            silence=options.max_silence,
        )
        self.retained: dict[str, bytes] = {}
        self.wire: list[Item] = []
        self.lost_barriers = 0
        """So many barriers will not come."""
        self.up = False
        self.online: list[bool] = []
        self.edges = 0
        self.due = False  # a snapshot was waiting when we looked last
        self.fresh = False  # an online edge, and no snapshot since
        self.readers: list[ValueReader[Any, Any] | UpdateReader[Any, Any]] = []
        self.told: dict[int, bool | None] = {}
        self.published: dict[str, list[float | None]] = {text: [] for text in house.COUNTERS}
        """All that the panel ever published of its counters."""
        self.read_up_to = dict.fromkeys(house.COUNTERS, 0)
        self.seen: SpanPanelSnapshot | None = None
        self.reached: set[str] = set()

    def check(self, invariant: str, holds: object, why: str = "") -> None:
        if not holds and invariant in self.checks:
            raise Violation(f"{invariant}: {why}")

    def calmly(self, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Nothing that comes from outside makes the core raise (I9)."""
        try:
            return call(*args, **options)
        except Exception as error:
            raise Violation(f"I9: {type(error).__name__}: {error}") from error

    @property
    def at(self) -> Instant:
        return Instant(self.now, 1_800_000_000.0 + self.now)

    # --- the link, as `PanelAccumulator.run` has it ---

    def connect(self) -> None:
        self.wire = []
        self.up = True
        epoch = self.tracker.tree.epoch + 1
        self.tracker.link_up(epoch, self.at)
        self.model.link_up(epoch)
        self.after()

    def disconnect(self, reason: ConnectionReason) -> None:
        self.wire = []
        self.up = False
        self.tracker.tree.link_down(Obstacle(reason, "so it is"), self.at)
        self.model.link_down(reason)
        self.after()

    def feed(self, items: Iterable[Item], copies: int = 1) -> None:
        """One list of events; every message in it ``copies`` times, which must make no difference (I1)."""
        batch: list[Message] = []
        for item in items:
            if isinstance(item, Message):
                batch += [item] * copies
                self._tell(item, copies)
                continue
            self._receive(batch)
            batch = []
            if isinstance(item, Barrier):
                self.calmly(self.tracker.tree.barrier, self.at, passed=item.passed)
                self.model.barrier(self.now, passed=item.passed)
            else:
                self._take_large(item.topic)
        self._receive(batch)
        self.after()

    def _receive(self, batch: list[Message]) -> None:
        if batch:
            self.calmly(self.tracker.receive, batch, self.at)

    def _take_large(self, topic: str) -> None:
        self.calmly(self.tracker.tree.overflow, topic, self.at)
        self.model.oversize(topic, self.now)

    def _tell(self, message: Message, copies: int) -> None:
        text, payload, retain = message
        self.model.message(text, payload, self.now, retain=retain)
        edges = len(self.model.edges)
        for _ in range(copies - 1):
            self.model.message(text, payload, self.now, retain=retain)
        if len(self.model.edges) != edges:
            raise RuntimeError("the model makes an edge of a duplicate")

    def tick(self) -> None:
        self.calmly(self.tracker.tick, self.at)
        overflowed = {device.id for device in self.tracker.tree.forest.devices.values() if device.overflowed}
        for device, since in self.model.overflowed.items():
            if device not in overflowed:
                self.check("I8", self.now >= since + 2.0, f"{device} was asked for again at once")
                self.reached.add("asked for again")
            elif self.up:
                late = self.now - self.model.missed.get(device, self.now) > 62.0
                self.check("I8", not late, f"{device} is never asked for again")
        self.model.tick(self.now, overflowed)

    def after(self) -> None:
        """Edges, the next subscription, what is due: as in the task. Then the checks."""
        self.tick()
        self._note_edges()
        self.model.look_for_wants()
        request = self.tracker.tree.next_subscription()
        if request is not None and self.up:
            self.check("I8", self.model.request is None, "two requests at a time")
            self.model.ask(request.filters)
            self.wire += self._replay(request.filters)
            self.wire.append(Barrier(passed=self.lost_barriers == 0))
            self.lost_barriers = max(0, self.lost_barriers - 1)
        elif request is not None:
            self.model.ask(request.filters)
        self._publish()
        self._compare()
        if self.dice.random() < 0.3:
            self.read(self.dice.randrange(3))

    def _replay(self, filters: Iterable[str]) -> list[Item]:
        """What a broker says to a subscription: in any order, some of it twice, foreign trees in between."""
        heads = [each.partition("#")[0] for each in filters if each != _EVERY]
        items: list[Item] = []
        for text, payload in self.retained.items():
            mine = any(text.startswith(head.rstrip("+")) for head in heads)
            mine = mine or (_EVERY in filters and PLACES[text].kind == "description")
            if mine or PLACES[text].device == house.STRANGER:
                items.append(Large(text) if payload is TOO_LARGE else Message(text, payload, retain=True))
        self.dice.shuffle(items)
        return items + self.dice.sample(items, min(2, len(items)))

    # --- out ---

    def _note_edges(self) -> None:
        edges, foretold = self.tracker.take_edges(), self.model.edges
        self.model.edges = []
        for edge in edges:
            self.check("I1", edge.online is (self.edges % 2 == 0), f"edge {self.edges} is {edge}")
            self.edges += 1
            self.broadcast.edge(edge)
            self.fresh = edge.online
            self._count(edge)
        told = [(edge.online, edge.reason, edge.state, edge.epoch) for edge in edges]
        self.check("I1", len(edges) == len(foretold), f"edges {told}, not {foretold}")
        self.check("live", told == foretold, f"edges {told}, not {foretold}")

    def _count(self, edge: ConnectionEdge) -> None:
        if edge.online:
            self.reached |= {"live", "live in a second epoch" if edge.epoch > 1 else "live at first"}
            self.reached.add("live again in one epoch" if edge.epoch in self.online else "live")
            self.online.append(edge.epoch)
        else:
            self.reached.add(f"offline: {edge.reason}")
            if self.due:
                self.reached.add("dropped a pending snapshot")
            self.due = False

    def _publish(self) -> None:
        live = self.tracker.tree.live
        snapshot = self.calmly(self.tracker.publish, self.at)
        if snapshot is not None:
            self.check("I2", self.model.live, "published while not live")
            self.check("I2", snapshot.epoch == self.model.epoch, "published what is of another epoch")
            self.check("I2", self.broadcast.edges % 2 == 1, "published behind an offline edge")
            self.check("I2", snapshot is not self.broadcast.value, "published twice")
            self.broadcast.publish(snapshot)
            self.reached.add("published")
        if self.fresh:
            self.check("I2", snapshot is not None or not live, "no snapshot at once behind an online edge")
            self.fresh = False
        self.due = live and self.tracker.throttle.due is not None
        self.check("time", self.tracker.deadline > self.now, "it wants to be called again at once")

    def read(self, index: int) -> None:
        """A subscriber takes what there is for it."""
        while len(self.readers) <= index:
            self.readers.append(self.broadcast.values() if index % 2 else self.broadcast.updates())
        reader = self.readers[index]
        if isinstance(reader, ValueReader):
            taken: Any = reader._take_value() if reader._has_value() else None
        elif reader._has_update():
            taken = reader._take_edge() if reader._has_edge() else reader._take_value()
        else:
            taken = None
        if isinstance(taken, SpanPanelSnapshot):
            self.check("I2", self.model.live, "a snapshot was read while the panel was not live")
            self.check("I2", taken.epoch == self.model.epoch, "a snapshot of another epoch was read")
            self.check("I2", self.told.get(index, True), "a snapshot was read behind an offline edge")
            self.reached.add("read")
        elif taken is not None:
            before = self.told.get(index)
            self.check("I1", before is None or before is not taken.online, "a reader's edges do not alternate")
            self.told[index] = taken.online

    # --- what must hold ---

    def _compare(self) -> None:
        tree, model = self.tracker.tree, self.model
        reason = None if tree.obstacle is None else tree.obstacle.reason
        if reason is not model.obstacle:
            self.check("live", holds=False, why=f"{tree.obstacle}, not {model.obstacle}")
        self.check("I1", tree.live is (self.edges % 2 == 1), "live without an edge, or an edge without live")
        forest = tree.forest
        limits = self.options.limits
        self.check("I8", forest.topic_count <= limits.topics, "too many topics are kept")
        self.check("I8", forest.payload_bytes <= limits.payload_bytes, "too many bytes are kept")
        self.check("I8", len(forest.devices) <= limits.devices, "too many devices are kept")
        overflowed = {device.id for device in forest.devices.values() if device.overflowed}
        self.check("I8", overflowed == model.overflowed.keys(), f"overflowed: {overflowed}, not {model.overflowed}")
        if overflowed:
            self.reached.add("overflowed")
        if model.request is None and self.up and len(model.asked | set(model.members)) <= limits.devices:
            self.check("I8", not model.owed & set(model.members), f"{model.owed} are not asked for again")
            self.check("I3", model.asked >= set(model.members), "a member is not asked for")
        self.check("I13", forest.members(ROOT) == model.members, f"{forest.members(ROOT)}, not {model.members}")
        strangers = forest.kinship.tree(ROOT).strangers
        contested = {name: each.is_contested for name, each in strangers.items()}
        self.check("I13", contested == model.doubts, f"strangers are {strangers}, not {model.doubts}")
        for text in _CHILDRENS:
            _, _, device, node, name = text.split("/")
            kept, said = forest.payload(device, node, name), model.heard.get(text)
            self.check("I13", kept == said, f"{text} is kept as {kept!r}, not {said!r}")
        dropped = sum(count for reason, count in forest.dropped.items() if reason not in _BY_PART)
        self.check("I9", dropped == model.dropped, f"{forest.dropped}, where {model.dropped} were malformed")
        self.check("I9", forest.dropped["invalid payload"] >= model.invalid, "an invalid payload was not counted")
        if tree.live:
            self._look()
        else:
            self._look_in_vain(reason)

    def _look_in_vain(self, reason: ConnectionReason | None) -> None:
        try:
            snapshot = self.tracker.snapshot
        except SpanPanelStaleDataError as error:
            self.check("I2", error.reason is reason, f"stale for {error.reason}, not {reason}")
        else:
            self.check("I2", holds=False, why=f"there is a snapshot while not live: {snapshot}")

    def _look(self) -> None:
        """Is what a snapshot would say now what the model says?"""
        if not self.tracker.tree.live or self.dice.random() < 0.5:  # reading it now takes what is dirty
            return
        self.look()

    def look(self) -> None:
        """Read the snapshot, whatever is due."""
        if not self.tracker.tree.live:
            return
        snapshot = self.calmly(lambda: self.tracker.snapshot)
        tracker, old = self.tracker, self.seen
        self.seen = snapshot
        self.check("I2", old is None or snapshot is old or snapshot.seq > old.seq, "the number of a snapshot went back")
        expected = self.model.snapshot()
        if snapshot != expected:
            self.check("I5", holds=False, why=str(list(snapshot.changes(expected))))
        if snapshot.pending_devices:
            self.reached.add("gave a pending device up")
        self._check_counters(snapshot)
        scratch = FlatBuilder(ROOT).build(
            tracker.tree.forest, Dirty(), pending=tracker.tree.pending, seq=1, epoch=1, received_at=self.at
        )
        if snapshot != scratch:
            self.check("I4", holds=False, why=str(list(snapshot.changes(scratch))))
        if "I3" in self.checks and self.dice.random() < 0.2:
            self._check_order(snapshot)

    def publish(self, text: str, payload: bytes) -> None:
        """As a panel publishes: retained by the broker, and on the wire."""
        if text in self.published:
            self.published[text].append(house.decode(payload, "float"))
        if payload:
            self.retained[text] = payload
        else:
            self.retained.pop(text, None)
        if self.up:
            self.wire.append(Message(text, payload))

    def _check_counters(self, snapshot: SpanPanelSnapshot) -> None:
        """What a counter shows was published, and not before what it showed when it was read last."""
        now: dict[str, float | None] = {f"{ROOT}/up/imported-energy": snapshot.main_meter_energy_consumed_wh}
        for node, circuit in snapshot.circuits.items():
            now[f"{ROOT}/{node}/exported-energy"] = circuit.consumed_energy_wh
            now[f"{ROOT}/{node}/imported-energy"] = circuit.produced_energy_wh
        for tail, value in now.items():
            if value is None:
                continue
            text = house.topic(tail)
            history, before = self.published[text], self.read_up_to[text]
            found = value in history[before:]
            self.check("I6", found, f"{tail} is {value} by itself, after {history[: before + 1]}")
            if found:
                self.read_up_to[text] = history.index(value, before)
                if self.read_up_to[text] != before:
                    self.reached.add("a counter moved")

    def _check_order(self, snapshot: SpanPanelSnapshot) -> None:
        """Somebody who comes now and is told the same, sorted, sees the same."""
        model = self.model
        said = model.overheard | model.described
        kept = {**model.heard, **{house.topic(f"{name}/$description"): payload for name, payload in said.items()}}
        other = PanelTracker(ROOT, PanelOptions(max_silence=math.inf))
        other.link_up(1, self.at)
        messages = [Message(text, payload, retain=True) for text, payload in sorted(kept.items())]
        other.receive(messages[::-1] if self.dice.random() < 0.5 else messages, self.at)
        while other.tree.next_subscription() is not None:
            other.tree.barrier(self.at, passed=True)
        other.tick(Instant(self.now + 60, 0.0))
        self.check("I3", other.tree.live, f"another order is not live: {other.tree.obstacle}")
        if other.tree.live:
            same = attrs.evolve(other.snapshot, pending_devices=snapshot.pending_devices)
            self.check("I3", same == snapshot, str(list(same.changes(snapshot))))
            self.reached.add("compared with another order")


_CHILDRENS: Final = [text for device in (house.KID, house.TOY) for text in house.VALUES[device]]
_BY_PART: Final = {"part of a $description", "invalid payload"}
