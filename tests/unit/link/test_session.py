"""One MQTT session: the login, the barriers, signs of life, and that it ends in one way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from span_trio import SpanPanelAuthError, SpanPanelConnectionError, SpanPanelError
from span_trio.homie import Message, Request
from span_trio.link import Link, LinkEvent, LinkLost, Oversize, ReplayEnd
from span_trio.mqtt import Codec
from tests.unit.link.broker import Broker, Connection, Kind, Packet, Pieces, nothing
from tests.unit.link.house import (
    Run,
    SteppingCancel,
    events_of,
    fewer,
    logged_in,
    messages_of,
    run,
    run_link,
)
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time

A, B = Request(("a/#",)), Request(("b/#",))
RETAINED = {f"a/{number}": b"%d" % number for number in range(10)}
REPLAY = [Message(name, payload, retain=True) for name, payload in RETAINED.items()]


async def gather(running: Run, *, until: type[LinkEvent] | None = None, seconds: float = 30) -> list[list[LinkEvent]]:
    """What comes until an event of this kind, which must come in time; or all that comes in that time."""
    batches: list[list[LinkEvent]] = []
    with trio.move_on_after(seconds) as scope:
        while until is None or not batches or not isinstance(batches[-1][-1], until):
            batches.append(await running.events.receive())
    assert (until is None) == scope.cancelled_caught, events_of(batches)
    return batches


async def lost(running: Run, *, seconds: float = 30) -> str:
    """Why the link is lost; nothing else may come."""
    [[event]] = await gather(running, until=LinkLost, seconds=seconds)
    assert isinstance(event, LinkLost)
    await running.done.wait()
    return event.why


# --- the login --------------------------------------------------------------------------------------------------------


async def login(broker: Broker) -> SpanPanelError:
    """Log in where that must fail."""
    with pytest.raises(SpanPanelError) as caught:
        await logged_in(broker)
    assert broker.connection.closed
    assert Kind.DISCONNECT not in broker.connection.kinds
    return caught.value


async def test_the_login_is_a_connect_and_its_answer() -> None:
    broker = Broker()
    codec = Codec(client_id="me", username="user", password="secret", keepalive=8)
    link = await Link.start(await broker.dial("panel", 1, None), codec, keepalive=8, close_grace=1.0, step_timeout=3.0)
    [connect] = broker.connection.received
    assert (connect.kind, connect.texts) == (Kind.CONNECT, ["me", "user", "secret"])
    assert not broker.connection.closed
    assert link.bytes_received == broker.connection.said
    assert link.bytes_sent == len(packets.connect("me", username="user", password="secret"))


@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        (1, SpanPanelConnectionError, "protocol version"),
        (2, SpanPanelConnectionError, "client id"),
        (3, SpanPanelConnectionError, "unavailable"),
        (4, SpanPanelAuthError, "bad user name or password"),
        (5, SpanPanelAuthError, "not authorised"),
        (99, SpanPanelConnectionError, "code 99"),
    ],
)
async def test_a_refused_login_says_why(code: int, kind: type[Exception], why: str) -> None:
    error = await login(Broker(connack=code))
    assert type(error) is kind
    assert why in str(error)


async def test_a_login_without_an_answer_ends_after_a_step_timeout() -> None:
    error = await login(Broker(instead={Kind.CONNECT: nothing}))
    assert isinstance(error, SpanPanelConnectionError)
    assert "did not answer the login within 3 s" in str(error)
    assert trio.current_time() == 3.0


async def test_a_login_that_is_not_even_read_ends_after_a_step_timeout() -> None:
    def frozen(stream: trio.abc.Stream) -> trio.abc.Stream:
        broker.connection.freeze()
        return stream

    broker = Broker(through=frozen)
    assert "did not answer the login" in str(await login(broker))
    assert trio.current_time() == 3.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" * 2,
            "does not speak MQTT",
        ),
        (b"\x16\x03\x01\x00\x05" * 20, "does not speak MQTT"),
        (packets.publish("t"), "no CONNACK at first"),
        (packets.pingresp(), "no CONNACK at first"),
        (packets.suback(1), "no CONNACK at first"),
        (packets.publish("t", bytes(5000)), "no CONNACK at first"),
        (packets.packet(0x20, b"\x00"), "malformed"),
        (b"\x20\xff\xff\xff\xff\x01", "length"),
    ],
)
async def test_a_peer_that_answers_something_else_does_not_speak_mqtt(answer: bytes, why: str) -> None:
    error = await login(Broker(instead={Kind.CONNECT: lambda connection, _: connection.say(answer)}))
    assert isinstance(error, SpanPanelConnectionError)
    assert why in str(error)


@pytest.mark.parametrize("said", range(4))
async def test_a_peer_that_hangs_up_during_the_login_is_told(said: int) -> None:
    error = await login(Broker(ends_at=said))
    assert isinstance(error, SpanPanelConnectionError)
    assert "hung up during the login" in str(error)


async def test_a_peer_that_has_hung_up_before_the_login_is_told() -> None:
    def gone(stream: trio.abc.Stream) -> trio.abc.Stream:
        broker.connection.hang_up()
        return stream

    broker = Broker(through=gone)
    error = await login(broker)
    assert isinstance(error, SpanPanelConnectionError)
    assert "broke during the login" in str(error)


async def test_an_answer_may_come_in_single_bytes() -> None:
    link = await logged_in(Broker(through=lambda stream: Pieces(stream, iter(lambda: 1, 0))))
    assert link.bytes_received == len(packets.connack())


# --- subscriptions and barriers ---------------------------------------------------------------------------------------


async def test_a_replay_ends_at_the_pingresp_behind_the_suback() -> None:
    async with run_link(Broker(RETAINED)) as running:
        running.link.subscribe(A)
        batches = await gather(running, until=ReplayEnd)
    assert events_of(batches) == [*REPLAY, ReplayEnd(passed=True)]
    assert trio.current_time() == 0.0


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
        assert await lost(running) == "the broker does not answer a subscription"
    assert 12 <= trio.current_time() < 12.5


async def test_a_refused_subscription_is_told_and_no_end_of_the_link() -> None:
    broker = Broker(RETAINED, refused=["a/#"])
    async with run_link(broker) as running:
        running.link.subscribe(A)
        assert events_of(await gather(running, until=ReplayEnd)) == [ReplayEnd(passed=False, refused=True)]
        running.link.subscribe(B)
        assert events_of(await gather(running, until=ReplayEnd)) == [ReplayEnd(passed=True)]


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


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_what_is_read_in_one_go_is_handed_on_in_one_go() -> None:
    broker = Broker()
    burst = [Message(f"t/{number}", b"%d" % number) for number in range(2000)]
    async with run_link(broker) as running:
        broker.connection.say(b"".join(packets.publish(each.topic, each.payload) for each in burst))
        await trio.testing.wait_all_tasks_blocked()
        batches = await gather(running, seconds=1)
    assert messages_of(batches) == burst
    assert len(batches) == 1


async def test_a_message_too_large_is_passed_over_and_told() -> None:
    broker = Broker()
    async with run_link(broker, max_packet=100) as running:
        broker.connection.say(packets.publish("a") + packets.publish("large", bytes(101)) + packets.publish("b"))
        assert events_of([await running.next()]) == [Message("a", b""), Oversize("large"), Message("b", b"")]


# --- the end ----------------------------------------------------------------------------------------------------------

MALFORMED = {
    "a reserved type": packets.packet(0x00),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "a PUBLISH shorter than its topic": packets.packet(0x30, b"\x00\x05topi"),
    "a PUBLISH at QoS 1": packets.publish("t", qos=1),
    "a SUBACK of nothing": packets.packet(0x90),
    "a SUBACK too large": packets.packet(0x90, bytes(5000)),
    "a PINGREQ": packets.pingreq(),
    "a CONNACK without its code": packets.packet(0x20, b"\x00"),
    "a second CONNACK": packets.connack(),
    "a second CONNACK that refuses": packets.connack(5),
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
async def test_i9_what_is_no_mqtt_ends_the_link_behind_the_good_part(malformed: bytes) -> None:
    broker = Broker()
    good = packets.publish("a", b"1") + packets.publish("b", b"2")
    async with run_link(broker) as running:
        broker.connection.say(good + malformed)
        batches = await gather(running, until=LinkLost)
        await running.done.wait()
        assert broker.connection.closed
    *messages, end = events_of(batches)
    assert messages == [Message("a", b"1"), Message("b", b"2")]
    assert isinstance(end, LinkLost)
    assert "protocol error" in end.why
    assert trio.current_time() == 0.0


async def test_i9_the_good_part_waits_for_a_slow_consumer() -> None:
    broker = Broker()
    async with run_link(broker, channel=0) as running:
        broker.connection.say(packets.publish("a") + packets.packet(0x00))
        await trio.sleep(100)
        assert events_of([await running.next()]) == [Message("a", b"")]
        assert isinstance(events_of([await running.next()])[0], LinkLost)


async def test_a_peer_that_hangs_up_is_lost_behind_what_it_said() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        broker.connection.say(packets.publish("a") + packets.publish("cut off")[:-2])
        broker.connection.hang_up()
        batches = await gather(running, until=LinkLost)
        await running.done.wait()
        assert broker.connection.closed
        assert Kind.DISCONNECT not in broker.connection.kinds
    assert events_of(batches) == [Message("a", b""), LinkLost("the peer closed the link")]


async def test_a_stream_that_breaks_when_reading_is_lost() -> None:
    broker = Broker()

    async def reset() -> None:
        await trio.sleep(1)
        raise trio.BrokenResourceError("reset")

    async with run_link(broker) as running:
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.stream.receive_stream.receive_some_hook = reset
        broker.connection.say(packets.publish("a"))
        assert events_of([await running.next()]) == [Message("a", b"")]
        assert await lost(running) == "the link broke: reset"
        assert broker.connection.closed


async def test_a_stream_that_breaks_when_writing_is_lost() -> None:
    broker = Broker()

    async def reset() -> None:
        raise trio.BrokenResourceError from OSError("no route to host")

    async with run_link(broker) as running:
        broker.connection.stream.send_stream.send_all_hook = reset
        assert await lost(running) == "the link broke: no route to host"
        assert broker.connection.closed
    assert trio.current_time() == 8.0


# --- signs of life ----------------------------------------------------------------------------------------------------


async def test_a_quiet_peer_that_answers_pings_is_alive() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        assert await gather(running, seconds=100) == []
    assert [ping.at for ping in broker.connection.of(Kind.PINGREQ)] == [8.0 * n for n in range(1, 13)]


@pytest.mark.parametrize("keepalive", [8, 20])
async def test_a_silent_peer_is_lost_after_one_and_a_half_keepalives(keepalive: int) -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker, keepalive=keepalive) as running:
        assert await lost(running, seconds=60) == f"silent peer: no whole packet for {1.5 * keepalive:g} s"
        assert broker.connection.closed
    assert 0 <= trio.current_time() - 1.5 * keepalive < 0.2


@pytest.mark.parametrize("every", [3.0, 1.0, 0.05])
async def test_a_peer_that_drips_but_completes_no_packet_is_lost_as_soon(every: float) -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})

    async def drip() -> None:
        broker.connection.say(b"\x30\xa0\x1f")  # a PUBLISH of 4000 bytes
        while not broker.connection.closed:
            await trio.sleep(every)
            broker.connection.say(b"\x00")

    async with run_link(broker) as running, trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        assert "silent peer" in await lost(running)
        assert 0 <= trio.current_time() - 12 < 0.2


async def test_any_whole_packet_is_a_sign_of_life() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        for _ in range(10):
            await trio.sleep(11.9)
            broker.connection.say(packets.publish("a"))
        assert len(messages_of(await gather(running, seconds=1))) == 10


async def test_a_slow_consumer_is_no_silence() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker, channel=0) as running:
        for _ in range(3):
            broker.connection.say(packets.publish("a"))
            await trio.sleep(100)
            assert events_of([await running.next()]) == [Message("a", b"")]


@pytest.mark.parametrize("packet", [packets.publish("a"), None], ids=["a message", "an answer"])
async def test_time_in_which_nobody_looked_is_no_silence(packet: bytes | None, autojump_clock: MockClock) -> None:
    broker = Broker()
    async with run_link(broker) as running:
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(3600)
        if packet is not None:
            broker.connection.say(packet)
        assert len(await gather(running, seconds=100)) == (packet is not None)
        assert not running.done.is_set()


@pytest.mark.parametrize("jump", [3.0, 3600.0])
@pytest.mark.parametrize("said", [0, 5, 100], ids=["nothing", "the SUBACK", "half of the replay"])
async def test_time_in_which_nobody_looked_is_no_barrier_failed(
    said: int, jump: float, autojump_clock: MockClock
) -> None:
    broker = Broker(RETAINED)
    async with run_link(broker) as running:
        broker.connection.hold()
        running.link.subscribe(A)
        await trio.testing.wait_all_tasks_blocked()
        answer = broker.connection.take_said()
        broker.connection.say(answer[:said])
        broker.connection.release()
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(jump)
        broker.connection.say(answer[said:])
        assert events_of(await gather(running, until=ReplayEnd)) == [*REPLAY, ReplayEnd(passed=True)]


# --- pings ------------------------------------------------------------------------------------------------------------


async def test_a_ping_is_a_round_trip() -> None:
    broker = Broker()
    took: dict[str, float] = {}

    async def ping(running: Run, name: str) -> None:
        took[name] = await running.link.ping()

    async with run_link(broker) as running:
        with trio.testing.assert_checkpoints():
            assert await running.link.ping() == 0.0
        broker.connection.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping, running, "first")
            await trio.sleep(0.25)
            nursery.start_soon(ping, running, "second")
            await trio.sleep(0.5)
            broker.connection.release()
    assert took == {"first": 0.75, "second": 0.5}


async def test_a_ping_may_be_cancelled() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        broker.connection.hold()
        with trio.move_on_after(1):
            await running.link.ping()
        assert trio.current_time() == 1.0
        broker.connection.release()
        assert await running.link.ping() == 0.0


async def test_a_dropped_pingresp_does_not_put_later_ones_out_of_step() -> None:
    broker = Broker(RETAINED, queue=6)
    async with run_link(broker) as running:
        running.link.subscribe(A)
        assert events_of(await gather(running, until=ReplayEnd))[-1] == ReplayEnd(passed=False)
        broker.queue = None
        await trio.sleep(1)
        assert await running.link.ping() == 0.0


async def test_i8_a_broker_that_answers_no_ping_fills_no_memory() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        for _ in range(100):
            await trio.sleep(8)
            broker.connection.say(packets.publish("a"))
            await running.next()
        assert len(running.link._pongs) < 5


@pytest.mark.parametrize("end", [Connection.hang_up, lambda connection: connection.say(packets.packet(0x00))])
async def test_a_ping_over_a_link_that_is_lost_says_so(end: Callable[[Connection], None]) -> None:
    broker = Broker()
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        broker.connection.hold()

        async def ping() -> None:
            with pytest.raises(SpanPanelConnectionError, match="the link was lost"):
                await running.link.ping()

        nursery.start_soon(ping)
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.release = lambda: None  # type: ignore[method-assign]
        broker.connection._held = None
        end(broker.connection)
        await running.done.wait()
        await ping()


async def test_a_ping_when_the_link_is_closed_says_so() -> None:
    async with run_link(Broker()) as running:
        running.scope.cancel()
        await running.done.wait()
        with pytest.raises(SpanPanelConnectionError):
            await running.link.ping()


# --- closing ----------------------------------------------------------------------------------------------------------


async def closed(broker: Broker, *, during: Callable[[Run], None] = lambda _: None, grace: float = 1.0) -> float:
    """Close a session; how long that takes."""
    async with run_link(broker, close_grace=grace) as running:
        await trio.testing.wait_all_tasks_blocked()
        during(running)
        began = trio.current_time()
        running.scope.cancel()
        await running.done.wait()
        assert broker.connection.closed
        assert running.events.statistics().current_buffer_used == 0
        return trio.current_time() - began


async def test_i11_closing_says_goodbye() -> None:
    broker = Broker()
    assert await closed(broker) == 0.0
    assert broker.connection.kinds == [Kind.CONNECT, Kind.DISCONNECT]
    assert broker.connection.said_goodbye


async def test_i11_closing_sends_what_is_queued_before_it_says_goodbye() -> None:
    broker = Broker(sip=1)

    def thaw(running: Run) -> None:
        broker.connection.freeze()
        running.link.subscribe(Request(("a/#",), drop=("b",)))
        running.link._codec.ping()
        running.link._queued.set()
        broker.connection.thaw()

    assert await closed(broker, during=thaw) == 0.0
    assert broker.connection.said_goodbye
    assert Kind.PINGREQ in broker.connection.kinds


@pytest.mark.parametrize("grace", [0.0, 1.0, 2.5])
async def test_i11_closing_takes_the_grace_when_the_peer_does_not_read(grace: float) -> None:
    broker = Broker()
    assert await closed(broker, during=lambda _: broker.connection.freeze(), grace=grace) == grace


@pytest.mark.parametrize("grace", [0.0, 1.0, 2.5])
async def test_i11_closing_takes_the_grace_when_the_peer_does_not_hang_up(grace: float) -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})
    assert await closed(broker, grace=grace) == grace
    assert broker.connection.said_goodbye or not grace


async def test_i11_closing_takes_the_grace_when_the_peer_talks_on() -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})

    async def talk() -> None:
        while not broker.connections or not broker.connection.closed:
            await trio.sleep(0.01)
            if broker.connections:
                broker.connection.say(packets.publish("a", bytes(1000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        async with run_link(broker, channel=0) as running:
            await trio.sleep(1)
            began = trio.current_time()
            running.scope.cancel()
            await running.done.wait()
            assert trio.current_time() - began == 1.0
    assert broker.connection.said_goodbye


async def test_i11_closing_survives_a_peer_that_breaks_meanwhile() -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})

    async def reset() -> None:
        await trio.sleep(0.25)
        raise trio.BrokenResourceError

    def then(_: Run) -> None:
        broker.connection.stream.receive_stream.receive_some_hook = reset

    assert await closed(broker, during=then) == 0.25
    assert broker.connection.said_goodbye


def test_i11_cancelling_at_any_step_closes_and_never_cuts_a_packet() -> None:
    """Reads single bytes, so that a sender that can be cut is cut."""
    ended = 0
    for step in range(1, 2000):
        canceller = SteppingCancel(step)
        broker = Broker(RETAINED, sip=1)
        completed: list[Link] = []

        async def session(broker: Broker, completed: list[Link]) -> None:
            link = await logged_in(broker)
            completed.append(link)
            send, receive = trio.open_memory_channel[list[LinkEvent]](1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run, send)
                link.subscribe(A)
                while not isinstance((await receive.receive())[-1], ReplayEnd):
                    pass
                await link.ping()
                await trio.sleep(9)
                nursery.cancel_scope.cancel()

        async def main(canceller: SteppingCancel, broker: Broker, completed: list[Link]) -> bool:
            before = trio.lowlevel.current_statistics().tasks_living
            with canceller.cancelling() as scope:
                await session(broker, completed)
            assert trio.lowlevel.current_statistics().tasks_living == before
            return scope.cancelled_caught

        cancelled = run(main, canceller, broker, completed, instruments=[canceller])
        for connection in broker.connections:
            assert connection.closed, step
            if completed:
                assert connection.said_goodbye, step
                assert connection.received[-1].at <= 9.0
        if not cancelled:
            ended += 1
            break
    assert ended
    assert step > 50


@fewer
@given(st.lists(st.integers(1, 40), max_size=40), st.integers(0, 300), st.integers(1, 255))
def test_i9_a_spoilt_session_ends_once_and_in_one_way(sizes: list[int], position: int, mask: int) -> None:
    broker = Broker(
        RETAINED, flip=(4 + position, mask), through=lambda stream: Pieces(stream, [4, *sizes])
    )  # the login is whole

    async def main() -> None:
        async with run_link(broker) as running:
            running.link.subscribe(A)
            batches = await gather(running, seconds=40)
            ends = [event for event in events_of(batches) if isinstance(event, LinkLost)]
            assert ends == events_of(batches)[-len(ends) :] if ends else not running.done.is_set()
            assert len(ends) <= 1
            assert running.done.is_set() == bool(ends)
        assert broker.connection.closed

    run(main)
