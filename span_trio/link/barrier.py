"""The replay barrier: how one knows that a subscription's replay is complete.

A broker answers in order, so the PINGRESP behind a SUBACK comes after the whole replay. Pings that were sent while the
barrier is outstanding must be answered too, so that a dropped PINGRESP is never mistaken for another. If there is none,
and no retained message for `QUIET`, the barrier has failed. So it has behind a replay of `REPLAY_LIMIT` messages:
mosquitto drops what it cannot queue, and may queue PINGRESP again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import trio

from ..homie import Message

__all__ = ["LAST_LOOK", "QUIET", "REPLAY_LIMIT", "Barrier"]

QUIET: Final = 2.0
"""Seconds without a retained message after which a replay is over, or stuck."""

REPLAY_LIMIT: Final = 1000
"""Retained messages that mosquitto queues for a client; of a longer replay, some may be missing."""

LAST_LOOK: Final = 0.1
"""Seconds that are waited before anything is given up: it may have come while nobody looked."""


@attrs.define
class Barrier:
    """Of the one subscription that is outstanding; ``mid`` is its packet id."""

    mid: int
    dispensable: str = ""
    """What is asked for, if the session goes on without it where it is refused."""
    pings: int = 0
    """PINGREQs sent since the SUBSCRIBE."""
    _pongs: int = attrs.field(default=0, init=False)  # PINGRESPs received since the SUBACK
    _retained: int = attrs.field(default=0, init=False)  # messages of the replay so far
    _heard_at: float = attrs.field(default=0.0, init=False)  # when the SUBACK, or the newest retained message, came
    _acknowledged: trio.Event = attrs.field(factory=trio.Event, init=False)
    _done: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def has_passed(self) -> bool:
        """Of one that has come: whether nothing can be missing."""
        return self._retained < REPLAY_LIMIT

    def acknowledge(self) -> None:
        """The SUBACK came."""
        self._heard_at = trio.current_time()
        self._acknowledged.set()

    def count(self, batch: Iterable[Message]) -> None:
        """Messages came, some of them of the replay."""
        retained = sum(message.retain for message in batch)
        if retained:
            self._retained += retained
            self._heard_at = trio.current_time()

    def pong(self) -> bool:
        """A PINGRESP came; whether that was the barrier."""
        if self._acknowledged.is_set():
            self._pongs += 1
            if self._pongs >= self.pings:
                self._done.set()
        return self._done.is_set()

    async def wait_acknowledged(self, patience: float) -> bool:
        """Whether the SUBACK came within so many seconds."""
        return await _came(self._acknowledged, trio.current_time() + patience)

    async def wait(self) -> bool:
        """Whether the barrier came. Quiet is counted from the SUBACK, and anew from every retained message."""
        heard_at = None
        while not self._done.is_set() and heard_at != self._heard_at:
            heard_at = self._heard_at
            await _came(self._done, heard_at + QUIET)
        return self._done.is_set()


async def _came(event: trio.Event, deadline: float) -> bool:
    """Whether it came in time, or did so while we did not look."""
    with trio.CancelScope(deadline=deadline):
        await event.wait()
    if not event.is_set():
        with trio.move_on_after(LAST_LOOK):
            await event.wait()
    return event.is_set()
