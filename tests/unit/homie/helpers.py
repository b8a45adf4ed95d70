"""What the tests of the Homie room share: short words for messages and descriptions, and a session to feed them to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import settings

from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, Forest, Instant, Message, Obstacle, Request, Value
from tests.fuzz.bounds import enough

FEWER = settings(max_examples=settings().max_examples // 2)
"""For properties that are many, or slow: half the examples of the profile."""


def reached(runs: Counter[str], what: str, share: float) -> None:
    """Fail unless so large a share of the runs got there, as far as chance allows."""
    assert enough(runs[what], runs["all"], share), (what, runs)


Nodes = Mapping[str, Mapping[str, Any] | None]

FLOAT = {"datatype": "float"}
RELAY = {"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED", "settable": True}


def at(seconds: float) -> Instant:
    """So many seconds after the beginning, on both clocks."""
    return Instant(seconds, 1_800_000_000.0 + seconds)


def message(tail: str, payload: bytes | str, *, retain: bool = False) -> Message:
    """A message below ``ebus/5/``."""
    return Message(f"ebus/5/{tail}", payload.encode() if isinstance(payload, str) else payload, retain)


def describe(nodes: Nodes | None = None, children: Iterable[str] = (), **fields: Any) -> bytes:
    """A ``$description`` with these nodes (``None`` for a bare one), each of a type that is its id."""
    described = {
        node: {"type": node} if properties is None else {"type": node, "properties": dict(properties)}
        for node, properties in (nodes or {}).items()
    }
    return json.dumps({"homie": "5.0", "nodes": described, "children": list(children), **fields}).encode()


def absorb(forest: Forest, tail: str, payload: bytes | str, *, retain: bool = False, wall: float = 0.0) -> bool:
    """One message into a forest of the domain ``ebus``."""
    return forest.absorb(message(tail, payload, retain=retain), wall)


def forest_of(*messages: tuple[str, bytes | str], **options: Any) -> Forest:
    """A forest that has heard these."""
    forest = Forest("ebus", **options)
    for tail, payload in messages:
        absorb(forest, tail, payload)
    return forest


def shown(forest: Forest) -> dict[str, Value]:
    """Everything that shows, values and targets, by the tail of its topic."""
    found: dict[str, Value] = {}
    for device in forest.devices.values():
        for node in device.nodes.values():
            found |= {f"{device.id}/{node.id}/{name}": value for name, value in node.values.items()}
            found |= {f"{device.id}/{node.id}/{name}/$target": value for name, value in node.targets.items()}
    return found


def contents(forest: Forest) -> dict[str, object]:
    """All that a forest tells of devices it has heard of, in a form that can be compared; nothing of their order."""
    told = {
        device.id: (device.state_text, device.description, device.description_error, device.alerts, device.overflowed)
        for device in forest.devices.values()
        if device.topics or device.overflowed
    }
    # repr: 1, 1.0 and True are equal, and not the same value
    return {"devices": told, "values": {topic: repr(value) for topic, value in shown(forest).items()}}


class Session:
    """An `Accumulator` of the root ``house``, its clock, and what its owner would do.

    What comes comes unasked, so nothing is watched for; options can say otherwise.
    """

    def __init__(self, **options: Any) -> None:
        self.core = Accumulator("house", **{"watch": False, **options})
        self.now = 0.0

    def connect(self, epoch: int = 1) -> None:
        self.core.link_up(epoch, at(self.now))

    def disconnect(self, detail: str = "reset by peer", reason: ConnectionReason = ConnectionReason.LINK_LOST) -> None:
        self.core.link_down(Obstacle(reason, detail), at(self.now))

    def hear(self, tail: str, payload: bytes | str, *, retain: bool = False) -> None:
        self.core.receive([message(tail, payload, retain=retain)], at(self.now))

    def replay(self, *messages: tuple[str, bytes | str]) -> None:
        self.core.receive([message(tail, payload, retain=True) for tail, payload in messages], at(self.now))

    def subscribe(self) -> Request | None:
        return self.core.next_subscription()

    def barrier(self, *, passed: bool = True) -> None:
        self.core.barrier(at(self.now), passed=passed)

    def complete(self) -> None:
        """Let every barrier pass that is wanted, and those that are wanted then."""
        while self.subscribe() is not None:
            self.barrier()

    def wait(self, seconds: float) -> None:
        """Let time pass, calling ``tick`` when it is wanted and at no other time."""
        until = self.now + seconds
        while (deadline := self.core.deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.core.tick(at(self.now))
            assert self.core.deadline is None or self.core.deadline > self.now, "a tick that wants another one at once"
            self.serve()
        self.now = until

    def serve(self) -> None:
        """What is asked for after a tick is answered, where there is somebody who does."""

    def edges(self) -> list[str]:
        """The edges since the last call, in words."""
        return [str(edge).removeprefix("offline, ") for edge in self.core.take_edges()]

    @property
    def obstacle(self) -> str | None:
        return None if self.core.obstacle is None else str(self.core.obstacle)


def live_session(*messages: tuple[str, bytes | str], children: Iterable[str] = (), **options: Any) -> Session:
    """A session that is live: a house with a meter and a relay, plus what else was retained."""
    session = Session(**options)
    session.connect()
    session.replay(
        ("house/$state", "ready"),
        ("house/$description", describe({"meter": {"power": FLOAT}, "switch": {"relay": RELAY}}, children)),
        ("house/meter/power", "100"),
        ("house/switch/relay", "CLOSED"),
        *messages,
    )
    session.complete()
    return session
