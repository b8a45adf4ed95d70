"""A circuit, and what is connected to it or to the lugs."""

from __future__ import annotations

from typing import Literal

import attrs

from ..enums import FeedsRole, LinkStatus, RelativePosition, RelayRequester, RelayState, ShedPriority
from ..plain import Plain

__all__ = ["SpanCircuitSnapshot", "SpanConnectionSnapshot"]


@attrs.frozen
class SpanConnectionSnapshot(Plain):
    """What a circuit, or the lugs, say of the device at the other end of the wire. Parent/child only."""

    device_id: str | None = None
    """Its Homie device id; not necessarily one of this panel's devices."""
    device_type: str | None = None
    """Its Homie type, as published (``energy.ebus.device.bess``)."""
    status: LinkStatus | str | None = None
    """The panel's view of its link to that device."""


@attrs.frozen
class SpanCircuitSnapshot(Plain):
    """A circuit: one or two breaker positions behind one relay."""

    circuit_id: str
    """On a parent/child panel the Homie device id, unchanged; on a flat one the node id without dashes. Both are the
    same 32 hex digits where a panel was upgraded from one to the other."""
    name: str | None = None
    relay_state: RelayState | str = RelayState.UNKNOWN
    relay_state_target: RelayState | str | None = None
    """The relay's ``$target``, where the panel publishes it; different from ``relay_state`` while a command is
    pending."""
    relay_requester: RelayRequester | str = RelayRequester.UNKNOWN
    relay_controllable: bool | None = None
    """As published; false: the relay is locked. Parent/child only."""
    relay_shared_with: tuple[str, ...] | None = None
    """Ids of other circuits behind the same relay: whoever opens one opens all of them."""
    instant_power_w: float | None = None
    """W, positive = consumption (the wire's ``active-power`` is negative then; see ``measures_outside_panel``)."""
    consumed_energy_wh: float | None = None
    """Wh that went from the panel into the circuit."""
    produced_energy_wh: float | None = None
    """Wh that came from the circuit into the panel."""
    current_a: float | None = None
    meter_shared_with: tuple[str, ...] | None = None
    """Ids of other circuits on the same meter: each of them shows the same reading, so a sum must count it once.
    `group_by_meter` groups them."""
    measures_outside_panel: bool = False
    """Whether this is a meter outside the panel, decided by what the device declares. It counts imported energy and
    power as the wire does: positive = imported = consumed. It has no relay, priority or position, cannot be commanded,
    and is part of no sum over the panel's circuits."""
    breaker_rating_a: int | None = None
    tabs: tuple[int, ...] = ()
    """Breaker positions; empty for a circuit on the lugs."""
    is_240v: bool | None = None
    nominal_voltage_v: float | None = None
    protection_functions: tuple[str, ...] | None = None
    """What the breaker protects from, as published (``OVERCURRENT``, ``GROUND_FAULT`` …)."""
    priority: ShedPriority | str = ShedPriority.UNKNOWN
    priority_target: ShedPriority | str | None = None
    is_user_controllable: bool = False
    """Computed: whether the relay may be commanded (not always-on)."""
    is_sheddable: bool | None = None
    """On a parent/child panel computed: whether its priority has the panel shed it, and its relay is not locked."""
    is_never_backup: bool | None = None
    """On a parent/child panel computed: whether its priority is OFF_GRID and cannot be set."""
    always_on: bool | None = None
    """On a parent/child panel computed: whether its relay is locked, and not open (a fault can open it)."""
    device_type: Literal["circuit", "pv", "evse"] = "circuit"
    """Computed: what a PV inverter or a charger says it is fed by has that role."""
    relative_position: RelativePosition | str | None = None
    """Of the inverter behind a ``pv`` circuit."""
    feeds_role: FeedsRole | str | None = None
    """What the circuit is for, as the panel was told: SOLAR where a panel has no inverter's device."""
    feeds: SpanConnectionSnapshot | None = None
    """The device that the circuit feeds: an inverter, a battery, a charger, a sub-panel. Parent/child only."""
    fed_by: SpanConnectionSnapshot | None = None
    """The device that feeds the circuit. Parent/child only."""
    tags: tuple[str, ...] | None = None
    """What hangs on it, as published (``OVEN``, ``EVSE`` …)."""
    locations: tuple[str, ...] | None = None
    """Rooms, as published (``KITCHEN`` …)."""
    dedicated: bool | None = None
    """Whether it serves one appliance alone."""
    pcs_managed: bool | None = None
    pcs_priority: int | None = None
    """Meaningful only while ``pcs_managed``."""
    energy_accum_update_time_s: int | None = attrs.field(default=None, eq=False)
    """Unix seconds at which either counter last changed; ``None`` until one did on this link. Not compared."""
    instant_power_update_time_s: int | None = attrs.field(default=None, eq=False)
    """Unix seconds at which the power last changed; ``None`` until it did on this link. Not compared."""
