"""A panel while it is open: what is published arrives, an end is noticed, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    fetch_snapshot,
    open_span_panel,
)
from span_trio.homie import Obstacle
from tests.busy import PATIENCE, allowed
from tests.integration.broker import ROOT, Broker, Publisher, until

HOST = "127.0.0.1"
WHO = SpanCredentials(serial_number=ROOT)
KITCHEN = "c339ec7ce7ff521ca7646f9606baff9f"


def options(broker: Broker, **more: Any) -> PanelOptions:
    return PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.port, **more)


@asynccontextmanager
async def panel_at(broker: Broker, **more: Any) -> AsyncGenerator[SpanPanel, None]:
    with trio.fail_after(PATIENCE):
        async with open_span_panel(HOST, credentials=WHO, options=options(broker, **more)) as panel:
            yield panel


async def publish(broker: Broker, path: str, payload: str) -> None:
    def send() -> None:
        with Publisher(broker.port) as publisher:
            publisher.publish(f"ebus/5/{ROOT}/{path}", payload, retain=True)

    await trio.to_thread.run_sync(send)


# --- what is published arrives ---


async def test_a_live_value_is_a_new_snapshot(own: Broker) -> None:
    async with panel_at(own, snapshot_interval=0) as panel:
        reader = panel.snapshots()
        first = await anext(reader)
        await publish(own, f"{KITCHEN}/active-power", "-1234.5")
        second = await anext(reader)
    assert second.circuits[KITCHEN].instant_power_w == 1234.5
    assert second.seq == first.seq + 1
    assert second.circuits[KITCHEN].instant_power_update_time_s is not None
    (change,) = second.changes(first)
    assert change.path == ("circuits", KITCHEN, "instant_power_w")
    assert second.battery is first.battery
    assert reader.skipped == 0


async def test_a_relay_that_changes_is_published_at_once_whatever_the_interval(own: Broker) -> None:
    async with panel_at(own, snapshot_interval=3600) as panel:
        reader = panel.snapshots()
        before = (await anext(reader)).circuits[KITCHEN].relay_state
        after = "OPEN" if before == "CLOSED" else "CLOSED"
        began = trio.current_time()
        await publish(own, f"{KITCHEN}/relay", after)
        assert (await anext(reader)).circuits[KITCHEN].relay_state == after
        assert trio.current_time() - began < allowed(1.0)


async def test_the_snapshot_of_now_waits_for_no_interval(own: Broker) -> None:
    async with panel_at(own, snapshot_interval=3600) as panel:
        heard = panel.statistics().messages
        await publish(own, f"{KITCHEN}/active-power", "-77")
        await until(lambda: panel.statistics().messages > heard)
        assert panel.snapshot.circuits[KITCHEN].instant_power_w == 77.0


async def test_a_panel_that_goes_away_and_comes_back(own: Broker) -> None:
    async with panel_at(own, snapshot_interval=0, settle=0.2) as panel:
        reader = panel.snapshots()
        first = await anext(reader)
        await publish(own, "$state", "lost")
        await until(lambda: not panel.live)
        assert panel.live_since is None
        with trio.move_on_after(0.1) as nothing:
            await anext(reader)
        assert nothing.cancelled_caught
        await publish(own, "$state", "ready")
        assert await anext(reader) == first  # nothing was republished: settled
        assert panel.live


async def test_two_panels_do_not_know_each_other(own: Broker) -> None:
    async with panel_at(own) as one, panel_at(own) as other:
        assert one.snapshot == other.snapshot
        assert one.snapshot is not other.snapshot


# --- an end is noticed, and mended ---


async def test_a_broker_that_is_killed_is_one_edge_at_once_and_no_old_value_is_handed_out(own: Broker) -> None:
    async with panel_at(own) as panel:
        edges, snapshots = panel.edges(), panel.snapshots()
        assert (await anext(edges)).online
        await anext(snapshots)
        own.kill()
        began = trio.current_time()
        edge = await anext(edges)
        assert trio.current_time() - began < allowed(0.5)
        assert (edge.online, edge.reason, edge.epoch) == (False, ConnectionReason.LINK_LOST, 1)
        with trio.move_on_after(0.5) as nothing:
            await anext(snapshots)
        assert nothing.cancelled_caught
        with pytest.raises(SpanPanelStaleDataError) as caught:
            _ = panel.snapshot
        assert caught.value.reason is ConnectionReason.UNREACHABLE
        assert "refused" in caught.value.detail
        with pytest.raises(SpanPanelConnectionError, match="there is no link: unreachable"):
            await panel.ping()
    with pytest.raises(SpanPanelClosedError):
        _ = panel.snapshot
    with pytest.raises(SpanPanelClosedError):
        await anext(snapshots)


async def test_a_broker_that_comes_back_empty_is_live_when_the_panel_has_published_again(own: Broker) -> None:
    async with panel_at(own) as panel:
        edges, snapshots = panel.edges(), panel.snapshots()
        before = await anext(snapshots)
        assert (await anext(edges)).online
        own.kill()
        assert not (await anext(edges)).online
        await trio.to_thread.run_sync(own.start)
        await until(lambda: panel.obstacle == Obstacle(ConnectionReason.DEVICE_STATE, "not published"))
        await trio.to_thread.run_sync(own.feed_house)
        edge = await anext(edges)
        assert (edge.online, edge.reason, edge.epoch) == (True, ConnectionReason.LIVE, panel.statistics().epochs)
        await panel.wait_for(lambda snapshot: snapshot == before)
        assert 0 < await panel.ping() < allowed(1.0)


async def test_a_broker_that_says_nothing_any_more_is_given_up_and_taken_up_again(own: Broker) -> None:
    async with panel_at(own, keepalive=1, step_timeout=0.3) as panel:
        edges = panel.edges()
        assert (await anext(edges)).online
        own.suspend()
        began = trio.current_time()
        assert str(await anext(edges)) == "offline, silent peer: no whole packet for 1.5 s"
        assert 1.0 < trio.current_time() - began < allowed(3.0)
        await until(lambda: panel.obstacle is not None and panel.obstacle.reason is ConnectionReason.UNREACHABLE)
        own.resume()
        assert (await anext(edges)).online


async def test_a_quiet_broker_is_not_given_up(house: Broker) -> None:
    async with panel_at(house, keepalive=1) as panel:
        await trio.sleep(2.2)  # longer than a silent one would be borne with
        assert panel.live


async def test_a_broker_that_hangs_while_we_connect(own: Broker) -> None:
    own.suspend()
    began = trio.current_time()
    with pytest.raises(SpanPanelConnectionError, match=r"did not answer the login within 0\.3 s"):
        await fetch_snapshot(HOST, credentials=WHO, options=options(own, step_timeout=0.3))
    assert trio.current_time() - began < allowed(1.0)


async def test_a_broker_that_hangs_while_we_leave(own: Broker) -> None:
    async with panel_at(own, close_grace=0.3):
        own.suspend()
        began = trio.current_time()
    assert trio.current_time() - began < allowed(1.0)


# --- nothing is left behind ---


def open_files() -> dict[str, str]:
    found = {}
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one by which the folder is listed
            found[number.name] = str(number.readlink())
    return found


async def _ends_well(broker: Broker) -> None:
    async with panel_at(broker) as panel:
        assert panel.live


async def _ends_in_an_error_of_the_body(broker: Broker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with panel_at(broker):
            raise ZeroDivisionError


async def _is_cancelled(broker: Broker) -> None:
    with trio.CancelScope() as scope:
        async with panel_at(broker):
            scope.cancel()
            await trio.sleep_forever()


async def _is_cancelled_while_connecting(broker: Broker) -> None:
    await trio.lowlevel.checkpoint()
    for steps in range(12):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ends_well, broker)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def _leaves_an_iterator(broker: Broker) -> None:
    async with panel_at(broker) as panel:
        async for _ in panel.snapshots():
            break


async def _over_tls(broker: Broker) -> None:
    credentials = attrs.evolve(WHO, ca_pem=broker.ca_pem)
    snapshot = await fetch_snapshot(
        HOST, credentials=credentials, options=PanelOptions(max_silence=math.inf, mqtts_port=broker.tls_port)
    )
    assert isinstance(snapshot, SpanPanelSnapshot)


async def _is_refused(broker: Broker) -> None:
    refused = PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.login_port)
    with pytest.raises(SpanPanelAuthError):
        await fetch_snapshot(HOST, credentials=WHO, options=refused)


async def _fails_in_tls(broker: Broker) -> None:
    with pytest.raises(SpanPanelConnectionError):
        await fetch_snapshot(
            HOST,
            credentials=attrs.evolve(WHO, ca_pem=broker.ca_pem),
            options=PanelOptions(max_silence=math.inf, mqtts_port=broker.port),
        )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells")
@pytest.mark.parametrize(
    "use",
    [
        _ends_well,
        _ends_in_an_error_of_the_body,
        _is_cancelled,
        _is_cancelled_while_connecting,
        _leaves_an_iterator,
        _over_tls,
        _is_refused,
        _fails_in_tls,
    ],
)
async def test_no_task_socket_or_thread_is_left(house: Broker, use: Any) -> None:
    gc.collect()
    tasks, files, threads = trio.lowlevel.current_statistics().tasks_living, open_files(), threading.enumerate()
    await use(house)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files  # without the help of a garbage collection
    assert threading.enumerate() == threads


async def test_none_is_left_after_a_lost_link(own: Broker) -> None:
    tasks, files, threads = trio.lowlevel.current_statistics().tasks_living, open_files(), threading.enumerate()
    async with panel_at(own) as panel:
        edges = panel.edges()
        assert (await anext(edges)).online
        own.kill()
        assert not (await anext(edges)).online
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_files() == files
    assert threading.enumerate() == threads


async def test_none_is_left_of_the_sessions_before(own: Broker) -> None:
    async with panel_at(own, fetch_schema=False) as panel:
        await trio.sleep(0.1)  # what is only for the beginning ends
        tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()
        for epoch in (2, 3, 4):
            own.kill()
            own.start()
            own.feed_house()
            await until(lambda wanted=epoch: panel.live and panel.statistics().epochs == wanted)  # type: ignore[misc]
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(open_files()) == len(files)
