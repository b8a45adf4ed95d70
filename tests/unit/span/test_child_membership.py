"""Whose circuit it is (I13): nothing of another panel's devices gets into a snapshot, whatever ids they share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from span_trio import PanelOptions, SpanPanelStaleDataError
from span_trio.enums import ConnectionReason
from span_trio.homie import Message
from span_trio.recording import Played, Recorded, find_panel, play, read_recording
from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.span.child_helpers import ChildPanel, Life, full_house
from tests.unit.span.child_house import BESS, DRIVE, HOUSE, KITCHEN, MID, PV, ROOT, UP, describe

OTHER = "xg-0000-barn"


def circuit(root: str | None, name: str, power: str) -> dict[str, str]:
    fields = {} if root is None else {"root": root, "parent": root}
    return {
        "$state": "ready",
        "$description": json.dumps({**describe("circuit"), **fields}),
        "info/name": name,
        "meter/active-power": power,
    }


def panel(root: str, name: str, power: str, *circuits: str, names_root: bool = True) -> dict[str, str]:
    """What a panel publishes, its circuits before it."""
    said = {
        f"{device}/{tail}": payload
        for device in circuits
        for tail, payload in circuit(root if names_root else None, f"{name} {device}", power).items()
    }
    described = json.dumps(describe("distribution-enclosure", children=circuits))
    return said | {
        f"{root}/$state": "ready",
        f"{root}/$description": described,
        f"{root}/info/data-model-version": "1.0",
        f"{root}/info/model": "MLO_48",
    }


OURS = panel(ROOT, "our", "-100", "circuit-1", "circuit-2")
THEIRS = panel(OTHER, "their", "-666", "circuit-1", "circuit-2", "circuit-3")


def recorded(*said: Mapping[str, str], retain: bool = True, t: float = 0.0) -> list[Recorded]:
    return [
        Recorded(t, Message(f"ebus/5/{tail}", payload.encode(), retain))
        for each in said
        for tail, payload in each.items()
    ]


def played(recording: list[Recorded], root: str = ROOT) -> list[Played]:
    return list(play(recording, root, PanelOptions(snapshot_interval=0)))


def everything(snapshot: SpanPanelSnapshot) -> str:
    return json.dumps(snapshot.to_dict(), default=str)


# --- two panels with the same ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)])
@pytest.mark.parametrize("root", [ROOT, OTHER])
def test_of_two_panels_with_the_same_circuits_neither_is_live_and_each_says_why(
    order: tuple[dict[str, str], dict[str, str]], root: str
) -> None:
    with pytest.raises(SpanPanelStaleDataError, match="circuit-1") as caught:
        played(recorded(*order), root)
    assert caught.value.reason is ConnectionReason.CONFLICT
    assert ({ROOT, OTHER} - {root}).pop() in str(caught.value)


def test_bare_publishers_with_the_same_circuits_are_no_better_off() -> None:
    bare = [panel(root, name, "1", "circuit-1", names_root=False) for root, name in ((ROOT, "our"), (OTHER, "their"))]
    with pytest.raises(SpanPanelStaleDataError) as caught:
        played(recorded(*bare))
    assert caught.value.reason is ConnectionReason.CONFLICT


def test_a_bare_publisher_alone_is_as_it_was() -> None:
    (*_, last) = played(recorded(panel(ROOT, "our", "-100", "circuit-1", names_root=False)))
    assert isinstance(last.what, SpanPanelSnapshot)
    assert [circuit.name for circuit in last.what.circuits.values()] == ["our circuit-1"]


def test_two_panels_with_ids_of_their_own_are_both_right() -> None:
    both = recorded(OURS, panel(OTHER, "their", "-666", "circuit-8", "circuit-9"))
    for root, name, power in ((ROOT, "our", 100.0), (OTHER, "their", 666.0)):
        (*_, last) = played(both, root)
        assert isinstance(last.what, SpanPanelSnapshot)
        assert {circuit.instant_power_w for circuit in last.what.circuits.values()} == {power}
        assert all((circuit.name or "").startswith(name) for circuit in last.what.circuits.values())


def test_a_panel_that_comes_later_takes_ours_down_and_nothing_of_it_is_shown() -> None:
    later = recorded(THEIRS, retain=False, t=5.0)
    seen: list[Any] = []
    told = play([*recorded(OURS), *later], ROOT, PanelOptions(snapshot_interval=0))
    with pytest.raises(SpanPanelStaleDataError):
        seen.extend(each.what for each in told)
    snapshots = [what for what in seen if isinstance(what, SpanPanelSnapshot)]
    assert snapshots
    assert not [snapshot for snapshot in snapshots if "their" in everything(snapshot) or "666" in everything(snapshot)]
    edges = [what for what in seen if not isinstance(what, SpanPanelSnapshot)]
    assert [(edge.online, edge.reason) for edge in edges] == [
        (True, ConnectionReason.LIVE),
        (False, ConnectionReason.CONFLICT),
    ]


def test_when_the_other_panel_has_cleared_its_tree_ours_is_live_with_its_own() -> None:
    life = Life({**THEIRS, **OURS})
    life.connect()
    assert life.obstacle == f"conflicting devices: {OTHER} has circuit-1, circuit-2, too"
    life.publish(dict.fromkeys(THEIRS, ""))
    life.publish(OURS)
    assert life.edges() == ["online"]
    assert {circuit.name for circuit in life.look().circuits.values()} == {"our circuit-1", "our circuit-2"}
    assert life.look() == life.from_scratch()


def test_that_there_are_two_panels_in_a_recording_is_told() -> None:
    assert find_panel(recorded(OURS)) == ROOT


# --- a child that names another root ----------------------------------------------------------------------------------


def test_what_a_description_of_another_root_brought_is_not_ours_when_it_flips_back() -> None:
    life = Life(OURS)
    life.connect()
    theirs = {f"circuit-1/{tail}": payload for tail, payload in circuit(OTHER, "their", "-666").items()}
    life.publish(theirs)
    life.publish({"circuit-1/$description": OURS["circuit-1/$description"]})
    life.wait(10.0)
    snapshot = life.look()
    assert "their" not in everything(snapshot)
    assert (len(snapshot.circuits), snapshot.pending_devices) == (1, ("circuit-1",))

    life.publish({f"{OTHER}/$description": ""})
    found = next(each for each in life.look().circuits.values() if each.name != "our circuit-2")
    assert (found.name, found.instant_power_w) == (None, None)
    life.publish({"circuit-1/$state": "ready", "circuit-1/info/name": "ours", "circuit-1/meter/active-power": "-5"})
    found = next(each for each in life.look().circuits.values() if each.name != "our circuit-2")
    assert (found.name, found.instant_power_w) == ("ours", 5.0)


@pytest.mark.parametrize("device", [UP, KITCHEN, BESS, MID, PV, DRIVE])
def test_a_device_of_any_kind_that_names_another_root_is_in_no_part_of_a_snapshot(device: str) -> None:
    bench = full_house()
    bench.redescribe(device, parent=OTHER)
    assert device in bench.forest.members(ROOT)  # what counts is the root
    kind = HOUSE[device][0]
    bench.message(f"{device}/$description", json.dumps({**describe(kind), "root": OTHER, "parent": OTHER}))
    snapshot = bench.snapshot()
    assert device not in bench.forest.members(ROOT)
    assert device not in {each.device_id for each in snapshot.adopted_devices}
    assert device not in snapshot.away_devices
    assert device.replace("-", "") not in {circuit.replace("-", "") for circuit in snapshot.circuits}
    assert (snapshot.battery is None) is (device == BESS)
    assert snapshot == bench.from_scratch()


def test_a_grandchild_that_names_its_parent_as_root_is_none_of_ours() -> None:
    bench = ChildPanel({ROOT: HOUSE[ROOT], BESS: HOUSE[BESS], MID: HOUSE[MID]})
    assert bench.snapshot().mid is not None
    bench.message(f"{MID}/$description", json.dumps({**describe("mid"), "root": BESS, "parent": BESS}))
    assert bench.snapshot().mid is None


def test_a_panel_that_another_one_lists_stays_a_panel_of_its_own() -> None:
    """A chain of panels: what feeds what is no kinship."""
    said = panel(ROOT, "our", "-100", "circuit-1", OTHER)
    other = panel(OTHER, "their", "-666", "circuit-8")
    said = {tail: payload for tail, payload in said.items() if not tail.startswith(f"{OTHER}/")}
    life = Life({**said, **other})
    life.connect()
    life.wait(15.0)
    snapshot = life.look()
    assert [circuit.name for circuit in snapshot.circuits.values()] == ["our circuit-1"]
    assert snapshot.pending_devices == (OTHER,)
    assert snapshot.adopted_devices == ()


def test_what_is_overheard_of_others_is_no_message_of_the_panel() -> None:
    life = Life(OURS)
    life.connect()
    before = life.tracker.messages
    assert before == len(OURS)
    heard_at = life.tracker.heard_at

    life.now += 5.0
    life.publish(panel(OTHER, "their", "-666", "circuit-8"))
    assert (life.tracker.messages, life.tracker.heard_at) == (before, heard_at)
    life.publish({"circuit-1/meter/active-power": "-5"})
    assert (life.tracker.messages, life.tracker.heard_at) == (before + 1, life.at)


# --- two real houses --------------------------------------------------------------------------------------------------

HERE = Path(__file__).parents[2] / "captures"


def captured(name: str) -> list[Recorded]:
    with (HERE / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return list(read_recording(lines))


PAIRS = {("gen3-a", "gen3-b"): "remote-ct-3", ("gen3-a", "gen3-d"): "circuit-", ("gen3-b", "gen3-d"): None}
"""Two houses, and what ids they have in common."""


@pytest.mark.parametrize(("names", "common"), PAIRS.items())
def test_two_recorded_panels_on_one_broker_are_in_conflict_where_they_have_an_id_in_common(
    names: tuple[str, str], common: str | None
) -> None:
    one, other = map(captured, names)
    both = sorted([*one, *other], key=lambda recorded: recorded.t)
    for ours, theirs in ((one, other), (other, one)):
        root = find_panel(ours)
        wanted = played(ours, root)[-1].what
        assert isinstance(wanted, SpanPanelSnapshot)
        assert wanted.pending_devices == ()
        if common is None:
            assert played(both, root)[-1].what == wanted
            continue
        with pytest.raises(SpanPanelStaleDataError, match=f"{find_panel(theirs)} has .*{common}.*, too") as caught:
            played(both, root)
        assert caught.value.reason is ConnectionReason.CONFLICT


@pytest.mark.parametrize("names", [("gen3-a", "gen3-b"), ("gen3-d", "gen3-a")])
def test_two_recorded_panels_behind_prefixes_are_as_each_is_alone(names: tuple[str, str]) -> None:
    alone = dict(zip(("kitchen/ebus", "ebus-garage"), map(captured, names), strict=True))
    both = [
        recorded._replace(message=recorded.message._replace(topic=domain + recorded.message.topic.removeprefix("ebus")))
        for domain, recording in alone.items()
        for recorded in recording
    ]
    for domain, recording in alone.items():
        root = find_panel(recording)
        (*_, wanted) = played(recording, root)
        (*_, found) = play(both, root, PanelOptions(snapshot_interval=0, domain=domain))
        assert found.what == wanted.what
