"""The replay barrier: how one knows that a subscription's replay is complete.

A broker answers in order, so the PINGRESP behind a SUBACK comes after the whole replay. Pings that were sent while the
barrier is outstanding must be answered too, so that a dropped PINGRESP is never mistaken for another. If there is none,
and no retained message for `QUIET`, the barrier has failed. So it has behind a replay of `REPLAY_LIMIT` messages:
mosquitto drops what it cannot queue, and may queue PINGRESP again. Over WebSocket it has nothing left to send then: a
replay that has come so far is waited for only `CUT_QUIET`: to ask again for less costs milliseconds, and no doubt.
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

CUT_QUIET: Final = 0.1
"""Seconds, as `QUIET`, behind one message less, which is where a replay over WebSocket stops."""

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
    _patience: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)  # of who waits for the barrier
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
            self._patience.deadline = self._quiet_at

    @property
    def _is_full(self) -> bool:
        """Whether the replay has come as far as it does where the rest is dropped."""
        return self._retained >= REPLAY_LIMIT - 1

    @property
    def _quiet_at(self) -> float:
        """When it has been quiet for long enough."""
        return self._heard_at + (CUT_QUIET if self._is_full else QUIET)

    def pong(self) -> bool:
        """A PINGRESP came; whether that was the barrier."""
        if self._acknowledged.is_set():
            self._pongs += 1
            if self._pongs >= self.pings:
                self._done.set()
        return self._done.is_set()

    async def wait_acknowledged(self, patience: float) -> bool:
        """Whether the SUBACK came within so many seconds."""
        with trio.move_on_after(patience):
            await self._acknowledged.wait()
        await _last_look(self._acknowledged)
        return self._acknowledged.is_set()

    async def wait(self) -> bool:
        """Whether the barrier came. Quiet is counted from the SUBACK, and anew from every retained message."""
        while not self._done.is_set():
            self._patience = trio.CancelScope(deadline=self._quiet_at)
            with self._patience:
                await self._done.wait()
            if not self._is_full:  # or nothing is lost by giving up early
                await _last_look(self._done)
            if trio.current_time() >= self._quiet_at:
                break
        return self._done.is_set()


async def _last_look(event: trio.Event) -> None:
    """Wait for what may have come while we did not look."""
    if not event.is_set():
        with trio.move_on_after(LAST_LOOK):
            await event.wait()
