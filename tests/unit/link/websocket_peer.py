"""A WebSocket in memory, with a peer that does what a test says and a stream below of which it sees everything."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
from collections.abc import AsyncGenerator, Callable

import trio
import trio.lowlevel
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from span_trio.link.websocket import open_websocket

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "MAX",
    "PING",
    "PONG",
    "TEXT",
    "Below",
    "Peer",
    "closing",
    "connected",
    "frame",
    "frames_of",
    "living",
]

MAX = 200_000
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(payload: bytes, opcode: int = BINARY, *, final: bool = True) -> bytes:
    """One frame of a server."""
    length = len(payload)
    if length < 126:
        size = bytes([length])
    elif length < 65_536:
        size = b"\x7e" + length.to_bytes(2, "big")
    else:
        size = b"\x7f" + length.to_bytes(8, "big")
    return bytes([final << 7 | opcode]) + size + payload


def closing(code: int | None, reason: str = "") -> bytes:
    return frame(b"" if code is None else code.to_bytes(2, "big") + reason.encode(), CLOSE)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each short frame that a client sent."""
    frames: list[tuple[int, bytes]] = []
    while data:
        length = data[1] & 0x7F
        assert data[0] & 0x80
        assert data[1] & 0x80
        assert length < 126
        mask, payload, rest = data[2:6], data[6 : 6 + length], data[6 + length :]
        masked = zip(payload, itertools.cycle(mask), strict=False)
        frames.append((data[0] & 0x0F, bytes(byte ^ key for byte, key in masked)))
        data = rest
    return frames


class Below(trio.abc.Stream):
    """A stream in memory, of which a test sees more than its users do."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.taken = 0
        self.closed = False
        self.on_receive: Callable[[], None] = lambda: None
        self.on_send: Callable[[], None] = lambda: None
        self.clogged: trio.Event | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.on_receive()
        data = await self.stream.receive_some(max_bytes)
        self.taken += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.on_send()
        if self.clogged is not None:
            await self.clogged.wait()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self.clogged is not None:
            await self.clogged.wait()
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.closed = True
        await self.stream.aclose()


class Peer:
    """A server that does what it is told."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.request = b""

    async def asked(self) -> bytes:
        while not self.request.endswith(b"\r\n\r\n"):
            data = await self.stream.receive_some()
            if not data:
                break
            self.request += data
        return self.request

    async def accept(self, behind: bytes = b"", *, subprotocol: str | None = "mqtt") -> None:
        found = re.search(rb"(?i)sec-websocket-key: (\S+)\r\n", await self.asked())
        if found is None:  # the client hung up
            return
        token = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - RFC 6455
        chosen = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        await self.stream.send_all(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
            f"{chosen}Sec-WebSocket-Accept: {base64.b64encode(token).decode()}\r\n\r\n".encode()
            + behind
        )

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def heard(self) -> list[tuple[int, bytes]]:
        """The frames that have come since the last time."""
        await wait_all_tasks_blocked()
        return frames_of(bytes(await self.stream.receive_some()))


@contextlib.asynccontextmanager
async def connected(
    behind: bytes = b"", *, max_message: int = MAX
) -> AsyncGenerator[tuple[trio.abc.Stream, Peer, Below], None]:
    """A WebSocket, its peer, and the stream below it."""
    ours, theirs = memory_stream_pair()
    below, peer = Below(ours), Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept, behind)
        try:
            async with open_websocket(below, "panel", 9001, max_message=max_message) as stream:
                yield stream, peer, below
        except BaseExceptionGroup as group:  # pragma: no cover
            raise AssertionError("a group") from group
    assert below.closed


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living
