"""A program that does not look for a while: its loop is blocked, or it is stopped as a whole."""

from __future__ import annotations

import math
import time

import trio
import trio.lowlevel

from span_trio import ConnectionReason, SpanPanelStaleDataError
from tests.faults.commands import Device
from tests.faults.lab import Lab, wait_until
from tests.faults.rows import row
from tests.faults.watch import Watch
from tests.integration.broker import Broker

_BLOCKED = 6.0
_PAUSED = {ConnectionReason.PROGRAM_PAUSED}
_WELL = 0.5


def _block() -> None:
    time.sleep(_BLOCKED)


async def _house(lab: Lab) -> tuple[Broker, Device, Watch]:
    broker = await lab.broker()
    device = Device()
    await lab.nursery.start(device.run, broker)
    await wait_until(lambda: device.announced > 0)
    return broker, device, await lab.panel(broker.port, max_silence=math.inf)


@row("loop blocked 6 s, broker well", quick=True)
async def blocked(lab: Lab) -> None:
    """Not live right behind it; and live as soon as it was looked at."""
    _, _, watch = await _house(lab)
    for _ in range(2):
        time.sleep(_BLOCKED / 2)  # noqa: ASYNC251 - that is the fault: piece by piece, and asking is not looking
        repr(watch.panel)
    unblocked_at = trio.current_time()
    if watch.panel.live or watch.panel.obstacle is None or watch.panel.obstacle.reason not in _PAUSED:
        lab.result.failures.append(f"behind the block, the obstacle is {watch.panel.obstacle}")
    offline = await watch.edge(online=False, within=5)
    online = await watch.edge(online=True, within=5)
    lab.result.offline.append(offline.at - unblocked_at)
    lab.result.online.append(online.at - unblocked_at)
    lab.result.reasons.append(str(offline.edge.reason))
    if online.at > unblocked_at + _WELL:
        lab.result.failures.append(f"live again after {online.at - unblocked_at:.3f} s")
    lab.account(watch)


@row("loop blocked 6 s, broker frozen meanwhile: relay", quick=True)
async def blocked_and_frozen(lab: Lab) -> None:
    """The answer to a ping lies in the kernel when the broker freezes. Nothing is written, so nothing acts later."""
    broker, device, watch = await _house(lab)
    panel = watch.panel
    circuit = next(each for each in panel.snapshot.circuits.values() if each.is_user_controllable)
    async with trio.open_nursery() as nursery:
        sent = panel.statistics().bytes_sent
        nursery.start_soon(panel.ping)
        while panel.statistics().bytes_sent == sent:  # until it has left
            await trio.lowlevel.checkpoint()
        time.sleep(0.1)  # noqa: ASYNC251 - that is the fault: the answer is there, and nobody reads it
        broker.suspend()
        _block()
        if panel.live:
            lab.result.failures.append("live right behind the block")
        try:
            outcome = await panel.set_circuit_relay(circuit.circuit_id, "OPEN", within=2)
        except SpanPanelStaleDataError as error:
            lab.result.note = f"the relay was refused: {error}"
        else:
            lab.result.failures.append(f"the relay was {outcome}")
        broker.resume()
    await panel.wait_live()
    await trio.sleep(1)
    if device.received:
        lab.result.failures.append(f"the device received {dict(device.received)}")
