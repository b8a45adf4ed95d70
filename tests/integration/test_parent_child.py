"""A device tree on a real mosquitto, among the trees of others: all of its children, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from span_trio import ConnectionReason, PanelOptions, SpanCredentials, open_span_panel
from span_trio.homie import Message
from span_trio.recording import Recorded, play, read_recording
from span_trio.snapshot import SpanPanelSnapshot
from tests.busy import PATIENCE, allowed
from tests.integration.broker import Broker, Publisher
from tests.integration.test_transports import HOST, TRANSPORTS, Transport, options

COLD = Path(__file__).parents[1] / "captures" / "parentchild-a-cold.jsonl"
ROOT = "ebus-40t-001"
STRANGERS = 100
FOREIGN = 5_000


def retained() -> list[Recorded]:
    """The recorded tree, as its broker replays it at the end."""
    last: dict[str, bytes] = {}
    with COLD.open(encoding="utf-8") as lines:
        for recorded in read_recording(lines):
            last[recorded.message.topic] = recorded.message.payload
    return [Recorded(0.0, Message(topic, payload, retain=True)) for topic, payload in last.items() if payload]


def foreign() -> Iterator[Message]:
    """5,000 topics of other devices: of a stranger, of another panel's children, of one whose id begins like ours."""
    for number in range(STRANGERS):
        device = f"{ROOT}{number}" if number % 2 else f"other-{number}"
        yield Message(f"ebus/5/{device}/$state", b"ready")
        yield Message(f"ebus/5/{device}/$description", b'{"type":"energy.ebus.device.circuit","root":"other"}')
        for index in range(FOREIGN // STRANGERS - 2):
            yield Message(f"ebus/5/{device}/meter/x{index}", b"1")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with the recorded tree and all the others. To be looked at only."""
    with Broker(tmp_path_factory.mktemp("crowd")) as broker:
        broker.feed(foreign())
        broker.feed(recorded.message for recorded in retained())
        yield broker


def credentials(broker: Broker) -> SpanCredentials:
    return SpanCredentials(serial_number=ROOT, ca_pem=broker.ca_pem)


def played() -> SpanPanelSnapshot:
    last = list(play(retained(), ROOT, PanelOptions()))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    return last


def devices() -> set[str]:
    return {recorded.message.topic.split("/")[2] for recorded in retained()}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_all_children_are_found_and_no_foreign_topic_is_kept(crowd: Broker, transport: Transport) -> None:
    assert len(list(foreign())) == FOREIGN
    began = trio.current_time()
    async with open_span_panel(HOST, credentials=credentials(crowd), options=options(crowd, transport)) as panel:
        assert trio.current_time() - began < allowed(3.0)
        statistics = panel.statistics()
        assert panel.snapshot == played()
    assert (statistics.devices, statistics.data_model) == (len(devices()), "1.0")
    assert (statistics.messages, statistics.topics) == (len(retained()), len(retained()))
    assert (statistics.dropped, statistics.replays_assumed) == ({}, 0)


def large_tree(circuits: int, size: int) -> Iterator[Message]:
    """The recorded tree, each circuit with so many more topics: more than mosquitto queues for a client."""
    for recorded in retained():
        yield recorded.message
    for device in sorted(name for name in devices() if len(name) == 32)[:circuits]:
        for index in range(size):
            yield Message(f"ebus/5/{device}/meter/x{index}", b"x" * 40)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_tree_of_more_than_a_thousand_messages_is_whole(tmp_path: Path, transport: Transport) -> None:
    """mosquitto drops what it cannot queue: 1,000 messages a client, unless they are asked for in parts."""
    with Broker(tmp_path) as broker:
        messages = list(large_tree(30, 150))
        assert len(messages) > 4_000
        broker.feed([*messages, *foreign()])
        async with open_span_panel(HOST, credentials=credentials(broker), options=options(broker, transport)) as panel:
            statistics = panel.statistics()
            assert panel.snapshot.circuits == played().circuits
            assert panel.snapshot.pending_devices == ()
        if transport in {"ws", "wss"}:  # where it queues a whole replay before it sends the first of it
            assert "are being dropped" in broker.log
    assert (statistics.topics, statistics.devices) == (len(messages), len(devices()))
    assert statistics.replays_assumed == 0


@pytest.mark.parametrize("transport", ["mqtt", "ws"])
async def test_what_strangers_say_while_the_panel_is_followed_is_not_heard(
    tmp_path: Path, transport: Transport
) -> None:
    with Broker(tmp_path) as broker:
        broker.feed([*(recorded.message for recorded in retained()), *foreign()])
        async with open_span_panel(HOST, credentials=credentials(broker), options=options(broker, transport)) as panel:
            before = panel.statistics()
            with Publisher(broker.port) as publisher:
                for topic, payload, _ in foreign():
                    publisher.publish(topic, payload)
                publisher.publish(f"ebus/5/{ROOT}-lugs-up/meter/active-power", "12345.5", retain=True)
            with trio.fail_after(PATIENCE):
                await panel.wait_for(lambda snapshot: snapshot.instant_grid_power_w == 12345.5)
            after = panel.statistics()
    assert after.messages == before.messages + 1
    assert after.topics == before.topics


@pytest.mark.parametrize("transport", ["mqtt", "ws"])
async def test_a_broker_that_is_killed_brings_the_same_tree_again(tmp_path: Path, transport: Transport) -> None:
    with Broker(tmp_path) as broker:
        tree = [recorded.message for recorded in retained()]
        broker.feed(tree)
        async with open_span_panel(HOST, credentials=credentials(broker), options=options(broker, transport)) as panel:
            seen = Counter({panel.snapshot: 1})
            edges = panel.edges()
            assert (await anext(edges)).online
            broker.kill()
            assert (await anext(edges)).reason is ConnectionReason.LINK_LOST
            broker.start()
            broker.feed([*foreign(), *tree])
            with trio.fail_after(PATIENCE):
                assert (await anext(edges)).online
            assert panel.snapshot in seen
            assert panel.statistics().devices == len(devices())
