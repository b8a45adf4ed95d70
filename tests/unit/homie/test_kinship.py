"""Whose child is whose (I13): by the child's own ``root``, by who lists it, and by what was said before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import pytest

from span_trio.homie import Forest, Limits, parse_description
from span_trio.homie import kinship as module
from span_trio.homie.kinship import Kinship, Stranger, in_words

from .helpers import FLOAT, absorb, describe, forest_of, message, shown

METER = {"meter": {"power": FLOAT}}


def kinship(**said: dict[str, Any]) -> Kinship:
    """What devices say of ``root``, ``parent`` and ``children``; replayed."""
    found = Kinship()
    for device, fields in said.items():
        say(found, device, live=False, **fields)
    return found


def say(found: Kinship, device: str, *, live: bool = True, **fields: Any) -> None:
    found.note(device, parse_description(json.dumps(fields).encode(), device), live=live)


def members(found: Kinship, root: str = "house") -> list[str]:
    return [*found.tree(root).members]


def children(*names: str) -> dict[str, list[str]]:
    return {"children": [*names]}


OTHER = {"root": "other"}
OURS = {"root": "house"}

# --- who belongs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "belongs"),
    [
        ({}, True),
        (OURS, True),
        ({"root": "house", "parent": "house"}, True),
        ({"root": "house", "parent": "nobody"}, True),
        ({"root": "house", "parent": "barn"}, True),
        ({"parent": "house"}, True),
        ({"parent": "nobody"}, True),
        ({"parent": "a"}, True),
        ({"parent": "ours"}, True),
        ({"parent": "orphan"}, True),
        (OTHER, False),
        ({"root": "a"}, False),
        ({"root": "other", "parent": "house"}, False),
        ({"parent": "barn"}, False),
        ({"parent": "cow"}, False),
    ],
)
def test_a_listed_child_belongs_unless_it_says_otherwise(child: dict[str, str], belongs: bool) -> None:
    found = kinship(
        house=children("a", "ours"), a=child, ours=OURS, orphan=OURS, barn=children("cow"), cow={"root": "barn"}
    )

    assert members(found) == (["house", "a", "ours"] if belongs else ["house", "ours"])
    assert ("a" in found.tree("house").strangers) is not belongs


def test_a_child_that_is_not_described_yet_belongs() -> None:
    assert members(kinship(house=children("a"))) == ["house", "a"]


def test_a_grandchild_of_another_root_is_no_member_and_hides_what_is_below_it() -> None:
    found = kinship(house=children("a"), a=children("b"), b={**OTHER, **children("c")}, c={})

    assert members(found) == ["house", "a"]
    assert found.tree("house").strangers == {"b": Stranger(("other",), is_contested=False)}


def test_below_a_stranger_is_only_who_is_listed_elsewhere_too() -> None:
    found = kinship(house=children("a", "c"), a={**OTHER, **children("c", "d")}, c=OURS, d=OURS)

    assert members(found) == ["house"]
    assert found.tree("house").strangers == {
        "a": Stranger(("other",), is_contested=False),
        "c": Stranger(("other",), is_contested=True),
    }


def test_a_device_that_others_name_as_their_root_is_nobodys_child() -> None:
    found = kinship(house=children("barn", "b"), barn=children("cow"), cow={"root": "barn"}, b=OURS)

    assert members(found) == ["house", "b"]
    assert members(found, "barn") == ["barn", "cow"]


def test_the_root_belongs_whoever_lists_it_and_whatever_it_says() -> None:
    found = kinship(house={"root": "other", **children("a")}, other=children("house"), a={"root": "other"}, b=OURS)

    assert members(found)[:1] == ["house"]


def test_below_a_device_that_is_no_root_are_those_of_its_own_tree() -> None:
    found = kinship(
        house=children("a"), a={**OURS, **children("b", "c", "d")}, b=OURS, c=OTHER, d={"root": "house", "parent": "a"}
    )

    assert members(found, "a") == ["a", "b", "d"]


@pytest.mark.parametrize("root", [None, "house"])
def test_a_tree_that_lists_itself_or_bites_its_tail_ends(root: str | None) -> None:
    said: dict[str, Any] = {} if root is None else {"root": root}
    found = kinship(
        house=children("house", "a", "a", "b"),
        a={**said, **children("a", "b", "house")},
        b={**said, **children("a", "b")},
    )

    assert members(found) == ["house", "a", "b"]
    assert found.tree("house").strangers == {}


def test_a_device_that_names_itself_as_its_root_is_none_of_ours() -> None:
    found = kinship(house=children("a"), a={"root": "a"})

    assert found.tree("house").strangers == {"a": Stranger(("a",), is_contested=False)}


def test_two_that_name_each_other_as_parents_belong_to_whoever_lists_them() -> None:
    found = kinship(house=children("a", "b"), a={"parent": "b"}, b={"parent": "a"})

    assert members(found) == ["house", "a", "b"]


# --- two roots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("child", [{}, OURS, OTHER, None])
@pytest.mark.parametrize("other", [{}, {"root": "third"}])
def test_a_child_that_two_trees_list_is_contested(child: dict[str, Any] | None, other: dict[str, Any]) -> None:
    found = kinship(house=children("a", "b"), other={**other, **children("a")}, b=OURS)
    if child is not None:
        say(found, "a", **child)

    stranger = found.tree("house").strangers["a"]
    assert stranger.is_contested
    assert {"third" if other else "other"} <= {*stranger.others}
    assert members(found) == ["house", "b"]
    assert "a" not in members(found, "other")


def test_a_device_of_another_tree_that_lists_ours_names_that_tree() -> None:
    found = kinship(house=children("a"), other=children("b"), b={**OTHER, **children("a")}, a=OURS)

    assert found.tree("house").strangers == {"a": Stranger(("other",), is_contested=True)}


@pytest.mark.parametrize("orphan", [OURS, {"root": "house", "parent": "a"}])
def test_an_orphan_that_names_us_contests_nothing(orphan: dict[str, str]) -> None:
    found = kinship(house=children("a"), orphan={**orphan, **children("a")}, a={})

    assert members(found) == ["house", "a"]


def test_a_root_that_another_tree_lists_is_not_contested() -> None:
    found = kinship(house=children("a"), other=children("house"), a=OURS)

    assert found.tree("house")[:2] == ({"house": None, "a": None}, {})


@pytest.mark.parametrize("end", [None, children("b")])
def test_it_is_ours_again_when_the_other_lists_it_no_more(end: dict[str, Any] | None) -> None:
    found = kinship(house=children("a"), other=children("a"), a=OURS)
    assert members(found) == ["house"]

    if end is None:
        found.note("other", None, live=True)
    else:
        say(found, "other", **end)

    assert found.tree("house")[:2] == ({"house": None, "a": None}, {})


def test_a_lister_that_turns_out_to_be_ours_contests_nothing() -> None:
    found = kinship(house=children("a", "x"), b=children("x"), x={})
    assert members(found) == ["house", "a"]

    say(found, "a", live=False, **children("b"))

    assert members(found) == ["house", "a", "x", "b"]


# --- what was said before ---------------------------------------------------------------------------------------------


def test_that_a_child_has_named_another_root_is_remembered() -> None:
    found = kinship(house=children("a"), a=OTHER)

    say(found, "a", **OURS)

    assert found.tree("house").strangers == {"a": Stranger(("other",), is_contested=False)}
    say(found, "a")
    assert members(found) == ["house"]
    found.note("a", None, live=True)
    assert members(found) == ["house"]


def test_it_is_remembered_of_a_child_that_nobody_listed_then() -> None:
    found = kinship(a=OTHER)
    say(found, "a", **OURS)

    say(found, "house", **children("a"))

    assert members(found) == ["house"]


@pytest.mark.parametrize("word", [None, {}, children("b")])
def test_it_is_over_when_that_root_speaks_and_does_not_list_it(word: dict[str, Any] | None) -> None:
    found = kinship(house=children("a"), a=OTHER)
    say(found, "a", **OURS)

    found.note("other", None if word is None else parse_description(json.dumps(word).encode(), "other"), live=True)

    assert members(found) == ["house", "a"]


def test_what_is_retained_of_that_root_may_be_older_and_ends_nothing() -> None:
    found = kinship(house=children("a"), a=OTHER)
    say(found, "a", **OURS)

    say(found, "other", live=False)

    assert members(found) == ["house"]


def test_a_device_that_was_moved_from_one_tree_to_another_is_the_others() -> None:
    """Its parent announces first, then the device is cleared; then the other tree has it."""
    found = kinship(house=children(), other=children("a"), a=OTHER)

    say(found, "other")
    found.note("a", None, live=True)
    say(found, "a", **OURS)
    say(found, "house", **children("a"))

    assert found.tree("house")[:2] == ({"house": None, "a": None}, {})


def test_while_a_child_names_another_root_that_root_may_say_what_it_likes() -> None:
    found = kinship(house=children("a"), a=OTHER)

    say(found, "other")

    assert members(found) == ["house"]


def test_a_root_that_was_heard_of_before_can_be_named_again() -> None:
    found = kinship(house=children("a"), a=OTHER)
    say(found, "other")
    say(found, "a", **OURS)
    assert members(found) == ["house", "a"]

    say(found, "a", **OTHER)
    say(found, "a", **OURS)

    assert members(found) == ["house"]


def test_i8_of_many_roots_that_were_named_some_are_kept_by_name_and_none_is_forgotten() -> None:
    found = kinship(house=children("a"))
    for number in range(50):
        say(found, "a", root=f"other-{number}")
    say(found, "a", **OURS)

    assert len(found.others("a", "house")) < 12
    for number in range(50):
        found.note(f"other-{number}", None, live=True)
    assert members(found) == ["house"]


# --- bounds -----------------------------------------------------------------------------------------------------------


def overhear(found: Kinship, device: str, names: Iterable[str]) -> bool:
    return found.overhear(device, parse_description(describe(children=names), device), live=True)


def test_i8_no_more_ids_are_overheard_than_fit_and_room_is_given_back() -> None:
    found = Kinship()
    with patch.object(module, "_MOST", 10):
        assert overhear(found, "x", ["a", "b"])
        assert overhear(found, "y", ["a", "b"])
        assert not overhear(found, "z", [])
        assert overhear(found, "y", [])
        assert not overhear(found, "z", [])
        found.note("x", None, live=True)
        assert overhear(found, "z", [])


def test_i8_no_more_characters_are_overheard_than_fit() -> None:
    found = Kinship()
    with patch.object(module, "_LONGEST", 10):
        assert overhear(found, "x", ["a" * 9])
        assert not overhear(found, "y", [])
        assert overhear(found, "x", ["a" * 8])
        assert overhear(found, "y", [])


def test_i8_what_is_asked_for_takes_no_room_of_what_is_overheard() -> None:
    found = Kinship()
    with patch.object(module, "_MOST", 3):
        assert overhear(found, "x", [])
        say(found, "x", **children(*"abcdefgh"))
        assert overhear(found, "y", [])


def test_i8_names_of_devices_that_come_and_go_are_remembered_up_to_a_limit() -> None:
    found = Kinship()
    with patch.object(module, "_MOST", 3):
        for number in range(10):
            say(found, f"d{number}", **OTHER)
            found.note(f"d{number}", None, live=True)
        assert [bool(found.others(f"d{number}", "house")) for number in range(10)] == [True] * 3 + [False] * 7


# --- in words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strangers", "words"),
    [
        ({"a": ("x",)}, "x has a, too"),
        ({"a": ("x",), "b": ("x",)}, "x has a, b, too"),
        ({"a": ("x",), "b": ("y",)}, "x, y have a, b, too"),
        (dict.fromkeys("abcdefg", ("x",)), "x has a, b, c, d and 3 more, too"),
    ],
)
def test_strangers_are_told_by_whose_they_are(strangers: dict[str, tuple[str, ...]], words: str) -> None:
    assert in_words({name: Stranger(others, is_contested=False) for name, others in strangers.items()}) == words


# --- what is kept of strangers ----------------------------------------------------------------------------------------


def pinned(*messages: tuple[str, bytes | str]) -> Forest:
    """A forest that judges by the root ``house``, which has the children a and b."""
    forest = Forest("ebus")
    forest.pin("house")
    for tail, payload in [("house/$description", describe(METER, ["a", "b"])), *messages]:
        absorb(forest, tail, payload)
    return forest


OF_A = {"a/meter/power": "1", "a/meter/power/$target": "2", "a/$state": "ready", "a/$alert/hot": "hot"}


def of_a(forest: Forest) -> object:
    """All that is kept of a, but for its description."""
    device = forest.devices.get("a")
    if device is None:
        return None
    logs = [entry.text for entry in device.logs]
    nodes = [(node.values, node.targets) for node in device.nodes.values() if node.values or node.targets]
    return nodes, device.state_text, device.alerts, logs, device.lifecycle.name


NOTHING = ([], None, {}, [], "UNKNOWN")
ALL = ([({"power": 1.0}, {"power": 2.0})], "ready", {"hot": "hot"}, [], "READY")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("root", [None, "house", "other"])
def test_of_a_child_of_another_root_only_the_description_is_kept(first: bool, root: str | None) -> None:
    fields = {} if root is None else {"root": root}
    says = ("a/$description", describe(METER, **fields))
    forest = pinned(*([says] if first else []), *OF_A.items(), *([] if first else [says]))

    assert of_a(forest) == (NOTHING if root == "other" else ALL)
    assert forest.devices["a"].description is not None
    assert forest.dropped["another panel's"] == (len(OF_A) if root == "other" and first else 0)


def test_a_flip_back_does_not_make_the_others_values_ours() -> None:
    forest = pinned(("a/$description", describe(METER, **OURS)), *OF_A.items())

    absorb(forest, "a/$log/info", "ours")
    absorb(forest, "a/$description", describe(METER, **OTHER))
    assert of_a(forest) == NOTHING
    absorb(forest, "a/meter/power", "666")
    absorb(forest, "a/$log/info", "theirs")
    absorb(forest, "a/$description", describe(METER, **OURS))
    absorb(forest, "a/meter/power", "667")  # who knows whose
    assert of_a(forest) == NOTHING
    absorb(forest, "other/$description", b"")
    assert of_a(forest) == NOTHING
    absorb(forest, "a/meter/power", "3")

    assert shown(forest) == {"a/meter/power": 3.0}


@pytest.mark.parametrize("tail", OF_A)
def test_what_is_retained_for_a_child_that_was_in_doubt_counts_no_more(tail: str) -> None:
    forest = pinned(("a/$description", describe(METER, **OTHER)))
    absorb(forest, "a/$description", describe(METER, **OURS), retain=True)
    absorb(forest, "other/$description", b"")

    absorb(forest, tail, OF_A[tail], retain=True)
    assert of_a(forest) == NOTHING
    absorb(forest, tail, OF_A[tail])
    kept = of_a(forest)
    assert kept != NOTHING
    absorb(forest, tail, b"lost", retain=True)
    assert of_a(forest) == kept


def test_a_contested_childs_values_are_given_up_when_the_other_has_gone() -> None:
    forest = pinned(("a/$description", describe(METER)), *OF_A.items(), ("b/meter/power", "7"))
    absorb(forest, "other/$description", describe(METER, ["a"]))
    assert forest.members("house") == ["house", "b"]
    absorb(forest, "a/meter/power", "666")

    absorb(forest, "other/$description", b"")

    assert forest.members("house") == ["house", "a", "b"]
    assert of_a(forest) == NOTHING
    assert forest.payload("b", "meter", "power") == b"7"


@pytest.mark.parametrize("asked", [None, {"house", "a", "b"}])
@pytest.mark.parametrize("kept", [True, False])
def test_values_of_a_child_that_the_other_listed_while_we_did_not_are_given_up(asked: Any, kept: bool) -> None:
    forest = pinned(("a/$description", describe(METER)), *OF_A.items())
    forest.asked = asked
    if not kept:
        for tail in (*OF_A, "a/$description"):
            absorb(forest, tail, b"")
    absorb(forest, "house/$description", b"")
    absorb(forest, "other/$description", describe(METER, ["a"]))
    for tail, payload in OF_A.items():
        absorb(forest, tail, payload)
    absorb(forest, "other/$description", describe(METER))
    absorb(forest, "house/$description", describe(METER, ["a", "b"]))

    assert forest.members("house") == ["house", "a", "b"]
    assert of_a(forest) in (None, NOTHING)


@pytest.mark.parametrize("cleared", [True, False])
def test_what_is_retained_for_a_device_that_another_tree_has_left_counts_when_it_was_cleared(cleared: bool) -> None:
    forest = Forest("ebus")
    forest.pin("house")
    forest.asked = {"house"}
    absorb(forest, "house/$description", describe(METER), retain=True)
    absorb(forest, "a/$description", describe(METER), retain=True)
    absorb(forest, "other/$description", describe(METER, ["a"]), retain=True)
    absorb(forest, "other/$description", describe(METER))
    if cleared:
        absorb(forest, "a/$description", b"")
    absorb(forest, "house/$description", describe(METER, ["a"]))
    forest.asked = {"house", "a"}

    for tail, payload in OF_A.items():
        absorb(forest, tail, payload, retain=True)
    absorb(forest, "a/$description", describe(METER), retain=True)

    assert forest.members("house") == ["house", "a"]
    assert of_a(forest) == (ALL if cleared else NOTHING)
    absorb(forest, "a/meter/power", "3")
    assert forest.value("a", "meter", "power") == 3.0


def test_a_device_that_was_moved_within_our_tree_keeps_what_is_retained() -> None:
    forest = pinned(("b/$description", describe({}, ["a"], **OURS)), ("a/$description", describe(METER, **OURS)))
    absorb(forest, "house/$description", describe({}, ["b"]))
    absorb(forest, "b/$description", describe({}, **OURS))
    absorb(forest, "house/$description", describe({}, ["a"]))

    for tail, payload in OF_A.items():
        absorb(forest, tail, payload, retain=True)

    assert of_a(forest) == ALL


def test_i3_a_lister_that_is_described_late_as_ours_costs_no_values() -> None:
    forest = forest_of()
    forest.pin("house")
    for tail, payload in [*OF_A.items(), ("a/$description", describe(METER)), ("x/$description", describe({}, ["a"]))]:
        absorb(forest, tail, payload, retain=True)
    absorb(forest, "house/$description", describe({}, ["a", "b"]), retain=True)
    assert forest.members("house") == ["house", "b"]

    absorb(forest, "b/$description", describe({}, ["x"]), retain=True)

    assert forest.members("house") == ["house", "a", "b", "x"]
    assert of_a(forest) == ALL


def test_who_was_in_doubt_is_told_until_it_is_emptied() -> None:
    forest = pinned(("a/$description", describe(METER, **OTHER)))
    forest.doubted = set()

    absorb(forest, "b/$description", describe(METER, **OTHER))
    absorb(forest, "b/$description", describe(METER, **OURS))
    absorb(forest, "other/$description", b"")

    assert forest.members("house") == ["house", "b"]
    assert {"b"} <= forest.doubted


def test_a_child_of_another_root_is_not_marked_by_what_was_too_large() -> None:
    forest = pinned(("a/$description", describe(METER, **OTHER)))

    forest.overflow("ebus/5/a/meter/power")

    assert not forest.devices["a"].overflowed
    assert forest.dropped["too large"] == 1


# --- devices that nobody asks for -------------------------------------------------------------------------------------


def asking(*devices: str) -> Forest:
    forest = pinned()
    forest.asked = {"house", *devices}
    return forest


def test_of_a_device_that_nobody_asks_for_nothing_is_kept() -> None:
    forest = asking("a")

    assert absorb(forest, "b/$description", describe(METER, **OTHER))
    assert forest.devices.keys() == {"house"}
    assert forest.members("house") == ["house", "a"]
    assert not absorb(forest, "b/$description", b"")  # nothing follows from it
    assert forest.devices.keys() == {"house"}
    assert absorb(forest, "a/$description", describe(METER))
    assert forest.devices.keys() == {"house", "a"}


def test_a_malformed_description_of_one_is_counted_and_changes_nothing() -> None:
    forest = asking("a")
    absorb(forest, "b/$description", describe(METER, **OTHER))

    assert not absorb(forest, "b/$description", "[]")
    forest.overflow("ebus/5/b/$description")

    assert forest.dropped == {"malformed $description": 1, "too large": 1}
    assert forest.members("house") == ["house", "a"]
    assert not absorb(forest, "a/meter/power", "1")


def test_i8_what_does_not_fit_of_them_is_counted() -> None:
    forest = asking("a")
    with patch.object(module, "_MOST", 3):
        assert not absorb(forest, "x/$description", describe(METER, ["q", "w"]))
    assert forest.dropped == {"too many devices": 1}


@pytest.mark.parametrize("limits", [{"topics": 1}, {"payload_bytes": 120}, {"devices": 1}])
def test_whose_a_child_is_counts_though_its_description_does_not_fit(limits: dict[str, int]) -> None:
    forest = Forest("ebus", limits=Limits(**limits))
    forest.pin("house")
    absorb(forest, "house/$description", describe({}, ["a"]))
    assert forest.members("house") == ["house", "a"]

    absorb(forest, "a/$description", describe(METER, ["c"], **OTHER))

    assert forest.members("house") == ["house"]
    absorb(forest, "a/$description", describe(METER, ["c"], **OURS))
    assert "c" not in forest.members("house")


def test_what_concerns_a_tree_is_its_devices_and_who_claims_them() -> None:
    forest = asking("a")
    absorb(forest, "other/$description", describe({}, ["a"]))
    absorb(forest, "third/$description", describe({}, ["q"]))
    absorb(forest, "b/$description", describe({}, **OTHER))

    def concerns(tail: str, payload: bytes = b"x") -> bool:
        return forest.concerns(message(tail, payload))

    assert all(concerns(tail) for tail in ("house/$state", "a/meter/power", "other/$description", "b/$description"))
    assert concerns("third/$description", b"")  # an end of something
    assert not any(concerns(tail) for tail in ("third/$description", "other/$state", "third/meter/power"))
