"""Every endpoint against a panel, or a proxy, or worse, that says anything: only documented errors, and no secret."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair

from span_trio.errors import SpanPanelAPIError, SpanPanelError, SpanPanelOutcomeUnknownError, SpanPanelServerError
from span_trio.rest.endpoints import ENDPOINTS
from tests.unit.rest.panels import (
    CALLS,
    ECHO,
    GOOD,
    PASSPHRASE,
    SECRETS,
    TOKEN,
    Panel,
    answer,
    ask,
    leaks,
    logged,
    opened,
    saying,
)

pytestmark = pytest.mark.virtual_time

LIMITS = {str(endpoint): endpoint.limit for endpoint in ENDPOINTS}
SAID = f"{ECHO} {PASSPHRASE} {TOKEN}"  # as a validation error that echoes what was sent


async def fail(call: str, said: bytes) -> SpanPanelError:
    """The error of a call that is answered so. Nobody who sees it, or any log of it, has seen a secret."""
    with logged() as log, Panel(saying(said)).there():
        error = await ask(CALLS[call])
    assert isinstance(error, SpanPanelError)
    assert leaks(error, ECHO, *SECRETS) == []
    assert [word for word in (ECHO, *SECRETS) if word in log.text()] == []
    return error


def expected(call: str, kind: type[SpanPanelError]) -> type[SpanPanelError]:
    return SpanPanelOutcomeUnknownError if call.startswith("PUT") else kind


@pytest.mark.parametrize("call", CALLS)
async def test_what_is_right_comes_out_typed_and_shows_no_secret(call: str) -> None:
    with logged() as log, Panel(saying(answer(GOOD[call]))).there():
        result = await ask(CALLS[call])
    assert not isinstance(result, BaseException)
    assert leaks(result, *SECRETS) == []
    assert [word for word in SECRETS if word in log.text()] == []


BODIES = {
    "empty": b"",
    "html": f"<html><title>{SAID}</title></html>".encode(),
    "an object": b"{}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a text": json.dumps(SAID).encode(),
    "a refusal": json.dumps({"detail": SAID}).encode(),
    "a refusal of before r202639": json.dumps({"detail": [{"loc": ["body"], "input": SAID, "msg": SAID}]}).encode(),
    "no text": b"\xff\xfe\x00",
    "zeros": b"\0" * 1000,
    "a mark": b"\xef\xbb\xbf",
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 50_000,
    "a number too long": b"1" * 100_000,
    "secrets under odd keys": json.dumps({SAID: {SAID: SAID}}).encode(),
}
OBJECTS = {"an object", "a refusal", "a refusal of before r202639", "secrets under odd keys"}
UNREADABLE = BODIES.keys() - OBJECTS - {"a list", "null", "a number", "a text"}


def is_fine(call: str, body: str) -> bool:
    """There is no domain name then: what is absent is null. And who changes it may answer with nothing at all."""
    return call.endswith("/fqdn") and (body in OBJECTS or (body == "empty" and not call.startswith("GET")))


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", BODIES)
async def test_a_success_with_rubbish(call: str, body: str) -> None:
    if is_fine(call, body):
        with Panel(saying(answer(BODIES[body]))).there():
            assert await ask(CALLS[call]) in {None, "panel.home"}
        return
    error = await fail(call, answer(BODIES[body], "200 OK", "Content-Type: text/html"))
    assert isinstance(error, SpanPanelAPIError)
    assert error.endpoint == call
    assert error.status == 200
    if call.endswith("/ca"):
        assert type(error) is SpanPanelAPIError
    elif body in UNREADABLE:
        assert type(error) in {expected(call, SpanPanelServerError), expected(call, SpanPanelAPIError)}
    else:
        assert type(error) is expected(call, SpanPanelAPIError)


def _holes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each member of each object in it."""
    if isinstance(document, dict):
        for name, inner in document.items():
            yield (*path, name)
            yield from _holes(inner, (*path, name))


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    return {**document, path[0]: _put(document[path[0]], path[1:], value)}


OPTIONAL = {  # these may be anything: what cannot be meant is not known
    "proximityProven",
    "hardwareVersion",
    "description",
    "issued_at",
    "tokenType",
}
WRONG = [
    None,
    True,
    7.5,
    -1,
    0,
    65_536,
    10**30,
    "",
    " ",
    "a\nb\x1b[2J",
    "../x",
    "\ud800",
    SAID,
    [],
    [5],
    {},
    {"a": SAID},
]


def a_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def a_number(value: object) -> bool:
    return type(value) is int


def a_secret(value: object) -> bool:
    return isinstance(value, str) and value != ""


def a_secret_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def a_name_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isprintable())


def groups(value: object) -> bool:
    return value == []


def groups_or_none(value: object) -> bool:
    return value is None or groups(value)


def nothing(_: object) -> bool:
    return False


def anything(_: object) -> bool:
    return True


TAKEN: dict[str, Callable[[object], bool]] = {
    "serialNumber": nothing,
    "firmwareVersion": a_text,
    "hostname": a_text,
    "accessToken": a_text,
    "ebusBrokerUsername": a_text,
    "ebusBrokerHost": a_text,
    "iatMs": a_number,
    "ebusTlsFqdn": a_name_or_none,
    "clients": lambda value: value == {},
    "get": groups,
    "post": groups,
    "put": groups,
    "delete": groups,
    "patch": groups_or_none,
    **dict.fromkeys(OPTIONAL, anything),  # what cannot be meant is not known
}
"""Field -> which values of it are taken; of the others, none."""

_REGISTERED = {"hopPassphrase": a_secret_or_none, "ebusBrokerPassword": a_secret_or_none}
_ROTATED = {"hopPassphrase": a_secret, "ebusBrokerPassword": a_secret}
FIELDS = [
    (call, path) for call in CALLS if not call.endswith(("/ca", "/schema")) for path in _holes(json.loads(GOOD[call]))
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "path"), FIELDS, ids=str)
async def test_a_field_is_taken_as_it_should_be_or_named(call: str, path: tuple[str, ...]) -> None:
    rules = {**TAKEN, **(_REGISTERED if "register" in call else _ROTATED if "PUT" in call else {})}
    for wrong in WRONG:
        body = json.dumps(_put(json.loads(GOOD[call]), path, wrong)).encode()
        with Panel(saying(answer(body))).there():
            result = await ask(CALLS[call])
        if rules.get(path[-1], nothing)(wrong):
            assert not isinstance(result, BaseException)
            assert leaks(result, *set(SECRETS) - {PASSPHRASE, TOKEN}) == []  # those two, where they are no secret here
        else:
            assert type(result) is expected(call, SpanPanelAPIError)
            assert leaks(result, ECHO, *SECRETS) == []
            assert path[-1] in str(result) or path == ("clients", "a-name")


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_what_may_be_missing_and_cannot_be_meant_is_not_known(wrong: object) -> None:
    async def with_(call: str, name: str) -> Any:
        with Panel(saying(answer(json.dumps({**json.loads(GOOD[call]), name: wrong}).encode()))).there():
            return await ask(CALLS[call])

    status, client = "GET /api/v2/status", "GET /api/v2/auth/clients/{name}"
    assert (await with_(status, "proximityProven")).proximity_proven is (True if wrong is True else None)
    hardware = (await with_(status, "hardwareVersion")).hardware_version
    assert hardware == (wrong if isinstance(wrong, str) and wrong.isprintable() else None)
    assert (await with_(client, "issued_at")).issued_at == (wrong if type(wrong) is int else None)
    assert (await with_(client, "description")).description == (wrong if isinstance(wrong, str) else None)


MISSING = [
    (call, name)
    for call in CALLS
    if not call.endswith(("/ca", "/schema", "/fqdn"))
    for name in json.loads(GOOD[call])
    if name not in OPTIONAL and not ("register" in call and name in {"hopPassphrase", "ebusBrokerPassword"})
]


@pytest.mark.parametrize(("call", "name"), MISSING)
async def test_a_required_field_that_is_missing_is_named(call: str, name: str) -> None:
    body = json.loads(GOOD[call])
    del body[name]
    error = await fail(call, answer(json.dumps(body).encode()))
    assert type(error) is expected(call, SpanPanelAPIError)
    assert str(error).endswith(f"gave an answer without {name}")


async def test_credentials_that_are_null_are_a_registration_all_the_same() -> None:
    body = {**json.loads(GOOD["POST /api/v2/auth/register"]), "hopPassphrase": None, "ebusBrokerPassword": None}
    with Panel(saying(answer(json.dumps(body).encode()))).there():
        registered = await ask(CALLS["POST /api/v2/auth/register"])
    assert (registered.broker_password, registered.passphrase) == (None, None)
    assert registered.access_token


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("cut", [0.0, 0.3, 0.99])
async def test_an_answer_that_breaks_off_is_worth_a_retry(call: str, cut: float) -> None:
    body = GOOD[call]
    error = await fail(call, answer(body[: int(len(body) * cut)], length=len(body)))
    assert type(error) is expected(call, SpanPanelServerError)
    assert "broke off" in str(error)


@pytest.mark.parametrize("call", CALLS)
async def test_ten_megabytes_are_not_read_to_their_end(call: str) -> None:
    sent = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(answer(b"", length=10 * 2**20))
        for _ in range(160):
            await stream.send_all(SAID.encode().ljust(2**16))
            sent += 2**16

    with Panel(serve, pair=lockstep_stream_pair).there():
        error = await ask(CALLS[call])
    assert type(error) is expected(call, SpanPanelAPIError)
    assert "too large" in str(error)
    assert leaks(error, ECHO, *SECRETS) == []
    assert sent <= LIMITS[call] + 2**16


@pytest.mark.parametrize("call", CALLS)
async def test_nothing_is_decompressed(call: str) -> None:
    bomb = gzip.compress(gzip.compress(b" " * 2**20))
    error = await fail(call, answer(bomb, "200 OK", "Content-Encoding: gzip, gzip"))
    assert isinstance(error, SpanPanelAPIError)
    assert "too large" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "status", [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 409, 412, 413, 418, 422, 429, 500, 502, 503, 599]
)
async def test_a_refusal_is_never_quoted_and_a_redirect_never_followed(call: str, status: int) -> None:
    headers = [f"Location: http://elsewhere.test/{SAID}", f"Set-Cookie: a={SAID}", f"Retry-After: {SAID}"]
    with logged() as log, Panel(saying(answer(BODIES["a refusal"], f"{status} {SAID}", *headers))).there() as panel:
        error = await ask(CALLS[call])
    assert isinstance(error, SpanPanelError)
    assert str(status) in str(error)
    assert leaks(error, ECHO, *SECRETS) == []
    assert [word for word in (ECHO, *SECRETS) if word in log.text()] == []
    assert len(panel.dialled) == 1


@pytest.mark.parametrize(
    "location", ["http://a:x/", "http://a\tb", "//a:b:c", "http://[::1", "/" * 70_000, "ftp://x", f"http://{ECHO}@x"]
)
async def test_where_a_redirect_leads_to_is_not_even_looked_at(location: str) -> None:
    error = await fail("GET /api/v2/auth/clients", answer(b"", "302 Found", f"Location: {location}"))
    assert type(error) is SpanPanelAPIError


async def test_no_cookie_is_kept() -> None:
    call = "GET /api/v2/status"
    with Panel(saying(answer(GOOD[call], "200 OK", "Set-Cookie: a=b"))).there() as panel:
        async with opened() as rest:
            await CALLS[call](rest)
            await CALLS[call](rest)
    assert panel.requests[0] == panel.requests[1]
    assert b"cookie" not in panel.requests[1].lower()
