"""What is refused before anything is sent: each for its own reason, and nothing is written, ever."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio

from span_trio import (
    CommandRecord,
    ConnectionReason,
    RefusalReason,
    SpanPanel,
    SpanPanelClosedError,
    SpanPanelCommandError,
    SpanPanelCommandValueError,
    SpanPanelLockedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
    SpanPanelValidationError,
)
from tests.unit.commanding import RELAY, Desk
from tests.unit.link.house import topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

Call: TypeAlias = Callable[[SpanPanel], Awaitable[object]]
DASHED = "ac3dccda-46a9-4b98-878a-227df6fed588"


def relay(circuit: str = KITCHEN, state: str = "OPEN") -> Call:
    return lambda panel: panel.set_circuit_relay(circuit, state)


def priority(circuit: str = KITCHEN, value: str = "NEVER") -> Call:
    return lambda panel: panel.set_circuit_priority(circuit, value)


REFUSED: dict[str, tuple[Call, type[SpanPanelCommandError], RefusalReason]] = {
    "an unknown id": (relay("nope"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "no id": (relay(""), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "a node that is no circuit": (relay("core"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "a path": (relay(f"{KITCHEN}/relay"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "a wildcard": (relay("#"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "a position": (relay("unmapped_tab_5"), SpanPanelUnknownTargetError, RefusalReason.UNMAPPED_POSITION),
    "a state that is none": (relay(state="BOGUS"), SpanPanelCommandValueError, RefusalReason.OUTSIDE_FORMAT),
    "a state UNKNOWN": (relay(state="UNKNOWN"), SpanPanelCommandValueError, RefusalReason.OUTSIDE_FORMAT),
    "a priority of nobody": (priority("nope"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_CIRCUIT),
    "a priority of a position": (
        priority("unmapped_tab_5"),
        SpanPanelUnknownTargetError,
        RefusalReason.UNMAPPED_POSITION,
    ),
    "a priority that is none": (priority(value="BOGUS"), SpanPanelCommandValueError, RefusalReason.OUTSIDE_FORMAT),
    "a source UNKNOWN": (
        lambda panel: panel.set_dominant_power_source("UNKNOWN"),
        SpanPanelCommandValueError,
        RefusalReason.OUTSIDE_FORMAT,
    ),
    "islanding of a flat panel": (
        lambda panel: panel.assert_islanding_state("ON_GRID"),
        SpanPanelUnknownTargetError,
        RefusalReason.NO_SUCH_CONTROL,
    ),
    "an unknown charger": (
        lambda panel: panel.set_evse_charge_limit("evse", 16),
        SpanPanelUnknownTargetError,
        RefusalReason.NO_SUCH_CHARGER,
    ),
    "a property of a flat panel": (
        lambda panel: panel.set_property(panel.serial_number, "core", "door", "OPEN"),
        SpanPanelLockedError,
        RefusalReason.NOT_SETTABLE,
    ),
    "a property of a flat panel that is none": (
        lambda panel: panel.set_property(panel.serial_number, "core", "doors", "OPEN"),
        SpanPanelUnknownTargetError,
        RefusalReason.NO_SUCH_PROPERTY,
    ),
}


@pytest.mark.parametrize(("call", "kind", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_meant_is_refused_at_once_with_its_reason(
    call: Call, kind: type[SpanPanelCommandError], reason: RefusalReason
) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        began = trio.current_time()
        with pytest.raises(kind) as caught:
            await call(panel)
        assert caught.value.reason is reason
        assert str(reason) in str(caught.value)
        assert trio.current_time() == began
        await trio.sleep(10)
    assert desk.orders == []


@pytest.mark.parametrize(
    ("flag", "call", "reason"),
    [
        ("always-on", relay(), RefusalReason.ALWAYS_ON),
        ("never-backup", priority(), RefusalReason.NEVER_BACKUP),
    ],
    ids=["relay", "priority"],
)
@pytest.mark.parametrize("payload", ["true", "maybe", "TRUE", "1", "\x00"])
async def test_a_lock_is_named_and_a_flag_that_cannot_be_read_is_one(
    flag: str, payload: str, call: Call, reason: RefusalReason
) -> None:
    desk = Desk({f"{KITCHEN}/{flag}": payload})
    async with desk.opened() as panel:
        with pytest.raises(SpanPanelLockedError) as caught:
            await call(panel)
        assert caught.value.reason is reason
        desk.broker.publish(topic(f"{KITCHEN}/{flag}"), "false")
        await panel.ping()
        await call(panel)
    assert len(desk.orders) == 1


async def test_a_circuit_that_is_locked_is_not_taken_for_an_unknown_one() -> None:
    desk = Desk({f"{KITCHEN}/always-on": "true"})
    async with desk.opened() as panel:
        with pytest.raises(SpanPanelLockedError, match=f"the relay of {KITCHEN}: always on"):
            await panel.set_circuit_relay(KITCHEN, "OPEN")
        with pytest.raises(SpanPanelUnknownTargetError, match="the relay of nope: no such circuit"):
            await panel.set_circuit_relay("nope", "OPEN")


async def test_a_value_refused_is_a_validation_error_too() -> None:
    async with Desk().opened() as panel:
        with pytest.raises(SpanPanelValidationError) as caught:
            await panel.set_circuit_relay(KITCHEN, "BOGUS")
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, SpanPanelCommandError)
        assert str(caught.value).startswith(f"the relay of {KITCHEN} cannot be set to BOGUS, only to OPEN or CLOSED")


async def test_a_circuit_is_found_by_either_spelling_of_its_id() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        outcome = await panel.set_circuit_relay(DASHED.upper(), "OPEN")
        assert outcome.is_done
        assert panel.snapshot.circuits[KITCHEN].relay_state == "OPEN"
    assert desk.orders[0].topic == f"{RELAY}/set"


@pytest.mark.parametrize("within", [0, -1, float("inf"), float("nan"), -float("inf")])
async def test_a_deadline_that_is_none_is_refused(within: float) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        with pytest.raises(SpanPanelValidationError, match="within must be"):
            await panel.set_circuit_relay(KITCHEN, "OPEN", within=within)
    assert desk.orders == []


def deep(depth: int) -> list[object]:
    nest: list[object] = []
    for _ in range(depth):
        nest = [nest]
    return nest


class Mute:
    def __repr__(self) -> str:
        raise LookupError("of the user's making")


@pytest.mark.parametrize("wanted", [deep(5000), Mute(), "x" * 10**6], ids=["deep", "mute", "long"])
async def test_whatever_is_wanted_the_refusal_says_so_briefly_and_audit_hears_of_it(wanted: Any) -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(record)

    async with Desk().opened(audit=audit) as panel:
        with pytest.raises(SpanPanelCommandValueError) as caught:
            await panel.set_circuit_relay(KITCHEN, wanted)
        await trio.sleep(1)
        [record] = heard
        assert record.error is caught.value
        assert max(len(str(caught.value)), len(str(record.command))) < 300


@pytest.mark.parametrize(
    "call",
    [relay("no\nCRITICAL"), relay(state="OP\nCRITICAL"), priority("no\u202eCRITICAL")],
    ids=["subject", "value", "direction"],
)
async def test_what_is_refused_is_quoted_in_one_line(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with Desk().opened() as panel:
        with pytest.raises(SpanPanelCommandError) as caught:
            await call(panel)
    lines = [str(caught.value), *(record.getMessage() for record in caplog.records)]
    assert all(line.isprintable() for line in lines), lines
    assert sum("CRITICAL" in line for line in lines) > 1


# --- not live, not open -----------------------------------------------------------------------------------------------

CALLS: list[Call] = [
    relay(),
    relay("nope"),
    relay(state="BOGUS"),
    priority(),
    lambda panel: panel.set_dominant_power_source("GRID"),
    lambda panel: panel.assert_islanding_state("ON_GRID"),
    lambda panel: panel.set_evse_charge_limit("evse", 16),
    lambda panel: panel.set_property("a", "b", "c", "d"),
]


@pytest.mark.parametrize("state", ["lost", "disconnected", "init", "sleeping", "alert", "BOGUS", ""])
async def test_i10_nothing_is_sent_while_the_panel_is_not_live_nor_when_it_is_again(state: str) -> None:
    desk = Desk()
    async with desk.opened() as panel:
        desk.broker.publish(topic("$state"), state)
        await panel.ping()
        for call in CALLS:
            with pytest.raises(SpanPanelStaleDataError) as caught:
                await call(panel)
            assert caught.value.reason is ConnectionReason.DEVICE_STATE
        desk.broker.publish(topic("$state"), "ready")
        await panel.wait_live()
        await trio.sleep(10)
        assert desk.orders == []
        assert (await panel.set_circuit_relay(KITCHEN, "OPEN")).is_done


async def test_i10_nothing_is_queued_while_there_is_no_link() -> None:
    """Today's clients queue it, and deliver it when the broker is back."""
    desk = Desk()
    async with desk.opened() as panel:
        await desk.lose(panel)
        for call in CALLS:
            with pytest.raises(SpanPanelStaleDataError):
                await call(panel)
        await panel.wait_live()
        await trio.sleep(60)
        assert len(desk.broker.connections) == 2
    assert desk.orders == []


async def test_after_the_block_every_command_says_that_the_panel_is_closed() -> None:
    desk = Desk()
    async with desk.opened() as panel:
        pass
    for call in CALLS:
        with pytest.raises(SpanPanelClosedError):
            await call(panel)
    with pytest.raises(SpanPanelClosedError):
        panel.controls()
    assert desk.orders == []
