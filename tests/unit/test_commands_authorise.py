"""``authorise``: asked before, against the deadline; and what was true before it thought is asked again behind it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Awaitable, Callable

import pytest
import trio

from span_trio import (
    Command,
    CommandRecord,
    CommandResult,
    Control,
    RefusalReason,
    SpanPanelClosedError,
    SpanPanelCommandError,
    SpanPanelLockedError,
    SpanPanelNotAuthorisedError,
    SpanPanelStaleDataError,
    SpanPanelValidationError,
)
from tests.unit.commanding import RELAY, Desk, offline
from tests.unit.link.house import topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time


def takes(seconds: float) -> Callable[[Command], Awaitable[None]]:
    """A program that says yes after a while."""

    async def authorise(_command: Command) -> None:
        await trio.sleep(seconds)

    return authorise


class VetoError(Exception):
    """A user's own."""


async def test_it_is_asked_once_with_the_command_before_anything_is_written() -> None:
    asked: list[Command] = []
    desk = Desk()

    async def authorise(command: Command) -> None:
        await trio.sleep(1)
        assert desk.orders == []
        asked.append(command)

    async with desk.opened(authorise=authorise) as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert asked == [outcome.command]
        assert (asked[0].control, asked[0].subject, asked[0].wanted) == (Control.RELAY, KITCHEN, "OPEN")
        assert outcome.result is CommandResult.CONFIRMED
        assert outcome.sent_at is not None
        assert outcome.sent_at.monotonic == 1.0


async def test_it_is_not_asked_for_what_is_refused_anyway() -> None:
    async def authorise(command: Command) -> None:
        raise AssertionError(str(command))

    async with Desk().opened(authorise=authorise) as panel:
        for circuit, state in (("nope", "OPEN"), (KITCHEN, "BOGUS")):
            with pytest.raises(SpanPanelCommandError):
                await panel.set_circuit_relay(circuit, state)


async def test_lesson_e_its_exception_reaches_the_caller_as_the_same_object_with_nothing_added() -> None:
    veto = VetoError("not at night")
    heard: list[CommandRecord] = []

    async def authorise(_command: Command) -> None:
        await trio.lowlevel.checkpoint()
        raise veto

    async def audit(record: CommandRecord) -> None:
        heard.append(record)

    desk = Desk()
    async with desk.opened(authorise=authorise, audit=audit) as panel:
        with pytest.raises(VetoError) as caught:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert caught.value is veto
        assert (veto.__cause__, veto.__context__, veto.__suppress_context__) == (None, None, False)
        assert getattr(veto, "__notes__", []) == []
        await trio.sleep(1)
        assert [(record.error, record.outcome) for record in heard] == [(veto, None)]
    assert desk.orders == []


async def test_it_may_raise_a_group_or_a_refusal_of_ours_too() -> None:
    errors: list[Exception] = [
        ExceptionGroup("two", [VetoError("a"), VetoError("b")]),
        SpanPanelNotAuthorisedError(RefusalReason.NOT_AUTHORISED, "by hand"),
    ]
    raised: list[Exception] = []

    async def authorise(_command: Command) -> None:
        await trio.lowlevel.checkpoint()
        raise errors[len(raised)]

    async with Desk().opened(authorise=authorise) as panel:
        for error in errors:
            try:
                await panel.set_circuit_relay(KITCHEN, "OPEN")
            except Exception as caught:  # noqa: BLE001 - whatever
                raised.append(caught)
            assert raised[-1] is error


@pytest.mark.parametrize("answer", [None, True, False, 0, 1, "", "yes", [1], ...])
async def test_only_none_and_true_are_a_yes(answer: object) -> None:
    goes = answer is None or answer is True

    async def authorise(_command: Command) -> object:
        await trio.lowlevel.checkpoint()
        return answer

    desk = Desk()
    async with desk.opened(authorise=authorise) as panel:
        if goes:
            assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).is_done
        else:
            with pytest.raises(SpanPanelNotAuthorisedError) as caught:
                await panel.set_circuit_relay(KITCHEN, "OPEN")
            assert caught.value.reason is RefusalReason.NOT_AUTHORISED
    assert len(desk.orders) == goes


async def test_one_that_hangs_refuses_at_the_deadline() -> None:
    desk = Desk()
    async with desk.opened(authorise=takes(math.inf)) as panel:
        with pytest.raises(SpanPanelNotAuthorisedError, match="for lack of an answer in time") as caught:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert trio.current_time() == 5.0
        assert caught.value.reason is RefusalReason.NOT_AUTHORISED
        assert "Cancelled" not in "".join(traceback.format_exception(caught.value))
    assert desk.orders == []


async def test_one_that_cannot_be_cancelled_and_says_yes_too_late_refuses_as_well() -> None:
    async def authorise(_command: Command) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)

    desk = Desk()
    async with desk.opened(authorise=authorise) as panel:
        with pytest.raises(SpanPanelNotAuthorisedError, match="in time"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
    assert desk.orders == []


async def test_its_time_counts_against_the_deadline() -> None:
    desk = Desk(answer=lambda *_: None)
    async with desk.opened(authorise=takes(1.5)) as panel:
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is CommandResult.UNCONFIRMED
        assert trio.current_time() == 5.0


async def test_who_is_being_asked_keeps_nobody_else_from_the_property() -> None:
    async def authorise(command: Command) -> None:
        await trio.sleep(3 if command.wanted == "CLOSED" else 0)

    desk = Desk()
    async with desk.opened(authorise=authorise) as panel, trio.open_nursery() as nursery:
        nursery.start_soon(panel.set_circuit_relay, KITCHEN, "CLOSED")
        await trio.sleep(0.5)
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).is_done
        assert trio.current_time() == 0.5
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_it_may_command_by_itself_and_even_the_same_property() -> None:
    desk = Desk()

    async def authorise(command: Command) -> None:
        if command.wanted == "OPEN" and not desk.orders:
            await panel.set_circuit_priority(KITCHEN, "NEVER")
            await panel.set_circuit_relay(KITCHEN, "CLOSED")

    async with desk.opened(authorise=authorise) as panel:
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).is_done
    assert desk.payloads == [b"NEVER", b"OPEN"]


async def test_one_that_is_no_async_function_is_refused_and_nothing_is_sent() -> None:
    desk = Desk()
    async with desk.opened(authorise=lambda _command: None) as panel:
        with pytest.raises(SpanPanelValidationError, match="what authorise returns must be awaitable"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert panel.live
    assert desk.orders == []


# --- what changes while it thinks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [False, True], ids=["away", "and back"])
async def test_i10_the_link_of_the_call_has_ended_meanwhile(back: bool) -> None:
    desk = Desk()

    async def authorise(_command: Command) -> None:
        await desk.lose(panel)
        if back:
            await panel.wait_live()

    async with desk.opened(authorise=authorise) as panel:
        with pytest.raises(SpanPanelStaleDataError):
            await panel.set_circuit_relay(KITCHEN, "OPEN", within=30)
        assert panel.live is back
        await panel.wait_live()
        await trio.sleep(60)
    assert desk.orders == []


async def test_i10_the_panel_is_lost_meanwhile() -> None:
    desk = Desk()

    async def authorise(_command: Command) -> None:
        desk.broker.publish(topic("$state"), "lost")
        await offline(panel)

    async with desk.opened(authorise=authorise) as panel:
        with pytest.raises(SpanPanelStaleDataError, match="lost"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
    assert desk.orders == []


async def test_it_is_locked_meanwhile() -> None:
    desk = Desk()

    async def authorise(_command: Command) -> None:
        desk.broker.publish(topic(f"{KITCHEN}/always-on"), "true")
        await panel.ping()

    async with desk.opened(authorise=authorise) as panel:
        with pytest.raises(SpanPanelLockedError, match="always on"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
    assert desk.orders == []


async def test_it_comes_to_be_so_meanwhile() -> None:
    desk = Desk()

    async def authorise(_command: Command) -> None:
        desk.broker.publish(RELAY, "OPEN")
        await panel.ping()

    async with desk.opened(authorise=authorise) as panel:
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is CommandResult.NO_OP
    assert desk.orders == []


async def test_the_panel_is_closed_meanwhile() -> None:
    desk = Desk()
    closed = trio.Event()
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(SpanPanelClosedError):
                await panel.set_circuit_relay(KITCHEN, "OPEN", within=60)
            closed.set()

        async with desk.opened(authorise=takes(5), alone=False) as panel:
            nursery.start_soon(call)
            await trio.sleep(1)
        with trio.fail_after(10):
            await closed.wait()
    assert desk.orders == []
