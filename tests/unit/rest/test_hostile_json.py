"""Whatever JSON, whatever bytes: hypothesis looks for an exception that is not documented, or a secret in one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import event, given
from hypothesis import strategies as st

from span_trio.errors import SpanPanelAPIError, SpanPanelAuthError, SpanPanelConnectionError, SpanPanelError
from tests.unit.rest.panels import CALLS, ECHO, GOOD, SECRETS, Panel, answer, leaks, logged, opened, run, saying

_DOCUMENTS = {call: json.loads(body) for call, body in GOOD.items() if not call.endswith("/ca")}


def _words(document: Any) -> set[str]:
    if not isinstance(document, dict):
        return set()
    return set(document).union(*(_words(inner) for inner in document.values()))


WORDS = st.sampled_from(sorted(set().union(*map(_words, _DOCUMENTS.values())) | {"detail", "types", "space", "NO ID"}))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([ECHO, *SECRETS, "1.0", "float", "\ud800", "Dashboard password is not available"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """The document with something else in one place."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(document)))
        return {**document, name: draw(spoilt(document[name]))}
    return draw(JSON)


async def _all_calls(said: dict[str, bytes]) -> list[object]:
    """What each call makes of what is said to it."""
    results: list[object] = []
    for call, ask in CALLS.items():
        with Panel(saying(said[call])).there():
            async with opened() as rest:
                try:
                    results.append(await ask(rest))
                except SpanPanelError as error:
                    results.append(error)
    return results


def check(said: dict[str, bytes]) -> list[object]:
    with logged() as log:
        results = run(lambda: _all_calls(said))
    for result in results:
        if isinstance(result, BaseException):
            assert isinstance(result, (SpanPanelAPIError, SpanPanelConnectionError, SpanPanelAuthError))
            assert leaks(result, ECHO, *SECRETS) == []
    assert [word for word in (ECHO, *SECRETS) if word in log.text()] == []
    return results


@pytest.mark.slow
@given(st.data(), st.sampled_from(["200 OK", "201 Created", "422 Unprocessable", "500 Oops"]))
def test_whatever_json(data: st.DataObject, status: str) -> None:
    said = {
        call: answer(json.dumps(data.draw(spoilt(_DOCUMENTS[call]) if call in _DOCUMENTS else JSON)).encode(), status)
        for call in CALLS
    }
    results = check(said)
    taken = sum(not isinstance(result, BaseException) for result in results)
    event("some were taken" if taken else "none was taken")


@pytest.mark.slow
@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_whatever_body(body: bytes) -> None:
    check(dict.fromkeys(CALLS, answer(body)))


_PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.0 302 Found\r\n",
        b"Content-Length: 2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Location: http://" + ECHO.encode() + b"\r\n",
        b"Retry-After: 1\r\n",
        ECHO.encode(),
        b"\r\n",
        b"{}",
        b"2\r\n{}\r\n0\r\n\r\n",
        b": ",
    ]
)


@pytest.mark.slow
@given(st.lists(_PIECES | st.binary(max_size=8), max_size=8).map(b"".join))
def test_whatever_bytes(said: bytes) -> None:
    check(dict.fromkeys(CALLS, said))


async def _cut(said: bytes, places: list[int]) -> object:
    async def serve(stream: trio.abc.Stream) -> None:
        for begin, end in zip([0, *places], [*places, len(said)], strict=True):
            await stream.send_all(said[begin:end])
            await trio.sleep(0.01)

    with Panel(serve).there():
        async with opened() as rest:
            return await CALLS["GET /api/v2/auth/clients"](rest)


@given(st.data())
def test_however_the_bytes_arrive_the_answer_is_the_same(data: st.DataObject) -> None:
    said = answer(GOOD["GET /api/v2/auth/clients"])
    places = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    assert run(lambda: _cut(said, places)) == run(lambda: _cut(said, []))


def test_such_a_run_would_notice_a_secret() -> None:
    error = SpanPanelAPIError("quiet")
    error.__context__ = SpanPanelAPIError("quiet", endpoint=ECHO)
    assert leaks(error, ECHO) == [ECHO]
    error.__context__ = ValueError("quiet")
    with pytest.raises(AssertionError):
        leaks(error, ECHO)
