"""A panel, open: what a user holds of it, and the way in and out.

The rules of this room:

* What can only fail before there is anything to watch happens before the nursery: trust, the panel's name, connect. Its
  errors come out plain.
* The body's own exception travels *around* the nursery and is raised unchanged behind it: searched for in a group, it
  could be a copy. Of the background, one error comes out, or none (`PanelService`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Final

import attrs
import trio

from .accumulate import PanelAccumulator
from .broadcast import LatestReader
from .credentials import SpanCredentials
from .errors import SpanPanelClosedError, SpanPanelConnectionError, SpanPanelTimeoutError
from .homie import Instant
from .link import Dialer, connect, find_serial
from .onboard import find_credentials, trust
from .options import PanelOptions
from .service import PanelService
from .snapshot import SpanPanelSnapshot
from .tracker import PanelTracker

__all__ = ["PanelStatistics", "SpanPanel", "fetch_snapshot", "open_span_panel"]


@attrs.frozen
class PanelStatistics:
    """Counters since the panel was opened; a new object each time.

    Attributes:
        messages: MQTT messages received.
        bytes_received: of MQTT, on this link.
        bytes_sent: likewise.
        dropped: messages, or parts of descriptions, that were not taken in this epoch; by reason.
        snapshots: different snapshots built.
        epochs: links so far.
        replays_assumed: subscriptions of this epoch that were taken as replayed only because the broker was quiet.
        devices: Homie devices known.
        topics: topics kept.
        last_message_age: seconds since the newest message; ``None`` before the first.
    """

    messages: int
    bytes_received: int
    bytes_sent: int
    dropped: Mapping[str, int]
    snapshots: int
    epochs: int
    replays_assumed: int
    devices: int
    topics: int
    last_message_age: float | None


class SpanPanel:
    """An open panel. Made by `open_span_panel`, and good as long as its ``async with`` block."""

    def __init__(self, host: str, serial_number: str, options: PanelOptions, service: PanelService) -> None:
        self.host: Final = host
        self.serial_number: Final = serial_number
        self._options = options
        self._service = service
        self._accumulator = service.accumulator
        self._tracker = service.accumulator.tracker

    def __repr__(self) -> str:
        """Who, where, and whether live."""
        obstacle = self._tracker.tree.obstacle
        state = "closed" if self._service.closed else "live" if obstacle is None else f"not live, {obstacle}"
        return f"<SpanPanel {self.serial_number} at {self.host}: {state}>"

    def _check_open(self) -> None:
        if self._service.closed:
            raise SpanPanelClosedError

    # --- what a user reads ---

    @property
    def snapshot(self) -> SpanPanelSnapshot:
        """The panel now: built from whatever has arrived, also between two publishes. Costs what has changed.

        Raises:
            SpanPanelStaleDataError: the panel is not live: there is no current data.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._check_open()
        return self._tracker.snapshot

    def snapshots(self) -> LatestReader[SpanPanelSnapshot]:
        """An async iterator over snapshots: the current one at once, then the newest whenever asked.

        Latest wins: a slow loop skips (and counts in ``.skipped``), it never falls behind. It waits while the panel is
        not live. Any number of them may be held; they neither know nor delay each other, and ``break`` leaves nothing
        behind. After the block has ended they raise `SpanPanelClosedError`: they never just end.
        """
        return self._accumulator.cell.reader()

    @property
    def live(self) -> bool:
        """Whether there is current data.

        That is: connected, replay complete, ``$state`` ready, no device pending, no value of before a restart.
        """
        return not self._service.closed and self._tracker.tree.live

    @property
    def live_since(self) -> Instant | None:
        """When the panel became live; ``None`` while it is not. span-panel-api called the span since then uptime."""
        return self._accumulator.live_since if self.live else None

    @property
    def snapshot_interval(self) -> float:
        """The shortest time between two published snapshots, s; 0 means one for each batch of messages.

        May be set at any time. A changed enum or boolean on the wire (a relay, the door) is published at once all the
        same, at most ten times a second.
        """
        return self._tracker.throttle.interval

    @snapshot_interval.setter
    def snapshot_interval(self, seconds: float) -> None:
        self._options = attrs.evolve(self._options, snapshot_interval=seconds)  # which checks it
        self._accumulator.set_interval(seconds)

    async def ping(self) -> float:
        """The round trip to the broker, s. A checkpoint; cancelling it harms nothing.

        Raises:
            SpanPanelConnectionError: there is no link, or it was lost meanwhile.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._check_open()
        if self._service.link is None:
            raise SpanPanelConnectionError("there is no link")
        return await self._service.link.ping()

    def statistics(self) -> PanelStatistics:
        """Counters, for diagnostics."""
        tracker, link = self._tracker, self._service.link
        tree = tracker.tree
        return PanelStatistics(
            messages=tracker.messages,
            bytes_received=0 if link is None else link.bytes_received,
            bytes_sent=0 if link is None else link.bytes_sent,
            dropped=dict(tree.forest.dropped),
            snapshots=tracker.built,
            epochs=tree.epoch,
            replays_assumed=tree.assumed,
            devices=len(tree.forest.devices),
            topics=tree.forest.topic_count,
            last_message_age=trio.current_time() - tracker.heard_at.monotonic if tracker.messages else None,
        )


@contextlib.asynccontextmanager
async def open_span_panel(
    host: str,
    *,
    credentials: SpanCredentials | None = None,
    store: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
    options: PanelOptions | None = None,
    dialer: Dialer | None = None,
) -> AsyncGenerator[SpanPanel, None]:
    """Open a panel, or any broker that carries the tree of one; yields it once its first snapshot is complete.

    Args:
        host: name or address of the panel. With TLS it must stand in the panel's certificate.
        credentials: who it is, how to log in, whom to trust. Without a serial number the broker is asked, and must
            carry one panel only. Without a CA, the panel's is fetched over HTTP and trusted (see also
            `PanelOptions.ca_sha256`).
        store: a file that holds credentials, read when none are given. Where there is none yet, ``passphrase``
            registers with the panel and the result is stored, before it is used: with mode 0600, written as a whole.
        passphrase: the panel's (in SPAN's app). Without a store every start adds an entry to the panel's list of
            clients, which is warned of.
        options: everything else.
        dialer: how to get a stream to the broker, in place of TCP and TLS: a tunnel, or a panel in memory.

    Raises:
        SpanPanelAuthError: the panel refuses the passphrase, or its broker the credentials or the subscription.
        SpanPanelConnectionError: no connection; or, later, the link was lost. The message says how.
        SpanPanelTimeoutError: no complete snapshot within ``ready_timeout``; names what is missing.
        SpanPanelValidationError: host, credentials or options cannot be meant.
        SpanPanelAPIError: the panel does not hand out its CA, or registers nobody.
        SpanPanelInternalError: a bug in span_trio.

    An exception of the block itself comes out unchanged. When the panel fails the block is cancelled. When somebody
    cancels from outside, the panel closes after the block's ``finally``. Closing takes ``close_grace`` at most.
    """
    options = PanelOptions() if options is None else options
    deadline = trio.current_time() + options.ready_timeout
    with _in_time(deadline, host, lambda: ("a connection",)):
        credentials = await find_credentials(
            host, credentials=credentials, store=store, passphrase=passphrase, options=options
        )
        tls = await trust(host, credentials, options)
        serial = credentials.serial_number
        if serial is None:
            serial = await find_serial(await connect(host, credentials, options, tls, dialer), options)
            credentials = attrs.evolve(credentials, serial_number=serial)
        link = await connect(host, credentials, options, tls, dialer)
    tracker = PanelTracker(serial, options)
    service = PanelService(host, PanelAccumulator(tracker), options, tls)

    body_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run, link)
            try:
                with service.body_scope:
                    with _in_time(deadline, host, tracker.tree.missing):
                        await service.wait_ready()
                    with trio.CancelScope(deadline=deadline):  # worth waiting for, and no reason to fail
                        await service.wait_size()
                    yield SpanPanel(host, serial, options, service)
            except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, around the nursery
                body_error = error
            finally:
                service.close()
    finally:
        if body_error is not None:
            if service.failure is not None:
                body_error.add_note(f"meanwhile, the panel failed: {service.failure}")
            raise body_error
        if service.failure is not None:
            raise service.failure from service.failure.__cause__  # that it cancelled the body is no context


@contextlib.contextmanager
def _in_time(deadline: float, host: str, missing: Callable[[], tuple[str, ...]]) -> Generator[None, None, None]:
    with trio.CancelScope(deadline=deadline) as scope:
        yield
    if scope.cancelled_caught:
        what = missing()
        message = f"the panel at {host} is not ready in time; missing: {'; '.join(what)}"
        raise SpanPanelTimeoutError(message, what) from None


async def fetch_snapshot(
    host: str,
    *,
    credentials: SpanCredentials | None = None,
    store: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
    options: PanelOptions | None = None,
    dialer: Dialer | None = None,
) -> SpanPanelSnapshot:
    """Connect, take one complete snapshot, close.

    Arguments and errors as of `open_span_panel`.
    """
    async with open_span_panel(
        host, credentials=credentials, store=store, passphrase=passphrase, options=options, dialer=dialer
    ) as panel:
        return await anext(panel.snapshots())
