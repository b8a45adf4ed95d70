"""What the records add up to: panels, and what is still to be asked of them. Pure.

A panel announces itself as seven services, whose names begin with the same words (facts, REST section 8):
``span-<serial>._device-info._tcp.local.`` says who it is, ``span-<serial>-HTTP-API._http._tcp.local.`` where its web
server is, and so on; each names a host, and each host has addresses. They are put together by those words, never by
host or address: several simulated panels share an address, and a panel may have several hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from ..frozenmap import FrozenMap
from ..homie import is_valid_id
from ..plain import to_plain
from .messages import ADDRESSES, Kind, Place, Question
from .records import Fact, Records
from .services import BROWSED, PORTS, PREFIX, fold, name_of, read_text, take_apart

__all__ = ["DiscoveredPanel", "find_panels", "find_questions"]

_MAKER: Final = "span.io"
_MAX_PANELS: Final = 128
_MAX_QUESTIONS: Final = 64

_Told: TypeAlias = dict[tuple[str, Kind], list[Fact]]
"""What is told of the services of a device, by service and kind."""


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


def find_panels(records: Records) -> dict[str, DiscoveredPanel]:
    """The panels of which a serial number and an address are known, by serial number (folded)."""
    found: dict[str, tuple[str, _Told]] = {}
    for told in _devices(records).values():
        serial_number = _serial_number(told)
        if serial_number is not None and (len(found) < _MAX_PANELS or fold(serial_number) in found):
            _, whole = found.setdefault(fold(serial_number), (serial_number, {}))
            for key, facts in told.items():
                whole.setdefault(key, []).extend(facts)
    panels = {key: _panel(records, serial_number, told) for key, (serial_number, told) in found.items()}
    return {key: panel for key, panel in panels.items() if panel is not None}


def find_questions(records: Records) -> list[Question]:
    """What is still to be asked: of what may be a panel, until it is known who it is, and where."""
    devices = _devices(records).items()
    asked = dict.fromkeys(question for base, told in devices for question in _lacking(records, base, told))
    return list(asked)[:_MAX_QUESTIONS]


def _devices(records: Records) -> dict[str, _Told]:
    """By their base, in an order that does not depend on what was heard when."""
    devices: dict[str, _Told] = {}
    for name, kind, facts in records.services():
        instance = take_apart(name)
        if instance is not None:
            devices.setdefault(instance.base, {}).setdefault((instance.service, kind), []).extend(facts)
    return dict(sorted(devices.items()))


def _serial_number(told: _Told) -> str | None:
    """Whose this is, if it is a SPAN panel's.

    Who says in ``_device-info._tcp`` that SPAN made it is believed, and so is who names another maker. Some public
    simulators announce ``_ebus._tcp`` only: there the name tells. What cannot be a serial number is none: others make
    names of hosts and files of it.
    """
    info, serial_number = _text(told, "info"), None
    if "manufacturer" in info:
        serial_number = info.get("serial_number") if fold(info["manufacturer"]) == _MAKER else None
    elif _text(told, "ebus").get("homie_domain") == "ebus":
        named = (take_apart(fact.record.name) for fact in told["ebus", Kind.TXT])
        serial_number = next((instance.spelled[len(PREFIX) :] for instance in named if instance is not None), None)
    return serial_number if serial_number is not None and is_valid_id(fold(serial_number)) else None


def _lacking(records: Records, base: str, told: _Told) -> Iterator[Question]:
    is_panel = _serial_number(told) is not None
    if not is_panel and ("info", Kind.TXT) in told:  # it has said who it is, and that is no panel
        return
    heard_of = {service for service, _ in told}
    for service in BROWSED:
        lacking = [kind for kind in (Kind.SRV, Kind.TXT) if (service, kind) not in told]
        if lacking and (service == "info" or service in heard_of):
            pointed = [str(fact.record.data) for fact in told.get((service, Kind.PTR), ())]
            names = dict.fromkeys(pointed) or [name_of(base, service)]  # as pointed at, or else as it must be
            yield from (Question(name, kind) for name in names for kind in lacking)
    if is_panel:
        yield from (Question(name_of(base, it), Kind.SRV) for it in PORTS if (it, Kind.SRV) not in told)
        for host in _hosts(told):
            yield from (Question(host, kind) for kind in ADDRESSES if not records.of(host, kind))


def _panel(records: Records, serial_number: str, told: _Told) -> DiscoveredPanel | None:
    hosts = _hosts(told)
    facts = [fact for host in hosts for kind in ADDRESSES for fact in records.of(host, kind)]
    addresses = {str(fact.record.data) for fact in facts}
    if not addresses:
        return None
    info = _text(told, "info")
    return DiscoveredPanel(
        serial_number=serial_number,
        addresses=tuple(sorted(addresses, key=lambda address: _preference(address, address in records.speakers))),
        host_names=tuple(host.removesuffix(".") for host in hosts),
        model=info.get("model"),
        firmware_version=info.get("firmware_version"),
        hardware_version=info.get("hardware_version"),
        http_port=_port(told, "http") or _web_port(_text(told, "ebus")),
        https_port=_port(told, "https"),
        mqtts_port=_port(told, "mqtts"),
        ws_port=_port(told, "ws"),
        wss_port=_port(told, "wss"),
        properties=FrozenMap(info),
    )


def _preference(address: str, spoke: bool) -> tuple[int, bool, int, str]:
    parsed = ipaddress.ip_address(address)
    return 0 if parsed.version == 4 else 2 if parsed.is_link_local else 1, not spoke, int(parsed), address


def _hosts(told: _Told) -> list[str]:
    """Where the services are; the shortest name first, which is the one without ``-2``."""
    data = [fact.record.data for facts in told.values() for fact in facts]
    hosts = {fold(place.host): place.host for place in data if isinstance(place, Place)}
    return sorted(hosts.values(), key=lambda host: (len(host), host))


def _newest(told: _Told, service: str, kind: Kind) -> object:
    """What was told of a service last, which is not what was repeated last."""
    newest = max(told.get((service, kind), ()), key=lambda fact: fact.order, default=None)
    return None if newest is None else newest.record.data


def _text(told: _Told, service: str) -> dict[str, str]:
    text = _newest(told, service, Kind.TXT)
    return read_text(text) if isinstance(text, bytes) else {}


def _port(told: _Told, service: str) -> int | None:
    """0 is none."""
    place = _newest(told, service, Kind.SRV)
    return (place.port or None) if isinstance(place, Place) else None


def _web_port(ebus: dict[str, str]) -> int | None:
    """As some public simulators tell it."""
    text = ebus.get("httpport", "")
    port = int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 0
    return port if 0 < port < 65_536 else None
