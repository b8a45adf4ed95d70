"""How long to wait before the next attempt. Pure: chance is an argument."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

__all__ = ["CEILING", "SILENT_CEILING", "SOON", "Backoff"]

CEILING: Final = 2.0
"""s, where somebody answers: a panel that boots refuses for a while, and is wanted back at once."""

SILENT_CEILING: Final = 8.0
"""s, where nobody answers, or nothing but a better password would help."""

SOON: Final = 0.2
"""s, where there is something new to try."""


class Backoff:
    """Full jitter: a random time up to a bound that doubles with each failure, up to a ceiling. The first is at once.

    Random from zero and not around the bound, so that many clients of one broker that has come back spread out.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:  # noqa: S311 - no secret
        self._chance: Final = chance
        self._failures = 0

    def reset(self) -> None:
        """A session has succeeded."""
        self._failures = 0

    def pause(self, *, ceiling: float) -> float:
        """How long to wait, s, after one more failure or the end of a session."""
        bound = 0.0 if self._failures == 0 else min(ceiling, SOON * 2 ** min(self._failures - 1, 16))
        self._failures += 1
        return bound * self._chance()
