"""What the tests of data model 1.x share: a house with one of everything, and what our own client makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from span_trio.homie import (
    DeviceDescription,
    Forest,
    Message,
    PropertyDescription,
    check_format,
    decode_value,
    parse_description,
)
from span_trio.simulator.firmware.publishing import Publisher
from span_trio.simulator.house.devices import PcsSpec
from span_trio.simulator.house.spec import HouseSpec
from tests.unit.simulator.house_helpers import (
    small_house,
)

PANEL: Final = "nt-1-small"
BESS: Final = f"{PANEL}-tg121348001234"
MID: Final = f"{BESS}-mid"
PV: Final = f"{PANEL}-iq8plus-72-2-us"
EVSE: Final = f"{PANEL}-sd-1"


def full_house(**more: Any) -> HouseSpec:
    """One of everything, at MAIN_16."""
    return small_house(**{"pcs": PcsSpec(feed_limit_a=80), **more})


def described(publisher: Publisher) -> dict[str, DeviceDescription]:
    return {device: parse_description(text.encode(), device) for device, text in publisher.descriptions().items()}


def declared(description: DeviceDescription) -> dict[str, PropertyDescription]:
    return {
        f"{node.id}/{name}": found
        for node in description.nodes.values()
        for name, found in (node.properties or {}).items()
    }


def forest_of(publisher: Publisher) -> Forest:
    """What our own client keeps of it."""
    forest = Forest("ebus")
    for device, text in publisher.descriptions().items():
        hear(forest, {f"{device}/$state": b"ready", f"{device}/$description": text.encode()})
    hear(forest, publisher.values())
    return forest


def hear(forest: Forest, messages: Mapping[str, bytes]) -> None:
    for topic, payload in messages.items():
        forest.absorb(Message(f"ebus/5/{topic}", payload), 0.0)


def check_legal(publisher: Publisher) -> None:
    """Every value is declared, decodes as declared, and is in its format; nothing is dropped.

    But for a breaker's functions: real panels declare one of them, and show a list.
    """
    forest = forest_of(publisher)
    assert forest.dropped == {}
    assert forest.value_topics(shown=True) == forest.value_topics()
    properties = {device: declared(description) for device, description in described(publisher).items()}
    for topic, payload in publisher.values().items():
        device, _, name = topic.partition("/")
        found = properties[device][name]
        assert found.datatype is not None
        listed = payload.split(b",") if name == "breaker/protection-functions" else [payload]
        for each in listed:
            check_format(decode_value(each, found.datatype), found.format)
        assert payload != b"-0.0"
