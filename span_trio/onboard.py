"""Getting on board: from what a user has (credentials, a store, a passphrase) to credentials that work.

The order is that of the facts (REST section 4): the CA first, then the passphrase, over TLS pinned to that CA; what
comes back is stored before it is used, because every registration adds an entry to the panel's list of clients.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import attrs
import trio

from .credentials import SpanCredentials, fingerprint
from .errors import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelError,
    SpanPanelNotStoredError,
    SpanPanelValidationError,
)
from .link import Connection
from .options import PanelOptions
from .rest import SpanRestClient, download_ca_cert, unique_name
from .store import check_store, load_credentials, save_credentials
from .wiretext import get_logger

__all__ = [
    "CredentialSource",
    "find_ca",
    "find_credentials",
    "find_trust",
    "pin",
    "register_panel",
    "rotate_passphrase",
]

_log = get_logger("span_trio.trust")

_UNDO_WITHIN: Final = 10.0  # s


@attrs.frozen
class CredentialSource:
    """Credentials, where to ask for them again, and the file that keeps them; ``None``: the caller keeps them."""

    first: SpanCredentials
    ask: Callable[[], Awaitable[SpanCredentials]]
    store: str | os.PathLike[str] | None = None

    @classmethod
    def stored(cls, store: str | os.PathLike[str], first: SpanCredentials) -> CredentialSource:
        """What is in a file."""
        return cls(first, partial(_reload, store), store)

    @classmethod
    def of(cls, credentials: SpanCredentials) -> CredentialSource:
        """What never changes."""

        async def same() -> SpanCredentials:
            return credentials

        return cls(credentials, same)


async def find_credentials(
    host: str,
    *,
    credentials: SpanCredentials | Callable[[], Awaitable[SpanCredentials]] | None,
    store: str | os.PathLike[str] | None,
    passphrase: str | None,
    options: PanelOptions,
) -> CredentialSource:
    """Credentials that were given, or are stored, or else are registered for with the passphrase, and stored.

    With none of the three there are none: a broker at home may ask for none.

    Raises:
        SpanPanelAuthError: the panel does not accept the passphrase.
        SpanPanelConnectionError: the REST API cannot be reached; or the CA is not the expected one.
        SpanPanelAPIError: the panel hands out no CA, or no password for its broker.
        SpanPanelValidationError: the store cannot be used (which is seen before anything is registered), or is empty
            and there is no passphrase.
    """
    if isinstance(credentials, SpanCredentials):
        return CredentialSource.of(credentials)
    if credentials is not None:
        return CredentialSource(await credentials(), credentials)
    if store is not None:
        stored = await load_credentials(store)
        if stored is not None:
            return CredentialSource.stored(store, stored)
        if passphrase is None:
            raise SpanPanelValidationError(
                f"{os.fspath(store)} does not exist, and there is no passphrase to register with"
            )
    if passphrase is None:
        return CredentialSource.of(SpanCredentials())
    if store is None:
        warnings.warn(
            "registering without a store: each time adds an entry to the panel's list of clients", stacklevel=4
        )
    registered = await register_panel(host, passphrase=passphrase, store=store, options=options)
    return CredentialSource.of(registered) if store is None else CredentialSource.stored(store, registered)


async def _reload(store: str | os.PathLike[str]) -> SpanCredentials:
    stored = await load_credentials(store)
    if stored is None:
        raise SpanPanelValidationError(f"{os.fspath(store)} does not exist any more")
    return stored


async def register_panel(
    host: str,
    *,
    passphrase: str | None = None,
    store: str | os.PathLike[str] | None = None,
    name: str = "span-trio",
    options: PanelOptions | None = None,
    confirm: Callable[[str], Awaitable[bool]] | None = None,
) -> SpanCredentials:
    """Become one of a panel's clients: by its passphrase, or by its door.

    That the store can be written is tried first. Then the CA, over plain HTTP; then everything else over TLS that
    trusts that CA alone. By the door, the access token that comes back can do less; so the passphrase that comes with
    it registers once more, and the first entry is taken off the panel's list again.

    Args:
        host: name or address of the panel.
        passphrase: the panel's (in SPAN's app). ``None``: the door has been pressed three times within 15 minutes.
        store: where to keep the credentials, before anything is done with them.
        name: what the entry's name begins with; chance makes it unique.
        options: the ports, and the fingerprint that the CA must have.
        confirm: shown the CA's fingerprint before anything secret is sent; anything but ``True`` ends it.

    Raises:
        SpanPanelAuthError: the passphrase is not accepted, or the door was not pressed (which is seen beforehand: no
            proof is wasted).
        SpanPanelCertificateError: the CA is not the expected one, or was not confirmed.
        SpanPanelFaultError: the panel cannot read its own passphrase.
        SpanPanelConnectionError: the REST API cannot be reached. The entry may exist all the same.
        SpanPanelAPIError: the panel hands out no CA, no password for its broker, or answers something else.
        SpanPanelValidationError: the store cannot be written. Nothing was sent to the panel; or, where the store failed
            only then, the new entry was taken off its list again.
        SpanPanelNotStoredError: it failed only then, and the entry could not be taken off: the error holds the
            credentials.
    """
    options = PanelOptions() if options is None else options
    if store is not None:
        await check_store(store)
    ca_pem = await _fetch_ca(host, options)
    if confirm is not None and await confirm(fingerprint(ca_pem)) is not True:
        raise SpanPanelCertificateError("the CA was not confirmed", advertised_sha256=fingerprint(ca_pem))

    async def register(passphrase: str | None) -> SpanCredentials:
        client_name = unique_name(name)
        async with _rest(host, ca_pem, options) as rest:
            answer = await rest.register(client_name, passphrase)
        credentials = attrs.evolve(answer.credentials(ca_pem), host=host, client_name=client_name)
        await _keep_or_undo(credentials, store, partial(_rest, host, ca_pem, options))
        if credentials.broker_password is None:
            raise SpanPanelAPIError("the panel registered a client without a password for its broker")
        return credentials

    if passphrase is None:
        async with _rest(host, ca_pem, options) as rest:
            if (await rest.get_status()).proximity_proven is False:  # None: firmware before r202609 does not tell
                raise SpanPanelAuthError("the panel's door was not pressed three times within the last 15 minutes")
    first = await register(passphrase)
    if passphrase is not None or first.passphrase is None:
        return first
    best = first
    try:
        best = await register(first.passphrase)
        async with _rest(host, ca_pem, options, token=best.access_token) as rest:
            await rest.delete_client(first.client_name or "")
    except SpanPanelNotStoredError:
        raise
    except SpanPanelError as error:
        what = "has a token of the lesser kind" if best is first else f"left the entry {first.client_name} behind"
        _log.warning("the registration at %s by its door %s: %s", host, what, error)
    return best


def _rest(host: str, ca_pem: str | None, options: PanelOptions, token: str | None = None) -> SpanRestClient:
    return SpanRestClient(host, ca_pem=ca_pem, token=token, http_port=options.http_port, https_port=options.https_port)


async def _keep(credentials: SpanCredentials, store: str | os.PathLike[str] | None) -> None:
    if store is None:
        return
    with trio.CancelScope(shield=True):  # it is the only copy
        try:
            await save_credentials(store, credentials)
        except SpanPanelValidationError as error:
            raise SpanPanelNotStoredError(f"new credentials are not stored: {error}", credentials) from None


async def _keep_or_undo(
    credentials: SpanCredentials,
    store: str | os.PathLike[str] | None,
    open_rest: Callable[[str | None], SpanRestClient],
) -> None:
    """Store what a registration brought; if that cannot be, take its entry off the panel's list again.

    Somebody who restarts a program that fails would add an entry each time.
    """
    unsaved: SpanPanelNotStoredError | None = None
    try:
        await _keep(credentials, store)
    except SpanPanelNotStoredError as error:
        unsaved = error
    if unsaved is None:
        return
    entry, why = credentials.client_name or "", "the panel did not answer in time"
    with trio.move_on_after(_UNDO_WITHIN, shield=True):
        why = await _take_back(entry, open_rest(credentials.access_token))
    if why:
        raise SpanPanelNotStoredError(f"{unsaved}; and the panel keeps its entry {entry}: {why}", credentials)
    raise SpanPanelValidationError(f"{unsaved}; so its entry {entry} was taken off the panel's list again")


async def _take_back(entry: str, client: SpanRestClient) -> str:
    """Delete an entry of the panel's list by its own token. Returns why it is still there; empty: it is not."""
    try:
        async with client as rest:
            await rest.delete_client(entry)
    except SpanPanelError as error:
        return str(error)
    return ""


async def rotate_passphrase(
    host: str, connection: Connection, source: CredentialSource, options: PanelOptions
) -> SpanCredentials:
    """See `SpanPanel.regenerate_passphrase`."""
    unsaved: SpanPanelNotStoredError | None = None

    async def rotate(before: SpanCredentials) -> SpanCredentials:
        nonlocal unsaved
        if before.access_token is None:
            raise SpanPanelValidationError("changing the passphrase needs credentials with an access token")
        if source.store is not None:
            await check_store(source.store)  # what comes back is the only copy
        async with _rest(host, connection.ca_pem, options, before.access_token) as rest:
            rotated = await rest.regenerate_passphrase()
        fresh = attrs.evolve(before, broker_password=rotated.broker_password, passphrase=rotated.passphrase)
        try:
            await _keep(fresh, source.store)
        except SpanPanelNotStoredError as error:
            unsaved = error  # the connection goes on with them all the same
        return fresh

    fresh = await connection.replace(rotate)
    if unsaved is not None:
        raise unsaved
    return fresh


async def find_trust(host: str, source: CredentialSource, options: PanelOptions) -> str | None:
    """`find_ca`; where it is trusted on first use, not before it is known that it can be stored.

    Raises:
        SpanPanelValidationError: a store without a CA cannot be written.
    """
    if source.store is not None and _is_to_be_pinned(source, options) and options.ca_sha256 is None:
        try:
            await check_store(source.store)
        except SpanPanelValidationError as error:
            why = f"{error}. It holds no CA, and what is trusted on first use must be kept there; or give ca_sha256="
            raise SpanPanelValidationError(why) from None
    return await find_ca(host, source.first, options)


async def pin(host: str, ca_pem: str | None, source: CredentialSource, options: PanelOptions) -> None:
    """Keep the CA that was trusted on first use in the store, unless there is one by now.

    Only once the panel has shown itself: the CA of another device, which took no login, is not kept.

    Raises:
        SpanPanelValidationError: the store cannot be read or written, and no fingerprint was given either.
    """
    if source.store is None or ca_pem is None or not _is_to_be_pinned(source, options):
        return
    try:
        stored = await load_credentials(source.store)
        if stored is None or stored.ca_pem is not None:
            return
        await save_credentials(source.store, attrs.evolve(stored, ca_pem=ca_pem))
    except SpanPanelValidationError as error:
        if options.ca_sha256 is None:
            raise
        _log.info("the CA of %s is fetched again at the next start: %s", host, error)
    else:
        _log.warning("the CA of %s is stored in %s: no other is trusted from now on", host, os.fspath(source.store))


def _is_to_be_pinned(source: CredentialSource, options: PanelOptions) -> bool:
    return source.first.ca_pem is None and options.encrypted and options.source == "panel"


async def find_ca(host: str, credentials: SpanCredentials, options: PanelOptions) -> str | None:
    """The CA to trust, PEM; ``None``: none for a plain transport, and for a bridge those that this system trusts.

    Raises:
        SpanPanelCertificateError: it is not the expected one.
        SpanPanelConnectionError: it cannot be fetched.
        SpanPanelAPIError: the panel hands out no CA.
        SpanPanelValidationError: the CA in the credentials is none; or a bridge, which hands out none, is to have one.
    """
    if not options.encrypted:
        return None
    if credentials.ca_pem is not None:
        _check(host, credentials.ca_pem, options)
        return credentials.ca_pem
    if options.source == "panel":
        return await _fetch_ca(host, options)
    if options.ca_sha256 is not None:
        raise SpanPanelValidationError("a bridge hands out no CA: give it as PEM, in the credentials")
    return None


async def _fetch_ca(host: str, options: PanelOptions) -> str:
    """The CA that the panel hands out over plain HTTP: to be believed on first use, or compared."""
    ca_pem = await download_ca_cert(host, port=options.http_port)
    _check(host, ca_pem, options)
    if options.ca_sha256 is None:
        _log.warning("trusting the CA that %s hands out, SHA-256 %s", host, fingerprint(ca_pem))
    return ca_pem


def _check(host: str, ca_pem: str, options: PanelOptions) -> None:
    expected = (options.ca_sha256 or "").replace(":", "").lower()
    found = fingerprint(ca_pem)
    if expected and ca_pem.count("-----BEGIN") > 1:  # all would be trusted, and one was compared
        raise SpanPanelValidationError(f"a CA with a fingerprint is one certificate; for {host} there are several")
    if expected and found != expected:
        why = f"the CA of {host} has SHA-256 {found}, expected {expected}"
        raise SpanPanelCertificateError(why, trusted_sha256=expected, advertised_sha256=found)
