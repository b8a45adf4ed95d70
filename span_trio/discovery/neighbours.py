"""What the records add up to: panels, and what is still to be asked of them. Pure.

A panel announces itself as seven services, whose names begin with the same words (facts, REST section 8):
``span-<serial>._device-info._tcp.local.`` says who it is, ``span-<serial>-HTTP-API._http._tcp.local.`` where its web
server is, and so on; each names a host, and each host has addresses. They are put together by those words, never by
host or address: several simulated panels share an address, and a panel may have several hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from ..frozenmap import FrozenMap
from ..homie import is_valid_id
from ..plain import to_plain
from .messages import ADDRESSES, Kind, Place, Question, Record
from .records import Fact, Records
from .services import BROWSED, PORTS, PREFIX, fold, name_of, read_text, take_apart

__all__ = ["DiscoveredPanel", "find_panels", "find_questions"]

_MAKER: Final = "span.io"
_MAX_PANELS: Final = 128
_MAX_QUESTIONS: Final = 64


@attrs.frozen(kw_only=True)
class DiscoveredPanel:
    """A panel on the local network, as it announces itself. What it did not say is ``None``.

    Nothing of it is proven, and two of them are the same panel if their ``serial_number`` is the same.

    Attributes:
        serial_number: as the panel tells it.
        addresses: of all its interfaces, at least one. IPv4 first, link-local IPv6 (``fe80::1%eth0``) last; among
            equals those from which it was heard come first.
        host_names: as announced, ``span-<serial>.local``; several when it was renamed (``span-<serial>-2.local``).
        model: ``MAIN_32``, say (``SPAN32`` before r202609).
        firmware_version: ``spanos3/r202639/03``, say.
        hardware_version: ``2.0``, say.
        http_port: of the REST API.
        https_port: of the REST API over TLS.
        mqtts_port: of MQTT over TLS.
        ws_port: of MQTT over WebSocket.
        wss_port: of MQTT over WebSocket over TLS.
        properties: all that ``_device-info._tcp`` tells, MAC addresses among it, in the panel's words.
    """

    serial_number: str
    addresses: tuple[str, ...]
    host_names: tuple[str, ...] = ()
    model: str | None = None
    firmware_version: str | None = None
    hardware_version: str | None = None
    http_port: int | None = None
    https_port: int | None = None
    mqtts_port: int | None = None
    ws_port: int | None = None
    wss_port: int | None = None
    properties: FrozenMap[str, str] = attrs.field(factory=FrozenMap[str, str])

    @property
    def host(self) -> str:
        """The address to open it at: the first. Its name may not resolve where you are (facts, lessons section D)."""
        return self.addresses[0]

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        plain: dict[str, object] = to_plain(self)
        return plain


@attrs.define
class _Device:
    """What is told of the services of one base, by service and kind."""

    base: str
    facts: dict[tuple[str, Kind], list[Fact]] = attrs.field(factory=dict[tuple[str, Kind], "list[Fact]"])

    def serial_number(self) -> str | None:
        """Whose this is, if it is a SPAN panel's.

        Who says in ``_device-info._tcp`` that SPAN made it is believed, and so is who names another maker. Some public
        simulators announce ``_ebus._tcp`` only: there the name tells. What cannot be a serial number is none: others
        make names of hosts and files of it.
        """
        told = self._told()
        return told if told is not None and is_valid_id(fold(told)) else None

    def _told(self) -> str | None:
        info = _text([self], "info")
        if "manufacturer" in info:
            return info.get("serial_number") if fold(info["manufacturer"]) == _MAKER else None
        if _text([self], "ebus").get("homie_domain") != "ebus":
            return None
        named = (take_apart(fact.record.name) for fact in self.facts.get(("ebus", Kind.TXT), ()))
        return next((instance.spelled[len(PREFIX) :] for instance in named if instance is not None), None)

    def is_stranger(self) -> bool:
        """Whether it has said who it is, and that is no panel."""
        return ("info", Kind.TXT) in self.facts and self.serial_number() is None


def find_panels(records: Records) -> dict[str, DiscoveredPanel]:
    """The panels of which a serial number and an address are known, by serial number (folded)."""
    found: dict[str, tuple[str, list[_Device]]] = {}
    for device in _devices(records):
        serial_number = device.serial_number()
        if serial_number is not None and (len(found) < _MAX_PANELS or fold(serial_number) in found):
            found.setdefault(fold(serial_number), (serial_number, []))[1].append(device)
    panels = {key: _panel(records, serial_number, devices) for key, (serial_number, devices) in found.items()}
    return {key: panel for key, panel in panels.items() if panel is not None}


def find_questions(records: Records) -> list[Question]:
    """What is not known yet of those that are, or may be, panels."""
    asked: dict[Question, None] = {}
    for device in _devices(records):
        if not device.is_stranger():
            asked |= dict.fromkeys(_lacking(records, device))
    return list(asked)[:_MAX_QUESTIONS]


def _devices(records: Records) -> list[_Device]:
    """In an order that does not depend on what was heard when."""
    devices: dict[str, _Device] = {}
    for name, kind, facts in records.services():
        instance = take_apart(name)
        if instance is not None:
            device = devices.setdefault(instance.base, _Device(instance.base))
            device.facts.setdefault((instance.service, kind), []).extend(facts)
    return [devices[base] for base in sorted(devices)]


def _lacking(records: Records, device: _Device) -> Iterator[Question]:
    told = {service for service, _ in device.facts}
    for service in BROWSED:
        lacking = [kind for kind in (Kind.SRV, Kind.TXT) if (service, kind) not in device.facts]
        if lacking and (service == "info" or service in told):
            yield from (Question(name, kind) for name in _names(device, service) for kind in lacking)
    if device.serial_number() is None:
        return
    for service in PORTS:
        if (service, Kind.SRV) not in device.facts:
            yield Question(name_of(device.base, service), Kind.SRV)
    for host in _hosts([device]):
        yield from (Question(host, kind) for kind in ADDRESSES if not records.of(host, kind))


def _names(device: _Device, service: str) -> Iterable[str]:
    """The names of a service: as pointed at, or else as it must be."""
    pointed = [fact.record.data for fact in device.facts.get((service, Kind.PTR), ())]
    return dict.fromkeys(name for name in pointed if isinstance(name, str)) or [name_of(device.base, service)]


def _panel(records: Records, serial_number: str, devices: list[_Device]) -> DiscoveredPanel | None:
    hosts = _hosts(devices)
    facts = [fact for host in hosts for kind in ADDRESSES for fact in records.of(host, kind)]
    addresses = {fact.record.data for fact in facts if isinstance(fact.record.data, str)}
    if not addresses:
        return None
    info = _text(devices, "info")
    return DiscoveredPanel(
        serial_number=serial_number,
        addresses=tuple(sorted(addresses, key=lambda address: _preference(address, address in records.speakers))),
        host_names=tuple(host.removesuffix(".") for host in hosts),
        model=info.get("model"),
        firmware_version=info.get("firmware_version"),
        hardware_version=info.get("hardware_version"),
        http_port=_port(devices, "http") or _web_port(_text(devices, "ebus")),
        https_port=_port(devices, "https"),
        mqtts_port=_port(devices, "mqtts"),
        ws_port=_port(devices, "ws"),
        wss_port=_port(devices, "wss"),
        properties=FrozenMap(info),
    )


def _preference(address: str, spoke: bool) -> tuple[int, bool, int, str]:
    parsed = ipaddress.ip_address(address)
    return 0 if parsed.version == 4 else 2 if parsed.is_link_local else 1, not spoke, int(parsed), address


def _hosts(devices: Iterable[_Device]) -> list[str]:
    """Where their services are; the shortest name first, which is the one without ``-2``."""
    facts = [fact for device in devices for facts in device.facts.values() for fact in facts]
    hosts = {
        fold(fact.record.data.host): fact.record.data.host for fact in facts if isinstance(fact.record.data, Place)
    }
    return sorted(hosts.values(), key=lambda host: (len(host), host))


def _newest(devices: Iterable[_Device], service: str, kind: Kind) -> Record | None:
    """What was told of a service last, which is not what was repeated last."""
    facts = [fact for device in devices for fact in device.facts.get((service, kind), ())]
    newest = max(facts, key=lambda fact: (fact.since, fact.order), default=None)
    return None if newest is None else newest.record


def _text(devices: Iterable[_Device], service: str) -> dict[str, str]:
    record = _newest(devices, service, Kind.TXT)
    return read_text(record.data) if record is not None and isinstance(record.data, bytes) else {}


def _port(devices: Iterable[_Device], service: str) -> int | None:
    """0 is none."""
    record = _newest(devices, service, Kind.SRV)
    return (record.data.port or None) if record is not None and isinstance(record.data, Place) else None


def _web_port(ebus: dict[str, str]) -> int | None:
    """As some public simulators tell it."""
    text = ebus.get("httpport", "")
    port = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 0
    return port if 0 < port < 65_536 else None
