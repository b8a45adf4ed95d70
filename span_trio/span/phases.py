"""Which leg of the split-phase service a breaker position (tab) is on.

Odd positions go down the left side, even ones down the right; the legs alternate row by row: 1 and 2 are on L1, 3 and 4
on L2, 5 and 6 on L1 (observed, not documented by SPAN). The names are those that span-panel-api gave these helpers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, TypedDict

__all__ = [
    "PhaseDistribution",
    "are_tabs_opposite_phase",
    "get_phase_distribution",
    "get_tab_phase",
    "suggest_balanced_pairing",
    "validate_solar_tabs",
]


class PhaseDistribution(TypedDict):
    """How positions spread over the two legs. Balanced is a difference of at most one."""

    L1_count: int
    L2_count: int
    L1_tabs: list[int]
    L2_tabs: list[int]
    is_balanced: bool
    balance_difference: int


def get_tab_phase(tab_number: int, valid_tabs: Collection[int] | None = None) -> Literal["L1", "L2"]:
    """The leg of a position.

    Raises:
        ValueError: the position is below 1, or not among ``valid_tabs``.
    """
    if tab_number < 1:
        raise ValueError(f"breaker positions begin at 1, not {tab_number}")
    if valid_tabs is not None and tab_number not in valid_tabs:
        raise ValueError(f"this panel has no position {tab_number}")
    return "L2" if (tab_number - 1) // 2 % 2 else "L1"


def are_tabs_opposite_phase(tab1: int, tab2: int, valid_tabs: Collection[int] | None = None) -> bool:
    """Whether two positions are on different legs, as a 240 V load needs. False if either is no position."""
    try:
        return get_tab_phase(tab1, valid_tabs) != get_tab_phase(tab2, valid_tabs)
    except ValueError:
        return False


def validate_solar_tabs(tab1: int, tab2: int, valid_tabs: Collection[int] | None = None) -> tuple[bool, str]:
    """Whether two positions can carry a 240 V inverter, and a sentence that says why or why not."""
    if tab1 == tab2:
        return False, f"one position ({tab1}) is not two"
    try:
        legs = get_tab_phase(tab1, valid_tabs), get_tab_phase(tab2, valid_tabs)
    except ValueError as error:
        return False, str(error)
    where = f"positions {tab1} ({legs[0]}) and {tab2} ({legs[1]})"
    if legs[0] == legs[1]:
        return False, f"{where} are on the same leg: no 240 V between them"
    return True, f"{where} are on opposite legs: 240 V between them"


def get_phase_distribution(tabs: Iterable[int], valid_tabs: Collection[int] | None = None) -> PhaseDistribution:
    """Spread positions over the legs; what is no position of the panel is left out."""
    legs: dict[str, list[int]] = {"L1": [], "L2": []}
    for tab in sorted(set(tabs)):
        try:
            legs[get_tab_phase(tab, valid_tabs)].append(tab)
        except ValueError:
            continue
    difference = abs(len(legs["L1"]) - len(legs["L2"]))
    return PhaseDistribution(
        L1_count=len(legs["L1"]),
        L2_count=len(legs["L2"]),
        L1_tabs=legs["L1"],
        L2_tabs=legs["L2"],
        is_balanced=difference <= 1,
        balance_difference=difference,
    )


def suggest_balanced_pairing(
    available_tabs: Iterable[int], valid_tabs: Collection[int] | None = None
) -> list[tuple[int, int]]:
    """Pair free positions for 240 V loads: lowest on L1 with lowest on L2, as long as both legs have one."""
    legs = get_phase_distribution(available_tabs, valid_tabs)
    return list(zip(legs["L1_tabs"], legs["L2_tabs"], strict=False))
