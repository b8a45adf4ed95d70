"""A broker and a device in memory, and a link to them that stalls, lags, freezes and breaks where a schedule says so.

The `Broker` keeps the independent log: what a client handed to its stream and when, what was read from it, when a link
was lost and closed (`Event`, in the one order in which it happened), and every command that the device has received.

It is no task: what it does it does within the client's own ``send_all``, or when a timer of the schedule's is due.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import trio

from span_trio import SpanPanelConnectionError
from span_trio.mqtt.framing import Framer
from span_trio.simulator.broker import packets
from span_trio.simulator.broker.packets import PacketType

from .commands_house import OTHERS, PLANS, ROOT, House, topic

__all__ = ["Broker", "Delivery", "Event", "Heard"]

After = Callable[[float, Callable[[], None]], None]
"""Have something done so many seconds from now."""


class Event(NamedTuple):
    """Something that happened at the client's end of a link, or to a call.

    Kinds: ``begun``, ``wrote`` (with a `packets.Publish`), ``asked`` (SUBSCRIBE), ``pinged``; ``stalled`` (it must wait
    until it may write); ``read`` (with a `Delivery`); ``lost`` (it learns so from the stream), ``closed`` (by itself).
    Of calls, with the call: ``called``, ``ended``. Of all: ``closing``, ``left``, ``slept`` (with the seconds).
    """

    at: float
    kind: str
    link: int
    what: Any = None


class Delivery(NamedTuple):
    """What the broker sent: ``connack``, ``suback``, ``puback``, ``pingresp``, ``message`` or ``retained``.

    Of a ``pingresp``, ``mid`` says which ping of its link it answers, which no client can see.
    """

    kind: str
    topic: str = ""
    payload: bytes = b""
    mid: int = 0


class Heard(NamedTuple):
    """A command that the device has received."""

    at: float
    link: int
    topic: str
    payload: bytes
    was_ready: bool


class Pipe:
    """One direction of a link: first in, first out, with a delay; while it is frozen nothing comes out."""

    def __init__(self, after: After, deliver: Callable[[Any], None]) -> None:
        self.delay = 0.0
        self.frozen = False
        self._after = after
        self._deliver = deliver
        self._items: deque[tuple[float, Any]] = deque()

    def push(self, item: Any) -> None:
        self._items.append((trio.current_time() + self.delay, item))
        if self.delay:
            self._after(self.delay, self.flow)
        self.flow()

    def flow(self) -> None:
        while self._items and not self.frozen and self._items[0][0] <= trio.current_time() + 1e-9:
            self._deliver(self._items.popleft()[1])

    def thaw(self) -> None:
        self.frozen = False
        self.flow()

    def clear(self) -> None:
        self._items.clear()


class Link(trio.abc.Stream):
    """The client's end of a stream, with the broker's end of it in plain sight."""

    def __init__(self, broker: Broker, number: int) -> None:
        self.broker = broker
        self.number = number
        self.up = Pipe(broker.after, self._arrive)
        self.down = Pipe(broker.after, self._come)
        self.breaks_at: float | None = None
        """Which share of what the client sends next still leaves, before the link breaks; ``None``: it does not."""
        self.cut = False
        """Whether the broker hangs up in the middle of the next packet that it sends."""
        self.subscribed = False
        self.pings = 0
        """How many the broker has taken."""
        self._framer = Framer()
        self._sent: deque[tuple[int, packets.ClientPacket]] = deque()
        self._handed = self._arrived = 0  # bytes
        self._room = trio.Event()
        self._room.set()
        self._inbox = bytearray()
        self._marks: deque[tuple[int, Delivery]] = deque()
        self._come_by = self._read = 0  # bytes
        self._ended = False  # the broker says nothing more
        self._broken = False
        self._closed = False
        self._lingers = True  # and delivers what was written
        self._news = trio.Event()

    def _note(self, kind: str, what: object = None) -> None:
        self.broker.note(kind, self.number, what)

    # --- the client's ---

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        raw, waited = bytes(data), False
        self._note_sent(raw)
        if self.breaks_at is not None:
            self.up.push(raw[: int(len(raw) * self.breaks_at)])
            self.reset(heard=True)
        elif not self._room.is_set():  # a few bytes fit
            self.up.push(raw[:3])
            raw = raw[3:]
            await self._room.wait()
            waited = True
        if self._broken:
            self._note("lost")
            raise trio.BrokenResourceError
        self.up.push(raw)
        if not waited:  # as of a socket
            await trio.lowlevel.checkpoint()

    def _note_sent(self, raw: bytes) -> None:
        for frame in self._framer.frames(raw):
            packet = packets.decode(frame)
            self._handed += len(frame.raw)
            self._sent.append((self._handed, packet))
            match packet:
                case packets.Publish():
                    self._note("wrote", packet)
                case packets.PingReq():
                    self._note("pinged")
                case packets.Subscribe():
                    self._note("asked")
                case _:
                    pass

    async def wait_send_all_might_not_block(self) -> None:
        if self._room.is_set():
            await trio.lowlevel.checkpoint()
        else:
            await self._room.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self._inbox or self._ended or self._broken):
            self._news = trio.Event()
            await self._news.wait()
        if self._broken:
            self._note("lost")
            raise trio.BrokenResourceError
        data = bytes(self._inbox[:max_bytes])
        del self._inbox[:max_bytes]
        self._read += len(data)
        while self._marks and self._marks[0][0] <= self._read:
            self._note("read", self._marks.popleft()[1])
        if not data:
            self._note("lost")
        return data

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """As of a socket; the one option that there is."""
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self._lingers = struct.unpack("ii", value) != (1, 0)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._lingers:
                self.up.clear()
            self.subscribed = False
            self._note("closed")
            self._room.set()
        await trio.lowlevel.checkpoint()

    # --- the broker's ---

    @property
    def is_open(self) -> bool:
        """Whether the broker may still say something."""
        return not (self._ended or self._broken or self._closed)

    def say(self, data: bytes, delivery: Delivery) -> None:
        if self.cut:
            self.down.push((data[: len(data) // 2], None))
            self.hang_up()
        else:
            self.down.push((data, delivery))

    def hang_up(self) -> None:
        """Say nothing more; what the client sends is heard."""
        self.subscribed = False
        self.cut = False
        self.down.push(None)

    def reset(self, *, heard: bool) -> None:
        """Break it at once; what the client has sent may still be heard."""
        self._broken = True
        self.subscribed = False
        self.down.clear()
        if not heard:
            self.up.clear()
        self._room.set()
        self._news.set()

    def stall(self) -> None:
        """Take no more bytes from the client."""
        if not self._broken and not self._closed:
            self._note("stalled")
            self._room = trio.Event()

    def unstall(self) -> None:
        self._room.set()

    def _arrive(self, data: bytes) -> None:
        self._arrived += len(data)
        while self._sent and self._sent[0][0] <= self._arrived:
            self.broker.take(self, self._sent.popleft()[1])

    def _come(self, item: tuple[bytes, Delivery | None] | None) -> None:
        if item is None:
            self._ended = True
        elif not self._ended:
            data, delivery = item
            self._inbox += data
            self._come_by += len(data)
            if delivery is not None:
                self._marks.append((self._come_by, delivery))
        self._news.set()


class Broker:
    """A broker, and the one device behind it.

    Args:
        after: see `After`.
        house: whose device it is.
        plans: how commands are answered, one after the other, and over again.
    """

    def __init__(self, after: After, house: House, plans: tuple[str, ...]) -> None:
        self.after: Final = after
        self.house: Final = house
        self.retained: Final = dict(house.retained)
        self.events: Final[list[Event]] = []
        self.heard: Final[list[Heard]] = []
        self.links: Final[list[Link]] = []
        self.refuses = False
        self.deaf_to_pings = False
        self.pings_wait = 0.0
        self._plans = plans

    def note(self, kind: str, link: int, what: object = None) -> None:
        self.events.append(Event(trio.current_time(), kind, link, what))

    @property
    def link(self) -> Link:
        """The newest."""
        return self.links[-1]

    async def dial(self, *_: object) -> trio.abc.Stream:
        """A `span_trio.Dialer`."""
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise SpanPanelConnectionError("nobody listens", answered=True)
        link = Link(self, len(self.links))
        self.links.append(link)
        self.note("begun", link.number)
        return link

    # --- the broker ---

    def take(self, link: Link, packet: packets.ClientPacket) -> None:
        match packet:
            case packets.Connect():
                link.say(packets.encode_connack(0), Delivery("connack"))
            case packets.Subscribe(mid=mid, filters=filters):
                link.subscribed = True
                link.say(packets.encode_suback(mid, [0 for _ in filters]), Delivery("suback", mid=mid))
                self.replay(link)
            case packets.Unsubscribe(mid=mid):
                link.subscribed = False
                link.say(packets.encode_ack(PacketType.UNSUBACK, mid), Delivery("unsuback", mid=mid))
            case packets.PingReq():
                link.pings += 1
                self._answer_ping(link, link.pings)
            case packets.Disconnect():
                link.hang_up()
            case packets.Publish():
                self.publish(packet.topic, packet.payload, retain=False)  # it subscribes to what it commands, too
                self._obey(link, packet)
            case _:
                raise AssertionError(packet)

    def _answer_ping(self, link: Link, number: int) -> None:
        def answer() -> None:
            if link.is_open:
                link.say(packets.PINGRESP, Delivery("pingresp", mid=number))

        if self.deaf_to_pings:
            return
        if self.pings_wait:
            self.after(self.pings_wait, answer)
        else:
            answer()

    def replay(self, link: Link) -> None:
        """All that is retained, as such."""
        for name, payload in list(self.retained.items()):
            self._tell(link, name, payload, retained=True)

    def publish(self, name: str, payload: bytes, *, retain: bool = True) -> None:
        """A live message, to whoever has subscribed."""
        if retain and not (self.house.event and name.startswith(topic(self.house.event))):
            self.retained[name] = payload
            if not payload:
                del self.retained[name]
        for link in self.links:
            self._tell(link, name, payload)

    def _tell(self, link: Link, name: str, payload: bytes, *, retained: bool = False) -> None:
        if link.subscribed and link.is_open:
            data = packets.encode_publish(name, payload, retain=retained)
            link.say(data, Delivery("retained" if retained else "message", name, payload))

    # --- the device ---

    def _obey(self, link: Link, command: packets.Publish) -> None:
        ready = self.retained.get(topic(f"{ROOT}/$state")) == b"ready"
        self.heard.append(Heard(trio.current_time(), link.number, command.topic, command.payload, ready))
        plan = PLANS[self._plans[(len(self.heard) - 1) % len(self._plans)]]
        for delay, deed in plan:
            if delay:
                self.after(delay, lambda deed=deed: self._do(deed, link, command))  # type: ignore[misc]
            else:
                self._do(deed, link, command)

    def _do(self, deed: str, link: Link, command: packets.Publish) -> None:  # noqa: C901 - a table would be no shorter
        name = command.topic.removesuffix("/set")
        other = OTHERS.get(command.payload, b"")
        match deed:
            case "ack":
                if command.qos and link.is_open:
                    link.say(packets.encode_ack(PacketType.PUBACK, command.mid), Delivery("puback", mid=command.mid))
            case "value":
                if name.endswith("/relay"):
                    self.publish(f"{name}-requester", b"USER")
                self._report(name, command.payload)
            case "other":
                self._report(name, other)
            case "target":
                self.publish(f"{name}/$target", command.payload)
            case "other target":
                self.publish(f"{name}/$target", other)
            case "no target":
                self.publish(f"{name}/$target", b"")
            case "stored":
                self.retained[name] = command.payload
                for each in self.links:
                    self._tell(each, name, command.payload, retained=True)
            case "lost" | "ready":
                self.publish(topic(f"{ROOT}/$state"), deed.encode())
            case "gone" | "there":
                device = name.split("/")[2]
                self.publish(topic(f"{device}/$state"), b"lost" if deed == "gone" else b"ready")
            case "nonsense":
                self.publish(name, b"\xff")
            case _:
                raise AssertionError(deed)

    def _report(self, name: str, payload: bytes) -> None:
        """It is so: of all that is the same piece of hardware."""
        self.publish(name, payload)
        path = name.removeprefix(topic(""))
        for other in sorted(self.house.hardware(path, self.retained.get(self.house.sharing, b"")) - {path}):
            self.publish(topic(other), payload)

    def values(self) -> Iterator[tuple[str, bytes]]:
        """What it has published, its ``$state`` and ``$description`` apart."""
        return ((name, payload) for name, payload in list(self.retained.items()) if "$" not in name)
