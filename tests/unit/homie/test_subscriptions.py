"""What is subscribed to, in which order, and what is done when a broker does not answer behind the replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, Forest, Message, Request, SubscriptionPlan

from .helpers import FEWER, FLOAT, Session, absorb, at, describe, forest_of, shown

BATCH = 20


def tails(request: Request | None) -> tuple[str, ...]:
    """The filters of a request, without ``ebus/5/``."""
    assert request is not None
    return tuple(topic_filter.removeprefix("ebus/5/") for topic_filter in request.filters)


def plan_for(*devices: str) -> SubscriptionPlan:
    plan = SubscriptionPlan("ebus")
    plan.want(devices)
    return plan


def nodes(count: int) -> dict[str, Any]:
    return {f"n{number:02}": {"power": FLOAT} for number in range(count)}


def test_there_is_nothing_to_ask_for_when_nothing_is_wanted() -> None:
    assert plan_for().next(Forest("ebus")) is None


def test_devices_are_asked_for_in_batches_of_20() -> None:
    forest, plan = Forest("ebus"), plan_for(*(f"d{number}" for number in range(45)))
    sizes: list[int] = []

    while (request := plan.next(forest)) is not None:
        sizes.append(len(request.filters))
        assert request.drop == ()
        assert len(plan.passed(forest)) == len(request.filters)

    assert sizes == [BATCH, BATCH, 5]


def test_one_request_is_outstanding_at_a_time() -> None:
    forest, plan = Forest("ebus"), plan_for("a")

    assert tails(plan.next(forest)) == ("a/#",)
    plan.want(["b"])
    assert plan.next(forest) is None
    assert plan.passed(forest) == ("a",)
    assert tails(plan.next(forest)) == ("b/#",)


@pytest.mark.parametrize("devices", [("a", "b"), ("a", "b", "c")])
def test_a_batch_that_fails_is_asked_for_again_one_by_one(devices: tuple[str, ...]) -> None:
    forest, plan = Forest("ebus"), plan_for(*devices)

    plan.next(forest)
    assert plan.failed() == ()

    for device in devices:
        assert tails(plan.next(forest)) == (f"{device}/#",)
        assert plan.passed(forest) == (device,)
    assert plan.next(forest) is None
    assert plan.assumed == 0


def test_a_device_that_fails_alone_is_asked_for_by_its_attributes_then_by_its_nodes() -> None:
    forest, plan = forest_of(("a/$description", describe(nodes(45)))), plan_for("a")

    plan.next(forest)
    plan.failed()

    request = plan.next(forest)
    assert tails(request) == ("a/+", "a/$alert/+", "a/$log/+")
    assert request is not None
    assert request.drop == ("ebus/5/a/#",)  # or all of it would come again
    assert plan.passed(forest) == ()

    asked: list[str] = []
    sizes: list[int] = []
    done: tuple[str, ...] = ()
    while not done:
        request = plan.next(forest)
        asked += tails(request)
        sizes.append(len(tails(request)))
        done = plan.passed(forest)
    assert asked == [f"a/n{number:02}/#" for number in range(45)]
    assert (sizes, done, plan.assumed) == ([BATCH, BATCH, 5], ("a",), 0)
    assert plan.next(forest) is None


def test_a_device_of_no_nodes_is_complete_with_its_attributes() -> None:
    forest, plan = forest_of(("a/$description", describe())), plan_for("a")
    plan.next(forest)
    plan.failed()

    plan.next(forest)

    assert plan.passed(forest) == ("a",)


def test_a_device_asked_for_by_nodes_is_asked_for_those_that_it_grows_later() -> None:
    forest, plan = forest_of(("a/$description", describe(nodes(2)))), plan_for("a")
    plan.next(forest)
    plan.failed()
    for _ in range(2):
        plan.next(forest)
        plan.passed(forest)
    assert plan.next(forest) is None

    absorb(forest, "a/$description", describe(nodes(4)))

    assert tails(plan.next(forest)) == ("a/n02/#", "a/n03/#")
    assert plan.passed(forest) == ("a",)
    assert plan.next(forest) is None


def test_a_device_asked_for_by_nodes_before_it_is_described_is_asked_for_them_then() -> None:
    forest, plan = Forest("ebus"), plan_for("a")
    plan.next(forest)
    plan.failed()
    plan.next(forest)
    assert plan.passed(forest) == ("a",)  # all that there was

    absorb(forest, "a/$description", describe(nodes(1)))

    assert tails(plan.next(forest)) == ("a/n00/#",)


@pytest.mark.parametrize("failing", ["attributes", "nodes"])
def test_a_broker_that_never_answers_is_believed_when_it_is_quiet(failing: str) -> None:
    forest, plan = forest_of(("a/$description", describe(nodes(30)))), plan_for("a")
    plan.next(forest)
    plan.failed()
    plan.next(forest)
    if failing == "nodes":
        plan.passed(forest)
        for size in (20, 10, 5, 2):
            assert len(tails(plan.next(forest))) == size  # half as many each time
            assert plan.failed() == ()
        assert tails(plan.next(forest)) == ("a/n00/#",)
    assert plan.failed() == ()

    assert tails(plan.next(forest)) == ("a/#",)
    assert plan.assumed == 0
    assert plan.failed() == ("a",)
    assert plan.assumed == 1
    assert plan.next(forest) is None  # nodes are no longer asked for one by one


def test_a_broker_that_answers_at_last_is_not_counted_as_believed() -> None:
    forest, plan = Forest("ebus"), plan_for("a")
    for _ in range(2):
        plan.next(forest)
        plan.failed()

    plan.next(forest)

    assert plan.passed(forest) == ("a",)
    assert plan.assumed == 0


# --- a broker that drops what it cannot queue -------------------------------------------------------------------------


def matches(topic_filter: str, topic: str) -> bool:
    if topic_filter.endswith("/#"):
        return topic.startswith(topic_filter[:-1])
    one_level = topic_filter.removesuffix("+")
    return topic.startswith(one_level) and "/" not in topic[len(one_level) :]


class FakeBroker:
    """Queues so many packets a subscription, the answer behind the replay included, and drops what comes after them."""

    def __init__(self, retained: Iterable[tuple[str, bytes]], *, queue: int) -> None:
        self.retained = [Message(f"ebus/5/{tail}", payload, retain=True) for tail, payload in retained]
        self.queue = queue
        self.filters: set[str] = set()

    def serve(self, request: Request) -> tuple[list[Message], bool]:
        """What a subscription brings, and whether its answer comes."""
        assert self.filters >= set(request.drop)
        self.filters = (self.filters - set(request.drop)) | set(request.filters)
        replay = [
            message
            for message in self.retained
            if any(matches(topic_filter, message.topic) for topic_filter in request.filters)
        ]
        return replay[: self.queue], len(replay) < self.queue


def subscribe_all(core: Accumulator, broker: FakeBroker) -> int:
    """Play a plan to its end; returns how many requests that took."""
    requests = 0
    while (request := core.next_subscription()) is not None:
        replay, passed = broker.serve(request)
        core.receive(replay, at(0.0))
        core.barrier(at(0.0), passed=passed)
        requests += 1
        assert requests < 500
    return requests


def connected() -> Accumulator:
    core = Accumulator("house", watch=False)
    core.link_up(1, at(0.0))
    return core


def test_a_device_of_1_500_topics_is_replayed_whole_through_a_queue_of_1_000() -> None:
    circuits = {f"c{number}": {f"p{value}": FLOAT for value in range(37)} for number in range(40)}
    values = [(f"house/{circuit}/{name}", b"1") for circuit in circuits for name in circuits[circuit]]
    broker = FakeBroker(
        [*values, ("house/$state", b"ready"), ("house/$description", describe(circuits))],  # the attributes come last
        queue=1_000,
    )
    core = connected()

    requests = subscribe_all(core, broker)

    assert core.live
    assert (requests, core.assumed, len(shown(core.forest))) == (4, 0, 1_480)
    assert "ebus/5/house/#" not in broker.filters


@st.composite
def retained_trees(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """A house of some children, each of some nodes of some values, in whatever order a broker keeps them."""
    children = [f"c{number}" for number in range(draw(st.sampled_from([0, 1, 3, 22])))]
    sizes = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=4, max_size=4))
    sizes[0] = (draw(st.sampled_from([2, 30])), sizes[0][1])  # the house is larger
    retained: list[tuple[str, bytes]] = [("house/$state", b"ready")]
    for number, device in enumerate(["house", *children]):
        count, width = sizes[number % 4] if number else sizes[0]
        shape = {f"n{node}": {f"p{value}": FLOAT for value in range(width)} for node in range(count)}
        retained.append((f"{device}/$description", describe(shape, children if device == "house" else ())))
        retained += [(f"{device}/{node}/{name}", b"1") for node in shape for name in shape[node]]
    draw(st.randoms(use_true_random=True)).shuffle(retained)
    return retained


def test_a_plan_always_ends_with_every_device_complete() -> None:
    runs: Counter[str] = Counter()

    @FEWER
    @given(retained_trees(), st.sampled_from([None, 0, 1, 4, 25, 1000]))
    def attempt(retained: list[tuple[str, bytes]], queue: int | None) -> None:
        if queue is None:  # the house, but not the answer behind it
            queue = sum(tail.startswith("house/") for tail, _ in retained)
        core, broker = connected(), FakeBroker(retained, queue=queue)

        subscribe_all(core, broker)

        assert core.obstacle is None or core.obstacle.reason is not ConnectionReason.REPLAY
        assert not [words for words in core.missing() if "replay" in words]
        if queue >= 4:  # a state, a description, and the answer fit in
            assert core.live
        if core.assumed == 0:
            assert len(shown(core.forest)) == sum("/n" in tail for tail, _ in retained)
        kind = "believed" if core.assumed else "dropped" if any("/+" in one for one in broker.filters) else "plain"
        event(kind)
        runs.update([kind, "all"])

    attempt()
    assert min(runs[kind] for kind in ("believed", "dropped", "plain")) >= 0.05 * runs["all"], runs


# --- asked for by nodes, and the description changes meanwhile ---


def by_attributes(*nodes: str) -> Session:
    """A house that is asked for by nodes; its attributes have just come, and these nodes are to be asked for."""
    session = Session()
    session.connect()
    assert session.subscribe() is not None
    session.barrier(passed=False)
    session.replay(("house/$state", "ready"), ("house/$description", describe(dict.fromkeys(nodes))))
    assert session.subscribe() is not None
    session.barrier()
    return session


def test_nodes_that_are_described_away_before_they_are_asked_for_are_not_waited_for() -> None:
    session = by_attributes("n")
    assert not session.core.live
    session.hear("house/$description", describe({}))

    assert session.subscribe() is None
    assert session.edges() == ["online"]


def test_a_device_whose_new_node_is_asked_for_in_vain_is_not_whole_until_it_was_believed() -> None:
    session = by_attributes("n")
    session.complete()
    assert session.edges() == ["online"]

    session.hear("house/$description", describe({"n": None, "new": None}))
    assert session.edges() == ["pending device: house"]
    assert session.subscribe() is not None
    session.barrier(passed=False)
    assert not session.core.live
    assert session.subscribe() is not None  # as a whole, to be believed when quiet
    session.barrier(passed=False)
    assert session.edges() == ["online"]
    assert session.core.assumed == 1


def test_children_that_come_before_they_are_asked_for_are_kept() -> None:
    """A broker may answer the first subscription with the whole tree, in pieces, and the others with nothing."""
    session = Session(watch=True)
    session.connect()
    session.subscribe()
    session.replay(("house/$state", "ready"), ("house/$description", describe(children=["car"])))
    session.subscribe()  # there is a child now; but the first barrier is outstanding
    session.replay(
        ("car/$state", "ready"),
        ("car/$description", describe({"meter": {"power": FLOAT}}, root="house")),
        ("car/meter/power", "7"),
    )
    session.barrier()
    session.complete()

    assert session.core.live
    assert session.core.pending == ()
    assert session.core.forest.value("car", "meter", "power") == 7.0
