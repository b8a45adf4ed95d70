"""Which interfaces are used, and packets over the loopback interface."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from span_trio import SpanPanelConnectionError, SpanPanelValidationError
from span_trio.discovery import links
from span_trio.discovery.links import Heard, Peer, open_network, own_addresses
from tests.ports import held_port


def adapter(name: str, index: int, *addresses: str) -> Any:
    ips = [
        SimpleNamespace(ip=(ip, 0, 0) if ":" in ip else ip, network_prefix=64 if ":" in ip else 24) for ip in addresses
    ]
    return SimpleNamespace(name=name, nice_name=name, index=index, ips=ips)


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        adapter("lo", 1, "127.0.0.1", "::1"),
        adapter("eth0", 2, "192.168.1.2", "192.168.1.3", "fd00::2", "fe80::2"),
        adapter("wlan0", 3, "192.168.2.2"),
        adapter("tun0", 4),
    ]
    monkeypatch.setattr(links.ifaddr, "get_adapters", lambda: found)


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize(
    ("interfaces", "addresses"),
    [
        (None, ["192.168.1.2", "fe80::2", "192.168.2.2"]),
        (["eth0"], ["192.168.1.2", "fe80::2"]),
        (["192.168.1.3", "wlan0"], ["192.168.1.3", "fe80::2", "192.168.2.2"]),
        (["lo"], ["127.0.0.1", "::1"]),
        (["tun0"], []),
    ],
)
def test_every_interface_is_used_once_for_each_family_and_the_loopback_on_request(
    interfaces: Sequence[str] | None, addresses: list[str]
) -> None:
    assert [place.address for place in links._places(interfaces)] == addresses


@pytest.mark.usefixtures("adapters")
async def test_an_interface_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SpanPanelValidationError, match="no network interface eth7: there is lo, eth0, wlan0, tun0"):
        async with open_network(["eth0", "eth7"]):
            pass


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize("interfaces", [["tun0"], ["wlan0"]])
async def test_no_interface_that_can_be_used_is_one_error(interfaces: list[str]) -> None:
    with pytest.raises(SpanPanelConnectionError, match="no network interface for mDNS"):
        async with open_network(interfaces, port=9):
            pass


@pytest.mark.usefixtures("adapters")
def test_the_addresses_of_this_machine_are_those_of_all_interfaces() -> None:
    assert own_addresses() == ("192.168.1.2", "192.168.1.3", "fd00::2", "fe80::2", "192.168.2.2")


async def test_what_is_said_to_all_is_heard_by_all_and_what_is_said_to_one_by_one(nursery: trio.Nursery) -> None:
    with held_port(kind=socket.SOCK_DGRAM) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        hear, heard = trio.open_memory_channel[Heard](9)
        async with open_network(["127.0.0.1"], port=port) as network:
            nursery.start_soon(network.listen, hear.send_nowait)
            with trio.fail_after(5):
                await network.send(b"to all")
                packet = await heard.receive()
                assert (packet.packet, packet.sender.address, packet.sender.port) == (b"to all", "127.0.0.1", port)
                await network.send(b"to one", Peer(packet.sender.link, *one.getsockname()))
                await trio.lowlevel.wait_readable(one)
                assert one.recv(99) == b"to one"
                await network.send(b"nowhere", Peer(packet.sender.link, "127.0.0.1", 0))  # which the system refuses
                await network.send(b"to all again")
                assert (await heard.receive()).packet == b"to all again"
            nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no other way to share a port")
async def test_linux_does_not_share_out_what_is_said_to_all() -> None:
    with held_port(kind=socket.SOCK_DGRAM) as port:
        async with open_network(["127.0.0.1"], port=port) as network:
            assert isinstance(network, links._Sockets)
            sockets = [opened for link in network._links for opened in (link.ear, link.mouth)]
            assert {opened.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for opened in sockets} == {0}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
async def test_who_is_not_on_the_link_is_not_heard(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    (loopback,) = [place for place in links._places(["127.0.0.1"]) if place.address == "127.0.0.1"]
    alone = adapter("lo", loopback.index, "127.0.0.1")
    alone.ips[0].network_prefix = 32
    monkeypatch.setattr(links.ifaddr, "get_adapters", lambda: [alone])
    with (
        held_port("", socket.SOCK_DGRAM) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.2", port))
        stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        hear, heard = trio.open_memory_channel[Heard](9)
        async with open_network(["127.0.0.1"], port=port) as network:
            nursery.start_soon(network.listen, hear.send_nowait)
            for to in ("224.0.0.251", "127.0.0.1"):
                stranger.sendto(b"from afar", (to, port))
            with trio.fail_after(5):
                await network.send(b"from here")
                assert (await heard.receive()).packet == b"from here"
            nursery.cancel_scope.cancel()
