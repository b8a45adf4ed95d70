"""`simulate --announce`: the panel tells by mDNS where it listens."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from span_trio.cli import demo
from span_trio.simulator import SimulatedPanel, mdns
from tests.unit.cli.helpers import run

PORTS = [f"--{name}-port=0" for name in ("mqtt", "mqtts", "http", "https", "ws", "wss")]


@pytest.mark.parametrize("flags", [[], ["--announce"]])
def test_a_simulated_panel_is_announced_if_it_is_asked_to(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str | int] = []

    @asynccontextmanager
    async def announcing(panel: SimulatedPanel, ports: mdns.Ports) -> AsyncGenerator[None, None]:
        said.extend((panel.serial_number, ports.host, ports.https_port))
        yield
        said.append("goodbye")

    monkeypatch.setattr(mdns, "announcing", announcing)
    monkeypatch.setattr(demo, "until_interrupted", trio.lowlevel.checkpoint)
    result = run("simulate", "--house", "8", *PORTS, *flags)
    told = json.loads(result.stdout)
    assert said == ([told["serial_number"], told["host"], told["https_port"], "goodbye"] if flags else [])
