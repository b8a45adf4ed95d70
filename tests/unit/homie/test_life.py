"""What is a sign of life of a panel behind a broker that lives, what is none, and what holds until the first one."""

from __future__ import annotations

import pytest

from .bridge import UNHEARD, bridged, reconnect, unheard
from .helpers import FLOAT, Session, at, describe, live_session

# --- until the first value ---


def test_a_panel_that_was_dead_before_we_came_is_never_live() -> None:
    session = unheard()
    for _ in range(5):
        session.wait(86_400.0)
        session.core.tick(at(session.now))
        session.disconnect()
        session.wait(1.0)
        reconnect(session)

    assert session.edges() == []
    assert session.obstacle == UNHEARD
    assert session.core.missing() == (UNHEARD,)


@pytest.mark.parametrize("tail", ["house/meter/power", "house/meter/undeclared", "car/meter/power"])
def test_the_first_live_value_makes_it_live(tail: str) -> None:
    session = unheard()
    session.wait(1000.0)

    session.hear(tail, "5")

    (edge,) = session.core.take_edges()
    assert (edge.online, edge.at) == (True, at(1000.0))


def test_a_value_that_comes_during_the_replay_is_not_the_first_one() -> None:
    """What the broker had retained may come behind it: when that is in, it has to be said what of it is of now."""
    session = Session(max_silence=60.0)
    session.connect()
    session.replay(
        ("house/$state", "ready"),
        ("house/$description", describe({"meter": {"power": FLOAT}})),
        ("house/meter/power", "4"),
    )
    session.hear("house/meter/power", "5")
    session.complete()
    assert session.obstacle == UNHEARD

    session.hear("house/meter/power", "5")
    assert session.edges() == ["online"]


@pytest.mark.parametrize("dead", ["before we came", "for an hour"])
def test_what_was_known_before_the_first_value_is_confirmed_or_settles(dead: str) -> None:
    """A bridge that comes back passes on one retained value after another: the first of them is not all of them."""
    session = live_session(max_silence=60.0)
    if dead == "for an hour":
        session.hear("house/meter/power", "100")
    session.wait(3600.0)
    session.edges()
    session.hear("house/meter/power", "5")
    assert session.obstacle == "values of before not confirmed"
    session.hear("house/switch/relay", "OPEN")
    assert session.edges() == ["online"]

    session.wait(100.0)
    session.edges()
    session.hear("house/meter/power", "6")  # and nothing else: a panel does not repeat what has not changed
    session.wait(1.9)
    assert session.edges() == []
    session.wait(0.1)
    assert session.edges() == ["online"]


def test_time_does_not_run_before_the_first_value_and_does_from_it_on() -> None:
    session = unheard()
    assert session.core.deadline is None
    session.wait(1000.0)
    assert session.core.deadline is None

    session.hear("house/meter/power", "5")
    assert session.core.deadline == 1060.0


# --- what is no sign of life ---

NO_LIFE = [
    ("house/$state", b"ready"),
    ("house/$description", describe({"meter": {"power": FLOAT}})),
    ("house/$alert/hot", b"text"),
    ("house/$log/info", b"text"),
    ("house/meter/power/$target", b"5"),
    ("house/$stats/uptime", b"5"),
]


def test_a_value_that_is_taken_off_the_broker_is_no_sign_of_life() -> None:
    """Anybody may tidy up; and a panel that does has other values to tell of."""
    session = bridged()
    session.wait(30.0)

    session.hear("house/meter/power", b"")

    assert session.core.deadline == 60.0


@pytest.mark.parametrize(("tail", "payload"), NO_LIFE)
def test_an_attribute_is_no_sign_of_life(tail: str, payload: bytes) -> None:
    session = bridged()
    session.wait(30.0)

    session.hear(tail, payload)

    assert session.core.deadline == 60.0


def test_a_broker_that_repeats_what_it_has_retained_is_no_sign_of_life() -> None:
    session = bridged()
    session.wait(30.0)

    session.hear("house/meter/power", "5", retain=True)

    assert session.core.deadline == 60.0


NOT_OURS = [
    "house/switch/relay/set",
    "car/meter/power/set",
    "stranger/meter/power",
    "nonsense",
    "house/meter",
    "house/meter/power/more",
    "house/METER/power",
    "house//power",
]


@pytest.mark.parametrize("tail", NOT_OURS)
def test_what_somebody_else_publishes_is_no_sign_of_life(tail: str) -> None:
    """A command above all: it is in our subscription, and people send more of them to a panel that does not react."""
    session = bridged()
    session.wait(30.0)

    session.hear(tail, "OPEN")

    assert session.core.deadline == 60.0


@pytest.mark.parametrize(("tail", "payload"), [*NO_LIFE, *((tail, b"OPEN") for tail in NOT_OURS)])
def test_what_is_no_sign_of_life_is_no_first_one_either(tail: str, payload: bytes) -> None:
    session = unheard()

    session.hear("stranger/$description", describe({"meter": {"power": FLOAT}}))
    session.hear(tail, payload)
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "5", retain=True)

    assert session.edges() == []
    assert session.obstacle == UNHEARD


@pytest.mark.parametrize(("tail", "payload"), NO_LIFE)
def test_an_attribute_does_not_end_it(tail: str, payload: bytes) -> None:
    session = bridged()
    session.wait(100.0)
    session.edges()

    session.hear(tail, payload)
    session.hear("house/meter/power", "5", retain=True)

    assert session.edges() == []
    assert not session.core.live
