"""The devices of one domain on one broker, in one epoch: what was published, and what of it shows.

The rules of this room:

* One forest is one epoch. A new link begins a new, empty forest, so nothing of an earlier epoch can survive (I5).
* Messages of a replay and live ones take the same path. Order does not matter (I3): raw payloads are kept, declared or
  not, until a zero-length payload clears them. The description only decides what *shows*, whenever it comes.
* A value is decoded once, on arrival, by its declaration; by the caller's ``fallback`` for its node's type where a
  description is bare; as text where neither knows it. What does not decode shows nothing.
* A malformed ``$description`` never replaces a good one. What is malformed is dropped and counted, never raised (I9).
* Whose a device is, is judged by ``kinship`` (I13). Of one that says that it is another tree's than that of the pinned
  root, nothing but the description is kept. What the broker has retained for a device that was in doubt may be
  anybody's: it counts no more in this epoch; what is published then does.
* Bounded (I8): devices, topics (of each device, too: a new description reads all of its own again) and bytes of raw
  payload. What does not fit marks the device it hit as ``overflowed``.
* What changed since the last `Forest.take_dirty` is known by device and node; nobody scans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import attrs

from .description import DescriptionError, DeviceDescription, parse_description
from .device import Device, Node
from .kinship import Kinship, Tree
from .lifecycle import TRANSITIONS, Event, Lifecycle
from .messages import Message
from .slots import SLOTS, Dirty, Effect, Fallback, Ledger, Limits, PropertySlot, Slot
from .topics import VERSION, Topic, TopicError, TopicKind, description_topic, parse_topic, property_topic
from .values import Value

__all__ = ["Forest"]

_NOT_OURS: Final = "another panel's"


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
        """Every device of which anything is kept, by id."""
        self.kinship: Kinship = Kinship()
        self.asked: set[str] | None = None
        """The devices that are asked for, where the descriptions of all others come, too; nothing is kept of those.
        ``None``: nobody asks, and what comes is kept."""
        self.overheard: int = 0
        """How many messages came with the descriptions of all devices, and told nothing of those that are asked for."""
        self.doubted: set[str] = set()
        """Devices that were said to be another tree's, if only for a moment, since this was emptied."""
        self._ledger = Ledger(Limits() if limits is None else limits, {} if fallback is None else fallback)
        self._slots: dict[str, Slot] = {}
        self._properties: dict[str, dict[str, PropertySlot]] = {}  # device id -> topic -> slot
        self._tree = Tree({}, {})
        self._levels = domain.count("/") + 1
        self._root: str | None = None  # the pinned device
        self._learnt = False  # something about kinship, and nobody has looked yet
        self._claims: dict[str, AbstractSet[str]] = {}
        self._suspects: set[str] = set()  # what is retained for them may be anybody's

    # --- input ---

    def absorb(self, message: Message, wall: float) -> bool:
        """Take one message that came at ``wall`` (Unix s).

        Returns:
            Whether it may have changed more than values: a ``$state``, a ``$description``, or a device overflowed.
        """
        topic, payload, retain = message
        slot = self._slots.get(topic) or self._open(topic, payload, retain)
        effect = Effect.NOTHING
        if slot is not None:
            if retain and topic == self._description_of(slot.device.id):
                self.overheard += self.asked is not None and payload == slot.raw  # one of all descriptions
            elif retain and self._is_suspect(slot.device.id):
                self._ledger.dropped[_NOT_OURS] += 1
                return False
            effect = slot.put(payload, retain, wall)
            if effect is Effect.DESCRIPTION:
                self._redeclare(slot.device)
            if not slot.raw:
                self._close(topic, slot)
            if effect is Effect.DESCRIPTION:
                self._relate(slot.device.id, slot.device.description, payload, live=not retain)
        if self._ledger.overflowed or self._learnt:
            self._ledger.overflowed = self._learnt = False
            return True
        return effect is not Effect.NOTHING

    def _open(self, text: str, payload: bytes, retain: bool) -> Slot | None:
        """The slot for a topic that has none; ``None`` if there is nothing to be kept."""
        topic = self._understand(text)
        if topic is None:
            return None
        if topic.kind is TopicKind.DESCRIPTION:
            if not (payload and self._is_asked(topic.device)):
                self._overhear(topic.device, payload, live=not retain)
                return None
        elif not payload:  # an empty one deletes what is not there
            return None
        elif self._is_foreign(topic.device) or (retain and self._is_suspect(topic.device)):
            self._ledger.dropped[_NOT_OURS] += 1
            return None
        device = self._device(topic.device)
        if device is None or (topic.kind is not TopicKind.LOG and self._is_full(device)):
            if topic.kind is TopicKind.DESCRIPTION:
                self._relate(topic.device, None, payload, live=not retain)
            return None
        slot = self._slots[text] = SLOTS[topic.kind](self._ledger, device, topic)
        device.topics += 1
        if isinstance(slot, PropertySlot):
            slot.node.topics += 1
            self._properties.setdefault(device.id, {})[text] = slot
        return slot

    def _is_full(self, device: Device) -> bool:
        limits = self._ledger.limits
        full = len(self._slots) >= limits.topics or device.topics >= limits.device_topics
        if full:
            self._ledger.overflow(device, "too many topics")
        return full

    def _understand(self, text: str) -> Topic | None:
        try:
            topic = parse_topic(text, levels=self._levels)
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

    def _clear(self, text: str) -> None:
        """Forget what is kept for a topic."""
        slot = self._slots.get(text)
        if slot is not None:
            if slot.put(b"", retain=False, wall=0.0) is Effect.DESCRIPTION:
                self._redeclare(slot.device)
            self._close(text, slot)

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

    # --- whose it is ---

    def _is_asked(self, device: str) -> bool:
        return self.asked is None or device in self.asked

    def _is_foreign(self, device: str) -> bool:
        """Whether it is said to be another tree's than that of the pinned root."""
        return self._root is not None and device != self._root and bool(self.kinship.others(device, self._root))

    def _is_suspect(self, device: str) -> bool:
        """Whether what the broker has retained for a device may be another's."""
        return device in self._suspects or (
            self._root is not None and device != self._root and self.kinship.was_listed_outside(device, self._root)
        )

    def _description_of(self, device: str) -> str:
        return description_topic(self.domain, device)

    def _overhear(self, device: str, payload: bytes, *, live: bool) -> None:
        """A description of which nothing is kept but what it says of kinship."""
        self.overheard += 1
        description = self._parse(device, payload)
        if not payload:
            self.kinship.note(device, None, live=live)
        elif description is None:
            self._ledger.dropped["malformed $description"] += 1
            return
        elif not self.kinship.overhear(device, description, live=live):
            self._ledger.dropped["too many devices"] += 1
            return
        self._review()

    def _relate(self, device: str, description: DeviceDescription | None, payload: bytes, *, live: bool) -> None:
        """A device that is asked for has another description, or none, or one that does not fit."""
        if payload and description is None:  # whose it is counts all the same
            said = self._parse(device, payload)
            if said is None:
                return
            description = attrs.evolve(said, children=())
        self.kinship.note(device, description, live=live)
        self._review()

    def _parse(self, device: str, payload: bytes) -> DeviceDescription | None:
        try:
            return parse_description(payload, device)
        except DescriptionError:
            return None

    def _review(self) -> None:
        """Kinship is not what it was: give up what is kept of devices that may be another tree's."""
        if self._root is None:
            return
        before, self._tree = self._tree, self.kinship.tree(self._root)
        self._learnt = self._learnt or self._tree[:2] != before[:2]
        for name in {*self.devices, *self._tree.strangers}:
            if self._is_foreign(name):
                self._disown(name)
        old, self._claims = self._claims, self._find_claims()
        for name, claimants in old.items():
            if claimants - self._claims.get(name, set()) - self._tree.members.keys():  # and not one of us, told late
                self._disown(name)
        self.doubted |= self._tree.strangers.keys()

    def _find_claims(self) -> dict[str, AbstractSet[str]]:
        """The devices of which something is kept, or may come to be, that others have, too; and who these are."""
        kin, outside = self.kinship, self._tree.outside
        if not outside:
            return {}
        names = {*self.devices, *self._tree.strangers, *(kin.listed if self.asked is None else self.asked)}
        claims = {name: kin.claimants(name, outside) for name in names if name != self._root}
        return {name: claimants for name, claimants in claims.items() if claimants}

    def _disown(self, name: str) -> None:
        """Nothing that is kept of a device, but for its description, is known to be its own."""
        self._suspects.add(name)
        self.doubted.add(name)
        device, description = self.devices.get(name), self._description_of(name)
        if device is None or device.topics == (description in self._slots):
            return
        for text in [text for text, slot in self._slots.items() if slot.device is device and text != description]:
            self._clear(text)
        device.lifecycle = Lifecycle.UNKNOWN
        device.logs.clear()

    # --- for the owner ---

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
        is_description = understood.kind is TopicKind.DESCRIPTION
        if not self._is_asked(understood.device) if is_description else self._is_foreign(understood.device):
            self._ledger.dropped["too large"] += 1
            return
        device = self._device(understood.device)
        if device is not None:
            self._ledger.overflow(device, "too large")
            self._clear(topic)
            if is_description:
                self.kinship.note(device.id, None, live=False)
                self._review()
        self._ledger.overflowed = self._learnt = False  # who tells of it knows

    def forgive(self, device: str) -> None:
        """A device that has overflowed is asked for again: whether it fits is to be seen anew."""
        found = self.devices.get(device)
        if found is not None:
            found.overflowed = False
            if not found.topics:
                del self.devices[device]
                self._properties.pop(device, None)

    def pin(self, device: str) -> None:
        """Judge all others by this root; keep it, not heard of yet, whatever is cleared: it shall not be forgotten."""
        self.devices[device] = Device(device, topics=1)
        self._root = device
        self._tree = self.kinship.tree(device)

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
        """The ids of a tree, root first: what is reachable through ``children`` and is no other tree's.

        Includes children that are not there yet. See ``kinship``.
        """
        return list(self.kinship.tree(root).members)

    def holds(self, topic: str) -> bool:
        """Whether a value is kept for a topic, be it shown or not."""
        return self.holder(topic) is not None

    def holder(self, topic: str) -> str | None:
        """The device of which a value is kept for a topic; ``None``: there is no such value."""
        slot = self._slots.get(topic)
        return slot.device.id if isinstance(slot, PropertySlot) and not slot.is_target else None

    def concerns(self, message: Message) -> bool:
        """Whether a message is of a device that is asked for, or a description that bears on whose that is."""
        device, _, rest = message.topic.removeprefix(f"{self.domain}/{VERSION}/").partition("/")
        if self._is_asked(device):
            return True
        return rest == "$description" and (not message.payload or self.kinship.claims(device, self._tree))

    def value_topics(self, devices: Iterable[str] | None = None, *, shown: bool = False) -> set[str]:
        """The topics that carry property values: of all devices or of some, all of them or only those that show."""
        return {
            topic
            for device in (self._properties if devices is None else devices)
            for topic, slot in self._properties.get(device, {}).items()
            if not slot.is_target and (slot.datatype is not None or not shown)
        }
