"""Long runs of the machine: `python -m tests.fuzz.run --steps 200000`, or `--minutes 5`, or `--mutations`.
`--commands 20000` plays so many schedules of commands instead; with `--mutations`, it takes their guards away.
`--sisters 100000` has two panels with the same child ids share a broker, in so many interleavings; with `--mutations`,
it shows what gets across without each guard.

Each process runs machine after machine, with real dice, until its share of the steps is done. What was reached is
printed as a histogram, and is part of the verdict: fuzzing that rarely gets live proves nothing.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
import traceback
from collections import Counter
from typing import Final, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from . import commands_mutations, commands_run, mutations, shell, sisters_run
from .bounds import enough, in_processes
from .machine import PanelMachine

DEMANDED: Final = {"live": 0.30, "live in a second epoch": 0.10, "dropped a pending snapshot": 0.10}
"""The share of runs that must have reached it."""

PIECE: Final = 20_000
"""So many steps at a time."""

LONG: Final = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=False,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


class Share(NamedTuple):
    """What a process did."""

    steps: int
    runs: int
    reached: Counter[str]
    days: Counter[str]
    error: str


def work(steps: int, until: float, examples: int, _piece: int) -> Share:
    """Run so many steps, and so many examples of each of the shell's properties; or fewer, if it gets late."""
    error, steps_before, runs_before = "", PanelMachine.steps, PanelMachine.runs
    PanelMachine.reached.clear()
    shell.REACHED.clear()
    try:
        while PanelMachine.steps - steps_before < steps and time.time() < until:
            run_state_machine_as_test(PanelMachine, settings=LONG)
        shell.run_all(LONG, examples, until)
    except BaseException:  # noqa: BLE001 - a process hands back what it found
        error = traceback.format_exc()
    done, runs = PanelMachine.steps - steps_before, PanelMachine.runs - runs_before
    return Share(done, runs, PanelMachine.reached.copy(), shell.REACHED.copy(), error)


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def histogram(reached: Counter[str], total: int) -> None:
    for what, count in reached.most_common():
        share = count / max(total, 1)
        say(f"{share:6.1%}  {'#' * round(40 * share):40}  {what}")


def fuzz(steps: int, minutes: float, processes: int, examples: int) -> bool:
    """Whether all went well."""
    began = time.time()
    pieces = max(processes, steps // PIECE)
    until = began + minutes * 60
    each = functools.partial(work, steps // pieces, until, examples // pieces)
    shares: list[Share] = []
    for share in in_processes(each, pieces, processes, until):
        shares.append(share)
        if share.error:  # the others are likely to find the same, and to shrink it for minutes
            break
    took = time.time() - began
    reached = sum((share.reached for share in shares), Counter[str]())
    days = sum((share.days for share in shares), Counter[str]())
    runs, done = sum(share.runs for share in shares), sum(share.steps for share in shares)
    say(f"{done:,} steps in {runs:,} runs, and {days.total():,} days of the shell; {done / took:,.0f} steps/s")
    histogram(reached, runs)
    for kind in ("split", "spoilt", "cut off", "cancelled"):
        some = Counter({what: count for what, count in days.items() if kind in what})
        histogram(some, some.total())
    good = True
    for what, demanded in DEMANDED.items():
        if not enough(reached[what], runs, demanded):
            good = False
            say(f"too few runs ({reached[what] / max(runs, 1):.1%}, not {demanded:.0%}): {what}")
    errors = [share.error for share in shares if share.error]
    for error in errors:
        say(error)
    return good and not errors


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    environ = os.environ.get
    parser.add_argument("--steps", type=int, default=int(environ("SPAN_TRIO_FUZZ_STEPS", "200000")))
    minutes = float(environ("SPAN_TRIO_FUZZ_MINUTES", "15"))
    parser.add_argument("--minutes", type=float, help=f"at most, but for shortening what was found [{minutes:g}]")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shell", type=int, default=1000, help="examples of each property of the shell")
    parser.add_argument("--mutations", action="store_true", help="see each check fail when its guard is removed")
    schedules = int(environ("SPAN_TRIO_FUZZ_SCHEDULES", "20000"))
    parser.add_argument("--commands", type=int, nargs="?", const=schedules, help="so many schedules of commands")
    parser.add_argument("--sisters", type=int, help="so many interleavings of two panels with equal child ids")
    options = parser.parse_args()
    if options.mutations and options.minutes is not None:
        parser.error("--mutations tries each of them, however long it takes")
    minutes = minutes if options.minutes is None else options.minutes
    proof = settings(LONG, derandomize=True, max_examples=5000, phases=[Phase.generate])
    if options.mutations and options.sisters is not None:
        good = sisters_run.prove(options.sisters, say)
    elif options.mutations:
        good = (mutations.run_all if options.commands is None else commands_mutations.prove)(proof, say)
    elif options.sisters is not None:
        good = sisters_run.fuzz(options.sisters, minutes, options.processes, say=say, histogram=histogram)
    elif options.commands is not None:
        good = commands_run.fuzz(LONG, options.commands, minutes, options.processes, say=say, histogram=histogram)
    else:
        good = fuzz(options.steps, minutes, options.processes, options.shell)
    sys.exit(not good)


if __name__ == "__main__":
    main()
