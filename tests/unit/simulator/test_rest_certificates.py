"""The certificates of a simulated panel, on real ports: one for HTTPS and MQTTS, which follows FQDN and CA."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator

import httpx
import pytest
import trio

from span_trio.link import tls_context
from span_trio.simulator import Listening, SimulatedPanel, listening, open_simulated_panel

pytestmark = pytest.mark.parametrize("kind", ["https", "mqtts", "wss"])


async def names(where: Listening, kind: str, ca_pem: str | None = None) -> set[str]:
    """Of the certificate that new connections get."""
    port = {"https": where.https_port, "mqtts": where.mqtts_port, "wss": where.wss_port}[kind]
    context = tls_context(ca_pem or where.ca_pem)
    context.check_hostname = False
    tcp = await trio.open_tcp_stream(where.host, port)
    stream = trio.SSLStream(tcp, context, https_compatible=True)
    try:
        await stream.do_handshake()
        return {value for _, value in stream.getpeercert()["subjectAltName"]}
    finally:
        await trio.aclose_forcefully(stream)


async def set_fqdn(where: Listening, token: str, fqdn: str | None) -> None:
    base = f"https://{where.host}:{where.https_port}/api/v2"
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=base, verify=tls_context(where.ca_pem), trust_env=False) as client:
        if fqdn is None:
            answer = await client.delete("/dns/fqdn", headers=headers)
        else:
            answer = await client.post("/dns/fqdn", headers=headers, json={"ebusTlsFqdn": fqdn})
    assert answer.json() == {"ebusTlsFqdn": fqdn}


@contextlib.asynccontextmanager
async def broker_restarts(where: Listening) -> AsyncGenerator[None, None]:
    """Ends when it has."""
    stream = await trio.open_tcp_stream(where.host, where.mqtt_port)
    yield
    with trio.fail_after(5):
        assert not await stream.receive_some(1)
    await stream.aclose()


def own(panel: SimulatedPanel, where: Listening) -> set[str]:
    return {where.host, f"span-{panel.serial_number}.local"}


async def test_the_certificate_follows_the_fqdn_by_the_same_ca_and_the_broker_restarts(kind: str) -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where:
        trusted, token = where.ca_pem, where.rest.add_client("me", full=True).token
        where.rest.certificate_after = 0.05
        assert await names(where, kind) == own(panel, where)
        async with broker_restarts(where):
            await set_fqdn(where, token, "panel.home.")
        assert await names(where, kind) == {*own(panel, where), "panel.home"}
        assert where.ca_pem == where.rest.ca_pem == trusted
        async with broker_restarts(where):
            await set_fqdn(where, token, None)
        assert await names(where, kind) == own(panel, where)


async def test_from_r202639_on_the_panel_s_own_networks_are_in_it(kind: str) -> None:
    async with open_simulated_panel("8", build=202639) as panel, listening(panel) as where:
        assert await names(where, kind) == {*own(panel, where), "10.42.0.1", "10.42.1.1"}


async def test_another_ca_or_name_is_one_for_all(kind: str) -> None:
    async with open_simulated_panel("8") as panel, listening(panel) as where:
        trusted = where.ca_pem
        where.replace_certificate(name="elsewhere")
        assert await names(where, kind, trusted) == {"elsewhere"}
        where.replace_certificate(new_ca=True)
        assert await names(where, kind) == own(panel, where)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await names(where, kind, trusted)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_who_listens_everywhere_has_all_addresses_in_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("span_trio.discovery.links.own_addresses", lambda: ("192.0.2.7", "198.51.100.7"))
    async with open_simulated_panel("8") as panel, listening(panel, host="0.0.0.0") as where:  # noqa: S104 - meant
        found = await names(where, kind)
        assert found == {"192.0.2.7", "198.51.100.7", f"span-{panel.serial_number}.local"}
