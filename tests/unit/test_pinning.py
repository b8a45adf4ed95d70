"""A CA that was trusted on first use is kept in the store, so that there is one first use (over real sockets)."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from span_trio import (
    SpanCredentials,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelValidationError,
    fetch_snapshot,
    load_credentials,
    save_credentials,
)
from span_trio.credentials import fingerprint
from span_trio.simulator import Listening, SimulatedPanel, listening, open_simulated_panel


@asynccontextmanager
async def house() -> AsyncGenerator[tuple[SimulatedPanel, Listening], None]:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        yield simulated, where


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "span.json"


async def unpinned(store: Path, simulated: SimulatedPanel, **more: Any) -> SpanCredentials:
    """What somebody has written by hand: everything but a CA."""
    credentials = attrs.evolve(simulated.credentials, passphrase="kept", **more)
    await save_credentials(store, credentials)
    return credentials


@pytest.mark.parametrize("serial_known", [True, False])
async def test_what_was_trusted_at_the_first_start_is_in_the_store_and_told_once(
    store: Path, caplog: pytest.LogCaptureFixture, serial_known: bool
) -> None:
    async with house() as (simulated, where):
        more: dict[str, Any] = (
            {} if serial_known else {"serial_number": None, "broker_username": simulated.serial_number}
        )
        before = await unpinned(store, simulated, **more)
        await fetch_snapshot(where.host, store=store, options=where.options)
        assert await load_credentials(store) == attrs.evolve(before, ca_pem=where.ca_pem)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert [fingerprint(where.ca_pem) in line for line in told] == [True, False]
        assert str(store) in told[1]
        caplog.clear()
        await fetch_snapshot(where.host, store=store, options=where.options)
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_impostor_at_the_second_start_gets_no_login(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as (simulated, where):
        await unpinned(store, simulated)
        await fetch_snapshot(where.host, store=store, options=where.options)
        where.replace_certificate(new_ca=True)
        logins: list[object] = []
        monkeypatch.setattr(simulated.broker._hub, "_authenticate", lambda *login: logins.append(login))
        with pytest.raises(SpanPanelCertificateError, match="another CA"):
            await fetch_snapshot(where.host, store=store, options=where.options)
        assert logins == []


async def test_the_ca_of_a_panel_that_refuses_the_login_is_not_kept(store: Path) -> None:
    """Somebody typed another address: that panel must not become the one that is trusted."""
    async with house() as (simulated, where):
        before = await unpinned(store, simulated, broker_password="of another panel")
        with pytest.raises(SpanPanelAuthError):
            await fetch_snapshot(where.host, store=store, options=where.options)
        assert await load_credentials(store) == before


async def test_a_store_that_cannot_be_written_is_refused_before_the_login(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house() as (simulated, where):
        await unpinned(store, simulated)
        _make_unwritable(monkeypatch)
        with pytest.raises(SpanPanelValidationError, match="ca_sha256="):
            await fetch_snapshot(where.host, store=store, options=where.options)
        assert not simulated.broker.sessions


async def test_with_a_fingerprint_a_store_need_not_be_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint is a pin, too: a store may be mounted read-only."""
    async with house() as (simulated, where):
        before = await unpinned(store, simulated)
        options = attrs.evolve(where.options, ca_sha256=fingerprint(where.ca_pem))
        with monkeypatch.context() as unwritable:
            _make_unwritable(unwritable)
            await fetch_snapshot(where.host, store=store, options=options)
            assert await load_credentials(store) == before
        await fetch_snapshot(where.host, store=store, options=options)
        assert await load_credentials(store) == attrs.evolve(before, ca_pem=where.ca_pem)


async def test_a_plain_transport_and_given_credentials_touch_no_store(store: Path) -> None:
    async with house() as (simulated, where):
        before = await unpinned(store, simulated)
        plain = attrs.evolve(where.options, transport="mqtt")
        await fetch_snapshot(where.host, store=store, options=plain)
        await fetch_snapshot(where.host, credentials=before, store=store, options=where.options)
        assert await load_credentials(store) == before


async def test_a_ca_that_somebody_stored_meanwhile_is_not_replaced(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house() as (simulated, where):
        before = await unpinned(store, simulated)
        theirs = attrs.evolve(before, ca_pem=where.ca_pem + "\n", passphrase="new")

        async def download(*_: object, **__: object) -> str:
            await save_credentials(store, theirs)
            return where.ca_pem

        monkeypatch.setattr("span_trio.onboard.download_ca_cert", download)
        await fetch_snapshot(where.host, store=store, options=where.options)
        assert await load_credentials(store) == theirs


def _make_unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", full)
