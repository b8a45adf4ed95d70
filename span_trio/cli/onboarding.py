"""``register``, ``panels`` and ``forget``: panels come, and go.

The rules of this room:

* The order is that of the facts (REST section 4): first the CA, which a person or a fingerprint confirms; then
  everything else over TLS that trusts it. What is asked for is asked before anything is used up.
* No secret is an argument, and none is said: it comes from a file, a variable or a hidden line, and goes into a file.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from ..credentials import SpanCredentials, fingerprint
from ..errors import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelNotStoredError,
    SpanPanelRateLimitError,
    SpanPanelServerError,
    SpanPanelValidationError,
)
from ..onboard import register_panel
from ..options import PanelOptions
from ..rest import SpanRestClient, V2StatusInfo
from ..store import check_store
from .asking import at_terminal, confirm, need_terminal
from .connection import run
from .output import columns, note, prompt_hidden, say, say_json
from .panels import StoredPanel, UnclearNameError, find_stored, path_of, read_text, stored_panels
from .rest import JSON, PORTS, YES, RestPanel, fetch_ca, given_options, to_the_end, unsaved

__all__ = ["forget", "panels", "register"]

PASSPHRASE_VARIABLE: Final = "SPAN_TRIO_PASSPHRASE"  # noqa: S105 - the name of one, not one
_LOOK_EVERY: Final = 2.0  # s
_AT_A_TERMINAL: Final = 300.0  # s that a person gets to walk to the panel
_GONE: Final = frozenset({404, 422})

_PASSPHRASE_WAY: Final = (
    "A panel takes a new client in one of two ways:",
    "  by its passphrase, which SPAN's app shows under the on-premise settings;",
    "  by its door, which is pressed three times: leave the line empty for that.",
)
_DOOR_WAY: Final = (
    "Press the switch of the panel's door three times, quickly. Opening the door is the first press: two more, then.",
    "The LED strip flashes twice, and for 15 minutes one client may register.",
)


# --- register ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Wish:
    """What was typed.

    Attributes:
        host: the panel's.
        before: what is stored for that host.
        passphrase: ``None``: by the door, or a person is to be asked.
        ask: a person is to be asked for the way.
    """

    host: str
    before: StoredPanel | None
    passphrase: str | None = attrs.field(repr=False)
    ask: bool
    yes: bool
    again: bool
    wait: float | None
    name: str
    options: PanelOptions


@click.command()
@click.argument("host")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the panel's passphrase; or set {PASSPHRASE_VARIABLE}. [default: it is asked for]",
)
@click.option("--door", is_flag=True, help="By the panel's door: no passphrase.")
@click.option("--wait", type=click.FloatRange(0, 3600), help="Seconds for the door. [default: a terminal: 300; else 0]")
@click.option("--ca-sha256", help="The fingerprint that the panel's CA must have: nobody is asked, then.")
@click.option("--yes", "-y", is_flag=True, help="Trust the CA that the panel hands out, unless another one is stored.")
@click.option("--name", default="span-trio", show_default=True, help="What the entry in the panel's list begins with.")
@click.option("--again", is_flag=True, help="Though it is stored already.")
@partial(given_options, PORTS)
@JSON
def register(
    *,
    host: str,
    passphrase_file: Path | None,
    door: bool,
    ca_sha256: str | None,
    again: bool,
    as_json: bool,
    http_port: int,
    https_port: int,
    **others: Any,
) -> None:
    """Become a client of the panel at HOST, and store what opens it.

    Shows the fingerprint of the panel's CA, and asks; then registers by the panel's passphrase, or by its door. The
    other commands take the panel's serial number as their HOST, from then on.
    """
    if door and passphrase_file is not None:
        raise click.UsageError("--door and --passphrase-file exclude each other.")
    passphrase = None if door else _given_passphrase(passphrase_file)
    before = find_stored(host)
    if before is not None:
        _refuse_stored(before, again=again)
    wish = _Wish(
        host=host if before is None else before.host,
        before=before,
        passphrase=passphrase,
        ask=not door and passphrase is None,
        again=again,
        options=PanelOptions(http_port=http_port, https_port=https_port, ca_sha256=ca_sha256),
        **others,
    )
    if wish.ask:
        need_terminal(f"--passphrase-file, {PASSPHRASE_VARIABLE} or --door says how to register")
    credentials, path = _register(wish)
    serial = credentials.serial_number
    if as_json:
        shown = ("serial_number", "host", "client_name", "ca_sha256")
        say_json({**{name: getattr(credentials, name) for name in shown}, "file": str(path)})
    else:
        say(f"registered with {serial} at {credentials.host}, as {credentials.client_name}")
        say(f"stored in {path}")
    if before is not None and before.credentials.client_name and before.serial_number == serial:
        note(f"the entry of before is still there: span-trio clients delete {serial} {before.credentials.client_name}")
    note(f"next: span-trio watch {serial}")


def _given_passphrase(file: Path | None) -> str | None:
    given = os.environ.get(PASSPHRASE_VARIABLE) if file is None else read_text(file).strip()
    if given == "" and file is not None:
        raise SpanPanelValidationError(f"{file} is empty")
    return given or None


def _refuse_stored(stored: StoredPanel, *, again: bool) -> None:
    if not again:
        raise SpanPanelValidationError(
            f"{stored} is stored already: span-trio watch {stored.serial_number}; "
            "--again adds another entry to the panel's list of clients"
        )


def _register(wish: _Wish) -> tuple[SpanCredentials, Path]:
    ca_pem = _trusted_ca(wish)
    told = run(_status, wish, ca_pem)
    path = path_of(told.serial_number)
    if path.exists():
        _refuse_stored(find_stored(told.serial_number) or StoredPanel(path, SpanCredentials()), again=wish.again)
    run(check_store, path)
    passphrase = wish.passphrase
    if wish.ask:
        note(*_PASSPHRASE_WAY)
        passphrase = prompt_hidden("Passphrase (it is not shown)") or None
    if passphrase is None:
        _prepare_door(wish, ca_pem, told)
    registering = partial(
        register_panel,
        wish.host,
        passphrase=passphrase,
        store=path,
        name=wish.name,
        options=attrs.evolve(wish.options, ca_sha256=fingerprint(ca_pem)),
    )
    try:
        credentials = run(_carry_out, registering)
    except SpanPanelNotStoredError as error:
        raise unsaved(error) from None
    return credentials, path


async def _carry_out(registering: Callable[[], Awaitable[SpanCredentials]]) -> SpanCredentials:
    return await to_the_end(registering)


def _trusted_ca(wish: _Wish) -> str:
    """The panel's CA, once somebody has said that it is the right one."""
    stored = None if wish.before is None else wish.before.credentials.ca_sha256
    if wish.options.ca_sha256 is None and stored is None and not wish.yes:
        need_terminal("--ca-sha256 says which CA is the panel's, and --yes trusts any")
    ca_pem = run(fetch_ca, wish.host, wish.options)
    sha256 = fingerprint(ca_pem)
    if wish.options.ca_sha256 is not None or sha256 == stored:
        return ca_pem
    note(f"the panel at {wish.host} hands out a CA with the SHA-256 fingerprint", f"  {sha256}")
    if stored is not None:
        note("which is another one than the one that is stored,", f"  {stored}")
        note("A firmware upgrade or a factory reset makes a new one; or this is not your panel.")
        need_terminal("--ca-sha256 says which CA is the panel's")
    if stored is not None or not wish.yes:
        confirm("Trust it from now on?", declined="the CA is not trusted, and nothing was sent to the panel")
    return ca_pem


def _client(wish: _Wish, ca_pem: str) -> SpanRestClient:
    return SpanRestClient(wish.host, ca_pem=ca_pem, https_port=wish.options.https_port)


async def _status(wish: _Wish, ca_pem: str) -> V2StatusInfo:
    async with _client(wish, ca_pem) as rest:
        return await rest.get_status()


def _prepare_door(wish: _Wish, ca_pem: str, told: V2StatusInfo) -> None:
    """Return when the door is pressed, as far as the panel tells."""
    if told.proximity_proven:
        return
    wait = wish.wait if wish.wait is not None else _AT_A_TERMINAL if at_terminal() else 0.0
    if told.proximity_proven is None:
        if at_terminal():
            note(*_DOOR_WAY)
            confirm("Its firmware does not tell when that has happened. Is it done?", declined="nothing was done")
        return
    if wait:
        note(*_DOOR_WAY, f"Waiting for that, {wait:g} s at most; ctrl-C ends it.")
    run(_wait_for_door, wish, ca_pem, wait)


async def _wait_for_door(wish: _Wish, ca_pem: str, wait: float) -> None:
    deadline = trio.current_time() + wait
    async with _client(wish, ca_pem) as rest:
        while True:
            try:
                proven = (await rest.get_status()).proximity_proven
            except SpanPanelCertificateError:
                raise
            except (SpanPanelConnectionError, SpanPanelServerError, SpanPanelRateLimitError):
                proven = False  # a status that does not come is no reason to let a person walk again
            left = deadline - trio.current_time()
            if proven is not False:
                return
            if left <= 0:
                raise SpanPanelAuthError("the panel's door was not pressed three times within the last 15 minutes")
            await trio.sleep(min(_LOOK_EVERY, left))


# --- panels and forget ------------------------------------------------------------------------------------------------


@click.command()
@JSON
def panels(as_json: bool) -> None:
    """List the panels that are stored on this machine. No secret is shown; with --json, one object a line.

    Each is a file in the directory "panels" of SPAN_TRIO_HOME, or else of the program's own directory of settings.
    """
    rows = [("SERIAL NUMBER", "HOST", "CLIENT", "SHA-256 OF THE CA")]
    for stored in stored_panels():
        if isinstance(stored, SpanPanelValidationError):
            note(f"span-trio: {stored}")
            continue
        known = stored.credentials
        if as_json:
            shown = {"client_name": known.client_name, "ca_sha256": known.ca_sha256, "file": str(stored.path)}
            say_json({"serial_number": stored.serial_number, "host": stored.host, **shown})
        rows.append((stored.serial_number, stored.host, known.client_name or "-", known.ca_sha256 or "-"))
    if as_json:
        return
    if len(rows) == 1:
        note("no panel is stored: span-trio register HOST")
        return
    say(*columns(*rows))


@click.command()
@click.argument("panel")
@click.option("--delete-client", is_flag=True, help="Take its entry off the panel's list of clients first.")
@YES
@partial(given_options, PORTS)
@JSON
def forget(*, panel: str, delete_client: bool, yes: bool, http_port: int, https_port: int, as_json: bool) -> None:
    """Forget PANEL (its serial number, or its host): remove what is stored for it.

    Its entry in the panel's list of clients stays, unless --delete-client.
    """
    stored = find_stored(panel)
    if stored is None:
        raise UnclearNameError(f"no stored panel is called {panel}")
    known = stored.credentials
    if delete_client and known.client_name is None:
        raise SpanPanelValidationError(f"what is stored for {stored} does not tell its entry in the list of clients")
    if not yes:
        need_terminal("--yes forgets it without a question")
        what = f"and delete its client {known.client_name}" if delete_client else "and leave its entry on the panel"
        confirm(f"Forget {stored}, {what}? This machine cannot open it then.", declined="nothing was forgotten")
    run(check_store, stored.path)  # whoever may not write there may not remove it either
    if delete_client:
        options = PanelOptions(http_port=http_port, https_port=https_port)
        run(_delete_own, RestPanel(stored.host, known, options, stored.path))
    try:
        stored.path.unlink()
    except OSError as error:
        raise SpanPanelValidationError(f"cannot remove {stored.path}: {error.strerror}") from None
    if as_json:
        say_json({"serial_number": stored.serial_number, "client_deleted": delete_client})
    else:
        say(f"forgot {stored}")


async def _delete_own(panel: RestPanel) -> None:
    name = panel.credentials.client_name or ""
    async with panel.open() as rest:
        try:
            await rest.delete_client(name)
        except SpanPanelAPIError as error:
            if error.status not in _GONE:
                raise
            note(f"the panel has no client {name} any more")
