"""The short rows of the table of faults; ``nox -s faults`` runs all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_short_faults_are_recovered_from() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.run", "--quick"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "broker SIGKILL" in done.stdout
