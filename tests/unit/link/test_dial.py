"""From a name and a port to a stream, over sockets of this machine: in steps, each with a limit, leaking nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from span_trio import PanelOptions, SpanPanelCertificateError, SpanPanelConnectionError
from span_trio.link import dial, find_serial, open_link, tls_context
from span_trio.link.streams import TcpStream, TlsStream
from tests.ports import held_port
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import NAME, certificates, other_ca
from tests.unit.link.house import CREDENTIALS, SteppingCancel, house
from tests.unit.span.helpers import ROOT

Handler = Callable[[trio.SocketStream], Awaitable[None]]


class Resolver(trio.abc.HostnameResolver):
    """A name service of our own: names of which we know the addresses."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *_: object, **__: object) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == "slow":
            await trio.sleep_forever()
        if name not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, port)) for each in self.addresses[name]]

    async def getnameinfo(self, *_: object) -> Any:
        raise NotImplementedError


class Server:
    """A listener on this machine."""

    def __init__(self, listener: trio.SocketListener, handler: Handler | None) -> None:
        self.accepted = 0
        self._listener = listener
        self._handler = handler

    @property
    def port(self) -> int:
        port: int = self._listener.socket.getsockname()[1]
        return port

    async def accept(self, nursery: trio.Nursery, last: object = None) -> bool:
        """Accept one connection; whether it was the last."""
        stream = await self._listener.accept()
        with contextlib.suppress(OSError):  # it is gone already
            if stream.socket.getpeername() == last:
                await stream.aclose()
                return True
        self.accepted += 1
        nursery.start_soon(self._serve, stream)
        return False

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Wait until the client closes its end."""
        async with stream:
            try:
                if self._handler is not None:
                    await self._handler(stream)
                async for _ in stream:
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


@contextlib.asynccontextmanager
async def serving(handler: Handler | None = None) -> AsyncGenerator[Server, None]:
    """Serve; and wait, in the end, for every client to close its end."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(listener, handler)
    accepting = trio.CancelScope()

    async def accept(nursery: trio.Nursery) -> None:
        with accepting:
            while True:
                await server.accept(nursery)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(accept, nursery)
        yield server
        accepting.cancel()
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as last:  # it stands behind all others
            while not await server.accept(nursery, last.socket.getsockname()):
                pass


async def tls_echo(stream: trio.SocketStream) -> None:
    """A TLS server that says everything twice."""
    tls = trio.SSLStream(stream, certificates().server, server_side=True, https_compatible=True)
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in tls:
            await tls.send_all(data * 2)


async def failed(host: str, port: int, tls: ssl.SSLContext | None = None, **options: Any) -> SpanPanelConnectionError:
    """Dial where that must fail."""
    with pytest.raises(SpanPanelConnectionError) as caught:
        await dial(host, port, tls, **options)
    return caught.value


# --- TCP --------------------------------------------------------------------------------------------------------------


async def test_without_a_context_it_is_plain_tcp() -> None:
    async def echo(stream: trio.SocketStream) -> None:
        await stream.send_all(await stream.receive_some() * 2)

    async with serving(echo) as server:
        with trio.testing.assert_checkpoints():
            stream = await dial("127.0.0.1", server.port, None)
        assert isinstance(stream, TcpStream)
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"ab")
        assert await stream.receive_some() == b"abab"
        await stream.aclose()


async def test_a_name_may_have_an_address_that_does_not_answer() -> None:
    async with serving() as server:
        trio.socket.set_custom_hostname_resolver(Resolver(panel=["127.0.0.2", "127.0.0.1"]))
        await (await dial("panel", server.port, None)).aclose()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_a_port_that_refuses_is_told(addresses: list[str]) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(panel=addresses))
    with held_port("") as port:
        error = await failed("panel", port)
    assert str(error).startswith(f"connecting to panel:{port} failed: ")
    assert "refused" in str(error)
    assert error.answered
    assert isinstance(error.__cause__, OSError)


async def test_an_unknown_name_is_told() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    error = await failed("panel", 1883)
    assert "Name or service not known" in str(error)
    assert not error.answered


@pytest.mark.parametrize("host", ["..", ".panel", "a" * 64 + ".test", "\ud800"])
async def test_what_cannot_be_a_name_is_told(host: str) -> None:
    assert "connecting to" in str(await failed(host, 1883))


@pytest.mark.virtual_time
async def test_a_name_service_that_does_not_answer_costs_a_step_timeout() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    assert str(await failed("slow", 1883)) == "no answer from slow:1883 within 3 s"
    error = await failed("slow", 1883, step_timeout=0.5)
    assert str(error) == "no answer from slow:1883 within 0.5 s"
    assert not error.answered
    assert trio.current_time() == 3.5


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_with_a_context_it_is_tls() -> None:
    async with serving(tls_echo) as server:
        stream = await dial("127.0.0.1", server.port, certificates().client)
        assert isinstance(stream, TlsStream)
        await stream.send_all(b"ab")
        assert await stream.receive_some() == b"abab"
        await trio.aclose_forcefully(stream)


async def test_the_name_that_was_asked_for_must_stand_in_the_certificate() -> None:
    async with serving(tls_echo) as server:
        trio.socket.set_custom_hostname_resolver(Resolver(**{NAME: ["127.0.0.1"], "another": ["127.0.0.1"]}))
        await trio.aclose_forcefully(await dial(NAME, server.port, certificates().client))
        error = await failed("another", server.port, certificates().client)
        assert str(error).startswith(f"TLS with another:{server.port} failed: ")
        assert "Hostname mismatch" in str(error)
        assert isinstance(error.__cause__, trio.BrokenResourceError)


async def test_a_certificate_of_another_ca_is_not_trusted() -> None:
    async with serving(tls_echo) as server:
        error = await failed("127.0.0.1", server.port, tls_context(other_ca()))
        assert isinstance(error, SpanPanelCertificateError)
        assert "certificate verify failed" in str(error)


async def test_a_peer_that_does_not_speak_tls_is_told() -> None:
    async def speak_http(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(speak_http) as server:
        assert "TLS with" in str(await failed("127.0.0.1", server.port, certificates().client))


async def test_a_peer_that_hangs_up_in_the_handshake_is_told() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        stream.socket.shutdown(socket.SHUT_WR)

    async with serving(hang_up) as server:
        error = await failed("127.0.0.1", server.port, certificates().client)
        assert "TLS with" in str(error)
        assert not isinstance(error, SpanPanelCertificateError)
        assert error.answered


async def test_a_handshake_that_is_not_answered_costs_a_step_timeout(autojump_clock: MockClock) -> None:
    done = trio.Event()

    async def listen(_: trio.SocketStream) -> None:
        await done.wait()

    async with serving(listen) as server:
        autojump_clock.autojump_threshold = float("inf")
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)  # warms up: from here on only TLS is waited for
        await stream.aclose()

        async def jump() -> None:
            while server.accepted < 2:  # waiting for it would let the clock jump before the socket connects
                await trio.lowlevel.checkpoint()
            autojump_clock.autojump_threshold = 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump)
            error = await failed("127.0.0.1", server.port, certificates().client)
        assert str(error) == f"no TLS handshake with 127.0.0.1:{server.port} within 3 s"
        assert not error.answered
        autojump_clock.autojump_threshold = float("inf")
        done.set()


# --- all the way ------------------------------------------------------------------------------------------------------


async def test_a_session_over_tls_from_the_first_byte_to_the_last() -> None:
    broker = Broker(house())

    async def serve(stream: trio.SocketStream) -> None:
        await broker.serve(trio.SSLStream(stream, certificates().server, server_side=True, https_compatible=True))

    async with serving(serve) as server:
        options = PanelOptions(mqtts_port=server.port)
        async with open_link("127.0.0.1", CREDENTIALS, options, certificates().client) as link:
            assert await find_serial(link, options) == ROOT
    assert broker.connection.said_goodbye
    assert link.bytes_received == broker.connection.said


# --- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_cancelling_at_any_step_leaves_no_socket(tls: bool) -> None:
    async def main(canceller: SteppingCancel) -> bool:
        async with serving(tls_echo if tls else None) as server:
            with canceller.cancelling() as scope:
                stream = await dial("127.0.0.1", server.port, certificates().client if tls else None)
                await trio.aclose_forcefully(stream)
        return scope.cancelled_caught

    for step in range(1, 500):
        canceller = SteppingCancel(step)
        if not trio.run(main, canceller, instruments=[canceller]):
            break
    assert step > (10 if tls else 3)
