"""Recording what a broker says of a panel: a session of its own, without snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

import attrs
import trio

from ..background import open_background
from ..clock import now
from ..enums import ConnectionReason
from ..errors import SpanPanelAuthError, SpanPanelConnectionError
from ..homie import Accumulator, Instant, Limits, Message, Obstacle
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
from ..onboard import CredentialSource, find_trust, pin
from ..recording import Recorded, Redactor, record_line
from ..wiretext import get_logger
from .connection import Panel

__all__ = ["record_session"]

_log = get_logger("span_trio.cli")


class _Writer:
    """Writes messages as lines. What is to be redacted is held back until the replay is complete.

    A broker replays in any order, and what may be shown of a value stands in its device's description.
    """

    def __init__(self, lines: IO[str], redactor: Redactor | None, limits: Limits) -> None:
        self.messages = 0
        self._lines = lines
        self._redactor = redactor
        self._limits = limits
        self._held: list[Recorded] | None = None if redactor is None else []
        self._bytes = 0

    def write(self, batch: list[Message], passed: float) -> None:
        recorded = [Recorded(passed, message) for message in batch]
        self.messages += len(batch)
        if self._held is None:
            self._put(recorded)
            return
        self._held += recorded
        self._bytes += sum(len(message.payload) for message in batch)
        if len(self._held) > self._limits.topics or self._bytes > self._limits.payload_bytes:
            self.release()

    def release(self) -> None:
        """Write what is held back, and hold nothing back from now on."""
        if self._held is not None and self._redactor is not None:
            held, self._held = self._held, None
            self._redactor.learn(message for _, message in held)
            self._put(held)

    def _put(self, recorded: list[Recorded]) -> None:
        masked = recorded if self._redactor is None else map(self._redactor, recorded)
        self._lines.writelines(record_line(each) + "\n" for each in masked)


async def record_session(
    panel: Panel, lines: IO[str], *, redact: bool, seconds: float, progress: Callable[[int, float], None]
) -> None:
    """Write every message of a panel's tree to ``lines``, for so many seconds or until cancelled.

    Raises:
        SpanPanelError: as `open_span_panel`; the link was lost, too.
        OSError: the lines could not be written.
    """
    source = CredentialSource.of(panel.credentials)
    if panel.store is not None:
        source = CredentialSource.stored(panel.store, panel.credentials)
    ca_pem = await find_trust(panel.host, source, panel.options)
    tls = await load_trust(ca_pem) if panel.options.encrypted else None
    serial, credentials = panel.credentials.serial_number, panel.credentials
    if serial is None:
        async with open_link(panel.host, credentials, panel.options, tls) as link:
            serial = await find_serial(link, panel.options)
        credentials = attrs.evolve(credentials, serial_number=serial)
    tree = Accumulator(serial, domain=panel.options.domain, limits=panel.options.limits)  # knows what to subscribe to
    writer = _Writer(lines, Redactor(serial, domain=panel.options.domain) if redact else None, panel.options.limits)
    began = now()

    def write(batch: list[Message], at: Instant) -> None:
        passed = at.monotonic - began.monotonic
        writer.write(batch, passed)
        progress(writer.messages, passed)

    async with open_link(panel.host, credentials, panel.options, tls) as link, open_background() as nursery:
        await pin(panel.host, ca_pem, source, panel.options)
        send, receive = trio.open_memory_channel[list[LinkEvent]](64)
        nursery.start_soon(link.run, send)
        try:
            with trio.move_on_after(seconds):
                await _follow(receive, link, tree, write, writer.release)
        finally:
            writer.release()


async def _follow(
    receive: trio.MemoryReceiveChannel[list[LinkEvent]],
    link: Link,
    tree: Accumulator,
    write: Callable[[list[Message], Instant], None],
    replayed: Callable[[], None],
) -> None:
    tree.link_up(1, now())
    outstanding = False
    while True:
        request = tree.next_subscription()
        if request is not None:
            link.subscribe(request)
            outstanding = True
        elif not outstanding:
            replayed()
        events = await receive.receive()
        at = now()
        for event in events:
            match event:
                case LinkLost(why=Obstacle(reason=ConnectionReason.REFUSED, detail=detail)):
                    raise SpanPanelAuthError(f"{detail} to the tree of {tree.root}")
                case ReplayEnd(passed=passed):
                    outstanding = False
                    tree.barrier(at, passed=passed)
                case Oversize(topic=topic):
                    _log.warning("passed over a message that is too large, on %s", topic)
                case LinkLost(why=why):
                    raise SpanPanelConnectionError(f"the link was lost: {why.detail}")
                case LinkUp() | ConnectFailed() | Answered():  # a connection's, and this is one session
                    pass
                case batch:
                    write([message for message in batch if _is_of_it(message, tree, at)], at)


def _is_of_it(message: Message, tree: Accumulator, at: Instant) -> bool:
    """Take a message; whether it is of the tree, or bears on what is."""
    tree.receive([message], at)
    return tree.forest.concerns(message)
