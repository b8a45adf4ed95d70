"""From a parent/child panel's topics to its snapshot: every property in its own field, and in no other."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from span_trio.homie import Datatype
from span_trio.snapshot import (
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanConnectionSnapshot,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from span_trio.span import FALLBACK, FLAT
from span_trio.span import child_fields as tables
from span_trio.span.parts import Kind
from span_trio.span.private import PRIVATE
from span_trio.span.tables import fixed, table_of
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import (
    BESS,
    DECLARED,
    DRIVE,
    GARAGE,
    HOUSE,
    KITCHEN,
    MID,
    PANEL,
    PV,
    ROOT,
    SMALL,
    SOLAR,
    UP,
    VALUES,
    WIRING,
    declarations,
)
from tests.unit.span.helpers import look


def fields(cls: Any) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "cls"),
    [
        (tables.CIRCUIT, SpanCircuitSnapshot),
        (tables.OUTSIDE, SpanCircuitSnapshot),
        (tables.BATTERY, SpanBatterySnapshot),
        (tables.PV, SpanPVSnapshot),
        (tables.EVSE, SpanEvseSnapshot),
        (tables.MID, SpanMidSnapshot),
        (tables.PCS, SpanPcsSnapshot),
    ],
    ids=["CIRCUIT", "OUTSIDE", "BATTERY", "PV", "EVSE", "MID", "PCS"],
)
def test_each_table_is_in_the_order_of_the_fields_of_its_class(table: Mapping[str, Any], cls: Any) -> None:
    assert list(table) == fields(cls)


def test_the_tables_of_panel_and_lugs_name_fields_of_the_panel_and_each_once() -> None:
    told = [*tables.PANEL, *tables.UPSTREAM, *tables.DOWNSTREAM]
    assert len(told) == len(set(told))
    assert set(told) <= set(fields(SpanPanelSnapshot))


def test_a_table_with_a_step_for_no_field_or_a_field_without_one_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        table_of(SpanMidSnapshot, {"node_id": fixed(""), "colour": fixed("red")})
    with pytest.raises(TypeError, match="node_id"):
        table_of(SpanMidSnapshot, {})


def test_every_kind_of_device_has_its_tables() -> None:
    assert tables.TABLES.keys() == set(Kind) == tables.KNOWN.keys()


CAPABILITIES = {
    (capability, name): {
        declarations(kind, capability)[name]["datatype"]
        for kind in DECLARED
        if name in (declarations(kind, capability) if capability in DECLARED[kind] else {})
    }
    for kind in DECLARED
    for capability in DECLARED[kind]
    for name in declarations(kind, capability)
    if name not in PRIVATE  # nothing is made of them
}
"""Capability and property -> the datatypes that the topic reference gives it, by device type."""


def test_the_fallback_has_the_datatypes_of_the_topic_reference_where_that_has_one() -> None:
    for (capability, name), datatypes in CAPABILITIES.items():
        declared = FALLBACK[f"energy.ebus.capability.{capability}"].get(name)
        if len(datatypes) == 1:
            assert declared is not None, (capability, name)
            assert {declared.datatype} == datatypes, (capability, name)
            assert (declared.settable, declared.unit) == (False, None)  # what may be written is said by the panel alone
        else:
            assert (capability, name) == ("info", "model")  # an enum of a panel, and a string else
            assert declared is not None
            assert declared.datatype is Datatype.STRING


def test_the_fallback_invents_no_property() -> None:
    beyond_span = {("charge-limit", "installer-max"), ("charge-limit", "owner-limit"), ("grid-forming", "capable")}
    known = {
        (node.removeprefix("energy.ebus.capability."), name)
        for node, declared in FALLBACK.items()
        if node not in FLAT
        for name in declared
    }
    assert known - CAPABILITIES.keys() == beyond_span
    assert {**FALLBACK, **FLAT} == FALLBACK  # the flat types are others, and all there


def test_every_datatype_of_the_fallback_is_one() -> None:
    assert {type(each.datatype) for node in FALLBACK.values() for each in node.values()} == {Datatype}


# --- every property ---------------------------------------------------------------------------------------------------


def same(shown: Any, expected: Any) -> bool:
    if isinstance(shown, tuple):
        shown = list(shown)
    return shown == expected and (isinstance(shown, str) or type(shown) is type(expected))


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_every_property_of_a_full_house_shows_in_its_own_field(bare: bool) -> None:
    snapshot = full_house(bare=bare).snapshot()
    wrong = {line.path: (look(snapshot, line.path), line.shows) for line in VALUES}
    assert {path: pair for path, pair in wrong.items() if not same(*pair)} == {}


def test_every_property_of_the_topic_reference_is_in_this_test_or_an_extension_or_wiring() -> None:
    tested = {line.topic.removesuffix("/$target") for line in VALUES} | WIRING.keys()
    untested = {
        f"{kind} {capability}/{name}"
        for kind in DECLARED
        for capability in DECLARED[kind]
        for name in declarations(kind, capability)
        if not any(f"{other}/{capability}/{name}" in tested for other in HOUSE if HOUSE[other][0] == kind)
    }
    assert untested == {
        "distribution-enclosure info/data-model-version",  # which builder
        *(f"distribution-enclosure info/{name}" for name in PRIVATE & declarations(PANEL, "info").keys()),
        "distribution-enclosure info/name",  # private, too
        "distribution-enclosure status/postal-code",
        "distribution-enclosure status/wifi-ssid",
        "distribution-enclosure status/time-zone",
        "lugs connection/feeds-device-id",  # of the lugs downstream: test_child_wiring
        "lugs connection/feeds-device-type",
        "lugs connection/feeds-device-status",
        "lugs connection/count",
        "lugs connection/backed-up",
        "circuit connection/fed-by-device-id",
        "circuit connection/fed-by-device-type",
        "circuit connection/fed-by-device-status",
        "circuit connection/count",
        "circuit connection/backed-up",
    }


def test_every_field_that_no_property_fills_is_computed() -> None:
    snapshot = full_house().snapshot()
    filled = {line.path for line in VALUES}
    parts = {"circuits", "battery", "pv", "pv_inverters", "evse", "pcs", "mid"}
    rest = {
        field: getattr(snapshot, field)
        for field in fields(SpanPanelSnapshot)
        if (field,) not in filled and field not in parts
    }
    assert rest == {
        "data_model_version": "1.0",
        "wwan_link": True,
        "upstream_fed_by": SpanConnectionSnapshot(BESS, "energy.ebus.device.bess", "OK"),
        "downstream_feeds": None,
        "dominant_power_source": "BATTERY",
        "grid_islandable": None,
        "grid_state": "OFF_GRID",
        "dsm_state": "DSM_OFF_GRID",
        "current_run_config": "PANEL_BACKUP",
        "panel_size": 32,
        "first_position": 1,
        "last_position": 32,
        "unmapped_tabs": tuple(tab for tab in range(1, 33) if tab not in {30, 32}),
        "lugs_at_service_entrance": False,
        "shed_policy_algorithm": "x",
        "shed_soc_threshold_shed_percent": None,
        "shed_soc_threshold_release_percent": None,
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
    assert snapshot.pv == snapshot.pv_inverters[SOLAR]
    assert snapshot.pv is not None
    assert (snapshot.pv.device_id, snapshot.pv.node_id, snapshot.pv.feed_circuit_id) == (PV, SOLAR, SOLAR)
    assert (snapshot.pv.relative_position, snapshot.pv.connected) == ("IN_PANEL", True)
    charger = snapshot.evse["SD-2231"]
    assert (charger.node_id, charger.serial_number, charger.feed_circuit_id) == ("SD-2231", "SD-2231", GARAGE)
    assert (charger.connected, charger.charge_current_limit_settable) == (False, True)
    assert charger.effective_charge_current_limit_a == 16
    assert snapshot.battery is not None
    assert (snapshot.battery.connected, snapshot.battery.relative_position) == (True, "UPSTREAM")
    assert (snapshot.battery.present, snapshot.battery.device_id, snapshot.battery.feed_circuit_id) == (
        True,
        BESS,
        None,
    )
    assert (charger.device_id, charger.lock_state_settable) == (DRIVE, False)
    assert snapshot.mid is not None
    assert snapshot.mid.device_id == MID
    assert (snapshot.mid.node_id, snapshot.mid.grid_forming_device_name) == ("TG12-M", "Tesla Powerwall 2 AC")


# What else moves with a property, because it is computed from it.
ALSO: Mapping[str, set[tuple[str, ...]]] = {
    f"{ROOT}/status/cloud-connection": {("wwan_link",)},
    f"{ROOT}/info/model": {("panel_size",), ("first_position",), ("last_position",), ("unmapped_tabs",)},
    f"{BESS}/info/vendor-name": {("mid", "grid_forming_device_name")},
    f"{BESS}/info/model": {("mid", "grid_forming_device_name")},
    f"{ROOT}/shed/policy": {("shed_policy_algorithm",)},
    f"{KITCHEN}/info/spaces": {("unmapped_tabs",)},
    f"{KITCHEN}/switch/relay-controllable": {
        ("circuits", KITCHEN, "is_user_controllable"),
        ("circuits", KITCHEN, "is_sheddable"),
    },
    f"{KITCHEN}/load-shed/priority": {("circuits", KITCHEN, "is_sheddable")},
    f"{MID}/info/serial-number": {("mid", "node_id")},
    f"{MID}/grid/islanding-state": {("grid_state",), ("dsm_state",)},
    f"{MID}/grid/grid-forming-entity": {
        ("mid", "grid_forming_device_name"),
        ("dominant_power_source",),
        ("current_run_config",),
    },
    f"{DRIVE}/config/user-max-charge-current": {("evse", "SD-2231", "effective_charge_current_limit_a")},
}


@pytest.mark.slow
def test_a_property_moves_its_own_field_and_no_other() -> None:
    panel = full_house()
    before = panel.snapshot()
    for line in VALUES:
        panel.message(line.topic, line.other)
        after = panel.snapshot()
        mirrored = {("pv", line.path[-1])} if line.path[0] == "pv_inverters" else set()  # the lone inverter is `pv` too
        assert {change.path for change in after.changes(before)} == {line.path} | mirrored | ALSO.get(line.topic, set())
        assert same(look(after, line.path), line.shows_then), line.topic
        assert after == panel.from_scratch(), line.topic
        panel.message(line.topic, line.payload)
        assert panel.snapshot() == before


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_i5_descriptions_before_their_values_read_none_and_never_zero(bare: bool) -> None:
    """Lesson span#259, and that of the MID: whatever is not published yet is none, of every class."""
    snapshot = ChildPanel(bare=bare).snapshot()
    circuit = SpanCircuitSnapshot("", is_user_controllable=not bare, is_never_backup=None if bare else False)
    assert snapshot == SpanPanelSnapshot(
        serial_number=ROOT,
        circuits=snapshot.circuits,
        data_model_version="1.0",
        battery=SpanBatterySnapshot(device_id=BESS),
        pv=SpanPVSnapshot(device_id=PV, node_id=PV),
        pv_inverters=snapshot.pv_inverters,
        evse=snapshot.evse,
        pcs=SpanPcsSnapshot(),
        mid=SpanMidSnapshot(node_id=MID, device_id=MID),
        extension_properties=snapshot.extension_properties,
    )
    assert dict(snapshot.circuits) == {
        name: attrs.evolve(circuit, circuit_id=name) for name in (KITCHEN, SOLAR, GARAGE)
    }
    assert dict(snapshot.pv_inverters) == {PV: snapshot.pv}
    assert dict(snapshot.evse) == {
        DRIVE: SpanEvseSnapshot(node_id=DRIVE, device_id=DRIVE, charge_current_limit_settable=not bare)
    }
    assert snapshot.extension_properties == ()


def test_i5_a_half_reported_meter_reports_its_half() -> None:  # lesson span#259
    circuit = ChildPanel().publish(KITCHEN, {"meter/exported-energy": "8000000.5"}).circuits[KITCHEN]
    assert (circuit.consumed_energy_wh, circuit.produced_energy_wh) == (8000000.5, None)


def test_a_cleared_value_reads_none_again_and_never_zero() -> None:  # lesson r202603
    panel = full_house()
    panel.snapshot()
    for topic in [line.topic for line in VALUES] + list(WIRING):
        panel.message(topic, b"")
    assert panel.snapshot() == ChildPanel().snapshot()


def test_a_panel_with_nothing_but_circuits_has_none_of_the_other_parts() -> None:
    panel = ChildPanel(SMALL)
    snapshot = panel.redescribe(ROOT, omit=["pcs", "shed", "shed-forecast"])
    assert (snapshot.battery, snapshot.pv, snapshot.pcs, snapshot.mid) == (None, None, None, None)
    assert (len(snapshot.pv_inverters), len(snapshot.evse), snapshot.lugs_at_service_entrance) == (0, 0, None)
    assert snapshot.shed_policy is None


@pytest.mark.parametrize("payload", ["0", "0.0", "-0.0", "-0"])
def test_zero_power_has_no_sign(payload: str) -> None:  # lesson span#185
    panel = full_house()
    for device in (UP, KITCHEN, BESS):
        panel.message(f"{device}/meter/active-power", payload)
    panel.message(f"{ROOT}/info/firmware-version", "spanos3/r202633/02")  # a battery's sign is turned
    snapshot = panel.publish(ROOT, {f"power-flows/{flow}": payload for flow in ("pv", "battery", "grid", "site")})
    assert snapshot.battery is not None
    powers = (
        snapshot.circuits[KITCHEN].instant_power_w,
        snapshot.instant_grid_power_w,
        snapshot.battery.power_w,
        snapshot.power_flow_pv,
        snapshot.power_flow_battery,
        snapshot.power_flow_grid,
        snapshot.power_flow_site,
    )
    assert [str(power) for power in powers] == ["0.0"] * 7


def test_times_of_change_are_those_of_live_messages() -> None:
    panel = full_house()
    panel.message(f"{KITCHEN}/meter/imported-energy", "9", at=100.5)
    panel.message(f"{KITCHEN}/meter/exported-energy", "9", at=99.5)
    panel.message(f"{KITCHEN}/meter/active-power", "9", at=101.5)
    circuit = panel.snapshot().circuits[KITCHEN]
    assert (circuit.energy_accum_update_time_s, circuit.instant_power_update_time_s) == (100, 101)
    panel.message(f"{SOLAR}/meter/active-power", "9", retain=True)
    assert panel.snapshot().circuits[SOLAR].instant_power_update_time_s is None
