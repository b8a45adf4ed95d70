"""Outages, what the panel knows of them, and power control."""

from __future__ import annotations

import pytest

from span_trio.enums import (
    DominantPowerSource,
    EvseStatus,
    GridState,
    ShedPriority,
)
from span_trio.simulator.house.devices import BessSpec, LoadKind, PcsSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.sources import RECLAIM_S, SILENCE_S
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.house_helpers import (
    EVENING,
    HOUR,
    MIDNIGHT,
    NOON,
    check_sums,
    circuit,
    circuit_id,
    counters,
    drawn,
    plain_house,
    relay_of,
    small_house,
)

CLOSED, OPEN = "CLOSED", "OPEN"


# --- outages ----------------------------------------------------------------------------------------------------------


def test_the_battery_carries_the_house_and_sheds_by_priority() -> None:
    house = House(small_house(), 1, EVENING)
    assert not house.islanded
    house.grid_lost()
    now = check_sums(house)
    assert (house.powered, house.islanded) == (True, True)
    assert house.sources.dominant is DominantPowerSource.BATTERY
    assert house.sources.grid_state is GridState.OFF_GRID
    assert relay_of(house, "Charger") == (OPEN, "BACKUP")
    assert relay_of(house, "Pump") == (OPEN, "NEVER_BACKUP")
    assert relay_of(house, "Lights") == (CLOSED, "NONE")
    assert now.flows.battery == -now.flows.site
    assert house.chargers["sd-1"].status is EvseStatus.UNAVAILABLE

    house.grid_back()
    check_sums(house)
    assert (house.islanded, house.sources.dominant) == (False, DominantPowerSource.GRID)
    assert relay_of(house, "Charger") == (CLOSED, "NONE")
    assert relay_of(house, "Pump") == (CLOSED, "NONE")


def test_circuits_above_the_threshold_are_shed_when_the_battery_sinks_and_return_when_it_rises() -> None:
    bess = BessSpec(nameplate_kwh=4, feed="Battery", soc_percent=55)
    house = House(small_house(bess=bess, evse=()), 1, MIDNIGHT + 4 * HOUR)
    house.grid_lost()
    at: dict[str, float] = {}
    for _ in range(8 * 60):
        house.advance(house.now + 60)
        soc = check_sums(house).soc_percent
        at.setdefault(relay_of(house, "Lights")[0], soc)
        if OPEN in at and relay_of(house, "Lights")[0] == CLOSED:
            at["again"] = soc
            break
    assert at[OPEN] == pytest.approx(49, abs=1)
    assert at["again"] == pytest.approx(51, abs=3)


def test_the_battery_s_own_circuit_is_never_shed() -> None:
    house = House(small_house(), 1, EVENING)
    house.set_priority(circuit_id(house, "Battery"), "OFF_GRID")
    house.grid_lost()
    assert relay_of(house, "Battery") == (CLOSED, "NONE")
    assert house.islanded
    check_sums(house)


def test_a_new_priority_acts_at_once_off_grid() -> None:
    house = House(small_house(), 1, EVENING)
    house.grid_lost()
    standby = circuit_id(house, "Standby")
    house.set_priority(standby, "OFF_GRID")
    assert relay_of(house, "Standby") == (OPEN, "BACKUP")
    house.set_priority(standby, "NEVER")
    assert relay_of(house, "Standby") == (CLOSED, "NONE")


def test_what_somebody_moved_by_hand_stays_as_it_was_left() -> None:
    house = House(small_house(), 1, EVENING)
    house.set_relay(circuit_id(house, "Lights"), OPEN)
    house.grid_lost()
    house.set_relay(circuit_id(house, "Pump"), CLOSED)
    house.advance(EVENING + 60)
    assert relay_of(house, "Pump") == (CLOSED, "USER")  # is not shed again
    house.grid_back()
    assert relay_of(house, "Lights") == (OPEN, "USER")
    assert relay_of(house, "Pump") == (CLOSED, "USER")
    assert relay_of(house, "Charger") == (CLOSED, "NONE")


def test_too_much_sun_is_not_taken() -> None:
    house = House(small_house(bess=BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=100)), 1, NOON)
    assert house.read().flows.pv < -2000
    house.grid_lost()
    now = check_sums(house)
    assert now.flows.pv == -now.flows.site
    assert now.flows.battery == 0


def test_more_than_the_battery_can_do_is_shed_largest_first_until_the_grid_is_back() -> None:
    house = House(plain_house(3000, 4000, 2500, bess=BessSpec(nameplate_kwh=10, power_w=4000)), 1, EVENING)
    house.grid_lost()
    check_sums(house)
    assert [relay_of(house, f"Load {i}") for i in range(3)] == [(OPEN, "BACKUP"), (OPEN, "BACKUP"), (CLOSED, "NONE")]
    house.set_priority(circuit_id(house, "Load 0"), "SOC_THRESHOLD")
    house.advance(EVENING + 60)
    assert relay_of(house, "Load 1") == (OPEN, "BACKUP")
    house.grid_back()
    assert [relay_of(house, f"Load {i}")[0] for i in range(3)] == [CLOSED] * 3
    house.set_relay(circuit_id(house, "Load 0"), OPEN)
    house.set_relay(circuit_id(house, "Load 1"), OPEN)
    house.grid_lost()  # another outage is another matter
    house.set_relay(circuit_id(house, "Load 2"), OPEN)
    house.set_relay(circuit_id(house, "Load 0"), CLOSED)
    house.advance(house.now + 5)
    assert [relay_of(house, f"Load {i}") for i in range(3)] == [(CLOSED, "USER"), (OPEN, "USER"), (OPEN, "USER")]
    assert not any(item.overload for item in house.circuits)


def test_what_cannot_be_shed_and_is_too_much_takes_the_house_down() -> None:
    spec = plain_house(
        circuits=(circuit("Big", 1, 50, dipole=True, load=LoadKind.STANDBY, watts=6000, always_on=True),),
        bess=BessSpec(nameplate_kwh=10, power_w=4000),
    )
    house = House(spec, 1, EVENING)
    house.grid_lost()
    assert (house.powered, house.sources.dominant) == (False, DominantPowerSource.NONE)
    check_sums(house)
    house.advance(EVENING + 600)
    assert not house.powered
    house.grid_back()
    assert house.powered
    check_sums(house)
    assert drawn(house, "Big") > 4000


def test_after_a_breakdown_the_next_outage_is_carried_again() -> None:
    house = House(plain_house(900, bess=BessSpec(nameplate_kwh=0.5, soc_percent=3)), 1, EVENING)
    house.grid_lost()
    house.advance(EVENING + 600)
    assert not house.powered
    house.grid_back()
    house.advance(EVENING + 1200)
    house.grid_lost()
    house.advance(EVENING + 1205)
    assert house.islanded
    check_sums(house)


def test_an_empty_battery_carries_the_house_as_long_as_there_is_sun() -> None:
    house = House(small_house(bess=BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=0)), 1, NOON)
    house.grid_lost()
    house.advance(NOON + 60)
    assert house.islanded
    assert check_sums(house).flows.battery > 0


def test_an_empty_battery_takes_the_house_down() -> None:
    house = House(plain_house(900, bess=BessSpec(nameplate_kwh=3, soc_percent=20)), 1, EVENING)
    house.grid_lost()
    house.advance(EVENING + HOUR // 2)
    assert house.powered
    house.advance(EVENING + HOUR)
    now = check_sums(house)
    assert not house.powered
    assert now.soc_percent == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("bess", [None, BessSpec(nameplate_kwh=10, islandable=False)])
def test_without_a_battery_that_can_carry_it_the_house_is_dark(bess: BessSpec | None) -> None:
    house = House(small_house(bess=bess, circuits=small_house().circuits), 1, NOON)
    house.grid_lost()
    now = check_sums(house)
    assert not house.powered
    assert (now.flows.pv, now.flows.battery, now.upstream.power_w) == (0, 0, 0)
    assert house.sources.dominant is DominantPowerSource.NONE
    before = counters(now)
    house.advance(NOON + HOUR)
    assert counters(check_sums(house)) == before
    house.grid_back()
    assert check_sums(house).flows.pv < 0


def test_opening_the_battery_s_circuit_off_grid_takes_the_house_down_and_closing_it_brings_it_back() -> None:
    house = House(small_house(), 1, EVENING)
    house.grid_lost()
    house.set_relay(circuit_id(house, "Battery"), OPEN)
    assert not house.powered
    check_sums(house)
    house.set_relay(circuit_id(house, "Battery"), CLOSED)
    assert house.islanded
    check_sums(house)


# --- what the panel knows ---------------------------------------------------------------------------------------------


def test_what_somebody_says_about_the_source_stands_until_the_battery_speaks() -> None:
    house = House(small_house(), 1, NOON)
    result = house.set_dominant_power_source("GENERATOR")
    assert (result.answer, result.value) == (Answer.DONE, "GENERATOR")
    assert house.set_dominant_power_source("GENERATOR").answer is Answer.UNCHANGED
    assert house.sources.dominant is DominantPowerSource.GENERATOR
    assert relay_of(house, "Pump") == (OPEN, "NEVER_BACKUP")  # shed, though the grid is there
    assert not house.islanded
    house.advance(NOON + RECLAIM_S - 1)
    assert house.sources.dominant is DominantPowerSource.GENERATOR
    house.advance(NOON + RECLAIM_S)
    assert house.sources.dominant is DominantPowerSource.GRID
    assert relay_of(house, "Pump") == (CLOSED, "NONE")


def test_a_panel_without_battery_believes_what_it_is_told() -> None:
    house = House(plain_house(100), 1, NOON)
    house.set_dominant_power_source("PV")
    house.advance(NOON + HOUR)
    assert house.sources.dominant is DominantPowerSource.PV


def test_a_panel_that_does_not_hear_its_battery_does_not_see_the_grid_return() -> None:
    house = House(small_house(), 1, NOON)
    house.battery_link_lost()
    told = house.read().soc_percent, house.read().soe_kwh
    house.advance(NOON + SILENCE_S - 1)
    assert house.sources.connected
    before = house.revision
    house.advance(NOON + SILENCE_S)
    assert not house.sources.connected
    assert house.revision > before
    house.battery_link_lost()  # again: nothing new
    assert (house.read().soc_percent, house.read().soe_kwh) == told
    assert house.battery is not None
    assert house.battery.soc_percent != told[0]

    house.grid_lost()
    assert house.sources.dominant is DominantPowerSource.BATTERY  # seen in the voltage
    assert house.sources.grid_state is GridState.ON_GRID  # what the battery said last
    assert relay_of(house, "Charger") == (OPEN, "BACKUP")
    house.grid_back()
    house.advance(NOON + HOUR)
    assert house.sources.dominant is DominantPowerSource.BATTERY
    assert relay_of(house, "Charger") == (OPEN, "BACKUP")

    house.set_dominant_power_source("GRID")
    house.advance(NOON + 2 * HOUR)
    assert house.sources.dominant is DominantPowerSource.GRID
    assert relay_of(house, "Charger") == (CLOSED, "NONE")

    house.battery_link_back()
    assert (house.sources.connected, house.sources.grid_state) == (True, GridState.ON_GRID)
    assert house.read().soc_percent != told[0]


def test_when_the_battery_is_heard_again_what_it_says_goes() -> None:
    house = House(small_house(), 1, NOON)
    house.battery_link_lost()
    house.set_dominant_power_source("GENERATOR")
    house.advance(NOON + HOUR)
    assert house.sources.dominant is DominantPowerSource.GENERATOR
    house.battery_link_back()
    assert house.sources.dominant is DominantPowerSource.GRID


# --- power control ----------------------------------------------------------------------------------------------------


def pcs_house(*loads: float, **limits: float) -> House:
    plain = plain_house(*loads)
    managed = tuple(
        circuit(
            item.name,
            item.space,
            item.breaker_a,
            dipole=True,
            load=item.load,
            watts=item.watts,
            pcs_managed=rank > 0,
            pcs_priority=rank,
        )
        for rank, item in enumerate(plain.circuits)
    )
    return House(plain_house(circuits=managed, pcs=PcsSpec(**limits)), 1, NOON)


def test_above_its_limit_the_highest_rank_is_opened_first_and_comes_back_last() -> None:
    house = pcs_house(6000, 2400, 2400, 2400, feed_limit_a=50)
    assert house.pcs is not None
    assert (house.pcs.binding, house.pcs.import_limit_a, house.pcs.active) == ("feed", 50, False)
    house.advance(NOON + 5)
    assert [relay_of(house, f"Load {i}") for i in range(4)] == [
        (CLOSED, "NONE"),
        (CLOSED, "NONE"),
        (CLOSED, "NONE"),
        (OPEN, "PCS"),
    ]
    assert house.pcs.active
    check_sums(house)
    house.advance(NOON + 300)
    assert relay_of(house, "Load 3") == (OPEN, "PCS")  # there is no room for it
    house.set_relay(circuit_id(house, "Load 0"), OPEN)
    house.advance(NOON + 310)
    assert relay_of(house, "Load 3") == (CLOSED, "NONE")
    assert not house.pcs.active


def test_held_circuits_return_one_by_one_the_last_one_first_after_a_minute_and_when_there_is_room() -> None:
    house = pcs_house(6000, 2400, 2400, 2400, feed_limit_a=38)
    house.advance(NOON + 5)
    assert [relay_of(house, f"Load {i}")[1] for i in range(4)] == ["NONE", "NONE", "PCS", "PCS"]
    house.set_relay(circuit_id(house, "Load 0"), OPEN)
    house.advance(NOON + 50)
    assert relay_of(house, "Load 2") == (OPEN, "PCS")  # room enough, and too early
    house.advance(NOON + 61)
    times: dict[int, float] = {}
    for _ in range(20):
        house.advance(house.now + 1)
        for i in (2, 3):
            if relay_of(house, f"Load {i}") == (CLOSED, "NONE"):
                times.setdefault(i, house.now)
    assert times[2] < times[3] < NOON + 70


def test_a_held_circuit_does_not_return_into_a_limit_that_it_would_break() -> None:
    house = pcs_house(6000, 2400, feed_limit_a=32)
    house.advance(NOON + 600)
    assert relay_of(house, "Load 1") == (OPEN, "PCS")
    moves = house.revision
    house.advance(NOON + 1200)
    assert house.revision == moves


def test_what_somebody_closes_by_hand_is_no_longer_held_and_may_be_opened_again() -> None:
    house = pcs_house(6000, 3000, feed_limit_a=30)
    house.advance(NOON + 5)
    assert relay_of(house, "Load 1") == (OPEN, "PCS")
    house.set_relay(circuit_id(house, "Load 1"), CLOSED)
    assert house.pcs is not None
    assert not house.pcs.active
    assert relay_of(house, "Load 1") == (CLOSED, "USER")
    house.advance(NOON + 10)
    assert relay_of(house, "Load 1") == (OPEN, "PCS")


def test_without_anything_to_open_a_limit_is_exceeded() -> None:
    house = pcs_house(6000, feed_limit_a=10)
    house.advance(NOON + 10)
    assert house.pcs is not None
    assert not house.pcs.active
    assert drawn(house, "Load 0") > 2400


def test_the_lowest_limit_binds_and_the_one_for_off_grid_only_there() -> None:
    spec = plain_house(
        2400,
        bess=BessSpec(nameplate_kwh=10),
        pcs=PcsSpec(grid_limit_a=80, requested_limit_a=90, off_grid_limit_a=5),
    )
    house = House(spec, 1, NOON)
    assert house.pcs is not None
    assert house.pcs.binding == "grid"
    house.grid_lost()
    assert (house.pcs.binding, house.pcs.import_limit_a) == ("off-grid", 5)
    house.advance(NOON + 10)
    assert not house.pcs.active  # nothing is managed
    house.grid_back()
    assert house.pcs.binding == "grid"


def test_off_grid_shedding_takes_over_what_power_control_held() -> None:
    spec = plain_house(
        circuits=(
            circuit("Base", 1, 50, dipole=True, load=LoadKind.STANDBY, watts=3000),
            circuit(
                "Held",
                2,
                50,
                dipole=True,
                load=LoadKind.STANDBY,
                watts=3000,
                pcs_managed=True,
                priority=ShedPriority.OFF_GRID,
            ),
        ),
        bess=BessSpec(nameplate_kwh=10, soc_percent=20),
        pcs=PcsSpec(feed_limit_a=20),
    )
    house = House(spec, 1, NOON)
    house.advance(NOON + 5)
    assert relay_of(house, "Held") == (OPEN, "PCS")
    house.grid_lost()
    assert relay_of(house, "Held") == (OPEN, "BACKUP")
    house.grid_back()
    assert relay_of(house, "Held") == (CLOSED, "NONE")


def test_no_limit_at_all_binds_nothing() -> None:
    house = pcs_house(6000, 3000)
    house.advance(NOON + 5)
    assert house.pcs is not None
    assert (house.pcs.binding, house.pcs.import_limit_a, house.pcs.active) == (None, None, False)


def test_a_limit_that_is_lifted_by_the_grid_s_return_lets_go() -> None:
    spec = plain_house(
        circuits=(
            circuit("Base", 1, 50, dipole=True, load=LoadKind.STANDBY, watts=600),
            circuit("Held", 2, 50, dipole=True, load=LoadKind.STANDBY, watts=3000, pcs_managed=True),
        ),
        bess=BessSpec(nameplate_kwh=10),
        pcs=PcsSpec(off_grid_limit_a=10),
    )
    house = House(spec, 1, NOON)
    house.grid_lost()
    house.advance(NOON + 5)
    assert relay_of(house, "Held") == (OPEN, "PCS")
    house.grid_back()
    house.advance(NOON + 120)
    assert relay_of(house, "Held") == (CLOSED, "NONE")


def test_power_control_leaves_the_battery_s_circuit_alone() -> None:
    spec = plain_house(
        circuits=(
            circuit("Base", 1, 50, dipole=True, load=LoadKind.STANDBY, watts=100),
            circuit("Battery", 2, 50, dipole=True, pcs_managed=True),
        ),
        bess=BessSpec(nameplate_kwh=10, soc_percent=1, feed="Battery"),
        pcs=PcsSpec(feed_limit_a=1),
    )
    house = House(spec, 1, NOON)
    house.advance(NOON + 30)
    assert house.read().upstream.power_w > 1000  # it charges from the grid
    assert relay_of(house, "Battery") == (CLOSED, "NONE")
