"""The devices of one domain on one broker, in one epoch: what was published, and what of it shows.

The rules of this room:

* One forest is one epoch. A new link begins a new, empty forest, so nothing of an earlier epoch can survive (I5).
* Messages of a replay and live ones take the same path. Order does not matter (I3): raw payloads are kept, declared or
  not, until a zero-length payload clears them. The description only decides what *shows*, whenever it comes.
* A value is decoded once, on arrival, by its declaration; by the caller's ``fallback`` for its node's type where a
  description is bare; as text where neither knows it. What does not decode shows nothing.
* A malformed ``$description`` never replaces a good one. What is malformed is dropped and counted, never raised (I9).
* Bounded (I8): devices, topics (of each device, too: a new description reads all of its own again) and bytes of raw
  payload. What does not fit marks the device it hit as ``overflowed``.
* What changed since the last `Forest.take_dirty` is known by device and node; nobody scans.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from .device import Device, Node
from .lifecycle import TRANSITIONS, Event
from .messages import Message
from .slots import SLOTS, Dirty, Effect, Fallback, Ledger, Limits, PropertySlot, Slot
from .topics import Topic, TopicError, TopicKind, parse_topic, property_topic
from .values import Value

__all__ = ["Forest"]


class Forest:
    """All devices of ``domain``. See the rules of the room.

    Args:
        domain: the first topic segment (``"ebus"``); what is outside of it is ignored and counted.
        fallback: declarations for nodes whose description is bare.
        limits: how much is kept at most.
    """

    def __init__(self, domain: str, *, fallback: Fallback | None = None, limits: Limits | None = None) -> None:
        self.domain = domain
        self.devices: dict[str, Device] = {}
        """Every device of which anything is known, by id."""
        self._ledger = Ledger(Limits() if limits is None else limits, {} if fallback is None else fallback)
        self._slots: dict[str, Slot] = {}
        self._properties: dict[str, dict[str, PropertySlot]] = {}  # device id -> topic -> slot

    # --- input ---

    def absorb(self, message: Message, wall: float) -> bool:
        """Take one message that came at ``wall`` (Unix s).

        Returns:
            Whether it may have changed more than values: a ``$state``, a ``$description``, or a device overflowed.
        """
        topic, payload, retain = message
        slot = self._slots.get(topic) or self._open(topic, payload)
        effect = Effect.NOTHING
        if slot is not None:
            effect = slot.put(payload, retain, wall)
            if effect is Effect.DESCRIPTION:
                self._redeclare(slot.device)
            if not slot.raw:
                self._close(topic, slot)
        if self._ledger.overflowed:
            self._ledger.overflowed = False
            return True
        return effect is not Effect.NOTHING

    def _open(self, text: str, payload: bytes) -> Slot | None:
        """The slot for a topic that has none; ``None`` if there is nothing to be kept."""
        topic = self._understand(text)
        if topic is None or not payload:  # an empty one deletes what is not there
            return None
        device = self._device(topic.device)
        if device is None:
            return None
        limits = self._ledger.limits
        full = len(self._slots) >= limits.topics or device.topics >= limits.device_topics
        if full and topic.kind is not TopicKind.LOG:
            self._ledger.overflow(device, "too many topics")
            return None
        slot = self._slots[text] = SLOTS[topic.kind](self._ledger, device, topic)
        device.topics += 1
        if isinstance(slot, PropertySlot):
            slot.node.topics += 1
            self._properties.setdefault(device.id, {})[text] = slot
        return slot

    def _understand(self, text: str) -> Topic | None:
        try:
            topic = parse_topic(text)
        except TopicError:
            self._ledger.dropped["malformed topic"] += 1
            return None
        if topic.kind not in SLOTS or topic.domain != self.domain:
            self._ledger.dropped["ignored topic"] += 1
            return None
        return topic

    def _device(self, name: str) -> Device | None:
        device = self.devices.get(name)
        if device is None:
            if len(self.devices) >= self._ledger.limits.devices:
                self._ledger.dropped["too many devices"] += 1
                return None
            device = self.devices[name] = Device(name)
        return device

    def _close(self, text: str, slot: Slot) -> None:
        """Forget a topic that was cleared, and whatever existed for it alone: a peer cannot fill us with leftovers."""
        del self._slots[text]
        device = slot.device
        device.topics -= 1
        if isinstance(slot, PropertySlot):
            slot.node.topics -= 1
            del self._properties[device.id][text]
            self._sweep(device, slot.node)
        if not device.topics and not device.overflowed:
            del self.devices[device.id]
            self._properties.pop(device.id, None)

    def _sweep(self, device: Device, node: Node) -> None:
        if not node.topics and node.description is None:
            del device.nodes[node.id]
            self._ledger.dirty.nodes.pop(node, None)  # its device is dirty, too

    def _redeclare(self, device: Device, *, everything: bool = False) -> None:
        """Apply a new description: nodes appear and vanish, and what is kept of those that changed is decoded anew."""
        described = device.described
        changed: set[Node] = set()
        for name in described:
            if name not in device.nodes:
                device.nodes[name] = Node(name, device)
        for node in list(device.nodes.values()):
            description = described.get(node.id)
            if everything or description != node.description:
                changed.add(node)
            node.description = description
            self._sweep(device, node)
        if changed:
            for slot in self._properties.get(device.id, {}).values():
                if slot.node in changed:
                    slot.redeclare()
        self._ledger.dirty.devices.add(device.id)

    def set_fallback(self, fallback: Fallback) -> None:
        """Use other declarations for bare nodes from now on; what is kept is decoded anew."""
        self._ledger.fallback = fallback
        for device in self.devices.values():
            self._redeclare(device, everything=True)

    def confirm(self, device: Device) -> None:
        """The values of a settling device are its own again (`Event.CONFIRMED`)."""
        device.lifecycle = TRANSITIONS[device.lifecycle][Event.CONFIRMED]

    def overflow(self, topic: str) -> None:
        """A message on ``topic`` could not be taken at all: clear what it would have replaced, mark its device."""
        understood = self._understand(topic)
        if understood is None:
            return
        if understood.kind is TopicKind.LOG:
            self._ledger.dropped["too large"] += 1
            return
        device = self._device(understood.device)
        if device is not None:
            self._ledger.overflow(device, "too large")
            self.absorb(Message(topic, b""), 0.0)

    def forgive(self, device: str) -> None:
        """A device that has overflowed is asked for again: whether it fits is to be seen anew."""
        found = self.devices.get(device)
        if found is not None:
            found.overflowed = False
            if not found.topics:
                del self.devices[device]
                self._properties.pop(device, None)

    def pin(self, device: str) -> None:
        """Keep this device, not heard of yet, whatever is cleared: what became of it shall not be forgotten."""
        self.devices[device] = Device(device, topics=1)

    def touch(self, device: str) -> None:
        """Say that something about a device has changed that no message of its own tells."""
        self._ledger.dirty.devices.add(device)

    # --- output ---

    @property
    def dirty(self) -> Dirty:
        """What changed since the last `take_dirty`; to be read only."""
        return self._ledger.dirty

    def take_dirty(self) -> Dirty:
        """Hand over what changed since the last call."""
        dirty, self._ledger.dirty = self._ledger.dirty, Dirty()
        return dirty

    @property
    def dropped(self) -> Counter[str]:
        """How many messages, or parts of descriptions, were dropped; by reason."""
        return self._ledger.dropped

    @property
    def topic_count(self) -> int:
        """How many topics are kept."""
        return len(self._slots)

    @property
    def payload_bytes(self) -> int:
        """How many bytes of raw payload are kept."""
        return self._ledger.payload_bytes

    # --- queries ---

    def value(self, device: str, node: str, name: str) -> Value | None:
        """A property's value, or ``None``."""
        found = self._node(device, node)
        return None if found is None else found.values.get(name)

    def payload(self, device: str, node: str, name: str) -> bytes | None:
        """A property as published, whether it shows or not."""
        slot = self._slots.get(property_topic(self.domain, device, node, name))
        return None if slot is None else slot.raw

    def target(self, device: str, node: str, name: str) -> Value | None:
        """A property's ``$target``, or ``None``. Optional in the convention; present and different means pending."""
        found = self._node(device, node)
        return None if found is None else found.targets.get(name)

    def _node(self, device: str, node: str) -> Node | None:
        found = self.devices.get(device)
        return None if found is None else found.nodes.get(node)

    def members(self, root: str) -> list[str]:
        """The ids of a tree, root first: what is reachable through ``children``, at any depth, cycles guarded.

        Includes children that are not there yet. ``root`` and ``parent`` in a child are confirming evidence only.
        """
        members = {root: None}
        queue = deque([root])
        while queue:
            device = self.devices.get(queue.popleft())
            if device is not None and device.description is not None:
                for child in device.description.children:
                    if child not in members:
                        members[child] = None
                        queue.append(child)
        return list(members)

    def holds(self, topic: str) -> bool:
        """Whether a value is kept for a topic, be it shown or not."""
        slot = self._slots.get(topic)
        return isinstance(slot, PropertySlot) and not slot.is_target

    def value_topics(self, devices: Iterable[str] | None = None, *, shown: bool = False) -> set[str]:
        """The topics that carry property values: of all devices or of some, all of them or only those that show."""
        return {
            topic
            for device in (self._properties if devices is None else devices)
            for topic, slot in self._properties.get(device, {}).items()
            if not slot.is_target and (slot.datatype is not None or not shown)
        }
