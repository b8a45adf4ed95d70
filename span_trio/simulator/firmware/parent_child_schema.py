"""What a panel of data model 1.x declares (firmware r202633 and r202639): pure data.

The rules of this room:

* `RELEASES` says how the builds differ, though the data model of both is ``1.0`` (facts, section 9).
* `device_classes` is what the REST schema declares: class -> capability -> property -> declaration (section 3). It is a
  superset; what a device does not have, and what of it is locked, is said when it is described (`instance_of`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

import attrs

from ...errors import SpanPanelValidationError
from ...span.positions import PANEL_SIZES
from .flat_schema import declare

__all__ = [
    "DATA_MODEL_VERSION",
    "RELEASES",
    "Capabilities",
    "ParentChildRelease",
    "connection_record",
    "device_classes",
    "device_type",
    "instance_of",
    "parent_child_release",
]

Capabilities: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Capability -> property id -> declaration."""

DATA_MODEL_VERSION: Final = "1.0"


@attrs.frozen(kw_only=True)
class ParentChildRelease:
    """A build of firmware with device trees, and how it differs from the last one (r202639).

    Attributes:
        build: its number.
        respin: of the build.
        names_circuits: the description of a circuit names it; else it has its id for a name, as all others do.
        all_inverters: each inverter is a device; else the first alone is one, and all feeding circuits name it.
        bess_discharge_positive: the frame of the battery's meter; else charging is positive.
        fixes_sources: circuits with an inverter or a battery on them are locked.
        resends: what has not changed is sent again with what has.
        own_limit_only: a charger's limit is there only if a user has set it; else it is the ceiling.
        silent_mid: a grid switch behind a Remote Meter says nothing of itself.
        tells_hardware: ``/status`` tells the hardware version.
        goodbye: after a clean shutdown.
        limits_publishers: the broker drops what clients publish elsewhere than to ``…/set``.
        keeps_retained: retained values survive a restart of the service.
    """

    build: int
    respin: str = "03"
    names_circuits: bool = False
    all_inverters: bool = True
    bess_discharge_positive: bool = True
    fixes_sources: bool = True
    resends: bool = False
    own_limit_only: bool = True
    silent_mid: bool = False
    tells_hardware: bool = True
    goodbye: str = "disconnected"
    limits_publishers: bool = True
    keeps_retained: bool = True

    @property
    def firmware(self) -> str:
        """The version as the panel tells it."""
        return f"spanos3/r{self.build}/{self.respin}"


_R202633: Final = ParentChildRelease(
    build=202633,
    respin="02",
    names_circuits=True,
    all_inverters=False,
    bess_discharge_positive=False,
    fixes_sources=False,
    resends=True,
    own_limit_only=False,
    silent_mid=True,
    tells_hardware=False,
)
RELEASES: Final[Mapping[int, ParentChildRelease]] = {
    release.build: release for release in (_R202633, ParentChildRelease(build=202639))
}
"""Every public build with device trees, oldest first."""


def parent_child_release(build: int) -> ParentChildRelease:
    """The build with this number.

    Raises:
        SpanPanelValidationError: there is none.
    """
    if build not in RELEASES:
        raise SpanPanelValidationError(f"there is no parent/child build {build}: {', '.join(map(str, RELEASES))}")
    return RELEASES[build]


# --- declarations -----------------------------------------------------------------------------------------------------

_RELAY: Final = "UNKNOWN,OPEN,CLOSED"
_STATUS: Final = "OK,LOST,DEGRADED"
_ENABLEMENT: Final = "UNSPECIFIED,UNCONFIGURED,DISABLED,ENABLED"
_POLICY: Final = (
    '{"$id":"soc-priority.v1","type":"object","required":["algorithm","parameters"],"additionalProperties":false,'
    '"properties":{"algorithm":{"const":"soc-priority.v1"},"parameters":{"type":"object",'
    '"required":["soc-threshold-shed","soc-threshold-release"],"additionalProperties":false,"properties":{'
    '"soc-threshold-shed":{"type":"integer","minimum":0,"maximum":100,'
    '"description":"SoC percent below which SOC_THRESHOLD circuits shed"},'
    '"soc-threshold-release":{"type":"integer","minimum":0,"maximum":100,'
    '"description":"SoC percent above which shed SOC_THRESHOLD circuits restore"}}}}}'
)

_VENDOR: Final = {"vendor-name": declare("string", "Vendor name")}
_MODEL: Final = {"model": declare("string", "Model")}
_PART: Final = {"part-number": declare("string", "Part number")}
_SERIAL: Final = {"serial-number": declare("string", "Serial number")}
_HARDWARE: Final = {"hardware-version": declare("string", "Hardware version")}
_FIRMWARE: Final = {"firmware-version": declare("string", "Firmware version")}
_ENERGY: Final = {
    "active-power": declare("float", "Measured active power", "W"),
    "imported-energy": declare("float", "Measured energy imported", "Wh"),
    "exported-energy": declare("float", "Measured energy exported", "Wh"),
}


def connection_record(role: str, what: str) -> Mapping[str, Any]:
    """A connection record (facts, section 6): of ``fed-by`` or ``feeds``, to what."""
    way = "upstream" if role == "fed-by" else "downstream"
    return {
        f"{role}-device-id": declare("string", f"Homie device-id of the {way} device {what}"),
        f"{role}-device-type": declare("string", f"Homie $type of the {way} device"),
        f"{role}-device-status": declare("enum", f"Panel's view of comm health to the {way} device", form=_STATUS),
    }


_LIMITS: Final = {
    "feed": "Limit of maximum power feeding the distribution enclosure",
    "operator": "Operator-imposed maximum import limit",
    "off-grid": "Off-Grid limit maximum import power",
    "requested": "Requested limit maximum import power",
}


def _pcs() -> Mapping[str, Any]:
    limits = {
        name: declared
        for limit, title in _LIMITS.items()
        for name, declared in {
            f"{limit}-import-limit": declare("float", title, "A"),
            f"{limit}-import-limit-enablement": declare(
                "enum", f"Enablement status of the {limit}-import-limit", form=_ENABLEMENT
            ),
            f"{limit}-import-limit-active": declare("boolean", f"Is {limit}-import-limit currently being enforced?"),
        }.items()
    }
    return {
        "enabled": declare("boolean", "PCS system enabled"),
        "active": declare("boolean", "PCS system actively controlling one (or more) loads"),
        "import-limit": declare("float", "The power import limit currently being managed to", "A"),
        "binding-constraint": declare(
            "enum",
            "Which constraint class currently sets the import limit",
            form="FSR,DOE,VOLTAGE,OFF_GRID,REQUESTED,OPERATOR,NONE,UNKNOWN",
        ),
        **limits,
    }


def _enclosure(model: str) -> Capabilities:
    return {
        "info": {
            **_VENDOR,
            "model": declare("enum", "Model", form=",".join(dict.fromkeys((*PANEL_SIZES, model)))),
            **_SERIAL,
            **_HARDWARE,
            **_FIRMWARE,
            "data-model-version": declare("string", "eBus data-model version (parent/child schema discriminator)"),
        },
        "door": {"state": declare("enum", "Door state", form=_RELAY)},
        "status": {
            "relay": declare("enum", "Main relay", form=_RELAY),
            "ethernet": declare("boolean", "Is Ethernet network interface operational?"),
            "wifi": declare("boolean", "Is Wi-Fi network interface operational?"),
            "wifi-ssid": declare("string", "SSID to which Wi-Fi network interface is connected"),
            "cloud-connection": declare(
                "enum", "Device connected to vendor cloud?", form="UNKNOWN,UNCONNECTED,CONNECTED"
            ),
            "postal-code": declare("string", "Postal (Zip) code"),
            "time-zone": declare("string", "Time zone"),
        },
        "meter": {
            "voltage-a": declare("float", "L1 voltage", "V"),
            "voltage-b": declare("float", "L2 voltage", "V"),
        },
        "breaker": {"rating": declare("integer", "Main breaker rating", "A")},
        "power-flows": {
            "pv": declare("float", "PV power flow", "W"),
            "battery": declare("float", "Battery/BESS power flow", "W"),
            "grid": declare("float", "Grid power flow", "W"),
            "site": declare("float", "Site power flow", "W"),
        },
        "pcs": _pcs(),
        "shed-forecast": {
            "total-time-remaining": declare(
                "integer", "Estimated total time before all sheddable circuits are shed (off-grid runtime)", "min"
            ),
            "time-to-priority-shed": declare("integer", "Estimated time before the next priority tier is shed", "min"),
            "full-charge-total-time-remaining": declare(
                "integer", "Estimated total time assuming BESS starts at full charge", "min"
            ),
            "full-charge-time-to-priority-shed": declare(
                "integer", "Estimated time to next priority shed assuming BESS starts at full charge", "min"
            ),
            "confidence": declare("enum", "Confidence of the shed-forecast estimate", form="LOW,MEDIUM,HIGH"),
        },
        "shed": {
            "asserted-islanding-state": declare(
                "enum",
                "Consumer-asserted islanding-state (grid-state override during MID/BESS comm-loss)",
                form="NONE,ON_GRID,OFF_GRID",
                settable=True,
            ),
            "policy": declare("json", "Shed policy (algorithm and parameters)", form=_POLICY),
        },
        "doe": {  # never on MQTT
            "import-limit": declare("json", "Import limit of the dynamic operating envelope"),
            "export-limit": declare("json", "Export limit of the dynamic operating envelope"),
        },
    }


_CLASSES: Final[Mapping[str, Capabilities]] = {
    "lugs": {
        "info": {
            "direction": declare("enum", "Lugs feed direction: upstream or downstream", form="UPSTREAM,DOWNSTREAM")
        },
        "meter": {
            "current-a": declare("float", "L1 current", "A"),
            "current-b": declare("float", "L2 current", "A"),
            "active-power": declare("float", "Active power", "W"),
            "imported-energy": declare("float", "Imported energy", "Wh"),
            "exported-energy": declare("float", "Exported energy", "Wh"),
        },
        "connection": {
            **connection_record("fed-by", "feeding this lugs"),
            **connection_record("feeds", "fed by this lugs"),
            "count": declare("integer", "Number of physical units aggregated up/downstream"),
        },
    },
    "circuit": {
        "info": {
            "name": declare("string", "Circuit name"),
            "spaces": declare("string", "Physical panel position(s) the circuit occupies"),
        },
        "switch": {
            "relay": declare("enum", "Circuit relay state", form=_RELAY, settable=True),
            "relay-requester": declare(
                "enum",
                "Actor requesting the relay state",
                form="UNKNOWN,NONE,LOAD_SHED,USER,PCS,CONFIGURATION,FAULT",
            ),
            "relay-controllable": declare("boolean", "Can the circuit's relay be commanded by the user?"),
        },
        "breaker": {
            "rating": declare("integer", "Circuit breaker rating", "A"),
            "poles": declare("integer", "Number of breaker poles", form="1:4:1"),
        },
        "meter": {"current": declare("float", "Measured current", "A"), **_ENERGY},
        "load-shed": {
            "priority": declare(
                "enum",
                "Configured priority of circuit shedding when off-grid (dominant-power-source != GRID)",
                form="UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER",
                settable=True,
            )
        },
        "pcs": {
            "managed": declare("boolean", "Is circuit managed by PCS?"),
            "priority": declare("integer", "Circuit PCS priority ranking"),
        },
        "connection": {
            **connection_record("feeds", "fed by this circuit"),
            "count": declare("integer", "Number of physical units aggregated downstream (e.g. microinverters, packs)"),
        },
    },
    "bess": {
        "info": {
            **(_VENDOR | _MODEL | _PART | _SERIAL | _FIRMWARE),
            "nameplate-capacity": declare("float", "Nameplate capacity", "kWh"),
        },
        "soc": {"soc": declare("float", "State of charge", "%"), "soe": declare("float", "State of energy", "kWh")},
        "meter": {"active-power": declare("float", "Active power", "W")},
        "status": {"communication-state": declare("enum", "Communication state", form="OK,DEGRADED,LOST,UNKNOWN")},
    },
    "mid": {
        "info": _VENDOR | _SERIAL | _MODEL | _FIRMWARE | _HARDWARE,
        "grid": {
            "islanding-state": declare(
                "enum", "Islanding state of the BESS-integrated grid-forming device", form="ON_GRID,OFF_GRID,UNKNOWN"
            ),
            "grid-state": declare("enum", "Sensed grid condition", form="UP,DOWN,DEGRADED,UNKNOWN"),
            "grid-forming-entity": declare("string", "Identity of the currently grid-forming entity"),
        },
    },
    "pv": {
        "info": {**(_VENDOR | _MODEL | _SERIAL | _FIRMWARE), "nominal-power": declare("float", "Nominal power", "W")},
    },
    "evse": {
        "info": _VENDOR | _MODEL | _PART | _SERIAL | _FIRMWARE,
        "switch": {"lock-state": declare("enum", "Lock state", form="UNLOCKED,LOCKED")},
        "status": {"status": declare("enum", "Status", form="AVAILABLE,PREPARING,CHARGING,UNAVAILABLE")},
        "meter": {"advertised-current": declare("float", "Current EVSE is advertising to the EV", "A")},
        "config": {
            "max-charge-current": declare(
                "integer", "Commissioned maximum EVSE charge current (installer-configured)", "A"
            ),
            "user-max-charge-current": declare(
                "integer", "User-configured maximum EVSE charge current (ceiling)", "A", settable=True
            ),
        },
    },
}


def device_classes(model: str) -> Mapping[str, Capabilities]:
    """What a panel of this model declares, by the last part of the devices' types."""
    return {"distribution-enclosure": _enclosure(model), **_CLASSES}


def device_type(kind: str) -> str:
    """The Homie type of a class."""
    return f"energy.ebus.device.{kind}"


def instance_of(
    capabilities: Capabilities, *, without: Collection[str], locked: Collection[str], formats: Mapping[str, str]
) -> Mapping[str, Any]:
    """The nodes of one device.

    Args:
        capabilities: of its class.
        without: the capabilities that it has not.
        locked: what cannot be set on it (``node/property``); which firmware says by not saying ``settable``.
        formats: of its own, of properties that are ``node/property``.
    """
    return {
        node: {
            "name": node,
            "type": f"energy.ebus.capability.{node}",
            "properties": {
                name: _own(found, locked=f"{node}/{name}" in locked, form=formats.get(f"{node}/{name}"))
                for name, found in declared.items()
            },
        }
        for node, declared in capabilities.items()
        if node not in without
    }


def _own(declared: Mapping[str, Any], *, locked: bool, form: str | None) -> Mapping[str, Any]:
    own = {key: value for key, value in declared.items() if key != "settable" or not locked}
    return own if form is None else {**own, "format": form}
