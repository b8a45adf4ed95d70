"""Commands to circuits that share a relay: everybody is told what they reach, and they take turns."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio

from span_trio import (
    Command,
    CommandOutcome,
    CommandRecord,
    CommandResult,
    Control,
    RefusalReason,
    SpanPanel,
    SpanPanelLockedError,
)
from span_trio.clock import now
from span_trio.homie import Message
from tests.unit.commanding import Answer, Desk, Order, acknowledge, both, ignore
from tests.unit.span.child_house import ROOT, describe, house, messages_of

pytestmark = pytest.mark.virtual_time

A, B, C = "a", "b", "c"
CONFIRMED, ACCEPTED, UNKNOWN = CommandResult.CONFIRMED, CommandResult.ACCEPTED, CommandResult.UNKNOWN
FAILED, NO_OP = CommandResult.FAILED, CommandResult.NO_OP


def relay(circuit: str) -> str:
    return f"ebus/5/{circuit}/switch/relay"


def shared(circuit: str) -> str:
    return f"ebus/5/{circuit}/switch/shared-with-device-ids"


def described(circuit: str, **changes: object) -> tuple[str, str]:
    what = describe("circuit", parent=ROOT, switch__shared_with_device_ids={"datatype": "string"}, **changes)
    return f"ebus/5/{circuit}/$description", json.dumps(what)


def desk_of(answer: Answer, *, shares: str = B) -> Desk:
    """Three circuits, closed; the first shares its relay."""
    found = {f"ebus/5/{name}": text for name, text in messages_of(house(**dict.fromkeys((A, B, C), "circuit"))).items()}
    found |= dict(described(circuit) for circuit in (A, B, C))
    found |= {relay(circuit): "CLOSED" for circuit in (A, B, C)} | {shared(A): shares}
    return Desk(retained={name: text.encode() for name, text in found.items()}, answer=answer)


def moves(*circuits: str) -> Answer:
    """What hangs on the relay is reported as commanded."""

    def move(desk: Desk, order: Order) -> None:
        for circuit in circuits:
            desk.broker.publish(relay(circuit), order.payload)

    return both(acknowledge, move)


async def test_authorise_audit_and_the_outcome_name_all_that_a_command_reaches() -> None:
    asked: list[Command] = []
    heard: list[CommandRecord] = []

    async def authorise(command: Command) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(command)

    async def audit(record: CommandRecord) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(record)

    async with desk_of(moves(A, B), shares=f"{B},x").opened(authorise=authorise, audit=audit) as panel:
        outcome = await panel.set_circuit_relay(B, "OPEN")
        assert outcome.result is CONFIRMED
        assert outcome.reaches == outcome.command.reaches == asked[0].reaches == (B, A, "x")
        assert asked[0].reaches_unknown == ("x",)
        assert str(outcome) == "relay of b (one relay with a, x) to OPEN: confirmed"
        await panel.set_circuit_relay(C, "OPEN")
        assert asked[1].reaches == (C,)
    assert [record.command for record in heard] == asked


async def test_a_locked_partner_refuses_and_audit_hears_whom_it_would_have_reached() -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(record)

    desk = desk_of(moves(A, B))
    async with desk.opened(audit=audit) as panel:
        desk.broker.publish(f"ebus/5/{A}/switch/relay-controllable", "false")
        await panel.ping()
        with pytest.raises(SpanPanelLockedError, match=r"^the relay of b \(one relay with a\): not controllable$"):
            await panel.set_circuit_relay(B, "OPEN")
    assert [record.command.reaches for record in heard] == [(B, A)]
    assert desk.orders == []


async def test_who_asks_for_one_circuit_does_not_get_two_that_share_by_now() -> None:
    desk = desk_of(moves(A, B, C))

    async def authorise(command: Command) -> None:
        assert command.reaches == (A, B)
        desk.broker.publish(shared(C), A)
        await trio.sleep(0.1)

    async with desk.opened(authorise=authorise) as panel:
        with pytest.raises(
            SpanPanelLockedError, match=r"one relay with b, c\): reaches other circuits by now"
        ) as caught:
            await panel.set_circuit_relay(A, "OPEN")
        assert caught.value.reason is RefusalReason.REACHES_OTHERS
    assert desk.orders == []


async def test_who_asks_for_two_circuits_may_get_one() -> None:
    desk = desk_of(moves(A))

    async def authorise(_: Command) -> None:
        desk.broker.publish(shared(A), "")
        await trio.sleep(0.1)

    async with desk.opened(authorise=authorise) as panel:
        outcome = await panel.set_circuit_relay(A, "OPEN")
        assert (outcome.result, outcome.reaches) == (CONFIRMED, (A, B))


@pytest.mark.parametrize("what", ["shared with a third", "a partner locked", "a partner away"])
async def test_what_changes_while_it_waits_for_the_writer_holds_it_back(what: str) -> None:
    desk = desk_of(moves(A, B, C))
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await panel.ping()
        desk.stream.fill()
        with trio.move_on_after(0.1):
            await panel.ping()

        @nursery.start_soon
        async def then() -> None:
            await trio.sleep(0.1)
            match what:
                case "shared with a third":
                    desk.broker.publish(shared(C), B)
                case "a partner locked":
                    desk.broker.publish(*described(B, switch__relay={"settable": False}))
                case _:
                    desk.broker.publish(f"ebus/5/{B}/$state", "lost")
            await trio.sleep(0.1)
            desk.stream.empty()

        outcome = await panel.set_circuit_relay(A, "OPEN")
        assert outcome.result is FAILED
        assert outcome.sent_at is None
        assert outcome.detail.startswith("the relay of a (one relay with b")
    assert desk.orders == []


# --- one piece of hardware --------------------------------------------------------------------------------------------


async def several(panel: SpanPanel, *calls: tuple[str, str]) -> list[CommandOutcome]:
    outcomes: dict[int, CommandOutcome] = {}

    async def one(number: int, circuit: str, state: str) -> None:
        outcomes[number] = await panel.set_circuit_relay(circuit, state)

    async with trio.open_nursery() as nursery:
        for number, (circuit, state) in enumerate(calls):
            nursery.start_soon(one, number, circuit, state)
            await trio.testing.wait_all_tasks_blocked()
    return [outcomes[number] for number in range(len(calls))]


async def test_commands_to_circuits_on_one_relay_take_turns() -> None:
    desk = desk_of(ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def act() -> None:
            for number in range(4):
                await trio.sleep(0.5)
                assert len(desk.orders) == number + 1  # the next one waits
                for circuit in (A, B):
                    desk.broker.publish(relay(circuit), desk.orders[-1].payload)

        outcomes = await several(panel, (A, "OPEN"), (B, "CLOSED"), (B, "OPEN"), (A, "CLOSED"))
        assert {outcome.result for outcome in outcomes} == {CONFIRMED}
    assert [(order.property_topic, order.payload) for order in desk.orders] == [
        (relay(A), b"OPEN"),
        (relay(B), b"CLOSED"),
        (relay(B), b"OPEN"),
        (relay(A), b"CLOSED"),
    ]


async def test_a_circuit_that_shares_nothing_waits_for_nobody() -> None:
    desk = desk_of(acknowledge)
    async with desk.opened() as panel:
        await several(panel, (A, "OPEN"), (C, "OPEN"))
        first, second = desk.orders
        assert first.at == second.at


async def test_so_already_is_so_of_all_that_share_the_relay() -> None:
    desk = desk_of(moves(A, B))
    async with desk.opened() as panel:
        assert (await panel.set_circuit_relay(A, "CLOSED")).result is NO_OP
        desk.broker.publish(relay(B), "OPEN")  # one relay cannot be both: one of them is late
        await panel.ping()
        assert (await panel.set_circuit_relay(A, "CLOSED")).result is CONFIRMED
        desk.broker.publish(f"{relay(B)}/$target", "OPEN")
        await panel.ping()
        assert (await panel.set_circuit_relay(A, "CLOSED")).result is CONFIRMED
    assert len(desk.orders) == 2


async def test_what_may_still_act_on_the_other_circuit_is_no_no_op() -> None:
    desk = desk_of(acknowledge)
    async with desk.opened() as panel:
        assert (await panel.set_circuit_relay(A, "OPEN")).result is ACCEPTED
        assert (await panel.set_circuit_relay(C, "CLOSED")).result is NO_OP
        assert (await panel.set_circuit_relay(B, "CLOSED")).result is ACCEPTED
        desk.broker.publish(relay(B), "CLOSED")  # so the panel has dealt with both
        await panel.ping()
        for circuit in (A, B):
            assert (await panel.set_circuit_relay(circuit, "CLOSED")).result is NO_OP
    assert desk.payloads == [b"OPEN", b"CLOSED"]


async def test_what_was_written_over_a_lost_link_may_still_act_on_the_other_circuit() -> None:
    desk = desk_of(lambda desk, _: desk.broker.connection.hang_up())
    async with desk.opened() as panel:
        assert (await panel.set_circuit_relay(A, "OPEN")).result is UNKNOWN
        await panel.wait_live()
        desk.answer = acknowledge
        assert (await panel.set_circuit_relay(B, "CLOSED")).result is ACCEPTED
        assert (await panel.set_circuit_relay(C, "CLOSED")).result is NO_OP


async def test_a_late_word_on_the_first_does_not_settle_what_was_written_after_it() -> None:
    desk = desk_of(acknowledge)
    async with desk.opened() as panel:
        for circuit, state in ((A, "OPEN"), (B, "CLOSED")):
            assert (await panel.set_circuit_relay(circuit, state)).result is ACCEPTED
        for circuit in (A, B):
            desk.broker.publish(relay(circuit), "OPEN")
        await panel.ping()
        assert (await panel.set_circuit_relay(A, "OPEN")).result is ACCEPTED  # for B's CLOSED may still act
    assert desk.payloads == [b"OPEN", b"CLOSED", b"OPEN"]


async def test_who_shares_only_for_a_while_takes_turns_all_the_same() -> None:
    desk = desk_of(ignore)

    async def authorise(command: Command) -> None:
        if command.subject == B:  # while this one is looked at, they do not share
            desk.broker.publish(shared(A), "")
            await trio.sleep(0.1)

    async with desk.opened(authorise=authorise) as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def act() -> None:
            await trio.sleep(0.5)
            desk.broker.publish(shared(A), B)
            await trio.sleep(0.5)
            assert len(desk.orders) == 1
            desk.broker.publish(relay(A), "OPEN")
            await trio.sleep(0.5)
            desk.broker.publish(relay(B), "CLOSED")

        first, second = await several(panel, (A, "OPEN"), (B, "CLOSED"))
        assert {first.result, second.result} == {CONFIRMED}
    assert desk.payloads == [b"OPEN", b"CLOSED"]


# --- between a call and its first checkpoint ---


def meanwhile(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], None]) -> None:
    """Have something happen at the next checkpoint."""
    checkpoint = trio.lowlevel.checkpoint

    async def deed_and_checkpoint() -> None:
        monkeypatch.setattr(trio.lowlevel, "checkpoint", checkpoint)
        deed()
        await checkpoint()

    monkeypatch.setattr(trio.lowlevel, "checkpoint", deed_and_checkpoint)


async def test_what_a_command_reaches_is_what_it_reached_when_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = desk_of(moves(A, B, C))
    async with desk.opened() as panel:
        await panel.ping()
        more = [Message(shared(A), f"{B},{C}".encode(), retain=False)]
        meanwhile(monkeypatch, lambda: panel._tracker.receive(more, now()))
        with pytest.raises(SpanPanelLockedError) as caught:
            await panel.set_circuit_relay(A, "OPEN")
        assert caught.value.reason is RefusalReason.REACHES_OTHERS
    assert desk.orders == []


async def test_a_circuit_that_comes_to_be_known_meanwhile_is_commanded(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = desk_of(moves(A, B))
    name, text = described(A)
    what = json.loads(text)
    del what["nodes"]["switch"]["properties"]["relay"]
    bare = json.dumps(what)
    async with desk.opened() as panel:
        await panel.ping()
        panel._tracker.receive([Message(name, bare.encode(), retain=False)], now())
        assert A not in {each.subject for each in panel.controls() if each.control is Control.RELAY}
        meanwhile(monkeypatch, lambda: panel._tracker.receive([Message(name, text.encode(), retain=False)], now()))
        outcome = await panel.set_circuit_relay(A, "OPEN")
        assert outcome.result is CONFIRMED
        assert outcome.reaches == (A, B)
