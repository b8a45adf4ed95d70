"""How every command finds its panel, and runs."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import trio

from ..credentials import SpanCredentials
from ..options import PanelOptions
from .panels import find_stored, read_credentials, read_text

__all__ = ["Panel", "Positive", "panel_options", "run"]

_T = TypeVar("_T")

PASSWORD_VARIABLE = "SPAN_TRIO_PASSWORD"  # noqa: S105 - the name of one, not one


@attrs.frozen
class Panel:
    """Where a panel is and how to open it.

    Attributes:
        host: the panel's, or the broker's.
        credentials: of now.
        options: everything else.
        store: the file that they are stored in, and will be when they have changed; ``None``: they were given.
    """

    host: str
    credentials: SpanCredentials
    options: PanelOptions
    store: Path | None = None

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of `open_span_panel` behind the host."""
        if self.store is not None:
            return {"store": self.store, "options": self.options}
        return {"credentials": self.credentials, "options": self.options}


_OPTIONS = (
    click.argument("host"),
    click.option(
        "--credentials",
        "credentials_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="JSON file as SpanCredentials.to_json() makes it. [default: those that are stored for HOST]",
    ),
    click.option("--no-store", is_flag=True, help="Whatever is stored for HOST, do not use it."),
    click.option("--serial", help="The panel's serial number. Without it the broker is asked."),
    click.option("--username", help="For the broker. [default: the serial number]"),
    click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"File with the broker's password; or set {PASSWORD_VARIABLE}.",
    ),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The panel's CA certificate (PEM). Without it, the panel's is fetched and trusted.",
    ),
    click.option("--ca-sha256", help="The fingerprint that a fetched CA must have."),
    click.option(
        "--transport",
        type=click.Choice(["mqtts", "mqtt", "wss", "ws"]),
        default="mqtts",
        show_default=True,
        help="MQTT over TLS, plain, or over WebSocket with or without TLS.",
    ),
    click.option(
        "--port",
        type=click.IntRange(1, 65_535),
        help="Of the broker. [default: as the panel told, or 8883; mqtt: 1883, wss: 9002, ws: 9001]",
    ),
    click.option("--websocket-path", default="/mqtt", show_default=True, help="For wss and ws."),
    click.option(
        "--source",
        type=click.Choice(["panel", "bridge"]),
        default="panel",
        show_default=True,
        help="Whether the broker is the panel's own, or another one that carries its tree.",
    ),
    click.option(
        "--max-silence",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds without a value until the panel is not live any more; nor is it before the first. inf: no limit.",
    ),
    click.option(
        "--domain",
        default="ebus",
        show_default=True,
        help="The first levels of the panel's topics, where a bridge has changed them or put a prefix before.",
    ),
    click.option("--http-port", type=click.IntRange(1, 65_535), default=80, show_default=True, help="Of the REST API."),
    click.option("--https-port", type=click.IntRange(1, 65_535), default=443, show_default=True, help="Likewise."),
    click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds until the panel is ready."),
)


class Positive(click.FloatRange):
    """A number above 0: not NaN either, which passes for one in any comparison."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As of any type of click's."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def run(function: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """`trio.run`. Ctrl-C may strike what blocks, too: writing to a pipe that nobody reads."""
    return trio.run(function, *arguments)


def panel_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of them; it gets one `Panel` in their place."""

    @functools.wraps(command)
    def with_panel(
        *,
        host: str,
        credentials_file: Path | None,
        no_store: bool,
        serial: str | None,
        username: str | None,
        password_file: Path | None,
        ca: Path | None,
        ca_sha256: str | None,
        transport: Any,
        port: int | None,
        websocket_path: str,
        source: Any,
        max_silence: float,
        domain: str,
        http_port: int,
        https_port: int,
        timeout: float,
        **others: Any,
    ) -> None:
        stored, store = SpanCredentials(), None
        if credentials_file is not None:
            stored = read_credentials(credentials_file)
        elif not no_store and (known := find_stored(host, serial)) is not None:
            host, stored, store = known.host, known.credentials, known.path
        given = {
            "serial_number": serial,
            "broker_username": username,
            "broker_password": read_text(password_file).strip()
            if password_file
            else os.environ.get(PASSWORD_VARIABLE) or None,
            "ca_pem": read_text(ca) if ca else None,
        }
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        credentials = attrs.evolve(stored, **changed)
        ports: dict[str, Any] = {} if port is None else {f"{transport}_port": port}
        options = PanelOptions(
            transport=transport,
            websocket_path=websocket_path,
            source=source,
            max_silence=max_silence,
            domain=domain,
            http_port=http_port,
            https_port=https_port,
            ca_sha256=ca_sha256,
            ready_timeout=timeout,
            **ports,
        )
        if credentials != stored:  # a file knows nothing of what was said
            store = None
        command(panel=Panel(host, credentials, options, store), **others)

    for option in reversed(_OPTIONS):
        with_panel = option(with_panel)
    return with_panel
