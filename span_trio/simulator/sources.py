"""Where the power of a house comes from, and what the panel knows about it. Pure; time is an argument.

The rules of this room:

* What is true (is there a grid, does the battery carry the house) and what the panel knows are two things: of the
  grid's return it learns from the battery alone, and the link to the battery may be down.
* The loss of the grid it sees by itself, in the voltage.
* What somebody asserts stands until the battery speaks again: for `RECLAIM_S` while the link is up, until the link is
  back while it is down, and for good where there is no battery.
"""

from __future__ import annotations

import math
from typing import Final

from ..enums import DominantPowerSource, GridState

__all__ = ["RECLAIM_S", "SILENCE_S", "Sources"]

RECLAIM_S: Final = 10.0
"""How long an assertion stands against a battery that knows better."""
SILENCE_S: Final = 300.0
"""How long a battery is silent before it counts as not connected."""


class Sources:
    """What feeds a house.

    Args:
        has_battery: whether there is one that reports.

    Attributes:
        grid: whether there is a grid.
        grid_state: islanding, as the battery reported it last.
        link: whether the panel hears the battery.
        connected: whether the panel says that it does.
        deadline: when something here changes by itself, Unix s.
        revision: goes up whenever what the panel knows has changed.
    """

    def __init__(self, *, has_battery: bool) -> None:
        self._has_battery: Final = has_battery
        self.grid = True
        self.grid_state: GridState = GridState.ON_GRID
        self.link: bool = True
        self.connected: bool = True
        self.revision: int = 0
        self._known = DominantPowerSource.GRID
        self._asserted: DominantPowerSource | None = None
        self._asserted_until = math.inf
        self._silent_at = math.inf

    @property
    def dominant(self) -> DominantPowerSource:
        """The dominant power source, as the panel has it; loads are shed when it is not GRID."""
        return self._known if self._asserted is None else self._asserted

    @property
    def deadline(self) -> float:
        """When to call `tick`, Unix s."""
        return min(self._asserted_until, self._silent_at)

    def observe(self, *, carried: bool) -> None:
        """Something about the grid or the battery has changed.

        Args:
            carried: whether the battery carries the house.
        """
        own = DominantPowerSource.BATTERY if carried else DominantPowerSource.NONE
        if self.link:
            self._known = DominantPowerSource.GRID if self.grid else own
            self.grid_state = GridState.ON_GRID if self.grid else GridState.OFF_GRID
        elif not self.grid:
            self._known = own
        self.revision += 1

    def assert_dominant(self, source: DominantPowerSource, now: float) -> None:
        """Somebody says what the source is."""
        self._asserted = source
        self._asserted_until = now + RECLAIM_S if self._has_battery and self.link else math.inf
        self.revision += 1

    def tick(self, now: float) -> None:
        """The deadline has passed."""
        if now >= self._asserted_until:
            self._asserted, self._asserted_until = None, math.inf
        if now >= self._silent_at:
            self.connected, self._silent_at = False, math.inf
        self.revision += 1

    def link_lost(self, now: float) -> None:
        """The battery has gone silent."""
        if self.link:
            self.link = False
            self._silent_at = now + SILENCE_S

    def link_back(self) -> None:
        """The battery speaks again, and what it says goes."""
        self.link = self.connected = True
        self._silent_at = math.inf
        self._asserted, self._asserted_until = None, math.inf
