"""`span-trio replay`, and with it what every command prints."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from span_trio.cli import commands
from span_trio.options import PanelOptions
from span_trio.recording import find_panel, play, read_recording
from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.cli.helpers import CAPTURES, COLD, ESCAPE, ROOT, fails, house, run, small_recording


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    run_for_real = trio.run

    def run_at_once(*arguments: Any, **options: Any) -> Any:
        return run_for_real(*arguments, clock=MockClock(autojump_threshold=0), **options)

    monkeypatch.setattr(trio, "run", run_at_once)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return written(tmp_path, *small_recording())


def written(folder: Path, *lines: str) -> Path:
    path = folder / "recording.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# --- what it prints ---


def test_a_recorded_minute() -> None:
    began = time.perf_counter()
    result = run("replay", COLD, "--speed", "20")
    assert time.perf_counter() - began < 5
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == "   0.961 s  online"
    assert 55 <= len(lines) <= 75
    assert all(" of 24 circuits closed  most: " in line for line in lines[1:])


def test_an_outage_is_told() -> None:
    lines = run("replay", CAPTURES / "flat32-b-sigkill.jsonl").stdout.splitlines()
    edges = [line.split("  ")[-1] for line in lines if "circuits" not in line]
    assert edges[0] == "online"
    assert edges[1].startswith("offline, device state: ")
    assert len(edges) % 2 == 1


def test_a_line(recording: Path) -> None:
    line = run("replay", recording).stdout.splitlines()[-1]
    assert line == "   0.500 s  1 of 1 circuits closed  most: Kitchen 120 W"


def test_the_signs_are_as_people_expect() -> None:
    line = run("replay", COLD).stdout.splitlines()[-1]
    last = json.loads(run("replay", COLD, "--json").stdout)
    assert f"pv {-last['power_flow_pv']:.0f} W" in line
    assert f"grid {last['instant_grid_power_w']:.0f} W" in line
    assert f"battery {last['battery']['soc_percentage']:.0f} %" in line


def test_json_is_the_last_snapshot_and_nothing_else() -> None:
    result = run("replay", COLD, "--json")
    with COLD.open(encoding="utf-8") as lines:
        recording = list(read_recording(lines))
    last = list(play(recording, find_panel(recording), PanelOptions()))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    assert SpanPanelSnapshot.from_dict(json.loads(result.stdout)) == last


@pytest.mark.parametrize(("speed", "seconds"), [("1", 8.0), ("20", 0.4), ("0.5", 16.0), ("inf", 0.0)])
def test_the_speed(speed: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until: list[float] = []

    async def sleep_until(deadline: float) -> None:
        await trio.lowlevel.checkpoint()
        until.append(deadline - trio.current_time())

    monkeypatch.setattr(trio, "sleep_until", sleep_until)
    last = {"t": 8.0, "topic": "ebus/5/nt-1/c1/relay", "payload": "OPEN", "retain": False, "qos": 0}
    path = written(tmp_path, *small_recording(), json.dumps(last))
    assert run("replay", path, "--speed", speed).exit_code == 0
    assert until == pytest.approx([seconds] * 4)  # online, the replay, what came live, the end


def test_a_schema_may_be_given(tmp_path: Path) -> None:
    recording = written(tmp_path, *(line for line in small_recording() if "core/model" not in line))
    schema = CAPTURES / "flat32.rest.homie-schema.json"
    assert json.loads(run("replay", recording, "--json").stdout)["panel_size"] is None
    assert json.loads(run("replay", recording, "--json", "--schema", schema).stdout)["panel_size"] == 32


def test_one_of_several_panels(tmp_path: Path) -> None:
    second = [line.replace("nt-1", "nt-2").replace("Kitchen", "Office") for line in small_recording()]
    path = written(tmp_path, *small_recording(), *second)
    assert "say which: nt-1, nt-2" in fails(2, "replay", path)
    assert "Office" in run("replay", path, "--serial", "nt-2").stdout


def test_a_recording_behind_a_prefix(tmp_path: Path, recording: Path) -> None:
    path = tmp_path / "prefixed.jsonl"
    path.write_text(recording.read_text().replace("ebus/5/", "kitchen/ebus/5/"))
    plain, prefixed = (run("replay", *each, "--json") for each in ([recording], [path, "--domain", "kitchen/ebus"]))
    assert json.loads(prefixed.stdout) == json.loads(plain.stdout)
    assert "no SPAN panel under ebus/5/" in fails(2, "replay", path)


def test_a_recording_from_standard_input(recording: Path) -> None:
    text = recording.read_text(encoding="utf-8")
    result = CliRunner().invoke(commands.cli, ["replay", "-"], input=text, catch_exceptions=False)
    assert "Kitchen 120 W" in result.stdout


# --- what must not reach a terminal ---


def test_a_circuits_name_cannot_control_the_terminal(tmp_path: Path) -> None:
    result = run("replay", written(tmp_path, *small_recording(name=f"{ESCAPE}Kitchen")))
    assert "most: \ufffd[2J" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("Kitchen 120 W")


def test_a_state_cannot_control_the_terminal(tmp_path: Path) -> None:
    state = json.dumps({"t": 1.0, "topic": "ebus/5/nt-1/$state", "payload": f"a{ESCAPE}z", "retain": False, "qos": 0})
    back = state.replace(json.dumps(f"a{ESCAPE}z"), '"ready"').replace("1.0", "2.0")
    result = run("replay", written(tmp_path, *small_recording(), state, back))
    (line,) = (line for line in result.stdout.splitlines() if "offline" in line)
    assert line == "   1.000 s  offline, device state: a\ufffd[2J\ufffd\ufffd31m\ufffd\ufffd\ufffdz"


def test_json_is_ascii(tmp_path: Path) -> None:
    result = run("replay", written(tmp_path, *small_recording(name=f"{ESCAPE}é")), "--json")
    assert result.stdout.isascii()
    assert json.loads(result.stdout)["circuits"]["c1"]["name"] == f"{ESCAPE}é"


# --- a dump of topics ---


def dump(**values: str) -> list[str]:
    entries = map(json.loads, small_recording(**values))
    return [f"{entry['topic']} {entry['payload']}" for entry in entries]


def test_a_dump_of_topics_is_played_like_a_recording(tmp_path: Path) -> None:
    shown = json.loads(run("replay", written(tmp_path, *dump()), "--json").stdout)
    expected = json.loads(run("replay", written(tmp_path, *small_recording()), "--json").stdout)
    for found in (shown, expected):
        del found["received_at"]
    assert shown == expected


# --- what goes wrong ---

NEITHER = "line {} is neither one of a recording nor of a dump (a topic, a blank, the payload)"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the recording has no SPAN panel under ebus/5/"),
        (b"hello", NEITHER.format(1)),
        (b"\xff\xfe\x00", NEITHER.format(1)),
        (b"\x1f\x8b\x08\x00 a gzip file \x9c\xff", NEITHER.format(1)),
        (b"ebus/5/nt-1/core/door OPEN\n\nConnection lost.", NEITHER.format(3)),
        (b"ebus/5/nt-1/core/door OPEN", "the recording has no SPAN panel under ebus/5/"),
        (b"2026-13-45T99:00:00Z ebus/5/nt-1/core/door OPEN", "line 1 of the dump has a time that cannot be read"),
        (b'\n\n{"t": NaN, "topic": "a", "payload": "", "retain": 0}', "line 3 is not one of a recording"),
        (COLD.read_bytes()[:5000], "line 24 is not one of a recording"),
    ],
)
def test_a_file_that_is_no_recording(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert fails(2, "replay", path) == sentence


def test_a_byte_that_is_not_utf_8_is_the_payload_that_was_there(tmp_path: Path) -> None:
    path = written(tmp_path, *small_recording(name="Kitchen"))
    path.write_bytes(path.read_bytes().replace(b"Kitchen", b"Kitc\xffhen"))
    assert json.loads(run("replay", path, "--json").stdout)["circuits"]["c1"]["name"] is None


def test_a_panel_that_is_not_live_at_the_end_names_what_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, *small_recording(state="init"))
    for more in ([], ["--json"]):
        sentence = fails(1, "replay", path, *more)
        assert sentence == "the panel is not live: device state: $state of nt-1 is 'init', not 'ready'"


def test_a_serial_number_that_is_not_in_the_recording(recording: Path) -> None:
    sentence = fails(1, "replay", recording, "--serial", "nt-9")
    assert sentence == "the panel is not live: device state: $state of nt-9; $description of nt-9"


@pytest.mark.parametrize("content", ["", "[]", "{", "<html>", '{"types": 5}', "[" * 100_000, "\udcff"])
def test_a_schema_that_is_none(content: str, recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert "schema.json is not a schema: " in fails(2, "replay", recording, "--schema", path)


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast", "-inf"])
def test_a_speed_that_is_none(speed: str, recording: Path) -> None:
    result = run("replay", recording, "--speed", speed)
    assert result.exit_code == 2
    assert "Error: Invalid value for '--speed': " in result.stderr


@pytest.mark.parametrize("path", ["no-such-file", "."])
def test_a_file_that_cannot_be_read(path: str) -> None:
    result = run("replay", path)
    assert result.exit_code == 2
    assert f"Error: Invalid value for 'FILE': '{path}': " in result.stderr


def test_ctrl_c(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "one_line", interrupted)
    result = run("replay", recording)
    assert result.exit_code == 130
    assert result.stderr == ""


def test_the_house_of_the_other_tests_is_the_recorded_one() -> None:
    assert house().serial_number == ROOT
    assert len(house().circuits) == 24
