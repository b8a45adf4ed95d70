"""Which way a battery's own meter counts, where the firmware does not tell.

The rules of this room:

* The firmware's build tells it: discharging is positive from r202639 on, charging before. Nothing is compared then.
* Without a readable build, the panel's own flow tells it, whose sign has never changed: where meter and flow agree, the
  meter counts charging. One comparison decides at first. A later one counts only if it is of one burst, that is if both
  readings have come anew; and what was decided is decided again only when such bursts contradict it repeatedly. So a
  pair that was torn (one reading of before, one of after) changes nothing for long.
* A comparison with a zero in it says nothing. Until there is one, the meter is taken to count charging, as old
  publishers do.
* What was compared belongs to the link, and not to the builder of snapshots: one that is made anew on the same link is
  given it, and so builds the same snapshots (I4).
"""

from __future__ import annotations

from typing import Final

__all__ = ["CONTRADICTIONS", "BatterySign"]

SIGN_BUILD: Final = 202639
"""The battery's own meter counts discharging as positive from this build on; before, charging (changelog r202639)."""
CONTRADICTIONS: Final = 3
"""So many bursts in a row that contradict what was decided overrule it."""


class BatterySign:
    """What the comparisons of one link have told."""

    def __init__(self) -> None:
        self._firmware: str | None = None
        self._charging: bool | None = None  # what was decided, if anything was
        self._doubts = 0  # how many bursts in a row contradict it

    def observe(self, firmware: str | None, power: float | None, flow: float | None, *, one_burst: bool) -> None:
        """Take notice of what meter and panel say now.

        Args:
            firmware: the panel's firmware version; another one is another publisher.
            power: W, as the battery's meter says.
            flow: W, as the panel says: positive is charging.
            one_burst: both have come anew since the last time.
        """
        if firmware != self._firmware:
            self._firmware, self._charging, self._doubts = firmware, None, 0
        if not power or not flow:
            return
        charging = (power > 0) == (flow > 0)
        if self._charging is None:
            self._charging = charging
        elif one_burst:
            self._doubts = 0 if charging == self._charging else self._doubts + 1
            if self._doubts == CONTRADICTIONS:
                self._charging, self._doubts = charging, 0

    def counts_charging(self, build: int | None) -> bool:
        """Whether the battery's meter counts charging as positive, with firmware of this build, if it has one."""
        return self._charging is not False if build is None else build < SIGN_BUILD
