"""What long fuzz runs keep to: their time, and the shares that they demand of runs."""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter

import pytest
from hypothesis import settings

from tests.fuzz import bounds, commands_run, commands_sisters, run, shell
from tests.fuzz.bounds import batches, enough

DICE = settings(deadline=None, database=None, derandomize=False)


@pytest.mark.parametrize(
    ("count", "runs", "share", "is_enough"),
    [
        (0, 0, 0.5, False),
        (10, 1_000, 0.01, True),
        (7, 1_000, 0.01, True),  # which failed, though it comes in every fourth thousand
        (1, 1_000, 0.01, True),
        (0, 1_000, 0.01, False),
        (150, 20_000, 0.01, True),
        (149, 20_000, 0.01, False),
        (5, 30, 0.5, True),
        (4, 30, 0.5, False),
        (70, 50, 0.5, True),  # counted several times in a run
    ],
)
def test_a_share_is_demanded_as_far_as_chance_allows(count: int, runs: int, share: float, is_enough: bool) -> None:
    assert enough(count, runs, share) == is_enough


def test_no_batch_begins_when_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(time, "time", lambda: next(now))
    assert list(batches(1000, until=3)) == [25, 25, 25]
    assert list(batches(60, until=100)) == [25, 25, 10]


def test_a_process_that_is_late_does_nothing() -> None:
    """It looked once a piece: 1,000 schedules, or all examples of the shell."""
    assert run.work(1000, 0.0, 1000, 0) == run.Share(0, 0, Counter(), Counter(), "")
    assert commands_run.work(DICE, 1000, 0.0, 0) == commands_run.Share(Counter(), Counter(), "")


def test_a_process_ends_soon_when_it_gets_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch takes a second, by this clock."""
    now = itertools.count()
    monkeypatch.setattr(time, "time", lambda: next(now))
    played: list[int] = []
    monkeypatch.setattr(commands_run, "run_all", lambda profile: played.append(profile.max_examples))
    monkeypatch.setattr(commands_sisters, "run_all", lambda profile: played.append(-profile.max_examples))
    monkeypatch.setattr(shell, "run_one", lambda _, profile: played.append(profile.max_examples))
    commands_run.work(DICE, 10**6, 3.0, 0)
    assert played == [25, -25, 25, 25]
    played.clear()
    shell.run_all(DICE, 10**6, 6.0)
    assert played == [25, 25]


@pytest.mark.slow
def test_no_piece_begins_when_it_is_late() -> None:
    """Each would start a process to find that it is late."""
    assert sorted(bounds.in_processes(abs, 5, 2, until=time.time() + 3600)) == [0, 1, 2, 3, 4]
    assert list(bounds.in_processes(abs, 5, 2, until=0.0)) == []


def test_mutations_take_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--mutations", "--minutes", "1"])
    with pytest.raises(SystemExit):
        run.main()
