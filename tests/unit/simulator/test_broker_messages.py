"""Who gets which messages from the broker, and in which order."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import memory_stream_one_way_pair, wait_all_tasks_blocked

from span_trio.homie import Message
from span_trio.simulator.broker.broker import Broker, Client
from tests.unit.mqtt import packets
from tests.unit.simulator.peers import Peer, Will, connect, pubcomp, pubrec, pubrel

pytestmark = pytest.mark.virtual_time

GONE = packets.publish("w", b"gone")


@pytest.fixture
def broker() -> Broker:
    return Broker()


# --- subscribing and publishing ---


async def test_a_replay_comes_behind_suback_and_before_pingresp(broker: Broker, nursery: trio.Nursery) -> None:
    for number in range(3):
        broker.publish(f"a/{number}", b"old", retain=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(7, ["a/+", "b/#"]), packets.pingreq())
    await peer.expect(
        packets.suback(7, [0, 0]),
        *(packets.publish(f"a/{number}", b"old", retain=True) for number in range(3)),
        packets.pingresp(),
    )
    broker.publish("a/1", b"new", retain=True)
    broker.publish("b", b"not kept")
    broker.publish("c", b"not asked for")
    await peer.expect(packets.publish("a/1", b"new"), packets.publish("b", b"not kept"))
    assert dict(broker.retained) == {"a/0": b"old", "a/1": b"new", "a/2": b"old"}


async def test_an_empty_payload_deletes_and_is_delivered(broker: Broker, nursery: trio.Nursery) -> None:
    broker.publish("a", b"old", retain=True)
    broker.publish("a", b"passing by")
    assert broker.retained["a"] == b"old"
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a"]))
    await peer.expect(packets.suback(1), packets.publish("a", b"old", retain=True))
    await peer.send(packets.publish("a", b"", retain=True))
    await peer.expect(packets.publish("a"))
    assert not broker.retained


async def test_clearing_the_store_tells_nobody(broker: Broker, nursery: trio.Nursery) -> None:
    for topic in ("a/1", "a/2", "b"):
        broker.publish(topic, b"x", retain=True)
    view = broker.retained
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a/1"]))
    await peer.expect(packets.suback(1), packets.publish("a/1", b"x", retain=True))
    assert broker.clear_retained("a/") == 2
    assert list(view) == ["b"]
    assert broker.clear_retained() == 1
    await peer.expect_silence()


async def test_a_full_store_passes_on_and_says_so(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(max_retained=700)
    peer = await Peer.subscribed(broker, nursery, "me", "#")
    with caplog.at_level(logging.WARNING):
        for topic in ("a", "b", "c", "d"):
            broker.publish(topic, b"x", retain=True)
    assert [record.message[:9] for record in caplog.records] == ["the store"]
    assert list(broker.retained) == ["a", "b"]
    await peer.expect(*(packets.publish(topic, b"x") for topic in "abcd"))


async def test_filters_that_overlap(broker: Broker, nursery: trio.Nursery) -> None:
    broker.publish("a/b", b"old", retain=True, qos=0)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a/#", "a/b"], 0), packets.subscribe(2, ["+/b"], 1))
    old = packets.publish("a/b", b"old", retain=True)
    await peer.expect(packets.suback(1, [0, 0]), old, old, packets.suback(2, [1]), old)
    broker.publish("a/b", b"new")
    await peer.expect(packets.publish("a/b", b"new", qos=1, mid=1))
    await peer.expect_silence()


async def test_leading_wildcards_do_not_cover_dollar_topics(broker: Broker, nursery: trio.Nursery) -> None:
    broker.publish("$SYS/x", b"1", retain=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["#", "+/x"]))
    await peer.expect(packets.suback(1, [0, 0]))
    broker.publish("$SYS/x", b"2")
    await peer.expect_silence()
    await peer.send(packets.subscribe(2, ["$SYS/#"]))
    await peer.expect(packets.suback(2), packets.publish("$SYS/x", b"1", retain=True))


async def test_subscribing_again_replays_again(broker: Broker, nursery: trio.Nursery) -> None:
    broker.publish("a", b"x", retain=True)
    peer = await Peer.log_in(broker, nursery)
    for mid, qos in [(1, 0), (2, 1)]:
        await peer.send(packets.subscribe(mid, ["a"], qos))
        await peer.expect(packets.suback(mid, [qos]), packets.publish("a", b"x", True, qos, 1))
    assert broker.sessions["me"].subscriptions == {"a": 1}


async def test_unsubscribing(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "a", "b")
    await peer.send(packets.unsubscribe(3, ["a", "never asked for"]))
    await peer.expect(packets.unsuback(3))
    broker.publish("a", b"x")
    broker.publish("b", b"x")
    await peer.expect(packets.publish("b", b"x"))


async def test_too_many_subscriptions_are_refused(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, [str(number) * 60_000 for number in range(5)]))
    await peer.expect(packets.suback(1, [0, 0, 0, 0, 0x80]))


async def test_the_lower_qos_counts(broker: Broker, nursery: trio.Nursery) -> None:
    low = await Peer.subscribed(broker, nursery, "low", "a")
    high = await Peer.subscribed(broker, nursery, "high", "a", qos=1)
    broker.publish("a", b"1", qos=0)
    broker.publish("a", b"2", qos=1)
    await low.expect(packets.publish("a", b"1"), packets.publish("a", b"2"))
    await high.expect(packets.publish("a", b"1"), packets.publish("a", b"2", qos=1, mid=1))


async def test_qos_2_is_granted_as_1(broker: Broker, nursery: trio.Nursery) -> None:
    broker.publish("a", b"x", retain=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a"], 2))
    await peer.expect(packets.suback(1, [1]), packets.publish("a", b"x", True, 1, 1))


async def test_a_message_comes_to_its_sender_too_and_before_its_puback(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.subscribed(broker, nursery, "me", "a")
    await peer.send(packets.publish("a", b"x", qos=1, mid=9))
    await peer.expect(packets.publish("a", b"x"), packets.puback(9))


async def test_qos_2_is_taken_once(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "a", qos=1)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.publish("a", b"x", qos=2, mid=9), packets.publish("a", b"x", qos=2, mid=9, dup=True))
    await peer.send(packets.publish("a", b"y", qos=1, mid=9))  # another message that happens to have the same id
    await peer.expect(pubrec(9), pubrec(9), packets.puback(9))
    await listener.expect(packets.publish("a", b"x", qos=1, mid=1), packets.publish("a", b"y", qos=1, mid=2))
    await peer.send(pubrel(9), pubrel(9), packets.publish("a", b"z", qos=2, mid=9))
    await peer.expect(pubcomp(9), pubcomp(9), pubrec(9))
    await listener.expect(packets.publish("a", b"z", qos=1, mid=3))


async def test_acknowledgements_of_nothing_are_harmless(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.puback(1), pubrec(2), pubcomp(3), packets.pingreq())
    await peer.expect(pubrel(2), packets.pingresp())


async def test_at_qos_1_twenty_are_in_flight_and_a_barrier_overtakes(broker: Broker, nursery: trio.Nursery) -> None:
    for number in range(22):
        broker.publish(f"a/{number}", b"", retain=True)
        broker.publish(f"a/{number}", b"x", retain=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["a/+"], 1), packets.pingreq())
    replay = [packets.publish(f"a/{number}", b"x", True, 1, number + 1) for number in range(22)]
    await peer.expect(packets.suback(1, [1]), *replay[:20], packets.pingresp())
    await peer.send(packets.puback(5))
    await peer.expect(replay[20])
    await peer.expect_silence()
    await peer.send(packets.puback(1), packets.puback(1))
    await peer.expect(replay[21])


@pytest.mark.parametrize(
    ("topic", "payload", "qos"),
    [("", b"", 0), ("a/#", b"", 0), ("a\0", b"", 0), ("a", bytes(2**24 + 1), 0), ("a", b"", 2)],
)
def test_what_cannot_be_published(broker: Broker, topic: str, payload: bytes, qos: int) -> None:
    with pytest.raises(ValueError, match=r"topic|payload|QoS"):
        broker.publish(topic, payload, qos=qos)


def test_a_store_can_be_filled_before_trio_runs(broker: Broker) -> None:
    broker.publish("a", bytes(2**24), retain=True)
    assert list(broker.retained) == ["a"]


# --- who may do what ---


def panel_may_publish(_: Client, topic: str) -> bool:
    return topic.endswith("/set") or not topic.startswith("ebus/5/panel/")


async def test_what_may_not_be_published_is_dropped_and_acknowledged(nursery: trio.Nursery) -> None:
    broker = Broker(may_publish=panel_may_publish)
    listener = await Peer.subscribed(broker, nursery, "listener", "#")
    peer = await Peer.log_in(broker, nursery, connect(will=Will("ebus/5/panel/$state", b"lost", retain=True)))
    await peer.send(
        packets.publish("ebus/5/panel/a/b", b"0", True),
        packets.publish("ebus/5/panel/a/b", b"1", True, 1, 1),
        packets.publish("ebus/5/panel/a/b", b"2", True, 2, 2),
        packets.publish("ebus/5/panel/a/b/set", b"3", False, 1, 3),
        packets.publish("ebus/5/mine/a/b", b"4", True),
    )
    await peer.expect(packets.puback(1), pubrec(2), packets.puback(3))
    await peer.stream.aclose()
    await listener.expect(packets.publish("ebus/5/panel/a/b/set", b"3"), packets.publish("ebus/5/mine/a/b", b"4"))
    await listener.expect_silence()
    assert list(broker.retained) == ["ebus/5/mine/a/b"]


async def test_what_may_not_be_subscribed_to_is_refused(nursery: trio.Nursery) -> None:
    broker = Broker(may_subscribe=lambda client, pattern: (client.client_id, pattern[0]) == ("me", "e"))
    broker.publish("ebus/a", b"x", retain=True)
    broker.publish("other", b"x", retain=True)
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.subscribe(1, ["other", "ebus/#", "#"]))
    await peer.expect(packets.suback(1, [0x80, 0, 0x80]), packets.publish("ebus/a", b"x", retain=True))
    broker.publish("other", b"y")
    await peer.expect_silence()


# --- queues ---


class Stuck(trio.abc.SendStream):
    """Takes nothing, until it is let go."""

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self.let_go = trio.Event()
        self.first = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self.first:
            await self.let_go.wait()
        self.first = False  # CONNACK
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._stream.aclose()


def dial_stuck(broker: Broker, nursery: trio.Nursery) -> tuple[Peer, Stuck]:
    to_peer, from_broker = memory_stream_one_way_pair()
    to_broker, from_peer = memory_stream_one_way_pair()
    stuck = Stuck(to_peer)
    nursery.start_soon(broker.serve, trio.StapledStream(stuck, from_peer))
    return Peer(trio.StapledStream(to_broker, from_broker)), stuck


async def test_who_does_not_read_delays_nobody_and_loses_what_is_too_much(nursery: trio.Nursery) -> None:
    broker = Broker(queue_limit=100)
    slow, stuck = dial_stuck(broker, nursery)
    await slow.send(connect("slow"), packets.subscribe(1, ["a"]))
    await slow.expect(packets.connack(), packets.suback(1))
    quick = await Peer.subscribed(broker, nursery, "quick", "a")
    message = packets.publish("a", bytes(9_995))  # 10,001 bytes: 105 of them are a little more than 1 MiB
    began = trio.current_time()
    for _ in range(300):
        broker.publish("a", bytes(9_995))
        await quick.expect(message)
    assert trio.current_time() == began
    await slow.send(packets.pingreq())
    await wait_all_tasks_blocked()
    kept = 1 + 105 + 100  # being sent, in the socket, in the queue
    assert broker.sessions["slow"].dropped == 300 + 1 - kept  # the PINGRESP too
    stuck.let_go.set()
    await slow.send(packets.disconnect())
    assert await slow.everything() == message * kept
    assert broker.sessions["quick"].dropped == 0


async def test_messages_at_qos_1_are_bounded_too(nursery: trio.Nursery) -> None:
    broker = Broker(queue_limit=30)
    await Peer.subscribed(broker, nursery, "me", "a", qos=1)
    for _ in range(60):
        broker.publish("a", b"x")
    assert broker.sessions["me"].dropped == 10  # 20 in flight, 30 waiting
    broker.queue_limit = None
    broker.publish("a", b"x")
    assert broker.sessions["me"].dropped == 10
    assert broker.queue_limit is None


async def test_a_client_that_hangs_up_while_we_send_is_heard_to_the_end(nursery: trio.Nursery) -> None:
    told: list[Message] = []
    broker = Broker(on_publish=lambda _, message: told.append(message))
    peer = await Peer.log_in(broker, nursery, connect(will=Will("w")))
    await peer.send(packets.subscribe(1, ["#"]))
    await peer.expect(packets.suback(1))
    words = [b"%d" % number for number in range(20)]  # so many that we find out in between that nobody listens
    await peer.send(*(packets.publish("a", word) for word in words), packets.disconnect())
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert told == [Message("a", word) for word in words]
    assert not broker.sessions
