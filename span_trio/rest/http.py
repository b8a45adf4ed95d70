"""One HTTP request to a panel: bounded in time and size, without proxies, redirects, cookies or compression.

The rules of this room:

* Whatever the peer answers, a try ends within its timeout, and reads no more than the endpoint's limit.
* What httpx, h11 and ssl raise holds the request (passphrase and token) and quotes the answer. So they are looked at
  where they are caught, forgotten, and an error of ours is raised *behind* the ``except``: it has no context.
* The same goes for what httpx and httpcore log of our requests, which is dropped; `span_trio.rest` has a line instead.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import socket
import ssl
import sys
from typing import Any, Final, Literal, cast

import attrs
import httpx
import trio

from ..background import close_forcefully, ungrouped_interrupts
from ..errors import (
    SpanPanelAPIError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelOutcomeUnknownError,
    SpanPanelServerError,
)
from ..wiretext import get_logger
from .answer import Answer, fail
from .endpoints import Endpoint, Refusal

__all__ = ["Call", "exchange", "open_client"]

_log = get_logger("span_trio.rest")

_BROKE_OFF: Final[Refusal] = (SpanPanelServerError, "broke off")
_TOO_LARGE: Final[Refusal] = (SpanPanelAPIError, "is too large")
_UNSENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,
    OSError,
)

_EXPLAINED: Final = 422  # one of which says that the passphrase is not what is wrong
_LONG: Final = 10  # digits of a Retry-After that nobody means

_asking: contextvars.ContextVar[bool] = contextvars.ContextVar("span_trio_rest_asking", default=False)


@attrs.frozen
class Call:
    """A request to be sent. ``path`` is percent-encoded."""

    endpoint: Endpoint
    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    timeout: float
    headers: dict[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> httpx.URL:
        """For httpx, which may find that there is no such host."""
        return httpx.URL(scheme=self.scheme, host=self.host, port=self.port, raw_path=self.path.encode())


def open_client(tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client for one panel, which trusts ``tls``.

    It keeps no connection: the panel hangs up after about 5 s, and what changes something must not meet one that is
    just then hung up, since then nobody knew whether it was done.
    """
    transport = _Bare(httpx.AsyncHTTPTransport(verify=tls, trust_env=False))
    return httpx.AsyncClient(transport=transport, trust_env=False, headers={"Connection": "close"})


class _Bare(httpx.AsyncBaseTransport):
    """Hides from httpx what it would follow, or choke on, or keep: redirects and cookies."""

    def __init__(self, below: httpx.AsyncHTTPTransport) -> None:
        self._below = below

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._below.handle_async_request(request)
        for name in ("Location", "Set-Cookie"):
            response.headers.pop(name, None)
        return response

    async def aclose(self) -> None:
        await self._below.aclose()


class _Progress:
    """How far a request has come, as httpcore tells it (httpx's ``trace`` extension)."""

    def __init__(self, scope: trio.CancelScope, *, irrevocable: bool) -> None:
        self.dialled = False
        self.sent = False
        self._scope = scope
        self._irrevocable = irrevocable
        self.half_open: trio.abc.AsyncResource | None = None
        """Connected, and no TLS on it yet."""

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """See an event go by."""
        if event == "connection.connect_tcp.started":
            self.dialled = True
        elif event == "connection.connect_tcp.complete":
            self.half_open = info.get("return_value")
        elif event.endswith("send_request_headers.started"):
            self.half_open = None
            self.sent = True
            self._scope.shield = self._irrevocable


async def exchange(client: httpx.AsyncClient, call: Call) -> Answer:
    """Send a request and read the answer, whatever it is.

    When cancelled, the connection is closed; only what is irrevocable is waited for once it is sent.

    Raises:
        SpanPanelConnectionError: no connection, no answer in time, or no HTTP.
        SpanPanelCertificateError: TLS failed because of the certificate.
        SpanPanelOutcomeUnknownError: likewise, after what is irrevocable was sent.
    """
    _silence()
    with ungrouped_interrupts():
        answer, failure = await _exchange(client, call)
        if answer is None and failure is None:  # on an old connection that was hung up (lesson D, HA CL 1.3.0)
            answer, failure = await _exchange(client, call, again=True)
    if answer is not None:
        _log.debug("%s at %s answered %d", call.endpoint, call.where, answer.status)
        return answer
    raise failure or SpanPanelConnectionError(f"{call.endpoint} at {call.where} failed")


async def _exchange(
    client: httpx.AsyncClient, call: Call, *, again: bool = False
) -> tuple[Answer | None, SpanPanelError | None]:
    """An answer, or why there is none, or neither: worth another try at once."""
    handled = sys.exception()
    scope = trio.CancelScope(relative_deadline=call.timeout)
    progress = _Progress(scope, irrevocable=call.endpoint.irrevocable)
    ours = _asking.set(True)
    with scope:
        try:
            async with client.stream(
                call.endpoint.method,
                call.url,
                headers=call.headers,
                content=call.body,
                timeout=None,  # the scope's
                follow_redirects=False,
                auth=None,
                extensions={"trace": progress.trace},
            ) as response:
                return await _read(response, call.endpoint), None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:  # the last: no name at all
            hung_up = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
            if hung_up and call.endpoint.reads and not progress.dialled and not again:
                return None, None
            return None, _failure(call, error, progress, handled)
        finally:
            _asking.reset(ours)
            if (
                progress.half_open is not None
            ):  # cancelled in its handshake: httpcore leaves it to the garbage collector
                await close_forcefully(progress.half_open)
    why = f"{call.endpoint}: no answer from {call.where} within {call.timeout:g} s"
    return None, _lost(SpanPanelConnectionError, call, why, unsent=progress.dialled and not progress.sent)


async def _read(response: httpx.Response, endpoint: Endpoint) -> Answer:
    answer = Answer(endpoint, response.status_code, retry_after=_seconds(response.headers.get("Retry-After")))
    if endpoint.refusal(answer.status) is not None and answer.status != _EXPLAINED:
        return answer
    if response.is_stream_consumed:  # of a transport without a network, which a test may have injected
        body = response.content
        return attrs.evolve(answer, body=body, flaw=_TOO_LARGE if len(body) > endpoint.limit else None)
    read = bytearray()
    try:
        with trio.CancelScope() as enough:
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) > endpoint.limit:
                    enough.cancel()  # `break` would leave httpx's generators to the garbage collector
    except httpx.TransportError:
        return attrs.evolve(answer, flaw=_BROKE_OFF)
    return attrs.evolve(answer, body=bytes(read), flaw=_TOO_LARGE if len(read) > endpoint.limit else None)


def _seconds(header: str | None) -> float | None:
    """``Retry-After``; a date, which the panel does not send, is none."""
    return float(header) if header and header.isascii() and header.isdigit() and len(header) < _LONG else None


# --- what went wrong --------------------------------------------------------------------------------------------------


def _failure(call: Call, error: Exception, progress: _Progress, handled: BaseException | None) -> SpanPanelError:
    """An error of ours that says what this one meant, and has none of it."""
    bottom = _bottom(error, handled)
    known = progress.dialled or isinstance(error, _UNSENT)  # a transport that tells nothing may have sent it
    kind = SpanPanelCertificateError if isinstance(bottom, ssl.SSLCertVerificationError) else SpanPanelConnectionError
    why = f"{call.endpoint} at {call.where} failed: {_words(bottom)}"
    return _lost(kind, call, why, unsent=known and not progress.sent)


def _lost(kind: type[SpanPanelConnectionError], call: Call, why: str, *, unsent: bool) -> SpanPanelError:
    if call.endpoint.irrevocable and not unsent:
        why = f"{why}; whether the panel has changed its passphrase is not known"
        return fail(SpanPanelOutcomeUnknownError, why, call.endpoint)
    return kind(why)


def _bottom(error: BaseException, handled: BaseException | None) -> BaseException:
    """On top, httpx and trio say nothing, or that all attempts failed.

    Below all of it may be what the caller was handling when he asked: that is not why.
    """
    while (below := _below(error)) is not None and below is not handled:
        error = below
    return error


def _below(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):  # an error for each address
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    """Why, in words that are not the peer's: h11 quotes what it does not understand."""
    if isinstance(error, OSError) and error.errno:
        own_number = isinstance(error, (ssl.SSLError, socket.gaierror))
        return str(error.strerror) if own_number else os.strerror(error.errno)
    if isinstance(error, (UnicodeError, httpx.InvalidURL)):  # about the host
        return str(error)
    if "disconnected" in str(error) or isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
        return "the peer hung up"
    return "what answers does not speak HTTP"


# --- what others log --------------------------------------------------------------------------------------------------


def _is_not_ours(_: logging.LogRecord) -> bool:
    return not _asking.get()


@functools.cache
def _silence() -> None:
    """From now on, for our requests only, and whoever has set the level."""
    for name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
        logging.getLogger(name).addFilter(_is_not_ours)
