"""A simulated panel on multicast DNS: it announces itself and answers, as its firmware does (facts, REST section 8).

Needs the extra ``simulator``. The names are not fought for: two panels with one serial number both answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import math
import random
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Final, Protocol

import attrs
import trio

from ..background import open_background, undisturbed
from ..discovery.links import MDNS_PORT, Heard, Network, Peer, open_network, own_addresses
from ..discovery.messages import ADDRESSES, Kind, Message, Place, Question, Record, decode, encode
from ..discovery.services import SERVICES, fold, name_of
from .panel import SimulatedPanel

__all__ = ["Announcer", "Ports", "announcing", "records_of"]

_HOST_TTL: Final = 120  # s, for what has a host's name in it
_RECENTLY: Final = _HOST_TTL / 4  # s; who has missed what was said before may get it alone
_LEGACY_TTL: Final = 10  # s
_ENUMERATION: Final = "_services._dns-sd._udp.local."
_AGAIN: Final = 1.0  # s between the two announcements, and between looks at what has changed
_GOODBYE: Final = 0.5  # s, at most
_QUEUE: Final = 64
_MODEL_SINCE: Final = 202609  # before, SPAN32
_VERSIONS: Final = "versions=v1,v2", "version_default=v2", "v1_path=/api/v1", "v1_deprecated=true", "v2_path=/api/v2"
_WEB: Final = ("path=/api", "schema=/api/openapi.json", "docs=/api/docs", *_VERSIONS)
_MQTT: Final = ("protocol=mqtt", "versions=3.1,3.1.1,5.0")


class Ports(Protocol):
    """Where a panel listens. `span_trio.simulator.Listening` is one."""

    host: str
    http_port: int
    https_port: int
    mqtts_port: int
    ws_port: int
    wss_port: int


def records_of(panel: SimulatedPanel, ports: Ports, addresses: Collection[str], *, host: str = "") -> list[Record]:
    """All that a panel says of itself: seven services, and the addresses of its host.

    Args:
        panel: the panel.
        ports: its ports.
        addresses: of its interfaces.
        host: its name without ``.local``, if that is not ``span-<serial>``: firmware before r202615 with two interfaces
            on one network is renamed to ``span-<serial>-2``, again and again.
    """
    base = f"span-{panel.serial_number}"
    target = f"{host or base}.local."
    texts = {
        "info": _info(panel),
        "ebus": ("homie_domain=ebus", "homie_version=5", "homie_roles=device", f"mqtt_broker={base}"),
        "http": _WEB,
        "https": _WEB,
        "mqtts": _MQTT,
        "ws": (*_MQTT, "subprotocol=mqtt"),
        "wss": (*_MQTT, "subprotocol=mqtt"),
    }
    numbers = {
        "http": ports.http_port,
        "https": ports.https_port,
        "mqtts": ports.mqtts_port,
        "ws": ports.ws_port,
        "wss": ports.wss_port,
    }
    records: list[Record] = []
    for service, text in texts.items():
        name = name_of(base, service)
        records += [
            Record(SERVICES[service].type, Kind.PTR, name, flush=False),
            Record(name, Kind.SRV, Place(target, numbers.get(service, 0)), ttl=_HOST_TTL),
            Record(name, Kind.TXT, _txt("txtvers=1", *text)),
            Record(_ENUMERATION, Kind.PTR, SERVICES[service].type, flush=False),
        ]
    for address in addresses:
        kind = Kind.A if ipaddress.ip_address(address).version == 4 else Kind.AAAA
        records.append(Record(target, kind, address.partition("%")[0], ttl=_HOST_TTL))
    return records


@contextlib.asynccontextmanager
async def announcing(
    panel: SimulatedPanel,
    ports: Ports,
    *,
    addresses: Collection[str] | None = None,
    interfaces: Collection[str] | None = None,
    port: int = MDNS_PORT,
    network: Network | None = None,
    host: str = "",
) -> AsyncGenerator[Announcer, None]:
    """Let a simulated panel be discovered, as long as the block lasts; at its end it says goodbye.

    Args:
        panel: the panel.
        ports: its ports, as ``listening`` returns them.
        addresses: what to announce; ``None`` for ``ports.host``, or where that is no single address, for all of this
            machine but the loopback's.
        interfaces: names or addresses of the network interfaces; ``None`` for those of ``addresses``.
        port: the UDP port of mDNS. Another one is for tests.
        network: what to use in place of sockets.
        host: the name of its host, without ``.local``: firmware before r202615 with two interfaces on one
            network is renamed to ``span-<serial>-2`` again and again. ``""``: ``span-<serial>``.

    Raises:
        SpanPanelConnectionError: no network interface can be used.
        SpanPanelValidationError: there is no such network interface.
    """
    async with contextlib.AsyncExitStack() as opened:
        if addresses is None:
            everywhere = ipaddress.ip_address(ports.host).is_unspecified
            addresses = own_addresses() if everywhere else (ports.host,)
            if interfaces is None and not everywhere:
                interfaces = (ports.host,)
        if network is None:
            network = await opened.enter_async_context(open_network(interfaces, port=port))
        announcer = Announcer(panel, ports, network, addresses=addresses, port=port, host=host)
        nursery = await opened.enter_async_context(open_background())
        nursery.start_soon(network.listen, announcer.hear)
        nursery.start_soon(announcer.answer)
        nursery.start_soon(announcer.announce)
        try:
            yield announcer
        finally:
            await undisturbed(announcer.say_goodbye, within=_GOODBYE)


class Announcer:
    """What a panel says by mDNS, and to whom. `announcing` makes it.

    Attributes:
        addresses: what is announced; may be changed, and is announced again then.
        host: the name of the host without ``.local``; likewise.
    """

    def __init__(
        self,
        panel: SimulatedPanel,
        ports: Ports,
        network: Network,
        *,
        addresses: Collection[str],
        port: int,
        host: str,
    ) -> None:
        self.addresses: Collection[str] = addresses
        self.host: str = host
        self._panel: Final = panel
        self._ports: Final = ports
        self._network: Final = network
        self._port: Final = port
        self._asked, self._questions = trio.open_memory_channel[tuple[Peer, Message]](_QUEUE)
        self._random: Final = random.Random(panel.serial_number)  # noqa: S311 - a delay
        self._said_at = -math.inf

    @property
    def records(self) -> list[Record]:
        """What there is to say now."""
        return records_of(self._panel, self._ports, self.addresses, host=self.host)

    async def announce(self) -> None:
        """Announce it twice, and again whenever it has changed (new firmware, say), for ever."""
        said: list[Record] = []
        times = 0
        while True:
            records = self.records
            if records != said:
                kept = {(record.name, record.kind, record.data) for record in records}
                gone = [record for record in said if (record.name, record.kind, record.data) not in kept]
                await self._say([attrs.evolve(record, ttl=0) for record in gone if record.kind in ADDRESSES])
                said, times = records, 2
            if times:
                await self._say(said)
                times -= 1
            await trio.sleep(_AGAIN)

    async def say_goodbye(self) -> None:
        """Take everything back."""
        await self._say([attrs.evolve(record, ttl=0) for record in self.records])

    def hear(self, heard: Heard) -> None:
        """Take note of a question. Nobody waits: what comes too fast is not answered."""
        message = decode(heard.packet)
        if message is not None and message.query:
            with contextlib.suppress(trio.WouldBlock):
                self._asked.send_nowait((heard.sender, message))

    async def answer(self) -> None:
        """Answer the questions, for ever."""
        async for asker, message in self._questions:
            answers = [record for record in self._answers(message) if not _is_known(record, message.answers)]
            if not answers:
                continue
            additional = [record for record in self._additional(answers) if record not in answers]
            if asker.port != self._port:  # a plain DNS client (RFC 6762, section 6.7)
                answers, additional = _legacy(answers), _legacy(additional)
                reply = Message(False, message.questions, tuple(answers), tuple(additional), message.id)
                await self._send(reply, asker)
            elif self._may_whisper(asker, message):
                await self._send(Message(False, (), tuple(answers), tuple(additional)), asker)
            else:
                await trio.sleep(self._random.uniform(0.02, 0.12))  # so that not all answer at once (section 6)
                await self._send(Message(False, (), tuple(answers), tuple(additional)))

    def _answers(self, message: Message) -> list[Record]:
        records = self.records
        asked = [record for question in message.questions for record in records if _fits(record, question)]
        return list(dict.fromkeys(asked))

    def _additional(self, answers: Iterable[Record]) -> list[Record]:
        """What who gets these will ask next (RFC 6763, section 12)."""
        records = self.records
        names = {fold(record.data) for record in answers if record.kind == Kind.PTR and isinstance(record.data, str)}
        services = [record for record in records if fold(record.name) in names and record.kind != Kind.PTR]
        places = [record.data for record in (*answers, *services) if isinstance(record.data, Place)]
        hosts = {fold(place.host) for place in places}
        return [*services, *(record for record in records if record.kind in ADDRESSES and fold(record.name) in hosts)]

    def _may_whisper(self, asker: Peer, message: Message) -> bool:
        """Whether all have heard it already, and the asker wants it alone (section 5.4).

        On one machine a port has several owners, and it is anybody's guess who gets what is sent to one.
        """
        recently = trio.current_time() - self._said_at < _RECENTLY
        return (
            recently and asker.address not in self.addresses and all(question.unicast for question in message.questions)
        )

    async def _say(self, records: Collection[Record]) -> None:
        if records:
            self._said_at = trio.current_time()
            await self._send(Message(False, answers=tuple(records)))

    async def _send(self, message: Message, to: Peer | None = None) -> None:
        for packet in encode(message):
            await self._network.send(packet, to)


def _info(panel: SimulatedPanel) -> tuple[str, ...]:
    release, spec = panel.publisher.release, panel.house.spec
    model = spec.model_name if release.build >= _MODEL_SINCE else f"SPAN{spec.spaces}"
    mac = "02:" + hashlib.sha256(panel.serial_number.encode()).digest()[:4].hex(":")
    return (
        "manufacturer=SPAN.io",
        f"model={model}",
        f"hardware_version={spec.hardware_version}",
        f"serial_number={panel.serial_number}",
        f"firmware_version={release.firmware}",
        f"eth0_mac={mac}:00",
        f"eth1_mac={mac}:01",
        "wlan0_mac=unknown",
        "wlan0_ap_mac=unknown",
    )


def _txt(*properties: str) -> bytes:
    return b"".join(bytes([len(entry)]) + entry for entry in map(str.encode, properties))


def _fits(record: Record, question: Question) -> bool:
    return fold(record.name) == fold(question.name) and question.kind in {record.kind, Kind.ANY}


def _is_known(record: Record, known: Iterable[Record]) -> bool:
    """Whether the asker knows it, and for long (RFC 6762, section 7.1)."""
    return any(
        fold(record.name) == fold(other.name)
        and (record.kind, record.data) == (other.kind, other.data)
        and other.ttl >= record.ttl / 2
        for other in known
    )


def _legacy(records: Iterable[Record]) -> list[Record]:
    return [attrs.evolve(record, ttl=min(record.ttl, _LEGACY_TTL), flush=False) for record in records]
