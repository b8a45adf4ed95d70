"""What draws power in a house: each load goes through the day by itself. Pure: time is an argument.

The rules of this room:

* A load holds a level (``watts``, >= 0) until it is stepped again, which is at ``until``. Between its steps it costs
  nothing.
* ``ripple`` is the share of the level by which the meter's readings scatter about it.
* Chance comes from the load's own dice: what one circuit does never depends on another.
* What it would draw is its business; whether it has voltage (``live``) is the house's, which tells it.
"""

from __future__ import annotations

import abc
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import attrs

from .devices import LoadKind
from .spec import CircuitSpec, HouseSpec
from .weather import DAY

__all__ = ["LOADS", "Load", "LoadType", "Moment", "watts_of"]

_HOUR: Final = 3600


class Moment(NamedTuple):
    """A moment at a place: Unix s, seconds since local midnight, whether it is weekend, °C out of doors."""

    t: int
    second: int
    weekend: bool
    outdoors_c: float

    @property
    def hour(self) -> float:
        """Local time, h."""
        return self.second / _HOUR

    @property
    def midnight(self) -> int:
        """When the day began, Unix s."""
        return self.t - self.second


class Load(abc.ABC):
    """A load. See the rules of the room."""

    watts: float = 0.0
    ripple: float = 0.0
    until: float = math.inf
    live: bool = True

    @abc.abstractmethod
    def step(self, now: Moment) -> None:
        """Set ``watts`` and ``until``."""

    def power(self, now: Moment, *, live: bool) -> None:
        """Voltage comes, or goes."""
        self.live = live


class Nothing(Load):
    """Nothing hangs on the circuit."""

    def step(self, now: Moment) -> None:
        """Nothing changes."""


# --- loads that come and go with people -------------------------------------------------------------------------------

_Curve = Sequence[float]  # 24 values, one at each full hour

_FLAT: Final[_Curve] = (1,) * 24
_LIGHTS: Final[_Curve] = (
    *(0.06, 0.03, 0.02, 0.02, 0.03, 0.15, 0.45, 0.4, 0.12, 0.06, 0.04, 0.04),
    *(0.04, 0.04, 0.05, 0.08, 0.2, 0.45, 0.75, 0.9, 0.95, 0.85, 0.55, 0.2),
)
_AT_HOME: Final[_Curve] = (
    *(0.08, 0.04, 0.03, 0.03, 0.04, 0.1, 0.35, 0.5, 0.3, 0.2, 0.2, 0.3),
    *(0.35, 0.25, 0.2, 0.25, 0.35, 0.55, 0.65, 0.7, 0.7, 0.6, 0.4, 0.15),
)
_AT_WORK: Final[_Curve] = (
    *(0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.05, 0.2, 0.7, 0.95, 0.95, 0.9),
    *(0.7, 0.9, 0.95, 0.95, 0.9, 0.7, 0.3, 0.25, 0.3, 0.25, 0.1, 0.05),
)


def _at(curve: _Curve, hour: float) -> float:
    whole = int(hour)
    before, after = curve[whole % 24], curve[(whole + 1) % 24]
    return before + (after - before) * (hour - whole)


@attrs.define
class Presence(Load):
    """On with a probability that goes with the time of the day, at changing levels, and a base load beside it."""

    dice: random.Random
    most: float
    base: float
    curve: _Curve
    segment: tuple[float, float]
    least: float = 0.25
    ripple: float = 0.01
    watts: float = 0.0
    until: float = 0.0

    def step(self, now: Moment) -> None:
        """Throw the dice."""
        dice = self.dice
        on = dice.random() < _at(self.curve, now.hour)
        share = dice.uniform(self.least, 1.0)
        self.watts = self.most * (self.base * dice.uniform(0.9, 1.1) + (1 - self.base) * share * on)
        self.until = now.t + dice.uniform(*self.segment)


# --- loads that cycle by themselves -----------------------------------------------------------------------------------


@attrs.define
class Cycle(Load):
    """On and off by a thermostat, or a float, of its own; harder at work in the kitchen's hours."""

    dice: random.Random
    on_watts: float
    on: tuple[float, float]
    off: tuple[float, float]
    idle_watts: float = 0.0
    running: bool = True
    ripple: float = 0.015
    watts: float = 0.0
    until: float = 0.0

    def step(self, now: Moment) -> None:
        """The other half of the cycle."""
        dice = self.dice
        first = self.until == 0.0
        self.running = dice.random() < 0.4 if first else not self.running
        self.watts = self.on_watts * dice.uniform(0.92, 1.08) if self.running else self.idle_watts
        span = dice.uniform(*(self.on if self.running else self.off))
        if not self.running:
            span *= 1.2 - 0.5 * _at(_AT_HOME, now.hour)
        self.until = now.t + (span * dice.random() if first else span)


@attrs.define
class Thermostat(Load):
    """A heat pump that holds the house between 20 and 25 °C, whatever the weather."""

    dice: random.Random
    on_watts: float
    indoors_c: float = attrs.field(init=False)
    running: int = 0
    """1: cools; -1: heats; 0: rests."""
    ripple: float = 0.02
    watts: float = 0.0
    until: float = 0.0

    STEP = 60
    HEAT_BELOW, COOL_ABOVE, BAND = 20.0, 25.0, 0.6
    PULL = 4.5 / _HOUR  # °C/s that it moves
    LEAK = 1 / (9 * _HOUR)  # per s and °C of difference
    PEOPLE = 0.3 / _HOUR  # °C/s from people, sun and everything else in here
    REST_W = 18.0  # its electronics

    def __attrs_post_init__(self) -> None:
        self.indoors_c = self.dice.uniform(self.HEAT_BELOW, self.COOL_ABOVE)

    def step(self, now: Moment) -> None:
        """Feel the temperature."""
        gain = (now.outdoors_c - self.indoors_c) * self.LEAK + self.PEOPLE
        self.indoors_c += self.STEP * (gain - self.running * self.live * self.PULL)
        if self.indoors_c > self.COOL_ABOVE + self.BAND / 2:
            self.running = 1
        elif self.indoors_c < self.HEAT_BELOW - self.BAND / 2:
            self.running = -1
        elif self.HEAT_BELOW + self.BAND / 2 < self.indoors_c < self.COOL_ABOVE - self.BAND / 2:
            self.running = 0
        effort = 1 + 0.01 * (now.outdoors_c - 25) * self.running  # the hotter (or colder), the harder
        self.watts = self.on_watts * max(effort, 0.7) if self.running else self.REST_W
        self.until = now.t + self.STEP


# --- loads that somebody starts ---------------------------------------------------------------------------------------


class Habit(NamedTuple):
    """At about this hour, on this share of the days, runs a programme."""

    hour: float
    spread_h: float
    weekday: float
    weekend: float


_Programme = Sequence[tuple[float, float, float]]
"""Phases: shortest and longest (minutes), and the share of the load's power."""

_OVEN: Final[_Programme] = ((9, 13, 1.0), *((1.5, 2.5, 0.02), (1.2, 2.0, 1.0)) * 9)
_MICROWAVE: Final[_Programme] = ((1, 5, 1.0),)
_DISHWASHER: Final[_Programme] = ((4, 6, 0.08), (12, 16, 1.0), (25, 35, 0.1), (10, 14, 0.95), (20, 30, 0.02))
_WASHER: Final[_Programme] = ((3, 5, 0.1), *((0.8, 1.2, 0.55), (0.3, 0.5, 0.05)) * 14, (6, 8, 1.0))
_DRYER: Final[_Programme] = ((12, 18, 1.0), *((1.5, 2.5, 0.06), (2.5, 4, 1.0)) * 5, (3, 5, 0.06))
_SHOWER: Final[_Programme] = ((14, 35, 1.0),)
_REHEAT: Final[_Programme] = ((3, 6, 1.0),)
_POOL: Final[_Programme] = ((330, 390, 1.0),)

_COOKING: Final = (Habit(7.4, 0.4, 0.15, 0.35), Habit(12.4, 0.5, 0.15, 0.5), Habit(18.4, 0.6, 0.8, 0.75))
_SNACKS: Final = tuple(
    Habit(hour, 0.5, share, share) for hour, share in ((7.2, 0.7), (8.3, 0.3), (12.5, 0.5), (15.5, 0.3), (18.6, 0.8))
)
_SHOWERS: Final = (Habit(6.6, 0.4, 0.95, 0.4), Habit(8.6, 0.6, 0.4, 0.9), Habit(21.4, 0.7, 0.6, 0.6))
_REHEATS: Final = tuple(Habit(hour, 0.8, 0.9, 0.9) for hour in (1.5, 4.2, 11.8, 15.2, 18.4))


@attrs.define
class Appliance(Load):
    """Runs programmes as the habits of the house have it; planned at midnight, day by day."""

    dice: random.Random
    most: float
    programmes: Sequence[tuple[Sequence[Habit], _Programme]]
    idle: float = 0.0
    ripple: float = 0.01
    plan: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]])
    """What is to come: (when, W), the next one last."""
    planned_until: int = 0
    watts: float = 0.0
    until: float = 0.0

    def step(self, now: Moment) -> None:
        """Do what the plan says."""
        if now.t >= self.planned_until:
            self._make_plan(now)
        while self.plan and self.plan[-1][0] <= now.t:
            self.watts = self.plan.pop()[1]
        self.until = min(self.plan[-1][0] if self.plan else math.inf, self.planned_until)

    def _make_plan(self, now: Moment) -> None:
        first = not self.planned_until
        if first:
            self.watts = self.idle
        starts: list[tuple[float, _Programme]] = []
        for habits, programme in self.programmes:
            for habit in habits:
                wanted = self.dice.random() < (habit.weekend if now.weekend else habit.weekday)
                hour = min(max(self.dice.gauss(habit.hour, habit.spread_h), 0.0), 23.9)
                start = now.midnight + hour * _HOUR
                if wanted and (first or start >= now.t):  # a day on which the clocks change is planned twice
                    starts.append((start, programme))
        plan = self.plan[::-1]
        free = plan[-1][0] if plan else -math.inf  # yesterday's last programme may reach into today
        for start, programme in sorted(starts, key=lambda item: item[0]):
            when = max(start, free)  # one after the other
            for least, most, share in programme:
                plan.append((when, self.most * share))
                when += 60 * self.dice.uniform(least, most)
            plan.append((when, self.idle))
            free = when
        self.plan = plan[::-1]
        self.planned_until = now.midnight + DAY


# --- the table --------------------------------------------------------------------------------------------------------


_Maker: TypeAlias = Callable[[random.Random, float], Load]


@attrs.frozen
class LoadType:
    """What there is to know of a kind of load.

    Attributes:
        watts: what one of them draws while it is on.
        hours: how many hours a day, all in all: what its energy counter begins with.
        power_factor: how much of its current does work.
        make: makes one, with these dice and this power.
    """

    watts: float
    hours: float
    power_factor: float
    make: _Maker


def _presence(
    base: float, curve: _Curve, segment_min: tuple[float, float], least: float = 0.25, ripple: float = 0.015
) -> _Maker:
    segment = segment_min[0] * 60, segment_min[1] * 60
    return lambda dice, watts: Presence(dice, watts, base, curve, segment, least, ripple)


def _cycle(on_min: tuple[float, float], off_min: tuple[float, float], idle: float) -> _Maker:
    on, off = (on_min[0] * 60, on_min[1] * 60), (off_min[0] * 60, off_min[1] * 60)
    return lambda dice, watts: Cycle(dice, watts, on, off, idle)


def _appliance(*programmes: tuple[Sequence[Habit], _Programme], idle: float = 0.0) -> _Maker:
    return lambda dice, watts: Appliance(dice, watts, programmes, idle)


LOADS: Final[Mapping[LoadKind, LoadType]] = {
    LoadKind.NONE: LoadType(0, 0, 1.0, lambda _dice, _watts: Nothing()),
    LoadKind.STANDBY: LoadType(30, 24, 0.7, _presence(1.0, _FLAT, (20, 90))),
    LoadKind.LIGHTS: LoadType(180, 4, 0.95, _presence(0.0, _LIGHTS, (6, 35), ripple=0.004)),
    LoadKind.OUTLETS: LoadType(220, 6, 0.9, _presence(0.06, _AT_HOME, (4, 40), 0.1)),
    LoadKind.OFFICE: LoadType(260, 9, 0.85, _presence(0.12, _AT_WORK, (10, 60), 0.4, 0.03)),
    LoadKind.FRIDGE: LoadType(150, 9, 0.85, _cycle((11, 17), (20, 34), 2.5)),
    LoadKind.SUMP_PUMP: LoadType(800, 0.3, 0.8, _cycle((0.3, 0.6), (25, 90), 0.0)),
    LoadKind.HVAC: LoadType(3200, 5, 0.9, Thermostat),
    LoadKind.WATER_HEATER: LoadType(4500, 1.6, 1.0, _appliance((_SHOWERS, _SHOWER), (_REHEATS, _REHEAT))),
    LoadKind.OVEN: LoadType(3400, 0.7, 1.0, _appliance((_COOKING, _OVEN), idle=2.5)),
    LoadKind.MICROWAVE: LoadType(1250, 0.15, 0.95, _appliance((_SNACKS, _MICROWAVE), idle=2.0)),
    LoadKind.DISHWASHER: LoadType(1300, 0.6, 1.0, _appliance(((Habit(20.2, 0.7, 0.8, 0.9),), _DISHWASHER), idle=1.0)),
    LoadKind.WASHER: LoadType(550, 0.4, 0.85, _appliance(((Habit(9.5, 1.0, 0.35, 0.8),), _WASHER), idle=1.0)),
    LoadKind.DRYER: LoadType(5200, 0.4, 1.0, _appliance(((Habit(10.8, 1.0, 0.35, 0.75),), _DRYER), idle=1.0)),
    LoadKind.POOL_PUMP: LoadType(1600, 6, 0.9, _appliance(((Habit(9.5, 0.1, 1.0, 1.0),), _POOL), idle=4.0)),
}
"""Every kind of load."""


def watts_of(spec: HouseSpec, circuit: CircuitSpec) -> float:
    """What the load of a circuit draws while it is on, W."""
    if circuit.watts is not None:
        return circuit.watts
    return min(LOADS[spec.load_of(circuit)].watts, circuit.most_w)
