"""Recordings that may be handed on: nothing private is left in them (I16), and they play like the original."""

import json
import logging
import random
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.errors import SpanPanelStaleDataError
from span_trio.homie import DescriptionError, Message, is_valid_id, parse_description
from span_trio.options import PanelOptions
from span_trio.recording import Played, Recorded, Redactor, find_panel, play, read_recording, record_line
from span_trio.recording.placeholders import Placeholders
from span_trio.snapshot import SpanPanelSnapshot

CAPTURES: Final = {
    path.stem: path
    for path in sorted((Path(__file__).parents[1] / "captures").glob("*.jsonl"))
    if not path.stem.endswith(".events")
}
OPTIONS: Final = PanelOptions()


@cache
def captured(name: str) -> tuple[Recorded, ...]:
    with CAPTURES[name].open(encoding="utf-8") as lines:
        return tuple(read_recording(lines))


def redacted(recording: Iterable[Recorded], serial: str) -> list[Recorded]:
    """As `span-trio record --redact` does it."""
    recording = list(recording)
    redactor = Redactor(serial)
    redactor.learn(recorded.message for recorded in recording if recorded.message.retain)
    return list(map(redactor, recording))


def text_of(recording: Iterable[Recorded]) -> str:
    return "\n".join(map(record_line, recording)).lower()


def stands_in(secret: str, text: str) -> bool:
    """Whether a secret stands in a text as a word: some of the captured serial numbers have three characters."""
    return re.search(rf"(?<![a-z0-9]){re.escape(secret.lower())}(?![a-z0-9])", text.lower()) is not None


# --- planted secrets ---

SITE: Final = {  # private properties and their values: texts, numbers, and two that no firmware has yet
    "info/name": ("string", "The Nobody Family"),
    "info/address-lines": ("string", "12 Elm Street"),
    "info/locality": ("string", "Springfield"),
    "info/region": ("string", "Oregonia"),
    "info/country-code": ("string", "QQ"),
    "info/latitude": ("float", "44.046312"),
    "info/longitude": ("float", "-123.022021"),
    "info/utility-meter-serial-number": ("string", "7QQ12345"),
    "status/wifi-ssid": ("string", "nobodys-wifi"),
    "status/postal-code": ("string", "97477"),
    "core/wifi-ssid": ("string", "flat-nobodys-wifi"),
    "core/postal-code": ("integer", "97478"),
}
NEWER: Final = {  # of firmware that is not out yet: nobody knows which of them are private
    "attic/owner": ("string", "Nobody, N."),
    "attic/lot": ("integer", "4711081"),
    "attic/elevation": ("float", "137.25"),
    "attic/deed": ("json", '{"parcel": "R-99-1", "owners": [{"nobody-2": 731904}]}'),
    "attic/since": ("datetime", "1998-07-06T05:04:03Z"),
    "attic/neighbours-device-id": ("string", "nt-9999-neighb"),
    "$alert/nobody-1": ("", "Call N. Nobody at 555-0100"),
    "$log/error": ("", "the Nobodys are not at home"),
}
SECRETS: Final = [
    *(value for _, value in (SITE | NEWER).values() if not value.startswith("{")),
    *("R-99-1", "nobody-2", "731904", "Nobody", "Elm Street", "555-0100"),
]


def planted(name: str) -> list[Recorded]:
    """A capture of a panel that also publishes what is private, and what is new."""
    recording = captured(name)
    root = find_panel(recording)
    found: list[Recorded] = []
    for recorded in recording:
        topic, payload, retain = recorded.message
        if topic == f"ebus/5/{root}/$description" and payload:
            payload = with_declarations(json.loads(payload))
            if retain:  # of the replay: before the description, or behind it
                values = [
                    Recorded(recorded.t, Message(f"ebus/5/{root}/{path}", value.encode(), retain=True))
                    for path, (_, value) in (SITE | NEWER).items()
                ]
                found += values[::2]
                found.append(recorded._replace(message=Message(topic, payload, retain)))
                found += values[1::2]
                continue
        found.append(recorded._replace(message=Message(topic, payload, retain)))
    assert len(found) > len(recording)
    return found[:1500]  # a replay and some seconds


def with_declarations(document: dict[str, Any]) -> bytes:
    nodes = document["nodes"]
    document["name"] = "The Nobody Family"
    for path, (datatype, _) in (SITE | NEWER).items():
        node, name = path.split("/")
        if not node.startswith("$") and (node != "core" or node in nodes):
            declared = {"datatype": datatype, "name": "Of the Nobodys", "unit": "°"}
            described = nodes.setdefault(node, {"properties": {}})
            if "properties" in described:
                described["properties"][name] = declared
    return json.dumps(document).encode()


def serials_of(recording: Iterable[Recorded]) -> set[str]:
    """Every serial number in a capture: ids without what is the same on every panel, and what is called one."""
    found: set[str] = set()
    for topic, payload, _ in (recorded.message for recorded in recording):
        _, _, device, node, *_ = (*topic.split("/"), "")
        found.update(each for each in (device, node) if re.search(r"[0-9]{3}|[0-9a-f]{32}", each))
        if "serial" in topic.rpartition("/")[2]:
            found.add(payload.decode())
        if topic.endswith("-device-id") and re.search(r"[0-9]{3}|[0-9a-f]{32}", payload.decode()):
            found.add(payload.decode())
    return found - {""}


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_i16_no_private_value_and_no_serial_is_left_in_a_redacted_recording(name: str) -> None:
    recording = planted(name)
    secrets = [*SECRETS, *serials_of(recording)]
    assert len(secrets) > len(SECRETS)
    before, after = text_of(recording), text_of(redacted(recording, find_panel(captured(name))))
    assert [secret for secret in secrets if not stands_in(secret, before)] == []
    assert [secret for secret in secrets if stands_in(secret, after)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_i16_redacting_without_looking_ahead_leaves_nothing_private_either(name: str) -> None:
    recording = planted(name)
    after = text_of(map(Redactor(find_panel(captured(name))), recording))
    assert [secret for secret in [*SECRETS, *serials_of(recording)] if stands_in(secret, after)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_i16_no_private_value_of_the_site_is_in_a_snapshot_or_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    recording = planted(name)
    played: list[Played] = []
    with caplog.at_level(logging.DEBUG), suppress(SpanPanelStaleDataError):  # some are cut in the middle of an outage
        played.extend(play(recording, find_panel(captured(name)), OPTIONS))
    assert len(played) > 2
    shown = "\n".join((caplog.text, *(f"{item.what!r} {item.what}" for item in played)))
    shown += "".join(json.dumps(item.what.to_dict()) for item in played if isinstance(item.what, SpanPanelSnapshot))
    assert [value for _, value in SITE.values() if stands_in(value, shown)] == []


# --- it plays like the original ---


def leaves(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf and key of plain data, by its place: what a placeholder may stand for does not count in a place."""
    match found:
        case dict():
            for number, (key, value) in enumerate(found.items()):
                yield (*path, number, "key"), key
                yield from leaves(value, (*path, number))
        case list() | tuple():
            for number, value in enumerate(found):
                yield from leaves(value, (*path, number))
        case _:
            yield path, found


def with_one_text(snapshot: SpanPanelSnapshot) -> dict[str, Any]:
    """Plain data, in which a list that is masked as a whole is one text, as on the wire."""
    plain = snapshot.to_dict()
    for circuit in plain["circuits"].values():
        circuit.update({name: ",".join(circuit[name] or ()) for name in ("tags", "locations")})
    return plain


def differences(before: list[Played], after: list[Played]) -> dict[str, set[str]]:
    """Text -> what stands in its place in the redacted recording, where that is something else."""
    assert [(item.t, type(item.what)) for item in before] == [(item.t, type(item.what)) for item in after]
    found: dict[str, set[str]] = {}
    for one, other in zip(before, after, strict=True):
        if isinstance(one.what, SpanPanelSnapshot) and isinstance(other.what, SpanPanelSnapshot):
            expected, shown = (dict(leaves(with_one_text(each.what))) for each in (one, other))
            assert expected.keys() == shown.keys()
            for place, value in expected.items():
                if shown[place] != value:
                    found.setdefault(value, set()).add(shown[place])
        else:
            assert one.what == other.what
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_a_redacted_recording_plays_as_before_but_for_what_is_masked(name: str) -> None:
    recording = captured(name)
    after = redacted(recording, find_panel(recording))
    serial = find_panel(after)
    found = differences(list(play(recording, find_panel(recording), OPTIONS)), list(play(after, serial, OPTIONS)))
    assert serial == "redacted-serial"
    assert all(isinstance(text, str) and len(masks) == 1 for text, masks in found.items())
    masks = {text: mask for text, (mask,) in found.items()}
    assert all(mask.startswith("redacted") for mask in masks.values())
    placeholders = [mask for mask in masks.values() if mask != "redacted"]
    assert len(placeholders) == len(set(placeholders))  # different ids stay different
    serials = {text.replace("-", "").lower() for text in serials_of(recording)}  # flat circuit ids have no dashes
    assert {text.replace("-", "").lower() for text, mask in masks.items() if mask != "redacted"} <= serials
    assert {text for text, mask in masks.items() if mask == "redacted"} <= masked_texts(recording)


def masked_texts(recording: Iterable[Recorded]) -> set[str]:
    names = ("time-zone", "wifi-ssid", "tags", "locations", "/relay")  # one simulator echoes nonsense for a relay
    return {recorded.message.payload.decode() for recorded in recording if recorded.message.topic.endswith(names)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_i3_the_order_of_the_replay_changes_nothing_that_is_shown(name: str) -> None:
    recording = captured(name)
    root = find_panel(recording)
    replayed = [recorded for recorded in recording if recorded.message.retain]
    shuffled = random.Random(name).sample(replayed, len(replayed))  # noqa: S311 - the same every time
    ends = [list(play(redacted(each, root), "redacted-serial", OPTIONS))[-1].what for each in (replayed, shuffled)]
    received = [attrs.evolve(end, seq=0) for end in ends if isinstance(end, SpanPanelSnapshot)]
    assert received[0] == received[1]


# --- what is masked, and what is kept ---

HOUSE: Final = {
    "nodes": {
        "info": {"type": "energy.ebus.capability.info", "properties": {"name": {"datatype": "string"}}},
        "switch": {
            "type": "energy.ebus.capability.switch",
            "properties": {
                "relay": {"datatype": "enum", "format": "OPEN,CLOSED,AJAR"},
                "functions": {"datatype": "enum", "format": "ARC_FAULT,GROUND_FAULT,SERIAL-12345"},
                "since": {"datatype": "datetime"},
            },
        },
        "meter": {
            "type": "energy.ebus.capability.meter",
            "properties": {
                "active-power": {"datatype": "float"},
                "torque": {"datatype": "float", "unit": "rpm"},
                "bearing": {"datatype": "float", "unit": "°"},
                "lot": {"datatype": "integer"},
                "spinning": {"datatype": "boolean"},
            },
        },
        "shed": {
            "type": "energy.ebus.capability.shed",
            "properties": {"policy": {"datatype": "json"}, "plan": {"datatype": "json"}},
        },
    },
    "type": "energy.ebus.device.circuit",
    "root": "nt-1",
}
POLICY: Final = '{"algorithm":"soc-priority.v1","parameters":{"soc-threshold-shed":20}}'


def masked(path: str, payload: str | bytes, device: str = "circuit-1", kind: str | None = None) -> tuple[str, str]:
    redactor = Redactor("nt-1")
    document = HOUSE if kind is None else {**HOUSE, "type": kind}
    redactor.learn([Message(f"ebus/5/{device}/$description", json.dumps(document).encode())])
    data = payload.encode() if isinstance(payload, str) else payload
    topic, found, retain = redactor(Recorded(1.0, Message(f"ebus/5/{device}/{path}", data, retain=True))).message
    assert retain
    return topic, found.decode()


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("$state", "ready"),
        ("info/name", "Kitchen & Bath"),
        ("info/model", "MAIN_99 beta"),
        ("info/firmware-version", "spanos3/r202639/03"),
        ("info/spaces", "13,15"),
        ("switch/relay", "AJAR"),
        ("switch/relay/set", "OPEN"),
        ("switch/relay/$target", "CLOSED"),
        ("switch/functions", "ARC_FAULT,GROUND_FAULT"),
        ("meter/active-power", "1.0083333333333333"),
        ("meter/torque", "-12e3"),
        ("meter/spinning", "true"),
        ("shed/policy", POLICY),
        ("connection/feeds-device-type", "energy.ebus.device.bess"),
        ("info/anything", "\0"),
        ("info/anything", ""),
    ],
)
def test_what_is_known_to_be_harmless_is_kept(path: str, payload: str) -> None:
    assert masked(path, payload) == (f"ebus/5/circuit-1/{path}", payload)


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("$state", "ready, Bob"),
        ("$log/info", "Bob is here"),
        ("$alert/door", "Bob is loose"),
        ("info/owner", "Bob"),
        ("info/model", "Bob " * 100),
        ("info/tags", "BOB"),
        ("switch/relay", "BOB"),
        ("switch/relay/set", "Bob"),
        ("switch/since", "2026-03-01T12:00:00Z"),
        ("meter/active-power", "Bob"),
        ("meter/bearing", "44.0463"),
        ("meter/lot", "97477"),
        ("meter/elsewhere", "5"),
        ("shed/policy", "Bob"),
        ("connection/feeds-device-type", "Bob's device"),
        ("info/spaces", "Bob,13"),
        ("info/model", b"MAIN \xff"),
    ],
)
def test_everything_else_is_masked(path: str, payload: str | bytes) -> None:
    assert masked(path, payload) == (f"ebus/5/circuit-1/{path}", "redacted")


@pytest.mark.parametrize(
    ("path", "payload", "shown"),
    [
        ("info/serial-number", "NT-1", "redacted-serial"),
        ("info/name", "Lucid nt-1 charger", "Lucid redacted-serial charger"),
        ("info/part-number", "P/NT-1/9", "P/redacted-serial/9"),
        ("connection/feeds-device-id", "nt-1-bess", "redacted-serial-bess"),
        ("connection/feeds-device-id", "circuit-7", "circuit-7"),
        ("meter/shared-with-device-ids", "circuit-7,nt-2-evse", "circuit-7,redacted-0003-evse"),
        ("grid/grid-forming-entity", "GRID", "GRID"),
        ("info/who", "nt-1", "redacted-serial"),
        ("switch/functions", "SERIAL-12345", "redacted-0003"),
        ("shed/plan", '{"nt-1": ["Bob", 5, true]}', '{"redacted-serial": ["redacted", null, true]}'),
        ("shed/plan", '[["nt-1"]]', '[["redacted-serial"]]'),
    ],
)  # fmt: skip
def test_ids_are_replaced_wherever_they_stand(path: str, payload: str, shown: str) -> None:
    found = masked(path, payload)[1]
    assert re.sub(r"redacted-\d{4}", "redacted-0003", found) == shown


def test_the_name_of_what_is_no_circuit_is_masked() -> None:
    for kind in ("energy.ebus.device.distribution-enclosure", "energy.ebus.device.bess", "com.acme.heat-pump"):
        assert masked("info/name", "Bob's place", kind=kind)[1] == "redacted"


@pytest.mark.parametrize(
    ("topic", "shown"),
    [
        ("ebus/5/nt-1/core/door", "ebus/5/redacted-serial/core/door"),
        ("ebus/5/nt-1-lugs-up/meter/active-power", "ebus/5/redacted-serial-lugs-up/meter/active-power"),
        ("ebus/5/nt-12/core/door", "ebus/5/redacted-0001/core/door"),
        ("ebus/5/circuit-12/switch/relay/set", "ebus/5/circuit-12/switch/relay/set"),
        ("ebus/5/circuit-123/switch/relay", "ebus/5/circuit-redacted-0001/switch/relay"),
        ("ebus/5/nt-1/bobs-den/relay", "ebus/5/redacted-serial/redacted-0001/relay"),
        ("ebus/5/nt-1/core/sn-12345", "ebus/5/redacted-serial/core/redacted-0001"),
        ("ebus/5/nt-1/$bob/5", "ebus/5/redacted-serial/$redacted-0001/redacted-0002"),
        ("ebus/5/$broadcast/bob/x", "ebus/5/$broadcast/redacted-0001/redacted-0002"),
        ("bobs/5/nt-1/core/door", "redacted-0001/5/redacted-serial/core/door"),
        ("ebus/5/Nt-1/core/door", "ebus/5/redacted-serial_/core/door"),  # what was illegal stays illegal
        ("bob", "redacted-0001"),
        ("", ""),
    ],
)
def test_topics_keep_their_shape(topic: str, shown: str) -> None:
    assert Redactor("nt-1")(Recorded(0.0, Message(topic, b"x"))).message.topic == shown


def test_the_levels_of_a_domain_are_masked_and_what_is_behind_them_is_read() -> None:
    redactor = Redactor("nt-1", domain="bobs/ebus")
    described = b'{"nodes": {"core": {"properties": {"door": {"datatype": "enum", "format": "OPEN,CLOSED"}}}}}'
    for topic, payload, shown in (
        ("bobs/ebus/5/nt-1/$description", described, None),
        ("bobs/ebus/5/nt-1/core/door", b"OPEN", b"OPEN"),
        ("bobs/ebus/5/nt-1/core/owner", b"Bob", b"redacted"),
    ):
        after = redactor(Recorded(0.0, Message(topic, payload))).message
        assert after.topic == topic.replace("bobs", "redacted-0001").replace("nt-1", "redacted-serial").replace(
            "owner", after.topic.rpartition("/")[2]
        )
        assert shown is None or after.payload == shown


def test_a_description_keeps_its_structure_and_no_text() -> None:
    document = {
        "homie": "5.0", "version": 7, "name": "Bob's", "type": "energy.ebus.device.bess", "x-owner": "Bob",
        "root": "nt-1", "parent": "nt-1", "children": ["bob-1", 5, "Bob!"], "extensions": ["Bob was here"],
        "nodes": {
            "bob-2": {"name": "Bob", "type": "bob", "properties": {
                "lot": {
                    "datatype": "integer", "format": "97477:97478", "unit": "Bobs", "name": "Bob", "settable": True
                },
                "a": {"datatype": "enum", "format": "BOB-12345,OPEN", "settable": "Bob"},
                "latitude": {"datatype": "float", "format": "44:45", "unit": "°"},
                "b": {"datatype": "Bob"},
                "c": {"datatype": "boolean", "format": "Bob,Rob", "retained": False},
                "d": {"datatype": "enum", "format": "BOB,,BOB"},
                "e": "Bob", "f": {"unit": ["Bob"]},
            }},
            "info": ["Bob"], "status": {"properties": "Bob"},
        },
    }  # fmt: skip
    payload = json.dumps(document).encode()
    after = Redactor("nt-1")(Recorded(0.0, Message("ebus/5/bob-0/$description", payload))).message.payload
    assert b"bob" not in after.lower()
    assert b"97477" not in after
    assert b"44" not in after
    one, other = parse_description(payload, "x"), parse_description(after, "x")
    assert other.children[0].startswith("redacted-")
    assert len(one.children) == len(other.children)
    assert len(one.problems) == len(other.problems)
    (before_node,), (node,) = ([n for n in found.nodes.values() if n.properties] for found in (one, other))
    assert before_node.properties is not None
    assert node.properties is not None
    assert before_node.properties.keys() == node.properties.keys()
    for name, declared in node.properties.items():
        assert (declared.datatype, declared.settable, declared.retained) == (
            before_node.properties[name].datatype, before_node.properties[name].settable,
            before_node.properties[name].retained,
        )  # fmt: skip


@pytest.mark.parametrize("payload", [b"Bob", b"[1]", b'{"nodes": 5}', b'{"homie": "Bob"}', b'{"root": "Bob"}'])
def test_a_malformed_description_stays_malformed(payload: bytes) -> None:
    after = Redactor("nt-1")(Recorded(0.0, Message("ebus/5/x/$description", payload))).message.payload
    assert b"Bob" not in after
    for each in (payload, after):
        with pytest.raises(DescriptionError):
            parse_description(each, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["nodes", "properties", "children", "root", "type", "format", "datatype", "name"]) | st.text(),
        inner,
    ),
)  # fmt: skip


@given(
    st.sampled_from(["$description", "$state", "shed/policy", "info/serial-number", "a/feed"]) | st.text(),
    JSON.map(json.dumps) | st.text() | st.binary(),
)
def test_i9_whatever_is_published_can_be_redacted(path: str, payload: str | bytes) -> None:
    data = payload.encode(errors="replace") if isinstance(payload, str) else payload
    recorded = Recorded(0.0, Message(f"ebus/5/nt-1/{path}", data))
    masked = Redactor("nt-1")(recorded)
    assert bool(masked.message.payload) == bool(data)
    record_line(masked)


# --- placeholders ---

IDS = st.text("ab1-", min_size=1, max_size=6) | st.sampled_from(["nt-1", "nt-1-lugs-up", "circuit-1", "core"])


@given(st.lists(IDS, unique=True), st.booleans())
def test_equal_ids_have_equal_placeholders_and_different_ones_different(ids: list[str], learnt: bool) -> None:
    names = Placeholders("nt-1")
    if learnt:
        names.learn(ids)
    spelt = [names.id(each) for each in ids]
    assert [names.id(each) for each in ids] == spelt
    assert len(set(spelt)) == len(ids)
    assert all(map(is_valid_id, spelt))


def test_ids_that_are_learnt_together_keep_their_order() -> None:
    names = Placeholders("")
    ids = [f"{number:x}abc{number}" for number in range(100, 0, -7)]
    names.learn(ids)
    assert sorted(ids, key=names.id) == sorted(ids)


def test_one_id_with_and_without_dashes_is_one() -> None:
    names = Placeholders("nt-1")
    bare = "770e2de52c33508a8a9ee8878064b46f"
    assert names.id(bare) == names.id("770e2de5-2c33-508a-8a9e-e8878064b46f") != names.id(bare[::-1])


def test_i8_endless_ids_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("span_trio.recording.placeholders._MOST", 10)
    names = Placeholders("nt-1")
    spelt = {names.id(f"x{number}") for number in range(100)}
    names.learn(f"y{number}" for number in range(100))
    assert len(spelt) == 11
    assert not names.knows("y99")
