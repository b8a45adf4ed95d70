"""What is published: exact bytes, once, nothing held back; and every PUBACK that comes, or is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import Message
from span_trio.mqtt import Broken, Codec, ConnAck, Messages, Pong, PubAck
from tests.unit.mqtt import packets

TOPIC = "ebus/5/nt-2143-c1akc/kitchen/relay/set"


def connected() -> Codec:
    codec = Codec(client_id="me")
    codec.take_outgoing()
    assert codec.receive(packets.connack()) == [ConnAck(0)]
    return codec


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("payload", [b"OPEN", b"", b"\x00", bytes(range(256)) * 8])
def test_a_message_is_published_as_it_is_and_never_retained_nor_marked_as_sent_before(qos: int, payload: bytes) -> None:
    codec = connected()
    mid = codec.publish(TOPIC, payload, qos=qos)
    assert codec.take_outgoing() == packets.publish(TOPIC, payload, qos=qos, mid=mid)
    assert codec.take_outgoing() == b""


def test_a_message_goes_out_in_the_order_of_the_calls() -> None:
    codec = connected()
    codec.ping()
    first = codec.publish("a", b"1", qos=1)
    codec.ping()
    codec.publish("b", b"2", qos=0)
    second = codec.publish("c", b"3", qos=1)
    codec.disconnect()
    assert codec.take_outgoing() == b"".join(
        [
            packets.pingreq(),
            packets.publish("a", b"1", qos=1, mid=first),
            packets.pingreq(),
            packets.publish("b", b"2"),
            packets.publish("c", b"3", qos=1, mid=second),
            packets.disconnect(),
        ]
    )
    assert first != second


def test_nothing_is_held_back_however_many_are_not_acknowledged() -> None:
    """paho's own default is to hold back the 21st, and to send it when another is acknowledged: late, that is."""
    codec = connected()
    mids: set[int] = set()
    for number in range(100):
        mid = codec.publish(TOPIC, b"%d" % number, qos=1)
        mids.add(mid)
        assert codec.take_outgoing() == packets.publish(TOPIC, b"%d" % number, qos=1, mid=mid)
    assert len(mids) == 100
    for mid in sorted(mids):
        assert codec.receive(packets.puback(mid)) == [PubAck(mid)]
        assert codec.take_outgoing() == b""


def test_a_message_is_not_sent_again_whatever_comes() -> None:
    codec = connected()
    mid = codec.publish(TOPIC, b"OPEN", qos=1)
    codec.take_outgoing()
    for odd in (packets.puback(mid + 1), packets.packet(0x70, mid.to_bytes(2, "big")), packets.pingresp()):
        codec.receive(odd)
    codec.receive(packets.connack())  # a second one: `Link` ends on that
    assert packets.publish(TOPIC, b"OPEN", qos=1, mid=mid) not in codec.take_outgoing()


def test_an_acknowledgement_comes_in_its_place_among_the_messages() -> None:
    codec = connected()
    mid = codec.publish(TOPIC, b"OPEN", qos=1)
    stream = packets.publish("a", b"1") + packets.puback(mid) + packets.publish("b", b"2") + packets.pingresp()
    expected = [Messages([Message("a", b"1", False)]), PubAck(mid), Messages([Message("b", b"2", False)]), Pong()]
    assert codec.receive(stream) == expected


def test_every_acknowledgement_is_told_known_or_not_and_however_often() -> None:
    codec = connected()
    mid = codec.publish(TOPIC, b"OPEN", qos=1)
    assert codec.receive(packets.puback(mid) * 2 + packets.puback(9) + packets.puback(0)) == [
        PubAck(mid),
        PubAck(mid),
        PubAck(9),
        PubAck(0),
    ]
    assert codec.receive(packets.pingresp()) == [Pong()]


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x01\x00", b"\x00\x01\x00\x00"], ids=repr)
def test_a_malformed_acknowledgement_is_no_mqtt_and_acknowledges_nothing(body: bytes) -> None:
    codec = connected()
    codec.publish(TOPIC, b"OPEN", qos=1)
    first, last = codec.receive(packets.publish("a", b"1") + packets.packet(0x40, body))
    assert first == Messages([Message("a", b"1", False)])
    assert isinstance(last, Broken)
    assert codec.receive(packets.puback(1)) == []


def test_what_is_written_at_qos_0_is_acknowledged_by_nobody() -> None:
    codec = connected()
    codec.publish(TOPIC, b"OPEN", qos=0)
    codec.take_outgoing()
    assert codec.receive(packets.pingresp()) == [Pong()]


def test_nothing_is_published_behind_disconnect() -> None:
    codec = connected()
    codec.disconnect()
    codec.publish(TOPIC, b"OPEN", qos=1)
    assert codec.take_outgoing() == packets.disconnect()


@given(st.lists(st.sampled_from(["publish", "puback", "subscribe", "take"]), max_size=60))
def test_each_message_is_on_the_wire_once_with_an_id_of_its_own(steps: list[str]) -> None:
    codec = connected()
    said, expected, out, filters = bytearray(), bytearray(), [], 0
    for number, step in enumerate(steps):
        match step:
            case "publish":
                mid = codec.publish("t", b"%d" % number, qos=1)
                out.append(mid)
                expected += packets.publish("t", b"%d" % number, qos=1, mid=mid)
            case "puback" if out:
                assert codec.receive(packets.puback(out[filters % len(out)])) == [PubAck(out[filters % len(out)])]
                filters += 1
            case "subscribe":
                mid = codec.subscribe(["a"])
                assert mid not in out
                expected += packets.subscribe(mid, ["a"])
            case _:
                said += codec.take_outgoing()
    assert bytes(said + codec.take_outgoing()) == bytes(expected)
    assert len(set(out)) == len(out)
