"""Snapshots in words."""

import datetime as dt

import pytest

from span_trio.cli.text import one_line
from span_trio.enums import RelayState
from span_trio.frozenmap import FrozenMap
from span_trio.snapshot import SpanBatterySnapshot, SpanCircuitSnapshot, SpanPanelSnapshot


def panel(*circuits: SpanCircuitSnapshot, **fields: object) -> SpanPanelSnapshot:
    by_id = FrozenMap({circuit.circuit_id: circuit for circuit in circuits})
    return SpanPanelSnapshot("nt-1", circuits=by_id, **fields)  # type: ignore[arg-type]


KITCHEN = SpanCircuitSnapshot("c1", name="Kitchen", instant_power_w=120.0, relay_state=RelayState.CLOSED)
OUTSIDE = SpanCircuitSnapshot("remote-ct-1", instant_power_w=9000.0, measures_outside_panel=True)
SOLAR = SpanCircuitSnapshot("c2", instant_power_w=-3000.4, relay_state=RelayState.OPEN)


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (panel(), "t  0 of 0 circuits closed"),
        (panel(KITCHEN), "t  1 of 1 circuits closed  most: Kitchen 120 W"),
        (panel(KITCHEN, SOLAR), "t  1 of 2 circuits closed  most: c2 -3000 W"),  # without a name, its id
        (panel(KITCHEN, OUTSIDE), "t  1 of 1 circuits closed  most: Kitchen 120 W"),  # no circuit of the panel's
        (panel(SpanCircuitSnapshot("c3", instant_power_w=0.0)), "t  0 of 1 circuits closed"),
        (
            panel(
                instant_grid_power_w=-50.4,
                power_flow_site=0.0,
                power_flow_pv=-3000.0,
                battery=SpanBatterySnapshot(soc_percentage=49.6),
            ),
            "t  grid -50 W  site 0 W  pv 3000 W  battery 50 %  0 of 0 circuits closed",
        ),
        (panel(power_flow_pv=0.0, battery=SpanBatterySnapshot()), "t  pv 0 W  0 of 0 circuits closed"),
        (panel(pending_devices=("bess-1", "pv-1")), "t  0 of 0 circuits closed  missing: bess-1, pv-1"),
        (panel(away_devices=FrozenMap({"bess-1": "lost"})), "t  0 of 0 circuits closed  away: bess-1"),
    ],
)
def test_one_line(snapshot: SpanPanelSnapshot, line: str) -> None:
    assert one_line(snapshot, "t") == line


def test_the_time_of_day() -> None:
    assert one_line(panel(), dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)).startswith("03:04:05  ")
