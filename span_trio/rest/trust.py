"""TLS contexts that trust a panel's CA and nothing else, or nobody at all."""

from __future__ import annotations

import functools
import ssl

from ..errors import SpanPanelValidationError
from ..threads import read_in_thread

__all__ = ["load_pin", "nobody", "single_certificate"]


async def load_pin(ca_pem: str) -> ssl.SSLContext:
    """A client context that trusts only ``ca_pem``; made in a thread. A checkpoint.

    Raises:
        SpanPanelValidationError: the text holds no certificate. It is not quoted.
    """
    return await read_in_thread("a pin", _pinned, ca_pem)


def _pinned(ca_pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # a panel's CA has no Authority Key Identifier (lessons D)
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError, TypeError):  # the last: it is not even ASCII
        pass
    else:
        return context
    raise SpanPanelValidationError("the panel's CA is not a PEM certificate")


@functools.cache
def nobody() -> ssl.SSLContext:
    """A context that trusts nobody, for who speaks plain HTTP: the default one reads the system's CAs from disk."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def single_certificate(pem: bytes) -> str | None:
    """The text, if it is one certificate.

    A second one would be trusted too, and nobody would have seen its fingerprint.
    """
    try:
        text = pem.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return None
    return text if text.count("-----BEGIN") == text.count("-----BEGIN CERTIFICATE-----") == 1 else None
