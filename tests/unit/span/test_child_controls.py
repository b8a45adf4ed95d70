"""What may be commanded, and what is shed (facts, parent/child, section 4): firmware locks by omission."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.span.child_helpers import ChildPanel
from tests.unit.span.child_house import BESS, DRIVE, KITCHEN, ROOT, describe, house


def described(device: str, kind: str, path: str, settable: Any) -> ChildPanel:
    panel = ChildPanel(house(KITCHEN, DRIVE, BESS))
    description = describe(kind, parent=ROOT)
    capability, name = path.split("/")
    declared = description["nodes"][capability]["properties"] = dict(description["nodes"][capability]["properties"])
    declared[name] = {key: value for key, value in declared[name].items() if key != "settable"}
    if settable is not ...:
        declared[name]["settable"] = settable
    panel.message(f"{device}/$description", json.dumps(description))
    return panel


NO: list[Any] = [..., False, None, "true", "false", 1, 0, [], {}]


@pytest.mark.parametrize("settable", NO, ids=repr)
def test_lesson_b_only_true_is_a_permission(settable: Any) -> None:
    """s1 1.1.1: an omission was read as one, and so was the text "false"."""
    circuit = described(KITCHEN, "circuit", "switch/relay", settable).snapshot().circuits[KITCHEN]
    assert circuit.is_user_controllable is False
    panel = described(KITCHEN, "circuit", "load-shed/priority", settable)
    assert panel.publish(KITCHEN, {"load-shed/priority": "OFF_GRID"}).circuits[KITCHEN].is_never_backup is True
    panel = described(DRIVE, "evse", "config/user-max-charge-current", settable)
    assert panel.snapshot().evse[DRIVE].charge_current_limit_settable is False


@pytest.mark.parametrize(
    ("controllable", "always_on", "user_controllable"),
    [("true", False, True), ("false", True, False), ("", None, True), ("maybe", None, False)],
)
def test_lesson_b_a_relay_that_is_not_controllable_is_always_on(
    controllable: str, always_on: bool | None, user_controllable: bool
) -> None:
    """The opposite polarity of the flat flag; and a declaration may be stale after recommissioning: no from either."""
    circuit = ChildPanel().publish(KITCHEN, {"switch/relay-controllable": controllable}).circuits[KITCHEN]
    assert (circuit.always_on, circuit.is_user_controllable) == (always_on, user_controllable)
    panel = described(KITCHEN, "circuit", "switch/relay", ...)
    circuit = panel.publish(KITCHEN, {"switch/relay-controllable": controllable}).circuits[KITCHEN]
    assert circuit.is_user_controllable is False


@pytest.mark.parametrize(
    ("controllable", "relay", "requester", "always_on"),
    [
        ("false", "CLOSED", "CONFIGURATION", True),
        ("false", "UNKNOWN", "NONE", True),
        ("false", "", "NONE", True),
        ("false", "OPEN", "FAULT", False),
        ("true", "CLOSED", "USER", False),
        ("", "CLOSED", "USER", None),
    ],
)
def test_a_relay_that_a_fault_has_opened_is_not_always_on(
    controllable: str, relay: str, requester: str, always_on: bool | None
) -> None:
    values = {"switch/relay-controllable": controllable, "switch/relay": relay, "switch/relay-requester": requester}
    circuit = ChildPanel().publish(KITCHEN, values).circuits[KITCHEN]
    assert circuit.always_on is always_on
    assert circuit.is_user_controllable is (controllable != "false")


@pytest.mark.parametrize(
    ("settable", "priority", "never_backup"),
    [
        (True, "OFF_GRID", False),
        (True, "NEVER", False),
        (True, "", False),
        (False, "OFF_GRID", True),
        (False, "NEVER", False),  # an inverter's, or a battery's own
        (False, "SOC_THRESHOLD", False),
        (False, "UNKNOWN", False),
        (False, "", None),
    ],
)
def test_never_backup_is_a_priority_that_is_locked_at_off_grid(
    settable: bool, priority: str, never_backup: bool | None
) -> None:
    panel = described(KITCHEN, "circuit", "load-shed/priority", settable)
    circuit = panel.publish(KITCHEN, {"load-shed/priority": priority}).circuits[KITCHEN]
    assert circuit.is_never_backup is never_backup
    assert panel.snapshot() == panel.from_scratch()


@pytest.mark.parametrize("priority", ["OFF_GRID", "SOC_THRESHOLD"])
@pytest.mark.parametrize(
    ("controllable", "relay", "sheddable"),
    [("true", "OPEN", True), ("", "CLOSED", True), ("false", "OPEN", False), ("maybe", "CLOSED", False)],
)
def test_a_locked_circuit_is_never_shed_whatever_its_relay(
    priority: str, controllable: str, relay: str, sheddable: bool
) -> None:
    values = {"load-shed/priority": priority, "switch/relay-controllable": controllable, "switch/relay": relay}
    assert ChildPanel().publish(KITCHEN, values).circuits[KITCHEN].is_sheddable is sheddable


def test_a_relay_and_a_priority_are_locked_each_for_itself() -> None:
    panel = described(KITCHEN, "circuit", "switch/relay", ...)
    circuit = panel.publish(KITCHEN, {"switch/relay-controllable": "false"}).circuits[KITCHEN]
    assert (circuit.is_user_controllable, circuit.is_never_backup) == (False, False)
    panel = described(KITCHEN, "circuit", "load-shed/priority", ...)
    values = {"load-shed/priority": "OFF_GRID", "switch/relay-controllable": "true"}
    circuit = panel.publish(KITCHEN, values).circuits[KITCHEN]
    assert (circuit.is_user_controllable, circuit.is_never_backup, circuit.priority) == (True, True, "OFF_GRID")


def test_a_bare_description_permits_nothing_and_says_nothing() -> None:
    circuit = ChildPanel(bare=True).publish(KITCHEN, {"switch/relay-controllable": "true"}).circuits[KITCHEN]
    assert (circuit.is_user_controllable, circuit.is_never_backup) == (False, None)


def test_a_circuit_that_is_recommissioned_at_run_time_is_what_its_new_description_says() -> None:
    """That circuit goes through init; the panel stays ready."""
    panel = ChildPanel(house(KITCHEN))
    assert panel.snapshot().circuits[KITCHEN].is_user_controllable
    assert not panel.state(KITCHEN, "init").circuits[KITCHEN].is_user_controllable
    panel.redescribe(KITCHEN, switch__relay=None)
    circuit = panel.state(KITCHEN, "ready").circuits[KITCHEN]
    assert (circuit.is_user_controllable, circuit.relay_state) == (False, "UNKNOWN")
    panel.redescribe(KITCHEN)
    assert panel.snapshot().circuits[KITCHEN].is_user_controllable
    assert panel.snapshot() == panel.from_scratch()


@pytest.mark.parametrize("controllable", ["true", "", "false"])
@pytest.mark.parametrize(
    ("priority", "sheddable"),
    [("OFF_GRID", True), ("SOC_THRESHOLD", True), ("NEVER", False), ("UNKNOWN", False), ("", None), ("LATER", False)],
)
def test_a_circuit_is_sheddable_by_its_priority_and_its_relay(
    priority: str, sheddable: bool | None, controllable: str
) -> None:
    values = {"load-shed/priority": priority, "switch/relay-controllable": controllable}
    circuit = ChildPanel().publish(KITCHEN, values).circuits[KITCHEN]
    assert circuit.is_sheddable is (sheddable and controllable != "false" if sheddable is not None else None)


@pytest.mark.parametrize("requester", ["LOAD_SHED", "CONFIGURATION", "USER", "PCS", "FAULT", "NONE", "UNKNOWN", "NEW"])
def test_a_requester_is_passed_on(requester: str) -> None:
    circuit = ChildPanel().publish(KITCHEN, {"switch/relay-requester": requester}).circuits[KITCHEN]
    assert circuit.relay_requester == requester


# --- charge limits ----------------------------------------------------------------------------------------------------

SPAN = ("config", "max-charge-current", "user-max-charge-current")
EBUS = ("charge-limit", "installer-max", "owner-limit")


def charger(nodes: Mapping[str, list[str] | None], values: Mapping[str, str]) -> Any:
    """A charger that declares these (``None``: a bare node), the last of each settable."""
    declared = {
        capability: {"type": f"energy.ebus.capability.{capability}"}
        | (
            {}
            if names is None
            else {
                "properties": {
                    name: {"datatype": "integer", "settable": name in {"owner-limit", "user-max-charge-current"}}
                    for name in names
                }
            }
        )
        for capability, names in nodes.items()
    }
    panel = ChildPanel(house(DRIVE))
    panel.redescribe(DRIVE, omit=["config"], nodes=declared)
    for path, payload in values.items():
        panel.message(f"{DRIVE}/{path}", payload)
    found = panel.snapshot().evse[DRIVE]
    assert panel.snapshot() == panel.from_scratch()
    return (
        found.charge_current_ceiling_a,
        found.charge_current_limit_a,
        found.effective_charge_current_limit_a,
        found.charge_current_limit_settable,
    )


BOTH = {"config/max-charge-current": "40", "config/user-max-charge-current": "16"}
OTHERS = {"charge-limit/installer-max": "32", "charge-limit/owner-limit": "20"}


@pytest.mark.parametrize(
    ("nodes", "shown"),
    [
        pytest.param({"config": ["max-charge-current", "user-max-charge-current"]}, (40, 16, 16, True), id="SPAN's"),
        pytest.param({"charge-limit": ["installer-max", "owner-limit"]}, (32, 20, 20, True), id="eBus's"),
        pytest.param(
            {"config": ["max-charge-current", "user-max-charge-current"], "charge-limit": ["installer-max"]},
            (32, None, 32, False),
            id="eBus's counts if it has either",
        ),
        pytest.param(
            {"config": ["max-charge-current", "user-max-charge-current"], "charge-limit": ["owner-limit"]},
            (None, 20, 20, True),
            id="or the other",
        ),
        pytest.param(
            {"config": ["max-charge-current", "user-max-charge-current"], "charge-limit": ["requested-limit"]},
            (40, 16, 16, True),
            id="and not if it has neither",
        ),
        pytest.param({"config": None, "charge-limit": None}, (32, 20, 20, False), id="bare"),
        pytest.param({"config": None}, (40, 16, 16, False), id="bare, SPAN's alone"),
        pytest.param({"config": ["max-charge-current"]}, (40, None, 40, False), id="no limit of the user's"),
        pytest.param({}, (None, None, None, False), id="a charger of a fixed rate"),
    ],
)
def test_a_charge_limit_in_either_spelling(nodes: Mapping[str, list[str] | None], shown: tuple[Any, ...]) -> None:
    assert charger(nodes, {**BOTH, **OTHERS}) == shown


@pytest.mark.parametrize(
    ("ceiling", "limit", "shown"),
    [
        ("40", "16", (40, 16, 16)),
        ("40", "40", (40, None, 40)),  # left over from before r202639: not set
        ("40", "", (40, None, 40)),
        ("", "16", (None, 16, 16)),
        ("", "", (None, None, None)),
        ("40", "16.0", (40, 16, 16)),
        ("40", "16.5", (40, None, 40)),
        ("40", "0", (40, 0, 0)),
        ("40", "48", (40, 48, 48)),
    ],
)
def test_a_limit_equal_to_the_ceiling_is_none(ceiling: str, limit: str, shown: tuple[Any, ...]) -> None:
    values = {"config/max-charge-current": ceiling, "config/user-max-charge-current": limit}
    assert charger({"config": [*SPAN[1:]]}, values)[:3] == shown


@pytest.mark.parametrize(("capability", "_ceiling", "limit"), [SPAN, EBUS])
def test_a_limits_target_is_shown_as_it_is(capability: str, _ceiling: str, limit: str) -> None:
    panel = ChildPanel(house(DRIVE))
    panel.redescribe(
        DRIVE,
        omit=["config"],
        nodes={capability: {"properties": {limit: {"datatype": "integer", "settable": True}}}},
    )
    found = panel.publish(DRIVE, {f"{capability}/{limit}/$target": "12"}).evse[DRIVE]
    assert (found.charge_current_limit_target_a, found.charge_current_limit_a) == (12, None)
