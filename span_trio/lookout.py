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
    """When whoever takes in what comes had its last turn, on two clocks."""

    def __init__(self) -> None:
        self._at = float("inf")
        self._drift = 0.0

    def look(self, now: float, drift: float, *, has_turn: bool) -> str | None:
        """Why what is known is in doubt, if it is; once for each time that nobody looked for too long.

        Args:
            now: on a clock that goes on while the loop is blocked, s.
            drift: by how much the wall clock is ahead of one that stands still while the machine sleeps, s.
            has_turn: whether it is the turn of whoever takes in what comes. Asking what is known is not looking.
        """
        gap, slept, why = now - self._at, drift - self._drift, None
        if gap > _BLOCKED:
            why = f"its loop was blocked for {gap:.0f} s"
        elif abs(slept) > _SLEPT and self._at != float("inf"):
            why = f"the machine slept, or its clock was set, by {slept:.0f} s"
        if has_turn or why is not None:
            self._at, self._drift = now, drift
        return why
