"""A command that moves something and is not acknowledged in time takes its link, and what our kernel holds, with it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from span_trio import CommandResult, ConnectionReason, SpanPanel
from span_trio.link.streams import TcpStream, TlsStream, discard_unsent
from tests.unit.commanding import Desk, Order, acknowledge, ignore
from tests.unit.link.broker import Broker
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

RESETS = struct.pack("ii", 1, 0)


class Socket(trio.abc.Stream):
    """A stream that keeps in order what is done to it: what was sent, options, closing."""

    def __init__(self, stream: trio.abc.Stream, done: list[str]) -> None:
        self._stream = stream
        self._done = done

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self._done.append("no linger")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._done.append("sent")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        if self._done[-1:] != ["closed"]:  # once is enough
            self._done.append("closed")
        await self._stream.aclose()


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the streams of a desk's broker."""
    found: list[str] = []
    dial = Broker.dial

    async def dial_socket(self: Broker, *arguments: Any) -> trio.abc.Stream:
        return Socket(await dial(self, *arguments), found)

    monkeypatch.setattr(Broker, "dial", dial_socket)
    return found


def ends(done: list[str]) -> list[str]:
    """How the streams ended."""
    return [each for each in done if each != "sent"]


async def relay(panel: SpanPanel, within: float | None = None) -> CommandResult:
    return (await panel.set_circuit_relay(KITCHEN, "OPEN", within=within)).result


async def test_a_relay_that_nobody_acknowledged_in_time_is_recalled(done: list[str]) -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        edges = panel.edges()
        await anext(edges)
        assert await relay(panel) is CommandResult.UNCONFIRMED
        await wait_all_tasks_blocked()
        assert ends(done)[:2] == ["no linger", "closed"]
        edge = await anext(edges)
        assert (edge.reason, edge.at.monotonic) == (ConnectionReason.LINK_LOST, 5.0)
        assert edge.detail == "the broker has not acknowledged the relay command in time"
        await panel.wait_live()
        assert trio.current_time() < 8


async def test_one_that_is_cancelled_is_recalled_at_once(done: list[str]) -> None:
    async with Desk(answer=ignore).opened() as panel:
        with trio.move_on_after(0.5):
            await relay(panel)
        await wait_all_tasks_blocked()
        assert ends(done)[:2] == ["no linger", "closed"]


async def test_one_that_the_broker_has_is_not(done: list[str]) -> None:
    async with Desk(answer=acknowledge).opened() as panel:
        assert await relay(panel) is CommandResult.ACCEPTED
        await wait_all_tasks_blocked()
        assert ends(done) == []
    assert ends(done) == ["closed"]


async def test_one_that_the_panel_has_taken_as_its_target_is_not(done: list[str]) -> None:
    def aims(desk: Desk, order: Order) -> None:
        desk.broker.publish(f"{order.property_topic}/$target", order.payload)

    async with Desk(answer=aims).opened() as panel:
        assert await relay(panel) is CommandResult.ACCEPTED
        await wait_all_tasks_blocked()
        assert ends(done) == []


async def test_what_moves_nothing_leaves_its_link(done: list[str]) -> None:
    async with Desk(answer=ignore).opened() as panel:
        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER")
        assert outcome.result is CommandResult.UNCONFIRMED
        await wait_all_tasks_blocked()
        assert panel.live
        assert ends(done) == []


async def test_a_panel_that_is_closed_over_a_command_recalls_it(done: list[str]) -> None:
    async with trio.open_nursery() as nursery, Desk(answer=ignore).opened(alone=False) as panel:
        nursery.start_soon(relay, panel)
        await wait_all_tasks_blocked()
    assert ends(done) == ["no linger", "closed"]


async def test_a_link_that_is_lost_over_a_command_recalls_it(done: list[str]) -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        nursery.start_soon(relay, panel)
        await wait_all_tasks_blocked()
        desk.broker.connection.hang_up()
        await wait_all_tasks_blocked()
        assert ends(done)[:2] == ["no linger", "closed"]


async def test_an_orderly_end_says_goodbye(done: list[str]) -> None:
    async with Desk().opened() as panel:
        assert await relay(panel) is CommandResult.CONFIRMED
    assert ends(done) == ["closed"]


def test_a_stream_without_a_socket_is_left_as_it_is() -> None:
    one, other = trio.testing.memory_stream_pair()
    discard_unsent(one)
    discard_unsent(trio.StapledStream(one, other))


@pytest.mark.parametrize("error", [OSError, trio.ClosedResourceError])
def test_a_socket_that_has_gone_already_is_no_failure(error: type[Exception]) -> None:
    class Gone:
        def setsockopt(self, *_: object) -> None:
            raise error

    class Layer:
        transport_stream = Gone()

    layer: Any = Layer()
    discard_unsent(layer)


@pytest.mark.parametrize(
    "layered",
    [lambda tcp, tls: TlsStream(tcp, tls, "a"), trio.SSLStream, lambda tcp, _: tcp],
    ids=["ours", "of trio", "none"],
)
def test_the_socket_is_found_below_every_layer(layered: Callable[..., trio.abc.Stream]) -> None:
    done: list[str] = []
    one, _ = trio.testing.memory_stream_pair()
    tcp = TcpStream(cast("trio.SocketStream", Socket(one, done)))
    discard_unsent(layered(tcp, ssl.create_default_context()))
    assert done == ["no linger"]
