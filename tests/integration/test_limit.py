"""A test that hangs is ended with its broker; `tests/unit/test_limit.py` has the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.busy import PATIENCE
from tests.unit.test_limit import run_hanging


def test_a_hanging_test_is_killed_with_its_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "pid"
    monkeypatch.setenv("SPAN_TRIO_TEST_PID", str(told))
    done = run_hanging("tests/integration/hanging.py", "-n0")
    assert "test_with_a_broker took longer than 3 s, its limit." in done.stderr
    assert "await trio.to_thread.run_sync(threading.Event().wait)" in done.stderr
    broker = int(told.read_text())
    deadline = time.monotonic() + PATIENCE
    while _lives(broker):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert done.returncode == 1


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
