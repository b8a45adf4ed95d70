"""``clients``, ``fqdn`` and ``passphrase``: what a client may do to who else may use the panel, and by which name.

The rules of this room:

* What takes access away asks first, and says from whom. Nobody there to ask is no yes.
* A new passphrase is in its file before anything else happens, and nowhere else; that it can be put there is tried
  before the panel is asked to change it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import attrs
import click
import trio

from ..background import close_forcefully
from ..credentials import SpanCredentials
from ..errors import (
    SpanPanelAPIError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelNotStoredError,
    SpanPanelOutcomeUnknownError,
    SpanPanelTimeoutError,
    SpanPanelValidationError,
)
from ..link import dial, load_trust
from ..rest import RegisteredClient
from ..store import check_store, load_credentials, save_credentials
from .asking import confirm, need_terminal
from .connection import run
from .output import columns, note, say, say_json
from .panels import UnclearNameError
from .rest import JSON, YES, RestPanel, rest_options, to_the_end, unsaved

__all__ = ["clients", "fqdn", "passphrase"]

_GONE: Final = frozenset({404, 422})
_LOOK_EVERY: Final = 1.0  # s
_STEP: Final = 5.0  # s

# --- clients ----------------------------------------------------------------------------------------------------------


@click.group()
def clients() -> None:
    """Who is registered with a panel. Needs stored credentials."""


@clients.command("list")
@rest_options
@JSON
def list_(panel: RestPanel, as_json: bool) -> None:
    """List the clients of the panel at HOST; with --json, one object a line."""
    found = run(_all_clients, panel)
    if as_json:
        for client in found:
            say_json(_client_json(client, panel))
        return
    rows = [("NAME", "REGISTERED", "MAY")]
    rows += [(_named(client, panel), _when(client), " ".join(_allowed(client))) for client in found]
    say(*columns(*rows))


@clients.command()
@rest_options
@click.argument("name")
@JSON
def show(panel: RestPanel, name: str, as_json: bool) -> None:
    """Show the client NAME of the panel at HOST."""
    client = run(_client, panel, name)
    if as_json:
        say_json(_client_json(client, panel))
        return
    lines = [("name", _named(client, panel)), ("description", client.description or "-"), ("registered", _when(client))]
    lines += [(method, " ".join(groups) or "-") for method, groups in client.allowed_endpoint_groups.items()]
    say(*(f"{heading + ':':13}{value}" for heading, value in lines))


@clients.command()
@rest_options
@click.argument("name")
@click.option("--own", is_flag=True, help="Though it is the entry of these credentials themselves.")
@YES
@JSON
def delete(*, panel: RestPanel, name: str, own: bool, yes: bool, as_json: bool) -> None:
    """Delete the client NAME of the panel at HOST: its access token is good no more.

    It keeps the password of the broker; "passphrase rotate" takes that away from everybody.
    """
    is_own = name == panel.credentials.client_name
    if is_own and not own:
        why = f"{name} is the entry of these credentials themselves, which could do nothing more here"
        raise SpanPanelValidationError(f"{why}: --own, or span-trio forget {panel.name} --delete-client")
    client = run(_client, panel, name)
    if not yes:
        need_terminal("--yes deletes it without a question")
        confirm(
            f"Delete the client {_named(client, panel)}, registered {_when(client)}?", declined="nothing was deleted"
        )
    run(partial(_client, panel, name, delete=True))
    if as_json:
        say_json({**_client_json(client, panel), "deleted": True})
    else:
        say(f"deleted {name}")


async def _all_clients(panel: RestPanel) -> tuple[RegisteredClient, ...]:
    async with panel.open() as rest:
        return await rest.list_clients()


async def _client(panel: RestPanel, name: str, *, delete: bool = False) -> RegisteredClient:
    async with panel.open() as rest:
        try:
            return await (rest.delete_client(name) if delete else rest.get_client(name))
        except SpanPanelAPIError as error:
            if error.status not in _GONE:
                raise
    raise UnclearNameError(f"{panel.name} has no client {name}: span-trio clients list {panel.name}")


def _named(client: RegisteredClient, panel: RestPanel) -> str:
    return f"{client.name} (this one)" if client.name == panel.credentials.client_name else client.name


def _when(client: RegisteredClient) -> str:
    if client.issued_at is None:
        return "-"
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a panel's clock
        return f"{dt.datetime.fromtimestamp(client.issued_at).astimezone():%Y-%m-%d %H:%M}"
    return str(client.issued_at)


def _allowed(client: RegisteredClient) -> list[str]:
    return [method for method, groups in client.allowed_endpoint_groups.items() if groups]


def _client_json(client: RegisteredClient, panel: RestPanel) -> dict[str, Any]:
    return {
        "name": client.name,
        "description": client.description,
        "issued_at": client.issued_at,
        "allowed_endpoint_groups": {method: list(groups) for method, groups in client.allowed_endpoint_groups.items()},
        "own": client.name == panel.credentials.client_name,
    }


# --- the domain name --------------------------------------------------------------------------------------------------


@click.group()
def fqdn() -> None:
    """The domain name that a panel's certificate is good for, beside its own. Needs stored credentials."""


@fqdn.command("get")
@rest_options
@JSON
def get_fqdn(panel: RestPanel, as_json: bool) -> None:
    """Print the domain name of the panel at HOST."""
    _tell_fqdn(run(_get_fqdn, panel), as_json=as_json)


@fqdn.command("set")
@rest_options
@click.argument("name")
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=60.0,
    show_default=True,
    help="Seconds for the certificate to carry it; 0: do not look.",
)
@JSON
def set_fqdn(panel: RestPanel, name: str, wait: float, as_json: bool) -> None:
    """Set the domain name of the panel at HOST, and wait until its certificate carries it.

    The panel restarts its servers for that; whoever is connected comes back. The exit code is 3 if the certificate does
    not follow in time.
    """
    has = run(_set_fqdn, panel, name)
    if has is None:
        raise SpanPanelAPIError(f"{panel.name} was told its domain name, and says that it has none")
    if wait:
        run(_wait_for_name, panel, has, wait)
    _tell_fqdn(has, as_json=as_json)


@fqdn.command("delete")
@rest_options
@JSON
def delete_fqdn(panel: RestPanel, as_json: bool) -> None:
    """Remove the domain name of the panel at HOST."""
    run(_delete_fqdn, panel)
    _tell_fqdn(None, as_json=as_json)


def _tell_fqdn(name: str | None, *, as_json: bool) -> None:
    if as_json:
        say_json({"fqdn": name})
    elif name is None:
        note("no domain name is set")
    else:
        say(name)


async def _get_fqdn(panel: RestPanel) -> str | None:
    async with panel.open() as rest:
        return await rest.get_fqdn()


async def _set_fqdn(panel: RestPanel, name: str) -> str | None:
    async with panel.open() as rest:
        return await rest.register_fqdn(name)


async def _delete_fqdn(panel: RestPanel) -> None:
    async with panel.open() as rest:
        await rest.delete_fqdn()


async def _wait_for_name(panel: RestPanel, name: str, wait: float) -> None:
    wanted = _folded(name)
    with trio.move_on_after(wait):
        while True:
            if wanted in await _names(panel):
                return
            await trio.sleep(_LOOK_EVERY)
    raise SpanPanelTimeoutError(f"{name} is set, but the certificate does not carry it within {wait:g} s", (name,))


async def _names(panel: RestPanel) -> set[str]:
    """The DNS names in the certificate of now; none, while the panel makes another one."""
    context = await load_trust(panel.credentials.ca_pem, check_hostname=False)
    try:
        stream = await dial(panel.host, panel.options.https_port, context, step_timeout=_STEP)
    except SpanPanelCertificateError:
        raise
    except SpanPanelConnectionError:
        return set()
    try:
        entries = cast("Any", stream).certificate.get("subjectAltName", ())
        return {_folded(name) for kind, name in entries if kind == "DNS"}
    finally:
        await close_forcefully(stream)


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")


# --- the passphrase ---------------------------------------------------------------------------------------------------


@click.group()
def passphrase() -> None:
    """The secret that registers clients of a panel. Needs stored credentials."""


@passphrase.command()
@rest_options
@YES
@JSON
def rotate(panel: RestPanel, yes: bool, as_json: bool) -> None:
    """Change the passphrase of the panel at HOST and the password of its broker, for everybody.

    Both are stored, and a span-trio that runs with the same store follows. All others lose access until they have the
    new ones. The exit code is 12 if it is not known whether the panel has changed them.
    """
    file = panel.file
    if file is None:
        raise SpanPanelValidationError(f"no credentials for {panel.host}: span-trio register {panel.host}")
    found = run(_all_clients, panel)
    others = [client.name for client in found if client.name != panel.credentials.client_name]
    if not yes:
        need_terminal("--yes changes it without a question")
        note(*_losers(panel, others))
        confirm(f"Change the passphrase of {panel.name}?", declined="nothing was changed")
    try:
        run(to_the_end, partial(_rotate, panel, file))
    except SpanPanelNotStoredError as error:
        raise unsaved(error) from None
    except SpanPanelOutcomeUnknownError as error:
        then = (
            "What is stored was not changed. If the panel refuses it from now on, read the passphrase in SPAN's app "
            f"(or use the door): span-trio register {panel.name} --again"
        )
        raise SpanPanelOutcomeUnknownError(f"{error}. {then}", endpoint=error.endpoint, status=error.status) from None
    if as_json:
        told = {"serial_number": panel.credentials.serial_number, "host": panel.host, "rotated": True}
        say_json({**told, "clients_that_lost_access": others, "file": str(file)})
    else:
        say(f"changed; the new passphrase and password are stored in {file}")


def _losers(panel: RestPanel, others: Sequence[str]) -> list[str]:
    lines = [f"Who uses {panel.name} with its present passphrase or password loses access: SPAN's dashboard, programs."]
    if others:
        lines.append(f"These are registered: {', '.join(others)}")
    return lines


async def _rotate(panel: RestPanel, file: Path) -> SpanCredentials:
    before = await load_credentials(file) or panel.credentials  # somebody was asked: others may have rotated meanwhile
    await check_store(file)  # if nothing can be stored, it is better known now
    async with panel.open() as rest:
        rotated = await rest.regenerate_passphrase()
        fresh = attrs.evolve(before, broker_password=rotated.broker_password, passphrase=rotated.passphrase)
        with trio.CancelScope(shield=True):  # it is the only copy
            try:
                await save_credentials(file, fresh)
            except SpanPanelValidationError as error:
                why = f"the passphrase was changed, and the new one is not stored: {error}"
                raise SpanPanelNotStoredError(why, fresh) from None
    return fresh
