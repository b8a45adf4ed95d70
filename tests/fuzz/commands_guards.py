"""Mutations of the commands: how they are registered, tried, and demanded to be noticed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any, Final
from unittest.mock import patch

from hypothesis import settings

from . import commands_machine, commands_sisters
from .commands_history import CHECKS, Violation
from .mutations import Mutation, Verdict

__all__ = ["MUTATIONS", "attempt", "instead", "prove"]

MUTATIONS: Final[list[Mutation]] = []


def instead(check: str, owner: Any, attribute: str) -> Callable[[Any], Any]:
    """Register what stands in place of an attribute; the name says how it is wrong."""

    def register(replacement: Any) -> Any:
        name = getattr(replacement, "fget", replacement).__name__.replace("_", " ")
        MUTATIONS.append(Mutation(check, name, owner, attribute, replacement))
        return replacement

    return register


@contextlib.contextmanager
def applied(mutation: Mutation) -> Generator[None, None, None]:
    """The library with this guard taken away."""
    with patch.object(mutation.owner, mutation.attribute, mutation.replacement):
        yield


def attempt(mutation: Mutation, profile: settings) -> Verdict:
    """Play on a mutated library, with the one check."""
    machine = commands_sisters if mutation.invariant in commands_sisters.CHECKS else commands_machine
    reached = machine.REACHED
    runs, calls, why = reached["runs"], reached["calls"], ""
    with applied(mutation):
        try:
            machine.run_all(profile, frozenset({mutation.invariant}))
        except Violation as violation:
            why = str(violation)
    return Verdict(reached["runs"] - runs + bool(why), reached["calls"] - calls, why)


def prove(profile: settings, say: Callable[[str], None]) -> bool:
    """Whether every mutation was noticed, by its check, and every check has one."""
    good = True
    for mutation in MUTATIONS:
        verdict = attempt(mutation, profile)
        seen = verdict.why.startswith(f"{mutation.invariant}:")
        good = good and seen
        say(f"{mutation.invariant:10} {mutation.name:60}  {f'after {verdict.runs} runs' if seen else 'NOT CAUGHT'}")
    unguarded = (CHECKS | commands_sisters.CHECKS) - {mutation.invariant for mutation in MUTATIONS}
    if unguarded:
        say(f"no mutation for {sorted(unguarded)}")
    return good and not unguarded
