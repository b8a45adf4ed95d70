"""From decoded values to fields, and from the payloads of hostile peers to snapshots."""

from collections.abc import Callable
from typing import Any

import pytest

from span_trio.enums import DoorState, RelayState, VendorCloud
from span_trio.homie import Color, Fallback
from span_trio.snapshot import SpanCircuitSnapshot
from span_trio.span import FLAT
from span_trio.span.convert import flag, known, member, number, reference, text, whole
from tests.unit.span.helpers import DRIVE, KITCHEN, SMALL, FlatPanel

NO_NUMBERS: list[Any] = ["", "abc", "1,5", "0x10", "true", "NaN", "inf", "1_000", " 7.5 ", "\u0667", "1e400"]
NO_NUMBERS += [True, False, None, [1], {}]  # lesson panel.py: true was read as a threshold of 1 %
NO_FLAGS: list[Any] = ["", "True", "TRUE", "1", "maybe", 1, 0, 1.0, None, [], {}]
NO_TEXTS: list[Any] = [None, True, [], {}, Color("rgb", (1.0, 2.0, 3.0))]


@pytest.mark.parametrize(
    ("convert", "readable", "unreadable"),
    [
        (number, [(1.5, 1.5), (3, 3.0), ("7.5", 7.5), ("-0.0", 0.0)], NO_NUMBERS),
        # Lesson panel.py: an integer that was written as 3037.0 was dropped.
        (whole, [(3, 3), (3037.0, 3037), ("3037.0", 3037), ("15", 15)], [*NO_NUMBERS, 3.5, "3.5"]),
        # Lesson s1 1.1.1: by truthiness the text "false" was true.
        (flag, [(True, True), (False, False), ("true", True), ("false", False)], NO_FLAGS),
        (text, [("Kitchen", "Kitchen"), ("", ""), (42, "42"), (8.5, "8.5")], NO_TEXTS),
        (reference, [("770E-2DE5", "770e2de5"), ("c1", "c1")], ["", "-", None, 5, True]),
    ],
)
def test_a_value_becomes_what_the_field_holds_if_nothing_is_lost_by_that_or_else_nothing(
    convert: Callable[[Any], Any], readable: list[tuple[Any, Any]], unreadable: list[Any]
) -> None:
    expected = readable + [(value, None) for value in unreadable]
    assert [repr(convert(value)) for value, _ in expected] == [repr(wanted) for _, wanted in expected]


@pytest.mark.parametrize("value", ["", None, True, 1, 2.5, [], {}])
def test_what_is_no_text_is_no_member_and_reads_unknown_where_a_field_is_never_none(value: Any) -> None:
    assert member(RelayState)(value) is None
    assert known(RelayState)(value) is RelayState.UNKNOWN


@pytest.mark.parametrize("convert", [member(RelayState), known(RelayState)])
def test_a_known_text_becomes_its_member_and_another_stays(convert: Callable[[Any], Any]) -> None:
    assert convert("OPEN") is RelayState.OPEN
    assert (convert("open"), type(convert("open"))) == ("open", str)


# --- what peers publish (each row of the measured probes of other clients) --------------------------------------------

IN_FULL_OR_BARE = pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
FALLBACKS = pytest.mark.parametrize("fallback", [FLAT, {}], ids=["datatypes known", "datatypes unknown"])


def circuits_of(topic: str, good: str, payloads: list[Any], **options: Any) -> dict[Any, SpanCircuitSnapshot]:
    """By payload: the circuit of a panel that published it where a good one stood before."""
    circuits: dict[Any, SpanCircuitSnapshot] = {}
    for payload in payloads:
        panel = FlatPanel(SMALL, **options)
        panel.message(f"{KITCHEN}/{topic}", good)
        panel.message(f"{KITCHEN}/{topic}", payload)
        circuits[payload] = panel.snapshot().circuits[KITCHEN]
    return circuits


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_1_comma_5_and_0x10_and_true_as_float_are_none(bare: bool, fallback: Fallback) -> None:
    circuits = circuits_of("active-power", "7", ["1,5", "0x10", "true"], bare=bare, fallback=fallback)
    assert {payload: circuit.instant_power_w for payload, circuit in circuits.items()} == dict.fromkeys(circuits)


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_nan_inf_1e400_underscores_spaces_and_arabic_digits_as_float_are_none(
    bare: bool, fallback: Fallback
) -> None:
    payloads = [
        "NaN",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1_000",
        " 7.5 ",
        "\u0667\u066b\u0665",
        "\u0663",
        "+1",
        "1e+3",
        ".",
    ]
    circuits = circuits_of("exported-energy", "7", payloads, bare=bare, fallback=fallback)
    assert {payload: circuit.consumed_energy_wh for payload, circuit in circuits.items()} == dict.fromkeys(circuits)


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_relay_bogus_is_kept_as_text_and_unknown_for_decisions(bare: bool, fallback: Fallback) -> None:
    circuit = circuits_of("relay", "OPEN", ["BOGUS"], bare=bare, fallback=fallback)["BOGUS"]
    assert circuit.relay_state == "BOGUS"
    assert RelayState.of(circuit.relay_state) is RelayState.UNKNOWN


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_dipole_maybe_is_none_and_not_false(bare: bool, fallback: Fallback) -> None:
    assert circuits_of("dipole", "true", ["maybe"], bare=bare, fallback=fallback)["maybe"].is_240v is None


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_space_3_point_5_is_no_position(bare: bool, fallback: Fallback) -> None:
    circuits = circuits_of("space", "7", ["3.5", "0", "-1", "true", "9" * 30], bare=bare, fallback=fallback)
    assert {payload: circuit.tabs for payload, circuit in circuits.items()} == dict.fromkeys(circuits, ())


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_zero_length_payload_is_none_and_never_an_empty_text_or_zero(bare: bool, fallback: Fallback) -> None:
    panel = FlatPanel(SMALL, bare=bare, fallback=fallback)
    before = panel.snapshot()
    circuit = {"active-power": "7", "current": "7", "name": "A", "relay": "OPEN", "space": "7", "dipole": "true"}
    core = {
        "hardware-version": "A",
        "vendor-cloud": "CONNECTED",
        "ethernet": "true",
        "breaker-rating": "7",
        "door": "OPEN",
    }
    panel.publish(KITCHEN, circuit)
    assert len(list(panel.publish("core", core).changes(before))) > len(circuit) + len(core)  # all, and the computed
    panel.publish(KITCHEN, dict.fromkeys(circuit, b""))
    assert panel.publish("core", dict.fromkeys(core, b"")) == before


@IN_FULL_OR_BARE
def test_probe_0x00_byte_is_the_empty_text_and_nothing_where_no_text_is(bare: bool) -> None:
    panel = FlatPanel(SMALL, bare=bare)
    for topic in ("core/hardware-version", "core/vendor-cloud", "core/door", "core/l1-voltage", "core/ethernet"):
        panel.message(topic, b"\x00")
    snapshot = panel.snapshot()
    assert snapshot.hardware_version == ""  # Homie's way to say so: it was published
    assert (snapshot.vendor_cloud, snapshot.l1_voltage, snapshot.eth0_link) == (None, None, None)
    assert snapshot.door_state is DoorState.UNKNOWN


@IN_FULL_OR_BARE
@FALLBACKS
def test_probe_non_utf_8_is_none_and_no_replacement_characters(bare: bool, fallback: Fallback) -> None:
    for topic in ("name", "relay", "shed-priority", "relay/$target"):
        circuits = circuits_of(topic, "NEVER", [b"\xff\xfe", b"Caf\xe9", b"\xc3"], bare=bare, fallback=fallback)
        assert {circuit.name for circuit in circuits.values()} == {None}
        assert {(circuit.relay_state, circuit.priority) for circuit in circuits.values()} == {("UNKNOWN", "UNKNOWN")}
        assert {circuit.relay_state_target for circuit in circuits.values()} == {None}


def test_probe_one_circuit_name_never_comes_and_nobody_waits_for_it() -> None:
    snapshot = FlatPanel(SMALL).publish(KITCHEN, relay="OPEN")
    assert (snapshot.circuits[KITCHEN].name, snapshot.circuits[KITCHEN].relay_state) == (None, RelayState.OPEN)


def test_the_text_null_in_parentheses_is_no_number() -> None:
    # Lesson "(null)": that is how tools print a zero-length payload; should a panel publish the text, it is no reading.
    panel = FlatPanel(SMALL)
    snapshot = panel.publish(KITCHEN, active_power="(null)", relay="(null)", always_on="(null)")
    circuit = snapshot.circuits[KITCHEN]
    assert (circuit.instant_power_w, circuit.always_on) == (None, None)
    assert RelayState.of(circuit.relay_state) is RelayState.UNKNOWN


# --- declarations that differ from the field --------------------------------------------------------------------------


def test_values_that_an_odd_publisher_declares_as_text_are_read_as_what_they_are() -> None:
    as_text = {name: {"datatype": "string"} for name in ("active-power", "breaker-rating", "dipole", "relay", "space")}
    circuit = FlatPanel(circuit=as_text).publish(
        KITCHEN, active_power="-7.5", breaker_rating="15", dipole="true", relay="OPEN", space="3"
    )
    shown = circuit.circuits[KITCHEN]
    assert (shown.instant_power_w, shown.breaker_rating_a, shown.is_240v) == (7.5, 15, True)
    assert (shown.relay_state, shown.tabs) == (RelayState.OPEN, (3, 5))


def test_values_that_an_odd_publisher_declares_as_numbers_are_converted_if_nothing_is_lost() -> None:
    panel = FlatPanel(
        circuit={"active-power": {"datatype": "integer"}, "breaker-rating": {"datatype": "float"}},
        evse={"serial-number": {"datatype": "integer"}},
    )
    snapshot = panel.publish(KITCHEN, active_power="-7", breaker_rating="15.0")
    assert (snapshot.circuits[KITCHEN].instant_power_w, snapshot.circuits[KITCHEN].breaker_rating_a) == (7.0, 15)
    assert panel.publish(DRIVE, serial_number="42").evse["42"].serial_number == "42"


def test_an_enum_that_an_odd_publisher_declares_as_a_number_reads_nothing() -> None:
    panel = FlatPanel(circuit={"relay": {"datatype": "integer"}})
    assert panel.publish(KITCHEN, relay="1").circuits[KITCHEN].relay_state is RelayState.UNKNOWN


def test_a_property_that_is_declared_not_retained_is_an_event_and_never_shows() -> None:
    panel = FlatPanel(circuit={"current": {"datatype": "float", "retained": False}})
    assert panel.publish(KITCHEN, current="5").circuits[KITCHEN].current_a is None


def test_a_property_that_the_description_leaves_out_does_not_show() -> None:
    # With a `properties` key, the declaration is authoritative; a bare node accepts every property.
    described = {"datatype": "no such datatype"}  # costs the declaration
    assert FlatPanel(circuit={"current": described}).publish(KITCHEN, current="5").circuits[KITCHEN].current_a is None
    assert FlatPanel(bare=True).publish(KITCHEN, current="5").circuits[KITCHEN].current_a == 5.0


def test_an_enum_in_lower_case_is_not_the_member() -> None:
    # Only directions are compared in any case: those firmware is known to publish so.
    snapshot = FlatPanel().publish("core", vendor_cloud="connected")
    assert (snapshot.vendor_cloud, snapshot.wwan_link) == ("connected", False)
    assert VendorCloud.of(snapshot.vendor_cloud) is VendorCloud.UNKNOWN
