"""Whom to believe: TLS contexts that trust one panel's own CA and nothing else; and why a certificate was refused."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import trio

from ..background import close_forcefully
from ..credentials import fingerprint
from ..errors import (
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelValidationError,
)
from ..threads import read_in_thread
from .dial import Dialer
from .streams import TlsStream

__all__ = ["diagnose", "load_trust", "tls_context"]

_SECOND_LOOK: Final = 5.0


def tls_context(ca_pem: str | None, *, check_hostname: bool = True) -> ssl.SSLContext:
    """A client context that trusts only ``ca_pem``.

    The CA of a panel has no Authority Key Identifier, which the strict checks that Python 3.13 switched on refuse
    (lesson D): that one flag is cleared. The PEM is loaded from memory; nothing touches the disk.

    Args:
        ca_pem: whom to trust; ``None``: whom this system trusts, as a broker in a data centre asks for. That reads
            files, for tens of milliseconds.
        check_hostname: whether the certificate must be for the host. Only to find out what it is for.

    Raises:
        SpanPanelValidationError: the text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    if ca_pem is None:
        context.load_default_certs()
        return context
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError, TypeError) as error:  # the last: it is not even ASCII
        raise SpanPanelValidationError(f"the panel's CA is not a PEM certificate: {error}") from None
    return context


async def load_trust(ca_pem: str | None, *, check_hostname: bool = True) -> ssl.SSLContext:
    """`tls_context`, in a thread where it reads files. A checkpoint there."""
    if ca_pem is not None:
        return tls_context(ca_pem, check_hostname=check_hostname)
    return await read_in_thread("the system's CAs", partial(tls_context, None, check_hostname=check_hostname))


async def diagnose(
    refused: SpanPanelCertificateError,
    host: str,
    port: int,
    ca_pem: str | None,
    *,
    dialer: Dialer,
    fetch_ca: Callable[[], Awaitable[str]] | None,
) -> SpanPanelCertificateError:
    """Say more about a certificate that was refused (facts, REST section 6).

    The TLS library does not hand out what it refuses, so this takes two steps: which CA does the panel hand out now?
    And, where that is the trusted one, what is the certificate for? Nothing is sent over that second connection.

    Args:
        refused: what came of the handshake.
        host: as it was dialled.
        port: as it was dialled.
        ca_pem: whom we trust.
        dialer: how to get there.
        fetch_ca: gives the CA that the panel hands out over plain HTTP: evidence, and no proof. ``None``: no such.

    Returns:
        The same error, or one that says more; with both fingerprints if the CA was replaced.
    """
    if fetch_ca is not None and ca_pem is not None:
        # It may be starting still, or there is a proxy in between: nothing is known then of the CA. But the second step
        # needs none but the trusted one.
        with contextlib.suppress(SpanPanelError):
            trusted, advertised = fingerprint(ca_pem), fingerprint(await fetch_ca())
            if trusted != advertised:
                return SpanPanelCertificateError(
                    f"{host} hands out another CA (SHA-256 {advertised}) than the one that is trusted ({trusted})",
                    trusted_sha256=trusted,
                    advertised_sha256=advertised,
                )
    names = await _names(host, port, ca_pem, dialer)
    if names is None:  # not even without a look at the name: expired, not valid yet, or broken
        return refused
    return SpanPanelCertificateError(f"the certificate of {host} is for {', '.join(names) or 'nobody'}")


async def _names(host: str, port: int, ca_pem: str | None, dialer: Dialer) -> tuple[str, ...] | None:
    """What a certificate that is good but for its name is for; ``None`` where there is no such certificate."""
    context = await load_trust(ca_pem, check_hostname=False)
    with trio.move_on_after(_SECOND_LOOK):
        try:
            stream = await dialer(host, port, context)
        except (SpanPanelConnectionError, OSError, trio.BrokenResourceError):  # the latter: of one that is not ours
            return None
        try:
            if isinstance(stream, TlsStream):
                return tuple(name for _, name in cast("Any", stream.certificate).get("subjectAltName", ()))
        finally:
            await close_forcefully(stream)
    return None
