"""Too much (I8): what is dropped marks its device, which is asked for again by itself until it fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from span_trio.homie import Limits, Request

from .broker import BrokeredSession
from .helpers import FLOAT, RELAY, at, describe, live_session, shown

TEXT = {"datatype": "string"}
HOUSE = describe({"meter": {"power": FLOAT, "name": TEXT}, "switch": {"relay": RELAY}})
PARENT = describe({"meter": {"power": FLOAT, "name": TEXT}, "switch": {"relay": RELAY}}, children=["car"])
CAR = describe({"meter": {"power": FLOAT, "name": TEXT}}, root="house")
HUGE = "x" * 1000
ASKED_AGAIN = [2.0, 6.0, 14.0, 30.0, 62.0, 122.0, 182.0, 242.0]
"""When a device that overflows at once, each time, is asked for again: pauses of 2, 4, 8, 16, 32, 60, 60 … s."""


def house(**more: str | bytes) -> dict[str, str | bytes]:
    """What a broker keeps of a house; ``more`` with ``__`` for a slash and ``_`` for a dollar before it."""
    kept: dict[str, str | bytes] = {
        "house/$state": "ready",
        "house/$description": HOUSE,
        "house/meter/power": "100",
        "house/switch/relay": "CLOSED",
    }
    return kept | {tail.replace("__", "/"): payload for tail, payload in more.items()}


def family(**more: str | bytes) -> dict[str, str | bytes]:
    """The same with a car."""
    kept = {"house/$description": PARENT, "car/$description": CAR, "car/$state": "ready", "car/meter/power": "7"}
    return house() | kept | {tail.replace("__", "/"): payload for tail, payload in more.items()}


TOO_MUCH: dict[str, Callable[[], BrokeredSession]] = {
    "a message too large": lambda: BrokeredSession(house(house__meter__name=HUGE), largest=900),
    "too many bytes": lambda: BrokeredSession(house(house__meter__name=HUGE), limits=Limits(payload_bytes=900)),
    "too many topics": lambda: BrokeredSession(house(house__meter__name=HUGE), limits=Limits(topics=4)),
}


@pytest.fixture(params=TOO_MUCH)
def overflowing(request: pytest.FixtureRequest) -> BrokeredSession:
    """A root whose last topic is too much, and whose replay has told so."""
    session = TOO_MUCH[request.param]()
    session.start()
    return session


# --- the root ---


def test_a_root_of_which_something_was_dropped_is_not_live() -> None:
    session = live_session(limits=Limits(topics=4))
    session.edges()

    session.hear("house/meter/energy", "1")

    assert session.edges() == ["pending device: house"]
    assert session.core.missing() == ("the values of house (too many)",)
    session.wait(100.0)
    assert not session.core.live


def test_a_message_that_was_too_large_makes_its_device_pending() -> None:
    session = live_session()
    session.edges()

    session.core.overflow("ebus/5/house/meter/power", at(0.0))

    assert session.edges() == ["pending device: house"]
    assert shown(session.core.forest) == {"house/switch/relay": "CLOSED"}


def test_a_command_of_somebody_that_was_too_large_makes_nothing_pending() -> None:
    session = live_session()

    session.core.overflow("ebus/5/house/switch/relay/set", at(0.0))

    assert session.core.live
    assert session.core.deadline is None


def test_a_root_that_overflows_is_asked_for_again_with_growing_pauses(overflowing: BrokeredSession) -> None:
    assert overflowing.core.deadline == 2.0

    overflowing.wait(250.0)

    assert overflowing.asked_for("house") == [0.0, *ASKED_AGAIN]
    assert overflowing.core.deadline == 302.0
    assert overflowing.edges() == []
    assert overflowing.core.missing() == ("the values of house (too many)",)


@pytest.mark.parametrize("mended_at", [0.5, 3.0, 20.0, 200.0])
def test_it_is_live_with_the_first_replay_behind_the_repair(mended_at: float, overflowing: BrokeredSession) -> None:
    overflowing.wait(mended_at)
    overflowing.publish("house/meter/name", b"")
    assert not overflowing.core.live  # what else it may have missed is not known before the replay

    overflowing.wait(300.0 - mended_at)

    (edge,) = overflowing.core.take_edges()
    assert edge.at == at(next(when for when in ASKED_AGAIN if when >= mended_at))
    assert overflowing.core.deadline is None
    assert shown(overflowing.core.forest) == {"house/meter/power": 100.0, "house/switch/relay": "CLOSED"}


def test_what_was_dropped_is_there_after_the_recovery(overflowing: BrokeredSession) -> None:
    overflowing.publish("house/switch/relay", b"")  # room for a topic …
    overflowing.publish("house/meter/name", "Kitchen")  # … and for its bytes
    overflowing.wait(10.0)

    assert overflowing.edges() == ["online"]
    assert shown(overflowing.core.forest) == {"house/meter/power": 100.0, "house/meter/name": "Kitchen"}


def test_a_live_root_that_overflows_is_offline_until_it_fits() -> None:
    session = BrokeredSession(house(), largest=900)
    session.start()
    session.wait(100.0)
    session.publish("house/meter/name", HUGE)
    session.wait(5.0)
    session.publish("house/meter/name", "Kitchen")
    session.wait(1.0)

    edges = [(str(edge), edge.at.monotonic) for edge in session.core.take_edges()]
    assert edges == [("online", 0.0), ("offline, pending device: house", 100.0), ("online", 106.0)]


def test_i8_when_it_has_fitted_for_a_minute_the_pauses_begin_anew() -> None:
    session = BrokeredSession(house(), largest=900)
    session.start()
    for _ in range(3):
        session.publish("house/meter/name", HUGE)
        session.wait(20.0)  # asked again after 2, 6 and 14 s
        session.publish("house/meter/name", "Kitchen")
        session.wait(80.0)  # and after 30: it fits

    asked = session.asked_for("house")
    assert asked == [0.0, *(round_ + when for round_ in (0.0, 100.0, 200.0) for when in (2.0, 6.0, 14.0, 30.0))]
    assert session.edges() == ["online", *["pending device: house", "online"] * 3]


@pytest.mark.parametrize(("calm", "pause"), [(59.0, 4.0), (60.0, 4.0), (60.5, 2.0)])
def test_i8_the_pauses_begin_anew_after_a_minute_in_which_it_fitted_and_not_before(calm: float, pause: float) -> None:
    session = BrokeredSession(house(), largest=900)
    session.start()
    session.core.overflow("ebus/5/house/meter/name", at(0.0))
    session.wait(2.0 + calm)
    assert session.core.live

    session.core.overflow("ebus/5/house/meter/name", at(session.now))

    assert session.core.deadline == session.now + pause


def test_i8_what_overflows_again_and_again_is_away_for_longer_and_longer() -> None:
    """Not retained, say: it fits each time that it is asked for, and the house must not flap for ever."""
    session = BrokeredSession(house(), largest=900)
    session.start()
    for _ in range(5):
        session.core.overflow("ebus/5/house/meter/name", at(session.now))
        session.wait(40.0)
    asked = session.asked_for("house")
    assert [asked[number + 1] - 40.0 * number for number in range(5)] == [2.0, 4.0, 8.0, 16.0, 32.0]


def test_a_second_overflow_before_it_is_asked_for_again_changes_nothing() -> None:
    session = BrokeredSession(house(house__meter__name=HUGE), largest=900)
    session.start()
    session.wait(1.5)
    session.publish("house/switch/relay", HUGE)

    assert session.core.deadline == 2.0


def test_a_new_epoch_knows_nothing_of_it(overflowing: BrokeredSession) -> None:
    overflowing.wait(100.0)
    overflowing.disconnect()
    overflowing.now = 1000.0
    overflowing.asked.clear()
    overflowing.start(epoch=2)
    overflowing.wait(10.0)

    assert overflowing.asked_for("house") == [1000.0, 1002.0, 1006.0]


def test_while_there_is_no_link_time_passes_without_harm(overflowing: BrokeredSession) -> None:
    overflowing.disconnect()
    overflowing.edges()

    for _ in range(10):
        deadline = overflowing.core.deadline
        if deadline is None:
            break
        overflowing.core.tick(at(deadline))
        assert overflowing.core.deadline is None or overflowing.core.deadline > deadline

    assert overflowing.core.deadline is None
    assert overflowing.obstacle == "link lost: reset by peer"


# --- children ---


def test_a_child_of_which_something_was_dropped_is_given_up() -> None:
    session = live_session(("car/$description", CAR), children=["car"], limits=Limits(topics=5), patience=10.0)
    session.edges()

    session.hear("car/meter/power", "1")
    assert session.edges() == ["pending device: car"]
    assert session.core.missing() == ("the values of car (too many)",)

    session.wait(10.0)
    assert session.edges() == ["online"]


def test_a_child_that_overflows_is_asked_for_again_and_the_house_is_live_meanwhile() -> None:
    session = BrokeredSession(family(car__meter__name=HUGE), largest=900, first_patience=15.0)
    session.start()
    session.wait(250.0)

    assert session.asked_for("car") == [0.0, *ASKED_AGAIN]
    assert session.asked_for("house") == [0.0]
    (edge,) = session.core.take_edges()
    assert edge.at == at(15.0)
    assert session.core.pending == ("car",)


def test_a_child_that_fits_again_is_there_again_without_an_edge() -> None:
    session = BrokeredSession(family(car__meter__name=HUGE), largest=900)
    session.start()
    session.wait(100.0)
    session.edges()
    session.publish("car/meter/name", "Beetle")
    session.core.forest.take_dirty()
    session.wait(22.0)

    assert session.edges() == []
    assert session.core.pending == ()
    assert session.core.deadline is None
    assert "house" in session.core.forest.take_dirty().devices  # a snapshot names the pending ones
    assert session.core.forest.value("car", "meter", "name") == "Beetle"


def test_a_child_that_overflows_while_live_is_back_within_its_patience_if_it_fits() -> None:
    session = BrokeredSession(family(), largest=900, patience=10.0)
    session.start()
    session.wait(100.0)
    session.publish("car/meter/name", HUGE)
    session.retained["car/meter/name"] = "Beetle"
    session.wait(2.0)

    edges = [(str(edge), edge.at.monotonic) for edge in session.core.take_edges()]
    assert edges == [("online", 0.0), ("offline, pending device: car", 100.0), ("online", 102.0)]


def test_two_devices_have_pauses_of_their_own() -> None:
    session = BrokeredSession(family(car__meter__name=HUGE), largest=900)
    session.start()
    session.wait(10.0)
    session.publish("house/meter/name", HUGE)
    session.wait(22.0)

    assert session.asked_for("car") == [0.0, 2.0, 6.0, 14.0, 30.0]
    assert session.asked_for("house") == [0.0, 12.0, 16.0, 24.0]


def test_a_child_that_was_crowded_out_altogether_comes_back_when_there_is_room() -> None:
    session = BrokeredSession(family(), limits=Limits(topics=5))
    session.start()
    session.wait(20.0)
    assert session.core.pending == ("car",)

    session.publish("house/meter/power", b"")
    session.publish("house/switch/relay", b"")
    session.wait(20.0)

    assert session.core.pending == ()
    assert session.core.forest.value("car", "meter", "power") == 7.0


# --- others ---


def test_i8_foreign_devices_do_not_push_the_root_out() -> None:
    session = BrokeredSession(house(), limits=Limits(devices=3))
    session.connect()
    session.replay(*((f"d{number}/$state", "ready") for number in range(10)))
    session.serve()

    assert session.core.live


def test_a_foreign_device_that_overflows_is_not_asked_for() -> None:
    session = BrokeredSession(house(), largest=900)
    session.start()
    session.publish("stranger/$description", describe({"meter": {"power": FLOAT}}))
    session.publish("stranger/meter/name", HUGE)
    assert session.core.deadline is None
    session.wait(1000.0)

    assert [request.filters for _, request in session.asked] == [("ebus/5/house/#",)]
    assert session.core.live


def test_a_child_that_is_no_longer_declared_is_not_asked_for() -> None:
    session = BrokeredSession(family(car__meter__name=HUGE), largest=900)
    session.start()
    session.publish("house/$description", HOUSE)
    session.wait(1000.0)

    assert session.asked_for("car") == [0.0]
    assert session.core.deadline is None


def test_a_child_that_overflows_before_it_is_declared_is_asked_for_again_once_it_is() -> None:
    session = BrokeredSession(house() | {"car/$description": CAR}, largest=900)
    session.start()
    session.core.overflow("ebus/5/car/meter/name", at(0.0))
    session.publish("house/$description", PARENT)
    session.wait(3.0)

    assert session.asked_for("car") == [0.0, 2.0]
    assert session.core.pending == ()


def test_i8_children_that_overflow_and_leave_leave_nothing_behind() -> None:
    session = live_session()
    for number in range(100):
        session.hear("house/$description", describe(children=[f"c{number}"]))
        session.core.overflow(f"ebus/5/c{number}/meter/name", at(session.now))
        session.wait(2.0)

    session.hear("house/$description", HOUSE)
    sizes = {name: len(value) for name, value in vars(session.core).items() if isinstance(value, (set, dict, list))}
    assert max(sizes.values()) < 10, sizes


# --- a device that is asked for by nodes ---

ROOMS = describe({f"room{number}": {"power": FLOAT, "name": TEXT} for number in range(4)})
ATTRIBUTES = ("ebus/5/house/+", "ebus/5/house/$alert/+", "ebus/5/house/$log/+")


def rooms(*, name: str) -> BrokeredSession:
    """A house with more topics than its broker can queue: four rooms of two, and two attributes."""
    kept: dict[str, str | bytes] = {"house/$state": "ready", "house/$description": ROOMS}
    for number in range(4):
        kept |= {f"house/room{number}/power": str(number), f"house/room{number}/name": f"room {number}"}
    session = BrokeredSession(kept | {"house/room2/name": name}, largest=900, queue=8)
    session.start()
    return session


def test_a_device_that_is_asked_for_by_nodes_is_asked_for_again_from_the_beginning() -> None:
    session = rooms(name=HUGE)
    first = [request for _, request in session.asked]
    assert [request.filters for request in first] == [
        ("ebus/5/house/#",),
        ATTRIBUTES,
        tuple(f"ebus/5/house/room{number}/#" for number in range(4)),
    ]

    session.asked.clear()
    session.wait(7.0)

    assert [request for _, request in session.asked] == [*first, *first]
    assert [when for when, _ in session.asked] == [2.0] * 3 + [6.0] * 3
    assert not session.core.live


def test_a_device_that_is_asked_for_by_nodes_recovers() -> None:
    session = rooms(name=HUGE)
    session.wait(3.0)
    session.publish("house/room2/name", "small")
    session.wait(10.0)

    (edge,) = session.core.take_edges()
    assert edge.at == at(6.0)
    assert session.core.deadline is None
    assert session.core.forest.value("house", "room2", "name") == "small"


# --- a replay that outlasts a pause ---


def ask(session: BrokeredSession) -> Request:
    """Ask, and let the answer wait."""
    request = session.subscribe()
    assert request is not None
    return request


def test_a_replay_that_was_too_much_does_not_count_as_the_one_that_is_asked_for_behind_it() -> None:
    """A slow replay: what was too large comes at its beginning, its barrier more than a pause later."""
    session = BrokeredSession(house(house__meter__name=HUGE), largest=900)
    session.connect()
    ask(session)
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE))
    session.core.overflow("ebus/5/house/meter/name", at(0.0))
    session.now = 2.5
    session.core.tick(at(2.5))
    session.barrier()

    assert session.edges() == []
    session.serve()
    assert session.edges() == []
    session.wait(300.0)
    assert session.edges() == []


def test_a_device_is_asked_for_again_only_when_no_request_for_it_is_outstanding() -> None:
    """By nodes, and so slow that the round of before is not over when the pause is."""
    session = rooms(name="small")
    session.edges()
    session.retained["house/$description"] = describe({"attic": {"name": TEXT}})
    session.hear("house/$description", session.retained["house/$description"])
    session.core.overflow("ebus/5/house/$alert/hot", at(0.0))
    assert ask(session).filters == ("ebus/5/house/attic/#",)

    for again in (2.0, 4.0, 6.0):
        assert session.core.deadline == again
        session.now = again
        session.core.tick(at(again))
        assert session.subscribe() is None

    session.barrier()
    session.asked.clear()
    session.wait(2.0)
    assert session.asked_for("house") == [8.0]
    assert session.edges() == ["pending device: house", "online"]


def test_a_device_that_is_asked_for_by_nodes_is_complete_with_a_whole_new_round() -> None:
    """The same where a device is asked for by nodes: a node of the old round is still outstanding."""
    session = BrokeredSession(house(), largest=900)
    session.connect()
    ask(session)
    session.barrier(passed=False)
    assert ask(session).filters == ATTRIBUTES
    session.core.overflow("ebus/5/house/$alert/hot", at(0.0))
    session.replay(("house/$state", "ready"), ("house/$description", HOUSE))
    session.barrier()
    assert ask(session).filters == ("ebus/5/house/meter/#", "ebus/5/house/switch/#")
    session.now = 2.5
    session.core.tick(at(2.5))
    session.barrier()
    assert session.edges() == []

    session.serve()
    session.wait(10.0)
    assert session.edges() == ["online"]
    assert session.asked_for("house")


def test_a_batch_that_was_too_much_does_not_count_either() -> None:
    """Of several children asked for together, the one that overflowed is not usable by their common barrier."""
    session = BrokeredSession(family(car__meter__name=HUGE), largest=900, first_patience=300.0)
    session.start()

    assert session.core.pending == ("car",)
    session.wait(250.0)
    assert session.edges() == []
