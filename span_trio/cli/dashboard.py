"""The live dashboard: a snapshot as a picture of the house, for terminals from 60 columns up.

`render` is a function of its arguments; whoever shows the picture asks for a new one when the data, the clock or the
terminal's size has changed. Text that comes from a panel is in a `Text` of ours: it can not control the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from ..enums import DsmState, GridState, RelayState
from ..snapshot import SpanCircuitSnapshot, SpanPanelSnapshot
from .output import Text, stacked

__all__ = ["bar", "power", "render"]

_WIDE: Final = 120  # columns from which the circuits stand in two tables
_EIGHTHS: Final = "▏▎▍▌▋▊▉█"
_OVERHEAD: Final = 9  # lines that are no circuit: header, flows, rule, the head of a table, footer
_ROLE_STYLES: Final = {"pv": "yellow", "evse": "magenta", "circuit": "cyan"}


def bar(value: float, most: float, width: int) -> str:
    """A bar of ``width`` cells, filled by ``value`` of ``most`` in eighths of a cell."""
    eighths = 0 if most <= 0 else round(min(abs(value) / most, 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest - 1] if rest else "")).ljust(width)


def power(watts: float | None) -> str:
    """A power as people read it: ``412 W``, ``3.62 kW``."""
    if watts is None:
        return "-"
    return f"{watts:.0f} W" if abs(watts) < 1000 else f"{watts / 1000:.2f} kW"


def render(
    snapshot: SpanPanelSnapshot | None, *, title: str, status: RenderableType, width: int, height: int
) -> RenderableType:
    """The whole picture. ``snapshot`` is ``None`` while there is no current data, and then nothing old is shown."""
    header = Table.grid(expand=True)
    header.add_column(no_wrap=True, overflow="ellipsis")
    header.add_column(justify="right", no_wrap=True)
    header.add_row(Text(title, style="bold"), status)
    if snapshot is None:
        return Group(header, Rule(style="dim"), Text("no current data", style="dim", justify="center"))
    chargers = [_charger(snapshot, key) for key in snapshot.evse]
    rows = max(3, height - _OVERHEAD - len(chargers))
    return Group(header, _flows(snapshot), *chargers, *_circuits(snapshot, width, rows), _footer(snapshot))


def _flows(snapshot: SpanPanelSnapshot) -> RenderableType:
    """Where power comes from and goes to, in the words of people and not in the panel's signs."""
    cells = [_grid(snapshot), _house(snapshot), _solar(snapshot), _battery(snapshot)]
    row = Table.grid(expand=True, padding=(0, 1))  # one row, however narrow: the height is reckoned with it
    there = [cell for cell in cells if cell is not None]
    for _ in there:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(*there)
    return Panel(row, border_style="dim")


def _cell(name: str, figure: str, remark: str, style: str) -> RenderableType:
    return stacked(Text(name, style="dim"), Text(figure, style=f"bold {style}"), Text(remark, style="dim"))


def _grid(snapshot: SpanPanelSnapshot) -> RenderableType:
    watts = snapshot.instant_grid_power_w
    if snapshot.dsm_state == DsmState.DSM_OFF_GRID or snapshot.grid_state == GridState.OFF_GRID:
        return _cell("grid", "off grid", snapshot.current_run_config, "red")
    remark = "" if watts is None else "importing" if watts > 0 else "exporting" if watts < 0 else "balanced"
    return _cell("grid", power(None if watts is None else abs(watts)), remark, "green" if (watts or 0) <= 0 else "red")


def _house(snapshot: SpanPanelSnapshot) -> RenderableType:
    volts = [f"{volt:.0f} V" for volt in (snapshot.l1_voltage, snapshot.l2_voltage) if volt is not None]
    return _cell("house", power(snapshot.power_flow_site), " / ".join(volts), "white")


def _solar(snapshot: SpanPanelSnapshot) -> RenderableType | None:
    if snapshot.pv is None:
        return None
    watts = None if snapshot.power_flow_pv is None else abs(snapshot.power_flow_pv)
    size = snapshot.pv.nameplate_capacity_w
    return _cell("solar", power(watts), "" if size is None else f"of {power(size)}", "yellow")


def _battery(snapshot: SpanPanelSnapshot) -> RenderableType | None:
    battery, flow = snapshot.battery, snapshot.power_flow_battery
    if battery is None:
        return None
    level = "-" if battery.soc_percentage is None else f"{battery.soc_percentage:.0f} %"
    if battery.connected is False:
        return _cell("battery", level, "link lost", "red")
    doing = "" if not flow else f"{'charging' if flow > 0 else 'discharging'} {power(abs(flow))}"
    return _cell("battery", level, doing or "idle", "blue")


def _charger(snapshot: SpanPanelSnapshot, key: str) -> RenderableType:
    charger = snapshot.evse[key]
    circuit = snapshot.circuits.get(charger.feed_circuit_id or "")
    name = key if circuit is None or circuit.name is None else circuit.name
    draws = None if circuit is None else circuit.instant_power_w
    limit = charger.effective_charge_current_limit_a
    parts = [charger.status.lower(), power(draws), *([] if limit is None else [f"limit {limit} A"])]
    return Text.assemble(" ", (name, "magenta"), "  ", "  ".join(parts), no_wrap=True, overflow="ellipsis")


def _circuits(snapshot: SpanPanelSnapshot, width: int, rows: int) -> list[RenderableType]:
    everything = sorted(snapshot.circuits.values(), key=lambda circuit: -abs(circuit.instant_power_w or 0.0))
    ordered = [circuit for circuit in everything if not circuit.measures_outside_panel]
    outside = [circuit for circuit in everything if circuit.measures_outside_panel]
    most = max((abs(circuit.instant_power_w or 0.0) for circuit in everything), default=0.0)
    rows = max(1, rows - len(outside) - 1) if outside else rows
    columns = 2 if width >= _WIDE else 1
    shown = ordered[: rows * columns]
    opened = sum(circuit.relay_state == RelayState.OPEN for circuit in ordered)
    heading = f"{len(ordered)} circuits" + (f", {opened} open" if opened else "")
    if len(shown) < len(ordered):
        heading += f", {len(shown)} shown"
    each = -(-len(shown) // columns) or 1
    tables = [_table(shown[start : start + each], most, width // columns) for start in range(0, len(shown), each)]
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in tables:
        grid.add_column(ratio=1)
    grid.add_row(*tables)
    meters: list[RenderableType] = (
        [Rule("meters outside the panel", style="dim"), _table(outside, most, width)] if outside else []
    )
    return [Rule(heading, style="dim"), grid, *meters]


def _table(circuits: Sequence[SpanCircuitSnapshot], most: float, width: int) -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    cells = max(6, width // 4)
    for circuit in circuits:
        style = _ROLE_STYLES[circuit.device_type]
        off = circuit.relay_state == RelayState.OPEN
        table.add_row(
            Text("·".join(map(str, circuit.tabs)), style="dim"),
            Text(circuit.name or circuit.circuit_id, style="dim strike" if off else ""),
            Text(bar(circuit.instant_power_w or 0.0, most, cells), style=style),
            Text(power(None if circuit.instant_power_w is None else abs(circuit.instant_power_w))),
            _state(circuit),
        )
    return table


def _state(circuit: SpanCircuitSnapshot) -> Text:
    if circuit.relay_state == RelayState.CLOSED or circuit.measures_outside_panel:
        makes = circuit.instant_power_w is not None and circuit.instant_power_w < 0
        return Text("◄" if makes else " ", style="yellow")
    return Text(circuit.relay_state.lower(), style="red")


def _footer(snapshot: SpanPanelSnapshot) -> RenderableType:
    parts = [
        f"door {snapshot.door_state.lower()}",
        f"main {snapshot.main_relay_state.lower()}",
        *([f"source {snapshot.dominant_power_source.lower()}"] if snapshot.dominant_power_source else []),
        *([f"missing: {', '.join(snapshot.pending_devices)}"] if snapshot.pending_devices else []),
        *([f"away: {', '.join(snapshot.away_devices)}"] if snapshot.away_devices else []),
        "ctrl-C leaves",
    ]
    return Text("  ".join(parts), style="dim", no_wrap=True, overflow="ellipsis")
