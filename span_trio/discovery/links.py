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
_HOPS: Final = 255  # what RFC 6762, section 11, wants
# Linux: hear only those groups that this socket has joined itself. Python has no names for these.
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_PAUSE: Final = 1.0  # s after an error of a socket, which may be one that stays


@attrs.frozen
class Peer:
    """Who has sent something, or shall get it: on which link, an address and a port."""

    link: int
    address: str
    port: int


@attrs.frozen
class Heard:
    """A packet.

    Attributes:
        packet: its bytes.
        sender: who sent it.
        interface: the index of the network interface.
        scope: its name, as it stands in a link-local address.
    """

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

    name: str
    index: int
    family: socket.AddressFamily
    address: str
    neighbourhood: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


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
    """The network interfaces of this machine, as they are now.

    Args:
        interfaces: names or addresses of those to be used; ``None`` for all but the loopback.
        port: another one than that of mDNS is for tests.

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
                where = link.group if to is None else _numeric(link.place, to.address, to.port)
                try:
                    await link.mouth.sendto(packet, where)
                except OSError as error:  # an interface that is down just now
                    _log.debug("nothing sent at %s: %s", link.place.name, error)


async def _receive(source: trio.socket.SocketType, place: _Place) -> tuple[bytes, Any] | None:
    """A packet, and from where; ``None``: not now."""
    try:
        return await source.recvfrom(MAX_PACKET)
    except OSError as error:
        _log.debug("nothing heard at %s: %s", place.name, error)
        return None


async def _pump(source: trio.socket.SocketType, place: _Place, number: int, hear: Hearer) -> None:
    scope = str(place.index) if sys.platform == "win32" else place.name
    while True:
        heard = await _receive(source, place)
        if heard is None:
            await trio.sleep(_PAUSE)
            continue
        packet, (address, port, *_) = heard
        plain = ipaddress.ip_address(address.partition("%")[0])
        if not any(plain in network for network in place.neighbourhood):
            continue  # only those on the link are neighbours (RFC 6762, section 11)
        address = f"{plain}%{scope}" if plain.version == 6 and plain.is_link_local else str(plain)
        hear(Heard(packet, Peer(number, address, port), place.index, scope))


def _places(interfaces: Collection[str] | None) -> Iterator[_Place]:
    """An address of each family on each of the interfaces that are wanted."""
    known: list[str] = []
    wanted: set[str] = set()
    for adapter in ifaddr.get_adapters():
        addresses = _addresses(adapter)
        networks = tuple(
            ipaddress.ip_network((address, ip.network_prefix), strict=False)
            for address, ip in zip(addresses, adapter.ips, strict=True)
        )
        names = {adapter.name, adapter.nice_name, *addresses}
        places: list[_Place] = []
        known.append(adapter.nice_name)
        for family in _GROUPS:
            version = 4 if family == socket.AF_INET else 6
            ours = [address for address in addresses if ipaddress.ip_address(address).version == version]
            ours.sort(key=lambda address: (address not in (interfaces or ()), not _is_local(address)))
            if ours and adapter.index is not None:
                places.append(_Place(adapter.nice_name, adapter.index, family, ours[0], networks))
        if interfaces is None:
            if not any(ipaddress.ip_address(address).is_loopback for address in addresses):
                yield from places
        elif names & set(interfaces):
            wanted |= names & set(interfaces)
            yield from places
    if interfaces is not None and (unknown := set(interfaces) - wanted):
        there = ", ".join(known) or "none"
        raise SpanPanelValidationError(f"no network interface {', '.join(sorted(unknown))}: there is {there}")


def own_addresses() -> tuple[str, ...]:
    """Those of this machine, without the loopback's."""
    found = [address for adapter in ifaddr.get_adapters() for address in _addresses(adapter)]
    return tuple(address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback)


def _addresses(adapter: ifaddr.Adapter) -> list[str]:
    return [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]


def _is_local(address: str) -> bool:
    """Of link-local IPv6: what mDNS is to be spoken from."""
    return ":" in address and ipaddress.ip_address(address).is_link_local


def _open_link(place: _Place, port: int, opened: contextlib.ExitStack) -> _Link:
    group = _GROUPS[place.family]
    with contextlib.ExitStack() as halfway:
        # Windows binds no socket to a group.
        ear = _open_socket(place, "" if sys.platform == "win32" else group, port, halfway)
        _join(ear, place)
        mouth = _open_socket(place, place.address, port, halfway)
        _point(mouth, place)
        where = _numeric(place, group, port)
        with socket.socket(place.family, socket.SOCK_DGRAM) as probe:  # which sends nothing
            _point(probe, place)
            probe.connect(where)  # IPv6 may have no route for multicast, on the loopback interface for one
        link = _Link(place, where, *map(trio.socket.from_stdlib_socket, (ear, mouth)))
        opened.push(halfway.pop_all())
        return link


def _join(ear: socket.socket, place: _Place) -> None:
    """Hear what is said to the group on this interface, and on no other."""
    group = socket.inet_pton(place.family, _GROUPS[place.family])
    if place.family == socket.AF_INET:
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton(place.address))
    else:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", place.index))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # an old kernel hears more than it should
            if place.family == socket.AF_INET:
                ear.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            else:
                ear.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def _point(mouth: socket.socket, place: _Place) -> None:
    """Speak to the group on this interface."""
    if place.family == socket.AF_INET:
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(place.address))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
    else:
        mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, place.index)
        mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)


def _open_socket(place: _Place, address: str, port: int, opened: contextlib.ExitStack) -> socket.socket:
    made = opened.enter_context(socket.socket(place.family, socket.SOCK_DGRAM))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform != "linux" and hasattr(socket, "SO_REUSEPORT"):  # Linux would give each packet to one socket only
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if place.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(_numeric(place, address, port))
    return made


def _numeric(place: _Place, address: str, port: int) -> Any:
    """The address as a socket wants it, with nothing left to look up."""
    if place.family == socket.AF_INET:
        return address, port
    plain = address.partition("%")[0]
    local = plain and (ipaddress.ip_address(plain).is_link_local or ipaddress.ip_address(plain).is_multicast)
    return plain, port, 0, place.index if local else 0
