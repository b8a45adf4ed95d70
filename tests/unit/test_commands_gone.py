"""What is reported behind a ``$state`` by which a device is gone confirms nothing: somebody else may have said it."""

from __future__ import annotations

import pytest

from span_trio import CommandResult
from tests.unit.commanding import RELAY, Answer, Desk, Order, acknowledge, both
from tests.unit.link.house import house, topic
from tests.unit.span.child_house import KITCHEN, ROOT, full_house_retained
from tests.unit.span.helpers import KITCHEN as FLAT_KITCHEN

pytestmark = pytest.mark.virtual_time

CHILD = {f"ebus/5/{name}": value.encode() for name, value in full_house_retained().items()}
HOUSES = {
    "a flat panel": (house(), FLAT_KITCHEN, topic("$state")),
    "a panel": (CHILD, KITCHEN, f"ebus/5/{ROOT}/$state"),
    "a circuit": (CHILD, KITCHEN, f"ebus/5/{KITCHEN}/$state"),
}
"""What it has retained, whom we command, and whose ``$state`` changes."""
every = pytest.mark.parametrize("whose", list(HOUSES))


def then(*said: tuple[str, str]) -> Answer:
    """The broker has it, and hands on these messages, all at once; ``{}`` is the property's topic."""

    def say(desk: Desk, order: Order) -> None:
        for name, payload in said:
            desk.broker.publish(name.format(order.property_topic), payload)

    return both(acknowledge, say)


async def commanded(whose: str, *said: tuple[str, str]) -> CommandResult:
    retained, circuit, state = HOUSES[whose]
    was = retained.get(f"ebus/5/{circuit}/switch/relay", b"CLOSED")
    wanted = "CLOSED" if was == b"OPEN" else "OPEN"
    desk = Desk(retained=retained, answer=then(*((name.format(state), text.format(wanted)) for name, text in said)))
    async with desk.opened(alone=False) as panel:
        outcome = await panel.set_circuit_relay(circuit, wanted)
        assert len(desk.orders) == 1
        return outcome.result


@every
@pytest.mark.parametrize("gone", ["lost", "disconnected", ""])
async def test_a_value_that_comes_behind_it_does_not_confirm(whose: str, gone: str) -> None:
    state = HOUSES[whose][2]
    assert await commanded(whose, (state, gone), ("{{}}", "{}")) is CommandResult.ACCEPTED


@every
async def test_a_value_between_lost_and_ready_does_not_confirm_though_all_came_at_once(whose: str) -> None:
    state = HOUSES[whose][2]
    said = ((state, "lost"), ("{{}}", "{}"), (state, "ready"))
    assert await commanded(whose, *said) is CommandResult.ACCEPTED


@every
async def test_a_target_that_comes_behind_it_was_taken_by_nobody(whose: str) -> None:
    retained, circuit, state = HOUSES[whose]
    wanted = "CLOSED" if retained.get(f"ebus/5/{circuit}/switch/relay") == b"OPEN" else "OPEN"

    def say(desk: Desk, order: Order) -> None:
        desk.broker.publish(state, "lost")
        desk.broker.publish(f"{order.property_topic}/$target", wanted)

    async with Desk(retained=retained, answer=say).opened(alone=False) as panel:
        outcome = await panel.set_circuit_relay(circuit, wanted)
        assert outcome.result is CommandResult.UNCONFIRMED


@every
@pytest.mark.parametrize("back", ["ready", "init"])
async def test_a_value_that_comes_behind_its_return_confirms(whose: str, back: str) -> None:
    state = HOUSES[whose][2]
    said = ((state, "lost"), (state, back), ("{{}}", "{}"))
    assert await commanded(whose, *said) is CommandResult.CONFIRMED


@every
async def test_a_value_that_came_before_confirms(whose: str) -> None:
    state = HOUSES[whose][2]
    assert await commanded(whose, ("{{}}", "{}"), (state, "lost")) is CommandResult.CONFIRMED


async def test_what_is_lost_elsewhere_takes_nothing_away() -> None:
    others = f"ebus/5/{next(name for name in (path.split('/')[2] for path in CHILD) if name not in {ROOT, KITCHEN})}"
    assert await commanded("a circuit", (f"{others}/$state", "lost"), ("{{}}", "{}")) is CommandResult.CONFIRMED


async def test_over_the_next_link_a_panel_that_is_there_again_settles_a_command() -> None:
    desk = Desk(answer=lambda desk, _: desk.broker.connection.hang_up())
    async with desk.opened(alone=False) as panel:
        assert (await panel.set_circuit_relay(FLAT_KITCHEN, "OPEN")).result is CommandResult.UNKNOWN
        await panel.wait_live()
        desk.answer = acknowledge
        assert (await panel.set_circuit_relay(FLAT_KITCHEN, "CLOSED")).result is CommandResult.ACCEPTED
        desk.broker.publish(RELAY, "CLOSED")
        await panel.ping()
        assert (await panel.set_circuit_relay(FLAT_KITCHEN, "CLOSED")).result is CommandResult.NO_OP
