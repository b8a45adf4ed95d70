"""Which devices of a broker are panels."""

import json
from typing import Any

import pytest

from span_trio.homie import Forest, Message
from span_trio.span import find_panels

PANEL = {"type": "energy.ebus.device.distribution-enclosure"}
BARE = {"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}
CHILD = {**PANEL, "root": "nt-1", "parent": "nt-1"}
HEAT_PUMP = {"type": "energy.ebus.device.heat-pump", "nodes": {"core": {"type": "energy.ebus.capability.info"}}}


def forest(**devices: tuple[Any, str | None]) -> Forest:
    """A forest of devices with these descriptions (``None``: none) and `$state`s."""
    found = Forest("ebus")
    for device, (description, state) in devices.items():
        for attribute, payload in (("$description", description and json.dumps(description)), ("$state", state)):
            if payload is not None:
                found.absorb(
                    Message(f"ebus/5/{device.replace('_', '-')}/{attribute}", payload.encode(), retain=True), 0.0
                )
    return found


@pytest.mark.parametrize(
    ("description", "is_panel"),
    [
        (PANEL, True),
        (BARE, True),
        ({**PANEL, **BARE}, True),
        ({**PANEL, "children": ["nt-1-c1"]}, True),  # a parent/child panel has the same type
        (CHILD, False),
        (HEAT_PUMP, False),
        ({"nodes": {"core": {}}}, False),  # by type, never by id
        (None, False),
    ],
)
def test_a_panel_is_a_root_of_the_enclosures_type_or_with_a_flat_core(description: Any, is_panel: bool) -> None:
    assert find_panels(forest(nt_1=(description, "ready"))) == (["nt-1"] if is_panel else [])


def test_no_panel_is_found_where_nothing_is() -> None:
    assert find_panels(Forest("ebus")) == []


def test_ready_panels_come_first_and_otherwise_the_order_of_appearance() -> None:
    found = forest(a=(PANEL, "lost"), b=(BARE, "ready"), c=(PANEL, None), d=(PANEL, "ready"), e=(HEAT_PUMP, "ready"))
    assert find_panels(found) == ["b", "d", "a", "c"]
