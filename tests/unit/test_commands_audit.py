"""``audit`` hears of every call, in order, whatever became of it; and stalls nobody."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio

from span_trio import (
    Command,
    CommandOutcome,
    CommandRecord,
    CommandResult,
    SpanPanel,
    SpanPanelClosedError,
    SpanPanelCommandValueError,
    SpanPanelError,
    SpanPanelNotAuthorisedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
)
from tests.unit.commanding import Desk, acknowledge, ignore, obey
from tests.unit.link.house import topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time


class Ear:
    """An observer that remembers, with a checkpoint as any real one has."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.heard: list[CommandRecord] = []

    async def __call__(self, record: CommandRecord) -> None:
        await trio.sleep(self.takes)
        self.heard.append(record)

    @property
    def said(self) -> list[object]:
        """The outcome's result, or the error's type."""
        return [
            record.outcome.result if record.error is None and record.outcome is not None else type(record.error)
            for record in self.heard
        ]


async def hangs(_record: CommandRecord) -> None:
    await trio.sleep_forever()


async def test_lesson_e_it_hears_of_refusals_too_in_the_order_in_which_the_calls_end() -> None:
    ear, desk = Ear(), Desk()
    calls: list[tuple[Callable[[SpanPanel], Awaitable[CommandOutcome]], object]] = [
        (lambda panel: panel.set_circuit_relay(KITCHEN, "OPEN"), CommandResult.CONFIRMED),
        (lambda panel: panel.set_circuit_relay(KITCHEN, "OPEN"), CommandResult.NO_OP),
        (lambda panel: panel.set_circuit_relay(KITCHEN, "BOGUS"), SpanPanelCommandValueError),
        (lambda panel: panel.set_circuit_relay("nope", "OPEN"), SpanPanelUnknownTargetError),
        (lambda panel: panel.set_property("a", "b", "c", "d"), SpanPanelUnknownTargetError),
    ]
    async with desk.opened(audit=ear) as panel:
        for call, becomes in calls:
            if isinstance(becomes, CommandResult):
                outcome = await call(panel)
                await trio.sleep(0.1)
                assert ear.heard[-1].outcome is outcome
                assert ear.heard[-1].command is outcome.command
            else:
                with pytest.raises(SpanPanelError) as caught:
                    await call(panel)
                await trio.sleep(0.1)
                assert ear.heard[-1].error is caught.value
        assert ear.said == [becomes for _, becomes in calls]
        assert panel.statistics().audits_missed == 0


async def test_it_hears_of_what_the_panels_state_refuses_and_of_what_was_not_authorised() -> None:
    ear, desk = Ear(), Desk()

    async def authorise(_command: object) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async with desk.opened(audit=ear, authorise=authorise) as panel:
        with pytest.raises(SpanPanelNotAuthorisedError):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        desk.broker.publish(topic("$state"), "lost")
        await panel.ping()
        with pytest.raises(SpanPanelStaleDataError):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        await trio.sleep(1)
    assert ear.said == [SpanPanelNotAuthorisedError, SpanPanelStaleDataError]


@pytest.mark.parametrize("when", ["written", "queued"])
async def test_it_hears_of_a_call_that_was_cancelled_and_of_what_was_known_then(when: str) -> None:
    ear, desk = Ear(), Desk(answer=acknowledge)
    async with desk.opened(audit=ear) as panel:
        if when == "queued":
            desk.stream.fill()
            with trio.move_on_after(0.1):
                await panel.ping()
        with trio.move_on_after(0.5) as scope:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert scope.cancelled_caught
        desk.stream.empty()
        await trio.sleep(1)
        [record] = ear.heard
        assert isinstance(record.error, trio.Cancelled)
        if when == "queued":
            assert record.outcome is None
        else:
            assert record.outcome is not None
            assert record.outcome.result is CommandResult.ACCEPTED
            assert record.outcome.sent_at is not None
    assert len(desk.orders) == (when == "written")


@pytest.mark.slow
async def test_one_that_hangs_stalls_no_command_and_what_it_does_not_hear_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "span_trio.commands")
    desk = Desk()
    async with desk.opened(audit=hangs) as panel:
        began = trio.current_time()
        for number in range(300):
            assert (await panel.set_circuit_relay(KITCHEN, ["OPEN", "CLOSED"][number % 2])).is_done
        assert trio.current_time() == began
        missed = panel.statistics().audits_missed
        assert missed == 300 - 256 - 1  # one that it is being told, 256 that wait
        assert [record.message.split(":")[0] for record in caplog.records] == ["audit is too slow"] * missed
        ended = trio.current_time()
    assert trio.current_time() - ended == 1.0  # the grace
    assert len(desk.orders) == 300


@pytest.mark.slow
async def test_one_that_is_slow_hears_of_the_oldest_in_order() -> None:
    ear, desk = Ear(takes=0.01), Desk()
    async with desk.opened(audit=ear) as panel:
        outcomes = [await panel.set_circuit_relay(KITCHEN, ["OPEN", "CLOSED"][number % 2]) for number in range(300)]
        await trio.sleep(60)
        missed = panel.statistics().audits_missed
        assert missed
        assert [record.outcome for record in ear.heard] == outcomes[: 300 - missed]
        outcomes = [await panel.set_circuit_relay(KITCHEN, "OPEN"), await panel.set_circuit_relay(KITCHEN, "CLOSED")]
        await trio.sleep(1)
        assert [record.outcome for record in ear.heard[-2:]] == outcomes
        assert panel.statistics().audits_missed == missed


async def test_every_call_is_one_line_in_the_log_and_nothing_of_other_peoples_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def authorise(_command: Command) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("the user's secret")

    caplog.set_level(logging.INFO, "span_trio.commands")
    async with Desk().opened() as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        with pytest.raises(SpanPanelCommandValueError) as refused:
            await panel.set_circuit_relay(KITCHEN, "BOGUS")
        with pytest.raises(SpanPanelUnknownTargetError) as unknown:
            await panel.set_property("nobody", "node", "property", "a private value")
    async with Desk().opened(authorise=authorise) as panel:
        with pytest.raises(ValueError, match="secret"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
    said = [record.message for record in caplog.records if record.name == "span_trio.commands"]
    assert said[0] == str(outcome)
    assert said[1].endswith(f": {refused.value}")
    assert said[2].endswith(f": {unknown.value.reason}")
    assert said[3].endswith(": ValueError")
    assert "private" not in caplog.text
    assert "secret" not in caplog.text


async def test_one_that_raises_is_logged_and_hears_of_the_next(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        heard.append(record)
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("two", [ValueError("of the user's"), KeyError("making")])

    desk = Desk()
    async with desk.opened(audit=audit) as panel:
        for state in ("OPEN", "CLOSED"):
            await panel.set_circuit_relay(KITCHEN, state)
            await trio.sleep(0.1)
        assert panel.live
    assert len(heard) == 2
    failed = [record for record in caplog.records if record.name == "span_trio.commands" and record.exc_info]
    assert [record.levelname for record in failed] == ["ERROR", "ERROR"]


async def test_one_at_a_time() -> None:
    busy = 0

    async def audit(_record: CommandRecord) -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await trio.sleep(0.1)
        busy -= 1

    async with Desk().opened(audit=audit) as panel:
        for state in ("OPEN", "CLOSED") * 3:
            await panel.set_circuit_relay(KITCHEN, state)
        await trio.sleep(2)
    assert busy == 0


# --- at the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("number", [1, 3])
async def test_it_hears_of_the_last_ones_when_the_block_is_left_at_once(number: int, takes: float) -> None:
    ear, desk = Ear(takes), Desk()
    async with desk.opened(audit=ear) as panel:
        outcomes = [await panel.set_circuit_relay(KITCHEN, ["OPEN", "CLOSED"][each % 2]) for each in range(number)]
    assert [record.outcome for record in ear.heard] == outcomes


async def test_what_it_is_being_told_when_the_block_is_left_is_told_to_the_end() -> None:
    ear, desk = Ear(takes=0.5), Desk()
    async with desk.opened(audit=ear) as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        await trio.sleep(0.25)
        began = trio.current_time()
    assert ear.said == [CommandResult.CONFIRMED]
    assert trio.current_time() - began == 0.25


async def test_it_has_the_grace_and_not_more() -> None:
    ear, desk = Ear(takes=0.4), Desk()
    async with desk.opened(audit=ear, close_grace=0.5) as panel:
        for state in ("OPEN", "CLOSED", "OPEN"):
            await panel.set_circuit_relay(KITCHEN, state)
        began = trio.current_time()
    assert trio.current_time() - began <= 0.5
    assert len(ear.heard) == 1


async def test_closing_takes_no_time_when_there_is_nothing_to_tell() -> None:
    async with Desk().opened(audit=Ear()) as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        await trio.sleep(1)
        began = trio.current_time()
    assert trio.current_time() == began


@pytest.mark.parametrize("answer", [obey, ignore])
async def test_it_hears_of_a_call_that_the_end_of_the_block_cancels(answer: object) -> None:
    ear, desk = Ear(), Desk(answer=answer)  # type: ignore[arg-type]
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of the block")):
        async with desk.opened(audit=ear) as panel, trio.open_nursery() as nursery:
            nursery.start_soon(panel.set_circuit_relay, KITCHEN, "OPEN")
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("of the block")
    assert len(desk.orders) == 1
    assert ear.said == [CommandResult.CONFIRMED if answer is obey else trio.Cancelled]


async def test_it_hears_of_a_call_that_outlives_the_block() -> None:
    ear, desk = Ear(takes=0.01), Desk(answer=ignore)
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            assert (await panel.set_circuit_priority(KITCHEN, "NEVER")).result is CommandResult.UNKNOWN

        async def refused() -> None:
            with pytest.raises(SpanPanelClosedError):
                await panel.set_circuit_priority(KITCHEN, "OFF_GRID")

        async with desk.opened(audit=ear, alone=False) as panel:
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(refused)  # waits for its turn
            await trio.testing.wait_all_tasks_blocked()
        assert ear.said == [CommandResult.UNKNOWN, SpanPanelClosedError]
