"""What simulated panels declare, and what of it they show, against dumps of real ones."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.house.house import House
from tests.unit.simulator.house_helpers import NOON, earlier

CAPTURES: Final = Path(__file__).parents[2] / "captures"
PAIRS: Final = [
    ("main-16", 202639, "gen3-b"),
    ("main-40", 202639, "gen3-a"),
    ("mlo-24", 202639, "gen3-d"),
    ("mlo-48", 202639, "gen3-d"),
    ("main-32", 202639, "main32-r202639-upstream-pv"),
    ("main-32", 202633, "main32-r202633"),
]
Seen = tuple[str, str]  # class, and ``node/property``

DECLARED: Final[Mapping[Seen, str]] = {
    ("circuit", "switch/relay"): "what is locked is not settable, and other circuits are locked",
    ("circuit", "load-shed/priority"): "likewise",
    ("evse", "config/user-max-charge-current"): "its format is its own range, and one of mlo-48 is 6 to 40 A",
}
"""What is declared otherwise than by the real panel, and why; everything else is declared alike."""

HERE_ALONE: Final[Mapping[str, str]] = {
    "evse": "no charger in gen3-a, and none in the dumps of MAIN 32",
    "outside": "no meter outside in gen3-d",
}
"""Classes of devices that the dump has not; it has none that are not here."""

_FORECASTS: Final = (
    *("total-time-remaining", "time-to-priority-shed", "full-charge-total-time-remaining"),
    *("full-charge-time-to-priority-shed", "confidence"),
)
SHOWN: Final[Mapping[Seen, str]] = {
    **{("circuit", f"info/{name}"): "a label" for name in ("dedicated", "locations", "tags")},
    **{
        ("circuit", f"connection/feeds-device-{what}"): "nothing is landed on a circuit in that dump"
        for what in ("id", "type", "status")
    },
    ("circuit", "connection/feeds-role"): "no inverter on a circuit in any dump",
    ("circuit", "meter/shared-with-device-ids"): "no tandem breaker in any dump",
    ("circuit", "switch/shared-with-device-ids"): "likewise",
    ("circuit", "pcs/priority"): "no circuit is managed in main32-r202633",
    ("lugs", "connection/feeds-role"): "told by two of the three dumps",
    **{
        ("lugs", f"connection/fed-by-device-{what}"): "the panels of those dumps are not at the service entrance"
        for what in ("id", "type", "status")
    },
    ("distribution-enclosure", "info/country-code"): "not filled in there",
    ("distribution-enclosure", "info/utility-meter-serial-number"): "likewise",
    ("distribution-enclosure", "status/wifi-ssid"): "no Wi-Fi there",
    ("distribution-enclosure", "power-flows/pv"): "no inverter in the dumps of hardware 3.0",
    **{
        ("distribution-enclosure", f"pcs/{limit}-import-limit{what}"): "of a limit that is not configured: dumps differ"
        for limit in ("operator", "off-grid")
        for what in ("", "-active", "-enablement")
    },
    **{("distribution-enclosure", f"shed-forecast/{name}"): "the battery of gen3-d is silent" for name in _FORECASTS},
    **{("bess", f"soc/{name}"): "likewise" for name in ("soc", "soe")},
    **{("bess", f"info/{name}"): "likewise" for name in ("firmware-version", "model", "nameplate-capacity")},
    **{("mid", f"grid/{name}"): "likewise" for name in ("grid-forming-entity", "islanding-state")},
    ("mid", "info/serial-number"): "that of main-32 has none",
    **{("pv", f"info/{name}"): "masked there, or not known" for name in ("firmware-version", "serial-number")},
}
"""What has a value on one side only, and why; of everything else, both have one, or none has."""


def by_class(documents: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str]:
    """Device -> class; ours for meters outside, which are circuits on the wire."""
    return {
        device: "outside" if kind == "circuit" and "info" not in found["nodes"] else kind
        for device, found in documents.items()
        for kind in [found["type"].removeprefix("energy.ebus.device.")]
    }


def declared(documents: Mapping[str, Mapping[str, Any]]) -> Mapping[Seen, set[str]]:
    """What is declared, without the titles of nodes, which are their ids."""
    found = defaultdict[Seen, set[str]](set)
    classes = by_class(documents)
    for device, document in documents.items():
        for node, properties in document["nodes"].items():
            assert {key: value for key, value in properties.items() if key != "properties"} == {
                "name": node,
                "type": f"energy.ebus.capability.{node}",
            }
            for name, declaration in properties["properties"].items():
                found[classes[device], f"{node}/{name}"].add(json.dumps(declaration, sort_keys=True))
    return found


def shown(documents: Mapping[str, Mapping[str, Any]], topics: Iterable[str]) -> set[Seen]:
    classes = by_class(documents)
    parts = [topic.split("/", 1) for topic in topics]
    return {(classes[device], name) for device, name in parts if "$" not in name}


def captured(name: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    lines = [json.loads(line) for line in (CAPTURES / f"{name}.jsonl").read_text("utf-8").splitlines()]
    values = {line["topic"].removeprefix("ebus/5/"): line["payload"] for line in lines}
    suffix = "/$description"
    return {
        topic.removesuffix(suffix): json.loads(value) for topic, value in values.items() if topic.endswith(suffix)
    }, [topic for topic, value in values.items() if value]


def simulated(name: str, build: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    publisher = ParentChildPublisher(House(earlier(name), 1, NOON), build)
    documents = {device: json.loads(text) for device, text in publisher.descriptions().items()}
    return documents, list(publisher.values())


@pytest.mark.parametrize(("house", "build", "capture"), PAIRS)
def test_simulated_devices_declare_what_real_ones_do(house: str, build: int, capture: str) -> None:
    there, here = declared(captured(capture)[0]), declared(simulated(house, build)[0])
    classes = {kind for kind, _ in there}
    assert {kind for kind, _ in here} - classes <= HERE_ALONE.keys()
    assert classes <= {kind for kind, _ in here}
    different = {
        seen: (there.get(seen), here.get(seen))
        for seen in there.keys() | here.keys()
        if seen[0] in classes and there.get(seen) != here.get(seen) and seen not in DECLARED
    }
    assert different == {}
    for seen in DECLARED.keys() & there.keys() & here.keys():
        assert (there[seen] & here[seen]) or seen[0] == "evse"


@pytest.mark.parametrize(("house", "build", "capture"), PAIRS)
def test_simulated_devices_show_what_real_ones_do(house: str, build: int, capture: str) -> None:
    (theirs, there), (ours, here) = captured(capture), simulated(house, build)
    both = declared(theirs).keys() & declared(ours).keys()
    assert ((shown(theirs, there) ^ shown(ours, here)) & both) - SHOWN.keys() == set()


def test_every_difference_on_the_lists_is_one() -> None:
    declarations, values, classes = set[Seen](), set[Seen](), set[str]()
    for house, build, capture in PAIRS:
        (theirs, there), (ours, here) = captured(capture), simulated(house, build)
        a, b = declared(theirs), declared(ours)
        declarations |= {seen for seen in a.keys() & b.keys() if a[seen] != b[seen]}
        classes |= {kind for kind, _ in b} - {kind for kind, _ in a}
        values |= shown(theirs, there) ^ shown(ours, here)
    assert declarations == DECLARED.keys()
    assert classes == HERE_ALONE.keys()
    assert values >= SHOWN.keys()
