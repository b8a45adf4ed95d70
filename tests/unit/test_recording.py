"""Recordings: written and read back, and played like a live panel."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import ConnectionReason
from span_trio.errors import SpanPanelStaleDataError, SpanPanelValidationError
from span_trio.homie import ConnectionEdge, Message
from span_trio.options import PanelOptions
from span_trio.recording import Played, Recorded, find_panel, play, read_recording, record_line
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import HomieSchema

CAPTURES = Path(__file__).parents[1] / "captures"
ROOT = "sim-32t-001"
OPTIONS = PanelOptions()


def captured(name: str) -> list[Recorded]:
    with (CAPTURES / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return list(read_recording(lines))


def line(t: Any = 0.0, topic: Any = "ebus/5/a/b/c", payload: Any = "x", retain: Any = False) -> str:
    return json.dumps({"t": t, "topic": topic, "payload": payload, "retain": retain, "qos": 0})


def said(path: str, payload: str, t: float = 0.0, *, retain: bool = True, device: str = ROOT) -> Recorded:
    return Recorded(t, Message(f"ebus/5/{device}/{path}", payload.encode(), retain))


def described(device: str = ROOT, *, children: Iterable[str] = ()) -> Recorded:
    nodes = {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}
    return said("$description", json.dumps({"nodes": nodes, "children": list(children)}), device=device)


def small(device: str = ROOT) -> list[Recorded]:
    """The least that is a live panel."""
    return [said("$state", "ready", device=device), described(device), said("core/door", "CLOSED", device=device)]


# --- lines ---


@given(
    st.floats(0, 1e6).map(lambda t: round(t, 4)),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")),
    st.booleans(),
)
def test_what_was_written_is_read_back(t: float, topic: str, payload: bytes, retain: bool) -> None:
    recorded = Recorded(t, Message(topic, payload, retain))
    text = record_line(recorded)
    assert text.isascii()
    assert "\n" not in text
    assert list(read_recording([text])) == [recorded]


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\xed\xa0\xbd\xed\xb2\x80", "\U0001f480é".encode(), b"\xf0\x9f", b"\0", b""]
)
def test_a_payload_that_is_not_utf_8_survives(payload: bytes) -> None:
    recorded = Recorded(1.5, Message("ebus/5/a/b/c", payload))
    assert list(read_recording([record_line(recorded)])) == [recorded]


def test_a_line_is_as_the_readme_of_the_captures_says() -> None:
    text = record_line(Recorded(0.123456, Message("ebus/5/a/$state", b"ready", retain=True)))
    assert json.loads(text) == {"t": 0.1235, "topic": "ebus/5/a/$state", "payload": "ready", "retain": True, "qos": 0}


@pytest.mark.slow
def test_every_capture_is_read_and_written_as_it_was() -> None:
    paths = [path for path in CAPTURES.glob("*.jsonl") if not path.name.endswith(".events.jsonl")]
    assert paths
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        written = [record_line(recorded) for recorded in read_recording(lines)]
        # We subscribe at QoS 0, whoever recorded these did not always.
        assert [json.loads(text) for text in written] == [{**json.loads(text), "qos": 0} for text in lines]


def test_blank_lines_are_passed_over() -> None:
    assert len(list(read_recording(["", "\n", line(), "   \n", line()]))) == 2


def test_what_else_is_in_a_line_is_not_looked_at() -> None:
    text = json.dumps({**json.loads(line()), "of": ["the", "future"]})
    assert list(read_recording([text])) == [Recorded(0.0, Message("ebus/5/a/b/c", b"x"))]


_BAD = {
    "no JSON": "ebus/5/a/b/c x",
    "cut off": line()[:-1],
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "empty object": "{}",
    "nested too deeply": "[" * 100_000,
    "no topic": json.dumps({"t": 0, "payload": "", "retain": True}),
    "topic is no text": line(topic=5),
    "payload is no text": line(payload=1.5),
    "payload is null": line(payload=None),
    "payload with half a character": line(payload="\ud800"),
    "no time": line(t=None),
    "time is no number": line(t="soon"),
    "time is NaN": line(t=math.nan),
    "time is infinite": line(t=math.inf),
    "time is huge": line(t=10**400),
    "time is before the beginning": line(t=-1),
    "events": '{"t": 0.0009, "event": "subscriber connected", "rc": "Success"}',
    "byte order mark": "\ufeff" + line(),
}


@pytest.mark.parametrize("bad", _BAD.values(), ids=_BAD)
def test_a_bad_line_is_named_by_its_number_and_not_quoted(bad: str) -> None:
    recording = read_recording([line(), "\n", bad, line()])
    assert next(recording) == Recorded(0.0, Message("ebus/5/a/b/c", b"x"))
    with pytest.raises(SpanPanelValidationError, match=r"^line 3 is not one of a recording$"):
        next(recording)


# --- whose recording it is ---


def test_the_one_panel_is_found() -> None:
    assert find_panel(captured("flat32-a-cold")) == ROOT
    assert find_panel(small("nt-1")) == "nt-1"


def test_a_panel_of_another_domain() -> None:
    moved = [
        recorded._replace(message=recorded.message._replace(topic=recorded.message.topic.replace("ebus", "home")))
        for recorded in small()
    ]
    assert find_panel(moved, domain="home") == ROOT
    with pytest.raises(SpanPanelValidationError, match="no SPAN panel under ebus/5/"):
        find_panel(moved)


@pytest.mark.parametrize("recording", [[], [said("$state", "ready")], [said("core/door", "OPEN")]])
def test_no_panel_is_an_error(recording: list[Recorded]) -> None:
    with pytest.raises(SpanPanelValidationError, match="no SPAN panel"):
        find_panel(recording)


def test_several_panels_are_named() -> None:
    with pytest.raises(SpanPanelValidationError, match=r"say which: nt-1, nt-2$"):
        find_panel([*small("nt-2"), *small("nt-1")])


# --- playing ---


def only(kind: type[Any], played: Iterable[Played]) -> list[Any]:
    return [item for item in played if isinstance(item.what, kind)]


@pytest.fixture(scope="module")
def cold() -> list[Played]:
    return list(play(captured("flat32-a-cold"), ROOT, OPTIONS))


@pytest.fixture(scope="module")
def killed() -> list[Played]:
    return list(play(captured("flat32-b-sigkill"), ROOT, OPTIONS))


def test_a_cold_start_is_one_edge_and_then_a_snapshot_a_second(cold: list[Played]) -> None:
    (edge,) = only(ConnectionEdge, cold)
    assert cold[0] == edge
    assert edge.what.online
    snapshots = only(SpanPanelSnapshot, cold)
    assert 55 <= len(snapshots) <= 75
    assert len({item.what.seq for item in snapshots[:-1]}) == len(snapshots) - 1
    last = captured("flat32-a-cold")[-1].t
    assert snapshots[-1].t == last


def test_what_is_played_comes_in_order_and_carries_the_recorded_time(cold: list[Played]) -> None:
    times = [item.t for item in cold]
    assert times == sorted(times)
    recorded = {item.t for item in captured("flat32-a-cold")}
    for item in only(SpanPanelSnapshot, cold):
        heard = item.what.received_at
        assert heard.monotonic == heard.wall
        assert heard.monotonic in recorded
        assert 0 <= item.t - heard.monotonic < OPTIONS.snapshot_interval


def test_the_first_snapshot_is_complete(cold: list[Played]) -> None:
    first = only(SpanPanelSnapshot, cold)[0].what
    assert len(first.circuits) == 24
    assert all(circuit.instant_power_w is not None for circuit in first.circuits.values())


def test_a_killed_publisher_is_two_lives_with_nothing_in_between(killed: list[Played]) -> None:
    recording = captured("flat32-b-sigkill")
    assert len(only(ConnectionEdge, killed)) >= 3
    states = [item.what.online for item in only(ConnectionEdge, killed)]
    assert states == [index % 2 == 0 for index in range(len(states))]  # alternating, online first
    live = False
    for item in killed:
        if isinstance(item.what, ConnectionEdge):
            live = item.what.online
            assert live == (item.what.reason is ConnectionReason.LIVE)
        else:
            assert live
    assert killed[-1].t == recording[-1].t


def test_a_command_in_the_recording_does_nothing() -> None:
    command = said("core/door/set", "OPEN", 1.0, retain=False)
    played = list(play([*small(), command], ROOT, OPTIONS))
    assert played[-1].what == list(play(small(), ROOT, OPTIONS))[-1].what


def test_other_panels_in_the_recording_are_not_mixed_in() -> None:
    both = [*small(), *small("nt-2"), said("core/door", "OPEN", device="nt-2")]
    assert list(play(both, ROOT, OPTIONS))[-1].what == list(play(small(), ROOT, OPTIONS))[-1].what


def test_a_replay_alone_is_complete_at_its_end() -> None:
    played = list(play(small(), ROOT, OPTIONS))
    assert [type(item.what) for item in played] == [ConnectionEdge, SpanPanelSnapshot, SpanPanelSnapshot]
    assert played[1].what is played[2].what


def test_nothing_is_played_before_the_replay_is_complete() -> None:
    slowly = [recorded._replace(t=float(number)) for number, recorded in enumerate(small())]
    assert {item.t for item in play(slowly, ROOT, OPTIONS)} == {2.0}


def test_the_replay_is_complete_before_the_first_live_message() -> None:
    first_live = said("core/door", "OPEN", 4.0, retain=False)
    _, first, second, last = play([*small(), first_live], ROOT, OPTIONS)
    assert isinstance(first.what, SpanPanelSnapshot)
    assert isinstance(second.what, SpanPanelSnapshot)
    assert (first.t, first.what.door_state, first.what.received_at.monotonic) == (4.0, "CLOSED", 0.0)
    assert (second.t, second.what.door_state, second.what.received_at.monotonic) == (4.0, "OPEN", 4.0)
    assert last == second


def test_playing_is_lazy() -> None:
    def forever() -> Iterator[Recorded]:
        yield from small()
        t = 0.0
        while True:
            t += 1.0
            yield said("core/door", "OPEN" if t % 2 else "CLOSED", t, retain=False)

    playing = play(forever(), ROOT, OPTIONS)
    assert [type(next(playing).what) for _ in range(5)] == [ConnectionEdge, *[SpanPanelSnapshot] * 4]


def test_a_schema_may_be_given() -> None:
    schema = HomieSchema.from_json(json.loads((CAPTURES / "flat32.rest.homie-schema.json").read_text()))
    last = list(play(small(), ROOT, PanelOptions(schema=schema)))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    assert last.panel_size == 32
    without = attrs.evolve(last, panel_size=None, first_position=None, last_position=None, unmapped_tabs=())
    assert list(play(small(), ROOT, OPTIONS))[-1].what == without


def test_a_clock_that_went_back_does_no_harm() -> None:
    recording = [*small(), said("core/door", "OPEN", 9.0, retain=False), said("core/door", "CLOSED", 3.0, retain=False)]
    last = list(play(recording, ROOT, OPTIONS))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    assert last.door_state == "CLOSED"


@pytest.mark.parametrize(
    ("recording", "missing"),
    [
        ([], ["$state of sim-32t-001", "$description of sim-32t-001"]),
        ([said("$state", "ready")], ["$description of sim-32t-001"]),
        ([described()], ["$state of sim-32t-001"]),
        ([*small(), said("$state", "init")], ["$state of sim-32t-001 is 'init', not 'ready'"]),
        ([said("$state", "ready"), said("$description", "{")], ["malformed"]),
        (small("nt-2"), ["$state of sim-32t-001"]),
    ],
)
def test_a_panel_that_is_not_live_at_the_end_is_an_error_that_says_what_is_missing(
    recording: list[Recorded], missing: list[str]
) -> None:
    played = play(recording, ROOT, OPTIONS)
    with pytest.raises(SpanPanelStaleDataError) as caught:
        list(played)
    for what in missing:
        assert what in caught.value.detail
        assert what in str(caught.value)


def test_what_was_live_before_it_was_lost_is_played_all_the_same() -> None:
    recording = [*small(), said("$state", "lost", 5.0, retain=False)]
    playing = play(recording, ROOT, OPTIONS)
    online, first = next(playing), next(playing)
    assert isinstance(online.what, ConnectionEdge)
    assert isinstance(first.what, SpanPanelSnapshot)
    offline = next(playing)
    assert isinstance(offline.what, ConnectionEdge)
    assert offline.t == 5.0
    assert (offline.what.reason, offline.what.state) == (ConnectionReason.DEVICE_STATE, "lost")
    with pytest.raises(SpanPanelStaleDataError):
        next(playing)
