"""Two panels with equal child ids on one broker: a little of what `nox -s fuzz -- --sisters 100000` does."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

from tests.fuzz.bounds import enough
from tests.fuzz.mutations import Mutation
from tests.fuzz.sisters import DEMANDED, attempt
from tests.fuzz.sisters_run import GUARDS, first_crossing

RUNS = 4 * settings().max_examples
# Without each of these something gets across soon; the others are for `nox -s fuzz -- --sisters 5000 --mutations`.
SOON = {
    "a childs own root is not asked for",
    "who else lists a child is not asked for",
    "other trees are not looked for",
}


@pytest.mark.slow
def test_nothing_gets_across_between_two_panels_with_the_same_child_ids() -> None:
    reached: Counter[str] = Counter()
    for seed in range(RUNS):
        reached.update(attempt(seed))
    assert not [what for what, share in DEMANDED.items() if not enough(reached[what], RUNS, share)], reached


@pytest.mark.slow
@pytest.mark.parametrize("guard", [each for each in GUARDS if each.name in SOON], ids=lambda each: each.name)
def test_without_a_guard_something_gets_across(guard: Mutation) -> None:
    assert first_crossing(guard, 500)
