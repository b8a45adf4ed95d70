"""One house at one instant, published by flat firmware and as a device tree: what the library shows is the same.

What may differ, and why, is listed in `both_schemas.DIFFERENCES`.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import ShedPriority
from span_trio.simulator.house.house import House
from span_trio.simulator.house.spec import HouseSpec
from tests.unit.both_schemas import Pair
from tests.unit.simulator.house_helpers import NOON, Happening, circuit_id, happenings, house_specs
from tests.unit.simulator.parent_child_helpers import full_house

SPANS = st.sampled_from([1, 7, 60, 900, 7200])


@pytest.mark.slow
@given(
    spec=house_specs(),
    build=st.sampled_from([202633, 202639]),
    events=st.lists(st.tuples(happenings, SPANS), max_size=4),
)
def test_whatever_happens_in_a_house_both_schemas_show_the_same(
    spec: HouseSpec, build: int, events: list[tuple[Happening, int]]
) -> None:
    house = House(spec, 3, NOON)
    pair = Pair(house, build)
    assert pair.unlisted() == []
    for event, seconds in events:
        event.do(house)
        assert pair.unlisted() == [], event.what
        house.advance(house.now + seconds)
        assert pair.unlisted() == [], (event.what, seconds)


@pytest.mark.slow
def test_the_differences_of_a_house_with_one_of_everything_are_these() -> None:
    """And no others, though half a day has passed and one of each command was given."""
    house = House(full_house(), 3, NOON)
    pair = Pair(house, 202633)
    house.advance(NOON + 43_200)
    names = ("Lights", "Battery", "Charger", "Solar")
    lights, battery, charger, solar = (circuit_id(house, name) for name in names)
    assert house.set_relay(lights, "OPEN").accepted
    assert house.set_priority(lights, ShedPriority.OFF_GRID).accepted
    assert house.set_charge_limit("sd-1", 16).accepted
    assert pair.unlisted() == []
    found = {"/".join(change.path) for change in pair.differences()}
    merged = {f"circuits/{circuit_id(house, 'Fridge')}/relay_requester"}
    of_pv = {f"{pv}/{field}" for pv in ("pv", "pv_inverters/pv") for field in ("connected", "device_id")}
    forecasts = {
        f"shed_{full}{name}_min"
        for full in ("", "full_charge_")
        for name in ("time_to_priority_shed", "total_time_remaining")
    }
    assert found - merged - of_pv - forecasts == {
        "firmware_version",
        "grid_islandable",
        "extension_properties",
        "data_model_version",
        "asserted_islanding_state",
        "first_position",
        "last_position",
        "unmapped_tabs",
        "mid",
        "battery/device_id",
        "battery/power_w",
        "battery/communication_state",
        "pcs/binding_constraint",
        "shed_policy",
        "shed_policy_algorithm",
        "shed_soc_threshold_shed_percent",
        "shed_soc_threshold_release_percent",
        "shed_forecast_confidence",
        f"evse/{charger}/connected",
        f"evse/{charger}/device_id",
        *(f"circuits/{item.id}/{field}" for item in house.circuits for field in ("pcs_priority", "relay_controllable")),
        *(f"circuits/{circuit}/feeds" for circuit in (battery, charger, solar)),
    }
    assert merged | of_pv | forecasts <= found
    assert pair.child.look().circuits[solar].device_type == "pv"


@pytest.mark.parametrize("topic", ["meter/active-power", "meter/exported-energy", "meter/current", "info/name"])
def test_one_value_that_is_another_is_a_difference_that_is_not_allowed(topic: str) -> None:
    house = House(full_house(), 3, NOON)
    pair = Pair(house)
    lights = circuit_id(house, "Lights")
    pair.child.hear({f"{lights}/{topic}": b"-77.25"})
    assert [change.path[:2] for change in pair.unlisted()] == [("circuits", lights)]
