"""One MQTT session: what it hands on, the signs of life, and that it ends in one way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from span_trio import ConnectionReason
from span_trio.homie import Message, Obstacle
from span_trio.link import LinkEvent, LinkLost, Oversize, ReplayEnd
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.house import (
    REPLAY,
    RETAINED,
    A,
    events_of,
    gather,
    lost,
    messages_of,
    run_link,
)
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time


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


def small(number: int) -> bytes:
    return packets.publish(f"t/{number}", b"")


def numbers(batch: list[LinkEvent]) -> list[int]:
    return [int(message.topic[2:]) for message in messages_of([batch])]


async def test_small_packets_close_behind_a_first_one_are_gathered_for_8_ms() -> None:
    broker = Broker()
    came: list[tuple[float, list[int]]] = []
    async with run_link(broker) as running, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            while True:
                batch = await running.next()
                came.append((trio.current_time(), numbers(batch)))

        for number in range(8):
            await trio.testing.wait_all_tasks_blocked()
            broker.connection.say(small(number))
            await trio.sleep(0.003)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [numbers for _, numbers in came] == [[0], [1, 2], [3], [4, 5], [6], [7]]
    assert [time for time, _ in came] == pytest.approx([0.0, 0.008, 0.009, 0.017, 0.018, 0.026])


@pytest.mark.parametrize("size", [4095, 4096])
async def test_what_is_large_has_gathered_already(size: int) -> None:
    broker = Broker()
    large = packets.publish("t/0", bytes(size - 8))
    assert len(large) == size
    async with run_link(broker, max_packet=8192) as running:
        broker.connection.say(large)
        assert numbers(await running.next()) == [0]
        await trio.sleep(0.001)
        began = trio.current_time()
        broker.connection.say(small(1))
        assert numbers(await running.next()) == [1]
        assert trio.current_time() - began == pytest.approx(0.007 if size < 4096 else 0.0)


async def test_a_message_too_large_is_passed_over_and_told() -> None:
    broker = Broker()
    async with run_link(broker, max_packet=100) as running:
        broker.connection.say(packets.publish("a") + packets.publish("large", bytes(101)) + packets.publish("b"))
        assert events_of([await running.next()]) == [Message("a", b""), Oversize("large"), Message("b", b"")]


class Breaking(trio.abc.Stream):
    """A stream that breaks when it is read for the so-manieth time."""

    def __init__(self, stream: trio.abc.Stream, reads: int) -> None:
        self._stream = stream
        self._reads = reads

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._reads -= 1
        if self._reads == 0:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("breaks", [False, True])
async def test_every_byte_that_came_is_counted_and_no_other(breaks: bool) -> None:
    broker = Broker(through=lambda stream: Breaking(stream, 3 if breaks else -1))  # the login is one read
    async with run_link(broker) as running:
        broker.connection.say(small(1) + small(2))
        assert numbers(await running.next()) == [1, 2]
        broker.connection.hang_up()
        why = await lost(running)
        assert why.detail.startswith("it broke" if breaks else "the peer closed it")
        assert running.link.bytes_received == broker.connection.said


async def test_a_peer_that_breaks_the_link_behind_our_goodbye_has_not_lost_it() -> None:
    broker = Broker(through=lambda stream: Breaking(stream, 3))  # the login, what the session reads, and the goodbye
    async with run_link(broker) as running:
        await trio.testing.wait_all_tasks_blocked()
        running.scope.cancel()
        await running.done.wait()
        assert running.link.lost is None
    assert broker.connection.said_goodbye


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
    assert end.why.reason is ConnectionReason.PROTOCOL_ERROR
    assert end.why.detail
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
    assert events_of(batches) == [
        Message("a", b""),
        LinkLost(Obstacle(ConnectionReason.LINK_LOST, "the peer closed it")),
    ]


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
        assert await lost(running) == Obstacle(ConnectionReason.LINK_LOST, "it broke: reset")
        assert broker.connection.closed


async def test_a_stream_that_breaks_when_writing_is_lost() -> None:
    broker = Broker()

    async def reset() -> None:
        raise trio.BrokenResourceError from OSError("no route to host")

    async with run_link(broker) as running:
        broker.connection.stream.send_stream.send_all_hook = reset
        assert await lost(running) == Obstacle(ConnectionReason.LINK_LOST, "it broke: no route to host")
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
        why = Obstacle(ConnectionReason.SILENT_PEER, f"no whole packet for {1.5 * keepalive:g} s")
        assert await lost(running, seconds=60) == why
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
        assert (await lost(running)).reason is ConnectionReason.SILENT_PEER
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


async def test_a_slow_consumer_that_goes_on_may_lose_a_silent_peer() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker, channel=0) as running:
        broker.connection.say(packets.publish("a"))
        await trio.sleep(100)
        assert events_of([await running.next()]) == [Message("a", b"")]
        began = trio.current_time()
        [end] = await running.next()
        assert isinstance(end, LinkLost)
        assert end.why.reason is ConnectionReason.SILENT_PEER
        assert 11 < trio.current_time() - began < 13


async def test_a_session_that_begins_late_has_all_its_patience() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    await trio.sleep(1000)
    async with run_link(broker) as running:
        await lost(running)
    assert 0 <= trio.current_time() - 1012 < 0.2


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
