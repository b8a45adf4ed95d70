"""A panel, open: what a user holds of it, and the way in and out.

The rules of this room:

* What can only fail before there is anything to watch happens before the nursery: credentials, trust, the panel's name.
  Its errors come out plain.
* The body's own exception travels *around* the nursery and is raised unchanged behind it: searched for in a group, it
  could be a copy. Of the background, one error comes out, or none (`PanelService`).
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Final, TypeAlias, cast

import attrs
import trio

from .accumulate import PanelAccumulator
from .broadcast import EdgeReader, UpdateReader, ValueReader
from .credentials import SpanCredentials
from .enums import ConnectionReason
from .errors import SpanPanelCertificateError, SpanPanelConnectionError, SpanPanelTimeoutError
from .homie import ConnectionEdge, Instant, Obstacle
from .link import Connection, Dialer, broker_port, diagnose, find_serial, load_trust, open_link, the_dialer
from .onboard import find_ca, find_credentials
from .options import PanelOptions
from .rest import download_ca_cert
from .service import PanelService
from .snapshot import SpanPanelSnapshot
from .span import FieldMetadata
from .tracker import PanelTracker

__all__ = ["PanelStatistics", "SpanPanel", "SpanPanelUpdate", "fetch_snapshot", "open_span_panel"]

_CLOSED: Final = Obstacle(ConnectionReason.LINK_LOST, "the panel is closed")

SpanPanelUpdate: TypeAlias = SpanPanelSnapshot | ConnectionEdge
"""What `SpanPanel.updates` yields."""


@attrs.frozen
class PanelStatistics:
    """Counters since the panel was opened; a new object each time.

    Attributes:
        messages: MQTT messages received.
        bytes_received: of MQTT, on this link; 0 while there is none.
        bytes_sent: likewise.
        dropped: messages, or parts of descriptions, that were not taken in this epoch; by reason.
        snapshots: different snapshots built.
        epochs: links so far.
        replays_assumed: subscriptions of this epoch that were taken as replayed only because the broker was quiet.
        devices: Homie devices known.
        topics: topics kept.
        data_model: the version of the parent/child data model, as published; ``None`` for the flat one.
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
    data_model: str | None
    last_message_age: float | None


class SpanPanel:
    """An open panel. Made by `open_span_panel`, and good as long as its ``async with`` block."""

    def __init__(self, host: str, serial_number: str, options: PanelOptions, service: PanelService) -> None:
        self.host: Final = host
        self.serial_number: Final = serial_number
        self._options = options
        self._service = service
        self._accumulator = service.accumulator
        self._broadcast = service.accumulator.broadcast
        self._tracker = service.accumulator.tracker

    def __repr__(self) -> str:
        """Who, where, and whether live."""
        obstacle = self.obstacle
        state = "closed" if self._service.closed else "live" if obstacle is None else f"not live, {obstacle}"
        return f"<SpanPanel {self.serial_number} at {self.host}: {state}>"

    # --- what a user reads ---

    @property
    def snapshot(self) -> SpanPanelSnapshot:
        """The panel now: built from whatever has arrived, also between two publishes. Costs what has changed.

        Raises:
            SpanPanelStaleDataError: the panel is not live: there is no current data.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        return self._tracker.snapshot

    def snapshots(self) -> ValueReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over snapshots: the current one at once, then the newest whenever asked.

        Latest wins: a slow loop skips (and counts in ``.skipped``), it never falls behind. It waits while the panel is
        not live. Any number of them may be held; they neither know nor delay each other, and ``break`` leaves nothing
        behind. After the block has ended they raise `SpanPanelClosedError`: they never just end.
        """
        return self._broadcast.values()

    def edges(self) -> EdgeReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over the moments at which `live` turns, beginning with the newest one.

        They strictly alternate, for every reader: one that is too slow for the last ``edges_held`` of them misses some
        in pairs, and ``edge.missed`` says how many. Otherwise as `snapshots`.
        """
        return self._broadcast.turns()

    def updates(self) -> UpdateReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over both: every edge in its turn, and between two of them the newest snapshots.

        Behind an offline edge there is no snapshot until the next online edge. Otherwise as `snapshots` and `edges`.
        """
        return self._broadcast.updates()

    @property
    def live(self) -> bool:
        """Whether there is current data.

        That is: connected, replay complete, ``$state`` ready, no device pending, no value of before a restart, and
        not silent where that is watched (`PanelOptions.max_silence`).
        """
        return not self._service.closed and self._tracker.tree.live

    @property
    def obstacle(self) -> Obstacle | None:
        """Why the panel is not live, now; ``None`` while it is.

        The offline edge says why it ceased to be. What is in the way changes meanwhile: a link that was lost, then an
        address that refuses, then a certificate, then a replay.
        """
        return _CLOSED if self._service.closed else self._tracker.tree.obstacle

    @property
    def live_since(self) -> Instant | None:
        """When the panel became live; ``None`` while it is not. span-panel-api called the span since then uptime."""
        return self._accumulator.live_since if self.live else None

    async def wait_live(self, *, held_for: float = 0.0) -> None:
        """Wait until the panel is live, and has been for ``held_for`` seconds without a break.

        A checkpoint; cancelling it harms nothing.

        Raises:
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        await trio.lowlevel.checkpoint()
        while True:
            self._broadcast.check_open()
            since = self.live_since
            held_at = math.inf if since is None else since.monotonic + held_for
            if held_at <= trio.current_time():
                return
            with trio.CancelScope(deadline=held_at):
                await self._broadcast.wait_turn()

    async def wait_for(
        self, predicate: Callable[[SpanPanelSnapshot], object], *, held_for: float = 0.0
    ) -> SpanPanelSnapshot:
        """Wait until ``predicate`` is true of the published snapshots, and has been for ``held_for`` seconds.

        It begins with the current snapshot. While the panel is not live it is true of nothing, and time begins anew; so
        it does where a snapshot was replaced before it was seen.

        Args:
            predicate: called once for each snapshot. What it raises comes out here, and harms nobody else.
            held_for: how long, s.

        Returns:
            The newest snapshot.

        Raises:
            SpanPanelClosedError: the ``async with`` block has ended.

        A checkpoint; cancelling it harms nothing.
        """
        await trio.lowlevel.checkpoint()
        broadcast = self._broadcast
        version, edges, held_at = -1, -1, math.inf
        while True:
            broadcast.check_open()
            snapshot = broadcast.value
            if snapshot is None or broadcast.edges != edges:
                version, edges, held_at = -1, broadcast.edges, math.inf
            if snapshot is not None and broadcast.version != version:
                if broadcast.version - 1 != version:  # nobody knows what it would have said of those between
                    held_at = math.inf
                version = broadcast.version
                held_at = min(held_at, trio.current_time() + held_for) if predicate(snapshot) else math.inf
            if snapshot is not None and held_at <= trio.current_time():
                return snapshot
            with trio.CancelScope(deadline=held_at):
                await broadcast.wait_news()

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

    def field_metadata(self) -> Mapping[str, FieldMetadata]:
        """What the panel declares of each field that one of its properties fills: unit, datatype, and whether at all.

        By path: ``panel.instant_grid_power_w``, ``circuit.instant_power_w``, ``battery.soe_kwh``, ``pv.…``,
        ``evse.…``, ``pcs.…``, ``mid.…``. Computed fields have none. Reads all descriptions: call it once, not for
        each snapshot.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        return self._tracker.field_metadata()

    async def ping(self) -> float:
        """The round trip to the broker, s. A checkpoint; cancelling it harms nothing.

        Raises:
            SpanPanelConnectionError: there is no link, or it was lost meanwhile.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        if self._accumulator.link is None:
            raise SpanPanelConnectionError(f"there is no link: {self.obstacle}")
        return await self._accumulator.link.ping()

    def statistics(self) -> PanelStatistics:
        """Counters, for diagnostics."""
        tracker, link = self._tracker, self._accumulator.link
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
            data_model=tracker.version.text,
            last_message_age=trio.current_time() - tracker.heard_at.monotonic if tracker.messages else None,
        )


@contextlib.asynccontextmanager
async def open_span_panel(
    host: str,
    *,
    credentials: SpanCredentials | Callable[[], Awaitable[SpanCredentials]] | None = None,
    store: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
    options: PanelOptions | None = None,
    dialer: Dialer | None = None,
) -> AsyncGenerator[SpanPanel, None]:
    """Open a panel, or any broker that carries the tree of one; yields it once its first snapshot is complete.

    The first connect must succeed. From then on the connection is kept: a link that is lost is made anew, for as long
    as the block lasts, and `SpanPanel.edges` tell of it.

    Args:
        host: name or address of the panel. With TLS it must stand in the panel's certificate.
        credentials: who it is, how to log in, whom to trust; or an async function that gives them, which is called
            again when they are refused. Without a serial number the broker is asked, and must carry one panel only.
            Without a CA, the panel's is fetched over HTTP and trusted (see also `PanelOptions.ca_sha256`).
        store: a file that holds credentials, read when none are given, and again when they are refused. Where there is
            none yet, ``passphrase`` registers with the panel and the result is stored, before it is used: with mode
            0600, written as a whole.
        passphrase: the panel's (in SPAN's app). Without a store every start adds an entry to the panel's list of
            clients, which is warned of.
        options: everything else.
        dialer: how to get a stream to the broker, in place of TCP and TLS: a tunnel, or a panel in memory.

    Raises:
        SpanPanelAuthError: the panel refuses the passphrase, or its broker the credentials or the subscription: at the
            beginning, or later for longer than ``auth_grace``.
        SpanPanelCertificateError: the panel's certificate is not good for this host, or is of another CA than the
            trusted one: at the beginning, or later for that CA (see `PanelOptions.on_ca_change`).
        SpanPanelConnectionError: the first connect failed. The message says how.
        SpanPanelTimeoutError: no complete snapshot within ``ready_timeout``; names what is missing.
        SpanPanelDataModelError: the panel publishes a data model that is not known, or not readable; also later, after
            an upgrade.
        SpanPanelValidationError: host, credentials or options cannot be meant.
        SpanPanelAPIError: the panel does not hand out its CA, or registers nobody.
        SpanPanelInternalError: a bug in span_trio.

    An exception of the block itself comes out unchanged, and so does one of the function that gives the credentials
    first. When the panel fails the block is cancelled. When somebody
    cancels from outside, the panel closes after the block's ``finally``. Closing takes ``close_grace`` at most.
    """
    options = PanelOptions() if options is None else options
    deadline = trio.current_time() + options.ready_timeout
    fetch_ca = partial(download_ca_cert, host, port=options.http_port) if options.source == "panel" else None
    with _in_time(deadline, host, lambda: ("a connection",)):
        source = await find_credentials(
            host, credentials=credentials, store=store, passphrase=passphrase, options=options
        )
        credentials = source.first
        ca_pem = await find_ca(host, credentials, options)
        serial = credentials.serial_number
        if serial is None:
            tls = await load_trust(ca_pem) if options.encrypted else None
            try:
                async with open_link(host, credentials, options, tls, dialer) as link:
                    serial = await find_serial(link, options)
            except SpanPanelCertificateError as refused:
                port = broker_port(credentials, options)
                dial = the_dialer(options, dialer)
                raise await diagnose(refused, host, port, ca_pem, dialer=dial, fetch_ca=fetch_ca) from refused
            credentials = attrs.evolve(credentials, serial_number=serial)
    connection = Connection(
        host,
        credentials,
        ca_pem,
        options,
        ask=source.ask,
        fetch_ca=fetch_ca,
        dialer=dialer,
    )
    tracker = PanelTracker(serial, options)
    service = PanelService(host, PanelAccumulator(tracker, edges_held=options.edges_held), connection, options)

    body_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            try:
                with service.body_scope:
                    with _in_time(deadline, host, tracker.tree.missing):
                        await service.wait_ready()
                    with trio.CancelScope(deadline=deadline):  # worth waiting for, and no reason to fail
                        await service.wait_size()
                    try:
                        yield SpanPanel(host, serial, options, service)
                    except BaseException as error:  # noqa: ASYNC103 - raised below, around the nursery
                        if _is_cancelled(error):
                            raise
                        body_error = error  # around this scope, too: it would make another group of a group
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


def _is_cancelled(error: BaseException) -> bool:
    """Whether a cancellation is in it, which whoever asked for it must get back."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


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
    credentials: SpanCredentials | Callable[[], Awaitable[SpanCredentials]] | None = None,
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
