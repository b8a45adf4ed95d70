"""Faults of the panel itself: its publisher dies, with a will and without, or falls silent behind a bridge."""

from __future__ import annotations

import signal
from functools import partial

import trio

from span_trio import ConnectionReason
from tests.faults.brokers import CLEAN, restart
from tests.faults.lab import HOST, Lab, Publisher
from tests.faults.rows import row
from tests.integration.bridge import bridge_to

_STATE = {ConnectionReason.DEVICE_STATE}
_SILENT = {ConnectionReason.SILENT_PANEL}
_LOST = {ConnectionReason.LINK_LOST}
_SILENCE = 2.0
_NOTICED = _SILENCE + 0.6  # of a publisher that spoke up to half a second before it died
_PUBLISHED = 2.5
"""Bound from a publisher's start to the online edge, s: Python starts, and the whole tree is published."""


def _dead(publisher: Publisher) -> None:
    publisher.signal(signal.SIGKILL)


@row("publisher killed, with a will", offline=0.05, online=_PUBLISHED, quick=True)
async def with_a_will(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker, "--will")
    watch = await lab.panel(broker.port)
    await lab.outage(watch, partial(_dead, publisher), publisher.start, reasons=_STATE, down=2, oldest=publisher.round)
    lab.account(watch)


@row("publisher killed, with a will; says ready too early", offline=0.05, online=_PUBLISHED + 0.5)
async def ready_too_early(lab: Lab) -> None:
    """It says ready half a second before it publishes values: those of before are not handed out meanwhile."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker, "--will", "--ready-first")
    watch = await lab.panel(broker.port)
    await lab.outage(watch, partial(_dead, publisher), publisher.start, reasons=_STATE, down=2, oldest=publisher.round)
    lab.account(watch)


@row("publisher killed, without a will")
async def without_a_will(lab: Lab) -> None:
    """Nobody can know until it is back: the offline edge comes with the ``init`` of its new life."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    rounds: list[int] = []

    async def die_and_come_back() -> None:
        _dead(publisher)
        await trio.sleep(2)
        rounds.append(publisher.round())
        await publisher.start()

    await lab.outage(watch, die_and_come_back, reasons=_STATE, oldest=lambda: rounds[0])
    lab.result.note = "nothing tells of it before it is back, 2 s later; max_silence would, later"
    lab.account(watch)


@row("publisher killed, without a will, max_silence 2 s", offline=_NOTICED, online=_PUBLISHED, quick=True)
async def without_a_will_but_watched(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port, max_silence=_SILENCE)
    await lab.outage(watch, partial(_dead, publisher), publisher.start, reasons=_SILENT, down=4, oldest=publisher.round)
    lab.account(watch)


@row("publisher gone for good, without a will", offline=61.0, online=_PUBLISHED)
async def gone_for_good(lab: Lab) -> None:
    """With the default of `PanelOptions.max_silence`."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)
    await lab.outage(
        watch, partial(_dead, publisher), publisher.start, reasons=_SILENT, down=63, oldest=publisher.round
    )
    lab.account(watch)


@row("broker restarted from disk, publisher dead", offline=CLEAN, online=_PUBLISHED, alone=True, quick=True)
async def back_from_disk(lab: Lab) -> None:
    """It has every value of before, and ``ready``; nobody is there who says so."""
    broker = await lab.broker(persistent=True)
    publisher = await lab.publisher(broker)
    watch = await lab.panel(broker.port)

    async def harm() -> float:
        _dead(publisher)
        await trio.sleep(0.5)
        harmed_at = trio.current_time()
        broker.kill()
        return harmed_at

    async def stays_offline() -> None:
        await restart(broker)()
        await trio.sleep(5)
        obstacle = watch.panel.obstacle
        if obstacle is None or str(obstacle) != "silent panel: no value yet":
            lab.result.failures.append(f"the obstacle with what was on disk is {obstacle}")

    await lab.outage(watch, harm, publisher.start, reasons=_LOST, oldest=publisher.round, meanwhile=stays_offline)
    lab.account(watch)


@row("panel silent behind a bridge: publisher killed", offline=_NOTICED, online=_PUBLISHED, quick=True)
async def dead_behind_a_bridge(lab: Lab) -> None:
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    bridge = await lab.broker(*bridge_to(broker))
    watch = await lab.panel(bridge.port, source="bridge", max_silence=_SILENCE)
    await lab.outage(watch, partial(_dead, publisher), publisher.start, reasons=_SILENT, down=4, oldest=publisher.round)
    lab.account(watch)


@row("panel silent behind a bridge: its broker killed", offline=_NOTICED, online=6.0)
async def broker_dead_behind_a_bridge(lab: Lab) -> None:
    """The bridge tries again every two or three seconds, as its configuration says, and the publisher at once."""
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    bridge = await lab.broker(*bridge_to(broker))
    watch = await lab.panel(bridge.port, source="bridge", max_silence=_SILENCE)
    await lab.outage(watch, broker.kill, restart(broker), reasons=_SILENT, down=4, oldest=publisher.round)
    lab.account(watch)


@row("panel silent behind a bridge: the bridge cut off", offline=_NOTICED, online=6.0)
async def bridge_cut_off(lab: Lab) -> None:
    """The panel lives on. When the bridge is through again, all values come at once, in any order.

    Without TLS: where a TLS handshake is cut off, mosquitto 2.0.11 says "Protocol error" now and then and never tries
    again. Of that, too, a silent panel is what shows.
    """
    broker = await lab.broker()
    publisher = await lab.publisher(broker)
    proxy = await lab.proxy(broker.login_port)
    bridge = await lab.broker(*bridge_to(broker, address=f"{HOST}:{proxy.port}", bridge_cafile=""))
    watch = await lab.panel(bridge.port, source="bridge", max_silence=_SILENCE)
    for _ in range(lab.repeats):
        await lab.outage(watch, proxy.shut, proxy.open, reasons=_SILENT, down=4, oldest=lambda: publisher.acknowledged)
    lab.account(watch)
