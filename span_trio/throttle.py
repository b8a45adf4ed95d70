"""When to publish a snapshot. Pure: time is an argument.

The rules of this room:

* ``interval`` is a floor between publishes, with 10 % slack, so that a panel that speaks once a second is not aliased.
* A publish waits for `QUIET` without a message, but not longer than `LONGEST_WAIT`: a burst is never cut. (A throttle
  that publishes on the leading edge publishes the first message of each burst, and the rest a second later.)
* What was whole before the floor was reached (a straggler, the second half of a torn burst) waits a little beyond it,
  for the next burst: published at the floor, it would move the floor into the gap, and every burst from then on would
  be published nearly an interval late.
* What somebody may be waiting for (an enum or boolean on the wire) is published at once, at most `URGENT_PER_SECOND`
  times a second, and does not move the floor: the rest of its burst is not late for it.
* Interval 0: at once, always.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["LONGEST_WAIT", "QUIET", "URGENT_PER_SECOND", "Throttle"]

QUIET: Final = 0.015
LONGEST_WAIT: Final = 0.100
URGENT_PER_SECOND: Final = 10
_SLACK: Final = 0.9
_PATIENCE: Final = 0.2  # of an interval, beyond the floor …
_LONGEST_PATIENCE: Final = 1.0  # … but a panel speaks once a second


class Throttle:
    """Says when what has changed is due. ``interval`` (s) may be changed at any time."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._floor_from = float("-inf")  # the last publish that was not an urgent one
        self._urgent_at: deque[float] = deque(maxlen=URGENT_PER_SECOND)
        self._began = 0.0  # the burst that was heard last
        self._heard = 0.0
        self.reset()

    def reset(self) -> None:
        """Nothing is waiting any more."""
        self._since: float | None = None  # when what is waiting began to wait
        self._urgent = False

    def changed(self, at: float, *, urgent: bool) -> None:
        """Messages came, and something is waiting to be published."""
        if self._since is None:
            self._since = self._began = at
        elif at > self._heard + QUIET:
            self._began = at
        self._heard = at
        self._urgent = self._urgent or urgent

    @property
    def due(self) -> float | None:
        """When to publish what is waiting (may be in the past); ``None`` when nothing is."""
        if self._since is None:
            return None
        if self.interval == 0:
            return self._since
        floor = self._floor_from + _SLACK * self.interval
        whole = min(self._heard + QUIET, max(self._began, floor) + LONGEST_WAIT)
        regular = floor + min(_PATIENCE * self.interval, _LONGEST_PATIENCE) if whole < floor else whole
        return min(regular, self._urgent_from) if self._urgent else regular

    @property
    def _urgent_from(self) -> float:
        """When the next urgent publish may be."""
        full = len(self._urgent_at) == URGENT_PER_SECOND
        return self._urgent_at[0] + 1.0 if full else float("-inf")

    def published(self, at: float) -> None:
        """What was waiting has been published."""
        if self._urgent and self._urgent_from <= at:
            self._urgent_at.append(at)
        else:
            self._floor_from = at
        self.reset()
