"""A tree that shares its broker with another one, whose children have the same ids (I13)."""

from __future__ import annotations

from typing import Any

import pytest

from span_trio.enums import ConnectionReason
from span_trio.homie import Limits, Obstacle

from .broker import BrokeredSession
from .helpers import FLOAT, RELAY, Session, describe, live_session, shown

METER = {"meter": {"power": FLOAT}}
OURS, OTHER = {"root": "house"}, {"root": "other"}


def panel(root: str, power: str, *children: str, names_root: bool = True) -> dict[str, bytes | str]:
    """All that a broker keeps of a panel."""
    kept: dict[str, bytes | str] = {f"{root}/$state": "ready", f"{root}/$description": describe(METER, children)}
    for child in children:
        kept[f"{child}/$description"] = describe(METER, **({"root": root} if names_root else {}))
        kept[f"{child}/$state"] = "ready"
        kept[f"{child}/meter/power"] = power
    return kept


def house(**options: Any) -> BrokeredSession:
    session = BrokeredSession(panel("house", "1", "a", "b"), **options)
    session.start()
    return session


def publish(session: BrokeredSession, said: dict[str, bytes | str]) -> None:
    for tail, payload in said.items():
        session.publish(tail, payload)


# --- the other was there first ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("names_root", [True, False])
def test_a_tree_whose_children_another_tree_lists_is_not_live(first: bool, names_root: bool) -> None:
    ours = panel("house", "1", "a", "b", names_root=names_root)
    theirs = panel("other", "666", "a", "b", names_root=names_root)
    session = BrokeredSession(ours | theirs if first else theirs | ours)
    session.start()
    session.wait(1000.0)

    assert session.obstacle == "conflicting devices: other has a, b, too"
    assert session.core.missing() == ("conflicting devices: other has a, b, too",)
    assert session.edges() == []
    assert session.core.pending == ()


def test_the_other_one_is_not_live_either() -> None:
    session = BrokeredSession(panel("other", "666", "a", "b") | panel("house", "1", "a"))
    session.core.root = "other"  # type: ignore[misc]
    session.start()

    assert session.obstacle == "conflicting devices: house has a, too"


def test_one_child_in_common_is_enough() -> None:
    session = BrokeredSession(panel("house", "1", "a", "b") | panel("other", "666", "b", "c"))
    session.start()

    assert session.obstacle == "conflicting devices: other has b, too"


def test_trees_that_have_no_child_in_common_do_not_mind_each_other() -> None:
    session = BrokeredSession(panel("house", "1", "a", "b") | panel("other", "666", "c"))
    session.start()

    assert session.edges() == ["online"]
    assert session.core.forest.devices.keys() == {"house", "a", "b"}


def test_a_tree_without_children_asks_for_nobody_elses_descriptions() -> None:
    session = BrokeredSession(panel("house", "1") | panel("other", "666", "c"))
    session.start()

    assert [request.filters for _, request in session.asked] == [("ebus/5/house/#",)]


def test_the_descriptions_of_all_devices_are_asked_for_once_before_any_child_is() -> None:
    session = house()
    session.publish("house/$description", describe(METER, ["a", "b", "c"]))

    assert [request.filters for _, request in session.asked] == [
        ("ebus/5/house/#",),
        ("ebus/5/+/$description",),
        ("ebus/5/a/#", "ebus/5/b/#"),
        ("ebus/5/c/#",),
    ]


def test_it_is_not_live_before_all_descriptions_are_known() -> None:
    session = live_session(watch=True)
    assert session.edges() == ["online"]

    session.hear("house/$description", describe(METER, ["a"]))
    assert session.obstacle == "pending device: a"
    session.wait(1000.0)
    assert session.obstacle == "replay incomplete"
    session.complete()
    assert session.edges() == ["pending device: a", "online"]


def test_descriptions_of_all_devices_are_believed_when_the_broker_is_quiet() -> None:
    session = house(queue=4)
    theirs = panel("other", "666", "c", "d", "e", "f")
    session = BrokeredSession(panel("house", "1", "a", "b") | theirs, queue=4)
    session.start()

    assert session.edges() == ["online"]
    assert session.core.assumed == 1


def test_a_child_of_another_root_is_not_subscribed_to() -> None:
    session = BrokeredSession(panel("house", "1", "a", "b") | {"b/$description": describe(METER, **OTHER)})
    session.start()

    assert [request.filters for _, request in session.asked][2:] == [("ebus/5/a/#",)]


# --- a child that says that it is another tree's ----------------------------------------------------------------------


def test_a_child_of_another_root_is_waited_for_and_then_left_out_and_named() -> None:
    session = BrokeredSession(panel("house", "1", "a", "b") | {"b/$description": describe(METER, **OTHER)})
    session.start()

    assert session.obstacle == "conflicting devices: other has b, too"
    session.wait(14.9)
    assert session.edges() == []
    session.wait(0.1)
    assert session.edges() == ["online"]
    assert session.core.pending == ("b",)
    assert session.core.forest.members("house") == ["house", "a"]


def test_while_live_it_takes_the_tree_down_for_its_patience_with_a_reason() -> None:
    session = house()

    session.publish("b/$description", describe(METER, **OTHER))
    session.wait(9.9)
    assert session.edges() == ["online", "conflicting devices: other has b, too"]
    session.wait(0.1)
    assert session.edges() == ["online"]
    assert session.core.pending == ("b",)
    assert shown(session.core.forest) == {"a/meter/power": 1.0}


def test_one_that_comes_to_be_contested_takes_the_tree_down_again_and_for_good() -> None:
    session = house()
    session.publish("b/$description", describe(METER, **OTHER))
    session.wait(10.0)
    session.edges()

    session.publish("other/$description", describe(METER, ["b"]))
    session.wait(1000.0)

    assert session.edges() == ["conflicting devices: other has b, too"]
    assert session.core.pending == ()


@pytest.mark.parametrize("word", [b"", describe(METER)])
def test_it_is_ours_again_when_its_root_has_spoken_and_shows_what_is_published_then(word: bytes) -> None:
    session = house()
    publish(session, {"b/$description": describe(METER, **OTHER), "b/meter/power": "666", "b/$state": "ready"})
    session.publish("b/$description", describe(METER, **OURS))
    assert session.obstacle == "conflicting devices: other has b, too"

    session.publish("other/$description", word)

    assert session.edges() == ["online", "conflicting devices: other has b, too", "online"]
    assert shown(session.core.forest) == {"a/meter/power": 1.0}
    session.publish("b/meter/power", "2")
    assert shown(session.core.forest) == {"a/meter/power": 1.0, "b/meter/power": 2.0}


# --- the other comes and goes -----------------------------------------------------------------------------------------


def test_a_panel_that_joins_takes_ours_down_before_any_of_its_values() -> None:
    session = house()
    session.publish("other/$state", "ready")
    for tail, payload in panel("other", "666", "a", "b").items():
        if tail != "other/$state":
            session.publish(tail, payload)
        assert 666.0 not in shown(session.core.forest).values()
        assert session.core.live is (tail == "other/$state")

    assert session.edges() == ["online", "conflicting devices: other has a, b, too"]


def test_when_the_other_tree_is_cleared_ours_is_live_with_what_is_published_then() -> None:
    session = house()
    theirs = panel("other", "666", "a")
    publish(session, theirs)
    assert session.obstacle == "conflicting devices: other has a, too"

    publish(session, dict.fromkeys([*(tail for tail in theirs if tail[:2] == "a/"), *theirs], b""))
    assert session.obstacle == "pending device: a"
    publish(session, panel("house", "2", "a", "b"))

    assert session.edges() == ["online", "conflicting devices: other has a, too", "online"]
    assert shown(session.core.forest) == {"a/meter/power": 2.0, "b/meter/power": 2.0}


def test_when_the_other_tree_is_cleared_in_part_its_values_are_not_ours() -> None:
    session = BrokeredSession(panel("house", "1", "a", "b") | panel("other", "666", "a"))
    session.start()

    publish(session, {"other/$description": b"", "a/$description": describe(METER, **OURS)})

    assert session.edges() == ["online"]
    assert session.asked_for("a")
    assert shown(session.core.forest) == {"b/meter/power": 1.0}


@pytest.mark.parametrize("end", [b"", describe(METER)])
def test_what_is_retained_for_a_child_that_was_contested_before_we_asked_for_it_is_not_ours(end: bytes) -> None:
    bare = panel("house", "1", "a", "b", names_root=False)
    session = BrokeredSession(bare | panel("other", "666", "a", names_root=False))
    session.start()
    assert session.asked_for("a") == []

    session.publish("other/$description", end)

    assert session.asked_for("a") != []
    assert session.edges() == ["online"]
    assert shown(session.core.forest) == {"b/meter/power": 1.0}
    session.publish("a/meter/power", "2")
    assert shown(session.core.forest) == {"a/meter/power": 2.0, "b/meter/power": 1.0}


def test_a_new_epoch_judges_by_what_the_broker_has_then() -> None:
    session = house()
    publish(session, panel("other", "666", "a"))
    session.disconnect()
    session.retained = panel("house", "1", "a", "b")

    session.start(epoch=2)

    assert session.edges()[-1] == "online"
    assert shown(session.core.forest) == {"a/meter/power": 1.0, "b/meter/power": 1.0}
    assert [len(session.asked_for(device)) for device in ("a", "b")] == [2, 2]


def test_a_child_that_is_contested_no_more_is_waited_for_anew() -> None:
    session = BrokeredSession({**panel("house", "1", "a", "b"), **panel("other", "666", "a")})
    session.start()
    session.wait(1000.0)

    publish(session, {"a/$description": b"", "other/$description": b""})

    assert session.obstacle == "pending device: a"
    session.wait(15.0)
    assert session.edges() == ["online"]


# --- signs of life and of before --------------------------------------------------------------------------------------


def test_a_value_of_the_others_is_no_sign_of_life() -> None:
    session = house(max_silence=60.0)
    assert session.obstacle == "silent panel: no value yet"
    session.publish("b/$description", describe(METER, **OTHER))
    session.wait(15.0)

    session.publish("b/meter/power", "666")
    assert session.obstacle == "silent panel: no value yet"
    session.publish("a/meter/power", "2")
    assert session.core.live


def test_a_value_of_the_others_confirms_none_of_ours() -> None:
    session = house()
    session.publish("house/$state", "lost")
    publish(session, {"b/$description": describe(METER, **OTHER), "b/meter/power": "666"})
    session.publish("house/$state", "ready")
    session.publish("a/meter/power", "2")
    assert session.obstacle == "conflicting devices: other has b, too"

    session.publish("b/$description", describe(METER, **OURS))
    session.publish("other/$description", b"")

    assert session.core.live
    assert shown(session.core.forest) == {"a/meter/power": 2.0}


def test_what_was_certainly_ours_is_told_batch_by_batch() -> None:
    session = house()
    session.hear("a/meter/power", "2")
    assert all(session.core.is_certain(device) for device in ("house", "a", "b"))
    assert not session.core.is_certain("other")

    theirs = [("b/$description", describe(METER, **OTHER)), ("other/$description", b"")]
    session.replay(("b/$description", describe(METER, **OURS)))
    for tail, payload in theirs:
        session.publish(tail, payload)
    assert not session.core.is_certain("b")
    session.publish("b/$description", describe(METER, **OURS))
    assert not session.core.is_certain("b")
    session.publish("other/$description", b"")
    session.hear("a/meter/power", "3")

    assert session.core.is_certain("b")


# --- and the rest -----------------------------------------------------------------------------------------------------


def test_i8_another_tree_does_not_push_ours_out() -> None:
    crowd = {f"c{number}/$description": describe(METER, ["x" * 50], **OTHER) for number in range(600)}
    session = BrokeredSession({**crowd, **panel("house", "1", "a", "b")}, limits=Limits(3, 9, 600))
    session.start()

    assert session.edges() == ["online"]
    assert session.core.forest.devices.keys() == {"house", "a", "b"}


def test_what_comes_before_the_tree_in_a_conflict_is_told_first() -> None:
    session = BrokeredSession({**panel("house", "1", "a"), **panel("other", "666", "a")})
    session.start()

    session.publish("house/$state", "init")
    assert session.obstacle == "device state: init"
    session.publish("house/$state", "ready")
    session.disconnect()
    assert session.obstacle == "link lost: reset by peer"


def test_a_recording_has_all_descriptions_already() -> None:
    session = Session(watch=False)
    session.connect()
    session.replay(*panel("other", "666", "a", "b").items(), *panel("house", "1", "a", "b").items())
    session.complete()

    assert session.core.obstacle == Obstacle(ConnectionReason.CONFLICT, "other has a, b, too")


def test_membership_is_seen_whatever_else_a_child_has() -> None:
    session = live_session(("a/$description", describe({"switch": {"relay": RELAY}}, **OTHER)), children=["a"])

    assert session.obstacle == "conflicting devices: other has a, too"
