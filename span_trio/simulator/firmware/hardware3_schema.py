"""What a panel of hardware 3.0 declares beyond what earlier ones declare: pure data.

The rules of this room:

* The data model is still 1.0: what is new is told by nothing but the declarations.
* Words, order of enum members and units are those of real panels; `DIFFERENCES` in the tests says where not, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .flat_schema import declare
from .parent_child_schema import Capabilities, connection_record

__all__ = ["OUTSIDE", "hardware_3_classes"]

OUTSIDE: Final = "outside"
"""The class of meters outside the panel. It is ours: on the wire, these are circuits that have nothing but a meter."""

_STRING: Final = "string"
_BACKED_UP: Final = "BACKED_UP,NOT_BACKED_UP,UNKNOWN"
_ISLAND: Final = "is on the backup (island) side of a microgrid interconnect device"
_ROLE: Final = {
    "feeds-role": declare(
        "enum",
        "Coarse role of a downstream node not published as its own eBus device",
        form="LOADS,SUBPANEL,SOLAR,STORAGE,GENERATOR,MIXED,UNUSED",
    )
}
_MORE: Final[Mapping[str, Capabilities]] = {
    "distribution-enclosure": {
        "info": {
            "model": declare("enum", "Model", form="UNKNOWN,MAIN_16,MLO_24,MAIN_32,MAIN_40,MLO_48"),
            "name": declare(_STRING, "User-assigned name for the site"),
            "address-lines": declare(_STRING, "Street address lines as recorded at commissioning"),
            "locality": declare(_STRING, "City or locality"),
            "region": declare(_STRING, "State, province or region"),
            "country-code": declare(_STRING, "Country or locale code as recorded at commissioning"),
            "latitude": declare("float", "Site latitude (WGS84 decimal degrees, positive north)", "°"),
            "longitude": declare("float", "Site longitude (WGS84 decimal degrees, positive east)", "°"),
            "utility-meter-serial-number": declare(_STRING, "Serial number of the utility meter serving the site"),
        },
        "meter": {
            "busbar-current": declare("float", "Estimated busbar current", "A"),
            "frequency": declare("float", "Line frequency", "Hz"),
        },
    },
    "lugs": {
        "connection": {
            **_ROLE,
            "backed-up": declare("enum", f"Whether the downstream path {_ISLAND}", form=_BACKED_UP),
            "service-rating": declare(
                "integer", "Utility service rating (service size) at a service-entrance connection point", "A"
            ),
            "overcurrent-protection": declare(
                "integer",
                "Overcurrent-protection rating at a connection point that is not itself a breaker-protected circuit",
                "A",
            ),
        },
    },
    "circuit": {
        "info": {
            "tags": declare(_STRING, "Load-type tags for the circuit"),
            "locations": declare(_STRING, "Where in the home the circuit serves"),
            "dedicated": declare("boolean", "Commissioned as serving a single load"),
            "nominal-voltage": declare("float", "Nominal circuit voltage", "V"),
        },
        "switch": {
            "relay-requester": declare(
                "enum",
                "Actor requesting the relay state",
                form="UNKNOWN,NONE,LOAD_SHED,USER,PCS,FAULT,CIRCUIT_SCHEDULER,CONTROL_MANAGER,MID_CONTROL_DER,"
                "MODBUS_CONTROL_REQUEST,NFT_RELAY_CONTROL,BATTERY_SOLAR_MID_RELAY_CONTROL",
            ),
            "shared-with-device-ids": declare(_STRING, "Other circuits this relay also switches"),
        },
        "breaker": {
            "protection-functions": declare(
                "enum", "Protections this breaker provides", form="OVERCURRENT,SHORT_CIRCUIT,GROUND_FAULT,ARC_FAULT"
            ),
        },
        "meter": {"shared-with-device-ids": declare(_STRING, "Other circuits this meter's hardware also measures")},
        "connection": {
            **connection_record("fed-by", ""),
            "fed-by-device-id": declare(_STRING, "Homie device-id of the device wired upstream of this circuit"),
            **_ROLE,
            "backed-up": declare("enum", f"Whether this circuit {_ISLAND}", form=_BACKED_UP),
        },
    },
    "evse": {"switch": {"lock-state": declare("enum", "Lock state", form="UNLOCKED,LOCKED", settable=True)}},
}
_LESS: Final[Mapping[str, str]] = {"evse": "meter"}


def hardware_3_classes(classes: Mapping[str, Capabilities]) -> dict[str, Capabilities]:
    """What a panel of hardware 3.0 declares, where earlier ones declare ``classes``; `OUTSIDE` is one of them."""
    found = {kind: _merged(capabilities, kind) for kind, capabilities in classes.items()}
    return {**found, OUTSIDE: {"meter": found["circuit"]["meter"]}}


def _merged(capabilities: Capabilities, kind: str) -> dict[str, Mapping[str, Any]]:
    more = _MORE.get(kind, {})
    return {
        node: {**declared, **more.get(node, {})} for node, declared in capabilities.items() if node != _LESS.get(kind)
    }
