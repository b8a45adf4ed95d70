"""What clients send is decoded or refused, and nothing else; what a broker sends is as the specification says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.mqtt import Codec
from span_trio.mqtt.framing import Framer, FramingError
from span_trio.simulator.broker.packets import (
    PINGRESP,
    Ack,
    ClientPacket,
    Connect,
    Disconnect,
    PacketError,
    PacketType,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
    UnsupportedLevel,
    Will,
    decode,
    encode_ack,
    encode_connack,
    encode_publish,
    encode_suback,
)
from tests.unit.mqtt import packets
from tests.unit.mqtt.streams import cut, cuts
from tests.unit.simulator.peers import Will as GivenWill
from tests.unit.simulator.peers import connect, pubcomp, pubrec, pubrel


def decoded(*pieces: bytes, max_packet: int = 100_000) -> list[ClientPacket]:
    framer = Framer(max_packet)
    return [decode(frame) for piece in pieces for frame in framer.frames(piece)]


GOOD = [
    (connect("id"), Connect("id", None, None, 8, clean=True, will=None, level=4)),
    (connect("", clean=False, keepalive=0), Connect("", None, None, 0, clean=False, will=None, level=4)),
    (connect("é", username="ü"), Connect("é", "ü", None, 8, clean=True, will=None, level=4)),
    (connect(username="u", password=b"\xff\0"), Connect("me", "u", b"\xff\0", 8, clean=True, will=None, level=4)),
    (
        connect(username="", password=b"", keepalive=65535, will=GivenWill("a/b", b"x", retain=True, qos=2)),
        Connect("me", "", b"", 65535, clean=True, will=Will("a/b", b"x", 2, retain=True), level=4),
    ),
    (
        connect(name="MQIsdp", level=3, will=GivenWill("w", b"")),
        Connect("me", None, None, 8, clean=True, will=Will("w", b"", 0, retain=False), level=3),
    ),
    (connect(level=5), UnsupportedLevel(5)),
    (connect(level=3), UnsupportedLevel(3)),
    (connect(name="MQIsdp", level=4), UnsupportedLevel(4)),
    (packets.packet(0x10, b"\0\4MQTT\x84"), UnsupportedLevel(0x84)),
    (packets.publish("a/b", b"x"), Publish("a/b", b"x", 0, retain=False, dup=False, mid=0)),
    (packets.publish("a", retain=True, dup=True), Publish("a", b"", 0, retain=True, dup=True, mid=0)),
    (
        packets.publish("$a//", b"\0" * 200, qos=1, mid=7),
        Publish("$a//", bytes(200), 1, retain=False, dup=False, mid=7),
    ),
    (packets.publish("/", b"x", True, 2, 0xFFFF), Publish("/", b"x", 2, retain=True, dup=False, mid=0xFFFF)),
    (packets.puback(9), Ack(PacketType.PUBACK, 9)),
    (pubrec(9), Ack(PacketType.PUBREC, 9)),
    (pubrel(9), Ack(PacketType.PUBREL, 9)),
    (pubcomp(9), Ack(PacketType.PUBCOMP, 9)),
    (packets.subscribe(3, ["#", "a/+"], 1), Subscribe(3, (("#", 1), ("a/+", 1)))),
    (packets.subscribe(3, ["+"], 2), Subscribe(3, (("+", 2),))),
    (packets.unsubscribe(4, ["#", "x y"]), Unsubscribe(4, ("#", "x y"))),
    (packets.pingreq(), PingReq()),
    (packets.disconnect(), Disconnect()),
]


@pytest.mark.parametrize(("raw", "expected"), GOOD, ids=lambda value: str(value)[:40])
def test_what_clients_send(raw: bytes, expected: ClientPacket) -> None:
    assert decoded(raw) == [expected]


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(decoded(connect(username="u", password=b"secret")))


MALFORMED = {
    "type 0": packets.packet(0x00),
    "type 15": packets.packet(0xF0),
    "connack": packets.connack(),
    "suback": packets.suback(1),
    "unsuback": packets.unsuback(1),
    "pingresp": packets.pingresp(),
    "an empty connect": packets.packet(0x10),
    "a connect with flags": packets.packet(0x11, connect()[2:]),
    "another protocol": connect(name="MQTX"),
    "the reserved flag": connect(flags=0x01),
    "a password without a user": connect(password=b"x"),
    "a will qos without a will": connect(flags=0x08),
    "a retained will without a will": connect(flags=0x20),
    "a will of qos 3": connect(will=GivenWill("w", qos=3)),
    "a will without a topic": connect(will=GivenWill("")),
    "a will with a wildcard": connect(will=GivenWill("a/#")),
    "a client id with NUL": connect("a\0"),
    "a short connect": packets.packet(0x10, connect("long")[2:-1]),
    "a long connect": packets.packet(0x10, connect("long")[2:] + b"x"),
    "a user name that is no UTF-8": packets.packet(0x10, connect("", flags=0x80)[2:] + b"\0\1\xff"),
    "a publish without a topic": packets.publish(""),
    "a publish to +": packets.publish("a/+/b"),
    "a publish to #": packets.publish("#"),
    "a topic that is no UTF-8": packets.publish(b"\xff"),
    "a topic with a surrogate": packets.publish(b"\xed\xa0\x80"),
    "a topic with NUL": packets.publish("a\0b"),
    "a topic with a line end": packets.publish("a\nb"),
    "a topic with a non-character": packets.publish("a\uffff"),
    "a publish of qos 3": packets.publish("a", qos=3),
    "a publish with id 0": packets.publish("a", qos=1, mid=0),
    "a publish without an id": packets.packet(0x32, b"\0\1a"),
    "a publish shorter than its topic": packets.packet(0x30, b"\0\5a"),
    "an empty publish": packets.packet(0x30),
    "an empty puback": packets.packet(0x40),
    "a puback with id 0": packets.puback(0),
    "a long puback": packets.packet(0x40, b"\0\1\0"),
    "a pubrel with the flags of a puback": packets.packet(0x60, b"\0\1"),
    "a subscribe with the flags of a puback": packets.packet(0x80, packets.subscribe(1, ["a"])[2:]),
    "a subscribe with id 0": packets.subscribe(0, ["a"]),
    "a subscribe to nothing": packets.subscribe(1, []),
    "a subscribe to the empty filter": packets.subscribe(1, [""]),
    "a subscribe to a#": packets.subscribe(1, ["fine", "a#"]),
    "a subscribe to #/a": packets.subscribe(1, ["#/a"]),
    "a subscribe to a+": packets.subscribe(1, ["a+/b"]),
    "a subscribe at qos 3": packets.subscribe(1, ["a"], 3),
    "a subscribe without a qos": packets.packet(0x82, b"\0\1\0\1a"),
    "an unsubscribe from nothing": packets.unsubscribe(1, []),
    "an unsubscribe from a#": packets.unsubscribe(1, ["a#"]),
    "a pingreq with a body": packets.packet(0xC0, b"x"),
    "a disconnect with flags": packets.packet(0xE1),
    "a disconnect with a body": packets.packet(0xE0, b"\0"),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_what_no_client_sends(raw: bytes) -> None:
    with pytest.raises(PacketError):
        decoded(raw)


def test_what_is_too_large_is_refused() -> None:
    exactly = packets.publish("a", bytes(7))
    assert len(decoded(exactly, max_packet=10)) == 1
    with pytest.raises(PacketError, match="larger"):
        decoded(exactly, max_packet=9)


def test_what_our_own_client_sends_is_understood() -> None:
    codec = Codec(client_id="me", username="user", password="pw", keepalive=300)
    said = codec.take_outgoing()
    codec.receive(packets.connack())
    mid = codec.subscribe(["ebus/5/#"])
    codec.ping()
    codec.unsubscribe(["a/b", "c"])
    codec.disconnect()
    hello, subscribe, ping, unsubscribe, goodbye = decoded(said + codec.take_outgoing())
    assert hello == Connect("me", "user", b"pw", 300, clean=True, will=None, level=4)
    assert subscribe == Subscribe(mid, (("ebus/5/#", 0),))
    assert ping == PingReq()
    assert isinstance(unsubscribe, Unsubscribe)
    assert unsubscribe.filters == ("a/b", "c")
    assert goodbye == Disconnect()


@given(st.lists(st.sampled_from(GOOD)), cuts)
def test_where_the_stream_is_cut_does_not_matter(sent: list[tuple[bytes, ClientPacket]], where: Iterable[int]) -> None:
    pieces = cut(b"".join(raw for raw, _ in sent), where)
    assert decoded(*pieces) == [expected for _, expected in sent]


_damaged = st.builds(
    lambda raw, at, byte: raw[: at % len(raw)] + bytes([byte]) + raw[at % len(raw) + 1 :],
    st.sampled_from([raw for raw, _ in GOOD] + list(MALFORMED.values())),
    st.integers(0, 999),
    st.integers(0, 255),
)


@given(st.lists(st.binary() | _damaged | st.builds(packets.packet, st.integers(0, 255), st.binary())).map(b"".join))
def test_whatever_comes_there_is_one_kind_of_error(stream: bytes) -> None:
    with contextlib.suppress(PacketError, FramingError):
        decoded(stream)


# --- out ---


@pytest.mark.parametrize("code", range(6))
def test_connack(code: int) -> None:
    assert encode_connack(code) == packets.connack(code)


@pytest.mark.parametrize("size", [0, 1, 123, 124, 125, 16_379, 16_380, 20_000, 2_097_147, 2_097_149])
def test_publish_of_any_length(size: int) -> None:
    assert encode_publish("é", bytes(size)) == packets.publish("é", bytes(size))


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1])
def test_publish(qos: int, retain: bool) -> None:
    assert encode_publish("a/b", b"x", qos=qos, retain=retain, mid=9) == packets.publish("a/b", b"x", retain, qos, 9)


def test_the_other_answers() -> None:
    assert encode_suback(0x1234, [0, 1, 0x80]) == packets.suback(0x1234, [0, 1, 0x80])
    assert encode_ack(PacketType.PUBACK, 9) == packets.puback(9)
    assert encode_ack(PacketType.PUBREC, 9) == pubrec(9)
    assert encode_ack(PacketType.PUBREL, 9) == pubrel(9)
    assert encode_ack(PacketType.PUBCOMP, 9) == pubcomp(9)
    assert encode_ack(PacketType.UNSUBACK, 9) == packets.unsuback(9)
    assert packets.pingresp() == PINGRESP
