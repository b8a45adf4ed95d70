"""What a `$description` may say, and what comes of it; and of all that is no description."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import (
    Datatype,
    DescriptionError,
    DeviceDescription,
    EnumFormat,
    NumberFormat,
    PropertyDescription,
    description,
    parse_description,
    parse_properties,
)
from span_trio.homie.values import load_json
from span_trio.wiretext import printable

from .helpers import FEWER, FLOAT, Session, absorb, describe, forest_of, live_session, message, shown

MAX_OBJECTS = 4_096
MAX_BYTES = 256 * 1024


def parse(document: object) -> DeviceDescription:
    return parse_description(json.dumps(document).encode(), "house")


def parse_property(**document: Any) -> PropertyDescription:
    return parse_properties({"p": document})["p"]


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_full_description_says_it_all() -> None:
    document = {
        "homie": "5.0",
        "version": 1766683742148,
        "name": "Pool Pump",
        "type": "energy.ebus.device.circuit",
        "nodes": {
            "switch": {
                "name": "Switch",
                "type": "energy.ebus.capability.switch",
                "properties": {
                    "relay": {
                        "name": "Relay",
                        "datatype": "enum",
                        "format": "UNKNOWN,OPEN,CLOSED",
                        "settable": True,
                        "retained": True,
                    },
                    "power": {"datatype": "float", "unit": "W", "format": "0:"},
                    "pressed": {"datatype": "boolean", "retained": False},
                },
            }
        },
        "children": ["a", "b"],
        "root": "house",
        "parent": "attic",
        "extensions": ["org.example.ext"],
    }

    description = parse_description(json.dumps(document).encode(), "pump")

    switch = description.nodes["switch"]
    assert switch.properties is not None
    assert (description.id, description.homie, description.version) == ("pump", "5.0", 1766683742148)
    assert (description.name, description.type) == ("Pool Pump", "energy.ebus.device.circuit")
    assert (description.root, description.parent, description.children) == ("house", "attic", ("a", "b"))
    assert (description.extensions, description.problems) == (("org.example.ext",), ())
    assert (switch.id, switch.name, switch.type) == ("switch", "Switch", "energy.ebus.capability.switch")
    assert dict(switch.properties) == {
        "relay": PropertyDescription(
            id="relay",
            datatype=Datatype.ENUM,
            name="Relay",
            format_text="UNKNOWN,OPEN,CLOSED",
            settable=True,
            retained=True,
            format=EnumFormat(("UNKNOWN", "OPEN", "CLOSED")),
        ),
        "power": PropertyDescription(
            id="power", datatype=Datatype.FLOAT, format_text="0:", unit="W", format=NumberFormat(minimum=0)
        ),
        "pressed": PropertyDescription(id="pressed", datatype=Datatype.BOOLEAN, retained=False),
    }


def test_what_is_missing_is_the_default() -> None:
    description = parse({})

    assert description == DeviceDescription(id="house")
    assert (description.homie, description.version, description.name) == ("5.0", None, None)
    assert (dict(description.nodes), description.children, description.extensions) == ({}, (), ())


def test_a_node_without_properties_is_bare_and_one_with_none_has_none() -> None:
    nodes = parse({"nodes": {"bare": {"type": "t"}, "empty": {"properties": {}}}}).nodes

    assert (nodes["bare"].type, nodes["bare"].properties) == ("t", None)
    assert nodes["empty"].properties == {}


def test_a_property_is_retained_and_not_settable_unless_it_says_so() -> None:
    declared = parse_property(datatype="float")

    assert (declared.retained, declared.settable) == (True, False)


@pytest.mark.parametrize("homie", ["5", "5.0", "5.1", "5.10.2"])
def test_every_homie_5_is_understood(homie: str) -> None:
    assert parse({"homie": homie}).homie == homie


@pytest.mark.parametrize("homie", ["4.0", "6.0", "50", "five", " 5.0", "v5.0", 5, 5.0, ["5.0"]])
def test_no_other_homie_is_understood(homie: object) -> None:
    with pytest.raises(DescriptionError, match="homie"):
        parse({"homie": homie})


def test_the_parent_is_the_root_unless_it_is_said() -> None:
    assert parse({"root": "house"}).parent == "house"
    assert parse({"root": "house", "parent": "attic"}).parent == "attic"
    assert parse({}).parent is None


def test_what_is_unknown_is_ignored() -> None:
    new = {"$new": 1, "colour": None, "deep": [[[{}]]]}
    document = {"nodes": {"n": {"properties": {"p": {"datatype": "float", **new}}, **new}}, **new}

    assert parse(document) == parse({"nodes": {"n": {"properties": {"p": {"datatype": "float"}}}}})


def test_null_means_that_nothing_is_said() -> None:
    nulls = dict.fromkeys(["homie", "version", "name", "type", "nodes", "children", "root", "parent", "extensions"])

    assert parse(nulls) == parse({})
    assert parse({"nodes": {"n": {"type": None, "properties": None}}}) == parse({"nodes": {"n": {}}})
    assert parse_property(datatype=None, format=None, unit=None) == parse_property()


def test_children_and_extensions_are_named_once_in_their_order() -> None:
    description = parse({"children": ["b", "a", "b"], "extensions": ["x.y", "x.y"]})

    assert (description.children, description.extensions, description.problems) == (("b", "a"), ("x.y",), ())


# --- what is wrong costs the smallest object around it ----------------------------------------------------------------

GOOD = {"datatype": "float"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("version", value) for value in ("1", 1.0, True, [], {})),
        *(("name", value) for value in (5, [], {}, False)),
        *(("type", value) for value in (5, [], {}, False)),
        *(("nodes", value) for value in ([], "n", 5, True)),
        *(("children", value) for value in ({}, "c", 5, True)),
        *(("extensions", value) for value in ({}, "e", 5, True)),
        *(("root", value) for value in (5, [], "Not_an_id", "$r", "")),
        *(("parent", value) for value in (5, [], "Not_an_id", "")),
    ],
)
def test_an_illegal_field_of_the_device_costs_the_description(field: str, value: object) -> None:
    with pytest.raises(DescriptionError, match=field):
        parse({"nodes": {"n": {}}, field: value})


@pytest.mark.parametrize(
    "node",
    ["text", 5, None, [], True, {"type": 5}, {"type": []}, {"name": 5}, {"properties": []}, {"properties": "p"}],
)
def test_an_illegal_field_of_a_node_costs_the_node(node: object) -> None:
    description = parse({"name": "stays", "nodes": {"bad": node, "good": {"properties": {"p": GOOD}}}})

    assert (description.name, list(description.nodes)) == ("stays", ["good"])
    assert len(description.problems) == 1
    assert description.problems[0].startswith("bad: ")


@pytest.mark.parametrize(
    "document",
    [
        *("text", 5, None, [], True),
        *({"datatype": value} for value in ("decimal", "Float", "", 5, [])),
        *({"datatype": "float", "format": value} for value in ("", "a:b", 5, [], {})),
        {"datatype": "enum", "format": "a,,b"},
        {"datatype": "enum", "format": ""},
        {"datatype": "boolean", "format": "on"},
        {"datatype": "color", "format": "cmyk"},
        *({"datatype": "float", field: 5} for field in ("name", "unit")),
    ],
)
def test_an_illegal_field_of_a_property_costs_the_property(document: object) -> None:
    description = parse({"nodes": {"n": {"properties": {"bad": document, "good": GOOD}}}})

    properties = description.nodes["n"].properties
    assert properties is not None
    assert list(properties) == ["good"]
    assert len(description.problems) == 1
    assert description.problems[0].startswith("bad: ")


@pytest.mark.parametrize("name", ["", "Node", "a_b", "$n", "a b", "a/b", "\ud800", "x" * 1000 + "_"])
def test_an_illegal_id_costs_what_it_names(name: str) -> None:
    description = parse({"nodes": {name: {}, "good": {"properties": {name: GOOD, "good": GOOD}}}})

    properties = description.nodes["good"].properties
    assert properties is not None
    assert (list(description.nodes), list(properties), len(description.problems)) == (["good"], ["good"], 2)
    assert all(len(problem) < 100 for problem in description.problems)


@pytest.mark.parametrize("field", ["children", "extensions"])
@pytest.mark.parametrize("entry", ["", 5, None, [], {"id": "c"}])
def test_an_illegal_entry_of_a_list_costs_the_entry(field: str, entry: object) -> None:
    description = parse({field: ["a", entry, "b"]})

    assert getattr(description, field) == ("a", "b")
    assert description.problems == (f"{field}: an illegal entry",)


def test_a_child_that_is_no_id_is_an_illegal_entry() -> None:
    assert parse({"children": ["Not_an_id", "a"]}).children == ("a",)


@pytest.mark.parametrize("value", ["false", "true", 1, 0, None, [], {}])
def test_a_flag_that_is_neither_true_nor_false_is_the_default_and_the_property_stays(value: object) -> None:
    properties = {"p": {"datatype": "float", "settable": value}, "q": {"datatype": "float", "retained": value}}
    description = parse({"nodes": {"n": {"properties": properties}}})

    declared = description.nodes["n"].properties
    assert declared is not None
    assert (declared["p"].settable, declared["q"].retained) == (False, True)
    assert len(description.problems) == 2


def test_an_enum_without_a_format_is_read_as_a_string() -> None:
    assert parse_property(datatype="enum").datatype is Datatype.STRING


def test_a_property_without_a_datatype_stays_and_its_format_is_not_judged() -> None:
    declared = parse_property(format="1:32:1", unit="W")

    assert (declared.datatype, declared.format_text, declared.format, declared.unit) == (None, "1:32:1", None, "W")


@pytest.mark.parametrize(
    "payload", [b"[]", b"null", b"5", b'"text"', b"true", b"{", b'{"a": NaN}', b'{"a": 1e400}', b"", b"\x00"]
)
def test_what_is_no_json_object_is_an_error(payload: bytes) -> None:
    with pytest.raises(DescriptionError):
        parse_description(payload, "house")


@pytest.mark.parametrize(
    "crowd",
    [
        lambda count: {"nodes": {f"n{number}": {} for number in range(count)}},
        lambda count: {"nodes": {"n": {"properties": {f"p{number}": {} for number in range(count - 1)}}}},
        lambda count: {"children": [f"c{number}" for number in range(count)]},
        lambda count: {"children": ["c"] * (count - 1), "extensions": [""]},
        lambda count: {"nodes": {f"N{number}": {} for number in range(count)}},
    ],
    ids=["nodes", "properties", "children", "repetitions", "illegal nodes"],
)
def test_a_document_may_have_4_096_objects_and_no_more(crowd: Any) -> None:
    parse(crowd(MAX_OBJECTS))

    with pytest.raises(DescriptionError, match="more than 4096"):
        parse(crowd(MAX_OBJECTS + 1))


def padded(size: int) -> bytes:
    return b'{"name": "good"' + b" " * (size - 16) + b"}"


def test_a_document_may_have_256_kib_and_no_more() -> None:
    assert len(padded(MAX_BYTES)) == 256 * 1024
    assert parse_description(padded(MAX_BYTES), "house").name == "good"
    with pytest.raises(DescriptionError, match="more than 262144 bytes"):
        parse_description(padded(MAX_BYTES + 1), "house")


@pytest.mark.parametrize("junk", ["[]", "{}"])
def test_a_document_of_too_many_brackets_is_not_even_decoded(junk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def load(text: str) -> Any:
        decoded.append(text)
        return load_json(text)

    monkeypatch.setattr(description, "load_json", load)
    for count in (16_382, 16_383):  # and two of its own
        payload = ('{"junk": [' + ",".join([junk] * count) + "]}").encode()
        with pytest.raises(DescriptionError, match="arrays and objects") if count == 16_383 else nullcontext():
            parse_description(payload, "house")
    assert len(decoded) == 1


def test_what_was_parsed_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def load(text: str) -> Any:
        decoded.append(text)
        return load_json(text)

    monkeypatch.setattr(description, "load_json", load)
    payload = json.dumps({"name": "never seen before"}).encode()
    found = [parse_description(bytes(bytearray(payload)), device) for device in ("house", "house", "car")]
    assert found[0] is found[1]
    assert [each.id for each in found] == ["house", "house", "car"]
    assert len(decoded) == 2


def test_i8_what_is_remembered_of_descriptions_is_bounded() -> None:
    for number in range(1_000):
        parse_description(json.dumps({"version": number}).encode(), "house")
    large = [
        json.dumps({"name": "x" * 40_000}).encode(),
        json.dumps({"nodes": {f"n{i}": {} for i in range(300)}}).encode(),
    ]
    for payload in large:
        assert parse_description(payload, "house") is not parse_description(payload, "house")
    assert description._parse_and_remember.cache_info().currsize == 256


def test_property_declarations_alone_are_bounded_too() -> None:
    with pytest.raises(DescriptionError, match="more than 4096"):
        parse_properties({f"p{number}": {} for number in range(MAX_OBJECTS + 1)})


def test_property_declarations_alone_lose_what_is_wrong_with_them() -> None:
    assert list(parse_properties({"good": GOOD, "bad": 5, "Bad": GOOD})) == ["good"]


# --- any input --------------------------------------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=6)
FIELDS = st.sampled_from(
    ["homie", "nodes", "children", "properties", "datatype", "format", "settable", "type", "root", "version", "a", "b"]
)
WORDS = st.sampled_from(["5.0", "float", "enum", "color", "a,b", "0:1", ":", "rgb", "a", "b"])
JSON_VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=24,
)


ANY = SCALARS | WORDS | JSON_VALUES
PROPERTIES = st.dictionaries(FIELDS, ANY, max_size=4)
NODES = st.fixed_dictionaries(
    {}, optional={"type": ANY, "properties": st.dictionaries(FIELDS, PROPERTIES | ANY, max_size=3) | ANY}
)
LIKELY = st.fixed_dictionaries(
    {"nodes": st.dictionaries(FIELDS | st.text(max_size=3), NODES | ANY, max_size=3)},
    optional={"children": st.lists(ANY, max_size=4), "version": st.integers(), "new": ANY},
)


@FEWER
@given(st.binary(max_size=64) | (ANY | LIKELY).map(lambda value: json.dumps(value).encode()))
def test_i9_any_payload_is_a_description_or_a_description_error(payload: bytes) -> None:
    try:
        description = parse_description(payload, "house")
    except DescriptionError:
        return
    assert description.id == "house"


@FEWER
@given(LIKELY)
def test_i9_of_any_object_what_is_kept_is_legal(document: dict[str, Any]) -> None:
    description = parse(document)

    assert set(description.children) <= {child for child in document.get("children", ()) if isinstance(child, str)}
    for name, node in description.nodes.items():
        assert document["nodes"][name].get("type") == node.type
        assert isinstance(node.type, str | None)
        for declared in (node.properties or {}).values():
            assert isinstance(declared.datatype, Datatype | None)
            assert isinstance(declared.settable, bool)
            assert isinstance(declared.retained, bool)


# --- what made other clients fall over --------------------------------------------------------------------------------

OLD = describe({"meter": {"power": FLOAT}}, name="good")


def probe_second_description(payload: bytes) -> None:
    """As the second one it costs nothing: the good one stays, and so does what it shows."""
    forest = forest_of(("house/$description", OLD), ("house/meter/power", "5"))

    absorb(forest, "house/$description", payload)

    house = forest.devices["house"]
    assert house.description is not None
    assert (house.description.name, shown(forest)) == ("good", {"house/meter/power": 5.0})
    assert house.description_error
    assert forest.dropped == {"malformed $description": 1}


def probe_first_description(payload: bytes) -> None:
    """As the first one it leaves the device pending and named; it is heard once, and what comes next is heard too."""
    session = Session()
    session.connect()
    session.replay(("house/$state", "ready"), ("house/$description", payload), ("house/meter/power", "5"))
    session.complete()

    assert session.obstacle == "pending device: house"
    assert session.core.missing()[0].startswith("$description of house (malformed: ")
    assert session.core.forest.dropped == {"malformed $description": 1}

    session.hear("house/$description", OLD)

    assert session.edges() == ["online"]
    assert session.core.missing() == ()
    assert shown(session.core.forest) == {"house/meter/power": 5.0}


def probe_description(payload: bytes) -> None:
    probe_second_description(payload)
    probe_first_description(payload)


def test_probe_description_is_an_empty_list() -> None:
    probe_description(b"[]")


def test_probe_description_is_null() -> None:
    probe_description(b"null")


def test_probe_description_is_200_000_brackets() -> None:
    probe_description(b"[" * 200_000)


def test_probe_description_is_invalid_json() -> None:
    probe_description(b'{"nodes": {"meter": }')


def test_probe_description_has_a_byte_order_mark() -> None:
    probe_description(b"\xef\xbb\xbf" + OLD)


def test_probe_description_is_non_utf_8() -> None:
    probe_description(b'{"name": "caf\xe9"}')


def test_probe_description_is_0x00() -> None:
    probe_description(b"\x00")


def test_probe_description_is_5_mb_of_junk() -> None:
    probe_description(b"x" * 5_000_000)


def test_probe_description_has_200_kb_of_junk_in_it() -> None:
    junk = parse({"name": "good", "junk": "x" * 200_000})

    assert junk == parse({"name": "good"})


def test_probe_description_has_5_mb_of_junk_in_it() -> None:
    probe_description(json.dumps({"name": "good", "junk": "x" * 5_000_000}).encode())


@pytest.mark.slow
def test_probe_description_has_70_000_circuits() -> None:
    circuits = json.dumps({"nodes": {f"c{number}": {} for number in range(70_000)}}).encode()

    probe_description(circuits)


def test_probe_nodes_is_a_list() -> None:
    probe_description(b'{"nodes": []}')


def test_probe_type_is_a_number() -> None:
    probe_description(b'{"type": 5}')


def test_probe_node_is_a_string() -> None:
    """It costs that node, which is counted; its neighbour stays."""
    forest = forest_of(
        ("house/$description", json.dumps({"nodes": {"meter": {}, "switch": "on"}})),
        ("house/meter/power", "5"),
        ("house/switch/relay", "OPEN"),
    )

    house = forest.devices["house"]
    assert house.description is not None
    assert (shown(forest), house.description.problems) == ({"house/meter/power": "5"}, ("switch: not an object",))
    assert forest.dropped == {"part of a $description": 1}


def test_probe_description_is_empty() -> None:
    """A zero-length payload is a deletion: nothing shows, and the device is pending, until there is another one."""
    session = live_session()
    session.edges()

    session.hear("house/$description", b"")

    assert session.edges() == ["pending device: house"]
    assert (shown(session.core.forest), session.core.missing()) == ({}, ("$description of house",))

    session.hear("house/$description", describe({"meter": {"power": FLOAT}}))

    assert session.edges() == ["online"]
    assert shown(session.core.forest) == {"house/meter/power": 100.0}


def test_probe_second_description_drops_a_node() -> None:
    """Its values vanish. They are kept until they are cleared, as by a broker: a third that has it shows them again."""
    forest = forest_of(
        ("house/$description", describe({"a": {"power": FLOAT}, "b": {"power": FLOAT}})),
        ("house/a/power", "1"),
        ("house/b/power", "2"),
    )

    absorb(forest, "house/$description", describe({"a": {"power": FLOAT}}))
    assert shown(forest) == {"house/a/power": 1.0}

    absorb(forest, "house/$description", describe({"a": {"power": FLOAT}, "b": {"power": FLOAT}}))
    assert shown(forest) == {"house/a/power": 1.0, "house/b/power": 2.0}


def test_probe_second_description_drops_a_node_and_its_values_are_cleared() -> None:
    forest = forest_of(("house/$description", describe({"b": {"power": FLOAT}})), ("house/b/power", "2"))

    absorb(forest, "house/$description", describe({}))
    absorb(forest, "house/b/power", b"")
    absorb(forest, "house/$description", describe({"b": {"power": FLOAT}}))

    assert shown(forest) == {}


@pytest.mark.parametrize("state", ["init", "sleeping", "alert", "deleted", "BOGUS", "READY", "ready ", "\x00"])
def test_probe_state_init_sleeping_alert_deleted_bogus(state: str) -> None:
    """None of these is ready: not live at once, with that state as the reason, and live again at once."""
    session = live_session()
    session.edges()

    session.hear("house/$state", state)
    session.hear("house/$state", "ready")

    assert session.edges() == [f"device state: {printable(state)}", "online"]


def test_probe_state_is_non_utf_8() -> None:
    session = live_session()
    session.edges()

    session.hear("house/$state", b"read\xff")

    assert session.edges() == ["device state: read\ufffd"]


@pytest.mark.parametrize("state", ["lost", "disconnected"])
def test_probe_state_lost_then_ready(state: str) -> None:
    """Everybody is told; live again when each value has been published again, and not with a value of before."""
    session = live_session()
    session.edges()

    session.hear("house/$state", state)
    session.hear("house/$state", "ready")
    assert session.edges() == [f"device state: {state}"]
    assert session.obstacle == "values of before not confirmed"

    session.hear("house/meter/power", "100")
    session.hear("house/switch/relay", "OPEN")
    assert session.edges() == ["online"]


def test_probe_broker_comes_back_empty_and_the_panel_publishes_nothing() -> None:
    """Not one value of before: not live, and it says what is missing."""
    session = live_session()
    session.disconnect()
    session.connect(epoch=2)
    session.complete()

    assert session.obstacle == "device state: not published"
    assert session.core.missing() == ("$state of house", "$description of house")
    assert shown(session.core.forest) == {}


VALUES = describe(
    {
        "n": {
            "float": FLOAT,
            "relay": {"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED"},
            "dipole": {"datatype": "boolean"},
            "space": {"datatype": "integer", "format": "1:32:1"},
            "name": {"datatype": "string"},
        }
    }
)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        *(("float", payload) for payload in ("NaN", "inf", "1e400", "1_000", " 7.5 ", "\u0661", "1,5", "0x10", "true")),
        ("dipole", "maybe"),
        ("space", "3.5"),
        *((name, b"") for name in ("float", "relay", "dipole", "space", "name")),
        *((name, b"\x00") for name in ("float", "relay", "dipole", "space")),
        *((name, b"caf\xe9") for name in ("float", "relay", "dipole", "space", "name")),
        *((name, b"\xef\xbb\xbf5") for name in ("float", "relay", "dipole", "space", "name")),
    ],
)
def test_probe_an_invalid_payload_shows_nothing_and_the_value_before_it_no_longer(
    name: str, payload: bytes | str
) -> None:
    good = {"float": "7.5", "relay": "OPEN", "dipole": "true", "space": "3", "name": "Pump"}
    forest = forest_of(("house/$description", VALUES), *((f"house/n/{name}", good[name]) for name in good))

    forest.absorb(message(f"house/n/{name}", payload), 0.0)

    assert f"house/n/{name}" not in shown(forest)
    assert len(shown(forest)) == len(good) - 1
    assert forest.dropped == ({"invalid payload": 1} if payload else {})


def test_probe_relay_bogus() -> None:
    """The text shows: firmware publishes members that its format does not list. What it means is for SPAN's room."""
    forest = forest_of(("house/$description", VALUES), ("house/n/relay", "BOGUS"))

    assert forest.value("house", "n", "relay") == "BOGUS"


def test_probe_0x00_is_the_empty_string() -> None:
    forest = forest_of(("house/$description", VALUES), ("house/n/name", b"\x00"))

    assert forest.value("house", "n", "name") == ""
