"""Snapshots in words, for a terminal."""

from __future__ import annotations

import datetime as dt

from ..enums import RelayState
from ..snapshot import SpanPanelSnapshot

__all__ = ["one_line"]


def one_line(snapshot: SpanPanelSnapshot, when: dt.datetime | str) -> str:
    """What matters of a snapshot, in one line. Signs as people expect: what PV makes and loads use is positive."""
    flows = (
        ("grid", snapshot.instant_grid_power_w, "W"),
        ("site", snapshot.power_flow_site, "W"),
        ("pv", None if snapshot.power_flow_pv is None else 0.0 - snapshot.power_flow_pv, "W"),
        ("battery", None if snapshot.battery is None else snapshot.battery.soc_percentage, "%"),
    )
    parts = [when if isinstance(when, str) else f"{when:%H:%M:%S}"]
    parts += [f"{name} {value:.0f} {unit}" for name, value, unit in flows if value is not None]
    circuits = [circuit for circuit in snapshot.circuits.values() if not circuit.measures_outside_panel]
    closed = sum(circuit.relay_state == RelayState.CLOSED for circuit in circuits)
    parts.append(f"{closed} of {len(circuits)} circuits closed")
    loads = [circuit for circuit in circuits if circuit.instant_power_w]
    if loads:
        top = max(loads, key=lambda circuit: abs(circuit.instant_power_w or 0.0))
        parts.append(f"most: {top.name or top.circuit_id} {top.instant_power_w:.0f} W")
    if snapshot.pending_devices:
        parts.append(f"missing: {', '.join(snapshot.pending_devices)}")
    if snapshot.away_devices:
        parts.append(f"away: {', '.join(snapshot.away_devices)}")
    return "  ".join(parts)
