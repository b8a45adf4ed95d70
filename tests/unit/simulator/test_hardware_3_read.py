"""Simulated panels of hardware 3.0, read by our own client, against the house that they measure."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import trio

from span_trio import PanelOptions, SpanCircuitSnapshot, SpanPanelSnapshot, open_span_panel
from span_trio.enums import RelayState
from span_trio.simulator import HouseSpec, SimulatedPanel, find_house, open_simulated_panel
from span_trio.simulator.house.spec import CircuitSpec
from tests.unit.simulator.command_helpers import virtual
from tests.unit.simulator.hardware3_helpers import SHARED, modern_house
from tests.unit.simulator.house_helpers import EVENING, HARDWARE_3, NOON, circuit_id

OPTIONS = PanelOptions(transport="mqtt", fetch_schema=False, snapshot_interval=0)
HOUSES = [find_house(name) for name in HARDWARE_3]
houses = pytest.mark.parametrize("spec", [*HOUSES, modern_house()], ids=[*HARDWARE_3, "one of everything"])


def opened(simulated: SimulatedPanel) -> Any:
    return open_span_panel("memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial)


def simulating(spec: HouseSpec, at: int = NOON) -> Any:
    return open_simulated_panel(spec, at=dt.datetime.fromtimestamp(at, dt.UTC), seed=3)


def read(spec: HouseSpec, at: int = NOON, seconds: float = 5) -> tuple[SpanPanelSnapshot, SimulatedPanel]:
    """What our client makes of a house, some seconds after it began; and the panel, which stands still."""

    async def main() -> tuple[SpanPanelSnapshot, SimulatedPanel]:
        async with simulating(spec, at) as simulated, opened(simulated) as panel:
            await trio.sleep(seconds + 0.5)
            return panel.snapshot, simulated

    return virtual(main)


def ids(spec: HouseSpec, sharing: tuple[CircuitSpec, ...], own: CircuitSpec) -> tuple[str, ...] | None:
    return tuple(spec.id_of(other) for other in sharing if other is not own) or None


@houses
def test_circuits_are_what_the_house_has(spec: HouseSpec) -> None:
    snapshot, _ = read(spec)
    inside = {key: found for key, found in snapshot.circuits.items() if not found.measures_outside_panel}
    assert set(inside) == {spec.id_of(item) for item in spec.circuits}
    assert set(snapshot.circuits) - set(inside) == {meter.device_id for meter in spec.outside_meters}
    solar = {pv.feed for pv in spec.all_pv}
    for item in spec.circuits:
        found = inside[spec.id_of(item)]
        assert (found.name, found.tabs, found.is_240v) == (item.name, item.tabs, item.dipole)
        assert (found.breaker_rating_a, found.nominal_voltage_v) == (item.breaker_a, item.volts)
        assert found.relay_shared_with == ids(spec, spec.on_relay_of(item), item)
        assert found.meter_shared_with == ids(spec, spec.on_meter_of(item), item)
        assert found.feeds_role == ("SOLAR" if item.name in solar else item.feeds_role)
        assert found.protection_functions == tuple(item.protection_functions.split(","))
        assert found.tags == (tuple(item.tags.split(",")) if item.tags else None)
        assert found.locations == (tuple(item.locations.split(",")) if item.locations else None)
        assert found.dedicated is item.dedicated
        locked = any(each.always_on or spec.id_of(each) in spec.source_ids for each in spec.on_relay_of(item))
        assert found.is_user_controllable == (not locked)
        assert found.relay_state == RelayState.CLOSED


@houses
def test_panel_is_what_the_house_has(spec: HouseSpec) -> None:
    snapshot, _ = read(spec)
    assert (snapshot.model, snapshot.hardware_version) == (spec.model_name, "3.0")
    assert (snapshot.first_position, snapshot.last_position) == (spec.positions[0], spec.positions[-1])
    taken = {tab for item in spec.circuits for tab in item.tabs}
    assert snapshot.unmapped_tabs == tuple(tab for tab in spec.positions if tab not in taken)
    assert snapshot.main_breaker_rating_a == spec.main_breaker_a
    assert snapshot.service_rating_a == spec.service_rating_a
    assert snapshot.upstream_protection_rating_a == spec.overcurrent_protection_a
    assert snapshot.lugs_at_service_entrance is (True if spec.service_rating_a else None)
    assert snapshot.frequency_hz == pytest.approx(60, abs=0.1)
    assert snapshot.busbar_current_a == pytest.approx(
        max(snapshot.upstream_l1_current_a or 0, snapshot.upstream_l2_current_a or 0)
    )
    for charger, own in zip(snapshot.evse.values(), sorted(spec.evse, key=lambda evse: evse.node_id), strict=True):
        assert charger.feed_circuit_id in {spec.id_of(item) for item in spec.circuits if item.name == own.feed}
        assert (charger.lock_state, charger.lock_state_settable) == ("UNLOCKED", True)
        assert charger.advertised_current_a is None
    if spec.bess is not None:
        assert snapshot.battery is not None
        assert snapshot.battery.feed_circuit_id in {
            spec.id_of(item) for item in spec.circuits if spec.bess and item.name == spec.bess.feed
        }
        assert (snapshot.battery.soc_percentage is None) == spec.bess.silent


@houses
@pytest.mark.parametrize("at", [NOON, EVENING], ids=["noon", "evening"])
def test_powers_have_the_frame_of_their_device(spec: HouseSpec, at: int) -> None:
    snapshot, simulated = read(spec, at)
    now = simulated.house.read()
    drawn = {spec.id_of(item): watts for item, watts in zip(spec.circuits, now.drawn_w, strict=True)}
    for item in spec.circuits:
        found = snapshot.circuits[spec.id_of(item)]
        on_meter = sum(drawn[spec.id_of(other)] for other in spec.on_meter_of(item))
        assert found.instant_power_w == pytest.approx(on_meter, abs=0.06)
    for meter, reading in zip(spec.outside_meters, now.outside, strict=True):
        found = snapshot.circuits[meter.device_id]
        assert found.measures_outside_panel
        assert found.instant_power_w == pytest.approx(reading.power_w, abs=0.06)
        assert found.consumed_energy_wh == pytest.approx(reading.imported_wh, abs=0.06)
        assert found.produced_energy_wh == pytest.approx(reading.exported_wh, abs=0.06)
        assert (found.tabs, found.is_user_controllable, found.name) == ((), False, None)
    once = _by_meter(snapshot)
    total = sum(found.instant_power_w or 0.0 for found in once)
    behind = snapshot.feedthrough_power_w or 0.0
    assert snapshot.instant_grid_power_w == pytest.approx(total + behind, abs=0.05 * len(once) + 0.2)


def _by_meter(snapshot: SpanPanelSnapshot) -> list[SpanCircuitSnapshot]:
    """One circuit of each meter in the panel."""
    seen, found = set[str](), list[SpanCircuitSnapshot]()
    for key, circuit in snapshot.circuits.items():
        if key not in seen and not circuit.measures_outside_panel:
            found.append(circuit)
            seen |= {key, *(circuit.meter_shared_with or ())}
    return found


@houses
def test_private_values_are_nowhere_in_a_snapshot(spec: HouseSpec) -> None:
    snapshot, simulated = read(spec)
    text = repr(snapshot) + repr(snapshot.to_dict())
    private = [spec.site_name, spec.address_lines, spec.locality, spec.utility_meter_serial_number, spec.wifi_ssid]
    told = b"\n".join(simulated.broker.retained.values()).decode()
    for value in filter(None, (*private, str(spec.latitude), str(spec.longitude), spec.postal_code)):
        assert value in told
        assert value not in text


def test_command_to_a_shared_relay_moves_and_shows_all_of_them() -> None:
    async def main() -> None:
        async with simulating(modern_house()) as simulated, opened(simulated) as panel:
            keys = [circuit_id(simulated.house, name) for name in SHARED]
            outcome = await panel.set_circuit_relay(keys[1], "OPEN")
            assert outcome.result == "confirmed"
            await trio.sleep(1.5)
            assert {panel.snapshot.circuits[key].relay_state for key in keys} == {"OPEN"}
            assert all(not panel.snapshot.circuits[key].instant_power_w for key in keys)
            assert len(simulated.commands) == 1

    virtual(main)
