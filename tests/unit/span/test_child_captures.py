"""Recorded sessions of a public parent/child simulator, replayed, against an oracle that shares no code with us.

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

from span_trio.homie import Instant, Message
from span_trio.options import PanelOptions
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.tracker import PanelTracker

HERE = Path(__file__).parents[2] / "captures"
SHARED = Path(__file__).parents[4] / "shared" / "captures"  # more of them, where somebody has them
RECORDINGS = {
    path.name.removesuffix(".jsonl"): path
    for path in (*SHARED.glob("parentchild-*.jsonl"), *HERE.glob("parentchild-*.jsonl"))
    if not path.name.endswith(".events.jsonl")
}
ROOT = "ebus-40t-001"
REPLAYED = 520
START = Instant(0.0, 1_790_000_000.0)
CONNECTED = "subscriber connected"

Read = Callable[[str], Any]


# --- the oracle -------------------------------------------------------------------------------------------------------


def true(text: str) -> bool:
    return {"true": True, "false": False}[text]


def whole(text: str) -> int:
    return int(float(text))


def negative(text: str) -> float:
    return 0.0 - float(text)


def plain(text: str) -> float:
    return float(text) + 0.0


PANEL: Mapping[str, tuple[str, Read]] = {
    "info/serial-number": ("serial_number", str),
    "info/firmware-version": ("firmware_version", str),
    "info/vendor-name": ("vendor_name", str),
    "info/model": ("model", str),
    "info/hardware-version": ("hardware_version", str),
    "info/data-model-version": ("data_model_version", str),
    "shed/asserted-islanding-state": ("asserted_islanding_state", str),
    "status/relay": ("main_relay_state", str),
    "door/state": ("door_state", str),
    "status/ethernet": ("eth0_link", true),
    "status/wifi": ("wlan_link", true),
    "status/cloud-connection": ("vendor_cloud", str),
    "meter/voltage-a": ("l1_voltage", float),
    "meter/voltage-b": ("l2_voltage", float),
    "breaker/rating": ("main_breaker_rating_a", int),
    "power-flows/pv": ("power_flow_pv", plain),
    "power-flows/battery": ("power_flow_battery", plain),
    "power-flows/grid": ("power_flow_grid", plain),
    "power-flows/site": ("power_flow_site", plain),
    "shed/policy": ("shed_policy", str),
    "shed-forecast/time-to-priority-shed": ("shed_time_to_priority_shed_min", whole),
    "shed-forecast/total-time-remaining": ("shed_total_time_remaining_min", whole),
    "shed-forecast/full-charge-time-to-priority-shed": ("shed_full_charge_time_to_priority_shed_min", whole),
    "shed-forecast/full-charge-total-time-remaining": ("shed_full_charge_total_time_remaining_min", whole),
    "shed-forecast/confidence": ("shed_forecast_confidence", str),
}
LUGS: Mapping[str, tuple[str, Read]] = {
    "lugs-up/meter/active-power": ("instant_grid_power_w", plain),
    "lugs-up/meter/imported-energy": ("main_meter_energy_consumed_wh", float),
    "lugs-up/meter/exported-energy": ("main_meter_energy_produced_wh", float),
    "lugs-up/meter/current-a": ("upstream_l1_current_a", float),
    "lugs-up/meter/current-b": ("upstream_l2_current_a", float),
    "lugs-down/meter/active-power": ("feedthrough_power_w", plain),
    "lugs-down/meter/imported-energy": ("feedthrough_energy_consumed_wh", float),
    "lugs-down/meter/exported-energy": ("feedthrough_energy_produced_wh", float),
    "lugs-down/meter/current-a": ("downstream_l1_current_a", float),
    "lugs-down/meter/current-b": ("downstream_l2_current_a", float),
}
CIRCUIT: Mapping[str, tuple[str, Read]] = {
    "info/name": ("name", str),
    "switch/relay": ("relay_state", str),
    "switch/relay-requester": ("relay_requester", str),
    "meter/active-power": ("instant_power_w", negative),
    "meter/exported-energy": ("consumed_energy_wh", float),
    "meter/imported-energy": ("produced_energy_wh", float),
    "meter/current": ("current_a", float),
    "breaker/rating": ("breaker_rating_a", int),
    "breaker/poles": ("is_240v", lambda text: int(text) >= 2),
    "info/spaces": ("tabs", lambda text: [int(tab) for tab in text.split(",")]),
    "load-shed/priority": ("priority", str),
    "pcs/managed": ("pcs_managed", true),
    "pcs/priority": ("pcs_priority", whole),
}
MAKER: Mapping[str, tuple[str, Read]] = {
    "info/vendor-name": ("vendor_name", str),
    "info/model": ("model", str),
    "info/serial-number": ("serial_number", str),
    "info/firmware-version": ("software_version", str),
}
BATTERY: Mapping[str, tuple[str, Read]] = {
    **MAKER,
    "info/part-number": ("part_number", str),
    "soc/soc": ("soc_percentage", float),
    "soc/soe": ("soe_kwh", float),
    "meter/active-power": ("power_w", plain),  # of 0.9.0, whose version has no build: counts discharging
    "status/communication-state": ("communication_state", str),
    "info/nameplate-capacity": ("nameplate_capacity_kwh", float),
}
INVERTER: Mapping[str, tuple[str, Read]] = {**MAKER, "info/nominal-power": ("nameplate_capacity_w", float)}
MID: Mapping[str, tuple[str, Read]] = {
    **MAKER,
    "info/hardware-version": ("hardware_version", str),
    "grid/islanding-state": ("islanding_state", str),
    "grid/grid-state": ("grid_state", str),
    "grid/grid-forming-entity": ("grid_forming_entity", str),
}
CHARGER: Mapping[str, tuple[str, Read]] = {
    **MAKER,
    "info/part-number": ("part_number", str),
    "status/status": ("status", str),
    "switch/lock-state": ("lock_state", str),
    "meter/advertised-current": ("advertised_current_a", float),
    "config/max-charge-current": ("charge_current_ceiling_a", int),
    "config/user-max-charge-current": ("charge_current_limit_a", int),
}
NOT_THERE = dict.fromkeys(  # fields of a circuit for what this publisher declares nowhere
    (
        *("relay_shared_with", "meter_shared_with", "nominal_voltage_v", "protection_functions", "feeds_role"),
        *("tags", "locations", "dedicated", "fed_by"),
    )
)
PCS: Mapping[str, tuple[str, Read]] = {
    "enabled": ("enabled", true),
    "active": ("active", true),
    "import-limit": ("import_limit_a", float),
    "binding-constraint": ("binding_constraint", str),
    **{
        f"{limit}-import-limit{tail}": (f"{limit.replace('-', '_')}_import_limit{field}", read)
        for limit in ("feed", "operator", "off-grid", "requested")
        for tail, field, read in (("", "_a", float), ("-enablement", "_enablement", str), ("-active", "_active", true))
    },
}


def oracle(last: Mapping[str, str]) -> dict[str, Any]:
    """Field -> value, as dicts, of the last payload of each topic (below ``ebus/5/``; cleared ones are not in it)."""

    def part(prefix: str, mapping: Mapping[str, tuple[str, Read]]) -> dict[str, Any]:
        return {
            field: read(last[f"{prefix}/{name}"]) if f"{prefix}/{name}" in last else None
            for name, (field, read) in mapping.items()
        }

    def record(device: str, verb: str) -> dict[str, Any] | None:
        said = [last.get(f"{device}/connection/{verb}-device-{what}") for what in ("id", "type", "status")]
        return dict(zip(("device_id", "device_type", "status"), said, strict=True)) if any(said) else None

    def circuit(device: str) -> dict[str, Any]:
        feeds = last.get(f"{device}/connection/feeds-device-id")
        role = {f"{ROOT}-pv": "pv", f"{ROOT}-evse": "evse"}.get(feeds or "", "circuit")
        controllable = last[f"{device}/switch/relay-controllable"] == "true"
        priority = last[f"{device}/load-shed/priority"]
        locked = not settable(last[f"{device}/$description"], "load-shed", "priority")
        return {
            **NOT_THERE,
            **part(device, CIRCUIT),
            "circuit_id": device,
            "device_type": role,
            "relative_position": "IN_PANEL" if role == "pv" else None,
            "is_user_controllable": controllable,
            "relay_controllable": controllable,
            "always_on": not controllable and last[f"{device}/switch/relay"] != "OPEN",
            "is_sheddable": controllable and priority in {"OFF_GRID", "SOC_THRESHOLD"},
            "is_never_backup": locked and priority == "OFF_GRID",
            "measures_outside_panel": False,
            "feeds": record(device, "feeds"),
            "relay_state_target": None,
            "priority_target": None,
        }

    devices = dict.fromkeys(topic.partition("/")[0] for topic in last)
    circuits = {device: circuit(device) for device in devices if f"{device}/info/spaces" in last}
    feeds = {
        last[f"{device}/connection/feeds-device-id"]: (device, last[f"{device}/connection/feeds-device-status"])
        for device in circuits
        if f"{device}/connection/feeds-device-id" in last
    }
    link = {"OK": True, "LOST": False, "DEGRADED": False}
    solar, solar_link = feeds[f"{ROOT}-pv"]
    garage, garage_link = feeds[f"{ROOT}-evse"]
    inverter = {
        **part(f"{ROOT}-pv", INVERTER),
        "feed_circuit_id": solar,
        "relative_position": "IN_PANEL",
        "connected": link[solar_link],
        "device_id": f"{ROOT}-pv",
        "node_id": solar,
    }
    charger = {
        **part(f"{ROOT}-evse", CHARGER),
        "node_id": last[f"{ROOT}-evse/info/serial-number"],
        "device_id": f"{ROOT}-evse",
        "lock_state_target": None,
        "lock_state_settable": False,
        "feed_circuit_id": garage,
        "connected": link[garage_link],
        "charge_current_limit_target_a": None,
        "charge_current_limit_settable": True,
    }
    ceiling, limit = charger["charge_current_ceiling_a"], charger["charge_current_limit_a"]
    charger["charge_current_limit_a"] = None if limit == ceiling else limit
    charger["effective_charge_current_limit_a"] = ceiling if limit is None else limit
    asserted = last[f"{ROOT}/shed/asserted-islanding-state"]
    islanding = last[f"{ROOT}-bess-mid/grid/islanding-state"] if asserted == "NONE" else asserted
    forming = last[f"{ROOT}-bess-mid/grid/grid-forming-entity"]
    grid = forming == "GRID"
    policy = json.loads(last[f"{ROOT}/shed/policy"])
    assert last[f"{ROOT}-lugs-up/connection/fed-by-device-id"] == f"{ROOT}-bess"
    return {
        **part(ROOT, PANEL),
        **{field: read(last[f"{ROOT}-{name}"]) for name, (field, read) in LUGS.items()},
        "wwan_link": last[f"{ROOT}/status/cloud-connection"] == "CONNECTED",
        "dominant_power_source": "GRID" if grid else "BATTERY",
        "grid_islandable": None,
        "grid_state": islanding,
        "dsm_state": f"DSM_{islanding}",
        "current_run_config": "PANEL_ON_GRID" if grid else "PANEL_BACKUP",
        "panel_size": {"MAIN_40": 40}[last[f"{ROOT}/info/model"]],
        "first_position": 9,  # as real ones have them: this publisher has circuits below
        "last_position": 48,
        "unmapped_tabs": sorted({*range(9, 49)} - {tab for item in circuits.values() for tab in item["tabs"]}),
        "upstream_fed_by": record(f"{ROOT}-lugs-up", "fed-by"),
        "downstream_feeds": record(f"{ROOT}-lugs-down", "feeds"),
        **dict.fromkeys(("downstream_feeds_role", "upstream_protection_rating_a", "service_rating_a")),
        **dict.fromkeys(("frequency_hz", "busbar_current_a")),
        "alerts": {},
        "circuits": circuits,
        "battery": {
            **part(f"{ROOT}-bess", BATTERY),
            "device_id": f"{ROOT}-bess",
            "feed_circuit_id": None,
            "relative_position": "UPSTREAM",
            "connected": link[last[f"{ROOT}-lugs-up/connection/fed-by-device-status"]],
        },
        "pv": inverter,
        "pv_inverters": {solar: inverter},
        "evse": {charger["node_id"]: charger},
        "pcs": part(f"{ROOT}/pcs", PCS),
        "mid": {
            **part(f"{ROOT}-bess-mid", MID),
            "node_id": last[f"{ROOT}-bess-mid/info/serial-number"],
            "device_id": f"{ROOT}-bess-mid",
            "grid_forming_device_name": None if grid else "Span Example BESS",
        },
        "lugs_at_service_entrance": False,
        "shed_policy_algorithm": policy["algorithm"],
        "shed_soc_threshold_shed_percent": policy["parameters"]["soc-threshold-shed"],
        "shed_soc_threshold_release_percent": policy["parameters"]["soc-threshold-release"],
        "away_devices": {},
        "pending_devices": [],
        "adopted_devices": [],
        "extension_properties": [
            [f"status/{name}", last[f"{ROOT}/status/{name}"]]
            for name in ("time-zone",)
            if f"{ROOT}/status/{name}" in last
        ],
    }


def settable(description: str, node: str, name: str) -> bool:
    return json.loads(description)["nodes"][node]["properties"][name].get("settable") is True


def compared(snapshot: SpanPanelSnapshot) -> dict[str, Any]:
    """A snapshot as far as the oracle speaks of it."""
    found = snapshot.to_dict()
    for name in ("seq", "epoch", "received_at"):
        del found[name]
    for circuit in found["circuits"].values():
        del circuit["energy_accum_update_time_s"], circuit["instant_power_update_time_s"]
    found["extension_properties"] = [
        [f"{each['node_id']}/{each['property_id']}", each["value"]] for each in found["extension_properties"]
    ]
    return found


# --- the replay -------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of a recording: a message, or the link coming up."""

    t: float
    what: Message | str


@functools.cache
def recording(name: str) -> list[Line]:
    """A recording, without commands: those are not the panel's."""
    path = RECORDINGS[name]
    lines = [
        Line(line["t"], Message(line["topic"], line["payload"].encode(), line["retain"]))
        for line in map(json.loads, path.read_text().splitlines())
        if not line["topic"].endswith("/set")
    ]
    events = map(json.loads, path.with_suffix(".events.jsonl").read_text().splitlines())
    marks = [Line(mark["t"], CONNECTED) for mark in events if mark["event"] == CONNECTED]
    return sorted([*marks, *lines], key=lambda line: line.t)


class Session:
    """A tracker; and beside it, for the oracle, the last payload of each topic."""

    def __init__(self) -> None:
        self.tracker = PanelTracker(ROOT, PanelOptions(snapshot_interval=0.0, max_silence=math.inf))
        self.last: dict[str, str] = {}
        self.fresh: set[str] = set()
        """What was published since the panel's last loss."""
        self.lost = False

    def connect(self, now: Instant) -> None:
        self.tracker.link_up(self.tracker.tree.epoch + 1, now)
        self.last = {}

    def take(self, message: Message, now: Instant) -> None:
        self.tracker.receive([message], now)
        path = message.topic.split("/", 2)[2]
        if message.payload:
            self.last[path] = message.payload.decode()
        else:
            self.last.pop(path, None)
        if (path, message.payload) == (f"{ROOT}/$state", b"lost"):
            self.fresh, self.lost = set(), True
        self.fresh.add(path)

    def complete(self, now: Instant) -> None:
        while self.tracker.tree.next_subscription() is not None:
            self.tracker.tree.barrier(now, passed=True)

    def play(self, name: str) -> Iterator[SpanPanelSnapshot]:
        """Play a recording; yields a snapshot wherever the panel is live and there is a pause of 50 ms."""
        lines = recording(name)
        for line, then in zip(lines, [*lines[1:], Line(math.inf, CONNECTED)], strict=True):
            now = Instant(line.t, 1_790_000_000 + line.t)
            self.tracker.tick(now)
            if isinstance(line.what, str):
                self.connect(now)
            else:
                self.take(line.what, now)
                if line.what.retain and not (isinstance(then.what, Message) and then.what.retain):
                    self.complete(now)
            if self.tracker.tree.live and then.t - line.t > 0.05:
                yield self.tracker.snapshot


def replay(name: str) -> list[Message]:
    return [line.what for line in recording(name) if isinstance(line.what, Message) and line.what.retain]


def replayed(messages: Iterable[Message]) -> SpanPanelSnapshot:
    """The snapshot of a replay."""
    session = Session()
    session.connect(START)
    for message in messages:
        session.take(message, START)
    session.complete(START)
    return session.tracker.snapshot


def as_of_another_panel(messages: Iterable[Message]) -> list[Message]:
    """The same house once more, with other ids for all of its devices."""
    ids = {message.topic.split("/")[2] for message in messages}

    def other(text: str) -> str:
        for device in sorted(ids, key=len, reverse=True):
            text = text.replace(device, f"other-{device[::-1]}")
        return text

    return [
        Message(other(message.topic), other(message.payload.decode()).encode(), message.retain) for message in messages
    ]


def test_there_are_recordings() -> None:
    assert {"parentchild-a-cold", "parentchild-b-sigkill"} <= RECORDINGS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_every_field_of_every_snapshot_is_what_the_panel_published_last(name: str) -> None:
    session, seen = Session(), 0
    snapshot = None
    for snapshot in session.play(name):
        assert compared(snapshot) == oracle(session.last)
        seen += 1
    assert seen > 10
    other = replayed(Message(f"ebus/5/{path}", payload.encode(), retain=True) for path, payload in session.last.items())
    assert other == snapshot  # I4


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_i3_a_replay_in_any_order_and_twice_ends_in_the_same_snapshot(name: str) -> None:
    messages = replay(name)
    assert len(messages) == REPLAYED
    expected = replayed(messages)
    dice = random.Random(name)  # noqa: S311 - the same orders every time
    for _ in range(4):
        doubled = messages + dice.sample(messages, 100)
        foreign = as_of_another_panel(messages)
        order = dice.sample([*doubled, *foreign], len(doubled) + len(foreign))
        found = replayed(order)
        assert found == expected
        assert [*found.circuits] == [*expected.circuits]


def test_after_a_sigkill_no_snapshot_carries_a_value_of_before_as_current() -> None:
    """The root says ``ready`` before it has republished one of 454 values; its children were never lost."""
    session, before, after = Session(), 0, 0
    for _ in session.play("parentchild-b-sigkill"):
        if session.lost:
            assert session.last.keys() <= session.fresh
            after += 1
        before += not session.lost
    assert before > 3
    assert after > 5
    edges = session.tracker.take_edges()
    assert [(edge.online, edge.state) for edge in edges] == [(True, "ready"), (False, "lost"), (True, "ready")]


def test_the_recorded_house_is_all_there() -> None:
    house = replayed(replay("parentchild-a-cold"))
    roles = Counter(circuit.device_type for circuit in house.circuits.values())
    assert roles == {"circuit": 24, "evse": 1, "pv": 1}
    assert house.panel_size == 40
    occupied = [tab for circuit in house.circuits.values() for tab in circuit.tabs]
    assert len(occupied) == len(set(occupied))
    assert sorted({*occupied, *range(9, 49)}) == sorted([*occupied, *house.unmapped_tabs])
    assert house.battery is not None
    assert house.mid is not None
    assert house.pv is not None
    assert (house.battery.serial_number, house.mid.node_id, house.pv.model, [*house.evse]) == (
        "B-1",
        "B-1-mid",
        "IQ8",
        ["E-1"],
    )
