"""Whether we have looked lately at what has come: a loop that was blocked has not, nor has a machine that slept.

What is known then is of before. So it is in doubt until a ping that was sent afterwards is answered, for whatever lay
in the kernel comes before that answer.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LOOK_EVERY", "Lookout"]

LOOK_EVERY: Final = 2.0
"""Seconds that a task may sleep at most that has to look."""

_BLOCKED: Final = 5.0  # s without a look; a busy machine shall not be taken for a blocked loop
_SLEPT: Final = 5.0  # s by which the clocks part; those that set the time change it by less


class Lookout:
    """When it was looked last, on two clocks."""

    def __init__(self) -> None:
        self._at = float("inf")
        self._drift = 0.0

    def look(self, now: float, drift: float) -> str | None:
        """Somebody looks: why what was known before is in doubt, if it is.

        Args:
            now: on a clock that goes on while the loop is blocked, s.
            drift: by how much the wall clock is ahead of one that stands still while the machine sleeps, s.
        """
        gap, slept = now - self._at, drift - self._drift
        is_new = self._at == float("inf")
        self._at, self._drift = now, drift
        if is_new:
            return None
        if gap > _BLOCKED:
            return f"its loop was blocked for {gap:.0f} s"
        return f"the machine slept, or its clock was set, by {slept:.0f} s" if abs(slept) > _SLEPT else None
