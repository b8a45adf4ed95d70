"""Which devices a panel of data model 1.x has, what they are called, and how they describe themselves. Pure.

The rules of this room (facts on 1.x, section 2):

* A device has a *key*, which is always the same, and an id, which firmware makes from serial numbers and product names;
  those of inverters change when there are several.
* Ids are unique on a panel, whatever the serial numbers are; those of circuits and meters outside are the same on every
  panel of hardware 3.0.
* What a description calls a device is its id, but for the panel, and circuits of r202633.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from ..house.devices import MIN_CHARGE_A, PvSpec
from ..house.house import House
from .hardware3_schema import OUTSIDE
from .parent_child_schema import Capabilities, ParentChildRelease, device_type, instance_of

__all__ = ["BESS", "LUGS_DOWN", "LUGS_UP", "MID", "PANEL", "DeviceTree", "TreeDevice", "describe", "tree_of"]

PANEL: Final = "panel"
LUGS_UP: Final = "lugs-up"
LUGS_DOWN: Final = "lugs-dn"
BESS: Final = "bess"
MID: Final = "mid"
_NO_ID: Final = re.compile(r"[^a-z0-9]+")


@attrs.frozen
class TreeDevice:
    """One device.

    Attributes:
        key: what it is, for us.
        id: what it is, on the wire.
        kind: its class.
        name: as it is described.
        parent: the id of its parent; ``None``: it is the panel.
        index: of its circuit, inverter, charger or meter outside among the house's.
    """

    key: str
    id: str
    kind: str
    name: str
    parent: str | None
    index: int = 0

    @property
    def type(self) -> str:
        """Its Homie type."""
        return device_type("circuit" if self.kind == OUTSIDE else self.kind)


@attrs.frozen
class DeviceTree:
    """All devices of a panel.

    Attributes:
        devices: by key; parents before their children.
        feeds: circuit id -> the device that it feeds.
        upstream: what feeds the panel and is not the utility; ``None``: nothing that is known.
        fixed: ids of the circuits that are locked for what is on them.
    """

    devices: Mapping[str, TreeDevice]
    feeds: Mapping[str, TreeDevice]
    upstream: TreeDevice | None
    fixed: Collection[str]

    @property
    def by_id(self) -> Mapping[str, TreeDevice]:
        """The devices by id."""
        return {device.id: device for device in self.devices.values()}

    def id_of(self, key: str) -> str | None:
        """The id of a device, if there is one with this key."""
        device = self.devices.get(key)
        return None if device is None else device.id


def tree_of(house: House, release: ParentChildRelease, withdrawn: Collection[str]) -> DeviceTree:
    """The devices of a house, as a build of firmware shows them.

    Args:
        house: as it is.
        release: the build of the firmware.
        withdrawn: keys of devices that are not commissioned.
    """
    spec = house.spec
    devices = {device.key: device for device in _devices(house, release, withdrawn)}
    told = [devices.get(f"pv-{i}") for i in range(len(spec.all_pv))]
    if not release.all_inverters:  # all circuits name the one that is told of
        told = [next(filter(None, told), None)] * len(told)
    landed: list[tuple[Any, TreeDevice | None]] = [
        *([] if spec.bess is None else [(spec.bess, devices.get(BESS))]),
        *zip(spec.all_pv, told, strict=True),
        *((evse, devices.get(f"evse-{i}")) for i, evse in enumerate(spec.evse)),
    ]
    ids = {circuit.name: spec.id_of(circuit) for circuit in spec.circuits}
    ahead = (device for own, device in landed if own.feed is None and own.relative_position == "UPSTREAM")
    return DeviceTree(
        devices,
        {ids[own.feed]: device for own, device in landed if own.feed is not None and device is not None},
        next(filter(None, ahead), None),
        spec.source_ids if release.fixes_sources else (),
    )


def _devices(house: House, release: ParentChildRelease, withdrawn: Collection[str]) -> Iterator[TreeDevice]:
    spec = house.spec
    root = spec.device_id
    taken = {root}

    def child(
        key: str, wanted: str, kind: str, *, name: str | None = None, index: int = 0, parent: str = root
    ) -> Iterator[TreeDevice]:
        if key not in withdrawn:
            own = _unique(wanted, taken)
            yield TreeDevice(key, own, kind, name or own, parent, index)

    yield TreeDevice(PANEL, root, "distribution-enclosure", "SPAN Panel eBus Adapter", None)
    yield from child(LUGS_UP, f"{root}-lugs-up", "lugs")
    if spec.feedthrough is not None or spec.hardware_3:
        yield from child(LUGS_DOWN, f"{root}-lugs-dn", "lugs")
    for index, circuit in enumerate(house.circuits):
        name = circuit.spec.name if release.names_circuits else None
        yield from child(circuit.id, circuit.id, "circuit", name=name, index=index)
    for index, meter in enumerate(spec.outside_meters):
        yield from child(meter.device_id, meter.device_id, OUTSIDE, index=index)
    if spec.bess is not None:
        for bess in child(BESS, f"{root}-{_slug(spec.bess.serial_number) or 'bess'}", "bess"):
            yield bess
            serial = _slug(spec.bess.mid_serial_number)
            yield from child(MID, f"{root}-{serial}" if serial else f"{bess.id}-mid", "mid", parent=bess.id)
    for index, key, slug in () if spec.hardware_3 else _inverters(spec.all_pv, release, withdrawn):
        yield from child(key, f"{root}-{slug}", "pv", index=index)
    for index, evse in enumerate(spec.evse):
        yield from child(f"evse-{index}", f"{root}-{evse.node_id}", "evse", index=index)


def _inverters(
    inverters: Iterable[PvSpec], release: ParentChildRelease, withdrawn: Collection[str]
) -> list[tuple[int, str, str]]:
    """Those that are devices: index, key, and what their ids end in."""
    told = [(i, f"pv-{i}", pv) for i, pv in enumerate(inverters) if f"pv-{i}" not in withdrawn]
    if not release.all_inverters:
        told = told[:1]
    return [(i, key, _slug_of(pv, alone=len(told) == 1)) for i, key, pv in told]


def _slug_of(pv: PvSpec, *, alone: bool) -> str:
    """What an inverter's id ends in; alone, it is known by its product (facts, section 2)."""
    by_product, by_serial = _slug(pv.product_name), _slug(pv.serial_number)
    return (by_product or by_serial if alone else by_serial or by_product) or "pv"


def _slug(text: str) -> str:
    return _NO_ID.sub("-", text.lower()).strip("-")


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(name)
    return name


# --- descriptions -----------------------------------------------------------------------------------------------------


def describe(device: TreeDevice, tree: DeviceTree, capabilities: Capabilities, house: House) -> dict[str, Any]:
    """The ``$description`` of a device; its version is for the publisher to say.

    Args:
        device: which one.
        tree: where it stands.
        capabilities: of its class.
        house: as it is.
    """
    relatives = {} if device.parent is None else {"root": house.spec.device_id, "parent": device.parent}
    return {
        "homie": "5.0",
        "version": 0,
        "type": device.type,
        "name": device.name,
        "nodes": instance_of(
            capabilities,
            without=_without(device, tree, house),
            locked=_locked(device, tree, house),
            formats=_formats(device, house),
        ),
        "children": [other.id for other in tree.devices.values() if other.parent == device.id],
        **relatives,
        "extensions": [],
    }


def _without(device: TreeDevice, tree: DeviceTree, house: House) -> Collection[str]:
    if device.key != PANEL:
        return ()
    return (
        "doe",
        *(() if BESS in tree.devices else ("shed", "shed-forecast")),
        *(() if house.pcs is not None else ("pcs",)),
        *(() if house.spec.main_breaker_a is not None else ("breaker",)),
    )


def _locked(device: TreeDevice, tree: DeviceTree, house: House) -> Collection[str]:
    if device.kind != "circuit":
        return ()
    circuit = house.circuits[device.index]
    fixed = circuit.fixed or device.id in tree.fixed
    locks = {
        "switch/relay": fixed or circuit.locked,
        "load-shed/priority": fixed or circuit.priority_locked,
    }
    return [name for name, locked in locks.items() if locked]


def _formats(device: TreeDevice, house: House) -> Mapping[str, str]:
    if device.kind != "evse":
        return {}
    return {"config/user-max-charge-current": f"{MIN_CHARGE_A}:{house.spec.evse[device.index].max_current_a}"}
