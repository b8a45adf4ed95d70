"""The pings of one link: which of them was answered.

An answer says nothing of whose it is. A broker answers in order, but one under load drops answers; and an answer may
lie in the kernel for as long as we do not read. So a ping stays in the line until there were as many answers, however
late it is, and none is ever taken for younger than it is. Nobody waits any more for one that is due for `QUIET`: its
answer is missing. From then on, a ping that somebody waits for is sent so many times more as answers are missing, so
that there is one for it in any case; until there were as many answers as pings, after all. Of a broker that has dropped
more of them than that no answer of the same link proves anything.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import trio

from .barrier import QUIET

__all__ = ["Ping", "Pings"]

_MISSING_AT_MOST: Final = 255  # so many times more a ping is sent
_HELD: Final = 2 * (_MISSING_AT_MOST + 1)  # the missing ones and the newest ping; of older ones, only how many


class Ping(NamedTuple):
    """One that was sent, and who waits for it."""

    sent_at: float
    waiter: trio.Event | None


class Pings:
    """Those that were sent and not answered yet."""

    def __init__(self) -> None:
        self.asked_at: float = float("-inf")
        """When the newest one that is known to be answered was sent, on trio's clock."""
        self._older = 0  # than those in the line
        self._line: deque[Ping] = deque()
        self._missing = 0  # answers that were dropped, it seems

    @property
    def is_awaited(self) -> bool:
        """Whether an answer is due."""
        return bool(self._line) and trio.current_time() <= self._line[-1].sent_at + QUIET

    def send(self, waiter: trio.Event | None) -> int:
        """Another one, and who waits for it. Returns how many to send."""
        now = trio.current_time()
        late = [ping for ping in self._line if ping.sent_at + QUIET < now]
        for ping in late:
            if ping.waiter is not None:
                ping.waiter.set()
        self._missing = min(max(self._missing, self._older + len(late)), _MISSING_AT_MOST)
        line = [*(ping._replace(waiter=None) for ping in late), *list(self._line)[len(late) :]]
        more = 0 if waiter is None else self._missing
        self._line = deque([*line, Ping(now, waiter), *[Ping(now, None)] * more])
        while len(self._line) > _HELD and self._line[0].waiter is None:
            self._line.popleft()
            self._older += 1
        return 1 + more

    def answer(self) -> Ping | None:
        """A PINGRESP came. Returns what it answers, if that is known; one that nobody asked for proves nothing."""
        if self._older:
            self._older -= 1
            return None
        if not self._line:
            return None
        ping = self._line.popleft()
        self.asked_at = ping.sent_at
        if not self._line:
            self._missing = 0
        return ping
