"""How clients come to the broker, live and go, and what the process that it runs in is told of them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from span_trio.homie import Message
from span_trio.simulator.broker.broker import Broker, Client
from tests.unit.mqtt import packets
from tests.unit.simulator.peers import Peer, Will, connect

pytestmark = pytest.mark.virtual_time

GONE = packets.publish("w", b"gone")


@pytest.fixture
def broker() -> Broker:
    return Broker()


# --- logging in ---


async def test_a_client_logs_in_asks_for_life_and_leaves(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.pingreq())
    await peer.expect(packets.pingresp())
    await peer.send(packets.disconnect())
    await peer.expect_end()
    assert not broker.sessions


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (connect(level=5), 1),
        (connect(name="MQIsdp", level=3), 0),
        (connect("", name="MQIsdp", level=3), 2),
        (connect(""), 0),
        (connect("", clean=False), 2),
        (connect(clean=False), 0),  # there is no session from before, and the answer says so
    ],
)
async def test_versions_and_client_ids(broker: Broker, nursery: trio.Nursery, hello: bytes, code: int) -> None:
    peer = Peer.dial(broker, nursery)
    await peer.send(hello)
    await peer.expect(packets.connack(code))
    if code:
        await peer.expect_end()


async def test_credentials_are_asked_for(nursery: trio.Nursery) -> None:
    asked: list[tuple[str | None, bytes | None]] = []

    def authenticate(username: str | None, password: bytes | None) -> int:
        asked.append((username, password))
        return 0 if (username, password) == ("user", b"pw") else 5 if username else 4

    broker = Broker(authenticate=authenticate)
    for hello, code in [
        (connect(will=Will("w")), 4),
        (connect(username="user", password=b"guess"), 5),
        (connect(username="user", password=b"pw"), 0),
    ]:
        peer = Peer.dial(broker, nursery)
        await peer.send(hello)
        await peer.expect(packets.connack(code))
        assert ("me" in broker.sessions) == (code == 0)
    assert asked == [(None, None), ("user", b"guess"), ("user", b"pw")]


async def test_clients_without_a_name_are_given_one_of_their_own(broker: Broker, nursery: trio.Nursery) -> None:
    for hello in (connect("auto-1"), connect(""), connect("")):
        await Peer.log_in(broker, nursery, hello)
    assert list(broker.sessions) == ["auto-1", "auto-2", "auto-3"]


@pytest.mark.parametrize(
    "first", [packets.pingreq(), packets.publish("a"), packets.packet(0xF0), b"GET / HTTP/1.1\r\n"]
)
async def test_who_does_not_begin_with_connect_is_thrown_out(
    broker: Broker, nursery: trio.Nursery, first: bytes
) -> None:
    peer = Peer.dial(broker, nursery)
    await peer.send(first)
    await peer.expect_end()


async def test_who_says_nothing_is_thrown_out(broker: Broker, nursery: trio.Nursery) -> None:
    peer = Peer.dial(broker, nursery)
    await peer.send(connect()[:-1])
    await peer.expect_end()
    assert trio.current_time() == pytest.approx(90)


async def test_one_connect_is_enough(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    await peer.send(connect(), packets.pingreq())
    await peer.expect_end()


async def test_a_client_id_is_taken_over(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w")
    old = await Peer.log_in(broker, nursery, connect(will=Will("w")))
    new = await Peer.log_in(broker, nursery)
    await old.expect_end()
    await listener.expect(GONE)
    await new.send(packets.pingreq())
    await new.expect(packets.pingresp())
    assert list(broker.sessions) == ["listener", "me"]


# --- life ---


async def test_who_is_silent_for_one_and_a_half_keepalives_is_dead(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w")
    peer = await Peer.log_in(broker, nursery, connect(keepalive=8, will=Will("w")))
    await trio.sleep(11.9)
    await peer.send(packets.pingreq())
    await peer.expect(packets.pingresp())
    began = trio.current_time()
    await trio.sleep(11.8)
    await peer.send(packets.pingreq()[:1])  # half a packet is no life
    await peer.expect_end()
    assert trio.current_time() - began == pytest.approx(12)
    await listener.expect(GONE)


async def test_without_a_keepalive_a_client_may_be_silent(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery, connect(keepalive=0))
    await peer.expect_silence(1_000_000)
    await peer.send(packets.pingreq())
    await peer.expect(packets.pingresp())


# --- wills ---


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("end", ["eof", "malformed", "second connect", "dropped", "reset"])
async def test_a_will_is_published(broker: Broker, nursery: trio.Nursery, end: str, retain: bool) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w", qos=1)
    peer = await Peer.log_in(broker, nursery, connect(will=Will("w", qos=1, retain=retain)))
    match end:
        case "eof":
            await peer.stream.aclose()
        case "malformed":
            await peer.send(b"\xff")
        case "second connect":
            await peer.send(connect())
        case "dropped":
            assert broker.drop("me") == 1
        case _:
            assert broker.reset("me") == 1
    await listener.expect(packets.publish("w", b"gone", qos=1, mid=1))
    assert dict(broker.retained) == ({"w": b"gone"} if retain else {})
    await listener.expect_silence()


async def test_a_will_is_published_when_serving_is_cancelled(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w")
    async with trio.open_nursery() as inner:
        peer = await Peer.log_in(broker, inner, connect(will=Will("w")))
        inner.cancel_scope.cancel()
    await peer.expect_end()
    await listener.expect(GONE)
    assert list(broker.sessions) == ["listener"]


async def test_who_says_goodbye_leaves_no_will(broker: Broker, nursery: trio.Nursery) -> None:
    listener = await Peer.subscribed(broker, nursery, "listener", "w")
    peer = await Peer.log_in(broker, nursery, connect(will=Will("w")))
    await peer.send(packets.disconnect())
    await peer.stream.aclose()
    await listener.expect_silence()


async def test_nothing_is_heard_after_a_goodbye(broker: Broker, nursery: trio.Nursery) -> None:
    peer = await Peer.log_in(broker, nursery)
    await peer.send(packets.disconnect(), packets.publish("a", b"x", True))
    await peer.expect_end()
    assert not broker.retained


async def test_who_was_refused_leaves_no_will(nursery: trio.Nursery) -> None:
    broker = Broker(authenticate=lambda username, _: 0 if username else 4)
    listener = await Peer.log_in(broker, nursery, connect("listener", username="u"))
    await listener.send(packets.subscribe(1, ["w"]))
    await listener.expect(packets.suback(1))
    refused = Peer.dial(broker, nursery)
    await refused.send(connect(will=Will("w")))
    await refused.expect(packets.connack(4))
    await refused.expect_end()
    await listener.expect_silence()


# --- callbacks ---


async def test_what_clients_publish_is_told_of(nursery: trio.Nursery) -> None:
    told: list[tuple[Client, Message]] = []

    def on_publish(client: Client, message: Message) -> None:
        told.append((client, message))
        own.publish("answer", message.payload)

    own = Broker(on_publish=on_publish)
    peer = await Peer.log_in(own, nursery, connect(username="u", will=Will("w", retain=True)))
    await peer.send(packets.subscribe(1, ["#"]), packets.publish("a/set", b"x", qos=1, mid=2))
    await peer.expect(
        packets.suback(1), packets.publish("a/set", b"x"), packets.publish("answer", b"x"), packets.puback(2)
    )
    assert told == [(Client("me", "u"), Message("a/set", b"x"))]
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert told[1:] == [(Client("me", "u"), Message("w", b"gone", retain=True))]


async def test_what_a_callback_raises_comes_out_of_serve() -> None:
    def on_publish(*_: object) -> None:
        raise LookupError("a bug")

    broker = Broker(on_publish=on_publish)
    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="a bug")):  # of our own nursery
        async with trio.open_nursery() as nursery:
            peer = await Peer.log_in(broker, nursery)
            await peer.send(packets.publish("a"))
            await trio.sleep_forever()
    await peer.expect_end()
    assert not broker.sessions


async def test_the_stream_is_closed_even_if_the_will_makes_a_callback_raise() -> None:
    def on_publish(*_: object) -> None:
        raise LookupError("a bug")

    broker = Broker(on_publish=on_publish)
    async with trio.open_nursery() as inner:
        peer = await Peer.log_in(broker, inner, connect(will=Will("w")))
        with pytest.raises(LookupError):
            broker.drop()
    await peer.expect_end()


async def test_a_callback_may_end_the_session_that_called_it(nursery: trio.Nursery) -> None:
    def on_publish(*_: object) -> None:
        own.drop()

    own = Broker(on_publish=on_publish)
    peer = await Peer.log_in(own, nursery)
    await peer.send(packets.publish("a", qos=1, mid=1), packets.pingreq())
    await peer.expect(packets.puback(1))
    await peer.expect_end()


async def test_a_callback_may_end_a_session_that_is_only_logging_in(nursery: trio.Nursery) -> None:
    def on_publish(*_: object) -> None:
        own.drop()

    own = Broker(on_publish=on_publish)
    old = await Peer.log_in(own, nursery, connect(will=Will("w")))
    new = Peer.dial(own, nursery)
    await new.send(connect(will=Will("w")))
    await old.expect_end()
    await new.everything()
    assert not own.sessions
    assert not own._hub.sessions


# --- what is seen from inside ---


async def test_sessions_are_told(broker: Broker, nursery: trio.Nursery) -> None:
    await trio.sleep(5)
    Peer.dial(broker, nursery)  # not logged in
    hello = connect(username="u", password=b"pw", keepalive=60)
    subscribe = packets.subscribe(1, ["a/#"], 1)
    peer = await Peer.log_in(broker, nursery, hello)
    await peer.send(subscribe)
    await peer.expect(packets.suback(1, [1]))
    (info,) = broker.sessions.values()
    assert (info.client_id, info.username, info.keepalive) == ("me", "u", 60)
    assert info.since == pytest.approx(trio.current_time())
    assert info.subscriptions == {"a/#": 1}
    assert (info.packets_received, info.packets_sent, info.dropped) == (2, 2, 0)
    assert (info.bytes_received, info.bytes_sent) == (len(hello + subscribe), 9)
    assert "pw" not in repr(info)
