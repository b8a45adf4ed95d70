"""Where the power of a house comes from, and what the panel knows about it. Pure; time is an argument.

The rules of this room:

* What is true (is there a grid, does the battery carry the house) and what the panel knows are two things: of the
  grid's return it learns from the battery alone, and the link to the battery may be down.
* The loss of the grid it sees by itself, in the voltage.
* What somebody asserts stands until the battery speaks again: for `RECLAIM_S` while the link is up, until the link is
  back while it is down, and for good where there is no battery. What firmware r202633 and later calls the asserted
  islanding state outlives the link's return by `HOLD_S`.
"""

from __future__ import annotations

import math
from typing import Final

from ...enums import DominantPowerSource, GridState
from .switchboard import NO_SUCH, Answer, CommandResult

__all__ = ["HOLD_S", "RECLAIM_S", "SILENCE_S", "Sources"]

RECLAIM_S: Final = 10.0
"""How long an assertion stands against a battery that knows better."""
HOLD_S: Final = 30.0
"""How long the battery must have been heard before an asserted islanding state is void."""
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
        asserted_islanding: what somebody says instead of the battery that is not heard; ``None``: nothing.
        known: the dominant power source, as long as nobody asserts another.
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
        self.asserted_islanding: GridState | None = None
        self.known: DominantPowerSource = DominantPowerSource.GRID
        self._asserted: DominantPowerSource | None = None
        self._asserted_until = math.inf
        self._islanding_until = math.inf
        self._silent_at = math.inf

    @property
    def dominant(self) -> DominantPowerSource:
        """The dominant power source, as the panel has it; loads are shed when it is not GRID."""
        if self._asserted is not None:
            return self._asserted
        if self.asserted_islanding is GridState.ON_GRID:
            return DominantPowerSource.GRID
        if self.asserted_islanding is not None and self.known is DominantPowerSource.GRID:
            return DominantPowerSource.BATTERY
        return self.known

    @property
    def deadline(self) -> float:
        """When to call `tick`, Unix s."""
        return min(self._asserted_until, self._islanding_until, self._silent_at)

    def observe(self, *, carried: bool) -> None:
        """Something about the grid or the battery has changed.

        Args:
            carried: whether the battery carries the house.
        """
        own = DominantPowerSource.BATTERY if carried else DominantPowerSource.NONE
        if self.link:
            self.known = DominantPowerSource.GRID if self.grid else own
            self.grid_state = GridState.ON_GRID if self.grid else GridState.OFF_GRID
        elif not self.grid:
            self.known = own
        self.revision += 1

    def judge_dominant(self, source: str) -> CommandResult:
        """What a user who says that this is the source would be told, and what would stand then."""
        if source not in DominantPowerSource.__members__:
            return CommandResult(Answer.INVALID, self.dominant)
        return CommandResult(Answer.UNCHANGED if self.dominant == source else Answer.DONE, source)

    def judge_islanding(self, state: str) -> CommandResult:
        """What a user who asserts this islanding state would be told, and what would stand then.

        A battery that is heard knows better, and without one there is nothing to assert (facts on 1.x, section 4).
        """
        if not self._has_battery:
            return NO_SUCH
        before = self.asserted_islanding
        if state not in {GridState.ON_GRID, GridState.OFF_GRID}:
            return CommandResult(Answer.INVALID, before or "NONE")
        if self.connected:
            return CommandResult(Answer.NOT_NOW, before or "NONE")
        return CommandResult(Answer.UNCHANGED if before == state else Answer.DONE, state)

    def assert_dominant(self, source: DominantPowerSource, now: float) -> None:
        """Somebody says what the source is."""
        self._asserted = source
        self._asserted_until = now + RECLAIM_S if self._has_battery and self.link else math.inf
        self.revision += 1

    def assert_islanding(self, state: GridState) -> None:
        """Somebody says whether this is an island, while the battery is not heard (facts on 1.x, section 4)."""
        self.asserted_islanding = state
        self.revision += 1

    def tick(self, now: float) -> None:
        """The deadline has passed."""
        if now >= self._asserted_until:
            self._asserted, self._asserted_until = None, math.inf
        if now >= self._islanding_until:
            self.asserted_islanding, self._islanding_until = None, math.inf
        if now >= self._silent_at:
            self.connected, self._silent_at, self._islanding_until = False, math.inf, math.inf
        self.revision += 1

    def link_lost(self, now: float, after: float = SILENCE_S) -> None:
        """The battery has gone silent, which the panel notices after so many seconds."""
        if self.link:
            self.link = False
            self._silent_at = now + after

    def link_back(self, now: float) -> None:
        """The battery speaks again, and what it says goes."""
        if self.asserted_islanding is not None and not self.connected:
            self._islanding_until = now + HOLD_S
        self.link = self.connected = True
        self._silent_at = math.inf
        self._asserted, self._asserted_until = None, math.inf
