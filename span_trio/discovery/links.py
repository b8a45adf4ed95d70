"""Multicast DNS on the network interfaces: UDP sockets of trio's, two for each interface and family.

One, bound to the group, hears what everybody hears, beside other mDNS programs (avahi, say) on the same port. The
other, bound to the interface's own address, speaks, and gets what is answered to us alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from typing import Any, Final, Protocol, TypeAlias

import attrs
import ifaddr
import trio

from ..errors import SpanPanelConnectionError, SpanPanelValidationError
from ..wiretext import get_logger
from .messages import MAX_PACKET

__all__ = ["MDNS_PORT", "Heard", "Hearer", "Network", "Peer", "open_network", "own_addresses"]

_log = get_logger("span_trio.discovery")

MDNS_PORT: Final = 5353
_GROUPS: Final = {socket.AF_INET: "224.0.0.251", socket.AF_INET6: "ff02::fb"}
# The options' level, and what they are called: join a group; speak on an interface; so many hops; hear what is said to
# groups of other sockets (Linux, Python has no name for it).
_OPTIONS: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.IP_MULTICAST_IF, socket.IP_MULTICAST_TTL, 49),
    socket.AF_INET6: (
        socket.IPPROTO_IPV6,
        socket.IPV6_JOIN_GROUP,
        socket.IPV6_MULTICAST_IF,
        socket.IPV6_MULTICAST_HOPS,
        29,
    ),
}
_HOPS: Final = 255  # what RFC 6762, section 11, wants
_PAUSE: Final = 1.0  # s after an error of a socket, which may be one that stays


@attrs.frozen
class Peer:
    """Who has sent something, or shall get it: on which link, an address and a port."""

    link: int
    address: str
    port: int


@attrs.frozen
class Heard:
    """A packet: who sent it, and the index and the name of the interface on which it came."""

    packet: bytes
    sender: Peer
    interface: int
    scope: str


Hearer: TypeAlias = Callable[[Heard], None]


class Network(Protocol):
    """Where multicast DNS is spoken. ``open_network`` opens the real one."""

    async def listen(self, hear: Hearer) -> None:
        """Call ``hear`` with each packet, for ever."""
        ...

    async def send(self, packet: bytes, to: Peer | None = None) -> None:
        """Send to all, on every link, or to one. What cannot be sent is lost, as the network might lose it."""
        ...


@attrs.frozen
class _Place:
    """An address of ours on an interface."""

    family: socket.AddressFamily
    name: str
    index: int
    address: str
    neighbourhood: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def numeric(self, address: str, port: int) -> Any:
        """The address as a socket wants it, with nothing left to look up."""
        if self.family == socket.AF_INET:
            return address, port
        plain = address.partition("%")[0]
        return plain, port, 0, self.index if plain.startswith(("fe80:", "ff02:")) else 0


@attrs.frozen
class _Link:
    place: _Place
    group: Any
    ear: trio.socket.SocketType
    mouth: trio.socket.SocketType


@contextlib.asynccontextmanager
async def open_network(
    interfaces: Collection[str] | None = None, *, port: int = MDNS_PORT
) -> AsyncGenerator[Network, None]:
    """The network interfaces of this machine, as they are now. The arguments are those of ``discovering_panels``.

    Raises:
        SpanPanelConnectionError: none of them can be used.
        SpanPanelValidationError: there is none of that name or address.
    """
    await trio.lowlevel.checkpoint()
    with contextlib.ExitStack() as opened:
        links: list[_Link] = []
        failure: OSError | None = None
        for place in _places(interfaces):
            try:
                links.append(_open_link(place, port, opened))
            except OSError as error:  # no multicast there, or an address that has just gone
                _log.debug("no mDNS at %s (%s): %s", place.address, place.name, error)
                failure = error
        if not links:
            why = "there is none" if failure is None else str(failure)
            raise SpanPanelConnectionError(f"no network interface for mDNS: {why}", answered=False) from failure
        yield _Sockets(links)


class _Sockets:
    """The links that were opened."""

    def __init__(self, links: list[_Link]) -> None:
        self._links = links

    async def listen(self, hear: Hearer) -> None:
        async with trio.open_nursery() as nursery:
            for number, link in enumerate(self._links):
                for source in (link.ear, link.mouth):
                    nursery.start_soon(_pump, source, link.place, number, hear)

    async def send(self, packet: bytes, to: Peer | None = None) -> None:
        for number, link in enumerate(self._links):
            if to is None or to.link == number:
                where = link.group if to is None else link.place.numeric(to.address, to.port)
                try:
                    await link.mouth.sendto(packet, where)
                except OSError as error:  # an interface that is down just now
                    _log.debug("nothing sent at %s: %s", link.place.name, error)


async def _pump(source: trio.socket.SocketType, place: _Place, number: int, hear: Hearer) -> None:
    scope = str(place.index) if sys.platform == "win32" else place.name
    while True:
        try:
            while True:
                packet, (address, port, *_) = await source.recvfrom(MAX_PACKET)
                plain = ipaddress.ip_address(address.partition("%")[0])
                if any(plain in network for network in place.neighbourhood):  # others are far (RFC 6762, section 11)
                    address = f"{plain}%{scope}" if plain.version == 6 and plain.is_link_local else str(plain)
                    hear(Heard(packet, Peer(number, address, port), place.index, scope))
        except OSError as error:
            _log.debug("nothing heard at %s: %s", place.name, error)
        await trio.sleep(_PAUSE)


def _places(interfaces: Collection[str] | None) -> Iterator[_Place]:
    """An address of each family on each of the interfaces that are wanted."""
    adapters = list(ifaddr.get_adapters())
    names = [{adapter.name, adapter.nice_name, *_addresses(adapter)} for adapter in adapters]
    wanted = set(interfaces or ())
    if unknown := wanted.difference(*names):
        there = ", ".join(adapter.nice_name for adapter in adapters) or "none"
        raise SpanPanelValidationError(f"no network interface {', '.join(sorted(unknown))}: there is {there}")
    for adapter, called in zip(adapters, names, strict=True):
        ours = [ipaddress.ip_address(address) for address in _addresses(adapter)]
        is_meant = called & wanted if interfaces is not None else not any(address.is_loopback for address in ours)
        if not is_meant or adapter.index is None:
            continue
        prefixes = [ip.network_prefix for ip in adapter.ips]
        networks = tuple(ipaddress.ip_network(pair, strict=False) for pair in zip(ours, prefixes, strict=True))
        for family in _GROUPS:
            usable = [str(address) for address in ours if (address.version == 4) == (family == socket.AF_INET)]
            usable.sort(
                key=lambda address: (address not in wanted, not address.startswith("fe80:"))
            )  # as mDNS wants it
            if usable:
                yield _Place(family, adapter.nice_name, adapter.index, usable[0], networks)


def own_addresses() -> tuple[str, ...]:
    """Those of this machine, without the loopback's."""
    found = [address for adapter in ifaddr.get_adapters() for address in _addresses(adapter)]
    return tuple(address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback)


def _addresses(adapter: ifaddr.Adapter) -> list[str]:
    return [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]


def _open_link(place: _Place, port: int, opened: contextlib.ExitStack) -> _Link:
    level, join, interface, hops, all_groups = _OPTIONS[place.family]
    group = _GROUPS[place.family]
    here = socket.inet_aton(place.address) if place.family == socket.AF_INET else struct.pack("@I", place.index)
    with contextlib.ExitStack() as halfway:
        # Windows binds no socket to a group.
        ear = _open_socket(place, "" if sys.platform == "win32" else group, port, halfway)
        ear.setsockopt(level, join, socket.inet_pton(place.family, group) + here)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # an old kernel hears more than it should
                ear.setsockopt(level, all_groups, 0)
        mouth = _open_socket(place, place.address, port, halfway)
        mouth.setsockopt(level, hops, _HOPS)
        mouth.setsockopt(level, interface, here)
        where = place.numeric(group, port)
        with socket.socket(place.family, socket.SOCK_DGRAM) as probe:  # which sends nothing
            probe.setsockopt(level, interface, here)
            probe.connect(where)  # IPv6 may have no route for multicast, on the loopback interface for one
        link = _Link(place, where, *map(trio.socket.from_stdlib_socket, (ear, mouth)))
        opened.push(halfway.pop_all())
        return link


def _open_socket(place: _Place, address: str, port: int, opened: contextlib.ExitStack) -> socket.socket:
    made = opened.enter_context(socket.socket(place.family, socket.SOCK_DGRAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform != "linux" and hasattr(socket, "SO_REUSEPORT"):  # Linux would give each packet to one socket only
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(place.numeric(address, port))
    return made
