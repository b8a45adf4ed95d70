"""Rows about the way out: a store that would keep us for ever, and ctrl-C at any moment."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanPanelValidationError,
    open_span_panel,
    save_credentials,
)
from tests.faults.interrupted import RUNS_FOR, Round
from tests.faults.lab import HOST, WHO, Lab, wait_until
from tests.faults.proxy import Proxy
from tests.faults.rows import row
from tests.integration.broker import ROOT, Broker

_AT_ONCE: Final = 1.0  # s
_MOMENTS: Final = {"opening": 20, "running": 10, "closing": 20}
_CLOSES_WITHIN: Final = 0.3  # s
_LOST_AFTER: Final = 10.0  # s

# --- a store that blocks ----------------------------------------------------------------------------------------------


@row("store on a FIFO", quick=True)
async def fifo(lab: Lab) -> None:
    """On the way in; and in mid-life, when the credentials are refused, and are to be read again."""
    broker = await lab.broker()
    await trio.to_thread.run_sync(broker.feed_house)
    store = lab.folder / "span.json"
    options = PanelOptions(transport="mqtt", mqtt_port=broker.login_port, max_silence=math.inf)
    os.mkfifo(store)
    took: list[float] = []
    async with _timed(lab, took, "to be refused"):
        with contextlib.suppress(SpanPanelValidationError):
            async with open_span_panel(HOST, store=store, options=options):
                lab.result.failures.append("a panel was opened with a FIFO for its store")
    store.unlink()
    await save_credentials(store, attrs.evolve(WHO, broker_password=broker.PASSWORD))
    with trio.CancelScope() as left:
        async with open_span_panel(HOST, store=store, options=options) as panel:
            broker.kill()
            broker.set_password(ROOT, "another")
            store.unlink()
            os.mkfifo(store)
            await trio.to_thread.run_sync(broker.start)
            await wait_until(lambda: panel.obstacle is not None and panel.obstacle.reason is ConnectionReason.REFUSED)
            await trio.sleep(1.0)  # it is being asked again and again
            left.cancel()
            began = trio.current_time()
    took.append(trio.current_time() - began)
    if took[-1] > _AT_ONCE:
        lab.result.failures.append(f"the block was left after {took[-1]:.2f} s")
    refused, leaving = (f"{1000 * each:.0f} ms" for each in took)
    lab.result.note = f"refused after {refused}; left in mid-life after {leaving}"


@contextlib.asynccontextmanager
async def _timed(lab: Lab, took: list[float], what: str) -> AsyncGenerator[None, None]:
    began = trio.current_time()
    with trio.move_on_after(5 * _AT_ONCE):
        yield
    took.append(trio.current_time() - began)
    if took[-1] > _AT_ONCE:
        lab.result.failures.append(f"it took {took[-1]:.2f} s {what}")


# --- ctrl-C -----------------------------------------------------------------------------------------------------------


class _Program:
    """`tests.faults.interrupted`, which is started again when it does not answer."""

    def __init__(self) -> None:
        self._process: trio.Process | None = None
        self._text = b""

    async def say(self, what: Round) -> None:
        if self._process is None:
            command = [sys.executable, "-m", "tests.faults.interrupted"]
            self._process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
            )
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(attrs.asdict(what)).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The next thing it says; nothing when it has not said anything for too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        with trio.move_on_after(_LOST_AFTER):
            while b"\n" not in self._text:
                self._text += await self._process.stdout.receive_some()
        line, _, self._text = self._text.partition(b"\n")
        if not line:
            await self.end()
            return {"came_out": "nothing, for ever", "left": 0}
        said: dict[str, Any] = json.loads(line)
        return said

    def press_ctrl_c(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    async def end(self) -> None:
        process, self._process, self._text = self._process, None, b""
        if process is not None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()


@row("ctrl-C at each of 50 moments")
async def ctrl_c(lab: Lab) -> None:
    """Of opening, running and closing, over each transport; the body has an error of its own, or none."""
    broker = await lab.broker(websockets=True)
    await trio.to_thread.run_sync(broker.feed_house)
    program = _Program()
    try:
        await _press(lab, broker, program)
    finally:
        await program.end()


async def _press(lab: Lab, broker: Broker, program: _Program) -> None:
    ports = {"mqtt": broker.port, "mqtts": broker.tls_port, "ws": broker.ws_port, "wss": broker.wss_port}
    proxies = {transport: await lab.proxy(port) for transport, port in ports.items()}
    moments = [(phase, number / count) for phase, count in _MOMENTS.items() for number in range(count)]
    opens_in: dict[str, float] = {}
    out: Counter[str] = Counter()
    for number, (phase, share) in enumerate(moments):
        transport = list(proxies)[number % len(proxies)]
        what = Round(transport, proxies[transport].port, broker.ca_pem, number % 3 == 0, _CLOSES_WITHIN)
        if transport not in opens_in:
            opens_in[transport] = await _opens_in(program, what)
        lasts = {"opening": opens_in[transport], "running": RUNS_FOR, "closing": _CLOSES_WITHIN}[phase]
        came_out, left = await _one(program, proxies[transport], what, phase, share * lasts)
        out[came_out] += 1
        lab.result.left += left
        if came_out != "ctrl-C":
            lab.result.failures.append(f"{1000 * share * lasts:.0f} ms into {phase}, over {transport}: {came_out}")
    lost = sum(count for what, count in out.items() if what.startswith("nothing"))
    grouped = sum(count for what, count in out.items() if "Group" in what)
    lab.result.note = f"{out['ctrl-C']} of {len(moments)} came out, {lost} lost, {grouped} in a group"


async def _opens_in(program: _Program, what: Round) -> float:
    """How long this takes to be opened, s."""
    times: dict[str, float] = {}
    await program.say(attrs.evolve(what, patient=False))
    while "came_out" not in (said := await program.hear()):
        times[said["phase"]] = said["at"]
    return times["running"] - times["opening"]


async def _one(program: _Program, proxy: Proxy, what: Round, phase: str, delay: float) -> tuple[str, int]:
    """Press it so long after the beginning of a phase; what came out, and how many sockets are left."""
    await program.say(what)
    said: dict[str, Any] = {}
    while "came_out" not in said:
        said = await program.hear()
        if said.get("phase") == "running":
            proxy.silent = True  # so that closing takes its grace
        if said.get("phase") == phase:
            await trio.sleep(delay)
            program.press_ctrl_c()
    proxy.silent = False
    proxy.drop()
    return said["came_out"], said["left"]
