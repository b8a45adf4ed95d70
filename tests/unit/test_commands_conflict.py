"""Commands where another panel on the broker has a device of the same id: none gets across, and its word counts not."""

from __future__ import annotations

import json

import pytest

from span_trio import CommandOutcome, CommandResult, SpanPanelStaleDataError, SpanPanelUnknownTargetError
from span_trio.enums import ConnectionReason, RefusalReason
from tests.unit.commanding import Answer, Desk, Order, acknowledge, both
from tests.unit.span.child_house import GARAGE, KITCHEN, describe, full_house_retained

pytestmark = pytest.mark.virtual_time

HOUSE = {f"ebus/5/{name}": value.encode() for name, value in full_house_retained().items()}
OTHER = "xg-0000-barn"
RELAY = f"ebus/5/{KITCHEN}/switch/relay"
WAS = HOUSE[RELAY].decode()
WANTED = "CLOSED" if WAS == "OPEN" else "OPEN"
THEIRS = json.dumps({**describe("circuit"), "root": OTHER, "parent": OTHER})
LISTED = json.dumps(describe("distribution-enclosure", children=[KITCHEN]))
CLAIMS = {
    "it names another root": (f"ebus/5/{KITCHEN}/$description", THEIRS),
    "another panel lists it": (f"ebus/5/{OTHER}/$description", LISTED),
}
"""What takes the kitchen from our panel."""
every = pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
Said = tuple[str, str]


def saying(*said: Said) -> Answer:
    """The broker has it, and hands on these messages, all at once."""

    def say(desk: Desk, _: Order) -> None:
        for name, payload in said:
            desk.broker.publish(name, payload)

    return both(acknowledge, say)


async def commanded(*said: Said) -> CommandOutcome:
    desk = Desk(retained=HOUSE, answer=saying(*said))
    async with desk.opened(alone=False) as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, WANTED)
        assert len(desk.orders) == 1
        return outcome


async def test_without_any_of_that_the_value_confirms() -> None:
    outcome = await commanded((RELAY, WANTED))
    assert (outcome.result, outcome.value) == (CommandResult.CONFIRMED, WANTED)


@every
async def test_a_value_behind_the_claim_of_another_panel_confirms_nothing_and_is_not_told(claim: Said) -> None:
    outcome = await commanded(claim, (RELAY, WANTED))
    assert outcome.result is CommandResult.ACCEPTED
    assert (outcome.value, outcome.target, outcome.requester) == (None, None, None)


@every
async def test_nor_does_it_though_the_claim_is_over_within_the_same_read(claim: Said) -> None:
    over = (f"ebus/5/{OTHER}/$description", "")
    ours = (f"ebus/5/{KITCHEN}/$description", HOUSE[f"ebus/5/{KITCHEN}/$description"].decode())
    outcome = await commanded(claim, (RELAY, WANTED), ours, over)
    assert outcome.result is CommandResult.ACCEPTED


@every
async def test_a_target_of_another_panel_was_taken_by_nobody_of_ours(claim: Said) -> None:
    def say(desk: Desk, _: Order) -> None:
        for name, payload in (claim, (f"{RELAY}/$target", WANTED)):
            desk.broker.publish(name, payload)

    async with Desk(retained=HOUSE, answer=say).opened(alone=False) as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, WANTED)
    assert outcome.result is CommandResult.UNCONFIRMED


async def test_what_comes_behind_the_end_of_the_claim_confirms() -> None:
    ours = (f"ebus/5/{KITCHEN}/$description", HOUSE[f"ebus/5/{KITCHEN}/$description"].decode())
    desk = Desk(retained=HOUSE, answer=saying(CLAIMS["it names another root"], ours))
    async with desk.opened(alone=False) as panel:
        assert (await panel.set_circuit_relay(KITCHEN, WANTED)).result is CommandResult.ACCEPTED
        desk.broker.publish(f"ebus/5/{OTHER}/$description", "")
        await panel.wait_live()
        desk.broker.publish(f"ebus/5/{KITCHEN}/$state", "ready")
        desk.broker.publish(f"ebus/5/{KITCHEN}/switch/relay-controllable", "true")
        await panel.ping()
        desk.answer = both(acknowledge, lambda desk, order: desk.broker.publish(order.property_topic, order.payload))
        assert (await panel.set_circuit_relay(KITCHEN, WANTED)).result is CommandResult.CONFIRMED


async def test_while_another_panel_lists_a_circuit_nothing_is_commanded() -> None:
    desk = Desk(retained=HOUSE)
    async with desk.opened(alone=False) as panel:
        desk.broker.publish(*CLAIMS["another panel lists it"])
        await panel.ping()
        for circuit in (KITCHEN, GARAGE):
            with pytest.raises(SpanPanelStaleDataError) as caught:
                await panel.set_circuit_relay(circuit, WANTED)
            assert caught.value.reason is ConnectionReason.CONFLICT
            assert OTHER in str(caught.value)
        assert desk.orders == []


async def test_a_circuit_that_names_another_root_is_no_circuit_of_ours() -> None:
    desk = Desk(retained={**HOUSE, f"ebus/5/{KITCHEN}/$description": THEIRS.encode()})
    async with desk.opened(alone=False) as panel:
        assert panel.snapshot.pending_devices == (KITCHEN,)
        assert KITCHEN not in panel.snapshot.circuits
        with pytest.raises(SpanPanelUnknownTargetError) as caught:
            await panel.set_circuit_relay(KITCHEN, WANTED)
        assert caught.value.reason is RefusalReason.NO_SUCH_CIRCUIT
        assert not [each for each in panel.controls() if each.device_id == KITCHEN]
        assert desk.orders == []
