"""Several callers: one property at a time, in turn, and nobody waits for another property."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from span_trio import CommandOutcome, CommandResult, SpanPanel, SpanPanelLockedError, SpanPanelStaleDataError
from tests.unit.commanding import PRIORITY, RELAY, SOURCE, Desk, acknowledge, ignore, obey
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

CONFIRMED, FAILED = CommandResult.CONFIRMED, CommandResult.FAILED


async def together(*calls: Callable[[], Awaitable[CommandOutcome]]) -> list[tuple[CommandOutcome, float]]:
    """Their outcomes, in the order of the calls, and when each came; they begin in this order."""
    results: dict[int, tuple[CommandOutcome, float]] = {}

    async def one(number: int, call: Callable[[], Awaitable[CommandOutcome]]) -> None:
        results[number] = await call(), trio.current_time()

    async with trio.open_nursery() as nursery:
        for number, call in enumerate(calls):
            nursery.start_soon(one, number, call)
            await trio.testing.wait_all_tasks_blocked()
    return [results[number] for number in range(len(calls))]


def relay(panel: SpanPanel, state: str, within: float = 5.0) -> Callable[[], Awaitable[CommandOutcome]]:
    return lambda: panel.set_circuit_relay(KITCHEN, state, within=within)


async def test_two_on_one_property_are_written_one_behind_the_others_outcome() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def act() -> None:
            for number in range(2):
                await trio.sleep(1)
                assert len(desk.orders) == number + 1
                desk.broker.publish(RELAY, desk.orders[-1].payload)

        (first, at_first), (second, at_second) = await together(relay(panel, "OPEN"), relay(panel, "CLOSED"))
        assert (first.result, second.result, at_first, at_second) == (CONFIRMED, CONFIRMED, 1.0, 2.0)
        assert first.sent_at is not None
        assert second.sent_at is not None
        assert (first.sent_at.monotonic, second.sent_at.monotonic) == (0.0, 1.0)
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_two_that_want_the_same_are_one_command_and_a_no_op() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def act() -> None:
            await trio.sleep(1)
            desk.broker.publish(RELAY, "OPEN")

        results = await together(relay(panel, "OPEN"), relay(panel, "OPEN"))
        assert [(outcome.result, at) for outcome, at in results] == [(CONFIRMED, 1.0), (CommandResult.NO_OP, 1.0)]
    assert desk.payloads == [b"OPEN"]


async def test_who_does_not_get_a_turn_by_the_deadline_failed_and_writes_nothing() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        results = await together(relay(panel, "OPEN", 3.0), relay(panel, "CLOSED", 2.0), relay(panel, "CLOSED", 1.0))
        assert [(outcome.result, at) for outcome, at in results] == [
            (CommandResult.UNCONFIRMED, 3.0),
            (FAILED, 2.0),
            (FAILED, 1.0),
        ]
        assert "an earlier command" in results[1][0].detail
        await trio.sleep(10)
    assert desk.payloads == [b"OPEN"]


async def test_a_turn_at_the_last_moment_is_no_license_behind_it() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        results = await together(relay(panel, "OPEN", 2.0), relay(panel, "CLOSED", 2.0))
        assert [outcome.result for outcome, _ in results] == [CommandResult.UNCONFIRMED, FAILED]
        assert results[1][1] == 2.0
    assert desk.payloads == [b"OPEN"]


async def test_ten_on_one_property_are_all_obeyed_in_the_order_of_their_calls() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        states = ["OPEN", "CLOSED"] * 5
        results = await together(*(relay(panel, state) for state in states))
        assert [outcome.result for outcome, _ in results] == [CONFIRMED] * 10
    assert desk.payloads == [state.encode() for state in states]


async def test_ten_at_once_mixed_with_others_never_have_two_of_one_property_on_their_way() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        answered = 0

        @nursery.start_soon
        async def act() -> None:
            nonlocal answered
            while answered < 14:
                await trio.sleep(0.1)
                pending = desk.orders[answered:]
                assert len({order.topic for order in pending}) == len(pending)
                for order in pending:
                    desk.broker.publish(order.property_topic, order.payload)
                answered += len(pending)

        calls = [relay(panel, state) for state in ["OPEN", "CLOSED"] * 5]
        calls[3:3] = [
            lambda: panel.set_circuit_priority(KITCHEN, "NEVER"),
            lambda: panel.set_circuit_priority(KITCHEN, "OFF_GRID"),
            lambda: panel.set_dominant_power_source("BATTERY"),
            lambda: panel.set_dominant_power_source("GRID"),
        ]
        results = await together(*calls)
        assert [outcome.result for outcome, _ in results] == [CONFIRMED] * 14
        by_topic = {
            topic: [order.payload for order in desk.orders if order.property_topic == topic]
            for topic in (RELAY, PRIORITY, SOURCE)
        }
        assert by_topic == {
            RELAY: [b"OPEN", b"CLOSED"] * 5,
            PRIORITY: [b"NEVER", b"OFF_GRID"],
            SOURCE: [b"BATTERY", b"GRID"],
        }


async def test_nobody_waits_for_a_command_to_another_property() -> None:
    desk = Desk(answer=lambda desk, order: None if order.property_topic == RELAY else obey(desk, order))
    async with desk.opened() as panel:
        results = await together(
            relay(panel, "OPEN"),
            lambda: panel.set_circuit_priority(KITCHEN, "NEVER"),
            lambda: panel.set_dominant_power_source("PV"),
        )
        assert [(outcome.result, at) for outcome, at in results] == [
            (CommandResult.UNCONFIRMED, 5.0),
            (CONFIRMED, 0.0),
            (CONFIRMED, 0.0),
        ]


async def test_a_turn_is_passed_on_by_who_is_refused_or_cancelled_in_it() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        @nursery.start_soon
        async def cancelled() -> None:
            with scope:
                await panel.set_circuit_relay(KITCHEN, "OPEN", within=60)

        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def cancel() -> None:
            await trio.sleep(1)
            desk.answer = obey
            scope.cancel()

        outcome = await panel.set_circuit_relay(KITCHEN, "CLOSED", within=60)
        assert (outcome.result, trio.current_time()) == (CONFIRMED, 1.0)
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_who_waits_for_a_turn_is_refused_if_it_is_locked_meanwhile() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        nursery.start_soon(relay(panel, "OPEN", 2.0))
        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def lock() -> None:
            await trio.sleep(1)
            desk.broker.publish(f"{RELAY.removesuffix('relay')}always-on", "true")

        with pytest.raises(SpanPanelLockedError, match="always on"):
            await panel.set_circuit_relay(KITCHEN, "CLOSED")
        assert trio.current_time() == 2.0
    assert desk.payloads == [b"OPEN"]


async def test_who_waits_for_a_turn_is_refused_if_the_link_is_lost_meanwhile() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        nursery.start_soon(relay(panel, "OPEN"))
        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def lose() -> None:
            await trio.sleep(1)
            desk.broker.connection.hang_up()

        with pytest.raises(SpanPanelStaleDataError):
            await panel.set_circuit_relay(KITCHEN, "CLOSED")
        assert trio.current_time() == 1.0
    assert desk.payloads == [b"OPEN"]
