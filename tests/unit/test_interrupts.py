"""Ctrl-C at every moment of a panel: it comes out, as itself, in no group, and nothing is left (I11, I12)."""

from __future__ import annotations

import contextlib
import inspect
import math
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import trio

import span_trio
from span_trio import PanelOptions, SpanCredentials, SpanPanel, SpanPanelInternalError, open_span_panel
from span_trio.link import Link
from tests.unit.link.broker import Broker, Kind
from tests.unit.link.house import CREDENTIALS, house, nothing_left, opened, raised, run, topic
from tests.unit.span.helpers import KITCHEN

OURS = str(Path(span_trio.__file__).parent)
DISCONNECT = b"\xe0\x00"


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, though whoever started the tests may have them ignore it, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


# --- while it closes --------------------------------------------------------------------------------------------------


@attrs.define
class Failing(trio.abc.Stream):
    """Raises on the DISCONNECT."""

    below: trio.abc.Stream
    error: BaseException

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if bytes(data).endswith(DISCONNECT):
            raise self.error
        await self.below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.below.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.below.aclose()


@pytest.mark.virtual_time
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_i12_ctrl_c_in_the_background_while_a_panel_closes_comes_out(error: BaseException) -> None:
    broker = Broker(house(), through=lambda stream: Failing(stream, error))

    async def ends(_: SpanPanel) -> None:
        await trio.lowlevel.checkpoint()

    async with nothing_left(broker):
        assert await raised(broker, ends) is error


@pytest.mark.virtual_time
async def test_i12_a_bug_while_a_panel_closes_comes_out() -> None:
    bug = RuntimeError("a bug")
    broker = Broker(house(), through=lambda stream: Failing(stream, bug))

    async def ends(_: SpanPanel) -> None:
        await trio.lowlevel.checkpoint()

    async with nothing_left(broker):
        error = await raised(broker, ends)
    assert type(error) is SpanPanelInternalError
    assert isinstance(error.__cause__, ExceptionGroup)


def a_broker_that_interrupts() -> Broker:
    """On the goodbye; and then it does not hang up, so that the grace is waited for."""
    return Broker(house(), instead={Kind.DISCONNECT: interrupt})


@pytest.mark.parametrize("own", [None, ValueError("the body's"), ExceptionGroup("the body's", [OSError()])], ids=repr)
def test_i12_ctrl_c_while_it_closes_comes_before_what_the_block_raised(own: Exception | None) -> None:
    broker = a_broker_that_interrupts()

    async def body(_: SpanPanel) -> None:
        await trio.lowlevel.checkpoint()
        if own is not None:
            raise own

    async def main() -> BaseException:  # in the main task, to which ctrl-C goes: a test's is none
        async with nothing_left(broker):
            return await raised(broker, body)

    error = run(main)
    assert type(error) is KeyboardInterrupt
    assert error.__context__ is own
    assert broker.connection.said_goodbye


def test_i12_ctrl_c_while_it_closes_for_a_cancellation_comes_out() -> None:
    broker = a_broker_that_interrupts()

    async def main() -> None:
        async with nothing_left(broker):
            with trio.CancelScope() as scope:
                async with opened(broker):
                    scope.cancel()
                    await trio.sleep_forever()
            raise AssertionError("lost")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert broker.connection.said_goodbye


@pytest.mark.virtual_time
async def test_i12_ctrl_c_in_the_background_outranks_what_the_block_raises_then() -> None:
    """Struck there, it loses the link, and a body that waits for the link gets an error of its own."""
    error = KeyboardInterrupt()

    def strike(*_: object) -> None:
        raise error

    broker = Broker(house())

    async def body(panel: SpanPanel) -> None:
        broker.instead[Kind.PINGREQ] = strike
        await panel.ping()

    async with nothing_left(broker):
        assert await raised(broker, body) is error


# --- at every step ----------------------------------------------------------------------------------------------------


class SteppingInterrupt(trio.abc.Instrument):
    """Ctrl-C before the ``step``-th step that any task takes: trio gives it to the main task, at a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.taken = 0
        self.counts = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.counts:
            self.taken += 1
            if self.taken == self.step:
                interrupt()


async def two_sessions(broker: Broker) -> None:
    async with opened(broker) as panel:
        await panel.ping()
        edges = panel.edges()
        await anext(edges)
        broker.connection.hang_up()
        await anext(edges)
        assert (await anext(edges)).epoch == 2
        broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
        await panel.wait_for(lambda snapshot: snapshot.circuits[KITCHEN].relay_state == "OPEN")
        await trio.sleep(10)


@contextlib.asynccontextmanager
async def ctrl_c_comes_out(seen: list[BaseException]) -> AsyncGenerator[None, None]:
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - any
        seen.append(error)


async def _asks_for_the_serial(broker: Broker) -> None:
    credentials = SpanCredentials()
    options = PanelOptions(transport="mqtt", max_silence=math.inf)
    async with open_span_panel("panel", credentials=credentials, options=options, dialer=broker.dial) as panel:
        await panel.ping()


@pytest.mark.slow
@pytest.mark.parametrize(("use", "steps"), [(two_sessions, 80), (_asks_for_the_serial, 40)])
def test_i11_i12_ctrl_c_at_any_step_comes_out_as_itself_and_says_goodbye(
    use: Callable[[Broker], Awaitable[None]], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins: list[Link] = []
    start = Link.start

    async def recorded(*args: Any, **options: Any) -> Link:
        link = await start(*args, **options)
        logins.append(link)
        return link

    monkeypatch.setattr(Link, "start", recorded)

    async def main(instrument: SteppingInterrupt, broker: Broker) -> list[BaseException]:
        seen: list[BaseException] = []
        async with nothing_left(broker):
            async with ctrl_c_comes_out(seen):
                instrument.counts = True
                await use(broker)
            instrument.counts = False
            async with ctrl_c_comes_out(seen):
                await trio.lowlevel.checkpoint()  # where it is if it came too late for the block
        return seen

    for step in range(1, 1000):
        logins.clear()
        instrument, broker = SteppingInterrupt(step), Broker(house(), sip=9)
        seen = run(main, instrument, broker, instruments=[instrument])
        if instrument.taken < step:
            break
        assert [type(error) for error in seen] == [KeyboardInterrupt], step
        if use is two_sessions and (len(logins) == 2 or (logins and not broker.connections[0].hung_up)):
            assert broker.connection.said_goodbye, step
    assert steps < step < 999


# --- between any two lines --------------------------------------------------------------------------------------------


class Striking:
    """Ctrl-C at the ``number``-th moment at which Python looks for signals: when a function is called, or has ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.passed = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        # Not where a coroutine goes on behind an ``await``: Python does not look there.
        begins = event == "call" and frame.f_lasti <= 12
        if (begins or event == "c_return") and frame.f_code.co_filename.startswith(OURS):
            self.passed += 1
            if self.passed == self.number:
                sys.setprofile(None)
                self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                interrupt()


@pytest.mark.slow
def test_i11_i12_ctrl_c_between_any_two_lines_is_neither_lost_nor_in_a_group() -> None:
    async def main(striking: Striking, broker: Broker) -> None:
        async with nothing_left(broker):
            sys.setprofile(striking)
            await two_sessions(broker)
            sys.setprofile(None)
            await trio.lowlevel.checkpoint()

    number, struck = 1, 0
    while True:
        striking = Striking(number)
        try:
            with pytest.raises(KeyboardInterrupt):
                run(main, striking, Broker(house()))
        except BaseException as error:
            if not striking.where:
                break
            raise AssertionError(f"ctrl-C in {striking.where} came out as {error!r}") from error
        finally:
            sys.setprofile(None)
        struck += 1
        number += 53  # all of them take minutes, and each run begins alike
    assert struck > 50


def test_user_code_in_the_background_may_be_interrupted() -> None:
    """Ctrl-C strikes in what the user gave, though it runs in a task that is protected."""
    seen: list[bool] = []

    async def audit(_: object) -> None:
        seen.append(trio.lowlevel.currently_ki_protected())

    async def main() -> None:
        broker = Broker(house())
        options = PanelOptions(transport="mqtt", max_silence=math.inf)
        async with open_span_panel(
            "panel", credentials=CREDENTIALS, options=options, dialer=broker.dial, audit=audit
        ) as panel:
            with contextlib.suppress(span_trio.SpanPanelError):
                await panel.set_circuit_relay("nobody", "OPEN")
            assert inspect.iscoroutinefunction(audit)

    run(main)
    assert seen == [False]
