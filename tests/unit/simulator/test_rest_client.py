"""`SpanRestClient` and the simulated panel's REST API against each other: every method, refusal and switch."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trustme

from span_trio import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelFaultError,
    SpanPanelOutcomeUnknownError,
    SpanPanelPrivilegeError,
    SpanPanelRateLimitError,
    SpanPanelServerError,
    SpanPanelUnsupportedError,
    detect_api_version,
)
from span_trio.rest import SpanRestClient
from span_trio.simulator import RestFault, listening, open_simulated_panel
from span_trio.simulator.rest.api import ENDPOINTS
from tests.unit.simulator.rest_helpers import Api, opened

METHODS: dict[str, Callable[[SpanRestClient], Awaitable[Any]]] = {
    "GET /status": SpanRestClient.get_status,
    "GET /certificate/ca": SpanRestClient.download_ca_cert,
    "GET /homie/schema": SpanRestClient.get_schema,
    "POST /auth/register": lambda client: client.register("you", "a passphrase"),
    "GET /auth/clients": SpanRestClient.list_clients,
    "GET /auth/clients/{name}": lambda client: client.get_client("me"),
    "DELETE /auth/clients/{name}": lambda client: client.delete_client("me"),
    "PUT /auth/passphrase": SpanRestClient.regenerate_passphrase,
    "GET /dns/fqdn": SpanRestClient.get_fqdn,
    "POST /dns/fqdn": lambda client: client.register_fqdn("panel.home"),
    "DELETE /dns/fqdn": SpanRestClient.delete_fqdn,
}
CLOSED = ENDPOINTS[4:]


@contextlib.asynccontextmanager
async def client_of(api: Api, token: str | None = None, **more: Any) -> AsyncGenerator[SpanRestClient, None]:
    async with SpanRestClient("panel", token=token, insecure=True, httpx_client=api.http, **more) as client:
        yield client


# --- a life, on real ports ---


@pytest.mark.parametrize("build", [202603, 202627, 202639])
async def test_all_of_it_over_pinned_tls(build: int) -> None:
    async with open_simulated_panel("8", build=build) as panel, listening(panel) as where:
        where.rest.certificate_after = 0.01
        ports: Any = {"http_port": where.http_port, "https_port": where.https_port}
        async with SpanRestClient(where.host, **ports) as first:
            ca_pem = await first.download_ca_cert()
        async with SpanRestClient(where.host, ca_pem=ca_pem, **ports) as stranger:
            status = await stranger.get_status()
            assert status.serial_number == panel.serial_number
            assert status.proximity_proven is (None if build == 202603 else False)
            assert (await stranger.get_schema()).firmware_version == status.firmware_version
            mine = await stranger.register("me", panel.passphrase)
            where.rest.press_door()
            lesser = await stranger.register("you / ü", None)
            assert (lesser.passphrase, mine.broker_password) == (
                panel.passphrase,
                panel.credentials.broker_password,
            )
        async with SpanRestClient(where.host, ca_pem=ca_pem, token=mine.access_token, **ports) as client:
            listed = await client.list_clients()
            assert [entry.name for entry in listed] == ["me", "you / ü"]
            assert await client.get_client("you / ü") == await client.delete_client("you / ü") == listed[1]
            with pytest.raises(SpanPanelAPIError, match="no client of that name"):
                await client.get_client("you / ü")
            assert await client.get_fqdn() is None
            if build < 202615:
                with pytest.raises(SpanPanelUnsupportedError):
                    await client.register_fqdn("panel.home")
            else:
                assert await client.register_fqdn("panel.home") == "panel.home"
                assert await client.get_fqdn() == "panel.home"
            await client.delete_fqdn()
            rotated = await client.regenerate_passphrase()
            assert (rotated.passphrase, rotated.broker_password) == (
                panel.passphrase,
                panel.credentials.broker_password,
            )
            assert rotated.passphrase != mine.passphrase
            assert len(await client.list_clients()) == 1


# --- refusals ---


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", CLOSED)
async def test_a_token_that_nobody_has_and_one_of_the_lesser_kind_are_two_errors(name: str) -> None:
    async with opened() as api:
        await api.token("me")
        async with client_of(api, "stale") as client:
            with pytest.raises(SpanPanelAuthError, match="not good"):
                await METHODS[name](client)
        async with client_of(api, await api.reduced_token()) as client:
            if name in {"GET /dns/fqdn", "POST /dns/fqdn"}:
                await METHODS[name](client)
            else:
                with pytest.raises(SpanPanelPrivilegeError):
                    await METHODS[name](client)


@pytest.mark.virtual_time
@pytest.mark.parametrize("build", [202603, 202639])
@pytest.mark.parametrize(
    ("switch", "name", "passphrase", "kind"),
    [
        ({}, "new", "wrong-secret", SpanPanelAuthError),
        ({}, "new", None, SpanPanelAuthError),
        ({}, "taken", "", SpanPanelAuthError),
        ({"passphrase_unreadable": True}, "new", "", SpanPanelFaultError),
        ({"serial_known": False}, "new", "", SpanPanelServerError),
        ({"starting": True}, "new", "", SpanPanelServerError),
    ],
)
async def test_a_registration_that_is_refused_is_one_error_without_a_secret(
    build: int, switch: dict[str, Any], name: str, passphrase: str | None, kind: type[SpanPanelError]
) -> None:
    async with opened(build) as api, client_of(api) as client:
        await api.register("taken")
        for key, value in switch.items():
            setattr(api.state, key, value)
        secret = api.panel.passphrase if passphrase == "" else passphrase
        with pytest.raises(kind) as caught:
            await client.register(name, secret)
        assert caught.value.__context__ is None
        assert api.panel.passphrase not in repr(caught.value.args)
        assert "wrong-secret" not in repr(caught.value.args)
        assert list(api.state.clients) == ["taken"]


@pytest.mark.virtual_time
async def test_null_credentials_are_none() -> None:
    async with opened() as api, client_of(api) as client:
        api.state.without_password = True
        answer = await client.register("me", api.panel.passphrase)
        assert (answer.broker_password, answer.passphrase) == (None, None)
        async with client_of(api, answer.access_token) as known:
            await known.list_clients()


# --- the limit ---


@pytest.mark.virtual_time
async def test_who_fetches_the_ca_too_often_waits_as_long_as_the_panel_says() -> None:
    async with opened() as api:
        api.state.ca_pem = pem = trustme.CA().cert_pem.bytes().decode()
        async with client_of(api) as client:
            began = trio.current_time()
            for _ in range(11):
                assert await client.download_ca_cert() == pem
            assert trio.current_time() - began == pytest.approx(60, abs=1)
        async with client_of(api, patience=0) as client:
            for _ in range(9):
                await client.download_ca_cert()
            with pytest.raises(SpanPanelRateLimitError) as caught:
                await client.download_ca_cert()
            assert caught.value.retry_after == 60


# --- faults ---


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_what_is_down_is_worth_a_retry_and_a_lost_rotation_is_not_known(name: str, status: int) -> None:
    async with opened() as api:
        token = await api.token()
        api.state.fail(name, RestFault(status=status, done=True))
        before = api.panel.passphrase
        async with client_of(api, token) as client:
            kind = SpanPanelOutcomeUnknownError if name == "PUT /auth/passphrase" else SpanPanelServerError
            with pytest.raises(kind):
                await METHODS[name](client)
        assert (api.panel.passphrase != before) == (name == "PUT /auth/passphrase")


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "DELETE /dns/fqdn"])
@pytest.mark.parametrize(
    "fault",
    [
        RestFault(body=b"<html><body>Bad Gateway</body></html>", headers={"Content-Type": "text/html"}),
        RestFault(body=b"{}"),
        RestFault(body=b"[]"),
        RestFault(body=b"null"),
        RestFault(body=b"{" * 100_000),
        RestFault(keep=9, done=True),
        RestFault(body=b"x" * 10_000_000),
        RestFault(status=307, headers={"Location": "http://elsewhere/"}),
        RestFault(status=418),
    ],
)
async def test_rubbish_is_a_named_error(name: str, fault: RestFault) -> None:
    async with opened() as api:
        token = await api.token()
        api.state.fail(name, fault)
        async with client_of(api, token) as client:
            if name.endswith("/dns/fqdn") and fault.body == b"{}":
                assert await METHODS[name](client) is None  # which says that there is none
                return
            with pytest.raises(SpanPanelError) as caught:
                await METHODS[name](client)
            method, path = name.split()
            assert isinstance(caught.value, SpanPanelAuthError) or f"{method} /api/v2{path}" in str(caught.value)


@pytest.mark.parametrize("fault", [RestFault(hang_up=True), RestFault(cut=0), RestFault(cut=9)])
@pytest.mark.parametrize("name", ["GET /homie/schema", "PUT /auth/passphrase"])
async def test_an_answer_that_breaks_off_is_an_error(name: str, fault: RestFault) -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where:
        token = where.rest.add_client("me", full=True).token
        where.rest.fail(name, fault)
        async with SpanRestClient(where.host, ca_pem=where.ca_pem, https_port=where.https_port, token=token) as client:
            kind = SpanPanelOutcomeUnknownError if name == "PUT /auth/passphrase" else SpanPanelError
            with pytest.raises(kind), trio.fail_after(5):
                await METHODS[name](client)


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", ENDPOINTS)
async def test_an_answer_that_never_comes_is_an_error_in_time(name: str) -> None:
    async with opened() as api:
        token = await api.token()
        api.state.fail(name, RestFault(delay=3600))
        async with client_of(api, token) as client:
            kind = SpanPanelOutcomeUnknownError if name == "PUT /auth/passphrase" else SpanPanelConnectionError
            began = trio.current_time()
            with pytest.raises(kind, match="no answer"):
                await METHODS[name](client)
            assert trio.current_time() - began == pytest.approx(5 if name.startswith("GET") else 15)


async def test_what_it_is_is_found_out_even_so() -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where:
        found = await detect_api_version(where.host, port=where.http_port)
        assert (found.api_version, found.probe_failed) == ("v2", False)
        for fault, version in (
            (RestFault(status=404), "v1"),
            (RestFault(hang_up=True), None),
            (RestFault(keep=5), None),
        ):
            where.rest.fail("GET /status", fault)
            assert (await detect_api_version(where.host, port=where.http_port)).api_version == version
