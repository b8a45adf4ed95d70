"""TCP that acknowledges at once, and TLS that hands on all that has come."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair

from span_trio.link import streams
from span_trio.link.streams import TcpStream, TlsStream
from tests.unit.link.certificates import NAME, certificates
from tests.unit.link.house import SteppingCancel, run

pytestmark = pytest.mark.virtual_time

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


class MemoryTcp:
    """What a `TcpStream` needs of a `trio.SocketStream`, in memory."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.options: list[tuple[int, int, Any]] = []
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if self.gone:
            raise OSError("no such socket")
        self.options.append((level, option, value))


def memory_tcp() -> tuple[TcpStream, MemoryTcp, MemoryStream]:
    """A `TcpStream`, what it stands on, and its peer."""
    ours, theirs = memory_stream_pair()
    tcp = MemoryTcp(ours)
    return (
        TcpStream(
            cast("trio.SocketStream", tcp),
        ),
        tcp,
        theirs,
    )


# --- TCP --------------------------------------------------------------------------------------------------------------


async def test_a_tcp_stream_is_a_stream() -> None:
    async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        a, b = memory_stream_pair()
        return TcpStream(cast("trio.SocketStream", MemoryTcp(a))), TcpStream(cast("trio.SocketStream", MemoryTcp(b)))

    await check_two_way_stream(make, None)


async def test_every_packet_is_acknowledged_at_once_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_QUICKACK", 12)
    ours, tcp, theirs = memory_tcp()
    await ours.send_all(b"CONNECT")
    await theirs.send_all(b"CONNACK")
    assert await ours.receive_some() == b"CONNACK"
    assert tcp.options == [(socket.IPPROTO_TCP, 12, 1)] * 2


async def test_a_system_that_cannot_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_QUICKACK", None)
    ours, tcp, _ = memory_tcp()
    await ours.send_all(b"CONNECT")
    assert tcp.options == []


async def test_a_socket_that_is_going_down_is_no_error_of_acknowledging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_QUICKACK", 12)
    ours, tcp, theirs = memory_tcp()
    tcp.gone = True
    await theirs.send_all(b"the last words")
    assert await ours.receive_some() == b"the last words"


# --- TLS --------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def tls_pair() -> AsyncGenerator[tuple[TlsStream, trio.SSLStream[MemoryStream], MemoryTcp], None]:
    """Our end, the broker's, and what ours stands on; after the handshake."""
    tcp, below, theirs = memory_tcp()
    client = TlsStream(tcp, certificates().client, NAME)
    server = trio.SSLStream(theirs, certificates().server, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    yield client, server, below
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_tls_carries_both_ways() -> None:
    async with tls_pair() as (client, server, _):
        with trio.testing.assert_checkpoints():
            await client.send_all(b"CONNECT")
        assert await server.receive_some() == b"CONNECT"
        await server.send_all(b"CONNACK")
        with trio.testing.assert_checkpoints():
            assert await client.receive_some() == b"CONNACK"
        await client.wait_send_all_might_not_block()
        await client.aclose()
        assert await server.receive_some() == b""


async def test_many_records_come_in_one_go() -> None:
    async with tls_pair() as (client, server, _):
        for number in range(1000):
            await server.send_all(b"%04d" % number)
        assert await client.receive_some(10) == b"".join(b"%04d" % number for number in range(1000))


async def test_a_peer_that_sends_without_end_does_not_hold_a_reader_for_ever() -> None:
    async with tls_pair() as (client, server, _):
        sent = bytes(300_000)
        await server.send_all(sent)
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < len(sent):
            pieces.append(bytes(await client.receive_some()))
        assert max(map(len, pieces)) < 65_536 + 32_768
        assert b"".join(pieces) == sent


async def test_what_comes_later_is_waited_for() -> None:
    async with tls_pair() as (client, server, _), trio.open_nursery() as nursery:
        await server.send_all(b"first")
        assert await client.receive_some() == b"first"

        async def later() -> None:
            await trio.sleep(5)
            await server.send_all(b"second")

        nursery.start_soon(later)
        assert await client.receive_some() == b"second"
        assert trio.current_time() == 5.0


async def test_half_a_record_is_waited_for() -> None:
    async with tls_pair() as (client, server, below), trio.open_nursery() as nursery:
        held = server.transport_stream.send_stream
        pump, held.send_all_hook = held.send_all_hook, None
        await server.send_all(b"whole record")
        record = held.get_data_nowait()

        async def trickle() -> None:
            for byte in record:
                await trio.sleep(1)
                below.stream.receive_stream.put_data(bytes([byte]))

        nursery.start_soon(trickle)
        assert await client.receive_some() == b"whole record"
        held.send_all_hook = pump


def test_cancelling_at_any_step_loses_nothing() -> None:
    async def main(canceller: SteppingCancel) -> bool:
        async with tls_pair() as (client, server, _):
            received = b""
            for number in range(20):
                await server.send_all(b"%02d" % number)
            with canceller.cancelling() as scope:
                received += await client.receive_some()
            if not received:
                received += await client.receive_some()
            assert received == b"".join(b"%02d" % number for number in range(20))
            return scope.cancelled_caught

    for step in range(1, 500):
        canceller = SteppingCancel(step)
        if not run(main, canceller, instruments=[canceller]):
            break
    assert step > 3


async def test_a_peer_that_hangs_up_is_heard_to_the_end() -> None:
    async with tls_pair() as (client, server, _):
        await server.send_all(b"the last words")
        await server.aclose()
        assert await client.receive_some() == b"the last words"
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""


async def test_a_peer_that_hangs_up_without_ceremony_is_heard_to_the_end() -> None:
    async with tls_pair() as (client, server, _):
        await server.send_all(b"the last words")
        await server.transport_stream.aclose()
        assert await client.receive_some() == b"the last words"
        assert await client.receive_some() == b""


async def test_a_stream_that_breaks_is_heard_to_that_point() -> None:
    async with tls_pair() as (client, server, _):
        await server.send_all(b"good")
        await server.transport_stream.send_all(b"this is no TLS record at all")
        assert await client.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"more")
