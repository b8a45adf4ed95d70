"""The battery of a house: what it holds, and what it wants to do on the grid. Pure; time is an argument.

The rules of this room:

* Power is positive when it charges. It is a multiple of `RESOLUTION_W`, like all power in the house, and never beyond
  what the inverter can do or what is in the battery.
* What it holds follows its power, less the losses: charging 1 kWh and taking it out again leaves 0.9.
* On the grid it works for self-consumption: it takes the surplus of the sun, gives it back in the evening, and keeps a
  reserve. It follows the house with a small delay, so that the grid still feels each step.
"""

from __future__ import annotations

import math
from typing import Final

from .devices import BessSpec

__all__ = ["RESOLUTION_W", "Battery"]

RESOLUTION_W: Final = 0.125
_EFFICIENCY: Final = math.sqrt(0.9)  # one way
_WS_PER_KWH: Final = 3_600_000
_FLOOR: Final = 0.02  # what it never gives away, of its size
_FOLLOW: Final = 0.35  # of a step in the house, in a second
_DEAD_BAND_W: Final = 30
_RECHARGE_W: Final = 1000.0  # from the grid, after an outage that went below the reserve


class Battery:
    """A battery with its inverter.

    Attributes:
        held_ws: energy that it holds, Ws.
    """

    def __init__(self, spec: BessSpec) -> None:
        self.spec: Final = spec
        self.size_ws: Final = spec.nameplate_kwh * _WS_PER_KWH
        self._reserve_ws: Final = self.size_ws * spec.reserve_percent / 100
        self.held_ws: float = self.size_ws * spec.soc_percent / 100
        self._wish_w = 0.0

    @property
    def soc_percent(self) -> float:
        """State of charge, %."""
        return 100 * self.held_ws / self.size_ws

    @property
    def empty(self) -> bool:
        """Nothing more to give."""
        return self.held_ws <= self.size_ws * _FLOOR

    @property
    def room_w(self) -> float:
        """What it can take for a second."""
        return _down(min(self.spec.power_w, (self.size_ws - self.held_ws) / _EFFICIENCY))

    @property
    def reach_w(self) -> float:
        """What it can give for a second."""
        return _down(self.spec.power_w)

    def follow(self, surplus_w: float) -> float:
        """On the grid, and a second has passed: what it does about the surplus (or lack, negative) of the house, W."""
        self._wish_w += (surplus_w - self._wish_w) * _FOLLOW
        wish = self._wish_w if abs(self._wish_w) > _DEAD_BAND_W else 0.0
        if self.held_ws < 0.98 * self._reserve_ws:
            wish = max(wish, _RECHARGE_W)
        if wish > 0:
            return min(_down(wish), self.room_w)
        spare = max(self.held_ws - self._reserve_ws, 0.0) * _EFFICIENCY
        return 0.0 - _down(min(-wish, self.spec.power_w, spare))

    def rest(self) -> None:
        """It has nothing to follow: no grid, or no connection to the house."""
        self._wish_w = 0.0

    def work(self, watts: float, seconds: float) -> None:
        """It has charged (or discharged, negative) at this power for so long."""
        stored = watts * _EFFICIENCY if watts > 0 else watts / _EFFICIENCY
        self.held_ws = min(max(self.held_ws + stored * seconds, 0.0), self.size_ws)


def _down(watts: float) -> float:
    return watts // RESOLUTION_W * RESOLUTION_W
