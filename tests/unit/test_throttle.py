"""When what has changed is due: by a table, on the recorded bursts, and by rules that hold for any messages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.recording import read_recording
from span_trio.throttle import LONGEST_WAIT, QUIET, URGENT_PER_SECOND, Throttle

CAPTURES = Path(__file__).parents[1] / "captures"


class Said(NamedTuple):
    """A message, and when."""

    t: float
    urgent: bool = False


class Published(NamedTuple):
    """A publish: when, the messages that were waiting for it, and whether it was one that moves no floor."""

    t: float
    waiting: tuple[Said, ...]
    urgent: bool


def publishes(messages: Iterable[Said], interval: float = 1.0) -> list[Published]:
    """What an owner of a throttle does who looks whenever it wants to be looked at."""
    throttle = Throttle(interval)
    waiting: list[Said] = []
    done: list[Published] = []

    def publish(now: float) -> None:
        urgent_before = len(throttle._urgent_at), list(throttle._urgent_at)
        throttle.published(now)
        done.append(
            Published(now, tuple(waiting), (len(throttle._urgent_at), list(throttle._urgent_at)) != urgent_before)
        )
        waiting.clear()
        assert throttle.due is None

    now = -math.inf
    for said in [*messages, Said(math.inf)]:
        while throttle.due is not None and throttle.due < said.t:
            now = max(now, throttle.due)
            publish(now)
        if said.t < math.inf:
            now = said.t
            waiting.append(said)
            throttle.changed(now, urgent=said.urgent)
            if throttle.due is not None and throttle.due <= now:
                publish(now)
    assert not waiting or interval == math.inf
    return done


def at(*times: float) -> list[Said]:
    return [Said(time) for time in times]


# --- by a table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "interval", "expected"),
    [
        pytest.param([], 1.0, [], id="nothing"),
        pytest.param(at(5.0), 1.0, [5.015], id="one message: after the quiet"),
        pytest.param(at(5.0, 5.01, 5.02), 1.0, [5.035], id="a burst: whole"),
        pytest.param(at(*(5.0 + n / 100 for n in range(15))), 1.0, [5.1, 6.2], id="a long burst: not for ever"),
        pytest.param(at(5.0, 5.5), 1.0, [5.015, 6.115], id="again too soon: a little beyond the floor"),
        pytest.param(at(5.0, 5.5, 6.0), 1.0, [5.015, 6.015], id="a straggler: with the next burst"),
        pytest.param(at(5.0, 5.5, 6.113), 1.0, [5.015, 6.128], id="a burst that comes just then: whole"),
        pytest.param(at(5.0, 9.0), 10.0, [5.015, 15.015], id="never more than a second beyond the floor"),
        pytest.param(at(5.0, 5.910), 1.0, [5.015, 5.925], id="just before the floor: the burst is not cut there"),
        pytest.param(at(5.0, 6.0, 7.0), 1.0, [5.015, 6.015, 7.015], id="a panel that speaks once a second"),
        pytest.param(at(5.0, 5.93), 1.0, [5.015, 5.945], id="10 % early"),
        pytest.param([Said(5.0, urgent=True)], 1.0, [5.0], id="urgent: at once"),
        pytest.param([Said(5.0, urgent=True), Said(5.004)], 1.0, [5.0, 5.019], id="the rest of an urgent burst"),
        pytest.param([Said(5.0), Said(5.004, urgent=True), Said(5.008)], 1.0, [5.004, 5.023], id="urgent in a burst"),
        pytest.param([Said(5.0), Said(5.3, urgent=True), Said(5.4)], 1.0, [5.015, 5.3, 6.115], id="moves no floor"),
        pytest.param(at(5.0, 5.001, 5.5), 0.0, [5.0, 5.001, 5.5], id="interval 0: always at once"),
        pytest.param(at(5.0, 5.001, 5.5), math.inf, [5.016], id="interval infinity: once"),
        pytest.param(
            [Said(5.0), *(Said(5.5 + n / 1000, urgent=True) for n in range(12))],
            10.0,
            [5.015, *(5.5 + n / 1000 for n in range(10)), 6.5],
            id="urgent: ten a second",
        ),
        pytest.param(
            [*(Said(5.0 + n / 1000, urgent=True) for n in range(10)), Said(5.2, urgent=True), Said(5.3)],
            0.5,
            [*(5.0 + n / 1000 for n in range(10)), 5.215, 5.765],
            id="urgent, one too many: like any other",
        ),
    ],
)
def test_when_it_is_due(messages: list[Said], interval: float, expected: list[float]) -> None:
    assert [publish.t for publish in publishes(messages, interval)] == pytest.approx(expected)


def test_nothing_is_due_when_nothing_waits() -> None:
    throttle = Throttle(1.0)
    assert throttle.due is None
    throttle.changed(5.0, urgent=True)
    throttle.reset()
    assert throttle.due is None
    throttle.changed(6.0, urgent=False)  # and no urgency is left
    assert throttle.due == 6.0 + QUIET


def test_the_interval_may_be_changed_at_any_time() -> None:
    throttle = Throttle(10.0)
    throttle.changed(0.0, urgent=False)
    throttle.published(0.015)
    throttle.changed(1.0, urgent=False)
    assert throttle.due == pytest.approx(10.015)
    throttle.interval = 1.0
    assert throttle.due == pytest.approx(1.015)
    throttle.interval = 0.0
    assert throttle.due == 1.0
    throttle.interval = 20.0
    assert throttle.due == pytest.approx(19.015)


# --- the recorded bursts ----------------------------------------------------------------------------------------------


def recorded_bursts() -> list[list[Said]]:
    """The live messages of a minute, in bursts: there is nothing for more than half a second between them.

    The network tore one of them: its first message came 44 ms before the others (Nagle's algorithm at one end, delayed
    acknowledgements at the other), which is longer than any quiet.
    """
    with (CAPTURES / "flat32-a-cold.jsonl").open(encoding="utf-8") as lines:
        live = [Said(each.t) for each in read_recording(lines) if not each.message.retain]
    bursts = [[live[0]]]
    for before, said in pairwise(live):
        if said.t - before.t > 0.5:
            bursts.append([])
        bursts[-1].append(said)
    assert (len(bursts), sum(map(is_torn, bursts))) == (61, 1)
    return bursts


def is_torn(burst: list[Said]) -> bool:
    return any(then.t - before.t > QUIET for before, then in pairwise(burst))


@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0])
def test_every_recorded_burst_is_published_whole_within_20_ms(interval: float) -> None:
    bursts = [burst for burst in recorded_bursts() if not is_torn(burst)]
    done = publishes([said for burst in bursts for said in burst], interval)
    assert [list(publish.waiting) for publish in done] == bursts  # none was cut, none was lost
    for burst, publish in zip(bursts, done, strict=True):
        assert 0 < publish.t - burst[-1].t < 0.020


@pytest.mark.slow
def test_of_20_recorded_minutes_no_tick_is_lost_and_none_is_late() -> None:
    """Though in each minute one burst is torn: its second half comes out with the next tick, and delays nothing."""
    minute = recorded_bursts()
    span = minute[-1][-1].t - minute[0][0].t + 1.0
    bursts = [[Said(said.t + tile * span) for said in burst] for tile in range(20) for burst in minute]
    done = publishes([said for burst in bursts for said in burst], 1.0)
    assert len(done) == len(bursts)
    ages = [publish.t - publish.waiting[-1].t for publish in done]
    assert max(ages) <= 0.020
    cut = sum(publish.waiting[-1] not in ends for ends in [{burst[-1] for burst in bursts}] for publish in done)
    assert cut == sum(map(is_torn, bursts)) == 20
    assert all(then.t - before.t >= 0.9 for before, then in pairwise(done))


def test_of_recorded_messages_each_is_published_at_interval_0() -> None:
    messages = [said for burst in recorded_bursts() for said in burst]
    assert [publish.t for publish in publishes(messages, 0.0)] == [said.t for said in messages]


# --- by rules ---------------------------------------------------------------------------------------------------------

gaps = st.sampled_from([0.0, 0.001, 0.0149, 0.015, 0.0151, 0.05, 0.1, 0.5, 0.9, 1.0]) | st.floats(0, 2)
messages = st.lists(st.tuples(gaps, st.booleans() | st.just(False)), max_size=40)
intervals = st.sampled_from([0.0, 0.1, 1.0, 5.0]) | st.floats(0, 3)
EPSILON = 1e-9


def said_with(spans: list[tuple[float, bool]]) -> list[Said]:
    now = 100.0
    said: list[Said] = []
    for gap, urgent in spans:
        now += gap
        said.append(Said(now, urgent))
    return said


@given(messages, intervals)
def test_every_message_is_published_once_and_in_time(spans: list[tuple[float, bool]], interval: float) -> None:
    said = said_with(spans)
    done = publishes(said, interval)
    assert [message for publish in done for message in publish.waiting] == said
    floor = -math.inf
    for publish in done:
        patience = min(0.2 * interval, 1.0)
        latest = max(publish.waiting[0].t, floor + patience, floor) + LONGEST_WAIT
        assert publish.waiting[-1].t <= publish.t <= latest + EPSILON
        if not publish.urgent:
            floor = publish.t + 0.9 * interval


@given(messages, intervals.filter(lambda interval: interval > 0))
def test_two_that_are_not_urgent_keep_their_distance(spans: list[tuple[float, bool]], interval: float) -> None:
    regular = [publish.t for publish in publishes(said_with(spans), interval) if not publish.urgent]
    assert all(then - before >= 0.9 * interval - EPSILON for before, then in pairwise(regular))


@given(st.lists(st.tuples(gaps.map(lambda gap: gap / 20), st.booleans()), min_size=20, max_size=60), intervals)
def test_there_are_no_more_than_ten_urgent_ones_in_any_second(spans: list[tuple[float, bool]], interval: float) -> None:
    urgent = [publish.t for publish in publishes(said_with(spans), max(interval, 0.001)) if publish.urgent]
    for first, eleventh in zip(urgent, urgent[URGENT_PER_SECOND:], strict=False):
        assert eleventh - first >= 1.0 - EPSILON


@given(messages, intervals.filter(lambda interval: interval > 0))
def test_what_is_urgent_waits_for_nothing_while_there_are_few(spans: list[tuple[float, bool]], interval: float) -> None:
    said = said_with(spans)
    done = {publish.t for publish in publishes(said, interval)}
    urgent: list[float] = []
    for message in said:
        if message.urgent and sum(time > message.t - 1.0 - EPSILON for time in urgent) < URGENT_PER_SECOND:
            assert message.t in done
        if message.urgent:
            urgent.append(message.t)


@given(messages, intervals.filter(lambda interval: interval > 0))
def test_nothing_that_is_not_urgent_cuts_a_burst(spans: list[tuple[float, bool]], interval: float) -> None:
    """Unless it is waited for `LONGEST_WAIT` long, or the floor had been passed without it."""
    floor = -math.inf
    for publish in publishes(said_with(spans), interval):
        if not any(message.urgent for message in publish.waiting):
            quiet = publish.t >= publish.waiting[-1].t + QUIET - EPSILON
            long = publish.t >= max(publish.waiting[0].t, floor) + LONGEST_WAIT - EPSILON
            assert quiet or long
        if not publish.urgent:
            floor = publish.t + 0.9 * interval
