"""What `Accumulator.deadline` promises: whoever ticks then, and only then, neither misses anything nor spins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import event, given
from hypothesis import strategies as st

from span_trio.homie import Limits

from .broker import BrokeredSession
from .helpers import FEWER, FLOAT, RELAY, at, describe, reached

NODES = {"meter": {"power": FLOAT, "name": {"datatype": "string"}}, "switch": {"relay": RELAY}}
KEPT: dict[str, bytes | str] = {
    "house/$state": "ready",
    "house/$description": describe(NODES, ["car"]),
    "house/meter/power": "1",
    "house/switch/relay": "OPEN",
    "car/$description": describe(NODES),
    "car/meter/power": "2",
}
HUGE = "x" * 700

Step = Callable[[BrokeredSession], object]


def publish(tail: str, payload: bytes | str) -> Step:
    return lambda session: session.publish(tail, payload)


def wait(seconds: float) -> Step:
    return lambda session: session.wait(seconds)


def late(seconds: float) -> Step:
    """Time passes, and nobody looks before it has."""

    def step(session: BrokeredSession) -> None:
        session.now += seconds
        session.core.tick(at(session.now))

    return step


def unanswered(session: BrokeredSession) -> None:
    """A new link whose requests are answered by nobody yet."""
    session.connect(session.core.epoch + 1)
    session.subscribe()


STEPS = st.sampled_from(
    [
        *(publish("house/$state", state) for state in ("ready", "ready", "ready", "lost", "init", "")),
        *(publish("house/$description", describe(NODES, children)) for children in (["car"], ["car", "new"], [])),
        *(publish(f"{device}/$description", describe(NODES)) for device in ("car", "new")),
        *(publish(f"{device}/meter/name", text) for device in ("house", "car", "stranger") for text in ("", "a", HUGE)),
        *(publish("house/meter/power", str(number)) for number in range(3)),
        *(wait(seconds) for seconds in (0.5, 2.0, 5.0, 60.0, 500.0)),
        *(late(seconds) for seconds in (0.0, 3.0, 100.0)),
        lambda session: session.disconnect(),
        lambda session: session.start(session.core.epoch + 1),
        lambda session: session.start(session.core.epoch + 1),
        unanswered,
    ]
)
SESSIONS: st.SearchStrategy[BrokeredSession] = st.builds(
    lambda largest, queue, limits, max_silence, settle: BrokeredSession(
        KEPT, largest=largest, queue=queue, limits=limits, max_silence=max_silence, settle=settle
    ),
    st.sampled_from([600, 10_000]),
    st.sampled_from([4, 100]),
    st.sampled_from([Limits(), Limits(topics=6), Limits(payload_bytes=1200), Limits(devices=1)]),
    st.sampled_from([float("inf"), 60.0, 5.0]),
    st.sampled_from([2.0, 0.0]),
)


def test_i8_after_a_tick_the_next_one_is_later_whatever_has_happened() -> None:
    runs: Counter[str] = Counter()

    @FEWER
    @given(SESSIONS, st.lists(STEPS, max_size=15), st.sampled_from(["house", "car", "stranger"]))
    def attempt(session: BrokeredSession, steps: list[Step], too_large: str) -> None:
        session.start()
        edges: list[bool] = []
        for step in [*steps, publish(f"{too_large}/meter/name", HUGE)]:
            step(session)
            session.core.tick(at(session.now))
            deadline = session.core.deadline
            assert deadline is None or deadline > session.now
            edges += [edge.online for edge in session.core.take_edges()]

        before = len(session.asked)
        session.wait(3600.0)  # which asserts the same at every deadline of an hour
        asked = {when for when, _ in session.asked[before:]}
        assert len(asked) <= 3 * 70  # three devices, for each the rounds of an hour
        edges += [edge.online for edge in session.core.take_edges()]
        assert edges == [number % 2 == 0 for number in range(len(edges))]
        runs.update(["all"] + ["live"] * bool(edges) + ["asked again"] * bool(asked))
        event(f"{min(len(edges), 6)} edges, {'asked again' if asked else 'not asked again'}")

    attempt()
    reached(runs, "live", 0.4)
    reached(runs, "asked again", 0.2)


def test_a_tick_that_nobody_wanted_changes_nothing() -> None:
    """Ticks between deadlines, as many as you like, end in the same as ticks at deadlines alone."""
    runs: Counter[str] = Counter()

    def session() -> BrokeredSession:
        made = BrokeredSession(KEPT, largest=600, max_silence=5.0, settle=0.0)
        made.start()
        made.publish("house/meter/power", "1")  # heard, so that silence is one of the deadlines
        return made

    @FEWER
    @given(st.lists(STEPS.filter(lambda step: step is not unanswered), max_size=12))
    def attempt(steps: list[Step]) -> None:
        seldom, often = session(), session()
        for step in steps:
            step(seldom)
            step(often)
            for _ in range(3):
                often.core.tick(at(often.now))
            assert often.core.obstacle == seldom.core.obstacle
        edges = seldom.core.take_edges()
        assert often.core.take_edges() == edges
        runs.update(["all"] + ["edges"] * (len(edges) > 1))

    attempt()
    reached(runs, "edges", 0.4)
