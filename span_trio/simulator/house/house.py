"""A house, simulated: loads, sun, battery and grid, metered as a panel meters them. Pure, and without a clock.

The rules of this room:

* Time is an argument, and all chance comes from a seed: equal seeds, equal houses.
* Time goes in seconds of the Unix clock. `House.advance` takes steps of any size, and a house that was advanced in one
  step equals one that was advanced in thousand: power changes on the second and with a command, and never between.
* All power is a multiple of 1/8 W, so that sums are exact to the last bit: what comes in at the upstream lugs is what
  the circuits draw and what goes out downstream, and pv + battery + grid + site = 0. Energy is power times time.
* A circuit *draws* (W, positive out of the panel); lugs have frames of their own, see `MeterReading`; flows have the
  signs of the wire. A publisher turns what its schema wants otherwise.
* What is seldom different (relays, states of devices) has a `House.revision`; what always is, `House.read` reads.
* A command that is refused changes nothing and says so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ...enums import DominantPowerSource, DoorState, GridState, LockState, RelativePosition
from .battery import Battery
from .devices import MeasuredOutside, PvSpec
from .household import Household
from .meters import Flows, Meters, Readings
from .pcs import Pcs
from .roof import Roof
from .sources import SILENCE_S, Sources
from .spec import HouseSpec
from .switchboard import NO_SUCH, Circuit, CommandResult, Switchboard

__all__ = ["House"]

_SERVICE_V: Final = 240.0


class House:
    """A simulated house. See the rules of the room.

    Args:
        spec: what it is.
        seed: of all chance in it: equal seeds, equal days.
        at: when it begins, Unix s.

    Attributes:
        spec: what it is, inverters that were added later among it; `circuits` know of theirs what changed.
        now: how far it has got, Unix s.
        circuits: as they stand, in the order of the spec.
        chargers: as they stand, by node id.
        sources: what feeds the house, and what the panel knows of that.
        battery: as it is; the panel knows what `read` tells. ``None`` without one.
        pcs: the power control system; ``None`` without one.
        door: the panel's door.
        door_moved: whether somebody has opened or closed it since.
        powered: whether there is voltage.
    """

    def __init__(self, spec: HouseSpec, seed: int, at: float) -> None:
        self.spec: HouseSpec = spec
        self.now: float = at
        self.door: DoorState = DoorState.CLOSED
        self.door_moved: bool = False
        self.powered: bool = True
        self.sources: Final = Sources(has_battery=spec.bess is not None)
        self.battery: Final = None if spec.bess is None else Battery(spec.bess)
        self._board: Final = Switchboard(spec)
        self.circuits: Final = self._board.circuits
        self.pcs: Final = None if spec.pcs is None else Pcs(spec.pcs, self._board)

        def dice(name: str) -> random.Random:
            return random.Random(f"{seed}/{spec.device_id}/{name}")  # noqa: S311 - for weather and habits, not for secrets

        self._household: Final = Household(spec, dice)
        self.chargers: Final = self._household.chargers
        self._roof: Final = Roof(spec, lambda: dice("clouds"))
        self._meters: Final = Meters(spec)
        self._bess_at: Final = _feed(spec, None if spec.bess is None else spec.bess.feed)
        self._bess_ahead: Final = spec.bess is not None and spec.bess.relative_position is RelativePosition.UPSTREAM

        self._tick = math.floor(at)
        self._since = at  # up to here, energy is accounted for
        self._revision = 0
        self._tripped = False  # the battery had to give up, and the grid is not back
        self._low = False  # the battery is below its threshold
        self._lack_w = 0.0  # what sun and loads need from battery and grid
        self._follow_w = 0.0  # what the battery does on the grid
        self._flows = Flows(0.0, 0.0, 0.0, 0.0)
        self._told = self._stored
        self._second()

    # --- time ---

    def advance(self, to: float) -> None:
        """Let time pass until ``to``, Unix s.

        Raises:
            ValueError: that is in the past.
        """
        if to < self.now:
            raise ValueError(f"a house does not get younger: {to} is before {self.now}")
        while self._tick + 1 <= to:
            self._tick += 1
            self._account(self._tick)
            self._second()
        self.now = to

    def _account(self, until: float) -> None:
        seconds, self._since = until - self._since, until
        if seconds:
            self._meters.account(seconds)
            if self.battery is not None:
                self.battery.work(self._flows.battery, seconds)

    def _second(self) -> None:
        """A second begins."""
        t = self._tick
        if self._household.until <= t:
            self._household.run(t)
        self._roof.step(t)
        if self.sources.deadline <= t:
            self.sources.tick(t)
            self._react()
        if self.battery is not None:
            self._step_battery(self.battery)
        if self.pcs is not None:
            self._step_pcs(self.pcs)
        self._solve()

    def _step_battery(self, battery: Battery) -> None:
        if self.islanded:
            self._follow_w = 0.0
            if battery.empty and self._lack_w > 0:
                self._trip()
        elif self.powered and self._bess_connected:
            self._follow_w = battery.follow(-self._lack_w)
        else:
            battery.rest()
            self._follow_w = 0.0
        spec, soc = battery.spec, battery.soc_percent
        if soc < spec.shed_percent if not self._low else soc > spec.release_percent:
            self._low = not self._low
            self._react()

    def _step_pcs(self, pcs: Pcs) -> None:
        entrance_a = (-self._flows.battery if self.islanded else self._meters.upstream.watts) / _SERVICE_V
        limit = pcs.import_limit_a
        if pcs.held or (limit is not None and entrance_a > limit):
            drawn = dict(zip(self._board.by_id, self._meters.drawn_w, strict=True))

            def drawn_a(circuit: Circuit) -> float:
                return sum(drawn[other.id] for other in circuit.switch.circuits) / _SERVICE_V

            pcs.step(self._tick, entrance_a, drawn_a)
            self._connect()

    # --- power ---

    @property
    def islanded(self) -> bool:
        """Whether the battery carries the house."""
        return self.powered and not self.sources.grid

    @property
    def _bess_connected(self) -> bool:
        return self._bess_at is None or self.circuits[self._bess_at].closed

    @property
    def _stored(self) -> tuple[float, float]:
        battery = self.battery
        return (0.0, 0.0) if battery is None else (battery.soc_percent, battery.held_ws / 3_600_000)

    def _solve(self) -> None:
        """What everything draws in this second, and where it comes from."""
        drawn, made = self._household.draw(self._tick), self._sun()
        sun, loads = sum(made, 0.0), sum(drawn)
        battery = self._follow_w if self.powered and self._bess_connected else 0.0
        while self.islanded and self.battery is not None:
            battery = sun - loads
            if battery > self.battery.room_w:  # more sun than anybody wants: the inverter steps back
                battery = self.battery.room_w
                sun = loads + battery
            if -battery <= self.battery.reach_w:
                break
            if not self._board.relieve(drawn[: len(self.circuits)]):
                self._trip()
            self._connect()
            drawn, made, battery = self._household.draw(self._tick), self._sun(), 0.0
            sun, loads = sum(made, 0.0), sum(drawn)
        ahead = drawn[len(self.circuits) + 1 :]
        del drawn[len(self.circuits) + 1 :]
        let_out = drawn.pop()
        behind, sun_ahead = self._roof.deliver(made, sun, drawn)
        let_out -= behind
        if self._bess_at is not None:
            drawn[self._bess_at] = battery
        elif not self._bess_ahead:
            let_out += battery
        self._meters.drawn_w = drawn
        self._meters.downstream.watts = let_out
        self._meters.upstream.watts = sum(drawn) + let_out
        self._lack_w = loads - sun
        self._flows = Flows(0.0 - sun, battery, sun - battery - loads, loads)
        self._measure_outside(ahead, sun_ahead)

    def _measure_outside(self, loads: list[float], sun: float) -> None:
        """What the meters outside the panel see now, W."""
        for spec, meter in zip(self.spec.outside_meters, self._meters.outside, strict=True):
            if spec.measures is MeasuredOutside.LOAD:
                meter.watts = loads.pop(0)
            else:
                meter.watts = 0.0 - (self._flows.grid if spec.measures is MeasuredOutside.GRID else sun)

    def _sun(self) -> list[float]:
        return self._roof.make(lambda index: self.powered and (index is None or self.circuits[index].closed))

    def _trip(self) -> None:
        self._tripped = True
        self._react()

    def _react(self) -> None:
        """The grid, the battery, a relay, or what the panel knows of them has changed."""
        able = self.battery is not None and self.battery.spec.islandable and self._bess_connected
        self._tripped = self._tripped and not self.sources.grid
        self.powered = self.sources.grid or (able and not self._tripped)
        self.sources.observe(carried=self.islanded)
        off_grid = self.sources.dominant is not DominantPowerSource.GRID
        self._board.shed(off_grid=off_grid, low=self._low)
        if self.pcs is not None:
            self.pcs.off_grid = off_grid
        self._connect()

    def _connect(self) -> None:
        """What a relay cuts off has no voltage."""
        for index, circuit in enumerate(self.circuits):
            self._household.set_live(index, self._tick, live=self.powered and circuit.closed)
        self._household.set_live(len(self.circuits), self._tick, live=self.powered)
        self._household.set_ahead_live(self._tick, live=self.sources.grid)

    # --- what a panel publishes ---

    @property
    def revision(self) -> int:
        """Goes up whenever something that `read` does not tell has changed."""
        return self._revision + self._board.revision + self.sources.revision + self._household.revision

    def read(self) -> Readings:
        """All meters, now."""
        if self.sources.link:
            self._told = self._stored
        return self._meters.read(
            self.now, self.now - self._since, powered=self.powered, flows=self._flows, stored=self._told
        )

    @property
    def by_id(self) -> Mapping[str, Circuit]:
        """The circuits, by id."""
        return self._board.by_id

    # --- commands ---

    def _change(self) -> None:
        """Something is different from now on, in the middle of a second."""
        self._account(self.now)
        self._react()
        self._solve()

    def _done(self, result: CommandResult) -> CommandResult:
        if result.accepted:
            self._change()
        return result

    def set_relay(self, circuit_id: str, state: str) -> CommandResult:
        """A user opens or closes a circuit (OPEN, CLOSED)."""
        return self._done(self._board.set_relay(circuit_id, state))

    def set_priority(self, circuit_id: str, priority: str) -> CommandResult:
        """A user says when a circuit is shed (OFF_GRID, SOC_THRESHOLD, NEVER)."""
        return self._done(self._board.set_priority(circuit_id, priority))

    def set_dominant_power_source(self, source: str) -> CommandResult:
        """A user says what feeds the house; a battery that is heard says otherwise after a while."""
        result = self.sources.judge_dominant(source)
        if result.accepted:
            self.sources.assert_dominant(DominantPowerSource(source), self.now)
        return self._done(result)

    def assert_islanding(self, state: str) -> CommandResult:
        """A user says whether this is an island (ON_GRID, OFF_GRID), which a battery that is not heard cannot."""
        result = self.sources.judge_islanding(state)
        if result.accepted:
            self.sources.assert_islanding(GridState(state))
        return self._done(result)

    def set_charge_limit(self, node_id: str, amps: int) -> CommandResult:
        """A user limits a charger, A; what is out of its range is brought into it."""
        charger = self.chargers.get(node_id)
        if charger is None:
            return NO_SUCH
        result = charger.judge_limit(amps)
        self._household.set_limit(node_id, self._tick, int(result.value))
        return self._done(result)

    def set_charger_lock(self, node_id: str, state: str) -> CommandResult:
        """A user locks or unlocks a charger (LOCKED, UNLOCKED), where that can be set."""
        charger = self.chargers.get(node_id)
        if charger is None or charger.lock is None:
            return NO_SUCH
        result = charger.judge_lock(state)
        if result.accepted:
            self._household.set_lock(node_id, self._tick, LockState(state))
        return self._done(result)

    # --- what happens to a house ---

    def set_door(self, state: DoorState) -> None:
        """Somebody opens or closes the panel's door."""
        self.door, self.door_moved = state, True
        self._revision += 1

    def grid_lost(self) -> None:
        """An outage: the battery carries the house, if there is one that can; else all is dark."""
        self.sources.grid = False
        self._change()

    def grid_back(self) -> None:
        """The outage is over."""
        self.sources.grid = True
        self._change()

    def battery_link_lost(self, after: float = SILENCE_S) -> None:
        """The panel no longer hears the battery; after five minutes (or 0 s, or any other time) it says so."""
        self.read()  # what it said last
        self.sources.link_lost(self.now, after)
        if after <= 0:
            self.sources.tick(self.now)
            self._change()

    def battery_link_back(self) -> None:
        """The panel hears the battery again."""
        self.sources.link_back(self.now)
        self._change()

    def relay_fault(self, circuit_id: str) -> None:
        """The relay of a circuit opens by a fault, locked or not; a user may close one that is not.

        Raises:
            SpanPanelValidationError: there is no such circuit.
        """
        self._board.break_down(circuit_id)
        self._change()

    # --- what an installer does ---

    def recommission(self, circuit_id: str, **changes: Any) -> None:
        """Change what a circuit was commissioned as.

        Args:
            circuit_id: of the circuit.
            changes: of its spec: name, breaker_a, priority, always_on, never_backup, sheddable, pcs_managed,
                pcs_priority.

        Raises:
            SpanPanelValidationError: there is no such circuit, or that cannot be meant.
        """
        self._board.recommission(circuit_id, **changes)
        self._change()

    def fix_sources(self, *, fixed: bool) -> None:
        """Whether the circuits of inverters and battery are locked closed, as firmware r202639 does it."""
        self._board.fix(self.spec.source_ids if fixed else frozenset())
        self._change()

    def add_inverter(self, pv: PvSpec) -> None:
        """Another inverter is commissioned; what is on its circuit already stays there.

        Raises:
            SpanPanelValidationError: that cannot be meant in this house.
        """
        spec = self.spec
        first = spec.pv is None
        changes = {"pv": pv} if first else {"inverters": (*spec.inverters, pv)}
        fixed = any(circuit.fixed for circuit in self.circuits)
        self._account(self.now)
        self.spec = attrs.evolve(spec, **changes)
        index = self._roof.add(self.spec, pv)
        if index is not None:
            self._meters.add_producer(index)
        self._revision += 1
        self.fix_sources(fixed=fixed)


def _feed(spec: HouseSpec, name: str | None) -> int | None:
    return next((index for index, circuit in enumerate(spec.circuits) if circuit.name == name), None)
