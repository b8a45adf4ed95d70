"""What a panel of hardware 3.0 shows otherwise than earlier ones, and what it shows beyond. Pure.

The rules of this room (facts on hardware 3.0, and dumps of real panels):

* `hardware_3_states` goes over what an earlier panel would show; what is ``None`` is not published.
* What is declared need not have a value: ``backed-up`` never has one, the upstream lugs' ``fed-by`` only where
  something that is known feeds the panel, the downstream lugs' power only where something is behind them.
* Numbers have one decimal, the frequency two; the site's power flow is not rounded.
* A meter is read once, whoever shares it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ...enums import FeedsRole, RelayRequester, VendorCloud
from ..house.house import House
from ..house.meters import MeterReading, Readings
from ..house.spec import CircuitSpec
from .hardware3_schema import OUTSIDE
from .parent_child_schema import device_type
from .parent_child_tree import BESS, LUGS_DOWN, LUGS_UP, DeviceTree, TreeDevice

__all__ = ["hardware_3_meters", "hardware_3_states"]

Meter: TypeAlias = Callable[[Readings], float]
Shown: TypeAlias = dict[str, Any]

_UNSET_A: Final[Mapping[str, tuple[str, float | None]]] = {
    "grid": ("pcs/operator-import-limit", None),
    "off-grid": ("pcs/off-grid-import-limit", None),
    "requested": ("pcs/requested-import-limit", 200.0),
}
"""What limits show that are not configured, by the names that the house has for them."""
_REQUESTERS: Final[Mapping[RelayRequester, RelayRequester]] = {
    RelayRequester.BACKUP: RelayRequester.LOAD_SHED,
    RelayRequester.NEVER_BACKUP: RelayRequester.LOAD_SHED,
    RelayRequester.PCS_FAIL_SAFE: RelayRequester.PCS,
    RelayRequester.INVERTER: RelayRequester.PCS,
    RelayRequester.ALWAYS_ON: RelayRequester.NONE,
}
"""There is no CONFIGURATION: a locked relay rests at NONE."""
_OWN_POWER: Final = ("meter/active-power", "meter/imported-energy", "meter/exported-energy")
_FORECASTS: Final = (
    *("shed-forecast/total-time-remaining", "shed-forecast/time-to-priority-shed"),
    *("shed-forecast/full-charge-total-time-remaining", "shed-forecast/full-charge-time-to-priority-shed"),
)
_AS_IT_IS: Final = ("power-flows/site", *_FORECASTS)


# --- meters -----------------------------------------------------------------------------------------------------------


def hardware_3_meters(
    house: House, tree: DeviceTree, device: TreeDevice, meters: Mapping[str, Meter]
) -> Mapping[str, Meter]:
    """The meters of a device.

    Args:
        house: what is metered.
        tree: where the device stands.
        device: which one.
        meters: as an earlier panel has them.
    """
    if device.kind == "circuit":
        meters = _circuit_meters(house, device)
    elif device.kind == OUTSIDE:
        meters = _outside_meters(device.index)
    elif device.kind == "distribution-enclosure":
        meters = {**meters, "meter/busbar-current": lambda now: max(now.l1_current_a, now.l2_current_a)}
    missing = _missing(house, tree, device)
    rounded = {
        name: meter if name in _AS_IT_IS else _rounded(meter) for name, meter in meters.items() if name not in missing
    }
    return {**rounded, "meter/frequency": _frequency} if device.kind == "distribution-enclosure" else rounded


def _missing(house: House, tree: DeviceTree, device: TreeDevice) -> Sequence[str]:
    """What is declared, and has no value."""
    spec = house.spec
    if device.key == LUGS_DOWN and spec.feedthrough is None:
        return _OWN_POWER
    silent = spec.bess is not None and spec.bess.silent
    if device.key == BESS and silent:
        return ("soc/soc", "soc/soe")
    if device.kind != "distribution-enclosure":
        return ()
    return (
        *(() if spec.all_pv else ("power-flows/pv",)),
        *(() if BESS in tree.devices else ("power-flows/battery",)),
        *(_FORECASTS if silent else ()),
    )


def _rounded(meter: Meter) -> Meter:
    return lambda now: round(meter(now), 1) + 0.0  # which makes 0.0 of -0.0


def _circuit_meters(house: House, device: TreeDevice) -> Mapping[str, Meter]:
    spec = house.spec
    names = {circuit.name for circuit in spec.on_meter_of(spec.circuits[device.index])}
    together = [index for index, circuit in enumerate(spec.circuits) if circuit.name in names]
    return {
        "meter/current": lambda now: sum(now.current_a[i] for i in together),
        "meter/active-power": lambda now: 0.0 - sum(now.drawn_w[i] for i in together),
        "meter/imported-energy": lambda now: sum(now.produced_wh[i] for i in together),
        "meter/exported-energy": lambda now: sum(now.consumed_wh[i] for i in together),
    }


def _outside_meters(index: int) -> Mapping[str, Meter]:
    """In the frame of consumption: what comes in is imported, and positive."""

    def meter(now: Readings) -> MeterReading:
        return now.outside[index]

    return {
        "meter/current": lambda now: abs(meter(now).power_w) / ((now.l1_voltage + now.l2_voltage) or math.inf),
        "meter/active-power": lambda now: meter(now).power_w,
        "meter/imported-energy": lambda now: meter(now).imported_wh,
        "meter/exported-energy": lambda now: meter(now).exported_wh,
    }


def _frequency(now: Readings) -> float:
    """Hz; the grid's slow swing, and nothing without voltage."""
    if not now.l1_voltage:
        return 0.0
    return round(60 + 0.03 * math.sin(now.at / 61) + 0.01 * math.sin(now.at / 7), 2)


# --- everything else --------------------------------------------------------------------------------------------------


def hardware_3_states(house: House, device: TreeDevice, shown: Shown) -> Shown:
    """What a device shows besides meters.

    Args:
        house: as it is.
        device: which one.
        shown: what an earlier panel would show of it.
    """
    own = _STATES.get(device.kind)
    return shown if own is None else {**shown, **own(house, device, shown)}


def _panel(house: House, _: TreeDevice, _shown: Shown) -> Shown:
    spec, pcs = house.spec, house.pcs
    silent = spec.bess is not None and spec.bess.silent
    unset = [] if pcs is None else [limit for limit in _UNSET_A if pcs.limit_a(limit) is None]
    return {
        "info/name": spec.site_name or None,
        "info/address-lines": spec.address_lines or None,
        "info/locality": spec.locality or None,
        "info/region": spec.region or None,
        "info/country-code": spec.country_code or None,
        "info/latitude": spec.latitude,
        "info/longitude": spec.longitude,
        "info/utility-meter-serial-number": spec.utility_meter_serial_number or None,
        "status/relay": None,
        "status/wifi-ssid": spec.wifi_ssid or None,
        "status/cloud-connection": VendorCloud.UNKNOWN,
        **({"shed-forecast/confidence": None} if silent else {}),
        **dict(_UNSET_A[limit] for limit in unset),
    }


def _lugs(house: House, device: TreeDevice, _shown: Shown) -> Shown:
    spec = house.spec
    if device.key != LUGS_UP:
        return {"connection/feeds-role": FeedsRole.UNUSED if spec.feedthrough is None else FeedsRole.LOADS}
    return {
        "connection/service-rating": spec.service_rating_a,
        "connection/overcurrent-protection": spec.overcurrent_protection_a,
    }


def _circuit(house: House, device: TreeDevice, shown: Shown) -> Shown:
    circuit, whole = house.circuits[device.index], house.spec
    spec = whole.circuits[device.index]

    def others(sharing: Sequence[CircuitSpec]) -> str | None:
        return ",".join(whole.id_of(other) for other in sharing if other is not spec) or None

    role = FeedsRole.SOLAR if any(pv.feed == spec.name for pv in whole.all_pv) else None
    return {
        "info/tags": spec.tags or None,
        "info/locations": spec.locations or None,
        "info/dedicated": spec.dedicated,
        "info/nominal-voltage": float(spec.volts),
        "switch/relay-requester": _REQUESTERS.get(circuit.requester, circuit.requester),
        "switch/shared-with-device-ids": others(whole.on_relay_of(spec)),
        "breaker/protection-functions": spec.protection_functions,
        "meter/shared-with-device-ids": others(whole.on_meter_of(spec)),
        "connection/feeds-role": spec.feeds_role or role,
        "connection/count": 1 if shown.get("connection/feeds-device-type") == device_type("bess") else None,
    }


def _bess(house: House, _: TreeDevice, _shown: Shown) -> Shown:
    silent = house.spec.bess is not None and house.spec.bess.silent
    return {"info/model": None, "info/nameplate-capacity": None} if silent else {}


def _evse(_house: House, _: TreeDevice, _shown: Shown) -> Shown:
    return {"meter/advertised-current": None}


_STATES: Final[Mapping[str, Callable[[House, TreeDevice, Shown], Shown]]] = {
    "distribution-enclosure": _panel,
    "lugs": _lugs,
    "circuit": _circuit,
    "bess": _bess,
    "evse": _evse,
}
