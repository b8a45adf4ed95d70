"""What a flat panel's core and lugs nodes say, and how large the panel is."""

import json
from typing import Any

import pytest

from span_trio.enums import (
    DominantPowerSource,
    DoorState,
    EvseStatus,
    GridState,
    LimitEnablement,
    LockState,
    RelativePosition,
    RelayRequester,
    RelayState,
    ShedPriority,
    VendorCloud,
)
from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.span.helpers import DRIVE, KITCHEN, ROOT, SMALL, FlatPanel, describe, look

# --- lugs -------------------------------------------------------------------------------------------------------------

LUG_VALUES = {"active-power": "1", "imported-energy": "2", "exported-energy": "3", "l1-current": "4", "l2-current": "5"}
UPSTREAM = (1.0, 2.0, 3.0, 4.0, 5.0)
NOBODY = (None,) * 5


def upstream(snapshot: SpanPanelSnapshot) -> tuple[float | None, ...]:
    return (
        snapshot.instant_grid_power_w,
        snapshot.main_meter_energy_consumed_wh,
        snapshot.main_meter_energy_produced_wh,
        snapshot.upstream_l1_current_a,
        snapshot.upstream_l2_current_a,
    )


def downstream(snapshot: SpanPanelSnapshot) -> tuple[float | None, ...]:
    return (
        snapshot.feedthrough_power_w,
        snapshot.feedthrough_energy_consumed_wh,
        snapshot.feedthrough_energy_produced_wh,
        snapshot.downstream_l1_current_a,
        snapshot.downstream_l2_current_a,
    )


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
@pytest.mark.parametrize(
    ("kind", "direction", "is_upstream", "is_downstream"),
    [
        ("lugs.upstream", None, True, False),
        ("lugs.downstream", None, False, True),
        ("lugs.upstream", "DOWNSTREAM", True, False),  # the type is the first authority
        ("lugs.downstream", "upstream", False, True),
        ("lugs", "UPSTREAM", True, False),
        ("lugs", "upstream", True, False),  # lesson docs#9: lower case on the wire until r202633
        ("lugs", "Downstream", False, True),
        ("lugs", None, False, False),  # lesson api 3.1.0: all six panel readings were fabricated together
        ("lugs", "SIDEWAYS", False, False),
        ("lugs", "", False, False),
    ],
)
def test_lugs_have_the_role_of_their_type_or_else_their_direction_or_else_none(
    bare: bool, kind: str, direction: str | None, is_upstream: bool, is_downstream: bool
) -> None:
    panel = FlatPanel({"x": kind}, bare=bare)
    if direction is not None:
        panel.message("x/direction", direction)
    snapshot = panel.publish("x", LUG_VALUES)
    assert upstream(snapshot) == (UPSTREAM if is_upstream else NOBODY)
    assert downstream(snapshot) == (UPSTREAM if is_downstream else NOBODY)


def test_lugs_lose_their_role_with_their_direction() -> None:
    panel = FlatPanel()
    panel.publish("lugs-upstream", direction="UPSTREAM")
    assert upstream(panel.publish("lugs-upstream", LUG_VALUES)) == UPSTREAM
    assert upstream(panel.publish("lugs-upstream", direction=b"")) == NOBODY


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_lugs_whose_type_tells_their_role_come_before_lugs_that_claim_it(order: tuple[str, str]) -> None:
    kinds = {"a": "lugs", "b": "lugs.upstream"}
    panel = FlatPanel({node: kinds[node] for node in order})
    panel.publish("a", direction="UPSTREAM", active_power="1")
    assert panel.publish("b", active_power="2").instant_grid_power_w == 2.0


def test_downstream_currents_are_those_of_the_service_entrance_as_published() -> None:
    # Lesson "downstream phase currents equal upstream": firmware repeats them on both lugs; said at the field.
    panel = FlatPanel()
    panel.publish("lugs-upstream", {"direction": "upstream", "l1-current": "17.98"})
    snapshot = panel.publish("lugs-downstream", {"direction": "downstream", "l1-current": "17.98"})
    assert snapshot.upstream_l1_current_a == snapshot.downstream_l1_current_a == 17.98


@pytest.mark.parametrize(
    ("firmware", "reliable"),
    [
        ("spanos2/r202603/05", False),
        ("spanos2/r202615/01", False),
        ("spanos2/r202620/99", False),
        ("spanos2/r202621/00", True),
        ("spanos2/r202627/05", True),
        ("sim/v1.0.11", True),  # not known to be older
        (None, True),
    ],
)
def test_feedthrough_is_none_where_the_firmware_is_known_to_be_older_than_r202621(
    firmware: str | None, reliable: bool
) -> None:  # lesson docs#13
    panel = FlatPanel({"core": "distribution-enclosure.core", "dn": "lugs.downstream", "up": "lugs.upstream"})
    panel.publish("up", LUG_VALUES)
    panel.publish("dn", LUG_VALUES)
    snapshot = panel.publish("core", {} if firmware is None else {"software-version": firmware})
    assert upstream(snapshot) == UPSTREAM
    assert downstream(snapshot) == (UPSTREAM if reliable else (None, None, None, 4.0, 5.0))


# --- the panel --------------------------------------------------------------------------------------------------------


def test_the_serial_number_is_the_published_one_or_else_the_device_id() -> None:
    panel = FlatPanel()
    assert panel.snapshot().serial_number == ROOT
    assert panel.publish("core", serial_number="nt-2143-C1AKC").serial_number == "nt-2143-C1AKC"
    assert panel.publish("core", serial_number="").serial_number == ROOT
    assert panel.publish("core", serial_number=b"\x00").serial_number == ROOT  # Homie's empty text


@pytest.mark.parametrize(
    ("cloud", "link"),
    [("CONNECTED", True), ("UNCONNECTED", False), ("UNKNOWN", False), ("RECONNECTING", False), ("", None)],
)
def test_the_cellular_link_is_up_while_the_vendors_cloud_is_connected(cloud: str, link: bool | None) -> None:
    assert FlatPanel().publish("core", vendor_cloud=cloud).wwan_link is link


def test_an_unknown_door_reads_unknown() -> None:  # until r202609 the door stays UNKNOWN until somebody moves it
    panel = FlatPanel()
    assert panel.snapshot().door_state is DoorState.UNKNOWN
    assert panel.publish("core", door="UNKNOWN").door_state is DoorState.UNKNOWN


@pytest.mark.parametrize(
    ("topic", "path", "member"),
    [
        ("core/relay", "main_relay_state", RelayState.OPEN),
        ("core/door", "door_state", DoorState.CLOSED),
        ("core/vendor-cloud", "vendor_cloud", VendorCloud.UNCONNECTED),
        ("core/dominant-power-source", "dominant_power_source", DominantPowerSource.GENERATOR),
        ("bess/grid-state", "grid_state", GridState.ON_GRID),
        (f"{KITCHEN}/relay", f"circuits.{KITCHEN}.relay_state", RelayState.CLOSED),
        (f"{KITCHEN}/relay/$target", f"circuits.{KITCHEN}.relay_state_target", RelayState.OPEN),
        (f"{KITCHEN}/relay-requester", f"circuits.{KITCHEN}.relay_requester", RelayRequester.PCS_FAIL_SAFE),
        (f"{KITCHEN}/shed-priority", f"circuits.{KITCHEN}.priority", ShedPriority.NEVER),
        (f"{KITCHEN}/shed-priority/$target", f"circuits.{KITCHEN}.priority_target", ShedPriority.OFF_GRID),
        ("pv/relative-position", "pv.relative_position", RelativePosition.IN_PANEL),
        (f"{DRIVE}/status", f"evse.{DRIVE}.status", EvseStatus.SUSPENDED_EVSE),  # not in r202627's format
        (f"{DRIVE}/lock-state", f"evse.{DRIVE}.lock_state", LockState.UNKNOWN),  # removed from the format by r202615
        ("pcs/grid-import-limit-enablement", "pcs.operator_import_limit_enablement", LimitEnablement.UNCONFIGURED),
    ],
)
def test_an_enum_field_holds_a_member_or_the_text_that_no_member_has(topic: str, path: str, member: Any) -> None:
    # Lesson "enum outside format" (docs#9): formats and values disagree, so the format of a reading is not enforced.
    panel = FlatPanel()
    panel.message(topic, member.value)
    assert look(panel.snapshot(), path.split(".")) is member
    panel.message(topic, "BRAND_NEW")
    text = look(panel.snapshot(), path.split("."))
    assert (type(text), text) == (str, "BRAND_NEW")
    assert type(member).of(text) is type(member).UNKNOWN
    panel.message(topic, b"")
    assert look(panel.snapshot(), path.split(".")) in {None, type(member).UNKNOWN}


@pytest.mark.parametrize(("declared", "model", "positions"), [
    ("1:32:1", None, range(1, 33)),
    ("1:40:1", "MAIN_32", range(1, 41)),  # the format before the model
    ("9:24:1", "MAIN_32", range(9, 25)),
    (None, "MAIN_16", range(9, 25)),
    (None, "MLO_24", range(1, 25)),
    (None, "MAIN_32", range(1, 33)),
    (None, "MAIN_40", range(9, 49)),
    (None, "MLO_48", range(1, 49)),
    (None, "MAIN_99", None),
    (None, "UNKNOWN", None),
    (None, None, None),
    ("1:", "MLO_24", range(1, 25)),
    (":0", None, None),
    ("1:32.5", None, None),
    ("1:-4", None, None),
])  # fmt: skip
def test_positions_are_in_the_format_of_space_or_else_in_the_model(
    declared: str | None, model: str | None, positions: range | None
) -> None:
    # Lesson api 2.2.3: never the highest occupied position. Those that nobody tells are None.
    space = {"datatype": "integer", **({} if declared is None else {"format": declared})}
    panel = FlatPanel(SMALL, circuit={"space": space})
    panel.publish("core", {} if model is None else {"model": model})
    snapshot = panel.publish(KITCHEN, space="12", dipole="true")
    told = (snapshot.panel_size, snapshot.first_position, snapshot.last_position)
    assert told == (None, None, None) if positions is None else (len(positions), positions[0], positions[-1])
    assert snapshot.unmapped_tabs == tuple(tab for tab in positions or () if tab not in {12, 14})
    assert panel.publish(KITCHEN, space="47").panel_size == snapshot.panel_size
    misplaced = tuple(tab for tab in (47, 49) if positions is not None and tab not in positions)
    assert panel.builder.positions.misplaced == misplaced


def test_of_circuits_that_declare_different_sizes_the_largest_is_the_panels() -> None:
    document = describe({"a": "circuit", "b": "circuit", "c": "circuit"})
    for node, size in {"a": 24, "b": 40, "c": 32}.items():
        document["nodes"][node]["properties"]["space"] = {"datatype": "integer", "format": f"1:{size}:1"}
    panel = FlatPanel({})
    panel.message("$description", json.dumps(document))
    assert panel.snapshot().panel_size == 40


def test_the_model_tells_the_size_when_it_comes_late() -> None:
    panel = FlatPanel(SMALL, bare=True)
    assert panel.publish(KITCHEN, space="31").panel_size is None
    snapshot = panel.publish("core", model="MLO_24")
    assert (snapshot.panel_size, snapshot.unmapped_tabs) == (24, tuple(range(1, 25)))


def test_a_size_beyond_any_panels_is_no_size() -> None:
    # I8: every position that no circuit occupies is listed, so that a size is memory.
    for size in ("1000000000", "1e300"):
        snapshot = FlatPanel(SMALL, circuit={"space": {"datatype": "integer", "format": f"1:{size}"}}).snapshot()
        assert (snapshot.panel_size, snapshot.unmapped_tabs) == (None, ())
