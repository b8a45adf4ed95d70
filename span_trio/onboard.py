"""Getting on board: from what a user has (credentials, a store, a passphrase) to credentials that work.

The order is that of the facts (REST section 4): the CA first, then the passphrase, over TLS pinned to that CA; what
comes back is stored before it is used, because every registration adds an entry to the panel's list of clients.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from .credentials import SpanCredentials
from .errors import SpanPanelAPIError, SpanPanelCertificateError, SpanPanelValidationError
from .link import fingerprint, tls_context
from .options import PanelOptions
from .rest import download_ca_cert, register_v2, unique_name
from .store import load_credentials, save_credentials

__all__ = ["CredentialSource", "find_ca", "find_credentials"]

_log = logging.getLogger("span_trio.panel")


@attrs.frozen
class CredentialSource:
    """Credentials, and where to ask for them again."""

    first: SpanCredentials
    ask: Callable[[], Awaitable[SpanCredentials]]

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
        SpanPanelValidationError: the store cannot be used, or is empty and there is no passphrase.
    """
    if isinstance(credentials, SpanCredentials):
        return CredentialSource.of(credentials)
    if credentials is not None:
        return CredentialSource(await credentials(), credentials)
    if store is not None:
        stored = await load_credentials(store)
        if stored is not None:
            return CredentialSource(stored, partial(_reload, store))
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
    registered = await _register(host, passphrase, options)
    if store is not None:
        await save_credentials(store, registered)
    if registered.broker_password is None:
        raise SpanPanelAPIError("the panel registered a client without a password for its broker")
    return CredentialSource.of(registered) if store is None else CredentialSource(registered, partial(_reload, store))


async def _reload(store: str | os.PathLike[str]) -> SpanCredentials:
    stored = await load_credentials(store)
    if stored is None:
        raise SpanPanelValidationError(f"{os.fspath(store)} does not exist any more")
    return stored


async def _register(host: str, passphrase: str, options: PanelOptions) -> SpanCredentials:
    ca_pem = await _fetch_ca(host, options)
    answer = await register_v2(
        host, unique_name("span-trio"), passphrase, port=options.https_port, tls=tls_context(ca_pem)
    )
    return answer.credentials(ca_pem)


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
    if expected and found != expected:
        why = f"the CA of {host} has SHA-256 {found}, expected {expected}"
        raise SpanPanelCertificateError(why, trusted_sha256=expected, advertised_sha256=found)
