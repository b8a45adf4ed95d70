"""From snapshot to snapshot: what stays the same object, and what holds whatever a panel publishes."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.snapshot import SpanPanelSnapshot
from tests.fuzz.bounds import enough
from tests.unit.span.helpers import (
    DRIVE,
    GARAGE,
    HOUSE,
    KITCHEN,
    ROOT,
    SOLAR,
    VALUES,
    FlatPanel,
    declarations,
    describe,
    full_house,
)

PARTS = ("circuits", "battery", "pv", "pv_inverters", "evse", "pcs")

# --- identity ---------------------------------------------------------------------------------------------------------


def same_parts(old: SpanPanelSnapshot, new: SpanPanelSnapshot) -> set[str]:
    """The parts, and circuits, that are the same objects in both."""
    parts = {name for name in PARTS if getattr(new, name) is getattr(old, name)}
    return parts | {key for key, circuit in new.circuits.items() if circuit is old.circuits.get(key)}


ALL: Final = {*PARTS, KITCHEN, SOLAR, GARAGE}


@pytest.mark.parametrize(
    ("topic", "payload", "anew"),
    [
        ("core/door", "CLOSED", set()),
        ("core/software-version", "x", set()),
        ("lugs-upstream/active-power", "1", set()),
        ("power-flows/site", "1", set()),
        (f"{KITCHEN}/active-power", "1", {"circuits", KITCHEN}),
        (f"{KITCHEN}/space", "1", {"circuits", KITCHEN}),
        (f"{KITCHEN}/relay/$target", "OPEN", {"circuits", KITCHEN}),
        ("bess/soc", "1", {"battery"}),
        ("bess/grid-state", "ON_GRID", set()),
        ("pcs/active", "true", {"pcs"}),
        ("pv/vendor-name", "X", {"pv", "pv_inverters"}),
        ("pv/relative-position", "UPSTREAM", {"pv", "pv_inverters", "circuits", SOLAR}),
        ("pv/feed", KITCHEN, {"pv", "pv_inverters", "circuits", SOLAR, KITCHEN}),
        (f"{DRIVE}/status", "AVAILABLE", {"evse"}),
        (f"{DRIVE}/feed", KITCHEN, {"evse", "circuits", GARAGE, KITCHEN}),
        (f"{KITCHEN}/not-a-property", "1", set()),
        ("not-a-node/relay", "OPEN", set()),
        ("$alert/hot", "Too hot", set()),
    ],
)
def test_what_a_message_does_not_concern_stays_the_same_object(topic: str, payload: str, anew: set[str]) -> None:
    panel = full_house()
    old = panel.snapshot()
    panel.message(topic, payload)
    assert same_parts(old, panel.snapshot()) == ALL - anew


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda _: None, id="nothing"),
        pytest.param(lambda panel: [panel.message(line.topic, line.payload) for line in VALUES], id="the same values"),
        pytest.param(
            lambda panel: [panel.message(line.topic, text) for line in VALUES for text in (line.other, line.payload)],
            id="other values, and the same again",
        ),
        pytest.param(
            lambda panel: panel.message("$description", json.dumps({**describe(HOUSE), "version": 9})),
            id="a description",
        ),
        pytest.param(lambda panel: panel.message("$state", "init"), id="a state"),
        pytest.param(
            lambda panel: panel.message(f"{KITCHEN}/active-power", "-151.50"), id="the same value in other words"
        ),
    ],
)
def test_what_was_made_anew_and_came_out_equal_is_the_same_object(again: Callable[[FlatPanel], Any]) -> None:
    panel = full_house()
    old = panel.snapshot()
    again(panel)
    new = panel.snapshot()
    assert same_parts(old, new) == ALL
    assert new == old
    assert list(new.changes(old)) == []


def test_a_replay_of_known_values_in_a_new_epoch_brings_no_changes() -> None:
    # Lesson api 2.5.0: callbacks stormed at every reconnect.
    assert list(full_house().snapshot().changes(full_house().snapshot())) == []


def test_circuits_that_stay_are_the_same_objects_while_others_come_and_go() -> None:
    panel = full_house()
    old = panel.snapshot()
    fewer = panel.redescribe({node: kind for node, kind in HOUSE.items() if node != GARAGE})
    more = panel.redescribe({**HOUSE, "beef": "circuit"})
    assert same_parts(old, fewer) == ALL - {"circuits", GARAGE}
    assert same_parts(fewer, more) == ALL - {"circuits", GARAGE}
    assert list(more.circuits) == [KITCHEN, SOLAR, GARAGE, "beef"]


def test_i4_maps_are_in_the_order_of_the_newest_description() -> None:
    panel = FlatPanel({"a": "circuit", "pv-a": "pv", "pv-b": "pv", "ev-a": "evse", "ev-b": "evse", "b": "circuit"})
    panel.snapshot()
    snapshot = panel.redescribe(
        {"b": "circuit", "a": "circuit", "pv-b": "pv", "pv-a": "pv", "ev-b": "evse", "ev-a": "evse"}
    )
    assert (*snapshot.circuits, *snapshot.pv_inverters, *snapshot.evse) == ("b", "a", "pv-b", "pv-a", "ev-b", "ev-a")


def test_i4_of_two_inverters_on_one_circuit_the_last_described_gives_the_position() -> None:
    panel = FlatPanel({"a": "circuit", "pv-a": "pv", "pv-b": "pv"})
    panel.publish("pv-a", {"feed": "a", "relative-position": "UPSTREAM"})
    assert (
        panel.publish("pv-b", {"feed": "a", "relative-position": "IN_PANEL"}).circuits["a"].relative_position
        == "IN_PANEL"
    )
    snapshot = panel.redescribe({"a": "circuit", "pv-b": "pv", "pv-a": "pv"})
    assert snapshot.circuits["a"].relative_position == "UPSTREAM"


# --- what a panel may publish -----------------------------------------------------------------------------------------

NODES: Final = {
    "core": "distribution-enclosure.core",
    "up": "lugs",
    "dn": "lugs.downstream",
    "c1": "circuit",
    "c-2": "circuit",
    "pv-a": "pv",
    "pv-b": "pv",
    "ev": "evse",
    "bess": "bess",
    "pcs": "pcs",
    "flows": "power-flows",
}
NUMBERS: Final[Mapping[str, float]] = {"0": 0, "-0.0": 0, "7": 7, "1.5": 1.5, "-250.25": -250.25, "31.0": 31, "16": 16}
NO_NUMBERS: Final = ["NaN", "1,5", "1_000", "true", "a lot"]
BY_DATATYPE: Final = {
    "float": [*NUMBERS, *NO_NUMBERS],
    "integer": [*NUMBERS, *NO_NUMBERS],
    "boolean": ["true", "false", "maybe", "1"],
    "enum": ["UNKNOWN", "OPEN", "CLOSED", "BOGUS"],
}
BY_PROPERTY: Final = {
    "feed": ["c1", "C-1", "c2", "nowhere", "-"],
    "name": ["A", "B", "\x00"],
    "serial-number": ["A", "B", "\x00"],
    "direction": ["UPSTREAM", "downstream", "SIDEWAYS"],
    "software-version": ["spanos2/r202603/05", "spanos2/r202627/05", "x"],
    "model": ["MAIN_16", "MLO_24", "X"],
    "grid-state": ["ON_GRID", "OFF_GRID", "UNKNOWN"],
    "dominant-power-source": ["GRID", "BATTERY", "PV", "NONE"],
    "relative-position": ["UPSTREAM", "IN_PANEL"],
}


def payloads(name: str, datatype: str) -> list[bytes]:
    texts = BY_PROPERTY.get(name) or BY_DATATYPE[datatype]
    return [*(text.encode() for text in texts), b"", b"\xff"]


# Of properties that are treated alike, not all: more of what matters then happens in a history.
READINGS: Final = [
    (f"{node}/{name}{suffix}", payload)
    for node, kind in NODES.items()
    for name, item in declarations(kind).items()
    if not name.startswith(("off-grid", "requested")) and (item["datatype"] != "string" or name in BY_PROPERTY)
    for suffix in (("", "/$target") if item.get("settable") else ("",))
    for payload in payloads(name, item["datatype"])
]
_SIXTEEN: Final[Mapping[str, Any]] = {"circuit": {"space": {"datatype": "integer", "format": "1:16:1"}}}
_FEWER: Final = [("c1", "pv-a"), ("core", "bess", "ev"), tuple(NODES)[1:]]
DESCRIPTIONS: Final[Mapping[str, bytes]] = {
    name: json.dumps(document).encode()
    for name, document in {
        "all": describe(NODES),
        "bare": describe(NODES, bare=True),
        "backwards": describe(dict(reversed(NODES.items()))),
        "of 16 positions": describe(NODES, **_SIXTEEN),
        "of other types": describe({**NODES, "c1": "evse", "ev": "circuit", "dn": "lugs"}),
        "more": describe({**NODES, "c3": "circuit", "c2": "circuit", "pv-c": "pv"}, bare=True),
        **{f"without {gone}": describe({node: NODES[node] for node in NODES if node not in gone}) for gone in _FEWER},
        "bad in part": {
            "nodes": {"c1": {"type": 5}, "up": "lugs", "c-2": {"type": "energy.ebus.device.circuit", "properties": {}}}
        },
    }.items()
}
MALFORMED: Final = [b"[]", b"null", b"{", b"\xff", b'{"nodes": []}', b'{"homie": "4.0.0"}', b'{"version": "x"}']
LOOK: Final = ("look", b"")
MESSAGES = st.one_of(
    st.sampled_from(READINGS),
    st.sampled_from(READINGS),
    st.sampled_from(READINGS),
    st.tuples(st.just("describe"), st.sampled_from(sorted(DESCRIPTIONS))),
    st.tuples(st.just("$description"), st.sampled_from([*MALFORMED, b""])),
    st.tuples(st.just("$state"), st.sampled_from([b"init", b"ready", b"lost", b"alert", b""])),
    st.just(LOOK),
    st.just(LOOK),
)


class Published:
    """A panel, and beside it the last payload of each topic: of descriptions, the last that was well-formed."""

    def __init__(self) -> None:
        self.panel = FlatPanel({})
        self.last: dict[str, bytes] = {}
        first = dict(reversed(READINGS))  # each property has its first payload
        for topic, payload in {"$state": b"ready", "$description": DESCRIPTIONS["bare"], **first}.items():
            self.publish(topic, payload)

    def publish(self, topic: str, payload: bytes) -> None:
        self.panel.message(topic, payload)
        if not payload:
            self.last.pop(topic, None)
        elif topic != "$description" or payload not in MALFORMED:
            self.last[topic] = payload

    def play(self, messages: Iterable[tuple[str, Any]]) -> Iterator[SpanPanelSnapshot]:
        for topic, payload in [*messages, LOOK]:
            if topic == "describe":
                self.publish("$description", DESCRIPTIONS[payload])
            elif topic != "look":
                self.publish(topic, payload)
            elif ROOT in self.panel.forest.devices:
                yield self.panel.snapshot()

    def replayed(self) -> SpanPanelSnapshot:
        """The snapshot of somebody who comes now, and gets it all in some other order."""
        panel = FlatPanel({})
        panel.message("$state", b"")
        panel.message("$description", b"")
        for topic, payload in sorted(self.last.items()):
            panel.message(topic, payload, retain=True)
        return panel.snapshot()


def order(snapshot: SpanPanelSnapshot) -> tuple[str, ...]:
    return (*snapshot.circuits, *snapshot.pv_inverters, *snapshot.evse)


# Of the numeric fields: which properties they may come from.
SOURCES: Final[dict[str, set[str]]] = {line.path[-1]: {line.topic.partition("/")[2]} for line in VALUES}
SOURCES["effective_charge_current_limit_a"] = {"user-max-charge-current", "max-charge-current"}
ABOUT: Final = {"seq", "epoch", "received_at", "panel_size", "first_position", "last_position", "unmapped_tabs", "tabs"}
TIMES: Final = {"energy_accum_update_time_s", "instant_power_update_time_s"}


def numbers(plain: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number in a snapshot's plain data that some property must have published."""
    for name, value in plain.items():
        if isinstance(value, dict) and name not in ABOUT:
            yield from numbers(value, (*path, name))
        elif type(value) in {int, float} and name not in ABOUT | TIMES:
            yield (*path, name), value


def assert_published(snapshot: SpanPanelSnapshot, last: Mapping[str, bytes]) -> int:
    """Every number in the snapshot stands in a topic that may be its source. Returns how many there are."""
    readings: dict[str, set[float]] = {}
    for topic, payload in last.items():
        text = payload.decode(errors="replace")
        if text in NUMBERS:
            readings.setdefault(topic.partition("/")[2], set()).add(abs(NUMBERS[text]))
    sizes = [inverter.nameplate_capacity_w for inverter in snapshot.pv_inverters.values()]
    found = list(numbers(snapshot.to_dict()))
    for path, number in found:
        if path == ("pv", "nameplate_capacity_w") and len(sizes) > 1:
            assert number == sum(size or 0 for size in sizes)
        else:
            assert abs(number) in set().union(*(readings.get(name, ()) for name in SOURCES[path[-1]])), path
    return len(found)


@pytest.mark.slow
def test_i4_incremental_equals_from_scratch_i3_whatever_the_history_and_i5_no_number_is_invented() -> None:
    seen: Counter[str] = Counter()

    @given(st.lists(MESSAGES, min_size=8, max_size=20))
    def run(messages: list[tuple[str, Any]]) -> None:
        published, before = Published(), None
        for snapshot in published.play(messages):
            full = published.panel.from_scratch()
            assert snapshot == full
            assert order(snapshot) == order(full)
            seen["numbers"] += assert_published(snapshot, published.last)
            seen["changed"] += before is not None and snapshot != before
            before = snapshot
        if published.last and before is not None:
            assert before == published.replayed()
        seen["runs"] += 1

    run()
    assert enough(seen["changed"], seen["runs"], 1 / 2)  # or the messages were not worth their name
    assert seen["numbers"] > 50 * seen["runs"]
