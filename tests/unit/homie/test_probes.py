"""What other clients were measured to do with `$state`, a restart and a broker that lost its memory; row by row."""

from __future__ import annotations

import pytest

from span_trio.enums import ConnectionReason

from .broker import BrokeredSession
from .helpers import FLOAT, RELAY, describe, shown

HOUSE: dict[str, bytes | str] = {
    "house/$state": "ready",
    "house/$description": describe({"meter": {"power": FLOAT}, "switch": {"relay": RELAY}}, ["car"]),
    "house/meter/power": "100",
    "house/switch/relay": "CLOSED",
    "car/$state": "ready",
    "car/$description": describe({"meter": {"energy": FLOAT}}, root="house"),
    "car/meter/energy": "8000000",
}
VALUES = {"house/meter/power": 100.0, "house/switch/relay": "CLOSED", "car/meter/energy": 8_000_000.0}


def running() -> BrokeredSession:
    """A house with a car, live."""
    session = BrokeredSession(HOUSE)
    session.start()
    assert session.edges() == ["online"]
    return session


def republish(session: BrokeredSession, *but: str) -> None:
    """The publisher publishes all it has, ``$state`` last."""
    for tail in sorted(HOUSE, key=lambda tail: tail == "house/$state"):
        if tail not in but:
            session.publish(tail, HOUSE[tail])


# --- "$state init, sleeping, alert, deleted, BOGUS | still counted as ready" ---


@pytest.mark.parametrize("state", ["init", "sleeping", "alert", "", "BOGUS", "disconnected", "lost"])
def test_probe_state_init_sleeping_alert_deleted_bogus_is_not_ready(state: str) -> None:
    session = running()

    session.publish("house/$state", state)
    for power in ("1", "2", "3"):  # values may well go on
        session.publish("house/meter/power", power)
        session.wait(1000.0)
        assert not session.core.live

    (edge,) = session.core.take_edges()
    assert (edge.online, edge.reason, edge.state) == (False, ConnectionReason.DEVICE_STATE, state or None)


@pytest.mark.parametrize("state", ["init", "sleeping", "alert", "", "BOGUS", "disconnected", "lost"])
def test_probe_state_init_sleeping_alert_deleted_bogus_at_connect_is_not_ready(state: str) -> None:
    session = BrokeredSession(HOUSE | {"house/$state": state})
    if not state:
        del session.retained["house/$state"]
    session.start()
    session.wait(1000.0)

    assert not session.core.live
    assert any("$state of house" in missing for missing in session.core.missing())


@pytest.mark.parametrize("state", ["init", "sleeping", "alert", "BOGUS"])
def test_probe_state_init_sleeping_alert_bogus_then_ready_is_live_at_once_with_its_values(state: str) -> None:
    session = running()

    session.publish("house/$state", state)
    session.publish("house/$state", "ready")

    assert session.edges() == [f"device state: {state}", "online"]
    assert shown(session.core.forest) == VALUES


# --- "$state lost, then ready | no notice to anyone; stays dead until a new $description" ---


def test_probe_state_lost_then_ready_is_noticed_twice_and_needs_no_description() -> None:
    session = running()

    session.publish("house/$state", "lost")
    assert session.edges() == ["device state: lost"]
    session.publish("house/$state", "ready")
    republish(session, "house/$description", "car/$description")

    assert session.edges() == ["online"]
    assert shown(session.core.forest) == VALUES


def test_probe_state_lost_then_ready_of_a_publisher_that_repeats_nothing() -> None:
    session = running()

    session.publish("house/$state", "lost")
    session.wait(5.0)
    session.publish("house/$state", "ready")
    session.wait(10.0)

    (_, back) = session.core.take_edges()
    assert (back.online, back.at.monotonic) == (True, 7.0)


def test_probe_state_lost_then_ready_before_the_values_is_no_time_for_the_values_of_before() -> None:
    """A publisher that was restarted said ready with one of 454 values republished."""
    session = running()
    session.publish("house/$state", "lost")
    session.publish("house/$state", "init")
    session.publish("house/$state", "ready")
    session.edges()

    session.publish("house/meter/power", "1")
    session.publish("house/switch/relay", "OPEN")
    assert (session.edges(), session.obstacle) == ([], "values of before not confirmed")
    session.publish("car/meter/energy", "8000001")

    assert session.edges() == ["online"]


# --- a restart ---


def test_probe_restart_without_a_last_word_is_seen_by_its_init() -> None:
    session = running()

    session.publish("house/$state", "init")
    republish(session)

    assert session.edges() == ["device state: init", "online"]
    assert shown(session.core.forest) == VALUES


def test_probe_restart_with_a_smaller_house() -> None:
    """What the new description does not name does not show, though the broker still has it."""
    session = running()

    session.publish("house/$state", "lost")
    session.publish("house/$description", describe({"meter": {"power": FLOAT}}))
    session.publish("house/meter/power", "1")
    session.publish("house/$state", "ready")

    assert session.edges() == ["device state: lost", "online"]
    assert session.core.forest.members("house") == ["house"]
    assert session.core.forest.value("house", "switch", "relay") is None


@pytest.mark.parametrize("outage", [0.0, 20.0, 40.0, 86_400.0])
def test_probe_restart_of_the_broker_which_kept_its_memory(outage: float) -> None:
    session = running()

    session.disconnect("reset by peer")
    session.wait(outage)
    session.start(epoch=2)

    lost, back = session.core.take_edges()
    assert (lost.reason, lost.epoch, back.online, back.epoch) == (ConnectionReason.LINK_LOST, 1, True, 2)
    assert back.at.monotonic == outage
    assert shown(session.core.forest) == VALUES


# --- "broker comes back empty, panel publishes nothing | edge "connected", values of before the outage as current" ---


def comes_back_empty() -> BrokeredSession:
    session = running()
    session.disconnect("reset by peer")
    session.retained.clear()
    session.wait(5.0)
    session.start(epoch=2)
    return session


def test_probe_broker_comes_back_empty_and_the_panel_publishes_nothing() -> None:
    session = comes_back_empty()
    session.wait(86_400.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert session.obstacle == "device state: not published"
    assert session.core.missing() == ("$state of house", "$description of house")
    assert shown(session.core.forest) == {}


def test_probe_broker_comes_back_empty_and_the_panel_publishes_its_state_alone() -> None:
    session = comes_back_empty()
    session.publish("house/$state", "ready")
    session.wait(86_400.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert session.obstacle == "pending device: house"


def test_probe_broker_comes_back_empty_and_the_panel_publishes_values_alone() -> None:
    """One that does not know that its broker has forgotten: five of 56 topics came back."""
    session = comes_back_empty()
    for power in ("1", "2", "3"):
        session.publish("house/meter/power", power)
        session.wait(60.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert shown(session.core.forest) == {}


def test_probe_broker_comes_back_empty_and_the_panel_publishes_everything_again() -> None:
    session = comes_back_empty()
    session.edges()
    session.wait(3.0)
    republish(session)

    (back,) = session.core.take_edges()
    assert (back.online, back.epoch, back.at.monotonic) == (True, 2, 8.0)
    assert shown(session.core.forest) == VALUES


@pytest.mark.parametrize("forgotten", [*VALUES, "car/$description"])
def test_probe_broker_comes_back_empty_and_what_is_not_published_again_is_nothing_and_not_what_it_was(
    forgotten: str,
) -> None:
    session = comes_back_empty()
    republish(session, forgotten)
    session.wait(60.0)

    assert session.core.live
    gone = {forgotten} if forgotten in VALUES else {"car/meter/energy"}
    assert shown(session.core.forest) == {tail: value for tail, value in VALUES.items() if tail not in gone}


def test_probe_broker_comes_back_with_nothing_but_the_last_will() -> None:
    session = running()
    session.disconnect("reset by peer")
    session.retained = {"house/$state": "lost"}
    session.start(epoch=2)
    session.wait(1000.0)

    assert session.edges() == ["link lost: reset by peer"]
    assert session.obstacle == "device state: lost"
