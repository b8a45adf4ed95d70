"""Lessons of those who read parent/child panels before us: where each is held, and those that no other file holds."""

import json
import math
from pathlib import Path
from typing import Any, Final, cast

import pytest
import trio

from span_trio import PanelOptions, SpanPanelDataModelError
from span_trio.accumulate import PanelAccumulator
from span_trio.commands import Commands
from span_trio.homie import Message
from span_trio.link import Link, LinkEvent, LinkUp, ReplayEnd
from span_trio.span import DataModel, HomieSchema
from span_trio.tracker import PanelTracker
from tests.unit.span.child_helpers import ChildPanel, Life, full_house
from tests.unit.span.child_house import BESS, DRIVE, HOUSE, KITCHEN, MID, PV, ROOT, SOLAR, UP, full_house_retained
from tests.unit.span.test_child_model import FLAT_HOUSE, live

HERE: Final = Path(__file__).parent

# Section and symptom -> the test that holds it (of this file, or of another one).
_TABLE: Final = """
    C plausible but wrong figures: an unreadable version fell back to flat
        test_lesson_c_an_unreadable_version_is_refused_and_never_taken_for_flat
    C stranded on the old parser: HTTP came back minutes after MQTT
        test_lesson_c_an_upgrade_asks_nobody_but_the_tree
    C two triggers race
        test_lesson_c_however_an_upgrade_is_told_it_is_one_edge_each_way
    C state destroyed, then no parser
        test_lesson_c_a_panel_that_is_refused_and_comes_back_is_read_again
    C the background died silently
        test_lesson_c_a_refused_version_ends_the_task_with_its_own_error
    C hashes compared across generations
        test_lesson_c_a_schema_of_either_generation_changes_nothing_of_a_tree
    C type strings still match nothing
        test_lesson_c_devices_are_known_by_their_own_type
    C 200 with a truncated body
        test_lesson_c_a_schema_that_is_none_is_refused_and_not_needed
    A every restart books the lifetime counter
        test_i5_descriptions_before_their_values_read_none_and_never_zero
    A all panel-level readings fabricated together
        test_lesson_a_lugs_have_a_role_when_their_direction_is_known
    A DSM off grid at connect
        test_lesson_a_nothing_is_inferred_from_silence
    A -0 W
        test_zero_power_has_no_sign
    A battery power flips sign after an upgrade
        test_lesson_a_a_batterys_sign_is_that_of_the_firmwares_build
    A the first snapshot then flips battery power
        test_lesson_a_with_a_battery_the_firmware_is_waited_for
    A enum outside of its format, direction in lower case
        test_lesson_a_lugs_have_a_role_when_their_direction_is_known
    A integer property 3037.0 dropped
        test_lesson_a_an_integer_may_be_written_as_a_float
    A true read as 1 %
        test_a_policy_is_kept_as_it_is_and_read_if_it_can_be
    A PV power treated as capped by nameplate
        test_lesson_a_power_beyond_an_inverters_size_is_passed_on
    A the same reading not resent for minutes
        test_lesson_a_silence_of_a_property_says_nothing
    A link shown healthy for ever
        test_the_panels_view_of_the_link_and_the_batterys_own_report_are_both_told
    A grid sensor differs from main meter
        test_lesson_a_the_lugs_and_the_flows_are_both_told_and_neither_is_made_up
    B zero circuits: children before the root
        test_lesson_b_children_before_the_root_are_kept
    B zero circuits after an upgrade
        test_lesson_b_children_are_subscribed_to_by_themselves
    B connected with a partial tree, size 0
        test_lesson_b_the_model_is_waited_for
    B 30 s bare timeout, no clue
        test_lesson_b_what_is_missing_is_named
    B a name that comes late
        test_lesson_b_a_name_is_not_waited_for_and_is_none_until_it_comes
    B connect fails because a battery is unplugged
        test_lesson_b_a_childs_state_never_blocks_a_connect
    B identity changes after connect
        test_lesson_b_a_feeding_record_that_is_replayed_last_gives_the_key_all_the_same
    B all PV entities recreated at r202639
        test_lesson_b_an_inverters_key_is_its_circuit_though_its_id_changes_with_r202639
    B wrong inverter; second PV circuit a load
        test_lesson_b_of_several_inverters_what_they_share_is_told_and_none_is_primary
    B two EVSE collapse
        test_lesson_b_two_chargers_never_collapse
    B unmapped positions missing
        test_lesson_b_of_an_unknown_model_no_position_is_known
    B power source unknown without a battery
        test_lesson_b_without_a_mid_the_power_source_is_the_grid
    B UP where ON_GRID was expected
        test_lesson_b_islanding_is_not_the_state_of_the_grid
    B DSM disagrees during assertion
        test_lesson_b_islanding_by_the_first_rule_that_applies
    B always-on inverted
        test_lesson_b_a_relay_that_is_not_controllable_is_always_on
    B SKU shown as model
        test_lesson_b_a_sku_is_no_model
    B locked priority offered; text false
        test_lesson_b_only_true_is_a_permission
    B declaration stale after recommissioning
        test_lesson_b_a_relay_that_is_not_controllable_is_always_on
    B callbacks storm at reconnect
        test_lesson_b_a_replay_of_known_values_brings_no_changes
    B foreign trees mixed in
        test_a_tree_is_walked_at_any_depth_from_its_own_root_only
    B clean shutdown looks like a crash
        test_lesson_b_disconnected_and_lost_are_both_unavailable
    B a decommissioned device lingers
        test_a_decommissioned_child_is_gone_with_its_place_in_the_panel
"""
_LINES: Final = [line.strip() for line in _TABLE.strip().splitlines()]
LESSONS: Final = dict(zip(_LINES[::2], _LINES[1::2], strict=True))


def test_each_lesson_is_held_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in HERE.glob("test_child_*.py"))
    assert [test for test in LESSONS.values() if f"\ndef {test}(" not in tests and f" def {test}(" not in tests] == []


# --- C ----------------------------------------------------------------------------------------------------------------

UPGRADED: Final = full_house_retained()


def upgrade(life: Life, *order: str) -> None:
    """The panel stops, its new firmware's topics appear in this order, and it is ready."""
    life.publish({f"{ROOT}/$state": "disconnected"})
    life.wait(60.0)
    life.publish({f"{ROOT}/$state": "init"})
    first = {topic: UPGRADED[topic] for topic in order}
    life.publish({topic: payload for topic, payload in {**first, **UPGRADED}.items() if topic != f"{ROOT}/$state"})
    life.publish({f"{ROOT}/$state": "ready"})
    life.wait(2.0)


def test_lesson_c_an_upgrade_asks_nobody_but_the_tree() -> None:
    life = live(FLAT_HOUSE)
    before = life.look()
    upgrade(life)
    assert life.look().circuits.keys() == before.circuits.keys()
    assert not life.tracker.wants_schema
    life.publish({f"{ROOT}/info/model": "NEW_48"})
    assert life.look().panel_size is None
    assert not life.tracker.wants_schema  # it could not tell


@pytest.mark.parametrize(
    "first", [f"{ROOT}/info/data-model-version", f"{ROOT}/$description", f"{KITCHEN}/$description"]
)
@pytest.mark.parametrize("again", [False, True], ids=["once", "told twice"])
def test_lesson_c_however_an_upgrade_is_told_it_is_one_edge_each_way(first: str, again: bool) -> None:
    life = live(FLAT_HOUSE)
    life.edges()
    upgrade(life, first)
    if again:
        life.publish(
            {f"{ROOT}/info/data-model-version": "1.0", f"{ROOT}/$description": UPGRADED[f"{ROOT}/$description"]}
        )
    assert life.edges() == ["device state: disconnected", "online"]
    assert life.look() == live(UPGRADED).look()


def test_lesson_c_a_panel_that_is_refused_and_comes_back_is_read_again() -> None:
    life = live(FLAT_HOUSE)
    before = life.look()
    upgrade(life)
    life.publish({f"{ROOT}/$state": "init", f"{ROOT}/info/data-model-version": "2.0"})
    life.publish({f"{ROOT}/$state": "ready"})
    assert life.obstacle == "data model: version '2.0'"
    life.publish({f"{ROOT}/$state": "init", f"{ROOT}/info/data-model-version": "1.1"})
    life.publish({f"{ROOT}/$state": "ready"})
    life.wait(2.0)
    assert life.look() == live({**UPGRADED, f"{ROOT}/info/data-model-version": "1.1"}).look()
    assert life.tracker.version.text == "1.1"
    life.publish({f"{ROOT}/$state": "init", **FLAT_HOUSE})
    life.wait(2.0)
    assert life.look() == before


@pytest.mark.parametrize("version", ["2.0", "rubbish"])
@pytest.mark.virtual_time
async def test_lesson_c_a_refused_version_ends_the_task_with_its_own_error(version: str) -> None:
    class Subscriber:
        succeeded = False

        def subscribe(self, request: Any) -> None:
            pass

    tracker = PanelTracker(ROOT, PanelOptions(max_silence=math.inf))
    accumulator = PanelAccumulator(tracker, Commands(tracker), edges_held=8)
    send, receive = trio.open_memory_channel[list[LinkEvent]](2)
    retained = {**full_house_retained(), f"{ROOT}/info/data-model-version": version}
    replay: list[Any] = [Message(f"ebus/5/{tail}", payload.encode(), retain=True) for tail, payload in retained.items()]
    await send.send([LinkUp(cast("Link", Subscriber()), 1)])
    await send.send([cast("LinkEvent", replay), ReplayEnd(passed=True)])
    with trio.fail_after(5.0):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def more() -> None:
                for _ in range(2):  # of all descriptions, and of the children
                    await send.send([ReplayEnd(passed=True)])

            error = await accumulator.run(receive)
    assert isinstance(error, SpanPanelDataModelError)
    assert repr(version) in str(error)


def schema_of_1_x() -> HomieSchema:
    classes = {"distribution-enclosure": {"info": {"model": {"name": "Model", "datatype": "enum"}}}}
    body = {"firmwareVersion": "spanos3/r202639/03", "dataModelVersion": "1.0", "deviceClasses": classes}
    return HomieSchema.from_json({**body, "deviceClassesSchemaHash": "sha256:0123456789abcdef"})


def test_lesson_c_a_schema_of_either_generation_changes_nothing_of_a_tree() -> None:
    recorded = json.loads((HERE.parents[1] / "captures" / "flat32.rest.homie-schema.json").read_text())
    for schema in (HomieSchema.from_json(recorded), schema_of_1_x()):
        life = live(UPGRADED)
        before = life.look()
        life.tracker.adopt(schema, life.at)
        assert life.look() == before
        assert Life(UPGRADED, schema=schema).tracker.tree.fallback is not None
        other = Life(UPGRADED, schema=schema)
        other.connect()
        assert other.look() == before
        upgrade(life)
        assert life.look() == before


@pytest.mark.parametrize("body", [[], None, "", {"types": []}, {"dataModelVersion": 1}])
def test_lesson_c_a_schema_that_is_none_is_refused_and_not_needed(body: object) -> None:
    """What came of a body cut short; that the request is repeated, test_public holds."""
    with pytest.raises(ValueError, match="not a"):
        HomieSchema.from_json(body)
    assert live(UPGRADED).look().panel_size == 32


# --- A ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("firmware", ["spanos3/r202633/02", "spanos3/r202639/03"])
def test_lesson_a_with_a_battery_the_firmware_is_waited_for(firmware: str) -> None:
    retained = {topic: text for topic, text in UPGRADED.items() if topic != f"{ROOT}/info/firmware-version"}
    life = live(retained)
    assert life.obstacle == f"pending device: firmware-version of {ROOT}"
    life.publish({f"{ROOT}/info/firmware-version": firmware})
    assert life.edges() == ["online"]
    assert life.look() == live({**UPGRADED, f"{ROOT}/info/firmware-version": firmware}).look()


def test_what_is_waited_for_is_waited_for_for_as_long_as_a_child_and_not_again() -> None:
    left_out = {f"{ROOT}/info/firmware-version", f"{ROOT}/info/model"}
    life = live({topic: text for topic, text in UPGRADED.items() if topic not in left_out})
    assert life.obstacle == f"pending device: model of {ROOT}, firmware-version of {ROOT}"
    life.wait(9.999)
    assert not life.live
    life.wait(0.001)
    assert life.edges() == ["online"]
    assert life.look().panel_size is None
    life.publish({f"{ROOT}/info/model": "MAIN_40"})
    assert life.look().panel_size == 40


def test_without_a_battery_no_firmware_is_waited_for_and_what_is_not_declared_never() -> None:
    left_out = {f"{ROOT}/info/firmware-version", *(topic for topic in UPGRADED if topic.startswith(BESS))}
    retained = {topic: text for topic, text in UPGRADED.items() if topic not in left_out}
    description = json.loads(retained[f"{ROOT}/$description"])
    description["children"].remove(BESS)
    assert live({**retained, f"{ROOT}/$description": json.dumps(description)}).edges() == ["online"]
    description = json.loads(UPGRADED[f"{ROOT}/$description"])
    del description["nodes"]["info"]["properties"]["model"]
    retained = {topic: text for topic, text in UPGRADED.items() if topic != f"{ROOT}/info/model"}
    assert live({**retained, f"{ROOT}/$description": json.dumps(description)}).edges() == ["online"]


def test_lesson_a_an_integer_may_be_written_as_a_float() -> None:
    panel = full_house()
    for topic, payload in ((f"{KITCHEN}/breaker/rating", "20.0"), (f"{KITCHEN}/pcs/priority", "3.0")):
        panel.message(topic, payload)
    circuit = panel.snapshot().circuits[KITCHEN]
    assert (circuit.breaker_rating_a, circuit.pcs_priority) == (20, 3)


def test_lesson_a_power_beyond_an_inverters_size_is_passed_on() -> None:
    panel = full_house()
    panel.publish(PV, {"info/nominal-power": "5000"})
    assert panel.publish(SOLAR, {"meter/active-power": "7500"}).circuits[SOLAR].instant_power_w == -7500.0


def test_lesson_a_silence_of_a_property_says_nothing() -> None:
    """r202639 does not resend what did not change."""
    life = live(UPGRADED)
    before = life.look()
    life.wait(3600.0)
    life.publish({f"{KITCHEN}/meter/current": "9"})
    assert {change.path for change in life.look().changes(before)} == {("circuits", KITCHEN, "current_a")}


def test_lesson_a_the_lugs_and_the_flows_are_both_told_and_neither_is_made_up() -> None:
    panel = full_house()
    panel.message(f"{UP}/meter/active-power", "")
    snapshot = panel.publish(ROOT, {"power-flows/grid": "-3000"})
    assert (snapshot.instant_grid_power_w, snapshot.power_flow_grid) == (None, -3000.0)
    assert snapshot.lugs_at_service_entrance is False


# --- B ----------------------------------------------------------------------------------------------------------------


def test_lesson_b_children_before_the_root_are_kept() -> None:
    order = sorted(UPGRADED, key=lambda topic: (topic.startswith(f"{ROOT}/"), topic.endswith("$description"), topic))
    panel = ChildPanel({})
    for topic in order:
        panel.message(topic, UPGRADED[topic], retain=True)
    assert panel.snapshot() == live(UPGRADED).look()


def test_lesson_b_children_are_subscribed_to_by_themselves() -> None:
    life = live(UPGRADED)
    assert life.filters == {"ebus/5/+/$description", *(f"ebus/5/{device}/#" for device in HOUSE)}


def test_lesson_b_the_model_is_waited_for() -> None:
    life = live({topic: text for topic, text in UPGRADED.items() if topic != f"{ROOT}/info/model"})
    assert life.obstacle == f"pending device: model of {ROOT}"
    life.publish({f"{ROOT}/info/model": "MLO_48"})
    assert (life.edges(), life.look().panel_size) == (["online"], 48)


def test_lesson_b_what_is_missing_is_named() -> None:
    left_out = {f"{DRIVE}/$description", f"{MID}/$description", f"{ROOT}/$state"}
    life = live({topic: text for topic, text in UPGRADED.items() if topic not in left_out})
    assert life.tracker.tree.missing() == (
        f"$state of {ROOT}",
        f"$description of {DRIVE}",
        f"$description of {MID}",
    )


def test_lesson_b_a_name_is_not_waited_for_and_is_none_until_it_comes() -> None:
    life = live({topic: text for topic, text in UPGRADED.items() if topic != f"{KITCHEN}/info/name"})
    assert life.edges() == ["online"]
    assert life.look().circuits[KITCHEN].name is None
    life.publish({f"{KITCHEN}/info/name": "Kitchen"})
    assert life.look().circuits[KITCHEN].name == "Kitchen"


def test_lesson_b_a_feeding_record_that_is_replayed_last_gives_the_key_all_the_same() -> None:
    record = f"{SOLAR}/connection/feeds-device-id"
    last = {topic: text for topic, text in UPGRADED.items() if topic != record} | {record: UPGRADED[record]}
    assert [*live(last).look().pv_inverters] == [SOLAR]
    serial = f"{DRIVE}/info/serial-number"
    last = {topic: text for topic, text in UPGRADED.items() if topic != serial} | {serial: UPGRADED[serial]}
    assert [*live(last).look().evse] == ["SD-2231"]


def test_lesson_b_a_sku_is_no_model() -> None:
    of_1_x, flat = live(UPGRADED).look().battery, live(FLAT_HOUSE).look().battery
    assert of_1_x is not None
    assert flat is not None
    assert (of_1_x.model, of_1_x.part_number) == (flat.model, flat.part_number) == ("Powerwall 2 AC", "1232100-00-E")


@pytest.mark.parametrize("state", ["lost", "disconnected"])
def test_lesson_b_disconnected_and_lost_are_both_unavailable(state: str) -> None:
    """r202633 says `disconnected` at a clean shutdown, where flat firmware said `lost`."""
    life = live(UPGRADED)
    before = life.look()
    life.publish({f"{ROOT}/$state": state})
    life.publish({f"{ROOT}/$state": "ready"})
    assert life.obstacle == "values of before not confirmed"
    life.wait(2.0)
    assert life.edges() == ["online", f"device state: {state}", "online"]
    assert life.look() == before
    assert life.tracker.version.model is DataModel.PARENT_CHILD
