"""The four transports to a real mosquitto: TCP, TLS, WebSocket, and that over TLS."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
import trio
import trustme

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelSnapshot,
    fetch_snapshot,
    open_span_panel,
)
from span_trio.recording import play
from tests.busy import PATIENCE, allowed
from tests.integration.broker import ROOT, Broker, Publisher, replayed, until
from tests.integration.test_load import large_house

HOST = "127.0.0.1"
Transport = Literal["mqtt", "mqtts", "ws", "wss"]
TRANSPORTS: tuple[Transport, ...] = ("mqtt", "mqtts", "ws", "wss")
WEBSOCKETS: tuple[Transport, ...] = ("ws", "wss")
POWER = f"ebus/5/{ROOT}/upstream-lugs/active-power"


def options(broker: Broker, transport: Transport, *, login: bool = False, **more: Any) -> PanelOptions:
    """As which port of ``broker`` is what."""
    everybody = {"mqtt": broker.port, "mqtts": broker.tls_port, "ws": broker.ws_port, "wss": broker.wss_port}
    users = {
        "mqtt": broker.login_port,
        "mqtts": broker.login_tls_port,
        "ws": broker.login_ws_port,
        "wss": broker.login_wss_port,
    }
    ports: dict[str, Any] = {f"{name}_port": port for name, port in (users if login else everybody).items()}
    return PanelOptions(max_silence=math.inf, transport=transport, **ports, **more)


def who(broker: Broker, **more: Any) -> SpanCredentials:
    return SpanCredentials(serial_number=ROOT, ca_pem=broker.ca_pem, **more)


def recorded_house() -> SpanPanelSnapshot:
    last = list(play(replayed(), ROOT, PanelOptions()))[-1].what
    assert isinstance(last, SpanPanelSnapshot)
    return last


# --- the same house over each ---


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_recorded_house_is_read_and_followed(own: Broker, transport: Transport) -> None:
    began = trio.current_time()
    async with open_span_panel(HOST, credentials=who(own), options=options(own, transport)) as panel:
        assert trio.current_time() - began < allowed(1.0)
        assert panel.snapshot == recorded_house()
        statistics = panel.statistics()
        assert (statistics.messages, statistics.dropped, statistics.replays_assumed) == (len(replayed()), {}, 0)
        with Publisher(own.port) as publisher:
            publisher.publish(POWER, "12345.5", retain=True)
        with trio.fail_after(PATIENCE):
            await panel.wait_for(lambda snapshot: snapshot.instant_grid_power_w == 12345.5)
        assert 0 < await panel.ping() < allowed(1.0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_user_and_password_and_what_the_acl_allows(house: Broker, transport: Transport) -> None:
    login = options(house, transport, login=True)
    credentials = who(house, broker_password=house.PASSWORD)
    assert await fetch_snapshot(HOST, credentials=credentials, options=login) == recorded_house()
    for refused in (who(house, broker_password="wrong"), who(house)):
        with pytest.raises(SpanPanelAuthError, match="refuses the login: "):
            await fetch_snapshot(HOST, credentials=refused, options=login)


@pytest.mark.parametrize("transport", ["mqtts", "wss"])
async def test_another_ca_or_host_name_is_refused(house: Broker, transport: Transport) -> None:
    stranger = attrs.evolve(who(house), ca_pem=trustme.CA().cert_pem.bytes().decode())
    unasked = options(house, transport, source="bridge")  # which hands out no CA
    with pytest.raises(SpanPanelCertificateError, match="certificate verify failed"):
        await fetch_snapshot(HOST, credentials=stranger, options=unasked)
    with pytest.raises(SpanPanelCertificateError, match=r"the certificate of localhost is for 127\.0\.0\.1"):
        await fetch_snapshot("localhost", credentials=who(house), options=unasked)


async def test_each_transport_at_the_port_of_another_is_one_error(house: Broker) -> None:
    right = {transport: options(house, transport) for transport in TRANSPORTS}
    ports = {"mqtt": house.port, "mqtts": house.tls_port, "ws": house.ws_port, "wss": house.wss_port}
    for transport, option in right.items():
        for other in TRANSPORTS:
            if other != transport:
                wrong = attrs.evolve(option, **{f"{transport}_port": ports[other]}, step_timeout=0.5)
                with pytest.raises(SpanPanelConnectionError), trio.fail_after(PATIENCE):
                    await fetch_snapshot(HOST, credentials=who(house), options=wrong)


# --- the way out ---


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_leaving_says_goodbye(own: Broker, transport: Transport) -> None:
    """mosquitto tells a client that has sent DISCONNECT from one that just closed."""
    before = len(own.log)
    async with open_span_panel(HOST, credentials=who(own), options=options(own, transport)):
        pass
    with trio.fail_after(PATIENCE):
        await until(lambda: bool(re.search(r"Client span-trio-\w+ ", own.log[before:])))
    ends = re.findall(r"Client (span-trio-\w+) (.*)", own.log[before:])
    assert [how for _, how in ends] == ["disconnected."]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_killed_broker_and_one_that_comes_back(own: Broker, transport: Transport) -> None:
    with trio.fail_after(PATIENCE):
        async with open_span_panel(HOST, credentials=who(own), options=options(own, transport)) as panel:
            edges = panel.edges()
            assert (await anext(edges)).online
            own.kill()
            began = trio.current_time()
            edge = await anext(edges)
            assert trio.current_time() - began < allowed(0.5)
            assert edge.reason is ConnectionReason.LINK_LOST
            own.start()
            own.feed_house()
            assert (await anext(edges)).online
            assert panel.snapshot == recorded_house()


# --- WebSocket ---


@pytest.mark.parametrize("transport", WEBSOCKETS)
async def test_a_path_that_is_not_there(house: Broker, transport: Transport) -> None:
    """mosquitto takes any path; what it does not take is a client that asks for no MQTT, which we never are."""
    elsewhere = options(house, transport, websocket_path="/else/where?a=b")
    assert await fetch_snapshot(HOST, credentials=who(house), options=elsewhere) == recorded_house()


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("mqtt", b"Sec-WebSocket-Protocol: mqtt"), ("coap", b""), (None, b"101 Switching Protocols")],
)
async def test_what_mosquitto_makes_of_a_subprotocol(house: Broker, asked: str | None, answered: bytes) -> None:
    """It confirms ``mqtt``, hangs up on another, and on a client that asks for none answers with none."""
    wanted = "" if asked is None else f"Sec-WebSocket-Protocol: {asked}\r\n"
    async with await trio.open_tcp_stream(HOST, house.ws_port) as stream:
        await stream.send_all(
            b"GET /mqtt HTTP/1.1\r\nHost: panel\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + f"{wanted}\r\n".encode()
        )
        answer = await stream.receive_some()
    assert answered in answer
    assert bool(answer) == bool(answered)
    assert (b"Sec-WebSocket-Protocol" in answer) == (asked == "mqtt")


@pytest.mark.parametrize("transport", WEBSOCKETS)
@pytest.mark.parametrize(("circuits", "properties"), [(60, 20), (100, 50)])
async def test_a_replay_that_mosquitto_cuts_at_999_is_live_and_complete_all_the_same(
    tmp_path: Path, transport: Transport, circuits: int, properties: int
) -> None:
    with Broker(tmp_path) as broker:
        broker.feed(large_house(circuits, properties, 10))
        with trio.fail_after(PATIENCE):
            async with open_span_panel(HOST, credentials=who(broker), options=options(broker, transport)) as panel:
                names = {circuit.name for circuit in panel.snapshot.circuits.values()}
                statistics = panel.statistics()
    assert names == {f"Circuit {number}" for number in range(circuits)}
    assert statistics.topics == circuits * properties + 2
    assert (statistics.replays_assumed, statistics.dropped) == (0, {})


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_packet_that_is_too_large_is_passed_over_and_asked_for_again(own: Broker, transport: Transport) -> None:
    small = options(own, transport, max_packet=2**16)
    with trio.fail_after(PATIENCE):
        async with open_span_panel(HOST, credentials=who(own), options=small) as panel:
            edges = panel.edges()
            assert (await anext(edges)).online
            with Publisher(own.port) as publisher:
                publisher.publish(POWER, "9" * 100_000)
            edge = await anext(edges)
            assert (edge.online, edge.reason, edge.detail) == (False, ConnectionReason.PENDING_DEVICE, ROOT)
            edge = await anext(edges)
            assert (edge.online, edge.epoch) == (True, 1)
            assert panel.snapshot == recorded_house()


@pytest.mark.parametrize("transport", WEBSOCKETS)
async def test_a_message_that_is_far_too_large_ends_the_session_and_not_the_panel(
    own: Broker, transport: Transport
) -> None:
    small = options(own, transport, max_packet=2**16)
    with trio.fail_after(PATIENCE):
        async with open_span_panel(HOST, credentials=who(own), options=small) as panel:
            edges = panel.edges()
            assert (await anext(edges)).online
            with Publisher(own.port) as publisher:
                publisher.publish(POWER, "9" * 200_000)
            assert not (await anext(edges)).online
            edge = await anext(edges)
            assert (edge.online, edge.epoch) == (True, 2)
            assert panel.snapshot == recorded_house()


@pytest.mark.parametrize("transport", WEBSOCKETS)
async def test_a_flood_is_survived(own: Broker, transport: Transport) -> None:
    """What a client has not taken yet mosquitto drops beyond 1,000 packets; what comes after that is all there."""
    program = [sys.executable, str(Path(__file__).with_name("flood.py")), str(own.port), "10000", POWER]
    with trio.fail_after(PATIENCE):
        async with open_span_panel(HOST, credentials=who(own), options=options(own, transport)) as panel:
            await trio.run_process(program)
            with Publisher(own.port) as publisher:
                publisher.publish(POWER, "-1")
            await panel.wait_for(lambda snapshot: snapshot.instant_grid_power_w == -1)
            assert await panel.ping() < allowed(1.0)
            statistics = panel.statistics()
    assert (statistics.epochs, statistics.dropped) == (1, {})
    assert statistics.messages > len(replayed()) + 1000
