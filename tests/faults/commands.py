# ruff: noqa: T201 - it prints a table
"""Commands under faults, for real: ``python -m tests.faults.commands [--quick] [--seed N]``; prints a table.

A relay is commanded and its broker killed, or stopped for a while, or the link frozen, at a moment of chance around the
write. What the call said is held against what the device received: each outcome must be true of it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

import attrs
import trio

from span_trio import CommandOutcome, CommandResult, RelayState, SpanPanel, SpanPanelStaleDataError
from tests.faults.lab import Lab, wait_until
from tests.faults.proxy import Proxy
from tests.integration.broker import Broker

_AT_A_TIME: Final = 5
_AROUND: Final = 0.003  # s: a command is confirmed after about as long
_WITHIN: Final = 1.0  # s, so that a frozen broker does not make it long
_TOLD: Final = 0.15  # s, until what a device has received is known here
_LATE: Final = 0.3  # s by which a call may outlast its limit, besides what this process itself was kept waiting
_TICK: Final = 0.01
_LONGEST: Final = 120.0  # s; a trial that takes so long is one that hangs
_STALE: Final = "not live"

Case: TypeAlias = tuple[str, str, int]
"""Fault, outcome, and how often the device received the command."""


class Device:
    """A `device.py`, and what it has received."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.announced = 0
        self.oddities: list[str] = []

    async def run(self, broker: Broker, task_status: trio.TaskStatus[None], *, prefix: Sequence[str] = ()) -> None:
        """Until cancelled; ``prefix`` as of the broker's."""
        command = [*prefix, sys.executable, "-m", "tests.faults.device", str(broker.port), "--host", broker.host]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        task_status.started()
        assert process.stdout is not None
        text = b""
        try:
            async for data in process.stdout:
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                await process.stdout.aclose()

    def _take(self, line: dict[str, object]) -> None:
        if not line["topic"]:
            self.announced += 1
            return
        self.received[str(line["topic"])] += 1
        if line["dup"] or line["retain"] or line["payload"] not in {"OPEN", "CLOSED"}:
            self.oddities.append(f"the device received {line}")


@attrs.define
class Findings:
    """How often each case came, and what was untrue."""

    cases: Counter[Case] = attrs.field(factory=Counter)
    failures: list[str] = attrs.field(factory=list)


class _Kept:
    """How long this process was kept from going on, by the others on the machine."""

    waiting: float = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + _TICK
            await trio.sleep_until(due)
            late = trio.current_time() - due
            self.waiting += late if late > _TICK else 0.0  # less is how finely a system tells the time


@attrs.define
class World:
    """One house, its broker, a link that can freeze, and us."""

    broker: Broker
    proxy: Proxy
    device: Device
    panel: SpanPanel
    chance: random.Random
    findings: Findings

    async def trial(self, fault: str, harm: Callable[[World], Awaitable[None]]) -> None:
        """Command a relay while harm is done, and look what became of it when all is well again."""
        device, panel = self.device, self.panel
        await panel.wait_live()
        circuit = self.chance.choice([each for each in panel.snapshot.circuits.values() if each.is_user_controllable])
        topic = f"ebus/5/{panel.serial_number}/{circuit.circuit_id}/relay"
        wanted = RelayState.CLOSED if circuit.relay_state == RelayState.OPEN else RelayState.OPEN
        before = device.received[topic]
        said: list[str] = []
        clock = _Kept()

        async def command() -> None:
            began = trio.current_time()
            try:
                outcome = await panel.set_circuit_relay(circuit.circuit_id, wanted, within=_WITHIN)
            except SpanPanelStaleDataError:
                said.append(_STALE)
            else:
                said.append(outcome.result)
                self._judge_times(outcome)
            if trio.current_time() - began > _WITHIN + _LATE + clock.waiting:
                self.findings.failures.append(f"{fault}: {said[-1]} after {trio.current_time() - began:.2f} s")

        await panel.ping()  # so that it is written, and not held back for the want of an answer
        async with trio.open_nursery() as beside:
            beside.start_soon(clock.run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(command)
                await trio.sleep(self.chance.uniform(0, _AROUND))
                await harm(self)
            beside.cancel_scope.cancel()
        await panel.wait_live()
        await trio.sleep(_TOLD)
        self._judge(fault, said[0], device.received[topic] - before)

    def _judge_times(self, outcome: CommandOutcome) -> None:
        sent = outcome.sent_at
        if (sent is None) != (outcome.result in {CommandResult.FAILED, CommandResult.NO_OP}):
            self.findings.failures.append(f"{outcome.result} and sent at {sent}")

    def _judge(self, fault: str, said: str, count: int) -> None:
        self.findings.cases[fault, said, count] += 1
        if count > 1:
            self.findings.failures.append(f"{fault}: {said}, and the device received it {count} times")
        if count and said in {CommandResult.FAILED, CommandResult.NO_OP, _STALE}:
            self.findings.failures.append(f"{fault}: {said}, and the device received it")
        if not count and said == CommandResult.CONFIRMED:
            self.findings.failures.append(f"{fault}: {said}, and the device received nothing")


# --- the faults ---


async def _kill(world: World) -> None:
    announced = world.device.announced
    await trio.to_thread.run_sync(world.broker.kill)
    await trio.sleep(0.1)
    await trio.to_thread.run_sync(world.broker.start)
    await wait_until(lambda: world.device.announced > announced)


async def _stop(world: World) -> None:
    world.broker.suspend()
    await trio.sleep(world.chance.uniform(0.1, 1.5 * _WITHIN))
    world.broker.resume()


async def _freeze(world: World) -> None:
    """Nothing goes through, and all of it later on; or what comes back is lost, and so is the link."""
    if world.chance.random() < 0.5:
        world.proxy.frozen = True
        await trio.sleep(world.chance.uniform(0.1, 1.5 * _WITHIN))
        world.proxy.thaw()
    else:
        world.proxy.deaf = True
        await trio.sleep(1.2 * _WITHIN)
        world.proxy.deaf = False
        world.proxy.drop()


FAULTS: Final[dict[str, tuple[Callable[[World], Awaitable[None]], int]]] = {
    "broker SIGKILL": (_kill, 100),
    "broker SIGSTOP, SIGCONT": (_stop, 50),
    "link frozen": (_freeze, 50),
}


async def _play(lab: Lab, number: int, share: Sequence[int], seed: int, findings: Findings) -> None:
    broker = await lab.broker()
    device = Device()
    await lab.nursery.start(device.run, broker)
    await wait_until(lambda: device.announced > 0)
    proxy = await lab.proxy(broker.port)
    watch = await lab.panel(proxy.port, max_silence=math.inf)  # this device speaks when it is spoken to
    world = World(broker, proxy, device, watch.panel, random.Random(f"{seed}/{number}"), findings)  # noqa: S311
    for (fault, (harm, _)), times in zip(FAULTS.items(), share, strict=True):
        for _ in range(times):
            with trio.fail_after(_LONGEST):
                await world.trial(fault, harm)
    findings.failures += device.oddities


async def run(*, quick: bool, seed: int) -> Findings:
    """Play all trials."""
    findings = Findings()
    worlds = 2 if quick else _AT_A_TIME
    shares = [3 if quick else count // worlds for _, count in FAULTS.values()]
    async with Lab.open(repeats=1) as lab:
        await lab.side_by_side(partial(_play, share=shares, seed=seed, findings=findings), worlds)
    return findings


def main() -> None:
    """Play, and print the table; the exit code is 1 if an outcome was untrue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few of each")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    findings = trio.run(partial(run, quick=arguments.quick, seed=arguments.seed))
    print(f"{'fault':26}{'the call said':16}{'device received':>18}{'times':>8}")
    for (fault, said, count), times in sorted(findings.cases.items()):
        print(f"{fault:26}{said:16}{count:>18}{times:>8}")
    for failure in findings.failures:
        print(failure)
    print(f"\n{findings.cases.total()} trials, seed {arguments.seed}: {'FAILED' if findings.failures else 'all true'}")
    sys.exit(bool(findings.failures))


if __name__ == "__main__":
    main()
