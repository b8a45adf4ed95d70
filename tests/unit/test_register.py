"""Getting on board: by the passphrase and by the door, with a simulated panel over real sockets."""

import json
import logging
from pathlib import Path

import pytest
import trio

from span_trio import (
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelNotStoredError,
    SpanPanelValidationError,
    SpanRestClient,
    fetch_snapshot,
    register_panel,
)
from span_trio.credentials import fingerprint
from span_trio.simulator import Listening, RestFault, listening, open_simulated_panel


async def _names(where: Listening, token: str | None) -> list[str]:
    async with SpanRestClient(where.host, ca_pem=where.ca_pem, token=token, https_port=where.https_port) as rest:
        return [client.name for client in await rest.list_clients()]


async def test_a_registration_is_all_that_the_next_start_needs(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        credentials = await register_panel(
            where.host, passphrase=simulated.passphrase, store=store, name="porch", options=where.options
        )
        assert (credentials.host, credentials.ca_sha256) == (where.host, fingerprint(where.ca_pem))
        assert [credentials.client_name] == await _names(where, credentials.access_token)
        where.rest.starting = True
        await fetch_snapshot(where.host, store=store, options=where.options)
    assert (credentials.client_name or "").startswith("porch-")
    assert json.loads(store.read_text())["ca_sha256"] == credentials.ca_sha256


async def test_the_door_leaves_one_entry_with_all_privileges(tmp_path: Path) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.press_door()
        credentials = await register_panel(where.host, store=tmp_path / "s", options=where.options)
        assert await _names(where, credentials.access_token) == [credentials.client_name]
        assert credentials.passphrase == simulated.passphrase


async def test_a_door_that_was_not_pressed_is_seen_beforehand() -> None:
    """Lesson D, "door proof wasted"; an attempt without a proof may block for a quarter of an hour."""
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with pytest.raises(SpanPanelAuthError, match="door"):
            await register_panel(where.host, options=where.options)
        where.rest.press_door()
        await register_panel(where.host, options=where.options)


async def test_of_a_panel_that_does_not_tell_of_its_door_it_is_tried() -> None:
    async with open_simulated_panel("8", build=202603) as simulated, listening(simulated) as where:
        where.rest.press_door()
        credentials = await register_panel(where.host, options=where.options)
        assert credentials.broker_password == simulated.credentials.broker_password


async def test_an_entry_that_cannot_be_deleted_costs_no_registration(caplog: pytest.LogCaptureFixture) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.press_door()
        where.rest.fail("DELETE /auth/clients/{name}", RestFault(status=503))
        credentials = await register_panel(where.host, options=where.options)
        assert credentials.broker_password == simulated.credentials.broker_password
        assert credentials.client_name in await _names(where, credentials.access_token)
    assert "left the entry" in caplog.text


async def test_a_second_registration_that_fails_leaves_the_first_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("span_trio.onboard.unique_name", lambda base: base)  # so the second name is taken
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.press_door()
        credentials = await register_panel(where.host, options=where.options)
        assert credentials.broker_password == simulated.credentials.broker_password
        assert list(where.rest.clients) == ["span-trio"]
    assert "lesser kind" in caplog.text


async def test_a_ca_that_nobody_confirms_ends_it_before_anything_secret_is_sent() -> None:
    shown: list[str] = []

    async def refuse(sha256: str) -> bool:
        shown.append(sha256)
        return False

    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with pytest.raises(SpanPanelCertificateError, match="not confirmed"):
            await register_panel(where.host, passphrase=simulated.passphrase, options=where.options, confirm=refuse)
        assert not where.rest.clients
        assert shown == [fingerprint(where.ca_pem)]


def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing fails, though the check before has passed."""

    async def save(*_: object) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    monkeypatch.setattr("span_trio.onboard.save_credentials", save)


@pytest.mark.parametrize("by", ["passphrase", "door"])
async def test_a_store_that_cannot_be_written_is_seen_before_anything_is_sent(tmp_path: Path, by: str) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.press_door()
        passphrase = simulated.passphrase if by == "passphrase" else None
        store = tmp_path / "no" / "where"
        with pytest.raises(SpanPanelValidationError, match="No such file"):
            await register_panel(where.host, passphrase=passphrase, store=store, options=where.options)
        assert not where.rest.clients
        assert where.rest.proximity_proven


async def test_opening_again_and_again_with_a_store_that_cannot_be_written_adds_no_entry(tmp_path: Path) -> None:
    """As a program does whose supervisor restarts it."""
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        for _ in range(3):
            with pytest.raises(SpanPanelValidationError):
                await fetch_snapshot(
                    where.host, store=tmp_path / "no" / "where", passphrase=simulated.passphrase, options=where.options
                )
        assert not where.rest.clients


async def test_an_entry_whose_credentials_cannot_be_stored_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _full(monkeypatch)
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with pytest.raises(SpanPanelValidationError, match="taken off the panel's list again") as caught:
            await register_panel(
                where.host, passphrase=simulated.passphrase, store=tmp_path / "s", options=where.options
            )
        assert not isinstance(caught.value, SpanPanelNotStoredError)
        assert not where.rest.clients


async def test_an_entry_is_taken_back_though_somebody_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        with trio.CancelScope() as scope:

            async def save(*_: object) -> None:
                scope.cancel()
                raise SpanPanelValidationError("cannot write it: No space left on device")

            monkeypatch.setattr("span_trio.onboard.save_credentials", save)
            with pytest.raises(SpanPanelValidationError, match="taken off"):
                await register_panel(
                    where.host, passphrase=simulated.passphrase, store=tmp_path / "s", options=where.options
                )
        assert not where.rest.clients


async def test_what_can_be_neither_stored_nor_taken_back_is_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    _full(monkeypatch)
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.fail("DELETE /auth/clients/{name}", RestFault(status=503))
        with pytest.raises(SpanPanelNotStoredError, match="the panel keeps its entry") as caught:
            await register_panel(
                where.host, passphrase=simulated.passphrase, store=tmp_path / "s", options=where.options
            )
        error = caught.value
        await fetch_snapshot(where.host, credentials=error.credentials, options=where.options)
        for secret in (simulated.passphrase, simulated.credentials.broker_password, error.credentials.access_token):
            assert secret
            assert secret not in f"{error} {error!r} {caplog.text}"


async def test_the_door_s_own_entry_cannot_be_taken_back_and_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token may not delete, and the proof is used up."""
    _full(monkeypatch)
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        where.rest.press_door()
        with pytest.raises(SpanPanelNotStoredError, match="privileges") as caught:
            await register_panel(where.host, store=tmp_path / "s", options=where.options)
        assert caught.value.credentials.client_name in where.rest.clients
