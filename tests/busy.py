"""Times that tests demand, on a machine that may be busy with other things."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["PATIENCE", "allowed"]

PATIENCE: Final = 60.0
"""How long to wait for what must come, s. It only ends a test that would hang: `allowed` is for what must be fast."""


def allowed(seconds: float) -> float:
    """Return how long something may take that must take less than ``seconds`` on an idle machine.

    Where more processes want to run than there are cores, each of the several that a test consists of waits for its
    turn, and so it may take longer.
    """
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, 2 * crowd)
