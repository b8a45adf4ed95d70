"""What a live tree needs besides, in its owner's words (`demand`); and children that come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import ConnectionReason
from span_trio.homie import Forest, Lifecycle, Obstacle

from .broker import BrokeredSession
from .helpers import FEWER, FLOAT, Session, at, describe, live_session, message

WANTED = Obstacle(ConnectionReason.PENDING_DEVICE, "the power of house")
REFUSED = Obstacle(ConnectionReason.DATA_MODEL, "version '2.0'")


def wants_power(limited: bool) -> object:
    """A demand that is met by a value."""

    def demand(forest: Forest) -> tuple[Obstacle, bool] | None:
        return None if forest.value("house", "meter", "power") is not None else (WANTED, limited)

    return demand


def demanding(limited: bool, **options: float) -> Session:
    """All is there, but for the power."""
    session = Session(demand=wants_power(limited), **options)
    session.connect()
    session.replay(("house/$state", "ready"), ("house/$description", describe({"meter": {"power": FLOAT}})))
    session.complete()
    return session


# --- demand ---


@pytest.mark.parametrize("limited", [True, False])
def test_a_tree_that_lacks_what_is_demanded_is_not_live_until_it_comes(limited: bool) -> None:
    session = demanding(limited)
    assert session.edges() == []
    assert session.core.obstacle == WANTED
    assert session.core.missing() == ("pending device: the power of house",)

    session.now = 4.0
    session.hear("house/meter/power", "1")

    (edge,) = session.core.take_edges()
    assert (edge.online, edge.at) == (True, at(4.0))
    assert session.core.deadline is None


def test_what_has_a_limit_is_waited_for_as_long_as_for_a_child() -> None:
    session = demanding(limited=True, patience=7.0)
    assert session.core.deadline == 7.0

    session.wait(6.999)
    assert session.edges() == []
    session.wait(0.001)

    assert session.edges() == ["online"]
    assert session.core.deadline is None


def test_what_has_no_limit_is_waited_for_without_one() -> None:
    session = demanding(limited=False)

    session.wait(1e9)

    assert session.edges() == []
    assert session.core.obstacle == WANTED


def test_what_was_given_up_is_not_waited_for_again_until_it_has_been_there() -> None:
    session = demanding(limited=True)
    session.wait(10.0)
    assert session.edges() == ["online"]

    session.hear("house/$state", "init")
    session.hear("house/$state", "ready")
    assert session.edges() == ["device state: init", "online"]

    session.hear("house/meter/power", "1")
    session.hear("house/$state", "init")
    session.hear("house/meter/power", "")
    session.hear("house/$state", "ready")
    assert session.edges() == ["device state: init"]
    session.wait(10.0)
    assert session.edges() == ["online"]


def test_a_new_link_waits_anew() -> None:
    session = demanding(limited=True)
    session.wait(10.0)
    session.edges()

    session.disconnect()
    session.connect(2)
    session.replay(("house/$state", "ready"), ("house/$description", describe({"meter": {"power": FLOAT}})))
    session.complete()

    assert session.core.obstacle == WANTED
    assert session.core.deadline == 20.0


def test_what_is_demanded_comes_behind_everything_else() -> None:
    session = Session(demand=lambda _: (REFUSED, False))
    assert session.obstacle == "unreachable: not connected yet"
    session.connect()
    assert session.obstacle == "replay incomplete"
    session.replay(("house/$description", describe(children=["car"])))
    session.subscribe()
    session.barrier()
    assert session.obstacle == "device state: not published"
    session.hear("house/$state", "ready")
    assert session.obstacle == "pending device: car"
    session.hear("car/$description", "{}")
    session.complete()
    assert session.core.obstacle == REFUSED


def test_a_demand_that_changes_with_a_description_is_an_edge_with_its_reason() -> None:
    session = live_session(demand=lambda forest: (REFUSED, False) if "new" in forest.devices["house"].nodes else None)
    assert session.edges() == ["online"]

    session.hear("house/$description", describe({"new": {}}))

    (edge,) = session.core.take_edges()
    assert (edge.online, edge.reason, edge.detail) == (False, ConnectionReason.DATA_MODEL, "version '2.0'")


def test_a_demand_behind_another_obstacle_wants_no_tick() -> None:
    session = demanding(limited=True)
    session.wait(5.0)
    session.hear("house/$state", "init")

    session.wait(100.0)  # fails where a tick wants another one at once

    assert session.core.deadline is None or session.core.deadline > session.now


STORY = st.lists(
    st.sampled_from([("house/meter/power", "1"), ("house/meter/power", "")])
    | st.sampled_from(["init", "ready", "lost"]).map(lambda state: ("house/$state", state)),
    max_size=8,
)


def test_i3_any_split_of_the_same_messages_ends_in_the_same_edges() -> None:
    @FEWER
    @given(STORY)
    def attempt(story: list[tuple[str, str]]) -> None:
        whole, split = demanding(limited=False), demanding(limited=False)
        whole.core.receive([message(*each) for each in story], at(0.0))
        for each in story:
            split.hear(*each)
        assert whole.edges() == split.edges()

    attempt()


# --- children that come back ---

KEPT: dict[str, bytes | str] = {
    "house/$state": "ready",
    "house/$description": describe({}, ["car"]),
    "car/$state": "ready",
    "car/$description": describe({"meter": {"power": FLOAT}}, root="house"),
    "car/meter/power": "7",
}


def with_car() -> BrokeredSession:
    session = BrokeredSession(KEPT)
    session.start()
    assert session.edges() == ["online"]
    session.core.forest.take_dirty()
    return session


def lifecycle(session: Session) -> Lifecycle:
    return session.core.forest.devices["car"].lifecycle


@pytest.mark.parametrize("state", ["lost", "disconnected", "init", "sleeping", "bogus", ""])
def test_a_childs_state_takes_nobody_else_away(state: str) -> None:
    session = with_car()
    session.publish("car/$state", state)
    assert session.edges() == []
    assert session.core.pending == ()
    assert session.core.forest.take_dirty().devices == {"car"}
    session.publish("car/$state", "ready")
    session.wait(10.0)
    assert session.edges() == []
    assert lifecycle(session) is Lifecycle.READY


@pytest.mark.parametrize("state", ["lost", "disconnected", ""])
def test_a_child_that_was_gone_has_values_of_before_for_as_long_as_they_settle(state: str) -> None:
    session = with_car()
    session.publish("car/$state", state)
    session.wait(5.0)
    session.publish("car/$state", "ready")
    assert lifecycle(session) is Lifecycle.SETTLING
    assert session.core.deadline == 7.0
    session.core.forest.take_dirty()

    session.wait(1.999)
    assert (lifecycle(session), bool(session.core.forest.dirty)) == (Lifecycle.SETTLING, False)
    session.wait(0.001)

    assert lifecycle(session) is Lifecycle.READY
    assert session.core.forest.take_dirty().devices == {"car"}
    assert session.core.deadline is None


def test_a_child_that_goes_again_while_it_settles_begins_anew() -> None:
    session = with_car()
    session.publish("car/$state", "lost")
    session.publish("car/$state", "ready")
    session.wait(1.5)
    session.publish("car/$state", "lost")
    assert session.core.deadline is None
    session.wait(10.0)
    assert lifecycle(session) is Lifecycle.AWAY
    session.publish("car/$state", "init")
    session.publish("car/$state", "ready")
    session.wait(1.999)
    assert lifecycle(session) is Lifecycle.SETTLING
    session.wait(0.001)
    assert lifecycle(session) is Lifecycle.READY


def test_a_child_that_was_only_reconfigured_is_its_own_at_once() -> None:
    session = with_car()
    session.publish("car/$state", "init")
    session.publish("car/$state", "ready")
    assert lifecycle(session) is Lifecycle.READY
    assert session.core.deadline is None


def test_a_child_that_leaves_the_tree_while_it_settles_is_forgotten() -> None:
    session = with_car()
    session.publish("car/$state", "lost")
    session.publish("car/$state", "ready")
    session.publish("house/$description", describe({}))
    assert session.core.deadline is None
    session.wait(10.0)
    assert session.edges() == []


def test_a_new_link_has_no_children_of_before() -> None:
    session = with_car()
    session.publish("car/$state", "lost")
    session.publish("car/$state", "ready")
    session.disconnect()
    session.start(2)
    assert lifecycle(session) is Lifecycle.READY
    assert session.core.deadline is None


def test_no_settle_is_none() -> None:
    session = BrokeredSession(KEPT, settle=0.0)
    session.start()
    session.publish("car/$state", "lost")
    session.publish("car/$state", "ready")
    assert lifecycle(session) is Lifecycle.READY
    assert session.core.deadline is None
