"""Which ping an answer is believed to be of, whatever was dropped or comes late: never of one that is younger."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from span_trio.link.pings import Pings


class Asked(NamedTuple):
    """A ping: how long after the one before, whether somebody waits for it, and when its answer comes, if it does."""

    pause: float
    is_awaited: bool
    answered_after: float | None


_some = st.lists(
    st.builds(
        Asked,
        st.sampled_from([0.0, 0.1, 0.5, 2.5, 8.0]),
        st.booleans(),
        st.sampled_from([None, 0.01, 0.01, 1.5, 3.0, 10.0, 30.0]),
    ),
    max_size=60,
)


@given(_some)
def test_no_ping_is_believed_to_be_answered_that_is_younger_than_one_that_is(asked: list[Asked]) -> None:
    clock = MockClock()

    async def main() -> None:
        pings, on_their_way, newest, free_at = Pings(), deque[tuple[float, float]](), float("-inf"), 0.0
        for pause, is_awaited, answered_after in asked:
            clock.jump(pause)
            while on_their_way and on_their_way[0][0] <= trio.current_time():
                newest = max(newest, on_their_way.popleft()[1])
                pings.answer()
                assert pings.asked_at <= newest
            for _ in range(pings.send(trio.Event() if is_awaited else None)):
                if answered_after is not None:  # in order
                    free_at = max(free_at, trio.current_time() + answered_after)
                    on_their_way.append((free_at, trio.current_time()))

    trio.run(main, clock=clock)


async def test_the_first_answers_of_many_that_were_due_are_those_of_the_first_pings(mock_clock: MockClock) -> None:
    pings = Pings()
    for _ in range(600):
        pings.send(None)
        mock_clock.jump(1)
    for _ in range(10):
        pings.answer()
    assert pings.asked_at == float("-inf")  # nobody remembers when they were sent
    for _ in range(400):
        pings.answer()
    assert pings.asked_at == 409.0


@pytest.mark.parametrize("dropped", [0, 1, 8, 16, 255])
async def test_however_many_answers_were_dropped_one_ping_is_enough_to_hear_of_the_broker(
    dropped: int, mock_clock: MockClock
) -> None:
    pings = Pings()
    for _ in range(dropped):
        pings.send(None)
        mock_clock.jump(8)
    for _ in range(3):
        answers = pings.send(waiter := trio.Event())
        assert answers == 1 + dropped
        answered = [pings.answer() for _ in range(answers)]
        assert [ping.waiter for ping in answered if ping is not None][-1] is waiter
        assert pings.asked_at == trio.current_time()
        mock_clock.jump(1.9)


async def test_of_a_broker_that_never_answers_not_everything_is_kept(mock_clock: MockClock) -> None:
    pings = Pings()
    for _ in range(300):
        assert pings.send(trio.Event()) <= 256
        mock_clock.jump(8)
    assert len(pings._line) < 1024
    for _ in range(300):
        pings.answer()
    assert pings.asked_at == float("-inf")


async def test_of_a_broker_that_dropped_more_than_that_no_answer_proves_anything(mock_clock: MockClock) -> None:
    pings = Pings()
    for _ in range(300):
        pings.send(None)
        mock_clock.jump(8)
    for _ in range(pings.send(trio.Event())):
        pings.answer()
    assert pings.asked_at == 255 * 8.0
