"""Long runs of the two sisters, for `tests.fuzz.run`: seed after seed, in several processes; and that they bite."""

from __future__ import annotations

import functools
import math
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from .bounds import enough, in_processes
from .mutations import MUTATIONS, Mutation, applied
from .sisters import DEMANDED, REACHED, Crossed, attempt

__all__ = ["GUARDS", "first_crossing", "fuzz", "prove"]

PIECE: Final = 500
"""So many runs at a time."""
GUARDS: Final[list[Mutation]] = [
    mutation
    for mutation in MUTATIONS
    if mutation.name
    in {
        "a childs own root is not asked for",
        "what was said of a child before is forgotten",
        "what another tree has left behind counts",
        "who else lists a child is not asked for",
        "who has listed a child is forgotten",
        "what was kept of a stranger stays",
        "what is retained for a stranger counts",
        "other trees are not looked for",
    }
]
"""Each of these keeps something from getting across."""


def first_crossing(mutation: Mutation, runs: int) -> str:
    """What gets across without this guard, in the first of so many runs in which something does; empty: nothing."""
    with applied(mutation):
        for seed in range(runs):
            try:
                attempt(seed)
            except Crossed as crossed:
                return f"run {seed + 1}: {crossed}"
    return ""


def prove(runs: int, say: Callable[[str], None]) -> bool:
    """Whether without each of the guards something gets across."""
    found = {mutation.name: first_crossing(mutation, runs) for mutation in GUARDS}
    for name, crossing in found.items():
        say(f"{name:55}  {crossing or 'NOTHING GETS ACROSS'}")
    return all(found.values())


class Share(NamedTuple):
    """What a process did."""

    reached: Counter[str]
    error: str


def work(runs: int, until: float, piece: int) -> Share:
    """Play a piece of so many runs; or less, if it gets late."""
    REACHED.clear()
    error = ""
    for seed in range(runs)[piece * PIECE : (piece + 1) * PIECE]:
        if time.time() > until:
            break
        try:
            attempt(seed)
        except Exception:  # noqa: BLE001 - a process hands back what it found
            error = f"seed {seed}: {traceback.format_exc()}"
            break
    return Share(REACHED.copy(), error)


def fuzz(
    runs: int,
    minutes: float,
    processes: int,
    *,
    say: Callable[[str], None],
    histogram: Callable[[Counter[str], int], None],
) -> bool:
    """Whether nothing got across in so many runs, and they came to something."""
    began = time.time()
    until = began + minutes * 60
    reached, errors = Counter[str](), list[str]()
    for share in in_processes(functools.partial(work, runs, until), math.ceil(runs / PIECE), processes, until):
        reached += share.reached
        if share.error:
            errors.append(share.error)
            break
    done = reached.pop("runs", 0)
    say(
        f"{done:,} interleavings of two panels; {done / (time.time() - began):,.0f} a second. Of them, so many came to:"
    )
    histogram(reached, done)
    few = [what for what, demanded in DEMANDED.items() if not enough(reached[what], done, demanded)]
    for line in (*(f"too few runs: {what}" for what in few), *errors):
        say(line)
    return done > 0 and not few and not errors
