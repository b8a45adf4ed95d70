"""Faults of certificates and passwords: what was trusted or let in before is not any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
import trustme

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    open_span_panel,
    save_credentials,
)
from span_trio.credentials import fingerprint
from tests.faults.brokers import restart
from tests.faults.lab import HOST, WHO, Lab, Publisher, wait_until
from tests.faults.rows import row
from tests.faults.watch import Watch
from tests.integration.broker import ROOT, Broker

_LOST = {ConnectionReason.LINK_LOST}
_NEW = "another horse entirely"
_REFUSED = 17.0
"""Bound for being back where a password is refused: up to 8 s to the attempt after which it is asked for, and to the
next one."""

_MENDED = 3.0
"""Likewise where a certificate is: up to 2 s; twice that if the CA must be asked for."""


@attrs.define
class _Panel:
    """A panel with TLS and a REST API that hands out a CA."""

    broker: Broker
    publisher: Publisher
    http_port: int
    advertised: str
    """The CA that it hands out now."""

    @property
    def options(self) -> dict[str, Any]:
        return {"transport": "mqtts", "mqtts_port": self.broker.tls_port, "http_port": self.http_port}


async def _tls_panel(lab: Lab) -> _Panel:
    broker = await lab.broker()
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    port: int = listeners[0].socket.getsockname()[1]
    panel = _Panel(broker, await lab.publisher(broker), port, broker.ca_pem)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            pem = panel.advertised
            await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: {len(pem)}\r\n\r\n{pem}".encode())

    lab.nursery.start_soon(partial(trio.serve_listeners, answer, listeners))
    return panel


def _replaced(panel: _Panel, *names: str, ca: trustme.CA | None = None, **how: Any) -> Callable[[], Awaitable[float]]:
    """Another certificate, of a broker that restarts with it."""

    async def replace() -> float:
        panel.broker.certify(*names, ca=ca, **how)
        panel.advertised = panel.broker.ca_pem if ca is None else ca.cert_pem.bytes().decode()
        return await _restarted(panel.broker)

    return replace


async def _restarted(broker: Broker) -> float:
    broker.kill()
    return await restart(broker)()


async def _refused_for(lab: Lab, watch: Watch, reason: ConnectionReason, *words: str, seconds: float = 3.0) -> None:
    """It gets to be the obstacle, and says these words, and stays so."""
    panel = watch.panel
    await wait_until(lambda: panel.obstacle is not None and panel.obstacle.reason is reason)
    await trio.sleep(seconds)
    obstacle = panel.obstacle
    if obstacle is None or obstacle.reason is not reason or not all(word in obstacle.detail for word in words):
        lab.result.failures.append(f"the obstacle is {obstacle}, and should be {reason} with {words}")
    lab.result.reasons.append(f"then {reason}")


@row("certificate: leaf renamed, renamed back", online=_MENDED)
async def leaf_renamed(lab: Lab) -> None:
    panel = await _tls_panel(lab)
    watch = await lab.panel(
        panel.broker.port, credentials=attrs.evolve(WHO, ca_pem=panel.broker.ca_pem), **panel.options
    )
    await lab.outage(
        watch,
        _begun(_replaced(panel, "elsewhere.test")),
        _replaced(panel, HOST),
        reasons=_LOST,
        oldest=panel.publisher.round,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.CERTIFICATE, "elsewhere.test"),
    )
    lab.account(watch)


@row("certificate: leaf expired, renewed", online=_MENDED)
async def leaf_expired(lab: Lab) -> None:
    panel = await _tls_panel(lab)
    watch = await lab.panel(
        panel.broker.port, credentials=attrs.evolve(WHO, ca_pem=panel.broker.ca_pem), **panel.options
    )
    yesterday = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=1)
    await lab.outage(
        watch,
        _begun(_replaced(panel, HOST, not_after=yesterday)),
        _replaced(panel, HOST),
        reasons=_LOST,
        oldest=panel.publisher.round,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.CERTIFICATE, "expired"),
    )
    lab.account(watch)


@row("certificate: CA replaced, pinned, put back (wait)", online=_MENDED)
async def ca_put_back(lab: Lab) -> None:
    panel = await _tls_panel(lab)
    other = trustme.CA()
    prints = [fingerprint(panel.broker.ca_pem), fingerprint(other.cert_pem.bytes().decode())]
    watch = await lab.panel(
        panel.broker.port,
        credentials=attrs.evolve(WHO, ca_pem=panel.broker.ca_pem),
        on_ca_change="wait",
        **panel.options,
    )
    await lab.outage(
        watch,
        _begun(_replaced(panel, HOST, ca=other)),
        _replaced(panel, HOST),
        reasons=_LOST,
        oldest=panel.publisher.round,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.CA_CHANGED, *prints),
    )
    lab.account(watch)


@row("certificate: CA replaced, then pinned in the store", online=2 * _MENDED)
async def ca_pinned_anew(lab: Lab) -> None:
    panel = await _tls_panel(lab)
    store, other = lab.folder / "store.json", trustme.CA()
    await save_credentials(store, attrs.evolve(WHO, ca_pem=panel.broker.ca_pem))
    watch = await lab.panel(panel.broker.port, store=store, **panel.options)
    pinned = attrs.evolve(WHO, ca_pem=other.cert_pem.bytes().decode())
    await lab.outage(
        watch,
        _begun(_replaced(panel, HOST, ca=other)),
        partial(save_credentials, store, pinned),
        reasons=_LOST,
        oldest=lambda: panel.publisher.acknowledged,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.CA_CHANGED),
    )
    lab.account(watch)


@row("certificate: CA replaced, not pinned (raise)")
async def ca_replaced(lab: Lab) -> None:
    """Trusted on first use, and not again: three probes over a minute end the block, with both fingerprints."""
    panel = await _tls_panel(lab)
    other = trustme.CA()
    trusted, advertised = fingerprint(panel.broker.ca_pem), fingerprint(other.cert_pem.bytes().decode())
    began = trio.current_time()
    error = await _end_of(lab, WHO, panel.options, _replaced(panel, HOST, ca=other))
    _note_end(lab, error, SpanPanelCertificateError, trio.current_time() - began)
    if isinstance(error, SpanPanelCertificateError) and (error.trusted_sha256, error.advertised_sha256) != (
        trusted,
        advertised,
    ):
        lab.result.failures.append(f"not both fingerprints: {error}")


# --- passwords ---


async def _login_panel(lab: Lab) -> tuple[Broker, Publisher, Path]:
    broker = await lab.broker()
    store = lab.folder / "store.json"
    await save_credentials(store, attrs.evolve(WHO, broker_password=broker.PASSWORD))
    return broker, await lab.publisher(broker), store


def _rotated(broker: Broker, password: str) -> Callable[[], Awaitable[float]]:
    async def rotate() -> float:
        broker.set_password(ROOT, password)
        return await _restarted(broker)

    return rotate


def _begun(action: Callable[[], Awaitable[float]]) -> Callable[[], Awaitable[float]]:
    """As harm: what counts is when it began."""

    async def do() -> float:
        began = trio.current_time()
        await action()
        return began

    return do


@row("password rotated, store rewritten 3 s later", online=_REFUSED, quick=True)
async def password_stored(lab: Lab) -> None:
    broker, publisher, store = await _login_panel(lab)
    watch = await lab.panel(broker.login_port, store=store)
    await lab.outage(
        watch,
        _begun(_rotated(broker, _NEW)),
        partial(save_credentials, store, attrs.evolve(WHO, broker_password=_NEW)),
        reasons=_LOST,
        oldest=lambda: publisher.acknowledged,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.REFUSED),
    )
    lab.account(watch)


@row("password rotated, store not rewritten, rotated back", online=_REFUSED)
async def password_not_stored(lab: Lab) -> None:
    broker, publisher, store = await _login_panel(lab)
    watch = await lab.panel(broker.login_port, store=store)
    await lab.outage(
        watch,
        _begun(_rotated(broker, _NEW)),
        _rotated(broker, broker.PASSWORD),
        reasons=_LOST,
        oldest=publisher.round,
        meanwhile=partial(_refused_for, lab, watch, ConnectionReason.REFUSED, seconds=12),
    )
    lab.account(watch)


@row("password rotated for longer than auth_grace (4 s)")
async def password_for_good(lab: Lab) -> None:
    broker, _, _ = await _login_panel(lab)
    options = {"transport": "mqtt", "mqtt_port": broker.login_port, "auth_grace": 4}
    began = trio.current_time()
    credentials = attrs.evolve(WHO, broker_password=broker.PASSWORD)
    error = await _end_of(lab, credentials, options, _rotated(broker, _NEW))
    _note_end(lab, error, SpanPanelAuthError, trio.current_time() - began)


# --- faults that end a block ---


async def _end_of(
    lab: Lab, credentials: SpanCredentials, options: dict[str, Any], harm: Callable[[], Awaitable[object]]
) -> Exception | None:
    """What comes out of a panel for whom no retry helps."""
    try:
        async with open_span_panel(HOST, credentials=credentials, options=PanelOptions(**options)) as panel:
            edges, snapshots = panel.edges(), panel.snapshots()
            await anext(edges)
            await anext(snapshots)
            began = trio.current_time()
            await harm()
            edge = await anext(edges)
            lab.result.offline.append(edge.at.monotonic - began)
            lab.result.reasons.append(str(edge.reason))
            with trio.move_on_after(120):
                async for _ in snapshots:
                    lab.result.while_down += 1
    except (SpanPanelAuthError, SpanPanelCertificateError) as error:
        return error
    return None


def _note_end(lab: Lab, error: Exception | None, kind: type[Exception], seconds: float) -> None:
    lab.result.note = f"ends with {type(error).__name__} after {seconds:.0f} s"
    if type(error) is not kind:
        lab.result.failures.append(f"it should end with {kind.__name__}: {error!r}")
