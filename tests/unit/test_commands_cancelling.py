"""Cancelling a call: what was not written never is, what was is remembered; at whatever step."""

from __future__ import annotations

import pytest
import trio

from span_trio import CommandRecord, CommandResult
from span_trio.homie import Message
from tests.unit.commanding import RELAY, Desk, acknowledge, ignore, obey
from tests.unit.link.house import SteppingCancel, run
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time


@pytest.mark.slow
@pytest.mark.parametrize("authorised", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_i10_cancelling_at_any_step_writes_once_or_never_and_what_was_written_is_remembered(
    answers: bool, authorised: bool
) -> None:
    seen: set[tuple[bool, bool]] = set()
    for step in range(1, 400):
        canceller = SteppingCancel(step)

        async def main(canceller: SteppingCancel) -> bool:
            heard: list[CommandRecord] = []

            async def audit(record: CommandRecord) -> None:
                heard.append(record)

            async def authorise(_command: object) -> None:
                await trio.sleep(0.1)

            desk = Desk(answer=obey if answers else ignore)
            async with desk.opened(audit=audit, authorise=authorise if authorised else None) as panel:
                await trio.sleep(1)
                finished = False
                with canceller.cancelling() as scope:
                    outcome = await panel.set_circuit_relay(KITCHEN, "OPEN", within=1.5)
                    assert outcome.result is (CommandResult.CONFIRMED if answers else CommandResult.UNCONFIRMED)
                    finished = True
                await trio.sleep(10)
                assert desk.payloads in ([], [b"OPEN"])
                written = bool(desk.orders)
                [record] = heard
                assert (record.error is None) == finished
                if not finished:
                    assert (record.outcome is not None) == written
                seen.add((finished, written))
                desk.answer = obey
                outcome = await panel.set_circuit_relay(KITCHEN, "CLOSED")
                expected = CommandResult.CONFIRMED if written else CommandResult.NO_OP
                assert outcome.result is expected
                assert len(desk.orders) == 2 * written
                return scope.cancelled_caught

        if not run(main, canceller, instruments=[canceller]):
            break
    assert seen >= {(False, False), (False, True), (True, True)}
    assert step > 10


async def test_cancelling_ends_the_waiting_at_once_and_undoes_nothing() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel:
        with trio.move_on_after(0.5) as scope:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert scope.cancelled_caught
        assert trio.current_time() == 0.5
        desk.broker.publish(RELAY, "OPEN")
        await panel.ping()
        assert panel.snapshot.circuits[KITCHEN].relay_state == "OPEN"
    assert desk.payloads == [b"OPEN"]


async def test_cancelling_while_it_waits_for_its_turn_writes_nothing_and_passes_the_turn_on() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        nursery.start_soon(panel.set_circuit_relay, KITCHEN, "OPEN")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await panel.set_circuit_relay(KITCHEN, "CLOSED")
        desk.answer = obey
        assert (await panel.set_circuit_relay(KITCHEN, "CLOSED")).result is CommandResult.CONFIRMED
        assert trio.current_time() == 5.0  # when the first one's time was over
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_cancelling_while_it_waits_for_the_ping_writes_nothing() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await trio.sleep(1)
        connection = desk.broker.connection
        connection.hold()
        with trio.move_on_after(0.5) as scope:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert scope.cancelled_caught
        connection.release()
        await trio.sleep(10)
        assert (await panel.set_circuit_relay(KITCHEN, "CLOSED")).result is CommandResult.NO_OP
    assert desk.orders == []


async def test_a_scope_that_was_cancelled_before_sends_nothing() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        with trio.CancelScope() as scope:
            scope.cancel()
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert scope.cancelled_caught
        await trio.sleep(1)
    assert desk.orders == []


async def test_what_confirms_it_in_the_same_moment_in_which_it_is_cancelled_is_told_to_audit() -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        heard.append(record)

    desk = Desk(answer=ignore)
    async with desk.opened(audit=audit) as panel, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def call() -> None:
            with scope:
                await panel.set_circuit_relay(KITCHEN, "OPEN")

        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        panel._commands.saw([Message(RELAY, b"OPEN", retain=False)])
        await trio.sleep(1)
        [record] = heard
        assert isinstance(record.error, trio.Cancelled)
        assert record.outcome is not None, "it was written, and that must not be kept from audit"
        assert record.outcome.result is CommandResult.CONFIRMED
