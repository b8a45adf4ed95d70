"""When to ask again for devices of which more came than fits: later and later, unless it fitted for a while (I8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["Retries"]

FIRST_PAUSE: Final = 2.0  # s, until a device that has overflowed is asked for again; then twice as long, until …
LONGEST_PAUSE: Final = 60.0


class Retries:
    """The devices that have overflowed, and when to ask for each. Times are on the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._ask_again: dict[str, float] = {}
        self._pauses: dict[str, tuple[float, float]] = {}  # how long it was last, and until when

    @property
    def times(self) -> Iterable[float]:
        """When something is due."""
        return self._ask_again.values()

    def update(
        self, overflowed: Collection[str], *, members: Collection[str], complete: Collection[str], now: float
    ) -> None:
        """Some ``members`` of the tree are ``overflowed``: ask again for those whose replay is ``complete``."""
        for name in overflowed:
            if name not in self._ask_again and name in complete:
                pause, until = self._pauses.get(name, (0.0, 0.0))
                calm = now > until + LONGEST_PAUSE
                pause = FIRST_PAUSE if calm or not pause else min(2 * pause, LONGEST_PAUSE)
                self._ask_again[name] = now + pause
                self._pauses[name] = pause, self._ask_again[name]
        if self._pauses:
            self._pauses = {name: pause for name, pause in self._pauses.items() if name in members}
            self._ask_again = {name: at for name, at in self._ask_again.items() if name in overflowed}

    def due(self, now: float) -> list[str]:
        """The devices to be asked for now."""
        return [device for device, at in self._ask_again.items() if at <= now]

    def postpone(self, device: str, now: float) -> None:
        """A request for it is outstanding, whose barrier would pass for the new one's."""
        self._ask_again[device] = now + FIRST_PAUSE

    def asked(self, device: str) -> None:
        """It is asked for, and may fit."""
        del self._ask_again[device]
