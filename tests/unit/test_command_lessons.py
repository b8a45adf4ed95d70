"""Lessons of those who commanded panels before us: where each is held, and those that no other file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import trio

from span_trio import CommandOutcome, CommandResult, SpanPanelTimeoutError
from tests.unit.commanding import RELAY, SOURCE, Desk, acknowledge, both, ignore, obey
from tests.unit.link.broker import Kind
from tests.unit.link.house import topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

HERE: Final = Path(__file__).parent

# Section and symptom -> the test that holds it (of this file, or of another one).
_TABLE: Final = """
    E relay fires minutes after an outage
        test_i10_nothing_is_queued_while_there_is_no_link
    E relay fires minutes after an outage: a frozen broker keeps what was written
        test_nothing_is_written_into_a_broker_that_does_not_answer_a_ping
    E command succeeded but never sent
        test_after_the_block_every_command_says_that_the_panel_is_closed
    E command succeeded but never sent: broker down
        test_a_link_lost_before_the_write_failed_and_nothing_leaves_over_the_next_one
    E caller waits the full deadline after a rebuild
        test_lesson_e_a_link_lost_behind_the_write_is_unknown_at_once
    E refusal blamed on commissioning
        test_a_circuit_that_is_locked_is_not_taken_for_an_unknown_one
    E refusal blamed on commissioning: each its own reason
        test_what_cannot_be_meant_is_refused_at_once_with_its_reason
    E refusal blamed on commissioning: vetoed
        test_lesson_e_its_exception_reaches_the_caller_as_the_same_object_with_nothing_added
    E audit hole
        test_lesson_e_it_hears_of_refusals_too_in_the_order_in_which_the_calls_end
    E outcome vocabulary
        test_what_does_not_say_so_does_not_confirm
    E no-op burns the deadline
        test_lesson_e_what_is_already_so_is_not_published_and_costs_no_time
    E CONFIRMED over-read
        test_lesson_e_confirmed_is_evidence_and_no_proof
    E retry re-opens a relay someone closed
        test_lesson_e_nothing_is_ever_sent_again_by_itself
    E deadlines
        test_a_relay_has_5_seconds_or_what_is_said
    E deadlines: others 2 s
        test_everything_else_has_2
    E deadlines: the waiter must be armed before the publish
        test_a_value_seen_is_confirmed_at_once_even_before_the_publish_returns
    E deadlines: and always released
        test_a_call_that_waits_when_the_panel_is_closed_ends_then
    E UI toggle bounces
        test_a_pending_target_shows_in_the_snapshot_while_the_command_waits
    E writing NONE reports a clear that never happens
        test_lesson_e_none_and_unknown_are_refused_and_not_written_to_be_ignored
    E override refused silently
        test_lesson_e_an_override_that_the_panel_does_not_take_is_accepted_by_the_broker_and_not_confirmed
    E override refused silently: declared settable
        test_lesson_e_a_parent_child_device_is_commanded_only_where_its_own_description_says_settable
    E DPS set has no effect
        test_lesson_e_a_source_that_old_firmware_ignores_is_not_confirmed
    E EVSE limit silently clamped
        test_lesson_e_a_limit_beyond_the_ceiling_is_refused_and_never_clamped
    E EVSE limit silently clamped: read back
        test_lesson_e_a_limit_that_the_panel_clamps_is_not_confirmed_and_what_it_made_of_it_is_told
    E stale user limit equals the ceiling
        test_a_limit_equal_to_the_ceiling_is_none
    E priority write without a battery
        test_lesson_e_a_priority_without_a_battery_may_have_no_effect_and_is_no_error
    E bounded authority for unknown devices
        test_lesson_e_there_is_no_back_door
    B locked priority offered as control; text false authorised a write
        test_lesson_b_only_true_is_a_permission
    B declaration stale after recommissioning
        test_a_relay_that_is_not_controllable_or_does_not_say_so_readably_is_locked
    B write topic built for a battery, an unmapped tab, an unknown id
        test_lesson_b_a_topic_is_never_put_together_from_what_a_caller_says
    A true read as 1
        test_lesson_a_what_is_no_whole_number_is_no_limit
    probes: state BOGUS, priority BOGUS
        test_lesson_probe_a_word_that_it_does_not_take_is_not_published
    probes: … while disconnected
        test_i10_nothing_is_queued_while_there_is_no_link
    probes: … before connect
        test_lesson_probe_nobody_has_a_panel_to_command_before_it_is_live
"""
_LINES: Final = [line.strip() for line in _TABLE.strip().splitlines()]
LESSONS: Final = dict(zip(_LINES[::2], _LINES[1::2], strict=True))


def test_each_lesson_is_held_by_a_test() -> None:
    files = [*HERE.glob("test_command*.py"), *(HERE / "span").glob("test_*control*.py")]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert [test for test in LESSONS.values() if f"def {test}(" not in tests] == []


async def test_lesson_e_confirmed_is_evidence_and_no_proof() -> None:
    """The panel counts every client as one USER: somebody else's OPEN confirms ours, which may have been dropped."""
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def somebody_else() -> None:
            await trio.sleep(1)
            desk.broker.publish(topic(f"{KITCHEN}/relay-requester"), "USER")
            desk.broker.publish(RELAY, "OPEN")

        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert (outcome.result, outcome.requester) == (CommandResult.CONFIRMED, "USER")


@pytest.mark.parametrize(
    "answer",
    [ignore, acknowledge, both(acknowledge, lambda desk, _: desk.broker.connection.hang_up())],
    ids=["UNCONFIRMED", "ACCEPTED", "UNKNOWN"],
)
async def test_lesson_e_nothing_is_ever_sent_again_by_itself(answer: Any) -> None:
    """Neither when the link is back, nor when the panel is ready again, nor when the relay is seen to be otherwise."""
    desk = Desk(answer=answer)
    async with desk.opened() as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert outcome.may_still_act
        for _ in range(3):
            await desk.lose(panel)
            await panel.wait_live()
            desk.broker.publish(topic("$state"), "init")
            desk.broker.publish(topic("$state"), "ready")
            desk.broker.publish(RELAY, "CLOSED")
            await trio.sleep(60)
        assert len(desk.broker.connections) > 3
    assert desk.payloads == [b"OPEN"]
    assert [connection.kinds.count(Kind.PUBLISH) for connection in desk.broker.connections][1:].count(0) >= 3


@pytest.mark.parametrize(
    ("answer", "result"), [(ignore, CommandResult.UNCONFIRMED), (acknowledge, CommandResult.ACCEPTED)]
)
async def test_lesson_e_a_source_that_old_firmware_ignores_is_not_confirmed(answer: Any, result: CommandResult) -> None:
    """Before r202609 it is accepted, and nothing comes of it."""
    desk = Desk({"core/software-version": "spanos2/r202603/05", "core/dominant-power-source": "GRID"}, answer=answer)
    async with desk.opened() as panel:
        outcome: CommandOutcome = await panel.set_dominant_power_source("BATTERY")
        assert (outcome.result, outcome.value, outcome.is_done) == (result, "GRID", False)
    assert desk.orders[0].topic == f"{SOURCE}/set"


async def test_lesson_e_a_priority_without_a_battery_may_have_no_effect_and_is_no_error() -> None:
    desk = Desk({f"{KITCHEN}/shed-priority": "NEVER"}, answer=acknowledge)
    async with desk.opened() as panel:
        assert panel.snapshot.battery is None
        outcome = await panel.set_circuit_priority(KITCHEN, "OFF_GRID")
        assert (outcome.result, outcome.value) == (CommandResult.ACCEPTED, "NEVER")
        desk.answer = obey
        assert (await panel.set_circuit_priority(KITCHEN, "OFF_GRID")).is_done


async def test_lesson_probe_nobody_has_a_panel_to_command_before_it_is_live() -> None:
    desk = Desk({"$state": "init"})
    with pytest.raises(SpanPanelTimeoutError):
        async with desk.opened() as panel:
            await panel.set_circuit_relay(KITCHEN, "OPEN")
    assert desk.orders == []
