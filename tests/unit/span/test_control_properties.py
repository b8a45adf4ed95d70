"""``set_property``: only what declares itself as settable and has no command of its own, on a device of the tree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from span_trio import Control, RefusalReason, SpanPanelLockedError, SpanPanelUnknownTargetError
from tests.unit.span.child_helpers import ChildPanel
from tests.unit.span.child_house import BESS, DRIVE, KITCHEN, ROOT, UP, house
from tests.unit.span.control_helpers import find, offers, published, refusal

PROPERTY = Control.PROPERTY
HEATER = "water-heater"
NODES: dict[str, Any] = {
    "control": {
        "type": "energy.ebus.capability.control",
        "properties": {
            "mode": {"datatype": "enum", "format": "ECO,BOOST", "settable": True},
            "setpoint": {"datatype": "float", "format": "40:60:0.5", "settable": True},
            "raw": {"datatype": "float", "settable": True},
            "runs": {"datatype": "integer", "settable": True},
            "label": {"datatype": "string", "settable": True},
            "on": {"datatype": "boolean", "settable": True},
            "plan": {"datatype": "json", "settable": True},
            "color": {"datatype": "color", "format": "rgb", "settable": True},
            "untyped": {"settable": True},
            "press": {"datatype": "boolean", "retained": False, "settable": True},
            "temperature": {"datatype": "float"},
            "locked": {"datatype": "float", "settable": "true"},
        },
    }
}


def heater() -> ChildPanel:
    """A house with a device that has no class, and a circuit, a charger, a battery and the panel with extensions."""
    panel = ChildPanel({**house(KITCHEN, DRIVE, BESS, UP), HEATER: ("water-heater", ROOT)})
    panel.redescribe(HEATER, nodes=NODES)
    for device in (KITCHEN, DRIVE, BESS, UP, ROOT):
        panel.redescribe(device, nodes={"extra": {"properties": {"knob": {"datatype": "integer", "settable": True}}}})
    return panel


def at(name: str) -> str:
    return f"{HEATER}/control/{name}"


def test_what_is_offered_is_what_is_settable_and_nobody_modelled() -> None:
    settable = {
        at(name) for name, declared in NODES["control"]["properties"].items() if declared.get("settable") is True
    }
    knobs = {f"{device}/extra/knob" for device in (KITCHEN, DRIVE, BESS, UP, ROOT)}
    assert {subject for control, subject in offers(heater()) if control is PROPERTY} == settable | knobs


def test_what_a_meter_outside_the_panel_declares_as_settable_is_locked() -> None:
    panel = ChildPanel(house(KITCHEN))
    nodes = {"extra": {"properties": {"knob": {"datatype": "integer", "settable": True}}}}
    panel.redescribe(KITCHEN, info__spaces=None, nodes=nodes)
    assert {offered.refusal for offered in offers(panel).values() if offered.device_id == KITCHEN} == {
        RefusalReason.NOT_CONTROLLABLE
    }
    assert refusal(panel, PROPERTY, f"{KITCHEN}/extra/knob", 1) is RefusalReason.NOT_CONTROLLABLE


def test_what_is_offered_is_what_the_snapshot_shows_as_settable() -> None:
    panel = heater()
    snapshot = panel.snapshot()
    shown = {
        f"{device.device_id}/{each.node_id}/{each.property_id}"
        for device in snapshot.adopted_devices
        for each in device.properties
        if each.settable
    } | {
        f"{ROOT if each.subject_key is None else each.subject_key}/{each.node_id}/{each.property_id}"
        for each in snapshot.extension_properties
        if each.settable
    }
    assert shown == {subject for control, subject in offers(panel) if control is PROPERTY}


@pytest.mark.parametrize(
    ("name", "wanted", "payload"),
    [
        ("mode", "BOOST", b"BOOST"),
        ("setpoint", 42.5, b"42.5"),
        ("setpoint", "42.5", b"42.5"),
        ("setpoint", 60, b"60.0"),
        ("raw", 0.1, b"0.1"),
        ("raw", -0.0, b"0.0"),
        ("raw", 1e300, b"1e300"),
        ("runs", -3, b"-3"),
        ("label", "Garage, küche", "Garage, küche".encode()),
        ("label", "", b"\x00"),
        ("label", "16", b"16"),
        ("on", True, b"true"),
        ("on", "false", b"false"),
        ("plan", {"a": [1, True, None, "ü"]}, json.dumps({"a": [1, True, None, "ü"]}, separators=(",", ":")).encode()),
        ("plan", '{"a" : 1}', b'{"a":1}'),
        ("plan", [], b"[]"),
        ("color", "rgb,1,2,3", b"rgb,1,2,3"),
        ("untyped", "as it is", b"as it is"),
        ("press", True, b"true"),
    ],
    ids=repr,
)
def test_a_value_is_written_by_its_datatype(name: str, wanted: object, payload: bytes) -> None:
    assert published(heater(), PROPERTY, at(name), wanted) == (at(name), payload)


@pytest.mark.parametrize(
    ("name", "wanted", "reason"),
    [
        ("mode", "OFF", RefusalReason.OUTSIDE_FORMAT),
        ("mode", "eco", RefusalReason.OUTSIDE_FORMAT),
        ("mode", "", RefusalReason.OUTSIDE_FORMAT),
        ("setpoint", 39.5, RefusalReason.OUT_OF_RANGE),
        ("setpoint", 60.5, RefusalReason.OUT_OF_RANGE),
        ("setpoint", 42.3, RefusalReason.OUTSIDE_FORMAT),
        ("setpoint", True, RefusalReason.OUTSIDE_FORMAT),
        ("raw", float("nan"), RefusalReason.OUTSIDE_FORMAT),
        ("raw", float("inf"), RefusalReason.OUTSIDE_FORMAT),
        ("raw", "1,5", RefusalReason.OUTSIDE_FORMAT),
        ("raw", "", RefusalReason.OUTSIDE_FORMAT),
        ("raw", "\ud800", RefusalReason.OUTSIDE_FORMAT),
        ("runs", 1.0, RefusalReason.OUTSIDE_FORMAT),
        ("runs", 2**63, RefusalReason.OUTSIDE_FORMAT),
        ("label", 16, RefusalReason.OUTSIDE_FORMAT),
        ("label", None, RefusalReason.OUTSIDE_FORMAT),
        ("label", "\x00", RefusalReason.OUTSIDE_FORMAT),
        ("label", "\ud800", RefusalReason.OUTSIDE_FORMAT),
        ("on", 1, RefusalReason.OUTSIDE_FORMAT),
        ("on", "True", RefusalReason.OUTSIDE_FORMAT),
        ("plan", "text", RefusalReason.OUTSIDE_FORMAT),
        ("plan", {"a": float("nan")}, RefusalReason.OUTSIDE_FORMAT),
        ("plan", {"a": {1, 2}}, RefusalReason.OUTSIDE_FORMAT),
        ("plan", {1: 2}, RefusalReason.OUTSIDE_FORMAT),
        ("color", "hsv,1,2,3", RefusalReason.OUTSIDE_FORMAT),
    ],
    ids=ascii,
)
def test_a_value_that_it_does_not_take_is_refused(name: str, wanted: object, reason: RefusalReason) -> None:
    assert refusal(heater(), PROPERTY, at(name), wanted) is reason


@pytest.mark.parametrize(
    ("subject", "kind", "reason"),
    [
        (at("temperature"), SpanPanelLockedError, RefusalReason.NOT_SETTABLE),
        (at("locked"), SpanPanelLockedError, RefusalReason.NOT_SETTABLE),
        (at("nope"), SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
        (f"{KITCHEN}/switch/relay", SpanPanelUnknownTargetError, RefusalReason.MODELLED),
        (f"{KITCHEN}/info/name", SpanPanelLockedError, RefusalReason.NOT_SETTABLE),
        (f"{ROOT}/shed/asserted-islanding-state", SpanPanelUnknownTargetError, RefusalReason.MODELLED),
        (f"{ROOT}/info/data-model-version", SpanPanelLockedError, RefusalReason.NOT_SETTABLE),
        (f"{DRIVE}/config/user-max-charge-current", SpanPanelUnknownTargetError, RefusalReason.MODELLED),
        ("foreign/control/mode", SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
        ("//", SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
        (f"{HEATER}/control/mode/set", SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
        (f"{HEATER}/$state/", SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
        (f"{HEATER}/+/mode", SpanPanelUnknownTargetError, RefusalReason.NO_SUCH_PROPERTY),
    ],
)
def test_lesson_e_there_is_no_back_door(subject: str, kind: type[Exception], reason: RefusalReason) -> None:
    panel = heater()
    with pytest.raises(kind):
        published(panel, PROPERTY, subject, "ECO")
    assert refusal(panel, PROPERTY, subject, "ECO") is reason


def test_a_relay_is_no_property_even_under_another_node_name() -> None:
    panel = heater()
    panel.redescribe(
        KITCHEN,
        nodes={
            "main": {
                "type": "energy.ebus.capability.switch",
                "properties": {"relay": {"datatype": "enum", "format": "OPEN,CLOSED", "settable": True}},
            }
        },
        omit=["switch"],
    )
    assert refusal(panel, PROPERTY, f"{KITCHEN}/main/relay", "OPEN") is RefusalReason.MODELLED
    assert published(panel, Control.RELAY, KITCHEN, "OPEN") == (f"{KITCHEN}/main/relay", b"OPEN")


def test_a_device_that_is_away_or_gone_is_not_set() -> None:
    panel = heater()
    panel.message(f"{HEATER}/$state", "lost")
    assert find(panel, PROPERTY, at("mode")).refusal is RefusalReason.AWAY
    assert refusal(panel, PROPERTY, at("mode"), "ECO") is RefusalReason.AWAY
    panel.redescribe(ROOT, children=[KITCHEN])
    assert refusal(panel, PROPERTY, at("mode"), "ECO") is RefusalReason.NO_SUCH_PROPERTY


def test_a_bare_device_offers_nothing() -> None:
    panel = heater()
    panel.redescribe(HEATER, nodes={"control": {"type": "energy.ebus.capability.control"}})
    panel.message(at("mode"), "ECO")
    assert refusal(panel, PROPERTY, at("mode"), "ECO") is RefusalReason.NOT_SETTABLE
