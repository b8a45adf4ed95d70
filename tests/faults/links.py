"""Faults of the network between a panel and us."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial

import trio

from span_trio import ConnectionReason
from tests.faults.brokers import BACK, CLEAN, SILENT
from tests.faults.lab import Lab
from tests.faults.rows import row

_LOST = {ConnectionReason.LINK_LOST}
_THERE, _HERE = "10.111.0.1", "10.111.0.2"


async def _cuts(lab: Lab, *, reset: bool) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    proxy = await lab.proxy(broker.port)
    watch = await lab.panel(proxy.port)
    for _ in range(lab.repeats):
        await lab.outage(watch, partial(proxy.cut, reset=reset), reasons=_LOST, oldest=lambda: publisher.acknowledged)
    lab.account(watch)


@row("RST in mid packet", offline=CLEAN, online=BACK, alone=True, quick=True)
async def reset(lab: Lab) -> None:
    await _cuts(lab, reset=True)


@row("half-close in mid packet", offline=CLEAN, online=BACK, alone=True, quick=True)
async def half_close(lab: Lab) -> None:
    await _cuts(lab, reset=False)


@row("link silent: proxy forwards nothing for 20 s", offline=SILENT, online=12.0)
async def silent_proxy(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    proxy = await lab.proxy(broker.port)
    watch = await lab.panel(proxy.port)

    def hush() -> None:
        proxy.silent = True

    await lab.outage(
        watch,
        hush,
        proxy.speak,
        reasons={ConnectionReason.SILENT_PEER},
        down=20,
        oldest=lambda: publisher.acknowledged,
    )
    lab.account(watch)


def _run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)  # noqa: S603 - our own commands


@row("link silent: cable out for 20 s (veth)", offline=SILENT, online=12.0, namespace=True)
async def silent_cable(lab: Lab) -> None:
    """We are in a network namespace of our own already; the panel is put into another, with a cable in between."""
    there = await trio.lowlevel.open_process(["unshare", "--net", "sleep", "infinity"])
    try:
        await trio.sleep(0.3)  # it has no way of telling that it is there
        within = f"nsenter --target {there.pid} --net"
        _run(
            "ip link set lo up",
            f"ip link add here type veth peer name there netns {there.pid}",
            f"ip addr add {_HERE}/24 dev here",
            "ip link set here up",
            f"{within} ip link set lo up",
            f"{within} ip addr add {_THERE}/24 dev there",
            f"{within} ip link set there up",
        )
        await _pull_the_cable(lab, within)
    finally:
        there.kill()
        with trio.CancelScope(shield=True):
            await there.wait()


async def _pull_the_cable(lab: Lab, within: str) -> None:
    broker = await lab.broker(host=_THERE, prefix=within.split())
    publisher = await lab.publisher(broker, prefix=within.split())
    watch = await lab.panel(broker.port, host=_THERE)

    def cable(state: str) -> Callable[[], None]:
        return partial(_run, f"{within} ip link set there {state}")

    await lab.outage(
        watch,
        cable("down"),
        cable("up"),
        reasons={ConnectionReason.SILENT_PEER},
        down=20,
        oldest=lambda: publisher.acknowledged,
    )
    lab.account(watch)
