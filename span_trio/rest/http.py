"""One HTTP request to a panel: bounded in time and size, without proxies, redirects, compression or the system's CAs.

Whatever the peer answers, a call ends within `TIMEOUT`, reads at most `MAX_BODY`, and raises one of the documented
errors; neither what was sent nor what came back is ever quoted in one.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import attrs
import httpx
import trio

from ..errors import SpanPanelAPIError, SpanPanelConnectionError, SpanPanelServerError

__all__ = ["MAX_BODY", "TIMEOUT", "Answer", "request"]

MAX_BODY: Final = 4 * 2**20
TIMEOUT: Final = 5.0
"""Seconds, for a whole call."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=SpanPanelAPIError)


@attrs.frozen
class Answer:
    """What came back from ``endpoint``, which is method and path."""

    endpoint: str
    status: int
    body: bytes = attrs.field(default=b"", repr=False)

    def error(self, kind: type[_E], why: str) -> _E:
        """An error about this answer."""
        return kind(f"{self.endpoint} {why}", endpoint=self.endpoint, status=self.status)

    def json(self) -> Mapping[str, Any]:
        """The body, which is to be a JSON object.

        Raises:
            SpanPanelServerError: it is no JSON: half a body, or the page of a proxy, while booting (lessons C).
            SpanPanelAPIError: it is something else.
        """
        try:
            document = cast("object", json.loads(self.body))
        except RecursionError:
            raise self.error(SpanPanelAPIError, "gave an answer that is nested too deeply") from None
        except ValueError:
            raise self.error(SpanPanelServerError, "gave an answer that is not JSON") from None
        if not isinstance(document, dict):
            raise self.error(SpanPanelAPIError, "gave an answer that is not a JSON object")
        return cast("dict[str, Any]", document)

    def field(self, document: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
        """A required field of the body.

        Raises:
            SpanPanelAPIError: it is missing, or of another type; names it.
        """
        value = document.get(name)
        if type(value) is not kind:  # not isinstance: true is no port
            raise self.error(SpanPanelAPIError, f"gave an answer without {name}")
        return value


async def request(
    method: str,
    host: str,
    port: int,
    path: str,
    *,
    tls: ssl.SSLContext | None,
    body: Mapping[str, Any] | None = None,
    accept: frozenset[int] = frozenset(),
) -> Answer:
    """Send one request. ``accept`` names the statuses besides 2xx that are no error.

    Raises:
        SpanPanelConnectionError: no connection, no answer in time, or TLS failed.
        SpanPanelServerError: 5xx, or the answer broke off.
        SpanPanelAPIError: any other status, or a body larger than `MAX_BODY`.
    """
    endpoint = f"{method} {path}"
    # An empty context instead of the default one, which reads the system's CAs from disk, and trusts them.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls is None else tls
    headers = {"Accept-Encoding": "identity"}  # a bomb is small on the wire
    try:
        with trio.fail_after(TIMEOUT):
            url = httpx.URL(scheme="http" if tls is None else "https", host=host, port=port, path=path)
            async with (
                httpx.AsyncClient(verify=verify, trust_env=False, timeout=TIMEOUT) as client,
                client.stream(method, url, headers=headers, json=body) as response,
            ):
                answer = Answer(endpoint, response.status_code)
                if not response.is_success and response.status_code not in accept:
                    kind = SpanPanelServerError if response.is_server_error else SpanPanelAPIError
                    raise answer.error(kind, f"answered {response.status_code}")
                return attrs.evolve(answer, body=await _body(response, answer))
    except trio.TooSlowError:
        raise SpanPanelConnectionError(f"{endpoint}: no answer from {host}:{port} within {TIMEOUT:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:  # the last: a name that cannot be one
        raise SpanPanelConnectionError(f"{endpoint} at {host}:{port} failed: {_reason(error)}") from error


async def _body(response: httpx.Response, answer: Answer) -> bytes:
    body = bytearray()
    try:
        with trio.CancelScope() as enough:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    enough.cancel()  # `break` would leave httpx's generators to the garbage collector
    except httpx.RemoteProtocolError:
        raise answer.error(SpanPanelServerError, "gave an answer that broke off") from None
    if len(body) > MAX_BODY:
        raise answer.error(SpanPanelAPIError, "gave an answer that is too large")
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
