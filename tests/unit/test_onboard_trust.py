"""Whom to trust at first: the CA that is pinned, or handed out, or of the expected fingerprint."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanelAPIError,
    SpanPanelCertificateError,
    SpanPanelSnapshot,
    SpanPanelValidationError,
    onboard,
    open_span_panel,
)
from span_trio.credentials import fingerprint
from span_trio.onboard import find_ca
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import certificates, other_ca
from tests.unit.link.house import CREDENTIALS, STILL, house, topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


# --- whom to trust ----------------------------------------------------------------------------------------------------


async def trusted(monkeypatch: pytest.MonkeyPatch, served: str | Exception, **options: Any) -> list[tuple[str, int]]:
    """What `find_ca` asks of the panel's web server, which serves this."""
    asked: list[tuple[str, int]] = []

    async def download(host: str, *, port: int) -> str:
        asked.append((host, port))
        await trio.lowlevel.checkpoint()
        if isinstance(served, Exception):
            raise served
        return served

    monkeypatch.setattr(onboard, "download_ca_cert", download)
    pinned = options.pop("pinned", None)
    found = await find_ca("panel", SpanCredentials(ca_pem=pinned), PanelOptions(**options))
    encrypted = options.get("transport", "mqtts") in {"mqtts", "wss"}
    assert found == ((pinned or served) if encrypted else None)
    return asked


async def test_a_pinned_ca_is_trusted_and_no_other_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await trusted(monkeypatch, AssertionError(), pinned=certificates().ca_pem) == []


async def test_without_a_pinned_ca_the_panel_s_is_trusted_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await trusted(monkeypatch, certificates().ca_pem, http_port=8080) == [("panel", 8080)]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert fingerprint(certificates().ca_pem) in record.getMessage()


@pytest.mark.parametrize("transport", ["mqtt", "ws"])
async def test_a_plain_transport_trusts_nobody(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await trusted(monkeypatch, AssertionError(), transport=transport) == []


async def test_of_a_bridge_nothing_is_asked_and_those_are_trusted_whom_this_system_trusts() -> None:
    assert await find_ca("bridge", SpanCredentials(), PanelOptions(source="bridge")) is None
    pinned = SpanCredentials(ca_pem=certificates().ca_pem)
    assert await find_ca("bridge", pinned, PanelOptions(source="bridge")) == certificates().ca_pem


async def test_a_bridge_cannot_be_known_by_a_fingerprint_alone() -> None:
    options = PanelOptions(source="bridge", ca_sha256=fingerprint(certificates().ca_pem))
    with pytest.raises(SpanPanelValidationError, match="give it as PEM"):
        await find_ca("bridge", SpanCredentials(), options)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("written", [str, str.upper, lambda text: ":".join(text[n : n + 2] for n in range(0, 64, 2))])
async def test_a_fingerprint_that_fits_is_believed(pinned: bool, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = certificates().ca_pem
    await trusted(monkeypatch, ca, pinned=ca if pinned else None, ca_sha256=written(fingerprint(ca)))


@pytest.mark.parametrize("pinned", [True, False])
async def test_a_fingerprint_that_does_not_fit_is_an_error(pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, expected = certificates().ca_pem, fingerprint(other_ca())
    with pytest.raises(SpanPanelCertificateError, match=f"{fingerprint(ca)}, expected {expected}") as caught:
        await trusted(monkeypatch, ca, pinned=ca if pinned else None, ca_sha256=expected)
    assert caught.value.trusted_sha256 == expected
    assert caught.value.advertised_sha256 == fingerprint(ca)


async def test_a_panel_that_does_not_hand_out_its_ca_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpanPanelAPIError):
        await trusted(monkeypatch, SpanPanelAPIError("no certificate"))


async def test_the_dialer_gets_the_context() -> None:
    broker = Broker(house())
    credentials = attrs.evolve(CREDENTIALS, ca_pem=certificates().ca_pem)
    options = PanelOptions(max_silence=STILL)
    async with open_span_panel("panel", credentials=credentials, options=options, dialer=broker.dial):
        [(_, port, tls)] = broker.dialled
    assert port == 8883
    assert tls is not None
