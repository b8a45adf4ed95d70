"""Edges: for each reason that the core can meet, all that an edge says; and when there is one."""

from __future__ import annotations

import attrs
import pytest

from span_trio.enums import ConnectionReason
from span_trio.homie import ConnectionEdge, Instant, Obstacle

from .helpers import FLOAT, Session, at, describe, live_session, message

R = ConnectionReason
OF_THE_LINK = [
    R.UNREACHABLE,
    R.CERTIFICATE,
    R.CA_CHANGED,
    R.REFUSED,
    R.LINK_LOST,
    R.SILENT_PEER,
    R.PROTOCOL_ERROR,
]


def ready(now: float = 0.0, **options: float) -> Session:
    """Live, the edge taken, and so much later."""
    session = live_session(**options)
    session.edges()
    session.now = now
    return session


def offline(session: Session) -> ConnectionEdge:
    """The one edge since then."""
    (edge,) = session.core.take_edges()
    assert not edge.online
    return edge


# --- what an edge says, by its reason ---


def test_an_online_edge_says_live() -> None:
    session = Session()
    session.now = 3.0
    session.connect(epoch=7)
    session.replay(("house/$description", "{}"))
    session.complete()
    session.now = 4.5
    session.hear("house/$state", "ready")

    assert session.core.take_edges() == [ConnectionEdge(True, R.LIVE, "", "ready", 7, Instant(4.5, 1_800_000_004.5), 0)]


@pytest.mark.parametrize("reason", OF_THE_LINK)
def test_a_link_that_ends_is_an_edge_with_whatever_it_died_of(reason: ConnectionReason) -> None:
    session = ready(5.0)

    session.disconnect("in words", reason)

    assert offline(session) == ConnectionEdge(False, reason, "in words", "ready", 1, at(5.0))


def test_a_link_that_was_made_anew_before_the_old_one_ended_is_an_edge_of_the_replay() -> None:
    session = ready(5.0)

    session.connect(epoch=2)

    assert offline(session) == ConnectionEdge(False, R.REPLAY, "", None, 2, at(5.0))


@pytest.mark.parametrize(
    ("payload", "state"),
    [
        (b"lost", "lost"),
        (b"disconnected", "disconnected"),
        (b"init", "init"),
        (b"sleeping", "sleeping"),
        (b"alert", "alert"),
        (b"BOGUS", "BOGUS"),
        (b"READY", "READY"),
        (b" ready", " ready"),
        (b"\x00", "\x00"),
        (b"lo\xffst", "lo\ufffdst"),
    ],
)
def test_the_roots_state_is_carried_as_it_was_published(payload: bytes, state: str) -> None:
    session = ready(5.0)

    session.hear("house/$state", payload)

    assert offline(session) == ConnectionEdge(False, R.DEVICE_STATE, state, state, 1, at(5.0))


def test_a_state_that_was_deleted_is_none() -> None:
    session = ready(5.0)

    session.hear("house/$state", b"")

    assert offline(session) == ConnectionEdge(False, R.DEVICE_STATE, "not published", None, 1, at(5.0))


def test_a_state_that_was_too_large_is_none() -> None:
    session = ready(5.0)

    session.core.overflow("ebus/5/house/$state", at(5.0))

    assert offline(session) == ConnectionEdge(False, R.DEVICE_STATE, "not published", None, 1, at(5.0))


def test_a_device_that_is_missing_is_named() -> None:
    session = ready(5.0)

    session.hear("house/$description", '{"children": ["car", "pool"]}')

    assert offline(session) == ConnectionEdge(False, R.PENDING_DEVICE, "car, pool", "ready", 1, at(5.0))


def test_a_device_that_another_tree_has_too_is_named() -> None:
    session = live_session(("car/$description", describe()), children=["car"])
    session.now = 5.0
    session.edges()

    session.hear("barn/$description", describe(children=["car"]))

    assert offline(session) == ConnectionEdge(False, R.CONFLICT, "barn has car, too", "ready", 1, at(5.0))


def test_a_silent_panel_says_for_how_long() -> None:
    session = Session(max_silence=90.0)
    session.connect()
    session.replay(
        ("house/$state", "ready"),
        ("house/$description", describe({"meter": {"power": FLOAT}})),
        ("house/meter/power", "4"),
    )
    session.complete()
    assert session.core.obstacle == Obstacle(R.SILENT_PANEL, "no value yet")
    session.hear("house/meter/power", "5")
    session.edges()

    session.wait(100.0)

    assert offline(session) == ConnectionEdge(False, R.SILENT_PANEL, "no value for 90 s", "ready", 1, at(90.0))


def test_values_of_before_are_in_the_way_but_never_the_first_to_be() -> None:
    """Behind a loss, whose edge has been; so no edge has this reason."""
    session = ready()

    session.hear("house/$state", "lost")
    session.hear("house/$state", "ready")

    assert offline(session).reason is R.DEVICE_STATE
    assert session.core.obstacle == Obstacle(R.UNCONFIRMED)


def test_every_reason_is_one_of_these_tests() -> None:
    of_the_tree = {R.REPLAY, R.DEVICE_STATE, R.CONFLICT, R.PENDING_DEVICE, R.UNCONFIRMED, R.SILENT_PANEL, R.LIVE}
    of_what_is_demanded_besides = {R.DATA_MODEL}  # test_demand
    of_the_program = {R.PROGRAM_PAUSED}  # test_looking

    assert {*OF_THE_LINK, *of_the_tree, *of_what_is_demanded_besides, *of_the_program} == set(ConnectionReason)


# --- in words ---


@pytest.mark.parametrize("state", ["ready", None])
def test_an_online_edge_in_words(state: str | None) -> None:
    assert str(ConnectionEdge(True, R.LIVE, "", state, 1, at(0.0))) == "online"


@pytest.mark.parametrize(
    ("reason", "detail", "words"),
    [
        (R.REPLAY, "", "offline, replay incomplete"),
        (R.LINK_LOST, "reset by peer", "offline, link lost: reset by peer"),
        (R.DEVICE_STATE, "lost", "offline, device state: lost"),
        (R.CA_CHANGED, "ab -> cd", "offline, certificate authority changed: ab -> cd"),
        (R.SILENT_PANEL, "no value for 60 s", "offline, silent panel: no value for 60 s"),
    ],
)
def test_an_offline_edge_in_words(reason: ConnectionReason, detail: str, words: str) -> None:
    assert str(ConnectionEdge(False, reason, detail, "x", 1, at(0.0))) == words
    assert str(Obstacle(reason, detail)) == words.removeprefix("offline, ")


def test_an_edge_is_a_value() -> None:
    edge = ConnectionEdge(False, R.LINK_LOST, "x", "ready", 1, at(0.0))

    assert hash(edge) == hash(attrs.evolve(edge))
    assert attrs.evolve(edge, missed=2) != edge
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        edge.online = True  # type: ignore[misc]


# --- when there is one (I1) ---


def test_i1_each_flap_within_one_batch_is_an_edge_with_its_reason() -> None:
    session = ready()

    states = ["init", "ready", "sleeping", "init", "ready", "ready", "lost"]
    session.core.receive([message("house/$state", state) for state in states], at(1.0))

    assert session.edges() == ["device state: init", "online", "device state: sleeping", "online", "device state: lost"]


def test_i1_what_more_becomes_known_of_an_outage_is_no_edge_and_is_told_all_the_same() -> None:
    session = ready(1.0)
    story = [
        (R.LINK_LOST, "reset by peer"),
        (R.UNREACHABLE, "nobody answers"),
        (R.UNREACHABLE, "the name is not known"),
        (R.CERTIFICATE, "expired"),
        (R.REFUSED, "bad user name or password"),
    ]

    told: list[Obstacle | None] = []
    for reason, detail in story:
        session.now += 1.0
        session.disconnect(detail, reason)
        told.append(session.core.obstacle)

    assert told == [Obstacle(*chapter) for chapter in story]
    assert offline(session) == ConnectionEdge(False, R.LINK_LOST, "reset by peer", "ready", 1, at(2.0))


def test_i1_a_link_that_is_lost_while_the_panel_is_not_ready_is_no_edge() -> None:
    session = ready()

    session.hear("house/$state", "init")
    session.disconnect()
    session.disconnect()

    assert session.edges() == ["device state: init"]
    assert session.obstacle == "link lost: reset by peer"


def test_i1_a_link_that_never_led_to_anything_ends_without_an_edge() -> None:
    session = Session()
    session.disconnect("nobody answers", R.UNREACHABLE)
    session.connect()
    session.disconnect()
    session.connect(epoch=2)
    session.disconnect("nobody answers", R.UNREACHABLE)

    assert session.edges() == []
    assert session.obstacle == "unreachable: nobody answers"


def test_i1_a_message_of_a_link_that_is_down_brings_nothing_back() -> None:
    session = ready()
    session.disconnect()
    session.edges()

    session.hear("house/$state", "init")
    session.hear("house/$state", "ready")
    session.hear("house/meter/power", "5")

    assert session.edges() == []


def test_taken_edges_are_gone() -> None:
    session = live_session()

    assert len(session.core.take_edges()) == 1
    assert session.core.take_edges() == []
