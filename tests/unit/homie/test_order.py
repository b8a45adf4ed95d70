"""What must hold whatever comes, and in whatever order: the invariants of the design, by their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from span_trio.homie import (
    Accumulator,
    ConnectionEdge,
    Datatype,
    DeviceDescription,
    Forest,
    InvalidPayload,
    Limits,
    Message,
    TopicKind,
    decode_value,
    parse_description,
    parse_topic,
)

from .helpers import FEWER, FLOAT, RELAY, Session, absorb, at, contents, describe, live_session, message, reached, shown

# --- small houses -----------------------------------------------------------------------------------------------------

BOOLEAN, TEXT, EVENT = {"datatype": "boolean"}, {"datatype": "string"}, {"datatype": "float", "retained": False}
SHAPES: list[dict[str, Any] | None] = [
    None,
    {},
    {"power": FLOAT, "relay": RELAY},
    {"power": FLOAT, "relay": BOOLEAN},
    {"power": TEXT},
    {"power": EVENT, "relay": RELAY},
]
PAYLOADS = [b"1", b"2.5", b"2.50", b"true", b"OPEN", b"\x00", b"\xff", b"NaN", b"-0.0"]
CHILDREN: dict[str, list[list[str]]] = {
    "house": [["a"], ["a", "b"], ["b", "a"], []],
    "a": [["c"], [], ["house"]],
    "b": [[]],
    "c": [[], ["a"]],
}
VALUE_TAILS = [
    f"{device}/{node}/{name}" for device in CHILDREN for node in ("meter", "spare") for name in ("power", "relay")
]
FOREIGN_TAILS = ["stranger/$state", "stranger/$description", "stranger/meter/power", "House/$state", "house/$stats/x"]


def descriptions(device: str) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda meter, spare, children: describe(
            ({"meter": meter} | ({} if spare is None else {"spare": spare})), children
        ),
        st.sampled_from(SHAPES),
        st.sampled_from(SHAPES),
        st.sampled_from(CHILDREN[device]),
    )


DESCRIPTIONS = {device: descriptions(device) for device in CHILDREN}
BAD_DESCRIPTIONS = [b"[]", b"{", b"\xff", b'{"type": 5}']

REPLAYS: st.SearchStrategy[dict[str, bytes]] = st.fixed_dictionaries(
    {
        "house/$state": st.sampled_from([b"ready"] * 5 + [b"init", b"lost", b"\xff"]),
        "house/$description": DESCRIPTIONS["house"],
        "a/$description": DESCRIPTIONS["a"],
    },
    optional={
        "b/$description": DESCRIPTIONS["b"],
        "c/$description": DESCRIPTIONS["c"] | st.sampled_from(BAD_DESCRIPTIONS),
        "a/$state": st.sampled_from([b"ready", b"lost"]),
        "house/$alert/hot": st.just(b"text"),
        "a/meter/relay/$target": st.sampled_from(PAYLOADS),
        **{tail: st.sampled_from(PAYLOADS) for tail in [*VALUE_TAILS, *FOREIGN_TAILS]},
    },
)
"""What a broker keeps of a house: by topic, one payload each."""

SHUFFLES = st.randoms(use_true_random=True)


def shuffled(random: Random, replay: dict[str, bytes]) -> list[Message]:
    """A replay in another order, with duplicates in between."""
    messages = [message(tail, payload, retain=True) for tail, payload in replay.items()]
    messages += random.sample(messages, random.randrange(len(messages)))
    random.shuffle(messages)
    return messages


def split(random: Random, messages: list[Message]) -> list[list[Message]]:
    """The same messages in batches, in the same order."""
    cuts = sorted(random.choices(range(len(messages) + 1), k=random.randrange(6)))
    return [messages[start:stop] for start, stop in pairwise([0, *cuts, len(messages)])]


LIVE_MESSAGES: st.SearchStrategy[tuple[str, bytes]] = (
    st.tuples(
        st.just("house/$state"), st.sampled_from([b"ready", b"ready", b"init", b"lost", b"disconnected", b"", b"?"])
    )
    | st.tuples(st.sampled_from(VALUE_TAILS), st.sampled_from([*PAYLOADS, b""]))
    | st.sampled_from(list(CHILDREN)).flatmap(
        lambda device: st.tuples(
            st.just(f"{device}/$description"), DESCRIPTIONS[device] | st.sampled_from([*BAD_DESCRIPTIONS, b""])
        )
    )
    | st.tuples(
        st.sampled_from(["a/$state", "house/$alert/hot", "house/meter/power/$target"]), st.sampled_from([b"ready", b""])
    )
)


READY = {"meter": {"power": FLOAT, "relay": RELAY}}
FLAPS = st.sampled_from(
    [
        *[("house/$state", b"ready")] * 16,
        *(("house/$state", state) for state in (b"init", b"init", b"sleeping", b"lost", b"disconnected", b"", b"?")),
        *(
            ("house/$description", describe(READY, children))
            for children in (["a", "b"], ["a", "b"], ["a"], ["b", "new"])
        ),
        *((f"{device}/$description", describe(READY)) for device in "aabbc"),
        *(("a/$description", payload) for payload in (describe(READY, ["c"]), b"[]", b"")),
        *(
            (tail, payload)
            for tail in ("house/meter/power", "a/meter/power", "a/meter/relay")
            for payload in (b"1", b"2", b"")
        ),
    ]
)
"""Messages that turn a live house off and on."""

SETTLE = st.sampled_from([0.0, 2.0])


# --- I1 ---------------------------------------------------------------------------------------------------------------

Step = tuple[str, Any]
STEPS: st.SearchStrategy[Step] = (
    st.tuples(st.just("hear"), FLAPS)
    | st.tuples(st.just("hear"), FLAPS)
    | st.tuples(st.just("hear"), LIVE_MESSAGES)
    | st.tuples(st.just("replay"), FLAPS)
    | st.sampled_from(
        [
            *[("complete", None)] * 3,
            *(("barrier", passed) for passed in (True, False)),
            *(("wait", seconds) for seconds in (0.5, 2.0, 15.0, 15.0)),
            *(("up", None), ("down", None), ("too large", "a/meter/power")),
        ]
    )
)


def take(session: Session, step: Step) -> None:
    match step:
        case "hear", (tail, payload):
            session.hear(tail, payload)
        case "replay", (tail, payload):
            session.replay((tail, payload))
        case "barrier", passed if session.subscribe() is not None:
            session.barrier(passed=passed)
        case "wait", seconds:
            session.wait(seconds)
        case "complete", _:
            session.complete()
        case "up", _:
            session.connect(session.core.epoch + 1)
            session.replay(("house/$state", b"ready"), ("house/$description", describe()))
        case "down", _:
            session.disconnect()
        case "too large", tail:
            session.core.overflow(f"ebus/5/{tail}", at(session.now))
        case _:
            pass


def started(**options: Any) -> Session:
    """A session that is live, with two children and a grandchild."""
    return live_session(
        ("a/$description", describe(READY, ["c"])),
        ("b/$description", describe(READY)),
        ("c/$description", describe(READY)),
        ("a/meter/power", "1"),
        children=["a", "b"],
        **options,
    )


def test_i1_edges_alternate_and_the_first_is_online_whatever_happens() -> None:
    runs: Counter[str] = Counter()

    @given(st.lists(STEPS, min_size=10, max_size=30), st.sampled_from([started, started, Session]))
    def attempt(steps: list[Step], beginning: Callable[[], Session]) -> None:
        session = beginning()
        edges: list[ConnectionEdge] = []
        for step in steps:
            take(session, step)
            edges += session.core.take_edges()
            assert session.core.live == (bool(edges) and edges[-1].online)
            if session.core.live:
                house = session.core.forest.devices["house"]
                assert (house.state_text, house.description is None, house.overflowed) == ("ready", False, False)
                for member in session.core.forest.members("house"):
                    device = session.core.forest.devices.get(member)
                    assert member in session.core.pending or (device is not None and device.description is not None)
            elif session.core.epoch:
                assert session.core.missing()

        assert [edge.online for edge in edges] == [number % 2 == 0 for number in range(len(edges))]
        runs.update(["all"] + ["live"] * bool(edges) + ["live twice"] * (len(edges) > 2))
        event(f"{min(len(edges), 6)} edges")

    attempt()
    reached(runs, "live", 0.5)
    reached(runs, "live twice", 0.1)


def test_i1_duplicates_of_messages_make_no_edge() -> None:
    runs: Counter[str] = Counter()

    @given(st.lists(FLAPS, min_size=10, max_size=20), st.integers(1, 3), SETTLE)
    def attempt(messages: list[tuple[str, bytes]], copies: int, settle: float) -> None:
        once, often = started(settle=settle), started(settle=settle)
        for tail, payload in messages:
            once.hear(tail, payload)
            for _ in range(copies):
                often.hear(tail, payload)
        edges = once.core.take_edges()

        assert often.core.take_edges() == edges
        assert often.core.obstacle == once.core.obstacle
        runs.update(["all"] + ["edges"] * (len(edges) > 1))

    attempt()
    reached(runs, "edges", 0.4)


# --- I3 ---------------------------------------------------------------------------------------------------------------


def replayed(batches: list[list[Message]]) -> Accumulator:
    session = Session()
    session.connect()
    for batch in batches:
        session.core.receive(batch, at(0.0))
    session.complete()
    return session.core


def test_i3_any_permutation_of_a_replay_ends_in_the_same_forest_and_the_same_obstacle() -> None:
    runs: Counter[str] = Counter()

    @given(REPLAYS, SHUFFLES)
    def attempt(replay: dict[str, bytes], random: Random) -> None:
        straight = replayed([[message(tail, payload, retain=True) for tail, payload in replay.items()]])
        crooked = replayed(split(random, shuffled(random, replay)))

        assert contents(crooked.forest) == contents(straight.forest)
        assert (crooked.obstacle, crooked.pending) == (straight.obstacle, straight.pending)
        assert crooked.forest.members("house") == straight.forest.members("house")
        assert crooked.take_edges() == straight.take_edges()
        assert not any(node.changed for device in crooked.forest.devices.values() for node in device.nodes.values())
        runs.update(["all"] + ["live"] * straight.live + ["pending"] * bool(straight.pending))
        event("live" if straight.live else str(straight.obstacle))

    attempt()
    reached(runs, "live", 0.15)
    reached(runs, "pending", 0.3)


def test_i3_replays_that_follow_their_subscriptions_end_in_the_same_forest() -> None:
    """Each device's replay comes after the request for it, in any order; barriers between them."""

    @FEWER
    @given(REPLAYS, SHUFFLES)
    def attempt(replay: dict[str, bytes], random: Random) -> None:
        session = Session()
        session.connect()
        asked: set[str] = set()
        while (request := session.subscribe()) is not None:
            devices = {topic_filter.split("/")[2] for topic_filter in request.filters}
            asked |= devices
            part = {tail: payload for tail, payload in replay.items() if tail.split("/")[0] in devices}
            for batch in split(random, shuffled(random, part)) if part else ():
                session.core.receive(batch, at(0.0))
            session.barrier()

        rest = [(tail, payload) for tail, payload in replay.items() if tail.split("/")[0] in asked]
        straight = replayed([[message(tail, payload, retain=True) for tail, payload in rest]])
        assert asked >= set(session.core.forest.members("house"))
        assert contents(session.core.forest) == contents(straight.forest)
        assert (session.core.obstacle, session.core.pending) == (straight.obstacle, straight.pending)

    attempt()


def test_i3_any_split_into_batches_gives_the_same_edges() -> None:
    runs: Counter[str] = Counter()

    @given(st.lists(FLAPS, min_size=10, max_size=20), SHUFFLES, SETTLE)
    def attempt(sequence: list[tuple[str, bytes]], random: Random, settle: float) -> None:
        messages = [message(tail, payload, retain=random.random() < 0.2) for tail, payload in sequence]
        told: list[tuple[list[ConnectionEdge], object, object]] = []
        for batches in ([messages], [[one] for one in messages], split(random, messages)):
            session = started(settle=settle)
            for batch in batches:
                session.core.receive(batch, at(0.0))
            told.append((session.core.take_edges(), session.core.obstacle, contents(session.core.forest)))

        assert told[0] == told[1] == told[2]
        runs.update(["all"] + ["edges"] * (len(told[0][0]) > 2))

    attempt()
    reached(runs, "edges", 0.3)


# --- I5 ---------------------------------------------------------------------------------------------------------------


def expected(published: dict[str, bytes], described: dict[str, DeviceDescription]) -> dict[str, str]:
    """What must show, from scratch: the decoded newest payload of each topic that is declared as state."""
    show: dict[str, str] = {}
    for tail, payload in published.items():
        topic = parse_topic(f"ebus/5/{tail}")
        description = described.get(topic.device)
        if topic.kind not in {TopicKind.PROPERTY, TopicKind.TARGET} or description is None:
            continue
        node = description.nodes.get(topic.node)
        if node is None:
            continue
        datatype: Datatype | None = Datatype.STRING
        if node.properties is not None:
            declared = node.properties.get(topic.name)
            datatype = declared.datatype if declared is not None and declared.retained else None
        if datatype is None:
            continue
        try:
            show[tail] = repr(decode_value(payload, datatype))
        except InvalidPayload:
            continue
    return show


def test_i5_what_shows_is_the_newest_payload_of_its_topic_and_nothing_else() -> None:
    runs: Counter[str] = Counter()

    @given(REPLAYS, st.lists(LIVE_MESSAGES, max_size=30))
    def attempt(replay: dict[str, bytes], sequence: list[tuple[str, bytes]]) -> None:
        forest = Forest("ebus")
        published: dict[str, bytes] = {}
        described: dict[str, DeviceDescription] = {}
        for tail, payload in [*((tail, payload) for tail, payload in replay.items() if tail[0] != "H"), *sequence]:
            absorb(forest, tail, payload)
            if payload:
                published[tail] = payload
            else:
                published.pop(tail, None)
            if tail.endswith("/$description"):
                device = tail.split("/")[0]
                if not payload:
                    described.pop(device, None)
                elif payload not in BAD_DESCRIPTIONS + PAYLOADS:
                    described[device] = parse_description(payload, device)
        assert {tail: repr(value) for tail, value in shown(forest).items()} == expected(published, described)
        runs.update(["all"] + ["something"] * bool(shown(forest)))

    attempt()
    reached(runs, "something", 0.5)


def test_i5_no_value_of_before_a_loss_is_live_again_before_it_was_published_again() -> None:
    runs: Counter[str] = Counter()
    values = ["house/meter/power", "house/switch/relay", "a/meter/power", "b/meter/power"]
    steps = (
        st.tuples(st.just("house/$state"), st.sampled_from(["lost", "ready", "ready", "init", "disconnected", ""]))
        | st.tuples(st.sampled_from(values), st.sampled_from(["1", "2", ""]))
        | st.tuples(st.just("a/$description"), st.sampled_from([describe({"meter": {"power": FLOAT}}), b""]))
        | st.tuples(
            st.just("house/$description"),
            st.sampled_from(
                [
                    describe({"meter": {"power": FLOAT}, "switch": {"relay": RELAY}}, ["a", "b"]),
                    describe({"meter": {"power": FLOAT}}, ["a"]),
                    describe({"switch": {"relay": RELAY}}),
                    b"",
                ]
            ),
        )
    )
    mend = [("a/$description", describe({"meter": {"power": FLOAT}})), *((tail, "3") for tail in values)]

    @given(st.lists(st.tuples(steps, st.sampled_from([False, False, False, True])), max_size=30), SHUFFLES)
    def attempt(sequence: list[tuple[tuple[str, bytes | str], bool]], random: Random) -> None:
        end = [(step, False) for step in [("house/$state", "ready"), *random.sample(mend, len(mend))]]
        session = started()
        kept = {"house/meter/power", "house/switch/relay", "a/meter/power"}
        of_before: set[str] = set()
        away = unconfirmed = False
        session.edges()
        back = 0
        for (tail, payload), retain in [(("house/$state", "lost"), False), *sequence, *end]:
            session.hear(tail, payload, retain=retain)
            if tail == "house/$state":
                gone = payload in {"lost", "disconnected", ""}
                if gone and not away:
                    of_before, unconfirmed = set(kept), True
                away = gone
            elif not tail.endswith("$description"):
                (kept.add if payload else kept.discard)(tail)
                of_before.discard(tail)
                if payload and retain and unconfirmed:
                    of_before.add(tail)
            if "online" in session.edges():
                members = session.core.forest.members("house")
                live = {topic for topic in shown(session.core.forest) if topic.split("/")[0] in members}
                assert not live & of_before
                back += unconfirmed
                of_before, unconfirmed = set(), False
        runs.update(["all"] + ["back"] * bool(back))

    attempt()
    reached(runs, "back", 0.6)


# --- I8, I9 -----------------------------------------------------------------------------------------------------------


def test_i8_the_limits_hold_whatever_is_published_and_what_is_cleared_is_gone() -> None:
    runs: Counter[str] = Counter()

    @FEWER
    @given(
        st.lists(LIVE_MESSAGES, max_size=40) | st.lists(LIVE_MESSAGES, min_size=10, max_size=40),
        st.integers(1, 5),
        st.integers(1, 12),
        st.integers(1, 600),
    )
    def attempt(sequence: list[tuple[str, bytes]], devices: int, topics: int, size: int) -> None:
        forest = Forest("ebus", limits=Limits(devices, topics, size))
        for tail, payload in sequence:
            absorb(forest, tail, payload)
            assert len(forest.devices) <= devices
            assert forest.topic_count <= topics
            assert forest.payload_bytes <= size
        overflowed = {name for name, device in forest.devices.items() if device.overflowed}
        for tail in {tail for tail, _ in sequence}:
            absorb(forest, tail, b"")

        assert (forest.topic_count, forest.payload_bytes, shown(forest)) == (0, 0, {})
        assert set(forest.devices) == overflowed
        assert all(not device.nodes and not device.alerts for device in forest.devices.values())
        runs.update(["all"] + ["overflowed"] * bool(overflowed))

    attempt()
    reached(runs, "overflowed", 0.2)


LEVELS = st.sampled_from(
    [
        "ebus",
        "5",
        "house",
        "a",
        "$state",
        "$description",
        "$alert",
        "$log",
        "info",
        "set",
        "$target",
        "",
        "+",
        "\u0661",
        "A",
    ]
)
ANY_TOPIC = (
    st.text(max_size=12)
    | st.lists(LEVELS, max_size=7).map("/".join)
    | st.lists(LEVELS, max_size=4).map(lambda levels: "/".join(["ebus", "5", "house", *levels]))
)
ANY_PAYLOAD = st.binary(max_size=12) | st.sampled_from([b"ready", b"lost", b"[" * 2000, describe(children=["a"]), b""])


@FEWER
@given(st.lists(st.tuples(ANY_TOPIC, ANY_PAYLOAD, st.booleans()), max_size=20))
def test_i9_no_message_raises_and_what_is_good_is_kept(messages: list[tuple[str, bytes, bool]]) -> None:
    session = started()
    session.core.receive([Message(*one) for one in messages], at(0.0))
    for topic, _, _ in messages:
        session.core.overflow(topic, at(0.0))
    session.core.receive([Message(*one) for one in messages], at(0.0))
    session.complete()
    session.wait(100.0)
    session.core.missing()

    session.hear("good/$description", describe({"meter": {"power": FLOAT}}))
    session.hear("good/meter/power", "7")
    assert session.core.forest.value("good", "meter", "power") == 7.0
