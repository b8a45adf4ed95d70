"""Panels in memory for the REST client: all of httpx and h11, and TLS where it is asked for, but no socket."""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any, Final

import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair

from span_trio.errors import SpanPanelError
from span_trio.rest import SpanRestClient

__all__ = [
    "CALLS",
    "CA_PEM",
    "GOOD",
    "SECRETS",
    "TLS",
    "Call",
    "Panel",
    "Serve",
    "answer",
    "ask",
    "leaks",
    "logged",
    "opened",
    "run",
    "saying",
    "server_tls",
]

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
Call = Callable[[SpanRestClient], Awaitable[Any]]

PASSPHRASE, TOKEN = "pass-phrase-that-was-typed", "ey.token-that-was-given"
NEW_PASSWORD, NEW_PASSPHRASE, NEW_TOKEN = "password-from-the-panel", "phrase-from-the-panel", "ey.token-from-the-panel"
ECHO: Final = "whatever-the-panel-said"
SECRETS: Final = (PASSPHRASE, TOKEN, NEW_PASSWORD, NEW_PASSPHRASE, NEW_TOKEN)

_AUTHORITY: Final = trustme.CA()
CA_PEM: Final = _AUTHORITY.cert_pem.bytes().decode()
TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_AUTHORITY.configure_trust(TLS)

HOST: Final = "panel.test"


def server_tls(name: str = HOST) -> ssl.SSLContext:
    """Of a panel that is called so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _AUTHORITY.issue_cert(name).configure_cert(context)
    return context


# --- what there is to ask, and what is right ---

_ENTRY: Final = {
    "description": "mine",
    "issued_at": 1760728511,
    "allowed_endpoint_groups": {"get": ["status"], "post": [], "put": [], "delete": [], "patch": []},
}

CALLS: Final[Mapping[str, Call]] = {
    "GET /api/v2/status": lambda rest: rest.get_status(),
    "GET /api/v2/certificate/ca": lambda rest: rest.download_ca_cert(),
    "GET /api/v2/homie/schema": lambda rest: rest.get_schema(),
    "POST /api/v2/auth/register": lambda rest: rest.register("a-name", PASSPHRASE),
    "GET /api/v2/auth/clients": lambda rest: rest.list_clients(),
    "GET /api/v2/auth/clients/{name}": lambda rest: rest.get_client("a-name"),
    "DELETE /api/v2/auth/clients/{name}": lambda rest: rest.delete_client("a-name"),
    "PUT /api/v2/auth/passphrase": lambda rest: rest.regenerate_passphrase(),
    "GET /api/v2/dns/fqdn": lambda rest: rest.get_fqdn(),
    "POST /api/v2/dns/fqdn": lambda rest: rest.register_fqdn("panel.home"),
    "DELETE /api/v2/dns/fqdn": lambda rest: rest.delete_fqdn(),
}

_GOOD: Final[Mapping[str, Any]] = {
    "GET /api/v2/status": {
        "serialNumber": "nt-1",
        "firmwareVersion": "spanos3/r202639/03",
        "proximityProven": False,
        "hardwareVersion": "2.0",
    },
    "GET /api/v2/homie/schema": {
        "firmwareVersion": "spanos3/r202639/03",
        "dataModelVersion": "1.0",
        "deviceClasses": {"circuit": {"meter": {"active-power": {"datatype": "float", "unit": "W"}}}},
        "deviceClassesSchemaHash": "sha256:0123456789abcdef",
    },
    "POST /api/v2/auth/register": {
        "accessToken": NEW_TOKEN,
        "tokenType": "bearer",
        "iatMs": 1760728511000,
        "hostname": "span-nt-1",
        "serialNumber": "nt-1",
        "hopPassphrase": NEW_PASSPHRASE,
        "ebusBrokerUsername": "nt-1",
        "ebusBrokerPassword": NEW_PASSWORD,
        "ebusBrokerHost": "span-nt-1.local",
        "ebusBrokerMqttsPort": 8883,
        "ebusBrokerWsPort": 9001,
        "ebusBrokerWssPort": 9002,
    },
    "GET /api/v2/auth/clients": {"clients": {"a-name": _ENTRY}},
    "GET /api/v2/auth/clients/{name}": _ENTRY,
    "DELETE /api/v2/auth/clients/{name}": _ENTRY,
    "PUT /api/v2/auth/passphrase": {"ebusBrokerPassword": NEW_PASSWORD, "hopPassphrase": NEW_PASSPHRASE},
    "GET /api/v2/dns/fqdn": {"ebusTlsFqdn": "panel.home"},
    "POST /api/v2/dns/fqdn": {"ebusTlsFqdn": "panel.home"},
    "DELETE /api/v2/dns/fqdn": {"ebusTlsFqdn": None},
}
GOOD: Final[Mapping[str, bytes]] = {
    call: CA_PEM.encode() if call.endswith("/ca") else json.dumps(_GOOD[call]).encode() for call in CALLS
}
"""Call -> the body of the answer that is as it should be."""


# --- panels ---


def answer(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def saying(*answers: bytes) -> Serve:
    """Answer so, one connection after the other, the last for ever, and hang up."""
    left = list(answers)

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(left.pop(0) if len(left) > 1 else left[0])

    return serve


class Panel:
    """In place of `trio.open_tcp_stream`: whoever dials gets a request read, then `serve`, then hung up on.

    Whoever hangs up on it ends `serve`. `open` counts the connections that are.
    """

    def __init__(self, serve: Serve, *, tls: ssl.SSLContext | None = None, pair: Any = memory_stream_pair) -> None:
        self.serve = serve
        self.tls = tls
        self.pair = pair
        self.refusing = False
        self.dialled: list[tuple[str, int]] = []
        self.requests: list[bytes] = []
        self.open = 0

    async def dial(self, host: str, port: int, **_: Any) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port))
        if self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = self.pair()
        trio.lowlevel.spawn_system_task(self._handle, theirs)
        return ours

    async def _handle(self, stream: trio.abc.Stream) -> None:
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        self.open += 1
        try:
            if await self._read(stream):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_gone, stream, nursery.cancel_scope)
                    await self.serve(stream)
                    nursery.cancel_scope.cancel()
            await stream.aclose()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)
        finally:
            self.open -= 1

    async def _until_gone(self, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        scope.cancel()

    async def _read(self, stream: trio.abc.Stream) -> bool:
        asked = b""
        while b"\r\n\r\n" not in asked:
            some = await stream.receive_some()
            if not some:
                return False
            asked += some
        head, _, body = asked.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", b"0")):
            body += await stream.receive_some()
        self.requests.append(head + b"\r\n\r\n" + body)
        return True

    @contextlib.contextmanager
    def there(self) -> Generator[Panel, None, None]:
        """While this lasts, every address is this panel's."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "open_tcp_stream", self.dial)
            yield self


def opened(**how: Any) -> SpanRestClient:
    """A client that may do everything: without TLS, unless that is said."""
    if not {"tls", "ca_pem"} & how.keys():
        how.setdefault("insecure", True)
    return SpanRestClient(HOST, **{"token": TOKEN, "patience": 0, **how})


async def ask(call: Call, **how: Any) -> Any:
    """What a call returns, or the documented error that it raises."""
    async with opened(**how) as rest:
        try:
            return await call(rest)
        except SpanPanelError as error:
            return error


def run(main: Callable[[], Awaitable[Any]], *, limit: float = 60.0) -> Any:
    """On a clock that jumps; for properties, since pytest-trio and hypothesis do not go together."""

    async def limited() -> Any:
        with trio.fail_after(limit):
            return await main()

    return trio.run(limited, clock=MockClock(autojump_threshold=0))


# --- secrets ---


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def text(self) -> str:
        return "\n".join(f"{record.getMessage()} {vars(record)}" for record in self.records)


@contextlib.contextmanager
def logged() -> Iterator[_Records]:
    """All that anybody logs, at any level."""
    root, handler = logging.getLogger(), _Records()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


def _chain(error: BaseException) -> Iterator[BaseException]:
    yield error
    for below in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        if below is not None:
            yield from _chain(below)


def leaks(thing: object, *words: str) -> list[str]:
    """Which of the words somebody sees who prints the thing; of an exception, whoever looks anywhere in it."""
    if not isinstance(thing, BaseException):
        seen = f"{thing!r} {thing}"
    else:
        seen = "".join(traceback.format_exception(thing))
        for error in _chain(thing):
            assert isinstance(error, SpanPanelError), error  # others hold requests and documents, deep inside
            seen += f"{error!r} {error} {error.args!r} {vars(error)!r} {getattr(error, '__notes__', '')}"
    return [word for word in words if word in seen]
