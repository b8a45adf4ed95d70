"""README.md's examples, as they stand there: run, and compared with the output that stands below them.

The example that opens a real panel is run against a mosquitto that carries a recorded house.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import re
import shlex
import tomllib
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

import span_trio
from span_trio.cli.commands import cli
from tests.integration.broker import ROOT, Broker, Publisher

HERE = Path(__file__).parents[2]
README = (HERE / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: its language, and its text."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
PYTHON = [block.text for block in BLOCKS if block.language == "python"]
WITH_OUTPUT = [
    (block.text, below.text) for block, below in pairwise(BLOCKS) if (block.language, below.language) == ("python", "")
]
WITH_A_PANEL = [text for text in PYTHON if "open_span_panel(" in text and "open_simulated_panel(" not in text]
CONSOLE = "".join(block.text for block in BLOCKS if block.language == "console").splitlines()


# --- Python ---


def test_every_python_example_is_run_here() -> None:
    assert len(WITH_A_PANEL) == 1
    assert WITH_OUTPUT
    assert sorted([*WITH_A_PANEL, *(text for text, _ in WITH_OUTPUT)]) == sorted(PYTHON)


@pytest.mark.parametrize(("text", "output"), WITH_OUTPUT)
def test_an_example_prints_what_stands_below_it(text: str, output: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - that is the point
    assert printed.getvalue() == output


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        broker.feed_house()
        yield broker


class _Enough(Exception):
    """Two snapshots have been printed, and the example would go on for ever."""


@pytest.mark.parametrize("text", WITH_A_PANEL)
def test_the_example_with_a_panel(text: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[tuple[Any, ...]] = []
    opened: list[inspect.BoundArguments] = []
    open_for_real = span_trio.open_span_panel

    @asynccontextmanager
    async def open_here(*arguments: Any, **named: Any) -> AsyncGenerator[span_trio.SpanPanel, None]:
        opened.append(inspect.signature(open_for_real).bind(*arguments, **named))
        here = span_trio.SpanCredentials(serial_number=ROOT, ca_pem=broker.ca_pem)
        options = span_trio.PanelOptions(max_silence=math.inf, mqtts_port=broker.tls_port, snapshot_interval=0)
        async with open_for_real("127.0.0.1", credentials=here, options=options) as panel:
            yield panel

    def print_here(*words: Any) -> None:
        printed.append(words)
        if len(printed) == 2:
            raise _Enough
        with Publisher(broker.port) as publisher:
            publisher.publish(f"ebus/5/{ROOT}/upstream-lugs/active-power", "1234.5")

    monkeypatch.setattr(span_trio, "open_span_panel", open_here)
    with pytest.raises(_Enough):
        exec(compile(text, "README.md", "exec"), {"__name__": "__main__", "print": print_here})  # noqa: S102 - likewise
    assert len(opened) == 1
    assert opened[0].arguments["host"]
    (power, circuits), second = printed
    assert isinstance(power, float)
    assert (circuits, second) == (24, (1234.5, 24))


# --- the shell ---


def _promised() -> list[str]:
    """The commands that `.ci/run` runs in a fresh clone: those that end in the demo or in pytest."""
    lines = [line.removeprefix("$ ") for line in CONSOLE]
    return [line for line in lines if line.endswith((" demo", "pytest"))]


def test_there_is_a_command_that_shows_a_house_and_then_one_that_tests() -> None:
    demo, test = _promised()
    assert demo.endswith(" demo")
    assert test.endswith("pytest")
    assert all(line.startswith("$ ") for line in CONSOLE)


@pytest.mark.parametrize("command", _promised())
def test_a_command_works_in_a_fresh_clone(command: str) -> None:
    """As far as can be told without making one, which `.ci/run` does."""
    make, install, run = (shlex.split(part) for part in command.split(" && "))
    assert make == ["python3", "-m", "venv", ".venv"]
    assert install[:2] == [".venv/bin/pip", "install"]
    assert (HERE / install[install.index("-c") + 1]).is_file()
    extras = re.fullmatch(r"\.\[([\w,-]+)\]", install[install.index("-e") + 1])
    assert extras is not None
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras[1].split(",")) <= project["optional-dependencies"].keys()
    assert run[0] in {f".venv/bin/{name}" for name in (*project["scripts"], "pytest")}


def test_the_demo_shows_a_house() -> None:
    demo, _ = _promised()
    program, *arguments = shlex.split(demo.split(" && ")[-1])
    assert program == ".venv/bin/span-trio"
    result = CliRunner().invoke(cli, [*arguments, "--snapshots", "2", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert [len(json.loads(line)["circuits"]) for line in result.stdout.splitlines()] == [24, 24]


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`span-trio ([a-z]+[^`]*)`", README))))
def test_a_command_that_is_listed_exists(line: str) -> None:
    name, *words = line.replace("[", "").replace("]", "").split()
    command = cli.commands[name]
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert {word for word in words if word.startswith("--")} <= options
    arguments = [parameter.human_readable_name for parameter in command.params if isinstance(parameter, click.Argument)]
    assert [word for word in words if word.isupper()] == arguments


# --- the prose ---


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`panel\.(?!py\b)(\w+)", README))))
def test_what_is_said_of_a_panel_is_there(name: str) -> None:
    assert hasattr(span_trio.SpanPanel, name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(Span\w+|PanelOptions|\w+_panel|fetch_\w+)\b", README))))
def test_what_is_named_is_public(name: str) -> None:
    assert name in span_trio.__all__


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README))))
def test_what_is_linked_is_there(target: str) -> None:
    assert (HERE / target).exists()
