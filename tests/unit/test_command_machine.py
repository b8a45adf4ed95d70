"""The commands under fire of `tests/fuzz`, a little of it, and what it found; `nox -s fuzz -- --commands` for more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import commands_mutations, commands_sisters
from tests.fuzz.bounds import enough
from tests.fuzz.commands_house import FIRST
from tests.fuzz.commands_machine import DEMANDED, REACHED, Schedule, play, run_all
from tests.fuzz.commands_mutations import MUTATIONS
from tests.fuzz.mutations import Mutation

EXAMPLES = settings().max_examples
QUICK = settings(suppress_health_check=list(HealthCheck), database=None)
# Each is noticed within a few runs; all the others are for `nox -s fuzz -- --commands --mutations`.
SOON = [
    "each is handed over twice",
    "the command itself confirms",
    "what the broker has is done",
    "whoever is listed belongs",
    "the word of another panel counts",
]


@pytest.mark.slow
def test_whatever_happens_a_command_says_what_became_of_it() -> None:
    before = REACHED.copy()
    run_all(settings(QUICK, max_examples=2 * EXAMPLES))
    reached, runs = REACHED - before, REACHED["runs"] - before["runs"]
    few = [what for what, share in DEMANDED.items() if not enough(reached[what], runs, share)]
    assert not few, reached  # or it proves little
    assert len([what for what in DEMANDED if reached[what]]) > len(DEMANDED) / 2, reached


@pytest.mark.slow
def test_no_command_gets_across_to_another_panel_and_no_word_of_it_counts() -> None:
    before = commands_sisters.REACHED.copy()
    commands_sisters.run_all(settings(QUICK, max_examples=EXAMPLES))
    reached = commands_sisters.REACHED - before
    assert min(reached[what] for what in ("confirmed", "a claim in force", "asked while claimed")), reached


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation", [mutation for mutation in MUTATIONS if mutation.name in SOON], ids=lambda m: m.name
)
def test_a_guard_of_commands_that_is_taken_away_is_missed(mutation: Mutation) -> None:
    once = settings(QUICK, max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate])
    assert commands_mutations.attempt(mutation, once).why.startswith(mutation.invariant)


# --- what it has found: each of these failed, in some order of what happens at once ---

FOUND = {
    "one cancelled in the turn of its confirmation is on record as written": Schedule(
        ((0.0, ("ask", "first OPEN", None, "")), (-5.0, ("cancel", 0)))
    ),
    "nothing is written to a link whose end was read, though nobody was told yet": Schedule(
        (
            *3 * ((0.0, ("ask", "first OPEN", None, "")),),
            (0.0, ("ask", "limit 10", None, "")),
            (-2.0, ("hang up",)),
        )
    ),
    "a relay that is locked while its command waits for the writer is not commanded": Schedule(
        (
            (0.0, ("jam",)),
            (0.0, ("ask", "first OPEN", None, "")),
            (0.001, ("publish", f"{FIRST}/always-on", b"true")),
            (0.001, ("unstall",)),
        )
    ),
    "a link that was not lost is not said to have been": Schedule(
        (
            (0.0, ("stall",)),
            (0.0, ("ask", "limit 10", 6.0, "")),
            (0.001, ("return", False)),
            (0.001, ("sleep", 2.0, True)),
            (1.0, ("unstall",)),
        )
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", FOUND.values(), ids=FOUND)
def test_it_found_that(schedule: Schedule) -> None:
    @settings(QUICK, max_examples=15, derandomize=True)
    @given(_order=st.random_module())
    def holds(_order: object) -> None:
        play(schedule)

    holds()
