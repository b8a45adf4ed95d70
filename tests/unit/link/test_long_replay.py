"""A replay longer than what mosquitto queues for a client is asked for again, less at a time."""

import json
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from span_trio import PanelOptions, PanelStatistics, SpanCredentials, open_span_panel
from span_trio.link.barrier import REPLAY_LIMIT
from span_trio.simulator import Broker, BrokerFaults

ROOT = "ebus/5/nt-1"
CIRCUIT = "energy.ebus.device.circuit"


def broker_with(circuits: int, properties: int) -> Broker:
    broker = Broker()
    nodes = {f"{number:032x}": {"type": CIRCUIT} for number in range(circuits)}
    core = {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}
    broker.publish(f"{ROOT}/$description", json.dumps({"nodes": {**core, **nodes}}).encode(), retain=True)
    for node in nodes:
        for number in range(properties):
            broker.publish(f"{ROOT}/{node}/p{number}", b"1", retain=True)
        broker.publish(f"{ROOT}/{node}/name", node.encode(), retain=True)
    broker.publish(f"{ROOT}/$state", b"ready", retain=True)
    return broker


def read(broker: Broker) -> tuple[PanelStatistics, set[str], int]:
    """Statistics, the filters that were subscribed to, and how many circuits have a name."""

    async def main() -> Any:
        async with trio.open_nursery() as nursery:

            async def dial(*_: object) -> trio.abc.Stream:
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(broker.serve, theirs)
                return ours

            async with open_span_panel(
                "memory",
                credentials=SpanCredentials("nt-1"),
                options=PanelOptions(transport="mqtt", fetch_schema=False, max_silence=math.inf),
                dialer=dial,
            ) as panel:
                named = sum(circuit.name is not None for circuit in panel.snapshot.circuits.values())
                (session,) = broker.sessions.values()
                return panel.statistics(), set(session.subscriptions), named

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_replay_below_the_limit_is_believed() -> None:
    statistics, filters, named = read(broker_with(30, 20))
    assert (filters, named) == ({f"{ROOT}/#"}, 30)
    assert statistics.topics == 30 * 21 + 2


def test_a_replay_from_the_limit_on_is_asked_for_again_by_nodes() -> None:
    statistics, filters, named = read(broker_with(60, 20))
    assert f"{ROOT}/#" not in filters
    assert len(filters) == 3 + 61  # attributes in three, and each node
    assert (named, statistics.replays_assumed) == (60, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [BrokerFaults(websocket_queue=True), BrokerFaults(replay_limit=REPLAY_LIMIT)], ids=["websocket", "cut"]
)
def test_a_replay_that_is_cut_comes_whole_all_the_same(faults: BrokerFaults) -> None:
    broker = broker_with(60, 20)
    broker.faults = faults
    statistics, _, named = read(broker)
    assert named == 60
    assert statistics.topics == 60 * 21 + 2
