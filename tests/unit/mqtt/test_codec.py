"""Bytes in, events out; calls in, bytes out; and nothing that a peer sends raises."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from span_trio.errors import SpanPanelValidationError
from span_trio.homie import Message
from span_trio.mqtt import Broken, Codec, ConnAck, Event, Messages, Oversized, Pong, PubAck, SubAck
from tests.unit.mqtt import packets
from tests.unit.mqtt.streams import Arrival, Sent, crumbs, cut, cuts, flat, positions, sessions

PASSWORD = "correct horse battery staple"


def connected(*, max_packet: int = 100_000) -> Codec:
    """A codec whose CONNECT was sent and accepted."""
    codec = Codec(client_id="me", max_packet=max_packet)
    codec.take_outgoing()
    assert codec.receive(packets.connack()) == [ConnAck(0)]
    return codec


def receive_all(codec: Codec, pieces: Iterable[bytes]) -> list[Event]:
    return [event for piece in pieces for event in codec.receive(piece)]


def assert_broken(codec: Codec, stream: bytes, *good: Event) -> None:
    """The stream gives the good events and `Broken`; after that, nothing more."""
    *before, last = codec.receive(stream)
    assert before == list(good)
    assert isinstance(last, Broken)
    assert last.why
    assert codec.receive(packets.publish("late") + packets.pingresp()) == []
    assert codec.receive(stream) == []


# --- out ---


def test_connect_is_queued_at_once() -> None:
    assert Codec(client_id="me").take_outgoing() == packets.connect("me", keepalive=8)


def test_connect_carries_the_credentials_and_the_keepalive() -> None:
    codec = Codec(client_id="mé", username="user", password=PASSWORD, keepalive=300)
    assert codec.take_outgoing() == packets.connect("mé", username="user", password=PASSWORD, keepalive=300)


def test_connect_may_carry_a_user_name_alone() -> None:
    assert Codec(client_id="me", username="user").take_outgoing() == packets.connect("me", username="user")


def test_connect_asks_for_a_clean_session_and_leaves_no_will() -> None:
    flags = Codec(client_id="me", username="user", password=PASSWORD).take_outgoing()[9]
    assert flags == 0b1100_0010  # user name, password, clean session


def test_what_was_taken_is_not_taken_again() -> None:
    codec = connected()
    codec.ping()
    assert codec.take_outgoing() == packets.pingreq()
    assert codec.take_outgoing() == b""


def test_subscribe_asks_for_qos_0_and_tells_its_packet_id() -> None:
    codec = connected()
    mid = codec.subscribe(["ebus/5/#", "$SYS/+"])
    assert codec.take_outgoing() == packets.subscribe(mid, ["ebus/5/#", "$SYS/+"], qos=0)
    assert codec.receive(packets.suback(mid, [0, 0])) == [SubAck(mid, refused=False)]


def test_every_subscribe_has_its_own_packet_id() -> None:
    codec = connected()
    assert len({codec.subscribe(topic for topic in ["a", "b"]) for _ in range(5)}) == 5


def test_bytes_go_out_in_the_order_of_the_calls() -> None:
    codec = connected()
    first = codec.subscribe(["a/#"])
    codec.ping()
    codec.unsubscribe(["a/#"])
    codec.ping()
    codec.ping()
    third = codec.subscribe(["b"])
    codec.disconnect()
    assert codec.take_outgoing() == b"".join(
        [
            packets.subscribe(first, ["a/#"]),
            packets.pingreq(),
            packets.unsubscribe(first + 1, ["a/#"]),
            packets.pingreq() * 2,
            packets.subscribe(third, ["b"]),
            packets.disconnect(),
        ]
    )


def test_what_is_queued_before_connect_is_sent_goes_out_behind_it() -> None:
    codec = Codec(client_id="me")
    codec.ping()
    codec.disconnect()
    assert codec.take_outgoing() == packets.connect("me") + packets.pingreq() + packets.disconnect()


@pytest.mark.parametrize("taken", [False, True])
def test_nothing_goes_out_behind_disconnect(taken: bool) -> None:
    codec = connected()
    codec.disconnect()
    sent = codec.take_outgoing() if taken else b""
    codec.ping()
    codec.subscribe(["a"])
    codec.disconnect()
    codec.receive(packets.publish("t") + packets.suback(1) + packets.pingresp())
    assert sent + codec.take_outgoing() == packets.disconnect()


# --- in ---


def test_events_come_in_wire_order_and_neighbouring_messages_as_one() -> None:
    codec = connected()
    stream = [
        packets.publish("a", b"1", retain=True),
        packets.publish("b", b"2"),
        packets.suback(7),
        packets.publish("c"),
        packets.pingresp(),
        packets.pingresp(),
        packets.unsuback(8),
        packets.publish("d", b"\x00\xff"),
        packets.puback(9),
        packets.publish("e"),
    ]
    assert codec.receive(b"".join(stream)) == [
        Messages([Message("a", b"1", retain=True), Message("b", b"2")]),
        SubAck(7, refused=False),
        Messages([Message("c", b"")]),
        Pong(),
        Pong(),
        Messages([Message("d", b"\x00\xff")]),
        PubAck(9),
        Messages([Message("e", b"")]),
    ]
    assert codec.packets == 1 + len(stream)
    assert codec.take_outgoing() == b""


@pytest.mark.parametrize("code", range(6))
def test_every_answer_to_connect_is_an_event(code: int) -> None:
    codec = Codec(client_id="me")
    assert codec.receive(packets.connack(code)) == [ConnAck(code)]
    assert codec.receive(packets.pingresp()) == [Pong()]


def test_an_old_session_is_not_asked_for_and_no_error() -> None:
    assert Codec(client_id="me").receive(packets.connack(session_present=True)) == [ConnAck(0)]


@pytest.mark.parametrize(
    ("codes", "refused"),
    [([0], False), ([1, 2], False), ([0x80], True), ([0, 0x80, 0], True)],
)
def test_a_subscription_is_refused_when_one_of_its_filters_is(codes: list[int], refused: bool) -> None:
    assert connected().receive(packets.suback(1, codes)) == [SubAck(1, refused=refused)]


def test_a_pong_comes_in_its_place_among_the_messages() -> None:
    stream = packets.publish("a") + packets.pingresp() + packets.publish("b")
    for pieces in ([stream], crumbs(stream)):
        assert receive_all(connected(), pieces) == [
            Messages([Message("a", b"")]),
            Pong(),
            Messages([Message("b", b"")]),
        ]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_at_a_qos_not_asked_for_ends_the_session_unacknowledged(qos: int, whole: bool) -> None:
    codec = connected(max_packet=100)
    codec.ping()
    payload = bytes(10 if whole else 200)
    assert_broken(codec, packets.publish("a") + packets.publish("b", payload, qos=qos), Messages([Message("a", b"")]))
    assert codec.take_outgoing() == packets.pingreq()


def test_a_message_whose_topic_is_no_text_is_dropped_and_counted() -> None:
    codec = connected()
    stream = packets.publish("a") + packets.publish(b"\xff\xfe", b"payload") + packets.publish("b")
    assert codec.receive(stream) == [Messages([Message("a", b""), Message("b", b"")])]
    assert codec.dropped == 1
    assert codec.take_outgoing() == b""


def test_a_message_too_large_is_an_event_and_the_session_goes_on() -> None:
    codec = connected(max_packet=100)
    stream = b"".join(
        [
            packets.publish("fits", bytes(100 - 2 - 4)),
            packets.publish("too/large", bytes(100 - 2 - 8)),
            packets.publish("far/too/large", bytes(2000)),
            packets.publish("after"),
            packets.pingresp(),
        ]
    )
    for pieces in ([stream], crumbs(stream), crumbs(stream, 7)):
        assert flat(receive_all(codec, pieces)) == [
            Message("fits", bytes(100 - 2 - 4)),
            Oversized("too/large"),
            Oversized("far/too/large"),
            Message("after", b""),
            Pong(),
        ]
    assert codec.dropped == 0


def test_a_message_too_large_for_its_topic_alone_is_too_large() -> None:
    stream = packets.publish("ninebytes") + packets.publish("after")
    assert flat(connected(max_packet=10).receive(stream)) == [Oversized("ninebytes"), Message("after", b"")]


def test_a_message_too_large_whose_topic_is_no_text_is_dropped_and_counted() -> None:
    codec = connected(max_packet=100)
    assert codec.receive(packets.publish(b"\xff", bytes(200)) + packets.pingresp()) == [Pong()]
    assert codec.dropped == 1


def test_what_still_comes_in_behind_disconnect_is_taken_as_before() -> None:
    codec = connected()
    codec.disconnect()
    stream = packets.publish("a") + packets.suback(1) + packets.pingresp()
    arrivals = [Message("a", b""), SubAck(1, refused=False), Pong()]
    assert flat(codec.receive(stream)) == arrivals
    assert codec.take_outgoing() == packets.disconnect()
    assert flat(codec.receive(stream)) == arrivals
    assert_broken(codec, stream + packets.packet(0x00), *Codec(client_id="other").receive(stream))


# --- what is no MQTT ---

MALFORMED = {
    "a CONNACK of nothing": packets.packet(0x20),
    "a CONNACK without its code": packets.packet(0x20, b"\x00"),
    "a CONNACK with something behind it": packets.packet(0x20, b"\x00\x00\x00"),
    "a refusing CONNACK with something behind it": packets.packet(0x20, b"\x00\x05\x00"),
    "a SUBACK of nothing": packets.packet(0x90),
    "a SUBACK with half a packet id": packets.packet(0x90, b"\x00"),
    "a SUBACK without a code": packets.packet(0x90, b"\x00\x01"),
    "a SUBACK with a code that means nothing": packets.suback(1, [0x33]),
    "an UNSUBACK of nothing": packets.packet(0xB0),
    "an UNSUBACK with half a packet id": packets.packet(0xB0, b"\x00"),
    "an UNSUBACK with something behind it": packets.packet(0xB0, b"\x00\x01\x00"),
    "a PUBACK of nothing": packets.packet(0x40),
    "a PUBACK with half a packet id": packets.packet(0x40, b"\x00"),
    "a PUBACK with something behind it": packets.packet(0x40, b"\x00\x01\x00"),
    "a PUBREC of nothing": packets.packet(0x50),
    "a PUBREL of nothing": packets.packet(0x62),
    "a PUBCOMP of nothing": packets.packet(0x70),
    "a PINGRESP with something behind it": packets.packet(0xD0, b"\x00"),
    "a PUBLISH of nothing": packets.packet(0x30),
    "a PUBLISH with half a topic length": packets.packet(0x30, b"\x00"),
    "a PUBLISH shorter than its topic": packets.packet(0x30, b"\x00\x05topi"),
    "a PUBLISH at QoS 1": packets.publish("t", qos=1),
    "a PUBLISH at QoS 2": packets.publish("t", qos=2),
    "a PUBLISH at QoS 3": packets.publish("t", qos=3),
    "the reserved type 0": packets.packet(0x00),
    "the reserved type 15": packets.packet(0xF0, b"\x00\x00"),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "a CONNECT": packets.connect("you"),
    "a SUBSCRIBE": packets.subscribe(1, ["#"]),
    "an UNSUBSCRIBE": packets.unsubscribe(1, ["#"]),
    "a PINGREQ": packets.pingreq(),
    "a DISCONNECT": packets.disconnect(),
    "an answer of a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    * 2,
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_mqtt_is_the_last_event_behind_the_good_ones(malformed: bytes) -> None:
    good = packets.publish("a") + packets.pingresp() + packets.publish("b")
    events: list[Event] = [Messages([Message("a", b"")]), Pong(), Messages([Message("b", b"")])]
    assert_broken(connected(), good + malformed + packets.publish("behind"), *events)
    codec = connected()
    *before, last = receive_all(codec, crumbs(good + malformed + packets.publish("behind")))
    assert before == events
    assert isinstance(last, Broken)
    assert codec.take_outgoing() == b""


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x0aninebytes", b"\xff\xffninebytes"])
def test_a_publish_too_large_and_shorter_than_its_topic_is_no_mqtt(body: bytes) -> None:
    assert_broken(
        Codec(client_id="me", max_packet=len(body) - 1), packets.packet(0x30, body) + packets.publish("t") * 5
    )


@pytest.mark.parametrize("first", [0x20, 0x40, 0x90, 0xB0, 0xD0])
def test_a_packet_too_large_that_is_no_publish_is_no_mqtt(first: int) -> None:
    good = packets.publish("a")
    broken = good + packets.packet(first, bytes(101))
    assert_broken(connected(max_packet=100), broken, Messages([Message("a", b"")]))


def test_whatever_paho_raises_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = connected()

    def loop_read(_client: Client) -> MQTTErrorCode:
        raise ZeroDivisionError("of paho")

    monkeypatch.setattr(Client, "loop_read", loop_read)
    assert_broken(codec, packets.publish("a") + packets.suback(1), Messages([Message("a", b"")]))


# --- any bytes ---

nearly_packets = st.builds(packets.packet, st.integers(0, 255), st.binary(max_size=12))


@given(st.binary(max_size=200), cuts)
def test_no_bytes_raise(data: bytes, where: list[int]) -> None:
    receive_all(Codec(client_id="me", max_packet=50), cut(data, where))


@given(st.lists(nearly_packets | sessions.map(lambda session: b"".join(sent.raw for sent in session))), cuts)
def test_no_packets_raise_and_broken_comes_last_and_once(parts: list[bytes], where: list[int]) -> None:
    codec = Codec(client_id="me", max_packet=150)
    events = receive_all(codec, cut(b"".join(parts), where))
    assert not any(isinstance(event, Broken) for event in events[:-1])


@given(sessions, cuts)
def test_what_arrives_is_what_was_sent_wherever_the_stream_is_cut(session: list[Sent], where: list[int]) -> None:
    stream = b"".join(sent.raw for sent in session)
    arrivals = [sent.arrives for sent in session if sent.arrives is not None]
    for pieces in ([stream], cut(stream, where), crumbs(stream)):
        codec = Codec(client_id="me")
        assert flat(receive_all(codec, pieces)) == arrivals
        assert codec.packets == len(session)


@given(sessions)
def test_neighbouring_messages_of_one_piece_come_as_one_event(session: list[Sent]) -> None:
    events = Codec(client_id="me").receive(b"".join(sent.raw for sent in session))
    assert not any(isinstance(a, Messages) and isinstance(b, Messages) for a, b in pairwise(events))
    assert all(event.batch for event in events if isinstance(event, Messages))


@given(sessions.filter(bool), positions, st.integers(1, 255), cuts)
@example([Sent(packets.pingresp(), Pong()), Sent(packets.publish("t"), Message("t", b""))], 2, 0xF0, [])
def test_a_byte_gone_wrong_never_raises_and_costs_nothing_before_it(
    session: list[Sent], position: int, flipped: int, where: list[int]
) -> None:
    stream = bytearray(b"".join(sent.raw for sent in session))
    position %= len(stream)
    stream[position] ^= flipped
    intact: list[Arrival] = []
    end = 0
    for sent in session:
        end += len(sent.raw)
        if end > position:
            break
        if sent.arrives is not None:
            intact.append(sent.arrives)
    arrivals = flat(receive_all(Codec(client_id="me"), cut(bytes(stream), where)))
    assert arrivals[: len(intact)] == intact


# --- secrets ---


def test_the_password_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    codec = Codec(client_id="me", username="user", password=PASSWORD)
    codec.subscribe(["#"])
    assert PASSWORD.encode() in codec.take_outgoing()
    events = codec.receive(packets.connack(4) + packets.publish("t") + packets.packet(0x00))
    codec.disconnect()
    codec.take_outgoing()
    assert len(events) == 3
    assert PASSWORD not in repr((codec, events, vars(codec)))
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("user", PASSWORD + "\ud800"),
        ("user\ud800", PASSWORD),
        ("user", PASSWORD + "\xe9" * 32_760),
        ("u" * 65_536, PASSWORD),
    ],
    ids=range(4),
)
def test_credentials_that_cannot_be_sent_are_refused_without_showing_them(username: str, password: str) -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        Codec(client_id="me", username=username, password=password)
    assert PASSWORD not in repr(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a UnicodeEncodeError carries what it could not encode
