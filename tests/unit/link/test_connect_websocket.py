"""A session over a WebSocket: from the connect to the question which panel a broker carries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest
import trio
from trio.testing import memory_stream_pair

from span_trio import PanelOptions, SpanPanelConnectionError
from span_trio.link import Dialer, find_serial, open_link
from span_trio.link.websocket import accept_websocket
from span_trio.options import Transport
from tests.unit.link.broker import Broker
from tests.unit.link.house import CREDENTIALS, house, topic
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time


@contextlib.asynccontextmanager
async def served(broker: Broker) -> AsyncGenerator[Dialer, None]:
    """A dialer to this broker, which speaks MQTT over WebSocket."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with accept_websocket(stream, max_message=100_000) as websocket:
            with contextlib.suppress(trio.BrokenResourceError):  # what we sent was too much for it
                await broker.serve(websocket)

    async def dial(*_: object) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve, theirs)
        await trio.lowlevel.checkpoint()
        return ours

    async with trio.open_nursery() as nursery:
        yield dial


async def ask(broker: Broker, transport: Transport = "ws", max_packet: int = 4 * 2**20) -> str:
    """Which panel it carries, or why that cannot be known."""
    options = PanelOptions(transport=transport, max_packet=max_packet)
    async with served(broker) as dialer:
        try:
            async with open_link("panel", CREDENTIALS, options, None, dialer) as link:
                return await find_serial(link, options)
        except SpanPanelConnectionError as error:
            return str(error)


@pytest.mark.parametrize("transport", ["ws", "wss"])
async def test_a_session_over_a_websocket_begins_and_ends_in_order(transport: Transport) -> None:
    broker = Broker(house())
    assert await ask(broker, transport) == ROOT
    assert broker.connection.said_goodbye


async def test_it_asks_for_the_path_that_the_options_name() -> None:
    ours, theirs = memory_stream_pair()

    async def dial(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    options = PanelOptions(transport="ws", websocket_path="/elsewhere", ws_port=99)
    with pytest.raises(SpanPanelConnectionError, match="no WebSocket handshake with panel:99/elsewhere within 3 s"):
        async with open_link("panel", CREDENTIALS, options, None, dial):
            raise AssertionError
    assert trio.current_time() == 3.0
    assert (await theirs.receive_some()).startswith(b"GET /elsewhere HTTP/1.1\r\n")


@pytest.mark.parametrize(("size", "answer"), [(12_000, ROOT), (20_000, "Exceeded maximum message size: 16000 bytes")])
async def test_a_message_of_up_to_two_packets_breaks_nothing(size: int, answer: str) -> None:
    """This broker sends a replay as one message: here a description that is too large for a packet, and ours."""
    broker = Broker({topic("$description", "zeppelin"): bytes(size), **house()})
    assert answer in await ask(broker, max_packet=8000)
    assert broker.connection.said < 24_000
