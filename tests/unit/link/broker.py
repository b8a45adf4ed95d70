"""An MQTT broker in memory that does what a test says, the unlikely included.

A `Broker` keeps retained topics and answers as MQTT 3.1.1 says: SUBACK before the replay, everything else in the order
of the questions. It has no task, no socket and no clock: it answers within the client's own ``send_all``. Its `dial`
is a `Dialer`, and every call of that makes a `Connection`, on which a test can look at what came and say what it likes.

What it does otherwise than a good broker is said when it is made, or later on: `Broker.instead` has something else done
about a kind of packet, `Broker.queue` drops like mosquitto, `Broker.flip` and `Broker.ends_at` spoil what it sends; a
`Connection` can hold its answers back, say anything, stop reading and hang up.
"""

from __future__ import annotations

import contextlib
import enum
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream

from tests.unit.mqtt import packets

__all__ = ["Answer", "Broker", "Connection", "Kind", "Packet", "Pieces", "matches", "nothing"]


class Kind(enum.IntEnum):
    """The packets of a client, by the upper half of their first byte."""

    CONNECT = 0x10
    PUBLISH = 0x30
    SUBSCRIBE = 0x80
    UNSUBSCRIBE = 0xA0
    PINGREQ = 0xC0
    DISCONNECT = 0xE0


class Packet(NamedTuple):
    """A whole packet of a client, and when it came on trio's clock."""

    kind: Kind
    body: bytes
    at: float

    @property
    def mid(self) -> int:
        """The packet id of a SUBSCRIBE or UNSUBSCRIBE."""
        return int.from_bytes(self.body[:2], "big")

    @property
    def texts(self) -> list[str]:
        """The filters of a SUBSCRIBE or UNSUBSCRIBE; client id, user name and password of a CONNECT."""
        first, gap = {Kind.CONNECT: (10, 0), Kind.SUBSCRIBE: (2, 1)}.get(self.kind, (2, 0))
        found: list[str] = []
        while first < len(self.body):
            start = first + 2
            first = start + int.from_bytes(self.body[first:start], "big")
            found.append(self.body[start:first].decode())
            first += gap
        return found


Answer: TypeAlias = "Callable[[Connection, Packet], object]"
"""What to do about a packet."""


def nothing(_connection: Connection, _packet: Packet) -> None:
    """No answer at all."""


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription wants a topic (MQTT 3.1.1, section 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for level, want in enumerate(wanted):
        if want == "#":
            return True
        if level >= len(levels) or want not in {"+", levels[level]}:
            return False
    return len(wanted) == len(levels)


class Broker:
    """Retained topics, and the connections to them.

    Args:
        retained: topic -> payload.
        connack: the answer to CONNECT; any other than 0 refuses.
        refused: filters that are not granted.
        queue: how many messages and PINGRESPs it queues in answer to what it read in one go; what is more is dropped.
        instead: what to do about packets of a kind, in place of what a broker does.
        flip: (offset, mask) of one byte of all that a connection says, to be spoilt.
        ends_at: how many bytes a connection may say; after that it hangs up, or is mute when ``mute`` is set.
        sip: how many bytes it reads at a time, a checkpoint each.
        takes: how long `dial` takes, s.
        through: what the client gets instead of the stream, which is inside: see `Pieces`.
    """

    def __init__(
        self,
        retained: Mapping[str, bytes] | None = None,
        *,
        connack: int = 0,
        refused: Iterable[str] = (),
        queue: int | None = None,
        instead: Mapping[Kind, Answer] | None = None,
        flip: tuple[int, int] | None = None,
        ends_at: int | None = None,
        mute: bool = False,
        sip: int | None = None,
        takes: float = 0.0,
        through: Callable[[trio.abc.Stream], trio.abc.Stream] | None = None,
    ) -> None:
        self.retained: Final = dict(retained or {})
        self.connack = connack
        self.refused = set(refused)
        self.queue = queue
        self.instead = dict(instead or {})
        self.flip = flip
        self.ends_at = ends_at
        self.mute = mute
        self.sip = sip
        self.takes = takes
        self.through = through
        self.connections: Final[list[Connection]] = []
        self.dialled: Final[list[tuple[str, int, ssl.SSLContext | None]]] = []
        """With what `dial` was called."""

    async def dial(self, host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
        """Connect to it, whatever host and port."""
        await trio.sleep(self.takes)
        self.dialled.append((host, port, tls))
        stream = self.connect().stream
        return stream if self.through is None else self.through(stream)

    def connect(self) -> Connection:
        """A new connection. Its `Connection.stream` is the client's end."""
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Be this broker at the end of a real stream, until the client hangs up. What comes later is answers only."""
        connection = self.connect()
        connection.hold()
        async with stream:
            async for data in stream:
                connection.take(bytes(data))
                if said := connection.take_said():
                    await stream.send_all(said)
                if connection.hung_up:
                    break

    @property
    def connection(self) -> Connection:
        """The newest."""
        return self.connections[-1]

    def publish(self, topic: str, payload: bytes | str) -> None:
        """As a Homie device publishes, retained; subscribers have it now."""
        raw = payload.encode() if isinstance(payload, str) else payload
        self.retained[topic] = raw
        if not raw:
            del self.retained[topic]
        for connection in self.connections:
            if any(matches(each, topic) for each in connection.filters):
                connection.say(packets.publish(topic, raw))


class Connection:
    """One client's connection, from the broker's end."""

    def __init__(self, broker: Broker) -> None:
        self.broker: Final = broker
        self.received: Final[list[Packet]] = []
        """Whole packets, in order."""
        self.unfinished = b""
        """What came behind them: a packet cut off."""
        self.filters: Final[set[str]] = set()
        self.said = 0
        """How many bytes were said, those that were then held back or spoilt included."""
        self._held: bytearray | None = None
        self._reading = trio.Event()
        self._reading.set()
        self.hung_up = False
        """Whether `hang_up` was called, be it by itself behind a DISCONNECT."""
        self._room: int | None = None
        self._closed: set[str] = set()
        self._send = MemorySendStream(self._read, close_hook=lambda: self._closed.add("send"))
        self._receive = MemoryReceiveStream(close_hook=lambda: self._closed.add("receive"))
        self.stream: Final = trio.StapledStream(self._send, self._receive)
        """The client's end."""

    # --- what the client did ---

    @property
    def kinds(self) -> list[Kind]:
        """Of what was received."""
        return [packet.kind for packet in self.received]

    def of(self, kind: Kind) -> list[Packet]:
        """What was received of this kind."""
        return [packet for packet in self.received if packet.kind is kind]

    @property
    def closed(self) -> bool:
        """Whether the client has closed its end, both ways."""
        return self._closed == {"send", "receive"}

    @property
    def said_goodbye(self) -> bool:
        """Whether there was a DISCONNECT, and nothing behind it."""
        return self.kinds[-1:] == [Kind.DISCONNECT] and self.kinds.count(Kind.DISCONNECT) == 1 and not self.unfinished

    # --- what a test may do ---

    def say(self, data: bytes) -> None:
        """Send anything."""
        broker, offset = self.broker, self.said
        self.said += len(data)
        if broker.flip is not None and offset <= broker.flip[0] < self.said:
            spoilt = bytearray(data)
            spoilt[broker.flip[0] - offset] ^= broker.flip[1]
            data = bytes(spoilt)
        if broker.ends_at is not None and self.said > broker.ends_at:
            self._put(data[: max(0, broker.ends_at - offset)])
            if not broker.mute:
                self.hang_up()
        else:
            self._put(data)

    def hold(self) -> None:
        """Hold back what is said from now on."""
        self._held = self._held or bytearray()

    def release(self) -> None:
        """Send what was held back, in one piece, and hold nothing back any more."""
        data = self.take_said()
        self._held = None
        self._put(data)

    def take_said(self) -> bytes:
        """What was held back, or was said to nobody's stream."""
        data = bytes(self._held or b"")
        self._held = bytearray()
        return data

    def freeze(self) -> None:
        """Read nothing any more: a client that sends must wait."""
        self._reading = trio.Event()

    def thaw(self) -> None:
        """Read again."""
        self._reading.set()

    def hang_up(self) -> None:
        """Send nothing any more, and let the client know; what it sends breaks."""
        if not self.hung_up and "receive" not in self._closed:
            self._receive.put_eof()
        self.hung_up = True

    # --- what it does by itself ---

    def _put(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
        elif data and not self.hung_up and "receive" not in self._closed:
            self._receive.put_data(data)

    async def _read(self) -> None:
        """Take what the client sends; runs within its ``send_all``."""
        await self._reading.wait()
        if self.hung_up:
            raise trio.BrokenResourceError("the broker has hung up")
        with contextlib.suppress(trio.WouldBlock):  # all is read
            while True:
                self.take(bytes(self._send.get_data_nowait(self.broker.sip)))
                if self.broker.sip is not None:
                    await trio.lowlevel.checkpoint()

    def take(self, data: bytes) -> None:
        """Answer what came."""
        self._room = self.broker.queue
        *whole, self.unfinished = _cut(self.unfinished + data)
        for raw in whole:
            body = raw[_header(raw) :]
            packet = Packet(Kind(raw[0] & 0xF0), body, trio.current_time())
            self.received.append(packet)
            self.broker.instead.get(packet.kind, Connection.answer)(self, packet)

    def answer(self, packet: Packet) -> None:
        """What a good broker does about a packet."""
        match packet.kind:
            case Kind.CONNECT:
                self.say(packets.connack(self.broker.connack))
                if self.broker.connack:
                    self.hang_up()
            case Kind.SUBSCRIBE:
                self._subscribe(packet)
            case Kind.UNSUBSCRIBE:
                self.filters.difference_update(packet.texts)
                self.say(packets.unsuback(packet.mid))
            case Kind.PINGREQ:
                self.queue(packets.pingresp())
            case Kind.DISCONNECT:
                self.hang_up()
            case Kind.PUBLISH:
                raise AssertionError("the library publishes nothing yet")

    def _subscribe(self, packet: Packet) -> None:
        granted = [each for each in packet.texts if each not in self.broker.refused]
        self.filters.update(granted)
        self.say(packets.suback(packet.mid, [0 if each in granted else 0x80 for each in packet.texts]))
        for topic, payload in list(self.broker.retained.items()):
            if any(matches(each, topic) for each in granted):
                self.queue(packets.publish(topic, payload, retain=True))

    def queue(self, packet: bytes) -> None:
        """Send a packet if there is room in the queue for it."""
        if self._room is None or self._room > 0:
            self.say(packet)
        if self._room is not None:
            self._room -= 1


def _header(raw: bytes) -> int:
    """The length of a packet's fixed header."""
    return 2 + sum(1 for index in range(1, 4) if all(byte & 0x80 for byte in raw[1 : 1 + index]))


def _cut(data: bytes) -> Iterator[bytes]:
    """The whole packets of ``data``, and last what is behind them."""
    while len(data) > 1 and any(byte < 0x80 for byte in data[1:5]):
        header = _header(data)
        size = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(data[1:header]))
        if header + size > len(data):
            break
        yield data[: header + size]
        data = data[header + size :]
    yield data


class Pieces(trio.abc.Stream):
    """A stream whose reader gets it in pieces: of so many bytes each, and the rest as it comes."""

    def __init__(self, stream: trio.abc.Stream, sizes: Iterable[int]) -> None:
        self._stream = stream
        self._sizes = iter(sizes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Not in pieces."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As of the stream inside."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next piece, or less."""
        return await self._stream.receive_some(next(self._sizes, max_bytes))

    async def aclose(self) -> None:
        """As of the stream inside."""
        await self._stream.aclose()
