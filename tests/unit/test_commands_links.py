"""Commands and the end of a link, of an epoch, and of the panel: before, after and amid the write."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest
import trio

from span_trio import (
    CommandOutcome,
    CommandResult,
    PanelOptions,
    SpanPanel,
    SpanPanelClosedError,
    SpanPanelStaleDataError,
)
from span_trio.commands import Commands
from span_trio.link import Link
from span_trio.tracker import PanelTracker
from tests.unit.commanding import RELAY, Answer, Desk, Order, acknowledge, both, ignore, obey, offline
from tests.unit.link.broker import Kind
from tests.unit.link.house import topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

UNKNOWN, FAILED = CommandResult.UNKNOWN, CommandResult.FAILED


def hang_up(desk: Desk, _order: Order | None = None) -> None:
    desk.broker.connection.hang_up()


def rubbish(desk: Desk, _order: Order | None = None) -> None:
    desk.broker.connection.say(packets.packet(0x00))


async def opening(panel: SpanPanel, **options: float) -> tuple[CommandOutcome, float]:
    began = trio.current_time()
    return await panel.set_circuit_relay(KITCHEN, "OPEN", **options), trio.current_time() - began


def test_a_link_that_is_lost_is_not_held() -> None:
    commands = Commands(PanelTracker(ROOT, PanelOptions(max_silence=math.inf)))
    commands.link = cast("Link", object())
    commands.link_lost()
    assert commands.link is None


async def test_a_command_while_the_panel_is_not_live_says_why_it_is_not() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await desk.lose(panel)
        with pytest.raises(SpanPanelStaleDataError) as caught:
            await opening(panel)
        assert caught.value.detail == "the peer closed it"
    assert desk.orders == []


@pytest.mark.parametrize("end", [hang_up, rubbish])
@pytest.mark.parametrize("first", [ignore, acknowledge], ids=["written", "acknowledged"])
async def test_lesson_e_a_link_lost_behind_the_write_is_unknown_at_once(first: Answer, end: Answer) -> None:
    desk = Desk(answer=both(first, end))
    async with desk.opened() as panel:
        outcome, took = await opening(panel)
        assert (outcome.result, outcome.may_still_act, outcome.is_done) == (UNKNOWN, True, False)
        assert (outcome.acknowledged_at is not None) == (first is acknowledge)
        assert took == 0.0
        await panel.wait_live()
        await trio.sleep(60)
        assert len(desk.broker.connections) == 2
    assert desk.payloads == [b"OPEN"]


async def test_a_link_lost_a_second_behind_the_write_is_unknown_then() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def end() -> None:
            await trio.sleep(1)
            hang_up(desk)

        outcome, took = await opening(panel)
        assert (outcome.result, took) == (UNKNOWN, 1.0)


async def test_a_value_seen_before_the_link_is_lost_confirms() -> None:
    desk = Desk(answer=both(obey, hang_up))
    async with desk.opened() as panel:
        outcome, _ = await opening(panel)
        assert outcome.result is CommandResult.CONFIRMED


async def test_a_target_seen_before_the_link_is_lost_does_not_make_it_known() -> None:
    def target(desk: Desk, _order: Order) -> None:
        desk.broker.publish(f"{RELAY}/$target", "OPEN")

    desk = Desk(answer=both(acknowledge, target, hang_up))
    async with desk.opened() as panel:
        outcome, _ = await opening(panel)
        assert outcome.result is UNKNOWN


async def test_a_link_lost_within_the_write_is_unknown() -> None:
    """Some of it may have left."""
    desk = Desk()
    async with desk.opened() as panel:

        async def breaks() -> None:
            raise trio.BrokenResourceError

        def broken(data: bytes) -> None:
            desk._note(data)
            if data[0] & 0xF0 == Kind.PUBLISH:
                desk.broker.connection.stream.send_stream.send_all_hook = breaks

        desk.stream._sent = broken
        outcome, took = await opening(panel)
        assert (outcome.result, took) == (UNKNOWN, 0.0)
        await panel.wait_live()
        await trio.sleep(10)
    assert desk.payloads == [b"OPEN"]


@pytest.mark.parametrize("end", [hang_up, rubbish])
async def test_a_link_lost_before_the_write_failed_and_nothing_leaves_over_the_next_one(
    end: Callable[[Desk], None],
) -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await panel.ping()
        desk.stream.fill()
        with trio.move_on_after(0.1):
            await panel.ping()

        @nursery.start_soon
        async def then() -> None:
            await trio.sleep(0.2)
            end(desk)
            desk.streams[0].empty()

        outcome, took = await opening(panel)
        assert (outcome.result, outcome.sent_at) == (FAILED, None)
        assert took == pytest.approx(0.2)
        assert outcome.detail == "the link was lost before it was written"
        await panel.wait_live()
        await trio.sleep(60)
        assert len(desk.broker.connections) == 2
        assert (await opening(panel))[0].is_done
    assert len(desk.orders) == 1


async def test_a_link_lost_while_the_ping_is_awaited_failed() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await trio.sleep(1)
        desk.broker.instead[Kind.PINGREQ] = lambda *_: None

        @nursery.start_soon
        async def end() -> None:
            await trio.sleep(0.5)
            del desk.broker.instead[Kind.PINGREQ]
            hang_up(desk)

        outcome, took = await opening(panel)
        assert (outcome.result, outcome.sent_at, took) == (FAILED, None, 0.5)
        await trio.sleep(60)
    assert desk.orders == []


async def test_i10_who_waits_for_a_turn_when_the_link_ends_is_not_sent_over_the_next_one() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        results: list[object] = []

        async def call(state: str) -> None:
            try:
                results.append((await panel.set_circuit_priority(KITCHEN, state, within=30)).result)
            except SpanPanelStaleDataError as error:
                results.append(type(error))

        nursery.start_soon(call, "NEVER")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(call, "OFF_GRID")
        await trio.testing.wait_all_tasks_blocked()
        await desk.lose(panel, for_=0.0)
        await panel.wait_live()
        await trio.sleep(30)
        assert results == [UNKNOWN] + [SpanPanelStaleDataError] * 3
    assert desk.payloads == [b"NEVER"]


async def test_i10_a_panel_that_is_lost_while_the_stream_is_full_gets_nothing() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await panel.ping()
        desk.stream.fill()
        with trio.move_on_after(0.1):
            await panel.ping()

        @nursery.start_soon
        async def then() -> None:
            await trio.sleep(0.1)
            desk.broker.publish(topic("$state"), "lost")
            await offline(panel)
            desk.stream.empty()

        outcome, _ = await opening(panel)
        assert (outcome.result, outcome.sent_at) == (FAILED, None)
        assert "in time" not in outcome.detail  # there was time; the panel was not live
    assert desk.orders == []


async def test_a_panel_that_is_lost_behind_the_write_may_still_confirm() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def then() -> None:
            await trio.sleep(1)
            desk.broker.publish(topic("$state"), "init")
            desk.broker.publish(RELAY, "OPEN")

        outcome, took = await opening(panel)
        assert (outcome.result, took) == (CommandResult.CONFIRMED, 1.0)


async def test_a_live_value_over_the_next_link_is_none_for_the_call_of_before() -> None:
    desk = Desk(answer=both(acknowledge, hang_up))
    async with desk.opened() as panel:
        outcome, _ = await opening(panel)
        await panel.wait_live()
        desk.broker.publish(RELAY, "OPEN")
        await panel.ping()
        assert outcome.result is UNKNOWN
        assert outcome.command.epoch + 1 == panel.snapshot.epoch


# --- closing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result"), [(ignore, UNKNOWN), (acknowledge, UNKNOWN), (obey, CommandResult.CONFIRMED)]
)
async def test_a_call_that_waits_when_the_panel_is_closed_ends_then(answer: Answer, result: CommandResult) -> None:
    desk = Desk(answer=answer)
    async with trio.open_nursery() as nursery:
        results: list[tuple[CommandOutcome, float]] = []

        async def call() -> None:
            results.append(await opening(panel, within=60))

        async with desk.opened(alone=False) as panel:
            nursery.start_soon(call)
            await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        [(outcome, took)] = results
        assert (outcome.result, took) == (result, 1.0 if result is UNKNOWN else 0.0)
    assert desk.broker.connection.said_goodbye


async def test_i11_a_call_that_could_not_write_when_the_panel_is_closed_never_does() -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        results: list[object] = []

        async def call(state: str) -> None:
            try:
                outcome = await panel.set_circuit_relay(KITCHEN, state, within=60)
                results.append((outcome.result, outcome.detail))
            except SpanPanelClosedError as error:
                results.append(type(error))

        async with desk.opened(alone=False) as panel:
            await panel.ping()
            desk.stream.fill()
            with trio.move_on_after(0.1):
                await panel.ping()
            nursery.start_soon(call, "OPEN")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(call, "CLOSED")  # waits for its turn
            await trio.testing.wait_all_tasks_blocked()
            desk.stream.empty()
        await trio.testing.wait_all_tasks_blocked()
        assert results == [(FAILED, "the panel is closed"), SpanPanelClosedError]
    assert desk.orders == []
    assert desk.broker.connection.said_goodbye
