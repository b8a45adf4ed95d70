"""What a type checker sees of snapshots. Type-checked, never run."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, assert_never, assert_type

from span_trio import (
    Change,
    DominantPowerSource,
    DoorState,
    DsmState,
    EvseStatus,
    GridState,
    LimitEnablement,
    LockState,
    RelativePosition,
    RelayRequester,
    RelayState,
    RunConfig,
    ShedPriority,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
    VendorCloud,
)


def a_panel(panel: SpanPanelSnapshot) -> None:
    assert_type(panel.serial_number, str)
    assert_type(panel.panel_size, int | None)
    assert_type(panel.instant_grid_power_w, float | None)
    assert_type(panel.eth0_link, bool | None)
    assert_type(panel.unmapped_tabs, tuple[int, ...])
    # An enum field: the member, or the text that no member has; None only where the field says so.
    assert_type(panel.main_relay_state, RelayState | str)
    assert_type(panel.door_state, DoorState | str)
    assert_type(panel.vendor_cloud, VendorCloud | str | None)
    assert_type(panel.dominant_power_source, DominantPowerSource | str | None)
    assert_type(panel.grid_state, GridState | str | None)
    assert_type(panel.dsm_state, DsmState | str)
    assert_type(panel.current_run_config, RunConfig | str)
    assert_type(panel.battery, SpanBatterySnapshot | None)
    assert_type(panel.pv, SpanPVSnapshot | None)
    assert_type(panel.pcs, SpanPcsSnapshot | None)


def parts(panel: SpanPanelSnapshot) -> None:
    circuits: Mapping[str, SpanCircuitSnapshot] = panel.circuits
    assert_type(panel.circuits["a"], SpanCircuitSnapshot)
    assert_type(panel.evse.get("a"), SpanEvseSnapshot | None)
    assert_type(next(iter(panel.pv_inverters.values())), SpanPVSnapshot)
    for circuit in circuits.values():
        assert_type(circuit.tabs, tuple[int, ...])
        assert_type(circuit.is_user_controllable, bool)
        assert_type(circuit.relay_state, RelayState | str)
        assert_type(circuit.relay_state_target, RelayState | str | None)
        assert_type(circuit.relay_requester, RelayRequester | str)
        assert_type(circuit.priority, ShedPriority | str)
        assert_type(circuit.device_type, Literal["circuit", "pv", "evse"])
        assert_type(circuit.relative_position, RelativePosition | str | None)
    for charger in panel.evse.values():
        assert_type(charger.status, EvseStatus | str)
        assert_type(charger.lock_state, LockState | str)
    if panel.pcs is not None:
        assert_type(panel.pcs.feed_import_limit_enablement, LimitEnablement | str | None)


def decisions(circuit: SpanCircuitSnapshot, charger: SpanEvseSnapshot) -> str:
    """For a decision, `of` makes a member of anything, so that a `match` can be exhaustive."""
    relay = RelayState.of(circuit.relay_state)
    assert_type(relay, RelayState)
    match relay:
        case RelayState.OPEN:
            return "off"
        case RelayState.CLOSED:
            pass
        case RelayState.UNKNOWN:
            return "unknown"
        case _:
            assert_never(relay)
    role = circuit.device_type
    match role:
        case "circuit":
            return "load"
        case "pv":
            return "inverter"
        case "evse":
            assert_type(EvseStatus.of(None), EvseStatus)
            return "charging" if charger.status == EvseStatus.CHARGING else "charger"
        case _:
            assert_never(role)


def comparisons(circuit: SpanCircuitSnapshot) -> bool:
    """A field is compared with a member or with the text on the wire, as one likes."""
    return circuit.relay_state == "OPEN" or circuit.relay_state in {RelayState.OPEN, "AJAR"}


def differences(old: SpanPanelSnapshot, new: SpanPanelSnapshot) -> None:
    assert_type(new.changes(old), Iterator[Change])
    for path, before, after in new.changes(old):
        assert_type(path, tuple[str, ...])
        assert_type(before, Any)
        assert_type(after, Any)


def plain_data(panel: SpanPanelSnapshot, circuit: SpanCircuitSnapshot) -> None:
    assert_type(panel.to_dict(), dict[str, Any])
    assert_type(SpanPanelSnapshot.from_dict(panel.to_dict()), SpanPanelSnapshot)
    assert_type(SpanCircuitSnapshot.from_dict(circuit.to_dict()), SpanCircuitSnapshot)


def what_must_not_type_check(panel: SpanPanelSnapshot) -> tuple[object, ...]:
    """Each `ignore` here is needed, or the type checkers complain about that."""
    panel.serial_number = "nt-1"  # type: ignore[misc]
    panel.circuits["a"] = SpanCircuitSnapshot("a")  # type: ignore[index]
    return (
        panel.instant_grid_power_w + 1.0,  # type: ignore[operator]
        panel.battery.soc_percentage,  # type: ignore[union-attr]
        panel.proximity_proven,  # type: ignore[attr-defined]
    )
