"""From a flat panel's topics to its snapshot: every property, every node, every sign."""

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from span_trio.enums import DoorState, EvseStatus, RelayState
from span_trio.homie import Instant
from span_trio.snapshot import (
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from span_trio.span import circuit_id
from span_trio.span import fields as tables
from tests.unit.span.helpers import (
    DRIVE,
    GARAGE,
    HOUSE,
    KEYS,
    KITCHEN,
    ROOT,
    SMALL,
    SOLAR,
    VALUES,
    FlatPanel,
    describe,
    full_house,
    look,
)


def fields(cls: Any) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


# --- every property ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param(tables.CIRCUIT, fields(SpanCircuitSnapshot), id="CIRCUIT"),
        pytest.param(tables.BATTERY, fields(SpanBatterySnapshot), id="BATTERY"),
        pytest.param(tables.PV, fields(SpanPVSnapshot), id="PV"),
        pytest.param(tables.EVSE, fields(SpanEvseSnapshot), id="EVSE"),
        pytest.param(tables.PCS, fields(SpanPcsSnapshot), id="PCS"),
    ],
)
def test_each_table_is_in_the_order_of_the_fields_of_its_class(table: Mapping[str, Any], expected: list[str]) -> None:
    assert list(table) == expected


def test_the_tables_of_the_panel_name_its_fields_and_each_once() -> None:
    told = [*tables.CORE, *tables.LUGS, *tables.FLOWS, *tables.GRID]
    assert len(told) == len(set(told))
    assert set(told) <= set(fields(SpanPanelSnapshot))


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_every_property_of_a_full_house_shows_in_its_own_field(bare: bool) -> None:
    snapshot = full_house(bare=bare).snapshot()
    wrong = {
        line.path: (shown, line.shows) for line in VALUES if not _same(shown := look(snapshot, line.path), line.shows)
    }
    assert wrong == {}


def _same(shown: Any, expected: Any) -> bool:
    if isinstance(shown, tuple):
        shown = list(shown)
    return shown == expected and (isinstance(shown, str) or type(shown) is type(expected))


def test_every_field_of_the_snapshot_that_no_property_fills_is_the_builders_own() -> None:
    snapshot = full_house().snapshot()
    filled = {line.path for line in VALUES}
    rest = {
        field: getattr(snapshot, field)
        for field in fields(SpanPanelSnapshot)
        if (field,) not in filled and field not in {"circuits", "battery", "pv", "pv_inverters", "evse", "pcs"}
    }
    only = ("mid", "shed_", "lugs_", "data_model", "asserted", "frequency", "busbar", "service_rating", "upstream_")
    parent_child_only = {name: rest.pop(name) for name in list(rest) if name.startswith((*only, "downstream_feeds"))}
    assert set(parent_child_only.values()) == {None}
    assert rest == {
        "wwan_link": True,
        "dsm_state": "DSM_OFF_GRID",
        "current_run_config": "PANEL_BACKUP",
        "panel_size": 32,
        "first_position": 1,
        "last_position": 32,
        "unmapped_tabs": tuple(tab for tab in range(1, 33) if tab not in {30, 32}),
        "adopted_devices": (),
        "extension_properties": (),
        "alerts": {},
        "away_devices": {},
        "pending_devices": (),
        "seq": 1,
        "epoch": 1,
        "received_at": (1.0, 0.0),
    }
    assert list(snapshot.circuits) == [KITCHEN, SOLAR, GARAGE]
    assert snapshot.circuits[KITCHEN].circuit_id == KITCHEN
    assert snapshot.evse[DRIVE].node_id == DRIVE
    assert (snapshot.pv_inverters[SOLAR].node_id, snapshot.pv_inverters[SOLAR].device_id) == (SOLAR, ROOT)
    assert (snapshot.evse[DRIVE].device_id, snapshot.evse[DRIVE].serial_number) == (ROOT, DRIVE)
    assert snapshot.battery is not None
    assert (snapshot.battery.present, snapshot.battery.device_id) == (True, ROOT)


def test_what_is_said_about_a_snapshot_is_passed_on() -> None:
    panel = full_house()
    now = Instant(12.5, 1_790_000_000.25)
    snapshot = panel.builder.build(
        panel.forest, panel.forest.take_dirty(), pending=("a", "b"), seq=7, epoch=3, received_at=now
    )
    assert (snapshot.pending_devices, snapshot.seq, snapshot.epoch, snapshot.received_at) == (("a", "b"), 7, 3, now)


# What else moves with a property, because it is computed from it.
ALSO: Mapping[str, set[tuple[str, ...]]] = {
    "core/vendor-cloud": {("wwan_link",)},
    "core/dominant-power-source": {("current_run_config",)},
    "core/grid-islandable": {("current_run_config",)},
    "bess/grid-state": {("dsm_state",), ("current_run_config",)},
    f"{KITCHEN}/space": {("unmapped_tabs",)},
    f"{KITCHEN}/dipole": {("circuits", KITCHEN, "tabs"), ("unmapped_tabs",)},
    f"{KITCHEN}/always-on": {("circuits", KITCHEN, "is_user_controllable")},
    "pv/relative-position": {("circuits", SOLAR, "relative_position")},
    f"{DRIVE}/feed": {("circuits", circuit, "device_type") for circuit in (GARAGE, KITCHEN)},
    f"{DRIVE}/user-max-charge-current": {("evse", DRIVE, "effective_charge_current_limit_a")},
}


def test_a_property_moves_its_own_field_and_no_other() -> None:
    panel = full_house()
    before = panel.snapshot()
    for line in VALUES:
        panel.message(line.topic, line.other)
        after = panel.snapshot()
        mirrored = {("pv", line.path[-1])} if line.path[0] == "pv_inverters" else set()  # the lone inverter is `pv` too
        assert {change.path for change in after.changes(before)} == {line.path} | mirrored | ALSO.get(line.topic, set())
        assert _same(look(after, line.path), line.shows_then), line.topic
        panel.message(line.topic, line.payload)
        assert panel.snapshot() == before


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_i5_a_description_before_its_values_reads_none_and_never_zero(bare: bool) -> None:
    # Lesson span#259: the description is replayed before the values, and a 0.0 that stood in for a missing reading
    # booked the whole lifetime counter at every restart.
    snapshot = FlatPanel(HOUSE, bare=bare).snapshot()
    assert snapshot == SpanPanelSnapshot(
        serial_number=ROOT,  # the device's own id
        panel_size=None if bare else 32,
        first_position=None if bare else 1,
        last_position=None if bare else 32,
        unmapped_tabs=() if bare else tuple(range(1, 33)),
        circuits=snapshot.circuits,
        battery=SpanBatterySnapshot(device_id=ROOT),
        pv=SpanPVSnapshot(device_id=ROOT, node_id="pv"),
        pv_inverters=snapshot.pv_inverters,
        evse=snapshot.evse,
        pcs=SpanPcsSnapshot(),
    )
    for circuit in (KITCHEN, SOLAR, GARAGE):
        assert snapshot.circuits[circuit] == SpanCircuitSnapshot(circuit_id=circuit, is_user_controllable=True)
    assert dict(snapshot.pv_inverters) == {"pv": snapshot.pv}
    assert dict(snapshot.evse) == {DRIVE: SpanEvseSnapshot(DRIVE, ROOT, charge_current_limit_settable=not bare)}


def test_i5_a_half_reported_meter_reports_its_half() -> None:  # lesson span#259
    snapshot = FlatPanel().publish(KITCHEN, exported_energy="8000000.5")
    circuit = snapshot.circuits[KITCHEN]
    assert (circuit.consumed_energy_wh, circuit.produced_energy_wh) == (8000000.5, None)


def test_values_that_came_before_the_description_show_when_it_comes() -> None:
    # Lesson "panel parsed with zero circuits": the broker's order is not ours to choose.
    panel = FlatPanel({})
    panel.message(f"{KITCHEN}/active-power", "-60")
    assert panel.snapshot().circuits == {}
    assert panel.redescribe(SMALL).circuits[KITCHEN].instant_power_w == 60.0


def test_a_cleared_value_reads_none_again_and_never_zero() -> None:
    # Lesson "(null)/empty values for a moment": r202603 clears what is retained when its service restarts.
    panel = full_house()
    panel.snapshot()
    for topic in (*KEYS, *(line.topic for line in VALUES)):
        panel.message(topic, b"")
    panel.message("lugs-upstream/direction", b"")
    panel.message("lugs-downstream/direction", b"")
    assert panel.snapshot() == FlatPanel().snapshot()


def test_a_panel_with_nothing_but_circuits_has_none_of_the_other_parts() -> None:
    # `battery` and `pv` are None when not commissioned, never an empty object: presence is a question users ask.
    snapshot = FlatPanel(SMALL).publish(KITCHEN, name="Kitchen")
    assert (snapshot.battery, snapshot.pv, snapshot.pcs) == (None, None, None)
    assert (len(snapshot.pv_inverters), len(snapshot.evse)) == (0, 0)


def test_a_panel_without_a_core_node_is_known_by_its_device_id() -> None:
    snapshot = FlatPanel({KITCHEN: "circuit"}).publish(KITCHEN, name="Kitchen")
    assert snapshot.serial_number == ROOT
    assert snapshot.circuits[KITCHEN].name == "Kitchen"
    assert snapshot.main_relay_state == RelayState.UNKNOWN


def test_only_the_panels_own_device_shows() -> None:  # lesson: foreign device trees mixed in
    panel = full_house()
    before = panel.snapshot()
    panel.message("$description", json.dumps(describe(HOUSE)), device="nt-9")
    for line in VALUES:
        panel.message(line.topic, line.other, device="nt-9")
    assert panel.snapshot() == before


# --- nodes are known by type ------------------------------------------------------------------------------------------


def test_nodes_are_known_by_type_and_never_by_id() -> None:  # lesson span#214: an EVSE's id is the Drive's serial
    misleading = {"circuit": "bess", "bess": "pv", "pv": "evse", "evse": "circuit", "lugs": "power-flows", "x": "pcs"}
    panel = FlatPanel({"power-flows": "distribution-enclosure.core", **misleading})
    panel.publish("circuit", soc="51")
    panel.publish("bess", nameplate_capacity="5000")
    panel.publish("pv", status="CHARGING")
    panel.publish("evse", name="Kitchen")
    panel.publish("lugs", site="12")
    panel.publish("x", enabled="true")
    snapshot = panel.publish("power-flows", serial_number="nt-1", door="OPEN")
    assert (snapshot.serial_number, snapshot.door_state) == ("nt-1", DoorState.OPEN)
    assert snapshot.battery == SpanBatterySnapshot(device_id=ROOT, soc_percentage=51.0)
    assert snapshot.pv == SpanPVSnapshot(nameplate_capacity_w=5000.0, device_id=ROOT, node_id="bess")
    assert {charger.status for charger in snapshot.evse.values()} == {EvseStatus.CHARGING}
    assert snapshot.circuits["evse"].name == "Kitchen"
    assert snapshot.power_flow_site == 12.0
    assert snapshot.pcs == SpanPcsSnapshot(enabled=True)


@pytest.mark.parametrize(
    ("node", "normal"),
    [("AC3DCCDA-46A9-4B98", "ac3dccda46a94b98"), ("ac3d-ccda", "ac3dccda"), ("ac3dccda", "ac3dccda")],
)
def test_a_circuit_id_is_compared_without_dashes_and_case(node: str, normal: str) -> None:
    assert circuit_id(node) == normal


def test_a_circuit_whose_id_has_dashes_on_the_wire_is_keyed_without_them() -> None:
    dashed = "ac3dccda-46a9-4b98-878a-227df6fed588"
    snapshot = FlatPanel({dashed: "circuit"}).publish(dashed, name="Kitchen")
    assert snapshot.circuits == {KITCHEN: snapshot.circuits[KITCHEN]}
    assert (snapshot.circuits[KITCHEN].circuit_id, snapshot.circuits[KITCHEN].name) == (KITCHEN, "Kitchen")


def test_of_two_nodes_with_one_circuit_id_the_first_described_is_the_circuit() -> None:
    panel = FlatPanel({"ac-3d": "circuit", "ac3d": "circuit"})
    panel.publish("ac-3d", name="first")
    assert [circuit.name for circuit in panel.publish("ac3d", name="second").circuits.values()] == ["first"]


@pytest.mark.parametrize(
    ("kind", "prop", "field"),
    [("bess", "model", "battery.part_number"), ("pcs", "import-limit", "pcs.import_limit_a")],
)
def test_of_two_nodes_where_there_is_one_field_the_first_described_counts(kind: str, prop: str, field: str) -> None:
    panel = FlatPanel({"a": kind, "b": kind})
    panel.publish("b", {prop: "2"})
    snapshot = panel.publish("a", {prop: "1"})
    assert float(look(snapshot, field.split("."))) == 1.0


# --- signs and frames -------------------------------------------------------------------------------------------------


def test_the_worked_example_of_the_sign_conventions() -> None:
    # Grid import 3 kW, one load of 3 kW: upstream 3000, circuit -3000, power-flows/grid -3000, site 3000 on the wire.
    panel = FlatPanel()
    panel.publish("lugs-upstream", direction="UPSTREAM", active_power="3000")
    panel.publish(KITCHEN, active_power="-3000")
    snapshot = panel.publish("power-flows", pv="0", battery="0", grid="-3000", site="3000")
    assert snapshot.instant_grid_power_w == 3000.0  # from the utility
    assert snapshot.circuits[KITCHEN].instant_power_w == 3000.0  # consumption is positive
    assert (snapshot.power_flow_grid, snapshot.power_flow_site) == (-3000.0, 3000.0)  # as on the wire
    flows = (snapshot.power_flow_pv, snapshot.power_flow_battery, snapshot.power_flow_grid, snapshot.power_flow_site)
    assert sum(flow or 0.0 for flow in flows) == 0.0


def test_power_flows_keep_the_signs_of_the_wire() -> None:
    # Lesson span#184 (a battery shown discharging while it charges): one frame per field, said at the field.
    snapshot = FlatPanel().publish("power-flows", pv="-2000", battery="1500", grid="300", site="200")
    assert snapshot.power_flow_pv == -2000.0  # generating
    assert snapshot.power_flow_battery == 1500.0  # charging
    assert snapshot.power_flow_grid == 300.0  # exporting
    assert snapshot.power_flow_site == 200.0  # consuming
    # (Lessons api 1.2.0 and r202639 on a battery's flipped frame are of the parent/child schema: a flat battery has no
    # power of its own.)


def test_a_producing_circuit_has_negative_power_and_a_growing_produced_counter() -> None:
    circuit = FlatPanel().publish(SOLAR, active_power="4000", imported_energy="77", exported_energy="5").circuits[SOLAR]
    assert circuit.instant_power_w == -4000.0
    assert (circuit.produced_energy_wh, circuit.consumed_energy_wh) == (77.0, 5.0)


def test_downstream_lugs_are_positive_towards_the_sub_panel_as_published() -> None:
    panel = FlatPanel()
    panel.publish("lugs-downstream", direction="DOWNSTREAM", active_power="600")
    assert panel.publish("lugs-downstream", imported_energy="9", exported_energy="1").feedthrough_power_w == 600.0
    # Lesson span#11 (negative "total increasing"): both directions are magnitudes of their own, nothing nets them.
    snapshot = panel.snapshot()
    assert (snapshot.feedthrough_energy_consumed_wh, snapshot.feedthrough_energy_produced_wh) == (9.0, 1.0)


@pytest.mark.parametrize("payload", ["0", "0.0", "-0.0", "-0"])
@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_zero_power_has_no_sign(payload: str, bare: bool) -> None:  # lesson span#185: the UI showed -0 W
    panel = FlatPanel(bare=bare)
    panel.publish("lugs-upstream", direction="UPSTREAM", active_power=payload)
    panel.publish("power-flows", pv=payload, battery=payload, grid=payload, site=payload)
    snapshot = panel.publish(KITCHEN, active_power=payload)
    for power in (
        snapshot.circuits[KITCHEN].instant_power_w,
        snapshot.instant_grid_power_w,
        snapshot.power_flow_pv,
        snapshot.power_flow_battery,
        snapshot.power_flow_grid,
        snapshot.power_flow_site,
    ):
        assert power == 0.0
        assert math.copysign(1.0, power) == 1.0


@pytest.mark.parametrize("unit", ["W", "kW"])
def test_circuit_power_is_watts_whatever_unit_is_declared(unit: str) -> None:
    # Lesson "circuit power 1000x off": r202603 declares kW and publishes W.
    panel = FlatPanel(circuit={"active-power": {"datatype": "float", "unit": unit}})
    assert panel.publish(KITCHEN, active_power="-1500").circuits[KITCHEN].instant_power_w == 1500.0


@pytest.mark.parametrize("unit", ["W", "kW"])
def test_the_size_of_an_inverter_is_watts_whatever_unit_is_declared(unit: str) -> None:  # lesson HA CL 2.0.4
    panel = FlatPanel(pv={"nameplate-capacity": {"datatype": "float", "unit": unit}})
    snapshot = panel.publish("pv", nameplate_capacity="5000")
    assert snapshot.pv is not None
    assert snapshot.pv.nameplate_capacity_w == 5000.0


def test_power_beyond_an_inverters_nameplate_is_passed_on() -> None:
    # Lesson "PV power treated as capped by nameplate": it is the DC size at installation, for information.
    panel = FlatPanel()
    panel.publish("pv", nameplate_capacity="5000", feed=SOLAR)
    panel.publish(SOLAR, active_power="7500")
    snapshot = panel.publish("power-flows", pv="-7500")
    assert (snapshot.circuits[SOLAR].instant_power_w, snapshot.power_flow_pv) == (-7500.0, -7500.0)


def test_a_measurement_is_never_made_up_from_others() -> None:
    # Lesson api#138 (a Kirchhoff "fix" was reverted) and "grid sensor differs from main meter": each field is what was
    # measured there, or nothing.
    panel = FlatPanel()
    panel.publish(KITCHEN, active_power="-500")
    panel.publish("power-flows", grid="-3000", site="3000")
    snapshot = panel.publish("lugs-upstream", active_power="3500", imported_energy="5")
    assert snapshot.instant_grid_power_w is None  # no direction yet
    snapshot = panel.publish("lugs-upstream", direction="UPSTREAM")
    assert snapshot.instant_grid_power_w == 3500.0  # not power_flow_grid, not Kirchhoff's
    assert (snapshot.feedthrough_power_w, snapshot.feedthrough_energy_consumed_wh) == (None, None)


def test_i6_a_counter_that_goes_back_is_passed_on() -> None:
    # Lesson span#87 and #240: the panel's counters go back at a reset; freezing them hid real data.
    panel = FlatPanel()
    panel.publish(KITCHEN, exported_energy="9000")
    assert panel.publish(KITCHEN, exported_energy="3").circuits[KITCHEN].consumed_energy_wh == 3.0


def test_a_value_stays_for_as_long_as_nothing_else_is_said() -> None:
    # Lesson "same reading not resent for minutes": silence of one property says nothing about it.
    panel = FlatPanel()
    panel.publish(KITCHEN, exported_energy="9000")
    for power in range(50):
        snapshot = panel.publish(KITCHEN, active_power=str(-power))
    assert snapshot.circuits[KITCHEN].consumed_energy_wh == 9000.0


def test_a_restarting_panel_keeps_its_last_values() -> None:
    # Lesson api 2.5.2 to 2.5.4: clearing values on $state=init made counters dip to 0.0. (Whether a snapshot is made at
    # all then is the accumulator's business.)
    panel = full_house()
    before = panel.snapshot()
    panel.message("$state", "init")
    assert panel.snapshot() == before
    panel.message("$state", "ready")
    assert panel.snapshot() == before
