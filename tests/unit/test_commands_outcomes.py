"""How far a command got: one truthful outcome by the deadline, whatever the panel and its broker do."""

from __future__ import annotations

import pytest
import trio

from span_trio import CommandOutcome, CommandResult, Control, RelayState
from tests.unit.commanding import PRIORITY, RELAY, SOURCE, Answer, Desk, Order, acknowledge, both, ignore, obey, report
from tests.unit.link.broker import Kind
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time


def says(payload: str, *, on: str = RELAY, retain: bool = False, beside: Answer = ignore) -> Answer:
    """The panel publishes this."""

    def answer(desk: Desk, order: Order) -> None:
        beside(desk, order)
        desk.broker.connection.say(packets.publish(on, payload.encode(), retain))

    return answer


async def opening(answer: Answer, **options: float) -> tuple[CommandOutcome, float, Desk]:
    """Open the kitchen's relay: the outcome, how long it took, and the desk."""
    desk = Desk(answer=answer)
    async with desk.opened() as panel:
        began = trio.current_time()
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN", **options)
        return outcome, trio.current_time() - began, desk


# --- what went out ----------------------------------------------------------------------------------------------------


async def test_a_command_is_one_message_at_qos_1_not_retained_behind_a_ping() -> None:
    outcome, _, desk = await opening(obey)
    [order] = desk.orders
    assert (order.topic, order.payload, order.flags) == (f"{RELAY}/set", b"OPEN", 0b0010)
    assert desk.broker.connection.kinds[-3:] == [Kind.PINGREQ, Kind.PUBLISH, Kind.DISCONNECT]
    assert str(outcome) == f"relay of {KITCHEN} to OPEN: confirmed"


async def test_only_a_relay_needs_a_ping() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await trio.sleep(1.5)
        pings = desk.broker.connection.kinds.count(Kind.PINGREQ)
        await panel.set_circuit_priority(KITCHEN, "NEVER")
        await panel.set_dominant_power_source("BATTERY")
        assert desk.broker.connection.kinds.count(Kind.PINGREQ) == pings
    assert [(order.topic, order.payload) for order in desk.orders] == [
        (f"{PRIORITY}/set", b"NEVER"),
        (f"{SOURCE}/set", b"BATTERY"),
    ]


@pytest.mark.parametrize(("age", "pings"), [(0.25, 0), (0.499, 0), (0.5, 1), (1.0, 1), (1.5, 1), (7.0, 1)])
async def test_a_relay_is_commanded_close_behind_a_pong_and_pings_otherwise(age: float, pings: int) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await panel.ping()
        before = desk.broker.connection.kinds.count(Kind.PINGREQ)
        await trio.sleep(age)
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is CommandResult.CONFIRMED
        assert desk.broker.connection.kinds.count(Kind.PINGREQ) - before == pings


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "acknowledged"),
    [
        pytest.param(obey, True, id="PUBACK, then the value"),
        pytest.param(both(report, acknowledge), False, id="the value, then PUBACK"),
        pytest.param(report, False, id="the value alone"),
        pytest.param(both(report, report, acknowledge, acknowledge), False, id="all of it twice"),
        pytest.param(both(says("CLOSED", on=f"{RELAY}/$target"), report), False, id="another target"),
        pytest.param(both(says("CLOSED"), report), False, id="another value first"),
    ],
)
async def test_a_value_seen_is_confirmed_at_once_even_before_the_publish_returns(
    answer: Answer, acknowledged: bool
) -> None:
    outcome, took, desk = await opening(answer)
    assert (outcome.result, outcome.is_done, outcome.may_still_act) == (CommandResult.CONFIRMED, True, False)
    assert took == 0.0
    assert (outcome.acknowledged_at is not None) >= acknowledged
    assert len(desk.orders) == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(ignore, CommandResult.UNCONFIRMED, id="nothing"),
        pytest.param(acknowledge, CommandResult.ACCEPTED, id="PUBACK"),
        pytest.param(says("CLOSED"), CommandResult.UNCONFIRMED, id="the old value again"),
        pytest.param(says("UNKNOWN", beside=acknowledge), CommandResult.ACCEPTED, id="another value"),
        pytest.param(says("open"), CommandResult.UNCONFIRMED, id="its text in lower case"),
        pytest.param(says("OPEN "), CommandResult.UNCONFIRMED, id="with a blank behind it"),
        pytest.param(says(""), CommandResult.UNCONFIRMED, id="cleared"),
        pytest.param(says("OPEN", retain=True), CommandResult.UNCONFIRMED, id="what the broker has retained"),
        pytest.param(says("OPEN", on=f"{RELAY}/$target"), CommandResult.ACCEPTED, id="$target"),
        pytest.param(says("CLOSED", on=f"{RELAY}/$target"), CommandResult.UNCONFIRMED, id="another $target"),
        pytest.param(
            says("OPEN", on=f"{RELAY}/$target", retain=True), CommandResult.UNCONFIRMED, id="a $target retained"
        ),
        pytest.param(says("OPEN", on=PRIORITY), CommandResult.UNCONFIRMED, id="another property"),
        pytest.param(says("OPEN", on=RELAY + "x"), CommandResult.UNCONFIRMED, id="a longer topic"),
        pytest.param(says("OPEN", on=f"{RELAY}/set"), CommandResult.UNCONFIRMED, id="an echo"),
    ],
)
async def test_what_does_not_say_so_does_not_confirm(answer: Answer, result: CommandResult) -> None:
    outcome, took, desk = await opening(answer)
    assert (outcome.result, outcome.is_done, outcome.may_still_act) == (result, False, True)
    assert took == 5.0
    assert len(desk.orders) == 1


async def test_an_outcome_says_what_was_seen_and_when() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        began = trio.current_time()
        outcomes: list[CommandOutcome] = []

        @nursery.start_soon
        async def command() -> None:
            outcomes.append(await panel.set_circuit_relay(KITCHEN, RelayState.OPEN))

        await trio.sleep(0.5)
        acknowledge(desk, desk.orders[0])
        await trio.sleep(0.5)
        desk.broker.publish(f"{RELAY}/$target", "OPEN")
        desk.broker.publish(f"{RELAY}-requester", "USER")
        await trio.sleep(0.5)
        desk.broker.publish(RELAY, "OPEN")
        await trio.sleep(0.5)
        [outcome] = outcomes
        assert outcome.sent_at is not None
        assert outcome.acknowledged_at is not None
        times = outcome.command.called_at, outcome.sent_at, outcome.acknowledged_at, outcome.ended_at
        assert [at.monotonic - began for at in times] == [0.0, 0.0, 0.5, 1.5]
        assert [at.wall - times[-1].wall for at in times[1:]] == pytest.approx([-1.5, -1.0, 0.0], abs=0.01)
        assert (outcome.value, outcome.target, outcome.requester) == ("OPEN", "OPEN", "USER")
        command_ = outcome.command
        assert (command_.control, command_.subject, command_.wanted) == (Control.RELAY, KITCHEN, "OPEN")
        assert (command_.within, command_.epoch) == (5.0, panel.snapshot.epoch)


async def test_an_outcome_shows_the_value_as_it_is_on_the_wire_though_it_does_not_show() -> None:
    outcome, _, _ = await opening(says("BOGUS"))
    assert (outcome.result, outcome.value, outcome.target, outcome.requester) == (
        CommandResult.UNCONFIRMED,
        "BOGUS",
        None,
        None,
    )
    outcome, _, _ = await opening(says(""))
    assert outcome.value is None


async def test_what_comes_behind_the_deadline_is_no_confirmation_of_this_call() -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def late() -> None:
            await trio.sleep(5.001)
            desk.broker.publish(RELAY, "OPEN")

        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).result is CommandResult.UNCONFIRMED
        await trio.sleep(1)
        assert panel.snapshot.circuits[KITCHEN].relay_state is RelayState.OPEN


async def test_a_value_one_moment_before_the_deadline_confirms() -> None:
    desk = Desk(answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def late() -> None:
            await trio.sleep(4.999)
            desk.broker.publish(RELAY, "OPEN")

        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert outcome.result is CommandResult.CONFIRMED
        assert outcome.acknowledged_at is not None


@pytest.mark.parametrize(("within", "took"), [(None, 5.0), (0.25, 0.25), (60, 60.0)])
async def test_a_relay_has_5_seconds_or_what_is_said(within: float | None, took: float) -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        began = trio.current_time()
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN", within=within)
        assert trio.current_time() - began == took
        assert outcome.command.within == took


@pytest.mark.parametrize(("within", "took"), [(None, 2.0), (0.25, 0.25), (60, 60.0)])
async def test_everything_else_has_2(within: float | None, took: float) -> None:
    desk = Desk(answer=ignore)
    async with desk.opened() as panel:
        began = trio.current_time()
        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER", within=within)
        assert (trio.current_time() - began, outcome.command.within) == (took, took)
        assert (await panel.set_dominant_power_source("PV", within=within)).command.within == took


async def test_a_command_is_a_checkpoint_whatever_comes_of_it() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        with trio.testing.assert_checkpoints():
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        with trio.testing.assert_checkpoints():
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        with trio.testing.assert_checkpoints(), pytest.raises(ValueError, match="OPEN or CLOSED"):
            await panel.set_circuit_relay(KITCHEN, "BOGUS")


async def test_a_command_confirmed_shows_in_the_snapshot_when_the_call_returns() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert panel.snapshot.circuits[KITCHEN].relay_state is RelayState.OPEN


async def test_a_pending_target_shows_in_the_snapshot_while_the_command_waits() -> None:
    desk = Desk(answer=says("OPEN", on=f"{RELAY}/$target"))
    async with desk.opened() as panel:
        await panel.set_circuit_relay(KITCHEN, "OPEN", within=0.5)
        circuit = panel.snapshot.circuits[KITCHEN]
        assert (circuit.relay_state, circuit.relay_state_target) == ("CLOSED", "OPEN")


async def test_a_value_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    desk = Desk({f"{KITCHEN}/relay": b"OP\xff"}, answer=acknowledge)
    async with desk.opened() as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert (outcome.result, outcome.value) == (CommandResult.ACCEPTED, "OP\ufffd")


async def test_a_value_that_is_reported_before_the_command_left_confirms_nothing() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        desk.stream.fill()

        @nursery.start_soon
        async def act() -> None:
            await trio.sleep(1)
            desk.broker.publish(PRIORITY, "NEVER")  # of somebody else's making
            await trio.sleep(1)
            assert desk.orders == []
            desk.stream.empty()

        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER", within=10)
        assert (outcome.result, trio.current_time()) == (CommandResult.CONFIRMED, 2.0)
        assert outcome.sent_at is not None
        assert outcome.sent_at.monotonic == 2.0
    assert desk.payloads == [b"NEVER"]


# --- a panel or a broker that is not there ----------------------------------------------------------------------------


async def test_nothing_is_written_into_a_broker_that_does_not_answer_a_ping() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await trio.sleep(1)
        desk.broker.instead[Kind.PINGREQ] = lambda *_: None
        began = trio.current_time()
        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert (outcome.result, outcome.sent_at) == (CommandResult.FAILED, None)
        assert outcome.detail == "the broker did not answer a ping in time"
        assert trio.current_time() - began == 5.0
    assert desk.orders == []


@pytest.mark.parametrize(("late", "result"), [(1.5, CommandResult.CONFIRMED), (2.0, CommandResult.FAILED)])
async def test_room_that_comes_at_the_deadline_comes_too_late(
    late: float, result: CommandResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)

        async def wait() -> None:
            await trio.lowlevel.checkpoint()
            clock.jump(late)  # nobody has been cancelled yet when the writer goes on

        monkeypatch.setattr(desk.stream, "wait_send_all_might_not_block", wait)
        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER", within=2.0)
        assert outcome.result is result
        assert outcome.detail == ("" if result is CommandResult.CONFIRMED else "it could not be written in time")
    assert len(desk.orders) == (result is CommandResult.CONFIRMED)


async def test_nothing_is_written_when_the_link_is_lost_instead_of_the_answer_to_a_ping() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await trio.sleep(1)
        desk.broker.instead[Kind.PINGREQ] = lambda *_: None

        @nursery.start_soon
        async def lose() -> None:
            await trio.sleep(1)
            desk.broker.connection.hang_up()

        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert (outcome.result, outcome.sent_at) == (CommandResult.FAILED, None)
        assert outcome.detail == "the link was lost before it was written"
        assert trio.current_time() == 2.0
        await panel.wait_live()
    assert desk.orders == []


@pytest.mark.parametrize(("takes", "is_written"), [(0.9, True), (1.0, False), (1.5, False), (4.0, False)])
async def test_a_broker_that_takes_a_second_to_answer_a_ping_gets_no_relay_command(
    takes: float, is_written: bool
) -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await trio.sleep(1)
        connection = desk.broker.connection
        connection.hold()

        @nursery.start_soon
        async def answer() -> None:
            await trio.sleep(takes)
            connection.release()

        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert trio.current_time() == 1 + takes
        if not is_written:
            assert outcome.result is CommandResult.FAILED
            assert outcome.detail == "the broker takes more than 1 s to answer a ping"
    assert len(desk.orders) == is_written


async def test_a_pong_that_comes_at_last_behind_the_deadline_lets_nothing_go() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await trio.sleep(1)
        connection = desk.broker.connection
        connection.hold()
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN", within=0.5)).result is CommandResult.FAILED
        connection.release()
        await trio.sleep(5)
    assert desk.orders == []


@pytest.mark.parametrize("busy", ["with a ping", "with nothing"])
@pytest.mark.parametrize("control", ["relay", "priority"])
async def test_i10_what_a_full_stream_did_not_take_by_the_deadline_is_not_written_behind_it(
    control: str, busy: str
) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        await panel.ping()
        desk.stream.fill()
        if busy == "with a ping":
            with trio.move_on_after(0.1):
                await panel.ping()
        if control == "relay":
            outcome = await panel.set_circuit_relay(KITCHEN, "OPEN", within=0.5)
        else:
            outcome = await panel.set_circuit_priority(KITCHEN, "NEVER", within=0.5)
        desk.stream.empty()
        await trio.sleep(5)
        assert outcome.result is CommandResult.FAILED
        assert outcome.sent_at is None
    assert desk.orders == []


async def test_a_stream_that_has_room_again_before_the_deadline_is_written_to_then() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        desk.stream.fill()

        @nursery.start_soon
        async def empty() -> None:
            await trio.sleep(1.5)
            desk.stream.empty()

        outcome = await panel.set_circuit_priority(KITCHEN, "NEVER")
        assert outcome.result is CommandResult.CONFIRMED
        assert outcome.sent_at is not None
        assert outcome.sent_at.monotonic - outcome.command.called_at.monotonic == 1.5


async def test_a_pong_that_is_too_old_when_the_stream_has_room_at_last_lets_no_relay_go() -> None:
    desk = Desk()
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        await panel.ping()
        desk.stream.fill()

        @nursery.start_soon
        async def empty() -> None:
            with trio.move_on_after(0.1):
                await panel.ping()  # the writer is busy with this
            await trio.sleep(1.4)
            desk.broker.instead[Kind.PINGREQ] = lambda *_: None
            desk.stream.empty()

        outcome = await panel.set_circuit_relay(KITCHEN, "OPEN")
        assert outcome.result is CommandResult.FAILED
    assert desk.orders == []
