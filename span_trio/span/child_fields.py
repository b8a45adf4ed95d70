"""The parent/child schema's fields, one line each: snapshot field <- capability/property and converter.

As `fields` for the flat schema: frames and signs are turned here, once, and each table is in the order of its class's
fields. What needs more than one device (roles, links, the battery's sign) is put in by the builder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from ..enums import (
    CommunicationState,
    DoorState,
    EvseStatus,
    ForecastConfidence,
    GridState,
    LimitEnablement,
    LockState,
    MidGridState,
    RelayRequester,
    RelayState,
    ShedPriority,
    VendorCloud,
)
from ..homie import Datatype, Fallback, PropertyDescription, Value
from .convert import flag, known, member, number, text, whole
from .derive import negated
from .fields import circuit_id
from .parts import CAPABILITY, Kind, Part
from .tables import Step, Table, fixed

__all__ = ["CAPABILITIES", "KNOWN", "TABLES", "charge_limit_names"]


def _split(path: str) -> tuple[str, str]:
    capability, _, name = path.partition("/")
    return capability, name


def _value(path: str, convert: Callable[[Value | None], Any]) -> Step:
    capability, name = _split(path)
    return Step(lambda part: convert(part.value(capability, name)), (path,))


def _target(path: str, convert: Callable[[Value | None], Any]) -> Step:
    capability, name = _split(path)
    return Step(lambda part: convert(part.target(capability, name)), (path,))


def _negative(value: Value | None) -> float | None:
    return negated(number(value))


def _changed(*paths: str) -> Step:
    """When the newest of these properties changed, Unix s."""
    places = [_split(path) for path in paths]

    def newest(part: Part) -> int | None:
        times = [part.changed(*place) for place in places]
        return max((int(time) for time in times if time is not None), default=None)

    return Step(newest, paths)


def _cloud_up(value: Value | None) -> bool | None:
    return None if value is None else value == VendorCloud.CONNECTED


# --- the panel ---

PANEL: Final[Table] = {
    "firmware_version": _value("info/firmware-version", text),
    "vendor_name": _value("info/vendor-name", text),
    "model": _value("info/model", text),
    "hardware_version": _value("info/hardware-version", text),
    "main_relay_state": _value("status/relay", known(RelayState)),
    "door_state": _value("door/state", known(DoorState)),
    "eth0_link": _value("status/ethernet", flag),
    "wlan_link": _value("status/wifi", flag),
    "wwan_link": _value("status/cloud-connection", _cloud_up),
    "wifi_ssid": _value("status/wifi-ssid", text),
    "vendor_cloud": _value("status/cloud-connection", member(VendorCloud)),
    "l1_voltage": _value("meter/voltage-a", number),
    "l2_voltage": _value("meter/voltage-b", number),
    "main_breaker_rating_a": _value("breaker/rating", whole),
}
FLOWS: Final[Table] = {
    f"power_flow_{flow}": _value(f"power-flows/{flow}", number) for flow in ("pv", "battery", "grid", "site")
}


def _policy(part: Part) -> Mapping[str, Any]:
    value: Any = part.value("shed", "policy")
    if type(value) is str:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _algorithm(part: Part) -> str | None:
    name = _policy(part).get("algorithm")
    return name if isinstance(name, str) else None


def _threshold(name: str) -> Step:
    def make(part: Part) -> int | None:
        parameters = _policy(part).get("parameters") if _algorithm(part) == "soc-priority.v1" else None
        value = cast("Mapping[str, Any]", parameters).get(name) if isinstance(parameters, dict) else None
        return value if type(value) is int else None  # a boolean is no integer (lesson panel.py)

    return Step(make, ("shed/policy",))


SHED: Final[Table] = {
    "shed_policy": Step(lambda part: part.text_of("shed", "policy"), ("shed/policy",)),
    "shed_policy_algorithm": Step(_algorithm, ("shed/policy",)),
    "shed_soc_threshold_shed_percent": _threshold("soc-threshold-shed"),
    "shed_soc_threshold_release_percent": _threshold("soc-threshold-release"),
    "shed_time_to_priority_shed_min": _value("shed-forecast/time-to-priority-shed", whole),
    "shed_total_time_remaining_min": _value("shed-forecast/total-time-remaining", whole),
    "shed_full_charge_time_to_priority_shed_min": _value("shed-forecast/full-charge-time-to-priority-shed", whole),
    "shed_full_charge_total_time_remaining_min": _value("shed-forecast/full-charge-total-time-remaining", whole),
    "shed_forecast_confidence": _value("shed-forecast/confidence", member(ForecastConfidence)),
}


def _pcs_limit(field: str) -> dict[str, Step]:
    wire = field.replace("_", "-")
    return {
        f"{field}_import_limit_a": _value(f"pcs/{wire}-import-limit", number),
        f"{field}_import_limit_enablement": _value(f"pcs/{wire}-import-limit-enablement", member(LimitEnablement)),
        f"{field}_import_limit_active": _value(f"pcs/{wire}-import-limit-active", flag),
    }


PCS: Final[Table] = {
    "enabled": _value("pcs/enabled", flag),
    "active": _value("pcs/active", flag),
    "import_limit_a": _value("pcs/import-limit", number),
    "binding_constraint": _value("pcs/binding-constraint", text),
    **_pcs_limit("feed"),
    **_pcs_limit("operator"),
    **_pcs_limit("off_grid"),
    **_pcs_limit("requested"),
}

# --- lugs and circuits ---

LUGS: Final[Table] = {
    "power": _value("meter/active-power", number),
    "imported": _value("meter/imported-energy", number),
    "exported": _value("meter/exported-energy", number),
    "l1_current": _value("meter/current-a", number),
    "l2_current": _value("meter/current-b", number),
}


def _tabs(part: Part) -> tuple[int, ...]:
    spaces = part.value("info", "spaces")
    parts = str(spaces).split(",") if type(spaces) in {str, int} else []
    found = [int(each) for each in map(str.strip, parts) if each.isascii() and each.isdigit() and len(each) < 5]
    return tuple(tab for tab in dict.fromkeys(found) if tab > 0)


def _is_240v(part: Part) -> bool | None:
    poles = whole(part.value("breaker", "poles"))
    return None if poles is None else poles >= 2


def _always_on(part: Part) -> bool | None:
    controllable = flag(part.value("switch", "relay-controllable"))
    return None if controllable is None else not controllable  # the opposite polarity of flat (changelog r202633)


def _user_controllable(part: Part) -> bool:
    """Declared as settable, and not locked: a declaration may be stale after recommissioning (section 4)."""
    if "switch" in part.nodes and "relay-controllable" in part.nodes["switch"].unreadable:
        return False
    return part.here and part.settable("switch", "relay") and _always_on(part) is not True


def _sheddable(part: Part) -> bool | None:
    priority = part.value("load-shed", "priority")
    if priority is None or priority == ShedPriority.UNKNOWN:
        return None
    return priority != ShedPriority.NEVER and _always_on(part) is not True


def _never_backup(part: Part) -> bool | None:
    declared = part.declared("load-shed", "priority")
    return None if declared is None else not declared.settable


CIRCUIT: Final[Table] = {
    "circuit_id": Step(lambda part: circuit_id(part.id)),
    "name": _value("info/name", text),
    "relay_state": _value("switch/relay", known(RelayState)),
    "relay_state_target": _target("switch/relay", member(RelayState)),
    "relay_requester": _value("switch/relay-requester", known(RelayRequester)),
    "instant_power_w": _value("meter/active-power", _negative),
    "consumed_energy_wh": _value("meter/exported-energy", number),
    "produced_energy_wh": _value("meter/imported-energy", number),
    "current_a": _value("meter/current", number),
    "breaker_rating_a": _value("breaker/rating", whole),
    "tabs": Step(_tabs, ("info/spaces",)),
    "is_240v": Step(_is_240v, ("breaker/poles",)),
    "priority": _value("load-shed/priority", known(ShedPriority)),
    "priority_target": _target("load-shed/priority", member(ShedPriority)),
    "is_user_controllable": Step(_user_controllable, ("switch/relay-controllable",)),
    "is_sheddable": Step(_sheddable, ("load-shed/priority", "switch/relay-controllable")),
    "is_never_backup": Step(_never_backup),
    "always_on": Step(_always_on, ("switch/relay-controllable",)),
    "device_type": fixed("circuit"),
    "relative_position": fixed(None),
    "pcs_managed": _value("pcs/managed", flag),
    "pcs_priority": _value("pcs/priority", whole),
    "energy_accum_update_time_s": _changed("meter/imported-energy", "meter/exported-energy"),
    "instant_power_update_time_s": _changed("meter/active-power"),
}

# --- the devices behind them ---

_NAMEPLATE: Final[Table] = {
    "vendor_name": _value("info/vendor-name", text),
    "model": _value("info/model", text),
    "part_number": _value("info/part-number", text),
    "serial_number": _value("info/serial-number", text),
    "software_version": _value("info/firmware-version", text),
}
BATTERY: Final[Table] = {
    "soc_percentage": _value("soc/soc", number),
    "soe_kwh": _value("soc/soe", number),
    "power_w": _value("meter/active-power", number),
    "communication_state": _value("status/communication-state", member(CommunicationState)),
    "connected": fixed(None),
    "nameplate_capacity_kwh": _value("info/nameplate-capacity", number),
    **_NAMEPLATE,
}
PV: Final[Table] = {
    **{field: step for field, step in _NAMEPLATE.items() if field != "part_number"},
    "nameplate_capacity_w": _value("info/nominal-power", number),
    "feed_circuit_id": fixed(None),
    "relative_position": fixed(None),
    "connected": fixed(None),
    "device_id": Step(lambda part: part.id),
    "node_id": fixed(None),
}
MID: Final[Table] = {
    "node_id": Step(lambda part: text(part.value("info", "serial-number")) or part.id, ("info/serial-number",)),
    "serial_number": _value("info/serial-number", text),
    "vendor_name": _value("info/vendor-name", text),
    "model": _value("info/model", text),
    "software_version": _value("info/firmware-version", text),
    "hardware_version": _value("info/hardware-version", text),
    "islanding_state": _value("grid/islanding-state", member(GridState)),
    "grid_state": _value("grid/grid-state", member(MidGridState)),
    "grid_forming_entity": _value("grid/grid-forming-entity", text),
    "grid_forming_device_name": fixed(None),
}

_CHARGE_LIMITS: Final = (  # spellings, in the order in which they count: capability, ceiling, user's limit (section 4)
    ("charge-limit", "installer-max", "owner-limit"),
    ("config", "max-charge-current", "user-max-charge-current"),
)
_CHARGE_LIMIT_PATHS: Final = tuple(f"{capability}/{name}" for capability, *names in _CHARGE_LIMITS for name in names)


def charge_limit_names(part: Part) -> tuple[str, str, str]:
    """How this charger spells its limits: the first spelling of which it declares, or publishes, either property."""
    for capability, ceiling, limit in _CHARGE_LIMITS:
        for name in (ceiling, limit):
            if part.declared(capability, name) is not None or part.value(capability, name) is not None:
                return capability, ceiling, limit
    return _CHARGE_LIMITS[-1]


def _ceiling(part: Part) -> int | None:
    capability, ceiling, _ = charge_limit_names(part)
    return whole(part.value(capability, ceiling))


def _limit(part: Part) -> int | None:
    """The user's limit; equal to the ceiling it is none, but left over from before r202639 (section 4)."""
    capability, _, limit = charge_limit_names(part)
    found = whole(part.value(capability, limit))
    return None if found == _ceiling(part) else found


def _limit_target(part: Part) -> int | None:
    capability, _, limit = charge_limit_names(part)
    return whole(part.target(capability, limit))


def _limit_settable(part: Part) -> bool:
    capability, _, limit = charge_limit_names(part)
    return part.here and part.settable(capability, limit)


def _effective_limit(part: Part) -> int | None:
    limit = _limit(part)
    return _ceiling(part) if limit is None else limit


EVSE: Final[Table] = {
    "node_id": fixed(""),
    "feed_circuit_id": fixed(None),
    "status": _value("status/status", known(EvseStatus)),
    "lock_state": _value("switch/lock-state", known(LockState)),
    "advertised_current_a": _value("meter/advertised-current", number),
    **_NAMEPLATE,
    "connected": fixed(None),
    "charge_current_limit_a": Step(_limit, _CHARGE_LIMIT_PATHS),
    "charge_current_ceiling_a": Step(_ceiling, _CHARGE_LIMIT_PATHS),
    "charge_current_limit_target_a": Step(_limit_target, _CHARGE_LIMIT_PATHS),
    "charge_current_limit_settable": Step(_limit_settable, _CHARGE_LIMIT_PATHS),
    "effective_charge_current_limit_a": Step(_effective_limit, _CHARGE_LIMIT_PATHS),
}

TABLES: Final[Mapping[Kind, tuple[Table, ...]]] = {
    Kind.PANEL: (PANEL, FLOWS, SHED, PCS),
    Kind.LUGS: (LUGS,),
    Kind.CIRCUIT: (CIRCUIT,),
    Kind.BESS: (BATTERY,),
    Kind.MID: (MID,),
    Kind.PV: (PV,),
    Kind.EVSE: (EVSE,),
    Kind.OTHER: (),
}

_RECORDS: Final = {
    verb: frozenset(f"connection/{verb}-device-{what}" for what in ("id", "type", "status"))
    for verb in ("feeds", "fed-by")
}
_READ_OTHERWISE: Final[Mapping[Kind, frozenset[str]]] = {  # by the builder, not by a table
    Kind.PANEL: frozenset({"info/serial-number", "info/data-model-version", "shed/asserted-islanding-state"}),
    Kind.LUGS: frozenset({"info/direction"}) | _RECORDS["feeds"] | _RECORDS["fed-by"],
    Kind.CIRCUIT: _RECORDS["feeds"],
}
KNOWN: Final[Mapping[Kind, frozenset[str]]] = {
    kind: _READ_OTHERWISE.get(kind, frozenset())
    | {name for table in tables for step in table.values() for name in step.names}
    for kind, tables in TABLES.items()
}
"""What has a place in a snapshot; anything else on a device of this kind is an extension."""

# Per capability and datatype, what every firmware declares: for descriptions that do not say.
_LIMITS: Final = ("feed", "operator", "off-grid", "requested")
_DATATYPES: Final[Mapping[str, Mapping[Datatype, str]]] = {
    "info": {
        Datatype.STRING: "vendor-name model serial-number hardware-version firmware-version data-model-version name "
        "spaces part-number",
        Datatype.ENUM: "direction",
        Datatype.FLOAT: "nameplate-capacity nominal-power",
    },
    "door": {Datatype.ENUM: "state"},
    "status": {
        Datatype.ENUM: "relay cloud-connection communication-state status",
        Datatype.BOOLEAN: "ethernet wifi",
        Datatype.STRING: "wifi-ssid postal-code time-zone",
    },
    "meter": {
        Datatype.FLOAT: "voltage-a voltage-b current-a current-b current active-power imported-energy exported-energy "
        "advertised-current"
    },
    "breaker": {Datatype.INTEGER: "rating poles"},
    "power-flows": {Datatype.FLOAT: "pv battery grid site"},
    "pcs": {
        Datatype.BOOLEAN: "enabled active managed " + " ".join(f"{limit}-import-limit-active" for limit in _LIMITS),
        Datatype.FLOAT: "import-limit " + " ".join(f"{limit}-import-limit" for limit in _LIMITS),
        Datatype.ENUM: "binding-constraint " + " ".join(f"{limit}-import-limit-enablement" for limit in _LIMITS),
        Datatype.INTEGER: "priority",
    },
    "shed-forecast": {
        Datatype.INTEGER: "total-time-remaining time-to-priority-shed full-charge-total-time-remaining "
        "full-charge-time-to-priority-shed",
        Datatype.ENUM: "confidence",
    },
    "shed": {Datatype.ENUM: "asserted-islanding-state", Datatype.JSON: "policy"},
    "switch": {Datatype.ENUM: "relay relay-requester lock-state", Datatype.BOOLEAN: "relay-controllable"},
    "load-shed": {Datatype.ENUM: "priority"},
    "connection": {
        Datatype.STRING: "fed-by-device-id fed-by-device-type feeds-device-id feeds-device-type",
        Datatype.ENUM: "fed-by-device-status feeds-device-status",
        Datatype.INTEGER: "count",
    },
    "soc": {Datatype.FLOAT: "soc soe"},
    "grid": {Datatype.ENUM: "islanding-state grid-state", Datatype.STRING: "grid-forming-entity"},
    "config": {Datatype.INTEGER: "max-charge-current user-max-charge-current"},
    "charge-limit": {Datatype.INTEGER: "installer-max owner-limit"},
    "grid-forming": {Datatype.BOOLEAN: "capable"},
}
CAPABILITIES: Final[Fallback] = {
    f"{CAPABILITY}{capability}": {
        name: PropertyDescription(name, datatype) for datatype, names in by_datatype.items() for name in names.split()
    }
    for capability, by_datatype in _DATATYPES.items()
}
"""Node type -> property id -> declaration (datatypes only)."""
