"""From credentials to a running session: `dial`, WebSocket where asked for, then log in; all within one limit."""

from __future__ import annotations

import contextlib
import secrets
import ssl
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final, NamedTuple

import trio

from ..background import close_forcefully, open_background, unprotected
from ..credentials import SpanCredentials
from ..enums import ConnectionReason
from ..errors import (
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelValidationError,
)
from ..homie import Forest, Request
from ..mqtt import Codec
from ..options import PanelOptions
from ..span import FALLBACK, find_panels
from .dial import Dialer, dial
from .events import LinkEvent, LinkLost, ReplayEnd
from .session import Link
from .websocket import open_websocket

__all__ = ["broker_port", "find_serial", "open_link", "the_dialer"]


class _Port(NamedTuple):
    field: str  # of options and credentials
    default: int


_PORTS: Final = {
    "mqtts": _Port("mqtts_port", 8883),
    "mqtt": _Port("mqtt_port", 1883),
    "wss": _Port("wss_port", 9002),
    "ws": _Port("ws_port", 9001),
}


def broker_port(credentials: SpanCredentials, options: PanelOptions) -> int:
    """Of the transport: as the options say, or the panel told, or else what is usual."""
    field, default = _PORTS[options.transport]
    return getattr(options, field) or getattr(credentials, field, None) or default


def the_dialer(options: PanelOptions, dialer: Dialer | None) -> Dialer:
    """``dialer``, or else `dial`."""
    return dialer or partial(dial, step_timeout=options.step_timeout)


@contextlib.asynccontextmanager
async def open_link(
    host: str,
    credentials: SpanCredentials,
    options: PanelOptions,
    tls: ssl.SSLContext | None,
    dialer: Dialer | None = None,
) -> AsyncGenerator[Link, None]:
    """One MQTT session with the broker at ``host``, ready to be run, once, in this block.

    A client id is unique per connection: a broker ends a session when another one comes with its id.

    Raises:
        SpanPanelAuthError: user name or password refused.
        SpanPanelCertificateError: the certificate is refused.
        SpanPanelConnectionError: anything else; the message says at which step.

    Whatever the block does, the stream is closed behind it.
    """
    username, password = credentials.login
    codec = Codec(
        client_id=f"span-trio-{secrets.token_hex(8)}",
        username=username,
        password=password,
        keepalive=options.keepalive,
        max_packet=options.max_packet,
    )
    port = broker_port(credentials, options)
    # A scope around all of it, because a WebSocket needs a nursery: that must end before the scope does.
    with trio.CancelScope(deadline=trio.current_time() + options.connect_timeout) as scope:
        async with contextlib.AsyncExitStack() as opened:
            try:
                stream = await unprotected(the_dialer(options, dialer), host, port, tls)
            except (OSError, trio.BrokenResourceError) as error:  # of a dialer that is not ours
                raise SpanPanelConnectionError(f"connecting to {host}:{port} failed: {error}") from error
            if options.transport in {"ws", "wss"}:
                websocket = open_websocket(
                    stream,
                    host,
                    port,
                    path=options.websocket_path,
                    max_message=2 * options.max_packet,  # a packet of that size is passed over, and breaks nothing
                    timeout=options.step_timeout,
                )
                stream = await opened.enter_async_context(websocket)
            link = await Link.start(
                stream,
                codec,
                keepalive=options.keepalive,
                close_grace=options.close_grace,
                step_timeout=options.step_timeout,
            )
            scope.deadline = float("inf")
            try:
                yield link
            finally:
                await close_forcefully(stream)
    if scope.cancelled_caught:
        raise SpanPanelConnectionError(
            f"no connection to {host}:{port} within {options.connect_timeout:g} s", answered=False
        )


async def find_serial(link: Link, options: PanelOptions) -> str:
    """Ask a broker which panel it carries: its one device that is a panel. Ends the session.

    Raises:
        SpanPanelAuthError: the broker does not let us ask.
        SpanPanelConnectionError: there is none, or the link was lost.
        SpanPanelValidationError: there are several, and which is meant was not said.
        SpanPanelInternalError: a bug in span_trio.
    """
    forest = Forest(options.domain, fallback=FALLBACK, limits=options.limits)
    send, receive = trio.open_memory_channel[list[LinkEvent]](0)
    link.subscribe(Request((f"{options.domain}/5/+/$state", f"{options.domain}/5/+/$description")))
    end: ReplayEnd | LinkLost | None = None
    async with open_background() as nursery:
        nursery.start_soon(link.run, send)
        while end is None:
            for event in await receive.receive():
                if isinstance(event, (ReplayEnd, LinkLost)):
                    end = event
                elif isinstance(event, list):
                    for message in event:
                        forest.absorb(message, 0.0)
    if isinstance(end, LinkLost):
        if end.why.reason is ConnectionReason.REFUSED:
            raise SpanPanelAuthError(f"the broker refuses a subscription to all trees under {options.domain}/5/")
        raise SpanPanelConnectionError(f"the link was lost: {end.why.detail}")
    panels = find_panels(forest)
    if not panels:
        raise SpanPanelConnectionError(f"the broker carries no SPAN panel under {options.domain}/5/")
    if len(panels) > 1:
        raise SpanPanelValidationError(f"the broker carries several panels, say which: {', '.join(sorted(panels))}")
    return panels[0]
