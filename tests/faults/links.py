"""Faults of the network between a panel and us."""

from __future__ import annotations

import contextlib
import math
import subprocess
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import attrs
import trio

from span_trio import CommandResult, ConnectionReason
from tests.faults.brokers import BACK, CLEAN, SILENT
from tests.faults.commands import Device
from tests.faults.lab import WHO, Lab, wait_until
from tests.faults.rows import row

_LOST = {ConnectionReason.LINK_LOST}
_LATE = 0.3
_BACK_WITHIN = 30.0
_HELD_FOR = 5.0
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


@contextlib.asynccontextmanager
async def _cabled() -> AsyncGenerator[str, None]:
    """We are in a network namespace of our own already; here is another, and a cable in between.

    The block has what to begin a command with that is to be done there.
    """
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
        yield within
    finally:
        there.kill()
        with trio.CancelScope(shield=True):
            await there.wait()


def _cable(within: str, state: str) -> None:
    _run(f"{within} ip link set there {state}")


@row("link silent: cable out for 20 s (veth)", offline=SILENT, online=12.0, namespace=True)
async def silent_cable(lab: Lab) -> None:
    async with _cabled() as within:
        broker = await lab.broker(host=_THERE, prefix=within.split())
        publisher = await lab.publisher(broker, prefix=within.split())
        watch = await lab.panel(broker.port, host=_THERE)
        await lab.outage(
            watch,
            partial(_cable, within, "down"),
            partial(_cable, within, "up"),
            reasons={ConnectionReason.SILENT_PEER},
            down=20,
            oldest=lambda: publisher.acknowledged,
        )
        lab.account(watch)


async def _cut_across_a_relay(lab: Lab, **transport: Any) -> None:
    """Out, a relay commanded over it, in again 4 s behind its deadline: the device receives nothing, then or later."""
    async with _cabled() as within:
        broker = await lab.broker(host=_THERE, prefix=within.split(), websockets="ws" in transport.values())
        device = Device()
        await lab.nursery.start(partial(device.run, prefix=within.split()), broker)
        await wait_until(lambda: device.announced > 0)
        ports = {"mqtts_port": broker.tls_port, "ws_port": broker.ws_port}
        credentials = attrs.evolve(WHO, ca_pem=broker.ca_pem)
        options = {"host": _THERE, "max_silence": math.inf, **ports, **transport}
        watch = await lab.panel(broker.port, credentials=credentials, **options)
        circuit = next(each for each in watch.panel.snapshot.circuits.values() if each.is_user_controllable)
        await watch.panel.ping()
        _cable(within, "down")
        began = trio.current_time()
        outcome = await watch.panel.set_circuit_relay(circuit.circuit_id, "OPEN")
        took = trio.current_time() - began
        if outcome.result is not CommandResult.UNCONFIRMED or abs(took - 5) > _LATE:
            lab.result.failures.append(f"{outcome} after {took:.2f} s")
        await trio.sleep_until(began + 9)
        _cable(within, "up")
        with trio.fail_after(_BACK_WITHIN):
            await watch.panel.wait_live(held_for=_HELD_FOR)
        if device.received:
            lab.result.failures.append(f"the device received {dict(device.received)}")
        lab.result.note = f"unconfirmed after {took:.2f} s, and nothing received"


@row("cable cut across a relay command (veth)", namespace=True, quick=True)
async def relay_over_a_cut_cable(lab: Lab) -> None:
    await _cut_across_a_relay(lab)


@row("cable cut across a relay command (veth, TLS)", namespace=True)
async def relay_over_a_cut_cable_tls(lab: Lab) -> None:
    await _cut_across_a_relay(lab, transport="mqtts")


@row("cable cut across a relay command (veth, WebSocket)", namespace=True)
async def relay_over_a_cut_cable_websocket(lab: Lab) -> None:
    await _cut_across_a_relay(lab, transport="ws")
