"""Captures of real panels, against an oracle of a few lines: frames, positions, roles, sharing; and nothing is hidden.

The oracle reads the dump itself: the last payload of each topic, and what each description declares.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from span_trio import SpanCircuitSnapshot, SpanPanelSnapshot, group_by_meter
from span_trio.options import PanelOptions
from span_trio.recording import find_panel, play, read_recording

HERE = Path(__file__).parents[2] / "captures"
NAMES = ("gen3-a", "gen3-b", "gen3-d", "main32-r202633", "main32-r202639-upstream-pv")
POSITIONS = {"MAIN_16": (9, 24), "MLO_24": (1, 24), "MAIN_32": (1, 32), "MAIN_40": (9, 48), "MLO_48": (1, 48)}
PRIVATE = {
    *("info/name", "info/address-lines", "info/locality", "info/region", "info/country-code", "info/latitude"),
    *("info/longitude", "info/utility-meter-serial-number", "status/wifi-ssid", "status/postal-code"),
}


class Dump(NamedTuple):
    """What a broker had of one panel."""

    root: str
    values: Mapping[str, Mapping[str, str]]
    """Device -> ``node/property`` -> payload."""
    descriptions: Mapping[str, Mapping[str, Any]]
    snapshot: SpanPanelSnapshot

    @property
    def circuits(self) -> list[str]:
        return [name for name, said in self.descriptions.items() if said.get("type", "").endswith(".circuit")]

    def declares(self, device: str, node: str, name: str) -> bool:
        return name in self.descriptions[device]["nodes"].get(node, {}).get("properties", {})

    def number(self, device: str, path: str) -> float | None:
        payload = self.values[device].get(path)
        return None if payload is None else float(payload)


@functools.cache
def dump(name: str) -> Dump:
    recording = list(read_recording((HERE / f"{name}.jsonl").read_text().splitlines()))
    values: dict[str, dict[str, str]] = {}
    descriptions: dict[str, dict[str, Any]] = {}
    for recorded in recording:
        _, _, device, path = recorded.message.topic.split("/", 3)
        text = recorded.message.payload.decode()
        if path == "$description":
            descriptions[device] = json.loads(text)
        elif not path.startswith("$"):
            values.setdefault(device, {})[path] = text
    root = find_panel(recording)
    *_, last = play(recording, root, PanelOptions())
    assert isinstance(last.what, SpanPanelSnapshot)
    return Dump(root, values, descriptions, last.what)


def negative(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


@pytest.mark.parametrize("name", NAMES)
def test_each_circuit_reads_in_the_frame_that_its_device_declares(name: str) -> None:
    found = dump(name)
    assert found.circuits
    assert sorted(found.snapshot.circuits) == sorted(found.circuits)  # ids as published
    for device in found.circuits:
        circuit = found.snapshot.circuits[device]
        outside = not found.declares(device, "info", "spaces")
        power, imported, exported = (
            found.number(device, f"meter/{name}") for name in ("active-power", "imported-energy", "exported-energy")
        )
        assert circuit.measures_outside_panel is outside
        assert circuit.instant_power_w == (power if outside else negative(power))
        consumed_and_produced = (imported, exported) if outside else (exported, imported)
        assert (circuit.consumed_energy_wh, circuit.produced_energy_wh) == consumed_and_produced


@pytest.mark.parametrize("name", NAMES)
def test_positions_are_those_of_the_model_and_free_ones_exist(name: str) -> None:
    found = dump(name)
    model = found.values[found.root].get("info/model")
    snapshot = found.snapshot
    taken: set[int] = set()
    for device in found.circuits:
        spaces = found.values[device].get("info/spaces", "")
        tabs = tuple(int(each) for each in spaces.split(",") if each)
        assert snapshot.circuits[device].tabs == tabs
        taken.update(tabs)
    if model not in POSITIONS:
        assert (snapshot.model, snapshot.panel_size, snapshot.first_position, snapshot.unmapped_tabs) == (
            *(None, None, None),
            (),
        )
        return
    first, last = POSITIONS[model]
    assert (snapshot.model, snapshot.first_position, snapshot.last_position) == (model, first, last)
    assert snapshot.panel_size == last - first + 1
    assert snapshot.unmapped_tabs == tuple(tab for tab in range(first, last + 1) if tab not in taken)


@pytest.mark.parametrize("name", NAMES)
def test_roles_and_shared_hardware_are_as_published(name: str) -> None:
    found = dump(name)
    for device in found.circuits:
        circuit, said = found.snapshot.circuits[device], found.values[device]
        assert circuit.feeds_role == said.get("connection/feeds-role")
        for node, shared in (("meter", circuit.meter_shared_with), ("switch", circuit.relay_shared_with)):
            ids = said.get(f"{node}/shared-with-device-ids")
            assert (shared or ()) == tuple(each for each in (ids or "").split(",") if each)
        fed = found.descriptions.get(said.get("connection/feeds-device-id", ""), {}).get("type", "")
        expected = {"pv": "pv", "evse": "evse"}.get(fed.rpartition(".")[2], "circuit")
        assert circuit.device_type == expected


# --- nothing is hidden ---


def texts(found: Any) -> Iterator[str]:
    """Every value in plain data, as it may stand on the wire."""
    match found:
        case dict():
            for key, value in found.items():
                yield str(key)
                yield from texts(value)
        case list() | tuple():
            yield ",".join(map(str, found))
            for value in found:
                yield from texts(value)
        case bool():
            yield str(found).lower()
        case None:
            pass
        case _:
            yield str(found)


def is_shown(payload: str, shown: set[str]) -> bool:
    if payload in shown:
        return True
    try:
        number = float(payload)
    except ValueError:
        return False
    return math.isnan(number) or any(str(each) in shown for each in (number, 0.0 - number, int(number)))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_somewhere_in_the_snapshot_unless_it_is_private(name: str) -> None:
    found = dump(name)
    shown = set(texts(found.snapshot.to_dict()))
    hidden = [
        (device, path, payload)
        for device, said in found.values.items()
        for path, payload in said.items()
        if payload and not is_shown(payload, shown) and not (device == found.root and path in PRIVATE)
    ]
    left_out = [(device, path) for device, path, _ in hidden if path == "info/direction"]  # the names of fields say it
    assert [each for each in hidden if each[:2] not in left_out] == []


@pytest.mark.parametrize("name", NAMES)
def test_i16_nothing_private_is_in_the_snapshot(name: str) -> None:
    found = dump(name)
    private = [found.values[found.root].get(path) for path in PRIVATE]
    shown = repr(found.snapshot) + json.dumps(found.snapshot.to_dict())
    assert [text for text in private if text and len(text) > 3 and text in shown] == []
    assert {each.property_id for each in found.snapshot.extension_properties} & {
        path.partition("/")[2] for path in PRIVATE - {"info/name"}
    } == set()


# --- sums ---


def of(key: str, *shared: str, outside: bool = False) -> SpanCircuitSnapshot:
    return SpanCircuitSnapshot(key, measures_outside_panel=outside, meter_shared_with=shared or None)


@pytest.mark.parametrize(
    ("circuits", "groups"),
    [
        ([], []),
        ([of("a"), of("b")], ["a", "b"]),
        ([of("a", "b"), of("b", "a"), of("c")], ["ab", "c"]),
        ([of("a", "b"), of("b")], ["ab"]),
        ([of("a"), of("b", "a")], ["ab"]),
        ([of("a", "b"), of("b", "c"), of("c"), of("d")], ["abc", "d"]),
        ([of("a"), of("b", "c"), of("c"), of("d", "b")], ["a", "bcd"]),
        ([of("a", "nobody"), of("b", "b")], ["a", "b"]),
        ([of("a", "x"), of("x", "a", outside=True)], ["a"]),
    ],
)
def test_circuits_on_one_meter_are_one_group(circuits: list[SpanCircuitSnapshot], groups: list[str]) -> None:
    found = group_by_meter({circuit.circuit_id: circuit for circuit in circuits})
    assert ["".join(circuit.circuit_id for circuit in group) for group in found] == groups
