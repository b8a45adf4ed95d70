"""From snapshot to snapshot: what stays the same object, and what holds whatever a tree of devices publishes."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from span_trio.homie import Forest, Instant, Message
from span_trio.snapshot import (
    AdoptedDevice,
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from span_trio.span import FALLBACK, ParentChildBuilder
from tests.fuzz.bounds import enough
from tests.unit.span.child_helpers import ChildPanel, Life, full_house
from tests.unit.span.child_house import (
    BESS,
    DECLARED,
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
    VALUES,
    declarations,
    describe,
)

PARTS: Final = (
    *("circuits", "battery", "pv", "pv_inverters", "evse", "pcs", "mid"),
    *("adopted_devices", "extension_properties", "away_devices", "alerts"),
)

# --- identity ---------------------------------------------------------------------------------------------------------


def same_parts(old: SpanPanelSnapshot, new: SpanPanelSnapshot) -> set[str]:
    """The parts, and circuits, that are the same objects in both."""
    parts = {name for name in PARTS if getattr(new, name) is getattr(old, name)}
    return parts | {key for key, circuit in new.circuits.items() if circuit is old.circuits.get(key)}


ALL: Final = {*PARTS, KITCHEN, SOLAR, GARAGE}


@pytest.mark.parametrize(
    ("topic", "payload", "anew"),
    [
        (f"{ROOT}/door/state", "CLOSED", set()),
        (f"{ROOT}/info/firmware-version", "spanos3/r202639/04", set()),
        (f"{ROOT}/power-flows/site", "1", set()),
        (f"{ROOT}/pcs/active", "true", {"pcs"}),
        (f"{ROOT}/status/time-zone", "1", {"extension_properties"}),
        (f"{UP}/meter/active-power", "1", set()),
        (f"{KITCHEN}/meter/active-power", "1", {"circuits", KITCHEN}),
        (f"{KITCHEN}/info/spaces", "1", {"circuits", KITCHEN}),
        (f"{KITCHEN}/switch/relay/$target", "OPEN", {"circuits", KITCHEN}),
        (f"{BESS}/soc/soc", "1", {"battery"}),
        (f"{UP}/connection/fed-by-device-status", "LOST", {"battery"}),
        (f"{MID}/grid/grid-state", "UP", {"mid"}),
        (f"{PV}/info/vendor-name", "X", {"pv", "pv_inverters"}),
        (f"{SOLAR}/connection/feeds-device-status", "LOST", {"pv", "pv_inverters", "circuits", SOLAR}),
        (f"{SOLAR}/connection/feeds-device-id", DRIVE, {"pv", "pv_inverters", "evse", "circuits", SOLAR}),
        (f"{DRIVE}/status/status", "AVAILABLE", {"evse"}),
        (f"{DRIVE}/info/serial-number", "X", {"evse"}),
        (f"{KITCHEN}/switch/not-a-property", "1", set()),
        ("a-stranger/switch/relay", "OPEN", set()),
        (f"{KITCHEN}/$alert/hot", "Too hot", {"alerts"}),
        (f"{BESS}/$state", "lost", {"battery", "away_devices"}),
    ],
)
def test_what_a_message_does_not_concern_stays_the_same_object(topic: str, payload: str, anew: set[str]) -> None:
    panel = full_house()
    old = panel.snapshot()
    panel.message(topic, payload)
    new = panel.snapshot()
    assert same_parts(old, new) == ALL - anew
    assert new == panel.from_scratch()


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
            lambda panel: [panel.message(f"{ROOT}/$alert/hot", text) for text in ("Too hot", "")], id="an alert"
        ),
        pytest.param(
            lambda panel: panel.message(
                f"{BESS}/$description", json.dumps({**describe("bess", children=[MID]), "version": 9})
            ),
            id="a description",
        ),
        pytest.param(
            lambda panel: [panel.message(f"{KITCHEN}/$state", state) for state in ("init", "ready")], id="states"
        ),
        pytest.param(lambda panel: panel.message(f"{KITCHEN}/meter/active-power", "-151.50"), id="in other words"),
    ],
)
def test_what_was_made_anew_and_came_out_equal_is_the_same_object(again: Callable[[ChildPanel], Any]) -> None:
    panel = full_house()
    old = panel.snapshot()
    again(panel)
    new = panel.snapshot()
    assert new == old
    assert same_parts(old, new) == ALL


def test_a_circuit_that_is_dirty_makes_one_new_circuit_and_no_other_object(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()

    def counted(cls: Any) -> Callable[..., Any]:
        def make(*values: Any, **more: Any) -> Any:
            made[cls.__name__] += 1
            return cls(*values, **more)

        return make

    for room, classes in {
        "tree": (
            *(SpanCircuitSnapshot, SpanBatterySnapshot, SpanEvseSnapshot),
            *(SpanMidSnapshot, SpanPVSnapshot, SpanPcsSnapshot),
        ),
        "adopt": (AdoptedDevice, ExtensionProperty),
    }.items():
        for cls in classes:
            monkeypatch.setattr(f"span_trio.span.{room}.{cls.__name__}", counted(cls))
    panel = full_house()
    panel.message(f"{ROOT}/status/time-zone", "1")
    panel.snapshot()
    made.clear()
    panel.publish(GARAGE, {"meter/active-power": "1"})
    assert made == {"SpanCircuitSnapshot": 1}
    for device, path in ((UP, "meter/current-a"), (ROOT, "meter/voltage-a"), (ROOT, "power-flows/site")):
        made.clear()
        panel.publish(device, {path: "1"})
        assert made == ({"SpanBatterySnapshot": 1} if path.startswith("power-flows") else {})


def test_circuits_that_stay_are_the_same_objects_while_others_come_and_go() -> None:
    panel = full_house()
    old = panel.snapshot()
    others = [device for device, (_, parent) in HOUSE.items() if parent == ROOT]
    fewer = panel.redescribe(ROOT, children=[device for device in others if device != KITCHEN])
    assert same_parts(old, fewer) == ALL - {"circuits", KITCHEN}
    assert same_parts(fewer, panel.redescribe(ROOT, children=others)) == ALL - {"circuits", KITCHEN}


def test_i4_maps_are_in_the_order_of_the_newest_description() -> None:
    devices = {"a": "circuit", "b": "circuit", "pv-a": "pv", "pv-b": "pv", "ev-a": "evse", "ev-b": "evse"}
    panel = ChildPanel({ROOT: (PANEL, None), **{device: (kind, ROOT) for device, kind in devices.items()}})
    first = panel.snapshot()
    assert (*first.circuits, *first.pv_inverters, *first.evse) == (*devices,)
    second = panel.redescribe(ROOT, children=reversed(devices))
    assert (*second.evse, *second.pv_inverters, *second.circuits) == (*reversed(devices),)


def test_lesson_b_a_replay_of_known_values_brings_no_changes() -> None:
    """api 2.5.0: callbacks stormed at every reconnect."""
    assert list(full_house().snapshot().changes(full_house().snapshot())) == []


# --- any tree ---------------------------------------------------------------------------------------------------------

DEVICES: Final = ["c1", "c-2", "up", "dn", "bess", "mid", "pv-a", "pv-b", "ev-a", "ev-b", "odd"]
_USUAL: Final = [
    "circuit",
    "circuit",
    "lugs",
    "lugs.downstream",
    "bess",
    "mid",
    "pv",
    "pv",
    "evse",
    "evse",
    "com.acme.x",
]
USUAL: Final = dict(zip(DEVICES, _USUAL, strict=True))
KINDS: Final = sorted({*USUAL.values(), "distribution-enclosure"})
BY_DATATYPE: Final = {
    "float": ["0", "-0.0", "1.5", "-250.25", "31", "NaN", "a lot"],
    "integer": ["0", "16", "31.0", "1.5", "a lot"],
    "boolean": ["true", "false", "maybe"],
    "enum": ["UNKNOWN", "OPEN", "OK", "LOST", "BOGUS"],
    "string": ["A", "B"],
    "json": ['{"algorithm":"soc-priority.v1","parameters":{"soc-threshold-shed":49}}', "{}"],
}
BY_PROPERTY: Final = {
    "feeds-device-id": ["pv-a", "pv-b", "ev-a", "bess", "odd", "nowhere", "c1"],
    "fed-by-device-id": ["bess", "pv-a"],
    "grid-forming-entity": ["GRID", "bess", "pv-a", "odd", "nowhere"],
    "direction": ["UPSTREAM", "downstream", "SIDEWAYS"],
    "firmware-version": ["spanos3/r202633/02", "spanos3/r202639/03"],
    "model": ["MAIN_16", "MLO_24", "X"],
    "islanding-state": ["ON_GRID", "OFF_GRID"],
    "asserted-islanding-state": ["ON_GRID", "OFF_GRID", "NONE"],
    "serial-number": ["A", "B", "ev-a"],
    "spaces": ["1", "1,3", "15"],
}


def texts(device: str, name: str, datatype: str) -> list[str]:
    """What a property of these trees may publish; without a firmware version, a battery's sign has a history."""
    cleared = [] if (device, name) == (ROOT, "firmware-version") else [""]
    return [*BY_PROPERTY.get(name, BY_DATATYPE[datatype]), *cleared]


def readings(device: str, kind: str) -> Iterator[tuple[str, bytes]]:
    for capability in DECLARED.get(kind, {}):
        for name, declared in declarations(kind, capability).items():
            if name != "data-model-version":
                for text in texts(device, name, declared["datatype"]):
                    yield f"{device}/{capability}/{name}", text.encode()


READINGS: Final = [
    reading
    for device, kind in {ROOT: PANEL, **USUAL}.items()
    for reading in readings(device, kind.removesuffix(".downstream"))
]
STATES: Final = ["ready", "ready", "init", "lost", "disconnected", "alert", ""]


def root_description(children: list[str]) -> bytes:
    return json.dumps(describe(PANEL, children=children)).encode()


def child_description(kind: str, children: list[str], *, bare: bool, acme: bool, root: str | None = ROOT) -> bytes:
    """``root``: whose child it says it is; a bare publisher says nothing."""
    nodes = {"acme": {"type": "com.acme", "properties": {"mood": {"datatype": "string"}}}} if acme else {}
    found = describe(kind.removesuffix(".downstream"), children=children, bare=bare, nodes=nodes)
    named = {} if root is None else {"root": root}
    return json.dumps({**found, **named, "type": f"energy.ebus.device.{kind}"}).encode()


DEVICE = st.sampled_from(DEVICES)
SOME = st.lists(DEVICE, unique=True, max_size=len(DEVICES))
LOOK: Final = ("look", b"")
MESSAGES = st.one_of(
    st.sampled_from(READINGS),
    st.sampled_from(READINGS),
    st.sampled_from(READINGS),
    st.sampled_from(
        [(line.topic.replace(KITCHEN, "c1"), line.payload.encode()) for line in VALUES if KITCHEN in line.topic]
    ),
    st.tuples(DEVICE.map("{}/$state".format), st.sampled_from(STATES).map(str.encode)),
    st.tuples(DEVICE.map("{}/acme/mood".format), st.sampled_from([b"good", b"bad", b""])),
    st.tuples(
        DEVICE.map("{}/$description".format),
        st.builds(
            child_description,
            st.sampled_from(KINDS),
            st.lists(DEVICE, unique=True, max_size=3),
            bare=st.booleans(),
            acme=st.booleans(),
            root=st.sampled_from([*15 * (ROOT,), None, "nt-9", "c1"]),
        ),
    ),
    st.tuples(DEVICE.map("{}/$description".format), st.sampled_from([b"", b"", b"[]", b'{"nodes": []}'])),
    st.tuples(st.just(f"{ROOT}/$description"), st.builds(root_description, SOME)),
    st.just(LOOK),
    st.just(LOOK),
)
MALFORMED: Final = {b"[]", b'{"nodes": []}'}


class Published:
    """A panel; and beside it the last payload of each topic, as a broker would have it."""

    def __init__(self) -> None:
        self.panel = ChildPanel({ROOT: (PANEL, None)})
        self.last: dict[str, bytes] = {f"{ROOT}/info/data-model-version": b"1.0"}
        first = dict(reversed(READINGS))  # each property has its first payload
        self.publish(f"{ROOT}/$state", b"ready")
        self.publish(f"{ROOT}/$description", root_description(DEVICES[:9]))
        for device, kind in USUAL.items():
            self.publish(f"{device}/$state", b"ready")
            self.publish(f"{device}/$description", child_description(kind, [], bare=False, acme=False))
        for topic, payload in first.items():
            self.publish(topic, payload)

    def publish(self, topic: str, payload: bytes) -> None:
        self.panel.message(topic, payload)
        if not payload:
            self.last.pop(topic, None)
        elif not (topic.endswith("$description") and payload in MALFORMED):
            self.last[topic] = payload

    def settle(self) -> None:
        """Whatever comes back has been away for long."""
        for device in self.panel.forest.devices.values():
            if device.lifecycle.name == "SETTLING":
                self.panel.forest.confirm(device)
                self.panel.forest.touch(device.id)

    def replayed(self, order: Callable[[list[Any]], list[Any]]) -> tuple[SpanPanelSnapshot, bool]:
        """The snapshot of somebody who comes now, and gets it all in some other order; and whether it must be the same.

        It need not where one of them has doubted a device for a moment, as of another tree. (Then a tracker asks anew.)
        """
        forest = Forest("ebus", fallback=FALLBACK)
        forest.pin(ROOT)
        for topic, payload in order(sorted(self.last.items())):
            forest.absorb(Message(f"ebus/5/{topic}", payload, retain=True), 0.0)
        snapshot = ParentChildBuilder(ROOT).build(
            forest, forest.take_dirty(), pending=(), seq=1, epoch=1, received_at=Instant(0.0, 0.0)
        )
        doubted = self.panel.forest.doubted | forest.doubted
        return snapshot, doubted <= forest.kinship.tree(ROOT).strangers.keys()


def order(snapshot: SpanPanelSnapshot) -> tuple[str, ...]:
    return (*snapshot.circuits, *snapshot.pv_inverters, *snapshot.evse, *snapshot.away_devices)


@pytest.mark.slow
def test_i4_incremental_equals_from_scratch_and_i3_whatever_the_order_for_any_tree_of_devices() -> None:
    seen: Counter[str] = Counter()

    @given(st.lists(MESSAGES, min_size=8, max_size=24), st.randoms(use_true_random=False))
    def run(messages: list[tuple[str, Any]], dice: Any) -> None:
        published, before = Published(), None
        for topic, payload in [*messages, LOOK]:
            if topic != "look":
                published.publish(topic, payload)
                continue
            published.settle()
            snapshot = published.panel.snapshot()
            full = published.panel.from_scratch()
            assert snapshot == full
            assert order(snapshot) == order(full)
            seen["changed"] += before is not None and snapshot != before
            seen["away"] += bool(snapshot.away_devices)
            seen["adopted"] += bool(snapshot.adopted_devices)
            seen["fewer"] += len(published.panel.forest.members(ROOT)) < 10
            if before is not None:
                for name in PARTS:  # equal parts are the same objects
                    if name != "pv" and getattr(snapshot, name) == getattr(before, name) and getattr(snapshot, name):
                        assert getattr(snapshot, name) is getattr(before, name) or order(snapshot) != order(before)
            before = snapshot
        assert before is not None
        replayed, knows_as_much = published.replayed(lambda items: dice.sample(items, len(items)))
        if knows_as_much:
            assert attrs.evolve(before, away_devices=replayed.away_devices) == replayed
            assert before.away_devices.keys() == replayed.away_devices.keys()
        seen["compared"] += knows_as_much
        seen["runs"] += 1

    run()
    for what in ("changed", "away", "adopted", "fewer", "compared"):
        assert enough(seen[what], seen["runs"], 1 / 2), (what, seen)  # or the messages were not worth their name


def test_i3_a_tracker_ends_in_the_same_snapshot_whatever_the_broker_replays_first() -> None:
    """Orphans, late children and children that are not there included."""
    seen: Counter[str] = Counter()

    @settings(max_examples=settings().max_examples // 4)
    @given(st.lists(MESSAGES, min_size=8, max_size=24), st.randoms(use_true_random=False))
    def run(messages: list[tuple[str, Any]], dice: Any) -> None:
        published = Published()
        for topic, payload in messages:
            if topic != "look":
                published.publish(topic, payload)
        retained = [*published.last.items(), (f"{ROOT}/info/data-model-version", b"1.0")]
        lives = [Life(dict(dice.sample(retained, len(retained)))) for _ in range(2)]
        for life in lives:
            life.connect()
            life.wait(15.0)
        assert lives[0].obstacle == lives[1].obstacle
        if lives[0].obstacle is not None:  # a device that names no root lists one of ours, too
            assert lives[0].obstacle.startswith("conflicting devices")
            seen["contested"] += 1
            return
        assert [life.edges() for life in lives] == [["online"], ["online"]]
        first, second = (life.look() for life in lives)
        assert first == second
        assert order(first) == order(second)
        seen["pending"] += bool(first.pending_devices)
        seen["runs"] += 1

    run()
    assert enough(seen["pending"], seen["runs"], 1 / 10), seen
