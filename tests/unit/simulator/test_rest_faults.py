"""What can be wrong with the simulated panel's REST API, switch by switch; what needs a connection is on real ports."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import httpx
import pytest
import trio

from span_trio.link import tls_context
from span_trio.simulator import Listening, listening, open_simulated_panel
from span_trio.simulator.rest.api import ENDPOINTS, RestFault
from tests.unit.simulator.rest_helpers import Api, opened

OPENED = "GET /status"


async def asked(api: Api, name: str, token: str) -> httpx.Response:
    body = {"POST /dns/fqdn": {"ebusTlsFqdn": "panel.home"}, "POST /auth/register": {"name": "you"}}.get(name)
    return await api.ask(name.replace("{name}", "me"), token, json=body)


# --- which endpoint, and for how long ---


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", ENDPOINTS)
async def test_every_endpoint_can_fail_and_nothing_is_done_then(name: str) -> None:
    async with opened() as api:
        token = await api.token()
        api.state.press_door()
        before = attrs.asdict(api.state), api.panel.passphrase
        api.state.fail(name, RestFault(status=500))
        assert (await asked(api, name, token)).status_code == 500
        others = [other for other in ENDPOINTS if other.startswith("GET") and other != name]
        assert [(await asked(api, other, token)).status_code for other in others] == [200] * len(others)
        api.state.heal(name)
        assert (*_without_fetches(attrs.asdict(api.state)), api.panel.passphrase) == (
            *_without_fetches(before[0]),
            before[1],
        )
        assert (await asked(api, name, token)).status_code == 200


def _without_fetches(state: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in state.items() if key != "_fetches"]


@pytest.mark.virtual_time
async def test_a_fault_can_be_everywhere_or_last_for_some_requests() -> None:
    async with opened() as api:
        token = await api.token()

        async def answers() -> list[int]:
            return [(await asked(api, name, token)).status_code for name in ("GET /status", "GET /dns/fqdn")]

        api.state.fail("*", RestFault(status=503))
        api.state.fail("GET /status", RestFault(status=404), times=2)
        assert [await answers() for _ in range(3)] == [[404, 503], [404, 503], [503, 503]]
        api.state.heal()
        assert await answers() == [200, 200]
        api.state.fail("*", RestFault(status=429), times=1)
        assert [await answers() for _ in range(2)] == [[429, 200], [200, 200]]


@pytest.mark.virtual_time
async def test_what_cannot_be_meant_is_an_error() -> None:
    async with opened() as api:
        for endpoint in ("GET /nothing", "status", "GET /api/v2/status"):
            with pytest.raises(ValueError, match="no endpoint"):
                api.state.fail(endpoint, RestFault())
        with pytest.raises(ValueError, match="no number"):
            api.state.fail("*", RestFault(), times=0)
    wrongs: tuple[dict[str, Any], ...] = (
        {"status": 199}, {"status": 600}, {"keep": -1}, {"cut": -1}, {"delay": -1}, {"drip": 0},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RestFault(**wrong)


# --- bodies ---


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (RestFault(status=418), 418, b'{"detail": "I\'m a Teapot"}'),
        (RestFault(status=599), 599, b'{"detail": "Error"}'),
        (RestFault(status=200), 200, b""),
        (RestFault(status=204, body=b"x"), 204, b""),
        (RestFault(detail="no"), 400, b'{"detail": "no"}'),
        (RestFault(status=422, detail="Dashboard password is not available"), 422, None),
        (RestFault(body=b"<html>"), 200, b"<html>"),
        (RestFault(body=b""), 200, b""),
        (RestFault(body=b"[" * 10_000_000), 200, b"[" * 10_000_000),
        (RestFault(body=b"<html>", keep=2), 200, b"<h"),
        (RestFault(status=502, body=b"<html>"), 502, b"<html>"),
    ],
)
async def test_an_answer_can_be_another(fault: RestFault, status: int, body: bytes | None) -> None:
    async with opened() as api:
        api.state.fail(OPENED, fault)
        answer = await api.ask(OPENED)
        assert answer.status_code == status
        if body is None:
            assert answer.json() == {"detail": fault.detail}
        else:
            assert answer.content == body


@pytest.mark.virtual_time
@pytest.mark.parametrize("keep", [0, 1, 100, 10**9])
async def test_an_answer_can_be_truncated_as_if_that_were_all(keep: int) -> None:
    async with opened() as api:
        whole = (await api.ask("GET /homie/schema")).content
        api.state.fail("GET /homie/schema", RestFault(keep=keep))
        answer = await api.ask("GET /homie/schema")
        assert answer.content == whole[:keep]
        assert answer.headers["Content-Length"] == str(min(keep, len(whole)))


@pytest.mark.virtual_time
async def test_headers_can_be_others() -> None:
    async with opened() as api:
        api.state.fail(OPENED, RestFault(headers={"Content-Type": "text/html", "X-More": "1"}))
        answer = await api.ask(OPENED)
        assert (answer.headers["Content-Type"], answer.headers["X-More"]) == ("text/html", "1")
        assert answer.json()["serialNumber"] == api.panel.serial_number
        api.state.fail(OPENED, RestFault(status=307, headers={"Location": "http://elsewhere/"}))
        assert (await api.ask(OPENED)).headers["Location"] == "http://elsewhere/"
        api.state.fail("GET /certificate/ca", RestFault(status=429, headers={"Retry-After": "soon"}))
        assert (await api.ask("GET /certificate/ca")).headers["Retry-After"] == "soon"


# --- time ---


@pytest.mark.virtual_time
async def test_an_answer_can_be_late_or_drip() -> None:
    async with opened() as api:
        for fault, seconds in ((RestFault(delay=30), 30), (RestFault(body=b"x" * 40, drip=4), 10)):
            began = trio.current_time()
            api.state.fail(OPENED, fault)
            assert (await api.ask(OPENED)).status_code == 200
            assert trio.current_time() - began == pytest.approx(seconds)


# --- done, and nobody is told ---


@pytest.mark.virtual_time
@pytest.mark.parametrize("fault", [RestFault(status=500, done=True), RestFault(body=b"<html>", done=True)])
async def test_a_rotation_can_happen_and_its_answer_be_lost(fault: RestFault) -> None:
    async with opened() as api:
        token = await api.token()
        before = api.panel.passphrase
        api.state.fail("PUT /auth/passphrase", fault, times=1)
        lost = await api.ask("PUT /auth/passphrase", token)
        after = api.panel.passphrase
        assert before != after
        assert after not in lost.text
        assert (api.panel.credentials.broker_password or "") not in lost.text
        assert (await api.ask("PUT /auth/passphrase", token)).json()["hopPassphrase"] not in {before, after}


@pytest.mark.virtual_time
async def test_what_is_done_needs_a_token_all_the_same() -> None:
    async with opened() as api:
        before = api.panel.passphrase
        api.state.fail("PUT /auth/passphrase", RestFault(status=500, done=True))
        assert (await api.ask("PUT /auth/passphrase", "nobody's")).status_code == 500
        assert api.panel.passphrase == before


@pytest.mark.virtual_time
async def test_an_fqdn_can_be_set_with_other_codes() -> None:
    async with opened() as api:
        token = await api.token()
        for status in (201, 204):
            api.state.fail("POST /dns/fqdn", RestFault(status=status, done=True))
            answer = await api.ask("POST /dns/fqdn", token, json={"ebusTlsFqdn": f"panel.{status}"})
            assert (answer.status_code, api.state.fqdn) == (status, f"panel.{status}")
            assert answer.content == (b"" if status == 204 else b'{"ebusTlsFqdn":"panel.201"}')


@pytest.mark.virtual_time
async def test_a_proof_is_kept_when_the_request_never_arrived_and_used_up_when_only_the_answer_was_lost() -> None:
    async with opened() as api:
        for done in (False, True):
            api.state.press_door()
            api.state.fail("POST /auth/register", RestFault(status=504, done=done))
            assert (await api.register(f"{done}", hopPassphrase=None)).status_code == 504
            assert api.state.proximity_proven == (not done)
        assert list(api.state.clients) == ["True"]


# --- on real ports ---


def http(where: Listening, *, tls: bool = False) -> httpx.AsyncClient:
    if tls:
        base = f"https://{where.host}:{where.https_port}/api/v2"
        return httpx.AsyncClient(base_url=base, verify=tls_context(where.ca_pem), trust_env=False, timeout=5)
    return httpx.AsyncClient(base_url=f"http://{where.host}:{where.http_port}/api/v2", trust_env=False, timeout=5)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_can_end_before_the_answer_and_within(tls: bool) -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where, http(where, tls=tls) as client:
        for fault in (RestFault(hang_up=True), RestFault(cut=0), RestFault(cut=9), RestFault(cut=9, drip=1e3)):
            where.rest.fail(OPENED, fault)
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await client.get("/status")
            assert ("without sending a response" in str(caught.value)) == fault.hang_up
        where.rest.fail(OPENED, RestFault(cut=9))
        got = b""
        with contextlib.suppress(httpx.RemoteProtocolError):
            async with client.stream("GET", "/status") as answer:
                async for chunk in answer.aiter_raw():
                    got += chunk
        assert got == b'{"serialN'
        where.rest.heal()
        assert (await client.get("/status")).json()["serialNumber"] == panel.serial_number


async def test_a_rotation_can_happen_and_its_connection_end() -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where, http(where, tls=True) as client:
        token = where.rest.add_client("me", full=True).token
        before = panel.passphrase
        where.rest.fail("PUT /auth/passphrase", RestFault(hang_up=True, done=True))
        with pytest.raises(httpx.RemoteProtocolError):
            await client.put("/auth/passphrase", headers={"Authorization": f"Bearer {token}"})
        assert panel.passphrase != before
