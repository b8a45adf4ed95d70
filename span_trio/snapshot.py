"""What a user sees first: a frozen view of the panel, made only while the panel is live.

In every class here:

* ``None`` means that the panel has not reported it: never published, cleared, or not readable. No number here was
  invented (invariant I5). An enum field that is never ``None`` reads ``UNKNOWN`` then.
* An enum field holds a member of its enum or, for a text that this version does not know, that text itself; both are
  ``str`` and compare equal to the text on the wire. `WireEnum.of` maps what is unknown to ``UNKNOWN`` for decisions.
* W and Wh are as the panel measures them, V and A are RMS; the sign of each is said at the field. Counters (Wh) are
  lifetime magnitudes, >= 0, and go back only where the panel's own do.
* *Computed* marks what no topic carries as such.
* Snapshots are values: they compare (without ``seq``, ``epoch``, ``received_at`` and the update times), hash, pickle,
  deep-copy, and convert to plain dicts and back. Parts that did not change are the same objects in the next snapshot.

Sources: the flat schema (firmware to r202627) and the parent/child schema (r202633 on); fields that only the latter can
fill are ``None`` or empty on a flat panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import attrs

from .enums import (
    DominantPowerSource,
    DoorState,
    DsmState,
    FeedsRole,
    ForecastConfidence,
    GridState,
    IslandingAssertion,
    RelayState,
    RunConfig,
    VendorCloud,
)
from .frozenmap import FrozenMap
from .homie import Instant
from .model import (
    AdoptedDevice,
    AdoptedProperty,
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanConnectionSnapshot,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from .plain import Plain

__all__ = [
    "AdoptedDevice",
    "AdoptedProperty",
    "Change",
    "ExtensionProperty",
    "SpanBatterySnapshot",
    "SpanCircuitSnapshot",
    "SpanConnectionSnapshot",
    "SpanEvseSnapshot",
    "SpanMidSnapshot",
    "SpanPVSnapshot",
    "SpanPanelSnapshot",
    "SpanPcsSnapshot",
]


# --- the panel --------------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """A difference between two snapshots. ``path`` is field names and keys: ``("circuits", id, "relay_state")``.

    ``old`` is ``None`` for a part that is new, ``new`` for one that is gone.
    """

    path: tuple[str, ...]
    old: Any
    new: Any


@attrs.frozen
class SpanPanelSnapshot(Plain):
    """The whole panel at one moment."""

    # What the enclosure says of itself.
    serial_number: str
    firmware_version: str | None = None
    """As published (``spanos2/r202603/05``)."""
    vendor_name: str | None = None
    model: str | None = None
    """``MAIN_32`` and the like; ``None`` also where the panel says that it is UNKNOWN."""
    hardware_version: str | None = None
    data_model_version: str | None = None
    """As published (``1.0``). Parent/child only."""
    main_relay_state: RelayState | str = RelayState.UNKNOWN
    door_state: DoorState | str = DoorState.UNKNOWN
    eth0_link: bool | None = None
    wlan_link: bool | None = None
    wwan_link: bool | None = None
    """Computed: whether the vendor's cloud is connected, which is how consumers read it."""
    vendor_cloud: VendorCloud | str | None = None
    l1_voltage: float | None = None
    l2_voltage: float | None = None
    frequency_hz: float | None = None
    busbar_current_a: float | None = None
    main_breaker_rating_a: int | None = None
    dominant_power_source: DominantPowerSource | str | None = None
    grid_islandable: bool | None = None

    # Lugs.
    instant_grid_power_w: float | None = None
    """W at the upstream lugs, positive = from the utility into the panel."""
    feedthrough_power_w: float | None = None
    """W at the downstream lugs, positive = from the panel to the sub-panel. Like both feedthrough energies ``None``
    where the firmware is known to be older than r202621, which published something else there."""
    main_meter_energy_consumed_wh: float | None = None
    """Wh imported at the upstream lugs."""
    main_meter_energy_produced_wh: float | None = None
    """Wh exported at the upstream lugs."""
    feedthrough_energy_consumed_wh: float | None = None
    """Wh imported at the downstream lugs."""
    feedthrough_energy_produced_wh: float | None = None
    """Wh exported at the downstream lugs."""
    upstream_l1_current_a: float | None = None
    upstream_l2_current_a: float | None = None
    downstream_l1_current_a: float | None = None
    """Firmware repeats the service entrance's current here; it is no feedthrough current."""
    downstream_l2_current_a: float | None = None

    upstream_protection_rating_a: int | None = None
    """The overcurrent protection ahead of the panel, A: the mains limit of models that have no main breaker."""
    service_rating_a: int | None = None
    """The rating of the service at the upstream lugs, A."""
    upstream_fed_by: SpanConnectionSnapshot | None = None
    """What the upstream lugs hang on, if that is not the utility: a sister panel, a battery. Parent/child only."""
    downstream_feeds: SpanConnectionSnapshot | None = None
    """What hangs on the downstream lugs: a sub-panel, say. Parent/child only."""
    downstream_feeds_role: FeedsRole | str | None = None
    """What the downstream lugs feed. Parent/child only."""

    # Power flows, W, with the signs of the wire; pv + battery + grid + site = 0.
    power_flow_pv: float | None = None
    """W, negative = generating."""
    power_flow_battery: float | None = None
    """W, positive = charging. Published as 0.0 without a battery: no proof of hardware."""
    power_flow_grid: float | None = None
    """W, positive = exporting."""
    power_flow_site: float | None = None
    """W, positive = consuming."""

    # Islanding.
    asserted_islanding_state: IslandingAssertion | str | None = None
    """What a client has told the panel to take for true, while it cannot hear its battery. Parent/child only."""
    grid_state: GridState | str | None = None
    dsm_state: DsmState | str = DsmState.UNKNOWN
    """Computed from the grid state, else from the power source and the measured grid power."""
    current_run_config: RunConfig | str = RunConfig.UNKNOWN
    """Computed."""

    # Positions.
    panel_size: int | None = None
    """How many breaker positions there are; ``None`` if neither the tree nor the model tells."""
    first_position: int | None = None
    """The lowest breaker position: 9 on MAIN_16 and MAIN_40, 1 on the others; ``None`` like ``panel_size``."""
    last_position: int | None = None
    """The highest breaker position."""
    unmapped_tabs: tuple[int, ...] = ()
    """Computed: positions that exist and that no circuit occupies; empty where it is not known which exist."""

    # Parts.
    circuits: FrozenMap[str, SpanCircuitSnapshot] = attrs.field(factory=FrozenMap[str, SpanCircuitSnapshot])
    battery: SpanBatterySnapshot | None = None
    """``None`` when no battery is commissioned."""
    pv: SpanPVSnapshot | None = None
    """The lone inverter, or what several share; ``None`` when none is commissioned."""
    pv_inverters: FrozenMap[str, SpanPVSnapshot] = attrs.field(factory=FrozenMap[str, SpanPVSnapshot])
    evse: FrozenMap[str, SpanEvseSnapshot] = attrs.field(factory=FrozenMap[str, SpanEvseSnapshot])
    pcs: SpanPcsSnapshot | None = None

    # Parent/child only.
    mid: SpanMidSnapshot | None = None
    lugs_at_service_entrance: bool | None = None
    shed_policy: str | None = None
    shed_policy_algorithm: str | None = None
    shed_soc_threshold_shed_percent: int | None = None
    shed_soc_threshold_release_percent: int | None = None
    shed_time_to_priority_shed_min: int | None = None
    shed_total_time_remaining_min: int | None = None
    shed_full_charge_time_to_priority_shed_min: int | None = None
    shed_full_charge_total_time_remaining_min: int | None = None
    shed_forecast_confidence: ForecastConfidence | str | None = None
    adopted_devices: tuple[AdoptedDevice, ...] = ()
    extension_properties: tuple[ExtensionProperty, ...] = ()

    alerts: FrozenMap[str, FrozenMap[str, str]] = attrs.field(factory=FrozenMap[str, FrozenMap[str, str]])
    """Standing alerts (Homie's ``$alert``) by device id and alert id, as published; of devices that are not away."""

    # About the snapshot.
    away_devices: FrozenMap[str, str] = attrs.field(factory=FrozenMap[str, str])
    """Children of the panel that are not ready, by id, with their raw ``$state`` (empty: none). Of such a device there
    is identity and wiring (nodes ``info``, ``breaker``, ``connection``) and no reading: every other field of it is
    ``None``, UNKNOWN or false, whatever the broker has retained. Parent/child only."""
    pending_devices: tuple[str, ...] = ()
    """Homie devices that the panel lists and that were not there in time, or say that they are another panel's."""
    seq: int = attrs.field(default=0, eq=False)
    """Counts the snapshots of this connection from 1. Not compared."""
    epoch: int = attrs.field(default=0, eq=False)
    """Which link it came over: 1, 2, 3 … Not compared."""
    received_at: Instant = attrs.field(default=Instant(0.0, 0.0), eq=False)
    """When the newest message in it came. Not compared."""

    def changes(self, old: SpanPanelSnapshot) -> Iterator[Change]:
        """What is different from ``old``, field by field; nothing for what is not compared.

        Parts that are the same object cost nothing.
        """
        return _changes((), old, self)

    def unmapped_circuits(self) -> FrozenMap[str, SpanCircuitSnapshot]:
        """Made-up circuits for the unmapped tabs, as span-panel-api had them among the real ones.

        For those who want the old entries: their zeros were never measured and nothing can be done with them.
        """
        return FrozenMap(
            {
                f"unmapped_tab_{tab}": SpanCircuitSnapshot(
                    circuit_id=f"unmapped_tab_{tab}",
                    name=f"Unmapped Tab {tab}",
                    relay_state=RelayState.CLOSED,
                    instant_power_w=0.0,
                    consumed_energy_wh=0.0,
                    produced_energy_wh=0.0,
                    tabs=(tab,),
                    is_240v=False,
                )
                for tab in self.unmapped_tabs
            }
        )


def _changes(path: tuple[str, ...], old: Any, new: Any) -> Iterator[Change]:
    kind = cast("Any", type(new))
    if old is new:
        return
    if kind is type(old) and kind is FrozenMap:
        for key in dict.fromkeys((*old, *new)):
            yield from _changes((*path, key), old.get(key), new.get(key))
    elif kind is type(old) and attrs.has(kind):
        for field in attrs.fields(kind):
            if field.eq:
                yield from _changes((*path, field.name), getattr(old, field.name), getattr(new, field.name))
    elif old != new:
        yield Change(path, old, new)
