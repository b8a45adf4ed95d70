"""How often `SpanRestClient` asks, through whose httpx client, and what a probe makes of it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio

import span_trio
from span_trio.errors import (
    SpanPanelAPIError,
    SpanPanelConnectionError,
    SpanPanelRateLimitError,
    SpanPanelServerError,
    SpanPanelValidationError,
)
from span_trio.rest import detect_api_version
from tests.unit.rest.panels import (
    CALLS,
    GOOD,
    HOST,
    PASSPHRASE,
    SECRETS,
    TLS,
    TOKEN,
    Panel,
    answer,
    ask,
    leaks,
    saying,
    server_tls,
)

pytestmark = pytest.mark.virtual_time

STATUS, CA, CLIENTS = "GET /api/v2/status", "GET /api/v2/certificate/ca", "GET /api/v2/auth/clients"
TOKENS = [call for call in CALLS if "/auth/clients" in call or "/dns/" in call or "/passphrase" in call]
SECRET = [*TOKENS, "POST /api/v2/auth/register"]


# --- how often ---


def too_often(*headers: str) -> bytes:
    return answer(b'{"error": "10 per 1 minute"}', "429 Too Many Requests", *headers)


GETS = [call for call in CALLS if call.startswith("GET")]


@pytest.mark.parametrize("call", GETS)
async def test_a_rate_limit_is_waited_for_as_the_panel_says(call: str) -> None:
    with Panel(saying(too_often("Retry-After: 7"), too_often("Retry-After: 0"), answer(GOOD[call]))).there() as panel:
        assert not isinstance(await ask(CALLS[call], patience=60), BaseException)
    assert (trio.current_time(), len(panel.dialled)) == (pytest.approx(7), 3)


@pytest.mark.parametrize(
    "header", ["X: y", "Retry-After: soon", "Retry-After: -1", "Retry-After: 1e9", "Retry-After: ²"]
)
async def test_without_a_word_it_is_waited_for_ever_longer_and_five_times_at_most(header: str) -> None:
    with Panel(saying(too_often(header))).there() as panel:
        error = await ask(CALLS[CA], patience=60)
    assert (trio.current_time(), len(panel.dialled)) == (pytest.approx(1.5 + 3 + 6 + 12), 5)
    assert isinstance(error, SpanPanelRateLimitError)
    assert error.retry_after is None


@pytest.mark.parametrize("seconds", ["61", "86400", "999999999"])
async def test_patience_ends_at_once_where_waiting_would_not_do(seconds: str) -> None:
    with Panel(saying(too_often(f"Retry-After: {seconds}"))).there() as panel:
        error = await ask(CALLS[CA], patience=60)
    assert (trio.current_time(), len(panel.dialled)) == (0, 1)
    assert isinstance(error, SpanPanelRateLimitError)
    assert error.retry_after == float(seconds)


@pytest.mark.parametrize("pauses", [["60"], ["0", "59", "1"]])
async def test_patience_lasts_to_its_last_second_and_no_longer(pauses: list[str]) -> None:
    said = [too_often(f"Retry-After: {pause}") for pause in pauses]
    with Panel(saying(*said, too_often("Retry-After: 1"))).there() as panel:
        assert isinstance(await ask(CALLS[CA], patience=60), SpanPanelRateLimitError)
    assert (trio.current_time(), len(panel.dialled)) == (pytest.approx(60), len(pauses) + 1)


async def test_patience_is_for_a_call_as_a_whole() -> None:
    with Panel(saying(too_often("Retry-After: 25"))).there() as panel:
        assert isinstance(await ask(CALLS[CA], patience=60), SpanPanelRateLimitError)
    assert (trio.current_time(), len(panel.dialled)) == (pytest.approx(50), 3)


@pytest.mark.parametrize("call", [call for call in CALLS if call not in GETS])
async def test_what_changes_something_is_never_repeated(call: str) -> None:
    with Panel(saying(too_often("Retry-After: 1"))).there() as panel:
        assert isinstance(await ask(CALLS[call], patience=60), SpanPanelRateLimitError)
    assert len(panel.dialled) == 1


async def test_the_waiting_can_be_cancelled() -> None:
    with Panel(saying(too_often("Retry-After: 30"))).there(), trio.move_on_after(3) as scope:
        await ask(CALLS[CA], patience=60)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("said", [b"", answer(b"", "502 Bad Gateway")])
async def test_nothing_else_is_repeated(call: str, said: bytes) -> None:
    with Panel(saying(said)).there() as panel:
        assert isinstance(await ask(CALLS[call], patience=60), BaseException)
    assert len(panel.dialled) == 1


# --- an httpx client of somebody else's ---


def mocked(reply: Callable[[httpx.Request], httpx.Response], **how: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(reply), **how)


@pytest.mark.parametrize("call", CALLS)
async def test_an_injected_client_is_used_and_not_closed(call: str) -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=GOOD[call])

    theirs = mocked(reply, headers={"X-Theirs": "yes"})
    with Panel(saying(b"")).there() as panel:
        for _ in range(2):
            assert not isinstance(await ask(CALLS[call], httpx_client=theirs), BaseException)
    assert (len(seen), panel.dialled, theirs.is_closed) == (2, [], False)
    assert seen[0].headers["X-Theirs"] == "yes"
    assert seen[0].headers.get("authorization") == (f"Bearer {TOKEN}" if call in TOKENS else None)
    await theirs.aclose()


@pytest.mark.parametrize("call", SECRET)
async def test_an_injected_client_is_no_way_around_the_pin(call: str) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        raise AssertionError

    async with mocked(reply) as theirs:
        panel = Panel(saying(answer(GOOD[call])), tls=server_tls())
        with panel.there():
            assert not isinstance(await ask(CALLS[call], tls=TLS, httpx_client=theirs), BaseException)
            assert isinstance(await ask(CALLS[call], insecure=False, httpx_client=theirs), SpanPanelValidationError)
    assert panel.dialled == [(HOST, 443)]


async def test_an_injected_client_follows_no_redirect_and_adds_no_login_of_its_own() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(307, headers={"Location": "http://elsewhere.test/"})

    async with mocked(reply, follow_redirects=True, auth=("who", "knows")) as theirs:
        error = await ask(CALLS[CLIENTS], httpx_client=theirs)
    assert type(error) is SpanPanelAPIError
    assert [(request.url.host, request.headers["authorization"]) for request in seen] == [(HOST, f"Bearer {TOKEN}")]


async def test_an_injected_client_that_is_closed_is_refused() -> None:
    theirs = httpx.AsyncClient()
    await theirs.aclose()
    with pytest.raises(SpanPanelValidationError, match="closed"):
        await span_trio.get_v2_status(HOST, httpx_client=theirs)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError])
async def test_an_idle_connection_that_was_hung_up_is_tried_again_once_by_what_reads(
    call: str, error: type[httpx.TransportError]
) -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) == 1:
            raise error(f"Server disconnected {PASSPHRASE} {TOKEN}", request=request)
        return httpx.Response(200, content=GOOD[call])

    async with mocked(reply) as theirs:
        result = await ask(CALLS[call], httpx_client=theirs)
    if call in GETS:
        assert not isinstance(result, BaseException)
    else:
        assert isinstance(result, (SpanPanelConnectionError, SpanPanelAPIError))
        assert leaks(result, *SECRETS) == []
    assert len(seen) == (2 if call in GETS else 1)


async def test_an_idle_connection_that_is_always_hung_up_is_an_error() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise httpx.ReadError("", request=request)

    async with mocked(reply) as theirs:
        assert type(await ask(CALLS[STATUS], httpx_client=theirs)) is SpanPanelConnectionError
    assert len(seen) == 2


async def test_a_mocked_answer_has_the_same_limit() -> None:
    async with mocked(lambda _: httpx.Response(200, content=b" " * 5_000_000)) as theirs:
        assert "too large" in str(await ask(CALLS[STATUS], httpx_client=theirs))


# --- a probe ---


async def detected(said: bytes, **how: Any) -> Any:
    with Panel(saying(said)).there():
        return await detect_api_version(HOST, **how)


async def test_a_panel_with_the_v2_api() -> None:
    found = await detected(answer(GOOD[STATUS]))
    assert (found.api_version, found.probe_failed, found.error) == ("v2", False, None)
    assert found.status_info.serial_number == "nt-1"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_a_panel_that_has_none(status: int) -> None:
    found = await detected(answer(b'{"detail": "Not Found"}', f"{status} x"))
    assert (found.api_version, found.probe_failed, found.status_info, found.error) == ("v1", False, None, None)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", SpanPanelConnectionError),
        (b"SSH-2.0-x\r\n\r\n", SpanPanelConnectionError),
        (answer(b"", "302 Found"), SpanPanelAPIError),
        (answer(b"", "429 x"), SpanPanelRateLimitError),
        (answer(b"", "502 x"), SpanPanelServerError),
        (answer(b"<html>"), SpanPanelServerError),
        (answer(b"{}"), SpanPanelAPIError),
    ],
)
async def test_nothing_else_tells_and_nothing_is_raised(said: bytes, kind: type[Exception]) -> None:
    found = await detected(said)
    assert (found.api_version, found.probe_failed, found.status_info) == (None, True, None)
    assert type(found.error) is kind
    assert trio.current_time() == 0


async def test_a_probe_of_nobody_or_of_no_address_raises_nothing() -> None:
    panel = Panel(saying(b""))
    panel.refusing = True
    with panel.there():
        assert (await detect_api_version(HOST)).probe_failed
        assert (await detect_api_version("..")).probe_failed
        assert (await detect_api_version("a b\0")).probe_failed


async def test_a_probe_over_tls_finds_a_stranger() -> None:
    with Panel(saying(b""), tls=server_tls("other.test")).there():
        assert (await detect_api_version(HOST, tls=TLS)).probe_failed
