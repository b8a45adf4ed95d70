"""The flat schema's fields, one line each: snapshot field <- property and converter.

Frames and signs are turned here, once. Each table is in the order of its class's fields, so that values can be handed
over by position (a test holds it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..enums import (
    DominantPowerSource,
    DoorState,
    EvseStatus,
    LimitEnablement,
    LockState,
    RelativePosition,
    RelayRequester,
    RelayState,
    ShedPriority,
    VendorCloud,
)
from ..homie import Device, Node, Value
from .convert import flag, known, member, number, reference, text, whole
from .derive import negated, tabs_of
from .tables import Step, Table, fixed

__all__ = [
    "BATTERY",
    "CIRCUIT",
    "CORE",
    "DOWNSTREAM",
    "EVSE",
    "FLOWS",
    "LUGS",
    "NOTHING",
    "PCS",
    "PV",
    "UPSTREAM",
    "circuit_id",
]


NOTHING: Final = Node("nothing", Device("nothing"))
"""Stands for a node that is not there: it has no values."""


def circuit_id(node: str) -> str:
    """A circuit's id as snapshots carry it. Topics keep the id of the wire."""
    return node.replace("-", "").lower()


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
    "model": _value("model", text),
    "hardware_version": _value("hardware-version", text),
    "main_relay_state": _value("relay", known(RelayState)),
    "door_state": _value("door", known(DoorState)),
    "eth0_link": _value("ethernet", flag),
    "wlan_link": _value("wifi", flag),
    "wwan_link": _value("vendor-cloud", _cloud_up),
    "wifi_ssid": _value("wifi-ssid", text),
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
CIRCUIT: Final[Table] = {
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
    # Flat $settable is the same on every circuit: the flag is the lock; none means permitted, an unreadable one locks.
    "is_user_controllable": Step(
        lambda node: flag(node.values.get("always-on")) is not True and "always-on" not in node.unreadable,
        ("always-on",),
    ),
    "is_sheddable": _value("sheddable", flag),
    "is_never_backup": _value("never-backup", flag),
    "always_on": _value("always-on", flag),
    "device_type": fixed("circuit"),
    "relative_position": fixed(None),
    "pcs_managed": _value("pcs-managed", flag),
    "pcs_priority": _value("pcs-priority", whole),
    "energy_accum_update_time_s": _changed("imported-energy", "exported-energy"),
    "instant_power_update_time_s": _changed("active-power"),
}
BATTERY: Final[Table] = {
    "soc_percentage": _value("soc", number),
    "soe_kwh": _value("soe", number),
    "power_w": fixed(None),
    "communication_state": fixed(None),
    "connected": _value("connected", flag),
    "nameplate_capacity_kwh": _value("nameplate-capacity", number),
    "vendor_name": _value("vendor-name", text),
    "model": _value("product-name", text),
    "part_number": _value("model", text),
    "serial_number": _value("serial-number", text),
    "software_version": _value("software-version", text),
}
PV: Final[Table] = {
    "vendor_name": _value("vendor-name", text),
    "model": _value("product-name", text),
    "serial_number": _value("serial-number", text),
    "software_version": _value("software-version", text),
    "nameplate_capacity_w": _value("nameplate-capacity", number),
    "feed_circuit_id": _value("feed", reference),
    "relative_position": _value("relative-position", member(RelativePosition)),
    "connected": fixed(None),
    "device_id": Step(lambda node: node.device.id),
    "node_id": Step(lambda node: node.id),
}
EVSE: Final[Table] = {
    "node_id": Step(lambda node: node.id),
    "feed_circuit_id": _value("feed", reference),
    "status": _value("status", known(EvseStatus)),
    "lock_state": _value("lock-state", known(LockState)),
    "advertised_current_a": _value("advertised-current", number),
    "vendor_name": _value("vendor-name", text),
    "model": _value("product-name", text),
    "part_number": _value("part-number", text),
    "serial_number": _value("serial-number", text),
    "software_version": _value("software-version", text),
    "connected": fixed(None),
    "charge_current_limit_a": _value("user-max-charge-current", whole),
    "charge_current_ceiling_a": _value("max-charge-current", whole),
    "charge_current_limit_target_a": _target("user-max-charge-current", whole),
    "charge_current_limit_settable": _settable("user-max-charge-current"),
    "effective_charge_current_limit_a": Step(_effective_limit, ("user-max-charge-current", "max-charge-current")),
}
PCS: Final[Table] = {
    "enabled": _value("enabled", flag),
    "active": _value("active", flag),
    "import_limit_a": _value("import-limit", number),
    "binding_constraint": fixed(None),
    **_pcs_limit("feed", "feed"),
    **_pcs_limit("operator", "grid"),
    **_pcs_limit("off_grid", "off-grid"),
    **_pcs_limit("requested", "requested"),
}
