"""Much at once: floods, and replays larger than what mosquitto queues for a client."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from span_trio import PanelOptions, SpanCredentials, SpanPanel, SpanPanelSnapshot, open_span_panel
from span_trio.homie import Message
from tests.busy import PATIENCE, allowed
from tests.integration.broker import ROOT, Broker, replayed, until

HOST = "127.0.0.1"
FLOOD = 50_000


def options(broker: Broker, **more: Any) -> PanelOptions:
    return PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.port, **more)


# --- floods ---


def powers() -> list[str]:
    """The topics of all that flows, each of which shows in a snapshot."""
    return sorted(message.topic for _, message in replayed() if message.topic.endswith("/active-power"))


async def flood(broker: Broker) -> None:
    program = [sys.executable, str(Path(__file__).with_name("flood.py")), str(broker.port), str(FLOOD), *powers()]
    await trio.run_process(program)


def check(snapshot: SpanPanelSnapshot) -> None:
    """Every value is the last one that was published: the numbers count up, topic by topic."""
    topics = powers()
    first = FLOOD - len(topics)
    last = {topics[number % len(topics)].split("/")[3]: float(number) for number in range(first, FLOOD)}
    shown = {name: -(circuit.instant_power_w or 0) for name, circuit in snapshot.circuits.items()}
    assert shown == {name: value for name, value in last.items() if name in shown}
    assert snapshot.instant_grid_power_w == last["upstream-lugs"]
    assert snapshot.feedthrough_power_w == last["downstream-lugs"]


async def test_a_flood_is_absorbed_and_nothing_is_lost(own: Broker) -> None:
    seen: Counter[str] = Counter()

    async def read(panel: SpanPanel, name: str, pause: float) -> None:
        async for _ in panel.snapshots():
            seen[name] += 1
            await trio.sleep(pause)

    credentials, everything = SpanCredentials(serial_number=ROOT), options(own, snapshot_interval=0)
    with trio.fail_after(2 * PATIENCE):
        async with open_span_panel(HOST, credentials=credentials, options=everything) as panel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, panel, "fast", 0)
                nursery.start_soon(read, panel, "slow", 0.5)
                nursery.start_soon(read, panel, "dead", math.inf)
                await flood(own)
                await until(lambda: panel.statistics().messages >= len(replayed()) + FLOOD)
                assert await panel.ping() < allowed(1.0)
                check(panel.snapshot)
                nursery.cancel_scope.cancel()
            statistics = panel.statistics()
    assert statistics.messages == len(replayed()) + FLOOD
    assert statistics.dropped == {}
    assert statistics.epochs == 1
    assert seen["fast"] > seen["slow"] > seen["dead"] == 1


# --- large replays ---


def large_house(circuits: int, properties: int, size: int) -> Iterator[Message]:
    """A panel of so many topics, each with a payload of so many bytes."""
    root = f"ebus/5/{ROOT}"
    kinds = {
        "core": "energy.ebus.device.distribution-enclosure.core",
        **{f"c{number}": "energy.ebus.device.circuit" for number in range(circuits)},
    }
    yield Message(f"{root}/$state", b"ready")
    yield Message(
        f"{root}/$description", json.dumps({"nodes": {n: {"type": kind} for n, kind in kinds.items()}}).encode()
    )
    for number in range(circuits):
        for index in range(properties - 1):
            yield Message(f"{root}/c{number}/x{index}", b"x" * size)
        yield Message(f"{root}/c{number}/name", f"Circuit {number}".encode())


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("circuits", "properties", "size"), [(100, 20, 10), (100, 50, 100)])
async def test_a_large_replay_comes_through_one_barrier(
    tmp_path: Path, circuits: int, properties: int, size: int, secure: bool
) -> None:
    """2,000 topics, and 5,000: five times what mosquitto queues for a client before it drops."""
    with Broker(tmp_path) as broker:
        broker.feed(large_house(circuits, properties, size))
        credentials = SpanCredentials(ca_pem=broker.ca_pem)
        large = PanelOptions(max_silence=math.inf, mqtts_port=broker.tls_port) if secure else options(broker)
        began = trio.current_time()
        async with open_span_panel(HOST, credentials=credentials, options=large) as panel:
            assert trio.current_time() - began < allowed(2.0)
            names = {circuit.name for circuit in panel.snapshot.circuits.values()}
            statistics = panel.statistics()
    assert names == {f"Circuit {number}" for number in range(circuits)}
    assert statistics.topics == circuits * properties + 2
    assert statistics.replays_assumed == 0
