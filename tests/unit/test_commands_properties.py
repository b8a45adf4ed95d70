"""Commands to a parent/child panel, end to end: its five, and the properties that no other command is for."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import pytest
import trio

from span_trio import (
    CommandResult,
    Control,
    LockState,
    PanelCapability,
    RefusalReason,
    SpanPanelCommandError,
    SpanPanelCommandValueError,
    SpanPanelLockedError,
)
from tests.unit.commanding import Answer, Desk, acknowledge, both, ignore, obey
from tests.unit.link.broker import Kind
from tests.unit.link.house import topic
from tests.unit.mqtt import packets
from tests.unit.span.child_house import DRIVE, HOUSE, KITCHEN, ROOT, describe, full_house_retained

pytestmark = pytest.mark.virtual_time

HEATER: Final = "water-heater"
LOCK: Final = {"datatype": "enum", "format": "UNLOCKED,LOCKED", "settable": True}
NODES: Final[dict[str, Any]] = {
    "control": {
        "type": "energy.ebus.capability.control",
        "properties": {
            "mode": {"datatype": "enum", "format": "ECO,BOOST", "settable": True},
            "label": {"datatype": "string", "settable": True},
            "setpoint": {"datatype": "float", "settable": True},
            "plan": {"datatype": "json", "settable": True},
            "press": {"datatype": "boolean", "retained": False, "settable": True},
        },
    }
}


async def test_i16_what_a_property_is_set_to_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Desk(retained=retained()).opened() as panel:
        await panel.set_property(HEATER, "control", "label", "12 Elm Street")
        with pytest.raises(SpanPanelCommandValueError):
            await panel.set_property(HEATER, "control", "setpoint", "12 Elm Street")
    said = [record.message for record in caplog.records if record.name == "span_trio.commands"]
    assert [line.startswith(f"property {HEATER}/control/") for line in said] == [True, True]
    assert "Elm" not in caplog.text


def retained(**changes: str) -> dict[str, bytes]:
    """The full house, its charger's lock settable, and a heater without a class; `changes` by name, of the heater."""
    children = [*(device for device, (_, parent) in HOUSE.items() if parent == ROOT), HEATER]
    found = {
        **full_house_retained(),
        f"{ROOT}/$description": json.dumps(describe("distribution-enclosure", children=children)),
        f"{DRIVE}/$description": json.dumps(describe("evse", parent=ROOT, switch__lock_state=LOCK)),
        f"{HEATER}/$state": "ready",
        f"{HEATER}/$description": json.dumps(describe("water-heater", parent=ROOT, nodes=NODES)),
        **{f"{HEATER}/control/{name}": value for name, value in changes.items()},
    }
    return {f"ebus/5/{name}": value.encode() for name, value in found.items()}


@pytest.mark.parametrize(
    ("control", "where", "payload"),
    [
        (Control.RELAY, f"{KITCHEN}/switch/relay", b"CLOSED"),
        (Control.PRIORITY, f"{KITCHEN}/load-shed/priority", b"NEVER"),
        (Control.ISLANDING, f"{ROOT}/shed/asserted-islanding-state", b"OFF_GRID"),
        (Control.DOMINANT_POWER_SOURCE, f"{ROOT}/shed/asserted-islanding-state", b"OFF_GRID"),
        (Control.CHARGE_LIMIT, f"{DRIVE}/config/user-max-charge-current", b"20"),
        (Control.CHARGER_LOCK, f"{DRIVE}/switch/lock-state", b"UNLOCKED"),
    ],
)
async def test_each_of_the_five_is_written_to_its_own_device_and_confirmed_there(
    control: Control, where: str, payload: bytes
) -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        calls = {
            Control.RELAY: lambda: panel.set_circuit_relay(KITCHEN, "CLOSED"),
            Control.PRIORITY: lambda: panel.set_circuit_priority(KITCHEN, "NEVER"),
            Control.ISLANDING: lambda: panel.assert_islanding_state("OFF_GRID"),
            Control.DOMINANT_POWER_SOURCE: lambda: panel.set_dominant_power_source("BATTERY"),
            Control.CHARGE_LIMIT: lambda: panel.set_evse_charge_limit("SD-2231", 20),
            Control.CHARGER_LOCK: lambda: panel.set_evse_lock("SD-2231", LockState.UNLOCKED),
        }
        outcome = await calls[control]()
        assert (outcome.result, outcome.command.control) == (CommandResult.CONFIRMED, control)
    [order] = desk.orders
    assert (order.topic, order.payload, order.flags) == (f"ebus/5/{where}/set", payload, 0b0010)


async def test_a_relays_requester_is_told_in_the_outcome() -> None:
    def answer(desk: Desk, order: Any) -> None:
        acknowledge(desk, order)
        desk.broker.publish(f"{order.property_topic}-requester", "USER")
        desk.broker.publish(order.property_topic, order.payload)

    desk = Desk(retained=retained(), answer=answer)
    async with desk.opened() as panel:
        outcome = await panel.set_circuit_relay(KITCHEN, "CLOSED")
        assert (outcome.value, outcome.target, outcome.requester) == ("CLOSED", "CLOSED", "USER")


async def test_lesson_e_an_override_that_the_panel_does_not_take_is_accepted_by_the_broker_and_not_confirmed() -> None:
    desk = Desk(retained=retained(), answer=acknowledge)
    async with desk.opened() as panel:
        outcome = await panel.assert_islanding_state("OFF_GRID")
        assert (outcome.result, outcome.value) == (
            CommandResult.ACCEPTED,
            "NONE",
        )


async def test_lesson_e_a_limit_that_the_panel_clamps_is_not_confirmed_and_what_it_made_of_it_is_told() -> None:
    def clamp(desk: Desk, order: Any) -> None:
        acknowledge(desk, order)
        desk.broker.publish(order.property_topic, "6")

    desk = Desk(retained=retained(), answer=clamp)
    async with desk.opened() as panel:
        outcome = await panel.set_evse_charge_limit("SD-2231", 7)
        assert (outcome.result, outcome.value) == (CommandResult.ACCEPTED, "6")
        assert panel.snapshot.evse["SD-2231"].charge_current_limit_a == 6


@pytest.mark.parametrize("text", ["20.0", "020"])
async def test_a_value_confirms_however_it_is_written(text: str) -> None:
    def report(desk: Desk, order: Any) -> None:
        desk.broker.publish(order.property_topic, text)

    desk = Desk(retained=retained(), answer=report)
    async with desk.opened() as panel:
        assert (await panel.set_evse_charge_limit("SD-2231", 20)).result is CommandResult.CONFIRMED


@pytest.mark.parametrize(
    ("name", "wanted", "payload"),
    [
        ("mode", "BOOST", b"BOOST"),
        ("label", "", b"\x00"),
        ("label", "Küche", "Küche".encode()),
        ("setpoint", 42.5, b"42.5"),
        ("plan", {"a": [1, None]}, b'{"a":[1,null]}'),
    ],
)
async def test_a_property_of_a_stranger_is_set_and_confirmed(name: str, wanted: object, payload: bytes) -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        outcome = await panel.set_property(HEATER, "control", name, wanted)
        assert outcome.result is CommandResult.CONFIRMED
        assert outcome.command.subject == f"{HEATER}/control/{name}"
        assert (await panel.set_property(HEATER, "control", name, wanted)).result is CommandResult.NO_OP
    [order] = desk.orders
    assert (order.topic, order.payload, order.flags) == (f"ebus/5/{HEATER}/control/{name}/set", payload, 0b0010)


@pytest.mark.parametrize(("answer", "result"), [(ignore, CommandResult.UNCONFIRMED), (obey, CommandResult.CONFIRMED)])
async def test_what_is_an_event_goes_at_qos_0_and_is_never_already_so(answer: Answer, result: CommandResult) -> None:
    """Nobody shall queue it (Homie, QoS and retained messages)."""
    desk = Desk(retained=retained(press="true"), answer=answer)
    async with desk.opened() as panel:
        for _ in range(2):
            outcome = await panel.set_property(HEATER, "control", "press", True)
            assert (outcome.result, outcome.acknowledged_at) == (result, None)
            assert "has not answered" not in outcome.detail  # nobody has to, at QoS 0
    assert [(order.payload, order.flags) for order in desk.orders] == [(b"true", 0)] * 2


@pytest.mark.parametrize(
    ("value", "wanted"), [('{"on":1}', {"on": True}), ("[0]", [False]), ('{"a":[1]}', {"a": [True]})]
)
async def test_lesson_a_true_is_not_one_within_json_either(value: str, wanted: object) -> None:
    """Equal in Python, and another thing to a panel."""
    desk = Desk(retained=retained(plan=value), answer=ignore)
    async with desk.opened() as panel:
        assert (await panel.set_property(HEATER, "control", "plan", wanted)).result is CommandResult.UNCONFIRMED
    assert len(desk.orders) == 1


@pytest.mark.parametrize("depth", [100, 450, 600, 900])
async def test_i9_json_however_deep_costs_the_command_at_most(depth: int) -> None:
    deep: list[object] = []
    for _ in range(depth):
        deep = [deep]
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        refusals: list[RefusalReason] = []
        try:
            await panel.set_property(HEATER, "control", "plan", deep)
        except SpanPanelCommandError as error:
            refusals.append(error.reason)
        assert refusals in ([], [RefusalReason.OUTSIDE_FORMAT])
        await trio.sleep(5)
        assert panel.live


async def test_json_with_numbers_too_large_for_a_float_is_compared_exactly() -> None:
    desk = Desk(retained=retained(plan=f'{{"id":{2**53}}}'), answer=ignore)
    async with desk.opened() as panel:
        outcome = await panel.set_property(HEATER, "control", "plan", {"id": 2**53 + 1})
        assert outcome.result is CommandResult.UNCONFIRMED
    assert len(desk.orders) == 1


async def test_json_that_says_the_same_in_another_order_confirms() -> None:
    def report(desk: Desk, order: Any) -> None:
        desk.broker.publish(order.property_topic, '{"b": 2.0, "a": 1}')

    desk = Desk(retained=retained(), answer=report)
    async with desk.opened() as panel:
        outcome = await panel.set_property(HEATER, "control", "plan", {"a": 1, "b": 2})
        assert outcome.result is CommandResult.CONFIRMED


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ((KITCHEN, "switch", "relay"), RefusalReason.MODELLED),
        ((HEATER, "control", "nope"), RefusalReason.NO_SUCH_PROPERTY),
        ((f"{HEATER}/control", "mode", "set"), RefusalReason.NO_SUCH_PROPERTY),
        (("#", "control", "mode"), RefusalReason.NO_SUCH_PROPERTY),
    ],
)
async def test_lesson_e_what_is_modelled_or_unknown_is_not_set_as_a_property(
    place: tuple[str, str, str], reason: RefusalReason
) -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        with pytest.raises(SpanPanelCommandError) as caught:
            await panel.set_property(*place, "ECO")
        assert caught.value.reason is reason
    assert desk.orders == []


async def test_a_device_that_goes_away_is_locked_from_then_on() -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        desk.broker.publish(topic("$state", HEATER), "lost")
        desk.broker.publish(topic("$state", KITCHEN), "init")
        await panel.ping()
        with pytest.raises(SpanPanelLockedError, match="not ready"):
            await panel.set_property(HEATER, "control", "mode", "ECO")
        with pytest.raises(SpanPanelLockedError, match="not ready"):
            await panel.set_circuit_relay(KITCHEN, "CLOSED")
    assert desk.orders == []


async def test_a_description_that_locks_behind_a_live_one_counts_at_once() -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        changed = describe("circuit", parent=ROOT, switch__relay={"settable": False})
        desk.broker.publish(topic("$description", KITCHEN), json.dumps(changed))
        await panel.ping()
        with pytest.raises(SpanPanelLockedError, match="not settable"):
            await panel.set_circuit_relay(KITCHEN, "CLOSED")
    assert desk.orders == []


async def test_capabilities_say_what_is_offered_and_not_locked_now() -> None:
    always = PanelCapability.PUSH_STREAMING | PanelCapability.EBUS_MQTT
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        everything = PanelCapability.NONE
        for capability in PanelCapability:
            everything |= capability
        assert panel.capabilities == everything
        assert {offered.control for offered in panel.controls()} == set(Control) - {Control.DOMINANT_POWER_SOURCE}
        desk.broker.publish(topic("$state", DRIVE), "lost")
        await panel.ping()
        of_chargers = PanelCapability.CHARGE_LIMIT_CONTROL | PanelCapability.CHARGER_LOCK_CONTROL
        assert panel.capabilities == everything & ~of_chargers
        desk.broker.connection.say(packets.publish(topic("$state"), b"lost"))
        await panel.ping()
        assert panel.capabilities == always
    assert panel.capabilities == always


async def test_a_stranger_that_reports_then_contradicts_was_confirmed_once() -> None:
    def contradict(desk: Desk, order: Any) -> None:
        both(obey, acknowledge)(desk, order)
        desk.broker.publish(order.property_topic, "ECO")

    desk = Desk(retained=retained(mode="ECO"), answer=contradict)
    async with desk.opened() as panel:
        outcome = await panel.set_property(HEATER, "control", "mode", "BOOST")
        assert outcome.result is CommandResult.CONFIRMED  # it was seen
        assert outcome.value in {"BOOST", "ECO"}  # and that is how it is now


async def test_what_may_move_something_goes_behind_a_ping_as_a_relay_does() -> None:
    desk = Desk(retained=retained(mode="ECO"))
    async with desk.opened() as panel:
        for call in (
            lambda: panel.set_evse_lock("SD-2231", "UNLOCKED"),
            lambda: panel.set_property(HEATER, "control", "mode", "BOOST"),
        ):
            await trio.sleep(1.5)
            pings = desk.broker.connection.kinds.count(Kind.PINGREQ)
            assert (await call()).is_done
            assert desk.broker.connection.kinds[-2:] == [Kind.PINGREQ, Kind.PUBLISH]
            assert desk.broker.connection.kinds.count(Kind.PINGREQ) == pings + 1


async def test_lesson_e_no_lock_moves_behind_a_broker_that_is_frozen() -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        desk.broker.instead[Kind.PINGREQ] = lambda *_: None
        await trio.sleep(1.5)
        outcome = await panel.set_evse_lock("SD-2231", "UNLOCKED")
        assert (outcome.result, outcome.detail) == (CommandResult.FAILED, "the broker did not answer a ping in time")
    assert desk.orders == []


@pytest.mark.parametrize("state", ["UNKNOWN", "locked", "", "OPEN", True, None])
async def test_a_lock_is_locked_or_unlocked_and_nothing_else(state: Any) -> None:
    desk = Desk(retained=retained())
    async with desk.opened() as panel:
        with pytest.raises(SpanPanelCommandValueError, match="only to UNLOCKED or LOCKED"):
            await panel.set_evse_lock("SD-2231", state)
    assert desk.orders == []


async def test_a_relay_that_is_of_no_circuit_has_turns_of_its_own() -> None:
    nodes = {"control": {**NODES["control"], "properties": {"relay": {"datatype": "boolean", "settable": True}}}}
    described = json.dumps(describe("water-heater", parent=ROOT, nodes=nodes)).encode()
    found = {**retained(), f"ebus/5/{HEATER}/$description": described, f"ebus/5/{HEATER}/control/relay": b"false"}
    desk = Desk(retained=found, answer=acknowledge)
    async with desk.opened() as panel, trio.open_nursery() as nursery:
        nursery.start_soon(panel.set_property, HEATER, "control", "relay", True)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(panel.set_property, HEATER, "control", "relay", False)
        await trio.sleep(1)
        assert desk.payloads == [b"true"]
        desk.broker.publish(f"ebus/5/{HEATER}/control/relay", b"true")
        await trio.sleep(0.5)
        assert desk.payloads == [b"true", b"false"]
        nursery.cancel_scope.cancel()
