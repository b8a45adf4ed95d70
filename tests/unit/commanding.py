"""A small panel in memory that takes commands: what was written to it, byte for byte, and what it does about that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import trio

from span_trio import PanelOptions, SpanPanel, open_span_panel
from tests.unit.link.broker import Broker, Connection, Kind, Packet
from tests.unit.link.house import CREDENTIALS, STILL, house, topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN

__all__ = [
    "LIMIT",
    "PRIORITY",
    "RELAY",
    "SOURCE",
    "Answer",
    "Desk",
    "Narrow",
    "Order",
    "acknowledge",
    "both",
    "ignore",
    "obey",
    "offline",
    "report",
]

RELAY: Final = topic(f"{KITCHEN}/relay")
PRIORITY: Final = topic(f"{KITCHEN}/shed-priority")
SOURCE: Final = topic("core/dominant-power-source")
LIMIT: Final = topic("sd-2231-00042/user-max-charge-current")


class Order(NamedTuple):
    """A PUBLISH as it left the program, and when that was on trio's clock."""

    topic: str
    payload: bytes
    at: float
    mid: int | None
    flags: int

    @property
    def property_topic(self) -> str:
        """What it is about."""
        return self.topic.removesuffix("/set")

    @classmethod
    def of(cls, raw: bytes) -> Order:
        """Read one."""
        start = 2 + sum(1 for byte in raw[1:4] if byte & 0x80)  # in all that tests send, the first byte says it
        body, end = raw[start:], 2 + int.from_bytes(raw[start : start + 2], "big")
        name, rest = body[2:end].decode(), body[end:]
        qos = raw[0] >> 1 & 3
        mid = int.from_bytes(rest[:2], "big") if qos else None
        return cls(name, rest[2:] if qos else rest, trio.current_time(), mid, raw[0] & 0x0F)


class Narrow(trio.abc.Stream):
    """A stream that can be full, as a socket is whose peer reads no more: then nothing of what is sent gets through."""

    def __init__(self, stream: trio.abc.Stream, sent: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._sent = sent
        self._room = trio.Event()
        self._room.set()

    def fill(self) -> None:
        """Be full."""
        self._room = trio.Event()

    def empty(self) -> None:
        """Have room again."""
        self._room.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """When there is room."""
        await self._room.wait()
        self._sent(bytes(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._room.wait()
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of the stream inside."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """As of the stream inside."""
        await self._stream.aclose()


Answer: TypeAlias = "Callable[[Desk, Order], object]"
"""What to do about a command."""


def ignore(_desk: Desk, _order: Order) -> None:
    """Nothing at all."""


def acknowledge(desk: Desk, order: Order) -> None:
    """The broker has it."""
    if order.mid is not None:
        desk.broker.connection.say(packets.puback(order.mid))


def report(desk: Desk, order: Order) -> None:
    """It is so."""
    desk.broker.publish(order.property_topic, order.payload)


def both(*answers: Answer) -> Answer:
    """One after the other."""

    def do(desk: Desk, order: Order) -> None:
        for answer in answers:
            answer(desk, order)

    return do


async def offline(panel: SpanPanel) -> None:
    """Wait until it is told that the panel is not live."""
    async for edge in panel.edges():
        if not edge.online:
            break


obey: Final = both(acknowledge, report)
"""What a good panel does, within the client's own ``send_all``: the value is there before that returns."""


class Desk:
    """The house of `tests.unit.link.house` on a broker that takes commands.

    Args:
        changes: as of `house`.
        answer: what is done about a command.
        description: as of `house`.
    """

    def __init__(
        self,
        changes: Mapping[str, str | bytes | None] | None = None,
        *,
        answer: Answer = obey,
        retained: Mapping[str, bytes] | None = None,
        **description: Any,
    ) -> None:
        self.answer = answer
        self.orders: Final[list[Order]] = []
        """What was written, in order."""
        self.streams: Final[list[Narrow]] = []
        self.broker: Final = Broker(
            house(changes, **description) if retained is None else retained,
            instead={Kind.PUBLISH: self._take},
            through=self._through,
        )

    def _through(self, stream: trio.abc.Stream) -> Narrow:
        self.streams.append(Narrow(stream, self._note))
        return self.streams[-1]

    def _note(self, data: bytes) -> None:
        if data[0] & 0xF0 == Kind.PUBLISH:  # alone in its send: the writer takes one at a time
            self.orders.append(Order.of(data))

    def _take(self, _connection: Connection, _packet: Packet) -> None:
        self.answer(self, self.orders[-1])

    @property
    def stream(self) -> Narrow:
        """The newest."""
        return self.streams[-1]

    @property
    def payloads(self) -> list[bytes]:
        """Of what was written."""
        return [order.payload for order in self.orders]

    async def lose(self, panel: SpanPanel, *, for_: float = 1.0) -> None:
        """Have the link end, and be told of it; dialling takes so long then."""
        self.broker.takes = for_
        self.broker.connection.hang_up()
        await offline(panel)

    @contextlib.asynccontextmanager
    async def opened(
        self,
        *,
        authorise: Callable[..., Any] | None = None,
        audit: Callable[..., Any] | None = None,
        alone: bool = True,
        **options: Any,
    ) -> AsyncGenerator[SpanPanel, None]:
        """The panel, open; and behind it nothing is left, unless the test has tasks that go on."""
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_span_panel(
            "panel",
            credentials=CREDENTIALS,
            options=PanelOptions(**{"transport": "mqtt", "max_silence": STILL, **options}),
            dialer=self.broker.dial,
            authorise=authorise,
            audit=audit,
        ) as panel:
            yield panel
        assert not alone or trio.lowlevel.current_statistics().tasks_living == before
