"""What is outside of a house: the time on its clocks, the sun, clouds, the temperature. Pure: time is an argument.

The rules of this room:

* ``t`` is Unix seconds. What depends on nothing else is a function; what has a past (clouds) is an object with dice of
  its own, and is stepped.
* Good to the eye, not to an astronomer: the sun stands within a degree of where it is.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import zoneinfo
from typing import Final

__all__ = ["Clouds", "LocalClock", "is_time_zone", "outdoor_temperature", "sun_height"]

DAY: Final = 86_400
_YEAR_D: Final = 365.2425
_TILT: Final = math.radians(23.44)
_QUARTER: Final = 900  # clocks are changed on a quarter of an hour, everywhere


def _zone(name: str) -> dt.tzinfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
        return None


def is_time_zone(name: str) -> bool:
    """Whether there is such a time zone; any name will do on a machine that knows no time zones."""
    return _zone(name) is not None or _zone("UTC") is None


class LocalClock:
    """Local time at a place; where its time zone is not known, by its longitude."""

    def __init__(self, time_zone: str, longitude: float) -> None:
        self._zone = _zone(time_zone) or dt.timezone(dt.timedelta(hours=round(longitude / 15)))
        self._quarter = -1
        self._offset = 0

    def second_of_day(self, t: int) -> int:
        """Seconds since midnight, by the clock on the wall."""
        return (t + self._offset_at(t)) % DAY

    def weekend(self, t: int) -> bool:
        """Whether it is Saturday or Sunday."""
        return (t + self._offset_at(t)) // DAY % 7 in {2, 3}  # 1 January 1970 was a Thursday

    def _offset_at(self, t: int) -> int:
        if t // _QUARTER != self._quarter:
            self._quarter = t // _QUARTER
            moment = dt.datetime.fromtimestamp(self._quarter * _QUARTER, self._zone)
            self._offset = int((moment.utcoffset() or dt.timedelta()).total_seconds())
        return self._offset


def _season(t: float) -> float:
    """The angle of the year; 0 at the northern winter solstice."""
    return 2 * math.pi * (t / DAY % _YEAR_D + 10) / _YEAR_D


def sun_height(t: float, latitude: float, longitude: float) -> float:
    """The sine of the sun's elevation; below 0 at night."""
    declination = -_TILT * math.cos(_season(t))
    hour_angle = math.radians(t % DAY / 240 - 180 + longitude)
    north = math.radians(latitude)
    return math.sin(north) * math.sin(declination) + math.cos(north) * math.cos(declination) * math.cos(hour_angle)


def outdoor_temperature(t: float, latitude: float, longitude: float) -> float:
    """Outdoor temperature, °C: coldest before sunrise, warmest in the afternoon."""
    mean = 27 - 0.3 * abs(latitude)
    swing = 0.28 * latitude  # between summer and winter; the other way round in the south
    solar_hour = (t % DAY / 3600 + longitude / 15) % 24
    return mean - swing * math.cos(_season(t) - 0.4) + 7 * math.cos(2 * math.pi * (solar_hour - 15.5) / 24)


class Clouds:
    """How much of the sun comes through, from 0.1 (overcast) to 1; passing clouds make it go up and down in seconds.

    Args:
        dice: its own.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._mood_until = 0
        self._until = 0
        self._cover = 0.0
        self._target = 1.0
        self.light: float = 1.0

    def step(self, t: int) -> None:
        """A second has passed."""
        if t >= self._until:
            self._next(t)
        self.light += (self._target - self.light) * 0.06

    def _next(self, t: int) -> None:
        dice = self._dice
        if t >= self._mood_until:  # the weather changes every few hours
            self._mood_until = t + int(dice.uniform(2, 8) * 3600)
            kind = dice.random()
            self._cover = 0.05 if kind < 0.45 else 0.35 if kind < 0.85 else 0.9
        if dice.random() < self._cover:
            self._target = dice.uniform(0.15, 0.6)
            self._until = t + int(dice.uniform(30, 400))
        else:
            self._target = dice.uniform(0.93, 1.0)
            self._until = t + int(dice.uniform(120, 1500))


class Solar:
    """What an inverter could make of the sun.

    Args:
        size_w: of its panels.
        most_w: what the inverter and its breaker let through.
        latitude: where it is, and ``longitude``.
        longitude: see there.
        dice: its own.

    Attributes:
        watts: now, >= 0.
    """

    EVERY: Final = 30  # s; so often the sun is looked for

    def __init__(self, size_w: float, most_w: float, latitude: float, longitude: float, dice: random.Random) -> None:
        self._clouds: Final = Clouds(dice)
        self._size_w: Final = size_w
        self._most_w: Final = most_w
        self._place: Final = latitude, longitude
        self._clear_w = math.nan
        self.watts: float = 0.0

    def step(self, t: int) -> None:
        """A second has passed."""
        self._clouds.step(t)
        if t % self.EVERY == 0 or math.isnan(self._clear_w):
            height = max(sun_height(t, *self._place), 0.0)
            self._clear_w = 0.86 * self._size_w * height**1.2
        self.watts = min(self._clear_w * self._clouds.light, self._most_w)
