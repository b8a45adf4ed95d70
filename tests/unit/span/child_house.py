"""A parent/child panel: what its devices declare, publish, and where that must show.

`DECLARED` is what r202639 declares, on whichever hardware; `HOUSE` is one device of everything; `VALUES` says what
each property publishes and where that must show, one line each.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

ROOT: Final = "nt-2143-c1akc"
UP: Final = f"{ROOT}-lugs-up"
DOWN: Final = f"{ROOT}-lugs-dn"
KITCHEN: Final = "ac3dccda46a94b98878a227df6fed588"
SOLAR: Final = "770e2de52c33508a8a9ee8878064b46f"
GARAGE: Final = "9429f828509e58d59cb5f0f9f5fee523"
BESS: Final = f"{ROOT}-tg12"
MID: Final = f"{BESS}-mid"
PV: Final = f"{ROOT}-iq8"
DRIVE: Final = f"{ROOT}-sd-2231"
PANEL: Final = "distribution-enclosure"

_ENABLEMENT = "enum format=UNSPECIFIED,UNCONFIGURED,DISABLED,ENABLED"
_MAKER = "vendor-name string|serial-number string|model string|firmware-version string"
_STATUS = "enum format=OK,LOST,DEGRADED"
_FEEDS = f"feeds-device-id string|feeds-device-type string|feeds-device-status {_STATUS}|count integer"
_FED_BY = f"fed-by-device-id string|fed-by-device-type string|fed-by-device-status {_STATUS}"
_ROLE = (
    "backed-up enum format=BACKED_UP,NOT_BACKED_UP,UNKNOWN"
    "|feeds-role enum format=LOADS,SUBPANEL,SOLAR,STORAGE,GENERATOR,MIXED,UNUSED"
)
_SHARED = "shared-with-device-ids string"
_SITE = (  # private, all of them
    "name string|address-lines string|locality string|region string|country-code string"
    "|latitude float unit=°|longitude float unit=°|utility-meter-serial-number string"
)
_LIMITS = "|".join(
    f"{limit}-import-limit float unit=A|{limit}-import-limit-enablement {_ENABLEMENT}"
    f"|{limit}-import-limit-active boolean"
    for limit in ("feed", "operator", "off-grid", "requested")
)
_MINUTES = (
    "total-time-remaining|time-to-priority-shed|full-charge-total-time-remaining|full-charge-time-to-priority-shed"
)

# What r202639 declares, on any hardware: device type -> capability -> properties: id, datatype, and what else there is.
DECLARED: Final[Mapping[str, Mapping[str, str]]] = {
    PANEL: {
        "info": "vendor-name string|serial-number string|hardware-version string|firmware-version string"
        "|model enum format=MAIN_16,MLO_24,MAIN_32,MAIN_40,MLO_48|data-model-version string"
        f"|{_SITE}",
        "door": "state enum format=UNKNOWN,OPEN,CLOSED",
        "status": "relay enum format=UNKNOWN,OPEN,CLOSED|ethernet boolean|wifi boolean|wifi-ssid string"
        "|postal-code string|time-zone string|cloud-connection enum format=UNKNOWN,UNCONNECTED,CONNECTED",
        "meter": "voltage-a float unit=V|voltage-b float unit=V|frequency float unit=Hz|busbar-current float unit=A",
        "breaker": "rating integer unit=A",
        "power-flows": "pv float unit=W|battery float unit=W|grid float unit=W|site float unit=W",
        "pcs": f"enabled boolean|active boolean|import-limit float unit=A|binding-constraint enum|{_LIMITS}",
        "shed-forecast": "|".join(f"{name} integer unit=min" for name in _MINUTES.split("|"))
        + "|confidence enum format=LOW,MEDIUM,HIGH",
        "shed": "asserted-islanding-state enum format=NONE,ON_GRID,OFF_GRID settable|policy json",
    },
    "lugs": {
        "info": "direction enum format=UPSTREAM,DOWNSTREAM",
        "meter": "current-a float unit=A|current-b float unit=A|active-power float unit=W"
        "|imported-energy float unit=Wh|exported-energy float unit=Wh",
        "connection": f"{_FED_BY}|{_FEEDS}|{_ROLE}|service-rating integer unit=A|overcurrent-protection integer unit=A",
    },
    "circuit": {
        "info": "name string|spaces string|tags string|locations string|dedicated boolean|nominal-voltage float unit=V",
        "switch": "relay enum format=UNKNOWN,OPEN,CLOSED settable|relay-controllable boolean"
        "|relay-requester enum format=UNKNOWN,NONE,LOAD_SHED,USER,PCS,CONFIGURATION,FAULT"
        f"|{_SHARED}",
        "breaker": "rating integer unit=A|poles integer format=1:4:1"
        "|protection-functions enum format=OVERCURRENT,SHORT_CIRCUIT,GROUND_FAULT,ARC_FAULT",
        "meter": "current float unit=A|active-power float unit=W|imported-energy float unit=Wh"
        f"|exported-energy float unit=Wh|{_SHARED}",
        "load-shed": "priority enum format=UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER settable",
        "pcs": "managed boolean|priority integer",
        "connection": f"{_FED_BY}|{_FEEDS}|{_ROLE}",
    },
    "bess": {
        "info": f"{_MAKER}|part-number string|nameplate-capacity float unit=kWh",
        "soc": "soc float unit=%|soe float unit=kWh",
        "meter": "active-power float unit=W",
        "status": "communication-state enum format=OK,DEGRADED,LOST,UNKNOWN",
    },
    "mid": {
        "info": f"{_MAKER}|hardware-version string",
        "grid": "islanding-state enum format=ON_GRID,OFF_GRID,UNKNOWN|grid-state enum format=UP,DOWN,DEGRADED,UNKNOWN"
        "|grid-forming-entity string",
    },
    "pv": {"info": f"{_MAKER}|nominal-power float unit=W"},
    "evse": {
        "info": f"{_MAKER}|part-number string",
        "switch": "lock-state enum format=UNLOCKED,LOCKED",
        "status": "status enum format=AVAILABLE,PREPARING,CHARGING,UNAVAILABLE",
        "meter": "advertised-current float unit=A",
        "config": "max-charge-current integer unit=A|user-max-charge-current integer unit=A format=6:48 settable",
    },
}

House = Mapping[str, tuple[str, str | None]]
"""Device id -> its type (without what all types begin with), and its parent; the panel first."""

HOUSE: Final[House] = {
    ROOT: (PANEL, None),
    UP: ("lugs", ROOT),
    DOWN: ("lugs", ROOT),
    KITCHEN: ("circuit", ROOT),
    SOLAR: ("circuit", ROOT),
    GARAGE: ("circuit", ROOT),
    BESS: ("bess", ROOT),
    MID: ("mid", BESS),
    PV: ("pv", ROOT),
    DRIVE: ("evse", ROOT),
}
"""One of everything, and three circuits."""
SMALL: Final[House] = {ROOT: (PANEL, None), KITCHEN: ("circuit", ROOT)}


def house(*devices: str, **more: str) -> House:
    """A panel with the children ``id: type`` (keywords), beside those of `HOUSE` that are named."""
    chosen = {device: HOUSE[device] for device in HOUSE if device == ROOT or device in devices}
    return {**chosen, **{device: (kind, ROOT) for device, kind in more.items()}}


@functools.cache
def declarations(kind: str, capability: str) -> dict[str, dict[str, Any]]:
    """The properties of a capability, as a `$description` declares them."""
    declared: dict[str, dict[str, Any]] = {}
    for each in DECLARED[kind][capability].split("|"):
        name, datatype, *more = each.split()
        pairs = dict(item.split("=") for item in more if item != "settable")
        declared[name] = {"datatype": datatype, **pairs, **({"settable": True} if "settable" in more else {})}
    return declared


def describe(
    kind: str, *, children: Iterable[str] = (), parent: str | None = None, bare: bool = False, **overrides: Any
) -> dict[str, Any]:
    """A device's `$description` as r202639 publishes it, or bare.

    `overrides`: ``capability__property`` -> what to merge into its declaration, ``None`` to leave it out; `omit`:
    capabilities to leave out; `nodes`: more nodes.
    """
    omit, nodes = overrides.pop("omit", ()), overrides.pop("nodes", {})
    described: dict[str, Any] = {}
    for capability in DECLARED.get(kind, {}):
        if capability not in omit:
            described[capability] = {"type": f"energy.ebus.capability.{capability}"}
            if not bare:
                described[capability]["properties"] = dict(declarations(kind, capability))
    for path, change in overrides.items():
        capability, _, name = path.replace("_", "-").partition("--")
        properties = described[capability]["properties"]
        properties[name] = {**properties.get(name, {}), **(change or {})}
        if change is None:
            del properties[name]
    return {
        "homie": "5.0",
        "version": 1787880675281,
        "type": f"energy.ebus.device.{kind}",
        "name": f"A {kind}",
        "nodes": {**described, **nodes},
        "children": list(children),
        **({} if parent is None else {"root": ROOT, "parent": parent}),
    }


def messages_of(devices: House, *, bare: bool = False) -> dict[str, str]:
    """By topic below ``ebus/5/``: `$state` and `$description` of each device, and the data model's version."""
    found = {f"{ROOT}/info/data-model-version": "1.0"}
    for device, (kind, parent) in devices.items():
        children = [child for child, (_, of) in devices.items() if of == device]
        found[f"{device}/$state"] = "ready"
        found[f"{device}/$description"] = json.dumps(describe(kind, children=children, parent=parent, bare=bare))
    return found


class Line(NamedTuple):
    """A property of `HOUSE`: what it publishes, where that shows as what; and another payload, and how that shows."""

    topic: str
    payload: str
    path: tuple[str, ...]
    shows: Any
    other: str
    shows_then: Any


def _lines(device: str, at: tuple[str, ...], table: str) -> list[Line]:
    """Rows of `capability/property | field | payload => what it shows as | another payload => …`."""
    lines: list[Line] = []
    for row in table.strip().splitlines():
        name, field, first, second = (cell.strip() for cell in row.split("|"))
        payload, shows = _read(first)
        lines.append(Line(f"{device}/{name}", payload, (*at, field), shows, *_read(second)))
    return lines


def _read(cell: str) -> tuple[str, Any]:
    payload, _, shows = cell.partition(" => ")
    try:
        return payload, json.loads(shows or payload)
    except ValueError:
        return payload, shows or payload


# A value of its own for every property that can have one, so that none can stand in another's place unnoticed.
VALUES: Final[list[Line]] = [
    *_lines(
        ROOT,
        (),
        """
        info/serial-number          | serial_number         | nt-2143-c1akd      | nt-2
        info/firmware-version       | firmware_version      | spanos3/r202639/03 | spanos3/r202640/01
        info/vendor-name            | vendor_name           | SPAN               | Span
        info/model                  | model                 | MAIN_32            | MAIN_40
        info/hardware-version       | hardware_version      | H201               | H202
        status/relay                | main_relay_state      | CLOSED             | OPEN
        door/state                  | door_state            | OPEN               | CLOSED
        status/ethernet             | eth0_link             | true               | false
        status/wifi                 | wlan_link             | false              | true
        status/cloud-connection     | vendor_cloud          | CONNECTED          | UNCONNECTED
        meter/voltage-a             | l1_voltage            | 121.25             | 0 => 0.0
        meter/voltage-b             | l2_voltage            | 119.5              | 118 => 118.0
        meter/frequency             | frequency_hz          | 60.04              | 59.98
        meter/busbar-current        | busbar_current_a      | 31.5               | 0 => 0.0
        breaker/rating              | main_breaker_rating_a | 200                | 150
        power-flows/pv              | power_flow_pv         | -2001.5            | 1 => 1.0
        power-flows/battery         | power_flow_battery    | 1502.5             | 2 => 2.0
        power-flows/grid            | power_flow_grid       | -3003.5            | 3 => 3.0
        power-flows/site            | power_flow_site       | 3502.5             | 4 => 4.0
        shed/asserted-islanding-state | asserted_islanding_state | NONE        | UNKNOWN
        shed/policy                 | shed_policy         | {"algorithm":"x"} => "{\\"algorithm\\":\\"x\\"}"|{} => "{}"
        shed-forecast/total-time-remaining             | shed_total_time_remaining_min              | 41 | 0
        shed-forecast/time-to-priority-shed            | shed_time_to_priority_shed_min             | 42 | 1
        shed-forecast/full-charge-total-time-remaining | shed_full_charge_total_time_remaining_min  | 43 | 2
        shed-forecast/full-charge-time-to-priority-shed| shed_full_charge_time_to_priority_shed_min | 44 | 3
        shed-forecast/confidence                       | shed_forecast_confidence                 | HIGH | LOW
        """,
    ),
    *_lines(
        ROOT,
        ("pcs",),
        """
        pcs/enabled                          | enabled                           | true       | false
        pcs/active                           | active                            | false      | true
        pcs/import-limit                     | import_limit_a                    | 100.5      | 1 => 1.0
        pcs/binding-constraint               | binding_constraint                | FSR        | NONE
        pcs/feed-import-limit                | feed_import_limit_a               | 101.5      | 2 => 2.0
        pcs/feed-import-limit-enablement     | feed_import_limit_enablement      | ENABLED    | DISABLED
        pcs/feed-import-limit-active         | feed_import_limit_active          | true       | false
        pcs/operator-import-limit            | operator_import_limit_a           | 102.5      | 3 => 3.0
        pcs/operator-import-limit-enablement | operator_import_limit_enablement  | DISABLED   | ENABLED
        pcs/operator-import-limit-active     | operator_import_limit_active      | false      | true
        pcs/off-grid-import-limit            | off_grid_import_limit_a           | 103.5      | 4 => 4.0
        pcs/off-grid-import-limit-enablement | off_grid_import_limit_enablement  | UNSPECIFIED| ENABLED
        pcs/off-grid-import-limit-active     | off_grid_import_limit_active      | true       | false
        pcs/requested-import-limit           | requested_import_limit_a          | 104.5      | 5 => 5.0
        pcs/requested-import-limit-enablement| requested_import_limit_enablement | UNCONFIGURED | ENABLED
        pcs/requested-import-limit-active    | requested_import_limit_active     | false      | true
        """,
    ),
    *_lines(
        UP,
        (),
        """
        meter/active-power    | instant_grid_power_w          | 3001.5     | -4 => -4.0
        meter/imported-energy | main_meter_energy_consumed_wh | 8000001.25 | 0 => 0.0
        meter/exported-energy | main_meter_energy_produced_wh | 8000002.5  | 1 => 1.0
        meter/current-a       | upstream_l1_current_a         | 12.25      | 2 => 2.0
        meter/current-b       | upstream_l2_current_a         | 13.25      | 3 => 3.0
        connection/service-rating         | service_rating_a             | 100 | 200
        connection/overcurrent-protection | upstream_protection_rating_a | 125 | 80
        """,
    ),
    *_lines(
        DOWN,
        (),
        """
        meter/active-power    | feedthrough_power_w            | 501.5              | -5 => -5.0
        meter/imported-energy | feedthrough_energy_consumed_wh | 700001 => 700001.0 | 4 => 4.0
        meter/exported-energy | feedthrough_energy_produced_wh | 700002 => 700002.0 | 5 => 5.0
        meter/current-a       | downstream_l1_current_a        | 14.25              | 6 => 6.0
        meter/current-b       | downstream_l2_current_a        | 15.25              | 7 => 7.0
        connection/feeds-role | downstream_feeds_role          | UNUSED             | SUBPANEL
        """,
    ),
    *_lines(
        KITCHEN,
        ("circuits", KITCHEN),
        """
        info/name                  | name               | Kitchen           | Hall
        switch/relay               | relay_state        | OPEN              | CLOSED
        switch/relay/$target       | relay_state_target | CLOSED            | OPEN
        switch/relay-requester     | relay_requester    | LOAD_SHED         | USER
        switch/relay-controllable  | relay_controllable | true              | false
        switch/shared-with-device-ids | relay_shared_with | circuit-2 => ["circuit-2"] | circuit-3 => ["circuit-3"]
        meter/active-power         | instant_power_w    | -151.5 => 151.5   | 8 => -8.0
        meter/exported-energy      | consumed_energy_wh | 9001 => 9001.0    | 9003 => 9003.0
        meter/imported-energy      | produced_energy_wh | 9002 => 9002.0    | 9004 => 9004.0
        meter/current              | current_a          | 1.25              | 2.5
        meter/shared-with-device-ids | meter_shared_with | a, b => ["a", "b"] | a => ["a"]
        info/nominal-voltage       | nominal_voltage_v  | 240.0             | 120 => 120.0
        info/tags                  | tags               | OVEN,EVSE => ["OVEN", "EVSE"] | OVEN => ["OVEN"]
        info/locations             | locations          | KITCHEN => ["KITCHEN"] | HALL => ["HALL"]
        info/dedicated             | dedicated          | true              | false
        breaker/protection-functions | protection_functions | ARC_FAULT => ["ARC_FAULT"] | X => ["X"]
        connection/feeds-role      | feeds_role         | SOLAR             | LOADS
        breaker/rating             | breaker_rating_a   | 15                | 20
        info/spaces                | tabs               | 30,32 => [30, 32] | 29 => [29]
        breaker/poles              | is_240v            | 2 => true         | 1 => false
        load-shed/priority         | priority           | SOC_THRESHOLD     | NEVER
        load-shed/priority/$target | priority_target    | OFF_GRID          | NEVER
        pcs/managed                | pcs_managed        | true              | false
        pcs/priority               | pcs_priority       | 7                 | 8
        """,
    ),
    *_lines(
        BESS,
        ("battery",),
        """
        soc/soc                    | soc_percentage         | 51.25          | 0 => 0.0
        soc/soe                    | soe_kwh                | 6.75           | 7 => 7.0
        meter/active-power         | power_w                | -1502.5        | 5 => 5.0
        status/communication-state | communication_state    | DEGRADED       | OK
        info/nameplate-capacity    | nameplate_capacity_kwh | 13.5           | 27 => 27.0
        info/vendor-name           | vendor_name            | Tesla          | B1
        info/model                 | model                  | Powerwall 2 AC | B2
        info/part-number           | part_number            | 1232100-00-E   | B3
        info/serial-number         | serial_number          | TG12           | B4
        info/firmware-version      | software_version       | 23.44.0        | B5
        """,
    ),
    *_lines(
        MID,
        ("mid",),
        """
        info/vendor-name         | vendor_name         | Tesla    | M1
        info/model               | model               | Gateway  | M2
        info/serial-number       | serial_number       | TG12-M   | M3
        info/firmware-version    | software_version    | 1.4 => "1.4" | M4
        info/hardware-version    | hardware_version    | rev3     | M5
        grid/islanding-state     | islanding_state     | OFF_GRID | ON_GRID
        grid/grid-state          | grid_state          | DEGRADED | UP
        """,
    ),
    *_lines(MID, ("mid",), f"grid/grid-forming-entity | grid_forming_entity | {BESS} | GRID"),
    *_lines(
        PV,
        ("pv_inverters", SOLAR),
        """
        info/vendor-name      | vendor_name          | Enphase        | P1
        info/model            | model                | IQ8            | P2
        info/serial-number    | serial_number        | E-1            | P3
        info/firmware-version | software_version     | 8.2 => "8.2"   | P4
        info/nominal-power    | nameplate_capacity_w | 5000 => 5000.0 | 6000 => 6000.0
        """,
    ),
    *_lines(
        DRIVE,
        ("evse", "SD-2231"),
        """
        info/vendor-name                | vendor_name               | SPAN       | E1
        info/model                      | model                     | SPAN Drive | E2
        info/part-number                | part_number               | DRV-1      | E3
        info/firmware-version           | software_version          | 2.1 => "2.1" | E4
        switch/lock-state               | lock_state                | LOCKED     | UNLOCKED
        status/status                   | status                    | CHARGING   | AVAILABLE
        meter/advertised-current        | advertised_current_a      | 24.5       | 0 => 0.0
        config/max-charge-current       | charge_current_ceiling_a  | 40         | 48
        config/user-max-charge-current  | charge_current_limit_a    | 16         | 20
        config/user-max-charge-current/$target | charge_current_limit_target_a | 18 | 22
        """,
    ),
]
WIRING: Final[Mapping[str, str]] = {
    f"{UP}/info/direction": "UPSTREAM",
    f"{DOWN}/info/direction": "DOWNSTREAM",
    f"{SOLAR}/connection/feeds-device-id": PV,
    f"{SOLAR}/connection/feeds-device-type": "energy.ebus.device.pv",
    f"{SOLAR}/connection/feeds-device-status": "OK",
    f"{GARAGE}/connection/feeds-device-id": DRIVE,
    f"{GARAGE}/connection/feeds-device-type": "energy.ebus.device.evse",
    f"{GARAGE}/connection/feeds-device-status": "LOST",
    f"{UP}/connection/fed-by-device-id": BESS,
    f"{UP}/connection/fed-by-device-type": "energy.ebus.device.bess",
    f"{UP}/connection/fed-by-device-status": "OK",
    f"{DRIVE}/info/serial-number": "SD-2231",
}


def full_house_retained() -> dict[str, str]:
    """What a broker has retained of the full house, by topic below ``ebus/5/``."""
    return {**messages_of(HOUSE), **WIRING, **{line.topic: line.payload for line in VALUES}}
