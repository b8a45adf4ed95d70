"""Breaker positions that a panel has, and what is said of a circuit at one that it has not."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from span_trio import PanelOptions, open_span_panel
from span_trio.span.positions import POSITIONS, Positions
from tests.unit.link.broker import Broker
from tests.unit.link.house import CREDENTIALS, house
from tests.unit.span.helpers import KITCHEN, SMALL, describe

from .test_hardware_3 import POSITIONS as AS_PUBLISHED


def test_positions_are_those_of_the_facts() -> None:
    assert {model: (found[0], found[-1]) for model, found in POSITIONS.items()} == AS_PUBLISHED


@pytest.mark.parametrize("model", POSITIONS)
def test_without_circuits_every_position_is_free(model: str) -> None:
    existing = POSITIONS[model]
    assert Positions.of(existing, []) == Positions(len(existing), existing[0], existing[-1], tuple(existing))


@pytest.mark.virtual_time
async def test_a_circuit_where_the_model_has_no_position_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    description: dict[str, Any] = describe(SMALL)
    for node in description["nodes"].values():
        node.get("properties", {}).pop("space", None)  # else the declaration tells, and not the model
        if "properties" in node and node["type"].endswith(".circuit"):
            node["properties"]["space"] = {"datatype": "integer"}
    changes = {"core/model": "MAIN_16", f"{KITCHEN}/space": "3", f"{KITCHEN}/dipole": "false"}
    broker = Broker(house(changes, **description))
    options = PanelOptions(transport="mqtt", max_silence=math.inf)
    with caplog.at_level(logging.WARNING):
        async with open_span_panel("panel", credentials=CREDENTIALS, options=options, dialer=broker.dial) as panel:
            assert (panel.snapshot.first_position, panel.snapshot.circuits[KITCHEN].tabs) == (9, (3,))
            broker.publish(f"ebus/5/{panel.serial_number}/{KITCHEN}/name", "Galley")
            async for snapshot in panel.snapshots():
                if snapshot.circuits[KITCHEN].name == "Galley":
                    break
    warnings = [record.getMessage() for record in caplog.records if "position" in record.getMessage()]
    assert warnings == [f"{panel.serial_number} has circuits at positions that its model does not have: 3"]
