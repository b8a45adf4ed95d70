"""Whether the tree itself is heard, or only what a broker has retained of it. Pure: time is an argument.

What is retained says what was, not that anybody is there. So where silence is limited, only values that are published
while we listen count: one in each epoch, one behind a ``$state`` other than ready, and one after another from then on.
One that was long in coming is of a tree that has come back: what was known before it leaves doubt. Where the broker had
not one value of the tree, its values are on their way, one by one, and have a stated time to come.
"""

from __future__ import annotations

from typing import Final

from ..enums import ConnectionReason
from .edges import Obstacle

__all__ = ["Hearing"]

_NEVER: Final = float("inf")
_SURPRISE: Final = 5.0  # s: a panel speaks once a second; one that took longer for its first value was not there before


class Hearing:
    """What was heard in one epoch.

    Args:
        limit: how long (s) no value may come; infinity: whatever is retained is enough.
        settle: how long (s) the first values may take to come, from the first one on.
    """

    def __init__(self, limit: float, *, settle: float) -> None:
        self.counts: Final = limit != _NEVER
        """Whether silence is limited."""
        self.replayed: bool = False
        """Whether the broker had a value of the tree."""
        self._limit = limit
        self._settle = settle
        self._unheard = self.counts
        self._since = _NEVER  # until when the first value is no surprise
        self._silent = False
        self._heard_at = _NEVER
        self._arrived_at = _NEVER  # when the values of a tree that was not replayed must have come
        self._announced = False  # it was there before it was ready

    def begin(self, now: float) -> None:
        """The replay is over: from now on a value would be heard."""
        self._since = min(self._since, now)

    def turn(self, now: float, *, ready: bool) -> None:
        """The ``$state`` is another. Who was not ready has to speak; and who is ready then has said all there is."""
        if not ready:
            self._unheard = self._announced = self.counts
            self._since = now
        elif self._announced:
            self._arrived_at = _NEVER

    def leaves_doubt(self, now: float) -> bool:
        """Whether a value now would come after a silence behind which all others have to come again, too."""
        return self._silent or (self._unheard and now > self._since + _SURPRISE)

    def hear(self, now: float) -> bool:
        """A value was published. Returns whether that ends a silence."""
        ended = self._unheard or self._silent
        if not self.replayed:
            self.replayed, self._arrived_at = True, now + self._settle
        self._unheard = self._silent = False
        self._heard_at = now
        return ended

    def tick(self, now: float) -> None:
        """It is one of the `deadlines`, or later."""
        self._silent = self._silent or (not self._unheard and now >= self._heard_at + self._limit)
        if now >= self._arrived_at:
            self._arrived_at = _NEVER

    @property
    def deadlines(self) -> list[float]:
        """When to call `tick`, s."""
        silence = _NEVER if self._silent or self._unheard else self._heard_at + self._limit
        return [time for time in (silence, self._arrived_at) if time != _NEVER]

    @property
    def obstacle(self) -> Obstacle | None:
        """What is in the way; ``None`` for nothing."""
        if self._unheard:
            return Obstacle(ConnectionReason.SILENT_PANEL, "no value yet")
        if self._silent:
            return Obstacle(ConnectionReason.SILENT_PANEL, f"no value for {self._limit:g} s")
        if self._arrived_at != _NEVER:
            return Obstacle(ConnectionReason.REPLAY, "the first values are coming")
        return None
