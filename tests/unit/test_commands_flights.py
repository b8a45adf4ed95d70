"""What is remembered of commands that were written: for how long, how many, and whose word settles them."""

from __future__ import annotations

from typing import Any

import pytest

from span_trio import Command, Control, Instant, OfferedControl
from span_trio.flights import Flight, Flights, same
from span_trio.homie import Datatype, Message, PropertyDescription, Value
from span_trio.link import Publication

pytestmark = pytest.mark.virtual_time

TOPIC, STATE, ROOT_STATE = "ebus/5/drive/switch/word", "ebus/5/drive/$state", "ebus/5/nt-1/$state"
HELD = 64


def written(wanted: Value, datatype: Datatype = Datatype.STRING) -> Flight:
    """A command that was written to a link."""
    declared = PropertyDescription("word", datatype, settable=True)
    offered = OfferedControl(Control.PROPERTY, "it", "drive", "switch", "word", datatype, declaration=declared)
    command = Command(Control.PROPERTY, "it", wanted, 5.0, Instant(0.0, 0.0), 1)
    publication = Publication(f"{TOPIC}/set", b"", 1, lambda: True, sent_at=0.0)
    return Flight(command, offered, wanted, frozenset({STATE, ROOT_STATE}), publication)


def live(payload: bytes, topic: str = TOPIC) -> Message:
    return Message(topic, payload)


async def test_a_command_that_was_written_may_undo_another_until_it_is_confirmed() -> None:
    flights = Flights()
    with flights.flying(TOPIC, written("off")):
        assert not flights.may_undo(TOPIC, "on")  # it is the call that waits
    assert flights.may_undo(TOPIC, "on")
    assert not flights.may_undo(TOPIC, "off")
    flights.saw([live(b"off")])
    assert not flights.may_undo(TOPIC, "on")


async def test_one_that_was_confirmed_while_its_call_waited_undoes_nothing() -> None:
    flights = Flights()
    with flights.flying(TOPIC, written("off")):
        flights.saw([live(b"off")])
    assert not flights.may_undo(TOPIC, "on")


async def test_one_that_was_never_written_undoes_nothing() -> None:
    flights, flight = Flights(), written("off")
    assert flight.publication is not None
    flight.publication.sent_at = None
    with flights.flying(TOPIC, flight):
        flights.saw([live(b"off")])
    assert not flight.confirmed
    assert not flights.may_undo(TOPIC, "on")


async def test_however_often_a_value_is_written_others_are_not_forgotten_for_it() -> None:
    flights = Flights()
    for wanted in ["off", *["on"] * 2 * HELD]:
        with flights.flying(TOPIC, written(wanted)):
            pass
    assert flights.may_undo(TOPIC, "on")


@pytest.mark.parametrize("others", [HELD - 2, HELD - 1])
async def test_i8_so_many_values_are_remembered_and_no_more(others: int) -> None:
    flights = Flights()
    for wanted in ["off", *map(str, range(others)), "on"]:
        with flights.flying(TOPIC, written(wanted)):
            pass
    assert len(flights._unsettled[TOPIC]) == HELD
    assert (flights._unsettled[TOPIC][0].wanted == "off") == (others == HELD - 2)


async def test_what_has_landed_is_not_told_of_the_end_of_the_link() -> None:
    flights, first, second = Flights(), written("off"), written("on")
    with flights.flying(TOPIC, first):
        pass
    assert flights.landed is first
    with flights.flying("another", second):
        flights.link_lost()
    assert (first.link_lost, second.link_lost) == (False, True)
    assert second.publication is not None
    assert second.publication.over.is_set()
    assert flights._flying == {}


async def test_over_the_next_link_a_value_counts_only_behind_the_states_of_its_speakers() -> None:
    flights = Flights()
    with flights.flying(TOPIC, written("off")):
        flights.link_lost()
    for state in (ROOT_STATE, STATE):
        flights.saw([live(b"off")])
        assert flights.may_undo(TOPIC, "on")
        flights.saw([Message(state, b"ready", retain=True)])
    flights.saw([live(b"off")])
    assert not flights.may_undo(TOPIC, "on")


@pytest.mark.parametrize(("state", "counts"), [(b"ready", True), (b"\xff", True), (b"", False), (b"lost", False)])
async def test_a_value_of_a_speaker_that_is_gone_counts_for_nothing(state: bytes, counts: bool) -> None:
    flights, flight = Flights(), written("off")
    with flights.flying(TOPIC, flight):
        flights.saw([Message(STATE, state), live(b"off")])
    assert flight.confirmed is counts


async def test_a_value_behind_a_retained_one_counts() -> None:
    flights, flight = Flights(), written("off")
    with flights.flying(TOPIC, flight):
        flights.saw([Message(TOPIC, b"off", retain=True)])
        assert not flight.confirmed
        flights.saw([Message(TOPIC, b"off", retain=True), live(b"off")])
        assert flight.confirmed


@pytest.mark.parametrize(("wanted", "payload"), [("", b"\x00"), ("off", b"off")])
async def test_a_value_that_is_cleared_is_none_that_was_wanted(wanted: str, payload: bytes) -> None:
    flights, flight = Flights(), written(wanted)
    with flights.flying(TOPIC, flight):
        flights.saw([live(b"")])
        assert not flight.confirmed
        flights.saw([live(payload)])
        assert flight.confirmed


async def test_a_value_that_cannot_be_read_is_none_that_was_wanted() -> None:
    flights, flight = Flights(), written(1, Datatype.INTEGER)
    with flights.flying(TOPIC, flight):
        flights.saw([live(b"one"), live(b"\xff")])
        assert not flight.confirmed
        flights.saw([live(b"1")])
        assert flight.confirmed


@pytest.mark.parametrize("topic", [f"{TOPIC}/$target", TOPIC])
async def test_only_the_value_ends_the_waiting_and_its_target_does_not(topic: str) -> None:
    flights, flight = Flights(), written("off")
    assert flight.publication is not None
    with flights.flying(TOPIC, flight):
        flights.saw([live(b"off", topic)])
        assert (flight.targeted, flight.confirmed) == (topic != TOPIC, topic == TOPIC)
        assert flight.publication.over.is_set() == (topic == TOPIC)


def nested(depth: int, inside: object) -> Any:
    for _ in range(depth):
        inside = {"a": [inside]}
    return inside


@pytest.mark.parametrize(
    ("said", "meant", "equal"),
    [
        ("on", "on", True),
        ("on", "off", False),
        (None, "on", False),
        (1, 1.0, True),
        (1, 2, False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ({}, {}, True),
        ({"a": 1, "b": [2, {}]}, {"b": [2, {}], "a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, [1], False),
        (["a"], "a", False),
        ("a", ["a"], False),
        (["a"], {"a": 1}, False),
        ({}, [], False),
        ([], {}, False),
        ({}, "", False),
        ([1, 2], [1], False),
        ([1], [1, 2], False),
        ([1, 2], [2, 1], False),
        ([[1], 2], [[True], 2], False),
        (nested(50_000, 1), nested(50_000, 1), True),
        (nested(50_000, 1), nested(50_000, True), False),
    ],
)
def test_values_are_the_same_only_if_all_within_them_is(said: Any, meant: Any, equal: bool) -> None:
    assert same(said, meant) is equal
