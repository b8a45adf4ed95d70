"""The devices of a parent/child tree, by what they are; and who feeds whom.

The rules of this room:

* Devices are known by ``type`` and by what they declare, never by id: ids differ between firmware and simulators and
  may change (facts, parent/child, section 2). Their nodes are capabilities, known by theirs.
* A circuit that declares no ``info/spaces`` has no place in the panel: it is a meter outside. What decides is the
  declaration, before any value and whatever the device is called. A bare description declares nothing, and decides
  nothing.
* Of a device that is away (its own ``$state`` is not ``ready``, or it has just come back and its values are of before)
  only identity and wiring count: `Part.value` shows nothing else, whatever is retained. That is one rule for all
  kinds of devices; the snapshot names them in ``away_devices``.
* Who feeds a device, where it sits and how its link is comes from one connection record, whose owner is a circuit or a
  pair of lugs (section 6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import attrs

from ..enums import LinkStatus, RelativePosition
from ..homie import Device, DeviceDescription, Forest, Lifecycle, Node, NodeDescription, PropertyDescription, Value
from .convert import panel_model, text
from .keys import unique_keys
from .published import published

__all__ = [
    "CAPABILITY",
    "CIRCUIT_TYPE",
    "Feed",
    "Kind",
    "Part",
    "charger_keys",
    "feeds",
    "inverter_keys",
    "kind_of",
    "parts_of",
]

CAPABILITY: Final = "energy.ebus.capability."
_DEVICE: Final = "energy.ebus.device."
_SHARED: Final = "shared-with-device-ids"


class Kind(enum.Enum):
    """What a device of a parent/child tree is."""

    PANEL = "panel"
    LUGS = "lugs"
    """Which of them, is not known, nor so what they measure."""
    UPSTREAM = "upstream lugs"
    DOWNSTREAM = "downstream lugs"
    CIRCUIT = "circuit"
    OUTSIDE = "meter outside the panel"
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
CIRCUIT_TYPE: Final = f"{_DEVICE}circuit"
"""The type of circuits, and of meters outside the panel."""
_DIRECTIONS: Final = {"UPSTREAM": Kind.UPSTREAM, "DOWNSTREAM": Kind.DOWNSTREAM}


def kind_of(description: DeviceDescription, direction: str | None = None) -> Kind:
    """By what a device declares; of lugs, which may have their direction in their type, also by what they say it is."""
    said = description.type or ""
    if said == f"{_DEVICE}lugs" or said.startswith(f"{_DEVICE}lugs."):
        return _DIRECTIONS.get((direction or said.rpartition(".")[2]).upper(), Kind.LUGS)
    kind = _KINDS.get(said, Kind.OTHER)
    return Kind.OUTSIDE if kind is Kind.CIRCUIT and _is_outside(description) else kind


def _is_outside(description: DeviceDescription) -> bool:
    """Whether a circuit declares properties, and no place in the panel; one that was spoilt is declared, too."""
    nodes = description.nodes.values()
    infos = [node for node in nodes if (_capability(node) or node.id) == "info"]
    placed = "info" in description.malformed or any(
        node.properties is None or "spaces" in node.properties or "spaces" in node.malformed for node in infos
    )
    return not placed and any(node.properties for node in nodes)


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
    def of(cls, device: Device, description: DeviceDescription, forest: Forest, *, is_root: bool) -> Part:
        """The part that a described device is now."""
        part = cls(device, Kind.PANEL, forest, is_root or device.lifecycle is Lifecycle.READY)
        capabilities = {name: _capability(description) for name, description in device.described.items()}
        # Those that say what they are come first; of several that say the same, the others are nothing known.
        for name in sorted(capabilities, key=lambda name: capabilities[name] is None):
            capability = capabilities[name] or name
            key = capability if capability not in part.nodes else f"{capability}#{name}"
            part.nodes[key] = device.nodes[name]
        if not is_root:
            part.kind = kind_of(description, text(part.value("info", "direction")))
        return part

    @property
    def id(self) -> str:
        """The device's id."""
        return self.device.id

    @property
    def called(self) -> str | None:
        """What people call it: a circuit's name, any other device's vendor and model, or a name that is not its id."""
        if self.kind in {Kind.CIRCUIT, Kind.OUTSIDE}:
            return text(self.value("info", "name"))
        maker = [text(self.value("info", "vendor-name")), panel_model(self.value("info", "model"))]
        description = self.device.description
        name = None if description is None or self.kind is Kind.PANEL else description.name  # a panel's is its site's
        return " ".join(word for word in maker if word) or (None if name == self.id else name)

    def shows(self, capability: str, name: str) -> bool:
        """Whether a property counts: of a device that is away, identity and wiring only."""
        return (
            self.here
            or capability in {"info", "breaker"}
            or name == _SHARED
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
        return published(self.forest, node, name)

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


def parts_of(forest: Forest, root: str) -> list[Part]:
    """The devices of a tree that are described, root first."""
    parts: list[Part] = []
    for name in forest.members(root):
        device = forest.devices.get(name)
        if device is not None and device.description is not None:
            parts.append(Part.of(device, device.description, forest, is_root=name == root))
    return parts


def charger_keys(chargers: Sequence[Part]) -> dict[str, Part]:
    """Chargers by their keys: the serial number, if no other has it, else the device's id (lesson s1)."""
    serials = [(text(charger.value("info", "serial-number")), charger.id) for charger in chargers]
    return dict(zip(unique_keys(serials), chargers, strict=True))


def inverter_keys(inverters: Sequence[Part], fed: Mapping[str, Feed]) -> dict[str, Part]:
    """Inverters by their keys: the feeding circuit's id, if no other has it, else the device's id."""
    circuits = [(fed[part.id].circuit if part.id in fed else None, part.id) for part in inverters]
    return dict(zip(unique_keys(circuits), inverters, strict=True))


class Feed(NamedTuple):
    """What the connection record that names a device says of it."""

    circuit: str | None
    """The feeding circuit's id; ``None`` for one on the lugs."""
    position: RelativePosition
    connected: bool | None


_LINKS: Final = {LinkStatus.OK.value: True, LinkStatus.LOST.value: False, LinkStatus.DEGRADED.value: False}


def feeds(circuits: Iterable[Part], upstream: Part | None, downstream: Part | None) -> dict[str, Feed]:
    """By device id: who feeds it. Of several records the lowest circuit's counts, then the lugs'."""
    records: dict[str, Feed] = {}

    def add(owner: Part | None, verb: str, circuit: str | None, position: RelativePosition) -> None:
        target = None if owner is None else text(owner.value("connection", f"{verb}-device-id"))
        if owner is not None and target:
            status = text(owner.value("connection", f"{verb}-device-status"))
            records.setdefault(target, Feed(circuit, position, _LINKS.get(status or "")))

    for part in sorted(circuits, key=lambda part: part.id):
        add(part, "feeds", part.id, RelativePosition.IN_PANEL)
    add(downstream, "feeds", None, RelativePosition.IN_PANEL)
    add(upstream, "fed-by", None, RelativePosition.UPSTREAM)
    return records
