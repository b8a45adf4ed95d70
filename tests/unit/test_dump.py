"""Dumps of topics, as `mosquitto_sub` prints them, read as recordings."""

import json
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.errors import SpanPanelValidationError
from span_trio.homie import Instant, Message
from span_trio.options import PanelOptions
from span_trio.recording import Recorded, find_panel, play, read_dump, read_recording, read_session, record_line
from span_trio.snapshot import SpanPanelSnapshot

COLD = Path(__file__).parents[1] / "captures" / "parentchild-a-cold.jsonl"
DOOR = "ebus/5/nt-1/core/door"


def read(*lines: str) -> list[tuple[float, str, bytes, bool]]:
    return [(t, *message) for t, message in read_dump(line + "\n" for line in lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{DOOR} OPEN", (0.0, DOOR, b"OPEN", True)),
        (f"1 {DOOR} OPEN", (0.0, DOOR, b"OPEN", True)),
        (f"0 {DOOR} OPEN", (0.0, DOOR, b"OPEN", False)),
        (f"{DOOR} (null)", (0.0, DOOR, b"", True)),
        (f"{DOOR} ", (0.0, DOOR, b"", True)),
        (DOOR, (0.0, DOOR, b"", True)),
        (f"{DOOR}  two  words ", (0.0, DOOR, b" two  words ", True)),
        (f"{DOOR} 1 0 (null)", (0.0, DOOR, b"1 0 (null)", True)),
        (f"1764547200.123 0 {DOOR} OPEN", (0.0, DOOR, b"OPEN", False)),
        (f"0 2026-12-01T00:00:00+0100 {DOOR} OPEN", (0.0, DOOR, b"OPEN", False)),
        (f"{DOOR} \udcff", (0.0, DOOR, b"\xff", True)),
        ("$SYS/broker/version mosquitto version 2.0", (0.0, "$SYS/broker/version", b"mosquitto version 2.0", True)),
    ],
)
def test_a_line(line: str, expected: tuple[float, str, bytes, bool]) -> None:
    assert read(line) == [expected]


def test_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    assert [message.payload for _, message in read_session(["\n", f"\ufeff{DOOR} A\r\n", "\n", f"{DOOR} B\n"])] == [
        b"A",
        b"B",
    ]


def test_without_flags_a_topic_that_comes_again_is_live() -> None:
    assert [retain for *_, retain in read("a/1 x", "a/2 x", "a/1 y", "a/3 x", "a/2 y")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_times_count_from_the_first_message_and_never_go_back() -> None:
    lines = [f"{time} {DOOR} x" for time in ("1764547200.5", "1764547202.0", "1764547201.0", "1764547203.5")]
    assert [t for t, *_ in read(*lines)] == [0.0, 1.5, 1.5, 3.0]
    assert [t for t, *_ in read(f"2026-12-01T00:00:00Z {DOOR} x", f"2026-12-01T01:00:01+0100 {DOOR} x")] == [0.0, 1.0]


def test_json_over_several_lines_is_one_payload() -> None:
    document = json.dumps({"nodes": {"a/b": {}}, "children": ["x"]}, indent=2)
    found = read(f"a/$description {document.splitlines()[0]}", *document.splitlines()[1:], "a/b x")
    assert [topic for _, topic, *_ in found] == ["a/$description", "a/b"]
    assert json.loads(found[0][2]) == json.loads(document)


@pytest.mark.parametrize("lines", [["hello"], [f"{DOOR} OPEN", "^C"], ['{"t": 1}'], [f"2 {DOOR} OPEN"], ["\x00/"[:1]]])
def test_what_is_no_dump_is_refused_with_its_line(lines: list[str]) -> None:
    with pytest.raises(SpanPanelValidationError, match=f"^line {len(lines)} is neither"):
        read(*lines)


def test_the_refusal_does_not_repeat_the_line() -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        read("my secret")
    assert "secret" not in str(caught.value)


def test_a_session_is_what_its_first_line_says() -> None:
    recorded = Recorded(1.5, Message(DOOR, b"OPEN", retain=True))
    assert list(read_session(["\n", record_line(recorded)])) == [recorded]
    assert list(read_session([f"{DOOR} OPEN"])) == [recorded._replace(t=0.0)]
    assert list(read_session([])) == []


def test_a_dumped_tree_shows_the_same_house_as_the_recording() -> None:
    with COLD.open(encoding="utf-8") as lines:
        recording = [recorded for recorded in read_recording(lines) if recorded.message.retain]
    root = find_panel(recording)
    dumped = read_dump(f"{topic} {payload.decode()}\n" for topic, payload, _ in (each.message for each in recording))
    ends = [list(play(each, root, PanelOptions()))[-1].what for each in (recording, dumped)]
    one, other = (attrs.evolve(e, received_at=Instant(0, 0)) for e in ends if isinstance(e, SpanPanelSnapshot))
    assert one == other


@given(st.lists(st.text()))
def test_i9_any_text_is_read_or_refused_with_one_error(lines: list[str]) -> None:
    try:
        for recorded in read_session(lines):
            record_line(recorded)
    except SpanPanelValidationError:
        pass
