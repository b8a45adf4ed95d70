"""A simulated panel on real ports: MQTT plain, over TLS and over WebSocket, HTTP and HTTPS, with a CA of its own."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
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
from .rest.api import RestState, rest_app

__all__ = ["Listening", "listening"]

_BACKLOG: Final = 64
_MAX_MESSAGE: Final = 4 * 2**20
_UPGRADE_WITHIN: Final = 10.0  # s
_HOSTED: Final = ("10.42.0.1", "10.42.1.1")  # the networks of the panel itself, in certificates from r202639 on
_HOSTED_FROM: Final = 202639
_EVERYWHERE: Final = {"0.0.0.0", "::"}  # noqa: S104 - what they mean


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
    _names: Callable[[], Sequence[str]] = attrs.field(repr=False)

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
        """New connections get another certificate (facts, REST section 6).

        Args:
            name: its only name; ``None``: all that the panel goes by, the FQDN that clients have set included.
            new_ca: by another CA.
        """
        fqdn = [self.rest.fqdn.rstrip(".")] if self.rest.fqdn else []
        self._certificates.issue(*([*self._names(), *fqdn] if name is None else [name]), new_ca=new_ca)
        self.rest.ca_pem = self.ca_pem


class _Certificates:
    """A CA, and the TLS context of the certificate that it has issued last."""

    def __init__(self, *names: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(*names, new_ca=True)

    def issue(self, *names: str, new_ca: bool = False) -> None:
        if new_ca:
            self._ca = trustme.CA()
        leaf = self._ca.issue_cert(*names)
        cast("Any", leaf).configure_cert(self.context)  # which holds for the connections to come

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
    announce: bool = False,
) -> AsyncGenerator[Listening, None]:
    """Give a simulated panel ports, as long as the block lasts. Port 0 is any that is free.

    With ``announce`` it tells them by mDNS, as `~span_trio.simulator.mdns.announcing` does.

    Raises:
        OSError: a port is taken.
        SpanPanelConnectionError: it is to be announced, and no network interface can be used.
    """
    names = partial(_names, panel, host)
    certificates = _Certificates(*names())
    with contextlib.ExitStack() as opened:
        bound: list[trio.SocketListener] = []
        for port in (mqtt_port, mqtts_port, http_port, https_port, ws_port, wss_port):
            (listener, *_) = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
            opened.callback(listener.socket.close)
            bound.append(listener)
        ports = [listener.socket.getsockname()[1] for listener in bound]
        mqtt, mqtts, http, https, ws, wss = ports
        rest = RestState(certificates.ca_pem, mqtts, ws, wss)
        where = Listening(host, mqtt, mqtts, http, https, ws, wss, rest, certificates, names)
        config = _WebConfig(bound[2], bound[3], certificates.context)

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

        async def follow_fqdn() -> None:
            await trio.sleep(rest.certificate_after)
            where.replace_certificate()
            panel.broker.drop()  # which is restarted, to read it

        async with open_background() as nursery:
            rest.on_fqdn = partial(nursery.start_soon, follow_fqdn)
            await nursery.start(trio.serve_listeners, panel.broker.serve, bound[:1])
            await nursery.start(trio.serve_listeners, serve_mqtts, bound[1:2])
            await nursery.start(trio.serve_listeners, serve_ws, bound[4:5])
            await nursery.start(trio.serve_listeners, serve_wss, bound[5:6])
            serve_web = cast("Any", hypercorn.trio).serve
            await nursery.start(partial(serve_web, rest_app(panel, rest), config))
            async with contextlib.AsyncExitStack() as announced:
                if announce:
                    from .mdns import announcing  # noqa: PLC0415 - zeroconf is large, and few want it

                    await announced.enter_async_context(announcing(panel, where))
                yield where


def _names(panel: SimulatedPanel, host: str) -> tuple[str, ...]:
    addresses: tuple[str, ...] = (host,)
    if host in _EVERYWHERE:
        from ..discovery.links import own_addresses  # noqa: PLC0415 - who listens at one address needs no ifaddr

        addresses = own_addresses() or addresses
    own = (*addresses, f"span-{panel.serial_number}.local")
    return (*own, *_HOSTED) if panel.publisher.release.build >= _HOSTED_FROM else own


class _WebConfig(Config):
    """How hypercorn serves, with the TLS context of the broker: hypercorn's own would keep its certificate for ever."""

    def __init__(self, http: trio.SocketListener, https: trio.SocketListener, context: ssl.SSLContext) -> None:
        super().__init__()
        self.bind = [f"fd://{os.dup(https.socket.fileno())}"]  # which hypercorn closes
        self.insecure_bind = [f"fd://{os.dup(http.socket.fileno())}"]
        self.accesslog = self.errorlog = None
        self.graceful_timeout = 0.2
        self._context = context

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context
