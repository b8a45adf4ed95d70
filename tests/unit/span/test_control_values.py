"""What may be written: members and words, numbers within what is declared and commissioned, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio import (
    Control,
    DominantPowerSource,
    DoorState,
    GridState,
    RefusalReason,
    RelayState,
    ShedPriority,
    SpanPanelCommandError,
)
from span_trio.homie import Datatype, decode_value
from tests.unit.span.child_helpers import ChildPanel, full_house
from tests.unit.span.child_house import DRIVE, house
from tests.unit.span.control_helpers import find, published, refusal
from tests.unit.span.helpers import DRIVE as FLAT_DRIVE
from tests.unit.span.helpers import KITCHEN, ROOT, FlatPanel

RELAY, PRIORITY, SOURCE = Control.RELAY, Control.PRIORITY, Control.DOMINANT_POWER_SOURCE
ISLANDING, LIMIT = Control.ISLANDING, Control.CHARGE_LIMIT
OUTSIDE, RANGE = RefusalReason.OUTSIDE_FORMAT, RefusalReason.OUT_OF_RANGE


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "wanted", "payload"),
    [
        (RELAY, RelayState.OPEN, b"OPEN"),
        (RELAY, "CLOSED", b"CLOSED"),
        (RELAY, DoorState.OPEN, b"OPEN"),  # equal to its text, as all are
        (PRIORITY, ShedPriority.SOC_THRESHOLD, b"SOC_THRESHOLD"),
        (PRIORITY, "OFF_GRID", b"OFF_GRID"),
        (SOURCE, DominantPowerSource.GENERATOR, b"GENERATOR"),
        (SOURCE, "GRID", b"GRID"),
    ],
    ids=repr,
)
def test_a_member_and_its_text_are_the_same(control: Control, wanted: str, payload: bytes) -> None:
    subject = ROOT if control is SOURCE else KITCHEN
    assert published(FlatPanel(), control, subject, wanted)[1] == payload


WRONG: list[Any] = [
    "open",
    "Open",
    " OPEN",
    "OPEN ",
    "OPEN\n",
    "",
    "\x00",
    "UNKNOWN",
    "NONE",
    "BOGUS",
    "OPEN,CLOSED",
    b"OPEN",
    True,
    1,
    None,
    ["OPEN"],
    RelayState.UNKNOWN,
    ShedPriority.UNKNOWN,
    GridState.UNKNOWN,
]


@pytest.mark.parametrize("wanted", WRONG, ids=repr)
@pytest.mark.parametrize("control", [RELAY, PRIORITY, ISLANDING])
def test_lesson_probe_a_word_that_it_does_not_take_is_not_published(control: Control, wanted: Any) -> None:
    panel = full_house()
    assert refusal(panel, control, ROOT if control is ISLANDING else KITCHEN, wanted) is OUTSIDE


@pytest.mark.parametrize("wanted", [*(each for each in WRONG if each != "NONE"), "grid"], ids=repr)
def test_a_source_that_is_none_is_not_published(wanted: Any) -> None:
    assert refusal(FlatPanel(), SOURCE, ROOT, wanted) is OUTSIDE


@pytest.mark.parametrize(
    ("form", "taken"),
    [
        ("UNKNOWN,OPEN,CLOSED", {"OPEN", "CLOSED"}),
        ("CLOSED,OPEN,UNKNOWN", {"OPEN", "CLOSED"}),
        ("OPEN", {"OPEN"}),
        ("OPEN,LATCHED", {"OPEN"}),
        ("UNKNOWN", set[str]()),
        ("ON,OFF", set[str]()),
    ],
)
@pytest.mark.parametrize("panel", [FlatPanel, full_house], ids=["flat", "parent/child"])
def test_a_relay_takes_what_is_declared_and_known_and_never_anything_else(
    panel: Any, form: str, taken: set[str]
) -> None:
    if panel is FlatPanel:
        bench = FlatPanel(circuit={"relay": {"datatype": "enum", "format": form, "settable": True}})
    else:
        bench = full_house()
        bench.redescribe(KITCHEN, switch__relay={"format": form})
    assert set(find(bench, RELAY, KITCHEN).choices) == taken
    for wanted in ("UNKNOWN", "OPEN", "CLOSED", "LATCHED", "ON", "OFF"):
        if wanted in taken:
            assert published(bench, RELAY, KITCHEN, wanted)[1] == wanted.encode()
        else:
            assert refusal(bench, RELAY, KITCHEN, wanted) is OUTSIDE


@pytest.mark.parametrize("datatype", ["string", "boolean", "integer", "float", "json", "datetime", "color", "enum"])
def test_i9_a_relay_declared_as_anything_is_published_as_a_word_or_refused(datatype: str) -> None:
    """An odd description must cost the control, and never come out as an error that nobody documents."""
    panel = full_house()
    panel.redescribe(KITCHEN, switch__relay={"datatype": datatype, "format": None})
    if datatype in {"string", "enum"}:
        assert published(panel, RELAY, KITCHEN, "OPEN")[1] == b"OPEN"
    else:
        assert refusal(panel, RELAY, KITCHEN, "OPEN") is OUTSIDE
        assert refusal(panel, RELAY, KITCHEN, "true") is OUTSIDE


# --- a charger's limit ------------------------------------------------------------------------------------------------


def charger(form: str | None = "6:48", ceiling: str = "", datatype: str | None = "integer") -> ChildPanel:
    panel = ChildPanel(house(DRIVE))
    declared = {"datatype": datatype, "format": form}
    panel.redescribe(DRIVE, config__user_max_charge_current=declared)
    panel.message(f"{DRIVE}/config/max-charge-current", ceiling)
    return panel


@pytest.mark.parametrize(
    ("wanted", "payload"), [(16, b"16"), ("16", b"16"), ("16.0", b"16"), (6, b"6"), (48, b"48")], ids=repr
)
def test_a_limit_is_whole_amperes_or_their_text(wanted: object, payload: bytes) -> None:
    assert published(charger(), LIMIT, DRIVE, wanted)[1] == payload


@pytest.mark.parametrize(
    "wanted",
    [
        True,
        False,
        16.0,
        16.5,
        "16.5",
        "1_6",
        " 16",
        "١٦",
        "0x10",
        "1e1",
        "",
        "NONE",
        "\ud800",
        None,
        b"16",
        float("nan"),
        float("inf"),
        10**30,
        "9" * 400,
        [16],
        "nan",
    ],
    ids=lambda wanted: ascii(wanted)[:20],
)
@pytest.mark.parametrize("form", ["6:48", None])
def test_lesson_a_what_is_no_whole_number_is_no_limit(wanted: Any, form: str | None) -> None:
    """A bool is an int in Python; and nothing is rounded on the way."""
    assert refusal(charger(form, "40"), LIMIT, DRIVE, wanted) in {OUTSIDE, RANGE}


@pytest.mark.parametrize(
    ("form", "ceiling", "low", "high"),
    [
        ("6:48", "", 6, 48),
        ("6:48", "40", 6, 40),
        ("6:48", "80", 6, 48),
        ("6:", "40", 6, 40),
        ("6:", "", 6, None),
        (":48", "40", 0, 40),
        (None, "40", 0, 40),
        (None, "", 0, None),
        (None, "maybe", 0, None),
        ("6:48", "40.0", 6, 40),
        ("6:48:1", "40", 6, 40),
    ],
)
def test_lesson_e_a_limit_beyond_the_ceiling_is_refused_and_never_clamped(
    form: str | None, ceiling: str, low: int, high: int | None
) -> None:
    panel = charger(form, ceiling)
    found = find(panel, LIMIT, DRIVE)
    assert (found.minimum, found.maximum) == (low, high)
    assert published(panel, LIMIT, DRIVE, low)[1] == str(low).encode()
    assert refusal(panel, LIMIT, DRIVE, low - 1) is RANGE
    assert refusal(panel, LIMIT, DRIVE, str(low - 1)) is RANGE
    if high is None:
        assert published(panel, LIMIT, DRIVE, 80)[1] == b"80"
    else:
        assert published(panel, LIMIT, DRIVE, high)[1] == str(high).encode()
        assert refusal(panel, LIMIT, DRIVE, high + 1) is RANGE


@pytest.mark.parametrize(("wanted", "goes"), [(6, True), (8, True), (7, False), ("9", False), (48, True)])
def test_a_limit_between_two_steps_is_refused_and_never_rounded(wanted: object, goes: bool) -> None:
    """Homie's rule rounds 7 to 8; whoever asked for 7 A must not be told that 8 A is confirmed."""
    panel = charger("6:48:2", "")
    if goes:
        assert published(panel, LIMIT, DRIVE, wanted)[1] == str(wanted).encode()
    else:
        assert refusal(panel, LIMIT, DRIVE, wanted) is OUTSIDE


@pytest.mark.parametrize(("datatype", "payload"), [(None, b"16"), ("integer", b"16"), ("float", b"16.0")])
def test_a_limit_is_written_as_it_is_declared(datatype: str | None, payload: bytes) -> None:
    assert published(charger(None, "40", datatype), LIMIT, DRIVE, 16)[1] == payload


@pytest.mark.parametrize("datatype", ["string", "enum", "boolean", "json", "duration"])
@pytest.mark.parametrize("wanted", [16, "16", "99"], ids=repr)
def test_a_limit_declared_as_no_number_is_refused_for_nobody_holds_it_to_its_range(
    datatype: str, wanted: object
) -> None:
    assert refusal(charger(None, "40", datatype), LIMIT, DRIVE, wanted) is OUTSIDE


def test_a_limit_of_the_other_spelling_has_its_own_ceiling() -> None:
    panel = ChildPanel(house(DRIVE))
    declared = {"installer-max": {"datatype": "integer"}, "owner-limit": {"datatype": "integer", "settable": True}}
    panel.redescribe(DRIVE, nodes={"charge-limit": {"properties": declared}})
    panel.message(f"{DRIVE}/charge-limit/installer-max", "32")
    panel.message(f"{DRIVE}/config/max-charge-current", "40")
    assert published(panel, LIMIT, DRIVE, 32) == (f"{DRIVE}/charge-limit/owner-limit", b"32")
    assert refusal(panel, LIMIT, DRIVE, 33) is RANGE


def test_a_flat_limit_has_the_ceiling_that_the_charger_publishes() -> None:
    panel = FlatPanel()
    assert published(panel, LIMIT, FLAT_DRIVE, 48)[1] == b"48"
    panel.publish(FLAT_DRIVE, max_charge_current="40")
    assert refusal(panel, LIMIT, FLAT_DRIVE, 48) is RANGE
    assert refusal(panel, LIMIT, FLAT_DRIVE, -1) is RANGE
    assert published(panel, LIMIT, FLAT_DRIVE, 40)[1] == b"40"


# --- anything ---------------------------------------------------------------------------------------------------------

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.text(max_size=5, alphabet=st.characters(categories=["Cs", "Nd"])),
    st.binary(max_size=5),
    st.sampled_from(["OPEN", "CLOSED", "NEVER", "ON_GRID", "16", "true", "{}", "[1]"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
)
_DATATYPES = st.sampled_from([None, *Datatype])
_FORMATS = st.sampled_from([None, "6:48", "0:1:0.1", "OPEN,CLOSED", "ON,OFF", "rgb", '{"type":"object"}', "", ":", "7"])


@pytest.mark.slow
@given(_DATATYPES, _FORMATS, st.sampled_from([RELAY, PRIORITY, LIMIT, ISLANDING]), _VALUES)
def test_i9_whatever_is_declared_and_whatever_is_wanted_it_is_published_as_it_is_or_refused(
    datatype: str | None, form: str | None, control: Control, wanted: Any
) -> None:
    panel = ChildPanel(house(KITCHEN, DRIVE))
    device, path, subject = {
        RELAY: (KITCHEN, "switch__relay", KITCHEN),
        PRIORITY: (KITCHEN, "load_shed__priority", KITCHEN),
        LIMIT: (DRIVE, "config__user_max_charge_current", DRIVE),
        ISLANDING: (ROOT, "shed__asserted_islanding_state", ROOT),
    }[control]
    panel.redescribe(device, **{path: {"datatype": datatype, "format": form}})
    try:
        _, payload = published(panel, control, subject, wanted)
    except SpanPanelCommandError:
        return
    assert payload
    assert payload not in {b"UNKNOWN", b"NONE"}
    offered = find(panel, control, subject)
    value = decode_value(payload, Datatype(offered.datatype))
    if isinstance(wanted, (int, float)):
        assert value == wanted
        assert not isinstance(wanted, bool)
    elif control is not LIMIT:
        assert value == wanted
        assert payload.decode() in offered.choices
    json.dumps(str(offered))
