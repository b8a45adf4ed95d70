"""The parent/child schema's fields, one line each: snapshot field <- capability/property and converter.

As `fields` for the flat schema: frames and signs are turned here, once. What needs more than one device (roles, links,
the battery's sign) is put in by the builder. What `KNOWN` has is read by one of these tables, or stands in `LEFT_OUT`
with a reason; anything else is an extension, so no property can be swallowed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from ..enums import (
    CommunicationState,
    DoorState,
    FeedsRole,
    ForecastConfidence,
    GridState,
    IslandingAssertion,
    LimitEnablement,
    MidGridState,
    RelayState,
    VendorCloud,
)
from ..homie import NodeDescription, Value
from ..model.devices import SpanBatterySnapshot, SpanMidSnapshot, SpanPcsSnapshot, SpanPVSnapshot
from .child_charger import EVSE
from .child_circuit import CIRCUIT, OUTSIDE
from .convert import flag, known, member, number, panel_model, text, whole
from .parts import Kind, Part
from .steps import NAMEPLATE, record, value
from .tables import Step, Table, table_of

__all__ = [
    "BATTERY",
    "CIRCUIT",
    "DOWNSTREAM",
    "EVSE",
    "KNOWN",
    "LEFT_OUT",
    "MID",
    "OUTSIDE",
    "PANEL",
    "PCS",
    "PV",
    "TABLES",
    "UPSTREAM",
]


def _cloud_up(said: Value | None) -> bool | None:
    return None if said is None else said == VendorCloud.CONNECTED


# --- the panel ---


def _policy(part: Part) -> Mapping[str, Any]:
    said: Any = part.value("shed", "policy")
    if type(said) is str:
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            said = None
    return cast("Mapping[str, Any]", said) if isinstance(said, dict) else {}


def _algorithm(part: Part) -> str | None:
    name = _policy(part).get("algorithm")
    return name if isinstance(name, str) else None


def _threshold(name: str) -> Step:
    def make(part: Part) -> int | None:
        parameters = _policy(part).get("parameters") if _algorithm(part) == "soc-priority.v1" else None
        found = cast("Mapping[str, Any]", parameters).get(name) if isinstance(parameters, dict) else None
        return found if type(found) is int else None  # a boolean is no integer (lesson panel.py)

    return Step(make, ("shed/policy",))


def _at_service_entrance(part: Part) -> bool | None:
    """Whether the upstream lugs hang on the utility: declared and not told is not known."""
    if text(part.value("connection", "fed-by-device-id")):
        return False
    if part.value("connection", "service-rating") is not None:
        return True
    nodes = {name: node.description for name, node in part.nodes.items() if node.description is not None}
    connection = nodes.get("connection")
    is_bare = all(node.properties is None for node in nodes.values())
    return None if is_bare or (connection is not None and _declares_feeder(connection)) else True


def _declares_feeder(node: NodeDescription) -> bool:
    return node.properties is None or "fed-by-device-id" in {*node.properties, *node.malformed}


# Fields of the panel's own snapshot, from the panel and from its lugs.
PANEL: Final[Table] = {
    "serial_number": Step(lambda part: text(part.value("info", "serial-number")) or part.id, ("info/serial-number",)),
    "firmware_version": value("info/firmware-version", text),
    "vendor_name": value("info/vendor-name", text),
    "model": value("info/model", panel_model),
    "hardware_version": value("info/hardware-version", text),
    "data_model_version": value("info/data-model-version", text),
    "main_relay_state": value("status/relay", known(RelayState)),
    "door_state": value("door/state", known(DoorState)),
    "eth0_link": value("status/ethernet", flag),
    "wlan_link": value("status/wifi", flag),
    "wwan_link": value("status/cloud-connection", _cloud_up),
    "vendor_cloud": value("status/cloud-connection", member(VendorCloud)),
    "l1_voltage": value("meter/voltage-a", number),
    "l2_voltage": value("meter/voltage-b", number),
    "frequency_hz": value("meter/frequency", number),
    "busbar_current_a": value("meter/busbar-current", number),
    "main_breaker_rating_a": value("breaker/rating", whole),
    **{f"power_flow_{flow}": value(f"power-flows/{flow}", number) for flow in ("pv", "battery", "grid", "site")},
    "asserted_islanding_state": value("shed/asserted-islanding-state", member(IslandingAssertion)),
    "shed_policy": Step(lambda part: part.text_of("shed", "policy"), ("shed/policy",)),
    "shed_policy_algorithm": Step(_algorithm, ("shed/policy",)),
    "shed_soc_threshold_shed_percent": _threshold("soc-threshold-shed"),
    "shed_soc_threshold_release_percent": _threshold("soc-threshold-release"),
    "shed_time_to_priority_shed_min": value("shed-forecast/time-to-priority-shed", whole),
    "shed_total_time_remaining_min": value("shed-forecast/total-time-remaining", whole),
    "shed_full_charge_time_to_priority_shed_min": value("shed-forecast/full-charge-time-to-priority-shed", whole),
    "shed_full_charge_total_time_remaining_min": value("shed-forecast/full-charge-total-time-remaining", whole),
    "shed_forecast_confidence": value("shed-forecast/confidence", member(ForecastConfidence)),
}
UPSTREAM: Final[Table] = {
    "instant_grid_power_w": value("meter/active-power", number),
    "main_meter_energy_consumed_wh": value("meter/imported-energy", number),
    "main_meter_energy_produced_wh": value("meter/exported-energy", number),
    "upstream_l1_current_a": value("meter/current-a", number),
    "upstream_l2_current_a": value("meter/current-b", number),
    "upstream_protection_rating_a": value("connection/overcurrent-protection", whole),
    "service_rating_a": value("connection/service-rating", whole),
    "upstream_fed_by": record("fed-by"),
    "lugs_at_service_entrance": Step(
        _at_service_entrance, ("connection/fed-by-device-id", "connection/service-rating")
    ),
}
DOWNSTREAM: Final[Table] = {
    "feedthrough_power_w": value("meter/active-power", number),
    "feedthrough_energy_consumed_wh": value("meter/imported-energy", number),
    "feedthrough_energy_produced_wh": value("meter/exported-energy", number),
    "downstream_l1_current_a": value("meter/current-a", number),
    "downstream_l2_current_a": value("meter/current-b", number),
    "downstream_feeds": record("feeds"),
    "downstream_feeds_role": value("connection/feeds-role", member(FeedsRole)),
}


def _pcs_limit(field: str) -> dict[str, Step]:
    wire = field.replace("_", "-")
    return {
        f"{field}_import_limit_a": value(f"pcs/{wire}-import-limit", number),
        f"{field}_import_limit_enablement": value(f"pcs/{wire}-import-limit-enablement", member(LimitEnablement)),
        f"{field}_import_limit_active": value(f"pcs/{wire}-import-limit-active", flag),
    }


PCS: Final[Table] = table_of(
    SpanPcsSnapshot,
    {
        "enabled": value("pcs/enabled", flag),
        "active": value("pcs/active", flag),
        "import_limit_a": value("pcs/import-limit", number),
        "binding_constraint": value("pcs/binding-constraint", text),
        **_pcs_limit("feed"),
        **_pcs_limit("operator"),
        **_pcs_limit("off_grid"),
        **_pcs_limit("requested"),
    },
)

# --- the devices behind the circuits ---

_ID: Final = Step(lambda part: part.id)
BATTERY: Final[Table] = table_of(
    SpanBatterySnapshot,
    {
        **NAMEPLATE,
        "device_id": _ID,
        "soc_percentage": value("soc/soc", number),
        "soe_kwh": value("soc/soe", number),
        "power_w": value("meter/active-power", number),
        "communication_state": value("status/communication-state", member(CommunicationState)),
        "nameplate_capacity_kwh": value("info/nameplate-capacity", number),
    },
)
PV: Final[Table] = table_of(
    SpanPVSnapshot,
    {
        **{field: step for field, step in NAMEPLATE.items() if field != "part_number"},
        "device_id": _ID,
        "nameplate_capacity_w": value("info/nominal-power", number),
    },
)
MID: Final[Table] = table_of(
    SpanMidSnapshot,
    {
        **{field: step for field, step in NAMEPLATE.items() if field != "part_number"},
        "node_id": Step(lambda part: text(part.value("info", "serial-number")) or part.id, ("info/serial-number",)),
        "device_id": _ID,
        "hardware_version": value("info/hardware-version", text),
        "islanding_state": value("grid/islanding-state", member(GridState)),
        "grid_state": value("grid/grid-state", member(MidGridState)),
        "grid_forming_entity": value("grid/grid-forming-entity", text),
    },
)

TABLES: Final[Mapping[Kind, tuple[Table, ...]]] = {
    Kind.PANEL: (PANEL, PCS),
    Kind.LUGS: (),
    Kind.UPSTREAM: (UPSTREAM,),
    Kind.DOWNSTREAM: (DOWNSTREAM,),
    Kind.CIRCUIT: (CIRCUIT,),
    Kind.OUTSIDE: (OUTSIDE,),
    Kind.BESS: (BATTERY,),
    Kind.MID: (MID,),
    Kind.PV: (PV,),
    Kind.EVSE: (EVSE,),
    Kind.OTHER: (),
}

_DIRECTION: Final = {"info/direction": "it says which of the two the lugs are, and so do the names of their fields"}
LEFT_OUT: Final[Mapping[Kind, Mapping[str, str]]] = {Kind.UPSTREAM: _DIRECTION, Kind.DOWNSTREAM: _DIRECTION}
"""What no snapshot shows, and why, beside what is private (`private`)."""
KNOWN: Final[Mapping[Kind, frozenset[str]]] = {
    kind: frozenset(LEFT_OUT.get(kind, ())).union(*(step.names for table in tables for step in table.values()))
    for kind, tables in TABLES.items()
}
"""What is read into a field of a device of this kind; anything else on it is an extension."""
