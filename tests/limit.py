"""A test that hangs fails after `LIMIT`, and tells where it stood: each task of trio's, and each thread.

Where an exception can be raised, one is; where trio's own code runs, in which that would break trio for all later tests
too, the test is cancelled. A test that goes on all the same is killed `GRACE` later, with its process: pytest-xdist
reports it and starts another one, and with ``-n0`` the run is over. What hangs so badly that no code of Python's runs
any more is killed by `faulthandler_timeout` (pyproject.toml), and so is all that hangs on Windows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trio

LIMIT: Final = 400.0
"""How long a test may take with its fixtures, s; ``@pytest.mark.limit(600)`` for one that needs more.

Hypothesis shrinks what it has found for up to 300 s: it shall tell of it.
"""

GRACE: Final = 20.0
"""How long it may take to end after that, s; ``limit(1, grace=1)`` for one that is to be killed."""

_STOOD: Final = pytest.StashKey[str]()


class HungError(BaseException):
    """Nothing catches this but what catches everything."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"limit(seconds, grace=…): the test fails after so long, not after {LIMIT:g} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not hasattr(signal, "setitimer"):
        return (yield)
    mark = item.get_closest_marker("limit")
    seconds: float = mark.args[0] if mark else LIMIT
    grace: float = mark.kwargs.get("grace", GRACE) if mark else GRACE
    alarms = itertools.count()
    before = signal.signal(signal.SIGALRM, lambda *_: _end(item, seconds) if next(alarms) == 0 else _kill(item))
    signal.setitimer(signal.ITIMER_REAL, seconds, grace)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _STOOD in item.stash:  # whatever has become of the exception
        report.outcome = "failed"
        report.longrepr = item.stash[_STOOD]
        del item.stash[_STOOD]
    return report


def pytest_enter_pdb() -> None:
    """Whoever debugs takes the time that it takes."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


# --- what happens at the limit ---


def _end(item: pytest.Item, seconds: float) -> None:
    head = f"{item.nodeid} took longer than {seconds:g} s, its limit. It stood here:\n\n"
    item.stash[_STOOD] = "".join((head, *_tasks(), *_threads()))
    if trio.lowlevel.currently_ki_protected():
        *_, main = trio.lowlevel.current_root_task().child_nurseries  # type: ignore[union-attr]
        trio.lowlevel.current_trio_token().run_sync_soon(main.cancel_scope.cancel)
    else:
        raise HungError(head)


def _kill(item: pytest.Item) -> None:
    try:
        capture: Any = item.config.pluginmanager.getplugin("capturemanager")
        capture.suspend_global_capture(in_=True)
        printed = "".join(capture.read_global_capture())
        stands = "".join((*_tasks(), *_threads()))
        report = f"\n\n{item.stash[_STOOD]}\nIt did not end, and is killed here:\n\n{stands}\n{printed}\n"
        os.write(2, report.encode(errors="replace"))
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    finally:
        os._exit(1)


def _children() -> Iterator[int]:
    """What this process has started, where the system tells: brokers, say, which would live on."""
    for thread in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):
            yield from map(int, thread.read_text().split())


# --- where it stands ---


def _tasks() -> Iterator[str]:
    """The tasks of the trio loop that runs in this thread, if one does, each below its parent."""
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        return
    waiting = [(root, 0)]
    while waiting:
        task, depth = waiting.pop()
        if task is not None:
            yield from _stack(f"task {task.name}", traceback.StackSummary.extract(task.iter_await_frames()), depth)
            waiting += [(child, depth + 1) for nursery in task.child_nurseries for child in nursery.child_tasks]


def _threads() -> Iterator[str]:
    for number, frame in sys._current_frames().items():
        yield from _stack(f"thread {number}", traceback.extract_stack(frame))


def _stack(title: str, frames: traceback.StackSummary, depth: int = 0) -> Iterator[str]:
    """Lines: what is ours, and of other people's code what ours has called."""
    yield f"{'  ' * depth}{title}\n"
    by_us = True
    for frame in frames:
        ours = "site-packages" not in frame.filename
        if ours or by_us:
            yield f"{'  ' * depth}  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}\n"
        by_us = ours
