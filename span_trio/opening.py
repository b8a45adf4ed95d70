"""The way in and out of a panel: `open_span_panel`.

The rules of this room:

* What can only fail before there is anything to watch happens before the nursery: credentials, trust, the panel's name.
  Its errors come out plain.
* The body's own exception travels *around* the nursery and is raised unchanged behind it: searched for in a group, it
  could be a copy. Of the background, one error comes out, or none (`PanelService`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from types import NoneType
from typing import Final, cast

import attrs
import trio

from .accumulate import PanelAccumulator
from .arguments import demand_type
from .auditor import Audit, Auditor
from .background import is_cancelled, open_background, protected_exit
from .commands import Authorise, Commands
from .credentials import SpanCredentials
from .errors import SpanPanelCertificateError, SpanPanelTimeoutError
from .link import Connection, Dialer, broker_port, diagnose, find_serial, load_trust, open_link, the_dialer
from .onboard import find_credentials, find_trust, pin, rotate_passphrase
from .options import PanelOptions
from .panel import SpanPanel
from .rest import download_ca_cert
from .service import PanelService
from .snapshot import SpanPanelSnapshot
from .tracker import PanelTracker

__all__ = ["fetch_snapshot", "open_span_panel"]

_CREDENTIALS: Final = "SpanCredentials, or an async function that gives them"


@protected_exit
@contextlib.asynccontextmanager
async def open_span_panel(
    host: str,
    *,
    credentials: SpanCredentials | Callable[[], Awaitable[SpanCredentials]] | None = None,
    store: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
    options: PanelOptions | None = None,
    dialer: Dialer | None = None,
    authorise: Authorise | None = None,
    audit: Audit | None = None,
) -> AsyncGenerator[SpanPanel, None]:
    """Open a panel, or any broker that carries the tree of one; yields it once its first snapshot is complete.

    The first connect must succeed. From then on the connection is kept: a link that is lost is made anew, for as long
    as the block lasts, and `SpanPanel.edges` tell of it.

    Args:
        host: name or address of the panel. With TLS it must stand in the panel's certificate.
        credentials: who it is, how to log in, whom to trust; or an async function that gives them, which is called
            again when they are refused; cancelling it must end it, or closing waits for it. Without a serial number the
            broker is asked, and must carry one panel only. Without a CA, the panel's is fetched over HTTP and trusted
            (see also `PanelOptions.ca_sha256`).
        store: a regular file that holds credentials, read when none are given, and again when they are refused. Where
            there is none yet, ``passphrase`` registers with the panel and the result is stored, before it is used: with
            mode 0600, written as a whole. Nobody waits for a file system that does not answer.
        passphrase: the panel's (in SPAN's app). Without a store every start adds an entry to the panel's list of
            clients, which is warned of.
        options: everything else.
        dialer: how to get a stream to the broker, in place of TCP and TLS: a tunnel, or a panel in memory.
        authorise: an async function that every `Command` passes before it is sent, once it is known to be possible. It
            refuses by raising: its exception reaches the caller of the command unchanged. If it returns ``None`` or
            ``True`` the command is sent. Any other answer (``False``, 0, a text) is a `SpanPanelNotAuthorisedError`,
            and so is none in time: what it takes counts against the command's deadline.
        audit: an async function that is told of every command when its call has ended, refusals included, as a
            `CommandRecord`; one at a time, in order, in the background. What it raises is logged. The newest are
            dropped (and counted) while 256 wait for it, and what it has not heard ``close_grace`` after the end.

    Raises:
        SpanPanelAuthError: the panel refuses the passphrase, or its broker the credentials or the subscription: at the
            beginning, or later for longer than ``auth_grace``.
        SpanPanelCertificateError: the panel's certificate is not good for this host, or is of another CA than the
            trusted one: at the beginning, or later for that CA (see `PanelOptions.on_ca_change`).
        SpanPanelConnectionError: the first connect failed. The message says how.
        SpanPanelTimeoutError: no complete snapshot within ``ready_timeout``; names what is missing.
        SpanPanelDataModelError: the panel publishes a data model that is not known, or not readable; also later, after
            an upgrade.
        SpanPanelValidationError: an argument is not what it has to be.
        SpanPanelAPIError: the panel does not hand out its CA, or registers nobody.
        SpanPanelInternalError: a bug in span_trio.

    An exception of the block itself comes out unchanged, and so does one of the function that gives the credentials
    first. When the panel fails the block is cancelled. When somebody
    cancels from outside, the panel closes after the block's ``finally``. Closing takes ``close_grace`` at most.
    """
    credentials = _check_arguments(host, credentials, store, passphrase, options)
    for name, function in (("dialer", dialer), ("authorise", authorise), ("audit", audit)):
        demand_type(function, (Callable, NoneType), name, "an async function")
    options = PanelOptions() if options is None else options
    deadline = trio.current_time() + options.ready_timeout
    fetch_ca: Callable[[], Awaitable[str]] | None = None
    if options.source == "panel":
        fetch_ca = partial(download_ca_cert, host, port=options.http_port, patience=0)  # a connection waits for it
    with _in_time(deadline, host, lambda: ("a connection",)):
        source = await find_credentials(
            host, credentials=credentials, store=store, passphrase=passphrase, options=options
        )
        credentials = source.first
        ca_pem = await find_trust(host, source, options)
        serial = credentials.serial_number
        if serial is None:
            serial = await _ask_for_serial(host, credentials, ca_pem, options, dialer=dialer, fetch_ca=fetch_ca)
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
    rotate = partial(rotate_passphrase, host, connection, source, options)
    tracker = PanelTracker(serial, options)
    commands = Commands(tracker, authorise=authorise, auditor=Auditor(audit, grace=options.close_grace))
    accumulator = PanelAccumulator(tracker, commands, edges_held=options.edges_held)
    service = PanelService(host, accumulator, connection, options)

    body_error: BaseException | None = None
    end: BaseException | None = None
    try:
        async with open_background() as nursery:
            nursery.start_soon(service.run)
            try:
                with service.body_scope:
                    with _in_time(deadline, host, tracker.tree.missing):
                        await service.wait_ready()
                        await pin(host, ca_pem, source, options)
                    with trio.CancelScope(deadline=deadline):  # worth waiting for, and no reason to fail
                        await service.wait_size()
                    try:
                        yield SpanPanel(host, serial, options, service, rotate)
                    except BaseException as error:  # noqa: ASYNC103 - raised below, around the nursery
                        if is_cancelled(error):
                            raise
                        body_error = error  # around this scope, too: it would make another group of a group
            finally:
                service.close()
    except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, where it is nobody's context
        end = error
    _raise_what_counts(body_error, end, service.failure)


def _check_arguments(
    host: object, credentials: object, store: object, passphrase: object, options: object
) -> SpanCredentials | Callable[[], Awaitable[SpanCredentials]] | None:
    """Refuse what is of the wrong type. Returns the credentials."""
    demand_type(host, str, "host", "a name or an address")
    demand_type(store, (str, os.PathLike, NoneType), "store", "the path of a file")
    demand_type(passphrase, (str, NoneType), "passphrase", "text")
    demand_type(options, (PanelOptions, NoneType), "options", "PanelOptions")
    if credentials is None or isinstance(credentials, SpanCredentials):
        return credentials
    demand_type(credentials, Callable, "credentials", _CREDENTIALS)
    ask = cast("Callable[[], Awaitable[SpanCredentials]]", credentials)

    async def checked() -> SpanCredentials:
        asked = ask()
        demand_type(asked, Awaitable, "credentials", _CREDENTIALS)
        found = await asked
        demand_type(found, SpanCredentials, "credentials", _CREDENTIALS)
        return found

    return checked


async def _ask_for_serial(
    host: str,
    credentials: SpanCredentials,
    ca_pem: str | None,
    options: PanelOptions,
    *,
    dialer: Dialer | None,
    fetch_ca: Callable[[], Awaitable[str]] | None,
) -> str:
    """The serial number of the one panel that the broker carries, by a session that is over then."""
    tls = await load_trust(ca_pem) if options.encrypted else None
    try:
        async with open_link(host, credentials, options, tls, dialer) as link:
            return await find_serial(link, options)
    except SpanPanelCertificateError as error:
        refused = error
    port, dial = broker_port(credentials, options), the_dialer(options, dialer)
    raise await diagnose(refused, host, port, ca_pem, dialer=dial, fetch_ca=fetch_ca) from refused


def _raise_what_counts(
    body_error: BaseException | None, end: BaseException | None, failure: BaseException | None
) -> None:
    """Raise the one exception that comes out of a block, if any.

    Ctrl-C comes first, wherever it has struck: in the background, or while the panel was being closed. Then what the
    block raised; then what came of opening and closing, a cancellation included; then how the panel failed.

    Args:
        body_error: what the block raised.
        end: what came out around it.
        failure: why the block was cancelled.
    """
    for interrupt in (end, failure):
        if isinstance(interrupt, (KeyboardInterrupt, SystemExit)):
            raise interrupt
    raised = end if body_error is None else body_error
    if raised is None and failure is not None:
        raise failure from failure.__cause__  # that it cancelled the body is no context
    if raised is not None:
        if failure is not None:
            raised.add_note(f"meanwhile, the panel failed: {failure}")
        raise raised


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
