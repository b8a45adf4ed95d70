"""Values that no topic carries: the tables of the rules, row by row, and what they become in a snapshot."""

import itertools
import math

import pytest

from span_trio.enums import DsmState, RunConfig
from span_trio.snapshot import SpanPVSnapshot
from span_trio.span.derive import dsm_state, firmware_build, negated, run_config, shared_inverter, tabs_of
from tests.unit.span.helpers import HOUSE, FlatPanel

ON, OFF, UNKNOWN = DsmState.DSM_ON_GRID, DsmState.DSM_OFF_GRID, DsmState.UNKNOWN
OWN_SOURCES = ("BATTERY", "PV", "GENERATOR")
SOURCES = (None, "GRID", *OWN_SOURCES, "NONE", "UNKNOWN", "FUSION")


# --- DSM state --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid_state", "state"), [("ON_GRID", ON), ("OFF_GRID", OFF)])
def test_dsm_rules_1_and_2_the_battery_is_the_authority(grid_state: str, state: DsmState) -> None:
    for source, power in itertools.product(SOURCES, (None, 0.0, 5000.0)):
        found = dsm_state(has_battery=True, grid_state=grid_state, source=source, grid_powers=[power, power])
        assert found is state, (source, power)


@pytest.mark.parametrize("grid_state", [None, "UNKNOWN", "DRIFTING", "on_grid"])
@pytest.mark.parametrize("power", [None, 0.0, 5000.0])
def test_dsm_rule_3_the_grid_as_the_source_is_on_grid(grid_state: str | None, power: float | None) -> None:
    for has_battery in (False, True):
        state = dsm_state(has_battery=has_battery, grid_state=grid_state, source="GRID", grid_powers=[power, None])
        assert state is ON


@pytest.mark.parametrize("source", OWN_SOURCES)
@pytest.mark.parametrize(
    ("powers", "state"),
    [
        pytest.param([None, None], UNKNOWN, id="rule 4: nothing reported"),  # lesson api 3.1.0: off-grid at connect
        pytest.param([1.01, None], ON, id="rule 5: the meter alone"),
        pytest.param([None, -1.01], ON, id="rule 5: the flow alone"),
        pytest.param([0.0, -3000.0], ON, id="rule 5: any of the two"),
        pytest.param([0.0, None], OFF, id="rule 6: the meter alone"),
        pytest.param([None, 0.0], OFF, id="rule 6: the flow alone"),
        pytest.param([1.0, -1.0], OFF, id="rule 6: noise of up to 1 W"),  # lesson api 2.6.1: compared with 0.0 exactly
    ],
)
def test_dsm_rules_4_to_6_with_a_source_of_ones_own_the_measured_power_decides(
    source: str, powers: list[float | None], state: DsmState
) -> None:
    assert dsm_state(has_battery=False, grid_state=None, source=source, grid_powers=powers) is state
    assert dsm_state(has_battery=True, grid_state="UNKNOWN", source=source, grid_powers=powers) is state


@pytest.mark.parametrize("source", [None, "NONE", "UNKNOWN", "FUSION", ""])
@pytest.mark.parametrize("powers", [[None, None], [0.0, 0.0], [5000.0, -5000.0]])
def test_dsm_rule_7_otherwise_it_is_unknown(source: str | None, powers: list[float | None]) -> None:
    assert dsm_state(has_battery=True, grid_state=None, source=source, grid_powers=powers) is UNKNOWN


def test_without_a_battery_its_grid_state_does_not_count() -> None:
    assert dsm_state(has_battery=False, grid_state="OFF_GRID", source="GRID", grid_powers=[]) is ON


@pytest.mark.parametrize(
    ("nodes", "values", "state"),
    [
        (HOUSE, {"bess/grid-state": "OFF_GRID", "core/dominant-power-source": "GRID"}, OFF),
        (HOUSE, {"bess/grid-state": "UNKNOWN", "core/dominant-power-source": "GRID"}, ON),
        (HOUSE, {"core/dominant-power-source": "BATTERY"}, UNKNOWN),
        (HOUSE, {"core/dominant-power-source": "PV", "power-flows/grid": "0"}, OFF),
        (HOUSE, {"core/dominant-power-source": "PV", "power-flows/grid": "0", "lugs-upstream/active-power": "9"}, OFF),
        (
            HOUSE,
            {
                "core/dominant-power-source": "PV",
                "power-flows/grid": "0",
                "lugs-upstream/direction": "upstream",
                "lugs-upstream/active-power": "9",
            },
            ON,
        ),
        ({"core": HOUSE["core"]}, {"core/dominant-power-source": "PV", "power-flows/grid": "9"}, UNKNOWN),
        ({}, {}, UNKNOWN),
    ],
)
def test_a_snapshot_has_the_dsm_state_of_what_was_reported(
    nodes: dict[str, str], values: dict[str, str], state: DsmState
) -> None:
    panel = FlatPanel(nodes)
    for topic, payload in values.items():
        panel.message(topic, payload)
    assert panel.snapshot().dsm_state is state


# --- run configuration ------------------------------------------------------------------------------------------------


def test_on_grid_is_on_grid_and_unknown_is_unknown_whatever_else() -> None:
    for islandable, source in itertools.product((None, False, True), SOURCES):
        assert run_config(ON, islandable, source) is RunConfig.PANEL_ON_GRID
        assert run_config(UNKNOWN, islandable, source) is RunConfig.UNKNOWN


@pytest.mark.parametrize(
    ("islandable", "source", "config"),
    [
        *((islandable, source, "UNKNOWN") for islandable in (None, False) for source in (None, "GRID", *OWN_SOURCES)),
        (True, "BATTERY", "PANEL_BACKUP"),
        (True, "PV", "PANEL_OFF_GRID"),
        (True, "GENERATOR", "PANEL_OFF_GRID"),
        *((True, source, "UNKNOWN") for source in (None, "GRID", "NONE", "UNKNOWN", "FUSION")),
    ],
)
def test_off_grid_the_source_decides_if_the_panel_can_island(
    islandable: bool | None, source: str | None, config: str
) -> None:
    assert run_config(OFF, islandable, source) is RunConfig(config)


def test_a_snapshot_has_the_run_configuration_of_what_was_reported() -> None:
    panel = FlatPanel()
    assert panel.snapshot().current_run_config is RunConfig.UNKNOWN
    panel.publish("bess", grid_state="OFF_GRID")
    assert panel.publish("core", dominant_power_source="BATTERY").current_run_config is RunConfig.UNKNOWN
    assert panel.publish("core", grid_islandable="true").current_run_config is RunConfig.PANEL_BACKUP
    assert panel.publish("bess", grid_state="ON_GRID").current_run_config is RunConfig.PANEL_ON_GRID


# --- small rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "build"),
    [
        ("spanos2/r202603/05", 202603),
        ("r202627", 202627),
        ("a/b/r202615", 202615),
        ("spanos2/r202603/r202627", 202603),
        ("sim/v1.0.11", None),
        ("spanos2/r2026/05", None),
        ("spanos2/r202603x/05", None),
        ("spanos2/R202603", None),
        ("spanos2/r\u0662\u0660\u0662\u0666\u0660\u0663", None),
        ("", None),
        (None, None),
    ],
)
def test_the_build_is_the_first_segment_that_looks_like_one(version: str | None, build: int | None) -> None:
    assert firmware_build(version) == build


@pytest.mark.parametrize("value", [1.5, -1.5, 5e-324, -1e300, 0.0, -0.0])
def test_a_negated_value_is_the_opposite_and_zero_has_no_sign(value: float) -> None:
    opposite = negated(value)
    assert opposite == -value
    assert opposite != 0 or math.copysign(1.0, opposite) == 1.0


def test_what_was_not_reported_has_no_opposite() -> None:
    assert negated(None) is None


@pytest.mark.parametrize("dipole", [None, False, True])
def test_a_circuit_without_a_position_has_no_tabs(dipole: bool | None) -> None:
    assert [tabs_of(space, dipole) for space in (None, 0, -1)] == [(), (), ()]


def test_a_two_pole_breaker_takes_two_rows_of_one_side() -> None:
    assert (tabs_of(1, True), tabs_of(1, False), tabs_of(30, True)) == ((1, 3), (1,), (30, 32))


# --- inverters --------------------------------------------------------------------------------------------------------

EAST = SpanPVSnapshot("Enphase", "IQ8", "E-1", "8.2", 5000.0, "aa", "UPSTREAM", True, "nt-1", "pv-a")
WEST = SpanPVSnapshot("Enphase", "IQ7", "E-2", "8.2", 3000.0, "bb", "UPSTREAM", True, "nt-1", "pv-b")


def test_no_inverter_shares_nothing_and_a_lone_one_is_itself() -> None:
    assert shared_inverter([]) is None
    assert shared_inverter(iter([EAST])) is EAST


def test_several_inverters_share_what_they_agree_on() -> None:
    # Lesson span#269: the aggregate is not the primary one, so it has no identity and feeds no circuit.
    assert shared_inverter([EAST, WEST]) == SpanPVSnapshot(
        vendor_name="Enphase", nameplate_capacity_w=8000.0, relative_position="UPSTREAM", connected=True
    )


@pytest.mark.parametrize(
    ("links", "connected"),
    [
        ((True, True), True),
        ((True, False), False),
        ((True, None), None),
        ((False, None), False),
        ((None, None), None),
        ((True, True, False), False),
    ],
)
def test_the_links_of_several_inverters_are_all_up_or_one_is_down_or_that_is_unknown(
    links: tuple[bool | None, ...], connected: bool | None
) -> None:
    for order in itertools.permutations(links):
        shared = shared_inverter(SpanPVSnapshot(connected=link) for link in order)
        assert shared is not None
        assert shared.connected is connected


def test_i5_the_size_of_several_inverters_is_known_only_if_each_is() -> None:
    shared = shared_inverter([EAST, SpanPVSnapshot(node_id="pv-c")])
    assert shared is not None
    assert shared.nameplate_capacity_w is None
    assert shared.vendor_name is None  # one of them did not say
