"""Recording what a broker says of a panel: a session of its own, without snapshots."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import IO

import attrs
import click
import trio

from ..clock import now
from ..enums import ConnectionReason
from ..errors import SpanPanelAuthError, SpanPanelConnectionError, SpanPanelError
from ..homie import Accumulator, Instant, Message, Obstacle
from ..link import (
    Answered,
    ConnectFailed,
    Link,
    LinkEvent,
    LinkLost,
    LinkUp,
    Oversize,
    ReplayEnd,
    find_serial,
    load_trust,
    open_link,
)
from ..onboard import find_ca
from ..recording import Recorded, Redactor, record_line
from .connection import Panel

__all__ = ["record_session"]

_log = logging.getLogger("span_trio.cli")


def _as_it_is(recorded: Recorded) -> Recorded:
    return recorded


async def record_session(
    panel: Panel, lines: IO[str], *, redact: bool, seconds: float, progress: Callable[[int, float], None]
) -> None:
    """Write every message of a panel's tree to ``lines``, for so many seconds or until cancelled.

    Raises:
        SpanPanelError: as `open_span_panel`; the link was lost, too.
        OSError: the lines could not be written.
    """
    ca_pem = await find_ca(panel.host, panel.credentials, panel.options)
    tls = await load_trust(ca_pem) if panel.options.encrypted else None
    serial, credentials = panel.credentials.serial_number, panel.credentials
    if serial is None:
        async with open_link(panel.host, credentials, panel.options, tls) as link:
            serial = await find_serial(link, panel.options)
        credentials = attrs.evolve(credentials, serial_number=serial)
    tree = Accumulator(serial, domain=panel.options.domain, limits=panel.options.limits)  # knows what to subscribe to
    mask: Callable[[Recorded], Recorded] = Redactor(serial) if redact else _as_it_is
    began, messages = now(), 0

    def write(batch: list[Message], at: Instant) -> None:
        nonlocal messages
        passed = at.monotonic - began.monotonic
        lines.writelines(record_line(mask(Recorded(passed, message))) + "\n" for message in batch)
        messages += len(batch)
        progress(messages, passed)

    failure: BaseException | None = None
    async with open_link(panel.host, credentials, panel.options, tls) as link, trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[list[LinkEvent]](64)
        nursery.start_soon(link.run, send)
        try:
            with trio.move_on_after(seconds):
                await _follow(receive, link, tree, write)
        except (SpanPanelError, OSError, click.ClickException, KeyboardInterrupt) as error:
            failure = error  # which the nursery would put into a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _follow(
    receive: trio.MemoryReceiveChannel[list[LinkEvent]],
    link: Link,
    tree: Accumulator,
    write: Callable[[list[Message], Instant], None],
) -> None:
    tree.link_up(1, now())
    while True:
        request = tree.next_subscription()
        if request is not None:
            link.subscribe(request)
        events = await receive.receive()
        at = now()
        for event in events:
            match event:
                case LinkLost(why=Obstacle(reason=ConnectionReason.REFUSED, detail=detail)):
                    raise SpanPanelAuthError(f"{detail} to the tree of {tree.root}")
                case ReplayEnd(passed=passed):
                    tree.barrier(at, passed=passed)
                case Oversize(topic=topic):
                    _log.warning("passed over a message that is too large, on %s", topic)
                case LinkLost(why=why):
                    raise SpanPanelConnectionError(f"the link was lost: {why.detail}")
                case LinkUp() | ConnectFailed() | Answered():  # a connection's, and this is one session
                    pass
                case batch:
                    tree.receive(batch, at)
                    write(batch, at)
