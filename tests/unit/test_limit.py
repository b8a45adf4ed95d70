"""Tests that hang fail, and say where they stood: those of `hanging.py`, in a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def run_hanging(file: str, *options: str) -> subprocess.CompletedProcess[str]:
    """As anybody runs tests here, with the configuration of all."""
    command = [sys.executable, "-m", "pytest", "-q", file, *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603


@pytest.mark.slow
def test_hanging_tests_fail_and_the_others_go_on() -> None:
    done = run_hanging("tests/unit/hanging.py", "-k", "forever or busy or child or property or fixture or good")
    assert "4 failed, 1 passed, 1 error in" in done.stdout
    assert done.returncode == 1
    assert "::test_forever took longer than 1 s, its limit. It stood here:" in done.stdout
    assert "task the one that never ends" in done.stdout
    assert "tests/unit/hanging.py:19 in sleep_in_a_nursery: async with trio.open_nursery() as nursery:" in done.stdout
    assert 'in test_child: subprocess.run(["sleep", "987654"], check=True)' in done.stdout
    assert "in hangs: threading.Event().wait()" in done.stdout


@pytest.mark.slow
def test_a_hanging_test_that_cannot_be_ended_is_killed_and_named() -> None:
    done = run_hanging("tests/unit/hanging.py", "--dist=load", "-k", "shielded or thread or stubborn")
    assert "3 failed in" in done.stdout
    assert done.returncode == 1
    for name, stood in (
        ("shielded", "await sleep_in_a_nursery()"),
        ("in_a_thread", "trio.run(trio.to_thread.run_sync, threading.Event().wait)"),
        ("stubborn", "time.sleep(1000)"),
    ):
        assert f"crashed while running 'tests/unit/hanging.py::test_{name}'" in done.stdout
        said = done.stderr.partition(f"::test_{name} took longer than 1 s, its limit. It stood here:")[2]
        assert f" in test_{name}: {stood}" in said.partition("It did not end, and is killed here:")[0]


@pytest.mark.slow
def test_without_workers_the_run_ends_with_the_test_that_cannot_be_ended() -> None:
    done = run_hanging("tests/unit/hanging.py", "-n0", "-k", "stubborn or good")
    assert " in test_stubborn: time.sleep(1000)" in done.stderr
    assert "It did not end, and is killed here:" in done.stderr
    assert done.returncode == 1
