"""Switches for commands: what a panel in a box does beyond what firmware does."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import Control
from span_trio.simulator import CommandFaults
from span_trio.simulator.command_log import ReceivedCommand
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.command_helpers import BOTH, FLAT, TREE, Commander, Heard, commanding, virtual
from tests.unit.simulator.house_helpers import NOON

RELAY, PRIORITY, LIMIT = Control.RELAY, Control.PRIORITY, Control.CHARGE_LIMIT
both = pytest.mark.parametrize("build", BOTH)


def times(who: Commander, topic: str) -> list[float]:
    """Since the panel was opened, of what was said of a topic."""
    return [item.at for item in who.heard if item.topic == topic]


# --- switches ---------------------------------------------------------------------------------------------------------


@both
def test_a_lost_command_is_acknowledged_logged_and_never_done(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(lose=True)
            for control, payload in ((RELAY, b"OPEN"), (PRIORITY, b"NEVER"), (LIMIT, b"16")):
                await who.command(who.at(control), payload)
            await trio.sleep(60)
            topics = [who.at(control) for control in (RELAY, PRIORITY, LIMIT)]
            assert who.said("", *topics) == [("", b"")] * 3
            assert [command.answer for command in who.panel.commands] == [Answer.DONE] * 3
            assert {command.faults for command in who.panel.commands} == {CommandFaults(lose=True)}

    virtual(main)


@both
def test_a_panel_may_answer_late_and_a_relay_later_still(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = attrs.evolve(who.panel.command_faults, delay=7.25)
            assert who.panel.relay_delay == 0.05
            await who.command(who.at(PRIORITY), b"NEVER", wait=0)
            await who.command(who.at(RELAY), b"OPEN", wait=10)
            assert times(who, who.at(PRIORITY)) == [pytest.approx(7.75)]
            assert times(who, who.at(RELAY)) == [pytest.approx(7.8)]

    virtual(main)


@both
def test_a_late_command_finds_the_house_as_it_is_by_then(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(delay=0.25)
            await who.command(who.at(PRIORITY), b"NEVER", wait=0.4)
            assert who.panel.house.now == pytest.approx(NOON + 0.75)

    virtual(main)


@both
def test_a_command_is_dealt_with_by_the_switches_of_its_arrival(build: int) -> None:
    """So a command of later acts first, and the old one comes as a surprise (lesson E, "a retry re-opens …")."""

    async def main() -> None:
        async with commanding(build) as who:
            relay = who.at(RELAY)
            who.panel.command_faults = CommandFaults(delay=5)
            await who.command(relay, b"OPEN")
            who.panel.command_faults = CommandFaults()
            await who.command(relay, b"CLOSED", wait=1)
            assert who.take(f"{relay}-requester") == [b"USER"]
            await trio.sleep(5)
            assert who.take(relay) == [b"OPEN"]

    virtual(main)


@both
def test_an_answer_may_come_twice_and_is_the_same(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(duplicate=True)
            for control, payload in ((RELAY, b"OPEN"), (PRIORITY, b"NEVER"), (LIMIT, b"16")):
                await who.command(who.at(control), payload, wait=0.1)
                assert who.take(who.at(control)) == [payload] * 2

    virtual(main)


@both
@pytest.mark.parametrize(
    ("control", "payload", "said"),
    [(RELAY, b"OPEN", b"CLOSED"), (PRIORITY, b"NEVER", b"SOC_THRESHOLD"), (LIMIT, b"16", b"20")],
)
def test_a_panel_may_answer_with_what_was_not_asked_for(
    build: int, control: Control, payload: bytes, said: bytes
) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            await who.command(who.at(LIMIT), b"20")
            who.panel.command_faults = CommandFaults(contradict=True)
            who.take()
            await who.command(who.at(control), payload, wait=3)
            assert who.take(who.at(control)) == [said]
            assert who.retained(who.at(control)) == said

    virtual(main)


@both
def test_a_relay_that_is_contradicted_moves_away_from_what_it_is_asked_for(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            relay = who.at(RELAY)
            await who.command(relay, b"OPEN", wait=0.1)
            who.panel.command_faults = CommandFaults(contradict=True, duplicate=True)
            who.take()
            await who.command(relay, b"OPEN", wait=0.1)
            assert who.take(relay) == [b"CLOSED"] * 2
            assert not any(circuit.relay == "OPEN" for circuit in who.panel.house.circuits)

    virtual(main)


def test_a_limit_that_never_was_is_contradicted_by_silence() -> None:
    async def main() -> None:
        async with commanding(FLAT, targets=True) as who:
            who.panel.command_faults = CommandFaults(contradict=True)
            await who.command(who.at(LIMIT), b"16")
            assert who.take(who.at(LIMIT)) == []

    virtual(main)


@both
def test_a_limit_may_be_clamped_lower_than_the_charger_would(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(clamp=12)
            for asked, given in ((b"16", b"12"), (b"010", b"10"), (b"3", b"6")):
                await who.command(who.at(LIMIT), asked)
                assert who.take(who.at(LIMIT)) == [given]
            await who.command(who.at(PRIORITY), b"NEVER")
            assert who.take(who.at(PRIORITY)) == [b"NEVER"]
            who.panel.command_faults = CommandFaults(clamp=2)
            await who.command(who.at(LIMIT), b"16")
            assert who.take(who.at(LIMIT)) == []  # no lower than the charger would, which is what stands

    virtual(main)


@both
def test_a_switch_may_be_for_some_controls_only(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(lose=True, only=RELAY)
            await who.command(who.at(RELAY), b"OPEN")
            await who.command(who.at(PRIORITY), b"NEVER", wait=1)
            assert who.take(who.at(RELAY), who.at(PRIORITY)) == [b"NEVER"]
            assert [command.faults.lose for command in who.panel.commands] == [True, False]

    virtual(main)


@both
def test_what_is_refused_is_refused_whatever_the_switches_say(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            who.panel.command_faults = CommandFaults(contradict=True, duplicate=True, delay=0.1)
            relay = who.at(RELAY, "Fridge")
            await who.command(relay, b"OPEN", wait=3)
            assert who.take(relay, f"{relay}/$target") == []

    virtual(main)


@pytest.mark.parametrize(
    "wrong", [{"delay": -1}, {"delay": float("nan")}, {"delay": float("inf")}, {"clamp": -1}, {"only": "relay"}]
)
def test_switches_that_cannot_be_meant_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        CommandFaults(**wrong)


def test_switches_are_values() -> None:
    faults = CommandFaults(lose=True, only={RELAY, LIMIT})
    assert faults == attrs.evolve(CommandFaults(lose=True), only=[LIMIT, RELAY])
    assert (faults.of(RELAY), faults.of(PRIORITY), faults.of(None)) == (faults, CommandFaults(), CommandFaults())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        faults.lose = False  # type: ignore[misc]


# --- determinism and cancellation -------------------------------------------------------------------------------------

commands = st.lists(
    st.tuples(
        st.sampled_from([RELAY, PRIORITY, LIMIT]),
        st.sampled_from([b"OPEN", b"CLOSED", b"NEVER", b"OFF_GRID", b"16", b"99", b"BOGUS"]),
        st.builds(
            CommandFaults,
            lose=st.booleans(),
            delay=st.sampled_from([0, 0.05, 1, 1.5]),
            duplicate=st.booleans(),
            contradict=st.booleans(),
            only=st.sampled_from([RELAY, [RELAY, PRIORITY], list(Control)]),
        ),
        st.sampled_from([0, 0.05, 0.45, 0.5]),
    ),
    max_size=8,
)


@given(commands, st.sampled_from(BOTH), st.booleans())
def test_equal_commands_have_equal_answers_at_equal_times(steps: Any, build: int, targets: bool) -> None:
    async def main() -> tuple[list[Heard], list[ReceivedCommand]]:
        async with commanding(build, targets=targets) as who:
            for control, payload, faults, wait in steps:
                who.panel.command_faults = faults
                await who.command(who.at(control), payload, wait=0.01)
                await trio.sleep(wait)
            await trio.sleep(4)
            return who.heard, list(who.panel.commands)

    heard, log = virtual(main)
    assert virtual(main) == (heard, log)
    assert [command.payload.encode() for command in log] == [payload for _, payload, _, _ in steps]
    assert all(command.accepted for command in log if command.answer in {Answer.DONE, Answer.UNCHANGED})


@both
def test_what_is_due_together_with_a_burst_comes_in_one_order(build: int) -> None:
    """Whose turn is first is a matter of chance, in trio."""

    async def main() -> list[Heard]:
        async with commanding(build) as who:
            who.panel.command_faults = CommandFaults(delay=0.5)
            await who.command(who.at(PRIORITY), b"NEVER", wait=0.6)
            return [item for item in who.heard if item.at > 0.9]

    first = virtual(main)
    assert {round(item.at, 6) for item in first} == {1.0}
    assert all(virtual(main) == first for _ in range(12))


def test_a_panel_that_is_closed_answers_nothing_any_more() -> None:
    async def main() -> None:
        async with commanding(TREE) as who:
            who.panel.command_faults = CommandFaults(delay=1)
            await who.command(who.at(RELAY), b"OPEN")
        await trio.sleep(5)
        assert who.retained(who.at(RELAY)) == b"CLOSED"
        assert len(who.panel.commands) == 1

    virtual(main)


def test_a_flood_of_commands_that_wait_is_bounded() -> None:
    async def main() -> None:
        async with commanding(FLAT) as who:
            who.panel.command_faults = CommandFaults(delay=3600)
            for _ in range(10_005):
                await who.command(who.at(PRIORITY), b"NEVER", wait=0, qos=0)
            await trio.sleep(1)
            assert (len(who.panel.commands), who.panel.commands.dropped) == (10_000, 5)
            assert len(who.panel._desk._waiting) == 10_000

    virtual(main)
