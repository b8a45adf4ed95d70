"""Already so: nothing is published, and only when nothing on its way could change it."""

from __future__ import annotations

import pytest
import trio

from span_trio import CommandOutcome, CommandResult, RelayState, SpanPanel
from tests.unit.commanding import PRIORITY, RELAY, Desk, acknowledge, ignore, obey
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

NO_OP, CONFIRMED = CommandResult.NO_OP, CommandResult.CONFIRMED


async def close(panel: SpanPanel) -> CommandOutcome:
    return await panel.set_circuit_relay(KITCHEN, "CLOSED")


async def test_lesson_e_what_is_already_so_is_not_published_and_costs_no_time() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        began = trio.current_time()
        outcome = await panel.set_circuit_relay(KITCHEN, RelayState.CLOSED)
        assert (outcome.result, outcome.is_done, outcome.may_still_act) == (NO_OP, True, False)
        assert (outcome.sent_at, outcome.acknowledged_at, outcome.value) == (None, None, "CLOSED")
        assert outcome.detail == ""
        assert trio.current_time() == began
    assert desk.orders == []


@pytest.mark.parametrize(
    ("value", "target", "result"),
    [
        ("CLOSED", None, NO_OP),
        ("CLOSED", "CLOSED", NO_OP),
        ("CLOSED", "OPEN", CONFIRMED),
        ("CLOSED", "UNKNOWN", CONFIRMED),
        ("OPEN", "CLOSED", CONFIRMED),
        ("UNKNOWN", None, CONFIRMED),
        ("closed", None, CONFIRMED),
        (None, None, CONFIRMED),
        (None, "CLOSED", CONFIRMED),
    ],
)
async def test_it_is_so_only_if_the_value_is_and_nothing_else_is_its_target(
    value: str | None, target: str | None, result: CommandResult
) -> None:
    desk = Desk({f"{KITCHEN}/relay": value, f"{KITCHEN}/relay/$target": target})
    async with desk.opened() as panel:
        assert (await close(panel)).result is result
    assert len(desk.orders) == (result is CONFIRMED)


@pytest.mark.parametrize("target", ["OPEN", "CLOSED"])
async def test_a_target_that_comes_or_goes_counts_as_of_now(target: str) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        desk.broker.publish(f"{RELAY}/$target", target)
        await panel.ping()
        assert (await close(panel)).result is (NO_OP if target == "CLOSED" else CONFIRMED)
        desk.broker.publish(f"{RELAY}/$target", "")
        await panel.ping()
        assert (await close(panel)).result is NO_OP


async def back(panel: SpanPanel) -> None:
    """Wait until a link that a command has taken with it is back."""
    await trio.testing.wait_all_tasks_blocked()
    await panel.wait_live()


@pytest.mark.parametrize("answer", [ignore, acknowledge], ids=["UNCONFIRMED", "ACCEPTED"])
async def test_behind_a_command_that_may_still_act_it_is_not_believed(answer: object) -> None:
    desk = Desk(answer=answer)  # type: ignore[arg-type]
    async with desk.opened() as panel:
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).may_still_act
        await back(panel)
        desk.answer = obey
        assert (await close(panel)).result is CONFIRMED
        assert (await close(panel)).result is NO_OP
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_the_same_command_again_is_published_again_while_the_first_may_still_act() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        await back(panel)
        await panel.set_circuit_relay(KITCHEN, "OPEN")
    assert desk.payloads == [b"OPEN", b"OPEN"]


async def test_what_came_to_be_so_behind_the_deadline_is_believed_again() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        desk.broker.publish(RELAY, "OPEN")
        await panel.ping()
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is NO_OP
        desk.answer = obey
        assert (await close(panel)).result is CONFIRMED
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_an_echo_behind_the_deadline_settles_the_command_though_nothing_is_in_flight() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel:
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).may_still_act
        desk.broker.publish(RELAY, "OPEN")  # late: now it has acted
        desk.broker.publish(RELAY, "CLOSED")  # and somebody at the panel has closed it again
        await panel.ping()
        assert (await close(panel)).result is NO_OP
    assert desk.payloads == [b"OPEN"]


async def test_another_value_behind_the_deadline_settles_nothing() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        for _ in range(2):
            desk.broker.publish(RELAY, "UNKNOWN")
            desk.broker.publish(RELAY, "CLOSED")
        desk.broker.publish(f"{RELAY}/$target", "OPEN")
        desk.broker.publish(f"{RELAY}/$target", "CLOSED")
        await panel.ping()
        desk.answer = obey
        assert (await close(panel)).result is CONFIRMED
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_a_command_to_one_property_says_nothing_of_another() -> None:
    desk = Desk({f"{KITCHEN}/shed-priority": "NEVER"}, answer=ignore)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert (await panel.set_circuit_priority(KITCHEN, "NEVER")).result is NO_OP
    assert desk.payloads == [b"OPEN"]
    assert PRIORITY not in {order.property_topic for order in desk.orders}


async def test_across_links_what_may_still_act_is_remembered() -> None:
    """Bytes in the old broker's kernel know nothing of our new link."""
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        await desk.lose(panel)
        await panel.wait_live()
        desk.answer = obey
        assert (await close(panel)).result is CONFIRMED
        assert (await close(panel)).result is NO_OP
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_across_links_what_was_confirmed_is_not() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        await desk.lose(panel)
        await panel.wait_live()
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is NO_OP
    assert desk.payloads == [b"OPEN"]


async def test_what_may_still_act_and_would_change_nothing_is_no_reason_to_send_it_again() -> None:
    """Firmware from r202639 on does not resend what is so: it would never be confirmed."""
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        desk.broker.retained[RELAY] = b"OPEN"
        await desk.lose(panel)
        await panel.wait_live()
        assert panel.snapshot.circuits[KITCHEN].relay_state == "OPEN"
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is NO_OP
        await close(panel)
        await back(panel)
        desk.broker.publish(RELAY, "UNKNOWN")
        desk.broker.publish(RELAY, "OPEN")
        await panel.ping()
        desk.answer = obey
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is CONFIRMED  # CLOSED may still act
    assert desk.payloads == [b"OPEN", b"CLOSED", b"OPEN"]


async def test_what_was_never_written_is_not_remembered() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        desk.stream.fill()
        with trio.move_on_after(0.1):
            await panel.ping()
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN", within=0.5)).result is CommandResult.FAILED
        desk.stream.empty()
        await panel.ping()
        assert (await close(panel)).result is NO_OP
    assert desk.orders == []
