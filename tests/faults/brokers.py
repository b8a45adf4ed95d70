"""Faults of a broker: killed, stopped, suspended, empty, away for a while; and of those who share it with us."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import paho.mqtt.client as paho
import trio
from paho.mqtt.enums import CallbackAPIVersion

from span_trio import ConnectionReason
from tests.faults.lab import HOST, Lab, trio_time
from tests.faults.rows import row
from tests.integration.broker import Broker

__all__ = ["BACK", "CLEAN", "SILENT", "restart"]

CLEAN = 0.005
"""Bound for a clean drop, s."""

SILENT = 15.0
"""Likewise for a peer that says nothing any more."""

BACK = 1.5
"""Likewise for being back after the broker listens again."""

_LOST = {ConnectionReason.LINK_LOST}


def restart(broker: Broker) -> Callable[[], Awaitable[float]]:
    """Start it again; when it listened."""

    async def start() -> float:
        await trio.to_thread.run_sync(broker.start)
        return trio_time(broker.listening_at)

    return start


@row("broker SIGKILL", offline=CLEAN, online=BACK, alone=True, quick=True)
async def sigkill(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    for _ in range(lab.repeats):
        await lab.outage(watch, broker.kill, restart(broker), reasons=_LOST, down=0.7, oldest=publisher.round)
    lab.account(watch)


@row("broker SIGTERM", offline=CLEAN, online=BACK, alone=True)
async def sigterm(lab: Lab) -> None:
    """mosquitto takes up to 100 ms to heed the signal. So time begins when it hangs up, as a proxy in between sees."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    proxy = await lab.proxy(broker.port)
    watch = await lab.panel(proxy.port)

    async def terminate() -> float:
        await trio.to_thread.run_sync(broker.terminate)
        return proxy.ended_at

    for _ in range(lab.repeats):
        await lab.outage(watch, terminate, restart(broker), reasons=_LOST, down=0.7, oldest=publisher.round)
    lab.result.note = "from its hanging up"
    lab.account(watch)


@row("broker SIGSTOP 20 s, SIGCONT", offline=SILENT, online=12.0)
async def sigstop(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    await lab.outage(
        watch,
        broker.suspend,
        broker.resume,
        reasons={ConnectionReason.SILENT_PEER},
        down=20,
        oldest=lambda: publisher.acknowledged,
    )
    lab.account(watch)


@row("broker SIGSTOP 3 s, SIGCONT", quick=True)
async def short_sigstop(lab: Lab) -> None:
    """No outage: who is back in time was not away."""
    broker = await lab.broker()
    await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    broker.suspend()
    await trio.sleep(3)
    broker.resume()
    await trio.sleep(2)
    lab.result.note = "no edge, as it should be"
    lab.account(watch)


@row("broker comes back empty, panel 3 s later", online=BACK, quick=True)
async def comes_back_empty(lab: Lab) -> None:
    """Back means: the panel has published again. The publisher's own way back is in the time."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)

    def harm() -> None:
        publisher.signal(signal.SIGSTOP)
        broker.kill()

    async def stays_offline() -> None:
        await restart(broker)()
        await trio.sleep(3)
        obstacle = watch.panel.obstacle
        if obstacle is None or obstacle.reason is not ConnectionReason.DEVICE_STATE:
            lab.result.failures.append(f"the obstacle with an empty broker is {obstacle}")

    await lab.outage(
        watch,
        harm,
        partial(publisher.signal, signal.SIGCONT),
        reasons=_LOST,
        oldest=publisher.round,
        meanwhile=stays_offline,
    )
    lab.account(watch)


async def _away(lab: Lab, seconds: float) -> None:
    """Several at a time, since how long one waits is chance."""

    async def one(lab: Lab, number: int) -> None:
        broker = await lab.broker()
        publisher = await lab.publisher(broker)
        watch = await lab.panel(broker.port)
        await lab.outage(
            watch,
            broker.kill,
            restart(broker),
            reasons=_LOST,
            down=seconds + 0.3 * number,
            oldest=publisher.round,
        )
        lab.account(watch)

    await lab.side_by_side(one, lab.repeats)


@row("broker away 5 s", online=BACK)
async def away_5(lab: Lab) -> None:
    await _away(lab, 5)


@row("broker away 20 s", online=BACK)
async def away_20(lab: Lab) -> None:
    await _away(lab, 20)


@row("broker away 40 s", online=BACK)
async def away_40(lab: Lab) -> None:
    await _away(lab, 40)


@row("a second client with our id", offline=CLEAN, online=BACK, alone=True, quick=True)
async def taken_over(lab: Lab) -> None:
    """The broker ends our session; the next one has another id, and the intruder keeps its."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    intruders: list[paho.Client] = []

    def harm() -> None:
        ours = re.findall(r"New client connected from \S+ as (span-trio-\w+)", broker.log)[-1]
        intruder = paho.Client(CallbackAPIVersion.VERSION2, client_id=ours, reconnect_on_failure=False)
        intruders.append(intruder)
        intruder.connect(HOST, broker.port)
        intruder.loop_start()

    try:
        for _ in range(lab.repeats):
            await lab.outage(watch, harm, reasons=_LOST, oldest=lambda: publisher.acknowledged)
        if not all(intruder.is_connected() for intruder in intruders):
            lab.result.failures.append("an intruder was thrown out in its turn")
    finally:
        for intruder in intruders:
            intruder.disconnect()
            intruder.loop_stop()
    lab.account(watch)


@row("slow reader, three drops asleep", offline=CLEAN, online=BACK, alone=True, quick=True)
async def slow_reader(lab: Lab) -> None:
    """It costs the others nothing, wakes to the newest snapshot, and knows how many edges it has missed."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port, edges_held=4)
    edges, snapshots = watch.panel.edges(), watch.panel.snapshots()
    first = await anext(snapshots)
    if not (await anext(edges)).online:
        lab.result.failures.append("the sleeper's first edge is offline")
    for _ in range(3):
        await lab.outage(watch, broker.kill, restart(broker), reasons=_LOST, down=0.5, oldest=publisher.round)
    newest, seen = watch.panel.snapshot, await anext(snapshots)
    if newest.seq - seen.seq > 1 or snapshots.skipped < 3:
        lab.result.failures.append(f"it wakes to {seen.seq} of {newest.seq} after {first.seq}: {snapshots.skipped}")
    missed = [(edge.missed, edge.online) for edge in [await anext(edges) for _ in range(4)]]
    if missed != [(2, False), (0, True), (0, False), (0, True)]:
        lab.result.failures.append(f"of six edges it gets {missed}")
    lab.result.note = f"woke to the newest of {newest.seq} snapshots, edges missed: {edges.missed} of 6"
    lab.account(watch)
