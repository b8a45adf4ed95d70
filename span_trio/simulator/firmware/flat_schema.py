"""What a flat panel declares, build by build (firmware r202603 to r202627): pure data.

The rules of this room:

* `RELEASES` says, in one typed line each, how the builds differ; nothing else in the simulator compares build numbers.
* `node_types` declares what a build's REST schema declares, word for word: for r202603 and 32 spaces its hash is that
  of real panels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

from ...errors import SpanPanelValidationError
from ...span import NodeType
from ...span.positions import PANEL_SIZES
from ..house.pcs import LIMITS

__all__ = [
    "DEVICE_TYPE",
    "RELEASES",
    "FlatRelease",
    "NodeTypes",
    "declare",
    "flat_release",
    "node_types",
    "schema_hash",
]

Declaration: TypeAlias = dict[str, Any]
NodeTypes: TypeAlias = Mapping[str, Mapping[str, Declaration]]
"""Node type -> property id -> declaration."""

DEVICE_TYPE: Final = "energy.ebus.device.distribution-enclosure"


@attrs.frozen(kw_only=True)
class FlatRelease:
    """A build of flat firmware, and how it differs from the last one (r202627).

    Attributes:
        build: its number.
        has_model: ``core/model`` exists.
        declares_kw: circuit power and PV size are declared in kW; the values are W all the same.
        reads_door: the door is read; else it is UNKNOWN until somebody moves it.
        obeys_dominant_source: setting the dominant power source has an effect.
        notices_silence: ``bess/connected`` goes false when the battery has been silent for five minutes.
        keeps_retained: retained values survive a restart of the service.
        limits_publishers: the broker drops what clients publish elsewhere than to ``…/set``, wills included.
        ocpp_states: chargers declare ten states; they have four.
        lock_unknown: the lock of a charger declares UNKNOWN.
        real_feedthrough: the downstream lugs carry their own figures, not those of the main relay.
        live_pcs: the power control system is not all defaults.
        charge_limits: chargers have a ceiling and a limit.
    """

    build: int
    has_model: bool = True
    declares_kw: bool = False
    reads_door: bool = True
    obeys_dominant_source: bool = True
    notices_silence: bool = True
    keeps_retained: bool = True
    limits_publishers: bool = True
    ocpp_states: bool = False
    lock_unknown: bool = False
    real_feedthrough: bool = True
    live_pcs: bool = True
    charge_limits: bool = True

    @property
    def firmware(self) -> str:
        """The version as the panel tells it."""
        return f"spanos2/r{self.build}/05"

    @property
    def goodbye(self) -> str:
        """Whatever ends the service: ``lost``."""
        return "lost"

    @property
    def fixes_sources(self) -> bool:
        """No circuit is locked because of what is on it."""
        return False

    @property
    def tells_hardware(self) -> bool:
        """The REST API does not tell it."""
        return False


_R202621: Final = FlatRelease(build=202621, charge_limits=False)
_R202615: Final = attrs.evolve(_R202621, build=202615, real_feedthrough=False, live_pcs=False)
_R202609: Final = attrs.evolve(_R202615, build=202609, lock_unknown=True, limits_publishers=False)
_R202603: Final = attrs.evolve(
    _R202609,
    build=202603,
    has_model=False,
    declares_kw=True,
    reads_door=False,
    obeys_dominant_source=False,
    notices_silence=False,
    keeps_retained=False,
    ocpp_states=True,
)
RELEASES: Final[Mapping[int, FlatRelease]] = {
    release.build: release for release in (_R202603, _R202609, _R202615, _R202621, FlatRelease(build=202627))
}
"""Every public build of flat firmware, oldest first."""


def flat_release(build: int) -> FlatRelease:
    """The build with this number.

    Raises:
        SpanPanelValidationError: there is none.
    """
    if build not in RELEASES:
        raise SpanPanelValidationError(f"there is no flat build {build}: {', '.join(map(str, RELEASES))}")
    return RELEASES[build]


# --- declarations -----------------------------------------------------------------------------------------------------


def declare(datatype: str, name: str, unit: str = "", form: str = "", *, settable: bool = False) -> Declaration:
    """A property's declaration."""
    declared: Declaration = {"name": name, "datatype": datatype}
    if unit:
        declared["unit"] = unit
    if form:
        declared["format"] = form
    if settable:
        declared["settable"] = True
    return declared


_RELAY: Final = "UNKNOWN,OPEN,CLOSED"
_POSITION: Final = "UPSTREAM,DOWNSTREAM,IN_PANEL"
_ENABLEMENT: Final = "UNSPECIFIED,UNCONFIGURED,DISABLED,ENABLED"
_REQUESTERS: Final = "UNKNOWN,NONE,BACKUP,USER,PCS,PCS_FAIL_SAFE,ALWAYS_ON,NEVER_BACKUP,INVERTER,FAULT"
_STATES: Final = "AVAILABLE,PREPARING,CHARGING,UNAVAILABLE"
_OCPP_STATES: Final = (
    "UNKNOWN,AVAILABLE,PREPARING,CHARGING,SUSPENDED_EV,SUSPENDED_EVSE,FINISHING,RESERVED,FAULTED,UNAVAILABLE"
)
_VENDOR: Final = {"vendor-name": declare("string", "Vendor name")}
_IDENTITY: Final = {
    "serial-number": declare("string", "Serial number"),
    "software-version": declare("string", "Software version"),
}
_PRODUCT: Final = {"product-name": declare("string", "Product name")}


def node_types(release: FlatRelease, spaces: int, model: str) -> NodeTypes:
    """What a build declares for a panel of this size and model, by node type."""
    return {
        NodeType.CORE: _core(release, model),
        NodeType.LUGS: _LUGS,
        NodeType.CIRCUIT: _circuit(release, spaces),
        NodeType.BESS: _BESS,
        NodeType.PV: _pv(release),
        NodeType.EVSE: _evse(release),
        NodeType.PCS: _PCS,
        NodeType.POWER_FLOWS: _POWER_FLOWS,
    }


def schema_hash(types: Mapping[str, Any]) -> str:
    """The hash by which panels call their schema."""
    canonical = json.dumps(types, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def _core(release: FlatRelease, model: str) -> Mapping[str, Declaration]:
    models = dict.fromkeys((*PANEL_SIZES, model))
    return {
        **_VENDOR,
        **({"model": declare("enum", "Model", form=",".join(models))} if release.has_model else {}),
        **_IDENTITY,
        "hardware-version": declare("string", "Hardware version"),
        "door": declare("enum", "Door state", form=_RELAY),
        "grid-islandable": declare("boolean", "Capable of operating with power while disconnected from the grid"),
        "dominant-power-source": declare(
            "enum",
            "Current dominant power source, load-shedding trigger",
            form="GRID,BATTERY,PV,GENERATOR,NONE,UNKNOWN",
            settable=True,
        ),
        "relay": declare("enum", "Main relay", form=_RELAY),
        "l1-voltage": declare("float", "L1 voltage", "V"),
        "l2-voltage": declare("float", "L2 voltage", "V"),
        "breaker-rating": declare("integer", "Main breaker rating", "A"),
        "ethernet": declare("boolean", "Is Ethernet network interface operational?"),
        "wifi": declare("boolean", "Is Wi-Fi network interface operational?"),
        "wifi-ssid": declare("string", "SSID to which Wi-Fi network interface is connected"),
        "vendor-cloud": declare("enum", "Device connected to vendor cloud?", form="UNKNOWN,UNCONNECTED,CONNECTED"),
        "postal-code": declare("string", "Postal (Zip) code"),
        "time-zone": declare("string", "Time zone"),
    }


_LUGS: Final[Mapping[str, Declaration]] = {
    "direction": declare("enum", "Lugs feed direction: upstream or downstream", form="UPSTREAM,DOWNSTREAM"),
    "feed": declare("string", "Device the lugs are connected to, if known"),
    "l1-current": declare("float", "L1 current", "A"),
    "l2-current": declare("float", "L2 current", "A"),
    "active-power": declare("float", "Active power", "W"),
    "imported-energy": declare("float", "Imported energy", "Wh"),
    "exported-energy": declare("float", "Exported energy", "Wh"),
}


def _circuit(release: FlatRelease, spaces: int) -> Mapping[str, Declaration]:
    return {
        "name": declare("string", "Circuit name"),
        "relay": declare("enum", "Circuit relay state", form=_RELAY, settable=True),
        "relay-requester": declare("enum", "Actor requesting the relay state", form=_REQUESTERS),
        "breaker-rating": declare("integer", "Circuit breaker rating", "A"),
        "current": declare("float", "Measured current", "A"),
        "active-power": declare("float", "Measured active power", "kW" if release.declares_kw else "W"),
        "imported-energy": declare("float", "Measured energy imported", "Wh"),
        "exported-energy": declare("float", "Measured energy exported", "Wh"),
        "space": declare("integer", "Circuit breaker space number within load center", form=f"1:{spaces}:1"),
        "dipole": declare("boolean", "Does circuit land on a two-pole breaker?"),
        "shed-priority": declare(
            "enum",
            "Configured priority of circuit shedding when off-grid (dominant-power-source != GRID)",
            form="UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER",
            settable=True,
        ),
        "pcs-managed": declare("boolean", "Is circuit managed by PCS?"),
        "pcs-priority": declare("integer", "Circuit PCS priority ranking"),
        "sheddable": declare("boolean", "Is circuit configured to be sheddable?"),
        "never-backup": declare("boolean", "Is circuit configured to be never-backup?"),
        "always-on": declare("boolean", "Is circuit configured to be always on?"),
    }


def _landing(what: str) -> Mapping[str, Declaration]:
    return {
        "relative-position": declare(
            "enum", f"Relative position of the commissioned {what} WRT the distribution enclosure", form=_POSITION
        ),
        "feed": declare("enum", f"Circuit ID upon which the commissioned {what} is landed"),  # and no format
    }


_BESS: Final[Mapping[str, Declaration]] = {
    **_VENDOR,
    **_PRODUCT,
    "model": declare("string", "Model"),
    **_IDENTITY,
    "nameplate-capacity": declare("float", "Nameplate capacity", "kWh"),
    **_landing("backup system"),
    "soc": declare("float", "State of charge", "%"),
    "soe": declare("float", "State of energy", "kWh"),
    "connected": declare("boolean", "Connected to backup system?"),
    "grid-state": declare("enum", "Grid connection state", form="UNKNOWN,ON_GRID,OFF_GRID"),
}


def _pv(release: FlatRelease) -> Mapping[str, Declaration]:
    return {
        **_VENDOR,
        **_PRODUCT,
        **_IDENTITY,
        "nameplate-capacity": declare("float", "Nameplate capacity", "kW" if release.declares_kw else "W"),
        **_landing("PV system"),
    }


def _evse(release: FlatRelease) -> Mapping[str, Declaration]:
    limits = {
        "max-charge-current": declare("integer", "Commissioned maximum charge current", "A"),
        "user-max-charge-current": declare("integer", "User-configured maximum charge current", "A", settable=True),
    }
    return {
        **_VENDOR,
        **_PRODUCT,
        "part-number": declare("string", "Part number"),
        **_IDENTITY,
        "feed": declare("enum", "Circuit ID upon which the commissioned EVSE is landed"),
        "lock-state": declare(
            "enum", "Lock state", form="UNKNOWN,LOCKED,UNLOCKED" if release.lock_unknown else "UNLOCKED,LOCKED"
        ),
        "status": declare("enum", "Status", form=_OCPP_STATES if release.ocpp_states else _STATES),
        "advertised-current": declare("float", "Current EVSE is advertising to the EV", "A"),
        **(limits if release.charge_limits else {}),
    }


_LIMIT_NAMES: Final = ("Limit of maximum power feeding the distribution enclosure", "Grid limit maximum import power")
_LIMIT_TITLES: Final = dict(
    zip(
        LIMITS,
        (*_LIMIT_NAMES, "Off-Grid limit maximum import power", "Requested limit maximum import power"),
        strict=True,
    )
)
_PCS: Final[Mapping[str, Declaration]] = {
    "enabled": declare("boolean", "PCS system enabled"),
    "active": declare("boolean", "PCS system actively controlling one (or more) loads"),
    "import-limit": declare("float", "The power import limit currently being managed to", "A"),
    **{
        name: declared
        for limit, title in _LIMIT_TITLES.items()
        for name, declared in {
            f"{limit}-import-limit": declare("float", title, "A"),
            f"{limit}-import-limit-enablement": declare(
                "enum", f"Enablement status of the {limit}-import-limit", form=_ENABLEMENT
            ),
            f"{limit}-import-limit-active": declare("boolean", f"Is {limit}-import-limit currently being enforced?"),
        }.items()
    },
}
_POWER_FLOWS: Final[Mapping[str, Declaration]] = {
    "pv": declare("float", "PV power flow", "W"),
    "battery": declare("float", "Battery/BESS power flow", "W"),
    "grid": declare("float", "Grid power flow", "W"),
    "site": declare("float", "Site power flow", "W"),
}
