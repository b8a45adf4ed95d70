"""Who is there, under which name, and who feeds whom (facts, parent/child, sections 2 and 6)."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from span_trio.homie import DeviceDescription
from span_trio.snapshot import SpanConnectionSnapshot, SpanPanelSnapshot
from span_trio.span.parts import Kind, kind_of
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import (
    BESS,
    DOWN,
    DRIVE,
    GARAGE,
    HOUSE,
    KITCHEN,
    MID,
    PANEL,
    PV,
    ROOT,
    SOLAR,
    UP,
    describe,
    house,
)

# --- by type, never by id ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device_type", "kind"),
    [
        ("energy.ebus.device.lugs", Kind.LUGS),
        ("energy.ebus.device.lugs.upstream", Kind.UPSTREAM),
        ("energy.ebus.device.lugs.downstream", Kind.DOWNSTREAM),
        ("energy.ebus.device.lugs.whatever", Kind.LUGS),
        ("energy.ebus.device.lugsworm", Kind.OTHER),
        ("energy.ebus.device.circuit", Kind.CIRCUIT),
        ("energy.ebus.device.bess", Kind.BESS),
        ("energy.ebus.device.mid", Kind.MID),
        ("energy.ebus.device.pv", Kind.PV),
        ("energy.ebus.device.evse", Kind.EVSE),
        ("energy.ebus.device.distribution-enclosure", Kind.OTHER),  # of a child: a panel in the panel
        ("energy.ebus.device.circuit.sub", Kind.OTHER),
        ("circuit", Kind.OTHER),
        ("", Kind.OTHER),
        (None, Kind.OTHER),
    ],
)
def test_lesson_c_devices_are_known_by_their_own_type(device_type: str | None, kind: Kind) -> None:
    """Type strings still matched nothing: five of them moved from nodes to devices."""
    assert kind_of(DeviceDescription("x", type=device_type)) is kind


def test_ids_mean_nothing() -> None:
    panel = ChildPanel({ROOT: (PANEL, None), "pv": ("circuit", ROOT), "lugs-up": ("bess", ROOT), "c": ("pv", ROOT)})
    snapshot = panel.publish("pv", {"connection/feeds-device-id": "c", "info/name": "Roof"})
    assert [*snapshot.circuits] == ["pv"]
    assert (snapshot.circuits["pv"].name, snapshot.circuits["pv"].device_type) == ("Roof", "pv")
    assert snapshot.battery is not None
    assert [*snapshot.pv_inverters] == ["pv"]
    assert snapshot.lugs_at_service_entrance is None


def test_a_circuits_id_is_that_of_its_device_dashes_and_all() -> None:
    """Ids that differ in their dashes alone are of different devices; and every place that names one agrees."""
    devices = {"circuit-11": ("circuit", ROOT), "circuit-1-1": ("circuit", ROOT), "pv": ("pv", ROOT)}
    panel = ChildPanel({ROOT: (PANEL, None), **devices})
    panel.publish("circuit-11", {"info/name": "A", "connection/count": "2"})
    panel.publish("circuit-1-1", {"info/name": "B", "connection/feeds-device-id": "pv"})
    snapshot = panel.state("circuit-1-1", "lost")
    assert {key: circuit.name for key, circuit in snapshot.circuits.items()} == {"circuit-11": "A", "circuit-1-1": "B"}
    assert all(circuit.circuit_id == key for key, circuit in snapshot.circuits.items())
    assert [*snapshot.away_devices] == ["circuit-1-1"]
    assert [each.feed_circuit_id for each in snapshot.pv_inverters.values()] == ["circuit-1-1"]
    assert [each.subject_key for each in snapshot.extension_properties] == ["circuit-11"]
    assert snapshot.adopted_devices == ()
    assert {each.subject for each in panel.controls() if each.control == "relay"} == {"circuit-11", "circuit-1-1"}


def test_a_capability_is_known_by_its_type_and_else_by_its_id() -> None:
    nodes = {
        "m1": {"type": "energy.ebus.capability.meter"},  # bare, and with a name of its own
        "info": {},
        "breaker": {"type": "com.acme.breaker"},
        "switch": {"type": "energy.ebus.capability."},
    }
    panel = ChildPanel(house("KITCHEN"))
    panel.devices[KITCHEN] = ("circuit", ROOT)
    panel.redescribe(ROOT, children=[KITCHEN])
    panel.message(f"{KITCHEN}/$state", "ready")
    panel.message(f"{KITCHEN}/$description", json.dumps({"type": "energy.ebus.device.circuit", "nodes": nodes}))
    circuit = panel.publish(
        KITCHEN, {"m1/active-power": "-5", "info/name": "Hall", "breaker/poles": "2", "switch/relay": "OPEN"}
    ).circuits[KITCHEN]
    assert (circuit.instant_power_w, circuit.name, circuit.is_240v, circuit.relay_state) == (5.0, "Hall", True, "OPEN")


def test_of_two_nodes_of_one_capability_the_first_counts_and_the_other_is_an_extension() -> None:
    panel = ChildPanel(house(KITCHEN))
    panel.redescribe(
        KITCHEN,
        omit=["meter"],
        nodes={
            "meter": {"type": "com.acme.meter"},
            "m1": {"type": "energy.ebus.capability.meter"},
            "m2": {"type": "energy.ebus.capability.meter"},
        },
    )
    snapshot = panel.publish(
        KITCHEN, {"meter/active-power": "1", "m1/active-power": "-2", "m2/active-power": "3", "m2/x": "4"}
    )
    assert snapshot.circuits[KITCHEN].instant_power_w == 2.0
    assert [(each.node_id, each.property_id, each.value) for each in snapshot.extension_properties] == [
        ("m2", "active-power", "3"),
        ("m2", "x", "4"),
        ("meter", "active-power", "1"),
    ]
    again = panel.publish(KITCHEN, {"m2/active-power": "5"})
    assert again == panel.from_scratch()
    assert again.extension_properties[0].value == "5"


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serials", "keys"),
    [
        (["A", "B"], ["A", "B"]),
        (["A", "A"], ["ev-1", "ev-2"]),
        (["", ""], ["ev-1", "ev-2"]),
        (["A", ""], ["A", "ev-2"]),
        (["ev-2", ""], ["ev-1", "ev-2"]),  # a serial number that is another's id
        (["ev-1", "B"], ["ev-1", "B"]),
        (["ev-2", "ev-1"], ["ev-1", "ev-2"]),
    ],
)
def test_lesson_b_two_chargers_never_collapse(serials: list[str], keys: list[str]) -> None:
    panel = ChildPanel(house(**{"ev-1": "evse", "ev-2": "evse"}))
    for device, serial in zip(("ev-1", "ev-2"), serials, strict=True):
        panel.message(f"{device}/info/serial-number", serial)
    snapshot = panel.publish("ev-1", {"info/model": "first"})
    assert [*snapshot.evse] == keys
    assert [charger.node_id for charger in snapshot.evse.values()] == keys
    assert snapshot.evse[keys[0]].model == "first"


def test_lesson_b_an_inverters_key_is_its_circuit_though_its_id_changes_with_r202639() -> None:
    """All PV entities were recreated: with more than one inverter r202639 gives all of them new ids."""
    before = full_house().snapshot()
    panel = ChildPanel(house(SOLAR, KITCHEN, **{f"{ROOT}-a": "pv", f"{ROOT}-b": "pv"}))
    panel.publish(KITCHEN, {"connection/feeds-device-id": f"{ROOT}-b"})
    after = panel.publish(SOLAR, {"connection/feeds-device-id": f"{ROOT}-a"})
    assert [*before.pv_inverters] == [SOLAR]
    assert [*after.pv_inverters] == [SOLAR, KITCHEN]
    assert [each.device_id for each in after.pv_inverters.values()] == [f"{ROOT}-a", f"{ROOT}-b"]


def test_an_inverter_that_no_circuit_feeds_goes_by_its_device_id() -> None:
    panel = ChildPanel(house(PV, DOWN))
    assert [*panel.snapshot().pv_inverters] == [PV]
    panel.publish(DOWN, {"info/direction": "DOWNSTREAM"})
    (inverter,) = panel.publish(DOWN, {"connection/feeds-device-id": PV}).pv_inverters.values()
    assert (inverter.node_id, inverter.feed_circuit_id, inverter.relative_position) == (PV, None, "IN_PANEL")


@pytest.mark.parametrize(("serial", "key"), [("M-1", "M-1"), ("", MID)])
def test_a_mid_goes_by_its_serial_number_and_else_by_its_id(serial: str, key: str) -> None:
    mid = ChildPanel().publish(MID, {"info/serial-number": serial}).mid
    assert mid is not None
    assert mid.node_id == key


@pytest.mark.parametrize(("serial", "shown"), [("nt-7", "nt-7"), ("", ROOT)])
def test_a_panel_goes_by_its_serial_number_and_else_by_its_id(serial: str, shown: str) -> None:
    assert ChildPanel().publish(ROOT, {"info/serial-number": serial}).serial_number == shown


# --- topology ---------------------------------------------------------------------------------------------------------


def tree(children: Mapping[str, list[str]], kind: str = "circuit") -> ChildPanel:
    """A panel, and devices of one kind, with these children each."""
    panel = ChildPanel({ROOT: (PANEL, None)})
    panel.redescribe(ROOT, children=children[ROOT])
    for device in children:
        if device != ROOT:
            panel.message(f"{device}/$state", "ready")
            panel.message(f"{device}/$description", json.dumps(describe(kind, children=children[device], parent="x")))
    return panel


@pytest.mark.parametrize(
    ("children", "shown"),
    [
        pytest.param({ROOT: ["a"], "a": ["b"], "b": ["c"], "c": []}, ["a", "b", "c"], id="at any depth"),
        pytest.param({ROOT: ["a", "b"], "a": ["c"], "b": ["c"], "c": []}, ["a", "b", "c"], id="of two parents"),
        pytest.param({ROOT: ["a"], "a": ["b"], "b": ["a", ROOT]}, ["a", "b"], id="a cycle"),
        pytest.param({ROOT: [ROOT, "a", "a"], "a": ["a"]}, ["a"], id="itself, and twice"),
        pytest.param({ROOT: ["a"], "a": [], "b": ["c"], "c": []}, ["a"], id="orphans: a foreign tree"),
        pytest.param({ROOT: ["a", "ghost"], "a": []}, ["a"], id="a child that is not there"),
    ],
)
def test_a_tree_is_walked_at_any_depth_from_its_own_root_only(
    children: Mapping[str, list[str]], shown: list[str]
) -> None:
    """Lessons B: the panel parsed with zero circuits, and foreign trees mixed in."""
    snapshot = tree(children).snapshot()
    assert [*snapshot.circuits] == shown


def test_a_child_that_comes_late_is_there_with_what_is_retained_of_it() -> None:
    panel = ChildPanel(house(SOLAR, PV))
    panel.publish(SOLAR, {"connection/feeds-device-id": KITCHEN})
    panel.message(f"{KITCHEN}/info/name", "Kitchen")
    panel.message(f"{KITCHEN}/$state", "ready")
    panel.message(f"{KITCHEN}/$description", json.dumps(describe("circuit", parent=ROOT)))
    assert [*panel.snapshot().circuits] == [SOLAR]
    snapshot = panel.redescribe(ROOT, children=[SOLAR, PV, KITCHEN])
    assert snapshot.circuits[KITCHEN].name == "Kitchen"
    assert snapshot == panel.from_scratch()


def test_a_device_that_changes_its_type_is_what_it_is_now() -> None:
    panel = full_house()
    panel.snapshot()
    panel.devices[KITCHEN] = ("bess", ROOT)
    snapshot = panel.redescribe(KITCHEN)
    assert KITCHEN not in snapshot.circuits
    assert snapshot == panel.from_scratch()


@pytest.mark.parametrize("last", [SOLAR, PV, BESS, DRIVE])
def test_a_part_that_is_removed_is_gone_and_its_circuit_is_one_again(last: str) -> None:
    """Lesson B: a decommissioned device lingered. Its record may dangle for a while."""
    panel = full_house()
    panel.snapshot()
    for topic in ("$state", "$description"):
        panel.message(f"{last}/{topic}", "")
    snapshot = panel.redescribe(ROOT, children=[device for device in HOUSE if device not in {last, ROOT, MID}])
    assert snapshot == panel.from_scratch()
    assert (SOLAR in snapshot.circuits) is (last != SOLAR)
    assert (snapshot.battery is None) is (last == BESS)
    assert (snapshot.mid is None) is (last == BESS)
    assert len(snapshot.pv_inverters) == (last != PV)
    assert len(snapshot.evse) == (last != DRIVE)
    if last == PV:
        assert snapshot.circuits[SOLAR].device_type == "circuit"
        assert snapshot.circuits[SOLAR].relative_position is None
        assert snapshot.pv is None
    if last == DRIVE:
        assert snapshot.circuits[GARAGE].device_type == "circuit"


# --- lugs -------------------------------------------------------------------------------------------------------------


def powers(snapshot: SpanPanelSnapshot) -> tuple[float | None, float | None]:
    return snapshot.instant_grid_power_w, snapshot.feedthrough_power_w


@pytest.mark.parametrize(
    ("device_type", "direction", "shown"),
    [
        ("lugs", "UPSTREAM", (5.0, None)),
        ("lugs", "upstream", (5.0, None)),
        ("lugs", "DownStream", (None, 5.0)),
        ("lugs.upstream", "", (5.0, None)),
        ("lugs.downstream", "", (None, 5.0)),
        ("lugs.downstream", "UPSTREAM", (5.0, None)),
        ("lugs", "", (None, None)),  # lesson A: no role until the direction is known
        ("lugs", "SIDEWAYS", (None, None)),
        ("lugs.sideways", "", (None, None)),
    ],
)
def test_lesson_a_lugs_have_a_role_when_their_direction_is_known(
    device_type: str, direction: str, shown: tuple[float | None, float | None]
) -> None:
    panel = ChildPanel(house(UP))
    description = {**describe("lugs", parent=ROOT), "type": f"energy.ebus.device.{device_type}"}
    panel.message(f"{UP}/$description", json.dumps(description))
    assert powers(panel.publish(UP, {"meter/active-power": "5", "info/direction": direction})) == shown


def test_of_two_upstream_lugs_the_first_counts() -> None:
    panel = ChildPanel(house(UP, DOWN))
    panel.publish(DOWN, {"info/direction": "UPSTREAM", "meter/active-power": "9"})
    assert powers(panel.publish(UP, {"info/direction": "UPSTREAM", "meter/active-power": "5"})) == (5.0, None)
    snapshot = panel.publish(UP, {"info/direction": "DOWNSTREAM"})
    assert powers(snapshot) == (9.0, 5.0)
    assert snapshot == panel.from_scratch()


@pytest.mark.parametrize(
    ("fed_by", "rating", "shown"),
    [
        ("", "", None),  # declared and not told: not known
        (BESS, "", False),
        ("nt-sister-panel", "", False),
        ("", "100", True),
        (BESS, "100", False),
    ],
)
def test_lugs_are_at_the_service_entrance_if_they_say_so_and_nothing_feeds_them(
    fed_by: str, rating: str, shown: bool | None
) -> None:
    panel = ChildPanel(house(UP, BESS))
    panel.publish(UP, {"info/direction": "UPSTREAM"})
    snapshot = panel.publish(UP, {"connection/fed-by-device-id": fed_by, "connection/service-rating": rating})
    assert snapshot.lugs_at_service_entrance is shown
    assert snapshot == panel.from_scratch()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"omit": ["connection"]}, True),
        ({"connection__fed_by_device_id": None}, True),
        ({"connection__fed_by_device_id": {"datatype": "bogus"}}, None),  # spoilt, and declared
        ({"bare": True}, None),
        ({"omit": ["connection"], "nodes": {"connection": {"type": "energy.ebus.capability.connection"}}}, None),
        ({"bare": True, "omit": ["connection"]}, None),
    ],
)
def test_lugs_that_declare_no_feeder_are_at_the_service_entrance(options: dict[str, Any], shown: bool | None) -> None:
    panel = ChildPanel(house(UP))
    panel.publish(UP, {"info/direction": "UPSTREAM"})
    assert panel.redescribe(UP, **options).lugs_at_service_entrance is shown


def test_without_upstream_lugs_nothing_is_said_of_the_service_entrance() -> None:
    assert ChildPanel(house(UP)).snapshot().lugs_at_service_entrance is None


# --- connection records -----------------------------------------------------------------------------------------------

LINK = [("OK", True), ("LOST", False), ("DEGRADED", False), ("", None), ("WEIRD", None), ("ok", None)]


@pytest.mark.parametrize(("status", "connected"), LINK)
@pytest.mark.parametrize("device", [PV, DRIVE, BESS])
def test_a_links_health_has_three_values_and_is_that_of_the_record(
    device: str, status: str, connected: bool | None
) -> None:
    panel = ChildPanel()
    panel.publish(KITCHEN, {"connection/feeds-device-status": status})  # a status without a device says nothing
    snapshot = panel.publish(SOLAR, {"connection/feeds-device-id": device, "connection/feeds-device-status": status})
    part = {PV: snapshot.pv, DRIVE: next(iter(snapshot.evse.values())), BESS: snapshot.battery}[device]
    assert part is not None
    assert part.connected is connected


@pytest.mark.parametrize(
    ("records", "circuit", "position", "connected"),
    [
        ({}, None, None, None),
        ({KITCHEN: "OK"}, KITCHEN, "IN_PANEL", True),
        ({SOLAR: "LOST", KITCHEN: "OK"}, SOLAR, "IN_PANEL", False),  # the lowest id, with its own status
        ({GARAGE: "OK", SOLAR: "LOST"}, SOLAR, "IN_PANEL", False),
        ({SOLAR: "", DOWN: "OK"}, SOLAR, "IN_PANEL", None),
        ({DOWN: "OK"}, None, "IN_PANEL", True),
        ({UP: "LOST"}, None, "UPSTREAM", False),
        ({UP: "LOST", DOWN: "OK"}, None, "IN_PANEL", True),
    ],
)
def test_who_feeds_an_inverter_and_where_it_sits(
    records: Mapping[str, str], circuit: str | None, position: str | None, connected: bool | None
) -> None:
    assert SOLAR < GARAGE < KITCHEN
    panel = ChildPanel(house(KITCHEN, SOLAR, GARAGE, UP, DOWN, PV))
    panel.publish(UP, {"info/direction": "UPSTREAM"})
    panel.publish(DOWN, {"info/direction": "DOWNSTREAM"})
    for owner, status in records.items():
        verb = "fed-by" if owner == UP else "feeds"
        panel.publish(owner, {f"connection/{verb}-device-id": PV, f"connection/{verb}-device-status": status})
    snapshot = panel.snapshot()
    assert snapshot.pv is not None
    assert (snapshot.pv.feed_circuit_id, snapshot.pv.relative_position, snapshot.pv.connected) == (
        circuit,
        position,
        connected,
    )
    roles = {name: (each.device_type, each.relative_position) for name, each in snapshot.circuits.items()}
    expected = {name: ("pv", "IN_PANEL") if name in records else ("circuit", None) for name in (KITCHEN, SOLAR, GARAGE)}
    assert roles == expected  # every circuit that feeds it has the role (lesson B: a second one was read as a load)
    assert snapshot == panel.from_scratch()


@pytest.mark.parametrize("target", ["nowhere", KITCHEN, UP, ROOT, MID, BESS, SOLAR, "x/y", "é"])
def test_a_record_that_names_no_inverter_or_charger_makes_no_role(target: str) -> None:
    panel = full_house()
    before = panel.snapshot().circuits[KITCHEN]
    circuit = panel.publish(KITCHEN, {"connection/feeds-device-id": target}).circuits[KITCHEN]
    assert circuit.feeds == SpanConnectionSnapshot(target)
    assert attrs.evolve(circuit, feeds=None) == before


def test_a_record_of_the_wrong_lugs_or_the_wrong_verb_is_none() -> None:
    panel = ChildPanel(house(UP, DOWN, PV))
    panel.publish(UP, {"info/direction": "UPSTREAM", "connection/feeds-device-id": PV})
    panel.publish(DOWN, {"info/direction": "DOWNSTREAM", "connection/fed-by-device-id": PV})
    snapshot = panel.snapshot()
    assert snapshot.pv is not None
    assert (snapshot.pv.relative_position, snapshot.pv.connected) == (None, None)


def test_lesson_b_a_record_that_is_cleared_or_moves_moves_the_role_and_the_key() -> None:
    panel = full_house()
    panel.snapshot()
    moved = panel.publish(SOLAR, {"connection/feeds-device-id": "", "connection/feeds-device-status": ""})
    assert moved.circuits[SOLAR].device_type == "circuit"
    assert [*moved.pv_inverters] == [PV]
    moved = panel.publish(KITCHEN, {"connection/feeds-device-id": PV})
    assert moved.circuits[KITCHEN].device_type == "pv"
    assert [*moved.pv_inverters] == [KITCHEN]
    assert moved == panel.from_scratch()


def test_the_panels_view_of_the_link_and_the_batterys_own_report_are_both_told() -> None:
    """Lesson A: a link that was shown as healthy for ever."""
    panel = full_house()
    panel.publish(UP, {"connection/fed-by-device-status": "OK"})
    battery = panel.publish(BESS, {"status/communication-state": "LOST"}).battery
    assert battery is not None
    assert (battery.connected, battery.communication_state) == (True, "LOST")


# --- several inverters ------------------------------------------------------------------------------------------------


def inverters(first: Mapping[str, str], second: Mapping[str, str]) -> SpanPanelSnapshot:
    panel = ChildPanel(house(SOLAR, KITCHEN, **{"pv-1": "pv", "pv-2": "pv"}))
    for circuit, device, values in ((SOLAR, "pv-1", first), (KITCHEN, "pv-2", second)):
        panel.publish(circuit, {"connection/feeds-device-id": device})
        panel.publish(circuit, {"connection/feeds-device-status": values.get("status", "")})
        panel.publish(device, {path: payload for path, payload in values.items() if path != "status"})
    return panel.snapshot()


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        pytest.param({"info/model": "A"}, {"info/model": "A"}, ("A", None, None), id="a model that they share"),
        pytest.param({"info/model": "A"}, {"info/model": "B"}, (None, None, None), id="models that differ"),
        pytest.param({"info/model": "A"}, {}, (None, None, None), id="a model that one has not told"),
        pytest.param({"info/nominal-power": "3000"}, {"info/nominal-power": "4000"}, (None, 7000.0, None), id="sizes"),
        pytest.param({"info/nominal-power": "3000"}, {}, (None, None, None), id="a size that is not known"),
        pytest.param({"status": "OK"}, {"status": "OK"}, (None, None, True), id="all links up"),
        pytest.param({"status": "OK"}, {"status": "LOST"}, (None, None, False), id="one link down"),
        pytest.param({}, {"status": "LOST"}, (None, None, False), id="one down, one unknown"),
        pytest.param({"status": "OK"}, {}, (None, None, None), id="one up, one unknown"),
    ],
)
def test_lesson_b_of_several_inverters_what_they_share_is_told_and_none_is_primary(
    first: Mapping[str, str], second: Mapping[str, str], shown: tuple[str | None, float | None, bool | None]
) -> None:
    snapshot = inverters(first, second)
    assert [*snapshot.pv_inverters] == [SOLAR, KITCHEN]
    shared = snapshot.pv
    assert shared is not None
    assert (shared.model, shared.nameplate_capacity_w, shared.connected) == shown
    assert (shared.device_id, shared.node_id, shared.serial_number) == (None, None, None)
    assert {each.device_type for each in snapshot.circuits.values()} == {"pv"}
