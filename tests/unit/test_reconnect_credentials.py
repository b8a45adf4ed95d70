"""Credentials that change while a panel is open: in the store, or where an async function gets them from."""

from __future__ import annotations

import logging
import math
from importlib import import_module
from pathlib import Path

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelAuthError,
    open_span_panel,
    save_credentials,
)
from tests.unit.link.broker import Broker, Connection, Kind, Packet
from tests.unit.link.house import OPTIONS, house
from tests.unit.span.helpers import ROOT

OLD = SpanCredentials(ROOT, "me", "the-old-password")
NEW = attrs.evolve(OLD, broker_password="the-new-password")


def locked(password: str) -> Broker:
    """A broker that accepts one password only."""
    broker = Broker(house())
    lock(broker, password)
    return broker


def lock(broker: Broker, password: str) -> None:
    def connect(connection: Connection, packet: Packet) -> None:
        broker.connack = 0 if packet.texts[-1] == password else 5
        connection.answer(packet)

    broker.instead[Kind.CONNECT] = connect


async def rotate(broker: Broker, panel: SpanPanel) -> None:
    """The broker restarts with the new password, and refuses us."""
    edges = panel.edges()
    await anext(edges)
    lock(broker, "the-new-password")
    broker.connection.hang_up()
    assert not (await anext(edges)).online
    while panel.obstacle is None or panel.obstacle.reason is not ConnectionReason.REFUSED:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any pause between attempts: files are read in threads, which a virtual clock knows nothing of."""
    monkeypatch.setattr(import_module("span_trio.link.connection"), "SILENT_CEILING", 0.01)


@pytest.mark.usefixtures("soon")
async def test_a_store_that_is_written_while_the_old_password_is_refused_mends_it(tmp_path: Path) -> None:
    store = tmp_path / "span.json"
    await save_credentials(store, OLD)
    broker = locked("the-old-password")
    with trio.fail_after(30):
        async with open_span_panel("panel", store=store, options=OPTIONS, dialer=broker.dial) as panel:
            await rotate(broker, panel)
            await save_credentials(store, NEW)
            await panel.wait_live()
    assert broker.connection.received[0].texts[1:] == ["me", "the-new-password"]


@pytest.mark.usefixtures("soon")
async def test_a_store_that_is_rubbish_or_gone_for_a_while_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store = tmp_path / "span.json"
    await save_credentials(store, OLD)
    broker = locked("the-old-password")
    with trio.fail_after(30):
        async with open_span_panel("panel", store=store, options=OPTIONS, dialer=broker.dial) as panel:
            await trio.Path(store).write_text('{"broker_password": "the-new-passw')
            await rotate(broker, panel)
            while "not a JSON object" not in caplog.text:
                await trio.lowlevel.checkpoint()
            await trio.Path(store).unlink()
            while "does not exist any more" not in caplog.text:
                await trio.lowlevel.checkpoint()
            await save_credentials(store, NEW)
            await panel.wait_live()
    assert "the-new-passw" not in caplog.text


@pytest.mark.virtual_time
async def test_an_async_function_is_asked_again_after_each_refusal() -> None:
    broker = locked("the-old-password")
    asked: list[float] = []
    given = OLD

    async def credentials() -> SpanCredentials:
        await trio.lowlevel.checkpoint()
        asked.append(trio.current_time())
        return given

    async with open_span_panel("panel", credentials=credentials, options=OPTIONS, dialer=broker.dial) as panel:
        assert len(asked) == 1
        await trio.sleep(100)
        await rotate(broker, panel)
        await trio.sleep(100)
        assert len(asked) > 10
        given = NEW
        await panel.wait_live()
        assert trio.current_time() < 217
        before = len(asked)
        await trio.sleep(100)
        assert len(asked) == before


@pytest.mark.virtual_time
async def test_what_an_async_function_raises_at_first_comes_out_as_it_is() -> None:
    error = LookupError("no such secret")

    async def credentials() -> SpanCredentials:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(LookupError) as caught:
        async with open_span_panel("panel", credentials=credentials, options=OPTIONS, dialer=Broker().dial):
            raise AssertionError
    assert caught.value is error


@pytest.mark.virtual_time
async def test_credentials_that_never_change_are_refused_until_the_grace_is_over() -> None:
    broker = locked("the-old-password")
    options = PanelOptions(transport="mqtt", auth_grace=30, max_silence=math.inf)

    async def main() -> None:
        async with open_span_panel("panel", credentials=OLD, options=options, dialer=broker.dial) as panel:
            await rotate(broker, panel)
            await trio.sleep_forever()

    with pytest.raises(SpanPanelAuthError, match="not authorised"):
        await main()
    assert 30 <= trio.current_time() < 38.2
