"""Certificates of panels that do not exist, made once."""

from __future__ import annotations

import datetime as dt
import functools
import ssl
from typing import Final, NamedTuple

import trustme

from span_trio.link import tls_context

__all__ = ["NAME", "Certificates", "certificates", "expired", "other_ca", "renamed", "replaced"]

NAME: Final = "panel.test"


class Certificates(NamedTuple):
    """A CA as PEM text, and a server's context with a certificate of it for `NAME` and 127.0.0.1."""

    ca_pem: str
    server: ssl.SSLContext

    @property
    def client(self) -> ssl.SSLContext:
        """A client's context, of the library's making."""
        return tls_context(self.ca_pem)


_ca = functools.cache(trustme.CA)
"""The panel's."""


def _issue(ca: trustme.CA, *names: str, **options: dt.datetime) -> Certificates:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **options).configure_cert(server)
    return Certificates(ca.cert_pem.bytes().decode(), server)


@functools.cache
def certificates() -> Certificates:
    """The panel's."""
    return _issue(_ca(), NAME, "127.0.0.1")


@functools.cache
def renamed() -> Certificates:
    """The panel's CA, and a certificate of it for other names."""
    return _issue(_ca(), "span-nt-1.local", "10.42.0.1")


@functools.cache
def expired() -> Certificates:
    """The panel's CA, and a certificate of it that was good once."""
    return _issue(_ca(), NAME, not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


@functools.cache
def replaced() -> Certificates:
    """Another CA, and a certificate of it."""
    return _issue(trustme.CA(), NAME, "127.0.0.1")


@functools.cache
def other_ca() -> str:
    """A CA that has signed nothing, PEM text."""
    return trustme.CA().cert_pem.bytes().decode()
