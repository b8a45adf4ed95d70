"""What the tests of the shell share: a small panel on a broker in memory, open or not, and a session with it."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import trio
from hypothesis import settings
from trio.testing import MockClock

from span_trio import PanelOptions, SpanCredentials, SpanPanel, open_span_panel
from span_trio.homie import Message, Obstacle, Request
from span_trio.link import Answered, Link, LinkEvent, LinkLost
from span_trio.mqtt import Codec
from tests.unit.link.broker import Broker
from tests.unit.span.helpers import KITCHEN, ROOT, SMALL, describe

__all__ = [
    "CREDENTIALS",
    "DEVICE",
    "OPTIONS",
    "REPLAY",
    "RETAINED",
    "STILL",
    "A",
    "B",
    "Run",
    "SteppingCancel",
    "events_of",
    "fewer",
    "gather",
    "house",
    "logged_in",
    "lost",
    "messages_of",
    "nothing_left",
    "opened",
    "raised",
    "run",
    "run_link",
    "topic",
]

T = TypeVar("T")

STILL: Final = math.inf
"""The ``max_silence`` for a broker behind which nobody speaks: what it has retained is enough."""

OPTIONS: Final = PanelOptions(transport="mqtt", max_silence=STILL)
CREDENTIALS: Final = SpanCredentials(serial_number=ROOT)
DEVICE: Final = Request((f"ebus/5/{ROOT}/#",))
"""All of the house."""

A, B = Request(("a/#",)), Request(("b/#",))
RETAINED: Final = {f"a/{number}": b"%d" % number for number in range(10)}
"""What a session that asks for `A` gets."""
REPLAY: Final = [Message(name, payload, retain=True) for name, payload in RETAINED.items()]

_VALUES: Final = {
    "core/serial-number": ROOT,
    "core/model": "MAIN_32",
    "core/software-version": "spanos2/r202627/05",
    "core/door": "CLOSED",
    "core/relay": "CLOSED",
    f"{KITCHEN}/name": "Kitchen",
    f"{KITCHEN}/relay": "CLOSED",
    f"{KITCHEN}/space": "3",
    f"{KITCHEN}/active-power": "-150.5",
    f"{KITCHEN}/exported-energy": "9001",
}


def topic(path: str, device: str = ROOT) -> str:
    """The topic of a path below a device."""
    return f"ebus/5/{device}/{path}"


def house(changes: Mapping[str, str | bytes | None] | None = None, **description: Any) -> dict[str, bytes]:
    """What a small panel has retained: a core and a kitchen. `changes` by path, ``None`` for what shall be missing."""
    paths: dict[str, str | bytes | None] = {
        "$state": "ready",
        "$description": json.dumps({**describe(SMALL), **description}),
        **_VALUES,
        **(changes or {}),
    }
    return {
        topic(path): payload.encode() if isinstance(payload, str) else payload
        for path, payload in paths.items()
        if payload is not None
    }


fewer: Final = settings(max_examples=settings.default.max_examples // 3)  # type: ignore[union-attr]
"""For what takes milliseconds an example: a third of what the profile says."""


def run(main: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """`trio.run` on a clock of its own, which jumps when all wait: for hypothesis, and for many runs in one test."""
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0), **options)


# --- an open panel ---


def opened(broker: Broker, **options: Any) -> contextlib.AbstractAsyncContextManager[SpanPanel]:
    """The house on this broker: what `open_span_panel` gives."""
    some = PanelOptions(**{"transport": "mqtt", "max_silence": STILL, **options})
    return open_span_panel("panel", credentials=CREDENTIALS, options=some, dialer=broker.dial)


@contextlib.asynccontextmanager
async def nothing_left(broker: Broker) -> AsyncGenerator[None, None]:
    """After the block there is no task more than before, and no stream open."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert all(connection.closed for connection in broker.connections)


async def raised(
    broker: Broker, body: Callable[[SpanPanel], Awaitable[object]] | None = None, **options: Any
) -> BaseException:
    """What comes out of an ``async with`` with this body; without a body, it must not come to that."""
    try:
        async with opened(broker, **options) as panel:
            assert body is not None, "the panel is open"
            await body(panel)
    except BaseException as error:  # noqa: BLE001 - any
        return error
    raise AssertionError("nothing was raised")


# --- a session ---


async def logged_in(broker: Broker, *, keepalive: float = 8, close_grace: float = 1.0, max_packet: int = 4096) -> Link:
    """A link that is ready to be run."""
    codec = Codec(client_id="me", keepalive=int(keepalive), max_packet=max_packet)
    stream = await broker.dial("panel", 1883, None)
    return await Link.start(stream, codec, keepalive=keepalive, close_grace=close_grace, step_timeout=3.0)


class Run(NamedTuple):
    """A link that runs, and what comes of it."""

    link: Link
    events: trio.MemoryReceiveChannel[list[LinkEvent]]
    scope: trio.CancelScope
    done: trio.Event

    async def next(self) -> list[LinkEvent]:
        """The next events; within a minute."""
        with trio.fail_after(60):
            return await self.events.receive()


async def take_answers(
    events: trio.MemoryReceiveChannel[list[LinkEvent]], send: trio.MemorySendChannel[list[LinkEvent]]
) -> None:
    """Hand events on, but for answers to pings, which are taken as they are by a panel."""
    async for batch in events:
        for event in batch:
            if isinstance(event, Answered) and event.waiter is not None:
                event.waiter.set()
        rest = [event for event in batch if not isinstance(event, Answered)]
        if rest:
            await send.send(rest)


@contextlib.asynccontextmanager
async def run_link(broker: Broker, *, channel: int | None = None, **options: Any) -> AsyncGenerator[Run, None]:
    """A session with this broker that runs while the block does.

    With a ``channel`` of that size, nobody takes what the link says but who reads it.
    """
    link = await logged_in(broker, **options)
    send, receive = trio.open_memory_channel[list[LinkEvent]](64 if channel is None else channel)
    taken, rest = trio.open_memory_channel[list[LinkEvent]](1_000_000)
    running = Run(link, rest if channel is None else receive, trio.CancelScope(), trio.Event())

    async def task() -> None:
        with running.scope:
            await link.run(send)
        running.done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        if channel is None:
            nursery.start_soon(take_answers, receive, taken)
        yield running
        running.scope.cancel()
        await running.done.wait()
        send.close()


def events_of(batches: list[list[LinkEvent]]) -> list[LinkEvent | Message]:
    """All events in a row, every message by itself."""
    return [item for batch in batches for event in batch for item in (event if isinstance(event, list) else [event])]


def messages_of(batches: list[list[LinkEvent]]) -> list[Message]:
    """The messages only."""
    return [event for event in events_of(batches) if isinstance(event, Message)]


async def gather(running: Run, *, until: type[LinkEvent] | None = None, seconds: float = 30) -> list[list[LinkEvent]]:
    """What comes until an event of this kind, which must come in time; or all that comes in that time."""
    batches: list[list[LinkEvent]] = []
    with trio.move_on_after(seconds) as scope:
        while until is None or not batches or not isinstance(batches[-1][-1], until):
            batches.append(await running.events.receive())
    assert (until is None) == scope.cancelled_caught, events_of(batches)
    return batches


async def lost(running: Run, *, seconds: float = 30) -> Obstacle:
    """Why the link is lost; nothing else may come."""
    [[event]] = await gather(running, until=LinkLost, seconds=seconds)
    assert isinstance(event, LinkLost)
    await running.done.wait()
    return event.why


# --- cancelling ---


class SteppingCancel(trio.abc.Instrument):
    """Cancels ``scope`` before the ``step``-th step that any task takes, counting from when the scope was set."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.taken = 0
        self.scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.taken += 1
            if self.taken == self.step:
                self.scope.cancel()

    @contextlib.contextmanager
    def cancelling(self) -> Iterator[trio.CancelScope]:
        """What is in here is cancelled when its step has come."""
        with trio.CancelScope() as self.scope:
            yield self.scope
        self.scope = None
