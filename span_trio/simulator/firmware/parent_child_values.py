"""What the devices of data model 1.x show: meters, and everything else. Pure.

The rules of this room (facts on 1.x, section 3):

* A topic is ``<device>/<node>/<property>``. What is ``None`` is not published.
* Frames are turned here, once, as in `flat`; that of the battery's own meter depends on the build (section 9).
* A connection record is there only if it says something (section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from ...enums import (
    CommunicationState,
    DominantPowerSource,
    ForecastConfidence,
    LimitEnablement,
    MidGridState,
    RelayRequester,
    RelayState,
    ShedPriority,
    VendorCloud,
)
from ..house.charger import Charger
from ..house.house import House
from ..house.meters import MeterReading, Readings
from ..house.pcs import LIMITS
from .hardware3_values import hardware_3_meters, hardware_3_states
from .parent_child_schema import DATA_MODEL_VERSION, ParentChildRelease
from .parent_child_tree import BESS, LUGS_UP, DeviceTree, TreeDevice
from .publishing import as_json, topics_of

__all__ = ["DeviceValues"]

Meter: TypeAlias = Callable[[Readings], float]
Shown: TypeAlias = dict[str, Any]

_STABLE_S: Final = 120.0  # a limit that equals the ceiling for so long is none
_LONGEST_MIN: Final = 4320  # no forecast says more
_LEAST_W: Final = 100.0  # what a forecast takes for the smallest load
_FLOOR_PERCENT: Final = 2.0  # where a battery is empty

_REQUESTERS: Final[Mapping[RelayRequester, RelayRequester]] = {
    RelayRequester.BACKUP: RelayRequester.LOAD_SHED,
    RelayRequester.PCS_FAIL_SAFE: RelayRequester.PCS,
    RelayRequester.INVERTER: RelayRequester.PCS,
    RelayRequester.ALWAYS_ON: RelayRequester.CONFIGURATION,
    RelayRequester.NEVER_BACKUP: RelayRequester.CONFIGURATION,
}  # facts, section 8
_LIMITS: Final = dict(zip(LIMITS, ("feed", "operator", "off-grid", "requested"), strict=True))
_CONSTRAINTS: Final = dict(zip((*LIMITS, None), ("FSR", "OPERATOR", "OFF_GRID", "REQUESTED", "NONE"), strict=True))


class DeviceValues:
    """What the devices of a tree show.

    Args:
        house: what is published.
        release: how.
        tree: the devices.
        away: ids of those that the panel does not hear.
        full_since: of chargers whose limit equals the ceiling, since when it does, Unix s; to be written to.

    Attributes:
        due: when `states` will be different without a change in the house, Unix s.
    """

    def __init__(
        self,
        house: House,
        release: ParentChildRelease,
        tree: DeviceTree,
        away: Collection[str],
        full_since: dict[str, float],
    ) -> None:
        self._house: Final = house
        self._release: Final = release
        self._tree: Final = tree
        self._away: Final = away
        self._full_since: Final = full_since
        self._modern: Final = house.spec.hardware_3
        self._meters: Final = dict(self._list_meters())
        self._getters: Final = tuple(self._meters.values())
        self.due: float = math.inf

    # --- meters -------------------------------------------------------------------------------------------------------

    @property
    def topics(self) -> tuple[str, ...]:
        """Of the meters."""
        return tuple(self._meters)

    def read(self, now: Readings) -> list[float]:
        """What the meters show, in the wire's frames, in the order of `topics`."""
        return [getter(now) for getter in self._getters]

    def _list_meters(self) -> Iterator[tuple[str, Meter]]:
        kinds: Mapping[str, Callable[[TreeDevice], Mapping[str, Meter]]] = {
            "distribution-enclosure": self._panel_meters,
            "lugs": _lugs_meters,
            "circuit": _circuit_meters,
            "bess": self._bess_meters,
        }
        for device in self._tree.devices.values():
            meters: Mapping[str, Meter] = kinds[device.kind](device) if device.kind in kinds else {}
            if self._modern:
                meters = hardware_3_meters(self._house, self._tree, device, meters)
            for name, getter in meters.items():
                yield f"{device.id}/{name}", getter

    def _panel_meters(self, _: TreeDevice) -> Mapping[str, Meter]:
        return {**_PANEL_METERS, **(self._forecasts() if BESS in self._tree.devices else {})}

    def _bess_meters(self, _: TreeDevice) -> Mapping[str, Meter]:
        charge: Meter = lambda now: now.flows.battery  # noqa: E731
        discharge: Meter = lambda now: 0.0 - now.flows.battery  # noqa: E731
        return {
            "meter/active-power": discharge if self._release.bess_discharge_positive else charge,
            "soc/soc": lambda now: now.soc_percent,
            "soc/soe": lambda now: now.soe_kwh,
        }

    def _forecasts(self) -> Mapping[str, Meter]:
        """Minutes, at the load of now (facts, section 3)."""
        bess = self._house.spec.bess
        size_kwh = 0.0 if bess is None else bess.nameplate_kwh
        shed = 100.0 if bess is None else bess.shed_percent

        def minutes(percent: float, down_to: float, now: Readings) -> int:
            kilowatts = max(now.flows.site + now.flows.pv, _LEAST_W) / 1000
            return min(int(max(percent - down_to, 0.0) / 100 * size_kwh / kilowatts * 60), _LONGEST_MIN)

        return {
            "shed-forecast/total-time-remaining": lambda now: minutes(now.soc_percent, _FLOOR_PERCENT, now),
            "shed-forecast/time-to-priority-shed": lambda now: minutes(now.soc_percent, shed, now),
            "shed-forecast/full-charge-total-time-remaining": lambda now: minutes(100.0, _FLOOR_PERCENT, now),
            "shed-forecast/full-charge-time-to-priority-shed": lambda now: minutes(100.0, shed, now),
        }

    # --- everything else ----------------------------------------------------------------------------------------------

    def states(self) -> Iterator[tuple[str, bytes]]:
        """Topics and payloads."""
        self.due = math.inf
        kinds: Mapping[str, Callable[[TreeDevice], Shown]] = {
            "distribution-enclosure": self._panel,
            "lugs": self._lugs,
            "circuit": self._circuit,
            "bess": self._bess,
            "mid": self._mid,
            "pv": self._pv,
            "evse": self._evse,
        }
        return topics_of((device.id, self._shown(kinds, device)) for device in self._tree.devices.values())

    def _shown(self, kinds: Mapping[str, Callable[[TreeDevice], Shown]], device: TreeDevice) -> Shown:
        shown = kinds[device.kind](device) if device.kind in kinds else {}
        return hardware_3_states(self._house, device, shown) if self._modern else shown

    def _panel(self, _: TreeDevice) -> Shown:
        house, spec = self._house, self._house.spec
        return {
            "info/vendor-name": spec.vendor_name,
            "info/model": spec.model_name,
            "info/serial-number": spec.serial_number,
            "info/hardware-version": spec.hardware_version,
            "info/firmware-version": self._release.firmware,
            "info/data-model-version": DATA_MODEL_VERSION,
            "door/state": house.door,
            "status/relay": RelayState.CLOSED,
            "status/ethernet": spec.ethernet,
            "status/wifi": spec.wifi,
            "status/wifi-ssid": spec.wifi_ssid,
            "status/cloud-connection": VendorCloud.CONNECTED,
            "status/postal-code": spec.postal_code,
            "status/time-zone": spec.time_zone,
            "breaker/rating": spec.main_breaker_a,
            **self._pcs(),
            **self._shed(),
        }

    def _pcs(self) -> Shown:
        pcs = self._house.pcs
        if pcs is None:
            return {}
        shown: Shown = {
            "pcs/enabled": pcs.binding is not None,
            "pcs/active": pcs.active,
            "pcs/import-limit": float(pcs.import_limit_a or 0.0),
            "pcs/binding-constraint": _CONSTRAINTS[pcs.binding],
        }
        for limit, name in _LIMITS.items():
            amps = pcs.limit_a(limit)
            shown[f"pcs/{name}-import-limit"] = float(amps or 0.0)
            shown[f"pcs/{name}-import-limit-enablement"] = (
                LimitEnablement.UNCONFIGURED if amps is None else LimitEnablement.ENABLED
            )
            shown[f"pcs/{name}-import-limit-active"] = pcs.binding == limit
        return shown

    def _shed(self) -> Shown:
        bess, sources = self._house.spec.bess, self._house.sources
        if bess is None or BESS not in self._tree.devices:
            return {}
        thresholds = {
            "soc-threshold-shed": round(bess.shed_percent),
            "soc-threshold-release": round(bess.release_percent),
        }
        return {
            "shed/asserted-islanding-state": sources.asserted_islanding or "NONE",
            "shed/policy": as_json({"algorithm": "soc-priority.v1", "parameters": thresholds}),
            "shed-forecast/confidence": ForecastConfidence.HIGH if sources.connected else ForecastConfidence.LOW,
        }

    def _lugs(self, device: TreeDevice) -> Shown:
        up = device.key == LUGS_UP
        return {
            "info/direction": "UPSTREAM" if up else "DOWNSTREAM",
            **self._record("fed-by", self._tree.upstream if up else None),
        }

    def _record(self, role: str, other: TreeDevice | None) -> Shown:
        """What is connected there, and whether the panel hears it: SPAN says OK or LOST (facts, section 6)."""
        if other is None:
            return {}
        heard = other.id not in self._away and (other.key != BESS or self._house.sources.connected)
        return {
            f"connection/{role}-device-id": other.id,
            f"connection/{role}-device-type": other.type,
            f"connection/{role}-device-status": "OK" if heard else "LOST",
        }

    def _circuit(self, device: TreeDevice) -> Shown:
        circuit = self._house.circuits[device.index]
        spec = circuit.spec
        fixed = circuit.fixed or device.id in self._tree.fixed
        requester = RelayRequester.CONFIGURATION if fixed else _REQUESTERS.get(circuit.requester, circuit.requester)
        return {
            "info/name": spec.name,
            "info/spaces": ",".join(map(str, spec.tabs)),
            "switch/relay": circuit.relay,
            "switch/relay-requester": requester,
            "switch/relay-controllable": not (fixed or circuit.locked),
            "breaker/rating": spec.breaker_a,
            "breaker/poles": 2 if spec.dipole else 1,
            "load-shed/priority": ShedPriority.NEVER if fixed else circuit.priority,
            "pcs/managed": spec.pcs_managed,
            "pcs/priority": spec.pcs_priority if spec.pcs_managed else None,
            **self._record("feeds", self._tree.feeds.get(device.id)),
        }

    def _bess(self, _: TreeDevice) -> Shown:
        bess = self._house.spec.bess
        heard = self._house.sources.connected
        return (
            {}
            if bess is None
            else {
                **_maker(bess),
                "info/part-number": bess.model or None,
                "info/nameplate-capacity": float(bess.nameplate_kwh),
                "status/communication-state": CommunicationState.OK if heard else CommunicationState.LOST,
            }
        )

    def _mid(self, _: TreeDevice) -> Shown:
        bess, sources = self._house.spec.bess, self._house.sources
        formers = {DominantPowerSource.GRID: "GRID", DominantPowerSource.BATTERY: self._tree.id_of(BESS)}
        silent = bess is not None and (bess.silent or (self._release.silent_mid and bess.remote_meter))
        return {
            "info/vendor-name": (bess and bess.vendor_name) or None,
            "info/serial-number": (bess and bess.mid_serial_number) or None,
            "grid/islanding-state": None if silent else sources.grid_state,
            "grid/grid-state": MidGridState.UNKNOWN,
            "grid/grid-forming-entity": None if silent else formers.get(sources.known),
        }

    def _pv(self, device: TreeDevice) -> Shown:
        pv = self._house.spec.all_pv[device.index]
        return {**_maker(pv), "info/nominal-power": float(pv.nameplate_w)}

    def _evse(self, device: TreeDevice) -> Shown:
        evse = self._house.spec.evse[device.index]
        charger = self._house.chargers[evse.node_id]
        return {
            **_maker(evse),
            "info/part-number": evse.part_number or None,
            "switch/lock-state": charger.lock_state,
            "status/status": charger.status,
            "meter/advertised-current": charger.advertised_a,
            "config/max-charge-current": evse.max_current_a,
            "config/user-max-charge-current": self._limit(device.id, charger),
        }

    def _limit(self, device: str, charger: Charger) -> int | None:
        """The user's limit, by build (facts, section 9)."""
        most, limit, now = charger.spec.max_current_a, charger.limit_a, self._house.now
        if self._modern or not self._release.own_limit_only:
            return most if limit is None else limit
        if limit != most:
            self._full_since.pop(device, None)
            return limit
        until = self._full_since.setdefault(device, now) + _STABLE_S
        if now >= until:
            return None
        self.due = min(self.due, until)
        return limit


# --- tables -----------------------------------------------------------------------------------------------------------

_PANEL_METERS: Final[Mapping[str, Meter]] = {
    "meter/voltage-a": lambda now: now.l1_voltage,
    "meter/voltage-b": lambda now: now.l2_voltage,
    "power-flows/pv": lambda now: now.flows.pv,
    "power-flows/battery": lambda now: now.flows.battery,
    "power-flows/grid": lambda now: now.flows.grid,
    "power-flows/site": lambda now: now.flows.site,
}


def _lugs_meters(device: TreeDevice) -> Mapping[str, Meter]:
    up = device.key == LUGS_UP

    def lugs(now: Readings) -> MeterReading:
        return now.upstream if up else now.downstream

    return {
        "meter/current-a": lambda now: now.l1_current_a,  # the service entrance's, on both
        "meter/current-b": lambda now: now.l2_current_a,
        "meter/active-power": lambda now: lugs(now).power_w,
        "meter/imported-energy": lambda now: lugs(now).imported_wh,
        "meter/exported-energy": lambda now: lugs(now).exported_wh,
    }


def _circuit_meters(device: TreeDevice) -> Mapping[str, Meter]:
    index = device.index
    return {
        "meter/current": lambda now: now.current_a[index],
        "meter/active-power": lambda now: 0.0 - now.drawn_w[index],
        "meter/imported-energy": lambda now: now.produced_wh[index],
        "meter/exported-energy": lambda now: now.consumed_wh[index],
    }


def _maker(device: Any) -> Shown:
    """Who made it; of inverters above all, much is not known."""
    return {
        "info/vendor-name": device.vendor_name or None,
        "info/model": device.product_name or None,
        "info/serial-number": device.serial_number or None,
        "info/firmware-version": device.software_version or None,
    }
