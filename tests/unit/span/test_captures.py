"""Recorded sessions of a public simulator, replayed, against an oracle that shares no code with the library.

The oracle is the plainest reading there is: the last payload of each topic, and a mapping from property to field.
"""

import functools
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, Instant, Message, Obstacle
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FLAT, FlatBuilder, HomieSchema

HERE = Path(__file__).parents[2] / "captures"
SHARED = Path(__file__).parents[4] / "shared" / "captures"  # more of them, where somebody has them
RECORDINGS = {
    path.name.removesuffix(".jsonl"): path
    for path in (*SHARED.glob("flat32-*.jsonl"), *HERE.glob("flat32-*.jsonl"))
    if not path.name.endswith(".events.jsonl")
}
ROOT = "sim-32t-001"
START = Instant(0.0, 1_790_000_000.0)


# --- the oracle -------------------------------------------------------------------------------------------------------


def true(text: str) -> bool:
    return {"true": True, "false": False}[text]


def whole(text: str) -> int:
    return int(float(text))


def negative(text: str) -> float:
    return -float(text)


PANEL: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "core/serial-number": ("serial_number", str),
    "core/software-version": ("firmware_version", str),
    "core/vendor-name": ("vendor_name", str),
    "core/model": ("model", str),
    "core/hardware-version": ("hardware_version", str),
    "core/relay": ("main_relay_state", str),
    "core/door": ("door_state", str),
    "core/ethernet": ("eth0_link", true),
    "core/wifi": ("wlan_link", true),
    "core/vendor-cloud": ("vendor_cloud", str),
    "core/l1-voltage": ("l1_voltage", float),
    "core/l2-voltage": ("l2_voltage", float),
    "core/breaker-rating": ("main_breaker_rating_a", int),
    "core/dominant-power-source": ("dominant_power_source", str),
    "core/grid-islandable": ("grid_islandable", true),
    "upstream-lugs/active-power": ("instant_grid_power_w", float),
    "upstream-lugs/imported-energy": ("main_meter_energy_consumed_wh", float),
    "upstream-lugs/exported-energy": ("main_meter_energy_produced_wh", float),
    "upstream-lugs/l1-current": ("upstream_l1_current_a", float),
    "upstream-lugs/l2-current": ("upstream_l2_current_a", float),
    "downstream-lugs/active-power": ("feedthrough_power_w", float),
    "downstream-lugs/imported-energy": ("feedthrough_energy_consumed_wh", float),
    "downstream-lugs/exported-energy": ("feedthrough_energy_produced_wh", float),
    "downstream-lugs/l1-current": ("downstream_l1_current_a", float),
    "downstream-lugs/l2-current": ("downstream_l2_current_a", float),
    "power-flows/pv": ("power_flow_pv", float),
    "power-flows/battery": ("power_flow_battery", float),
    "power-flows/grid": ("power_flow_grid", float),
    "power-flows/site": ("power_flow_site", float),
    "bess-0/grid-state": ("grid_state", str),
}
CIRCUIT: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("name", str),
    "relay": ("relay_state", str),
    "relay-requester": ("relay_requester", str),
    "active-power": ("instant_power_w", negative),
    "exported-energy": ("consumed_energy_wh", float),
    "imported-energy": ("produced_energy_wh", float),
    "current": ("current_a", float),
    "breaker-rating": ("breaker_rating_a", int),
    "dipole": ("is_240v", true),
    "shed-priority": ("priority", str),
    "sheddable": ("is_sheddable", true),
    "never-backup": ("is_never_backup", true),
    "always-on": ("always_on", true),
    "pcs-managed": ("pcs_managed", true),
    "pcs-priority": ("pcs_priority", whole),
}
WITHOUT_A_FIELD = ("core/time-zone", "upstream-lugs/feed", "downstream-lugs/feed")
BATTERY: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "soc": ("soc_percentage", float),
    "soe": ("soe_kwh", float),
    "connected": ("connected", true),
    "nameplate-capacity": ("nameplate_capacity_kwh", float),
    "vendor-name": ("vendor_name", str),
    "product-name": ("model", str),
    "model": ("part_number", str),
    "serial-number": ("serial_number", str),
    "software-version": ("software_version", str),
    "feed": ("feed_circuit_id", str),
    "relative-position": ("relative_position", str),
}
INVERTER: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "vendor-name": ("vendor_name", str),
    "product-name": ("model", str),
    "serial-number": ("serial_number", str),
    "software-version": ("software_version", str),
    "nameplate-capacity": ("nameplate_capacity_w", float),
    "feed": ("feed_circuit_id", str),
    "relative-position": ("relative_position", str),
}
CHARGER: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "feed": ("feed_circuit_id", str),
    "status": ("status", str),
    "lock-state": ("lock_state", str),
    "advertised-current": ("advertised_current_a", float),
    "vendor-name": ("vendor_name", str),
    "product-name": ("model", str),
    "part-number": ("part_number", str),
    "serial-number": ("serial_number", str),
    "software-version": ("software_version", str),
}
PCS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "enabled": ("enabled", true),
    "active": ("active", true),
    "import-limit": ("import_limit_a", float),
    "feed-import-limit": ("feed_import_limit_a", float),
    "feed-import-limit-enablement": ("feed_import_limit_enablement", str),
    "feed-import-limit-active": ("feed_import_limit_active", true),
    "grid-import-limit": ("operator_import_limit_a", float),
    "grid-import-limit-enablement": ("operator_import_limit_enablement", str),
    "grid-import-limit-active": ("operator_import_limit_active", true),
    "off-grid-import-limit": ("off_grid_import_limit_a", float),
    "off-grid-import-limit-enablement": ("off_grid_import_limit_enablement", str),
    "off-grid-import-limit-active": ("off_grid_import_limit_active", true),
    "requested-import-limit": ("requested_import_limit_a", float),
    "requested-import-limit-enablement": ("requested_import_limit_enablement", str),
    "requested-import-limit-active": ("requested_import_limit_active", true),
}


def oracle(last: Mapping[str, str]) -> dict[str, Any]:
    """Field -> value, as dicts, of the last payload of each topic (``node/property``; cleared ones are not in it)."""

    def part(node: str, mapping: Mapping[str, tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
        prefix = f"{node}/" if node else ""
        return {
            field: read(last[f"{prefix}{name}"]) if f"{prefix}{name}" in last else None
            for name, (field, read) in mapping.items()
        }

    def circuit(node: str) -> dict[str, Any]:
        space = int(last[f"{node}/space"])
        role = {last["evse-0/feed"]: "evse", last["pv-0/feed"]: "pv"}.get(node, "circuit")
        return {
            **part(node, CIRCUIT),
            "circuit_id": node,
            "tabs": [space, space + 2] if last[f"{node}/dipole"] == "true" else [space],
            "device_type": role,
            "relative_position": last["pv-0/relative-position"] if role == "pv" else None,
            "is_user_controllable": last[f"{node}/always-on"] == "false",
            "measures_outside_panel": False,
        }

    circuits = {node: circuit(node) for node, _, name in (topic.partition("/") for topic in last) if name == "dipole"}
    fed = last["pv-0/feed"]
    inverter = {**part("pv-0", INVERTER), "device_id": ROOT, "node_id": fed}
    charger = {
        **part("evse-0", CHARGER),
        "node_id": last["evse-0/serial-number"],
        "device_id": ROOT,
        "charge_current_limit_settable": False,
        "lock_state_settable": False,
    }
    on_grid = last["bess-0/grid-state"] == "ON_GRID"
    return {
        **part("", PANEL),
        "wwan_link": last["core/vendor-cloud"] == "CONNECTED",
        "dsm_state": "DSM_ON_GRID" if on_grid else "DSM_OFF_GRID",
        "current_run_config": "PANEL_ON_GRID" if on_grid else "UNKNOWN",  # this panel cannot island
        "panel_size": {"MAIN_32": 32}[last["core/model"]],
        "unmapped_tabs": sorted({*range(1, 33)} - {tab for item in circuits.values() for tab in item["tabs"]}),
        "circuits": circuits,
        "first_position": 1,
        "last_position": 32,
        "battery": {**part("bess-0", BATTERY), "device_id": ROOT},
        "pv": inverter,
        "pv_inverters": {fed: inverter},
        "evse": {last["evse-0/serial-number"]: charger},
        "pcs": part("pcs-0", PCS),
        "extension_properties": {topic: last[topic] for topic in WITHOUT_A_FIELD if topic in last},
    }


def compared(snapshot: SpanPanelSnapshot) -> dict[str, Any]:
    """A snapshot, but for what it says of itself."""
    plain = snapshot.to_dict()
    for name in ("seq", "epoch", "received_at"):
        del plain[name]
    for circuit in plain["circuits"].values():
        del circuit["energy_accum_update_time_s"], circuit["instant_power_update_time_s"]
    plain["extension_properties"] = {
        f"{each['node_id']}/{each['property_id']}": each["value"] for each in plain["extension_properties"]
    }
    return plain


def without_gaps(plain: Any) -> Any:
    """What is said, without what is ``None`` or empty: only a parent/child panel fills that."""
    if not isinstance(plain, dict):
        return plain
    return {key: without_gaps(value) for key, value in plain.items() if value not in (None, [], {})}


# --- the replay -------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of a recording: a message, or the link going up or down."""

    t: float
    what: Message | str


CONNECTED = "subscriber connected"


def is_replayed(what: Message | str) -> bool:
    return isinstance(what, Message) and what.retain


@functools.cache
def recording(name: str) -> list[Line]:
    """A recording, without commands: those are not the panel's."""
    path = RECORDINGS[name]
    lines = [
        Line(line["t"], Message(line["topic"], line["payload"].encode(), line["retain"]))
        for line in map(json.loads, path.read_text().splitlines())
        if not line["topic"].endswith("/set")
    ]
    marks = [
        Line(mark["t"], mark["event"])
        for mark in map(json.loads, path.with_suffix(".events.jsonl").read_text().splitlines())
        if mark["event"].startswith("subscriber ")
    ]
    return sorted([*marks, *lines], key=lambda line: line.t)


class Session:
    """An accumulator and a builder; and beside them, for the oracle, the last payload of each topic."""

    def __init__(self) -> None:
        self.accumulator = Accumulator(ROOT, fallback=FLAT)
        self.builder = FlatBuilder(ROOT)
        self.last: dict[str, str] = {}
        self.seq = 0

    def take(self, what: Message | str, now: Instant) -> None:
        if what == CONNECTED:
            self.accumulator.link_up(self.accumulator.epoch + 1, now)
            self.builder, self.last = FlatBuilder(ROOT), {}
            request = self.accumulator.next_subscription()
            assert request is not None
            assert request.filters == (f"ebus/5/{ROOT}/#",)
        elif isinstance(what, str):
            self.accumulator.link_down(Obstacle(ConnectionReason.LINK_LOST, what), now)
        else:
            self.accumulator.receive([what], now)
            path = what.topic.split("/", 3)[3]
            self.last[path] = what.payload.decode()
            if not what.payload:
                del self.last[path]

    def look(self, now: Instant = START) -> SpanPanelSnapshot:
        forest, self.seq = self.accumulator.forest, self.seq + 1
        return self.builder.build(
            forest,
            forest.take_dirty(),
            pending=self.accumulator.pending,
            seq=self.seq,
            epoch=self.accumulator.epoch,
            received_at=now,
        )

    def play(self, name: str) -> Iterator[SpanPanelSnapshot]:
        """Play a recording; yields a snapshot wherever the panel is live and there is a pause of 50 ms."""
        lines = recording(name)
        for line, then in zip(lines, [*lines[1:], Line(math.inf, "the end")], strict=True):
            now = Instant(line.t, 1_790_000_000 + line.t)
            self.take(line.what, now)
            if (line.what == CONNECTED or is_replayed(line.what)) and not is_replayed(then.what):
                assert not self.accumulator.live
                self.accumulator.barrier(now, passed=True)
            if self.accumulator.live and then.t - line.t > 0.05:
                yield self.look(now)


def replayed(messages: Iterable[Message]) -> SpanPanelSnapshot:
    """The snapshot of a replay."""
    session = Session()
    session.take(CONNECTED, START)
    for message in messages:
        session.take(message, START)
    session.accumulator.barrier(START, passed=True)
    assert session.accumulator.live
    return session.look()


def replay(name: str) -> list[Message]:
    return [line.what for line in recording(name) if isinstance(line.what, Message) and line.what.retain]


def test_there_are_recordings() -> None:
    assert {"flat32-a-cold", "flat32-b-sigkill"} <= RECORDINGS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_every_field_of_every_snapshot_is_what_the_panel_published_last(name: str) -> None:
    session, snapshots = Session(), list[SpanPanelSnapshot]()
    for snapshot in session.play(name):
        assert without_gaps(compared(snapshot)) == without_gaps(oracle(session.last))
        snapshots.append(snapshot)
    assert len(snapshots) > 10
    session.builder = FlatBuilder(ROOT)
    assert session.look() == snapshots[-1]  # I4: a from-scratch build


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_i3_a_replay_in_any_order_and_twice_ends_in_the_same_snapshot(name: str) -> None:
    messages = replay(name)
    assert len(messages) == 463
    expected = replayed(messages)
    dice = random.Random(name)  # noqa: S311 - the same orders every time
    for _ in range(5):
        doubled = messages + dice.sample(messages, 100)
        foreign = [message._replace(topic=message.topic.replace(ROOT, "nt-9")) for message in messages[:50]]
        order = dice.sample([*doubled, *foreign], len(doubled) + len(foreign))
        assert replayed(order) == expected


def test_the_recorded_house_is_all_there() -> None:
    house = replayed(replay("flat32-a-cold"))
    assert len(house.circuits) == 24
    assert sorted(Counter(circuit.device_type for circuit in house.circuits.values()).items()) == [
        ("circuit", 22),
        ("evse", 1),
        ("pv", 1),
    ]
    assert house.panel_size == 32
    occupied = [tab for circuit in house.circuits.values() for tab in circuit.tabs]
    assert len(occupied) == len(set(occupied))
    assert sorted([*occupied, *house.unmapped_tabs]) == list(range(1, 33))
    assert house.pv is not None
    assert house.circuits[house.pv.feed_circuit_id or ""].device_type == "pv"
    assert house.battery is not None
    assert (house.battery.part_number, house.battery.soc_percentage) == ("SIM-BESS-13.5", 50.03)
    assert [charger.serial_number for charger in house.evse.values()] == ["SIM-EVSE-SPAN_DRIVE_GARAGE"]


def test_the_recorded_schema_adds_the_panel_size_where_the_model_is_missing() -> None:
    body = json.loads((HERE / "flat32.rest.homie-schema.json").read_text())
    without_model = [message for message in replay("flat32-a-cold") if not message.topic.endswith("/core/model")]
    assert replayed(without_model).panel_size is None
    session = Session()
    session.take(CONNECTED, START)
    session.accumulator.receive(without_model, START)
    session.builder = FlatBuilder(ROOT, HomieSchema.from_json(body))
    assert session.look().panel_size == 32
