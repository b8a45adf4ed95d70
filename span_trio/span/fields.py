"""The flat schema's fields, one line each: snapshot field <- property and converter.

Frames and signs are turned here, once. What `KNOWN` has is read by one of these tables, or stands in `LEFT_OUT` with a
reason; anything else is an extension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..enums import (
    DominantPowerSource,
    DoorState,
    EvseStatus,
    GridState,
    LimitEnablement,
    LockState,
    RelativePosition,
    RelayRequester,
    RelayState,
    ShedPriority,
    VendorCloud,
)
from ..homie import Device, Node, Value
from ..model.circuit import SpanCircuitSnapshot
from ..model.devices import SpanBatterySnapshot, SpanEvseSnapshot, SpanPcsSnapshot, SpanPVSnapshot
from .convert import flag, known, member, number, panel_model, reference, text, whole
from .derive import negated, tabs_of
from .keys import unique_keys
from .schema import NodeType
from .tables import Step, Table, table_of

__all__ = [
    "BATTERY",
    "CIRCUIT",
    "CORE",
    "DOWNSTREAM",
    "EVSE",
    "FLOWS",
    "GRID",
    "KNOWN",
    "LEFT_OUT",
    "LUGS",
    "NOTHING",
    "PCS",
    "PV",
    "UPSTREAM",
    "charger_keys",
    "circuit_id",
    "inverter_keys",
]


NOTHING: Final = Node("nothing", Device("nothing"))
"""Stands for a node that is not there: it has no values."""


def circuit_id(node: str) -> str:
    """A circuit's id as snapshots carry it. Topics keep the id of the wire."""
    return node.replace("-", "").lower()


def charger_keys(nodes: Sequence[Node]) -> dict[str, Node]:
    """Chargers by their keys: the serial number, if no other has it, else the node's id."""
    wanted = [(text(node.values.get("serial-number")), node.id) for node in nodes]
    return dict(zip(unique_keys(wanted), nodes, strict=True))


def inverter_keys(nodes: Sequence[Node]) -> dict[str, Node]:
    """Inverters by their keys: the feeding circuit's id, if no other has it, else the node's id."""
    wanted = [(reference(node.values.get("feed")), node.id) for node in nodes]
    return dict(zip(unique_keys(wanted), nodes, strict=True))


def _value(name: str, convert: Callable[[Value | None], Any]) -> Step:
    return Step(lambda node: convert(node.values.get(name)), (name,))


def _target(name: str, convert: Callable[[Value | None], Any]) -> Step:
    return Step(lambda node: convert(node.targets.get(name)), (name,))


def _negative(value: Value | None) -> float | None:
    return negated(number(value))


def _changed(*names: str) -> Step:
    """When the newest of these properties changed, Unix s."""

    def newest(node: Node) -> int | None:
        times = [node.changed[name] for name in names if name in node.changed]
        return int(max(times)) if times else None

    return Step(newest, names)


def _cloud_up(value: Value | None) -> bool | None:
    return None if value is None else value == VendorCloud.CONNECTED


def _settable(name: str) -> Step:
    def is_settable(node: Node) -> bool:
        declared = node.declared(name)  # in this charger's own description: nothing else is a permission
        return declared is not None and declared.settable

    return Step(is_settable)


def _effective_limit(node: Node) -> int | None:
    limit = whole(node.values.get("user-max-charge-current"))
    return whole(node.values.get("max-charge-current")) if limit is None else limit


def _pcs_limit(field: str, wire: str) -> dict[str, Step]:
    return {
        f"{field}_import_limit_a": _value(f"{wire}-import-limit", number),
        f"{field}_import_limit_enablement": _value(f"{wire}-import-limit-enablement", member(LimitEnablement)),
        f"{field}_import_limit_active": _value(f"{wire}-import-limit-active", flag),
    }


CORE: Final[Table] = {
    "firmware_version": _value("software-version", text),
    "vendor_name": _value("vendor-name", text),
    "serial_number": _value("serial-number", text),
    "model": _value("model", panel_model),
    "hardware_version": _value("hardware-version", text),
    "main_relay_state": _value("relay", known(RelayState)),
    "door_state": _value("door", known(DoorState)),
    "eth0_link": _value("ethernet", flag),
    "wlan_link": _value("wifi", flag),
    "wwan_link": _value("vendor-cloud", _cloud_up),
    "vendor_cloud": _value("vendor-cloud", member(VendorCloud)),
    "l1_voltage": _value("l1-voltage", number),
    "l2_voltage": _value("l2-voltage", number),
    "main_breaker_rating_a": _value("breaker-rating", whole),
    "dominant_power_source": _value("dominant-power-source", member(DominantPowerSource)),
    "grid_islandable": _value("grid-islandable", flag),
}
UPSTREAM, DOWNSTREAM = "UPSTREAM", "DOWNSTREAM"
LUGS: Final[Mapping[str, tuple[str, str]]] = {
    "instant_grid_power_w": (UPSTREAM, "active-power"),
    "feedthrough_power_w": (DOWNSTREAM, "active-power"),
    "main_meter_energy_consumed_wh": (UPSTREAM, "imported-energy"),
    "main_meter_energy_produced_wh": (UPSTREAM, "exported-energy"),
    "feedthrough_energy_consumed_wh": (DOWNSTREAM, "imported-energy"),
    "feedthrough_energy_produced_wh": (DOWNSTREAM, "exported-energy"),
    "upstream_l1_current_a": (UPSTREAM, "l1-current"),
    "upstream_l2_current_a": (UPSTREAM, "l2-current"),
    "downstream_l1_current_a": (DOWNSTREAM, "l1-current"),
    "downstream_l2_current_a": (DOWNSTREAM, "l2-current"),
}
FLOWS: Final[Table] = {f"power_flow_{flow}": _value(flow, number) for flow in ("pv", "battery", "grid", "site")}
_DEVICE: Final = Step(lambda node: node.device.id)
CIRCUIT: Final[Table] = table_of(
    SpanCircuitSnapshot,
    {
        "circuit_id": Step(lambda node: circuit_id(node.id)),
        "name": _value("name", text),
        "relay_state": _value("relay", known(RelayState)),
        "relay_state_target": _target("relay", member(RelayState)),
        "relay_requester": _value("relay-requester", known(RelayRequester)),
        "instant_power_w": _value("active-power", _negative),
        "consumed_energy_wh": _value("exported-energy", number),
        "produced_energy_wh": _value("imported-energy", number),
        "current_a": _value("current", number),
        "breaker_rating_a": _value("breaker-rating", whole),
        "tabs": Step(
            lambda node: tabs_of(whole(node.values.get("space")), flag(node.values.get("dipole"))), ("space", "dipole")
        ),
        "is_240v": _value("dipole", flag),
        "priority": _value("shed-priority", known(ShedPriority)),
        "priority_target": _target("shed-priority", member(ShedPriority)),
        # Flat $settable is the same on every circuit: the flag is the lock; none permits, an unreadable one locks.
        "is_user_controllable": Step(
            lambda node: flag(node.values.get("always-on")) is not True and "always-on" not in node.unreadable,
            ("always-on",),
        ),
        "is_sheddable": _value("sheddable", flag),
        "is_never_backup": _value("never-backup", flag),
        "always_on": _value("always-on", flag),
        "pcs_managed": _value("pcs-managed", flag),
        "pcs_priority": _value("pcs-priority", whole),
        "energy_accum_update_time_s": _changed("imported-energy", "exported-energy"),
        "instant_power_update_time_s": _changed("active-power"),
    },
)
BATTERY: Final[Table] = table_of(
    SpanBatterySnapshot,
    {
        "device_id": _DEVICE,
        "feed_circuit_id": _value("feed", reference),
        "relative_position": _value("relative-position", member(RelativePosition)),
        "soc_percentage": _value("soc", number),
        "soe_kwh": _value("soe", number),
        "connected": _value("connected", flag),
        "nameplate_capacity_kwh": _value("nameplate-capacity", number),
        "vendor_name": _value("vendor-name", text),
        "model": _value("product-name", text),
        "part_number": _value("model", text),
        "serial_number": _value("serial-number", text),
        "software_version": _value("software-version", text),
    },
)
GRID: Final[Table] = {"grid_state": _value("grid-state", member(GridState))}  # the battery's, shown by the panel
PV: Final[Table] = table_of(
    SpanPVSnapshot,
    {
        "vendor_name": _value("vendor-name", text),
        "model": _value("product-name", text),
        "serial_number": _value("serial-number", text),
        "software_version": _value("software-version", text),
        "nameplate_capacity_w": _value("nameplate-capacity", number),
        "feed_circuit_id": _value("feed", reference),
        "relative_position": _value("relative-position", member(RelativePosition)),
        "device_id": _DEVICE,
    },
)
EVSE: Final[Table] = table_of(
    SpanEvseSnapshot,
    {
        "node_id": Step(lambda node: node.id),  # until the builder knows better
        "device_id": _DEVICE,
        "feed_circuit_id": _value("feed", reference),
        "status": _value("status", known(EvseStatus)),
        "lock_state": _value("lock-state", known(LockState)),
        "lock_state_target": _target("lock-state", member(LockState)),
        "lock_state_settable": _settable("lock-state"),
        "advertised_current_a": _value("advertised-current", number),
        "vendor_name": _value("vendor-name", text),
        "model": _value("product-name", text),
        "part_number": _value("part-number", text),
        "serial_number": _value("serial-number", text),
        "software_version": _value("software-version", text),
        "charge_current_limit_a": _value("user-max-charge-current", whole),
        "charge_current_ceiling_a": _value("max-charge-current", whole),
        "charge_current_limit_target_a": _target("user-max-charge-current", whole),
        "charge_current_limit_settable": _settable("user-max-charge-current"),
        "effective_charge_current_limit_a": Step(_effective_limit, ("user-max-charge-current", "max-charge-current")),
    },
)
PCS: Final[Table] = table_of(
    SpanPcsSnapshot,
    {
        "enabled": _value("enabled", flag),
        "active": _value("active", flag),
        "import_limit_a": _value("import-limit", number),
        **_pcs_limit("feed", "feed"),
        **_pcs_limit("operator", "grid"),
        **_pcs_limit("off_grid", "off-grid"),
        **_pcs_limit("requested", "requested"),
    },
)

TABLES: Final[Mapping[str, tuple[Table, ...]]] = {
    NodeType.CORE: (CORE,),
    NodeType.CIRCUIT: (CIRCUIT,),
    NodeType.BESS: (BATTERY, GRID),
    NodeType.PV: (PV,),
    NodeType.EVSE: (EVSE,),
    NodeType.PCS: (PCS,),
    NodeType.POWER_FLOWS: (FLOWS,),
}
LEFT_OUT: Final[Mapping[str, str]] = {
    "direction": "it says which of the two the lugs are, and so do the names of their fields",
}
"""Of lugs, what no snapshot shows, and why, beside what is private (`private`)."""
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    **{
        kind: frozenset(name for table in tables for step in table.values() for name in step.names)
        for kind, tables in TABLES.items()
    },
    **{
        role: frozenset({*LEFT_OUT, *(name for of, name in LUGS.values() if of == role)})
        for role in (UPSTREAM, DOWNSTREAM)
    },
}
"""Node type, or which lugs -> what is read into a field of such a node; anything else on it is an extension."""
