"""`SpanRestClient`: everything that a panel's REST API offers.

The rules of this room:

* What carries a secret goes over TLS that trusts the panel's CA, or not at all; to say so costs no connection.
* Only what reads is ever asked twice: when the panel says that it was asked too often, and once when an idle connection
  was hung up. Everything else is the caller's to repeat, who alone knows what a repetition costs.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
import trio

from ..background import undisturbed
from ..errors import (
    SpanPanelAPIError,
    SpanPanelClosedError,
    SpanPanelFaultError,
    SpanPanelOutcomeUnknownError,
    SpanPanelValidationError,
)
from ..span import HomieSchema
from ..wiretext import get_logger
from . import endpoints as to
from .answer import Answer
from .endpoints import Access, Endpoint
from .http import Call, exchange, open_client
from .reading import (
    no_passphrase,
    read_ca,
    read_client,
    read_clients,
    read_fqdn,
    read_registration,
    read_rotation,
    read_schema,
    read_status,
)
from .results import RegisteredClient, RotatedPassphrase, V2AuthResponse, V2StatusInfo
from .trust import load_pin, nobody

__all__ = ["HTTPS_PORT", "HTTP_PORT", "PATIENCE", "SpanRestClient"]

_log = get_logger("span_trio.rest")

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
PATIENCE: Final = 60.0
"""Seconds: the panel allows so many requests a minute."""

_TRIES: Final = 5
_FIRST_PAUSE: Final = 1.5  # s, and twice as much each time
_TOO_MANY: Final = 429

_warned: Final[set[tuple[str, int]]] = set()


class SpanRestClient:
    """A panel's REST API, as long as the ``async with`` block lasts. Several tasks may use it at once.

    Each call ends within its time limit, and then raises `SpanPanelConnectionError` (no connection, no answer in time,
    or no HTTP), `SpanPanelCertificateError` (TLS failed because of the certificate), `SpanPanelServerError` (the web
    server is up and the application behind it is not: worth a retry), or `SpanPanelAPIError` (any other answer than it
    should be, named). What each call raises besides is said there. Every call is a checkpoint; when cancelled, its
    connection is closed, and whether it was done is not known.

    With a CA everything but the CA itself goes over HTTPS. Without one there is plain HTTP, and what carries a secret
    raises `SpanPanelValidationError` before anything is sent.

    Args:
        host: name or address of the panel.
        ca_pem: the panel's CA certificate, PEM: the only one to trust.
        tls: instead of ``ca_pem``, a context made of it.
        token: the access token, of a registration.
        http_port: of the panel's HTTP server.
        https_port: of its HTTPS server.
        insecure: without a CA, send secrets in the clear: to a simulator, or through a bridge on this machine. The log
            has one warning for each host.
        timeout: seconds for one try; ``None``: 5 for what only reads, 15 for what changes something.
        patience: seconds that a call may wait, in all, for a panel that says it was asked too often; 0: not at all.
        httpx_client: a client to use instead of one of our own; it is not closed. It decides whom to trust by itself,
            so what goes over HTTPS here never goes through it.

    Raises:
        SpanPanelValidationError: an argument cannot be meant. HTTPS on port 80 is such a case.
    """

    def __init__(
        self,
        host: str,
        *,
        ca_pem: str | None = None,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        http_port: int = HTTP_PORT,
        https_port: int = HTTPS_PORT,
        insecure: bool = False,
        timeout: float | None = None,
        patience: float = PATIENCE,
        httpx_client: httpx.AsyncClient | None = None,
    ) -> None:
        _check_trust(ca_pem, tls)
        _check_ports(http_port, https_port)
        _check_times(timeout, patience)
        if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
            raise SpanPanelValidationError("this cannot be an access token")
        self.host: Final = host
        self.http_port: Final = http_port
        self.https_port: Final = https_port
        self._ca_pem = ca_pem
        self._tls = tls
        self._token = token
        self._insecure = insecure
        self._timeout = timeout
        self._patience = patience
        self._injected = httpx_client
        self._own: httpx.AsyncClient | None = None
        self._open = False

    def __repr__(self) -> str:
        """Where."""
        port = self.https_port if self._pinned else self.http_port
        return f"<SpanRestClient {'https' if self._pinned else 'http'}://{self.host}:{port}>"

    async def __aenter__(self) -> Self:
        """Make the TLS context, in a thread. Nothing is connected yet.

        Raises:
            SpanPanelValidationError: ``ca_pem`` is no certificate, or ``httpx_client`` is closed.
        """
        if self._open:
            raise SpanPanelValidationError("the client is open already")
        if self._injected is not None and self._injected.is_closed:
            raise SpanPanelValidationError("the httpx client that was given is closed")
        if self._ca_pem is not None:
            self._tls = await load_pin(self._ca_pem)
        if self._pinned or self._injected is None:
            self._own = open_client(self._tls or nobody())
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what is ours. No checkpoint: a passphrase that was just changed is not lost to a cancellation."""
        own, self._own, self._open = self._own, None, False
        if own is not None:
            await undisturbed(own.aclose)

    # --- what the panel tells everybody ---

    async def get_status(self) -> V2StatusInfo:
        """Who the panel is.

        Raises:
            SpanPanelUnsupportedError: it has no v2 API: its firmware is very old.
        """
        return read_status(await self._ask(to.STATUS))

    async def download_ca_cert(self) -> str:
        """The panel's CA certificate, PEM text. Always over plain HTTP: to be believed on first use only, or compared.

        Raises:
            SpanPanelFaultError: the panel cannot hand it out.
            SpanPanelRateLimitError: it was asked too often, and our patience is at its end.
        """
        return read_ca(await self._ask(to.CA))

    async def get_schema(self) -> HomieSchema:
        """The panel's own schema."""
        return read_schema(await self._ask(to.SCHEMA))

    # --- becoming a client ---

    async def register(self, name: str, passphrase: str | None = None) -> V2AuthResponse:
        """Register a client. Every call adds an entry to the panel's list: store what comes back.

        The one that is registered, not this object, has the access token that comes back.

        Args:
            name: of the client, not used before; see `unique_name`.
            passphrase: the panel's; ``None`` to rely on the door having been pressed three times within 15 minutes.
                Look at `V2StatusInfo.proximity_proven` first: the first registration that relies on the proof uses it
                up, even when it fails.

        Raises:
            SpanPanelAuthError: passphrase, name or proof not accepted.
            SpanPanelFaultError: the panel cannot read its own passphrase.
            SpanPanelConnectionError: the entry may exist all the same.
        """
        if not name:
            raise SpanPanelValidationError("a client needs a name")
        if passphrase is not None and not passphrase:
            raise SpanPanelValidationError("the passphrase is empty")
        body = {"name": name} if passphrase is None else {"name": name, "hopPassphrase": passphrase}
        answer = await self._send(to.REGISTER, body=body)
        if no_passphrase(answer):
            answer.refuse((SpanPanelFaultError, "the panel cannot read its own passphrase"))
        answer.check()
        return read_registration(answer)

    # --- what a client may do: all of it needs the token ---

    async def list_clients(self) -> tuple[RegisteredClient, ...]:
        """The panel's clients, in its order.

        Raises:
            SpanPanelAuthError: the access token is not good.
            SpanPanelPrivilegeError: it is of the lesser kind.
        """
        return read_clients(await self._ask(to.CLIENTS))

    async def get_client(self, name: str) -> RegisteredClient:
        """One of the panel's clients.

        Raises:
            SpanPanelAuthError: the access token is not good.
            SpanPanelPrivilegeError: it is of the lesser kind.
            SpanPanelAPIError: there is no client of that name (``status`` 404 or 422), or as always.
        """
        return read_client(await self._ask(to.CLIENT, name=name), name)

    async def delete_client(self, name: str) -> RegisteredClient:
        """Take a client off the panel's list, and return what it was. Its access token is good no more.

        Raises:
            SpanPanelAuthError: the access token is not good.
            SpanPanelPrivilegeError: it is of the lesser kind.
            SpanPanelAPIError: there is no client of that name (``status`` 404 or 422), or as always.
        """
        return read_client(await self._ask(to.DELETE_CLIENT, name=name), name)

    async def regenerate_passphrase(self) -> RotatedPassphrase:
        """Change the panel's passphrase and the password of its broker, for everybody.

        What comes back is the only copy: store both before you do anything else. All other clients lose the broker;
        access tokens stay good. Once the request is out, a cancellation waits for the answer, which is 15 s at most,
        and what came is returned then without a checkpoint.

        Raises:
            SpanPanelOutcomeUnknownError: it may have been changed or not (no answer, 5xx, or one that tells nothing).
            SpanPanelConnectionError: it was not changed: the request never got out.
            SpanPanelAuthError: the access token is not good.
            SpanPanelPrivilegeError: it is of the lesser kind.
        """
        answer = await self._send(to.ROTATE)
        answer.check_status()
        try:
            answer.check()
            return read_rotation(answer)
        except SpanPanelAPIError as error:
            why = str(error)
        raise answer.error(SpanPanelOutcomeUnknownError, f"lost the new passphrase: {why}")

    async def get_fqdn(self) -> str | None:
        """The domain name that the panel's certificate is to be good for; ``None``: none. The panel tells that from "".

        Raises:
            SpanPanelAuthError: the access token is not good.
        """
        return read_fqdn(await self._ask(to.FQDN))

    async def register_fqdn(self, fqdn: str) -> str | None:
        """Set that name, and return what the panel has then. It makes a new certificate and restarts its servers.

        Raises:
            SpanPanelAuthError: the access token is not good.
            SpanPanelUnsupportedError: firmware before r202615 refuses this to everybody.
            SpanPanelAPIError: it does not accept that name (``status`` 422), or as always.
        """
        if not fqdn or not fqdn.isprintable():
            raise SpanPanelValidationError("this cannot be a domain name")
        answer = await self._ask(to.SET_FQDN, body={"ebusTlsFqdn": fqdn})
        return read_fqdn(answer) if answer.body else fqdn

    async def delete_fqdn(self) -> None:
        """Remove that name, if there is one; as `register_fqdn`.

        Raises:
            SpanPanelAuthError: the access token is not good.
            SpanPanelPrivilegeError: it is of the lesser kind.
        """
        answer = await self._ask(to.DELETE_FQDN)
        if answer.body:
            read_fqdn(answer)  # or it is somebody else who says that it is done

    # --- how ---

    async def _ask(
        self, endpoint: Endpoint, *, name: str | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """An answer that is none of the refusals, and whole."""
        answer = await self._send(endpoint, name=name, body=body)
        waited = 0.0
        for tried in range(1, _TRIES):
            pause = _FIRST_PAUSE * 2 ** (tried - 1) if answer.retry_after is None else answer.retry_after
            waited += pause
            if answer.status != _TOO_MANY or not endpoint.reads or waited > self._patience:
                break
            _log.info("%s at %s: asked too often, again in %g s", endpoint, self.host, pause)
            await trio.sleep(pause)
            answer = await self._send(endpoint, name=name, body=body)
        answer.check()
        return answer

    async def _send(
        self, endpoint: Endpoint, *, name: str | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        pinned = self._pinned and endpoint is not to.CA
        client = self._own if pinned or self._injected is None else self._injected
        if client is None or not self._open:
            raise SpanPanelClosedError("the REST client is used outside its async with block")
        headers = {"Accept-Encoding": "identity"}  # a bomb is small on the wire
        if endpoint.access is Access.TOKEN:
            if self._token is None:
                raise SpanPanelValidationError(f"{endpoint} needs an access token")
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        if not pinned and endpoint.access is not Access.OPEN:
            self._allow_in_the_clear(endpoint)
        call = Call(
            endpoint=endpoint,
            scheme="https" if pinned else "http",
            host=self.host,
            port=self.https_port if pinned else self.http_port,
            path=endpoint.path if name is None else endpoint.path.format(name=_encoded(name)),
            timeout=endpoint.timeout if self._timeout is None else self._timeout,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),  # ASCII, whatever was typed
        )
        return await exchange(client, call)

    @property
    def _pinned(self) -> bool:
        return self._tls is not None or self._ca_pem is not None

    def _allow_in_the_clear(self, endpoint: Endpoint) -> None:
        if not self._insecure:
            raise SpanPanelValidationError(
                f"{endpoint} carries a secret and goes over TLS only: give the panel's CA (ca_pem=)"
            )
        where = (self.host, self.http_port)
        if where not in _warned:
            _warned.add(where)
            _log.warning("secrets go to %s:%d in the clear, as insecure= allows", *where)


def _encoded(name: str) -> str:
    """A client's name as one segment of a path."""
    try:
        encoded = quote(name, safe="")
    except UnicodeEncodeError:
        encoded = ""
    if encoded in {"", ".", ".."}:
        raise SpanPanelValidationError("there is no client of such a name")
    return encoded


def _check_trust(ca_pem: str | None, tls: ssl.SSLContext | None) -> None:
    if ca_pem is not None and tls is not None:
        raise SpanPanelValidationError("ca_pem and tls both say whom to trust: give one of them")
    if tls is not None and tls.verify_mode is not ssl.CERT_REQUIRED:
        raise SpanPanelValidationError("this TLS context trusts everybody")


def _check_ports(http_port: int, https_port: int) -> None:
    if not (0 < http_port < 65_536 and 0 < https_port < 65_536):
        raise SpanPanelValidationError("there is no such port")
    if https_port == HTTP_PORT:
        raise SpanPanelValidationError(f"port {HTTP_PORT} speaks no TLS: HTTP and HTTPS have ports of their own")


def _check_times(timeout: float | None, patience: float) -> None:
    if timeout is not None and not 0 < timeout < math.inf:
        raise SpanPanelValidationError("timeout must be a number of seconds above 0")
    if not 0 <= patience < math.inf:
        raise SpanPanelValidationError("patience must be a number of seconds, or 0")
