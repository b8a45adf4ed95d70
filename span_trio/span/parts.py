"""The devices of a parent/child tree, by what they are; and who feeds whom.

The rules of this room:

* Devices are known by ``type``, never by id: ids differ between firmware and simulators and may change (facts,
  parent/child, section 2). Their nodes are capabilities, known by theirs.
* Of a device that is away (its own ``$state`` is not ``ready``, or it has just come back and its values are of before)
  only identity and wiring count: `Part.value` shows nothing else, whatever is retained. That is one rule for all
  classes of devices; the snapshot names them in ``away_devices``.
* Who feeds a device, where it sits and how its link is comes from one connection record, whose owner is a circuit or a
  pair of lugs (section 6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import attrs

from ..enums import RelativePosition
from ..homie import Device, Forest, Node, NodeDescription, PropertyDescription, Value
from .convert import text
from .fields import circuit_id

__all__ = ["CAPABILITY", "Feed", "Kind", "Part", "charger_keys", "direction_of", "feeds", "kind_of"]

CAPABILITY: Final = "energy.ebus.capability."
_DEVICE: Final = "energy.ebus.device."


class Kind(enum.Enum):
    """What a device of a parent/child tree is."""

    PANEL = "panel"
    LUGS = "lugs"
    CIRCUIT = "circuit"
    BESS = "battery"
    MID = "mid"
    PV = "pv"
    EVSE = "evse"
    OTHER = "other"


_KINDS: Final[Mapping[str, Kind]] = {
    f"{_DEVICE}circuit": Kind.CIRCUIT,
    f"{_DEVICE}bess": Kind.BESS,
    f"{_DEVICE}mid": Kind.MID,
    f"{_DEVICE}pv": Kind.PV,
    f"{_DEVICE}evse": Kind.EVSE,
}


def kind_of(device_type: str | None) -> Kind:
    """By its type; lugs may have their direction in it."""
    if device_type == f"{_DEVICE}lugs" or (device_type or "").startswith(f"{_DEVICE}lugs."):
        return Kind.LUGS
    return _KINDS.get(device_type or "", Kind.OTHER)


@attrs.define(eq=False)
class Part:
    """A described device of the tree, and its capabilities by name."""

    device: Device
    kind: Kind
    forest: Forest = attrs.field(repr=False)
    here: bool
    """Whether its readings are its own, and of now."""
    nodes: dict[str, Node] = attrs.field(factory=dict[str, Node])

    @classmethod
    def of(cls, device: Device, kind: Kind, forest: Forest, *, here: bool) -> Part:
        """The part that a device is now."""
        part = cls(device, kind, forest, here)
        capabilities = {name: _capability(description) for name, description in device.described.items()}
        # Those that say what they are come first; of several that say the same, the others are nothing known.
        for name in sorted(capabilities, key=lambda name: capabilities[name] is None):
            capability = capabilities[name] or name
            key = capability if capability not in part.nodes else f"{capability}#{name}"
            part.nodes[key] = device.nodes[name]
        return part

    @property
    def id(self) -> str:
        """The device's id."""
        return self.device.id

    def shows(self, capability: str, name: str) -> bool:
        """Whether a property counts: of a device that is away, identity and wiring only."""
        return (
            self.here
            or capability in {"info", "breaker"}
            or (capability == "connection" and not name.endswith("-status"))
        )

    def value(self, capability: str, name: str) -> Value | None:
        """A property's value, if it counts."""
        node = self.nodes.get(capability)
        if node is None or not (self.here or self.shows(capability, name)):
            return None
        return node.values.get(name)

    def text_of(self, capability: str, name: str) -> str | None:
        """A property as published, readable or not, if it counts and shows."""
        node = self.nodes.get(capability)
        if node is None or not self.shows(capability, name):
            return None
        declared = node.declared(name)
        if not (_is_bare(node) if declared is None else declared.retained):
            return None
        payload = self.forest.payload(self.id, node.id, name)
        return payload.decode(errors="replace") if payload else None

    def target(self, capability: str, name: str) -> Value | None:
        """A property's ``$target``, if it counts."""
        node = self.nodes.get(capability)
        return node.targets.get(name) if node is not None and self.shows(capability, name) else None

    def changed(self, capability: str, name: str) -> float | None:
        """When a property that counts has changed, Unix s; ``None`` if it has not on this link."""
        node = self.nodes.get(capability)
        return node.changed.get(name) if node is not None and self.shows(capability, name) else None

    def declared(self, capability: str, name: str) -> PropertyDescription | None:
        """A property's declaration in this device's own description."""
        node = self.nodes.get(capability)
        return None if node is None else node.declared(name)

    def settable(self, capability: str, name: str) -> bool:
        """Whether this device's own description declares a property as settable; firmware locks by omission."""
        declared = self.declared(capability, name)
        return declared is not None and declared.settable


def _capability(node: NodeDescription) -> str | None:
    """What a node says it is; ``None`` for one that does not say it."""
    said = node.type or ""
    return said.removeprefix(CAPABILITY) or None if said.startswith(CAPABILITY) else None


def _is_bare(node: Node) -> bool:
    return node.description is not None and node.description.properties is None


def direction_of(lugs: Part) -> str:
    """Which lugs: by what they say, in any case, else by their type (r202633 writes it in upper case)."""
    said = text(lugs.value("info", "direction"))
    if said:
        return said.upper()
    description = lugs.device.description
    return ("" if description is None else description.type or "").rpartition(".")[2].upper()


def charger_keys(chargers: Sequence[Part]) -> dict[str, Part]:
    """Chargers by their keys: the serial number, else the device's id.

    Two with one serial number, or with none, or with another's id for one, must not collapse (lesson s1).
    """
    serials = [text(charger.value("info", "serial-number")) for charger in chargers]
    ids = {charger.id for charger in chargers}
    keys: dict[str, Part] = {}
    for charger, serial in zip(chargers, serials, strict=True):
        unique = serial is not None and serials.count(serial) == 1 and serial not in ids - {charger.id}
        keys[serial if serial and unique else charger.id] = charger
    return keys


class Feed(NamedTuple):
    """What the connection record that names a device says of it."""

    circuit: str | None
    """The feeding circuit's id, as snapshots carry it; ``None`` for one on the lugs."""
    position: RelativePosition
    connected: bool | None


_LINKS: Final = {"OK": True, "LOST": False, "DEGRADED": False}


def feeds(circuits: Iterable[Part], upstream: Part | None, downstream: Part | None) -> dict[str, Feed]:
    """By device id: who feeds it. Of several records the lowest circuit's counts, then the lugs'."""
    records: dict[str, Feed] = {}

    def add(owner: Part | None, verb: str, circuit: str | None, position: RelativePosition) -> None:
        target = None if owner is None else text(owner.value("connection", f"{verb}-device-id"))
        if owner is not None and target:
            status = text(owner.value("connection", f"{verb}-device-status"))
            records.setdefault(target, Feed(circuit, position, _LINKS.get(status or "")))

    for part in sorted(circuits, key=lambda part: part.id):
        add(part, "feeds", circuit_id(part.id), RelativePosition.IN_PANEL)
    add(downstream, "feeds", None, RelativePosition.IN_PANEL)
    add(upstream, "fed-by", None, RelativePosition.UPSTREAM)
    return records
