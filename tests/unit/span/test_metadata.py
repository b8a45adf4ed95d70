"""What a panel declares of each field: the same paths for both schemas, and three cases."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from span_trio import FieldMetadata, FieldPresence, HomieSchema, PanelOptions, SpanPanelStaleDataError
from span_trio.homie import Instant, Message
from span_trio.recording import read_recording
from span_trio.tracker import PanelTracker

CAPTURES = Path(__file__).parents[2] / "captures"
NOW = Instant(0.0, 0.0)


def tracked(name: str, root: str, *, schema: HomieSchema | None = None, without: str = "nobody") -> PanelTracker:
    """A panel as its recorded replay tells it, without one of its children."""
    tracker = PanelTracker(root, PanelOptions(schema=schema, max_silence=math.inf))
    tracker.link_up(1, NOW)
    with (CAPTURES / name).open(encoding="utf-8") as lines:
        replay = [recorded.message for recorded in read_recording(lines) if recorded.message.retain]
    kept = [message for message in replay if f"/{without}/" not in message.topic]
    listed = f'"{without}", '.encode()
    tracker.receive([message._replace(payload=message.payload.replace(listed, b"")) for message in kept], NOW)
    while tracker.tree.next_subscription() is not None:
        tracker.tree.barrier(NOW, passed=True)
    return tracker


def tree(without: str = "nobody") -> PanelTracker:
    return tracked("parentchild-a-cold.jsonl", "ebus-40t-001", without=without)


def flat(schema: HomieSchema | None = None) -> PanelTracker:
    return tracked("flat32-a-cold.jsonl", "sim-32t-001", schema=schema)


DECLARED = [
    ("panel.instant_grid_power_w", "W", "float"),
    ("panel.feedthrough_power_w", "W", "float"),
    ("panel.upstream_l1_current_a", "A", "float"),
    ("panel.l1_voltage", "V", "float"),
    ("panel.door_state", None, "enum"),
    ("circuit.instant_power_w", "W", "float"),
    ("circuit.consumed_energy_wh", "Wh", "float"),
    ("circuit.relay_state", None, "enum"),
    ("battery.soe_kwh", "kWh", "float"),
    ("battery.soc_percentage", "%", "float"),
    ("pv.nameplate_capacity_w", "W", "float"),
    ("evse.advertised_current_a", "A", "float"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "unit", "datatype"), DECLARED)
def test_a_parent_child_panel_declares_it(path: str, unit: str | None, datatype: str) -> None:
    assert tree().field_metadata()[path] == FieldMetadata(FieldPresence.DECLARED, unit, datatype)


@pytest.mark.parametrize(
    ("path", "datatype"),
    [
        ("panel.instant_grid_power_w", "float"),
        ("circuit.instant_power_w", "float"),
        ("battery.soe_kwh", "float"),
        ("pv.nameplate_capacity_w", "float"),
    ],
)
def test_a_bare_flat_panel_declares_it_by_its_rest_schema(path: str, datatype: str) -> None:
    with (CAPTURES / "flat32.rest.homie-schema.json").open(encoding="utf-8") as file:
        schema = HomieSchema.from_json(json.load(file))
    found = flat(schema).field_metadata()[path]
    assert (found.presence, found.datatype) == (FieldPresence.DECLARED, datatype)
    assert found.unit is not None


def test_a_bare_flat_panel_declares_nothing_by_itself() -> None:
    assert flat().field_metadata()["circuit.instant_power_w"] == FieldMetadata(FieldPresence.UNDECLARED)


def test_what_is_not_there_declares_nothing() -> None:
    found = tree(without="ebus-40t-001-evse").field_metadata()
    assert found["evse.advertised_current_a"] == FieldMetadata(FieldPresence.NO_DEVICE)


def test_a_child_that_was_given_up_is_no_device() -> None:
    tracker = PanelTracker("house", PanelOptions(max_silence=math.inf))
    tracker.link_up(1, NOW)
    description = {
        "nodes": {"info": {"type": "energy.ebus.capability.info", "properties": {"data-model-version": {}}}},
        "children": ["charger"],
    }
    for tail, payload in (
        ("$state", "ready"),
        ("$description", json.dumps(description)),
        ("info/data-model-version", "1.0"),
    ):
        tracker.receive([Message(f"ebus/5/house/{tail}", payload.encode(), retain=True)], NOW)
    while tracker.tree.next_subscription() is not None:
        tracker.tree.barrier(NOW, passed=True)
    tracker.tick(Instant(60.0, 60.0))
    assert tracker.snapshot.pending_devices == ("charger",)
    assert tracker.field_metadata()["evse.status"] == FieldMetadata(FieldPresence.NO_DEVICE)


def test_both_schemas_have_the_same_paths_but_for_what_only_one_can_fill() -> None:
    only_flat, only_tree = flat().field_metadata().keys(), tree().field_metadata().keys()
    assert {path.split(".")[0] for path in only_tree - only_flat} <= {
        "panel",
        "circuit",
        "battery",
        "evse",
        "pcs",
        "mid",
    }
    assert only_flat - only_tree == {
        "panel.dominant_power_source",
        "panel.grid_islandable",
        "panel.grid_state",
        "battery.connected",
        "battery.feed_circuit_id",
        "battery.relative_position",
        "pv.feed_circuit_id",
        "pv.relative_position",
        "evse.feed_circuit_id",
    }


def test_while_it_is_not_live_nothing_is_told() -> None:
    tracker = flat()
    tracker.receive([Message("ebus/5/sim-32t-001/$state", b"lost")], NOW)
    with pytest.raises(SpanPanelStaleDataError):
        tracker.field_metadata()
