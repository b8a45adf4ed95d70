"""Days that look like days: loads, sun, cars."""

from __future__ import annotations

import itertools
import random

import pytest

from span_trio.enums import (
    EvseStatus,
    LockState,
)
from span_trio.simulator.house.devices import EvseSpec, LoadKind
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import built_in
from span_trio.simulator.house.loads import Appliance, Habit, Moment, Thermostat
from span_trio.simulator.house.meters import Readings
from tests.unit.simulator.house_helpers import (
    HOUR,
    MIDNIGHT,
    NOON,
    check_sums,
    circuit,
    dice,
    drawn,
    plain_house,
    small_house,
    state,
)

CLOSED, OPEN = "CLOSED", "OPEN"


# --- what a day looks like --------------------------------------------------------------------------------------------


STEP = 30  # s


@pytest.fixture(scope="module")
def day() -> list[Readings]:
    """A day of the 32-space house, from midnight to midnight."""
    house = House(built_in("32"), 1, MIDNIGHT)
    readings: list[Readings] = []
    for second in range(0, 24 * HOUR + 1, STEP):
        house.advance(MIDNIGHT + second)
        readings.append(check_sums(house))
    return readings


def average(day: list[Readings], name: str, begin_hour: int, end_hour: int) -> float:
    """What a circuit draws between two hours, W."""
    index = [item.name for item in built_in("32").circuits].index(name)
    begin, end = (day[hour * HOUR // STEP].consumed_wh[index] for hour in (begin_hour, end_hour))
    return (end - begin) / (end_hour - begin_hour)


def test_night_and_noon_are_visibly_different(day: list[Readings]) -> None:
    for name in ("Kitchen Lights", "Living Room Lights", "Bedroom Lights"):
        assert average(day, name, 19, 22) > 3 * average(day, name, 1, 5)
    assert average(day, "Home Office", 10, 14) > 2 * average(day, "Home Office", 1, 5)
    assert 30 < average(day, "Refrigerator", 1, 5) < 110
    assert average(day, "Garage Charger", 0, 5) > 1000
    assert average(day, "Garage Charger", 7, 22) == 0
    site = [reading.flows.site for reading in day]
    assert max(site) > 8000
    assert 100 < min(site) < 700


def test_the_sun_rises_sets_and_hides_behind_clouds(day: list[Readings]) -> None:
    sun = [-reading.flows.pv for reading in day]
    hours = sun[:: HOUR // STEP]
    assert hours[0] == hours[3] == hours[23] == 0
    assert max(hours) == max(hours[10:16]) > 0.6 * 6720
    assert max(abs(a - b) for a, b in itertools.pairwise(sun)) > 500


def test_a_meter_does_not_stand_still(day: list[Readings]) -> None:
    assert len({reading.l1_voltage for reading in day}) > 30
    assert all(115 < reading.l1_voltage < 125 for reading in day)
    assert len({reading.upstream.power_w for reading in day}) > len(day) / 4


def test_all_kinds_of_loads_run_in_a_weekend_and_rest_in_between() -> None:
    kinds = [kind for kind in LoadKind if kind is not LoadKind.NONE]
    spec = plain_house(
        circuits=tuple(circuit(kind, 1 + 4 * i, 50, dipole=True, load=kind) for i, kind in enumerate(kinds))
    )
    saturday = MIDNIGHT + 3 * 24 * HOUR
    house = House(spec, 4, saturday)
    begin, seen = house.read().consumed_wh, [house.read().drawn_w]
    for step in range(0, 48 * HOUR, 300):
        house.advance(saturday + step)
        seen.append(house.read().drawn_w)
    for index, (kind, before, after) in enumerate(zip(kinds, begin, house.read().consumed_wh, strict=True)):
        assert 100 < after - before < 60_000, kind
        assert max(row[index] for row in seen) > 20, kind
        if kind is not LoadKind.STANDBY:
            assert min(row[index] for row in seen) < max(row[index] for row in seen) / 4, kind


def test_a_heat_pump_heats_in_winter_and_rests_in_spring() -> None:
    def share(month_start: int) -> float:
        spec = plain_house(circuits=(circuit("It", 1, 50, dipole=True, load=LoadKind.HVAC),))
        house = House(spec, 4, month_start)
        start = house.read().consumed_wh[0]
        house.advance(month_start + 12 * HOUR)
        return house.read().consumed_wh[0] - start

    january, april = MIDNIGHT - 180 * 24 * HOUR, MIDNIGHT - 90 * 24 * HOUR
    assert share(january) > 3 * share(april)


def test_clocks_change_and_every_day_has_its_dinner() -> None:
    spec = plain_house(circuits=(circuit("It", 1, 50, dipole=True, load=LoadKind.OVEN),))
    change = MIDNIGHT + (110 * 24 + 1) * HOUR  # in the night to 1 November 2026, clocks go back
    house = House(spec, 1, change - 26 * HOUR)
    start = house.read().consumed_wh[0]
    house.advance(change + 22 * HOUR)
    assert house.read().consumed_wh[0] > start
    check_sums(house)


def test_when_the_clocks_go_back_nothing_of_the_day_runs_again() -> None:
    dinner, late = Habit(18.0, 0.0, 1.0, 1.0), Habit(23.5, 0.0, 1.0, 1.0)
    load = Appliance(
        random.Random(1),  # noqa: S311
        1000.0,
        [((dinner, late), [(60.0, 60.0, 1.0)])],
    )
    load.step(Moment(0, 12 * HOUR, weekend=False, outdoors_c=20.0))
    on, hour = 0.0, 3600
    for t in range(0, 20 * hour, hour // 2):  # from noon on; at midnight it is 23:00 again
        second = 12 * hour + t if t < 12 * hour else 11 * hour + t
        load.step(Moment(t, second % (24 * hour), weekend=False, outdoors_c=20.0))
        on += load.watts / 2000
    assert on == 3  # dinner, and what begins at 23:30 in both hours that have that name


def test_programmes_run_one_after_the_other() -> None:
    habits = (Habit(18.0, 0.0, 1.0, 1.0), Habit(18.5, 0.0, 1.0, 1.0))
    load = Appliance(dice(), 1000.0, [(habits, [(60.0, 60.0, 1.0)])])
    on = []
    for t in range(0, 12 * HOUR, HOUR // 2):
        load.step(Moment(t, 12 * HOUR + t, weekend=False, outdoors_c=20.0))
        on += [12 + t / HOUR] if load.watts else []
    assert on == [18.0, 18.5, 19.0, 19.5]


def test_a_heat_pump_without_voltage_cools_nothing() -> None:
    def after_hours(*, live: bool) -> float:
        load = Thermostat(dice(), 3000.0)
        load.power(Moment(0, 0, weekend=False, outdoors_c=36.0), live=live)
        for t in range(0, 8 * HOUR, 60):
            load.step(Moment(t, t, weekend=False, outdoors_c=36.0))
        return load.indoors_c

    assert after_hours(live=True) < 25.5
    assert after_hours(live=False) > 28


def test_a_programme_may_reach_into_the_next_day() -> None:
    spec = plain_house(circuits=(circuit("It", 1, load=LoadKind.DISHWASHER),))
    for seed in range(10):
        house = House(spec, seed, MIDNIGHT - HOUR)
        house.advance(MIDNIGHT + 2 * HOUR)
        assert drawn(house, "It") < 400  # the programme has ended


def test_the_car_comes_home_waits_charges_at_night_and_leaves() -> None:
    house = House(small_house(evse=(EvseSpec(serial_number="SD-1", feed="Charger", max_current_a=40),)), 2, NOON)
    seen: list[tuple[EvseStatus, LockState]] = []
    for minute in range(0, 24 * 60, 5):
        house.advance(NOON + minute * 60)
        now = house.chargers["sd-1"]
        if (now.status, now.lock_state) not in seen[-1:]:
            seen.append((now.status, now.lock_state))
        if now.status is EvseStatus.CHARGING:
            assert drawn(house, "Charger") == pytest.approx(40 * 240 * 0.985, rel=0.02)
            assert house.now > NOON + 10.9 * HOUR
        else:
            assert drawn(house, "Charger") == 0
    locked, unlocked = LockState.LOCKED, LockState.UNLOCKED
    assert seen == [
        (EvseStatus.AVAILABLE, unlocked),
        (EvseStatus.PREPARING, locked),
        (EvseStatus.CHARGING, locked),
        (EvseStatus.PREPARING, locked),
        (EvseStatus.AVAILABLE, unlocked),
    ]


def test_a_house_that_begins_at_night_finds_its_car_charging_or_done() -> None:
    states = set()
    for seed in range(12):
        house = House(small_house(), seed, MIDNIGHT + HOUR)
        states.add(house.chargers["sd-1"].status)
    assert states == {EvseStatus.CHARGING, EvseStatus.PREPARING}


def test_a_place_that_no_machine_knows_goes_by_its_longitude() -> None:
    spec = small_house(time_zone="Nowhere/At_All")
    houses = House(spec, 1, NOON), House(spec, 1, NOON)
    assert state(houses[0]) == state(houses[1])
