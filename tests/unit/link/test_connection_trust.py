"""A certificate that is refused: looked into, retried, and never trusted silently. Real TLS, in memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanelAPIError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelServerError,
)
from span_trio.credentials import fingerprint
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import Certificates, certificates, expired, other_ca, renamed, replaced
from tests.unit.link.house import CREDENTIALS, house
from tests.unit.link.keeping import Bench, TlsHouse, keeping

pytestmark = pytest.mark.virtual_time

CA = certificates().ca_pem
OTHER = replaced().ca_pem
TRUSTED, ADVERTISED = fingerprint(CA), fingerprint(OTHER)
PINNED = attrs.evolve(CREDENTIALS, ca_pem=CA)


@contextlib.asynccontextmanager
async def tls_house(
    monkeypatch: pytest.MonkeyPatch,
    *,
    credentials: SpanCredentials = PINNED,
    first: Certificates | None = None,
    **options: Any,
) -> AsyncGenerator[tuple[Bench, TlsHouse], None]:
    """A connection that is kept over TLS; live already, unless the ``first`` certificate says otherwise."""
    broker = Broker(house())
    async with trio.open_nursery() as nursery:
        served = TlsHouse(broker, nursery)
        served.certificates = certificates() if first is None else first
        monkeypatch.setattr(trio, "open_tcp_stream", served.open_tcp_stream)
        async with keeping(
            broker, credentials=credentials, ca_pem=CA, live=first is None, transport="mqtts", **options
        ) as bench:
            if first is None:
                await trio.sleep(10)
            yield bench, served
        nursery.cancel_scope.cancel()


async def change(bench: Bench, served: TlsHouse, to: Certificates, advertised: str | Exception) -> None:
    """The panel gets another certificate, and its broker restarts."""
    served.certificates, bench.advertised = to, advertised
    seen = len(bench.edges)
    for stream in list(served.streams):
        await trio.aclose_forcefully(stream)
    await bench.until(lambda: len(bench.edges) > seen)


async def test_the_context_is_made_once_and_there_is_none_without_tls() -> None:
    connection = Bench(Broker(), PINNED, CA, PanelOptions()).connection
    made = await connection.tls()
    assert made is not None
    assert await connection.tls() is made
    assert await Bench(Broker(), PINNED, CA, PanelOptions(transport="mqtt")).connection.tls() is None


# --- the leaf ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_certificate_for_other_names_is_retried_and_its_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        await change(bench, served, renamed(), CA)
        await trio.sleep(100)
        assert bench.failure is None
        assert bench.obstacle == (
            ConnectionReason.CERTIFICATE,
            "the certificate of panel.test is for span-nt-1.local, 10.42.0.1",
        )
        served.certificates = certificates()
        await bench.until(lambda: bench.live, 2.1)


@pytest.mark.slow
async def test_a_certificate_that_has_expired_is_retried_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        await change(bench, served, expired(), CA)
        await trio.sleep(100)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.CERTIFICATE
        assert "certificate has expired" in bench.obstacle.detail
        served.certificates = certificates()
        await bench.until(lambda: bench.live, 2.1)


@pytest.mark.parametrize("first", [renamed(), expired()], ids=["renamed", "expired"])
async def test_at_first_a_bad_leaf_is_an_error_at_once(first: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch, first=first) as (bench, _):
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelCertificateError
        assert (bench.failure.trusted_sha256, bench.failure.advertised_sha256) == (None, None)
        assert ("expired" if first is expired() else "is for span-nt-1.local") in str(bench.failure)
        assert bench.ended_at == 0.0


# --- the CA -----------------------------------------------------------------------------------------------------------


async def test_at_first_another_ca_is_an_error_at_once_with_both_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch, first=replaced()) as (bench, _):
        bench.advertised = OTHER
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelCertificateError
        assert (bench.failure.trusted_sha256, bench.failure.advertised_sha256) == (TRUSTED, ADVERTISED)
        assert TRUSTED in str(bench.failure)
        assert ADVERTISED in str(bench.failure)
        assert bench.ended_at == 0.0


async def test_another_ca_ends_it_when_three_probes_over_a_minute_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        began = trio.current_time()
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(50)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.CA_CHANGED
        assert TRUSTED in bench.obstacle.detail
        assert ADVERTISED in bench.obstacle.detail
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelCertificateError
        assert (bench.failure.trusted_sha256, bench.failure.advertised_sha256) == (TRUSTED, ADVERTISED)
        assert len(bench.probes) == 3
        assert 60 <= bench.ended_at - began < 66


@pytest.mark.slow
async def test_who_wants_to_wait_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(200)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.CA_CHANGED
        assert bench.connection.ca_pem == CA
        served.certificates = certificates()
        await bench.until(lambda: bench.live, 2.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers",
    [
        [SpanPanelConnectionError("no connection")],
        [SpanPanelServerError("502"), SpanPanelAPIError("no certificate")],
        [OTHER, OTHER, SpanPanelServerError("502")],
        [OTHER, OTHER, CA],
        [OTHER, other_ca()],
        [OTHER, OTHER, other_ca(), other_ca()],
        [OTHER, OTHER, ZeroDivisionError("a bug in the rest room")],
        [OTHER, OTHER, "this is no PEM"],
    ],
    ids=[
        "none",
        "none, otherwise",
        "not every time",
        "the old one in between",
        "in turn",
        "two and two",
        "a bug",
        "no PEM",
    ],
)
async def test_probes_that_fail_or_disagree_end_nothing(
    answers: list[str | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        await change(bench, served, replaced(), answers[0])
        bench.chance = lambda: 5.0  # fewer handshakes
        for number in range(1, 9):
            probed = len(bench.probes)
            bench.advertised = answers[(len(bench.probes)) % len(answers)]
            await bench.until(lambda probed=probed: len(bench.probes) > probed, 50)  # type: ignore[misc]
            assert bench.failure is None, number
        assert bench.connection.ca_pem == CA
        served.certificates, bench.advertised = certificates(), CA
        await bench.until(lambda: bench.live, 10.1)


@pytest.mark.slow
async def test_however_many_handshakes_fail_it_is_probed_every_30_s_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        bench.chance = lambda: 0.1
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(95)
        assert len(served.dialled) > 300
        assert all(30 <= after - before < 30.5 for before, after in pairwise(bench.probes))
        assert len(bench.probes) == 4


@pytest.mark.slow
async def test_the_old_ca_back_in_time_begins_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        for _ in range(3):
            await change(bench, served, replaced(), OTHER)
            await trio.sleep(45)  # two probes
            served.certificates, bench.advertised = certificates(), CA
            await bench.until(lambda: bench.live, 2.1)
        assert bench.failure is None
        assert [edge.online for edge in bench.edges] == [True, False] * 3 + [True]


# --- pinned anew ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_ca_that_is_pinned_anew_is_used_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(100)
        assert not bench.live
        bench.given = attrs.evolve(PINNED, ca_pem=OTHER)
        await bench.until(lambda: bench.live, 4.2)
        assert bench.connection.ca_pem == OTHER
        [record] = [record for record in caplog.records if "trusted was replaced" in record.getMessage()]
        assert record.levelno == logging.WARNING
        assert ADVERTISED in record.getMessage()


@pytest.mark.slow
async def test_a_ca_pinned_anew_that_does_not_fit_begins_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(45)
        bench.given = attrs.evolve(PINNED, ca_pem=other_ca())
        await trio.sleep(45)
        assert bench.failure is None
        await bench.until(lambda: bench.failure)
        assert isinstance(bench.failure, SpanPanelCertificateError)
        assert bench.failure.trusted_sha256 == fingerprint(other_ca())


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [attrs.evolve(PINNED, ca_pem=None), PINNED, attrs.evolve(PINNED, serial_number="nt-1", ca_pem=OTHER)],
    ids=["with no CA", "with the old one", "of another panel"],
)
async def test_nothing_is_trusted_that_nobody_pinned(given: SpanCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        bench.given = given
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(100)
        assert not bench.live
        assert bench.connection.ca_pem == CA


@pytest.mark.slow
@pytest.mark.parametrize("text", ["this is no PEM", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"])
async def test_a_store_with_half_a_ca_ends_nothing_and_is_told_once(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        bench.given = attrs.evolve(PINNED, ca_pem=text)
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(100)
        assert bench.failure is None
        assert bench.connection.ca_pem == CA
        assert sum("not a PEM certificate" in message for message in caplog.messages) == 1
        bench.given = attrs.evolve(PINNED, ca_pem=OTHER)
        await bench.until(lambda: bench.live, 4.2)


async def test_a_fingerprint_with_colons_lets_a_ca_pinned_anew_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [ADVERTISED[start : start + 2] for start in range(0, len(ADVERTISED), 2)]
    async with tls_house(monkeypatch, on_ca_change="wait", ca_sha256=":".join(pairs).upper()) as (bench, served):
        bench.given = attrs.evolve(PINNED, ca_pem=OTHER)
        await change(bench, served, replaced(), OTHER)
        await bench.until(lambda: bench.live, 4.2)
        assert bench.connection.ca_pem == OTHER


async def test_credentials_without_a_ca_are_used_with_the_one_that_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        bench.given = attrs.evolve(PINNED, ca_pem=None, broker_password="another")
        bench.broker.connack = 5
        await change(bench, served, certificates(), CA)
        await trio.sleep(10)
        bench.broker.connack = 0
        await bench.until(lambda: bench.live, 8.3)
        assert bench.broker.connection.received[0].texts[-1] == "another"
        assert bench.connection.ca_pem == CA


async def test_without_tls_no_ca_is_taken() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        bench.given = attrs.evolve(CREDENTIALS, ca_pem=OTHER)
        broker.connack = 5
        await bench.hang_up()
        await trio.sleep(10)
        assert bench.asks
        assert bench.connection.ca_pem is None


async def test_a_bug_in_looking_into_a_certificate_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait") as (bench, served):
        bench.chance = lambda: 5.0  # fewer handshakes
        await change(bench, served, replaced(), ZeroDivisionError("a bug in the rest room"))
        await trio.sleep(100)
        assert len(bench.probes) > 1
    [record] = [record for record in caplog.records if "looking into the certificate" in record.getMessage()]
    assert record.exc_info is not None


@pytest.mark.slow
async def test_the_fingerprint_that_was_asked_for_holds_for_a_ca_pinned_anew_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_house(monkeypatch, on_ca_change="wait", ca_sha256=TRUSTED.upper()) as (bench, served):
        bench.given = attrs.evolve(PINNED, ca_pem=OTHER)
        await change(bench, served, replaced(), OTHER)
        await trio.sleep(100)
        assert not bench.live
        assert bench.connection.ca_pem == CA
        assert f"{ADVERTISED}, expected {TRUSTED}" in caplog.text


# --- the name ---------------------------------------------------------------------------------------------------------


async def test_the_name_is_dialled_anew_each_time_and_checked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_house(monkeypatch) as (bench, served):
        for certificate in (renamed(), certificates(), renamed(), certificates()):
            await change(bench, served, certificate, CA) if bench.live else None
            served.certificates = certificate
            await trio.sleep(5)
            assert bench.live == (certificate is certificates())
        assert {host for _, host in served.dialled} == {"panel.test"}
