"""An open panel as a user holds it: on a broker in memory that does what panels and brokers do, and worse."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from span_trio import (
    ConnectionReason,
    SpanCredentials,
    SpanPanel,
    SpanPanelConnectionError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    SpanPanelValidationError,
    open_span_panel,
)
from tests.unit.link.broker import Broker
from tests.unit.link.house import OPTIONS, house, opened, topic
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_it_opens_with_the_first_complete_snapshot() -> None:
    broker = Broker(house())
    with trio.testing.assert_checkpoints():
        manager = opened(broker)
        panel = await manager.__aenter__()
    assert panel.live
    assert panel.serial_number == ROOT
    assert panel.host == "panel"
    assert panel.snapshot.serial_number == ROOT
    assert panel.snapshot.panel_size == 32
    assert repr(panel) == f"<SpanPanel {ROOT} at panel: live>"
    with trio.testing.assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_it_opens_when_the_panel_has_become_ready() -> None:
    broker = Broker(house({"$state": "init"}))

    async def boot() -> None:
        await trio.sleep(7)
        broker.publish(STATE, "ready")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot)
        async with opened(broker) as panel:
            assert trio.current_time() == 7.0
            assert panel.live


async def test_it_opens_without_a_child_that_does_not_come() -> None:
    async with opened(Broker(house(children=["car"])), ready_timeout=20) as panel:
        assert trio.current_time() == 10.0
        assert panel.snapshot.pending_devices == ("car",)


async def test_a_panel_whose_serial_number_is_not_known_is_asked() -> None:
    broker = Broker(house())
    credentials = SpanCredentials(broker_username="me", broker_password="secret")
    async with open_span_panel("panel", credentials=credentials, options=OPTIONS, dialer=broker.dial) as panel:
        assert panel.serial_number == ROOT
    first, second = broker.connections
    assert first.said_goodbye
    assert second.said_goodbye
    assert second.received[0].texts[1:] == ["me", "secret"]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_broker_with_none_or_several_panels_is_told(count: int) -> None:
    retained = {name.replace(ROOT, f"nt-{n}"): payload for n in range(count) for name, payload in house().items()}
    broker = Broker(retained)
    manager = open_span_panel("panel", options=OPTIONS, dialer=broker.dial)
    with pytest.raises(SpanPanelValidationError if count else SpanPanelConnectionError):
        await manager.__aenter__()
    assert [connection.said_goodbye for connection in broker.connections] == [True]


# --- snapshots --------------------------------------------------------------------------------------------------------


async def test_snapshots_begin_with_the_current_one_and_the_latest_wins() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        reader = panel.snapshots()
        with trio.testing.assert_checkpoints():
            assert power(await anext(reader)) == 150.5
        for number in range(1, 6):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        assert power(await anext(reader)) == 5.0
        assert reader.skipped == 4
        assert power(await anext(panel.snapshots())) == 5.0


async def test_the_snapshot_is_fresh_between_two_publishes() -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=1000) as panel:
        await trio.sleep(1)
        broker.publish(POWER, "-1")
        await trio.sleep(1)
        reader = panel.snapshots()
        assert power(await anext(reader)) == 1.0
        broker.publish(POWER, "-2")
        await trio.sleep(1)
        assert power(panel.snapshot) == 2.0
        assert panel.snapshot is panel.snapshot
        with trio.move_on_after(100):
            await anext(reader)
            raise AssertionError


async def test_snapshots_know_when_and_of_which_epoch_they_are() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await trio.sleep(5)
        broker.publish(POWER, "-1")
        await trio.sleep(5)
        snapshot = panel.snapshot
        assert snapshot.seq == 2
        assert snapshot.epoch == 1
        assert snapshot.received_at is not None
        assert snapshot.received_at.monotonic == 5.0


async def test_i7_many_readers_get_the_same_and_a_sleeping_one_costs_nothing() -> None:
    broker = Broker(house())
    got: list[list[float | None]] = [[] for _ in range(50)]

    async def read(panel: SpanPanel, into: list[float | None], pause: float) -> None:
        async for snapshot in panel.snapshots():
            into.append(power(snapshot))
            await trio.sleep(pause)

    async with opened(broker) as panel, trio.open_nursery() as nursery:
        for number, into in enumerate(got):
            nursery.start_soon(read, panel, into, 1000.0 if number % 2 else 0.0)
        for number in range(1, 20):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert got[::2] == [[150.5, *map(float, range(1, 20))]] * 25
    assert got[1::2] == [[150.5]] * 25


async def test_breaking_out_of_a_loop_leaves_nothing_behind() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            async for _ in panel.snapshots():
                break
        assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("after", range(12))
async def test_i2_no_snapshot_is_delivered_that_was_computed_before_an_edge(after: int) -> None:
    """`$state` lost so many steps after a publish, while readers wait, sleep, or are about to run."""
    broker = Broker(house())
    got: list[float | None] = []

    async def read(panel: SpanPanel) -> None:
        async for snapshot in panel.snapshots():
            if not panel.live:
                got.append(power(snapshot))  # noqa: PERF401 - it never ends

    async with opened(broker, snapshot_interval=0) as panel, trio.open_nursery() as nursery:
        held = panel.snapshots()
        for _ in range(5):
            nursery.start_soon(read, panel)
        await trio.testing.wait_all_tasks_blocked()
        broker.publish(POWER, "-1")
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        broker.publish(STATE, "lost")
        await trio.sleep(0.01)
        assert got == []
        with trio.move_on_after(100) as scope:
            await anext(held)
        assert scope.cancelled_caught
        with pytest.raises(SpanPanelStaleDataError):
            _ = panel.snapshot
        nursery.cancel_scope.cancel()


# --- live and not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["init", "lost", "disconnected", "sleeping", "alert", "BOGUS", ""])
async def test_a_panel_that_is_not_ready_has_no_snapshot_and_says_why(state: str) -> None:
    broker = Broker(house())
    async with opened(broker, settle=2.0) as panel:
        assert panel.live_since is not None
        assert panel.live_since.monotonic == 0.0
        await trio.sleep(3)
        broker.publish(STATE, state)
        await trio.sleep(3)
        assert not panel.live
        assert panel.live_since is None
        reason = state or "not published"
        with pytest.raises(SpanPanelStaleDataError, match=f"the panel is not live: device state: {reason}") as caught:
            _ = panel.snapshot
        assert (caught.value.reason, caught.value.detail) == (ConnectionReason.DEVICE_STATE, reason)
        assert panel.obstacle == (ConnectionReason.DEVICE_STATE, reason)
        assert repr(panel) == f"<SpanPanel {ROOT} at panel: not live, device state: {reason}>"
        broker.publish(STATE, "ready")
        await trio.sleep(3)
        assert panel.live
        assert panel.live_since.monotonic == (8.0 if state in {"lost", "disconnected", ""} else 6.0)
        assert power(panel.snapshot) == 150.5


async def test_an_iterator_waits_through_an_outage() -> None:
    broker = Broker(house())
    async with opened(broker, settle=0) as panel:
        reader = panel.snapshots()
        await anext(reader)
        broker.publish(STATE, "lost")
        await trio.sleep(100)

        async def come_back() -> None:
            await trio.sleep(50)
            broker.publish(POWER, "-1")
            broker.publish(STATE, "ready")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            assert power(await anext(reader)) == 1.0
        assert trio.current_time() == 150.0
        assert reader.skipped == 0


# --- the interval -----------------------------------------------------------------------------------------------------


async def test_the_interval_may_be_changed_and_takes_effect_at_once() -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=1000) as panel:
        assert panel.snapshot_interval == 1000
        reader = panel.snapshots()
        await anext(reader)
        for number in (1, 2):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        assert power(await anext(reader)) == 1.0
        panel.snapshot_interval = 0.5
        assert panel.snapshot_interval == 0.5
        assert power(await anext(reader)) == 2.0
        assert trio.current_time() == 3.0


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), "1", None, True, [1]])
async def test_an_interval_that_cannot_be_meant_is_refused(value: Any) -> None:
    async with opened(Broker(house())) as panel:
        with pytest.raises(SpanPanelValidationError, match="snapshot_interval"):
            panel.snapshot_interval = value
        assert panel.snapshot_interval == 1.0
