"""What a panel lets its clients command now, for people and for programs."""

from __future__ import annotations

from typing import Any, Final

import click
from rich.table import Table

from ..enums import Control
from ..opening import open_span_panel
from ..snapshot import SpanPanelSnapshot
from ..span import OfferedControl
from .connection import Panel, panel_options, run
from .output import OUT, Text, columns, say, say_json
from .targets import Target, chargers, circuits, named

__all__ = ["controls"]

_HEAD: Final = ("of", "at", "control", "is")  # no ids, and nothing that is always the same: 80 columns
_out = OUT


@click.command()
@panel_options
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON array.")
def controls(panel: Panel, as_json: bool) -> None:
    """List what can be commanded now, and what is locked: a table on a terminal, elsewhere lines with more in them."""
    run(_controls, panel, as_json)


async def _controls(panel: Panel, as_json: bool) -> None:
    async with open_span_panel(panel.host, **panel.how) as opened:
        offered, snapshot = opened.controls(), opened.snapshot
    known = {each.id: each for each in (*circuits(snapshot), *chargers(snapshot))}
    rows = [(each, known.get(each.subject, Target(each.subject)), _is(each, snapshot)) for each in offered]
    if as_json:
        say_json([_offered_as_json(*row) for row in rows])
        return
    texts = [[*_texts(*row), _also(row[0], snapshot)] for row in rows]
    if not _out.is_terminal:
        say(*columns(*texts))
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in _HEAD:
        table.add_column(name, no_wrap=name != "of")  # a long name takes two lines; all else is short
    before = None
    for row, (each, target, _) in zip(texts, rows, strict=True):
        control, of, position, value, can_be, locked, _, also = row
        head = [of, position] if target != before else ["", ""]
        limits = "" if each.choices else f" {can_be}"
        lock = "" if each.refusal is None else f", {locked}"
        table.add_row(*map(Text, (*head, control + limits, value + lock + (f", {also}" if also else ""))))
        before = target
    _out.print(table, soft_wrap=False)


def _is(offered: OfferedControl, snapshot: SpanPanelSnapshot) -> str | int | None:
    """What stands now, by the snapshot; of a property, only what has a field can be told."""
    circuit, charger = snapshot.circuits.get(offered.subject), snapshot.evse.get(offered.subject)
    match offered.control:
        case Control.RELAY:
            return None if circuit is None else circuit.relay_state
        case Control.PRIORITY:
            return None if circuit is None else circuit.priority
        case Control.CHARGE_LIMIT:
            return None if charger is None else charger.charge_current_limit_a
        case Control.CHARGER_LOCK:
            return None if charger is None else charger.lock_state
        case Control.DOMINANT_POWER_SOURCE:
            return snapshot.dominant_power_source
        case Control.ISLANDING:
            return snapshot.grid_state
        case Control.PROPERTY:
            return None


def _also(offered: OfferedControl, snapshot: SpanPanelSnapshot) -> str:
    """What else it reaches."""
    others = ", ".join(str(named(each, snapshot)) for each in offered.reaches[1:])
    return f"one relay with {others}" if others else ""


def _texts(offered: OfferedControl, target: Target, value: str | int | None) -> list[str]:
    limits = "" if offered.minimum is None else f"{offered.minimum:g}"
    limits += ".." + ("" if offered.maximum is None else f"{offered.maximum:g}")
    can_be = " ".join(offered.choices) or (limits if limits != ".." else offered.datatype)
    return [
        offered.control,
        str(target),
        "·".join(map(str, target.positions)) or "-",
        "-" if value is None else str(value),
        can_be,
        offered.refusal or "-",
        target.id,
    ]


def _offered_as_json(offered: OfferedControl, target: Target, value: str | int | None) -> dict[str, Any]:
    names = "control subject device_id node_id property_id datatype choices minimum maximum reaches reaches_unknown"
    plain = {name: getattr(offered, name) for name in names.split()}
    return {**plain, "refusal": offered.refusal, "name": target.name, "positions": target.positions, "value": value}
