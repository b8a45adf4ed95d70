"""A parent/child panel on the bench: `ChildPanel` is a forest and a builder, `Life` a whole tracker with a broker."""

import json
import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from span_trio.enums import ConnectionReason
from span_trio.homie import Forest, Instant, Message, Obstacle
from span_trio.options import PanelOptions
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FALLBACK, DataModel, OfferedControl, ParentChildBuilder, controls
from span_trio.tracker import PanelTracker
from tests.unit.span.child_house import HOUSE, ROOT, VALUES, WIRING, House, describe, messages_of


class ChildPanel:
    """A parent/child panel with a forest and a builder behind it. `publish` what you like, then look at it."""

    def __init__(self, devices: House = HOUSE, *, bare: bool = False) -> None:
        self.devices = dict(devices)
        self.forest = Forest("ebus", fallback=FALLBACK)
        self.forest.pin(ROOT)  # as a tracker does
        self.builder = ParentChildBuilder(ROOT)
        self.seq = 0
        for tail, payload in messages_of(devices, bare=bare).items():
            self.message(tail, payload)

    def message(self, tail: str, payload: str | bytes, *, retain: bool = False, at: float = 0.0) -> None:
        """Publish to `tail` below ``ebus/5/``, at `at` (Unix s)."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.forest.absorb(Message(f"ebus/5/{tail}", data, retain), at)

    def publish(self, device: str, values: Mapping[str, str | bytes]) -> SpanPanelSnapshot:
        """Publish properties (``capability/property``) of a device, and look."""
        for path, payload in values.items():
            self.message(f"{device}/{path}", payload)
        return self.snapshot()

    def redescribe(self, device: str, **options: Any) -> SpanPanelSnapshot:
        """Publish a new description of a device, and look. The options are those of `describe`."""
        kind, parent = self.devices[device]
        children = [child for child, (_, of) in self.devices.items() if of == device]
        self.message(
            f"{device}/$description", json.dumps(describe(kind, **{"children": children, "parent": parent, **options}))
        )
        return self.snapshot()

    def state(self, device: str, state: str) -> SpanPanelSnapshot:
        """Publish a device's `$state`, and look."""
        self.message(f"{device}/$state", state)
        return self.snapshot()

    def snapshot(self) -> SpanPanelSnapshot:
        """A snapshot of now, incremental."""
        self.seq += 1
        return self._build(self.builder)

    def from_scratch(self) -> SpanPanelSnapshot:
        """A snapshot of now by a builder that has seen nothing before; leaves what is dirty alone."""
        return self._build(ParentChildBuilder(ROOT, self.builder.sign), peek=True)

    def controls(self) -> list[OfferedControl]:
        """What can be commanded now, locked or not."""
        return list(controls(self.forest, ROOT, DataModel.PARENT_CHILD))

    def _build(self, builder: ParentChildBuilder, *, peek: bool = False) -> SpanPanelSnapshot:
        dirty = self.forest.dirty if peek else self.forest.take_dirty()
        now = Instant(float(self.seq), 0.0)
        return builder.build(self.forest, dirty, pending=(), seq=self.seq, epoch=1, received_at=now)


class Life:
    """A tracker, a broker that retains, and a clock."""

    def __init__(self, retained: Mapping[str, str | bytes] | None = None, **options: Any) -> None:
        self.now = 0.0
        self.retained = dict(retained or {})
        self.tracker = PanelTracker(
            ROOT, PanelOptions(**{"snapshot_interval": 0.0, "max_silence": math.inf, **options})
        )
        self.filters: set[str] = set()

    @property
    def at(self) -> Instant:
        return Instant(self.now, 1_790_000_000 + self.now)

    def connect(self) -> None:
        """A new link, and what the broker replays."""
        self.filters = set()
        self.tracker.link_up(self.tracker.tree.epoch + 1, self.at)
        self.serve()

    def disconnect(self) -> None:
        self.filters = set()
        self.tracker.tree.link_down(Obstacle(ConnectionReason.LINK_LOST, "reset by peer"), self.at)

    def serve(self) -> None:
        """Answer every subscription: a replay, and its barrier."""
        while (request := self.tracker.tree.next_subscription()) is not None:
            self.filters |= set(request.filters)
            fits = [name for name in self.retained if _fits(f"ebus/5/{name}", request.filters)]
            self.tracker.receive([self._message(name, self.retained[name], retain=True) for name in fits], self.at)
            self.tracker.tree.barrier(self.at, passed=True)

    def publish(self, values: Mapping[str, str | bytes], *, one_batch: bool = False) -> None:
        """Publish, retained; what is subscribed to is delivered, in one batch or message by message."""
        batch: list[Message] = []
        for tail, payload in values.items():
            self.retained[tail] = payload
            if not payload:
                del self.retained[tail]
            if _fits(f"ebus/5/{tail}", self.filters):
                batch.append(self._message(tail, payload, retain=False))
        for some in [batch] if one_batch else [[message] for message in batch]:
            self.tracker.receive(some, self.at)
            self.serve()

    def wait(self, seconds: float) -> None:
        """Let time pass; a deadline that does not move is a tracker that spins."""
        until = self.now + seconds
        while self.tracker.deadline <= until:
            before, self.now = self.tracker.deadline, max(self.now, self.tracker.deadline)
            self.tracker.tick(self.at)
            self.tracker.publish(self.at)
            self.serve()
            assert self.tracker.deadline > before, "a tick that wants another one at once"
        self.now = until

    def edges(self) -> list[str]:
        """The edges since the last call, in words."""
        return [str(edge).removeprefix("offline, ") for edge in self.tracker.take_edges()]

    @property
    def obstacle(self) -> str | None:
        return None if self.tracker.tree.obstacle is None else str(self.tracker.tree.obstacle)

    @property
    def live(self) -> bool:
        return self.tracker.tree.live

    def look(self) -> SpanPanelSnapshot:
        return self.tracker.snapshot

    def from_scratch(self) -> SpanPanelSnapshot:
        """What somebody sees who comes now."""
        other = Life(self.retained)
        other.connect()
        return other.look()

    @staticmethod
    def _message(tail: str, payload: str | bytes, *, retain: bool) -> Message:
        return Message(f"ebus/5/{tail}", payload.encode() if isinstance(payload, str) else payload, retain)


def _fits(topic: str, filters: Iterable[str]) -> bool:
    return any(fnmatchcase(topic, wanted.replace("#", "*").replace("+", "*")) for wanted in filters)


def full_house(**options: Any) -> ChildPanel:
    """`HOUSE` with all of `VALUES`, wired."""
    panel = ChildPanel(HOUSE, **options)
    for topic, payload in {**WIRING, **{line.topic: line.payload for line in VALUES}}.items():
        panel.message(topic, payload)
    return panel
