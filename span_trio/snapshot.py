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

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, Self, cast

import attrs

from .enums import (
    CommunicationState,
    DominantPowerSource,
    DoorState,
    DsmState,
    EvseStatus,
    ForecastConfidence,
    GridState,
    LimitEnablement,
    LockState,
    MidGridState,
    RelativePosition,
    RelayRequester,
    RelayState,
    RunConfig,
    ShedPriority,
    VendorCloud,
)
from .frozenmap import FrozenMap
from .homie import Instant
from .plain import from_plain, to_plain

__all__ = [
    "AdoptedDevice",
    "AdoptedProperty",
    "Change",
    "ExtensionProperty",
    "SpanBatterySnapshot",
    "SpanCircuitSnapshot",
    "SpanEvseSnapshot",
    "SpanMidSnapshot",
    "SpanPVSnapshot",
    "SpanPanelSnapshot",
    "SpanPcsSnapshot",
]


# --- parts ------------------------------------------------------------------------------------------------------------


class _Plain:
    """To plain data and back."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data: field names as keys, mappings as dicts, tuples as lists, enums as text, ``None`` as ``None``."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Missing fields take their defaults, unknown ones are ignored.

        Raises:
            ValueError: the data does not have the shape of this class.
        """
        return from_plain(cls, plain)


@attrs.frozen
class SpanCircuitSnapshot(_Plain):
    """A circuit: one or two breaker positions behind one relay."""

    circuit_id: str
    """32 hex digits, dash-free; the same before and after the change to the parent/child schema."""
    name: str | None = None
    relay_state: RelayState | str = RelayState.UNKNOWN
    relay_state_target: RelayState | str | None = None
    """The relay's ``$target``, where the panel publishes it; different from ``relay_state`` while a command is
    pending."""
    relay_requester: RelayRequester | str = RelayRequester.UNKNOWN
    instant_power_w: float | None = None
    """W, positive = consumption (the wire's ``active-power`` is negative then)."""
    consumed_energy_wh: float | None = None
    """Wh that went from the panel into the circuit."""
    produced_energy_wh: float | None = None
    """Wh that came from the circuit into the panel."""
    current_a: float | None = None
    breaker_rating_a: int | None = None
    tabs: tuple[int, ...] = ()
    """Breaker positions; empty for a circuit on the lugs."""
    is_240v: bool | None = None
    priority: ShedPriority | str = ShedPriority.UNKNOWN
    priority_target: ShedPriority | str | None = None
    is_user_controllable: bool = False
    """Computed: whether the relay may be commanded (not always-on)."""
    is_sheddable: bool | None = None
    is_never_backup: bool | None = None
    always_on: bool | None = None
    device_type: Literal["circuit", "pv", "evse"] = "circuit"
    """Computed: what a PV inverter or a charger says it is fed by has that role."""
    relative_position: RelativePosition | str | None = None
    """Of the inverter behind a ``pv`` circuit."""
    pcs_managed: bool | None = None
    pcs_priority: int | None = None
    """Meaningful only while ``pcs_managed``."""
    energy_accum_update_time_s: int | None = attrs.field(default=None, eq=False)
    """Unix seconds at which either counter last changed; ``None`` until one did on this link. Not compared."""
    instant_power_update_time_s: int | None = attrs.field(default=None, eq=False)
    """Unix seconds at which the power last changed; ``None`` until it did on this link. Not compared."""


@attrs.frozen
class SpanBatterySnapshot(_Plain):
    """The battery (BESS)."""

    soc_percentage: float | None = None
    """State of charge, %."""
    soe_kwh: float | None = None
    """State of energy, kWh."""
    power_w: float | None = None
    """W, positive = discharging. Parent/child only."""
    communication_state: CommunicationState | str | None = None
    """The battery's own report. Parent/child only."""
    connected: bool | None = None
    """The panel's view of its link to the battery. Not to be trusted before r202609."""
    nameplate_capacity_kwh: float | None = None
    vendor_name: str | None = None
    model: str | None = None
    """The designation (``Powerwall 2 AC``)."""
    part_number: str | None = None
    """The SKU (``1232100-00-E``; the flat schema's ``model``)."""
    serial_number: str | None = None
    software_version: str | None = None


@attrs.frozen
class SpanPVSnapshot(_Plain):
    """A PV inverter, or what several share. Its power is on the feeding circuit and in ``power_flow_pv``."""

    vendor_name: str | None = None
    model: str | None = None
    serial_number: str | None = None
    software_version: str | None = None
    nameplate_capacity_w: float | None = None
    """Installed DC size, W (the unit ``kW`` of r202603 is a mistake in its description). Not a limit."""
    feed_circuit_id: str | None = None
    relative_position: RelativePosition | str | None = None
    connected: bool | None = None
    """The panel's view of its link to the inverter. Parent/child only."""
    device_id: str | None = None
    """The Homie device. On a flat panel that is the panel."""
    node_id: str | None = None
    """Its key in ``pv_inverters``; ``None`` for what several share."""


@attrs.frozen
class SpanEvseSnapshot(_Plain):
    """A charger (SPAN Drive). Its power and energy are on the feeding circuit."""

    node_id: str
    feed_circuit_id: str | None = None
    status: EvseStatus | str = EvseStatus.UNKNOWN
    lock_state: LockState | str = LockState.UNKNOWN
    advertised_current_a: float | None = None
    vendor_name: str | None = None
    model: str | None = None
    part_number: str | None = None
    serial_number: str | None = None
    software_version: str | None = None
    connected: bool | None = None
    """The panel's view of its link to the charger. Parent/child only."""
    charge_current_limit_a: int | None = None
    """The user's limit (r202627 on)."""
    charge_current_ceiling_a: int | None = None
    """The commissioned maximum (r202627 on)."""
    charge_current_limit_target_a: int | None = None
    charge_current_limit_settable: bool = False
    """Computed: whether this charger's own description declares the limit as settable."""
    effective_charge_current_limit_a: int | None = None
    """Computed: the user's limit if there is one, else the ceiling."""


@attrs.frozen
class SpanMidSnapshot(_Plain):
    """A microgrid interconnect device. Parent/child only."""

    node_id: str
    serial_number: str | None = None
    vendor_name: str | None = None
    model: str | None = None
    software_version: str | None = None
    hardware_version: str | None = None
    islanding_state: GridState | str | None = None
    grid_state: MidGridState | str | None = None
    grid_forming_entity: str | None = None
    grid_forming_device_name: str | None = None


@attrs.frozen
class SpanPcsSnapshot(_Plain):
    """The power control system (PowerUp). Its limits are currents (A), though they are often called power limits."""

    enabled: bool | None = None
    active: bool | None = None
    import_limit_a: float | None = None
    """The limit that is enforced."""
    binding_constraint: str | None = None
    """Raw text. Parent/child only."""
    feed_import_limit_a: float | None = None
    feed_import_limit_enablement: LimitEnablement | str | None = None
    feed_import_limit_active: bool | None = None
    operator_import_limit_a: float | None = None
    """The flat schema's ``grid-import-limit``."""
    operator_import_limit_enablement: LimitEnablement | str | None = None
    operator_import_limit_active: bool | None = None
    off_grid_import_limit_a: float | None = None
    off_grid_import_limit_enablement: LimitEnablement | str | None = None
    off_grid_import_limit_active: bool | None = None
    requested_import_limit_a: float | None = None
    requested_import_limit_enablement: LimitEnablement | str | None = None
    requested_import_limit_active: bool | None = None


@attrs.frozen
class AdoptedProperty(_Plain):
    """A property of an `AdoptedDevice`; ``value`` as text."""

    node_id: str
    property_id: str
    datatype: str
    unit: str | None = None
    format: str | None = None
    settable: bool = False
    value: str | None = None
    set_topic: str | None = None


@attrs.frozen
class AdoptedDevice(_Plain):
    """A device of a type that span_trio has no class for, carried whole. Parent/child only."""

    device_id: str
    device_type: str
    name: str | None = None
    vendor_name: str | None = None
    model: str | None = None
    serial_number: str | None = None
    software_version: str | None = None
    hardware_version: str | None = None
    parent: str | None = None
    proxied: bool = False
    properties: tuple[AdoptedProperty, ...] = ()


@attrs.frozen
class ExtensionProperty(_Plain):
    """A property that span_trio has no field for, on a device that it has a class for. Parent/child only."""

    subject_kind: str
    subject_key: str | None
    node_id: str
    property_id: str
    datatype: str
    unit: str | None = None
    format: str | None = None
    settable: bool = False
    value: str | None = None


# --- the panel --------------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """A difference between two snapshots. ``path`` is field names and keys: ``("circuits", id, "relay_state")``.

    ``old`` is ``None`` for a part that is new, ``new`` for one that is gone.
    """

    path: tuple[str, ...]
    old: Any
    new: Any


@attrs.frozen
class SpanPanelSnapshot(_Plain):
    """The whole panel at one moment."""

    # What the enclosure says of itself.
    serial_number: str
    firmware_version: str | None = None
    """As published (``spanos2/r202603/05``)."""
    vendor_name: str | None = None
    model: str | None = None
    hardware_version: str | None = None
    main_relay_state: RelayState | str = RelayState.UNKNOWN
    door_state: DoorState | str = DoorState.UNKNOWN
    eth0_link: bool | None = None
    wlan_link: bool | None = None
    wwan_link: bool | None = None
    """Computed: whether the vendor's cloud is connected, which is how consumers read it."""
    wifi_ssid: str | None = None
    vendor_cloud: VendorCloud | str | None = None
    l1_voltage: float | None = None
    l2_voltage: float | None = None
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
    grid_state: GridState | str | None = None
    dsm_state: DsmState | str = DsmState.UNKNOWN
    """Computed from the grid state, else from the power source and the measured grid power."""
    current_run_config: RunConfig | str = RunConfig.UNKNOWN
    """Computed."""

    # Positions.
    panel_size: int | None = None
    """Breaker positions; ``None`` if neither the tree nor the model tells."""
    unmapped_tabs: tuple[int, ...] = ()
    """Computed: positions that no circuit occupies."""

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
