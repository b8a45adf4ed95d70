"""`SpanRestClient` and its one-shot forms: what is sent, to whom, how often, and what is refused before that."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

import span_trio
from span_trio.errors import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelServerError,
    SpanPanelUnsupportedError,
    SpanPanelValidationError,
)
from span_trio.rest import SpanRestClient, client, trust, unique_name
from tests.unit.rest.panels import (
    CA_PEM,
    CALLS,
    GOOD,
    HOST,
    NEW_PASSPHRASE,
    NEW_PASSWORD,
    NEW_TOKEN,
    PASSPHRASE,
    SECRETS,
    TLS,
    TOKEN,
    Panel,
    answer,
    ask,
    leaks,
    opened,
    saying,
    server_tls,
)

pytestmark = pytest.mark.virtual_time

STATUS, CA, SCHEMA = OPEN = ["GET /api/v2/status", "GET /api/v2/certificate/ca", "GET /api/v2/homie/schema"]
REGISTER, CLIENTS, FQDN = "POST /api/v2/auth/register", "GET /api/v2/auth/clients", "GET /api/v2/dns/fqdn"
SECRET = [call for call in CALLS if call not in OPEN]
TOKENS = [call for call in SECRET if call != REGISTER]

ONE_SHOTS: dict[str, Callable[..., Awaitable[Any]]] = {
    STATUS: lambda **how: span_trio.get_v2_status(HOST, **how),
    CA: lambda **how: span_trio.download_ca_cert(HOST, **how),
    SCHEMA: lambda **how: span_trio.get_homie_schema(HOST, **how),
    REGISTER: lambda **how: span_trio.register_v2(HOST, "a-name", PASSPHRASE, **how),
    CLIENTS: lambda **how: span_trio.list_clients(HOST, TOKEN, **how),
    "GET /api/v2/auth/clients/{name}": lambda **how: span_trio.get_client(HOST, TOKEN, "a-name", **how),
    "DELETE /api/v2/auth/clients/{name}": lambda **how: span_trio.delete_client(HOST, TOKEN, "a-name", **how),
    "PUT /api/v2/auth/passphrase": lambda **how: span_trio.regenerate_passphrase(HOST, TOKEN, **how),
    FQDN: lambda **how: span_trio.get_fqdn(HOST, TOKEN, **how),
    "POST /api/v2/dns/fqdn": lambda **how: span_trio.register_fqdn(HOST, TOKEN, "panel.home", **how),
    "DELETE /api/v2/dns/fqdn": lambda **how: span_trio.delete_fqdn(HOST, TOKEN, **how),
}


def parsed(request: bytes) -> tuple[str, dict[str, str], Any]:
    """The first line, the headers, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    return line, {name.lower(): value for name, value in headers.items()}, json.loads(body) if body else None


# --- what is sent, and what comes of it ---


@pytest.mark.parametrize("call", CALLS)
async def test_a_request_is_what_the_table_says_and_no_more(call: str) -> None:
    with Panel(saying(answer(GOOD[call]))).there() as panel:
        await ask(CALLS[call])
    line, headers, body = parsed(panel.requests[0])
    assert line == f"{call.format(name='a-name')} HTTP/1.1"
    assert headers.get("authorization") == (f"Bearer {TOKEN}" if call in TOKENS else None)
    assert headers["accept-encoding"] == "identity"
    assert not headers.keys() & {"cookie", "proxy-authorization"}
    sent = {
        REGISTER: {"name": "a-name", "hopPassphrase": PASSPHRASE},
        "POST /api/v2/dns/fqdn": {"ebusTlsFqdn": "panel.home"},
    }
    assert body == sent.get(call)


@pytest.mark.parametrize("call", CALLS)
async def test_the_one_shot_forms_ask_the_same_and_get_the_same(call: str) -> None:
    with Panel(saying(answer(GOOD[call]))).there() as panel:
        expected = await ask(CALLS[call])
        assert await ONE_SHOTS[call](**({} if call == CA else {"insecure": True})) == expected
    assert panel.requests[0] == panel.requests[1]


async def test_a_registration_by_the_door_sends_no_passphrase() -> None:
    with Panel(saying(answer(GOOD[REGISTER]))).there() as panel:
        registered = await ask(lambda rest: rest.register("a-name"))
    assert parsed(panel.requests[0])[2] == {"name": "a-name"}
    assert (registered.access_token, registered.broker_password, registered.passphrase) == (
        NEW_TOKEN,
        NEW_PASSWORD,
        NEW_PASSPHRASE,
    )
    assert registered.credentials(CA_PEM).broker_password == NEW_PASSWORD


async def test_a_client_of_the_list() -> None:
    with Panel(saying(answer(GOOD[CLIENTS]))).there():
        (found,) = await ask(CALLS[CLIENTS])
    assert (found.name, found.description, found.issued_at) == ("a-name", "mine", 1760728511)
    assert found.allowed_endpoint_groups == {"get": ("status",), "post": (), "put": (), "delete": (), "patch": ()}
    assert hash(found)


async def test_both_secrets_of_a_rotation() -> None:
    call = "PUT /api/v2/auth/passphrase"
    with Panel(saying(answer(GOOD[call]))).there():
        rotated = await ask(CALLS[call])
    assert attrs.astuple(rotated) == (NEW_PASSWORD, NEW_PASSPHRASE)


async def test_secrets_of_a_rotation_may_be_of_any_letters_since_there_is_no_other_copy() -> None:
    body = json.dumps({"ebusBrokerPassword": "a\n\ud800", "hopPassphrase": " "}).encode()
    with Panel(saying(answer(body))).there():
        rotated = await ask(CALLS["PUT /api/v2/auth/passphrase"])
    assert attrs.astuple(rotated) == ("a\n\ud800", " ")


async def test_a_client_that_is_deleted_without_a_word() -> None:
    with Panel(saying(answer(b"", "204 No Content"))).there():
        gone = await ask(CALLS["DELETE /api/v2/auth/clients/{name}"])
    assert (gone.name, gone.allowed_endpoint_groups) == ("a-name", {})


@pytest.mark.parametrize("call", CALLS)
async def test_the_content_type_tells_nothing(call: str) -> None:
    with Panel(saying(answer(GOOD[call], "200 OK", "Content-Type: text/html; charset=klingon"))).there():
        assert not isinstance(await ask(CALLS[call]), BaseException)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(b'{"ebusTlsFqdn": "panel.home"}'), "panel.home"),
        (answer(b'{"ebusTlsFqdn": ""}'), ""),
        (answer(b'{"ebusTlsFqdn": null}'), None),
        (answer(b"{}"), None),
        (answer(b"", "204 No Content"), None),
        (answer(b'{"detail": "Not Found"}', "404 Not Found"), None),
    ],
)
async def test_no_domain_name_is_none_and_an_empty_one_is_empty(said: bytes, expected: str | None) -> None:
    with Panel(saying(said)).there():
        assert await ask(CALLS[FQDN]) == expected


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
async def test_a_domain_name_that_is_set_or_removed_without_a_word(status: str) -> None:
    with Panel(saying(answer(b"", status))).there():
        assert await ask(CALLS["POST /api/v2/dns/fqdn"]) == "panel.home"
        assert await ask(CALLS["DELETE /api/v2/dns/fqdn"]) is None


async def test_what_the_panel_made_of_a_domain_name_is_what_it_says() -> None:
    with Panel(saying(answer(b'{"ebusTlsFqdn": null}'))).there():
        assert await ask(CALLS["POST /api/v2/dns/fqdn"]) is None


@pytest.mark.parametrize(
    ("name", "segment"),
    [("a/b", "a%2Fb"), ("a b?c#d", "a%20b%3Fc%23d"), ("%2e%2e", "%252e%252e"), ("ü", "%C3%BC"), ("a..b", "a..b")],
)
async def test_a_name_is_one_segment_of_the_path(name: str, segment: str) -> None:
    with Panel(saying(answer(GOOD["GET /api/v2/auth/clients/{name}"]))).there() as panel:
        await ask(lambda rest: rest.get_client(name))
        await ask(lambda rest: rest.delete_client(name))
    assert [parsed(request)[0].split()[1] for request in panel.requests] == [f"/api/v2/auth/clients/{segment}"] * 2


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
async def test_a_name_that_would_be_another_path_is_refused(name: str) -> None:
    with Panel(saying(b"")).there() as panel:
        assert isinstance(await ask(lambda rest: rest.delete_client(name)), SpanPanelValidationError)
    assert panel.dialled == []


async def test_a_passphrase_may_be_of_any_letters() -> None:
    with Panel(saying(answer(GOOD[REGISTER]))).there() as panel:
        await ask(lambda rest: rest.register("a-name", 'ü"\\\n\ud800'))
    assert parsed(panel.requests[0])[2]["hopPassphrase"] == 'ü"\\\n\ud800'


def test_names_are_unique() -> None:
    assert len({unique_name("a") for _ in range(100)}) == 100


# --- one certificate, and no second one behind it ---


async def test_a_second_certificate_behind_the_ca_would_be_trusted_unseen() -> None:
    with Panel(saying(answer(CA_PEM.encode() * 2))).there():
        assert "not one PEM certificate" in str(await ask(CALLS[CA]))


# --- to whom ---


@pytest.mark.parametrize("call", SECRET)
async def test_a_secret_without_tls_is_refused_before_anything_is_sent(call: str) -> None:
    with Panel(saying(answer(GOOD[call]))).there() as panel:
        error = await ask(CALLS[call], insecure=False)
        with pytest.raises(SpanPanelValidationError, match="ca_pem="):
            await ONE_SHOTS[call]()
    assert isinstance(error, SpanPanelValidationError)
    assert panel.dialled == []


@pytest.mark.parametrize("call", OPEN)
async def test_what_is_no_secret_needs_no_tls(call: str) -> None:
    with Panel(saying(answer(GOOD[call]))).there() as panel:
        assert not isinstance(await ask(CALLS[call], insecure=False), BaseException)
    assert panel.dialled == [(HOST, 80)]


@pytest.mark.parametrize("call", CALLS)
async def test_the_ports_are_apart(call: str) -> None:
    with Panel(saying(answer(GOOD[call])), tls=None if call == CA else server_tls()).there() as panel:
        await ask(CALLS[call], tls=TLS, insecure=True, http_port=8081, https_port=8443)
    assert panel.dialled == [(HOST, 8081 if call == CA else 8443)]


async def test_a_ca_as_text() -> None:
    panel = Panel(saying(answer(GOOD[CLIENTS])), tls=server_tls())
    with panel.there():
        assert len(await span_trio.list_clients(HOST, TOKEN, ca_pem=CA_PEM)) == 1
        assert len(await ask(CALLS[CLIENTS], ca_pem=CA_PEM)) == 1
    assert panel.dialled == [(HOST, 443)] * 2


async def test_the_insecure_way_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    client._warned.clear()
    with Panel(saying(answer(GOOD[CLIENTS]))).there(), caplog.at_level(logging.WARNING, "span_trio"):
        for _ in range(3):
            await ask(CALLS[STATUS], insecure=True)  # carries none
            assert len(await ask(CALLS[CLIENTS])) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"secrets go to {HOST}:80 in the clear, as insecure= allows"
    ]


@pytest.mark.parametrize(
    "how",
    [
        {"https_port": 80},
        {"http_port": 0},
        {"https_port": 65_536},
        {"ca_pem": CA_PEM, "tls": TLS},
        {"timeout": 0.0},
        {"timeout": float("nan")},
        {"patience": -1.0},
        {"patience": float("inf")},
        {"token": ""},
        {"token": "two words"},
        {"token": "ü"},
        {"token": "a\r\nX-Injected: b"},
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_quoted(how: dict[str, Any]) -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        SpanRestClient(HOST, **how)
    assert "Injected" not in str(caught.value)


async def test_port_80_with_tls_is_refused() -> None:  # lesson D: an old port was stored
    with pytest.raises(SpanPanelValidationError, match="port 80 speaks no TLS"):
        await span_trio.get_v2_status(HOST, port=80, tls=TLS)


def test_a_context_that_trusts_everybody_is_no_pin() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(SpanPanelValidationError, match="everybody"):
        SpanRestClient(HOST, tls=context)


@pytest.mark.parametrize("ca_pem", ["", "x", "ü", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"])
async def test_a_ca_that_is_none_is_said_when_opening(ca_pem: str) -> None:
    with pytest.raises(SpanPanelValidationError, match="not a PEM certificate") as caught:
        async with SpanRestClient(HOST, ca_pem=ca_pem):
            pass
    assert leaks(caught.value, "c2VjcmV0") == []


async def test_a_context_trusts_the_ca_alone_and_without_the_strict_checks_of_python_3_13() -> None:
    context = await trust.load_pin(CA_PEM)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT  # a panel's CA has no Authority Key Identifier (lessons D)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("call", TOKENS)
async def test_a_call_without_its_token_is_refused(call: str) -> None:
    with Panel(saying(b"")).there() as panel:
        assert isinstance(await ask(CALLS[call], token=None), SpanPanelValidationError)
    assert panel.dialled == []


@pytest.mark.parametrize("arguments", [("",), ("a-name", "")])
async def test_a_registration_without_name_or_with_an_empty_passphrase_is_refused(arguments: tuple[str, ...]) -> None:
    with Panel(saying(b"")).there() as panel:
        assert isinstance(await ask(lambda rest: rest.register(*arguments)), SpanPanelValidationError)
    assert panel.dialled == []


async def test_it_is_used_inside_its_block_only() -> None:
    rest = opened()
    with pytest.raises(SpanPanelClosedError):
        await rest.get_status()
    async with rest:
        with pytest.raises(SpanPanelValidationError, match="open already"):
            await rest.__aenter__()
    with pytest.raises(SpanPanelClosedError):
        await rest.get_status()


@pytest.mark.parametrize("fqdn", ["", "a\r\nb"])
async def test_a_domain_name_that_cannot_be_one_is_refused(fqdn: str) -> None:
    with Panel(saying(b"")).there() as panel:
        assert isinstance(await ask(lambda rest: rest.register_fqdn(fqdn)), SpanPanelValidationError)
    assert panel.dialled == []


def test_its_repr_says_where_and_no_secret() -> None:
    assert repr(opened()) == f"<SpanRestClient http://{HOST}:80>"
    assert repr(opened(tls=TLS, https_port=8443)) == f"<SpanRestClient https://{HOST}:8443>"
    assert leaks(opened(), *SECRETS) == []


# --- the errors stand in the tree where programs look for them ---


def test_whoever_catches_what_there_was_catches_what_is_new() -> None:
    assert issubclass(span_trio.SpanPanelPrivilegeError, SpanPanelAuthError)
    for name in ("RateLimit", "Fault", "OutcomeUnknown"):
        assert issubclass(getattr(span_trio, f"SpanPanel{name}Error"), SpanPanelAPIError)
        assert not issubclass(getattr(span_trio, f"SpanPanel{name}Error"), SpanPanelServerError)  # no retry mends it
    assert issubclass(SpanPanelUnsupportedError, SpanPanelAPIError)
