"""Whatever a parent/child tree publishes, there is a snapshot of it (I9), and no number in it was invented (I5)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import BESS, DRIVE, HOUSE, KITCHEN, MID, PANEL, PV, ROOT, SOLAR, UP, describe

PIECES: Final = st.sampled_from(
    [
        *(
            ROOT,
            UP,
            KITCHEN,
            SOLAR,
            BESS,
            MID,
            PV,
            DRIVE,
            "x",
            "info",
            "meter",
            "switch",
            "connection",
            "relay",
            "spaces",
        ),
        *(
            "active-power",
            "feeds-device-id",
            "policy",
            "shed",
            "$target",
            "set",
            "$state",
            "$description",
            "$x",
            "",
            "ä",
        ),
        *("+", "#"),
    ]
)
TOPICS: Final = st.lists(PIECES, min_size=1, max_size=4).map("/".join)
WORDS: Final = st.sampled_from(
    [
        *("nodes", "properties", "type", "datatype", "format", "settable", "retained", "children", "root", "parent"),
        *("info", "meter", "switch", "x", KITCHEN, ROOT, BESS, "energy.ebus.device.circuit", "energy.ebus.device.mid"),
        *(
            "energy.ebus.capability.meter",
            "energy.ebus.capability.",
            "float",
            "json",
            "enum",
            "1:32:1",
            "1:1e300:1",
            "",
        ),
    ]
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
NODE: Final = st.fixed_dictionaries(
    {"type": WORDS}, optional={"properties": st.dictionaries(WORDS | st.just("active-power"), JSON, max_size=3) | JSON}
)
DOCUMENTS: Final = JSON | st.fixed_dictionaries(
    {"type": WORDS, "nodes": st.dictionaries(WORDS, NODE | JSON, max_size=4)},
    optional={"children": st.lists(WORDS, max_size=4) | JSON, "root": JSON, "parent": JSON},
)
PAYLOADS: Final = st.binary(max_size=8) | st.sampled_from(
    [b"1e300", b"9" * 19, b"9" * 400, b"-1", b"OPEN", b"true", b"[" * 10_000, b'{"algorithm":1}', b"1,2,3", b"\xff"]
)
DEVICES: Final = st.sampled_from([*HOUSE, "x"])
KNOWN: Final = st.sampled_from(
    [
        f"{device}/{node}/{name}"
        for device in HOUSE
        for node, found in describe(HOUSE[device][0])["nodes"].items()
        for name in found["properties"]
    ]
)
ANYTHING: Final = st.one_of(
    st.tuples(TOPICS, PAYLOADS),
    st.tuples(KNOWN, PAYLOADS),
    st.tuples(KNOWN.map("{}/$target".format), PAYLOADS),
    st.tuples(DEVICES.map("{}/$state".format), PAYLOADS | st.sampled_from([b"ready", b"lost", b"init"])),
    st.tuples(DEVICES.map("{}/$description".format), DOCUMENTS.map(lambda document: json.dumps(document).encode())),
)


@pytest.mark.slow
@given(st.lists(ANYTHING, max_size=8))
def test_i9_whatever_is_published_there_is_a_snapshot_of_it(messages: list[tuple[str, bytes]]) -> None:
    panel = full_house()
    panel.snapshot()
    for topic, payload in messages:
        panel.message(topic, payload)
        root = panel.forest.devices.get(ROOT)
        if root is None or root.description is None:
            return  # not live: nobody asks
        panel.snapshot()
    snapshot = panel.snapshot()
    assert SpanPanelSnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict(), allow_nan=False))) == snapshot
    assert hash(snapshot) == hash(attrs.evolve(snapshot, seq=0))


# --- any tree, of any types, nodes and values -------------------------------------------------------------------------

KINDS: Final = st.sampled_from(
    [*{kind for kind, _ in HOUSE.values()}, "lugs.upstream", "lugs.x", "", "com.acme.thing", PANEL]
)
NAMES: Final = [f"d{number}" for number in range(6)]
NODES: Final = st.dictionaries(
    st.sampled_from(["info", "meter", "switch", "connection", "soc", "grid", "status", "config", "load-shed", "odd"]),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["energy.ebus.capability.meter", "energy.ebus.capability.info", "odd", 5]),
            "properties": st.dictionaries(
                st.sampled_from(
                    ["active-power", "name", "spaces", "relay", "priority", "soc", "feeds-device-id", "odd"]
                ),
                st.fixed_dictionaries(
                    {},
                    optional={"datatype": st.sampled_from(["float", "enum", "json", "color", "x"]), "settable": JSON},
                ),
                max_size=3,
            ),
        },
    ),
    max_size=4,
)
TREES: Final = st.fixed_dictionaries(
    {
        name: st.tuples(KINDS, NODES, st.lists(st.sampled_from([*NAMES, ROOT, "ghost"]), max_size=3), st.booleans())
        for name in NAMES
    }
)
READINGS: Final = st.dictionaries(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["info", "meter", "switch", "connection", "soc", "grid", "odd"]),
        st.sampled_from(["active-power", "name", "spaces", "relay", "soc", "feeds-device-id", "serial-number", "odd"]),
    ).map("/".join),
    st.sampled_from([b"1.5", b"-7", b"OPEN", b"1,3", b"d1", b"d4", b"{}", b"\xff", b"NaN"]),
    max_size=12,
)


def numbers(plain: Mapping[str, Any]) -> Iterator[float]:
    for name, value in plain.items():
        if isinstance(value, dict) and name != "received_at":
            yield from numbers(value)
        elif type(value) in {int, float} and not name.endswith("_s") and name not in {"seq", "epoch"}:
            yield value


@pytest.mark.slow
@given(TREES, READINGS)
def test_i4_i5_i9_a_random_tree_of_random_devices_has_a_snapshot_and_no_number_is_invented(
    devices: dict[str, tuple[str, Any, list[str], bool]], readings: dict[str, bytes]
) -> None:
    panel = ChildPanel({ROOT: (PANEL, None)})
    panel.redescribe(ROOT, children=NAMES[:3])
    for name, (kind, nodes, children, here) in devices.items():
        document = {"type": f"energy.ebus.device.{kind}", "nodes": nodes, "children": children}
        panel.message(f"{name}/$description", json.dumps(document))
        panel.message(f"{name}/$state", "ready" if here else "lost")
        assert panel.snapshot() == panel.from_scratch()
    for topic, payload in readings.items():
        panel.message(topic, payload)
    snapshot = panel.snapshot()
    assert snapshot == panel.from_scratch()
    assert {abs(number) for number in numbers(snapshot.to_dict())} <= {1.5, 7.0}
