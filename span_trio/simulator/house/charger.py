"""A charger and the car that comes home to it. Pure: time is an argument.

The rules of this room:

* The car leaves in the morning, comes back in the evening, is plugged in, waits for its hour and charges until it has
  what it needs; how much, and when it comes and goes, its dice say.
* What it draws is what the charger lets it: the user's limit or the ceiling, at the circuit's voltage.
* A lock that a user can set (hardware 3.0) is as the user left it, and a locked charger does not charge. Elsewhere it
  is the plug's, which is locked while it is in the car.
* The charger speaks of four states only, as firmware does: AVAILABLE, PREPARING (plugged in), CHARGING, and
  UNAVAILABLE while its circuit has no voltage.
"""

from __future__ import annotations

import random
from typing import Final

from ...enums import EvseStatus, LockState
from .devices import MIN_CHARGE_A, EvseSpec
from .loads import Load, Moment
from .switchboard import Answer, CommandResult
from .weather import DAY

__all__ = ["Charger"]

_CHECK: Final = 60  # s between two looks at how full the car is
_HOUR: Final = 3600
_EFFICIENCY: Final = 0.985  # the car draws a little less than it is offered


class Charger(Load):
    """One charger.

    Args:
        spec: what it is.
        dice: its own, and its car's.
        volts: nominal, of its circuit.
        lock: the user's; ``None``: a user has none.

    Attributes:
        limit_a: the user's limit, A; ``None`` if there never was one.
        lock: as the user left it.
    """

    ripple: float = 0.003

    def __init__(self, spec: EvseSpec, dice: random.Random, volts: int, lock: LockState | None = None) -> None:
        self.spec: Final = spec
        self.lock: LockState | None = lock
        self.limit_a = spec.user_current_a
        self._dice = dice
        self._volts = volts
        self._back = self._start = self._leave = 0.0  # Unix s
        self._need_ws = 0.0
        self._since = 0
        self._planned_until = 0
        self.until: float = 0.0

    @property
    def advertised_a(self) -> float:
        """What it offers the car, A."""
        return float(self.spec.max_current_a if self.limit_a is None else self.limit_a)

    @property
    def status(self) -> EvseStatus:
        """What it says of itself."""
        if not self.live:
            return EvseStatus.UNAVAILABLE
        if self.watts:
            return EvseStatus.CHARGING
        return EvseStatus.PREPARING if self._plugged else EvseStatus.AVAILABLE

    @property
    def lock_state(self) -> LockState:
        """The user's lock, or the plug's."""
        if self.lock is not None:
            return self.lock
        return LockState.LOCKED if self._plugged else LockState.UNLOCKED

    @property
    def _plugged(self) -> bool:
        return self._back <= self._since < self._leave

    def step(self, now: Moment) -> None:
        """See whether the car is there, and how full it is."""
        if self.live:
            self._need_ws -= self.watts * (now.t - self._since)
        self._since = now.t
        power = self.advertised_a * self._volts * _EFFICIENCY
        if now.t >= self._planned_until:
            self._make_plan(now, power)
        free = self.lock is not LockState.LOCKED
        charging = free and self._plugged and self._need_ws > 0 and now.t >= self._start
        self.watts: float = power if charging else 0.0
        times = [time for time in (self._back, self._start, self._leave, self._planned_until) if time > now.t]
        if charging:
            times.append(now.t + min(self._need_ws / power, _CHECK))
        self.until = min(times)

    def power(self, now: Moment, *, live: bool) -> None:
        """Voltage comes, or goes: until now it was the other way."""
        self.step(now)
        self.live = live
        self.step(now)

    def judge_limit(self, amps: int) -> CommandResult:
        """What a user who wants this limit, A, would be told, and what would stand then: the nearest in its range."""
        allowed = min(max(amps, MIN_CHARGE_A), self.spec.max_current_a)
        if allowed != amps:
            return CommandResult(Answer.CLAMPED, str(allowed))
        return CommandResult(Answer.UNCHANGED if self.limit_a == allowed else Answer.DONE, str(allowed))

    def set_limit(self, now: Moment, amps: int) -> None:
        """The user limits it, A."""
        self.step(now)
        self.limit_a = amps
        self.step(now)

    def judge_lock(self, state: str) -> CommandResult:
        """What a user who wants this lock would be told, and what would stand then."""
        if state not in {LockState.LOCKED, LockState.UNLOCKED}:
            return CommandResult(Answer.INVALID, self.lock_state)
        return CommandResult(Answer.UNCHANGED if self.lock == state else Answer.DONE, state)

    def set_lock(self, now: Moment, state: LockState) -> None:
        """The user locks or unlocks it."""
        self.step(now)
        self.lock = state
        self.step(now)

    def _make_plan(self, now: Moment, power: float) -> None:
        """From noon to noon, so that a night is in one piece."""
        dice, first = self._dice, not self._planned_until
        noon = now.t - (now.second - DAY // 2) % DAY
        self._back = noon + (dice.uniform(0.5, 6.0) if now.weekend else dice.gauss(5.8, 0.5)) * _HOUR
        self._start = noon + ((self.spec.start_hour - 12) % 24 + dice.uniform(0.0, 0.4)) * _HOUR
        self._leave = noon + dice.gauss(20.0, 0.3) * _HOUR
        self._need_ws = dice.uniform(0.5, 1.5) * self.spec.daily_kwh * 1000 * _HOUR
        if first:  # in the middle of the night, some of it is done
            self._need_ws -= max(now.t - max(self._start, self._back), 0.0) * power
        self._planned_until = noon + DAY
