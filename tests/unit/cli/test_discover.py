"""``discover``: a table, JSON, and what is said when there is nobody."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import trio

from span_trio import discovery
from span_trio.cli import commands
from span_trio.cli.discover import discover
from span_trio.discovery import DiscoveredPanel
from span_trio.errors import SpanPanelConnectionError
from tests.unit.cli.helpers import ESCAPE, fails, run

PANELS = (
    DiscoveredPanel(
        serial_number="nt-1",
        addresses=("192.168.1.100", "fe80::1%eth0"),
        host_names=("span-nt-1.local",),
        model="MAIN_32",
        firmware_version="spanos3/r202639/03",
        https_port=443,
    ),
    DiscoveredPanel(serial_number="nt-22", addresses=("10.0.0.7",), host_names=("span-nt-22-2.local",)),
)


class Found:
    """In place of `discover_panels`."""

    def __init__(self) -> None:
        self.panels: tuple[DiscoveredPanel, ...] = PANELS
        self.error: Exception | None = None
        self.given: list[Any] = []

    async def __call__(self, *arguments: Any, **options: Any) -> tuple[DiscoveredPanel, ...]:
        await trio.lowlevel.checkpoint()
        self.given.append((arguments, options))
        if self.error is not None:
            raise self.error
        return self.panels


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    found = Found()
    monkeypatch.setattr(discovery, "discover_panels", found)
    monkeypatch.setitem(commands.cli.commands, "discover", discover)
    return found


def test_the_table_has_a_line_for_each_panel(found: Found) -> None:
    result = run("discover")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "SERIAL NUMBER  ADDRESSES                   HOST NAME           MODEL    FIRMWARE",
        "nt-1           192.168.1.100 fe80::1%eth0  span-nt-1.local     MAIN_32  spanos3/r202639/03",
        "nt-22          10.0.0.7                    span-nt-22-2.local  -        -",
    ]
    assert found.given == [((5.0,), {"interfaces": None, "port": 5353})]


@pytest.mark.usefixtures("found")
def test_json_is_everything_one_object_a_line() -> None:
    lines = [json.loads(line) for line in run("discover", "--json").stdout.splitlines()]
    assert [line["serial_number"] for line in lines] == ["nt-1", "nt-22"]
    assert lines[0]["https_port"] == 443
    assert lines[1]["model"] is None


def test_interfaces_and_time_are_chosen(found: Found) -> None:
    run("discover", "--timeout", "1.5", "--interface", "eth0", "--interface", "10.0.0.1")
    assert found.given == [((1.5,), {"interfaces": ("eth0", "10.0.0.1"), "port": 5353})]


def test_nobody_there_is_one_sentence_and_3(found: Found) -> None:
    found.panels = ()
    assert fails(3, "discover", "--json") == "no panel has answered within 5 s"


def test_no_network_is_one_sentence_and_3(found: Found) -> None:
    found.error = SpanPanelConnectionError("no network interface for mDNS: there is none")
    assert "no network interface" in fails(3, "discover")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_one_sentence_and_2(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.cli.commands, "discover", discover)
    assert "within must be a positive number" in fails(2, "discover", "--timeout", seconds)


def test_a_stranger_cannot_control_the_terminal(found: Found) -> None:
    found.panels = (DiscoveredPanel(serial_number=ESCAPE, addresses=("10.0.0.7",), model=ESCAPE, host_names=(ESCAPE,)),)
    assert run("discover").exit_code == 0  # which looks at each character
    assert run("discover", "--json").exit_code == 0


def test_without_the_extra_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.cli.commands, "discover", discover)
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    for name in [name for name in sys.modules if name.startswith("span_trio.discovery")]:
        monkeypatch.delitem(sys.modules, name)
    assert fails(2, "discover") == "looking for panels needs zeroconf: pip install 'span-trio[cli,discovery]'"
