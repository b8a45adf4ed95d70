"""A panel that says nothing behind a broker that lives: `max_silence`."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from .bridge import SILENT, UNHEARD, bridged, reconnect, unheard
from .helpers import FEWER, FLOAT, at, describe, live_session, reached

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


def test_a_silent_panel_that_is_lost_and_comes_back_is_live_when_it_has_spoken() -> None:
    session = bridged()
    session.wait(100.0)
    session.hear("house/$state", "lost")
    assert session.obstacle == "device state: lost"
    session.hear("house/$state", "ready")
    session.wait(2.0)  # values of before are believed now, but who has published them?
    assert session.obstacle == SILENT
    assert session.edges() == [SILENT]

    session.hear("house/meter/power", "5")
    assert session.edges() == ["online"]


# --- links ---


def test_a_new_link_and_its_replay_do_not_end_it() -> None:
    session = bridged()
    session.wait(100.0)
    session.disconnect()
    session.wait(1.0)
    reconnect(session)

    assert session.obstacle == SILENT
    assert session.edges() == [SILENT]

    session.hear("house/meter/power", "5")
    (edge,) = session.core.take_edges()
    assert (edge.online, edge.epoch) == (True, 2)


def test_a_new_link_does_not_begin_the_time_anew() -> None:
    session = bridged()
    session.wait(40.0)
    session.disconnect()
    session.wait(10.0)
    reconnect(session)
    assert session.edges() == ["link lost: reset by peer", "online"]
    assert session.core.deadline == 60.0

    session.wait(10.0)
    assert session.edges() == [SILENT]


def test_after_an_outage_that_was_longer_only_a_live_value_is_believed() -> None:
    session = bridged()
    session.wait(40.0)
    session.disconnect()
    session.wait(1000.0)
    reconnect(session)

    assert session.obstacle == SILENT
    assert session.core.deadline is None
    session.hear("house/meter/power", "5")
    assert session.edges() == ["link lost: reset by peer", "online"]


def test_silence_while_there_is_no_link_is_no_edge() -> None:
    session = bridged()
    session.disconnect()
    session.wait(1000.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert session.obstacle == "link lost: reset by peer"


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
        st.sampled_from(["value", "value", "attribute", "replayed value", "reconnect", "drop"])
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
