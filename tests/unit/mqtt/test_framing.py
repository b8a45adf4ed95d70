"""Any stream of bytes becomes the same packets, however it was cut, and what is too large is never held."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from span_trio.mqtt import framing
from span_trio.mqtt.framing import MAX_PACKET, Frame, Framer, FramingError
from tests.unit.mqtt import packets
from tests.unit.mqtt.streams import Sent, crumbs, cut, cuts, sessions


def frames(pieces: Iterable[bytes], max_packet: int = MAX_PACKET) -> list[Frame]:
    framer = Framer(max_packet)
    return [frame for piece in pieces for frame in framer.frames(piece)]


@given(sessions, cuts)
def test_a_stream_cut_anywhere_gives_its_packets(session: list[Sent], where: list[int]) -> None:
    raws = [sent.raw for sent in session]
    found = frames(cut(b"".join(raws), where))
    assert [frame.raw for frame in found] == raws
    assert all(frame.whole for frame in found)


@given(sessions)
def test_a_stream_in_single_bytes_gives_its_packets(session: list[Sent]) -> None:
    raws = [sent.raw for sent in session]
    assert [frame.raw for frame in frames(crumbs(b"".join(raws)))] == raws


def test_a_packet_comes_with_the_place_of_its_body() -> None:
    [frame] = frames([packets.publish("topic", b"payload")])
    assert frame.raw[frame.start : frame.start + frame.size] == b"\x00\x05topicpayload"


def test_nothing_in_is_nothing_out() -> None:
    framer = Framer()
    assert list(framer.frames(b"")) == []
    assert list(framer.frames(b"\xd0")) == []
    assert list(framer.frames(b"")) == []
    assert [frame.raw for frame in framer.frames(b"\x00")] == [packets.pingresp()]


@pytest.mark.parametrize(
    ("size", "width"),
    [
        (0, 1),
        (127, 1),
        (128, 2),
        (16_383, 2),
        (16_384, 3),
        (2_097_151, 3),
        (2_097_152, 4),
        (MAX_PACKET, 4),
    ],
)
def test_a_length_is_read_from_one_to_four_bytes(size: int, width: int) -> None:
    raw = packets.packet(0x30, bytes(size))
    header, body = raw[: 1 + width], raw[1 + width :]
    assert len(body) == size
    for pieces in ([raw], [*crumbs(header), body], [header, body[:-1], body[-1:]], [header + body[:1], body[1:]]):
        assert frames([*pieces, packets.pingresp()]) == [
            Frame(raw, 1 + width, size, whole=True),
            Frame(packets.pingresp(), 2, 0, whole=True),
        ]


def test_the_largest_length_there_is_is_read() -> None:
    assert frames([b"\x90\xff\xff\xff\x7f"]) == [Frame(b"\x90\xff\xff\xff\x7f", 5, 268_435_455, whole=False)]


def test_a_length_may_be_written_longer_than_it_need_be() -> None:
    assert frames([b"\xd0\x80\x80\x80\x00" + packets.pingresp()]) == [
        Frame(b"\xd0\x80\x80\x80\x00", 5, 0, whole=True),
        Frame(packets.pingresp(), 2, 0, whole=True),
    ]


@given(sessions, cuts)
@example([], [])
def test_a_length_of_five_bytes_is_an_error_behind_the_good_packets(session: list[Sent], where: list[int]) -> None:
    raws = [sent.raw for sent in session]
    framer = Framer()
    found: list[bytes] = []

    def feed() -> None:
        for piece in cut(b"".join(raws) + b"\x30\x80\xff\x80\xff\x01", where):
            for frame in framer.frames(piece):
                found.append(frame.raw)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(FramingError, match="length"):
        feed()
    assert found == raws


# --- too large ---


def test_a_packet_at_the_limit_is_whole() -> None:
    raw = packets.publish("t", bytes(97))
    assert frames([raw], max_packet=100) == [Frame(raw, 2, 100, whole=True)]


def test_of_a_publish_beyond_the_limit_only_the_beginning_is_taken() -> None:
    raw = packets.publish("t", bytes(98))
    assert frames([raw], max_packet=100) == [Frame(raw[:5], 2, 101, whole=False)]


def test_of_another_packet_beyond_the_limit_only_the_header_is_taken() -> None:
    raw = packets.suback(1, bytes(99))
    assert frames([raw], max_packet=100) == [Frame(raw[:2], 2, 101, whole=False)]


@pytest.mark.parametrize("body", [b"\x00\x09ninebytes", b"\x00\x0aninebytes", b"\xff\xffninebytes"])
def test_a_topic_does_not_reach_beyond_its_packet(body: bytes) -> None:
    raw = packets.packet(0x30, body)
    stream = raw + packets.publish("next") * 3
    for pieces in ([stream], crumbs(stream)):
        found = frames(pieces, max_packet=10)
        assert found[0] == Frame(raw, 2, 11, whole=False)
        assert [frame.raw for frame in found[1:]] == [packets.publish("next")] * 3


@pytest.mark.parametrize("size", [1, 2])
def test_a_packet_too_large_may_still_be_too_small_for_a_topic(size: int) -> None:
    raw = packets.packet(0x30, b"\xff\xff"[:size])
    for pieces in ([raw + packets.pingresp()], crumbs(raw + packets.pingresp())):
        assert [frame.raw for frame in frames(pieces, max_packet=0)] == [raw, packets.pingresp()]


oversized = st.builds(
    packets.publish,
    topic=st.text(st.characters(codec="ascii"), min_size=1, max_size=20).map(str.encode),
    payload=st.integers(300, 1000).map(bytes),
    retain=st.booleans(),
    qos=st.sampled_from([0, 1, 2]),
)


@given(sessions, oversized, sessions, cuts)
def test_a_packet_too_large_is_passed_over_wherever_the_stream_is_cut(
    before: list[Sent], large: bytes, after: list[Sent], where: list[int]
) -> None:
    stream = b"".join([sent.raw for sent in before] + [large] + [sent.raw for sent in after])
    topic_size = int.from_bytes(large[3:5], "big")
    for pieces in (cut(stream, where), crumbs(stream)):
        found = frames(pieces, max_packet=299)
        passed_over = found.pop(len(before))
        assert passed_over.raw == large[: 3 + 2 + topic_size]
        assert not passed_over.whole
        assert passed_over.start + passed_over.size == len(large)
        assert [frame.raw for frame in found] == [sent.raw for sent in before + after]
        assert all(frame.whole for frame in found)


@given(oversized, cuts)
def test_of_a_packet_too_large_no_more_than_the_beginning_is_held(large: bytes, where: list[int]) -> None:
    beginning = 3 + 2 + int.from_bytes(large[3:5], "big")
    for pieces in (cut(large, where), crumbs(large)):
        framer = Framer(max_packet=299)
        for piece in pieces:
            list(framer.frames(piece))
            assert len(framer._pending) < beginning
        assert not framer._pending


def test_what_is_passed_over_may_be_far_larger_than_memory_should_be() -> None:
    framer = Framer(max_packet=100)
    header = b"\x30\xff\xff\xff\x7f"
    [frame] = framer.frames(header + b"\x00\x05topic")
    left = frame.start + frame.size - len(header + b"\x00\x05topic")
    megabyte = bytes(2**20)
    while left > len(megabyte):
        assert not list(framer.frames(megabyte))
        assert not framer._pending
        left -= len(megabyte)
    assert [after.raw for after in framer.frames(bytes(left) + packets.pingresp())] == [packets.pingresp()]


# --- work ---


class Work:
    """Counts how often a header is looked at, and the bytes copied out of what is pending."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.copied = 0
        look = framing._header

        def counted_look(data: bytes, position: int) -> tuple[int, int]:
            self.looks += 1
            return look(data, position)

        def counted_copy(data: bytearray) -> bytes:
            self.copied += len(data)
            return bytes(data)

        monkeypatch.setattr(framing, "_header", counted_look)
        monkeypatch.setattr(framing, "bytes", counted_copy, raising=False)


@pytest.mark.parametrize("crumb", [1, 3])
@pytest.mark.parametrize(("size", "max_packet"), [(50_000, MAX_PACKET), (50_000, 100)])
def test_a_large_packet_in_crumbs_costs_linear_work(
    crumb: int, size: int, max_packet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = packets.publish("t" * 10_000, bytes(size))
    work = Work(monkeypatch)
    assert len(frames(crumbs(raw, crumb), max_packet)) == 1
    assert work.looks < 16
    assert work.copied < len(raw) + 100


def test_many_packets_in_one_piece_cost_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = packets.publish("topic", b"payload")
    work = Work(monkeypatch)
    assert len(frames([raw[:5], raw[5:] + 999 * raw])) == 1000
    assert work.looks <= 1002
    assert work.copied <= 1000 * len(raw)
