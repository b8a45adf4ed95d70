"""The recorded house on this broker, read by our own client: what it says must not depend on how badly it arrives."""

from __future__ import annotations

import functools
import math
import ssl
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from span_trio import PanelOptions, SpanCredentials, SpanPanelSnapshot, open_span_panel
from span_trio.link import Dialer
from span_trio.recording import Recorded, play, read_recording
from span_trio.simulator.broker.broker import Broker, BrokerFaults
from span_trio.simulator.broker.packets import PacketType
from tests.unit.link.certificates import NAME, certificates
from tests.unit.mqtt import packets
from tests.unit.simulator.peers import Peer, connect

pytestmark = pytest.mark.virtual_time

CAPTURE = Path(__file__).parents[2] / "captures" / "flat32-a-cold.jsonl"
SERIAL = "sim-32t-001"
OPTIONS = PanelOptions(transport="mqtt", fetch_schema=False, max_silence=math.inf)  # a recording does not speak
CREDENTIALS = SpanCredentials(serial_number=SERIAL, broker_password="pw")
LIVE = 600  # lines of the recording; there are 463 in the replay


@functools.cache
def recording() -> tuple[Recorded, ...]:
    with CAPTURE.open(encoding="utf-8") as lines:
        return tuple(read_recording(line for line, _ in zip(lines, range(LIVE), strict=False)))


def last_snapshot(*, of_replay: bool) -> SpanPanelSnapshot:
    lines = [line for line in recording() if line.message.retain] if of_replay else recording()
    *_, played = play(lines, SERIAL, OPTIONS)
    assert isinstance(played.what, SpanPanelSnapshot)
    return played.what


def house() -> Broker:
    """A broker that lets only the panel's client in, and carries the house as it was at the beginning."""
    broker = Broker(authenticate=lambda username, password: 0 if (username, password) == (SERIAL, b"pw") else 5)
    for _, message in recording():
        if message.retain:
            broker.publish(message.topic, message.payload, retain=True)
    return broker


def dialer(broker: Broker, nursery: trio.Nursery) -> Dialer:
    async def dial(_host: str, _port: int, _tls: ssl.SSLContext | None) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        near, far = memory_stream_pair()
        nursery.start_soon(broker.serve, far)
        return near

    return dial


async def test_a_minute_of_the_house(nursery: trio.Nursery) -> None:
    broker = house()
    async with open_span_panel(
        "panel", credentials=CREDENTIALS, options=OPTIONS, dialer=dialer(broker, nursery)
    ) as panel:
        assert panel.snapshot == last_snapshot(of_replay=True)
        began = trio.current_time()
        for t, message in recording():
            if not message.retain:
                await trio.sleep_until(began + t)
                broker.publish(message.topic, message.payload, retain=True)
        await trio.sleep(1)
        assert panel.snapshot == last_snapshot(of_replay=False) != last_snapshot(of_replay=True)
        (session,) = broker.sessions.values()
        assert session.username == SERIAL
        assert session.dropped == 0
    assert not broker.sessions


@pytest.mark.parametrize(
    "faults",
    [
        BrokerFaults(slow=10_000),
        BrokerFaults(duplicate_replay=True, shuffle_replay=1),
        BrokerFaults(websocket_queue=True),
        BrokerFaults(swallow=[PacketType.PINGRESP]),
    ],
    ids=["slow", "shuffled", "websocket", "no barrier"],
)
async def test_the_replay_arrives_badly(faults: BrokerFaults, nursery: trio.Nursery) -> None:
    broker = house()
    broker.faults = faults
    async with open_span_panel(
        "panel", credentials=CREDENTIALS, options=OPTIONS, dialer=dialer(broker, nursery)
    ) as panel:
        assert panel.snapshot == last_snapshot(of_replay=True)


async def test_the_same_over_tls(nursery: trio.Nursery) -> None:
    broker = Broker()
    near, far = memory_stream_pair()
    nursery.start_soon(broker.serve, trio.SSLStream(far, certificates().server, server_side=True))
    stream = trio.SSLStream(near, certificates().client, server_hostname=NAME)
    peer = Peer(stream)
    await peer.send(connect(), packets.subscribe(1, ["#"]))
    await peer.expect(packets.connack(), packets.suback(1))
    broker.publish("a", b"x")
    broker.drop()
    await peer.expect(packets.publish("a", b"x"))
    await peer.expect_end()  # TLS would say so, if it had been cut off


async def test_who_does_not_speak_tls_is_thrown_out(nursery: trio.Nursery) -> None:
    near, far = memory_stream_pair()
    nursery.start_soon(Broker().serve, trio.SSLStream(far, certificates().server, server_side=True))
    peer = Peer(near)
    await peer.send(connect())
    assert packets.connack() not in await peer.everything()
