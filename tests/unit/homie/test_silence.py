"""A panel that says nothing behind a broker that lives: `max_silence`."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from .bridge import SILENT, UNHEARD, bridged, reconnect, unheard
from .helpers import FEWER, FLOAT, Session, at, describe, live_session, reached

# --- when ---


def test_a_panel_may_be_silent_for_ever_unless_it_is_said() -> None:
    session = live_session()
    session.edges()

    assert session.core.deadline is None
    session.wait(1e9)
    session.core.tick(at(1e9))
    assert session.edges() == []


def test_no_value_for_so_long_is_an_offline_edge_at_that_moment() -> None:
    session = bridged()
    assert session.core.deadline == 60.0

    session.wait(59.999)
    assert session.core.live
    session.wait(0.001)

    (edge,) = session.core.take_edges()
    assert (str(edge), edge.at) == (f"offline, {SILENT}", at(60.0))


@pytest.mark.parametrize("early", [60.0 - 2**-47, 59.0, 0.0])
def test_a_tick_before_the_limit_does_nothing(early: float) -> None:
    session = bridged()

    session.core.tick(at(early))

    assert session.core.live
    assert session.core.deadline == 60.0


@pytest.mark.parametrize("late", [60.0, 60.0 + 2**-46, 1e6])
def test_a_tick_at_the_limit_or_later_is_the_edge(late: float) -> None:
    session = bridged()

    session.core.tick(at(late))

    assert session.edges() == [SILENT]


def test_each_value_begins_the_time_anew() -> None:
    session = bridged()
    for _ in range(10):
        session.wait(59.0)
        session.hear("house/meter/power", "100")  # the same again is a sign of life all the same

    assert session.edges() == []
    assert session.core.deadline == session.now + 60.0


def test_a_child_speaks_for_the_panel() -> None:
    session = live_session(
        ("car/$description", describe({"meter": {"power": FLOAT}}, root="house")),
        children=["car"],
        max_silence=60.0,
        settle=0.0,
    )
    session.wait(50.0)
    session.hear("car/meter/power", "7")

    assert session.core.deadline == 110.0


def test_a_value_that_shows_nowhere_is_one_all_the_same() -> None:
    session = bridged()
    session.wait(50.0)
    session.hear("house/meter/undeclared", "1")

    assert session.core.deadline == 110.0


# --- how it ends ---


def test_one_live_value_ends_it() -> None:
    session = bridged()
    session.wait(100.0)
    session.edges()

    session.hear("house/meter/power", "5")

    (edge,) = session.core.take_edges()
    assert (edge.online, edge.at) == (True, at(100.0))
    assert session.core.deadline == 160.0


def test_silence_begins_and_ends_as_often_as_it_likes() -> None:
    session = bridged()
    for _ in range(3):
        session.wait(61.0)
        session.hear("house/meter/power", "5")

    assert session.edges() == [SILENT, "online"] * 3


@pytest.mark.parametrize("gone", ["lost", "init", "sleeping", "disconnected", "nonsense", ""])
def test_a_panel_that_was_not_ready_is_live_when_it_has_spoken(gone: str) -> None:
    """A publisher that is started again, and repeats nothing, does not bring back what its last life has said."""
    session = bridged()
    session.hear("house/$state", gone)
    session.hear("house/$state", "ready")
    session.wait(2.0)
    assert session.obstacle == UNHEARD
    assert len(session.edges()) == 1

    session.hear("house/meter/power", "5")
    assert session.edges() == ["online"]


def test_what_a_panel_says_before_it_is_ready_counts() -> None:
    session = bridged()
    session.hear("house/$state", "init")
    session.hear("house/meter/power", "5")
    session.hear("house/$state", "ready")

    assert session.core.live


def test_a_silent_panel_that_is_lost_and_comes_back_has_to_speak() -> None:
    session = bridged()
    session.wait(100.0)
    session.hear("house/$state", "lost")
    assert session.obstacle == "device state: lost"
    session.hear("house/$state", "ready")
    session.wait(2.0)  # values of before are believed now, but who has published them?
    assert session.obstacle == UNHEARD
    assert session.edges() == [SILENT]

    session.hear("house/meter/power", "5")
    assert session.edges() == ["online"]


@pytest.mark.parametrize(("pause", "doubt"), [(0.0, False), (5.0, False), (5.5, True), (59.0, True), (3600.0, True)])
@pytest.mark.parametrize("before", ["a new link", "init"])
def test_a_first_value_that_was_long_in_coming_leaves_doubt_about_all_others(
    before: str, pause: float, doubt: bool
) -> None:
    """Whoever speaks so late was not there before, and has not said yet what is of now."""
    session = live_session(max_silence=60.0)
    if before == "init":
        session.hear("house/meter/power", "100")
        session.wait(20.0)
        session.hear("house/$state", "init")
        session.edges()
    session.wait(pause)
    session.hear("house/meter/power", "5")
    session.hear("house/$state", "ready")

    assert session.core.live is not doubt
    session.hear("house/switch/relay", "OPEN")
    assert session.edges() == ["online"]


def test_a_value_in_the_middle_of_others_leaves_no_doubt() -> None:
    session = bridged(settle=2.0)
    session.wait(10.0)
    session.hear("house/meter/power", "5")
    session.core.judge(at(session.now))
    session.hear("house/$alert/hot", "5")
    session.core.tick(at(session.now))

    assert session.core.live


def test_a_silence_leaves_doubt_though_the_panel_says_init_behind_it() -> None:
    session = bridged(settle=2.0)
    session.wait(100.0)
    session.hear("house/$state", "init")
    session.core.tick(at(session.now))
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "5")

    assert session.obstacle == "values of before not confirmed"


def test_time_in_which_a_value_is_awaited_is_no_silence() -> None:
    session = bridged(settle=2.0)
    session.wait(59.0)
    session.hear("house/$state", "init")
    session.now += 2.0
    session.core.tick(at(session.now))
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "5")

    assert session.core.live


# --- links ---


def test_each_link_has_to_bring_a_value_of_its_own() -> None:
    session = bridged()
    for _ in range(3):
        session.wait(1.0)
        session.disconnect()
        reconnect(session)
        assert session.obstacle == UNHEARD
        session.wait(1.0)
        session.hear("house/meter/power", "5")

    assert session.edges() == ["link lost: reset by peer", "online"] * 3


def test_a_broker_that_comes_back_from_disk_without_its_panel_is_never_live() -> None:
    session = bridged()
    session.disconnect()
    session.wait(3.0)
    reconnect(session)
    session.wait(86_400.0)

    assert session.obstacle == UNHEARD
    assert session.edges() == ["link lost: reset by peer"]


def test_a_new_link_and_its_replay_do_not_end_a_silence() -> None:
    session = bridged()
    session.wait(100.0)
    session.disconnect()
    session.wait(1.0)
    reconnect(session)

    assert session.obstacle == UNHEARD
    assert session.edges() == [SILENT]

    session.hear("house/meter/power", "5")
    (edge,) = session.core.take_edges()
    assert (edge.online, edge.epoch) == (True, 2)


def test_silence_while_there_is_no_link_is_no_edge() -> None:
    session = bridged()
    session.disconnect()
    session.wait(1000.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert session.obstacle == "link lost: reset by peer"


# --- a tree that the broker did not have ---


def arriving() -> Session:
    """A broker that has come back empty, and a tree that arrives as a bridge sends it."""
    session = Session(max_silence=60.0)
    session.connect()
    session.complete()
    session.hear("house/$state", "ready")
    session.hear("house/$description", describe({"meter": {"power": FLOAT, "energy": FLOAT}}))
    session.complete()
    assert session.obstacle == UNHEARD
    return session


def test_a_tree_that_the_broker_did_not_have_is_live_when_its_values_have_had_time() -> None:
    session = arriving()
    session.hear("house/meter/power", "5")
    assert session.obstacle == "replay incomplete: the first values are coming"
    session.wait(1.5)
    session.hear("house/meter/energy", "9")
    assert session.edges() == []

    session.wait(0.5)
    (edge,) = session.core.take_edges()
    assert (edge.online, edge.at) == (True, at(2.0))


def test_values_that_come_before_the_replay_is_over_are_of_a_tree_that_arrives() -> None:
    session = Session(max_silence=60.0)
    session.connect()
    session.subscribe()
    session.hear("house/$state", "ready")
    session.hear("house/$description", describe({"meter": {"power": FLOAT}}))
    session.hear("house/meter/power", "5")
    session.barrier()
    session.complete()
    session.hear("house/meter/power", "6")
    assert session.obstacle == "replay incomplete: the first values are coming"

    session.wait(2.0)
    assert session.edges() == ["online"]


def test_a_tree_that_says_ready_behind_its_values_has_said_them_all() -> None:
    session = Session(max_silence=60.0)
    session.connect()
    session.complete()
    session.hear("house/$state", "init")
    session.hear("house/$description", describe({"meter": {"power": FLOAT, "energy": FLOAT}}))
    session.complete()
    session.hear("house/meter/power", "5")
    session.hear("house/meter/energy", "9")
    session.hear("house/$state", "ready")

    assert session.edges() == ["online"]


def test_a_bridge_may_pass_on_ready_between_the_values() -> None:
    """Nobody has said before that it was not: it is no sign that all has come."""
    session = Session(max_silence=60.0)
    session.connect()
    session.complete()
    session.hear("house/$description", describe({"meter": {"power": FLOAT, "energy": FLOAT}}))
    session.complete()
    session.hear("house/meter/power", "5")
    session.hear("house/$state", "ready")

    assert session.obstacle == "replay incomplete: the first values are coming"


def test_one_value_that_the_broker_had_is_a_replay() -> None:
    session = live_session(max_silence=60.0)
    session.hear("house/meter/power", "5")

    assert session.edges() == ["online"]


def test_the_first_values_come_once() -> None:
    session = arriving()
    session.hear("house/meter/power", "5")
    session.wait(2.0)
    session.hear("house/$state", "init")
    session.hear("house/meter/power", "5")
    session.hear("house/$state", "ready")

    assert session.edges() == ["online", "device state: init", "online"]


# --- clocks ---


def test_a_clock_that_stands_still_makes_no_edge_and_no_work() -> None:
    session = bridged()
    for _ in range(100):
        session.core.tick(at(0.0))
        session.hear("house/meter/power", "5")

    assert session.edges() == []
    assert session.core.deadline == 60.0


def test_a_clock_that_stands_still_at_the_limit_is_one_edge_and_no_work() -> None:
    session = bridged()
    for _ in range(100):
        session.core.tick(at(60.0))

    assert session.edges() == [SILENT]
    assert session.core.deadline is None


@pytest.mark.parametrize("limit", [1e-300, 5e-324, 0.001, 1e300, math.inf])
def test_any_limit_is_obeyed_and_none_makes_it_spin(limit: float) -> None:
    session = bridged(max_silence=limit)
    session.now = 1e6

    for _ in range(10):
        session.core.tick(at(session.now))
        assert session.core.deadline is None or session.core.deadline > session.now
        assert session.core.live == (limit > 1e6)


def test_live_is_never_said_of_a_panel_that_has_been_silent_for_longer() -> None:
    runs: Counter[str] = Counter()
    steps = st.lists(
        st.sampled_from(["value", "value", "attribute", "replayed value", "reconnect", "drop", "restart"])
        | st.sampled_from([0.5, 20.0, 59.5, 60.0, 200.0]),
        max_size=20,
    )

    @FEWER
    @given(steps)
    def attempt(story: list[str | float]) -> None:
        session = unheard()
        spoke: float | None = None
        edges: list[bool] = []
        for chapter in story:
            match chapter:
                case "value":
                    session.hear("house/meter/power", "5")
                    spoke = session.now
                case "attribute":
                    session.hear("house/$alert/hot", "5")
                case "replayed value":
                    session.hear("house/meter/power", "6", retain=True)
                case "reconnect":
                    reconnect(session)
                    spoke = None
                case "restart":
                    session.hear("house/$state", "init")
                    session.hear("house/$state", "ready")
                    spoke = None
                case "drop":
                    session.disconnect()
                case float(seconds):
                    session.wait(seconds)
            silent = spoke is None or session.now >= spoke + 60.0
            assert not (session.core.live and silent)
            assert (session.obstacle == SILENT) <= (silent and spoke is not None)
            assert (session.obstacle == UNHEARD) <= (spoke is None)
            edges += [edge.online for edge in session.core.take_edges()]

        assert edges == [number % 2 == 0 for number in range(len(edges))]
        runs.update(["all"] + ["live"] * bool(edges) + ["silent"] * (len(edges) > 1))
        event(f"{min(len(edges), 4)} edges")

    attempt()
    reached(runs, "live", 0.3)
    reached(runs, "silent", 0.2)
