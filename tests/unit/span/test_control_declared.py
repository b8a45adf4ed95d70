"""I15: what declares itself as settable is offered, or locked with a reason; what does not is never free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio import Control, RefusalReason
from span_trio.homie import Forest
from tests.unit.span.child_helpers import ChildPanel
from tests.unit.span.child_house import BESS, DRIVE, ROOT, house
from tests.unit.span.control_helpers import Bench, find, offers, published, refusal
from tests.unit.span.helpers import DRIVE as FLAT_DRIVE
from tests.unit.span.helpers import HOUSE, FlatPanel
from tests.unit.span.helpers import KITCHEN as FLAT_KITCHEN

LOCK, PROPERTY = Control.CHARGER_LOCK, Control.PROPERTY
ENUM: dict[str, Any] = {"datatype": "enum", "format": "UNLOCKED,LOCKED"}


def declared_settable(forest: Forest) -> Iterator[tuple[str, str, str]]:
    """By the descriptions alone."""
    for name in forest.members(ROOT):
        device = forest.devices.get(name)
        for node, description in ({} if device is None else device.described).items():
            for property_id, declared in (description.properties or {}).items():
                if declared.settable:
                    yield name, node, property_id


def check(panel: Bench) -> None:
    offered = {each.place: each for each in offers(panel).values()}
    assert len(offered) == len(offers(panel))  # each by one command
    settable = set(declared_settable(panel.forest))
    assert settable <= offered.keys()
    for place, each in offered.items():
        assert place in settable or each.refusal is not None or each.declaration.settable


# --- a charger's lock -------------------------------------------------------------------------------------------------


def charger(**change: Any) -> ChildPanel:
    panel = ChildPanel(house(DRIVE))
    panel.redescribe(DRIVE, switch__lock_state={**ENUM, **change})
    return panel


@pytest.mark.parametrize("state", ["LOCKED", "UNLOCKED"])
def test_a_chargers_lock_is_set_where_it_is_declared_as_settable(state: str) -> None:
    panel = charger(settable=True)
    assert find(panel, LOCK, DRIVE).choices == ("UNLOCKED", "LOCKED")
    assert published(panel, LOCK, DRIVE, state) == (f"{DRIVE}/switch/lock-state", state.encode())
    assert refusal(panel, LOCK, DRIVE, "UNKNOWN") is RefusalReason.OUTSIDE_FORMAT
    by_place = f"{DRIVE}/switch/lock-state"  # its command adds a name, and no rule: this will do, too
    assert published(panel, PROPERTY, by_place, state) == (by_place, state.encode())
    assert refusal(panel, Control.RELAY, by_place, state) is RefusalReason.NO_SUCH_CIRCUIT  # nor a relay by its place
    assert refusal(panel, PROPERTY, by_place, "UNKNOWN") is RefusalReason.OUTSIDE_FORMAT
    check(panel)


@pytest.mark.parametrize("settable", [False, "true", 1, None])
def test_a_chargers_lock_that_is_a_reading_is_no_control(settable: object) -> None:
    panel = charger(settable=settable)
    assert (LOCK, DRIVE) not in offers(panel)
    assert refusal(panel, LOCK, DRIVE, "LOCKED") is RefusalReason.NO_SUCH_CONTROL


def test_a_chargers_lock_is_none_while_it_is_away() -> None:
    panel = charger(settable=True)
    panel.message(f"{DRIVE}/$state", "lost")
    assert refusal(panel, LOCK, DRIVE, "LOCKED") is RefusalReason.AWAY


def test_a_flat_charger_is_locked_where_it_declares_that() -> None:
    panel = FlatPanel({"core": HOUSE["core"], FLAT_DRIVE: "evse"}, evse={"lock-state": {**ENUM, "settable": True}})
    assert published(panel, LOCK, FLAT_DRIVE, "LOCKED") == (f"{ROOT}/{FLAT_DRIVE}/lock-state", b"LOCKED")
    check(panel)


# --- what no command is for -------------------------------------------------------------------------------------------


def test_a_settable_property_with_a_field_and_no_command_is_set_by_its_place() -> None:
    panel = ChildPanel(house(DRIVE, BESS))
    panel.redescribe(ROOT, shed__policy={"datatype": "json", "settable": True})
    assert published(panel, PROPERTY, f"{ROOT}/shed/policy", {"algorithm": "x"})[1] == b'{"algorithm":"x"}'
    check(panel)


def test_the_other_spelling_of_a_charge_limit_is_set_by_its_place() -> None:
    panel = ChildPanel(house(DRIVE))
    limit = {"datatype": "integer", "settable": True}
    panel.redescribe(DRIVE, nodes={"charge-limit": {"properties": {"owner-limit": limit, "requested-limit": limit}}})
    assert published(panel, Control.CHARGE_LIMIT, DRIVE, 16)[0] == f"{DRIVE}/charge-limit/owner-limit"
    for path in ("charge-limit/requested-limit", "config/user-max-charge-current"):
        assert published(panel, PROPERTY, f"{DRIVE}/{path}", 16)[0] == f"{DRIVE}/{path}"
    check(panel)


@pytest.mark.parametrize(("controllable", "refused"), [("false", True), ("maybe", True), ("true", False), ("", False)])
def test_a_relay_of_a_device_without_a_class_is_locked_by_its_own_flag(controllable: str, refused: bool) -> None:
    panel = ChildPanel({**house(DRIVE), "pump": ("pump", ROOT)})
    switch = {
        "type": "energy.ebus.capability.switch",
        "properties": {"relay": {**ENUM, "settable": True}, "relay-controllable": {"datatype": "boolean"}},
    }
    panel.redescribe("pump", nodes={"main": switch})
    panel.message("pump/main/relay-controllable", controllable)
    expected = RefusalReason.NOT_CONTROLLABLE if refused else None
    assert find(panel, PROPERTY, "pump/main/relay").refusal is expected
    check(panel)


def test_a_second_flat_circuit_with_the_same_id_is_locked_by_its_own_flag() -> None:
    dashed = "ac3dccda-46a9-4b98-878a-227df6fed588"
    panel = FlatPanel({"core": HOUSE["core"], FLAT_KITCHEN: "circuit", dashed: "circuit"})
    panel.message(f"{dashed}/always-on", "true")
    assert find(panel, Control.RELAY, FLAT_KITCHEN).refusal is None
    assert find(panel, PROPERTY, f"{ROOT}/{dashed}/relay").refusal is RefusalReason.ALWAYS_ON
    assert find(panel, PROPERTY, f"{ROOT}/{dashed}/shed-priority").refusal is None
    check(panel)


def test_any_flat_property_that_is_declared_as_settable_can_be_set() -> None:
    panel = FlatPanel(**{"distribution-enclosure_core": {"door": {"datatype": "string", "settable": True}}})
    assert published(panel, PROPERTY, f"{ROOT}/core/door", "ajar") == (f"{ROOT}/core/door", b"ajar")
    check(panel)


# --- any tree ---------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    ["relay", "priority", "lock-state", "user-max-charge-current", "owner-limit", "asserted-islanding-state", "knob"]
)
_DECLARED = st.fixed_dictionaries(
    {"settable": st.booleans()},
    optional={
        "datatype": st.sampled_from(["enum", "integer", "string", "json"]),
        "format": st.sampled_from(["OPEN,CLOSED", "1:5", "LOCKED,UNLOCKED"]),
    },
)
_NODES = st.dictionaries(
    st.sampled_from(["switch", "load-shed", "config", "charge-limit", "shed", "extra", "switch-2"]),
    st.builds(
        lambda properties, type_: {"properties": properties, **({} if type_ is None else {"type": type_})},
        st.dictionaries(_NAMES, _DECLARED, max_size=4),
        st.sampled_from([None, "energy.ebus.capability.switch", "energy.ebus.capability.shed"]),
    ),
    max_size=4,
)
_KINDS = st.sampled_from(["circuit", "evse", "bess", "lugs", "mid", "pump"])


@pytest.mark.slow
@given(
    st.lists(st.tuples(_KINDS, _NODES, st.sampled_from(["ready", "lost", "init"])), max_size=5),
    _NODES,
)
def test_i15_whatever_declares_itself_as_settable_is_offered_once_or_locked(
    devices: list[tuple[str, dict[str, Any], str]], own: dict[str, Any]
) -> None:
    names = {f"d{number}": device for number, device in enumerate(devices)}
    panel = ChildPanel(house(**{name: kind for name, (kind, _, __) in names.items()}))
    for name, (_, nodes, state) in names.items():
        panel.redescribe(name, nodes=nodes)
        panel.message(f"{name}/$state", state)
    panel.redescribe(ROOT, nodes=own)
    check(panel)
