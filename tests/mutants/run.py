"""Put a small mistake into the library, and see whether a test notices; thousands of times.

    python -m tests.mutants.run span_trio/link span_trio/commands.py:153 --sample 100

Prints each mistake that nobody notices, as a diff, and a table. It fails where more survive than `--at-least` allows,
but for those that `equivalent.toml` lists with a reason: they are no mistakes. POSIX only, since it forks.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
import tomllib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .operators import Key, Mutant, mutants
from .trials import Trial, preload, try_at_import, try_in_functions

__all__ = ["main"]

HERE: Final = Path(__file__).parent
EQUIVALENT: Final = HERE / "equivalent.toml"

_COMMANDS: Final = ("tests/unit/test_command*.py", "tests/unit/test_arguments.py", "tests/unit/test_looking.py")
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "span_trio/commands.py": _COMMANDS,
    "span_trio/flights.py": _COMMANDS,
    "span_trio/command.py": _COMMANDS,
    "span_trio/auditor.py": _COMMANDS,
    "span_trio/homie/slots.py": ("tests/unit/homie", "tests/unit/span/test_controls.py"),
    "span_trio/span/offered.py": ("tests/unit/span/test_*control*.py", *_COMMANDS),
    "span_trio/span/controls.py": ("tests/unit/span/test_*control*.py", *_COMMANDS),
    "span_trio/lookout.py": ("tests/unit/test_looking.py",),
    "span_trio/homie/hearing.py": ("tests/unit/homie",),
    "span_trio/link/pings.py": ("tests/unit/link/test_session*.py", "tests/unit/link/test_barriers.py", *_COMMANDS),
    "span_trio/link": (
        "tests/unit/link",
        *(f"tests/unit/test_{what}.py" for what in ("closing*", "panel*", "reconnect*", "rotation")),
    ),
}
"""Where the tests of a file are, if not in the folder of its name or, of one that has none, in tests/unit itself."""


class Target(NamedTuple):
    """A file, and the line that is meant if not all are."""

    path: Path
    line: int | None


class Count(NamedTuple):
    """What became of the mutants of a file."""

    killed: int
    survived: int
    equivalent: int

    @property
    def share(self) -> float:
        """Of those that could be noticed, how many were; in percent."""
        return 100.0 * self.killed / ((self.killed + self.survived) or 1)


def targets(names: Iterable[str]) -> list[Target]:
    """What a command line means: folders, files, and lines of files."""
    found: list[Target] = []
    for name in names:
        path, _, line = name.partition(":")
        files = [Path(path)] if path.endswith(".py") else sorted(Path(path).rglob("*.py"))
        if not files or not all(each.is_file() for each in files):
            sys.exit(f"there is no Python in {path}")
        found += [Target(each, int(line) if line else None) for each in files]
    return found


def tests_of(path: Path) -> list[str]:
    """The files and folders of tests that know a file."""
    above = [path, *path.parents]
    named = next((TESTS[each.as_posix()] for each in above if each.as_posix() in TESTS), None)
    room = Path("tests/unit", *path.parts[1:2])
    patterns = named or ((room.as_posix(),) if room.is_dir() else ("tests/unit/test_*.py",))
    return sorted(str(found) for pattern in patterns for found in Path().glob(pattern))


def equivalent() -> dict[Key, str]:
    """The mutants that are known to be no mistakes, and why."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    return {Key(**{name: each[name] for name in Key._fields if name in each}): each["reason"] for each in listed}


def main(arguments: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a folder, a file, or a line as FILE:LINE")
    parser.add_argument("--sample", type=int, metavar="N", help="try only so many, drawn by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--at-least", type=float, default=100.0, metavar="PERCENT", help="to be noticed (100)")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="instead of those that the table names for the file")
    budget = "seconds that the tests of one mutant may take: the slow ones are left out (no limit)"
    parser.add_argument("--budget", type=float, default=math.inf, metavar="S", help=budget)
    parser.add_argument("--all", action="store_true", help="print those that are noticed, too, and by which test")
    options = parser.parse_args(arguments)

    meant = targets(options.paths)
    found = [
        mutant
        for target in meant
        for mutant in mutants(target.path, target.path.read_text(encoding="utf-8"))
        if target.line in {None, mutant.line}
    ]
    known = equivalent()
    stale = _stale(known, found, {target.path for target in meant if target.line is None})
    if options.sample is not None and options.sample < len(found):
        drawn = random.Random(options.seed).sample(range(len(found)), options.sample)  # noqa: S311 - no secret
        found = [found[index] for index in sorted(drawn)]

    preload()
    counts = _try(found, known, options.tests, options.budget, tell_all=options.all)
    for path in sorted(counts):
        _tell(str(path), counts[path])
    total = Count(*(sum(column) for column in zip(*counts.values(), strict=True)))
    _tell("all", total)
    for key in stale:
        print(f"{EQUIVALENT.name} lists what is no mutant (any more): {key}")
    return 1 if stale or total.share < options.at_least else 0


def _try(
    found: list[Mutant], known: Collection[Key], tests: Sequence[str] | None, budget: float, *, tell_all: bool
) -> dict[Path, Count]:
    trials: dict[Mutant, Trial] = {}
    began = time.monotonic()

    def tell(mutant: Mutant, trial: Trial) -> None:
        if trial.by is None:
            print(f"SURVIVED{'' if trial.seconds else ' (no test reaches it)'}: {mutant}", flush=True)
        elif tell_all:
            print(f"killed by {trial.by}, {trial.seconds:.1f} s: {mutant}", flush=True)

    meant = [mutant for mutant in found if mutant.key not in known]
    groups: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant in meant:
        groups.setdefault(tuple(tests or tests_of(mutant.path)), []).append(mutant)
    for named, group in groups.items():
        reach, tried = try_in_functions(group, named, budget, tell)
        for mutant, trial in zip(group, tried, strict=True):
            if trial is None:
                trials[mutant] = try_at_import(mutant, reach)
                tell(mutant, trials[mutant])
            else:
                trials[mutant] = trial
    print(f"{len(found)} mutants, {time.monotonic() - began:.0f} s")
    counts: dict[Path, Count] = {}
    for path in {mutant.path: None for mutant in found}:
        here = [mutant for mutant in found if mutant.path == path]
        survived = sum(mutant in trials and trials[mutant].by is None for mutant in here)
        same = sum(mutant.key in known for mutant in here)
        counts[path] = Count(len(here) - survived - same, survived, same)
    return counts


def _stale(known: Collection[Key], found: list[Mutant], whole: set[Path]) -> list[Key]:
    keys = {mutant.key for mutant in found}
    return [key for key in known if Path(key[0]) in whole and key not in keys]


def _tell(name: str, count: Count) -> None:
    killed, survived, same = count
    print(f"{name:36} {killed:5} killed {survived:4} survived {same:4} equivalent  {count.share:5.1f} %")


if __name__ == "__main__":
    sys.exit(main())
