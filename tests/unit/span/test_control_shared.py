"""Circuits on one relay: a command to one names all that it reaches, and is locked by whatever locks one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio import Control, OfferedControl, RefusalReason, SpanPanelLockedError
from tests.unit.span.child_helpers import ChildPanel
from tests.unit.span.child_house import DRIVE, ROOT, House, house
from tests.unit.span.control_helpers import find, offers, published
from tests.unit.span.helpers import GARAGE, KITCHEN, SOLAR, FlatPanel

RELAY, PRIORITY = Control.RELAY, Control.PRIORITY
SHARED = {"switch__shared_with_device_ids": {"datatype": "string"}}


def panel_of(shares: Mapping[str, str], devices: House | None = None) -> ChildPanel:
    """Circuits ``a`` to ``e``, and whom they say that they share their relay with."""
    panel = ChildPanel(house(**dict.fromkeys("abcde", "circuit")) if devices is None else devices)
    for circuit in "abcde":
        panel.redescribe(circuit, **SHARED)
    for circuit, others in shares.items():
        panel.message(f"{circuit}/switch/shared-with-device-ids", others)
    return panel


def relay(panel: ChildPanel, circuit: str) -> OfferedControl:
    return find(panel, RELAY, circuit)


def test_what_shares_its_relay_is_given_by_name_and_is_neither_shown_nor_compared() -> None:
    offered = relay(panel_of({"a": "b", "b": "a"}), "a")
    assert offered.shared == (("b", "switch", "relay"),)
    assert "shared=" not in repr(offered)
    assert attrs.evolve(offered, shared=()) == offered
    shown = attrs.astuple(offered, recurse=False, filter=lambda field, _: field.name not in {"shared", "declaration"})
    assert OfferedControl(*shown, declaration=offered.declaration) == offered
    with pytest.raises(TypeError, match="positional"):
        OfferedControl(*shown, offered.shared, declaration=offered.declaration)  # type: ignore[misc]


def test_a_circuit_alone_reaches_itself_and_what_is_of_no_circuit_reaches_none() -> None:
    panel = panel_of({})
    assert relay(panel, "a").reaches == find(panel, PRIORITY, "a").reaches == ("a",)
    assert find(panel, Control.ISLANDING, ROOT).reaches == ()
    flat = FlatPanel()
    assert find(flat, RELAY, KITCHEN).reaches == find(flat, PRIORITY, KITCHEN).reaches == (KITCHEN,)
    assert find(flat, Control.DOMINANT_POWER_SOURCE, ROOT).reaches == ()


@pytest.mark.parametrize(
    "shares",
    [{"a": "b", "b": "a"}, {"a": "b"}, {"b": "a"}, {"a": " b , ", "b": ""}, {"a": "b,a,b"}],
    ids=["both say so", "one says so", "the other does", "with blanks", "with itself, twice"],
)
def test_two_on_one_relay_are_reached_by_a_command_to_either(shares: Mapping[str, str]) -> None:
    panel = panel_of(shares)
    for control in (RELAY, PRIORITY):  # which says when the relay is opened
        assert find(panel, control, "a").reaches == ("a", "b")
        assert find(panel, control, "b").reaches == ("b", "a")
        assert find(panel, control, "c").reaches == ("c",)
    assert relay(panel, "a").reaches_unknown == ()
    assert set(relay(panel, "a").places) == {("a", "switch", "relay"), ("b", "switch", "relay")}
    assert find(panel, PRIORITY, "a").places == (("a", "load-shed", "priority"),)
    assert published(panel, RELAY, "a", "OPEN") == ("a/switch/relay", b"OPEN")


def test_what_is_shared_with_a_third_is_shared_with_all() -> None:
    panel = panel_of({"a": "b", "c": "b", "d": "c"})
    for circuit in "abcd":
        assert set(relay(panel, circuit).reaches) == set("abcd")
        assert relay(panel, circuit).reaches[0] == circuit


def test_an_id_that_is_no_circuit_of_this_panel_is_named_and_marked() -> None:
    panel = panel_of({"a": f"elsewhere,{DRIVE},b", "c": "elsewhere"}, {**house(DRIVE), **HOUSE_OF_CIRCUITS})
    offered = relay(panel, "a")
    assert offered.reaches == ("a", "b", "c", "elsewhere", DRIVE)
    assert offered.reaches_unknown == ("elsewhere", DRIVE)
    assert offered.refusal is None


HOUSE_OF_CIRCUITS = house(**dict.fromkeys("abcde", "circuit"))


# --- locks ------------------------------------------------------------------------------------------------------------


def away(panel: ChildPanel) -> None:
    panel.message("b/$state", "lost")


def not_controllable(panel: ChildPanel) -> None:
    panel.message("b/switch/relay-controllable", "false")


def unreadable(panel: ChildPanel) -> None:
    panel.message("b/switch/relay-controllable", "perhaps")


def not_settable(panel: ChildPanel) -> None:
    panel.redescribe("b", switch__relay={"settable": False}, **SHARED)


def not_declared(panel: ChildPanel) -> None:
    panel.redescribe("b", switch__relay=None, **SHARED)


def without_switch(panel: ChildPanel) -> None:
    panel.redescribe("b", omit=["switch"])


def not_described(panel: ChildPanel) -> None:
    panel.message("b/$description", "")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (away, RefusalReason.AWAY),
        (not_described, RefusalReason.AWAY),
        (not_controllable, RefusalReason.NOT_CONTROLLABLE),
        (unreadable, RefusalReason.NOT_CONTROLLABLE),
        (not_settable, RefusalReason.NOT_SETTABLE),
        (not_declared, RefusalReason.NOT_SETTABLE),
        (without_switch, RefusalReason.NOT_SETTABLE),
    ],
)
def test_whatever_locks_one_locks_the_relay_of_all(happens: Any, reason: RefusalReason) -> None:
    panel = panel_of({"a": "b", "c": "a"})
    assert relay(panel, "c").refusal is None
    happens(panel)
    for circuit in "ac":
        assert relay(panel, circuit).refusal is reason
        with pytest.raises(SpanPanelLockedError, match=rf"the relay of {circuit} \(one relay with .*b.*\): {reason}"):
            published(panel, RELAY, circuit, "OPEN")
        assert find(panel, PRIORITY, circuit).refusal is None
    assert relay(panel, "d").refusal is None


def test_its_own_lock_is_named_first() -> None:
    panel = panel_of({"a": "b"})
    away(panel)
    panel.message("a/switch/relay-controllable", "false")
    assert relay(panel, "a").refusal is RefusalReason.NOT_CONTROLLABLE
    assert relay(panel, "b").refusal is RefusalReason.AWAY


def test_how_it_is_wired_counts_of_a_circuit_that_is_away_too() -> None:
    panel = panel_of({"b": "a"})  # b alone says so
    away(panel)
    assert (relay(panel, "a").reaches, relay(panel, "a").refusal) == (("a", "b"), RefusalReason.AWAY)


def test_a_relay_without_a_class_that_is_shared_locks_and_is_locked() -> None:
    panel = panel_of({"a": "pump"}, {**house(), **HOUSE_OF_CIRCUITS, "pump": ("pump", ROOT)})
    switch = {
        "type": "energy.ebus.capability.switch",
        "properties": {
            "relay": {"datatype": "enum", "format": "OPEN,CLOSED", "settable": True},
            "relay-controllable": {"datatype": "boolean"},
        },
    }
    panel.redescribe("pump", nodes={"main": switch})
    pump = find(panel, Control.PROPERTY, "pump/main/relay")
    assert (pump.reaches, pump.reaches_unknown, pump.refusal) == (("pump", "a"), ("pump",), None)
    assert set(pump.places) == {("pump", "main", "relay"), ("a", "switch", "relay")}
    panel.message("pump/main/relay-controllable", "false")
    assert relay(panel, "a").refusal is RefusalReason.NOT_CONTROLLABLE
    panel.message("pump/main/relay-controllable", "true")
    panel.message("a/switch/relay-controllable", "false")
    assert find(panel, Control.PROPERTY, "pump/main/relay").refusal is RefusalReason.NOT_CONTROLLABLE


# --- any sharing ------------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from("abcde"), st.lists(st.sampled_from("abcdexy"), max_size=3).map(",".join)),
    st.sets(st.sampled_from("abcde")),
)
def test_reach_is_the_same_from_everywhere_and_one_lock_is_everybodys(shares: dict[str, str], locked: set[str]) -> None:
    panel = panel_of(shares)
    for circuit in locked:
        panel.message(f"{circuit}/switch/relay-controllable", "false")
    found = {subject: offered for (control, subject), offered in offers(panel).items() if control is RELAY}
    assert found.keys() == set("abcde")
    for circuit, offered in found.items():
        assert offered.reaches[0] == circuit
        assert len(set(offered.reaches)) == len(offered.reaches)
        said = {other for other in shares.get(circuit, "").split(",") if other}
        assert said <= set(offered.reaches)
        assert set(offered.reaches_unknown) == set(offered.reaches) - set("abcde")
        assert (offered.refusal is not None) == bool(locked & set(offered.reaches))
        for other in set(offered.reaches) & set("abcde"):
            assert set(found[other].reaches) == set(offered.reaches)


def test_flat_circuits_share_nothing() -> None:
    panel = FlatPanel()
    for circuit in (KITCHEN, SOLAR, GARAGE):
        panel.message(f"{circuit}/shared-with-device-ids", KITCHEN)
        assert find(panel, RELAY, circuit).reaches == (circuit,)
