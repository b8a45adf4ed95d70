"""Two calls of the v2 REST API that need no secret: the CA certificate and the schema.

Whatever the peer answers, a call ends within `TIMEOUT`, reads at most `MAX_BODY` and raises one of the documented
errors; a body is never quoted in one.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from typing import Final, cast

import httpx
import trio

from ..errors import SpanPanelAPIError, SpanPanelConnectionError, SpanPanelServerError
from ..span import HomieSchema

__all__ = ["MAX_BODY", "TIMEOUT", "download_ca_cert", "get_homie_schema"]

MAX_BODY: Final = 4 * 2**20
TIMEOUT: Final = 5.0
"""Seconds, for a whole call."""


async def download_ca_cert(host: str, *, port: int = 80) -> str:
    """The panel's CA certificate, PEM text. Over plain HTTP, hence to be believed on first use only, or compared.

    Args:
        host: name or address of the panel.
        port: of its HTTP server.

    Raises:
        SpanPanelConnectionError: no connection, or no answer in time.
        SpanPanelServerError: the web server is still starting (5xx).
        SpanPanelAPIError: any other answer than a certificate.
    """
    endpoint = "GET /api/v2/certificate/ca"
    body = await _get(host, port, "/api/v2/certificate/ca", tls=None)
    try:
        text = body.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise SpanPanelAPIError("the answer is not a PEM certificate", endpoint=endpoint, status=200) from None
    return text


async def get_homie_schema(host: str, *, port: int = 80, tls: ssl.SSLContext | None = None) -> HomieSchema:
    """The panel's own schema.

    Args:
        host: name or address of the panel.
        port: of its HTTP server, or of its HTTPS server where ``tls`` is given.
        tls: whom to trust; ``None`` for plain HTTP.

    Raises:
        SpanPanelConnectionError: no connection, no answer in time, or TLS failed.
        SpanPanelServerError: the web server is up and the application behind it is not (5xx, a truncated body).
        SpanPanelAPIError: any other answer than a schema.
    """
    endpoint = "GET /api/v2/homie/schema"
    body = await _get(host, port, "/api/v2/homie/schema", tls=tls)
    try:
        document = json.loads(body)
        schema = HomieSchema.from_json(document)
        if "types" not in document and schema.data_model_version is None:
            raise ValueError("it has neither types nor a dataModelVersion")
    except RecursionError:
        raise SpanPanelAPIError("the answer is nested too deeply", endpoint=endpoint, status=200) from None
    except (json.JSONDecodeError, UnicodeDecodeError):  # lesson C: 200 and half a body while booting
        raise SpanPanelServerError("the answer is not JSON", endpoint=endpoint, status=200) from None
    except ValueError as error:
        raise SpanPanelAPIError(f"the answer is not a schema: {error}", endpoint=endpoint, status=200) from None
    return schema


async def _get(host: str, port: int, path: str, *, tls: ssl.SSLContext | None) -> bytes:
    """One GET without credentials, proxies, redirects or compression (a bomb is small on the wire)."""
    endpoint = f"GET {path}"
    # An empty context instead of the default one, which reads the system's CAs from disk, and trusts them.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls is None else tls
    headers = {"Accept-Encoding": "identity"}
    try:
        with trio.fail_after(TIMEOUT):
            url = httpx.URL(scheme="http" if tls is None else "https", host=host, port=port, path=path)
            async with (
                httpx.AsyncClient(verify=verify, trust_env=False, timeout=TIMEOUT) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                if not response.is_success:
                    error = SpanPanelServerError if response.is_server_error else SpanPanelAPIError
                    status = response.status_code
                    raise error(f"{endpoint} answered {status}", endpoint=endpoint, status=status)
                return await _body(response, endpoint)
    except trio.TooSlowError:
        raise SpanPanelConnectionError(f"{endpoint}: no answer from {host}:{port} within {TIMEOUT:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:  # the last: a name that cannot be one
        raise SpanPanelConnectionError(f"{endpoint} at {host}:{port} failed: {_reason(error)}") from error


async def _body(response: httpx.Response, endpoint: str) -> bytes:
    body = bytearray()
    try:
        with trio.CancelScope() as enough:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    enough.cancel()  # `break` would leave httpx's generators to the garbage collector
    except httpx.RemoteProtocolError:
        raise SpanPanelServerError(f"{endpoint}: the answer broke off", endpoint=endpoint, status=200) from None
    if len(body) > MAX_BODY:
        raise SpanPanelAPIError(f"{endpoint}: the answer is too large", endpoint=endpoint, status=200)
    return bytes(body)


def _reason(error: BaseException) -> str:
    """Why, in words: what is at the bottom. On top, httpx and trio say nothing, or that all attempts failed."""
    while (below := _below(error)) is not None:
        error = below
    if isinstance(error, OSError) and error.errno:
        own_number = isinstance(error, (ssl.SSLError, socket.gaierror))
        return str(error.strerror) if own_number else os.strerror(error.errno)
    return str(error) or type(error).__name__


def _below(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):  # an error for each address
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error.__cause__ or error.__context__
