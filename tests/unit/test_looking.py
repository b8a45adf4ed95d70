"""A program whose loop was blocked, or whose machine slept: it looks before it speaks."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from span_trio import ConnectionReason, RelayState, SpanPanel, SpanPanelStaleDataError, clock
from span_trio.lookout import Lookout
from tests.unit.commanding import RELAY, Desk
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.house import house, opened, topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

PAUSED = ConnectionReason.PROGRAM_PAUSED


def block(seconds: float) -> None:
    """What a blocking call does: the loop stands still, and time does not."""
    cast("MockClock", trio.lowlevel.current_clock()).jump(seconds)


async def edges(panel: SpanPanel) -> list[str]:
    """The edges that have been, in words."""
    reader, found = panel.edges(), list[str]()
    while True:
        with trio.move_on_after(0.01) as scope:
            found.append(str(await anext(reader)))
        if scope.cancelled_caught:
            return found


async def test_behind_a_blocked_loop_a_panel_is_live_when_it_was_looked_at() -> None:
    async with opened(Broker(house())) as panel:
        reader = panel.updates()
        await anext(reader)
        await anext(reader)
        block(6)
        assert not panel.live
        assert str(panel.obstacle) == "program paused: its loop was blocked for 6 s"
        with pytest.raises(SpanPanelStaleDataError) as caught:
            _ = panel.snapshot
        assert caught.value.reason is PAUSED
        assert str(await anext(reader)) == "offline, program paused: its loop was blocked for 6 s"
        before = trio.current_time()
        await panel.wait_live()
        assert trio.current_time() == before
        assert str(await anext(reader)) == "online"
        assert panel.snapshot.serial_number == panel.serial_number


async def test_what_came_meanwhile_is_taken_in_first() -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=0) as panel:
        await wait_all_tasks_blocked()
        broker.connection.hold()
        broker.publish(RELAY, b"OPEN")
        block(6)
        assert not panel.live
        broker.connection.release()
        await panel.wait_live()
        assert panel.snapshot.circuits[KITCHEN].relay_state == RelayState.OPEN


@pytest.mark.parametrize("seconds", [0.0, 1.0, 5.0])
async def test_a_loop_that_was_blocked_for_a_moment_was_not_away(seconds: float) -> None:
    async with opened(Broker(house())) as panel:
        await wait_all_tasks_blocked()
        block(seconds)
        assert panel.live


async def test_time_that_passes_while_nothing_happens_is_no_block() -> None:
    async with opened(Broker(house())) as panel:
        for pause in (0.5, 5.0, 5.1, 60.0, 3600.0):
            await trio.sleep(pause)
            assert panel.live
        assert await edges(panel) == ["online"]


async def test_a_broker_that_froze_meanwhile_is_not_live() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await wait_all_tasks_blocked()
        broker.connection.hold()
        block(6)
        assert not panel.live
        await trio.sleep(5)
        assert not panel.live
        with trio.move_on_after(1) as scope:
            await panel.wait_live()
        assert scope.cancelled_caught


async def test_an_answer_that_was_dropped_is_asked_for_again() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await wait_all_tasks_blocked()
        broker.instead[Kind.PINGREQ] = nothing
        block(6)
        assert not panel.live
        await trio.sleep(3)
        del broker.instead[Kind.PINGREQ]
        await panel.wait_live()
        assert trio.current_time() < 6 + 8 + 3


@pytest.mark.parametrize("slept", [-3600.0, -5.1, 5.1, 3600.0])
async def test_behind_a_sleep_of_the_machine_it_looks_as_well(slept: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Broker(house())) as panel:
        await wait_all_tasks_blocked()
        before = clock.drift()
        monkeypatch.setattr("span_trio.accumulate.drift", lambda: before + slept)
        assert panel.obstacle is not None
        assert panel.obstacle.reason is PAUSED
        await panel.wait_live()
        await trio.sleep(60)
        assert panel.live


async def test_a_clock_that_is_set_by_a_little_is_no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(Broker(house())) as panel:
        await wait_all_tasks_blocked()
        before = clock.drift()
        for seconds in range(20):
            monkeypatch.setattr("span_trio.accumulate.drift", lambda seconds=seconds: before + 4.0 * seconds)
            assert panel.live
            await trio.sleep(2.1)


async def test_a_command_behind_a_blocked_loop_waits_for_the_look() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await wait_all_tasks_blocked()
        block(6)
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert outcome.is_done
    assert len(desk.orders) == 1


async def test_a_command_to_a_broker_that_froze_meanwhile_is_refused_and_not_written() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await wait_all_tasks_blocked()
        desk.broker.connection.hold()
        block(6)
        with pytest.raises(SpanPanelStaleDataError) as caught:
            await panel.set_circuit_relay(KITCHEN, "OPEN", within=3)
        assert caught.value.reason is PAUSED
        desk.broker.connection.release()
        await trio.sleep(10)
    assert desk.orders == []


async def test_without_a_link_nobody_has_to_look() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await wait_all_tasks_blocked()
        broker.instead[Kind.CONNECT] = nothing
        broker.connection.hang_up()
        async for edge in panel.edges():
            if not edge.online:
                break
        block(60)
        assert panel.obstacle is not None
        assert panel.obstacle.reason is ConnectionReason.LINK_LOST


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(-20, 20), st.booleans()), max_size=20))
def test_nobody_is_told_that_it_was_looked_who_was_away_for_longer(steps: list[tuple[float, float, bool]]) -> None:
    lookout, now, drift = Lookout(), 0.0, 1e9
    assert lookout.look(now, drift, has_turn=True) is None
    before = now, drift
    for passed, moved, has_turn in steps:
        now, drift = now + passed, drift + moved
        away = now - before[0] > 5.0 or abs(drift - before[1]) > 5.0
        assert (lookout.look(now, drift, has_turn=has_turn) is not None) is away
        if away or has_turn:
            before = now, drift


@pytest.mark.parametrize(("passed", "moved"), [(5.0, 0.0), (0.0, 5.0), (0.0, -5.0), (5.0, 5.0)])
def test_five_seconds_are_not_too_long(passed: float, moved: float) -> None:
    lookout = Lookout()
    lookout.look(0.0, 0.0, has_turn=True)
    assert lookout.look(passed, moved, has_turn=True) is None


def test_the_first_look_is_behind_nothing() -> None:
    assert Lookout().look(math.pi, 0.0, has_turn=True) is None
    assert Lookout().look(math.pi, 0.0, has_turn=False) is None


async def test_who_is_not_live_for_another_reason_is_told_so_at_once() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await wait_all_tasks_blocked()
        desk.broker.publish(topic("$state"), "lost")
        await panel.ping()
        desk.broker.instead[Kind.PINGREQ] = nothing
        with pytest.raises(SpanPanelStaleDataError):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert trio.current_time() == 0.0


async def test_a_command_whose_authorise_blocks_the_loop_waits_for_the_look() -> None:
    async def authorise(_: object) -> None:
        await trio.lowlevel.checkpoint()
        block(6)

    desk = Desk()
    async with desk.opened(authorise=authorise) as panel:
        await wait_all_tasks_blocked()
        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER", within=60)
        assert outcome.is_done
        desk.broker.connection.hold()
        with pytest.raises(SpanPanelStaleDataError) as caught:
            await panel.set_circuit_priority(KITCHEN, "OFF_GRID", within=8)
        assert caught.value.reason is PAUSED
    assert len(desk.orders) == 1


async def test_what_was_described_while_the_loop_was_blocked_is_commanded() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        whole = desk.broker.retained[topic("$description")]
        without = json.loads(whole)
        del without["nodes"][KITCHEN]
        desk.broker.publish(topic("$description"), json.dumps(without))
        await panel.ping()
        desk.broker.connection.hold()
        desk.broker.publish(topic("$description"), whole)
        block(6)

        @nursery.start_soon
        async def read() -> None:
            await trio.sleep(0.1)
            desk.broker.connection.release()

        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).is_done


async def test_who_asks_in_between_has_not_looked() -> None:
    """A loop that is blocked piece by piece, with a question behind each."""
    async with opened(Broker(house())) as panel:
        await wait_all_tasks_blocked()
        block(4)
        assert panel.live
        block(4)
        assert str(panel.obstacle) == "program paused: its loop was blocked for 8 s"
        block(4)
        assert not panel.live
        await panel.wait_live()
        assert await edges(panel) == ["online"]


@given(
    st.lists(st.tuples(st.sampled_from(["block", "sleep", "turn"]), st.sampled_from([0.5, 3.0, 5.0, 7.0])), max_size=12)
)
def test_nobody_is_told_that_it_is_live_who_was_not_looked_for_for_longer(steps: list[tuple[str, float]]) -> None:
    async def main() -> None:
        async with opened(Broker(house())) as panel:
            await wait_all_tasks_blocked()
            looked_at = trio.current_time()
            for what, seconds in steps:
                if what == "block":
                    block(seconds)
                else:
                    await trio.sleep(seconds if what == "sleep" else 0)
                    await wait_all_tasks_blocked()
                    looked_at = trio.current_time()
                passed = trio.current_time() - looked_at
                if passed > 5.0 or passed <= 3.0:  # two more may have passed since the accumulator's last turn
                    assert panel.live is (passed <= 3.0)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("kind", ["snapshots", "updates", "edges"])
@pytest.mark.parametrize("order", range(8))
async def test_what_was_published_before_a_block_is_nobodys_current_snapshot(kind: str, order: int) -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=0) as panel:
        reader = getattr(panel, kind)()
        for _ in range(2 if kind == "updates" else 1):
            await anext(reader)
        broker.publish(RELAY, b"OPEN")
        await trio.sleep(1)  # there is a new one
        broker.connection.hold()
        for _ in range(order):  # whoever comes first
            await trio.lowlevel.checkpoint()
        block(6)
        if kind == "snapshots":
            with trio.move_on_after(1) as scope:
                await anext(reader)
            assert scope.cancelled_caught
        else:
            assert str(await anext(reader)).startswith("offline, program paused")


async def test_nothing_that_speaks_of_now_speaks_behind_a_block() -> None:
    async with opened(Broker(house())) as panel:
        await wait_all_tasks_blocked()
        for ask in (panel.controls, panel.field_metadata, lambda: panel.snapshot):
            await panel.wait_live()
            block(6)
            with pytest.raises(SpanPanelStaleDataError) as caught:
                ask()
            assert caught.value.reason is PAUSED
        await panel.wait_live()
        whole = panel.capabilities
        block(6)
        assert panel.capabilities != whole
        assert panel.live_since is None


async def test_any_answer_to_a_ping_of_afterwards_will_do() -> None:
    """The broker dropped the answer to the first one."""
    broker = Broker(house())
    async with opened(broker) as panel:
        await wait_all_tasks_blocked()
        broker.instead[Kind.PINGREQ] = nothing
        block(6)
        assert not panel.live
        await trio.sleep(0.5)
        del broker.instead[Kind.PINGREQ]
        await panel.ping()
        assert panel.live
