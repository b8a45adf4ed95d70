"""Whom a command is for, what is refused, and what can be commanded at all."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from rich.console import Console

from span_trio.cli import control, offers
from span_trio.simulator import HouseSpec, SimulatedPanel, built_in
from tests.unit.cli.control_helpers import KITCHEN, OUTLETS, Box, says
from tests.unit.cli.helpers import ESCAPE, fails, run

CHARGER = "Garage Charger (sd-2231-00042, positions 23 and 25)"

# --- refusals ---


@pytest.mark.parametrize(
    ("code", "command", "sentence"),
    [
        (
            21,
            ["relay", "h", "Refrigerator", "closed"],
            "the relay of Refrigerator (6d3661f8675455b68d16f050b88ea73b, position 2): always on",
        ),
        (
            21,
            ["priority", "h", "Outdoor Lights", "never"],
            "the priority of Outdoor Lights (acf835e1e5e55208a1a67fb90e82e393, position 29): never backed up",
        ),
        (
            22,
            ["charge-limit", "h", "41"],
            "the charge limit of sd-2231-00042 cannot be set to 41, only within 0..40: out of range",
        ),
        (20, ["evse-lock", "h", "locked"], f"the charger lock of {CHARGER}: no such control"),
        (20, ["relay", "h", "unmapped_tab_31", "closed"], "there is no circuit 'unmapped_tab_31'"),
        (
            20,
            ["relay", "h", "kichen lights", "closed"],
            f"there is no circuit 'kichen lights'; close to it: {KITCHEN}, {OUTLETS}",
        ),
        (2, ["relay", "h", "Kitchen Lights", "closed", "--within", "inf"], "--within must have an end"),
    ],
)
def test_a_refusal_is_one_sentence_and_a_code(code: int, command: list[str], sentence: str, box: Box) -> None:
    assert fails(code, *command) == sentence
    assert box.told == []


@pytest.mark.parametrize(
    "command",
    [
        ["relay", "h", "Kitchen Lights", "ajar"],
        ["relay", "h", "Kitchen Lights", "UNKNOWN"],
        ["relay", "h", "Kitchen Lights", "closed", "--within", "0"],
        ["relay", "h", "Kitchen Lights", "closed", "--within", "nan"],
        ["priority", "h", "Kitchen Lights", "sometimes"],
        ["islanding", "h", "none"],
        ["charge-limit", "h"],
        ["charge-limit", "h", "garage charger"],
        ["charge-limit", "h", "16.5"],
        ["evse-lock", "h"],
        ["evse-lock", "h", "garage charger"],
        ["evse-lock", "h", "garage charger", "unknown"],
    ],
)
def test_wrong_usage(command: list[str], box: Box) -> None:
    result = run(*command)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert box.told == []


# --- names ---


def renamed(**names: str) -> HouseSpec:
    """The cabin, with other names."""
    spec = built_in("8")
    circuits = tuple(attrs.evolve(each, name=names.get(each.name, each.name)) for each in spec.circuits)
    return attrs.evolve(spec, circuits=circuits)


def test_a_name_that_two_have_is_refused_with_both(box: Box) -> None:
    box.house = renamed(Lights="water  heater")
    sentence = fails(20, "relay", "h", "WATER HEATER", "open", "--yes")
    assert sentence.startswith("2 circuits are called 'WATER HEATER': ")
    assert ", position 1), Water Heater (" in sentence
    assert sentence.endswith(", positions 3 and 5); say the id of one")
    assert box.told == []
    one = sentence.split("(")[1].split(",")[0]
    assert says(0, "relay", "h", one.upper(), "open", "--yes").startswith("confirmed: the relay of water  heater is ")


async def rename(name: str, simulated: SimulatedPanel) -> None:
    """Give the kitchen's lights a name that no installer can."""
    topic = f"ebus/5/{simulated.serial_number}/57699a4684bd57559054fe73a9031840/name"
    while topic not in simulated.broker.retained:  # noqa: ASYNC110 - virtual time
        await trio.sleep(0.1)
    simulated.broker.publish(topic, name.encode(), retain=True)


def test_a_name_cannot_control_the_terminal(box: Box) -> None:
    box.before = partial(rename, f"Lights{ESCAPE}z")
    shown = "Lights\ufffd[2J\ufffd\ufffd31m\ufffd\ufffd\ufffdz"
    assert shown in fails(20, "relay", "h", "Lights[2J31mz", "closed")
    listed = next(line for line in run("controls", "h").stdout.splitlines() if shown in line)
    ident = listed.split()[-1]
    assert says(0, "relay", "h", ident, "closed") == f"no-op: the relay of {shown} is CLOSED already; nothing was sent"


def test_nobody_is_called_nothing(box: Box) -> None:
    box.before = partial(rename, " ")
    assert fails(20, "relay", "h", "", "closed").startswith("there is no circuit ''")


# --- what can be commanded ---


@pytest.mark.usefixtures("box")
def test_the_list_for_programs() -> None:
    lines = run("controls", "h").stdout.splitlines()
    rows = [re.split(" {2,}", line) for line in lines]
    assert len(rows) == 24 * 2 + 2
    assert rows[0] == ["relay", "Kitchen Lights", "1", "CLOSED", "OPEN CLOSED", "-", "57699a4684bd57559054fe73a9031840"]
    assert ["charge limit", "Garage Charger", "23·25", "-", "0..40", "-", "sd-2231-00042"] in rows
    assert ["relay", "Refrigerator", "2", "CLOSED", "OPEN CLOSED", "always on", rows[22][-1]] in rows
    assert rows[-2][:4] == ["dominant power source", "nt-2143-c32aa", "-", "GRID"]
    assert len({line.rindex("  ") for line in lines}) == 1  # in columns


def test_the_list_as_json(box: Box) -> None:
    box.build = 202639
    offered = json.loads(run("controls", "h", "--json").stdout)
    assert {each["control"] for each in offered} == {"relay", "priority", "islanding assertion", "charge limit"}
    (limit,) = [each for each in offered if each["control"] == "charge limit"]
    assert limit == {
        "control": "charge limit",
        "subject": "sd-2231-00042",
        "device_id": limit["device_id"],
        "node_id": limit["node_id"],
        "property_id": limit["property_id"],
        "datatype": "integer",
        "choices": [],
        "minimum": 6.0,
        "maximum": 40.0,
        "reaches": [],
        "reaches_unknown": [],
        "refusal": None,
        "name": "Garage Charger",
        "positions": [23, 25],
        "value": None,
    }
    assert [each["refusal"] for each in offered if each["name"] == "Refrigerator"] == ["not controllable", None]


@pytest.mark.usefixtures("box")
def test_the_list_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(offers, "_out", terminal)
    lines = run_at(terminal, "controls", "h")
    shown = [re.split(" {2,}", line.strip()) for line in lines]
    assert shown[:3] == [
        ["of", "at", "control", "is"],
        ["Kitchen Lights", "1", "relay", "CLOSED"],
        ["priority", "NEVER"],  # of the same
    ]
    assert ["Refrigerator", "2", "relay", "CLOSED, always on"] in shown
    assert ["Garage Charger", "23·25", "charge limit 0..40", "-"] in shown
    assert len(lines) == 1 + 24 * 2 + 2


def run_at(terminal: Console, *arguments: Any) -> list[str]:
    with terminal.capture() as captured:
        run(*arguments)
    return captured.get().splitlines()


def test_a_command_finds_its_panel_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    @asynccontextmanager
    async def remember(*arguments: Any, **named: Any) -> AsyncGenerator[None, None]:
        await trio.lowlevel.checkpoint()
        given.append((*arguments, named["options"].transport, named["credentials"].serial_number))
        raise KeyboardInterrupt
        yield

    for place in (control, offers):
        monkeypatch.setattr(place, "open_span_panel", remember)
    commands: list[list[str]] = [["relay", "c", "closed"], ["priority", "c", "never"], ["charge-limit", "c", "6"]]
    commands += [["evse-lock", "c", "locked"]]
    for name, *rest in [*commands, ["islanding", "off-grid"], ["controls"]]:
        result = run(name, "panel.local", *rest, "--transport", "wss", "--serial", "nt-1")
        assert result.exit_code == 130
    assert given == [("panel.local", "wss", "nt-1")] * 6
