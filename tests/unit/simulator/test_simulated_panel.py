"""The panel in a box, seen through the library: a day with a reboot, and what a panel can do wrong."""

import datetime as dt
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from span_trio import (
    PanelOptions,
    SpanPanel,
    SpanPanelConnectionError,
    SpanPanelSnapshot,
    SpanPanelValidationError,
    fetch_snapshot,
    open_span_panel,
)
from span_trio.simulator import BrokerFaults, SimulatedPanel, find_house, open_simulated_panel
from tests.unit.simulator.house_helpers import EARLIER, HARDWARE_3, earlier

OPTIONS = PanelOptions(transport="mqtt", fetch_schema=False)


def virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


def opened(simulated: SimulatedPanel, options: PanelOptions = OPTIONS) -> Any:
    return open_span_panel("memory", credentials=simulated.credentials, options=options, dialer=simulated.dial)


async def read(simulated: SimulatedPanel) -> SpanPanelSnapshot:
    return await fetch_snapshot("memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial)


async def until(panel: SpanPanel, wanted: Callable[[SpanPanelSnapshot], bool]) -> SpanPanelSnapshot:
    async for snapshot in panel.snapshots():
        if wanted(snapshot):
            return snapshot
    raise AssertionError


# --- a day ---


def test_a_day_with_a_reboot_at_noon_counters_monotone_and_sums_right() -> None:
    seen: list[SpanPanelSnapshot] = []

    async def follow(simulated: SimulatedPanel) -> None:
        async with opened(simulated) as panel:
            async for snapshot in panel.snapshots():
                seen.append(snapshot)  # noqa: PERF401 - the iterator ends by an error

    async def main() -> None:
        midnight = dt.datetime(2026, 6, 20, 7, tzinfo=dt.UTC)  # of the house
        async with (
            open_simulated_panel("32", at=midnight, speed=300.0) as simulated,  # a burst each five minutes
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(follow, simulated)
            await trio.sleep(144)
            await simulated.reboot(away=2)
            await trio.sleep(141)
            nursery.cancel_scope.cancel()

    virtual(main)
    assert len(seen) > 250
    assert {snapshot.epoch for snapshot in seen} == {1, 2}
    counters = [_counters(snapshot) for snapshot in seen]
    for before, after in itertools.pairwise(counters):
        assert before.keys() == after.keys()
        assert all(before[name] <= after[name] for name in before)
    assert sum(counters[-1].values()) > sum(counters[0].values()) + 20_000
    for snapshot in seen:
        flows = (
            snapshot.power_flow_pv,
            snapshot.power_flow_battery,
            snapshot.power_flow_grid,
            snapshot.power_flow_site,
        )
        assert sum(flow or 0.0 for flow in flows) == pytest.approx(0)
        drawn = sum(circuit.instant_power_w or 0.0 for circuit in snapshot.circuits.values())
        assert snapshot.instant_grid_power_w == pytest.approx(drawn + (snapshot.feedthrough_power_w or 0.0))
    noon = (
        max(snapshot.power_flow_pv or 0.0 for snapshot in seen),
        min(snapshot.power_flow_pv or 0.0 for snapshot in seen),
    )
    assert noon[0] == 0
    assert noon[1] < -1000  # the sun rose


def _counters(snapshot: SpanPanelSnapshot) -> dict[str, float]:
    counters = {
        f"{circuit.circuit_id}.{name}": value
        for circuit in snapshot.circuits.values()
        for name, value in (("used", circuit.consumed_energy_wh), ("made", circuit.produced_energy_wh))
        if value is not None
    }
    return counters | {
        "imported": snapshot.main_meter_energy_consumed_wh or 0.0,
        "exported": snapshot.main_meter_energy_produced_wh or 0.0,
    }


@pytest.mark.parametrize("name", EARLIER)
@pytest.mark.parametrize("build", [202603, 202609, 202615, 202621, 202627])
def test_every_house_is_read_whole_from_every_build(name: str, build: int) -> None:
    async def main() -> SpanPanelSnapshot:
        async with open_simulated_panel(spec, build=build) as simulated:
            return await read(simulated)

    spec = earlier(name)
    snapshot = virtual(main)
    assert len(snapshot.circuits) == len(spec.circuits)
    assert snapshot.panel_size == spec.spaces
    assert all(circuit.name and circuit.tabs for circuit in snapshot.circuits.values())
    assert (snapshot.model is None) == (build == 202603)


@pytest.mark.parametrize("name", HARDWARE_3)
def test_every_house_of_hardware_3_is_read_whole(name: str) -> None:
    async def main() -> SpanPanelSnapshot:
        async with open_simulated_panel(name) as simulated:
            return await read(simulated)

    snapshot, spec = virtual(main), find_house(name)
    circuits = {(found.name, found.tabs, found.breaker_rating_a) for found in snapshot.circuits.values() if found.tabs}
    assert circuits == {(item.name, item.tabs, item.breaker_a) for item in spec.circuits}
    assert len(snapshot.circuits) == len(spec.circuits) + len(spec.outside_meters)
    assert (snapshot.model, snapshot.panel_size) == (spec.model_name, spec.spaces)
    assert snapshot.main_breaker_rating_a == spec.main_breaker_a
    assert len(snapshot.evse) == len(spec.evse)
    assert (snapshot.battery is None) == (spec.bess is None)


def test_equal_seeds_are_equal_houses() -> None:
    async def main() -> SpanPanelSnapshot:
        at = dt.datetime(2026, 1, 1, 19, tzinfo=dt.UTC)
        async with open_simulated_panel("8", seed=7, at=at) as simulated:
            await trio.sleep(30)
            return await read(simulated)

    assert virtual(main) == virtual(main)


@pytest.mark.parametrize("house", ["9", "none.toml", ""])
def test_a_house_that_is_not_there_is_an_error(house: str) -> None:
    async def main() -> None:
        async with open_simulated_panel(house):
            pass  # pragma: no cover

    with pytest.raises(SpanPanelValidationError):
        virtual(main)


# --- commands ---


def test_a_command_on_the_wire_acts_on_the_house_and_comes_back() -> None:
    async def main() -> None:
        async with open_simulated_panel("32") as simulated, opened(simulated) as panel:
            chosen = next(c for c in panel.snapshot.circuits.values() if c.is_user_controllable)
            topic = f"ebus/5/{simulated.serial_number}/{chosen.circuit_id}/relay/set"
            panel._accumulator.link._codec._client.publish(topic, b"OPEN", 1)  # type: ignore[union-attr]
            await panel.ping()
            snapshot = await until(panel, lambda now: now.circuits[chosen.circuit_id].relay_state == "OPEN")
            assert snapshot.circuits[chosen.circuit_id].instant_power_w == 0
            assert snapshot.circuits[chosen.circuit_id].relay_requester == "USER"

    virtual(main)


# --- what a panel does wrong ---


@pytest.mark.parametrize("goodbye", ["lost", "disconnected", None])
@pytest.mark.parametrize("init", [True, False])
def test_a_restart_is_an_outage_and_no_counter_dips(goodbye: str | None, init: bool) -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated, opened(simulated) as panel:
            before = _counters(panel.snapshot)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: simulated.restart(away=3, goodbye=goodbye, init=init))
                await trio.sleep(1)
                assert panel.live == (goodbye is None)
            await until(panel, lambda now: now.received_at.monotonic > trio.current_time() - 1)
            after = _counters(panel.snapshot)
            assert all(before[name] <= after[name] for name in before)

    virtual(main)


def test_old_firmware_clears_its_values_when_it_restarts_and_none_is_taken_for_zero() -> None:
    async def main() -> None:
        async with open_simulated_panel("8", build=202603) as simulated, opened(simulated) as panel:
            seen: list[SpanPanelSnapshot] = []
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    async for snapshot in panel.snapshots():
                        seen.append(snapshot)  # noqa: PERF401 - the iterator ends by an error

                await simulated.restart(away=2)
                await trio.sleep(3)
                nursery.cancel_scope.cancel()
            counters = [_counters(snapshot) for snapshot in seen]
            assert all(counter.keys() == counters[0].keys() for counter in counters)

    virtual(main)


def test_a_poisoned_state_is_not_live_though_values_flow() -> None:
    async def main() -> None:
        async with open_simulated_panel("8", build=202609) as simulated, opened(simulated) as panel:
            simulated.set_state("lost")
            await trio.sleep(5)
            assert not panel.live
            assert (panel.statistics().last_message_age or 9) < 2

    virtual(main)


def test_names_that_come_late_come() -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated:
            simulated.names_late = 5
            await simulated.reboot(away=1, forget=True)
            async with opened(simulated) as panel:
                assert {circuit.name for circuit in panel.snapshot.circuits.values()} == {None}
                await until(panel, lambda now: all(circuit.name for circuit in now.circuits.values()))

    virtual(main)


def test_a_reboot_brings_other_firmware() -> None:
    async def main() -> None:
        async with open_simulated_panel("8", build=202621) as simulated:
            await simulated.reboot(away=1, build=202627)
            assert (await read(simulated)).firmware_version == "spanos2/r202627/05"
            await simulated.restart(away=1, build=202603)
            assert (await read(simulated)).firmware_version == "spanos2/r202603/05"

    virtual(main)


def test_a_panel_that_boots_hangs_up_and_one_that_refuses_says_so() -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(simulated.reboot)
                await trio.sleep(1)
                with pytest.raises(SpanPanelConnectionError, match="hung up"):
                    await read(simulated)
            simulated.broker.faults = BrokerFaults(refuse_login=3)
            with pytest.raises(SpanPanelConnectionError, match="server unavailable"):
                await read(simulated)

    virtual(main)


def test_killed_service_leaves_what_is_retained_and_says_nothing() -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated, opened(simulated) as panel:
            simulated.stop(None)
            before, (session,) = dict(simulated.broker.retained), simulated.broker.sessions.values()
            said = session.packets_sent
            await trio.sleep(5)
            (session,) = simulated.broker.sessions.values()
            assert simulated.broker.retained == before
            assert before[f"ebus/5/{simulated.serial_number}/$state"] == b"ready"
            assert session.packets_sent - said < 3  # nothing but the answers to pings
            simulated.start()
            await trio.sleep(2)
            assert panel.live

    virtual(main)


def test_broker_restarts_from_its_disk_with_nobody_behind_it() -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated, opened(simulated) as panel:
            on_disk = dict(simulated.broker.retained)
            await trio.sleep(60)
            simulated.stop(None)
            assert simulated.broker.retained != on_disk
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: simulated.restart_broker(away=3, retained=on_disk))
                await trio.sleep(1)
                assert not simulated.broker.sessions
                with pytest.raises(SpanPanelConnectionError, match="hung up"):
                    await read(simulated)
            await trio.sleep(30)
            assert simulated.broker.retained == on_disk
            (session,) = simulated.broker.sessions.values()
            assert session.packets_sent < len(on_disk) + 12  # the replay, and answers: nobody speaks
            simulated.start()
            await until(panel, lambda now: panel.live and now.epoch == 2)
            assert simulated.broker.retained != on_disk

    virtual(main)


@pytest.mark.parametrize("disk", [None, {}, {"ebus/5/another/core/door": b"OPEN"}], ids=["all", "empty", "another"])
def test_running_service_announces_everything_when_its_broker_is_back(disk: dict[str, bytes] | None) -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated, opened(simulated) as panel:
            topics = set(simulated.broker.retained)
            await simulated.restart_broker(away=2, retained=disk)
            assert set(simulated.broker.retained) == topics | set(disk or ())
            await until(panel, lambda now: panel.live and now.epoch == 2)

    virtual(main)


def test_a_closed_panel_cannot_be_dialled() -> None:
    async def main() -> None:
        async with open_simulated_panel("8") as simulated:
            pass
        with pytest.raises(SpanPanelConnectionError, match="closed"):
            await read(simulated)

    virtual(main)


def test_others_cannot_publish_into_the_panels_tree_from_r202615_on() -> None:
    async def main() -> None:
        for build, heard in ((202609, True), (202615, False)):
            async with open_simulated_panel("8", build=build) as simulated, opened(simulated) as panel:
                client: Any = panel._accumulator.link._codec._client  # type: ignore[union-attr]
                client.publish(f"ebus/5/{simulated.serial_number}/core/door", b"OPEN", 1)
                client.publish("ebus/5/another/core/door", b"OPEN", 1, retain=True)
                await panel.ping()
                await trio.sleep(0.5)
                assert (panel.snapshot.door_state == "OPEN") == heard
                assert simulated.broker.retained["ebus/5/another/core/door"] == b"OPEN"

    virtual(main)


def test_a_body_s_error_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with open_simulated_panel("8"):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        virtual(main)
