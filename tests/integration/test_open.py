"""Getting in: transports, logins, trust, and whose panel it is."""

from __future__ import annotations

import hashlib
import math
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelSnapshot,
    SpanPanelTimeoutError,
    SpanPanelValidationError,
    fetch_snapshot,
    open_span_panel,
)
from span_trio.recording import play
from tests.busy import PATIENCE, allowed
from tests.integration.broker import ROOT, Broker, refusing_subscriptions, replayed
from tests.ports import held_port

HOST = "127.0.0.1"
WHO = SpanCredentials(serial_number=ROOT)


def plain(broker: Broker, **options: Any) -> PanelOptions:
    return PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.port, **options)


def login(broker: Broker, **options: Any) -> PanelOptions:
    return PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.login_port, **options)


def tls(broker: Broker, **options: Any) -> PanelOptions:
    return PanelOptions(max_silence=math.inf, mqtts_port=broker.tls_port, **options)


async def snapshot(credentials: SpanCredentials, options: PanelOptions, host: str = HOST) -> SpanPanelSnapshot:
    with trio.fail_after(PATIENCE):
        return await fetch_snapshot(host, credentials=credentials, options=options)


def recorded_house() -> SpanPanelSnapshot:
    last = list(play(replayed(), ROOT, PanelOptions()))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    return last


# --- what comes out ---


async def test_a_snapshot_over_tcp_is_what_playing_the_recording_makes(house: Broker) -> None:
    taken = await snapshot(WHO, plain(house))
    assert taken == recorded_house()
    assert (taken.seq, taken.epoch, taken.pending_devices) == (1, 1, ())


async def test_a_snapshot_over_tls_is_the_same(house: Broker) -> None:
    assert await snapshot(attrs.evolve(WHO, ca_pem=house.ca_pem), tls(house)) == recorded_house()


async def test_an_open_panel(house: Broker) -> None:
    async with open_span_panel(HOST, credentials=WHO, options=plain(house)) as panel:
        assert panel.live
        assert panel.snapshot == recorded_house()
        assert 0 < await panel.ping() < allowed(1)
        statistics = panel.statistics()
    assert statistics.messages == len(replayed())
    assert (statistics.epochs, statistics.devices, statistics.replays_assumed) == (1, 1, 0)
    assert statistics.dropped == {}
    assert statistics.bytes_received > 10_000


@pytest.mark.parametrize("secure", [False, True])
async def test_the_first_snapshot_comes_at_once(house: Broker, secure: bool) -> None:
    credentials = attrs.evolve(WHO, ca_pem=house.ca_pem)
    options = tls(house) if secure else plain(house)
    began = trio.current_time()
    await snapshot(credentials, options)
    assert trio.current_time() - began < allowed(1.0)  # some 10 ms; nothing in it waits for a time


# --- whose panel ---


async def test_without_a_serial_number_the_broker_is_asked(house: Broker) -> None:
    assert await snapshot(SpanCredentials(), plain(house)) == recorded_house()


async def test_a_broker_without_a_panel(tmp_path: Path) -> None:
    with Broker(tmp_path) as empty:
        with pytest.raises(SpanPanelConnectionError, match="carries no SPAN panel under ebus/5/"):
            await snapshot(SpanCredentials(), plain(empty))
        with pytest.raises(SpanPanelTimeoutError) as caught:
            await snapshot(WHO, plain(empty, ready_timeout=0.5))
    assert caught.value.missing == (f"$state of {ROOT}", f"$description of {ROOT}")


async def test_a_broker_with_several_panels(own: Broker) -> None:
    moved = (recorded.message for recorded in replayed())
    own.feed(message._replace(topic=message.topic.replace(ROOT, "nt-2")) for message in moved)
    with pytest.raises(SpanPanelValidationError, match=f"say which: nt-2, {ROOT}"):
        await snapshot(SpanCredentials(), plain(own))
    assert (await snapshot(SpanCredentials(serial_number="nt-2"), plain(own))).pv is not None


async def test_another_domain(own: Broker) -> None:
    moved = (recorded.message for recorded in replayed())
    own.feed(message._replace(topic=message.topic.replace("ebus/", "home/")) for message in moved)
    assert await snapshot(SpanCredentials(), plain(own, domain="home")) == recorded_house()


# --- user and password ---


async def test_the_right_password(house: Broker) -> None:
    credentials = attrs.evolve(WHO, broker_password=house.PASSWORD)
    assert await snapshot(credentials, login(house)) == recorded_house()


@pytest.mark.parametrize(
    "credentials",
    [
        attrs.evolve(WHO, broker_password="wrong"),
        attrs.evolve(WHO, broker_password=""),
        attrs.evolve(WHO, broker_username="nobody", broker_password=Broker.PASSWORD),
        WHO,  # none at all
        SpanCredentials(broker_username=ROOT),
    ],
)
async def test_a_wrong_or_missing_password(house: Broker, credentials: SpanCredentials) -> None:
    began = trio.current_time()
    with pytest.raises(SpanPanelAuthError, match=r"refuses the login: (not authorised|bad user name or password)"):
        await snapshot(credentials, login(house))
    assert trio.current_time() - began < allowed(5)


async def test_an_acl_that_lets_nothing_through_leaves_everything_missing(house: Broker) -> None:
    credentials = attrs.evolve(WHO, broker_username=house.BLIND, broker_password=house.PASSWORD)
    with pytest.raises(SpanPanelTimeoutError) as caught:
        await snapshot(credentials, login(house, ready_timeout=0.5))
    assert f"$state of {ROOT}" in caught.value.missing


async def test_a_refused_subscription_is_said_at_once(tmp_path: Path) -> None:
    with refusing_subscriptions(tmp_path) as broker:
        began = trio.current_time()
        with pytest.raises(SpanPanelAuthError, match=f"refuses the subscription to the tree of {ROOT}"):
            await snapshot(WHO, plain(broker))
        assert trio.current_time() - began < allowed(1.0)


# --- TLS ---


async def test_another_ca(house: Broker) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    with pytest.raises(SpanPanelConnectionError, match="certificate verify failed"):
        await snapshot(attrs.evolve(WHO, ca_pem=other), tls(house))


async def test_another_host_name(house: Broker) -> None:
    with pytest.raises(SpanPanelConnectionError, match=r"the certificate of localhost is for 127\.0\.0\.1"):
        await snapshot(attrs.evolve(WHO, ca_pem=house.ca_pem), tls(house), host="localhost")


async def test_no_tls_where_tls_is_expected(house: Broker) -> None:
    with pytest.raises(SpanPanelConnectionError, match="TLS with"):
        await snapshot(
            attrs.evolve(WHO, ca_pem=house.ca_pem), PanelOptions(max_silence=math.inf, mqtts_port=house.port)
        )


async def test_tls_where_none_is_expected(house: Broker) -> None:
    with pytest.raises(SpanPanelConnectionError, match="during the login"):
        await snapshot(WHO, PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=house.tls_port))


async def test_nobody_there() -> None:
    with held_port() as port, pytest.raises(SpanPanelConnectionError, match=r"(?i)refused"):
        await snapshot(WHO, PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=port))


# --- a CA that is fetched ---


@asynccontextmanager
async def handing_out(pem: str, status: str = "200 OK") -> AsyncGenerator[int, None]:
    """An HTTP server as a panel's, which hands out a CA."""

    async def handle(stream: trio.SocketStream) -> None:
        assert (await stream.receive_some()).startswith(b"GET /api/v2/certificate/ca ")
        await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: {len(pem)}\r\n\r\n{pem}".encode())

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host=HOST))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def sha256(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


async def attempt(
    pem: str, broker: Broker, status: str = "200 OK", **options: Any
) -> SpanPanelSnapshot | SpanPanelError:
    async with handing_out(pem, status) as port:
        try:
            return await snapshot(WHO, tls(broker, http_port=port, **options))
        except SpanPanelError as error:
            return error


async def test_a_fetched_ca_is_trusted(house: Broker) -> None:
    assert await attempt(house.ca_pem, house) == recorded_house()


async def test_a_fetched_ca_with_the_right_fingerprint(house: Broker) -> None:
    digits = sha256(house.ca_pem).upper()
    colons = ":".join(digits[index : index + 2] for index in range(0, 64, 2))
    for fingerprint in (digits, colons):
        assert await attempt(house.ca_pem, house, ca_sha256=fingerprint) == recorded_house()


async def test_a_fetched_ca_with_another_fingerprint(house: Broker) -> None:
    error = await attempt(house.ca_pem, house, ca_sha256="ab" * 32)
    assert isinstance(error, SpanPanelConnectionError)
    assert sha256(house.ca_pem) in str(error)
    assert "ab" * 32 in str(error)


async def test_the_ca_of_somebody_else(house: Broker) -> None:
    error = await attempt(trustme.CA().cert_pem.bytes().decode(), house)
    assert isinstance(error, SpanPanelConnectionError)


async def test_a_ca_that_is_not_handed_out(house: Broker) -> None:
    error = await attempt("no", house, "404 Not Found")
    assert isinstance(error, SpanPanelAPIError)
    assert error.status == 404
