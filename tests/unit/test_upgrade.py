"""Flat firmware is replaced by a device tree, in the middle of the life of an open panel."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Final

import pytest
import trio

from span_trio import ConnectionReason, PanelOptions, SpanPanelSnapshot, fetch_snapshot, open_span_panel
from span_trio.simulator import SimulatedPanel, open_simulated_panel
from tests.unit.simulator.house_helpers import NOON, circuit_id
from tests.unit.simulator.parent_child_helpers import full_house

pytestmark = pytest.mark.virtual_time

OPTIONS: Final = PanelOptions(transport="mqtt", snapshot_interval=0, max_silence=math.inf)


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where anybody has connected to, but in memory: the REST API is down."""
    places: list[Any] = []

    async def refuse(host: str, port: int, **_: Any) -> trio.SocketStream:
        places.append((host, port))
        await trio.lowlevel.checkpoint()
        raise OSError("connection refused")

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    return places


async def newcomer(simulated: SimulatedPanel) -> SpanPanelSnapshot:
    """What somebody reads who comes now."""
    return await fetch_snapshot("memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial)


def wiring(snapshot: SpanPanelSnapshot) -> dict[str, tuple[Any, ...]]:
    return {
        circuit.circuit_id: (circuit.name, circuit.tabs, circuit.is_240v, circuit.breaker_rating_a, circuit.device_type)
        for circuit in snapshot.circuits.values()
    }


@pytest.mark.parametrize("forget", [False, True], ids=["flat topics stay", "flat topics are gone"])
@pytest.mark.parametrize("build", [202633, 202639])
async def test_an_open_panel_lives_through_an_upgrade(dialled: list[Any], build: int, forget: bool) -> None:
    noon = dt.datetime.fromtimestamp(NOON, dt.UTC)
    async with (
        open_simulated_panel(full_house(), build=202627, at=noon) as simulated,
        open_span_panel("memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial) as panel,
    ):
        edges = panel.edges()
        assert (await anext(edges)).online
        before = panel.snapshot
        assert panel.statistics().data_model is None
        root = f"ebus/5/{simulated.serial_number}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: simulated.reboot(away=10, build=build, forget=forget, http_late=240))
            edge = await anext(edges)
            assert (edge.online, edge.reason) == (False, ConnectionReason.LINK_LOST)
            with trio.fail_after(60):
                assert (await anext(edges)).online
        assert not simulated.http_up
        assert (f"{root}/core/door" in simulated.broker.retained) is not forget
        after = panel.snapshot
        assert panel.statistics().data_model == "1.0"
        assert panel.statistics().dropped == {}
        assert (after.firmware_version or "").startswith(f"spanos3/r{build}/")
        assert not after.pending_devices
        assert not after.away_devices
        assert wiring(after) == wiring(before)
        assert after.panel_size == before.panel_size
        for key, circuit in after.circuits.items():
            assert (circuit.consumed_energy_wh or 0) >= (before.circuits[key].consumed_energy_wh or 0)
            assert (circuit.produced_energy_wh or 0) >= (before.circuits[key].produced_energy_wh or 0)
        solar = after.circuits[circuit_id(simulated.house, "Solar")]
        assert (solar.instant_power_w or 0) < 0  # still generating, with the same sign
        assert [charger.feed_circuit_id for charger in after.evse.values()] == [
            charger.feed_circuit_id for charger in before.evse.values()
        ]
        await trio.sleep(5)
        simulated.house.set_relay(circuit_id(simulated.house, "Lights"), "OPEN")
        await trio.sleep(3.5)  # between two bursts
        assert panel.snapshot.circuits[circuit_id(simulated.house, "Lights")].relay_state == "OPEN"
        assert panel.snapshot == await newcomer(simulated)
        assert panel.statistics().epochs == 2
    assert dialled == []


async def test_an_upgrade_over_a_broker_that_stays_is_one_edge_each_way(dialled: list[Any]) -> None:
    """Only the service restarts: the same link, and what flat firmware has left is nobody's."""
    async with (
        open_simulated_panel(full_house(), build=202627) as simulated,
        open_span_panel("memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial) as panel,
    ):
        edges = panel.edges()
        assert (await anext(edges)).online
        before = panel.snapshot
        await simulated.restart(away=4, build=202639)
        edge = await anext(edges)
        assert (edge.online, edge.reason) == (False, ConnectionReason.DEVICE_STATE)
        with trio.fail_after(20):
            assert (await anext(edges)).online
        await trio.sleep(3.5)  # between two bursts
        assert panel.live
        assert wiring(panel.snapshot) == wiring(before)
        assert panel.snapshot == await newcomer(simulated)
        assert (panel.statistics().epochs, panel.statistics().data_model) == (1, "1.0")
        with trio.move_on_after(30) as quiet:
            await anext(edges)
        assert quiet.cancelled_caught
    assert dialled == []
