"""Registering with a simulated panel over real sockets, and what is stored of it."""

import json
import stat
from pathlib import Path

import attrs
import pytest
import trio

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelServerError,
    SpanPanelValidationError,
    fetch_snapshot,
    get_v2_status,
    load_credentials,
    open_span_panel,
    register_v2,
    save_credentials,
)
from span_trio.credentials import fingerprint
from span_trio.link import tls_context
from span_trio.simulator import SimulatedPanel, listening, open_simulated_panel


async def test_a_passphrase_registers_once_and_then_the_store_opens_the_panel(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        for _ in range(2):
            async with open_span_panel(
                where.host, store=store, passphrase=simulated.passphrase, options=where.options
            ) as panel:
                assert panel.snapshot.serial_number == simulated.serial_number
        assert len(where.rest.clients) == 1
        where.rest.starting = True  # with stored credentials nobody asks the web server
        await fetch_snapshot(where.host, store=store, options=where.options)
    stored = json.loads(await trio.Path(store).read_text())
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stored["broker_password"] == simulated.credentials.broker_password
    assert fingerprint(stored["ca_pem"]) == fingerprint(where.ca_pem)
    assert stored["mqtts_port"] == where.mqtts_port
    assert [path.name for path in await trio.Path(tmp_path).iterdir()] == ["span.json"]


async def test_credentials_are_stored_before_they_are_used(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        options = attrs.evolve(where.options, mqtts_port=1, ready_timeout=5)
        with pytest.raises(SpanPanelConnectionError):
            await fetch_snapshot(where.host, store=store, passphrase=simulated.passphrase, options=options)
    assert SpanCredentials.from_json(store.read_text()).serial_number == simulated.serial_number


async def test_registering_without_a_store_is_warned_of() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with pytest.warns(UserWarning, match="without a store"):
            await fetch_snapshot(where.host, passphrase=simulated.passphrase, options=where.options)


async def test_a_wrong_passphrase_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with pytest.raises(SpanPanelAuthError) as caught:
            await fetch_snapshot(where.host, store=store, passphrase="quite-wrong", options=where.options)
    assert "quite-wrong" not in repr(caught.value)
    assert not store.exists()


async def test_an_empty_store_without_a_passphrase_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpanPanelValidationError, match="no passphrase"):
        await fetch_snapshot("127.0.0.1", store=tmp_path / "none.json")


async def test_a_panel_that_hands_out_no_password_is_its_own_error(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.without_password = True
        with pytest.raises(SpanPanelAPIError, match="without a password"):
            await fetch_snapshot(where.host, store=store, passphrase=simulated.passphrase, options=where.options)
    assert SpanCredentials.from_json(store.read_text()).access_token is not None


async def test_a_ca_that_is_not_the_expected_one_gets_no_passphrase(tmp_path: Path) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        options = attrs.evolve(where.options, ca_sha256="00" * 32)
        with pytest.raises(SpanPanelConnectionError, match="expected 0000"):
            await fetch_snapshot(where.host, passphrase=simulated.passphrase, store=tmp_path / "s", options=options)
        assert not where.rest.clients


async def test_the_status_tells_who_the_panel_is() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        plain = await get_v2_status(where.host, port=where.http_port)
        pinned = await get_v2_status(where.host, port=where.https_port, tls=tls_context(where.ca_pem))
        assert plain == pinned
        assert (plain.serial_number, plain.proximity_proven) == (simulated.serial_number, False)
        where.rest.starting = True
        with pytest.raises(SpanPanelServerError, match="502"):
            await get_v2_status(where.host, port=where.http_port)


async def test_old_firmware_does_not_tell_of_the_door() -> None:
    async with open_simulated_panel("8", build=202603) as simulated, listening(simulated) as where:
        assert (await get_v2_status(where.host, port=where.http_port)).proximity_proven is None


@pytest.mark.parametrize("status", [401, 403, 422])
async def test_a_refusal_of_any_kind_is_an_auth_error(status: int) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.refuse = status
        with pytest.raises(SpanPanelAuthError, match=str(status)):
            await register_v2(
                where.host, "me", simulated.passphrase, port=where.https_port, tls=tls_context(where.ca_pem)
            )


async def test_the_door_registers_once() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.proximity_proven = True
        tls = tls_context(where.ca_pem)
        answer = await register_v2(where.host, "first", port=where.https_port, tls=tls)
        assert answer.passphrase == simulated.passphrase
        with pytest.raises(SpanPanelAuthError):
            await register_v2(where.host, "second", port=where.https_port, tls=tls)


def _secrets(simulated: SimulatedPanel) -> list[str]:
    return [simulated.passphrase, simulated.credentials.broker_password or "", "simulated.1"]


async def test_no_secret_is_in_a_repr() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        answer = await register_v2(
            where.host, "me", simulated.passphrase, port=where.https_port, tls=tls_context(where.ca_pem)
        )
        text = repr(answer) + repr(answer.credentials("x")) + str(answer)
        assert not [secret for secret in _secrets(simulated) if secret in text]


# --- the store ---


async def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    credentials = SpanCredentials("nt-1", "user", "secret", mqtts_port=18883)
    await save_credentials(tmp_path / "a.json", credentials)
    await save_credentials(tmp_path / "a.json", attrs.evolve(credentials, passphrase="new"))
    assert await load_credentials(tmp_path / "a.json") == attrs.evolve(credentials, passphrase="new")
    assert await load_credentials(tmp_path / "b.json") is None


async def test_a_store_that_cannot_be_used_says_so_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpanPanelValidationError, match="cannot write"):
        await save_credentials(tmp_path / "none" / "a.json", SpanCredentials())
    with pytest.raises(SpanPanelValidationError, match="cannot write"):
        await save_credentials(tmp_path, SpanCredentials())
    with pytest.raises(SpanPanelValidationError, match="cannot read"):
        await load_credentials(tmp_path)
    assert list(await trio.Path(tmp_path).iterdir()) == []
    (tmp_path / "rubbish").write_text("secret-rubbish")
    with pytest.raises(SpanPanelValidationError) as caught:
        await load_credentials(tmp_path / "rubbish")
    assert "secret-rubbish" not in repr(caught.value)


async def test_a_certificate_of_another_ca_is_not_trusted(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        await fetch_snapshot(where.host, store=store, passphrase=simulated.passphrase, options=where.options)
        where.replace_certificate(name="elsewhere")
        with pytest.raises(SpanPanelCertificateError, match=r"certificate of 127\.0\.0\.1 is for elsewhere") as moved:
            await fetch_snapshot(where.host, store=store, options=where.options)
        assert (moved.value.trusted_sha256, moved.value.advertised_sha256) == (None, None)
        before = fingerprint(where.ca_pem)
        where.replace_certificate(new_ca=True)
        with pytest.raises(SpanPanelCertificateError, match="another CA") as replaced:
            await fetch_snapshot(where.host, store=store, options=where.options)
        assert (replaced.value.trusted_sha256, replaced.value.advertised_sha256) == (before, fingerprint(where.ca_pem))
        assert before in str(replaced.value)
        assert fingerprint(where.ca_pem) in str(replaced.value)


async def test_anybody_may_watch_a_broker_at_home() -> None:
    async with open_simulated_panel("8") as simulated:
        with pytest.raises(SpanPanelAuthError):
            await fetch_snapshot("home", options=PanelOptions(transport="mqtt"), dialer=simulated.dial)
        await trio.lowlevel.checkpoint()
