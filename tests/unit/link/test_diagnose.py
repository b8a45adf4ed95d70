"""What is wrong with a certificate that was refused: asked of the panel over HTTP, and of a second handshake."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio

from span_trio import SpanPanelAPIError, SpanPanelCertificateError, SpanPanelConnectionError, SpanPanelServerError
from span_trio.credentials import fingerprint
from span_trio.link import dial
from span_trio.link.trust import diagnose
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import Certificates, certificates, expired, other_ca, renamed, replaced
from tests.unit.link.keeping import TlsHouse

pytestmark = pytest.mark.virtual_time

REFUSED = SpanPanelCertificateError("TLS with panel.test:8883 failed: certificate verify failed")
CA = certificates().ca_pem


async def diagnosed(
    served: Certificates,
    advertised: str | Exception | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    ca_pem: str | None = CA,
    dialer: Callable[..., Awaitable[trio.abc.Stream]] = dial,
) -> SpanPanelCertificateError:
    """What `diagnose` says of a panel with this certificate, which hands out this CA."""

    async def fetch_ca() -> str:
        await trio.lowlevel.checkpoint()
        if isinstance(advertised, Exception):
            raise advertised
        return advertised or ""

    broker = Broker()
    async with trio.open_nursery() as nursery:
        house = TlsHouse(broker, nursery)
        house.certificates = served
        monkeypatch.setattr(trio, "open_tcp_stream", house.open_tcp_stream)
        fetch = None if advertised is None else fetch_ca
        found = await diagnose(REFUSED, "panel.test", 8883, ca_pem, dialer=dialer, fetch_ca=fetch)
        await trio.testing.wait_all_tasks_blocked()
        assert house.streams == set()  # nothing is left of the second look
        assert [connection.received for connection in broker.connections] == [[]] * len(broker.connections)
        nursery.cancel_scope.cancel()
    return found


async def test_another_ca_is_told_with_both_fingerprints_and_nothing_more_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dialer(*_: object) -> trio.abc.Stream:
        raise AssertionError

    found = await diagnosed(replaced(), replaced().ca_pem, monkeypatch, dialer=dialer)
    assert found.trusted_sha256 == fingerprint(CA)
    assert found.advertised_sha256 == fingerprint(replaced().ca_pem)
    assert found.trusted_sha256 in str(found)
    assert found.advertised_sha256 in str(found)


UNKNOWN = [
    None,
    SpanPanelConnectionError("no connection"),
    SpanPanelServerError("502"),
    SpanPanelAPIError("404"),
    "no PEM",
]


@pytest.mark.parametrize("advertised", [CA, *UNKNOWN], ids=["the same CA", *map(repr, UNKNOWN)])
async def test_a_certificate_for_other_names_is_told_with_them_whether_or_not_the_ca_is_known(
    advertised: str | Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look trusts nobody but the trusted CA, so it needs no help of the first."""
    found = await diagnosed(renamed(), advertised, monkeypatch)
    assert str(found) == "the certificate of panel.test is for span-nt-1.local, 10.42.0.1"
    assert (found.trusted_sha256, found.advertised_sha256) == (None, None)


@pytest.mark.parametrize("advertised", [CA, *UNKNOWN], ids=["the same CA", *map(repr, UNKNOWN)])
@pytest.mark.parametrize("served", [expired(), replaced()], ids=["expired", "of another CA"])
async def test_where_a_second_look_does_not_help_the_refusal_stands(
    served: Certificates, advertised: str | Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await diagnosed(served, advertised, monkeypatch) is REFUSED


async def test_whom_this_system_trusts_is_no_matter_of_a_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await diagnosed(renamed(), other_ca(), monkeypatch, ca_pem=None) is REFUSED


async def hangs(*_: object) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


async def refuses(*_: object) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise SpanPanelConnectionError("refused")


async def breaks(*_: object) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise OSError("of a tunnel of one's own")


async def breaks_off(*_: object) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise trio.BrokenResourceError


async def tunnels(_host: str, _port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Whose TLS is its own, so that nobody knows what it has seen."""
    await trio.lowlevel.checkpoint()
    assert tls is not None
    return Broker().connect().stream


@pytest.mark.parametrize("dialer", [hangs, refuses, breaks, breaks_off, tunnels])
async def test_a_second_look_that_comes_to_nothing_costs_five_seconds_at_most(
    dialer: Callable[..., Awaitable[trio.abc.Stream]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await diagnosed(renamed(), CA, monkeypatch, dialer=dialer) is REFUSED
    assert trio.current_time() == (5.0 if dialer is hangs else 0.0)
