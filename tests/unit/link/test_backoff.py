"""How long to wait before the next attempt: at once, then up to twice as long each time, up to a ceiling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.link import Backoff
from span_trio.link.backoff import CEILING, SILENT_CEILING

ceilings = st.sampled_from([CEILING, SILENT_CEILING])


def longest() -> Backoff:
    """One with the worst of luck."""
    return Backoff(lambda: 1.0)


@pytest.mark.parametrize(
    ("ceiling", "pauses"),
    [
        (CEILING, [0, 0.2, 0.4, 0.8, 1.6, 2, 2, 2]),
        (SILENT_CEILING, [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8, 8, 8]),
    ],
)
def test_the_first_is_at_once_and_the_others_twice_as_long_up_to_the_ceiling(
    ceiling: float, pauses: list[float]
) -> None:
    backoff = longest()
    assert [backoff.pause(ceiling=ceiling) for _ in pauses] == pytest.approx(pauses)


def test_a_success_begins_anew() -> None:
    backoff = longest()
    first = [backoff.pause(ceiling=2) for _ in range(9)]
    backoff.reset()
    assert [backoff.pause(ceiling=2) for _ in range(9)] == first


def test_the_ceiling_is_that_of_each_failure() -> None:
    backoff = longest()
    for _ in range(20):
        backoff.pause(ceiling=SILENT_CEILING)
    assert backoff.pause(ceiling=SILENT_CEILING) == 8
    assert backoff.pause(ceiling=CEILING) == 2  # it answers now: wanted back soon


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), ceilings), max_size=40))
def test_a_pause_is_anything_from_nothing_to_its_bound(luck: list[tuple[float, float]]) -> None:
    dice = iter(luck)
    backoff, worst = Backoff(lambda: next(dice)[0]), longest()
    for chance, ceiling in luck:
        bound = worst.pause(ceiling=ceiling)
        assert 0 <= backoff.pause(ceiling=ceiling) == pytest.approx(chance * bound)


def test_many_clients_of_one_broker_spread_over_the_whole_pause() -> None:
    clients = [Backoff() for _ in range(400)]
    for client in clients:
        for _ in range(10):
            client.pause(ceiling=CEILING)
    pauses = sorted(client.pause(ceiling=CEILING) for client in clients)
    for number, quarter in enumerate([0.0, 0.5, 1.0, 1.5]):
        assert 50 < sum(quarter <= pause < quarter + 0.5 for pause in pauses) < 150, number


def test_a_year_of_failures_is_no_overflow() -> None:
    backoff = longest()
    for _ in range(100_000):
        last = backoff.pause(ceiling=CEILING)
    assert last == CEILING
