"""What may be commanded, in both schemas: found by type, locked by flag or by omission."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from span_trio import Control, RefusalReason, SpanPanelCommandError
from span_trio.span import DataModel, find_control
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import BESS, UP, describe, house
from tests.unit.span.child_house import DRIVE as CHILD_DRIVE
from tests.unit.span.control_helpers import find, offers, published, refusal
from tests.unit.span.helpers import DRIVE, GARAGE, HOUSE, KITCHEN, ROOT, SMALL, SOLAR, FlatPanel

RELAY, PRIORITY, SOURCE = Control.RELAY, Control.PRIORITY, Control.DOMINANT_POWER_SOURCE
ISLANDING, PROPERTY = Control.ISLANDING, Control.PROPERTY
LIMIT, LOCK = Control.CHARGE_LIMIT, Control.CHARGER_LOCK
DASHED = "AC3DCCDA-46A9-4B98-878A-227DF6FED588"


# --- flat -------------------------------------------------------------------------------------------------------------


def test_a_flat_panel_offers_each_circuits_relay_and_priority_its_source_and_its_chargers_limit() -> None:
    panel = FlatPanel()
    found = offers(panel)
    circuits = {(control, circuit) for control in (RELAY, PRIORITY) for circuit in (KITCHEN, SOLAR, GARAGE)}
    assert found.keys() == circuits | {(SOURCE, ROOT), (LIMIT, DRIVE)}
    assert {offered.refusal for offered in found.values()} == {None}
    assert find(panel, RELAY, KITCHEN).choices == ("OPEN", "CLOSED")
    assert find(panel, PRIORITY, KITCHEN).choices == ("OFF_GRID", "SOC_THRESHOLD", "NEVER")
    assert "UNKNOWN" not in find(panel, SOURCE).choices


@pytest.mark.parametrize(
    ("control", "subject", "wanted", "where"),
    [
        (RELAY, KITCHEN, "OPEN", f"{ROOT}/{KITCHEN}/relay"),
        (PRIORITY, KITCHEN, "NEVER", f"{ROOT}/{KITCHEN}/shed-priority"),
        (SOURCE, ROOT, "GRID", f"{ROOT}/core/dominant-power-source"),
        (LIMIT, DRIVE, 16, f"{ROOT}/{DRIVE}/user-max-charge-current"),
    ],
)
def test_a_flat_command_is_published_where_the_facts_say(
    control: Control, subject: str, wanted: object, where: str
) -> None:
    assert published(FlatPanel(), control, subject, wanted) == (where, str(wanted).encode())


def test_a_circuit_with_dashes_is_found_by_either_spelling_and_written_to_by_its_own() -> None:
    panel = FlatPanel({"core": HOUSE["core"], DASHED.lower(): "circuit"})
    for subject in (KITCHEN, DASHED, DASHED.lower(), KITCHEN.upper()):
        assert published(panel, RELAY, subject, "OPEN") == (f"{ROOT}/{DASHED.lower()}/relay", b"OPEN")


Flag = tuple[str, Control, Control, RefusalReason]
FLAGS: list[Flag] = [
    ("always-on", RELAY, PRIORITY, RefusalReason.ALWAYS_ON),
    ("never-backup", PRIORITY, RELAY, RefusalReason.NEVER_BACKUP),
]


@pytest.mark.parametrize("of", FLAGS, ids=["always-on", "never-backup"])
@pytest.mark.parametrize(
    ("payload", "locked"),
    [("true", True), ("false", False), ("", False), ("maybe", True), ("False", True), ("0", True), (b"\xff", True)],
)
@pytest.mark.parametrize("bare", [False, True], ids=["described", "bare"])
def test_a_flat_lock_is_its_own_flag_and_no_flag_is_permission(
    of: Flag, payload: str | bytes, locked: bool, bare: bool
) -> None:
    flag, control, other, reason = of
    panel = FlatPanel(bare=bare)
    panel.message(f"{KITCHEN}/{flag}", payload)
    assert find(panel, control, KITCHEN).refusal is (reason if locked else None)
    assert find(panel, control, SOLAR).refusal is None
    assert find(panel, other, KITCHEN).refusal is None
    if locked:
        wanted = "OPEN" if control is RELAY else "NEVER"
        assert refusal(panel, control, KITCHEN, wanted) is reason


@pytest.mark.parametrize("target", ["false", "true", "maybe", ""])
@pytest.mark.parametrize("of", FLAGS, ids=["always-on", "never-backup"])
def test_a_target_never_makes_an_unreadable_lock_readable(of: Flag, target: str) -> None:
    flag, control, _, reason = of
    panel = FlatPanel()
    panel.message(f"{KITCHEN}/{flag}", "maybe")
    panel.message(f"{KITCHEN}/{flag}/$target", target)
    assert find(panel, control, KITCHEN).refusal is reason
    panel.message(f"{KITCHEN}/{flag}", "false")
    assert find(panel, control, KITCHEN).refusal is None


@pytest.mark.parametrize("of", FLAGS, ids=["always-on", "never-backup"])
@pytest.mark.parametrize(
    ("datatype", "payload", "locked"),
    [
        ("string", "true", True),
        ("string", "false", False),
        ("string", "yes", True),
        ("string", "TRUE", True),
        ("integer", "1", True),
        ("enum", "maybe", True),
    ],
)
def test_a_flag_declared_as_something_else_locks_unless_it_is_read_as_no(
    of: Flag, datatype: str, payload: str, locked: bool
) -> None:
    flag, control, _, reason = of
    panel = FlatPanel(circuit={flag: {"datatype": datatype}})
    panel.message(f"{KITCHEN}/{flag}", payload)
    assert find(panel, control, KITCHEN).refusal is (reason if locked else None)


@pytest.mark.parametrize(
    ("name", "control"), [("relay", RELAY), ("shed-priority", PRIORITY), ("dominant-power-source", SOURCE)]
)
@pytest.mark.parametrize("settable", [False, "true", "false", 1, None])
def test_what_a_flat_description_does_not_declare_as_settable_is_locked(
    name: str, control: Control, settable: object
) -> None:
    declared = {"datatype": "enum", "format": "OPEN,CLOSED,NEVER,GRID", "settable": settable}
    panel = FlatPanel(**{"circuit": {name: declared}, "distribution-enclosure_core": {name: declared}})
    subject = ROOT if control is SOURCE else KITCHEN
    assert find(panel, control, subject).refusal is RefusalReason.NOT_SETTABLE
    assert refusal(panel, control, subject, "OPEN") is RefusalReason.NOT_SETTABLE


def test_a_bare_flat_panel_offers_what_all_flat_firmware_has_and_no_charge_limit() -> None:
    panel = FlatPanel(bare=True)
    assert {control for control, _ in offers(panel)} == {RELAY, PRIORITY, SOURCE}
    assert published(panel, RELAY, KITCHEN, "OPEN") == (f"{ROOT}/{KITCHEN}/relay", b"OPEN")
    assert refusal(panel, RELAY, KITCHEN, "UNKNOWN") is RefusalReason.OUTSIDE_FORMAT
    assert refusal(panel, LIMIT, DRIVE, 16) is RefusalReason.NO_SUCH_CONTROL


@pytest.mark.parametrize(
    ("control", "subject", "reason"),
    [
        (RELAY, "nope", RefusalReason.NO_SUCH_CIRCUIT),
        (RELAY, "bess", RefusalReason.NO_SUCH_CIRCUIT),
        (RELAY, ROOT, RefusalReason.NO_SUCH_CIRCUIT),
        (RELAY, "unmapped_tab_7", RefusalReason.UNMAPPED_POSITION),
        (PRIORITY, "unmapped_tab_7", RefusalReason.UNMAPPED_POSITION),
        (LIMIT, "nope", RefusalReason.NO_SUCH_CHARGER),
        (LIMIT, KITCHEN, RefusalReason.NO_SUCH_CONTROL),
        (ISLANDING, ROOT, RefusalReason.NO_SUCH_CONTROL),
        (PROPERTY, f"{ROOT}/core/doors", RefusalReason.NO_SUCH_PROPERTY),
        (PROPERTY, f"{ROOT}/core/door", RefusalReason.NOT_SETTABLE),
        (PROPERTY, f"{ROOT}/{KITCHEN}/relay", RefusalReason.MODELLED),
        (PROPERTY, f"{KITCHEN}/relay", RefusalReason.NO_SUCH_PROPERTY),
        (LOCK, "nope", RefusalReason.NO_SUCH_CHARGER),
        (LOCK, DRIVE, RefusalReason.NO_SUCH_CONTROL),
    ],
)
def test_lesson_b_a_topic_is_never_put_together_from_what_a_caller_says(
    control: Control, subject: str, reason: RefusalReason
) -> None:
    """Today's clients build one for a battery, for an unmapped position, for any id."""
    assert refusal(FlatPanel(), control, subject, "OPEN") is reason


def test_a_circuit_that_published_values_and_is_not_described_is_none() -> None:
    panel = FlatPanel(SMALL)
    for name in ("relay", "name", "space"):
        panel.message(f"{SOLAR}/{name}", "CLOSED")
    assert refusal(panel, RELAY, SOLAR, "OPEN") is RefusalReason.NO_SUCH_CIRCUIT
    panel.redescribe({**SMALL, SOLAR: "circuit"})
    assert published(panel, RELAY, SOLAR, "OPEN")[1] == b"OPEN"
    panel.redescribe(SMALL)
    assert refusal(panel, RELAY, SOLAR, "OPEN") is RefusalReason.NO_SUCH_CIRCUIT


# --- parent/child -----------------------------------------------------------------------------------------------------


def test_a_parent_child_panel_offers_exactly_the_four() -> None:
    panel = full_house()
    found = offers(panel)
    circuits = {(control, circuit) for control in (RELAY, PRIORITY) for circuit in (KITCHEN, SOLAR, GARAGE)}
    assert found.keys() == circuits | {(ISLANDING, ROOT), (LIMIT, "SD-2231")}
    assert {offered.refusal for offered in found.values()} == {None}
    limit = find(panel, LIMIT, "SD-2231")
    assert (limit.minimum, limit.maximum, limit.datatype) == (6, 40, "integer")  # 6:48, and commissioned for 40


@pytest.mark.parametrize(
    ("control", "subject", "wanted", "where"),
    [
        (RELAY, KITCHEN, "OPEN", f"{KITCHEN}/switch/relay"),
        (PRIORITY, KITCHEN, "NEVER", f"{KITCHEN}/load-shed/priority"),
        (ISLANDING, ROOT, "OFF_GRID", f"{ROOT}/shed/asserted-islanding-state"),
        (LIMIT, "SD-2231", 16, f"{CHILD_DRIVE}/config/user-max-charge-current"),
    ],
)
def test_a_parent_child_command_is_published_where_the_facts_say(
    control: Control, subject: str, wanted: object, where: str
) -> None:
    assert published(full_house(), control, subject, wanted) == (where, str(wanted).encode())


@pytest.mark.parametrize(
    ("source", "state"),
    [("GRID", b"ON_GRID"), ("BATTERY", b"OFF_GRID"), ("PV", b"OFF_GRID"), ("GENERATOR", b"OFF_GRID")],
)
def test_a_dominant_power_source_asserts_islanding_on_a_parent_child_panel(source: str, state: bytes) -> None:
    assert published(full_house(), SOURCE, ROOT, source) == (f"{ROOT}/shed/asserted-islanding-state", state)


def test_what_a_dominant_power_source_would_be_of_is_the_islanding() -> None:
    found = find_control(full_house().forest, ROOT, DataModel.PARENT_CHILD, SOURCE, ROOT)
    assert found == find(full_house(), ISLANDING)


@pytest.mark.parametrize("source", ["NONE", "UNKNOWN", "grid", "ON_GRID", "OFF_GRID", "", None, 1, []])
def test_what_is_no_dominant_power_source_asserts_nothing(source: object) -> None:
    assert refusal(full_house(), SOURCE, ROOT, source) is RefusalReason.OUTSIDE_FORMAT


@pytest.mark.parametrize("state", ["NONE", "UNKNOWN", "UP", "on_grid", "", None])
def test_lesson_e_none_and_unknown_are_refused_and_not_written_to_be_ignored(state: object) -> None:
    assert refusal(full_house(), ISLANDING, ROOT, state) is RefusalReason.OUTSIDE_FORMAT


@pytest.mark.parametrize(
    ("controllable", "reason"),
    [
        ("true", None),
        ("", None),
        ("false", RefusalReason.NOT_CONTROLLABLE),
        ("maybe", RefusalReason.NOT_CONTROLLABLE),
        ("True", RefusalReason.NOT_CONTROLLABLE),
    ],
)
def test_a_relay_that_is_not_controllable_or_does_not_say_so_readably_is_locked(
    controllable: str, reason: RefusalReason | None
) -> None:
    panel = full_house()
    panel.message(f"{KITCHEN}/switch/relay-controllable", controllable)
    assert find(panel, RELAY, KITCHEN).refusal is reason
    assert find(panel, PRIORITY, KITCHEN).refusal is None


@pytest.mark.parametrize(("payload", "locked"), [("true", False), ("false", True), ("no", True), ("1", True)])
def test_relay_controllable_declared_as_text_locks_unless_it_is_read_as_yes(payload: str, locked: bool) -> None:
    panel = full_house()
    panel.redescribe(KITCHEN, switch__relay_controllable={"datatype": "string"})
    panel.message(f"{KITCHEN}/switch/relay-controllable", payload)
    assert find(panel, RELAY, KITCHEN).refusal is (RefusalReason.NOT_CONTROLLABLE if locked else None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "control", "subject"),
    [
        ("switch__relay", RELAY, KITCHEN),
        ("load_shed__priority", PRIORITY, KITCHEN),
        ("config__user_max_charge_current", LIMIT, "SD-2231"),
        ("shed__asserted_islanding_state", ISLANDING, ROOT),
    ],
)
@pytest.mark.parametrize("settable", [..., False, "true", "false", 1, None], ids=repr)
def test_lesson_e_a_parent_child_device_is_commanded_only_where_its_own_description_says_settable(
    path: str, control: Control, subject: str, settable: Any
) -> None:
    panel = full_house()
    device = {RELAY: KITCHEN, PRIORITY: KITCHEN, LIMIT: CHILD_DRIVE, ISLANDING: ROOT}[control]
    kept = find(panel, control, subject).declaration
    change = {"datatype": str(kept.datatype), "format": kept.format_text}
    panel.redescribe(device, **{path: None})
    assert refusal(panel, control, subject, "OPEN") is RefusalReason.NO_SUCH_CONTROL
    panel.redescribe(device, **{path: change | {"settable": False if settable is ... else settable}})
    assert find(panel, control, subject).refusal is RefusalReason.NOT_SETTABLE
    assert refusal(panel, control, subject, "OPEN") is RefusalReason.NOT_SETTABLE
    panel.redescribe(device)
    assert find(panel, control, subject).refusal is None


def test_a_bare_parent_child_panel_offers_nothing() -> None:
    panel = ChildPanel(bare=True)
    assert offers(panel) == {}
    assert refusal(panel, RELAY, KITCHEN, "OPEN") is RefusalReason.NO_SUCH_CONTROL
    assert refusal(panel, RELAY, "nope", "OPEN") is RefusalReason.NO_SUCH_CIRCUIT


@pytest.mark.parametrize("state", ["init", "lost", "disconnected", "sleeping", ""])
def test_a_device_that_is_away_is_not_commanded(state: str) -> None:
    panel = full_house()
    for device, control, subject in ((KITCHEN, RELAY, KITCHEN), (CHILD_DRIVE, LIMIT, "SD-2231")):
        panel.message(f"{device}/$state", state)
        assert refusal(panel, control, subject, "OPEN") is RefusalReason.AWAY
        panel.message(f"{device}/$state", "ready")
    assert find(panel, RELAY, SOLAR).refusal is None


def test_a_circuit_that_is_decommissioned_is_no_circuit() -> None:
    panel = full_house()
    children: Mapping[str, Any] = {"children": [SOLAR, CHILD_DRIVE]}
    panel.redescribe(ROOT, **children)
    assert refusal(panel, RELAY, KITCHEN, "OPEN") is RefusalReason.NO_SUCH_CIRCUIT


def test_a_device_of_a_foreign_root_is_not_commanded() -> None:
    panel = ChildPanel(house(KITCHEN))
    for topic, payload in (("$state", "ready"), ("$description", str(describe("circuit")).replace("'", '"'))):
        panel.message(f"{GARAGE}/{topic}", payload)
    assert refusal(panel, RELAY, GARAGE, "OPEN") is RefusalReason.NO_SUCH_CIRCUIT


def test_two_chargers_are_told_apart_by_the_keys_of_the_snapshot() -> None:
    panel = ChildPanel(house(CHILD_DRIVE, **{"other-drive": "evse"}))
    for device in (CHILD_DRIVE, "other-drive"):
        panel.message(f"{device}/info/serial-number", "SAME")
    assert {subject for control, subject in offers(panel) if control is LIMIT} == set(panel.snapshot().evse)
    assert published(panel, LIMIT, "other-drive", 16)[0] == "other-drive/config/user-max-charge-current"
    assert refusal(panel, LIMIT, "SAME", 16) is RefusalReason.NO_SUCH_CHARGER


@pytest.mark.parametrize("subject", [BESS, UP, f"{KITCHEN}/switch", "unmapped_tab_5", ""])
def test_what_is_no_circuit_has_no_relay(subject: str) -> None:
    expected = RefusalReason.UNMAPPED_POSITION if subject.startswith("unmapped") else RefusalReason.NO_SUCH_CIRCUIT
    assert refusal(full_house(), RELAY, subject, "OPEN") is expected


def test_a_flat_circuit_that_declares_no_relay_has_none() -> None:
    panel = FlatPanel()
    circuit = {"type": "energy.ebus.device.circuit", "properties": {"name": {"datatype": "string"}}}
    panel.message("$description", json.dumps({"homie": "5.0", "version": 9, "nodes": {KITCHEN: circuit}}))
    assert offers(panel) == {}
    assert refusal(panel, RELAY, KITCHEN, "OPEN") is RefusalReason.NO_SUCH_CONTROL


def test_a_child_that_has_not_described_itself_offers_nothing_and_is_in_nobodys_way() -> None:
    panel = full_house()
    before = offers(panel).keys()
    panel.message(f"{KITCHEN}/$description", b"")
    missing = {key for key in before if KITCHEN in key[1]}
    assert missing
    assert offers(panel).keys() == before - missing
    assert refusal(panel, RELAY, KITCHEN, "OPEN") is RefusalReason.NO_SUCH_CIRCUIT


# --- what is there, and what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "subject", "wanted", "what"),
    [
        (RELAY, "nope", "OPEN", "the relay of nope: "),
        (PROPERTY, "nope/a/b", "1", "property nope/a/b: "),
        (RELAY, KITCHEN, "OPEN", f"the relay of {KITCHEN} (one relay with circuit-2): "),
    ],
)
def test_a_refusal_names_what_was_asked_for(control: Control, subject: str, wanted: str, what: str) -> None:
    panel = full_house()
    panel.message(f"{KITCHEN}/switch/relay-controllable", "false")
    with pytest.raises(SpanPanelCommandError) as caught:
        published(panel, control, subject, wanted)
    assert str(caught.value).startswith(what)


def test_of_two_cores_one_has_the_source() -> None:
    panel = FlatPanel({"core": HOUSE["core"], "core-2": HOUSE["core"]})
    assert [offered for offered in offers(panel).values() if offered.control is SOURCE] == [find(panel, SOURCE)]
    assert find(panel, SOURCE).node_id == "core"


def test_a_child_that_was_never_heard_of_is_in_nobodys_way() -> None:
    panel = full_house()
    before = offers(panel).keys()
    children = [child for child, (_, parent) in panel.devices.items() if parent == ROOT]
    panel.redescribe(ROOT, children=[*children, "never-heard-of"])
    assert offers(panel).keys() == before


def test_the_panel_itself_is_never_away() -> None:
    panel = full_house()
    panel.message(f"{ROOT}/$state", "init")
    assert find(panel, ISLANDING).refusal is None


def test_a_charger_has_its_key_whatever_serial_number_another_device_claims() -> None:
    panel = full_house()
    panel.message(f"{CHILD_DRIVE}/info/serial-number", "serial-1")
    panel.message(f"{BESS}/info/serial-number", "serial-1")
    assert find(panel, LIMIT, "serial-1").device_id == CHILD_DRIVE


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (KITCHEN, RefusalReason.NO_SUCH_CONTROL),
        (BESS, RefusalReason.NO_SUCH_CHARGER),
        ("serial-1", RefusalReason.NO_SUCH_CHARGER),
        ("nope", RefusalReason.NO_SUCH_CHARGER),
    ],
)
def test_a_limit_of_what_is_no_charger_says_whether_it_exists(subject: str, reason: RefusalReason) -> None:
    panel = full_house()
    panel.message(f"{BESS}/info/serial-number", "serial-1")
    assert refusal(panel, LIMIT, subject, 16) is reason


def test_a_relay_that_is_not_controllable_locks_nothing_beside_it() -> None:
    panel = full_house()
    description = describe("circuit", parent=ROOT)
    description["nodes"]["switch"]["properties"]["delay"] = {"datatype": "integer", "settable": True}
    panel.message(f"{KITCHEN}/$description", json.dumps(description))
    panel.message(f"{KITCHEN}/switch/relay-controllable", "false")
    assert find(panel, RELAY, KITCHEN).refusal is RefusalReason.NOT_CONTROLLABLE
    assert find(panel, PROPERTY, f"{KITCHEN}/switch/delay").refusal is None


def test_a_control_is_shown_and_compared_without_its_declaration() -> None:
    offered = find(FlatPanel(), RELAY, KITCHEN)
    other = attrs.evolve(offered, declaration=attrs.evolve(offered.declaration, name="Another name"))
    assert other == offered
    assert "declaration" not in repr(offered)


@pytest.mark.parametrize(
    ("control", "subject", "wanted", "said"),
    [
        (RELAY, KITCHEN, "AJAR", "the relay of {} cannot be set to AJAR, only to OPEN or CLOSED"),
        (RELAY, KITCHEN, 1, "the relay of {} cannot be set to 1, only to OPEN or CLOSED"),
        (PROPERTY, f"{ROOT}/extra/mode", "AJAR", "the property of {} cannot be set to AJAR, only to ECO or BOOST"),
    ],
)
def test_a_value_that_is_refused_is_named_with_what_would_be_taken(
    control: Control, subject: str, wanted: object, said: str
) -> None:
    panel = full_house()
    mode = {"datatype": "enum", "format": "ECO,BOOST", "settable": True}
    panel.redescribe(ROOT, nodes={"extra": {"properties": {"mode": mode}}})
    with pytest.raises(SpanPanelCommandError) as caught:
        published(panel, control, subject, wanted)
    assert said.format(subject) in str(caught.value)


def test_where_a_format_shares_nothing_with_what_firmware_takes_nothing_will_do() -> None:
    panel = full_house()
    panel.redescribe(KITCHEN, switch__relay={"format": "AJAR,SHUT"})
    with pytest.raises(SpanPanelCommandError, match="cannot be set to AJAR, only to nothing that is known: "):
        published(panel, RELAY, KITCHEN, "AJAR")


def test_only_a_relay_says_who_asked_for_it() -> None:
    assert find(FlatPanel(), RELAY, KITCHEN).requester_id == "relay-requester"
    assert find(FlatPanel(), PRIORITY, KITCHEN).requester_id is None


@pytest.mark.parametrize(
    ("form", "wanted", "limits"),
    [("10:20", 21, "10..20"), ("10:", 9, "10.."), (":20", 21, "..20"), ("0:0.5", 1, "0..0.5")],
)
def test_a_number_out_of_range_is_refused_with_the_range(form: str, wanted: float, limits: str) -> None:
    panel = full_house()
    level = {"datatype": "float", "format": form, "settable": True}
    panel.redescribe(ROOT, nodes={"extra": {"properties": {"level": level}}})
    with pytest.raises(SpanPanelCommandError, match=f"only within {limits}: "):
        published(panel, PROPERTY, f"{ROOT}/extra/level", wanted)
