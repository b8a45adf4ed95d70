"""The house model: sums, integrals, time, commands."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import (
    EvseStatus,
    LockState,
    RelativePosition,
    ShedPriority,
)
from span_trio.errors import SpanPanelValidationError
from span_trio.simulator.house.devices import BessSpec, LoadKind, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import BUILT_IN, built_in
from span_trio.simulator.house.spec import HouseSpec
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.hardware3_helpers import modern_specs
from tests.unit.simulator.house_helpers import (
    EARLIER,
    EVENING,
    HOUR,
    MIDNIGHT,
    NOON,
    Happening,
    check_sums,
    circuit,
    circuit_id,
    counters,
    drawn,
    earlier,
    happenings,
    house_specs,
    plain_house,
    powers,
    relay_of,
    small_house,
    state,
)

CLOSED, OPEN = "CLOSED", "OPEN"


# --- sums, integrals, determinism -------------------------------------------------------------------------------------


@given(
    spec=house_specs() | modern_specs(),
    seed=st.integers(0, 99),
    hour=st.integers(0, 23),
    events=st.lists(st.tuples(st.integers(0, 400).map(lambda tenths: tenths / 10), happenings), max_size=12),
)
def test_sums_integrals_and_counters_whatever_happens(
    spec: HouseSpec, seed: int, hour: int, events: list[tuple[float, Happening]]
) -> None:
    house = House(spec, seed, MIDNIGHT + hour * HOUR + 0.25)
    now = check_sums(house)
    begin, used = counters(now), [0.0] * len(counters(now))
    held = house.battery and house.battery.held_ws

    def go_on(to: float) -> None:
        nonlocal now
        while house.now < to:
            then = min(to, math.floor(house.now) + 1)
            used[:] = [total + watts * (then - house.now) for total, watts in zip(used, powers(now), strict=True)]
            before = counters(now)
            house.advance(then)
            now = check_sums(house)
            assert all(after >= earlier for earlier, after in zip(before, counters(now), strict=True))

    for pause, event in events:
        go_on(house.now + pause)
        before = counters(now)
        event.do(house)
        now = check_sums(house)
        assert counters(now) == before  # a command takes no time
    go_on(house.now + 30)
    for first, last, watt_seconds in zip(begin, counters(now), used, strict=True):
        assert last - first == pytest.approx(watt_seconds / 3600, abs=1 / 16 + 1e-6)
    if house.battery is not None:
        assert 0 <= house.battery.held_ws <= house.battery.size_ws
        charging = [index for index, item in enumerate(spec.circuits) if spec.bess and item.name == spec.bess.feed]
        for index in charging:
            stored = used[index] * math.sqrt(0.9) - used[len(spec.circuits) + index] / math.sqrt(0.9)
            assert house.battery.held_ws - (held or 0) == pytest.approx(stored, abs=2 * house.battery.spec.power_w)


@pytest.mark.parametrize("name", sorted({*BUILT_IN, *EARLIER}))
def test_an_evening_of_each_built_in_house_adds_up(name: str) -> None:
    house = House(earlier(name), 7, EVENING - 4 * HOUR)
    before = counters(check_sums(house))
    for minute in range(1, 6 * 60, 7):
        house.advance(EVENING - 4 * HOUR + minute * 60)
        now = counters(check_sums(house))
        assert all(after >= earlier for earlier, after in zip(before, now, strict=True))
        before = now


@given(
    spec=house_specs() | modern_specs(),
    seed=st.integers(0, 99),
    cuts=st.lists(st.floats(0, 100), max_size=40),
    events=st.lists(st.tuples(st.floats(0, 100), happenings), max_size=6),
)
def test_how_time_is_cut_makes_no_difference(
    spec: HouseSpec, seed: int, cuts: list[float], events: list[tuple[float, Happening]]
) -> None:
    events = sorted(events, key=lambda event: event[0])

    def live(steps: Iterable[float]) -> House:
        house, steps = House(spec, seed, EVENING + 0.5), list(steps)
        for when, event in [*events, (100.0, Happening("the end", lambda _: None))]:
            for step in [*(step for step in steps if house.now < EVENING + 0.5 + step < EVENING + 0.5 + when), when]:
                house.advance(EVENING + 0.5 + step)
            event.do(house)
        return house

    one = live([])
    assert state(one) == state(live(sorted(cuts))) == state(live(range(100)))


def test_counters_show_full_sixteenths_of_what_was_used_and_never_more() -> None:
    house = House(plain_house(700, years=0), 1, NOON)
    joules = 0.0
    for second in range(1, 200):
        joules += house.read().upstream.power_w
        house.advance(NOON + second)
        now = house.read()
        assert now.consumed_wh[0] == now.upstream.imported_wh == math.floor(joules / 225) / 16
        house.advance(NOON + second + 0.5)
        half = joules + now.upstream.power_w / 2
        assert house.read().upstream.imported_wh == house.read().consumed_wh[0] == math.floor(half / 225) / 16


def test_equal_seeds_are_equal_days_and_other_seeds_are_others() -> None:
    spec = built_in("32")
    houses = [House(spec, seed, MIDNIGHT) for seed in (1, 1, 2)]
    for house in houses:
        house.advance(MIDNIGHT + 3 * HOUR)
    assert state(houses[0]) == state(houses[1])
    assert houses[0].read().drawn_w != houses[2].read().drawn_w


def test_what_one_circuit_does_does_not_depend_on_the_others() -> None:
    whole, part = built_in("32"), built_in("32").circuits[11:]
    kitchen = [item for item in part if item.name == "Refrigerator"]
    alone = HouseSpec(serial_number=whole.serial_number, spaces=32, main_breaker_a=200, circuits=tuple(kitchen))
    houses = House(whole, 5, MIDNIGHT), House(alone, 5, MIDNIGHT)
    for house in houses:
        house.advance(MIDNIGHT + 3 * HOUR)
    fridges = [drawn(house, "Refrigerator") for house in houses]
    assert fridges[0] == pytest.approx(fridges[1], abs=20)  # only the scatter is another
    assert (fridges[0] > 50) == (fridges[1] > 50)


def test_a_house_does_not_get_younger() -> None:
    house = House(small_house(), 0, NOON)
    house.advance(NOON)
    with pytest.raises(ValueError, match="younger"):
        house.advance(NOON - 1)


def test_currents_are_those_of_the_legs() -> None:
    spec = plain_house(
        circuits=(
            circuit("On L1", 1, load=LoadKind.STANDBY, watts=400),
            circuit("On L2", 3, load=LoadKind.STANDBY, watts=900),
            circuit("On both", 6, dipole=True, load=LoadKind.STANDBY, watts=2000),
        )
    )
    now = House(spec, 1, NOON).read()
    one, two, both = now.drawn_w
    volts = now.l1_voltage, now.l2_voltage, now.l1_voltage + now.l2_voltage
    for amps, watts, across in zip(now.current_a, now.drawn_w, volts, strict=True):
        assert amps == pytest.approx(watts / across / 0.7, abs=1 / 128)  # 0.7: electronics
    assert now.l1_current_a == pytest.approx((one + both / 2) / volts[0], abs=1 / 128)
    assert now.l2_current_a == pytest.approx((two + both / 2) / volts[1], abs=1 / 128)
    assert min(one, two, both) > 300


# --- relays and priorities --------------------------------------------------------------------------------------------


def test_an_open_relay_lets_nothing_through() -> None:
    house = House(small_house(), 1, NOON)
    standby = circuit_id(house, "Standby")
    assert drawn(house, "Standby") > 100
    before = house.revision
    result = house.set_relay(standby, OPEN)
    assert (result.answer, result.value, result.accepted) == (Answer.DONE, OPEN, True)
    assert relay_of(house, "Standby") == (OPEN, "USER")
    assert house.revision > before
    check_sums(house)
    assert drawn(house, "Standby") == 0
    index = [item.spec.name for item in house.circuits].index("Standby")
    consumed = house.read().consumed_wh[index]
    house.advance(NOON + HOUR)
    assert house.read().consumed_wh[index] == consumed
    assert house.set_relay(standby, OPEN).answer is Answer.UNCHANGED
    assert house.set_relay(standby, CLOSED).answer is Answer.DONE
    assert drawn(house, "Standby") > 100


def test_refused_commands_change_nothing() -> None:
    house = House(small_house(), 1, NOON)
    before = state(house)
    fridge, pump = circuit_id(house, "Fridge"), circuit_id(house, "Pump")
    refusals = [
        (house.set_relay(fridge, OPEN), Answer.LOCKED, CLOSED),
        (house.set_relay(fridge, "BOGUS"), Answer.INVALID, CLOSED),
        (house.set_relay(pump, "UNKNOWN"), Answer.INVALID, CLOSED),
        (house.set_relay("unmapped_tab_3", OPEN), Answer.NO_SUCH, ""),
        (house.set_priority(pump, "NEVER"), Answer.LOCKED, "OFF_GRID"),
        (house.set_priority(fridge, "UNKNOWN"), Answer.INVALID, "NEVER"),
        (house.set_priority("nobody", "NEVER"), Answer.NO_SUCH, ""),
        (house.set_dominant_power_source("BOGUS"), Answer.INVALID, "GRID"),
        (house.set_charge_limit("nobody", 16), Answer.NO_SUCH, ""),
    ]
    for result, answer, value in refusals:
        assert (result.answer, result.value, result.accepted) == (answer, value, False)
    assert state(house) == before


def test_a_locked_relay_has_a_priority_that_can_be_changed() -> None:
    house = House(small_house(), 1, NOON)
    fridge = circuit_id(house, "Fridge")
    assert house.set_priority(fridge, "OFF_GRID").answer is Answer.DONE
    assert house.set_priority(fridge, "OFF_GRID").answer is Answer.UNCHANGED
    assert not house.by_id[fridge].sheddable  # it cannot be opened
    house.grid_lost()
    assert relay_of(house, "Fridge") == (CLOSED, "ALWAYS_ON")


def test_sheddable_is_as_commissioned_or_follows_the_priority() -> None:
    spec = plain_house(
        circuits=(
            circuit("Follows", 1, load=LoadKind.STANDBY),
            circuit("No", 2, load=LoadKind.STANDBY, sheddable=False, priority=ShedPriority.OFF_GRID),
        ),
        bess=BessSpec(nameplate_kwh=10),
    )
    house = House(spec, 1, NOON)
    follows = house.by_id[circuit_id(house, "Follows")]
    assert not follows.sheddable
    house.set_priority(follows.id, "SOC_THRESHOLD")
    assert follows.sheddable
    house.grid_lost()
    assert relay_of(house, "No") == (CLOSED, "NONE")


# --- chargers ---------------------------------------------------------------------------------------------------------


def charging_house(**more: object) -> House:
    for seed in range(20):
        house = House(small_house(**more), seed, MIDNIGHT + HOUR // 2)
        if house.chargers["sd-1"].status is EvseStatus.CHARGING:
            return house
    raise AssertionError


@pytest.mark.parametrize(
    ("amps", "allowed", "answer"),
    [
        (16, 16, Answer.DONE),
        (6, 6, Answer.DONE),
        (40, 40, Answer.DONE),
        (0, 6, Answer.CLAMPED),
        (-3, 6, Answer.CLAMPED),
        (5, 6, Answer.CLAMPED),
        (41, 40, Answer.CLAMPED),
    ],
)
def test_a_charge_limit_is_brought_into_the_range_and_acts_at_once(amps: int, allowed: int, answer: Answer) -> None:
    house = charging_house()
    assert house.chargers["sd-1"].limit_a is None
    result = house.set_charge_limit("sd-1", amps)
    assert (result.answer, result.value, result.accepted) == (answer, str(allowed), True)
    assert house.chargers["sd-1"].advertised_a == allowed
    assert drawn(house, "Charger") == pytest.approx(allowed * 240 * 0.985, rel=0.02)
    assert house.set_charge_limit("sd-1", allowed).answer is Answer.UNCHANGED


def test_a_charger_without_voltage_is_unavailable_and_its_car_stays_hungry() -> None:
    house, other = charging_house(), charging_house()
    before = house.revision
    house.set_relay(circuit_id(house, "Charger"), OPEN)
    assert house.chargers["sd-1"].status is EvseStatus.UNAVAILABLE
    assert house.chargers["sd-1"].lock_state is LockState.LOCKED
    assert house.revision > before
    house.advance(house.now + HOUR)
    other.advance(other.now + HOUR)
    house.set_relay(circuit_id(house, "Charger"), CLOSED)
    assert house.chargers["sd-1"].status is EvseStatus.CHARGING
    index = [item.spec.name for item in house.circuits].index("Charger")
    begin = House(small_house(), 0, MIDNIGHT).read().consumed_wh[index]
    for late in (house, other):
        late.advance(MIDNIGHT + 7 * HOUR)
    assert house.read().consumed_wh[index] - begin == pytest.approx(other.read().consumed_wh[index] - begin, rel=0.05)


# --- battery and sun --------------------------------------------------------------------------------------------------


def test_the_battery_takes_the_sun_and_gives_it_back_down_to_its_reserve() -> None:
    house = House(small_house(evse=()), 1, MIDNIGHT)
    soc: list[float] = []
    for _ in range(40 * 12):
        house.advance(house.now + 300)
        now = check_sums(house)
        assert now.flows.battery >= 0 or now.soc_percent >= 19.9
        soc.append(now.soc_percent)
    assert max(soc) == 100
    assert soc[29 * 12] < soc[14 * 12] - 30


def test_soc_and_soe_follow_the_power() -> None:
    spec = plain_house(2000, bess=BessSpec(nameplate_kwh=10, soc_percent=50))
    house = House(spec, 1, NOON)
    house.advance(NOON + 60)
    before = house.read()
    house.advance(NOON + 60 + HOUR)
    after = house.read()
    assert after.flows.battery == pytest.approx(-2000, rel=0.15)
    lost = before.soe_kwh - after.soe_kwh
    assert lost == pytest.approx(2.0 / math.sqrt(0.9), rel=0.15)
    assert before.soc_percent - after.soc_percent == pytest.approx(10 * lost, abs=0.05)


def test_an_empty_battery_is_charged_from_the_grid_up_to_its_reserve() -> None:
    house = House(plain_house(500, bess=BessSpec(nameplate_kwh=2, soc_percent=1)), 1, NOON)
    house.advance(NOON + 60)
    assert house.read().flows.battery == 1000
    house.advance(NOON + HOUR)
    assert house.read().flows.battery == 0
    assert house.read().soc_percent == pytest.approx(19.6, abs=0.1)


def test_small_differences_leave_the_battery_alone() -> None:
    house = House(plain_house(20, bess=BessSpec(nameplate_kwh=10)), 1, NOON)
    house.advance(NOON + 60)
    assert house.read().flows.battery == 0


def test_a_battery_whose_circuit_is_open_does_nothing_at_once() -> None:
    house = House(small_house(), 1, EVENING)
    house.advance(EVENING + 60)
    assert house.read().flows.battery < 0
    house.set_relay(circuit_id(house, "Battery"), OPEN)
    assert check_sums(house).flows.battery == 0
    house.advance(EVENING + 120)
    assert check_sums(house).flows.battery == 0


def test_the_sun_stops_when_its_circuit_is_open() -> None:
    house = House(small_house(), 1, NOON)
    assert house.read().flows.pv < -1000
    house.set_relay(circuit_id(house, "Solar"), OPEN)
    assert check_sums(house).flows.pv == 0


@pytest.mark.parametrize("position", ["UPSTREAM", "DOWNSTREAM"])
def test_devices_outside_of_the_panel_are_in_the_flows_and_on_the_right_lugs(position: str) -> None:
    where = RelativePosition(position)
    spec = small_house(
        pv=PvSpec(nameplate_w=6000, position=where), bess=BessSpec(nameplate_kwh=10, position=where), evse=()
    )
    house = House(spec, 1, NOON)
    for second in range(0, 600, 10):
        house.advance(NOON + second)
        now = check_sums(house)
        sun, battery = -now.flows.pv, now.flows.battery
        feedthrough = 100 if where == "UPSTREAM" else 100 - sun + battery
        assert now.downstream.power_w == pytest.approx(feedthrough, abs=20)
        if where == "UPSTREAM":  # not the service entrance: the lugs do not see sun and battery
            assert now.upstream.power_w == -now.flows.grid + sun - battery
        else:
            assert now.upstream.power_w == -now.flows.grid
    assert sun > 1000


# --- specs ------------------------------------------------------------------------------------------------------------


def test_ids_come_from_serial_number_and_name() -> None:
    one, two = small_house(), small_house(serial_number="NT-1-SMALL")
    ids = [one.id_of(item) for item in one.circuits]
    assert ids == [two.id_of(item) for item in two.circuits]
    assert all(len(item) == 32 and set(item) <= set("0123456789abcdef") for item in ids)
    assert len(set(ids)) == len(ids)
    other = small_house(serial_number="nt-1-other")
    assert not set(ids) & {other.id_of(item) for item in other.circuits}
    own = circuit("Own", 1, id="ac3dccda46a94b98878a227df6fed588")
    assert plain_house(circuits=(own,)).id_of(own) == "ac3dccda46a94b98878a227df6fed588"


def test_a_spec_that_cannot_be_meant_is_refused_where_it_is_made() -> None:
    with pytest.raises(SpanPanelValidationError, match="circuit 'X', breaker_a: must be more than 0"):
        circuit("X", 1, 0)
    with pytest.raises(SpanPanelValidationError, match="circuit 'X', priority: must be OFF_GRID, SOC_THRESHOLD or NEV"):
        circuit("X", 1, priority=ShedPriority.UNKNOWN)


def test_counters_begin_balanced_and_with_the_age_of_the_house() -> None:
    new, old = House(small_house(years=0), 1, NOON).read(), House(small_house(years=3), 1, NOON).read()
    assert set(counters(new)) == {0.0}
    assert min(old.consumed_wh[1], old.produced_wh[2], old.upstream.imported_wh) > 100_000
    net = sum(old.consumed_wh) - sum(old.produced_wh) + old.downstream.imported_wh
    assert old.upstream.imported_wh - old.upstream.exported_wh == pytest.approx(net, abs=2)
