"""Telling somebody of every command: one at a time, in order, in the background, and delaying nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from .background import unprotected
from .command import CommandRecord
from .wiretext import get_logger

__all__ = ["Audit", "Auditor"]

_log = get_logger("span_trio.commands")

Audit: TypeAlias = Callable[[CommandRecord], Awaitable[None]]
"""Told of every command, when its call has ended."""

_HELD: Final = 256


class Auditor:
    """Tells ``audit`` what it is told.

    Args:
        audit: see `Audit`; ``None``: nobody wants to know.
        grace: s, for what has not been heard yet when the end comes.
    """

    def __init__(self, audit: Audit | None, *, grace: float) -> None:
        self.unheard: int = 0
        """Records that were dropped because ``audit`` was too slow."""
        self.expected: int = 0
        """Calls that have not ended: what they will say is waited for at the end."""
        self._audit = audit
        self._grace = grace
        self._is_ending = False
        self._untold = 0  # queued, or being told
        self._hearing = trio.CancelScope(shield=True)
        self._records, self._to_hear = trio.open_memory_channel[CommandRecord](_HELD)

    def tell(self, record: CommandRecord) -> None:
        """A call has ended."""
        if self._audit is None:
            return
        try:
            self._records.send_nowait(record)
            self._untold += 1
        except trio.WouldBlock:
            self.unheard += 1
            _log.warning("audit is too slow: it will not hear of %s", record.command)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Until cancelled; what ``audit`` is hearing then, and what it has not heard yet, has the grace."""
        if self._audit is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, self._audit)
            try:
                await trio.sleep_forever()
            finally:
                self._is_ending = True
                self._hearing.deadline = trio.current_time() + self._grace
                if self._has_heard_all:
                    self._hearing.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _hear(self, audit: Audit) -> None:
        with self._hearing:
            while not (self._is_ending and self._has_heard_all):
                record = await self._to_hear.receive()
                try:
                    await unprotected(audit, record)
                except Exception:  # noqa: BLE001 - of the user's making: the next one is told all the same
                    _log.exception("audit failed on %s", record.command)
                self._untold -= 1

    @property
    def _has_heard_all(self) -> bool:
        return not self.expected and not self._untold
