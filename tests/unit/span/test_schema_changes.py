"""What a firmware upgrade changed in a panel's schema, told by comparing two of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.simulator.firmware.parent_child_schema import device_classes
from span_trio.span import HomieSchema, SchemaChange, SchemaChangeKind, schema_changes

CAPTURES = Path(__file__).parents[2] / "captures"
CIRCUIT = "energy.ebus.device.circuit"


def flat() -> Any:
    return json.loads((CAPTURES / "flat32.rest.homie-schema.json").read_text())


def parent_child() -> Any:
    return {
        "firmwareVersion": "spanos3/r202633/02",
        "homieDomain": "ebus",
        "homieVersion": 5,
        "dataModelVersion": "1.0",
        "deviceClasses": json.loads(json.dumps(device_classes("MAIN_32"))),
        "deviceClassesSchemaHash": "sha256:0123456789abcdef",
    }


def told(old: Any, new: Any) -> list[str]:
    return [str(change) for change in schema_changes(HomieSchema.from_json(old), HomieSchema.from_json(new))]


@pytest.mark.parametrize("schema", [flat(), parent_child(), {}], ids=["flat", "parent/child", "nothing"])
def test_two_that_are_the_same_differ_in_nothing(schema: Any) -> None:
    assert told(schema, copy.deepcopy(schema)) == []
    parsed = HomieSchema.from_json(schema)
    assert schema_changes(parsed, copy.deepcopy(parsed)) == ()


def test_both_generations_are_read() -> None:
    assert HomieSchema.from_json(flat()).is_flat
    schema = HomieSchema.from_json(parent_child())
    assert not schema.is_flat
    assert schema.device_classes["circuit"]["meter"]["active-power"].unit == "W"


def test_what_changed_in_a_flat_one() -> None:
    new = flat()
    new["firmwareVersion"] = "spanos2/r202627/01"
    new["typesSchemaHash"] = "sha256:fedcba9876543210"
    circuit = new["types"][CIRCUIT]
    circuit["active-power"]["unit"] = "W"
    circuit["relay"]["settable"] = not circuit["relay"].get("settable", False)
    circuit["space"]["format"] = "1:40:1"
    del circuit["name"]
    circuit["mood"] = {"datatype": "string"}
    new["types"]["energy.ebus.device.sauna"] = {"heat": {"datatype": "float"}, "steam": {"datatype": "float"}}
    del new["types"]["energy.ebus.device.pcs"]
    before = flat()
    settable = before["types"][CIRCUIT]["relay"].get("settable", False)
    assert told(before, new) == [
        "firmwareVersion: 'spanos2/r202603/05' -> 'spanos2/r202627/01'",
        f"typesSchemaHash: {before.get('typesSchemaHash')!r} -> 'sha256:fedcba9876543210'",
        f"{CIRCUIT}/active-power: unit {before['types'][CIRCUIT]['active-power'].get('unit')!r} -> 'W'",
        f"{CIRCUIT}/mood: added",
        f"{CIRCUIT}/name: removed",
        f"{CIRCUIT}/relay: settable {settable} -> {not settable}",
        f"{CIRCUIT}/space: format {before['types'][CIRCUIT]['space']['format']!r} -> '1:40:1'",
        "energy.ebus.device.pcs: removed",
        "energy.ebus.device.sauna: added",
    ]


def test_what_changed_in_a_parent_child_one() -> None:
    new = parent_child()
    new["dataModelVersion"] = "1.1"
    new["deviceClasses"]["circuit"]["meter"]["active-power"]["datatype"] = "integer"
    new["deviceClasses"]["circuit"]["aura"] = {"colour": {"datatype": "color"}}
    del new["deviceClasses"]["mid"]
    assert told(parent_child(), new) == [
        "dataModelVersion: '1.0' -> '1.1'",
        "circuit/aura: added",
        "circuit/meter/active-power: datatype 'float' -> 'integer'",
        "mid: removed",
    ]


def test_across_generations_only_the_versions_are_compared() -> None:  # lessons C: hashes of different things
    assert told(flat(), parent_child()) == [
        "firmwareVersion: 'spanos2/r202603/05' -> 'spanos3/r202633/02'",
        "dataModelVersion: None -> '1.0'",
    ]


def test_a_hash_that_differs_alone_is_told() -> None:
    new = parent_child()
    new["deviceClassesSchemaHash"] = "sha256:fedcba9876543210"
    assert schema_changes(HomieSchema.from_json(parent_child()), HomieSchema.from_json(new)) == (
        SchemaChange(
            "deviceClassesSchemaHash",
            SchemaChangeKind.CHANGED,
            None,
            "sha256:0123456789abcdef",
            "sha256:fedcba9876543210",
        ),
    )


def test_the_other_names_of_a_type_are_not_told_twice() -> None:
    new = flat()
    del new["types"]["energy.ebus.device.lugs"]
    assert told(flat(), new) == ["energy.ebus.device.lugs: removed"]


@pytest.mark.parametrize("classes", [5, [], {"circuit": 5}, {"circuit": {"meter": []}}, {"circuit": {"meter": 5}}])
def test_device_classes_that_are_none_are_refused(classes: Any) -> None:
    with pytest.raises(ValueError, match="deviceClasses"):
        HomieSchema.from_json({"dataModelVersion": "1.0", "deviceClasses": classes})


_DECLARATION = st.fixed_dictionaries(
    {}, optional={"datatype": st.sampled_from(["float", "string"]), "unit": st.sampled_from(["W", "A"])}
)
_NAMES = st.sampled_from(["a", "b", "c"])
_SCHEMAS = st.dictionaries(_NAMES, st.dictionaries(_NAMES, st.dictionaries(_NAMES, _DECLARATION)))


@given(_SCHEMAS, _SCHEMAS)
def test_nothing_is_told_if_and_only_if_they_say_the_same_and_the_way_back_undoes_it(one: Any, other: Any) -> None:
    old, new = (HomieSchema.from_json({"dataModelVersion": "1.0", "deviceClasses": each}) for each in (one, other))
    forth, back = schema_changes(old, new), schema_changes(new, old)
    assert (forth == ()) == (old == new)
    inverse = {SchemaChangeKind.ADDED: SchemaChangeKind.REMOVED, SchemaChangeKind.REMOVED: SchemaChangeKind.ADDED}
    assert back == tuple(
        SchemaChange(change.path, inverse.get(change.kind, change.kind), change.attribute, change.new, change.old)
        for change in forth
    )
