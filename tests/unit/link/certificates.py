"""Certificates of panels that do not exist, made once."""

from __future__ import annotations

import functools
import ssl
from typing import Final, NamedTuple

import trustme

from span_trio.link import tls_context

__all__ = ["NAME", "Certificates", "certificates", "other_ca"]

NAME: Final = "panel.test"


class Certificates(NamedTuple):
    """A CA as PEM text, and a server's context with a certificate of it for `NAME` and 127.0.0.1."""

    ca_pem: str
    server: ssl.SSLContext

    @property
    def client(self) -> ssl.SSLContext:
        """A client's context, of the library's making."""
        return tls_context(self.ca_pem)


@functools.cache
def certificates() -> Certificates:
    """The panel's."""
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME, "127.0.0.1").configure_cert(server)
    return Certificates(ca.cert_pem.bytes().decode(), server)


@functools.cache
def other_ca() -> str:
    """A CA that has signed nothing, PEM text."""
    return trustme.CA().cert_pem.bytes().decode()
