"""The login of an MQTT session: accepted, or refused in words."""

from __future__ import annotations

import pytest
import trio

from span_trio import SpanPanelAuthError, SpanPanelConnectionError, SpanPanelError
from span_trio.link import Link
from span_trio.mqtt import Codec
from tests.unit.link.broker import Broker, Kind, Pieces, nothing
from tests.unit.link.house import (
    logged_in,
)
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time


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
    assert (link.succeeded, link.lost, link.asked_at) == (False, None, float("-inf"))
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
    assert not error.answered
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
        (packets.connack() + packets.pingresp(), "no CONNACK at first"),
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
    assert error.answered


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
