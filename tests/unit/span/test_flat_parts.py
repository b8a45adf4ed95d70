"""A flat panel's circuits, battery, inverters and chargers."""

from collections.abc import Mapping
from typing import Any

import pytest

from span_trio.enums import EvseStatus, RelayState
from span_trio.snapshot import SpanPVSnapshot
from tests.unit.span.helpers import DRIVE, GARAGE, HOUSE, KITCHEN, SMALL, SOLAR, FlatPanel, full_house

# --- circuits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "dipole", "tabs", "is_240v"),
    [
        ("7", "false", (7,), False),
        ("7", "true", (7, 9), True),
        ("30", "true", (30, 32), True),
        ("7", "", (7,), None),
        ("", "true", (), True),  # landed on the lugs
        ("0", "false", (), False),
        ("-3", "true", (), True),
        ("7.0", "true", (7, 9), True),
    ],
)
def test_the_tabs_of_a_circuit(space: str, dipole: str, tabs: tuple[int, ...], is_240v: bool | None) -> None:
    circuit = FlatPanel().publish(KITCHEN, space=space, dipole=dipole).circuits[KITCHEN]
    assert (circuit.tabs, circuit.is_240v) == (tabs, is_240v)


def test_unmapped_tabs_follow_the_circuits() -> None:
    panel = FlatPanel(SMALL)
    assert len(panel.snapshot().unmapped_tabs) == 32
    assert {1, 3} & set(panel.publish(KITCHEN, space="1", dipole="true").unmapped_tabs) == set()
    assert {1, 3} & set(panel.publish(KITCHEN, space="2").unmapped_tabs) == {1, 3}
    assert len(panel.redescribe({"core": "distribution-enclosure.core", SOLAR: "circuit"}).unmapped_tabs) == 32


@pytest.mark.parametrize(
    ("always_on", "controllable"), [("true", False), ("false", True), ("", True), ("maybe", False)]
)
def test_a_circuit_is_controllable_unless_it_is_always_on(always_on: str, controllable: bool) -> None:
    # Lesson r202633 "always-on inverted silently"; an absent flag is permission on a circuit that the panel describes.
    circuit = FlatPanel().publish(KITCHEN, always_on=always_on).circuits[KITCHEN]
    assert circuit.is_user_controllable is controllable


def test_a_lock_on_the_relay_is_none_on_the_priority_and_the_other_way_round() -> None:
    circuit = FlatPanel().publish(KITCHEN, never_backup="true").circuits[KITCHEN]
    assert (circuit.is_user_controllable, circuit.is_never_backup) == (True, True)


def test_a_circuit_without_a_name_has_none_until_it_comes() -> None:
    # Lesson span#162: a name that is missing is no name that changed.
    panel = FlatPanel()
    first = panel.publish(KITCHEN, relay="CLOSED")
    assert first.circuits[KITCHEN].name is None
    assert [change[1:] for change in panel.publish(KITCHEN, name="Kitchen").changes(first)] == [(None, "Kitchen")]


def test_a_target_of_a_command_shows_until_it_is_cleared() -> None:
    panel = FlatPanel()
    panel.publish(KITCHEN, relay="CLOSED")
    circuit = panel.publish(KITCHEN, {"relay/$target": "OPEN"}).circuits[KITCHEN]
    assert (circuit.relay_state, circuit.relay_state_target) == (RelayState.CLOSED, RelayState.OPEN)
    assert panel.publish(KITCHEN, {"relay/$target": b""}).circuits[KITCHEN].relay_state_target is None


def test_update_times_are_of_live_changes_only() -> None:
    panel = FlatPanel()
    panel.message(f"{KITCHEN}/active-power", "-1", retain=True, at=100.9)
    panel.message(f"{KITCHEN}/imported-energy", "1", retain=True, at=100.9)
    circuit = panel.snapshot().circuits[KITCHEN]
    assert (circuit.instant_power_update_time_s, circuit.energy_accum_update_time_s) == (None, None)
    panel.message(f"{KITCHEN}/active-power", "-2", at=200.9)
    panel.message(f"{KITCHEN}/active-power", "-2", at=201.9)  # the same again is no change
    panel.message(f"{KITCHEN}/exported-energy", "2", at=300.9)
    panel.message(f"{KITCHEN}/imported-energy", "2", at=299.9)
    circuit = panel.snapshot().circuits[KITCHEN]
    assert (circuit.instant_power_update_time_s, circuit.energy_accum_update_time_s) == (200, 300)


def test_a_circuit_that_is_described_no_more_is_gone_at_once() -> None:  # lesson: a decommissioned device lingers
    panel = full_house()
    before = panel.snapshot()
    after = panel.redescribe({node: kind for node, kind in HOUSE.items() if node not in {GARAGE, "bess", DRIVE}})
    assert list(after.circuits) == [KITCHEN, SOLAR]
    assert (after.battery, len(after.evse), after.grid_state) == (None, 0, None)
    assert panel.redescribe(HOUSE) == before  # what is retained was not forgotten


# --- battery, inverters, chargers -------------------------------------------------------------------------------------


def test_a_power_flow_of_zero_is_no_proof_of_a_battery() -> None:
    snapshot = FlatPanel({"power-flows": "power-flows"}).publish("power-flows", battery="0.0")
    assert (snapshot.power_flow_battery, snapshot.battery) == (0.0, None)


def test_the_flat_model_of_a_battery_is_its_sku() -> None:  # lesson api 3.0.0: the SKU was shown as the model
    battery = FlatPanel().publish("bess", {"model": "1232100-00-E", "product-name": "Powerwall 2 AC"}).battery
    assert battery is not None
    assert (battery.model, battery.part_number) == ("Powerwall 2 AC", "1232100-00-E")


def test_soc_is_percent_and_soe_is_energy() -> None:  # lesson models.py: soe_percentage held the soc
    battery = FlatPanel().publish("bess", soc="50.46", soe="6.81").battery
    assert battery is not None
    assert (battery.soc_percentage, battery.soe_kwh) == (50.46, 6.81)


def test_the_link_to_a_battery_is_the_panels_view_and_there_is_no_other() -> None:
    # Lesson "BESS link shown healthy forever": both views have a field; a flat panel only has the one.
    battery = FlatPanel().publish("bess", connected="true").battery
    assert battery is not None
    assert (battery.connected, battery.communication_state, battery.power_w) == (True, None, None)


@pytest.mark.parametrize("feed", [SOLAR, SOLAR.upper(), "770E2DE5-2C33-508A-8A9E-E8878064B46F"])
def test_a_circuit_that_feeds_an_inverter_has_the_role_and_the_position(feed: str) -> None:
    snapshot = FlatPanel().publish("pv", {"feed": feed, "relative-position": "DOWNSTREAM"})
    assert snapshot.pv is not None
    assert snapshot.pv.feed_circuit_id == SOLAR
    assert (snapshot.circuits[SOLAR].device_type, snapshot.circuits[SOLAR].relative_position) == ("pv", "DOWNSTREAM")
    assert {snapshot.circuits[circuit].device_type for circuit in (KITCHEN, GARAGE)} == {"circuit"}


def test_a_feed_to_a_circuit_that_nobody_described_is_kept_and_gives_no_role() -> None:
    panel = FlatPanel()
    panel.publish(DRIVE, feed="beef")
    snapshot = panel.publish("pv", feed="cafe")
    assert snapshot.pv is not None
    assert (snapshot.pv.feed_circuit_id, snapshot.evse[DRIVE].feed_circuit_id) == ("cafe", "beef")
    assert {circuit.device_type for circuit in snapshot.circuits.values()} == {"circuit"}
    late = panel.redescribe({**HOUSE, "cafe": "circuit"})  # commissioned a moment later
    assert late.circuits["cafe"].device_type == "pv"


def test_a_role_goes_with_its_feed() -> None:
    panel = FlatPanel()
    assert panel.publish("pv", feed=SOLAR).circuits[SOLAR].device_type == "pv"
    moved = panel.publish("pv", feed=GARAGE)
    assert (moved.circuits[SOLAR].device_type, moved.circuits[GARAGE].device_type) == ("circuit", "pv")
    gone = panel.publish("pv", feed=b"")
    assert gone.circuits[GARAGE].device_type == "circuit"
    assert gone.pv is not None
    assert gone.pv.feed_circuit_id is None


def test_every_circuit_that_feeds_a_charger_has_the_role_and_no_position() -> None:
    chargers = {"sd-1": "evse", "sd-2": "evse"}
    panel = FlatPanel({**HOUSE, **chargers})
    panel.publish("sd-1", feed=GARAGE)
    snapshot = panel.publish("sd-2", feed=KITCHEN)
    for circuit in (GARAGE, KITCHEN):
        assert (snapshot.circuits[circuit].device_type, snapshot.circuits[circuit].relative_position) == ("evse", None)


def test_chargers_with_one_serial_number_or_none_do_not_collapse() -> None:  # lesson s1 "two EVSE collapse"
    panel = FlatPanel({"sd-1": "evse", "sd-2": "evse", "sd-3": "evse"})
    panel.publish("sd-1", serial_number="SD", status="CHARGING")
    snapshot = panel.publish("sd-2", serial_number="SD", status="AVAILABLE")
    assert {key: charger.status for key, charger in snapshot.evse.items()} == {
        "sd-1": EvseStatus.CHARGING,
        "sd-2": EvseStatus.AVAILABLE,
        "sd-3": EvseStatus.UNKNOWN,
    }
    assert [charger.node_id for charger in snapshot.evse.values()] == ["sd-1", "sd-2", "sd-3"]


def test_several_inverters_are_each_there_and_pv_is_what_they_share() -> None:
    # Lesson span#269: only the first was looked at, and the circuit of the second read as a load.
    panel = FlatPanel({**HOUSE, "pv-b": "pv"})
    panel.publish("pv", {"vendor-name": "Enphase", "nameplate-capacity": "5000", "feed": SOLAR, "product-name": "IQ7"})
    snapshot = panel.publish(
        "pv-b", {"vendor-name": "Enphase", "nameplate-capacity": "3000", "feed": GARAGE, "product-name": "IQ8"}
    )
    assert [snapshot.circuits[circuit].device_type for circuit in (SOLAR, GARAGE)] == ["pv", "pv"]
    assert {key: inverter.model for key, inverter in snapshot.pv_inverters.items()} == {SOLAR: "IQ7", GARAGE: "IQ8"}
    assert snapshot.pv == SpanPVSnapshot(vendor_name="Enphase", nameplate_capacity_w=8000.0)


@pytest.mark.parametrize(
    ("declaration", "settable"),
    [
        ({"datatype": "integer", "settable": True}, True),
        ({"datatype": "integer", "settable": False}, False),
        ({"datatype": "integer"}, False),  # lesson s1 1.1.1: an omission is no permission
        ({"datatype": "integer", "settable": "false"}, False),  # lesson s1 1.1.1: nor is the text "false"
        ({"datatype": "integer", "settable": "true"}, False),
        ({"datatype": "integer", "settable": 1}, False),
    ],
)
def test_a_charge_limit_is_settable_only_if_its_own_description_says_so(
    declaration: Mapping[str, Any], settable: bool
) -> None:
    panel = FlatPanel(evse={"user-max-charge-current": declaration})
    assert panel.snapshot().evse[DRIVE].charge_current_limit_settable is settable


def test_a_charge_limit_of_a_bare_description_is_not_settable() -> None:
    charger = FlatPanel(bare=True).publish(DRIVE, user_max_charge_current="16").evse[DRIVE]
    assert (charger.charge_current_limit_a, charger.charge_current_limit_settable) == (16, False)


@pytest.mark.parametrize(
    ("user", "ceiling", "effective"),
    [("24", "48", 24), ("", "48", 48), ("24", "", 24), ("", "", None), ("48", "48", 48), ("a lot", "48", 48)],
)
def test_the_effective_charge_limit_is_the_users_or_else_the_ceiling(
    user: str, ceiling: str, effective: int | None
) -> None:
    panel = FlatPanel()
    charger = panel.publish(DRIVE, user_max_charge_current=user, max_charge_current=ceiling).evse[DRIVE]
    assert charger.effective_charge_current_limit_a == effective
