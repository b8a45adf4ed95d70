"""What a parent/child panel's snapshot computes (facts, parent/child, sections 5, 7 and 9)."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span.battery_sign import CONTRADICTIONS
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import BESS, DRIVE, KITCHEN, MID, PV, ROOT, SOLAR, UP, House, describe, house

NO_MID: House = house(KITCHEN, SOLAR, UP)


def panel_of(devices: House, values: Mapping[str, str]) -> ChildPanel:
    panel = ChildPanel(devices)
    for topic, payload in values.items():
        panel.message(topic, payload)
    return panel


ASSERTED, GRID_FLOW = f"{ROOT}/shed/asserted-islanding-state", f"{ROOT}/power-flows/grid"
ISLANDING, FORMING = f"{MID}/grid/islanding-state", f"{MID}/grid/grid-forming-entity"
WITH_MID: House = house(KITCHEN, BESS, MID, PV)
STATES: Mapping[str | None, str] = {"ON_GRID": "DSM_ON_GRID", "OFF_GRID": "DSM_OFF_GRID"}


# --- islanding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "values", "grid_state", "dsm"),
    [
        # 1: what is asserted
        (WITH_MID, {ASSERTED: "ON_GRID", ISLANDING: "OFF_GRID"}, "ON_GRID", "DSM_ON_GRID"),
        (WITH_MID, {ASSERTED: "OFF_GRID", ISLANDING: "ON_GRID"}, "OFF_GRID", "DSM_OFF_GRID"),
        (WITH_MID, {ASSERTED: "OFF_GRID", f"{MID}/$state": "lost"}, "OFF_GRID", "DSM_OFF_GRID"),
        (NO_MID, {ASSERTED: "OFF_GRID", GRID_FLOW: "5000"}, "OFF_GRID", "DSM_OFF_GRID"),
        # 2: what the MID says
        (WITH_MID, {ASSERTED: "NONE", ISLANDING: "OFF_GRID", GRID_FLOW: "5000"}, "OFF_GRID", "DSM_OFF_GRID"),
        (WITH_MID, {ISLANDING: "ON_GRID"}, "ON_GRID", "DSM_ON_GRID"),
        (WITH_MID, {ISLANDING: "UNKNOWN"}, "UNKNOWN", "UNKNOWN"),
        (WITH_MID, {ASSERTED: "BOGUS", ISLANDING: "BOGUS"}, "BOGUS", "UNKNOWN"),
        # 3: a MID that says nothing
        (WITH_MID, {GRID_FLOW: "5000"}, None, "UNKNOWN"),
        (WITH_MID, {ISLANDING: "ON_GRID", f"{MID}/$state": "lost", GRID_FLOW: "5000"}, None, "UNKNOWN"),
        (WITH_MID, {ISLANDING: "ON_GRID", f"{MID}/$state": "init"}, None, "UNKNOWN"),
        (WITH_MID, {ISLANDING: "ON_GRID", f"{MID}/$state": ""}, None, "UNKNOWN"),
        # 4: no MID is declared: nothing can be islanded, whatever the flows say
        (NO_MID, {GRID_FLOW: "-5000"}, None, "DSM_ON_GRID"),
        (NO_MID, {GRID_FLOW: "-0.3"}, None, "DSM_ON_GRID"),
        (NO_MID, {GRID_FLOW: "0"}, None, "DSM_ON_GRID"),
        (NO_MID, {}, None, "DSM_ON_GRID"),
    ],
)
def test_lesson_b_islanding_by_the_first_rule_that_applies(
    devices: House, values: Mapping[str, str], grid_state: str | None, dsm: str
) -> None:
    """The panel's own assertion wins over its MID (lesson s1 1.1.4), and `grid-state` is no islanding (s1)."""
    snapshot = panel_of(devices, {f"{MID}/grid/grid-state": "UP", **values}).snapshot()
    assert (snapshot.grid_state, snapshot.dsm_state) == (grid_state, dsm)


@pytest.mark.parametrize(
    ("forming", "source", "config"),
    [
        ("GRID", "GRID", "PANEL_ON_GRID"),
        (BESS, "BATTERY", "PANEL_BACKUP"),
        (PV, "PV", "PANEL_OFF_GRID"),
        (KITCHEN, "UNKNOWN", "PANEL_OFF_GRID"),
        (ROOT, "UNKNOWN", "PANEL_OFF_GRID"),
        ("nobody", "UNKNOWN", "UNKNOWN"),
        ("grid", "UNKNOWN", "UNKNOWN"),
        (None, None, "UNKNOWN"),
    ],
)
def test_what_forms_the_grid_is_the_power_source_and_the_run_configuration(
    forming: str | None, source: str | None, config: str
) -> None:
    snapshot = panel_of(WITH_MID, {} if forming is None else {FORMING: forming}).snapshot()
    assert (snapshot.dominant_power_source, snapshot.current_run_config) == (source, config)


@pytest.mark.parametrize("forming", [None, "nobody"])
def test_an_unresolved_run_configuration_is_that_of_the_grid_if_the_panel_is_on_it(forming: str | None) -> None:
    values = {ISLANDING: "ON_GRID", **({} if forming is None else {FORMING: forming})}
    assert panel_of(WITH_MID, values).snapshot().current_run_config == "PANEL_ON_GRID"
    assert panel_of(WITH_MID, values | {ISLANDING: "OFF_GRID"}).snapshot().current_run_config == "UNKNOWN"


def test_lesson_b_without_a_mid_the_power_source_is_the_grid() -> None:
    """s1 1.0.0: it read unknown after the upgrade, on every site without a battery."""
    snapshot = panel_of(NO_MID, {GRID_FLOW: "-2000"}).snapshot()
    assert (snapshot.dominant_power_source, snapshot.current_run_config) == ("GRID", "PANEL_ON_GRID")
    assert panel_of(NO_MID, {}).snapshot().dominant_power_source == "GRID"


def test_a_reading_that_hovers_around_zero_moves_no_state() -> None:
    """The grid's power touched zero, and the state of the grid came and went with it."""
    panel = panel_of(NO_MID, {GRID_FLOW: "-500"})
    seen = {
        (snapshot.dsm_state, snapshot.current_run_config, snapshot.dominant_power_source)
        for power in ("-500.0", "-0.4", "-30.0", "0.2", "0.0", "-5.0", "")
        for snapshot in [panel.publish(ROOT, {"power-flows/grid": power})]
    }
    assert seen == {("DSM_ON_GRID", "PANEL_ON_GRID", "GRID")}


def test_a_battery_whose_child_is_not_described_may_have_a_mid() -> None:
    panel = ChildPanel(house(KITCHEN, BESS))
    assert panel.snapshot().dsm_state == "DSM_ON_GRID"
    snapshot = panel.redescribe(BESS, children=[MID])
    assert (snapshot.dsm_state, snapshot.current_run_config) == ("UNKNOWN", "UNKNOWN")
    assert snapshot.dominant_power_source is None
    assert panel.redescribe(ROOT, children=[KITCHEN, BESS, "new-circuit"]).dsm_state == "UNKNOWN"
    assert panel.redescribe(BESS).dsm_state == "DSM_ON_GRID"  # of the panel's own child, nobody expects a MID


def test_lesson_a_nothing_is_inferred_from_silence() -> None:
    """DSM read off grid at connect."""
    snapshot = ChildPanel().snapshot()
    assert (snapshot.grid_state, snapshot.dsm_state, snapshot.current_run_config) == (None, "UNKNOWN", "UNKNOWN")
    assert snapshot.dominant_power_source is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [((), None), (("true",), True), (("false",), False), (("false", "true"), True), (("maybe",), None)],
)
def test_the_panel_can_island_if_an_inverter_says_that_it_forms_a_grid(
    said: tuple[str, ...], shown: bool | None
) -> None:
    devices = {**house(BESS, PV), "inv-0": ("inverter", BESS), "inv-1": ("inverter", BESS)}
    panel = ChildPanel(devices)
    for number, payload in enumerate(said):
        panel.redescribe(f"inv-{number}", nodes={"grid-forming": {"type": "energy.ebus.capability.grid-forming"}})
        panel.message(f"inv-{number}/grid-forming/capable", payload)
    snapshot = panel.snapshot()
    assert snapshot.grid_islandable is shown
    assert len(snapshot.adopted_devices) == 2
    assert snapshot == panel.from_scratch()


# --- the MID ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forming", "values", "name"),
    [
        (BESS, {"info/vendor-name": "Tesla", "info/model": "Powerwall 2 AC"}, "Tesla Powerwall 2 AC"),
        (BESS, {"info/vendor-name": "Lucid"}, "Lucid"),
        (BESS, {"info/model": "Powerwall 2 AC"}, "Powerwall 2 AC"),
        (PV, {"info/vendor-name": "", "info/model": "\0"}, "A pv"),
        (KITCHEN, {"info/name": "Kitchen"}, "Kitchen"),
        (ROOT, {"info/name": "24 Elm Street", "info/vendor-name": "SPAN", "info/model": "UNKNOWN"}, "SPAN"),
        (ROOT, {"info/name": "24 Elm Street"}, None),
        ("GRID", {}, None),
        ("nobody", {}, None),
    ],
)
def test_what_forms_the_grid_has_a_name_that_people_know(
    forming: str, values: Mapping[str, str], name: str | None
) -> None:
    """Real panels give their devices no other name than the id, and the panel's own name is its site's."""
    panel = panel_of(WITH_MID, {FORMING: forming, **{f"{forming}/{path}": text for path, text in values.items()}})
    mid = panel.snapshot().mid
    assert mid is not None
    assert (mid.grid_forming_entity, mid.grid_forming_device_name) == (forming, name)


def test_the_id_of_a_device_is_no_name_of_it() -> None:
    panel = panel_of(WITH_MID, {FORMING: BESS})
    description = {**describe("bess", children=[MID], parent=ROOT), "name": BESS}
    panel.message(f"{BESS}/$description", json.dumps(description))
    mid = panel.snapshot().mid
    assert mid is not None
    assert mid.grid_forming_device_name is None


def test_the_name_moves_with_the_device_that_has_it() -> None:
    panel = panel_of(WITH_MID, {FORMING: KITCHEN})
    panel.snapshot()
    mid = panel.publish(KITCHEN, {"info/name": "Hall"}).mid
    assert mid is not None
    assert mid.grid_forming_device_name == "Hall"


def test_lesson_b_islanding_is_not_the_state_of_the_grid() -> None:
    """`UP` was shown where ON_GRID was expected (s1)."""
    snapshot = panel_of(WITH_MID, {ISLANDING: "ON_GRID", f"{MID}/grid/grid-state": "DOWN"}).snapshot()
    assert snapshot.mid is not None
    assert (snapshot.grid_state, snapshot.mid.islanding_state, snapshot.mid.grid_state) == (
        "ON_GRID",
        "ON_GRID",
        "DOWN",
    )


# --- shedding ---------------------------------------------------------------------------------------------------------

POLICY = '{"algorithm":"soc-priority.v1","parameters":{"soc-threshold-shed":49,"soc-threshold-release":51}}'


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
@pytest.mark.parametrize(
    ("text", "algorithm", "shed", "release"),
    [
        (POLICY, "soc-priority.v1", 49, 51),
        (POLICY.replace("49", "0"), "soc-priority.v1", 0, 51),
        (POLICY.replace("49", "true"), "soc-priority.v1", None, 51),  # lesson A: read as 1 %
        (POLICY.replace("49", "49.5"), "soc-priority.v1", None, 51),
        (POLICY.replace("49", '"49"'), "soc-priority.v1", None, 51),
        (POLICY.replace("49", "null"), "soc-priority.v1", None, 51),
        (POLICY.replace("soc-priority.v1", "soc-priority.v2"), "soc-priority.v2", None, None),
        (POLICY.replace('"soc-priority.v1"', "1"), None, None, None),
        ('{"algorithm":"soc-priority.v1"}', "soc-priority.v1", None, None),
        ('{"algorithm":"soc-priority.v1","parameters":[49,51]}', "soc-priority.v1", None, None),
        ('{"parameters":{"soc-threshold-shed":49}}', None, None, None),
        ("{}", None, None, None),
        ("[]", None, None, None),
        ("not JSON", None, None, None),
        ('{"algorithm":', None, None, None),
        ("49", None, None, None),
        ("[" * 100_000, None, None, None),
    ],
    ids=lambda text: text[-60:] if isinstance(text, str) else None,
)
def test_a_policy_is_kept_as_it_is_and_read_if_it_can_be(
    text: str, algorithm: str | None, shed: int | None, release: int | None, bare: bool
) -> None:
    snapshot = ChildPanel(bare=bare).publish(ROOT, {"shed/policy": text})
    assert snapshot.shed_policy == text
    assert snapshot.shed_policy_algorithm == algorithm
    assert snapshot.shed_soc_threshold_shed_percent == shed
    assert snapshot.shed_soc_threshold_release_percent == release


@pytest.mark.parametrize(
    ("text", "release"),
    [(POLICY, 51), ("not JSON", None), ("[" * 100_000, None), ("49", None), ("", None)],
    ids=lambda value: str(len(value)) if isinstance(value, str) else None,
)
def test_a_policy_declared_as_text_is_read_all_the_same(text: str, release: int | None) -> None:
    panel = ChildPanel()
    panel.redescribe(ROOT, shed__policy={"datatype": "string"})
    snapshot = panel.publish(ROOT, {"shed/policy": text})
    assert (snapshot.shed_policy, snapshot.shed_soc_threshold_release_percent) == (text or None, release)


@pytest.mark.parametrize("declared", [None, {"datatype": "json", "retained": False}])
def test_a_policy_that_does_not_show_is_none(declared: dict[str, Any] | None) -> None:
    """Left over by another firmware, or an event."""
    panel = ChildPanel()
    panel.redescribe(ROOT, shed__policy=declared)
    assert panel.publish(ROOT, {"shed/policy": POLICY}).shed_policy is None


@pytest.mark.parametrize(("payload", "shown"), [("0", 0), ("41", 41), ("41.0", 41), ("-1", -1), ("41.5", None)])
def test_a_forecast_of_zero_minutes_is_one(payload: str, shown: int | None) -> None:
    snapshot = ChildPanel().publish(ROOT, {"shed-forecast/time-to-priority-shed": payload})
    assert snapshot.shed_time_to_priority_shed_min == shown


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "size", "first", "last"),
    [
        ("MAIN_16", 16, 9, 24),
        ("MLO_24", 24, 1, 24),
        ("MAIN_32", 32, 1, 32),
        ("MAIN_40", 40, 9, 48),
        ("MLO_48", 48, 1, 48),
    ],
)
def test_a_panels_positions_are_those_of_its_model(model: str, size: int, first: int, last: int) -> None:
    panel = ChildPanel(house(KITCHEN, SOLAR))
    panel.publish(KITCHEN, {"info/spaces": f"{first},{first + 2}"})
    panel.publish(SOLAR, {"info/spaces": f"{last}"})
    snapshot = panel.publish(ROOT, {"info/model": model})
    assert (snapshot.panel_size, snapshot.first_position, snapshot.last_position) == (size, first, last)
    taken = {first, first + 2, last}
    assert snapshot.unmapped_tabs == tuple(tab for tab in range(first, last + 1) if tab not in taken)


@pytest.mark.parametrize("model", ["MAIN_64", "main_32", "", "X", "UNKNOWN"])
def test_lesson_b_of_an_unknown_model_no_position_is_known(model: str) -> None:
    panel = ChildPanel()
    panel.publish(KITCHEN, {"info/spaces": "1,3"})
    snapshot = panel.publish(ROOT, {"info/model": model})
    assert (snapshot.panel_size, snapshot.first_position, snapshot.last_position) == (None, None, None)
    assert snapshot.unmapped_tabs == ()
    assert snapshot.model == (None if model in {"", "UNKNOWN"} else model)


def test_a_circuit_at_a_position_that_does_not_exist_moves_nothing() -> None:
    panel = ChildPanel(house(KITCHEN, SOLAR))
    panel.publish(ROOT, {"info/model": "MAIN_16"})
    panel.publish(KITCHEN, {"info/spaces": "7,9"})
    snapshot = panel.publish(SOLAR, {"info/spaces": "25"})
    assert (snapshot.panel_size, snapshot.first_position, snapshot.last_position) == (16, 9, 24)
    assert snapshot.unmapped_tabs == tuple(range(10, 25))
    assert (snapshot.circuits[KITCHEN].tabs, snapshot.circuits[SOLAR].tabs) == ((7, 9), (25,))
    assert panel.builder.positions.misplaced == (7, 25)


def test_circuits_that_share_a_position_take_it_once() -> None:
    panel = ChildPanel(house(KITCHEN, SOLAR))
    panel.publish(KITCHEN, {"info/spaces": "10"})
    panel.publish(SOLAR, {"info/spaces": "10"})
    assert panel.publish(ROOT, {"info/model": "MAIN_16"}).unmapped_tabs == (9, *range(11, 25))


@pytest.mark.parametrize(
    ("spaces", "tabs"),
    [
        ("5", (5,)),
        ("17,19", (17, 19)),
        (" 17 , 19 ", (17, 19)),
        ("19,17,19", (19, 17)),
        ("17,x,19", (17, 19)),
        ("17,,19", (17, 19)),
        ("0,-1,2.5,17", (17,)),
        ("99999,17", (17,)),
        ("٣,²", ()),
        ("none", ()),
        ("", ()),
    ],
)
def test_positions_are_a_list_of_which_bad_parts_are_ignored(spaces: str, tabs: tuple[int, ...]) -> None:
    assert ChildPanel().publish(KITCHEN, {"info/spaces": spaces}).circuits[KITCHEN].tabs == tabs


def test_positions_declared_as_a_number_are_one() -> None:
    panel = ChildPanel()
    for datatype, tabs in (("integer", (5,)), ("float", ())):
        panel.redescribe(KITCHEN, info__spaces={"datatype": datatype})
        assert panel.publish(KITCHEN, {"info/spaces": "5"}).circuits[KITCHEN].tabs == tabs


@pytest.mark.parametrize(("poles", "shown"), [("1", False), ("2", True), ("3", True), ("", None), ("two", None)])
def test_two_poles_are_240_volts(poles: str, shown: bool | None) -> None:
    assert ChildPanel().publish(KITCHEN, {"breaker/poles": poles}).circuits[KITCHEN].is_240v is shown


# --- the battery's sign -----------------------------------------------------------------------------------------------

METER, FLOW, FIRMWARE = f"{BESS}/meter/active-power", f"{ROOT}/power-flows/battery", f"{ROOT}/info/firmware-version"


def battery_power(snapshot: SpanPanelSnapshot) -> float | None:
    assert snapshot.battery is not None
    return snapshot.battery.power_w


@pytest.mark.parametrize(
    ("firmware", "power"),
    [
        ("spanos3/r202633/02", -1000.0),
        ("spanos3/r202638/99", -1000.0),
        ("spanos3/r202639/01", 1000.0),
        ("spanos3/r202639", 1000.0),
        ("spanos4/r202701/01", 1000.0),
        ("r202639", 1000.0),
        ("spanos3/r202633/r202639", -1000.0),  # the first
    ],
)
@pytest.mark.parametrize("flow", ["1000", "-1000", "0", ""])
def test_lesson_a_a_batterys_sign_is_that_of_the_firmwares_build(firmware: str, power: float, flow: str) -> None:
    """Discharging is positive from r202639 on, with the data model still 1.0 (s1 1.2.0): whatever the flow says."""
    assert battery_power(panel_of(WITH_MID, {FIRMWARE: firmware, METER: "1000", FLOW: flow}).snapshot()) == power


@pytest.mark.parametrize("firmware", ["sim/v0.9.0", "spanos3/202639/01", "spanos3/r20263/01", "R202639", ""])
@pytest.mark.parametrize(
    ("meter", "flow", "power"),
    [
        ("1000", "1000", -1000.0),  # the panel's flow counts charging: the meter does, too
        ("1000", "-900", 1000.0),
        ("-1000", "-1", 1000.0),
        ("-1000", "1", -1000.0),
        ("1000", "0", -1000.0),  # nothing to compare: the old frame
        ("1000", "", -1000.0),
        ("0", "1000", 0.0),
        ("", "1000", None),
    ],
)
def test_without_a_build_the_sign_is_told_by_comparison(
    firmware: str, meter: str, flow: str, power: float | None
) -> None:
    assert battery_power(panel_of(WITH_MID, {FIRMWARE: firmware, METER: meter, FLOW: flow}).snapshot()) == power


def test_a_sign_that_was_told_stays_told() -> None:
    """Between two messages the meter and the flow may differ."""
    panel = panel_of(WITH_MID, {FIRMWARE: "sim/v0.9.0", METER: "1000", FLOW: "-1000"})
    assert battery_power(panel.snapshot()) == 1000.0
    assert battery_power(panel.publish(BESS, {"meter/active-power": "-400"})) == -400.0
    assert battery_power(panel.publish(ROOT, {"power-flows/battery": "0"})) == -400.0
    assert battery_power(panel.publish(BESS, {"meter/active-power": "300"})) == 300.0


def test_a_torn_pair_changes_the_sign_for_two_bursts_at_most() -> None:
    panel = panel_of(WITH_MID, {FIRMWARE: "sim/v0.9.0", METER: "1000", FLOW: "1000"})  # torn: charging no more
    shown = [battery_power(panel.snapshot())]
    for power in range(1001, 1001 + CONTRADICTIONS):
        panel.message(METER, f"{power}")
        panel.message(FLOW, f"-{power}")
        shown.append(battery_power(panel.snapshot()))
    assert shown == [-1000.0, -1001.0, -1002.0, 1003.0]


def test_bursts_that_contradict_now_and_then_do_not_change_the_sign() -> None:
    panel = panel_of(WITH_MID, {FIRMWARE: "sim/v0.9.0", METER: "1000", FLOW: "-1000"})
    assert battery_power(panel.snapshot()) == 1000.0
    for power, flow in ((1001, "1"), (1002, "2"), (1003, "-3"), (1004, "4"), (1005, "5")):
        panel.message(METER, f"{power}")
        panel.message(FLOW, flow)
        assert battery_power(panel.snapshot()) == power


def test_a_sign_that_was_told_of_another_firmware_is_not_told() -> None:
    panel = panel_of(WITH_MID, {FIRMWARE: "sim/v0.8.0", METER: "1000", FLOW: "1000"})
    assert battery_power(panel.snapshot()) == -1000.0
    panel.message(FLOW, "0")
    assert battery_power(panel.publish(ROOT, {"info/firmware-version": "sim/v0.9.0"})) == -1000.0
    assert battery_power(panel.publish(ROOT, {"power-flows/battery": "-1000"})) == 1000.0
    assert battery_power(panel.publish(ROOT, {"info/firmware-version": "spanos3/r202633/02"})) == -1000.0


def test_flows_keep_their_signs_in_either_build() -> None:
    for firmware in ("spanos3/r202633/02", "spanos3/r202639/03"):
        snapshot = panel_of(WITH_MID, {FIRMWARE: firmware, FLOW: "1000", GRID_FLOW: "3000"}).snapshot()
        assert (snapshot.power_flow_battery, snapshot.power_flow_grid) == (1000.0, 3000.0)


# --- what moves a computed field, moves it at once --------------------------------------------------------------------


@pytest.mark.slow
def test_i4_every_pair_of_inputs_in_either_order() -> None:
    inputs = [
        (ASSERTED, "OFF_GRID"),
        (ISLANDING, "ON_GRID"),
        (FORMING, BESS),
        (FIRMWARE, "spanos3/r202633/02"),
        (METER, "77"),
        (f"{UP}/info/direction", "DOWNSTREAM"),
        (f"{SOLAR}/connection/feeds-device-id", DRIVE),
        (f"{DRIVE}/info/serial-number", "X"),
        (f"{ROOT}/info/model", "MLO_48"),
        (f"{KITCHEN}/info/spaces", "1"),
        (f"{MID}/$state", "lost"),
        (f"{PV}/$state", "init"),
    ]
    for first, second in itertools.permutations(inputs, 2):
        panel = full_house()
        panel.snapshot()
        for topic, payload in (first, second):
            panel.message(topic, payload)
            assert panel.snapshot() == panel.from_scratch(), (first, second)
