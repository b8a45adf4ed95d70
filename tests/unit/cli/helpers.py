"""What the command line's tests share: a house, a way to run a command, and a panel that is not there."""

import functools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from span_trio.cli import commands
from span_trio.credentials import SpanCredentials
from span_trio.homie import Instant
from span_trio.options import PanelOptions
from span_trio.recording import play, read_recording
from span_trio.snapshot import SpanPanelSnapshot

__all__ = ["CAPTURES", "COLD", "ESCAPE", "ROOT", "FakePanel", "fails", "house", "run", "small_recording"]

CAPTURES = Path(__file__).parents[2] / "captures"
COLD = CAPTURES / "flat32-a-cold.jsonl"
ROOT = "sim-32t-001"
ESCAPE = "\x1b[2J\x07\x9b31m\r\n\u202e"
"""Clears a terminal, rings, colours, moves the cursor, and turns the writing round."""


def run(*arguments: Any, environment: dict[str, str] | None = None) -> Result:
    """Run a command; what comes out is text that a terminal may see, and no traceback."""
    result = CliRunner().invoke(commands.cli, [str(argument) for argument in arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    for line in result.output.split("\n"):
        assert line.isprintable(), ascii(line)
    return result


def fails(code: int, *arguments: Any, environment: dict[str, str] | None = None) -> str:
    """Run a command that must fail with this exit code, nothing on stdout and one sentence on stderr; returns that."""
    result = run(*arguments, environment=environment)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("span-trio: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("span-trio: ").removesuffix("\n")


@functools.cache
def house() -> SpanPanelSnapshot:
    """The recorded house, at the beginning."""
    with COLD.open(encoding="utf-8") as lines:
        recording = [recorded for recorded in read_recording(lines) if recorded.message.retain]
    last = list(play(recording, ROOT, PanelOptions()))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    return last


def small_recording(**values: str) -> list[str]:
    """The lines of a panel with one circuit; `values` replace its properties'."""
    nodes = {"core": "distribution-enclosure.core", "c1": "circuit"}
    properties = {"name": "Kitchen", "active-power": "-120.4", "relay": "CLOSED", **values}
    payloads = {
        "$state": properties.pop("state", "ready"),
        "$description": json.dumps(
            {"nodes": {node: {"type": f"energy.ebus.device.{kind}"} for node, kind in nodes.items()}}
        ),
        "core/model": "MAIN_32",
        **{f"c1/{name}": value for name, value in properties.items()},
    }
    return [
        json.dumps({"t": 0.5, "topic": f"ebus/5/nt-1/{path}", "payload": payload, "retain": True, "qos": 0})
        for path, payload in payloads.items()
    ]


class FakePanel:
    """Stands for `fetch_snapshot` and `open_span_panel`, remembers what they were given, and publishes three."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.error = error
        self.given: list[tuple[str, SpanCredentials, PanelOptions]] = []
        self.closed = False
        monkeypatch.setattr(commands, "fetch_snapshot", self.fetch_snapshot)
        monkeypatch.setattr(commands, "open_span_panel", self.open_span_panel)

    async def fetch_snapshot(
        self, host: str, *, credentials: SpanCredentials, options: PanelOptions
    ) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        self.given.append((host, credentials, options))
        if self.error is not None:
            raise self.error
        return house()

    @asynccontextmanager
    async def open_span_panel(
        self, host: str, *, credentials: SpanCredentials, options: PanelOptions
    ) -> AsyncGenerator[Any, None]:
        await self.fetch_snapshot(host, credentials=credentials, options=options)
        try:
            yield self
        finally:
            self.closed = True

    def snapshots(self) -> "FakeReader":
        return FakeReader()


class FakeReader:
    """Three snapshots; then somebody has seen enough, and presses ctrl-C."""

    def __init__(self) -> None:
        self.seq = 0

    def __aiter__(self) -> "FakeReader":
        return self

    async def __anext__(self) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        if self.seq == 3:
            raise KeyboardInterrupt
        self.seq += 1
        return attrs.evolve(house(), seq=self.seq, received_at=Instant(0.0, 1_790_000_000.0 + self.seq))
