"""How the table of faults judges times: a busy machine may make a row slow once, and a defect does each time."""

from __future__ import annotations

import pytest
import trio

from tests.faults import run
from tests.faults.lab import Lab, Result
from tests.faults.rows import Row

SLOW, FAST = Result(offline=[2.0]), Result(offline=[0.5])


async def never(_: Lab) -> None:
    raise NotImplementedError


ROW = Row("a fault", never, offline=1.0)


def played(monkeypatch: pytest.MonkeyPatch, *results: Result, quick: bool = True) -> tuple[list[str], int]:
    """The failures of a row that is played with these results, and how many of them were asked for."""
    left = [Result(offline=[*result.offline], failures=[*result.failures]) for result in results]

    async def play(*_: object) -> Result:
        await trio.lowlevel.checkpoint()
        return left.pop(0)

    monkeypatch.setattr(run, "can_unshare", lambda: True)
    monkeypatch.setattr(run._Runner, "_play", play)
    runner = run._Runner(1, quick=quick)
    trio.run(runner.run, [ROW])
    return runner.results[ROW.name].failures, len(results) - len(left)


def test_a_fast_row_is_played_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, FAST, SLOW) == ([], 1)


def test_a_row_that_was_slow_once_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(monkeypatch, SLOW, SLOW, FAST) == ([], 3)


def test_a_row_that_is_slow_each_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    (failure,), count = played(monkeypatch, SLOW, SLOW, SLOW, FAST)
    assert failure == "to the offline edge: 2.00 s, and 1 s is the bound"
    assert count == 3


def test_a_row_that_is_wrong_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Result(offline=[2.0], failures=["wrong"])
    assert played(monkeypatch, wrong, FAST)[0][0] == "wrong"
    assert played(monkeypatch, wrong, FAST)[1] == 1
    assert played(monkeypatch, SLOW, Result(offline=[0.5], failures=["wrong"]), FAST) == (["wrong"], 2)


def test_the_whole_table_gives_no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, count = played(monkeypatch, SLOW, FAST, quick=False)
    assert (len(failures), count) == (1, 1)
