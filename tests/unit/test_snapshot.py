"""Snapshots as values: compared, hashed, copied, turned into plain data and back."""

import copy
import json
import pickle
import types
import typing
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio import enums
from span_trio import snapshot as module
from span_trio.enums import RelayState, ShedPriority, WireEnum
from span_trio.frozenmap import FrozenMap
from span_trio.homie import Instant
from span_trio.snapshot import (
    AdoptedDevice,
    AdoptedProperty,
    Change,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPVSnapshot,
)
from tests.unit.span.helpers import KITCHEN, full_house

ENUMS = [item for item in vars(enums).values() if isinstance(item, type) and issubclass(item, WireEnum)][1:]
CLASSES: list[Any] = [item for item in vars(module).values() if isinstance(item, type) and attrs.has(item)]

# --- any snapshot -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["", "a", "b7", "Küche", "UNKNOWN", "OPEN", "\x00", '"'])
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: NAMES,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    types.NoneType: st.none(),
    Instant: st.builds(Instant, st.floats(0, 1e9), st.floats(0, 1e9)),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Everything that a field of this type can hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if origin is FrozenMap:
        return st.dictionaries(NAMES, values(arguments[1]), max_size=2).map(FrozenMap)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if arguments:
        # A text that is some member's is that member: of what a panel publishes, nothing else is made.
        members = {item.value: item for kind in arguments if kind in ENUMS for item in kind}
        return st.one_of([values(kind) for kind in arguments]).map(lambda value: members.get(value, value))
    return st.sampled_from(list(hint)) if issubclass(hint, WireEnum) else snapshots(hint)


def snapshots(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Everything that a snapshot class can be: with any few of its fields set."""
    hints = typing.get_type_hints(cls)
    needed = {field.name: values(hints[field.name]) for field in attrs.fields(cls) if field.default is attrs.NOTHING}
    others = st.one_of([st.tuples(st.just(name), values(hint)) for name, hint in hints.items()])
    return st.builds(
        lambda first, more: cls(**{**first, **dict(more)}), st.fixed_dictionaries(needed), st.lists(others)
    )


PANELS = snapshots(SpanPanelSnapshot)


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in {str, int, float, bool}


def strict(value: Any) -> Any:
    """A value with the types of all of its parts, so that 1, 1.0, True and an enum's text are four things."""
    if attrs.has(type(value)):
        return type(value), [strict(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, FrozenMap):
        return FrozenMap, [(key, strict(item)) for key, item in value.items()]
    if isinstance(value, tuple):
        return type(value), [strict(item) for item in value]
    return type(value), value


@pytest.fixture(scope="module")
def house() -> SpanPanelSnapshot:
    return full_house().snapshot()


@given(PANELS)
def test_any_snapshot_comes_back_whole_from_plain_data_json_pickles_and_deep_copies(panel: SpanPanelSnapshot) -> None:
    plain = panel.to_dict()
    assert is_plain(plain)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    pickled = pickle.dumps(panel)
    for clone in (SpanPanelSnapshot.from_dict(plain), pickle.loads(pickled), copy.deepcopy(panel)):  # noqa: S301 - ours
        assert strict(clone) == strict(panel)
        assert clone == panel
        assert hash(clone) == hash(panel)
        assert list(clone.changes(panel)) == []


@given(PANELS, PANELS)
def test_the_changes_between_any_two_snapshots_are_what_makes_one_of_the_other(
    old: SpanPanelSnapshot, new: SpanPanelSnapshot
) -> None:
    changes = list(new.changes(old))
    assert bool(changes) == (new != old)
    assert {(path, back, forth) for path, forth, back in old.changes(new)} == set(changes)
    plain, wanted = old.to_dict(), new.to_dict()
    for change in changes:
        _apply(plain, wanted, change.path)
    assert SpanPanelSnapshot.from_dict(plain) == new


def _apply(plain: dict[str, Any], wanted: dict[str, Any], path: tuple[str, ...]) -> None:
    step, *rest = path
    if rest:
        _apply(plain[step], wanted[step], tuple(rest))
    elif step in wanted:
        plain[step] = wanted[step]
    else:
        del plain[step]


# --- equality ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "about",
    [{"seq": 7}, {"epoch": 2}, {"received_at": Instant(5.0, 6.0)}],
)
def test_when_and_how_a_snapshot_came_is_not_compared(house: SpanPanelSnapshot, about: dict[str, Any]) -> None:
    other = attrs.evolve(house, **about)
    assert other == house
    assert hash(other) == hash(house)
    assert list(other.changes(house)) == []


@pytest.mark.parametrize("time", ["energy_accum_update_time_s", "instant_power_update_time_s"])
def test_update_times_of_a_circuit_are_not_compared(house: SpanPanelSnapshot, time: str) -> None:
    circuit = house.circuits[KITCHEN]
    later: dict[str, Any] = {time: 1_790_000_000}
    other = attrs.evolve(circuit, **later)
    assert other == circuit
    assert hash(other) == hash(circuit)
    assert list(attrs.evolve(house, circuits=FrozenMap({**house.circuits, KITCHEN: other})).changes(house)) == []


NOT_COMPARED = {"seq", "epoch", "received_at", "energy_accum_update_time_s", "instant_power_update_time_s"}


def test_everything_else_is_compared() -> None:
    assert {field.name for cls in CLASSES for field in attrs.fields(cls) if not field.eq} == NOT_COMPARED


def test_i5_a_field_that_is_left_out_reads_not_reported_and_nothing_is_permitted() -> None:
    for cls in CLASSES:
        needed = {field.name: "x" for field in attrs.fields(cls) if field.default is attrs.NOTHING}
        plain = cls(**needed).to_dict()
        rest = {name: plain[name] for name in plain.keys() - needed.keys() - NOT_COMPARED - {"device_type"}}
        said = {name: value for name, value in rest.items() if value not in (None, False, "UNKNOWN", [], {})}
        assert said == {}, cls
    assert SpanCircuitSnapshot("x").device_type == "circuit"


def test_snapshots_are_frozen_all_the_way_down(house: SpanPanelSnapshot) -> None:
    circuit: Any = house.circuits[KITCHEN]
    for thing, name in ((house, "serial_number"), (circuit, "name"), (house.battery, "soe_kwh"), (house, "new")):
        with pytest.raises(AttributeError):
            setattr(thing, name, None)
    assert isinstance(circuit.tabs, tuple)
    assert isinstance(house.circuits, FrozenMap)


def test_snapshots_can_be_kept_in_sets(house: SpanPanelSnapshot) -> None:
    again, later = full_house().snapshot(), attrs.evolve(house, door_state="CLOSED")
    assert len({house, again, later}) == 2


# --- changes ----------------------------------------------------------------------------------------------------------


def test_changes_are_told_by_field_and_key(house: SpanPanelSnapshot) -> None:
    panel = full_house()
    panel.publish(KITCHEN, relay="CLOSED", name="Hall")
    panel.publish("bess", soc="7")
    assert set(panel.publish("core", door="CLOSED").changes(house)) == {
        Change(("circuits", KITCHEN, "relay_state"), RelayState.OPEN, RelayState.CLOSED),
        Change(("circuits", KITCHEN, "name"), "Kitchen", "Hall"),
        Change(("battery", "soc_percentage"), 51.25, 7.0),
        Change(("door_state",), "OPEN", "CLOSED"),
    }


def test_a_part_that_comes_or_goes_is_one_change() -> None:
    battery, drive = SpanBatterySnapshot(soe_kwh=5.0), SpanEvseSnapshot("sd-1")
    without = SpanPanelSnapshot("nt-1")
    with_both = SpanPanelSnapshot("nt-1", battery=battery, evse=FrozenMap({"sd-1": drive}))
    come = [(("battery",), None, battery), (("evse", "sd-1"), None, drive)]
    assert [tuple(change) for change in with_both.changes(without)] == come
    assert [tuple(change) for change in without.changes(with_both)] == [(path, new, old) for path, old, new in come]


def test_nothing_changed_in_what_is_the_same_object(house: SpanPanelSnapshot) -> None:
    class Watched(FrozenMap[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("looked into")

    same: Any = Watched({})
    old, new = attrs.evolve(house, evse=same), attrs.evolve(house, evse=same, door_state="CLOSED")
    assert [change.path for change in new.changes(old)] == [("door_state",)]


# --- plain data -------------------------------------------------------------------------------------------------------


def test_plain_data_of_a_house_is_what_stands_in_the_documentation(house: SpanPanelSnapshot) -> None:
    plain = house.to_dict()
    assert plain["serial_number"] == "nt-2143-c1akd"
    assert (plain["door_state"], type(plain["door_state"])) == ("OPEN", str)
    assert plain["mid"] is None
    assert plain["circuits"][KITCHEN]["tabs"] == [30, 32]
    assert plain["received_at"] == {"monotonic": 1.0, "wall": 0.0}
    assert plain["battery"]["soe_kwh"] == 6.75
    assert list(plain) == [field.name for field in attrs.fields(SpanPanelSnapshot)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_plain_data_with_what_is_needed_is_enough_and_what_is_unknown_is_ignored(cls: Any) -> None:
    needed: dict[str, Any] = {f.name: "x" for f in attrs.fields(cls) if f.default is attrs.NOTHING}
    assert cls.from_dict({**needed, "of_a_later_version": [1]}) == cls(**needed)


@pytest.mark.parametrize("plain", [None, 5, "text", [], [["serial_number", "x"]], b"", True], ids=ascii)
def test_what_is_no_mapping_is_no_plain_data(plain: Any) -> None:
    for cls in CLASSES:
        with pytest.raises(ValueError, match=f"not the plain data of a {cls.__name__}"):
            cls.from_dict(plain)


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"circuits": []},
        {"circuits": {"a": {}}},
        {"circuits": {"a": None}},
        {"circuits": {"a": {"circuit_id": "a", "tabs": 5}}},
        {"battery": []},
        {"battery": "full"},
        {"battery": 0},
        {"pv_inverters": None},
        {"received_at": None},
        {"received_at": {"monotonic": 1.0}},
        {"received_at": [1.0, 2.0]},
        {"adopted_devices": 5},
        {"adopted_devices": [{}]},
        {"pending_devices": None},
        {"relay": [], "main_relay_state": []},
    ],
    ids=str,
)
def test_plain_data_of_another_shape_is_refused(field: dict[str, Any]) -> None:
    needed = {"serial_number": "nt-1"} if field else {}
    with pytest.raises(ValueError, match=r"not the plain data of a (Span|Adopted)"):
        SpanPanelSnapshot.from_dict({**needed, **field})


def test_an_enum_text_that_no_member_has_comes_back_as_text() -> None:
    plain = SpanCircuitSnapshot("a", relay_state="AJAR", priority=ShedPriority.NEVER, relay_state_target=None).to_dict()
    circuit = SpanCircuitSnapshot.from_dict(json.loads(json.dumps(plain)))
    assert (circuit.relay_state, type(circuit.relay_state)) == ("AJAR", str)
    assert circuit.priority is ShedPriority.NEVER
    assert circuit.relay_state_target is None


def test_nested_tuples_come_back() -> None:
    property_ = AdoptedProperty("n", "p", "float", value="1")
    panel = SpanPanelSnapshot("nt-1", adopted_devices=(AdoptedDevice("d", "heat-pump", properties=(property_,)),))
    assert strict(SpanPanelSnapshot.from_dict(panel.to_dict())) == strict(panel)


# --- enums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enum", ENUMS)
def test_a_member_is_its_text_on_the_wire(enum: type[WireEnum]) -> None:
    for member in enum:
        assert member == member.name == str(member) == f"{member}" == json.loads(json.dumps(member))
        assert enum.of(member.name) is member
        assert member.name in set(enum)


def test_every_enum_has_unknown_for_what_it_does_not_know() -> None:
    for enum in ENUMS:
        assert enum.of("BRAND_NEW") is enum.of("") is enum.of(None) is enum.of("UNKNOWN") is enum("UNKNOWN")


# --- unmapped tabs ----------------------------------------------------------------------------------------------------


def test_unmapped_circuits_are_the_old_entries_for_those_who_want_them() -> None:
    panel = SpanPanelSnapshot("nt-1", unmapped_tabs=(5, 31))
    assert panel.unmapped_circuits() == {
        f"unmapped_tab_{tab}": SpanCircuitSnapshot(
            circuit_id=f"unmapped_tab_{tab}",
            name=f"Unmapped Tab {tab}",
            relay_state="CLOSED",
            instant_power_w=0.0,
            consumed_energy_wh=0.0,
            produced_energy_wh=0.0,
            tabs=(tab,),
            is_240v=False,
            priority="UNKNOWN",
            is_user_controllable=False,  # lesson api 3.1.0: never a write topic for an unmapped tab
        )
        for tab in (5, 31)
    }
    assert panel.circuits == {}  # they are not circuits: their zeros were never measured


def test_every_position_is_mapped_or_unmapped(house: SpanPanelSnapshot) -> None:
    mapped = [tab for circuit in house.circuits.values() for tab in circuit.tabs]
    assert sorted([*mapped, *house.unmapped_tabs]) == list(range(1, 33))
    assert len(house.unmapped_circuits()) == 30


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_class_and_enum_is_public() -> None:
    assert sorted(module.__all__) == sorted({cls.__name__ for cls in CLASSES} | {"Change"})
    ours = {"WireEnum", "ConnectionReason", "Control", "CommandResult", "RefusalReason"}  # which no snapshot holds
    assert sorted(enums.__all__) == sorted({enum.__name__ for enum in ENUMS} | ours)


def test_a_shared_inverter_has_no_key() -> None:
    assert SpanPVSnapshot().node_id is None
