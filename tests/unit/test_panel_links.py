"""An open panel and its broker: pings, counters, brokers that drop, and the one-shot."""

from __future__ import annotations

import pytest
import trio

from span_trio import (
    ConnectionReason,
    SpanPanel,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    fetch_snapshot,
)
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.house import CREDENTIALS, OPTIONS, house, opened, topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


# --- ping and statistics ----------------------------------------------------------------------------------------------


async def test_a_ping_is_the_round_trip_to_the_broker() -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        await trio.sleep(1)
        with trio.testing.assert_checkpoints():
            assert await panel.ping() == 0.0

        async def answer() -> None:
            await trio.sleep(0.25)
            broker.connection.release()

        broker.connection.hold()
        nursery.start_soon(answer)
        assert await panel.ping() == 0.25


async def test_a_ping_over_a_lost_link_says_so_and_over_the_next_one_is_answered() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        edges = panel.edges()
        await anext(edges)
        broker.connection.hang_up()
        with pytest.raises(SpanPanelConnectionError, match="the link was lost"):
            await panel.ping()
        assert not (await anext(edges)).online
        assert (await anext(edges)).online
        assert await panel.ping() < 0.01


async def test_a_ping_that_waits_when_the_panel_is_closed_ends() -> None:
    broker = Broker(house())
    outcomes: list[type[BaseException]] = []

    async def ping(panel: SpanPanel) -> None:
        try:
            await panel.ping()
        except SpanPanelError as error:
            outcomes.append(type(error))

    async with trio.open_nursery() as nursery:
        async with opened(broker) as panel:
            broker.connection.hold()
            nursery.start_soon(ping, panel)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SpanPanelClosedError):
            await panel.ping()
    assert len(outcomes) == 1


async def test_a_ping_without_a_link_says_so() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        broker.connack = 3
        broker.connection.hang_up()
        await trio.sleep(10)
        with pytest.raises(SpanPanelConnectionError, match=r"there is no link: unreachable: .* server unavailable"):
            await panel.ping()
        statistics = panel.statistics()
        assert (statistics.bytes_received, statistics.bytes_sent, statistics.epochs) == (0, 0, 1)


async def test_statistics_count() -> None:
    broker = Broker({**house(), topic("core/$nonsense"): b"x"})
    async with opened(broker) as panel:
        await trio.sleep(3)
        broker.publish(POWER, "-1")
        broker.publish(topic("core/l1-voltage"), "not a number")
        await trio.sleep(2)
        statistics = panel.statistics()
        assert statistics.messages == len(house()) + 3
        assert statistics.bytes_received == broker.connection.said
        assert statistics.bytes_sent == sum(len(packet.body) + 2 for packet in broker.connection.received)
        assert statistics.snapshots == 2
        assert statistics.epochs == 1
        assert statistics.replays_assumed == 0
        assert statistics.devices == 1
        assert statistics.topics == len(house()) + 1
        assert statistics.last_message_age == 2.0
        assert sum(statistics.dropped.values()) == 2
        assert panel.statistics() == statistics
        assert panel.statistics() is not statistics
        assert panel.statistics().dropped is not panel.statistics().dropped


async def test_i9_what_is_no_mqtt_ends_the_session_behind_the_good_part() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        edges = panel.edges()
        await anext(edges)
        broker.connection.say(packets.publish(POWER, b"-1") + packets.packet(0x00) + packets.publish(POWER, b"-2"))
        assert (await anext(edges)).reason is ConnectionReason.PROTOCOL_ERROR
        assert panel.statistics().messages == len(house()) + 1


# --- brokers that drop ------------------------------------------------------------------------------------------------


async def test_a_replay_that_was_dropped_is_asked_for_in_parts() -> None:
    broker = Broker(house(), queue=11)  # one topic too many
    async with opened(broker) as panel:
        assert panel.statistics().replays_assumed == 0
        assert panel.statistics().topics == len(house())
        assert power(panel.snapshot) == 150.5
        broker.queue = None
        broker.publish(POWER, "-1")
        await trio.sleep(2)
        assert power(panel.snapshot) == 1.0
        assert await panel.ping() == 0.0
    whole, attributes, nodes = broker.connection.of(Kind.SUBSCRIBE)
    assert whole.texts == [f"ebus/5/{ROOT}/#"]
    assert broker.connection.of(Kind.UNSUBSCRIBE)[0].texts == whole.texts
    assert f"ebus/5/{ROOT}/+" in attributes.texts
    assert sorted(nodes.texts) == sorted([f"ebus/5/{ROOT}/core/#", f"ebus/5/{ROOT}/{KITCHEN}/#"])


async def test_a_broker_that_answers_no_ping_is_believed_when_it_is_quiet_and_that_is_counted() -> None:
    broker = Broker(house(), instead={Kind.PINGREQ: nothing})
    async with opened(broker) as panel:
        assert panel.statistics().replays_assumed == 1
        assert power(panel.snapshot) == 150.5
        assert 6 <= trio.current_time() < 7


async def test_a_message_too_large_makes_the_panel_not_live_and_the_link_goes_on() -> None:
    broker = Broker(house())
    async with opened(broker, max_packet=10_000) as panel:
        broker.publish(topic(f"{KITCHEN}/name"), "x" * 20_000)
        await trio.sleep(2)
        assert panel.statistics().dropped["too large"] == 1
        with pytest.raises(SpanPanelStaleDataError, match=f"pending device: {ROOT}"):
            _ = panel.snapshot
        assert await panel.ping() == 0.0


# --- one shot ---------------------------------------------------------------------------------------------------------


async def test_fetching_is_opening_for_one_snapshot() -> None:
    broker = Broker(house())
    with trio.testing.assert_checkpoints():
        snapshot = await fetch_snapshot("panel", credentials=CREDENTIALS, options=OPTIONS, dialer=broker.dial)
    assert power(snapshot) == 150.5
    assert broker.connection.said_goodbye
    assert broker.connection.closed


async def test_fetching_raises_what_opening_raises() -> None:
    broker = Broker(connack=5)
    with pytest.raises(SpanPanelAuthError):
        await fetch_snapshot("panel", credentials=CREDENTIALS, options=OPTIONS, dialer=broker.dial)
