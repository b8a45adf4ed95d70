"""The machine and the shell's properties of `tests/fuzz`, a little of each; `nox -s fuzz` runs them for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz import mutations, shell
from tests.fuzz.bounds import enough
from tests.fuzz.machine import PanelMachine
from tests.fuzz.mutations import MUTATIONS, Mutation
from tests.fuzz.run import DEMANDED
from tests.fuzz.test_regressions import *  # noqa: F403

EXAMPLES = settings().max_examples
QUICK = settings(stateful_step_count=40, suppress_health_check=list(HealthCheck), database=None)
# Each is seen within a few runs of the machine; all the others are for `nox -s fuzz -- --mutations`.
SOON = ["the cell survives an edge", "a malformed topic raises"]


@pytest.mark.slow
def test_whatever_happens_the_panel_is_as_the_model_says() -> None:
    runs, reached = PanelMachine.runs, PanelMachine.reached.copy()
    run_state_machine_as_test(PanelMachine, settings=settings(QUICK, max_examples=max(60, EXAMPLES // 3)))
    reached = PanelMachine.reached - reached
    assert enough(reached["live"], PanelMachine.runs - runs, DEMANDED["live"]), reached  # or it proves little


@pytest.mark.parametrize("holds", shell.PROPERTIES, ids=lambda holds: holds.__name__)
def test_whatever_is_done_to_the_bytes(holds: Callable[..., None]) -> None:
    shell.run_one(holds, settings(QUICK, max_examples=EXAMPLES // 8))


@pytest.mark.parametrize(
    "mutation", [mutation for mutation in MUTATIONS if mutation.name in SOON], ids=lambda m: m.name
)
def test_a_guard_that_is_taken_away_is_missed(mutation: Mutation) -> None:
    once = settings(QUICK, max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate])
    assert mutations.attempt(mutation, once).why.startswith(mutation.invariant)
