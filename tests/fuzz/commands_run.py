"""Long runs of the commands under fire, for `tests.fuzz.run`: schedule after schedule, in several processes."""

from __future__ import annotations

import functools
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from hypothesis import settings

from . import commands_sisters
from .bounds import batches, enough, in_processes
from .commands_machine import DEMANDED, REACHED, run_all

__all__ = ["fuzz"]

PIECE: Final = 1000
"""So many schedules at a time."""


class Share(NamedTuple):
    """What a process did."""

    reached: Counter[str]
    sisters: Counter[str]
    """Likewise, of the schedules with another panel on the broker."""
    error: str


def work(profile: settings, schedules: int, until: float, _piece: int) -> Share:
    """Play so many schedules, and a quarter as many with another panel on the broker; or fewer, if it gets late."""
    REACHED.clear()
    commands_sisters.REACHED.clear()
    error = ""
    try:
        for number, batch in enumerate(batches(schedules, until)):
            run_all(settings(profile, max_examples=batch))
            if number % 4 == 0:
                commands_sisters.run_all(settings(profile, max_examples=batch))
    except BaseException:  # noqa: BLE001 - a process hands back what it found
        error = traceback.format_exc()
    return Share(REACHED.copy(), commands_sisters.REACHED.copy(), error)


def fuzz(
    profile: settings,
    schedules: int,
    minutes: float,
    processes: int,
    *,
    say: Callable[[str], None],
    histogram: Callable[[Counter[str], int], None],
) -> bool:
    """Whether all went well."""
    began = time.time()
    pieces = max(processes, schedules // PIECE)
    until = began + minutes * 60
    play = functools.partial(work, profile, schedules // pieces, until)
    shares: list[Share] = []
    for share in in_processes(play, pieces, processes, until):
        shares.append(share)
        if share.error:
            break
    took = time.time() - began
    good = True
    machines = {
        "schedules": ([share.reached for share in shares], DEMANDED),
        "schedules beside another panel": ([share.sisters for share in shares], commands_sisters.DEMANDED),
    }
    for kind, (counts, shares_demanded) in machines.items():
        reached = sum(counts, Counter[str]())
        runs, calls = reached.pop("runs", 0), reached.pop("calls", 0)
        say(f"{runs:,} {kind} of {calls:,} commands; {runs / took:,.0f} a second. Of them, so many came to:")
        histogram(reached, runs)
        good = good and runs > 0
        for what, demanded in shares_demanded.items():
            if not enough(reached[what], runs, demanded):
                good = False
                say(f"too few runs ({reached[what] / max(runs, 1):.1%}, not {demanded:.0%}): {what}")
    errors = [share.error for share in shares if share.error]
    for error in errors:
        say(error)
    return good and not errors
