"""A network in memory, which several programs share: each sees what the others say."""

from __future__ import annotations

import attrs
import trio

from span_trio.discovery.links import Heard, Hearer, Peer
from span_trio.discovery.messages import Kind, Message, Place, Question, Record, decode, encode

__all__ = ["Cable", "Plug", "Ports", "announcement", "panel_records"]


@attrs.frozen
class Ports:
    """Where a simulated panel would listen."""

    host: str = "192.168.1.100"
    http_port: int = 80
    https_port: int = 443
    mqtts_port: int = 8883
    ws_port: int = 9001
    wss_port: int = 9002


@attrs.define
class Plug:
    """A program on the cable, with an address."""

    cable: Cable
    address: str
    port: int = 5353
    interface: int = 2
    loses: int = 0
    """How many packets to all are lost on their way to here."""
    hearer: Hearer | None = None
    waiting: list[Heard] = attrs.field(factory=list[Heard])
    """What came before anybody listened, as a socket keeps it."""
    got: list[tuple[str, Message]] = attrs.field(factory=list[tuple[str, Message]])

    async def listen(self, hear: Hearer) -> None:
        self.hearer = hear
        for heard in self.waiting:
            hear(heard)
        await trio.sleep_forever()

    async def send(self, packet: bytes, to: Peer | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self.cable.sent.append((trio.current_time(), packet))
        for plug in self.cable.plugs:
            if plug is not self and (to is None or (to.address, to.port) == (plug.address, plug.port)):
                plug.take(packet, self, to_all=to is None)

    def take(self, packet: bytes, sender: Plug, *, to_all: bool) -> None:
        if to_all and self.loses:
            self.loses -= 1
            return
        message = decode(packet)
        assert message is not None
        self.got.append(("all" if to_all else "one", message))
        (self.hearer or self.waiting.append)(
            Heard(packet, Peer(0, sender.address, sender.port), self.interface, "eth0")
        )

    async def say(self, *records: Record) -> None:
        """Announce something."""
        for packet in encode(Message(query=False, answers=records)):
            await self.send(packet)


@attrs.define
class Cable:
    """What they are plugged into."""

    plugs: list[Plug] = attrs.field(factory=list[Plug])
    sent: list[tuple[float, bytes]] = attrs.field(factory=list[tuple[float, bytes]])

    def plug(self, address: str, **options: int) -> Plug:
        plug = Plug(self, address, **options)
        self.plugs.append(plug)
        return plug

    def questions(self) -> list[tuple[float, tuple[Question, ...]]]:
        """What was asked, and when."""
        said = [(at, decode(packet)) for at, packet in self.sent]
        return [(at, message.questions) for at, message in said if message is not None and message.query]


def text(**properties: str) -> bytes:
    entries = [f"{key}={value}".encode() for key, value in properties.items()]
    return b"".join(bytes([len(entry)]) + entry for entry in entries)


def panel_records(
    serial: str = "nt-1", *, host: str = "", addresses: tuple[str, ...] = ("192.168.1.100",), **info: str
) -> list[Record]:
    """The least that a panel says: who it is, and where."""
    told = {"manufacturer": "SPAN.io", "serial_number": serial, "model": "MAIN_32", **info}
    name, target = f"span-{serial}._device-info._tcp.local.", f"{host or 'span-' + serial}.local."
    return [
        Record("_device-info._tcp.local.", Kind.PTR, name, flush=False),
        Record(name, Kind.SRV, Place(target, 0), ttl=120),
        Record(name, Kind.TXT, text(**{key: value for key, value in told.items() if value})),
        *(Record(target, Kind.AAAA if ":" in address else Kind.A, address, ttl=120) for address in addresses),
    ]


def announcement(*records: Record) -> Message:
    return Message(query=False, answers=records)
