"""Devices that are away: identity and wiring stay, no reading is passed off, and nobody else is taken away."""

from typing import Any, Final

import attrs
import pytest

from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.span.child_helpers import Life, full_house
from tests.unit.span.child_house import (
    BESS,
    DOWN,
    DRIVE,
    GARAGE,
    HOUSE,
    KITCHEN,
    MID,
    PV,
    ROOT,
    SOLAR,
    UP,
    full_house_retained,
    messages_of,
)

CHILDREN: Final = [device for device in HOUSE if device != ROOT]
AWAY: Final = ["lost", "disconnected", "init", "sleeping", "BOGUS", "READY", ""]

# Of each class: the fields that stay. Every other one is None, UNKNOWN or false.
IDENTITY: Final = {
    KITCHEN: {
        *("circuit_id", "name", "breaker_rating_a", "tabs", "is_240v", "device_type", "is_never_backup"),
        *("relay_shared_with", "meter_shared_with", "nominal_voltage_v", "protection_functions", "feeds_role"),
        *("tags", "locations", "dedicated"),
    },
    BESS: {
        *("nameplate_capacity_kwh", "vendor_name", "model", "part_number", "serial_number", "software_version"),
        *("device_id", "relative_position"),
    },
    MID: {"device_id", "node_id", "serial_number", "vendor_name", "model", "software_version", "hardware_version"},
    PV: {
        *("vendor_name", "model", "serial_number", "software_version", "nameplate_capacity_w"),
        *("feed_circuit_id", "relative_position", "connected", "device_id", "node_id"),
    },
    DRIVE: {
        *("node_id", "feed_circuit_id", "vendor_name", "model", "part_number", "serial_number", "software_version"),
        *("connected", "device_id"),
    },
}
# What the panel says of a device is the panel's own (its link), or that of the device whose record it is.
LINKS: Final = {BESS: {"connected"}}


def part_of(snapshot: SpanPanelSnapshot, device: str) -> Any:
    return {
        KITCHEN: snapshot.circuits[KITCHEN],
        BESS: snapshot.battery,
        MID: snapshot.mid,
        PV: snapshot.pv_inverters[SOLAR],
        DRIVE: snapshot.evse["SD-2231"],
    }[device]


@pytest.mark.parametrize("state", AWAY)
@pytest.mark.parametrize("device", IDENTITY, ids=["circuit", "battery", "mid", "pv", "evse"])
def test_of_a_device_that_is_away_identity_stays_and_every_reading_is_none(device: str, state: str) -> None:
    panel = full_house()
    before = part_of(panel.snapshot(), device)
    after = part_of(panel.state(device, state), device)
    kept = IDENTITY[device] | LINKS.get(device, set())
    for field in attrs.fields(type(after)):
        value = getattr(after, field.name)
        if field.name in kept:
            assert value == getattr(before, field.name), field.name
        else:
            assert value is None or value is False or value == "UNKNOWN", field.name
    assert panel.snapshot().away_devices == {device: state}
    assert panel.snapshot() == panel.from_scratch()
    assert part_of(panel.state(device, "init"), device) == after
    # Messages that still come, or are retained, change nothing of that.
    panel.message(f"{device}/meter/active-power", "4711")
    assert part_of(panel.snapshot(), device) == after


@pytest.mark.parametrize("state", AWAY)
@pytest.mark.parametrize("lugs", [UP, DOWN])
def test_lugs_that_are_away_measure_nothing_and_stay_wired(lugs: str, state: str) -> None:
    panel = full_house()
    before, after = panel.snapshot(), panel.state(lugs, state)
    gone = {change.path[0] for change in after.changes(before)} - {"away_devices"}
    mine = {"UPSTREAM": "upstream", "DOWNSTREAM": "downstream"}["UPSTREAM" if lugs == UP else "DOWNSTREAM"]
    readings = {
        UP: {"instant_grid_power_w", "main_meter_energy_consumed_wh", "main_meter_energy_produced_wh"},
        DOWN: {"feedthrough_power_w", "feedthrough_energy_consumed_wh", "feedthrough_energy_produced_wh"},
    }[lugs] | {f"{mine}_l1_current_a", f"{mine}_l2_current_a"}
    assert gone - {"battery", "upstream_fed_by"} == readings
    assert {getattr(after, name) for name in readings} == {None}
    assert after.lugs_at_service_entrance is False
    assert after.battery is not None
    assert after.battery.connected is (None if lugs == UP else True)  # its record's status is a reading of the lugs


def test_the_status_of_a_record_is_a_reading_of_its_owner() -> None:
    panel = full_house()
    panel.state(SOLAR, "lost")
    snapshot = panel.state(GARAGE, "lost")
    assert (snapshot.pv_inverters[SOLAR].connected, snapshot.evse["SD-2231"].connected) == (None, None)
    assert snapshot.pv_inverters[SOLAR].relative_position == "IN_PANEL"
    assert (snapshot.circuits[SOLAR].device_type, snapshot.circuits[GARAGE].device_type) == ("pv", "evse")
    assert snapshot.evse["SD-2231"].feed_circuit_id == GARAGE


def test_what_is_computed_from_a_device_that_is_away_is_unknown() -> None:
    snapshot = full_house().state(MID, "lost")
    assert (snapshot.grid_state, snapshot.dsm_state) == (None, "UNKNOWN")
    assert (snapshot.current_run_config, snapshot.dominant_power_source) == ("UNKNOWN", None)


def test_a_panels_own_values_are_not_those_of_its_children() -> None:
    panel = full_house()
    before = panel.snapshot()
    for device in CHILDREN:
        panel.message(f"{device}/$state", "lost")
    after = panel.snapshot()
    assert dict(after.away_devices) == dict.fromkeys(CHILDREN, "lost")
    for name in ("power_flow_battery", "pcs", "l1_voltage", "shed_policy", "door_state", "main_relay_state"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.panel_size, after.unmapped_tabs) == (before.panel_size, before.unmapped_tabs)
    for device in CHILDREN:
        panel.message(f"{device}/$state", "init")
        panel.message(f"{device}/$state", "ready")
    assert after.away_devices.keys() == panel.snapshot().away_devices.keys()  # ready, and of before: not settled


def test_a_child_that_has_never_said_anything_is_away() -> None:
    panel = full_house()
    before = panel.snapshot()
    panel.message(f"{DRIVE}/$state", "")
    assert panel.snapshot().away_devices == {DRIVE: ""}
    panel.message(f"{DRIVE}/$state", "ready")
    assert panel.snapshot().evse["SD-2231"].status == "UNKNOWN"
    assert panel.snapshot().away_devices == {DRIVE: "ready"}  # deleted and there again: values of before
    assert before.away_devices == {}


# --- with a life of its own -------------------------------------------------------------------------------------------


def live() -> Life:
    life = Life(full_house_retained())
    life.connect()
    assert life.edges() == ["online"]
    return life


@pytest.mark.slow
@pytest.mark.parametrize("state", AWAY)
@pytest.mark.parametrize("device", CHILDREN)
def test_lesson_b_a_childs_state_never_blocks_a_connect(device: str, state: str) -> None:
    """An unplugged battery made connecting fail."""
    life = Life({**full_house_retained(), f"{device}/$state": state})
    if not state:
        del life.retained[f"{device}/$state"]
    life.connect()
    assert life.edges() == ["online"]
    assert life.look().away_devices == {device: state}
    assert life.look().pending_devices == ()


@pytest.mark.slow
@pytest.mark.parametrize("state", AWAY)
@pytest.mark.parametrize("device", CHILDREN)
def test_a_child_that_goes_and_comes_back_is_no_edge_and_its_values_are_back_when_settled(
    device: str, state: str
) -> None:
    life = live()
    before = life.look()
    life.publish({f"{device}/$state": state})
    away = life.look()
    assert away.away_devices == {device: state}
    assert away == life.from_scratch() or not state  # a broker keeps no empty state: same but for its text
    life.wait(60.0)
    assert life.look() is away
    life.publish({f"{device}/$state": "ready"})
    if state in {"lost", "disconnected", ""}:
        back = life.look()
        assert back.away_devices == {device: "ready"}
        assert attrs.evolve(back, away_devices=away.away_devices) == away
        life.wait(1.999)
        assert life.look() is back
        life.wait(0.001)
    assert life.look() == before
    assert life.edges() == []
    assert life.tracker.tree.deadline is None


def test_values_that_come_while_a_device_settles_show_when_it_has() -> None:
    life = live()
    life.publish({f"{KITCHEN}/$state": "lost"})
    life.publish({f"{KITCHEN}/$state": "ready", f"{KITCHEN}/meter/active-power": "-7"})
    assert life.look().circuits[KITCHEN].instant_power_w is None
    life.wait(2.0)
    assert life.look().circuits[KITCHEN].instant_power_w == 7.0


def test_a_device_that_goes_again_while_it_settles_stays_away() -> None:
    life = live()
    for state in ("lost", "ready"):
        life.publish({f"{BESS}/$state": state})
    life.wait(1.5)
    life.publish({f"{BESS}/$state": "disconnected"})
    life.wait(10.0)
    assert life.look().away_devices == {BESS: "disconnected"}


def test_a_decommissioned_child_is_gone_with_its_place_in_the_panel() -> None:
    """Lesson B: handle deletes. First its topics are cleared, then the panel's list is new."""
    life = live()
    life.publish({tail: "" for tail in list(life.retained) if tail.startswith(f"{DRIVE}/")})
    assert life.obstacle == f"pending device: {DRIVE}"
    life.wait(10.0)
    assert (life.look().pending_devices, len(life.look().evse)) == ((DRIVE,), 0)
    others = {device: HOUSE[device] for device in HOUSE if device != DRIVE}
    life.publish({f"{ROOT}/$description": messages_of(others)[f"{ROOT}/$description"]})
    assert life.look().pending_devices == ()
    assert life.look() == life.from_scratch()
    assert life.edges() == [f"pending device: {DRIVE}", "online"]


@pytest.mark.parametrize("last_word", ["lost", "disconnected"])
def test_a_panel_that_comes_back_before_its_children_shows_nothing_of_before(last_word: str) -> None:
    life = live()
    before = life.look()
    for device in HOUSE:
        life.publish({f"{device}/$state": last_word})
    life.publish({f"{ROOT}/$state": "ready"})
    life.wait(2.0)
    snapshot = life.look()
    assert dict(snapshot.away_devices) == dict.fromkeys(CHILDREN, last_word)
    assert {circuit.instant_power_w for circuit in snapshot.circuits.values()} == {None}
    for device in CHILDREN:
        life.publish({f"{device}/$state": "ready"})
    life.wait(2.0)
    assert life.look() == before
    assert life.edges() == [f"device state: {last_word}", "online"]
