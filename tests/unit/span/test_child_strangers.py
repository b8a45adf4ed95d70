"""What nobody modelled: devices without a class, properties without a field, words that are new (section 10)."""

import json
from typing import Any

import pytest

from span_trio.snapshot import AdoptedDevice, AdoptedProperty, ExtensionProperty, SpanPanelSnapshot
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import BESS, DRIVE, KITCHEN, MID, PV, ROOT, SOLAR, UP, VALUES, house

HEAT = {
    "info": {
        "type": "energy.ebus.capability.info",
        "properties": {
            "vendor-name": {"datatype": "string"},
            "model": {"datatype": "string"},
            "serial-number": {"datatype": "string"},
            "firmware-version": {"datatype": "string"},
            "hardware-version": {"datatype": "string"},
        },
    },
    "tank": {
        "type": "com.acme.tank",
        "properties": {
            "temperature": {"datatype": "float", "unit": "°C", "format": "0:90"},
            "mode": {"datatype": "enum", "format": "ECO,BOOST", "settable": True},
            "quiet": {},
            "beep": {"datatype": "boolean", "retained": False},
        },
    },
}


def described(panel: ChildPanel, device: str, device_type: str, nodes: Any, **more: Any) -> None:
    panel.message(f"{device}/$state", "ready")
    panel.message(f"{device}/$description", json.dumps({"type": device_type, "nodes": nodes, **more}))


def heat_pump() -> ChildPanel:
    panel = ChildPanel(house(KITCHEN, heat="whatever"))
    described(panel, "heat", "com.acme.heat-pump", HEAT, name="Heat pump", root=ROOT, parent=ROOT)
    for path, payload in {
        "info/vendor-name": "Acme",
        "info/model": "H1",
        "info/serial-number": "S1",
        "info/firmware-version": "1.0",
        "info/hardware-version": "2",
        "tank/temperature": "55.50",
        "tank/mode": "ECO",
        "tank/beep": "true",
    }.items():
        panel.message(f"heat/{path}", payload)
    return panel


def test_a_device_of_an_unknown_type_is_carried_whole() -> None:
    snapshot = heat_pump().snapshot()
    assert [*snapshot.circuits] == [KITCHEN]
    (found,) = snapshot.adopted_devices
    assert found == AdoptedDevice(
        device_id="heat",
        device_type="com.acme.heat-pump",
        name="Heat pump",
        vendor_name="Acme",
        model="H1",
        serial_number="S1",
        software_version="1.0",
        hardware_version="2",
        parent=ROOT,
        proxied=True,
        properties=(
            AdoptedProperty("info", "vendor-name", "string", value="Acme"),
            AdoptedProperty("info", "model", "string", value="H1"),
            AdoptedProperty("info", "serial-number", "string", value="S1"),
            AdoptedProperty("info", "firmware-version", "string", value="1.0"),
            AdoptedProperty("info", "hardware-version", "string", value="2"),
            AdoptedProperty("tank", "temperature", "float", "°C", "0:90", value="55.50"),
            AdoptedProperty(
                "tank",
                "mode",
                "enum",
                format="ECO,BOOST",
                settable=True,
                value="ECO",
                set_topic="ebus/5/heat/tank/mode/set",
            ),
            AdoptedProperty("tank", "quiet", "string"),
            AdoptedProperty("tank", "beep", "boolean"),  # an event: never state
        ),
    )


def test_an_unknown_device_moves_with_its_values_and_with_nobody_elses() -> None:
    panel = heat_pump()
    before = panel.snapshot()
    panel.message(f"{KITCHEN}/meter/active-power", "-5")
    assert panel.snapshot().adopted_devices is before.adopted_devices
    after = panel.publish("heat", {"tank/temperature": "56"})
    assert {change.path for change in after.changes(before)} == {
        ("adopted_devices",),
        ("circuits", KITCHEN, "instant_power_w"),
    }
    assert after == panel.from_scratch()


@pytest.mark.parametrize("state", ["lost", "init", ""])
def test_of_an_unknown_device_that_is_away_identity_stays(state: str) -> None:
    panel = heat_pump()
    panel.snapshot()
    snapshot = panel.state("heat", state)
    (found,) = snapshot.adopted_devices
    assert (found.vendor_name, found.serial_number) == ("Acme", "S1")
    assert {each.value for each in found.properties if each.node_id != "info"} == {None}
    assert snapshot.away_devices == {"heat": state}


def test_a_device_without_a_type_or_with_nothing_at_all_is_carried_too() -> None:
    panel = ChildPanel(house(nothing="x"))
    panel.message("nothing/$description", "{}")
    assert panel.snapshot().adopted_devices == (AdoptedDevice("nothing", ""),)


def test_a_bare_unknown_device_shows_what_it_publishes() -> None:
    panel = ChildPanel(house(heat="x"))
    described(panel, "heat", "com.acme.heat-pump", {"tank": {"type": "com.acme.tank"}, "other": {}})
    (found,) = panel.publish("heat", {"tank/temperature": "55"}).adopted_devices
    assert found.properties == (AdoptedProperty("tank", "temperature", "string", value="55"),)
    (found,) = panel.publish("heat", {"tank/b": "1", "tank/a": "2"}).adopted_devices
    assert panel.snapshot() == panel.from_scratch()
    assert [each.property_id for each in found.properties] == ["a", "b", "temperature"]


@pytest.mark.parametrize(("kind", "first"), [("bess", BESS), ("mid", MID)])
def test_a_second_battery_or_mid_is_an_adopted_device(kind: str, first: str) -> None:
    devices = {**house(BESS), MID: ("mid", BESS), "second": (kind, MID)}
    panel = ChildPanel(devices)
    panel.publish(first, {"info/model": "A"})
    snapshot = panel.publish("second", {"info/model": "B", "info/acme": "x"})
    part = snapshot.battery if kind == "bess" else snapshot.mid
    assert part is not None
    assert part.model == "A"
    assert [(each.device_id, each.model) for each in snapshot.adopted_devices] == [("second", "B")]
    assert panel.publish("second", {"info/model": "C"}).adopted_devices[0].model == "C"
    panel.redescribe("second", nodes={"x": {"properties": {"y": {}}}})
    snapshot = panel.publish("second", {"x/y": "1"})
    assert snapshot.extension_properties == ()  # it is carried whole there
    assert snapshot == panel.from_scratch()


# --- properties -------------------------------------------------------------------------------------------------------

KINDS = [
    (ROOT, "panel", None),
    (UP, "lugs", UP),
    (KITCHEN, "circuit", KITCHEN),
    (BESS, "battery", BESS),
    (MID, "mid", MID),
    (PV, "pv", PV),
    (DRIVE, "evse", DRIVE),
]


@pytest.mark.parametrize(("device", "kind", "key"), KINDS, ids=[kind for _, kind, _ in KINDS])
def test_an_unknown_property_of_a_known_device_is_an_extension(device: str, kind: str, key: str | None) -> None:
    panel = full_house()
    acme = {"acme": {"type": "com.acme", "properties": {"mood": {"datatype": "float", "unit": "1", "format": "0:9"}}}}
    assert panel.redescribe(device, nodes=acme).extension_properties == ()  # it says nothing yet
    (found,) = panel.publish(device, {"acme/mood": "4.50"}).extension_properties
    assert found == ExtensionProperty(kind, key, "acme", "mood", "float", "1", "0:9", settable=False, value="4.50")
    (found,) = panel.publish(device, {"acme/mood": "5"}).extension_properties
    assert found.value == "5"
    assert panel.snapshot() == panel.from_scratch()
    assert panel.publish(device, {"acme/mood": ""}).extension_properties == ()


def test_an_unknown_property_of_a_known_capability_is_one() -> None:
    panel = full_house()
    panel.redescribe(KITCHEN, breaker__trip_state={"datatype": "enum", "format": "OK,TRIPPED"})
    (found,) = panel.publish(KITCHEN, {"breaker/trip-state": "TRIPPED"}).extension_properties
    assert (found.node_id, found.property_id, found.value) == ("breaker", "trip-state", "TRIPPED")


def test_what_can_be_set_is_one_though_it_says_nothing() -> None:
    panel = full_house()
    (found,) = panel.redescribe(KITCHEN, pcs__boost={"datatype": "boolean", "settable": True}).extension_properties
    assert (found.property_id, found.settable, found.value) == ("boost", True, None)


def test_no_property_that_has_a_field_is_an_extension() -> None:
    assert full_house().snapshot().extension_properties == ()
    panel = full_house()
    panel.message(f"{ROOT}/status/time-zone", "x")
    assert [each.property_id for each in panel.snapshot().extension_properties] == ["time-zone"]


PRIVATE_PATHS = [
    *(f"info/{name}" for name in ("name", "address-lines", "locality", "region", "country-code")),
    *("info/latitude", "info/longitude", "info/utility-meter-serial-number", "status/postal-code", "attic/wifi-ssid"),
]


@pytest.mark.parametrize("settable", [False, True])
def test_i16_private_properties_of_the_panel_are_no_extensions(settable: bool) -> None:
    panel = full_house()
    nodes: dict[str, Any] = {}
    for node, name in (path.split("/") for path in PRIVATE_PATHS):
        nodes.setdefault(node, {"properties": {}})["properties"][name] = {"datatype": "string", "settable": settable}
    panel.redescribe(ROOT, nodes=nodes)
    snapshot = panel.publish(ROOT, dict.fromkeys(PRIVATE_PATHS, "12 Elm Street"))
    assert snapshot.extension_properties == ()
    assert "Elm" not in repr(snapshot.to_dict())


def test_i16_private_properties_of_an_adopted_device_are_left_out() -> None:
    panel = ChildPanel(house(KITCHEN, heat="whatever"))
    names = ("name", "latitude", "postal-code")
    nodes = {"place": {"properties": {name: {"datatype": "string"} for name in names}}}
    described(panel, "heat", "com.acme.heat-pump", nodes, root=ROOT, parent=ROOT)
    (found,) = panel.publish("heat", {f"place/{name}": "97477" for name in names}).adopted_devices
    assert [each.property_id for each in found.properties] == ["name"]  # what a device is called, not where it is


@pytest.mark.parametrize("device", [PV, DRIVE, BESS])
def test_a_record_that_nobody_reads_is_not_hidden(device: str) -> None:
    panel = full_house()
    panel.redescribe(device, nodes={"wires": {"type": "energy.ebus.capability.connection"}}, omit=["connection"])
    snapshot = panel.publish(device, {"wires/fed-by-device-id": "x"})
    assert [each.property_id for each in snapshot.extension_properties] == ["fed-by-device-id"]


def test_of_a_device_that_is_away_no_extension_has_a_value() -> None:
    panel = full_house()
    acme = {
        "acme": {"properties": {"mood": {"datatype": "float"}, "boost": {"datatype": "boolean", "settable": True}}},
    }
    panel.redescribe(KITCHEN, nodes=acme)
    panel.publish(KITCHEN, {"acme/mood": "5", "acme/boost": "true"})
    assert [each.value for each in panel.snapshot().extension_properties] == ["5", "true"]
    assert [each.value for each in panel.state(KITCHEN, "lost").extension_properties] == [None]


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [("acme/mood", "much", "more"), ("acme/mood", "5", "5.0"), ("shed/policy", "not JSON", "no JSON either")],
)
def test_i4_a_text_that_cannot_be_read_moves_too(path: str, first: str, second: str) -> None:
    panel = full_house()
    panel.redescribe(ROOT, nodes={"acme": {"properties": {"mood": {"datatype": "float"}}}})
    panel.publish(ROOT, {path: first})
    assert panel.publish(ROOT, {path: second}) == panel.from_scratch()


# --- words ------------------------------------------------------------------------------------------------------------


def test_an_unknown_word_is_kept_as_it_is_and_breaks_nothing() -> None:
    panel = full_house()
    words = [line for line in VALUES if isinstance(line.shows, str) and line.payload.isupper()]
    assert len(words) > 15
    for line in words:
        panel.message(line.topic, "NEW_WORD")
    snapshot = panel.snapshot()
    for line in words:
        found: Any = snapshot
        for step in line.path:
            found = found[step] if step in (*snapshot.circuits, "SD-2231", SOLAR) else getattr(found, step)
        assert found == "NEW_WORD", line.topic
    assert SpanPanelSnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict()))) == snapshot
