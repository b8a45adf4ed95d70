"""trio's TCP and TLS streams, each with one thing changed that costs tens of milliseconds or half the CPU.

*Acknowledging at once.* Brokers send a burst as many small writes. With Nagle's algorithm at their end (mosquitto's
default) all but the first wait for our acknowledgement, which Linux delays by 40 ms: a connect took 44 ms instead of 5
(measured, loopback), and every burst of values came as late. The delay is ours to switch off, for each packet anew.

*Draining.* `trio.SSLStream` gives one TLS record a call, and brokers put one message in a record: a wake-up of two
tasks for each. `TlsStream` takes what is already there before it hands on.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

import trio

__all__ = ["TcpStream", "TlsStream"]

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
_ENOUGH: Final = 65_536


class _NothingThereError(Exception):
    """Reading on would mean waiting."""


class TcpStream(trio.abc.Stream):
    """A `trio.SocketStream` that acknowledges at once, where the system can. ``may_wait``: whether reading may wait."""

    def __init__(self, tcp: trio.SocketStream) -> None:
        self.may_wait = True
        self._tcp = tcp

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As `trio.SocketStream.send_all`."""
        await self._tcp.send_all(data)
        self._acknowledge()

    async def wait_send_all_might_not_block(self) -> None:
        """As `trio.SocketStream.wait_send_all_might_not_block`."""
        await self._tcp.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As `trio.SocketStream.receive_some`."""
        if not self.may_wait:
            raise _NothingThereError
        data = await self._tcp.receive_some(max_bytes)
        self._acknowledge()
        return data

    async def aclose(self) -> None:
        """As `trio.SocketStream.aclose`."""
        await self._tcp.aclose()

    def _acknowledge(self) -> None:
        if _QUICKACK is not None:
            try:
                self._tcp.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            except OSError:  # the link is going down; whoever reads or writes next will hear of it
                return


class TlsStream(trio.abc.Stream):
    """TLS over a `TcpStream`, as a client; `receive_some` gives all that has arrived, not one record."""

    def __init__(self, tcp: TcpStream, context: ssl.SSLContext, host: str) -> None:
        self._tcp = tcp
        # https_compatible: brokers hang up without ceremony, and theirs would be waited for without limit.
        self._tls = trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)
        self._held = bytearray()  # read, and not handed on because of a cancellation
        self._ended = False

    async def do_handshake(self) -> None:
        """As `trio.SSLStream.do_handshake`."""
        await self._tls.do_handshake()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As `trio.SSLStream.send_all`."""
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As `trio.SSLStream.wait_send_all_might_not_block`."""
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As `trio.SSLStream.receive_some`, but many records at once. ``max_bytes`` is not heeded."""
        held = self._held
        if not held and not self._ended:
            held += await self._tls.receive_some(max_bytes)
            self._ended = not held
        self._tcp.may_wait = False
        try:
            while not self._ended and len(held) < _ENOUGH:
                more = await self._tls.receive_some()
                held += more
                self._ended = not more
        except (_NothingThereError, trio.BrokenResourceError):
            pass  # a stream that is broken says so again when what came before has been handed on
        finally:
            self._tcp.may_wait = True
        self._held = bytearray()
        return held

    async def aclose(self) -> None:
        """As `trio.SSLStream.aclose`."""
        await self._tls.aclose()
