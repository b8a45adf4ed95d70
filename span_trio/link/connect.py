"""From credentials to a running session: `dial`, then log in, all within one limit."""

from __future__ import annotations

import secrets
import ssl
from functools import partial
from typing import Final

import trio

from ..credentials import SpanCredentials
from ..errors import (
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelValidationError,
)
from ..homie import Forest, Request
from ..mqtt import Codec
from ..options import PanelOptions
from ..span import FLAT, find_panels
from .dial import Dialer, dial
from .session import Link, LinkEvent, LinkLost, ReplayEnd

__all__ = ["connect", "find_serial"]


_MQTTS_PORT: Final = 8883


async def connect(
    host: str,
    credentials: SpanCredentials,
    options: PanelOptions,
    tls: ssl.SSLContext | None,
    dialer: Dialer | None = None,
) -> Link:
    """One MQTT session with the broker at ``host``, ready to be run.

    A client id is unique per connection: a broker ends a session when another one comes with its id.

    Raises:
        SpanPanelAuthError: user name or password refused.
        SpanPanelConnectionError: anything else; the message says at which step.
    """
    username, password = credentials.login
    codec = Codec(
        client_id=f"span-trio-{secrets.token_hex(8)}",
        username=username,
        password=password,
        keepalive=options.keepalive,
        max_packet=options.max_packet,
    )
    tls_port = options.mqtts_port or credentials.mqtts_port or _MQTTS_PORT
    port = options.mqtt_port if tls is None else tls_port
    with trio.move_on_after(options.connect_timeout):
        stream = await (dialer or partial(dial, step_timeout=options.step_timeout))(host, port, tls)
        return await Link.start(
            stream,
            codec,
            keepalive=options.keepalive,
            close_grace=options.close_grace,
            step_timeout=options.step_timeout,
        )
    raise SpanPanelConnectionError(f"no connection to {host}:{port} within {options.connect_timeout:g} s")


async def find_serial(link: Link, options: PanelOptions) -> str:
    """Ask a broker which panel it carries: its one device that is a panel. Closes the link.

    Raises:
        SpanPanelAuthError: the broker does not let us ask.
        SpanPanelConnectionError: there is none, or the link was lost.
        SpanPanelValidationError: there are several, and which is meant was not said.
        SpanPanelInternalError: a bug in span_trio.
    """
    forest = Forest(options.domain, fallback=FLAT, limits=options.limits)
    send, receive = trio.open_memory_channel[list[LinkEvent]](0)
    link.subscribe(Request((f"{options.domain}/5/+/$state", f"{options.domain}/5/+/$description")))
    end: ReplayEnd | LinkLost | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, send)
            while end is None:
                for event in await receive.receive():
                    if isinstance(event, (ReplayEnd, LinkLost)):
                        end = event
                    elif isinstance(event, list):
                        for message in event:
                            forest.absorb(message, 0.0)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise SpanPanelInternalError("a background task of span_trio failed") from group
    if isinstance(end, LinkLost):
        raise SpanPanelConnectionError(f"the link was lost: {end.why}")
    if end.refused:
        raise SpanPanelAuthError(f"the broker refuses a subscription to all trees under {options.domain}/5/")
    panels = find_panels(forest)
    if not panels:
        raise SpanPanelConnectionError(f"the broker carries no SPAN panel under {options.domain}/5/")
    if len(panels) > 1:
        raise SpanPanelValidationError(f"the broker carries several panels, say which: {', '.join(sorted(panels))}")
    return panels[0]
