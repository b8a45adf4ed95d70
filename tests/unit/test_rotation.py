"""The passphrase is changed while a panel is open, over real sockets: nobody uses the old one again."""

import logging
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from span_trio import (
    SpanCredentials,
    SpanPanel,
    SpanPanelNotStoredError,
    SpanPanelOutcomeUnknownError,
    SpanPanelPrivilegeError,
    SpanPanelValidationError,
    load_credentials,
    open_span_panel,
    register_panel,
)
from span_trio.simulator import Listening, RestFault, SimulatedPanel, listening, open_simulated_panel

ROTATE = "PUT /auth/passphrase"


@asynccontextmanager
async def house() -> AsyncGenerator[tuple[SimulatedPanel, Listening], None]:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        yield simulated, where


async def back_online(panel: SpanPanel) -> None:
    """Over the next link."""
    with trio.fail_after(20):
        while panel.statistics().epochs < 2:  # noqa: ASYNC110 - an edge of before would not do
            await trio.sleep(0.005)
        await panel.wait_live()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "span.json"


async def test_the_panel_goes_on_with_the_new_password_and_nobody_tries_the_old_one(store: Path) -> None:
    async with house() as (simulated, where):
        old = simulated.passphrase
        async with open_span_panel(where.host, store=store, passphrase=old, options=where.options) as panel:
            before, edges = panel.snapshot, panel.edges()
            assert (await anext(edges)).online
            fresh = await panel.regenerate_passphrase()
            with trio.fail_after(20):
                turns = [(await anext(edges)).online for _ in range(2)]
            assert turns == [False, True]
            after = panel.snapshot
            assert (edges.missed, panel.statistics().epochs) == (0, 2)
        assert simulated.logins.stale == 0
        assert fresh.passphrase == simulated.passphrase != old
        assert fresh == await load_credentials(store)
        for name, circuit in before.circuits.items():
            assert (after.circuits[name].consumed_energy_wh or 0.0) >= (circuit.consumed_energy_wh or 0.0)


@pytest.mark.slow
async def test_without_a_store_the_caller_gets_them_and_the_old_ones_do_not_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lesson D, "the broker refuses the new password right after the rotation": no fallback, however often refused."""
    monkeypatch.setattr("span_trio.link.connection.SILENT_CEILING", 0.2)
    async with house() as (simulated, where):
        where.rest.broker_late = 0.5
        first = await register_panel(where.host, passphrase=simulated.passphrase, options=where.options)

        async def source() -> SpanCredentials:
            return first

        async with open_span_panel(where.host, credentials=source, options=where.options) as panel:
            fresh = await panel.regenerate_passphrase()
            await back_online(panel)
        assert simulated.logins.stale == 0
        assert fresh.broker_password == simulated.credentials.broker_password


async def test_a_store_that_cannot_be_written_keeps_the_passphrase(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with house() as (simulated, where):
        before = simulated.passphrase
        async with open_span_panel(where.host, options=where.options, store=folder / "s", passphrase=before) as panel:
            shutil.rmtree(folder)
            with pytest.raises(SpanPanelValidationError, match="No such file"):
                await panel.regenerate_passphrase()
            assert simulated.passphrase == before
            assert panel.live


async def test_what_cannot_be_stored_after_all_is_in_the_error_and_in_use(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)

    async def full(*_: object) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    async with house() as (simulated, where):
        async with open_span_panel(
            where.host, options=where.options, store=store, passphrase=simulated.passphrase
        ) as panel:
            monkeypatch.setattr("span_trio.onboard.save_credentials", full)
            with pytest.raises(SpanPanelNotStoredError) as caught:
                await panel.regenerate_passphrase()
            await back_online(panel)
        error = caught.value
        assert error.credentials.passphrase == simulated.passphrase
        for secret in (simulated.passphrase, simulated.credentials.broker_password):
            assert secret
            assert secret not in f"{error} {error!r} {error.args} {caplog.text}"


async def test_an_answer_that_is_lost_is_told_as_such(store: Path) -> None:
    async with house() as (simulated, where):
        async with open_span_panel(
            where.host, store=store, passphrase=simulated.passphrase, options=where.options
        ) as panel:
            stored = await load_credentials(store)
            where.rest.fail(ROTATE, RestFault(status=500, done=True))
            with pytest.raises(SpanPanelOutcomeUnknownError):
                await panel.regenerate_passphrase()
        assert await load_credentials(store) == stored


async def test_a_refused_rotation_changes_nothing() -> None:
    async with house() as (simulated, where):
        lesser = where.rest.add_client("me", full=False).token
        credentials = await register_panel(where.host, passphrase=simulated.passphrase, options=where.options)
        for token, error in ((lesser, SpanPanelPrivilegeError), (None, SpanPanelValidationError)):
            mine = attrs.evolve(credentials, access_token=token)
            async with open_span_panel(where.host, credentials=mine, options=where.options) as panel:
                with pytest.raises(error):
                    await panel.regenerate_passphrase()
                assert panel.live
        assert simulated.credentials.broker_password == credentials.broker_password
