"""One call each, for who needs only one: `SpanRestClient`, opened, asked and closed, under the names people know."""

from __future__ import annotations

import secrets
import ssl
from typing import TypedDict, Unpack

import httpx

from ..errors import SpanPanelAPIError, SpanPanelError, SpanPanelRateLimitError
from ..span import HomieSchema
from .client import HTTP_PORT, HTTPS_PORT, PATIENCE, SpanRestClient
from .results import DetectionResult, RegisteredClient, RotatedPassphrase, V2AuthResponse, V2StatusInfo

__all__ = [
    "PlainOptions",
    "RestOptions",
    "delete_client",
    "delete_fqdn",
    "detect_api_version",
    "download_ca_cert",
    "get_client",
    "get_fqdn",
    "get_homie_schema",
    "get_v2_status",
    "list_clients",
    "regenerate_passphrase",
    "register_fqdn",
    "register_v2",
    "unique_name",
]


class PlainOptions(TypedDict, total=False):
    """How to get to a panel over plain HTTP: each as an argument by name, as `SpanRestClient` has it.

    ``port`` is that of its HTTP server, 80 by itself.
    """

    port: int
    timeout: float | None
    patience: float
    httpx_client: httpx.AsyncClient | None


class RestOptions(PlainOptions, total=False):
    """How to get to a panel, and whom to trust: each as an argument by name, as `SpanRestClient` has it.

    ``port`` is that of its HTTPS server where there is ``ca_pem`` or ``tls``, 443 by itself, and else of its HTTP
    server, 80 by itself.
    """

    ca_pem: str | None
    tls: ssl.SSLContext | None
    insecure: bool


def _client(host: str, how: RestOptions, token: str | None = None) -> SpanRestClient:
    ca_pem, tls = how.get("ca_pem"), how.get("tls")
    pinned = ca_pem is not None or tls is not None
    return SpanRestClient(
        host,
        ca_pem=ca_pem,
        tls=tls,
        token=token,
        http_port=HTTP_PORT if pinned else how.get("port", HTTP_PORT),
        https_port=how.get("port", HTTPS_PORT) if pinned else HTTPS_PORT,
        insecure=how.get("insecure", False),
        timeout=how.get("timeout"),
        patience=how.get("patience", PATIENCE),
        httpx_client=how.get("httpx_client"),
    )


async def detect_api_version(host: str, **how: Unpack[RestOptions]) -> DetectionResult:
    """Whether there is a panel at ``host``, and which API it has. Raises nothing for anything that a network does.

    A status is v2. A 4xx, other than "asked too often", is a panel whose firmware is too old for it. Whatever else
    comes of it, the result says that nothing is known, and why.

    Raises:
        SpanPanelValidationError: an argument cannot be meant.
    """
    how.setdefault("patience", 0.0)  # a probe is not to take a minute
    async with _client(host, how) as panel:
        try:
            return DetectionResult("v2", await panel.get_status())
        except SpanPanelError as error:
            old = isinstance(error, SpanPanelAPIError) and error.status is not None and 400 <= error.status < 500
            if old and not isinstance(error, SpanPanelRateLimitError):
                return DetectionResult("v1")
            return DetectionResult(error=error.with_traceback(None))


async def get_v2_status(host: str, **how: Unpack[RestOptions]) -> V2StatusInfo:
    """Who the panel at ``host`` is: `SpanRestClient.get_status`, with `RestOptions`."""
    async with _client(host, how) as panel:
        return await panel.get_status()


async def download_ca_cert(host: str, **how: Unpack[PlainOptions]) -> str:
    """The panel's CA certificate, PEM text, over plain HTTP: `SpanRestClient.download_ca_cert`, with `PlainOptions`."""
    async with SpanRestClient(
        host,
        http_port=how.get("port", HTTP_PORT),
        timeout=how.get("timeout"),
        patience=how.get("patience", PATIENCE),
        httpx_client=how.get("httpx_client"),
    ) as panel:
        return await panel.download_ca_cert()


async def get_homie_schema(host: str, **how: Unpack[RestOptions]) -> HomieSchema:
    """The panel's own schema: `SpanRestClient.get_schema`, with `RestOptions`."""
    async with _client(host, how) as panel:
        return await panel.get_schema()


def unique_name(base: str) -> str:
    """A client name that no panel has seen: a name that is taken fails, and costs the proof of the door."""
    return f"{base}-{secrets.token_hex(4)}"


async def register_v2(
    host: str, name: str, passphrase: str | None = None, **how: Unpack[RestOptions]
) -> V2AuthResponse:
    """Register a client: `SpanRestClient.register`, with `RestOptions`. Store what comes back."""
    async with _client(host, how) as panel:
        return await panel.register(name, passphrase)


async def list_clients(host: str, token: str, **how: Unpack[RestOptions]) -> tuple[RegisteredClient, ...]:
    """The panel's clients: `SpanRestClient.list_clients`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.list_clients()


async def get_client(host: str, token: str, name: str, **how: Unpack[RestOptions]) -> RegisteredClient:
    """One of the panel's clients: `SpanRestClient.get_client`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.get_client(name)


async def delete_client(host: str, token: str, name: str, **how: Unpack[RestOptions]) -> RegisteredClient:
    """Take a client off the panel's list: `SpanRestClient.delete_client`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.delete_client(name)


async def regenerate_passphrase(host: str, token: str, **how: Unpack[RestOptions]) -> RotatedPassphrase:
    """Change the panel's passphrase for everybody: `SpanRestClient.regenerate_passphrase`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.regenerate_passphrase()


async def get_fqdn(host: str, token: str, **how: Unpack[RestOptions]) -> str | None:
    """The domain name in the panel's certificate: `SpanRestClient.get_fqdn`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.get_fqdn()


async def register_fqdn(host: str, token: str, fqdn: str, **how: Unpack[RestOptions]) -> str | None:
    """Set the domain name in the panel's certificate: `SpanRestClient.register_fqdn`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        return await panel.register_fqdn(fqdn)


async def delete_fqdn(host: str, token: str, **how: Unpack[RestOptions]) -> None:
    """Remove the domain name from the panel's certificate: `SpanRestClient.delete_fqdn`, with `RestOptions`."""
    async with _client(host, how, token) as panel:
        await panel.delete_fqdn()
