"""A simulated panel on real ports: MQTT plain, over TLS and over WebSocket, HTTP and HTTPS, with a CA of its own."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import attrs
import hypercorn.trio
import trio
import trustme
from hypercorn.config import Config

from ..background import open_background
from ..errors import SpanPanelConnectionError
from ..link.websocket import accept_websocket
from ..options import PanelOptions
from .panel import SimulatedPanel
from .rest import RestState, rest_app

__all__ = ["Listening", "listening"]

_BACKLOG: Final = 64
_MAX_MESSAGE: Final = 4 * 2**20
_UPGRADE_WITHIN: Final = 10.0  # s


@attrs.define
class Listening:
    """Where a simulated panel listens.

    Attributes:
        host: the address.
        mqtt_port: plain MQTT, which no real panel offers.
        mqtts_port: MQTT over TLS.
        http_port: the REST API.
        https_port: the REST API over TLS.
        ws_port: MQTT over WebSocket.
        wss_port: MQTT over WebSocket over TLS.
        rest: what the REST API says, and what is wrong with it.
    """

    host: str
    mqtt_port: int
    mqtts_port: int
    http_port: int
    https_port: int
    ws_port: int
    wss_port: int
    rest: RestState
    _certificates: _Certificates = attrs.field(repr=False)

    @property
    def ca_pem(self) -> str:
        """The CA that signed the certificate of now."""
        return self._certificates.ca_pem

    @property
    def options(self) -> PanelOptions:
        """Options with these ports."""
        return PanelOptions(
            mqtt_port=self.mqtt_port,
            mqtts_port=self.mqtts_port,
            http_port=self.http_port,
            https_port=self.https_port,
            ws_port=self.ws_port,
            wss_port=self.wss_port,
        )

    def replace_certificate(self, *, name: str | None = None, new_ca: bool = False) -> None:
        """New MQTTS and WSS connections get another certificate: of another name, or by another CA.

        (facts, REST section 6)
        """
        self._certificates.issue(name or self.host, new_ca=new_ca)
        self.rest.ca_pem = self.ca_pem


class _Certificates:
    """A CA, and the TLS context of the certificate that it has issued last."""

    def __init__(self, name: str) -> None:
        self._ca = trustme.CA()
        self.issue(name)

    def issue(self, name: str, *, new_ca: bool = False) -> None:
        if new_ca:
            self._ca = trustme.CA()
        self.leaf = self._ca.issue_cert(name)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cast("Any", self.leaf).configure_cert(self.context)

    @property
    def ca_pem(self) -> str:
        return self._ca.cert_pem.bytes().decode()


@contextlib.asynccontextmanager
async def listening(
    panel: SimulatedPanel,
    *,
    host: str = "127.0.0.1",
    mqtt_port: int = 0,
    mqtts_port: int = 0,
    http_port: int = 0,
    https_port: int = 0,
    ws_port: int = 0,
    wss_port: int = 0,
) -> AsyncGenerator[Listening, None]:
    """Give a simulated panel ports, as long as the block lasts. Port 0 is any that is free.

    Raises:
        OSError: a port is taken.
    """
    certificates = _Certificates(host)
    with contextlib.ExitStack() as opened:
        bound: list[trio.SocketListener] = []
        for port in (mqtt_port, mqtts_port, http_port, https_port, ws_port, wss_port):
            (listener, *_) = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
            opened.callback(listener.socket.close)
            bound.append(listener)
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        ports = [listener.socket.getsockname()[1] for listener in bound]
        rest = RestState(certificates.ca_pem, mqtts_port=ports[1], ws_port=ports[4], wss_port=ports[5])
        config = _web_config(bound[2], bound[3], certificates, Path(folder))

        def encrypted(stream: trio.SocketStream) -> trio.abc.Stream:
            return trio.SSLStream(stream, certificates.context, server_side=True, https_compatible=True)

        async def serve_mqtts(stream: trio.SocketStream) -> None:
            await panel.broker.serve(encrypted(stream))

        async def serve_ws(stream: trio.abc.Stream) -> None:
            if panel.broker.faults.hang_up:  # which is done before a byte was read
                await trio.aclose_forcefully(stream)
                return
            with contextlib.suppress(SpanPanelConnectionError):  # that was no client of a broker
                async with accept_websocket(stream, max_message=_MAX_MESSAGE, timeout=_UPGRADE_WITHIN) as websocket:
                    await panel.broker.serve(websocket)

        async def serve_wss(stream: trio.SocketStream) -> None:
            await serve_ws(encrypted(stream))

        async with open_background() as nursery:
            await nursery.start(trio.serve_listeners, panel.broker.serve, bound[:1])
            await nursery.start(trio.serve_listeners, serve_mqtts, bound[1:2])
            await nursery.start(trio.serve_listeners, serve_ws, bound[4:5])
            await nursery.start(trio.serve_listeners, serve_wss, bound[5:6])
            serve_web = cast("Any", hypercorn.trio).serve
            await nursery.start(partial(serve_web, rest_app(panel, rest), config))
            mqtt, mqtts, http, https, ws, wss = ports
            yield Listening(host, mqtt, mqtts, http, https, ws, wss, rest, certificates)


def _web_config(
    http: trio.SocketListener, https: trio.SocketListener, certificates: _Certificates, folder: Path
) -> Config:
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in certificates.leaf.cert_chain_pems))
    key.write_bytes(certificates.leaf.private_key_pem.bytes())
    config = Config()
    config.bind = [f"fd://{os.dup(https.socket.fileno())}"]  # which hypercorn closes
    config.insecure_bind = [f"fd://{os.dup(http.socket.fileno())}"]
    config.certfile, config.keyfile = str(chain), str(key)
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.2
    return config
