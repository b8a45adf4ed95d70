"""The short rows of the tables of faults; ``nox -s faults`` runs all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.limit(400)  # rows that were only slow are played again


def _quick(module: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", module, "--quick"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=330,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    return done.stdout


def test_the_short_faults_are_recovered_from() -> None:
    assert "broker SIGKILL" in _quick("tests.faults.run")


def test_what_commands_say_under_faults_is_true_of_what_the_device_received() -> None:
    assert "link frozen" in _quick("tests.faults.commands")
