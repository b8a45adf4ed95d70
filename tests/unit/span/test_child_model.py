"""Which data model a panel publishes: told by its tree, refused where it cannot be told, and changed in mid-life."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from span_trio.homie import Forest, Message
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FALLBACK, DataModel, Version, data_model
from tests.unit.span import helpers as flat
from tests.unit.span.child_helpers import Life
from tests.unit.span.child_house import HOUSE, KITCHEN, PANEL, ROOT, describe, full_house_retained

FLAT_HOUSE = {
    f"{ROOT}/$state": "ready",
    f"{ROOT}/$description": json.dumps(flat.describe(flat.HOUSE)),
    **{f"{ROOT}/{line.topic}": line.payload for line in flat.VALUES},
    f"{ROOT}/lugs-upstream/direction": "UPSTREAM",
    f"{ROOT}/lugs-downstream/direction": "DOWNSTREAM",
}
assert ROOT == flat.ROOT
assert KITCHEN == flat.KITCHEN


def forest_of(messages: Mapping[str, str | bytes]) -> Forest:
    forest = Forest("ebus", fallback=FALLBACK)
    forest.pin(ROOT)
    for tail, payload in messages.items():
        data = payload.encode() if isinstance(payload, str) else payload
        forest.absorb(Message(f"ebus/5/{tail}", data), 0.0)
    return forest


def version_of(text: str | bytes, **options: Any) -> tuple[DataModel, bool]:
    description = json.dumps(describe(PANEL, **options))
    forest = forest_of({f"{ROOT}/$description": description, f"{ROOT}/info/data-model-version": text})
    version = data_model(forest, ROOT)
    if version.model in {DataModel.PARENT_CHILD, DataModel.REFUSED}:
        data = text if isinstance(text, bytes) else text.encode()
        assert version.text == data.decode(errors="replace")
    else:
        assert version.text is None
    return version.model, version.odd


# --- told by the version ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
@pytest.mark.parametrize("text", ["1.0", "1.1", "1.99", "1.0.0", "1.2.34", "1.123456789012345678901234567890"])
def test_a_version_of_major_1_is_understood(text: str, bare: bool) -> None:
    assert version_of(text, bare=bare) == (DataModel.PARENT_CHILD, False)


@pytest.mark.parametrize("text", ["1", "1.", "1.0-rc1", "1.x", "1.0.0.0", "1.0 ", "1..0"])
def test_an_odd_form_of_a_readable_major_is_understood_and_reported(text: str) -> None:
    assert version_of(text) == (DataModel.PARENT_CHILD, True)


UNREADABLE: list[str | bytes] = [
    *(
        "v1.0",
        " 1.0",
        "one",
        "null",
        "-1.0",
        "+1.0",
        "1,0",
        "1e0",
        ".1",
        "\t",
        "\x00",
        '"1.0"',
        "\u0661.\u0660",
        "1.0\n1.0",
    ),
    *(b"\xff", b"1.0\xff"[::-1], b"\x00\x01"),
]


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
@pytest.mark.parametrize("text", UNREADABLE, ids=ascii)
def test_lesson_c_an_unreadable_version_is_refused_and_never_taken_for_flat(text: str | bytes, bare: bool) -> None:
    assert version_of(text, bare=bare) == (DataModel.REFUSED, False)


@pytest.mark.parametrize(
    "text",
    ["2.0", "0.9", "10.0", "11", "100000000.0", "1" * 10, "1" * 5000, "9" * 5000 + ".0", "2"],
    ids=lambda text: f"{text[:4]}-{len(text)}",
)
def test_another_major_is_refused(text: str) -> None:
    assert version_of(text) == (DataModel.REFUSED, False)


def test_a_version_that_is_declared_and_not_published_is_awaited() -> None:
    assert version_of("") == (DataModel.AWAITED, False)
    assert data_model(forest_of({f"{ROOT}/$description": json.dumps(describe(PANEL))}), ROOT).model is DataModel.AWAITED


INFO = "energy.ebus.device.distribution-enclosure.info"


@pytest.mark.parametrize(
    ("node", "model"),
    [
        ({"type": "energy.ebus.capability.info"}, DataModel.AWAITED),
        ({"type": INFO}, DataModel.FLAT),
        ({}, DataModel.FLAT),
        ({"type": "energy.ebus.capability.info", "properties": {}}, DataModel.FLAT),
        ({"type": "energy.ebus.capability.info", "properties": {"model": {"datatype": "enum"}}}, DataModel.FLAT),
        ({"type": INFO, "properties": {"data-model-version": {"datatype": "string"}}}, DataModel.AWAITED),
    ],
    ids=["bare, of 1.x", "bare, of another type", "bare, of none", "empty", "without a version", "with a version"],
)
def test_a_version_without_a_value_is_awaited_only_where_one_is_expected(
    node: dict[str, Any], model: DataModel
) -> None:
    forest = forest_of({f"{ROOT}/$description": json.dumps({"nodes": {"info": node}})})
    assert data_model(forest, ROOT) == (model, None, False)


@pytest.mark.parametrize("bare", [False, True], ids=["described in full", "bare"])
def test_a_panel_without_an_info_node_is_flat(bare: bool) -> None:
    forest = forest_of({f"{ROOT}/$description": json.dumps(flat.describe(flat.HOUSE, bare=bare))})
    assert data_model(forest, ROOT) == (DataModel.FLAT, None, False)


@pytest.mark.parametrize("text", ["1.0", "2.0", "rubbish", b"\xff"])
def test_a_flat_panel_stays_flat_whatever_another_firmware_has_left_behind(text: str | bytes) -> None:
    """Back from 1.x: its topics are still retained."""
    left_over = {**full_house_retained(), f"{ROOT}/info/data-model-version": text}
    assert data_model(forest_of({**left_over, **FLAT_HOUSE}), ROOT).model is DataModel.FLAT
    assert data_model(forest_of({**FLAT_HOUSE, **dict.fromkeys(left_over, "1.0"), **FLAT_HOUSE}), ROOT)[0] is (
        DataModel.FLAT
    )


def test_a_1_x_panel_is_one_whatever_flat_topics_are_left_behind() -> None:
    assert data_model(forest_of({**FLAT_HOUSE, **full_house_retained()}), ROOT).model is DataModel.PARENT_CHILD


def test_an_info_node_that_declares_no_version_is_none_of_1_x() -> None:
    assert version_of("1.0", info__data_model_version=None) == (DataModel.FLAT, False)


def test_a_panel_that_is_not_described_yet_is_nothing_yet() -> None:
    assert data_model(forest_of({f"{ROOT}/info/data-model-version": "7.0"}), ROOT).model is DataModel.FLAT


# --- and what a panel makes of it -------------------------------------------------------------------------------------


def live(retained: Mapping[str, str | bytes], **options: Any) -> Life:
    life = Life(retained, **options)
    life.connect()
    return life


def test_a_panel_of_either_kind_is_read_by_its_own_model() -> None:
    for retained, model in ((FLAT_HOUSE, DataModel.FLAT), (full_house_retained(), DataModel.PARENT_CHILD)):
        life = live(retained)
        assert life.edges() == ["online"]
        snapshot = life.look()
        assert life.tracker.version.model is model
        assert snapshot.circuits[KITCHEN].instant_power_w == 151.5


@pytest.mark.parametrize("text", ["2.0", "rubbish", b"\xff"], ids=ascii)
def test_lesson_c_a_refused_panel_is_not_live_and_says_why(text: str | bytes) -> None:
    life = live({**full_house_retained(), f"{ROOT}/info/data-model-version": text})
    shown = text if isinstance(text, str) else "�"
    assert life.edges() == []
    assert life.obstacle == f"data model: version {shown!r}"
    life.wait(1e6)
    assert not life.live
    life.publish({f"{ROOT}/info/data-model-version": "1.0"})
    assert life.edges() == ["online"]
    assert life.look().panel_size == 32


def test_a_declared_version_is_waited_for_without_a_limit_and_named() -> None:
    life = live({**full_house_retained(), f"{ROOT}/info/data-model-version": ""} | {})
    del life.retained[f"{ROOT}/info/data-model-version"]
    assert life.obstacle == f"pending device: data-model-version of {ROOT}"
    assert life.tracker.tree.missing() == (f"pending device: data-model-version of {ROOT}",)
    life.wait(1e6)
    assert life.edges() == []
    life.publish({f"{ROOT}/info/data-model-version": "1.0"})
    assert life.edges() == ["online"]


# --- changed in mid-life ----------------------------------------------------------------------------------------------

UPGRADED = full_house_retained()
STATES = {f"{device}/$state": "ready" for device in HOUSE}


def restart(life: Life, before: str, firmware: Mapping[str, str], *, clean: bool) -> list[SpanPanelSnapshot]:
    """The panel goes (`before` is its last word), comes back with another firmware; every snapshot on the way."""
    snapshots: list[SpanPanelSnapshot] = []
    life.publish({f"{ROOT}/$state": before})
    life.wait(60.0)
    if clean:
        life.publish({tail: "" for tail in life.retained if tail not in firmware and not tail.endswith("/$state")})
        life.publish({tail: "" for tail in life.retained if tail not in firmware})
    order = sorted(firmware, key=lambda tail: (not tail.endswith("$description"), tail))
    life.publish({f"{ROOT}/$state": "init"})
    for tail in order:
        if tail != f"{ROOT}/$state":
            life.publish({tail: firmware[tail]})
            if life.live:
                snapshots.append(life.look())
    life.publish({f"{ROOT}/$state": "ready"})
    life.wait(2.0)
    assert life.live, life.obstacle
    return [*snapshots, life.look()]


@pytest.mark.parametrize("clean", [True, False], ids=["old topics cleared", "old topics left behind"])
@pytest.mark.parametrize("before", ["init", "lost", "disconnected"])
def test_an_upgrade_within_one_epoch_passes_through_offline_with_the_right_meaning(before: str, clean: bool) -> None:
    life = live(FLAT_HOUSE)
    flat_before = life.look()
    life.edges()

    (upgraded,) = restart(life, before, UPGRADED, clean=clean)

    assert life.edges() == [f"device state: {before}", "online"]
    assert life.tracker.version == Version(DataModel.PARENT_CHILD, "1.0", odd=False)
    assert upgraded == live(UPGRADED).look()  # nothing of the old meaning is left
    assert upgraded.circuits.keys() == flat_before.circuits.keys()
    assert upgraded.serial_number == flat_before.serial_number
    assert upgraded.epoch == flat_before.epoch

    (back,) = restart(life, before, FLAT_HOUSE, clean=clean)
    assert life.edges() == [f"device state: {before}", "online"]
    assert back == flat_before
    assert life.tracker.version.model is DataModel.FLAT


@pytest.mark.parametrize("left", [{}, FLAT_HOUSE], ids=["old topics cleared", "old topics left behind"])
def test_an_upgrade_over_an_epoch_has_the_right_meaning_and_the_same_circuits(left: Mapping[str, str]) -> None:
    life = live(FLAT_HOUSE)
    before = life.look()
    life.disconnect()
    life.retained = {**left, **UPGRADED}
    life.wait(300.0)
    life.connect()
    assert life.edges() == ["online", "link lost: reset by peer", "online"]
    after = life.look()
    assert after == live(UPGRADED).look()
    assert (after.circuits.keys(), after.epoch) == (before.circuits.keys(), 2)

    life.disconnect()
    life.retained = {**UPGRADED, **FLAT_HOUSE} if left else dict(FLAT_HOUSE)
    life.connect()
    assert life.look() == before


@pytest.mark.parametrize("version_at", ["first", "last"])
def test_no_snapshot_of_an_upgrade_is_read_by_the_old_model(version_at: str) -> None:
    """An init that is skipped, the version before or behind everything else: never a mixture."""
    life = live(FLAT_HOUSE)
    life.edges()
    version = {f"{ROOT}/info/data-model-version": "1.0"}
    rest = {tail: payload for tail, payload in UPGRADED.items() if tail not in version and tail not in STATES}
    described = {tail: payload for tail, payload in rest.items() if tail.endswith("$description")}
    before = version if version_at == "first" else {}
    upgraded = False
    for tail, payload in {**before, **described, **rest, **STATES}.items():
        life.publish({tail: payload})
        upgraded = upgraded or tail == f"{ROOT}/$description"
        assert not (upgraded and life.live) or before
        if life.live:
            life.look()
            assert (life.tracker.version.model is DataModel.PARENT_CHILD) is upgraded
    if version_at == "last":
        assert life.obstacle == f"pending device: data-model-version of {ROOT}"
        life.publish(version)
    life.wait(2.0)
    assert life.look() == live(UPGRADED).look()


def test_an_upgrade_to_a_data_model_that_is_not_known_is_refused() -> None:
    life = live(UPGRADED)
    life.edges()
    life.publish({f"{ROOT}/$state": "disconnected"})
    life.publish({f"{ROOT}/info/data-model-version": "2.0", f"{ROOT}/$state": "ready"})
    life.wait(2.0)
    assert life.obstacle == "data model: version '2.0'"
    assert life.edges() == ["device state: disconnected"]


def test_a_version_that_changes_without_a_state_is_refused_too() -> None:
    life = live(UPGRADED)
    life.publish({f"{ROOT}/info/data-model-version": "2.0"})
    assert life.obstacle == "data model: version '2.0'"


def test_lesson_c_no_refused_panel_is_ever_read_by_the_flat_builder() -> None:
    life = live(UPGRADED)
    life.look()
    life.publish({f"{ROOT}/info/data-model-version": "2.0"})
    life.publish({f"{ROOT}/$alert/hot": "Too hot"})
    assert not life.live or life.look().circuits
