"""Subscriptions of an MQTT session, one at a time, and the barrier behind each replay."""

from __future__ import annotations

import pytest
import trio

from span_trio import ConnectionReason
from span_trio.homie import Message, Obstacle, Request
from span_trio.link import ReplayEnd
from tests.unit.link.broker import Broker, Connection, Kind, Packet, Pieces, nothing
from tests.unit.link.house import (
    REPLAY,
    RETAINED,
    A,
    B,
    events_of,
    gather,
    lost,
    messages_of,
    run_link,
)
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time


# --- subscriptions and barriers ---------------------------------------------------------------------------------------


async def test_a_replay_ends_at_the_pingresp_behind_the_suback() -> None:
    async with run_link(Broker(RETAINED)) as running:
        running.link.subscribe(A)
        batches = await gather(running, until=ReplayEnd)
    assert events_of(batches) == [*REPLAY, ReplayEnd(passed=True)]
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("size", [999, 1000])
async def test_a_barrier_behind_a_thousand_messages_is_not_believed(size: int) -> None:
    async with run_link(Broker({f"a/{number}": b"" for number in range(size)})) as running:
        running.link.subscribe(A)
        events = events_of(await gather(running, until=ReplayEnd))
    assert len(events) == size + 1
    assert events[-1] == ReplayEnd(passed=size < 1000)


async def test_a_barrier_comes_once() -> None:
    async with run_link(Broker(RETAINED)) as running:
        running.link.subscribe(A)
        await gather(running, until=ReplayEnd)
        assert await gather(running, seconds=60) == []  # though pings are answered all the time


async def test_a_pong_that_comes_behind_a_barrier_that_failed_is_none() -> None:
    broker = Broker(RETAINED, instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        running.link.subscribe(A)
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY, ReplayEnd(passed=False)]
        broker.connection.say(packets.pingresp() * 3)
        assert await gather(running, seconds=3) == []


async def test_an_answer_to_a_subscription_that_nobody_asked_for_is_passed_over() -> None:
    broker = Broker(RETAINED)
    async with run_link(broker) as running:
        broker.connection.say(packets.suback(77))
        assert await gather(running, seconds=1) == []
        broker.connection.hold()
        running.link.subscribe(A)
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.say(packets.suback(77) + packets.suback(77, [0x80]))
        broker.connection.release()
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY, ReplayEnd(passed=True)]


@pytest.mark.parametrize("sizes", [[1] * 400, [3] * 133, [20, 1, 300]])
async def test_a_replay_is_the_same_however_it_is_cut(sizes: list[int]) -> None:
    async with run_link(Broker(RETAINED, through=lambda stream: Pieces(stream, sizes))) as running:
        running.link.subscribe(A)
        batches = await gather(running, until=ReplayEnd)
    assert events_of(batches) == [*REPLAY, ReplayEnd(passed=True)]


async def test_a_subscription_asks_for_qos_0_and_pings_straight_behind() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        running.link.subscribe(Request(("a/#", "b"), drop=("c", "d/+")))
        await gather(running, until=ReplayEnd)
    _, unsubscribe, subscribe, ping, _ = broker.connection.received
    assert (unsubscribe.kind, unsubscribe.texts) == (Kind.UNSUBSCRIBE, ["c", "d/+"])
    assert subscribe.kind is Kind.SUBSCRIBE
    assert packets.packet(0x82, subscribe.body) == packets.subscribe(subscribe.mid, ["a/#", "b"], qos=0)
    assert ping.kind is Kind.PINGREQ


async def test_subscriptions_are_outstanding_one_at_a_time() -> None:
    broker = Broker({**RETAINED, "b/1": b"b"})
    async with run_link(broker) as running:
        broker.connection.hold()
        running.link.subscribe(A)
        running.link.subscribe(B)
        await trio.sleep(1)
        assert broker.connection.filters == {"a/#"}
        broker.connection.release()
        first = await gather(running, until=ReplayEnd)
        second = await gather(running, until=ReplayEnd)
    assert events_of(first) == [*REPLAY, ReplayEnd(passed=True)]
    assert events_of(second) == [Message("b/1", b"b", retain=True), ReplayEnd(passed=True)]


async def test_a_ping_of_before_the_subscription_is_no_barrier() -> None:
    broker = Broker(RETAINED)
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        broker.connection.hold()
        nursery.start_soon(running.link.ping)
        await trio.testing.wait_all_tasks_blocked()
        running.link.subscribe(A)
        await trio.testing.wait_all_tasks_blocked()
        assert broker.connection.kinds[1:] == [Kind.PINGREQ, Kind.SUBSCRIBE, Kind.PINGREQ]
        broker.connection.release()
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY, ReplayEnd(passed=True)]


@pytest.mark.parametrize("who", ["the user", "keepalive"])
@pytest.mark.parametrize("answered", [1, 2])
async def test_a_ping_while_a_barrier_is_outstanding_must_be_answered_too(who: str, answered: int) -> None:
    """Or a dropped PINGRESP, and with it a part of the replay, would go unnoticed."""
    pings = 0

    def answer(connection: Connection, packet: Packet) -> None:
        nonlocal pings
        pings += 1
        if pings <= answered:
            connection.answer(packet)

    broker = Broker(RETAINED, instead={Kind.PINGREQ: answer})
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        broker.connection.hold()
        running.link.subscribe(A)
        if who == "the user":
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(running.link.ping)
            await trio.testing.wait_all_tasks_blocked()
        else:
            await trio.sleep(8.5)
        assert len(broker.connection.of(Kind.PINGREQ)) == 2
        began = trio.current_time()
        broker.connection.release()
        batches = await gather(running, until=ReplayEnd)
        assert events_of(batches) == [*REPLAY, ReplayEnd(passed=answered == 2)]
        assert trio.current_time() - began == pytest.approx(0.0 if answered == 2 else 2.1)
        nursery.cancel_scope.cancel()


async def test_a_barrier_that_was_dropped_has_failed_when_it_is_quiet() -> None:
    async with run_link(Broker(RETAINED, queue=6)) as running:
        running.link.subscribe(A)
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY[:6], ReplayEnd(passed=False)]
        assert 2.0 <= trio.current_time() < 2.2
        running.link.subscribe(B)
        assert events_of(await gather(running, until=ReplayEnd)) == [ReplayEnd(passed=True)]


async def test_a_replay_is_not_quiet_while_retained_messages_come() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        running.link.subscribe(A)
        for number in range(4):
            await trio.sleep(1.9)
            broker.connection.say(packets.publish(f"a/{number}", retain=True))
        broker.connection.say(packets.pingresp())
        batches = await gather(running, until=ReplayEnd)
    assert len(messages_of(batches)) == 4
    assert events_of(batches)[-1] == ReplayEnd(passed=True)


@pytest.mark.parametrize(("topics", "after"), [(998, 2.1), (999, 0.1), (1200, 0.1)])
async def test_a_replay_that_ends_where_mosquitto_drops_is_given_up_at_once(topics: int, after: float) -> None:
    retained = {f"a/{number}": b"1" for number in range(topics)}
    async with run_link(Broker(retained, queue=min(topics, 999))) as running:
        running.link.subscribe(A)
        batches = await gather(running, until=ReplayEnd)
    assert events_of(batches)[-1] == ReplayEnd(passed=False)
    assert trio.current_time() == pytest.approx(after)


async def test_a_replay_of_999_messages_with_its_barrier_is_whole() -> None:
    async with run_link(Broker({f"a/{number}": b"1" for number in range(999)})) as running:
        running.link.subscribe(A)
        batches = await gather(running, until=ReplayEnd)
    assert events_of(batches)[-1] == ReplayEnd(passed=True)


async def test_a_long_replay_that_goes_on_slowly_is_waited_for() -> None:
    broker = Broker({f"a/{number}": b"1" for number in range(999)}, queue=999)
    async with run_link(broker) as running:
        running.link.subscribe(A)
        for number in range(10):
            await trio.sleep(0.09)
            broker.connection.say(packets.publish(f"a/more-{number}", retain=True))
        batches = await gather(running, until=ReplayEnd)
    assert len(messages_of(batches)) == 999 + 10
    assert events_of(batches)[-1] == ReplayEnd(passed=False)
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_panel_that_talks_on_does_not_keep_a_replay_from_being_quiet() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        running.link.subscribe(A)
        for number in range(6):
            await trio.sleep(0.5)
            broker.connection.say(packets.publish(f"a/{number}"))
        batches = await gather(running, until=ReplayEnd, seconds=1)
    assert events_of(batches)[-1] == ReplayEnd(passed=False)


async def test_quiet_counts_from_the_suback_on() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        broker.connection.hold()
        running.link.subscribe(A)
        await trio.sleep(7)
        broker.connection.release()
        assert events_of(await gather(running, until=ReplayEnd)) == [ReplayEnd(passed=False)]
    assert 9.0 <= trio.current_time() < 9.2


async def test_a_broker_that_does_not_answer_a_subscription_is_lost() -> None:
    async with run_link(Broker(instead={Kind.SUBSCRIBE: nothing})) as running:
        running.link.subscribe(A)
        why = Obstacle(ConnectionReason.SILENT_PEER, "the broker does not answer a subscription")
        assert await lost(running) == why
    assert 12 <= trio.current_time() < 12.5


@pytest.mark.parametrize("asked", [A, Request(("b/#", "a/#"))], ids=["all of it", "a part of it"])
async def test_a_refused_subscription_ends_the_session(asked: Request) -> None:
    broker = Broker(RETAINED, refused=["a/#"])
    async with run_link(broker) as running:
        running.link.subscribe(asked)
        assert await lost(running) == Obstacle(ConnectionReason.REFUSED, "the broker refuses the subscription")
        assert broker.connection.closed
    assert trio.current_time() == 0.0


async def test_without_a_dispensable_subscription_the_session_goes_on_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(RETAINED, refused=["a/#"])
    async with run_link(broker) as running:
        running.link.subscribe(Request(("a/#",), may_be_refused=True))
        assert events_of(await gather(running, until=ReplayEnd)) == [ReplayEnd(passed=True)]
        running.link.subscribe(B)
        assert events_of(await gather(running, until=ReplayEnd))[-1] == ReplayEnd(passed=True)
    assert [record.getMessage() for record in caplog.records] == [
        "the broker refuses a subscription to a/#: going on without it"
    ]


async def test_answers_to_nothing_that_was_asked_change_nothing() -> None:
    broker = Broker(RETAINED)
    async with run_link(broker) as running:
        broker.connection.say(packets.pingresp() * 3 + packets.suback(99) + packets.unsuback(7) + packets.puback(8))
        broker.connection.hold()
        running.link.subscribe(A)
        await trio.testing.wait_all_tasks_blocked()
        mid = broker.connection.of(Kind.SUBSCRIBE)[0].mid
        held = broker.connection.take_said()
        broker.connection.say(packets.pingresp() + packets.suback(mid + 1) + packets.pingresp() + held)
        broker.connection.release()
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY, ReplayEnd(passed=True)]
