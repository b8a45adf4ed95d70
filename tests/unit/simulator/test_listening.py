"""A simulated panel's ports, over real sockets: the same tree through each, over WebSocket too."""

import contextlib

import attrs
import pytest
import trio

from span_trio import PanelOptions, SpanPanelConnectionError, fetch_snapshot, register_v2
from span_trio.link import tls_context
from span_trio.link.streams import TcpStream, TlsStream
from span_trio.link.websocket import open_websocket
from span_trio.simulator import BrokerFaults, Listening, SimulatedPanel, listening, open_simulated_panel
from tests.ports import held_port


async def read(simulated: SimulatedPanel, where: Listening, options: PanelOptions) -> dict[str, object]:
    """What stays as it is in a house that lives on."""
    credentials = attrs.evolve(simulated.credentials, ca_pem=where.ca_pem)
    snapshot = await fetch_snapshot(where.host, credentials=credentials, options=options)
    return {
        "serial number": snapshot.serial_number,
        "panel size": snapshot.panel_size,
        "circuits": {key: (circuit.name, circuit.tabs) for key, circuit in snapshot.circuits.items()},
    }


@pytest.mark.parametrize("transport", ["mqtt", "ws", "wss"])
async def test_the_tree_is_the_same_through_every_port(transport: str) -> None:
    async with open_simulated_panel("32") as simulated, listening(simulated) as where:
        told = await read(simulated, where, attrs.evolve(where.options, transport=transport))
        assert told == await read(simulated, where, where.options)
        assert told["serial number"] == simulated.serial_number


@pytest.mark.parametrize("transport", ["ws", "wss"])
async def test_a_broker_does_the_same_wrongs_over_websocket(transport: str) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        options = attrs.evolve(where.options, transport=transport)
        simulated.broker.faults = BrokerFaults(refuse_login=3)
        with pytest.raises(SpanPanelConnectionError, match="server unavailable"):
            await read(simulated, where, options)
        simulated.broker.faults = BrokerFaults(hang_up=True)
        with pytest.raises(SpanPanelConnectionError, match=r"hung up during the handshake|it broke|TLS with"):
            await read(simulated, where, options)
        simulated.broker.faults = BrokerFaults()
        await read(simulated, where, options)


@pytest.mark.parametrize("transport", ["ws", "wss"])
async def test_a_reset_goes_through_a_websocket_to_its_socket(transport: str) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        tcp = TcpStream(await trio.open_tcp_stream(where.host, port_of(where, transport)))
        tls = TlsStream(tcp, tls_context(where.ca_pem), where.host)
        if transport == "wss":
            await tls.do_handshake()
        stream = tcp if transport == "ws" else tls
        async with open_websocket(stream, where.host, port_of(where, transport), max_message=65_536) as websocket:
            await websocket.send_all(connect(simulated))
            assert await websocket.receive_some() == b"\x20\x02\x00\x00"
            assert simulated.broker.reset() == 1
            with pytest.raises(trio.BrokenResourceError) as caught:
                await websocket.receive_some()
            assert isinstance(caught.value.__cause__, ConnectionResetError)


def port_of(where: Listening, transport: str) -> int:
    return {"ws": where.ws_port, "wss": where.wss_port}[transport]


def connect(simulated: SimulatedPanel) -> bytes:
    username, password = simulated.credentials.login
    body = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in ("me", username or "", password or ""))
    head = b"\x00\x04MQTT\x04\xc2\x00\x3c"
    return bytes([0x10, len(head + body)]) + head + body


async def test_what_asks_for_no_broker_disturbs_nobody() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        for asked in (b"GET /mqtt HTTP/1.1\r\nHost: panel\r\n\r\n", b"\x10\x0c\x00\x04MQTT", b"\r\n\r\n"):
            for port in (where.ws_port, where.wss_port):
                stream = await trio.open_tcp_stream(where.host, port)
                await stream.send_all(asked)
                await stream.send_eof()
                with contextlib.suppress(trio.BrokenResourceError):
                    while await stream.receive_some():
                        pass
                await stream.aclose()
        await read(simulated, where, attrs.evolve(where.options, transport="ws"))


async def test_registering_tells_the_ports() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        answer = await register_v2(
            where.host, "me", simulated.passphrase, port=where.https_port, tls=tls_context(where.ca_pem)
        )
        assert (answer.mqtts_port, answer.ws_port, answer.wss_port) == (
            where.mqtts_port,
            where.ws_port,
            where.wss_port,
        )


async def test_another_certificate_is_one_for_websockets_too() -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        options = attrs.evolve(where.options, transport="wss")
        trusted = where.ca_pem
        where.replace_certificate(new_ca=True)
        await read(simulated, where, options)
        with pytest.raises(SpanPanelConnectionError):
            await fetch_snapshot(
                where.host, credentials=attrs.evolve(simulated.credentials, ca_pem=trusted), options=options
            )


async def test_a_port_can_be_chosen() -> None:
    with held_port() as port:
        async with open_simulated_panel("8") as simulated, listening(simulated, ws_port=port) as where:
            assert (where.ws_port, where.rest.ws_port, where.options.ws_port) == (port, port, port)
            await read(simulated, where, attrs.evolve(where.options, transport="ws"))
