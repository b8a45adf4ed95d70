"""What a flat panel's properties are where its description does not say."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import Datatype, NumberFormat, PropertyDescription
from span_trio.span import FLAT, HomieSchema, NodeType
from span_trio.span.schema import positions_of
from tests.unit.span.helpers import DRIVE, HOUSE, KITCHEN, SMALL, FlatPanel, declarations

CAPTURES = Path(__file__).parents[2] / "captures"
TYPE = "energy.ebus.device."
WORDS = st.sampled_from(["types", "firmwareVersion", NodeType.CIRCUIT, "space", "datatype", "format", "NO ID", ""])
SCALARS = st.sampled_from([None, True, 0, -1.5, "", "float", "1:32:1"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3))


def recorded() -> Any:
    return json.loads((CAPTURES / "flat32.rest.homie-schema.json").read_text())


# --- FLAT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted({*HOUSE.values()}))
def test_flat_has_the_datatype_of_every_property_of_r202627(kind: str) -> None:
    expected = {
        # An enum without a format restricts nothing: it is text.
        name: "string" if item["datatype"] == "enum" and "format" not in item else item["datatype"]
        for name, item in declarations(kind).items()
    }
    assert {name: item.datatype for name, item in FLAT[TYPE + kind].items()} == expected


def test_flat_agrees_with_a_panels_own_schema_wherever_that_speaks() -> None:
    differences = {
        (kind, name): (item.datatype, known.datatype if known else None)
        for kind, items in HomieSchema.from_json(recorded()).types.items()
        for name, item in items.items()
        if (known := FLAT[kind].get(name)) is None or known.datatype != item.datatype
    }
    assert differences == {}


def test_typed_lugs_are_lugs() -> None:  # they are in descriptions and not in the REST schema
    for types in (FLAT, HomieSchema.from_json(recorded()).types):
        assert types[NodeType.LUGS_UPSTREAM] == types[NodeType.LUGS_DOWNSTREAM] == types[NodeType.LUGS]
    assert NodeType.LUGS_UPSTREAM not in HomieSchema.from_json({"types": {}}).types


# --- HomieSchema ------------------------------------------------------------------------------------------------------


def test_a_recorded_schema_is_read() -> None:
    schema = HomieSchema.from_json(recorded())
    assert (schema.firmware_version, schema.data_model_version) == ("spanos2/r202603/05", None)
    assert schema.schema_hash == "sha256:26ef2e6ae169f803"
    assert schema.panel_size == 32
    power = schema.types[NodeType.CIRCUIT]["active-power"]
    assert (power.datatype, power.unit) == (Datatype.FLOAT, "kW")
    assert schema.types[NodeType.CORE]["dominant-power-source"].settable


def test_a_schema_of_the_parent_child_model_says_its_version() -> None:
    body = {"dataModelVersion": "1.0", "deviceClasses": {}, "deviceClassesSchemaHash": "sha256:1"}
    schema = HomieSchema.from_json(body)
    assert (schema.data_model_version, schema.schema_hash, schema.types) == ("1.0", "sha256:1", {})


def test_an_empty_schema_says_nothing() -> None:
    assert HomieSchema.from_json({}) == HomieSchema()
    assert HomieSchema().panel_size is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        ("<html>", "not a JSON object"),
        ({"types": []}, "types is not a dict"),
        ({"types": {"x": []}}, "types: "),
        ({"types": {"x": "y"}}, "types: "),
        ({"types": {"x": None}}, "types: "),
        ({"types": {"x": {f"p{number}": {} for number in range(16_385)}}}, "types: more than"),
        ({"firmwareVersion": 5}, "firmwareVersion is not a str"),
        ({"dataModelVersion": 1.0}, "dataModelVersion is not a str"),
        ({"typesSchemaHash": {}}, "typesSchemaHash is not a str"),
    ],
)
def test_what_has_not_the_shape_of_a_schema_is_refused(body: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        HomieSchema.from_json(body)


def test_a_property_that_is_malformed_costs_itself() -> None:
    types = {"x": {"good": {"datatype": "float"}, "bad": {"datatype": "quaternion"}, "worse": 5, "NO ID": {}}}
    assert list(HomieSchema.from_json({"types": types}).types["x"]) == ["good"]


@given(JSON | st.fixed_dictionaries({"types": st.dictionaries(WORDS, JSON, max_size=2)}))
def test_i9_any_json_is_a_schema_or_a_value_error(body: object) -> None:
    try:
        schema = HomieSchema.from_json(body)
    except ValueError:
        return
    assert schema.panel_size is None or schema.panel_size > 0


def test_a_panels_schema_is_laid_over_what_is_known_anyway() -> None:
    body = {"types": {NodeType.CIRCUIT: {"space": {"datatype": "integer", "format": "1:24:1"}}, "new": {"x": {}}}}
    schema = HomieSchema.from_json(body)
    both = schema.over(FLAT)
    assert both[NodeType.CIRCUIT]["space"].format == NumberFormat(1.0, 24.0, 1.0)
    assert both[NodeType.CIRCUIT]["dipole"].datatype is Datatype.BOOLEAN
    assert both[NodeType.CORE] == FLAT[NodeType.CORE]
    assert list(both["new"]) == ["x"]


# --- what they are for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "positions"),
    [
        (NumberFormat(1.0, 32.0, 1.0), range(1, 33)),
        (NumberFormat(9.0, 24.0, 1.0), range(9, 25)),
        (NumberFormat(None, 40.0), range(1, 41)),
        (NumberFormat(0.0, 40.0), range(1, 41)),
        (NumberFormat(None, 1.0), range(1, 2)),
        (NumberFormat(1.0, 1024.0), range(1, 1025)),
        (NumberFormat(1.0), None),
        (NumberFormat(1.0, 32.5), None),
        (NumberFormat(1.5, 32.0), None),
        (NumberFormat(None, 0.0), None),
        (NumberFormat(1.0, 1e300), None),  # its unmapped_tabs fit into no memory
        (NumberFormat(1.0, 1025.0), None),
        (None, None),
    ],
)
def test_the_format_of_space_tells_the_positions(form: NumberFormat | None, positions: range | None) -> None:
    assert positions_of(PropertyDescription("space", Datatype.INTEGER, format=form)) == positions


def test_no_declaration_tells_no_position() -> None:
    assert positions_of(None) is None


@pytest.mark.parametrize("bare", [False, True])
def test_the_schema_tells_the_panel_size_only_where_the_description_does_not(bare: bool) -> None:
    schema = HomieSchema.from_json(
        {"types": {NodeType.CIRCUIT: {"space": {"datatype": "integer", "format": "1:40:1"}}}}
    )
    panel = FlatPanel(SMALL, bare=bare, schema=schema)
    assert panel.publish("core", model="MLO_24").panel_size == (40 if bare else 32)


def test_a_schema_gives_no_permission() -> None:
    # Nor does anything else than the charger's own description (lesson s1 1.1.1).
    schema = HomieSchema.from_json(
        {"types": {NodeType.EVSE: {"user-max-charge-current": {"datatype": "integer", "settable": True}}}}
    )
    panel = FlatPanel({DRIVE: "evse"}, bare=True, fallback=schema.over(FLAT), schema=schema)
    assert panel.snapshot().evse[DRIVE].charge_current_limit_settable is False


def test_a_bare_description_is_read_with_the_schemas_datatypes() -> None:
    schema = HomieSchema.from_json({"types": {NodeType.CIRCUIT: {"name": {"datatype": "enum", "format": "A,B"}}}})
    panel = FlatPanel(SMALL, bare=True, fallback=schema.over(FLAT))
    assert panel.publish(KITCHEN, name=b"\x00").circuits[KITCHEN].name is None  # an enum is never the empty text
