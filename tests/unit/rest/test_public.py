"""Two REST calls against servers that answer anything: only documented errors come out, soon, and no body is quoted."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from span_trio.errors import SpanPanelAPIError, SpanPanelConnectionError, SpanPanelError, SpanPanelServerError
from span_trio.rest import download_ca_cert, get_homie_schema
from span_trio.span import HomieSchema
from tests.ports import held_port

SECRET = "whatever-the-body-said"
SCHEMA = (Path(__file__).parents[2] / "captures" / "flat32.rest.homie-schema.json").read_bytes()
CA = trustme.CA()
PEM = CA.cert_pem.bytes()
CALLS = [download_ca_cert, get_homie_schema]

Serve = Callable[[trio.SocketStream], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int, None]:
    """A server on the loopback interface that reads a request, then does `serve`, then hangs up."""

    async def handle(stream: trio.abc.Stream) -> None:
        asked = b""
        try:
            while b"\r\n\r\n" not in asked:
                asked += await stream.receive_some()
            requests.append(asked)
            await serve(stream)  # type: ignore[arg-type]
            await stream.aclose()
        except (trio.BrokenResourceError, ssl.SSLError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(
            partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
            if tls is None
            else partial(trio.serve_ssl_over_tcp, handle, 0, tls, host="127.0.0.1")
        )
        listener = listeners[0].transport_listener if tls else listeners[0]
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


requests: list[bytes] = []


@pytest.fixture(autouse=True)
def _no_old_requests() -> None:
    requests.clear()


def saying(data: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(data)

    return serve


async def ask(call: Callable[..., Awaitable[Any]], data: bytes) -> Any:
    """What a call returns, or the documented error that it raises, when it is answered with `data`."""
    async with serving(saying(data)) as port:
        try:
            return await call("127.0.0.1", port=port)
        except SpanPanelError as error:
            return error


async def fail(call: Callable[..., Awaitable[Any]], data: bytes) -> SpanPanelError:
    """The error of a call that is answered with `data`; whatever it is, it quotes no body."""
    error = await ask(call, data)
    assert isinstance(error, SpanPanelError)
    assert SECRET not in f"{error!r} {vars(error)}"
    assert SECRET not in "".join(traceback.format_exception(error))
    return error


# --- what is right ---


async def test_the_ca_is_handed_over_as_it_is() -> None:
    assert await ask(download_ca_cert, answer(PEM)) == PEM.decode()


async def test_the_schema_of_a_panel() -> None:
    schema = await ask(get_homie_schema, answer(SCHEMA))
    assert schema == HomieSchema.from_json(json.loads(SCHEMA))
    assert schema.panel_size == 32


async def test_the_schema_of_a_parent_child_panel() -> None:
    schema = await ask(get_homie_schema, answer(b'{"dataModelVersion": "1.0", "deviceClasses": {}}'))
    assert schema.data_model_version == "1.0"


async def test_a_chunked_answer() -> None:
    half = len(PEM) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PEM[:half], PEM[half:], b""))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await ask(download_ca_cert, head + chunks) == PEM.decode()


@pytest.mark.parametrize(
    ("call", "body", "path"),
    [(download_ca_cert, PEM, b"/api/v2/certificate/ca"), (get_homie_schema, SCHEMA, b"/api/v2/homie/schema")],
)
async def test_one_plain_get_and_nothing_in_it_that_is_private(call: Any, body: bytes, path: bytes) -> None:
    await ask(call, answer(body))
    (request,) = requests
    assert request.startswith(b"GET " + path + b" HTTP/1.1\r\n")
    headers = {line.split(b":")[0].lower() for line in request.strip().split(b"\r\n")[1:]}
    assert not headers & {b"authorization", b"cookie", b"proxy-authorization"}


async def test_the_schema_over_tls_by_the_panels_own_ca() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(trusting)
    doubt = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(doubt)
    async with serving(saying(answer(SCHEMA)), server) as port:
        assert (await get_homie_schema("127.0.0.1", port=port, tls=trusting)).panel_size == 32
        with pytest.raises(SpanPanelConnectionError, match="certificate verify failed"):
            await get_homie_schema("127.0.0.1", port=port, tls=doubt)


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await ask(download_ca_cert, answer(PEM)) == PEM.decode()


# --- statuses ---


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 304, 307, 401, 404, 500, 502, 599])
async def test_a_status_that_is_no_success(call: Any, status: int) -> None:
    location = "Location: http://127.0.0.1:1/"  # nobody listens there: following it would be another error
    error = await fail(call, answer(SECRET.encode(), f"{status} {SECRET}", location))
    assert isinstance(error, SpanPanelAPIError)
    assert isinstance(error, SpanPanelServerError) == (status >= 500)
    assert error.status == status
    assert error.endpoint.startswith("GET /api/v2/")
    assert str(error).startswith(f"{error.endpoint} answered {status}")
    assert len(requests) == 1  # no redirect followed


# --- bodies ---

_NO_SCHEMA = [b"[]", b"null", b"5", b'"x"', b"{}", b'{"detail": "whatever-the-body-said"}', b'{"types": 5}']
_WRONG_TYPES = [
    b'{"types": {"whatever-the-body-said": 5}}',
    b'{"types": {}, "firmwareVersion": ["whatever-the-body-said"]}',
    b'{"types": {}, "dataModelVersion": 1.0}',
    b'{"types": {}, "typesSchemaHash": {}}',
    b'{"types": {"energy.ebus.device.circuit": [["space"]]}}',
]


@pytest.mark.parametrize("body", [*_NO_SCHEMA, *_WRONG_TYPES])
async def test_json_that_is_no_schema(body: bytes) -> None:
    error = await fail(get_homie_schema, answer(body))
    assert isinstance(error, SpanPanelAPIError)
    assert not isinstance(error, SpanPanelServerError)
    assert "is not a schema" in str(error) or "is not a JSON object" in str(error)


async def test_what_is_wrong_with_one_property_costs_that_property() -> None:
    schema = await ask(get_homie_schema, answer(b'{"types": {"a": {"b": 5, "c": {"datatype": "float"}}}}'))
    assert list(schema.types["a"]) == ["c"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>whatever-the-body-said</html>", SCHEMA[:1000], SCHEMA[:1], b"\xff\xfe", b"\x00", b"\xef\xbb\xbf"],
)
async def test_a_body_that_is_no_json_is_worth_a_retry(body: bytes) -> None:
    error = await fail(get_homie_schema, answer(body))
    assert isinstance(error, SpanPanelServerError)
    assert error.status == 200


@pytest.mark.parametrize("bomb", [b"[" * 1_000_000, b'{"types":' * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000])
async def test_a_nested_bomb(bomb: bytes) -> None:
    assert isinstance(await fail(get_homie_schema, answer(bomb)), SpanPanelAPIError)


async def test_a_number_too_long_to_be_one() -> None:
    error = await fail(get_homie_schema, answer(b'{"types": ' + b"1" * 100_000 + b"}"))
    assert isinstance(error, SpanPanelAPIError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"<html>whatever-the-body-said</html>",
        b"\xff" * 100,
        b"-----BEGIN CERTIFICATE-----",
        PEM[:-30],
        b"-----END CERTIFICATE----- -----BEGIN CERTIFICATE-----",
        PEM.replace(b"-----BEGIN", b"-----BEG1N"),
    ],
)
async def test_a_ca_that_is_none(body: bytes) -> None:
    error = await fail(download_ca_cert, answer(body))
    assert isinstance(error, SpanPanelAPIError)
    assert error.status == 200


@pytest.mark.parametrize("call", CALLS)
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(call: Any) -> None:
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.send_all(answer(b"", length=10 * 2**20))
        for _ in range(160):
            await stream.send_all(b" " * 2**16)
            sent += 2**16

    async with serving(serve) as port:
        with pytest.raises(SpanPanelAPIError, match="too large"):
            await call("127.0.0.1", port=port)
    assert sent < 10 * 2**20  # what the kernel holds comes on top of the limit


@pytest.mark.parametrize("call", CALLS)
async def test_nothing_is_decompressed(call: Any) -> None:
    # A megabyte is a kilobyte on the wire, and, packed twice, a few bytes: no limit of ours would see it coming.
    bomb = gzip.compress(gzip.compress(b" " * 2**20))
    error = await fail(call, answer(bomb, "200 OK", "Content-Encoding: gzip, gzip"))
    assert isinstance(error, SpanPanelAPIError)
    assert "too large" not in str(error)
    assert b"accept-encoding: identity\r\n" in requests[0].lower()


# --- servers that break off ---


@pytest.mark.parametrize("call", CALLS)
async def test_a_body_that_breaks_off_is_worth_a_retry(call: Any) -> None:
    body = PEM if call is download_ca_cert else SCHEMA
    error = await fail(call, answer(body[:100], length=len(body)))
    assert isinstance(error, SpanPanelServerError)
    assert "broke off" in str(error)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"\x16\x03\x01\x02",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/9.9 hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA",
    ],
)
async def test_what_is_no_http_is_no_connection(call: Any, data: bytes) -> None:
    assert isinstance(await fail(call, data), SpanPanelConnectionError)


async def test_headers_without_end_are_not_collected() -> None:
    error = await fail(download_ca_cert, b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100_000)
    assert isinstance(error, SpanPanelConnectionError)


@pytest.mark.parametrize("call", CALLS)
async def test_connection_refused_is_said_in_words(call: Any) -> None:
    with held_port() as port, pytest.raises(SpanPanelConnectionError) as caught:
        await call("127.0.0.1", port=port)
    assert str(caught.value).endswith(f"at 127.0.0.1:{port} failed: Connection refused")


HOSTS = ["", "..", "a" * 70, "a\0b", "a b", "127.0.0.1:1", "[::1]", "127.0.0.1/x", "u:p@127.0.0.1", "\ud800", "é" * 80]


class _Resolver(trio.abc.HostnameResolver):
    """No name is known. No name server is asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        raise self.error

    async def getnameinfo(self, *_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("host", HOSTS, ids=ascii)
async def test_a_host_that_is_none(host: str) -> None:
    trio.socket.set_custom_hostname_resolver(_Resolver(socket.gaierror(-2, "Name or service not known")))
    with pytest.raises(SpanPanelConnectionError) as caught:
        await download_ca_cert(host, port=1)
    assert str(caught.value)


async def test_a_name_that_nobody_knows() -> None:
    trio.socket.set_custom_hostname_resolver(_Resolver(socket.gaierror(-2, "Name or service not known")))
    with pytest.raises(SpanPanelConnectionError, match=r"at panel\.local:1 failed: Name or service not known$"):
        await download_ca_cert("panel.local", port=1)


async def test_a_name_that_cannot_be_a_name() -> None:
    trio.socket.set_custom_hostname_resolver(_Resolver(UnicodeError("label too long")))  # as of more than 63 letters
    with pytest.raises(SpanPanelConnectionError, match=r"label too long$"):
        await download_ca_cert("panel.local", port=1)


# --- servers that take their time: the clock is ours, and jumps when nothing has moved for 4 ms ---


async def _drip(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()
    for byte in answer(SCHEMA):
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.9)  # always something, never enough


async def _drip_headers(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-Patience: is a virtue\r\n")
        await trio.sleep(0.9)


async def _interim_answers(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
        await trio.sleep(0.9)


async def _silence(_: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("serve", [_drip, _drip_headers, _interim_answers, _silence])
def test_a_slow_answer_is_given_up_in_time(call: Any, serve: Serve) -> None:
    async def main() -> float:
        async with serving(serve) as port:
            began = trio.current_time()
            with pytest.raises(SpanPanelConnectionError, match=r"no answer .* within 5 s"):
                await call("127.0.0.1", port=port)
            return trio.current_time() - began

    assert trio.run(main, clock=MockClock(autojump_threshold=0.004)) == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("call", CALLS)
async def test_cancellation_is_cancellation(call: Any) -> None:
    async with serving(_silence) as port:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(call, "127.0.0.1", port=port))
            await wait_all_tasks_blocked(0.01)
            assert requests
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
