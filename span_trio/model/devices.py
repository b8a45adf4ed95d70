"""The devices behind a panel's circuits and lugs, and its power control system."""

from __future__ import annotations

import attrs

from ..enums import (
    CommunicationState,
    EvseStatus,
    GridState,
    LimitEnablement,
    LockState,
    MidGridState,
    RelativePosition,
)
from ..plain import Plain

__all__ = ["SpanBatterySnapshot", "SpanEvseSnapshot", "SpanMidSnapshot", "SpanPVSnapshot", "SpanPcsSnapshot"]


@attrs.frozen
class SpanBatterySnapshot(Plain):
    """The battery (BESS)."""

    device_id: str | None = None
    """The Homie device. On a flat panel that is the panel."""
    feed_circuit_id: str | None = None
    """The circuit that it hangs on, whose power is the battery's too; ``None`` for one ahead of the panel."""
    relative_position: RelativePosition | str | None = None
    """Where it sits, seen from the panel."""
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

    @property
    def present(self) -> bool:
        """Whether a battery is commissioned: true, since ``snapshot.battery`` is ``None`` where there is none."""
        return True


@attrs.frozen
class SpanPVSnapshot(Plain):
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
    """Its key in ``pv_inverters``: the feeding circuit's id if it has one of its own, else the id of its device (flat:
    node). ``None`` for what several share."""


@attrs.frozen
class SpanEvseSnapshot(Plain):
    """A charger (SPAN Drive). Its power and energy are on the feeding circuit."""

    node_id: str
    """Its key in ``evse``: its serial number if no other has it, else the id of its device (flat: node)."""
    device_id: str | None = None
    """The Homie device. On a flat panel that is the panel."""
    feed_circuit_id: str | None = None
    status: EvseStatus | str = EvseStatus.UNKNOWN
    lock_state: LockState | str = LockState.UNKNOWN
    lock_state_target: LockState | str | None = None
    """The lock's ``$target``, where the panel publishes it."""
    lock_state_settable: bool = False
    """Computed: whether this charger's own description declares the lock as settable (hardware 3.0)."""
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
class SpanMidSnapshot(Plain):
    """A microgrid interconnect device. Parent/child only."""

    node_id: str
    """Its serial number, else its device's id."""
    device_id: str | None = None
    """The Homie device."""
    serial_number: str | None = None
    vendor_name: str | None = None
    model: str | None = None
    software_version: str | None = None
    hardware_version: str | None = None
    islanding_state: GridState | str | None = None
    grid_state: MidGridState | str | None = None
    grid_forming_entity: str | None = None
    """What forms the grid: ``GRID``, or the id of a Homie device."""
    grid_forming_device_name: str | None = None
    """What people call that device: its vendor and model, or a circuit's name; ``None`` if nothing says it."""


@attrs.frozen
class SpanPcsSnapshot(Plain):
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
