"""The simulated panel's REST API in memory: who may do what, what each build says, the door, limits, rotation."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from span_trio import PanelOptions, SpanCredentials, SpanPanelAuthError, fetch_snapshot
from span_trio.simulator import SimulatedPanel
from span_trio.simulator.rest.api import ENDPOINTS
from tests.unit.simulator.rest_helpers import Api, opened

pytestmark = pytest.mark.virtual_time

OPEN = ("GET /status", "GET /certificate/ca", "GET /homie/schema", "POST /auth/register")
CLOSED = tuple(name for name in ENDPOINTS if name not in OPEN)
FULL_ONLY = tuple(name for name in CLOSED if name not in {"GET /dns/fqdn", "POST /dns/fqdn"})


async def asked(api: Api, name: str, token: str | None) -> int:
    body = {"ebusTlsFqdn": "panel.home"} if name == "POST /dns/fqdn" else None
    return (await api.ask(name.replace("{name}", "me"), token, json=body)).status_code


# --- who may do what ---


@pytest.mark.parametrize("name", OPEN[:3])
async def test_what_everybody_may_know_needs_no_token(name: str) -> None:
    async with opened() as api:
        assert await asked(api, name, None) == 200


@pytest.mark.parametrize("name", CLOSED)
async def test_everything_else_needs_a_token_that_the_panel_knows(name: str) -> None:
    async with opened() as api:
        token = await api.token()
        assert await asked(api, name, None) == (412 if name == "PUT /auth/passphrase" else 401)
        assert await asked(api, name, token[:-1]) == 401
        assert await asked(api, name, token) == 200


@pytest.mark.parametrize("name", CLOSED)
async def test_a_client_that_came_by_the_door_may_not_do_everything(name: str) -> None:
    async with opened() as api:
        await api.token("me")
        assert await asked(api, name, await api.reduced_token()) == (403 if name in FULL_ONLY else 200)


async def test_another_kind_of_authorization_is_none() -> None:
    async with opened() as api:
        token = await api.token()
        for header, status in ((f"bearer {token}", 200), (f"Basic {token}", 401), (token, 401), ("Bearer ", 401)):
            answer = await api.http.get("/api/v2/auth/clients", headers={"Authorization": header})
            assert answer.status_code == status


async def test_other_paths_and_methods_are_none() -> None:
    async with opened() as api:
        assert (await api.ask("GET /auth/nothing")).status_code == 404
        assert (await api.ask("POST /status")).status_code == 405
        assert (await api.http.get("/api/v1/status")).status_code == 404


# --- clients ---


async def test_clients_are_listed_shown_and_deleted_and_then_their_tokens_are_worth_nothing() -> None:
    async with opened() as api:
        token = await api.token("first")
        other = (await api.register("a/b ü", description="of mine")).json()["accessToken"]
        await api.reduced_token("third")
        listed = (await api.ask("GET /auth/clients", token)).json()["clients"]
        assert list(listed) == ["first", "a/b ü", "third"]
        assert abs(listed["first"]["issued_at"] - time.time()) < 60
        assert "description" not in listed["first"]
        assert listed["a/b ü"]["description"] == "of mine"
        full, reduced = (listed[name]["allowed_endpoint_groups"] for name in ("first", "third"))
        assert set(full) == set(reduced) == {"get", "post", "put", "delete", "patch"}
        assert full["put"]
        assert not reduced["put"]
        for method in ("GET", "DELETE"):
            answer = await api.ask(f"{method} /auth/clients/a%2Fb%20%C3%BC", token)
            assert answer.json() == listed["a/b ü"]
        assert (await api.ask("GET /dns/fqdn", other)).status_code == 401
        assert list((await api.ask("GET /auth/clients", token)).json()["clients"]) == ["first", "third"]
        assert (await api.ask("DELETE /auth/clients/a%2Fb%20%C3%BC", token)).status_code == 422


async def test_no_token_is_in_a_repr_or_in_the_list() -> None:
    async with opened() as api:
        token = await api.token()
        assert token not in repr(api.state)
        assert token not in (await api.ask("GET /auth/clients", token)).text


# --- what each build says ---


@pytest.mark.parametrize("build", [202603, 202627, 202633])
async def test_a_422_repeats_what_was_submitted_up_to_r202633(build: int) -> None:
    async with opened(build) as api:
        await api.register("taken")
        for fields in ({"name": "taken"}, {"name": ""}):
            answer = await api.register(**fields)
            assert answer.status_code == 422
            (found,) = answer.json()["detail"]
            assert found["input"] == {**fields, "hopPassphrase": api.panel.passphrase}
        answer = await api.register(hopPassphrase=4711)
        assert (answer.json()["detail"][0]["loc"], answer.json()["detail"][0]["input"]) == (
            ["body", "hopPassphrase"],
            4711,
        )
        assert "4711" in answer.json()["detail"][0]["msg"]


async def test_a_422_is_a_text_from_r202639_on() -> None:
    async with opened(202639) as api:
        await api.register("taken")
        for fields in ({"name": "taken"}, {"name": ""}, {"name": 5}, {"hopPassphrase": [api.panel.passphrase]}):
            answer = await api.register(**fields)
            assert answer.status_code == 422
            assert isinstance(answer.json()["detail"], str)
            assert api.panel.passphrase not in answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 60_000, b'"' + b"x" * 70_000 + b'"', b"\xff"])
async def test_rubbish_registers_nobody(body: bytes) -> None:
    async with opened() as api:
        assert (await api.http.post("/api/v2/auth/register", content=body)).status_code == 422
        assert not api.state.clients


@pytest.mark.parametrize(("build", "tells"), [(202603, 2), (202609, 3), (202633, 3), (202639, 4)])
async def test_the_status_tells_what_its_build_does(build: int, tells: int) -> None:
    async with opened(build) as api:
        told = (await api.ask("GET /status")).json()
        assert list(told) == ["serialNumber", "firmwareVersion", "proximityProven", "hardwareVersion"][:tells]


async def test_hardware_that_is_not_documented_is_unknown_to_the_rest_api() -> None:
    async with opened(house="main-16") as api:
        assert (await api.ask("GET /status")).json()["hardwareVersion"] == "UNKNOWN"
        classes = (await api.ask("GET /homie/schema", await api.token())).json()["deviceClasses"]
        assert "feeds-role" in classes["circuit"]["connection"]
        assert "outside" not in classes


async def test_an_fqdn_cannot_be_set_before_r202615() -> None:
    async with opened(202609) as api:
        for token in (await api.token(), await api.reduced_token()):
            assert (await api.ask("POST /dns/fqdn", token, json={"ebusTlsFqdn": "panel.home"})).status_code == 403
            assert (await api.ask("GET /dns/fqdn", token)).status_code == 404


async def test_an_fqdn_can_be_set_told_and_deleted() -> None:
    async with opened(202615) as api:
        token = await api.token()
        changes: list[str | None] = []
        api.state.on_fqdn = lambda: changes.append(api.state.fqdn)
        assert (await api.ask("GET /dns/fqdn", token)).json() == {"ebusTlsFqdn": None}
        for fqdn in ("panel.home", "panel.home", "", "PANEL.home."):
            told = await api.ask("POST /dns/fqdn", token, json={"ebusTlsFqdn": fqdn})
            assert told.json() == (await api.ask("GET /dns/fqdn", token)).json() == {"ebusTlsFqdn": fqdn}
        assert (await api.ask("DELETE /dns/fqdn", token)).json() == {"ebusTlsFqdn": None}
        assert changes == ["panel.home", "", "PANEL.home.", None]


@pytest.mark.parametrize(
    "fqdn", ["a b", "-a.b", "a..b", ".", "x" * 64, "a." * 127, "ab--c.home", "_x.y", 5, ["a"], True]
)
async def test_what_is_no_name_is_no_fqdn(fqdn: Any) -> None:
    async with opened() as api:
        token = await api.token()
        assert (await api.ask("POST /dns/fqdn", token, json={"ebusTlsFqdn": fqdn})).status_code == 422
        assert (await api.ask("POST /dns/fqdn", token, json=[fqdn])).status_code == 422
        assert api.state.fqdn is None


# --- registration ---


async def test_a_registration_tells_what_opens_the_panel() -> None:
    async with opened() as api:
        told = (await api.register("me")).json()
        panel = api.panel
        assert (told["hopPassphrase"], told["ebusBrokerPassword"]) == (
            panel.passphrase,
            panel.credentials.broker_password,
        )
        assert (told["tokenType"], told["ebusBrokerUsername"]) == ("bearer", panel.serial_number)
        assert (told["ebusBrokerMqttsPort"], told["ebusBrokerWsPort"], told["ebusBrokerWssPort"]) == (8883, 9001, 9002)
        assert await api.token("another") != told["accessToken"]


@pytest.mark.parametrize(
    ("switch", "fields", "status"),
    [
        ({}, {"hopPassphrase": "wrong"}, 401),
        ({}, {"hopPassphrase": None}, 403),
        ({"refuse": 403}, {}, 403),
        ({"passphrase_unreadable": True}, {}, 422),
        ({"serial_known": False}, {}, 503),
        ({"starting": True}, {}, 502),
    ],
)
async def test_a_registration_that_is_refused_adds_nobody(switch: Any, fields: Any, status: int) -> None:
    async with opened() as api:
        for name, value in switch.items():
            setattr(api.state, name, value)
        answer = await api.register(**fields)
        assert answer.status_code == status
        assert not api.state.clients
        for name, text in (
            ("passphrase_unreadable", "Dashboard password is not available"),
            ("serial_known", "Serial number is not available yet"),
        ):
            assert (answer.text == f'{{"detail":"{text}"}}') == (name in switch)


async def test_a_panel_that_cannot_read_its_own_secrets_gives_a_token_all_the_same() -> None:
    async with opened() as api:
        api.state.without_password = True
        told = (await api.register("me")).json()
        assert (told["hopPassphrase"], told["ebusBrokerPassword"]) == (None, None)
        assert (await api.ask("GET /auth/clients", told["accessToken"])).status_code == 200


# --- the door ---


async def test_the_door_s_proof_lasts_15_minutes() -> None:
    async with opened() as api:
        for wait, status in ((14 * 60 + 59, 200), (15 * 60, 403)):
            api.state.press_door()
            await trio.sleep(wait)
            assert (await api.ask("GET /status")).json()["proximityProven"] == (status == 200)
            assert (await api.register(f"after {wait} s", hopPassphrase=None)).status_code == status


@pytest.mark.parametrize("name", ["taken", "", "new", 5])
async def test_one_registration_uses_the_proof_up_whatever_becomes_of_it(name: Any) -> None:
    async with opened() as api:
        await api.register("taken")
        api.state.press_door()
        used = await api.ask("POST /auth/register", json={"name": name})
        assert used.status_code == (200 if name == "new" else 422)
        assert (await api.ask("GET /status")).json()["proximityProven"] is False
        assert (await api.register("next", hopPassphrase=None)).status_code == 403


async def test_asking_and_the_passphrase_use_no_proof_up() -> None:
    async with opened() as api:
        api.state.proximity_proven = True
        token = await api.token()
        assert (await api.register("wrong", hopPassphrase="wrong")).status_code == 401
        assert (await api.ask("GET /status")).json()["proximityProven"] is True
        assert (await api.ask("GET /auth/clients", token)).status_code == 200
        assert (await api.register("visitor", hopPassphrase=None)).status_code == 200


@pytest.mark.parametrize("pressed", [True, False])
async def test_a_panel_may_wait_for_the_door(pressed: bool) -> None:
    async with opened() as api:
        api.state.door_waits = True
        answers: list[tuple[int, float]] = []
        began = trio.current_time()

        async def register() -> None:
            status = (await api.register(hopPassphrase=None)).status_code
            answers.append((status, trio.current_time() - began))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(register)
            await trio.sleep(60)
            assert not answers
            if pressed:
                api.state.press_door()
        assert answers == [(200, pytest.approx(60)) if pressed else (403, pytest.approx(900))]


# --- the limit ---


async def test_the_ca_is_given_ten_times_a_minute() -> None:
    async with opened() as api:
        for number in range(10):
            assert (await api.ask("GET /certificate/ca")).status_code == 200, number
            await trio.sleep(1)
        refused = await api.ask("GET /certificate/ca")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "50")
        assert refused.json() == {"error": "Rate limit exceeded: 10 per 1 minute"}
        await trio.sleep(50)
        assert (await api.ask("GET /certificate/ca")).text == "the CA"
        assert (await api.ask("GET /certificate/ca")).status_code == 429


@pytest.mark.parametrize(("limit", "given"), [(None, 30), (0, 0), (3, 3)])
async def test_the_limit_can_be_another_or_none(limit: int | None, given: int) -> None:
    async with opened() as api:
        api.state.ca_limit = limit
        answers = [(await api.ask("GET /certificate/ca")).status_code for _ in range(30)]
        assert answers == [200] * given + [429] * (30 - given)


# --- rotation ---


async def log_in(panel: SimulatedPanel, credentials: SpanCredentials) -> None:
    options = PanelOptions(transport="mqtt", fetch_schema=False)
    await fetch_snapshot("memory", credentials=credentials, options=options, dialer=panel.dial)


async def test_a_rotation_changes_both_secrets_and_no_token() -> None:
    async with opened() as api:
        token = await api.token()
        before = api.panel.passphrase, api.panel.credentials.broker_password
        told = (await api.ask("PUT /auth/passphrase", token)).json()
        after = api.panel.passphrase, api.panel.credentials.broker_password
        assert told == {"hopPassphrase": after[0], "ebusBrokerPassword": after[1]}
        assert len({*before, *after}) == 4
        assert (await api.register("old", hopPassphrase=before[0])).status_code == 401
        assert (await api.register("new")).json()["ebusBrokerPassword"] == after[1]
        assert (await api.ask("GET /auth/clients", token)).status_code == 200


@pytest.mark.parametrize("drops", [True, False])
async def test_a_rotation_ends_the_sessions_of_the_old_password(drops: bool) -> None:
    async with opened() as api, trio.open_nursery() as nursery:
        api.state.broker_drops = drops
        stream = await api.panel.dial("", 0, None)
        username, password = api.panel.credentials.login
        texts = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in ("c", username or "", password or ""))
        body = b"\x00\x04MQTT\x04\xc2\x00\x00" + texts
        await stream.send_all(bytes([0x10, len(body)]) + body)
        assert await stream.receive_some(100) == b"\x20\x02\x00\x00"
        assert (await api.ask("PUT /auth/passphrase", await api.token())).status_code == 200
        await trio.sleep(1)
        assert bool(api.panel.broker.sessions) == (not drops)
        nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


async def test_after_a_rotation_only_the_new_password_lets_in_and_maybe_not_at_once() -> None:
    async with opened() as api:
        old = api.panel.credentials
        api.state.broker_late = 30
        await api.ask("PUT /auth/passphrase", await api.token())
        with pytest.raises(SpanPanelAuthError):
            await log_in(api.panel, api.panel.credentials)
        assert api.panel.logins.stale == 0
        await trio.sleep(30)
        await log_in(api.panel, api.panel.credentials)
        with pytest.raises(SpanPanelAuthError):
            await log_in(api.panel, old)
        assert api.panel.logins.stale == 1
