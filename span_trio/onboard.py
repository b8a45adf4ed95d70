"""Getting on board: from what a user has (credentials, a store, a passphrase) to credentials that work.

The order is that of the facts (REST section 4): the CA first, then the passphrase, over TLS pinned to that CA; what
comes back is stored before it is used, because every registration adds an entry to the panel's list of clients.
"""

from __future__ import annotations

import logging
import os
import ssl
import warnings

from .credentials import SpanCredentials
from .errors import SpanPanelAPIError, SpanPanelConnectionError, SpanPanelValidationError
from .link import fingerprint, tls_context
from .options import PanelOptions
from .rest import download_ca_cert, register_v2, unique_name
from .store import load_credentials, save_credentials

__all__ = ["find_credentials", "trust"]

_log = logging.getLogger("span_trio.panel")


async def find_credentials(
    host: str,
    *,
    credentials: SpanCredentials | None,
    store: str | os.PathLike[str] | None,
    passphrase: str | None,
    options: PanelOptions,
) -> SpanCredentials:
    """Credentials that were given, or are stored, or else are registered for with the passphrase, and stored.

    With none of the three there are none: a broker at home may ask for none.

    Raises:
        SpanPanelAuthError: the panel does not accept the passphrase.
        SpanPanelConnectionError: the REST API cannot be reached; or the CA is not the expected one.
        SpanPanelAPIError: the panel hands out no CA, or no password for its broker.
        SpanPanelValidationError: the store cannot be used, or is empty and there is no passphrase.
    """
    if credentials is not None:
        return credentials
    if store is not None:
        stored = await load_credentials(store)
        if stored is not None:
            return stored
        if passphrase is None:
            raise SpanPanelValidationError(
                f"{os.fspath(store)} does not exist, and there is no passphrase to register with"
            )
    if passphrase is None:
        return SpanCredentials()
    if store is None:
        warnings.warn(
            "registering without a store: each time adds an entry to the panel's list of clients", stacklevel=4
        )
    registered = await _register(host, passphrase, options)
    if store is not None:
        await save_credentials(store, registered)
    if registered.broker_password is None:
        raise SpanPanelAPIError("the panel registered a client without a password for its broker")
    return registered


async def _register(host: str, passphrase: str, options: PanelOptions) -> SpanCredentials:
    ca_pem = await _fetch_ca(host, options)
    answer = await register_v2(
        host, unique_name("span-trio"), passphrase, port=options.https_port, tls=tls_context(ca_pem)
    )
    return answer.credentials(ca_pem)


async def trust(host: str, credentials: SpanCredentials, options: PanelOptions) -> ssl.SSLContext | None:
    """The TLS context for this panel; ``None`` for a plain transport.

    Raises:
        SpanPanelConnectionError: the CA cannot be fetched, or is not the expected one.
        SpanPanelAPIError: the panel hands out no CA.
        SpanPanelValidationError: the CA in the credentials is none.
    """
    if options.transport == "mqtt":
        return None
    ca_pem = credentials.ca_pem
    if ca_pem is None:
        ca_pem = await _fetch_ca(host, options)
    else:
        _check(host, ca_pem, options)
    return tls_context(ca_pem)


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
        raise SpanPanelConnectionError(f"the CA of {host} has SHA-256 {found}, expected {expected}")
