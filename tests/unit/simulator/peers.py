"""A client made of bytes, for tests of the broker: it sends packets and says which ones must come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import trio
from trio.testing import memory_stream_pair

from span_trio.mqtt.framing import Framer
from span_trio.simulator.broker.broker import Broker
from tests.unit.mqtt import packets

__all__ = ["Peer", "Will", "connect", "pubcomp", "pubrec", "pubrel"]


class Will(NamedTuple):
    topic: str
    payload: bytes = b"gone"
    retain: bool = False
    qos: int = 0


def _text(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def connect(
    client_id: str = "me",
    *,
    username: str | None = None,
    password: bytes | None = None,
    keepalive: int = 8,
    clean: bool = True,
    will: Will | None = None,
    name: str = "MQTT",
    level: int = 4,
    flags: int = 0,
) -> bytes:
    """CONNECT with all that it may have; ``flags`` are set beyond those that belong there."""
    body = _text(client_id.encode())
    flags |= clean << 1
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        body += _text(will.topic.encode()) + _text(will.payload)
    if username is not None:
        flags |= 0x80
        body += _text(username.encode())
    if password is not None:
        flags |= 0x40
        body += _text(password)
    return packets.packet(0x10, _text(name.encode()) + bytes([level, flags]) + keepalive.to_bytes(2, "big") + body)


def pubrec(mid: int) -> bytes:
    return packets.packet(0x50, mid.to_bytes(2, "big"))


def pubrel(mid: int) -> bytes:
    return packets.packet(0x62, mid.to_bytes(2, "big"))


def pubcomp(mid: int) -> bytes:
    return packets.packet(0x70, mid.to_bytes(2, "big"))


class Peer:
    """One client of a broker in the same process."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._held = b""

    @classmethod
    def dial(cls, broker: Broker, nursery: trio.Nursery) -> Peer:
        """Connected; not logged in."""
        near, far = memory_stream_pair()
        nursery.start_soon(broker.serve, far)
        return cls(near)

    @classmethod
    async def log_in(cls, broker: Broker, nursery: trio.Nursery, packet: bytes | None = None) -> Peer:
        peer = cls.dial(broker, nursery)
        await peer.send(packet or connect())
        await peer.expect(packets.connack())
        return peer

    @classmethod
    async def subscribed(
        cls, broker: Broker, nursery: trio.Nursery, client_id: str, *filters: str, qos: int = 0
    ) -> Peer:
        """Logged in for good, and subscribed; to filters without retained messages."""
        peer = await cls.log_in(broker, nursery, connect(client_id, keepalive=0))
        await peer.send(packets.subscribe(1, filters, qos))
        await peer.expect(packets.suback(1, [qos] * len(filters)))
        return peer

    async def send(self, *data: bytes) -> None:
        await self.stream.send_all(b"".join(data))

    async def expect(self, *expected: bytes) -> None:
        """These bytes come next."""
        want = b"".join(expected)
        with trio.move_on_after(3600):
            await trio.lowlevel.checkpoint()
            while len(self._held) < len(want) and (data := await self.stream.receive_some()):
                self._held += data
        assert self._held[: len(want)] == want
        self._held = self._held[len(want) :]

    async def packets(self, count: int) -> set[bytes]:
        """So many come next; in which order is not said."""
        while len(frames := list(Framer().frames(self._held))) < count:
            self._held += await self.stream.receive_some()
        await trio.lowlevel.checkpoint()
        self._held = self._held[sum(len(frame.raw) for frame in frames[:count]) :]
        return {frame.raw for frame in frames[:count]}

    async def expect_silence(self, seconds: float = 0.5) -> None:
        """Nothing comes for a while, and the link stays."""
        assert self._held == b""
        data: bytes | bytearray | None = None
        with trio.move_on_after(seconds):
            data = await self.stream.receive_some()
        assert data is None

    async def expect_end(self) -> None:
        """Nothing comes, and the broker hangs up."""
        assert await self.everything() == b""

    async def everything(self) -> bytes:
        """All that comes until the broker hangs up."""
        with trio.fail_after(3600):
            async for data in self.stream:
                self._held += data
        held, self._held = self._held, b""
        return held

    async def messages(self) -> list[tuple[str, bytes, bool]]:
        """Hang up behind a DISCONNECT; all messages that come until then."""
        await self.send(packets.disconnect())
        return list(_messages(await self.everything()))


def _messages(stream: bytes) -> Iterator[tuple[str, bytes, bool]]:
    for raw, start, _, _ in Framer().frames(stream):
        if raw[0] & 0xF0 == 0x30:
            end = start + 2 + int.from_bytes(raw[start : start + 2], "big")
            body = end + 2 * bool(raw[0] & 0x06)
            yield raw[start + 2 : end].decode(), raw[body:], bool(raw[0] & 1)
