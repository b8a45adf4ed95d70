"""``demo`` and ``simulate``: lines, JSON and the picture, and what cannot be meant."""

import datetime as dt
import json
import re
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result
from rich.console import Console
from rich.text import Text
from trio.testing import MockClock

from span_trio import (
    PanelOptions,
    RelayState,
    SpanPanelSnapshot,
    SpanPanelValidationError,
    fetch_snapshot,
    load_credentials,
    open_span_panel,
)
from span_trio.cli import demo, live
from span_trio.cli.commands import cli
from span_trio.cli.dashboard import bar, power, render
from span_trio.frozenmap import FrozenMap
from span_trio.simulator import open_simulated_panel

OPTIONS = PanelOptions(transport="mqtt")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def house(name: str = "32") -> SpanPanelSnapshot:
    async def main() -> SpanPanelSnapshot:
        at = dt.datetime(2026, 6, 21, 19, tzinfo=dt.UTC)
        async with open_simulated_panel(name, at=at) as simulated:
            return await fetch_snapshot(
                "memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial
            )

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def picture(snapshot: SpanPanelSnapshot | None, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(render(snapshot, title="SPAN nt-1", status=Text("live"), width=width, height=height))
    return captured.get().splitlines()


# --- the picture ---


def test_meters_outside_the_panel_stand_apart_and_are_not_counted() -> None:
    snapshot = house("mlo-48")
    outside = [circuit for circuit in snapshot.circuits.values() if circuit.measures_outside_panel]
    assert outside
    lines = picture(snapshot, height=60)
    apart = next(number for number, line in enumerate(lines) if "meters outside the panel" in line)
    names = [circuit.name or circuit.circuit_id for circuit in outside]
    assert all(any(name in line for line in lines[apart:]) for name in names)
    assert any(f"{len(snapshot.circuits) - len(outside)} circuits" in line for line in lines[:apart])
    assert not any("unknown" in line for line in lines[apart : apart + 1 + len(outside)])


# --- the commands ---


def test_the_demo_prints_complete_snapshots_as_json_and_leaves() -> None:
    result = run("demo", "--snapshots", "2", "--json", "--house", "8", "--at", "12:30")
    assert result.exit_code == 0
    first, second = [json.loads(line) for line in result.stdout.splitlines()]
    assert first["panel_size"] == 32
    assert len(first["circuits"]) == 5
    assert (first["seq"], second["seq"]) == (1, 2)


@pytest.mark.parametrize("name", ["mlo-48", "48"])
def test_demo_shows_a_panel_of_today(name: str) -> None:
    result = run("demo", "--snapshots", "1", "--json", "--house", name, "--at", "12:30")
    assert result.exit_code == 0
    snapshot = json.loads(result.stdout)
    assert (snapshot["model"], snapshot["firmware_version"]) == ("MLO_48", "spanos3/r202639/03")
    assert len(snapshot["circuits"]) == 39 + 2


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_houses_are_listed_by_help(command: str) -> None:
    told = " ".join(run(command, "--help").stdout.split())
    assert "cabin, main-32, main-16, mlo-24, main-40, mlo-48 (8, 32, 16, 24, 40 or 48 for short)" in told


def test_the_demo_prints_lines_where_there_is_no_terminal() -> None:
    result = run("demo", "--snapshots", "1")
    assert result.exit_code == 0
    online, first = result.stdout.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  online", online)
    assert re.match(r"\d\d:\d\d:\d\d  grid -?\d+ W  .*24 of 24 circuits closed", first)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--house", "9"], "no house '9'"),
        (["--at", "noon"], "'noon' is no time"),
        (["--at", "2026-13-01T00:00"], "is no time"),
        (["--firmware", "202640"], "no firmware 202640"),
        (["--firmware", "202627", "--house", "mlo-48"], "firmware 202627 does not run on hardware 3.0 (MLO_48)"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = run("demo", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def test_a_time_is_where_the_house_is() -> None:
    noon = demo.moment("12:30", "America/Los_Angeles")
    assert noon is not None
    assert (noon.hour, noon.minute, str(noon.tzinfo)) == (12, 30, "America/Los_Angeles")
    assert demo.moment("2026-06-21T09:05", "UTC") == dt.datetime(2026, 6, 21, 9, 5, tzinfo=dt.UTC)
    assert demo.moment(None, "UTC") is None
    with pytest.raises(SpanPanelValidationError):
        demo.moment("25:00", "UTC")


def test_without_the_extra_the_demo_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("span_trio.simulator.listen", "hypercorn", "hypercorn.trio"):
        monkeypatch.setitem(sys.modules, name, None)
    result = run("demo", "--snapshots", "1")
    assert result.exit_code == 2
    assert "pip install 'span-trio[cli,simulator]'" in result.stderr.replace("\n", " ")


def test_simulate_tells_where_it_listens_and_what_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    async def look_around() -> None:
        credentials = await load_credentials(tmp_path / "box.json")
        seen.append(credentials)
        options = PanelOptions(ready_timeout=5)
        seen.append(await fetch_snapshot("127.0.0.1", credentials=credentials, options=options))

    monkeypatch.setattr(demo, "until_interrupted", look_around)
    ports = [f"--{name}-port=0" for name in ("mqtt", "mqtts", "http", "https", "ws", "wss")]
    result = run("simulate", "--house", "8", *ports, "--credentials", str(tmp_path / "box.json"))
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    credentials, snapshot = seen
    assert told["password"] == credentials.broker_password
    assert (told["ws_port"], told["wss_port"]) == (credentials.ws_port, credentials.wss_port)
    assert all(0 < told[f"{name}_port"] < 65_536 for name in ("mqtt", "mqtts", "http", "https", "ws", "wss"))
    assert told["serial_number"] == snapshot.serial_number == credentials.serial_number


def test_a_port_that_is_taken_is_one_sentence() -> None:
    result = run("simulate", "--host", "192.0.2.1")
    assert result.exit_code == 2
    assert "cannot listen at 192.0.2.1" in result.stderr


# --- the picture ---


@pytest.mark.parametrize("width", [60, 80, 120, 160])
@pytest.mark.parametrize("height", [12, 24, 50])
@pytest.mark.parametrize("name", ["8", "32", "48", "16"])
def test_the_picture_fits_the_terminal(name: str, width: int, height: int) -> None:
    lines = picture(house(name), width, height)
    assert max(map(len, lines)) <= width
    if height > 12:
        assert len(lines) <= height


def test_the_hungriest_circuit_is_on_top_and_the_rest_is_counted() -> None:
    snapshot = house()
    hungriest = max(snapshot.circuits.values(), key=lambda circuit: abs(circuit.instant_power_w or 0))
    lines = picture(snapshot)
    (heading,) = [number for number, line in enumerate(lines) if "24 circuits" in line]
    assert hungriest.name is not None
    assert hungriest.name in lines[heading + 1]
    assert re.search(r"24 circuits, \d+ shown", lines[heading])


def test_an_open_relay_and_a_lost_battery_are_seen() -> None:
    snapshot = house()
    key, circuit = next(iter(snapshot.circuits.items()))
    changed = attrs.evolve(circuit, relay_state=RelayState.OPEN, instant_power_w=None)
    battery = snapshot.battery
    assert battery is not None
    broken = attrs.evolve(
        snapshot,
        circuits=FrozenMap({**snapshot.circuits, key: changed}),
        battery=attrs.evolve(battery, connected=False, soc_percentage=None),
        grid_state="OFF_GRID",
        pending_devices=("away",),
    )
    text = "\n".join(picture(broken, 160, 50))
    for word in ("1 open", "open", "link lost", "off grid", "missing: away"):
        assert word in text


def test_a_bare_panel_is_a_picture_too() -> None:
    assert picture(SpanPanelSnapshot("nt-1"))
    assert "no current data" in "\n".join(picture(None))


def test_a_name_cannot_control_the_terminal() -> None:
    snapshot = house("8")
    key, circuit = next(iter(snapshot.circuits.items()))
    evil = attrs.evolve(circuit, name="\x1b[2Jgone", instant_power_w=1e6)
    text = "\n".join(picture(attrs.evolve(snapshot, circuits=FrozenMap({**snapshot.circuits, key: evil}))))
    assert "\x1b[2J" not in text
    assert "gone" in text


@pytest.mark.parametrize(
    ("value", "most", "drawn"), [(0, 10, "    "), (10, 10, "████"), (5, 10, "██  "), (1, 0, "    ")]
)
def test_a_bar_is_as_long_as_its_value(value: float, most: float, drawn: str) -> None:
    assert bar(value, most, 4) == drawn


def test_power_is_written_as_people_read_it() -> None:
    assert [power(watts) for watts in (None, 0.0, 999.4, -1500.0)] == ["-", "0 W", "999 W", "-1.50 kW"]


def test_a_terminal_gets_the_picture_again_and_again_and_nothing_old() -> None:
    console = Console(width=80, height=24, force_terminal=True, color_system=None)

    async def main() -> None:
        async with (
            open_simulated_panel("8") as simulated,
            open_span_panel(
                "memory", credentials=simulated.credentials, options=OPTIONS, dialer=simulated.dial
            ) as panel,
        ):
            await live.show(panel, console, count=2, as_json=False)
            simulated.stop()
            with trio.move_on_after(2):
                await live.show(panel, console, count=None, as_json=False)

    with console.capture() as captured:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    text = captured.get()
    assert "● live" in text
    assert text.rindex("○ device state: lost") > text.rindex("● live")
    assert "no current data" in text
