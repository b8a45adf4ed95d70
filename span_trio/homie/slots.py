"""Where one topic goes: a slot keeps its raw payload and applies it to its device.

A slot never raises and never fails: what is malformed is counted in the `Ledger` and shows nothing (I9). It knows its
device and the ledger, and nothing of other topics; the forest opens and closes slots.
"""

from __future__ import annotations

import abc
import enum
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from ..arguments import demand, is_count
from .description import DescriptionError, PropertyDescription, parse_description
from .device import Device, LogEntry, Node
from .lifecycle import TRANSITIONS, event_of_state
from .topics import Topic, TopicKind
from .values import DECODERS, Datatype, InvalidPayload, Value

__all__ = ["SLOTS", "Dirty", "Effect", "Fallback", "Ledger", "Limits", "PropertySlot", "Slot"]

Fallback = Mapping[str, Mapping[str, PropertyDescription]]
"""Declarations to use where a description is bare: node type -> property id -> declaration."""

_URGENT: Final = frozenset({Datatype.ENUM, Datatype.BOOLEAN})
_LOG_KEPT: Final = 1024  # bytes
_NO_PROPERTIES: Final[Mapping[str, PropertyDescription]] = {}


class Effect(enum.IntEnum):
    """What a message did to its device beyond values."""

    NOTHING = 0
    STATE = 1
    DESCRIPTION = 2


def _check_limit(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    demand(is_count(value), attribute.name, "a whole number, 0 or more", value)


@attrs.frozen
class Limits:
    """How much a forest holds at most (I8).

    Raises:
        SpanPanelValidationError: a limit is no whole number, or below 0.
    """

    devices: int = attrs.field(default=512, validator=_check_limit)
    topics: int = attrs.field(default=65_536, validator=_check_limit)
    payload_bytes: int = attrs.field(default=64 * 2**20, validator=_check_limit)
    device_topics: int = attrs.field(default=8_192, validator=_check_limit)


@attrs.define
class Dirty:
    """What changed: values, by node and property id; devices whose shape changed (description, state, alerts)."""

    nodes: dict[Node, set[str]] = attrs.field(factory=dict[Node, set[str]])
    devices: set[str] = attrs.field(factory=set[str])
    urgent: bool = False
    """An enum or boolean that had a value changed it: somebody may be waiting for that."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.nodes or self.devices)


@attrs.define(eq=False)
class Ledger:
    """What all slots of a forest share: the limits, the counts, and what is dirty."""

    limits: Limits
    fallback: Fallback
    payload_bytes: int = 0
    dropped: Counter[str] = attrs.field(factory=Counter[str])
    dirty: Dirty = attrs.field(factory=Dirty)
    overflowed: bool = False
    """A device has overflowed and nobody has looked yet."""

    def overflow(self, device: Device, reason: str) -> None:
        """Something of ``device`` did not fit."""
        self.dropped[reason] += 1
        if not device.overflowed:
            device.overflowed = self.overflowed = True

    def reserve(self, device: Device, size: int) -> bool:
        """Account for ``size`` more (or fewer) bytes of raw payload; false if they do not fit."""
        if self.payload_bytes + size > self.limits.payload_bytes:
            self.overflow(device, "too many bytes")
            return False
        self.payload_bytes += size
        return True

    def touch(self, node: Node, name: str, *, urgent: bool) -> None:
        """A value that shows has changed."""
        names = self.dirty.nodes.get(node)
        if names is None:
            self.dirty.nodes[node] = {name}
        else:
            names.add(name)
        if urgent:
            self.dirty.urgent = True

    def datatype_of(self, node: Node, name: str) -> Datatype | None:
        """A property's datatype, as far as anybody says; ``None`` for one that does not show."""
        description = node.description
        if description is None:
            return None
        properties = description.properties
        declared = None if properties is None else properties.get(name)
        if declared is None and properties is not None:
            return None
        if declared is not None and (declared.datatype is not None or not declared.retained):
            return declared.datatype if declared.retained else None  # an event is never state
        fallback = self.fallback.get(description.type or "", _NO_PROPERTIES).get(name)
        if fallback is None:
            return Datatype.STRING
        if declared is None and not fallback.retained:
            return None
        return fallback.datatype or Datatype.STRING


class Slot(abc.ABC):
    """One topic."""

    __slots__ = ("device", "ledger", "name", "raw")

    def __init__(self, ledger: Ledger, device: Device, topic: Topic) -> None:
        self.ledger: Ledger = ledger
        self.device: Device = device
        self.name: str = topic.name
        self.raw: bytes = b""

    def put(self, payload: bytes, retain: bool, wall: float) -> Effect:
        """Take a payload, empty for a deletion, that came at ``wall`` (Unix s)."""
        if payload == self.raw:
            return Effect.NOTHING
        growth = len(payload) - len(self.raw)
        if not self.ledger.reserve(self.device, growth):
            payload = b""  # what it is now cannot be known: what it was must not pass for it
            self.ledger.reserve(self.device, -len(self.raw))
        self.raw = payload
        return self.apply(retain, wall)

    @abc.abstractmethod
    def apply(self, retain: bool, wall: float) -> Effect:
        """Apply ``raw``, which is new."""

    def text(self, payload: bytes) -> str:
        """An attribute's text. What is not UTF-8 is no known state, but stays readable."""
        return payload.decode(errors="replace")


class _State(Slot):
    __slots__ = ()

    def apply(self, retain: bool, wall: float) -> Effect:
        text = self.text(self.raw)
        self.device.state_text = text or None
        self.device.lifecycle = TRANSITIONS[self.device.lifecycle][event_of_state(text)]
        self.ledger.dirty.devices.add(self.device.id)
        return Effect.STATE


class _Description(Slot):
    __slots__ = ()

    def apply(self, retain: bool, wall: float) -> Effect:
        device, dropped = self.device, self.ledger.dropped
        device.description_error = None
        if not self.raw:
            device.description = None
            return Effect.DESCRIPTION
        try:
            device.description = parse_description(self.raw, device.id)
        except DescriptionError as error:
            device.description_error = str(error)
            dropped["malformed $description"] += 1
            return Effect.STATE  # a good one is kept; what is missing may have another name now
        if device.description.problems:
            dropped["part of a $description"] += len(device.description.problems)
        return Effect.DESCRIPTION


class _Alert(Slot):
    __slots__ = ()

    def apply(self, retain: bool, wall: float) -> Effect:
        if self.raw:
            self.device.alerts[self.name] = self.text(self.raw)
        else:
            self.device.alerts.pop(self.name, None)
        self.ledger.dirty.devices.add(self.device.id)
        return Effect.NOTHING


class _Log(Slot):
    __slots__ = ()

    def put(self, payload: bytes, retain: bool, wall: float) -> Effect:
        """An event: applied whether new or not, and not kept as state."""
        self.raw = payload[:_LOG_KEPT]
        effect = self.apply(retain, wall)
        self.raw = b""
        return effect

    def apply(self, retain: bool, wall: float) -> Effect:
        self.device.logs.append(LogEntry(self.name, self.text(self.raw)))
        return Effect.NOTHING


class PropertySlot(Slot):
    """The value, or the ``$target``, of one property."""

    __slots__ = ("datatype", "decode", "is_target", "node", "shown", "urgent")

    def __init__(self, ledger: Ledger, device: Device, topic: Topic) -> None:
        super().__init__(ledger, device, topic)
        self.is_target: bool = topic.kind is TopicKind.TARGET
        node = device.nodes.get(topic.node)
        if node is None:
            node = device.nodes[topic.node] = Node(topic.node, device)
        self.node: Node = node
        self.shown: dict[str, Value] = node.targets if self.is_target else node.values
        self._declare()

    def _declare(self) -> None:
        datatype = self.ledger.datatype_of(self.node, self.name)
        self.datatype: Datatype | None = datatype
        """``None`` while it does not show."""
        self.decode: Callable[[bytes], Value] = DECODERS[datatype or Datatype.STRING]
        self.urgent: bool = datatype in _URGENT

    def redeclare(self) -> None:
        """Decode anew what is kept, by the description of now."""
        self._declare()
        self._show()

    def apply(self, retain: bool, wall: float) -> Effect:
        """Apply ``raw``, which is new."""
        if self._show() and not retain and not self.is_target:
            self.node.changed[self.name] = wall
        return Effect.NOTHING

    def _show(self) -> bool:
        """Make the decoded payload what shows; true when that is a change."""
        value: Value | None = None
        if self.node.unreadable and not self.is_target:
            self.node.unreadable.discard(self.name)
        if self.datatype is not None and self.raw:
            try:
                value = self.decode(self.raw)
            except InvalidPayload:
                self.ledger.dropped["invalid payload"] += 1
                if not self.is_target:
                    self.node.unreadable.add(self.name)
        old = self.shown.get(self.name)
        # 1, 1.0 and True are equal too, and within JSON; texts are not equal to anything else.
        if value is old or (value == old and (type(value) is str or repr(value) == repr(old))):
            if self.datatype is not None:
                self.ledger.touch(self.node, self.name, urgent=False)  # who shows the text as published wants to know
            return False
        if value is None:
            del self.shown[self.name]
            if not self.is_target:
                self.node.changed.pop(self.name, None)
        else:
            self.shown[self.name] = value
        self.ledger.touch(self.node, self.name, urgent=self.urgent and old is not None)
        return value is not None


SLOTS: Final[Mapping[TopicKind, Callable[[Ledger, Device, Topic], Slot]]] = {
    TopicKind.STATE: _State,
    TopicKind.DESCRIPTION: _Description,
    TopicKind.ALERT: _Alert,
    TopicKind.LOG: _Log,
    TopicKind.PROPERTY: PropertySlot,
    TopicKind.TARGET: PropertySlot,
}
