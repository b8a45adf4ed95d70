"""What draws power in a house, all together: its circuits, what is behind its downstream lugs, what is ahead of it.

The rules of this room:

* A load is stepped when it is due, and when its voltage comes or goes; between, a second costs a few look-ups.
* Indices are those of the spec's circuits; the next one is what is behind the downstream lugs, and then come the loads
  ahead of the panel, which meters outside of it measure.
* All power that is drawn here is a multiple of 1/8 W and never negative: what produces (sun, battery) is not here.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from typing import Final

from ...enums import LockState
from .charger import Charger
from .devices import LoadKind, MeasuredOutside
from .loads import LOADS, Load, Moment, watts_of
from .spec import HouseSpec
from .weather import LocalClock, outdoor_temperature

__all__ = ["Household"]

_SCATTERS: Final = 4096  # a power of two; scatter is looked up, not thrown
_MOST: Final = 2.5  # standard deviations; no ripple is so large that a reading could get below 0
# Added to a float and taken off again, this rounds it to a multiple of 1/8. Three times as fast as round(), for which a
# second in a house has no time.
_TO_EIGHTH: Final = 1.5 * 2.0**49


class Household:
    """The loads of a house.

    Args:
        spec: the house.
        dice: makes dice of its own for each name.

    Attributes:
        chargers: by node id.
        until: when a load is due next, Unix s.
        revision: goes up whenever a charger says something else.
    """

    def __init__(self, spec: HouseSpec, dice: Callable[[str], random.Random]) -> None:
        self._spec: Final = spec
        self._clock: Final = LocalClock(spec.time_zone, spec.longitude)
        self.chargers: Final[dict[str, Charger]] = {}
        self._loads: Final = self._furnish(dice)
        self._rows = [(0.0, 0.0, 0)] * len(self._loads)  # level and scatter (W), and where scatter is looked up
        throw = dice("scatter")
        self._scatter: Final = _scatter()
        self._places: Final = [int(throw.random() * _SCATTERS) for _ in self._loads]
        self.until: float = -math.inf
        self.revision: int = 0

    def _furnish(self, dice: Callable[[str], random.Random]) -> list[Load]:
        spec, loads = self._spec, list[Load]()
        chargers = {evse.feed: evse for evse in spec.evse}
        for circuit in spec.circuits:
            own = dice(circuit.name)
            if circuit.name in chargers:
                lock = LockState.UNLOCKED if spec.hardware_3 else None
                load = Charger(chargers[circuit.name], own, circuit.volts, lock)
                self.chargers[load.spec.node_id] = load
                loads.append(load)
            else:
                loads.append(LOADS[spec.load_of(circuit)].make(own, watts_of(spec, circuit)))
        behind = spec.feedthrough
        loads.append(
            _load(dice("feedthrough"), LoadKind.NONE, None)
            if behind is None
            else _load(dice("feedthrough"), behind.load, behind.watts)
        )
        loads.extend(
            _load(dice(meter.device_id), meter.load or LoadKind.OUTLETS, meter.watts)
            for meter in spec.outside_meters
            if meter.measures is MeasuredOutside.LOAD
        )
        return loads

    def moment(self, t: int) -> Moment:
        """A second, as the household sees it."""
        spec, clock = self._spec, self._clock
        outdoors = outdoor_temperature(t, spec.latitude, spec.longitude)
        return Moment(t, clock.second_of_day(t), clock.weekend(t), outdoors)

    def run(self, t: int) -> None:
        """Step the loads that are due."""
        now = self.moment(t)
        for index, load in enumerate(self._loads):
            if load.until <= t:
                said = _said(load)
                load.step(now)
                self._note(index, said)
        self.until = min(load.until for load in self._loads)

    def _note(self, index: int, said: object) -> None:
        """A load has changed; before, it said this."""
        load = self._loads[index]
        level = load.watts if load.live else 0.0
        self._rows[index] = level, level * load.ripple, self._places[index]
        self.until = min(self.until, load.until)
        if _said(load) != said:
            self.revision += 1

    def set_live(self, index: int, t: int, *, live: bool) -> None:
        """A load gets voltage, or loses it; nothing happens if it is so already."""
        load = self._loads[index]
        if load.live is not live:
            said = _said(load)
            load.power(self.moment(t), live=live)
            self._note(index, said)

    def set_ahead_live(self, t: int, *, live: bool) -> None:
        """The loads ahead of the panel have voltage, or have not."""
        for index in range(len(self._spec.circuits) + 1, len(self._loads)):
            self.set_live(index, t, live=live)

    def set_limit(self, node_id: str, t: int, amps: int) -> None:
        """The user limits a charger, A."""
        charger = self.chargers[node_id]
        said = _said(charger)
        charger.set_limit(self.moment(t), amps)
        self._note(self._loads.index(charger), said)

    def set_lock(self, node_id: str, t: int, state: LockState) -> None:
        """The user locks or unlocks a charger."""
        charger = self.chargers[node_id]
        said = _said(charger)
        charger.set_lock(self.moment(t), state)
        self._note(self._loads.index(charger), said)

    def draw(self, t: int) -> list[float]:
        """What each draws in this second, W."""
        scatter, mask = self._scatter, _SCATTERS - 1
        return [
            level + spread * scatter[(t + place) & mask] + _TO_EIGHTH - _TO_EIGHTH
            for level, spread, place in self._rows
        ]


def _load(dice: random.Random, kind: LoadKind, watts: float | None) -> Load:
    """What is on no circuit."""
    found = LOADS[kind]
    return found.make(dice, found.watts if watts is None else watts)


@functools.cache
def _scatter() -> tuple[float, ...]:
    """Readings about their level, in standard deviations; the same for all houses, which begin at different places."""
    throw = random.Random("scatter")  # noqa: S311 - no secret
    return tuple(min(max(throw.gauss(0, 1), -_MOST), _MOST) for _ in range(_SCATTERS))


def _said(load: Load) -> object:
    """What a charger publishes."""
    return (load.status, load.lock_state, load.limit_a) if isinstance(load, Charger) else None
