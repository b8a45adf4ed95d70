"""TCP that acknowledges at once, and TLS that hands on all that has come."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
import trio
from trio.testing import check_two_way_stream, memory_stream_pair, wait_all_tasks_blocked

from span_trio.link import streams, tls_context
from span_trio.link.streams import TcpStream, TlsStream
from tests.unit.link.certificates import NAME, certificates, other_ca
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


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="it cannot")
async def test_linux_can() -> None:
    ours, tcp, _ = memory_tcp()
    await ours.send_all(b"CONNECT")
    assert tcp.options == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)]


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
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        with pytest.raises(trio.BrokenResourceError) as again:
            await client.send_all(b"more")
        assert again.value.__cause__ is caught.value.__cause__
        assert await server.transport_stream.receive_some()  # an alert: the peer is told, too


class Below(trio.abc.Stream):
    """A stream that breaks, or has no room, when a test says so."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.sends = 0
        self.breaks_at: float = float("inf")
        self.room = trio.Event()
        self.room.set()
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends += 1
        if self.sends >= self.breaks_at:
            raise trio.BrokenResourceError
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.room.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closed = True
        await self.stream.aclose()


@contextlib.asynccontextmanager
async def strict_pair() -> AsyncGenerator[tuple[TlsStream, trio.SSLStream[MemoryStream], Below], None]:
    """Our end, a peer's that wants goodbyes, and what ours stands on; after the handshake."""
    ours, theirs = memory_stream_pair()
    below = Below(ours)
    client = TlsStream(below, certificates().client, NAME)
    server = trio.SSLStream(theirs, certificates().server, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    yield client, server, below
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(server)


async def test_goodbyes_are_said_and_heard() -> None:
    async with strict_pair() as (client, server, below), trio.open_nursery() as nursery:
        await server.send_all(b"the last words")
        nursery.start_soon(server.aclose)  # it waits for ours
        assert await client.receive_some() == b"the last words"
        for _ in range(2):
            assert await client.receive_some() == b""
        await client.aclose()
        assert below.closed
    async with strict_pair() as (client, server, _):
        await client.aclose()
        assert await server.receive_some() == b""


async def test_a_goodbye_that_cannot_be_sent_is_no_error() -> None:
    async with strict_pair() as (client, _, below):
        below.breaks_at = 0
        await client.aclose()
        assert below.closed


async def test_who_waits_for_room_waits_for_that_of_the_stream_below() -> None:
    async with strict_pair() as (client, _, below), trio.open_nursery() as nursery:
        below.room = trio.Event()
        there_is = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            await client.wait_send_all_might_not_block()
            there_is.set()

        await wait_all_tasks_blocked()
        assert not there_is.is_set()
        below.room.set()
        await there_is.wait()


async def test_a_certificate_that_is_refused_is_the_cause_though_the_peer_cannot_be_told() -> None:
    ours, theirs = memory_stream_pair()
    below = Below(ours)
    below.breaks_at = 2
    client = TlsStream(below, tls_context(other_ca()), NAME)
    server = trio.SSLStream(theirs, certificates().server, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.do_handshake()
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert below.sends == 2
        nursery.cancel_scope.cancel()


async def test_nothing_is_sent_before_the_handshake() -> None:
    client = TlsStream(memory_stream_pair()[0], certificates().client, NAME)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await client.send_all(b"data")
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_what_came_along_with_the_handshake_is_a_checkpoint_away() -> None:
    ours, theirs = memory_stream_pair()
    context = certificates().client
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which the server has the last word
    client = TlsStream(ours, context, NAME)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates().server.wrap_bio(incoming, outgoing, server_side=True)

    async def serve() -> None:
        while True:
            incoming.write(await theirs.receive_some())
            with contextlib.suppress(ssl.SSLWantReadError):
                server.do_handshake()
                server.write(b"early")
                break
            await theirs.send_all(outgoing.read())
        await theirs.send_all(outgoing.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await client.do_handshake()
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.receive_some()
    assert scope.cancelled_caught
    with trio.testing.assert_checkpoints():
        assert await client.receive_some() == b"early"
