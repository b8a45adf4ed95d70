"""``discover``: the panels on the local network."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
import trio

from ..errors import SpanPanelTimeoutError, SpanPanelValidationError
from .output import columns, say, say_json

if TYPE_CHECKING:
    from ..discovery import DiscoveredPanel

__all__ = ["discover"]

_HEADINGS: Final = ("SERIAL NUMBER", "ADDRESSES", "HOST NAME", "MODEL", "FIRMWARE")


@click.command()
@click.option("--timeout", type=float, default=5.0, show_default=True, help="Seconds to wait for answers: all of them.")
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    help="Name or address of a network interface to look on; may be repeated. [default: all but the loopback]",
)
@click.option("--json", "as_json", is_flag=True, help="Everything, one JSON object a line.")
@click.option("--mdns-port", "port", type=click.IntRange(1, 65_535), default=5353, help="Another one is for tests.")
def discover(timeout: float, interfaces: tuple[str, ...], as_json: bool, port: int) -> None:
    """Look for panels on the local network (multicast DNS), and print each once.

    What they say of themselves is not proven. The exit code is 3 if there is none.
    """
    look = partial(_discovery().discover_panels, timeout, interfaces=interfaces or None, port=port)
    panels: Sequence[DiscoveredPanel] = trio.run(look, restrict_keyboard_interrupt_to_checkpoints=True)
    if not panels:
        raise SpanPanelTimeoutError(f"no panel has answered within {timeout:g} s")
    if not as_json:
        say(*columns(_HEADINGS, *map(_row, panels)))
        return
    for panel in panels:
        say_json(panel.to_dict())


def _discovery() -> Any:
    """The room that finds them.

    Raises:
        SpanPanelValidationError: the extra that it needs is not there.
    """
    try:
        return importlib.import_module("span_trio.discovery")
    except ModuleNotFoundError as error:
        what = f"looking for panels needs {error.name}: pip install 'span-trio[cli,discovery]'"
        raise SpanPanelValidationError(what) from None


def _row(panel: DiscoveredPanel) -> tuple[str, ...]:
    return (
        panel.serial_number,
        " ".join(panel.addresses),
        " ".join(panel.host_names),
        panel.model or "-",
        panel.firmware_version or "-",
    )
