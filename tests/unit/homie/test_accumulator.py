"""Is the tree live? One condition at a time, then what each of them does over time."""

from __future__ import annotations

from typing import Any

import pytest

from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, Datatype, Limits, Message, Obstacle, PropertyDescription

from .helpers import FLOAT, RELAY, Session, at, describe, live_session, message, shown

HOUSE = describe({"meter": {"power": FLOAT}, "switch": {"relay": RELAY}})
PARENT = describe({"meter": {"power": FLOAT}}, children=["car"])
CAR = describe({"meter": {"power": FLOAT}}, root="house")


def parent_session(**options: Any) -> Session:
    """A session whose root is complete, and declares a child of which nothing is known."""
    session = Session(**options)
    session.connect()
    session.replay(("house/$state", "ready"), ("house/$description", PARENT), ("house/meter/power", "1"))
    session.complete()
    return session


def restarted(state: str = "lost") -> Session:
    """A session whose root went away and said ``ready`` again, with two values of before."""
    session = live_session()
    session.hear("house/$state", state)
    session.hear("house/$state", "ready")
    session.edges()
    return session


# --- the predicate, one condition at a time ---------------------------------------------------------------------------


def test_it_is_live_when_nothing_is_in_the_way() -> None:
    session = live_session()

    assert session.core.live
    assert session.core.obstacle is None
    assert session.core.missing() == ()
    assert session.core.pending == ()
    assert session.core.deadline is None
    assert session.edges() == ["online"]


def test_it_is_not_live_before_the_first_link() -> None:
    session = Session()

    assert (session.core.epoch, session.core.deadline) == (0, None)
    assert session.core.obstacle == Obstacle(ConnectionReason.UNREACHABLE, "not connected yet")
    assert not session.core.live
    assert session.edges() == []


def test_it_is_not_live_without_a_link() -> None:
    session = live_session()

    session.disconnect("reset by peer")

    assert session.core.obstacle == Obstacle(ConnectionReason.LINK_LOST, "reset by peer")


def test_it_is_not_live_before_the_replay_is_complete() -> None:
    session = Session()
    session.connect()
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE), ("house/meter/power", "1"))

    assert session.core.obstacle == Obstacle(ConnectionReason.REPLAY)
    session.subscribe()
    assert session.core.obstacle == Obstacle(ConnectionReason.REPLAY)
    session.barrier()
    assert session.core.live


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "not published"),
        ("init", "init"),
        ("sleeping", "sleeping"),
        ("disconnected", "disconnected"),
        ("lost", "lost"),
        ("alert", "alert"),
        ("Ready", "Ready"),
    ],
)
def test_it_is_not_live_unless_the_root_is_ready(state: str | None, told: str) -> None:
    session = Session()
    session.connect()
    session.replay(("house/$description", HOUSE), *([("house/$state", state)] if state else []))
    session.complete()

    assert session.core.obstacle == Obstacle(ConnectionReason.DEVICE_STATE, told)


def test_it_is_not_live_when_the_state_is_deleted() -> None:
    session = live_session()

    session.hear("house/$state", b"")

    assert session.core.obstacle == Obstacle(ConnectionReason.DEVICE_STATE, "not published")


def test_it_is_not_live_before_the_root_is_described() -> None:
    session = Session()
    session.connect()
    session.replay(("house/$state", "ready"))
    session.complete()

    assert session.core.obstacle == Obstacle(ConnectionReason.PENDING_DEVICE, "house")


def test_it_is_not_live_before_a_child_is_described() -> None:
    session = parent_session()

    assert session.core.obstacle == Obstacle(ConnectionReason.PENDING_DEVICE, "car")
    session.hear("car/$description", CAR)
    assert session.core.live


def test_it_is_not_live_before_a_childs_own_barrier_has_passed() -> None:
    session = Session()
    session.connect()
    session.subscribe()
    session.replay(("house/$state", "ready"), ("house/$description", PARENT), ("car/$description", CAR))
    session.barrier()
    session.subscribe()

    assert session.core.obstacle == Obstacle(ConnectionReason.PENDING_DEVICE, "car")
    session.barrier()
    assert session.core.live


def test_it_is_not_live_before_a_grandchild_is_described() -> None:
    session = live_session(("car/$description", describe(children=["plug"], root="house")), children=["car"])

    assert session.core.obstacle == Obstacle(ConnectionReason.PENDING_DEVICE, "plug")
    session.hear("plug/$description", CAR)
    assert session.core.live


def test_it_is_not_live_before_the_values_of_before_are_confirmed() -> None:
    assert restarted().core.obstacle == Obstacle(ConnectionReason.UNCONFIRMED)


def test_the_first_thing_in_the_way_is_told() -> None:
    """Whoever waits learns what to wait for first; the rest may have gone by then."""
    session = Session()
    told = [session.obstacle]
    session.connect()
    told.append(session.obstacle)
    session.subscribe()
    session.barrier()
    told.append(session.obstacle)
    session.hear("house/$state", "lost")
    told.append(session.obstacle)
    session.hear("house/meter/power", "1", retain=True)
    session.hear("house/$state", "ready")
    told.append(session.obstacle)
    session.hear("house/$description", HOUSE)
    told.append(session.obstacle)
    session.hear("house/meter/power", "1")
    told.append(session.obstacle)

    assert told == [
        "unreachable: not connected yet",
        "replay incomplete",
        "device state: not published",
        "device state: lost",
        "pending device: house",
        "values of before not confirmed",
        None,
    ]


def test_what_belongs_to_others_is_nobodys_obstacle() -> None:
    session = live_session(
        ("stranger/$state", "lost"),
        ("stranger/$description", describe(children=["nobody"])),
        ("orphan/$description", describe(root="house", parent="house")),
    )

    assert session.core.live
    session.hear("stranger/$description", b"[]")
    session.core.overflow("ebus/5/stranger/a/b", at(0))
    assert session.core.live


@pytest.mark.parametrize("state", [None, "init", "lost", "disconnected", "sleeping", "BOGUS"])
def test_the_state_of_a_child_is_nobodys_obstacle(state: str | None) -> None:
    session = parent_session()
    session.hear("car/$description", CAR)
    if state:
        session.hear("car/$state", state)

    assert session.core.live


def test_init_keeps_every_value_and_ready_is_live_at_once() -> None:
    session = live_session()
    session.edges()

    session.hear("house/$state", "init")
    assert shown(session.core.forest) == {"house/meter/power": 100.0, "house/switch/relay": "CLOSED"}
    session.hear("house/$state", "ready")

    assert session.edges() == ["device state: init", "online"]


# --- pending devices --------------------------------------------------------------------------------------------------


def test_the_first_live_waits_its_own_patience_for_a_child_then_names_it() -> None:
    session = parent_session(first_patience=15.0, patience=10.0)
    assert session.core.deadline == 15.0

    session.wait(14.9)
    assert not session.core.live

    session.wait(0.1)
    assert session.edges() == ["online"]
    assert session.core.pending == ("car",)
    assert session.core.deadline is None


def test_a_child_that_appears_while_live_is_waited_for_too() -> None:
    session = live_session(first_patience=15.0, patience=10.0)
    session.edges()
    session.wait(100.0)

    session.hear("house/$description", PARENT)
    assert session.core.deadline == 110.0
    session.wait(9.9)
    assert session.edges() == ["pending device: car"]

    session.wait(0.1)
    assert session.edges() == ["online"]
    assert session.core.pending == ("car",)


def test_the_patience_is_15_s_at_first_and_10_s_later_unless_it_is_said() -> None:
    session = parent_session()
    assert session.core.deadline == 15.0

    session.wait(15.0)
    session.hear("house/$description", describe(children=["pool"]))
    assert session.core.deadline == 25.0


def test_a_look_at_the_tree_that_finds_nothing_new_makes_nothing_dirty() -> None:
    session = parent_session()
    session.core.forest.take_dirty()

    session.core.tick(at(1.0))

    assert not session.core.forest.dirty


def test_each_child_has_a_deadline_of_its_own() -> None:
    session = live_session(patience=10.0)
    session.hear("house/$description", describe(children=["car"]))
    session.wait(4.0)
    session.hear("house/$description", describe(children=["car", "pool"]))

    assert session.obstacle == "pending device: car, pool"
    session.wait(6.0)
    assert session.obstacle == "pending device: pool"
    assert session.core.deadline == 14.0
    session.wait(4.0)
    assert session.core.live
    assert session.core.pending == ("car", "pool")


def test_a_child_that_was_given_up_is_pending_until_it_comes() -> None:
    session = parent_session()
    session.wait(15.0)
    session.core.forest.take_dirty()
    session.edges()

    session.hear("car/$description", CAR)

    assert session.core.pending == ()
    assert session.edges() == []
    assert "house" in session.core.forest.take_dirty().devices  # a snapshot names the pending ones


def test_a_child_that_was_given_up_is_not_waited_for_again_whatever_else_happens() -> None:
    session = parent_session()
    session.wait(15.0)
    session.edges()

    session.hear("car/$state", "ready")
    session.hear("house/$state", "init")
    session.hear("house/$state", "ready")

    assert session.edges() == ["device state: init", "online"]
    assert session.core.pending == ("car",)


def test_a_child_that_is_no_longer_declared_is_not_pending() -> None:
    session = parent_session()
    session.edges()

    session.hear("house/$description", HOUSE)

    assert (session.edges(), session.core.pending, session.core.deadline) == (["online"], (), None)


def test_a_child_that_loses_its_description_is_waited_for_again() -> None:
    session = parent_session()
    session.hear("car/$description", CAR)
    session.edges()

    session.hear("car/$description", b"")
    session.hear("car/$description", CAR)

    assert session.edges() == ["pending device: car", "online"]


def test_a_child_whose_description_is_malformed_is_waited_for_and_given_up() -> None:
    session = parent_session()
    session.hear("car/$description", b"[]")
    assert session.core.missing() == ("$description of car (malformed: not a JSON object)",)

    session.wait(15.0)

    assert session.edges() == ["online"]


def test_the_root_is_waited_for_without_a_deadline() -> None:
    session = Session()
    session.connect()
    session.replay(("house/$state", "ready"))
    session.complete()

    assert session.core.deadline is None
    session.core.tick(at(10_000.0))
    assert session.obstacle == "pending device: house"


def test_a_tick_that_comes_early_does_nothing() -> None:
    session = parent_session()

    session.core.tick(at(14.0))

    assert session.obstacle == "pending device: car"
    assert session.core.deadline == 15.0


def test_a_new_epoch_waits_for_children_anew() -> None:
    session = parent_session(first_patience=15.0, patience=10.0)
    session.wait(15.0)

    session.disconnect()
    session.connect(epoch=2)
    session.replay(("house/$state", "ready"), ("house/$description", PARENT))
    session.complete()

    assert session.obstacle == "pending device: car"
    assert session.core.deadline == 25.0


# --- values of before -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["lost", "disconnected", ""])
def test_after_its_root_was_gone_a_tree_is_live_when_each_value_was_published_again(state: str) -> None:
    session = restarted(state)

    session.hear("house/meter/power", "100")  # the same value again is news all the same
    assert session.obstacle == "values of before not confirmed"
    session.hear("house/switch/relay", "OPEN")
    assert session.core.live
    assert session.core.deadline is None


def test_a_value_that_is_cleared_is_no_longer_of_before() -> None:
    session = restarted()

    session.hear("house/meter/power", b"")
    session.hear("house/switch/relay", b"")

    assert session.core.live
    assert shown(session.core.forest) == {}


def test_a_value_that_no_longer_shows_is_not_waited_for() -> None:
    session = restarted()

    session.hear("house/meter/power", "1")
    session.hear("house/$description", describe({"meter": {"power": FLOAT}}))

    assert session.core.live


def test_what_never_showed_is_not_waited_for() -> None:
    session = live_session(
        ("house/meter/undeclared", "1"),
        ("house/meter/power/$target", "1"),
        ("stranger/$description", CAR),
        ("stranger/meter/power", "1"),
    )
    session.hear("house/$state", "lost")
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "1")
    session.hear("house/switch/relay", "OPEN")

    assert session.core.live


def test_after_the_settle_time_the_values_of_before_are_believed() -> None:
    session = restarted()
    assert session.core.deadline == 2.0

    session.wait(1.9)
    assert not session.core.live
    session.wait(0.1)

    assert session.core.live
    assert session.core.deadline is None
    assert shown(session.core.forest) == {"house/meter/power": 100.0, "house/switch/relay": "CLOSED"}


def test_the_settle_time_is_an_option() -> None:
    session = live_session(settle=0.0)
    session.edges()

    session.hear("house/$state", "lost")
    session.hear("house/$state", "ready")

    assert session.edges() == ["device state: lost", "online"]


def test_what_is_published_before_ready_is_published_again() -> None:
    session = live_session()
    session.hear("house/$state", "disconnected")
    session.hear("house/$state", "init")
    session.hear("house/meter/power", "1")
    session.hear("house/switch/relay", "OPEN")
    session.edges()

    session.hear("house/$state", "ready")

    assert session.edges() == ["online"]


def test_values_that_flow_while_the_root_is_lost_are_its_own() -> None:
    """Before r202615 somebody else's last will could set the panel's `$state` to lost while it went on publishing."""
    session = live_session()
    session.hear("house/$state", "lost")
    session.hear("house/meter/power", "1")
    session.hear("house/$state", "ready")
    session.hear("house/switch/relay", "OPEN")

    assert session.core.live


def test_the_settle_time_begins_anew_with_each_ready() -> None:
    session = restarted()
    session.wait(1.5)

    session.hear("house/$state", "init")
    assert session.core.deadline is None
    session.hear("house/$state", "ready")

    assert session.core.deadline == 3.5


def test_a_second_loss_makes_every_value_one_of_before_again() -> None:
    session = restarted()
    session.hear("house/meter/power", "1")
    session.hear("house/$state", "lost")
    session.hear("house/$state", "ready")
    session.hear("house/switch/relay", "OPEN")

    assert session.obstacle == "values of before not confirmed"


@pytest.mark.parametrize("when", ["away", "settling"])
def test_a_replay_confirms_nothing(when: str) -> None:
    session = live_session()
    session.hear("house/$state", "lost")
    if when == "settling":
        session.hear("house/$state", "ready")
    session.hear("house/switch/relay", "OPEN")
    session.hear("house/switch/relay", "CLOSED", retain=True)
    session.hear("house/meter/power", "100", retain=True)
    session.hear("house/$state", "ready")
    assert session.obstacle == "values of before not confirmed"

    session.hear("house/switch/relay", "OPEN")
    session.hear("house/meter/power", "100")
    assert session.core.live


def test_a_replay_of_something_new_while_the_root_is_away_is_of_before() -> None:
    session = Session()
    session.connect()
    session.replay(("house/$state", "lost"), ("house/$description", HOUSE), ("house/meter/power", "1"))
    session.complete()

    session.hear("house/$state", "ready")
    assert session.obstacle == "values of before not confirmed"
    session.hear("house/meter/power", "1")

    assert session.core.live


@pytest.mark.parametrize("order", ["description first", "description last"])
def test_i3_what_a_replay_brings_while_settling_is_of_before_whatever_its_order(order: str) -> None:
    session = Session()
    session.connect()
    session.hear("house/$state", "lost", retain=True)
    session.hear("house/$state", "ready")
    rest = [("house/$description", HOUSE), ("house/meter/power", "1"), ("house/switch/relay", "OPEN")]
    session.replay(*(rest if order == "description first" else reversed(rest)))
    session.complete()
    assert session.obstacle == "values of before not confirmed"

    session.hear("house/meter/power", "1")
    session.hear("house/switch/relay", "OPEN")
    assert session.core.live


def test_the_values_of_a_child_that_is_described_late_are_of_before_too() -> None:
    session = live_session(("car/$description", CAR), ("car/meter/power", "7"), children=["car"])
    session.hear("house/$state", "lost")
    session.hear("car/$description", b"")
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "1")
    session.hear("house/switch/relay", "OPEN")
    assert session.obstacle == "pending device: car"

    session.hear("car/$description", CAR)
    assert session.obstacle == "values of before not confirmed"

    session.hear("car/meter/power", "8")
    assert session.core.live


def test_a_root_that_was_cleared_altogether_comes_back_with_children_of_before() -> None:
    session = live_session(("car/$description", CAR), ("car/meter/power", "7"), children=["car"])
    for tail in ("$state", "$description", "meter/power", "switch/relay"):
        session.hear(f"house/{tail}", b"")
    session.edges()

    session.hear("house/$description", PARENT)
    session.hear("house/$state", "ready")
    assert session.obstacle == "values of before not confirmed"

    session.hear("car/meter/power", "8")
    assert session.edges() == ["online"]


def test_the_loss_of_a_child_leaves_its_values_as_they_are() -> None:
    session = live_session(("car/$description", CAR), ("car/meter/power", "7"), children=["car"])
    session.edges()

    session.hear("car/$state", "lost")
    session.hear("car/$state", "ready")

    assert session.edges() == []


def test_a_value_of_before_that_was_too_large_the_second_time_is_not_waited_for() -> None:
    session = live_session(("car/$description", CAR), ("car/meter/power", "7"), children=["car"], patience=10.0)
    session.hear("house/$state", "lost")
    session.hear("house/$state", "ready")
    session.core.overflow("ebus/5/car/meter/power", at(0.0))
    session.hear("house/meter/power", "1")
    session.hear("house/switch/relay", "OPEN")

    assert session.obstacle == "pending device: car"


def test_i8_a_broker_that_replays_rubbish_while_the_root_is_away_fills_no_memory() -> None:
    session = live_session()
    session.hear("house/$state", "lost")

    for number in range(500):
        session.hear(f"house/meter/p{number}", b"", retain=True)
        session.hear(f"rubbish{number}", b"1", retain=True)
        session.hear(f"house/$stats{number}", b"1", retain=True)
        session.hear(f"house/meter/q{number}", b"1", retain=True)
        session.hear(f"house/meter/q{number}", b"", retain=True)
        session.hear(f"house/meter/r{number}", b"1", retain=True)
        session.core.overflow(f"ebus/5/house/meter/r{number}", at(0.0))

    sizes = [len(value) for value in vars(session.core).values() if isinstance(value, (set, dict, list))]
    assert max(sizes) < 10
    assert session.core.forest.topic_count == 4


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_i5_nothing_of_one_epoch_survives_into_the_next() -> None:
    session = live_session(("car/$description", CAR), ("car/meter/power", "7"), children=["car"])

    session.disconnect()
    session.connect(epoch=2)

    assert shown(session.core.forest) == {}
    assert (session.core.forest.topic_count, session.core.epoch) == (0, 2)
    assert (session.core.pending, session.core.deadline, session.core.assumed) == ((), None, 0)
    request = session.subscribe()
    assert request is not None
    assert request.filters == ("ebus/5/house/#",)


def test_an_epoch_that_begins_with_a_ready_root_needs_no_confirmation() -> None:
    """Whatever the last one ended with: the replay is all there is, and it is whole."""
    session = restarted()
    session.disconnect()
    session.connect(epoch=2)
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE), ("house/meter/power", "1"))
    session.complete()

    assert session.core.live


def test_an_epoch_that_ends_before_its_replay_is_none_at_all() -> None:
    session = Session()
    session.connect()
    session.subscribe()
    session.disconnect()
    session.connect(epoch=2)
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE))

    assert session.obstacle == "replay incomplete"
    session.complete()
    assert session.core.live


def test_a_barrier_that_nobody_asked_for_is_a_mistake_of_the_caller() -> None:
    session = Session()
    session.connect()

    for passed in (True, False):
        with pytest.raises(RuntimeError):
            session.barrier(passed=passed)


def test_the_newest_fallback_is_known_to_every_epoch() -> None:
    fallback = {"free": {"power": PropertyDescription("power", Datatype.FLOAT)}}
    session = Session(fallback=fallback)
    session.connect()
    session.replay(("house/$description", describe({"free": None})), ("house/free/power", "5"))
    assert shown(session.core.forest) == {"house/free/power": 5.0}

    session.core.set_fallback({})
    assert shown(session.core.forest) == {"house/free/power": "5"}

    session.connect(epoch=2)
    session.replay(("house/$description", describe({"free": None})), ("house/free/power", "5"))
    assert shown(session.core.forest) == {"house/free/power": "5"}


# --- what is missing, in words ----------------------------------------------------------------------------------------


def test_before_the_first_link_everything_is_missing() -> None:
    assert Session().core.missing() == (
        "unreachable: not connected yet",
        "$state of house",
        "$description of house",
    )


def test_before_the_end_of_the_replay_that_is_missing_too() -> None:
    session = Session()
    session.connect()

    assert session.core.missing() == ("the end of the replay of house", "$state of house", "$description of house")


def test_a_state_that_is_not_ready_is_quoted() -> None:
    session = live_session()
    session.hear("house/$state", "alert")

    assert session.core.missing() == ("$state of house is 'alert', not 'ready'",)


def test_of_a_child_the_description_or_the_values_are_missing() -> None:
    session = parent_session()
    assert session.core.missing() == ("$description of car",)

    session.hear("house/$description", describe(children=["pool"]))
    session.hear("pool/$description", CAR)
    assert session.core.missing() == ("the values of pool (replay incomplete)",)


def test_values_to_be_confirmed_are_missing() -> None:
    assert restarted().core.missing() == ("values of before not confirmed",)


def test_a_link_that_was_lost_is_missing_with_its_reason() -> None:
    session = live_session()
    session.disconnect("reset by peer")

    assert session.core.missing() == ("link lost: reset by peer",)


# --- subscribing ------------------------------------------------------------------------------------------------------


def test_the_root_is_subscribed_to_first_then_the_children_that_it_declares() -> None:
    session = Session()
    session.connect()

    asked = [session.subscribe(), session.subscribe()]
    session.replay(("house/$description", describe(children=["b", "a"])))
    asked.append(session.subscribe())
    session.barrier()
    asked += [session.subscribe(), session.subscribe()]
    session.barrier()
    asked.append(session.subscribe())

    assert [None if request is None else request.filters for request in asked] == [
        ("ebus/5/house/#",),
        None,  # one at a time
        None,
        ("ebus/5/b/#", "ebus/5/a/#"),
        None,
        None,
    ]


@pytest.mark.parametrize("domain", ["homie", "kitchen/ebus"])
def test_the_domain_is_an_option(domain: str) -> None:
    core = Accumulator("house", domain=domain)
    core.link_up(1, at(0.0))
    request = core.next_subscription()
    assert request is not None
    assert request.filters == (f"{domain}/5/house/#",)
    core.barrier(at(0.0), passed=True)

    core.receive([message("house/$state", "ready")], at(0.0))
    assert core.forest.dropped.total() == 1
    said = {"$state": b"ready", "$description": describe({"meter": {"power": FLOAT}}), "meter/power": b"5"}
    core.receive([Message(f"{domain}/5/house/{tail}", payload) for tail, payload in said.items()], at(0.0))

    assert core.live
    assert core.forest.value("house", "meter", "power") == 5.0
    assert core.forest.payload("house", "meter", "power") == b"5"


def test_a_grandchild_is_subscribed_to_when_its_parent_declares_it() -> None:
    session = live_session(children=["car"])

    session.hear("car/$description", describe(children=["plug"], root="house"))

    request = session.subscribe()
    assert request is not None
    assert request.filters == ("ebus/5/plug/#",)


def test_a_child_that_leaves_and_returns_is_still_subscribed_to() -> None:
    session = live_session(("car/$description", CAR), children=["car"])

    session.hear("house/$description", HOUSE)
    session.hear("house/$description", PARENT)

    assert session.subscribe() is None
    assert session.core.live


def subscribed_by_nodes() -> Session:
    """A session that is live, and whose broker could not replay the house whole."""
    session = Session()
    session.connect()
    session.subscribe()
    session.barrier(passed=False)
    session.subscribe()
    session.replay(("house/$state", "ready"), ("house/$description", describe({"meter": {"power": FLOAT}})))
    session.barrier()
    session.subscribe()
    session.replay(("house/meter/power", "1"))
    session.barrier()
    return session


def test_a_device_that_is_subscribed_to_by_nodes_is_complete_with_the_last_of_them() -> None:
    assert subscribed_by_nodes().edges() == ["online"]


def test_a_node_that_is_not_subscribed_to_yet_makes_its_device_pending() -> None:
    session = subscribed_by_nodes()
    session.edges()

    session.hear("house/$description", HOUSE)
    assert session.edges() == ["pending device: house"]
    assert session.core.missing() == ("the values of house (replay incomplete)",)

    request = session.subscribe()
    assert request is not None
    assert request.filters == ("ebus/5/house/switch/#",)
    session.barrier()
    assert session.edges() == ["online"]


def test_a_description_that_comes_after_the_attributes_were_complete_waits_for_its_nodes() -> None:
    session = Session()
    session.connect()
    session.subscribe()
    session.barrier(passed=False)
    session.subscribe()
    session.replay(("house/$state", "ready"))
    session.barrier()

    session.hear("house/$description", HOUSE)
    assert session.edges() == []
    session.complete()

    assert session.edges() == ["online"]


def test_a_replay_that_was_only_believed_is_counted() -> None:
    session = Session()
    session.connect()
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE))

    while session.subscribe() is not None:
        session.barrier(passed=False)

    assert session.core.live
    assert session.core.assumed == 1


def test_i8_no_more_devices_are_subscribed_to_than_are_kept_however_many_are_declared() -> None:
    session = live_session(limits=Limits(devices=30))
    asked: list[str] = []

    for number in range(10):
        children = [f"c{number}-{child}" for child in range(25)]
        session.hear("house/$description", describe(children=children))
        while (request := session.subscribe()) is not None:
            asked += request.filters
            session.barrier()

    assert len(asked) == 29  # and the root
    assert len(session.core.pending) == 25
