"""What comes out of a nursery of ours, and what may be awaited while an exception is in flight."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream

from span_trio import get_v2_status
from span_trio.background import (
    close_forcefully,
    closed_on_failure,
    interrupt_in,
    open_background,
    undisturbed,
    ungrouped_interrupts,
)
from span_trio.errors import SpanPanelInternalError
from span_trio.link import dial

pytestmark = pytest.mark.virtual_time

Steps = Callable[[], Awaitable[object]]


async def raised(function: Steps) -> BaseException | None:
    try:
        await function()
    except BaseException as error:  # noqa: BLE001 - any
        return error
    return None


class Resource(trio.abc.AsyncResource):
    """Takes a while to close, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.closed = False
        self.error = error

    async def aclose(self) -> None:
        try:
            await trio.sleep(1)
        finally:
            self.closed = True
        if self.error is not None:
            raise self.error


class Rude(Resource):
    """Raises without waiting for anything."""

    async def aclose(self) -> None:
        self.closed = True
        raise self.error or AssertionError


# --- what is awaited on the way out ---


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit(3), RuntimeError("a bug")], ids=repr)
async def test_a_cancellation_does_not_replace_the_exception_in_flight(error: BaseException) -> None:
    resource = Resource()

    async def fail() -> None:
        try:
            raise error
        finally:
            await close_forcefully(resource)

    with trio.CancelScope() as scope:
        scope.cancel()
        assert await raised(fail) is error
    assert resource.closed
    assert trio.current_time() == 0


async def test_what_closing_raises_is_logged_and_replaces_nothing(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("in flight")

    async def fail() -> None:
        try:
            raise error
        finally:
            await close_forcefully(Rude(RuntimeError("of closing")))

    assert await raised(fail) is error
    assert "of closing" in caplog.text


@pytest.mark.parametrize("error", [trio.BrokenResourceError(), trio.ClosedResourceError()], ids=repr)
async def test_what_was_closed_or_broken_already_is_no_news(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await close_forcefully(Rude(error))
    assert caplog.text == ""


async def test_ctrl_c_while_closing_replaces_what_was_in_flight() -> None:
    interrupt = KeyboardInterrupt()

    async def fail() -> None:
        try:
            raise ValueError
        finally:
            await close_forcefully(Rude(interrupt))

    assert await raised(fail) is interrupt


async def test_ctrl_c_is_not_lost_in_a_stapled_stream() -> None:
    """trio closes the second half in a ``finally``, where a cancellation takes the place of the ctrl-C."""
    interrupt = KeyboardInterrupt()

    def hook() -> None:
        raise interrupt

    stream = trio.StapledStream(MemorySendStream(close_hook=hook), MemoryReceiveStream())
    assert await raised(lambda: close_forcefully(stream)) is interrupt


async def test_a_ctrl_c_that_was_handled_before_is_not_raised_again() -> None:
    stream = trio.StapledStream(MemorySendStream(), MemoryReceiveStream())
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        await close_forcefully(stream)


async def test_undisturbed_waits_no_longer_than_it_is_told() -> None:
    await undisturbed(trio.sleep, 10, within=2)
    assert trio.current_time() == 2


@pytest.mark.parametrize("fails", [True, False])
async def test_a_resource_is_closed_on_failure_only(fails: bool) -> None:
    resource, error = Resource(), ValueError()

    async def block() -> None:
        async with closed_on_failure(resource):
            if fails:
                raise error

    assert await raised(block) is (error if fails else None)
    assert resource.closed == fails


# --- what comes out of a nursery ---


@pytest.mark.parametrize(
    "error", [ValueError(), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError(), OSError()])], ids=repr
)
async def test_the_blocks_own_error_comes_out_unchanged(error: BaseException) -> None:
    async def block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error

    assert await raised(block) is error
    assert error.__context__ is None


async def fail_with(error: BaseException) -> None:
    await trio.sleep(1)
    raise error


async def test_a_task_that_fails_is_one_internal_error_and_ends_the_block() -> None:
    bug = ZeroDivisionError()

    async def block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(fail_with, bug)
            await trio.sleep_forever()

    error = await raised(block)
    assert type(error) is SpanPanelInternalError
    assert isinstance(error.__cause__, ExceptionGroup)
    assert error.__cause__.exceptions == (bug,)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("own", [None, ValueError()], ids=repr)
async def test_ctrl_c_in_a_task_comes_out_before_all_others_and_in_no_group(
    own: Exception | None, interrupt: BaseException
) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(fail_with, interrupt)
            try:
                await trio.sleep_forever()
            finally:
                if own is not None:
                    raise own

    assert await raised(block) is interrupt


@pytest.mark.parametrize("shielded", [True, False])
async def test_a_cancellation_from_outside_is_one_cancellation(shielded: bool) -> None:
    seen: list[BaseException | None] = []

    async def task() -> None:
        await trio.sleep_forever()

    async def block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(task)
            with trio.CancelScope(shield=shielded):
                await trio.sleep(5)

    with trio.move_on_after(1) as scope:
        try:
            await block()
        except BaseException as error:
            seen.append(error)
            raise
    assert scope.cancelled_caught
    assert [type(error) for error in seen] == [trio.Cancelled]


async def test_a_group_of_the_block_that_holds_a_cancellation_keeps_what_else_is_in_it() -> None:
    own = ValueError()

    async def block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise own

    with trio.move_on_after(1):
        error = await raised(block)
        assert isinstance(error, BaseExceptionGroup)
        assert error.subgroup(trio.Cancelled) is not None or error.exceptions == (own,)
        rest = error.split(trio.Cancelled)[1]
        assert rest is not None
        assert rest.exceptions == (own,)


@pytest.mark.parametrize("through", ["dial", "REST"])
async def test_ctrl_c_in_a_nursery_of_trio_s_own_comes_out_as_itself(
    through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trio.open_tcp_stream` races addresses in one; httpx uses it, too."""
    interrupt = KeyboardInterrupt()

    async def struck(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("Exceptions from Trio nursery", [BaseExceptionGroup("inner", [interrupt])])

    async def connect() -> None:
        if through == "dial":
            await dial("panel", 8883, None)
        else:
            await get_v2_status("panel")

    monkeypatch.setattr(trio, "open_tcp_stream", struck)
    assert await raised(connect) is interrupt


async def test_other_groups_are_none_of_our_business() -> None:
    group = ExceptionGroup("mine", [ValueError()])

    async def block() -> None:
        with ungrouped_interrupts():
            await trio.lowlevel.checkpoint()
            raise group

    assert await raised(block) is group


def test_an_interrupt_is_found_however_deep_it_is() -> None:
    interrupt = KeyboardInterrupt()
    deep = BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [OSError(), interrupt])])
    assert interrupt_in(deep) is interrupt
    assert interrupt_in(interrupt) is interrupt
    assert interrupt_in(ValueError()) is None
    assert interrupt_in(None) is None
