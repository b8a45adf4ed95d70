"""Whom to believe: TLS contexts that trust one panel's own CA and nothing else."""

from __future__ import annotations

import hashlib
import ssl

from ..errors import SpanPanelValidationError

__all__ = ["fingerprint", "tls_context"]


def tls_context(ca_pem: str) -> ssl.SSLContext:
    """A client context that trusts only ``ca_pem`` and checks host names.

    The CA of a panel has no Authority Key Identifier, which the strict checks that Python 3.13 switched on refuse
    (lesson D): that one flag is cleared. The PEM is loaded from memory; nothing touches the disk.

    Raises:
        SpanPanelValidationError: the text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError, TypeError) as error:  # the last: it is not even ASCII
        raise SpanPanelValidationError(f"the panel's CA is not a PEM certificate: {error}") from None
    return context


def fingerprint(ca_pem: str) -> str:
    """The SHA-256 of the (first) certificate's DER form, in lower-case hex: what a person compares.

    Raises:
        SpanPanelValidationError: the text holds no certificate.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    start, stop = ca_pem.find(begin), ca_pem.find(end)
    try:
        der = ssl.PEM_cert_to_DER_cert(ca_pem[start : stop + len(end)])
    except ValueError:
        raise SpanPanelValidationError("the panel's CA is not a PEM certificate") from None
    return hashlib.sha256(der).hexdigest()
