"""Showing a panel for as long as somebody looks: the dashboard on a terminal, lines or JSON elsewhere."""

from __future__ import annotations

import datetime as dt
from typing import Final

import trio
from rich.console import RenderableType
from rich.live import Live

from ..background import open_background
from ..homie import ConnectionEdge, Instant
from ..panel import SpanPanel
from ..snapshot import SpanPanelSnapshot
from .dashboard import render
from .output import Terminal, Text, note, say, say_json
from .text import one_line

__all__ = ["show"]

_REDRAW: Final = 0.5  # s; the age of the data is on the screen, and terminals are resized


async def show(panel: SpanPanel, console: Terminal, *, count: int | None, as_json: bool) -> None:
    """Show snapshots of an open panel until cancelled, or until there were ``count``."""
    if console.is_terminal and not as_json:
        await _dashboard(panel, console, count)
    else:
        await _lines(panel, console, count, as_json=as_json)


async def _lines(panel: SpanPanel, console: Terminal, count: int | None, *, as_json: bool) -> None:
    seen = 0
    async for update in panel.updates():
        if isinstance(update, ConnectionEdge):
            # In JSON, standard output is of snapshots alone.
            (note if as_json else say)(f"{_clock(update.at):%H:%M:%S}  {update}")
            continue
        if as_json:
            say_json(update.to_dict())
        else:
            console.print(one_line(update, _clock(update.received_at)))
        seen += 1
        if seen == count:
            return


async def _dashboard(panel: SpanPanel, console: Terminal, count: int | None) -> None:
    newest: SpanPanelSnapshot | None = None
    # No refresh thread: whoever has something new draws.
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw() -> None:
            shown = newest if panel.live else None
            title = f"SPAN {panel.serial_number}"
            if newest is not None:
                title = "  ".join(part for part in (title, newest.model, newest.firmware_version) if part)
            size = console.size
            live.update(
                render(shown, title=title, status=_status(panel), width=size.width, height=size.height), refresh=True
            )

        async def redraw() -> None:
            while True:
                await trio.sleep(_REDRAW)
                draw()

        async with open_background() as nursery:
            draw()
            nursery.start_soon(redraw)
            seen = 0
            async for snapshot in panel.snapshots():
                newest = snapshot
                draw()
                seen += 1
                if seen == count:
                    return


def _clock(at: Instant) -> dt.datetime:
    return dt.datetime.fromtimestamp(at.wall).astimezone()


def _status(panel: SpanPanel) -> RenderableType:
    age = panel.statistics().last_message_age
    since = panel.live_since
    if since is None:
        return Text(f"○ {panel.obstacle or 'not live'}", style="red")
    lived = int(trio.current_time() - since.monotonic)
    span = f"{lived // 3600}:{lived // 60 % 60:02}:{lived % 60:02}"
    return Text.assemble(("● live ", "green"), (f"{span}  data {age or 0.0:.0f} s old", "dim"))
