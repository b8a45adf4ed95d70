"""Every fault that the broker can be given, as its clients see it."""

from __future__ import annotations

import os
import socket
import struct

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from span_trio.simulator.broker.broker import Broker, BrokerFaults
from span_trio.simulator.broker.packets import PacketType
from tests.unit.mqtt import packets
from tests.unit.simulator.peers import Peer, Will, connect

pytestmark = pytest.mark.virtual_time

WELL = BrokerFaults()


async def assert_well(peer: Peer) -> None:
    await peer.send(packets.pingreq())
    await peer.expect(packets.pingresp())


@pytest.fixture
def broker() -> Broker:
    return Broker()


def fill(broker: Broker, topics: int) -> list[bytes]:
    """Retained messages, and what their replay is."""
    for number in range(topics):
        broker.publish(f"a/{number}", b"x", retain=True)
    return [packets.publish(f"a/{number}", b"x", retain=True) for number in range(topics)]


# --- what happens once ---


@pytest.mark.parametrize("reset", [False, True])
async def test_all_connections_are_ended_or_one(broker: Broker, nursery: trio.Nursery, reset: bool) -> None:
    end = broker.reset if reset else broker.drop
    one, two = [await Peer.log_in(broker, nursery, connect(name)) for name in ("one", "two")]
    stranger = Peer.dial(broker, nursery)
    await wait_all_tasks_blocked()
    assert end("nobody") == 0
    assert end("one") == 1
    await one.expect_end()
    await assert_well(two)
    assert end() == 2
    await two.expect_end()
    await stranger.expect_end()
    assert end() == 0


async def test_what_was_published_before_a_drop_still_arrives(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.publish("a", b"lost")
    broker.drop()
    broker.publish("a", b"too late")
    await peer.expect(packets.publish("a", b"lost"))
    await peer.expect_end()


async def test_a_client_that_does_not_read_cannot_keep_its_connection(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.faults = BrokerFaults(slow=1)
    broker.publish("a", bytes(100))
    began = trio.current_time()
    broker.drop()
    await wait_all_tasks_blocked()
    assert len(await peer.everything()) <= 2
    assert trio.current_time() - began == pytest.approx(1)


async def test_a_reset_waits_for_nothing(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.publish("a", b"never sent")
    began = trio.current_time()
    broker.reset()
    await peer.expect_end()
    assert trio.current_time() == began


class Layered(trio.abc.Stream):
    """A stream on top of another one, as TLS is."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.transport_stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.transport_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.transport_stream.aclose()


async def test_a_reset_lingers_not(broker: Broker, nursery: trio.Nursery) -> None:
    near, far = trio.socket.socketpair()
    peer = Peer(trio.SocketStream(near))
    with socket.socket(fileno=os.dup(far.fileno())) as watched:
        nursery.start_soon(broker.serve, Layered(trio.SocketStream(far)))
        await peer.send(connect())
        await peer.expect(packets.connack())
        assert broker.reset() == 1
        await wait_all_tasks_blocked()
        assert far.fileno() == -1
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
    await peer.expect_end()
    await peer.stream.aclose()


async def test_a_drop_is_no_reset(broker: Broker, nursery: trio.Nursery) -> None:
    near, far = trio.socket.socketpair()
    peer = Peer(trio.SocketStream(near))
    with socket.socket(fileno=os.dup(far.fileno())) as watched:
        nursery.start_soon(broker.serve, trio.SocketStream(far))
        await peer.send(connect())
        await peer.expect(packets.connack())
        assert broker.drop() == 1
        await wait_all_tasks_blocked()
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 0, 0)
    await peer.expect_end()
    await peer.stream.aclose()


async def test_raw_bytes_go_to_every_session(broker: Broker, nursery: trio.Nursery) -> None:
    one, two = [await Peer.log_in(broker, nursery, connect(name)) for name in ("one", "two")]
    stranger = Peer.dial(broker, nursery)
    broker.inject(b"\xff\xff")
    broker.inject(packets.publish(b"\xff"))
    for peer in (one, two):
        await peer.expect(b"\xff\xff", packets.publish(b"\xff"))
    await stranger.expect_silence()


# --- what lasts ---


async def test_hanging_up_on_whoever_comes(broker: Broker, nursery: trio.Nursery) -> None:
    old = await Peer.log_in(broker, nursery)
    broker.faults = BrokerFaults(hang_up=True)
    await Peer.dial(broker, nursery).expect_end()
    await assert_well(old)
    broker.faults = WELL
    await Peer.log_in(broker, nursery)


async def test_mute_reads_and_loses(broker: Broker, nursery: trio.Nursery) -> None:
    fill(broker, 1)
    peer = await Peer.subscribed(broker, nursery, "me", "b")
    reliable = await Peer.subscribed(broker, nursery, "reliable", "b", qos=1)
    broker.faults = BrokerFaults(mute=True)
    late = Peer.dial(broker, nursery)
    await late.send(connect("late"))
    await peer.send(packets.pingreq(), packets.publish("b", b"x"), packets.subscribe(2, ["a/#"])[:4])
    broker.publish("b", b"y")
    broker.inject(b"z")
    await late.expect_silence(80)  # and is thrown out soon, as anybody who does not log in
    await peer.expect_silence(3600)
    await reliable.expect_silence()
    await peer.send(packets.subscribe(2, ["a/#"])[4:])
    await wait_all_tasks_blocked()
    broker.faults = WELL
    await assert_well(peer)
    await assert_well(reliable)
    broker.publish("b", b"again")
    await peer.expect(packets.publish("b", b"again"))
    await reliable.expect(packets.publish("b", b"again", qos=1, mid=1))
    await late.expect_end()


async def test_what_was_queued_before_it_went_mute_comes_after(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.publish("a", b"x")
    broker.faults = BrokerFaults(mute=True)
    await peer.expect_silence()
    broker.faults = WELL
    await peer.expect(packets.publish("a", b"x"))


async def test_a_mute_broker_gives_up_the_silent(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    broker.faults = BrokerFaults(mute=True)
    await trio.sleep(10)
    await peer.send(packets.pingreq())
    await trio.sleep(11)
    await peer.expect_silence()
    began = trio.current_time()
    await peer.expect_end()
    assert trio.current_time() - began == pytest.approx(0.5 + 1)  # and the writer has its grace, in vain


async def test_freeze_loses_nothing(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "b")
    broker.faults = BrokerFaults(freeze=True)
    late = Peer.dial(broker, nursery)
    await late.send(connect("late"))
    await peer.send(packets.publish("b", b"1"), packets.pingreq())
    broker.publish("b", b"0")
    await peer.expect_silence(1000)
    assert not broker.retained
    broker.faults = BrokerFaults(freeze=True, drip=True)
    await late.expect_silence(1000)
    broker.faults = WELL
    await peer.expect(packets.publish("b", b"0"), packets.publish("b", b"1"), packets.pingresp())
    await late.expect(packets.connack())


async def test_freeze_gives_nobody_up(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w")
    peer = await Peer.log_in(broker, nursery, connect(will=Will("w")))
    gone = await Peer.log_in(broker, nursery, connect("gone", will=Will("w", b"first")))
    broker.faults = BrokerFaults(freeze=True)
    await gone.stream.aclose()
    await trio.sleep(3600)
    broker.faults = WELL
    await listener.expect(packets.publish("w", b"first"))
    await peer.expect_silence(11)
    await assert_well(peer)
    began = trio.current_time()
    await peer.expect_end()
    assert trio.current_time() - began == pytest.approx(12)
    await listener.expect(packets.publish("w", b"gone"))


async def test_a_frozen_connection_can_be_ended(broker: Broker, nursery: trio.Nursery) -> None:
    waiting, speaking = [await Peer.log_in(broker, nursery, connect(name)) for name in ("one", "two")]
    broker.faults = BrokerFaults(freeze=True)
    await speaking.send(packets.pingreq())
    await wait_all_tasks_blocked()
    assert broker.drop() == 2
    await waiting.expect_end()
    await speaking.expect_end()


@pytest.mark.parametrize(("rate", "seconds"), [(2, 5.0), (100, 0.1), (50_000, 0.0002)])
async def test_slow(broker: Broker, nursery: trio.Nursery, rate: float, seconds: float) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.faults = BrokerFaults(slow=rate)
    began = trio.current_time()
    broker.publish("a", b"12345")
    await peer.expect(packets.publish("a", b"12345"))
    assert trio.current_time() - began == pytest.approx(seconds)
    broker.publish("a", b"6")
    broker.faults = WELL
    began = trio.current_time()
    await peer.expect(packets.publish("a", b"6"))
    assert trio.current_time() == began


async def test_a_slow_link_loses_what_does_not_fit(nursery: trio.Nursery) -> None:
    broker = Broker(queue_limit=10)
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    broker.faults = BrokerFaults(slow=1000)
    for _ in range(100):
        broker.publish("a", bytes(50_000))
    await peer.send(packets.pingreq())
    await wait_all_tasks_blocked()
    assert broker.sessions["me"].dropped > 60
    broker.faults = WELL
    await assert_well_after_all(peer)


async def assert_well_after_all(peer: Peer) -> None:
    """What was dropped was dropped whole."""
    count = len(await peer.messages())
    assert 20 < count < 40


async def test_drip(broker: Broker, nursery: trio.Nursery) -> None:
    near, far = memory_stream_pair()
    pieces: list[int] = []
    send_all = far.send_all

    async def watched(data: bytes | bytearray | memoryview) -> None:
        pieces.append(len(data))
        await send_all(data)

    far.send_all = watched  # type: ignore[method-assign]
    nursery.start_soon(broker.serve, far)
    broker.faults = BrokerFaults(drip=True)
    peer = Peer(near)
    await peer.send(connect(), packets.subscribe(1, ["#"]))
    broker.publish("é", "ü".encode(), retain=True)
    await peer.expect(packets.connack(), packets.suback(1), packets.publish("é", "ü".encode(), retain=True))
    assert pieces == [1] * (4 + 5 + 8)


async def test_logins_are_refused_with_a_code(nursery: trio.Nursery) -> None:
    asked: list[object] = []

    def authenticate(*given: object) -> int:
        asked.append(given)
        return 0

    broker = Broker(authenticate=authenticate)
    old = await Peer.log_in(broker, nursery, connect("old"))
    broker.faults = BrokerFaults(refuse_login=5)
    peer = Peer.dial(broker, nursery)
    await peer.send(connect(will=Will("w")))
    await peer.expect(packets.connack(5))
    await peer.expect_end()
    await assert_well(old)
    assert asked == [(None, None)]


async def test_subscriptions_are_refused(broker: Broker, nursery: trio.Nursery) -> None:
    fill(broker, 1)
    broker.faults = BrokerFaults(refuse_subscriptions=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a/#", "b"]))
    await peer.expect(packets.suback(1, [0x80, 0x80]))
    broker.publish("b", b"x")
    await peer.expect_silence()


@pytest.mark.parametrize(
    ("kind", "packet"),
    [
        (PacketType.PINGRESP, packets.pingreq()),
        (PacketType.SUBACK, packets.subscribe(1, ["b"])),
        (PacketType.UNSUBACK, packets.unsubscribe(1, ["b"])),
        (PacketType.PUBACK, packets.publish("b", qos=1)),
        (PacketType.PUBREC, packets.publish("b", qos=2)),
        (PacketType.CONNACK, connect()),
    ],
)
async def test_answers_are_swallowed(broker: Broker, nursery: trio.Nursery, kind: PacketType, packet: bytes) -> None:
    broker.faults = BrokerFaults(swallow=frozenset({kind}))
    peer = Peer.dial(broker, nursery)
    if kind != PacketType.CONNACK:
        await peer.send(connect())
        await peer.expect(packets.connack())
    await peer.send(packet)
    await peer.expect_silence()
    broker.faults = WELL
    await peer.send(packets.subscribe(9, ["c"]))
    await peer.expect(packets.suback(9))  # what was asked for has been done
    assert list(broker.sessions["me"].subscriptions) == (["b", "c"] if kind == PacketType.SUBACK else ["c"])


@pytest.mark.parametrize(("topics", "arrive"), [(999, 999), (1_001, 999)])
async def test_over_websocket_a_replay_stops_at_999(
    broker: Broker, nursery: trio.Nursery, topics: int, arrive: int
) -> None:
    replay = fill(broker, topics)
    broker.faults = BrokerFaults(websocket_queue=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["#"]), packets.pingreq())
    await peer.expect(packets.suback(1), *replay[:arrive])
    if arrive < topics:
        await peer.expect_silence()  # no barrier either


async def test_over_tcp_it_does_not(broker: Broker, nursery: trio.Nursery) -> None:
    replay = fill(broker, 2_000)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["#"]), packets.pingreq())
    await peer.expect(packets.suback(1), *replay, packets.pingresp())


async def test_replays_are_cut_off(broker: Broker, nursery: trio.Nursery) -> None:
    replay = fill(broker, 5)
    broker.faults = BrokerFaults(replay_limit=2)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a/+", "#"]), packets.pingreq(), packets.subscribe(2, ["a/4"]))
    await peer.expect(packets.suback(1, [0, 0]), *replay[:2], packets.pingresp(), packets.suback(2), replay[4])


async def test_replays_are_shuffled_and_doubled(broker: Broker, nursery: trio.Nursery) -> None:
    plain = [(f"a/{number}", b"x", True) for number in range(5)]
    fill(broker, 5)

    async def replayed(faults: BrokerFaults) -> list[tuple[str, bytes, bool]]:
        broker.faults = faults
        peer = await Peer.log_in(broker, nursery)
        await peer.send(packets.subscribe(1, ["#"]))
        return await peer.messages()

    assert await replayed(WELL) == plain
    assert await replayed(BrokerFaults(duplicate_replay=True)) == [each for each in plain for _ in range(2)]
    shuffled = await replayed(BrokerFaults(shuffle_replay=0))
    assert sorted(shuffled) == plain != shuffled
    assert await replayed(BrokerFaults(shuffle_replay=0)) == shuffled
    assert await replayed(BrokerFaults(shuffle_replay=1)) != shuffled
    both = await replayed(BrokerFaults(shuffle_replay=1, duplicate_replay=True))
    assert sorted(both) == sorted(plain * 2)


# --- what is wrong with a stream ---


async def test_a_stream_that_is_closed_under_us_ends_its_session(broker: Broker, nursery: trio.Nursery) -> None:
    near, far = memory_stream_pair()
    peer = Peer(near)
    nursery.start_soon(broker.serve, far)
    await peer.send(connect())
    await peer.expect(packets.connack())
    await far.aclose()
    broker.publish("a", b"")
    await wait_all_tasks_blocked()
    assert not broker.sessions
    await peer.expect_end()


async def test_a_goodbye_that_nobody_hears_is_cut_short(broker: Broker, nursery: trio.Nursery) -> None:
    class Polite(Layered):
        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                await trio.aclose_forcefully(self.transport_stream)
                raise

    near, far = memory_stream_pair()
    nursery.start_soon(broker.serve, Polite(far))
    peer = Peer(near)
    await peer.send(connect(level=5))
    await peer.expect(packets.connack(1))
    began = trio.current_time()
    await peer.expect_end()
    assert trio.current_time() - began == pytest.approx(1)


async def test_a_goodbye_may_fail(broker: Broker) -> None:
    class Torn(Layered):
        async def aclose(self) -> None:
            await trio.aclose_forcefully(self.transport_stream)
            raise trio.BrokenResourceError

    near, far = memory_stream_pair()
    await near.aclose()
    stream = Torn(far)
    with pytest.raises(trio.BrokenResourceError):
        await stream.aclose()
    await broker.serve(Torn(far))
