"""What the tests make of a mutant.

Most mutants are within a function. For these, pytest collects the tests once, in a process that then forks for every
mutant: the child replaces the function's code, and runs the tests that reach the mutant. The others change what a
module does when it is imported, so they need a process that has not imported it yet. That one is forked, too, from a
process that has already imported what takes longest: pytest, trio, httpx and hypothesis.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final, NamedTuple, NoReturn

import attrs
import coverage
import pytest

from .operators import Mutant

__all__ = ["Reach", "Trial", "preload", "try_at_import", "try_in_functions"]

_LIBRARIES: Final = (
    *("attrs", "httpx", "hypothesis.stateful", "paho.mqtt.client", "rich.console", "trio.testing", "trio_websocket"),
    *("trustme", "zeroconf"),
)
_MEMORY: Final = 4 * 2**30  # bytes; a mutant that never stops collecting something must not take the machine with it
_PATIENCE: Final = 3  # times as long as the tests take without a mutant
_STARTING: Final = 20.0  # s that importing and collecting may take
_BESIDES: Final = 2.0  # s that any test may take besides
_IDLE: Final = 8.0  # s without computing anything: it waits for ever
_TIME: Final = 99  # the exit code then
_CANNOT: Final = 98  # the exit code of one whose code cannot be put in place


class Trial(NamedTuple):
    """How it ended. ``by``: the test that noticed, or what else did; ``None``: nobody."""

    by: str | None
    seconds: float


def preload() -> None:
    """Import what all processes need."""
    for name in _LIBRARIES:
        importlib.import_module(name)


_Lines = dict[str, dict[int, frozenset[str]]]
"""File -> line -> the tests that run it."""


@attrs.frozen
class Reach:
    """Which test runs which line, how long each takes, s, and how long those of one mutant may."""

    lines: _Lines
    seconds: dict[str, float]
    budget: float
    _kills: Counter[str] = attrs.field(factory=Counter[str])

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that could notice it, the likeliest and fastest first."""
        lines = self.lines.get(str(mutant.path.resolve()), {})
        wanted = lines if mutant.reach is None else [line for line in mutant.reach if line in lines]
        found = frozenset[str]().union(*(lines[line] for line in wanted))
        fastest = sorted(found, key=lambda test: (self.seconds[test], test))
        spent = accumulate(self.seconds[test] for test in fastest)
        within = [test for test, until in zip(fastest, spent, strict=True) if until <= self.budget] or fastest[:1]
        return sorted(within, key=lambda test: -self._kills[test])

    def note(self, test: str) -> None:
        """It has noticed something: it may notice more."""
        self._kills[test] += 1

    def limit(self, test: str) -> float:
        """How long it may take, s of computing."""
        return _BESIDES + _PATIENCE * self.seconds[test]


# --- in functions -----------------------------------------------------------------------------------------------------


Told = Callable[[Mutant, Trial], object]


def try_in_functions(
    found: Sequence[Mutant], tests: Sequence[str], budget: float, tell: Told
) -> tuple[Reach, list[Trial | None]]:
    """Try those that are in a function; returns which test reaches what, and a trial each, ``None`` for the others.

    Raises:
        RuntimeError: without a mutant, the tests do not pass.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result")

        def run() -> int:
            session = _Session(found, budget, tell, folder)
            code = _pytest(tests, folder, session)
            result.write_bytes(pickle.dumps((session.reach, session.trials)))
            return code

        status = _wait(_forked(run, quiet=False))
        if status != 0:
            raise RuntimeError("without a mutant, the tests do not pass")
        reach, trials = pickle.loads(result.read_bytes())  # noqa: S301 - our own
        return reach, trials


class _Teller:
    """A plugin: with a mutant, the process ends with the first test that fails; without one, that is printed."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.told: int | None = None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.told is not None:
            signal.setitimer(signal.ITIMER_PROF, self.reach.limit(nodeid))  # and then the process ends

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.told is not None:
            os.write(self.told, report.nodeid.encode())
            os._exit(1)
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.failed:
            print(f"{report.nodeid}\n{report.longreprtext}", flush=True)


class _Session(_Teller):
    """A plugin: instead of running the tests once, it does so for each mutant."""

    def __init__(self, found: Sequence[Mutant], budget: float, tell: Told, folder: str) -> None:
        super().__init__(Reach({}, {}, budget))
        self.trials: list[Trial | None] = []
        self._found = found
        self._tell = tell
        self._folder = Path(folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        lines, seconds = _measure(list(items.values()), {mutant.path for mutant in self._found}, self._folder)
        self.reach = attrs.evolve(self.reach, lines=lines, seconds=seconds)
        functions = _functions({str(mutant.path.resolve()) for mutant in self._found})
        gc.freeze()
        for mutant in self._found:
            tests = self.reach.tests(mutant)

            def run(mutant: Mutant = mutant, tests: list[str] = tests) -> int:
                return self._run(mutant, [items[test] for test in tests], functions)

            trial = _tried(self, run, tests) if mutant.is_in_function else None
            if trial is not None:
                self._tell(mutant, trial)
            self.trials.append(trial)
        return True

    def _run(self, mutant: Mutant, items: list[pytest.Item], functions: dict[_Name, FunctionType]) -> int:
        path = str(mutant.path.resolve())
        try:
            for name, code in _outermost(compile(mutant.tree(), path, "exec", dont_inherit=True)):
                if functions[name].__code__ != code:
                    functions[name].__code__ = code
        except (KeyError, ValueError):  # the latter: its closure would be another
            return _CANNOT
        _run_items(items)
        return 0


def _run_items(items: list[pytest.Item]) -> None:
    for item, after in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)


_Name = tuple[str, str, int]
"""Of a function that is no other's: file, qualified name, and first line."""


def _outermost(code: CodeType) -> Iterator[tuple[_Name, CodeType]]:
    """The functions of a module and of its classes."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_flags & 0x2:  # CO_NEWLOCALS: a class's body has none
                yield _name(inner), inner
            else:
                yield from _outermost(inner)


def _name(code: CodeType) -> _Name:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _functions(paths: set[str]) -> dict[_Name, FunctionType]:
    """Those that live, of these files."""
    living = (each for each in gc.get_objects() if isinstance(each, FunctionType))
    return {_name(each.__code__): each for each in living if each.__code__.co_filename in paths}


def _measure(items: list[pytest.Item], paths: set[Path], folder: Path) -> tuple[_Lines, dict[str, float]]:
    """Run these tests as they are.

    Raises:
        RuntimeError: they do not pass.
    """
    data, times = folder / "coverage", folder / "times"
    include = [str(path.resolve()) for path in paths]

    def run() -> int:
        os.environ["COVERAGE_CORE"] = "ctrace"  # the other one knows no contexts
        measured = coverage.Coverage(str(data), config_file=False, include=include)
        seconds: dict[str, float] = {}
        measured.start()
        for item, after in zip(items, [*items[1:], None], strict=True):
            began = time.process_time()
            measured.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            seconds[item.nodeid] = time.process_time() - began
        measured.stop()
        measured.save()
        times.write_bytes(pickle.dumps(seconds))
        return int(items[0].session.testsfailed > 0)

    if not items or _wait(_forked(run, quiet=False)) != 0:
        raise RuntimeError("without a mutant, the tests do not pass")
    return _contexts(data), pickle.loads(times.read_bytes())  # noqa: S301 - our own


def _contexts(data: Path) -> _Lines:
    found = coverage.CoverageData(str(data))
    found.read()
    lines: _Lines = defaultdict(dict)
    for path in found.measured_files():
        for line, contexts in found.contexts_by_lineno(path).items():
            lines[path][line] = frozenset(contexts) - {""}
    return dict(lines)


# --- at import --------------------------------------------------------------------------------------------------------


class _Chosen(_Teller):
    """A plugin: runs some tests, in this order."""

    def __init__(self, reach: Reach, tests: Sequence[str]) -> None:
        super().__init__(reach)
        self._places = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._places]
        items[:] = sorted(chosen, key=lambda item: self._places[item.nodeid])


class _Mutated(importlib.machinery.SourceFileLoader):
    """Loads one module from a tree instead of its file."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._name = ".".join(mutant.path.with_suffix("").parts).removesuffix(".__init__")
        self._path = str(mutant.path.resolve())
        self._tree = mutant.tree()

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Mutated(fullname, self._path, self._tree)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def try_at_import(mutant: Mutant, reach: Reach) -> Trial:
    """Run the tests that could notice it, until one does, on a library that is imported with it."""
    tests = reach.tests(mutant)
    plugin = _Chosen(reach, tests)
    with tempfile.TemporaryDirectory() as folder:

        def run() -> int:
            sys.meta_path.insert(0, _Finder(mutant))
            return _pytest(list(dict.fromkeys(test.partition("::")[0] for test in tests)), folder, plugin)

        trial = _tried(plugin, run, tests)
    assert trial is not None
    return trial


# --- processes --------------------------------------------------------------------------------------------------------


def _pytest(tests: Sequence[str], folder: str, plugin: object) -> int:
    quiet = ["--quiet", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:terminalreporter"]
    how = ["--numprocesses=0", f"--basetemp={Path(folder, 'basetemp')}", "--capture=no"]
    # Of libraries that were imported before; and what takes long is noticed here.
    ours = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-o", "faulthandler_timeout=0"]
    return int(pytest.main([*quiet, *how, *ours, *tests], plugins=[plugin]))


def _tried(teller: _Teller, run: Callable[[], int], tests: Sequence[str]) -> Trial | None:
    """Run that, within limits, in a process; ``None`` if it cannot be."""
    if not tests:
        return Trial(None, 0.0)
    heard, teller.told = os.pipe()
    began = time.monotonic()

    def limited() -> int:
        signal.setitimer(signal.ITIMER_PROF, _STARTING)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        threading.Thread(target=_end_when_idle, daemon=True).start()
        return run()

    status = _wait(_forked(limited, quiet=True))
    os.close(teller.told)
    teller.told = None
    with os.fdopen(heard, "rb") as pipe:
        test = pipe.read().decode()
    if test:
        teller.reach.note(test)
    by = test or _end(status)
    return None if by == "" else Trial(by, time.monotonic() - began)


def _end_when_idle() -> None:
    """In a thread: the clock on the wall tells nothing on a busy machine."""
    before = -1.0
    while (computed := time.process_time()) > before + 0.01 * _IDLE:
        before = computed
        time.sleep(_IDLE)
    os._exit(_TIME)


def _end(status: int) -> str | None:
    """What noticed, if no test did; empty: it could not be tried."""
    if os.WIFSIGNALED(status):
        return "time" if os.WTERMSIG(status) == signal.SIGPROF else f"signal {os.WTERMSIG(status)}"
    match os.WEXITSTATUS(status):
        case 0:
            return None
        case 1 | 2 | 3:  # tests could not be collected, or pytest itself fell over
            return "import"
        case code if code == _TIME:
            return "time"
        case code if code == _CANNOT:
            return ""
        case code:
            raise RuntimeError(f"pytest could not begin: {code}")


def _forked(run: Callable[[], int], *, quiet: bool) -> int:
    """Do that in another process; its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork() or _child(run, quiet=quiet)


def _child(run: Callable[[], int], *, quiet: bool) -> NoReturn:
    code = 3
    try:
        os.setpgid(0, 0)
        if quiet:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(null, descriptor)
        code = run()
        sys.stdout.flush()
    finally:
        os._exit(code)


def _wait(pid: int) -> int:
    """How it ended."""
    try:
        return os.waitpid(pid, 0)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):  # what it started, or itself
            os.killpg(pid, signal.SIGKILL)
