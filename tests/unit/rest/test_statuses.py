"""`docs/reference/rest.md` has a table of what comes of every call: each of its cells, asked for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from span_trio import errors
from span_trio.rest.endpoints import ENDPOINTS
from tests.unit.rest.panels import CALLS, GOOD, TLS, Panel, answer, ask, saying, server_tls

pytestmark = pytest.mark.virtual_time

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rest.md"

SPECIAL = {401, 403, 404, 405, 412, 413, 422, 429}
STATUSES: dict[str, list[int]] = {
    **{str(status): [status] for status in SPECIAL},
    "3xx": [300, 301, 302, 303, 304, 307, 308],
    "other 4xx": [status for status in (*range(400, 432), 451, 499) if status not in SPECIAL],
    "5xx": [500, 501, 502, 503, 504, 599],
}


async def _never(_: trio.abc.Stream) -> None:
    await trio.sleep_forever()


def refusing() -> Panel:
    panel = Panel(_never)
    panel.refusing = True
    return panel


def whole(body: bytes) -> Panel:
    return Panel(saying(answer(body)))


TROUBLES: dict[str, tuple[Panel, dict[str, Any]]] = {
    "no connection": (refusing(), {}),
    "certificate refused": (Panel(_never, tls=server_tls()), {"tls": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}),
    "no answer in time": (Panel(_never), {}),
    "not HTTP": (Panel(saying(b"SSH-2.0-x\r\n\r\n")), {}),
    "breaks off": (Panel(saying(answer(b"{", length=100))), {}),
    "not JSON": (whole(b"<html>"), {}),
    "not an object": (whole(b"[]"), {}),
    "field missing": (whole(b"{}"), {}),
    "too large": (whole(b" " * (4 * 2**20 + 1)), {}),
}


def _rows(heading: str) -> Iterator[tuple[str, str, str]]:
    """Call, column and cell of the table under a heading."""
    lines = iter(PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].splitlines())
    header = next(line for line in lines if line.startswith("| call "))
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        call, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for column, cell in zip(columns[1:], cells, strict=True):
            yield call.strip("`").removesuffix("()"), column, cell


def _endpoints() -> dict[str, str]:
    """The name of a call -> the endpoint, as the first table on the page has it."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in page if line.startswith("| `") and "/" in line.split("|")[2]]
    named = {row[1].split("`")[1].removesuffix("()"): row[2].strip(" `") for row in rows}
    return {name: endpoint.replace(" /", " /api/v2/") for name, endpoint in named.items()}


CALL_OF = _endpoints()
REFUSALS = list(_rows("What a refusal means"))
OTHERS = list(_rows("What else can come of a call"))


def check(result: Any, cell: str) -> None:
    if cell == "None":
        assert result is None or result == "panel.home"
    else:
        assert type(result) is getattr(errors, f"SpanPanel{cell}Error")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column", "cell"), REFUSALS)
async def test_a_status(name: str, column: str, cell: str) -> None:
    for status in STATUSES[column]:
        with Panel(saying(answer(b'{"detail": "no"}', f"{status} x", "Location: /"))).there():
            result = await ask(CALLS[CALL_OF[name]])
        check(result, cell)
        if isinstance(result, errors.SpanPanelAPIError):
            assert (result.endpoint, result.status) == (CALL_OF[name], status)


TOKEN_CALLS = [name for name, call in CALL_OF.items() if any(word in call for word in ("clients", "pass", "fqdn"))]
SAID: list[tuple[list[str], list[int], str]] = [
    (TOKEN_CALLS, [401], "the access token is not good (any more): register again"),
    ([name for name in TOKEN_CALLS if name != "register_fqdn"], [403], "reduced privileges: register again, with the"),
    (["get_client", "delete_client"], [404, 422], "it knows no client of that name"),
    (["download_ca_cert"], [403, 404, 413], "the panel cannot hand out its CA"),
    (["register"], [401, 403, 422], "it does not accept the passphrase, the name, or that the door was pressed"),
    (["regenerate_passphrase"], [412], "it saw no access token"),
    (["regenerate_passphrase"], [500, 502, 599], "it may have changed its passphrase or not"),
    (["register_fqdn"], [403], "firmware before r202615 does so to everybody"),
    (["register_fqdn"], [422], "it does not accept that name"),
    (["get_status", "get_schema", "register", "list_clients"], [404, 405], "the firmware does not offer it"),
    (list(CALL_OF), [429], "it was asked too often"),
]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [(name, status, said) for names, codes, said in SAID for name in names for status in codes],
)
async def test_a_refusal_says_what_it_means(name: str, status: int, said: str) -> None:
    with Panel(saying(answer(b"", f"{status} x"))).there():
        result = await ask(CALLS[CALL_OF[name]])
    assert str(result).startswith(f"{CALL_OF[name]} answered {status}: ")
    assert said in str(result)


@pytest.mark.parametrize(("name", "column", "cell"), OTHERS)
async def test_a_trouble(name: str, column: str, cell: str) -> None:
    panel, how = TROUBLES[column]
    with panel.there():
        if cell == "-":  # it never speaks TLS
            assert name == "download_ca_cert"
            return
        check(await ask(CALLS[CALL_OF[name]], **how), cell)


async def test_a_panel_that_cannot_read_its_own_passphrase_is_told_from_a_wrong_one() -> None:
    said = b'{"detail": "Dashboard password is not available"}'
    for call in CALLS:
        with Panel(saying(answer(said, "422 x"))).there():
            result = await ask(CALLS[call])
        assert (type(result) is errors.SpanPanelFaultError) == ("register" in call)


@pytest.mark.parametrize("said", [b"", b"[]", b"{", b'{"detail": ["Dashboard password is not available"]}', b"\xff"])
async def test_a_refusal_that_cannot_be_read_is_a_refusal(said: bytes) -> None:
    with Panel(saying(answer(said, "422 x"))).there():
        assert type(await ask(CALLS["POST /api/v2/auth/register"])) is errors.SpanPanelAuthError


async def test_a_success_is_what_the_table_returns() -> None:
    for name, call in CALL_OF.items():
        tls = None if name == "download_ca_cert" else server_tls()
        with Panel(saying(answer(GOOD[call])), tls=tls).there():
            assert not isinstance(await ask(CALLS[call], tls=TLS), BaseException)


def test_the_tables_are_complete() -> None:
    calls = {str(endpoint) for endpoint in ENDPOINTS}
    assert set(CALL_OF.values()) == calls == set(CALLS)
    assert {(name, column) for name, column, _ in REFUSALS} == {
        (name, column) for name in CALL_OF for column in STATUSES
    }
    assert {(name, column) for name, column, _ in OTHERS} == {(name, column) for name in CALL_OF for column in TROUBLES}
