"""Which leg a position is on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.span import (
    are_tabs_opposite_phase,
    get_phase_distribution,
    get_tab_phase,
    suggest_balanced_pairing,
    validate_solar_tabs,
)

POSITIONS = st.integers(min_value=-2, max_value=48)


@pytest.mark.parametrize(("leg", "tabs"), [("L1", [1, 2, 5, 6, 9, 10, 29, 30]), ("L2", [3, 4, 7, 8, 11, 12, 31, 32])])
def test_the_legs_alternate_row_by_row(leg: str, tabs: list[int]) -> None:
    assert {get_tab_phase(tab) for tab in tabs} == {leg}


def test_a_two_pole_breaker_has_one_tab_of_each_leg() -> None:
    for space in range(1, 47):
        assert are_tabs_opposite_phase(space, space + 2)
        assert not are_tabs_opposite_phase(space, space + 4)


@pytest.mark.parametrize(("tab", "valid"), [(0, None), (-1, None), (33, range(1, 33)), (2, {1, 3})])
def test_what_is_no_position_has_no_leg(tab: int, valid: range | set[int] | None) -> None:
    with pytest.raises(ValueError, match=str(tab)):
        get_tab_phase(tab, valid)
    assert not are_tabs_opposite_phase(tab, 1, valid)
    assert not are_tabs_opposite_phase(3, tab, valid)


@pytest.mark.parametrize(
    ("tabs", "good", "reason"),
    [
        ((1, 3), True, "positions 1 (L1) and 3 (L2) are on opposite legs: 240 V between them"),
        ((1, 5), False, "positions 1 (L1) and 5 (L1) are on the same leg: no 240 V between them"),
        ((1, 2), False, "positions 1 (L1) and 2 (L1) are on the same leg: no 240 V between them"),
        ((7, 7), False, "one position (7) is not two"),
        ((1, 40), False, "this panel has no position 40"),
        ((0, 1), False, "breaker positions begin at 1, not 0"),
    ],
)
def test_solar_needs_two_positions_on_opposite_legs(tabs: tuple[int, int], good: bool, reason: str) -> None:
    assert validate_solar_tabs(*tabs, valid_tabs=range(1, 33)) == (good, reason)


def test_positions_are_spread_over_the_legs_and_what_is_none_is_left_out() -> None:
    assert get_phase_distribution([5, 3, 1, 99, 0, 2], range(1, 33)) == {
        "L1_count": 3,
        "L2_count": 1,
        "L1_tabs": [1, 2, 5],
        "L2_tabs": [3],
        "is_balanced": False,
        "balance_difference": 2,
    }


@pytest.mark.parametrize(("tabs", "balanced"), [([], True), ([1], True), ([1, 3], True), ([1, 2], False)])
def test_legs_are_balanced_up_to_a_difference_of_one(tabs: list[int], balanced: bool) -> None:
    assert get_phase_distribution(tabs)["is_balanced"] is balanced


def test_a_position_that_is_named_twice_is_one_position() -> None:
    assert get_phase_distribution([1, 1, 3])["L1_tabs"] == [1]
    assert suggest_balanced_pairing([1, 1, 3, 4]) == [(1, 3)]


def test_pairs_are_made_from_the_lowest_positions_of_each_leg() -> None:
    assert suggest_balanced_pairing(iter([12, 9, 3, 2, 1])) == [(1, 3), (2, 12)]
    assert suggest_balanced_pairing([1, 2, 5]) == []
    assert suggest_balanced_pairing([1, 3, 33], range(1, 33)) == [(1, 3)]


@given(st.lists(POSITIONS), st.none() | st.sets(POSITIONS))
def test_every_suggested_pair_carries_240_volts_and_uses_each_position_once(
    tabs: list[int], valid: set[int] | None
) -> None:
    pairs = suggest_balanced_pairing(tabs, valid)
    assert all(validate_solar_tabs(*pair, valid)[0] for pair in pairs)
    used = [tab for pair in pairs for tab in pair]
    assert len(used) == len(set(used))
    assert set(used) <= set(tabs)
    legs = get_phase_distribution(tabs, valid)
    assert len(pairs) == min(legs["L1_count"], legs["L2_count"])
