"""How a panel announces itself: the names of its services, and what is in their TXT records (facts, REST section 8)."""

from __future__ import annotations

import re
import string
from typing import Final

import attrs

__all__ = [
    "BROWSED",
    "PORTS",
    "PREFIX",
    "SERVICES",
    "Instance",
    "Service",
    "fold",
    "name_of",
    "read_text",
    "take_apart",
]


@attrs.frozen
class Service:
    """A type of service, and how a panel's instance of it is called: ``span-<serial>`` and a suffix."""

    type: str
    suffix: str = ""


SERVICES: Final = {
    "info": Service("_device-info._tcp.local."),
    "ebus": Service("_ebus._tcp.local.", "-EBUS"),
    "http": Service("_http._tcp.local.", "-HTTP-API"),
    "https": Service("_https._tcp.local.", "-HTTPS-API"),
    "mqtts": Service("_secure-mqtt._tcp.local.", "-MQTTS"),
    "ws": Service("_mqtt-ws._tcp.local.", "-MQTT-WS"),
    "wss": Service("_mqtt-wss._tcp.local.", "-MQTT-WSS"),
}
BROWSED: Final = ("info", "ebus")
"""What is asked for. The rest has names that follow from these, and types of which every printer has some."""
PORTS: Final = ("http", "https", "mqtts", "ws", "wss")
PREFIX: Final = "span-"

_KEYS: Final = {service.type: key for key, service in SERVICES.items()}
# A label, perhaps with what a responder appends when a name is taken, and a type.
_NAME: Final = re.compile(r"(.+?)(?: #\d+| \(\d+\))?\.(_[a-z-]+\._tcp\.local\.)", re.ASCII | re.IGNORECASE | re.DOTALL)
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """A name in lower case as DNS knows it: ASCII only, and as long as before."""
    return name.translate(_LOWER)


@attrs.frozen
class Instance:
    """The name of a service, taken apart.

    A key of `SERVICES`, and what the names of all services of a device begin with (``span-nt-2143-c1akc``), folded and
    as it was spelled.
    """

    base: str
    service: str
    spelled: str


def take_apart(name: str) -> Instance | None:
    """The parts of the name of a service that may be a panel's, or ``None``."""
    parts = _NAME.fullmatch(name)
    service = None if parts is None else _KEYS.get(fold(parts[2]))
    if parts is None or service is None:
        return None
    label, suffix = parts[1], SERVICES[service].suffix
    if suffix and fold(label).endswith(fold(suffix)):
        label = label[: -len(suffix)]
    elif service not in BROWSED:  # but public simulators announce ``_ebus._tcp`` without a suffix
        return None
    base = fold(label)
    return Instance(base, service, label) if service == "info" or base.startswith(PREFIX) else None


def name_of(base: str, service: str) -> str:
    """The name that a service of a device must have."""
    return f"{base}{SERVICES[service].suffix}.{SERVICES[service].type}"


def read_text(data: bytes) -> dict[str, str]:
    """The properties in a TXT record, keys in lower case; of equal keys the first counts. Never raises.

    What is not UTF-8 has U+FFFD in its place; a key with no value is left out.
    """
    found: dict[str, str] = {}
    while data:
        key, _, value = data[1 : 1 + data[0]].partition(b"=")
        if key and value:
            found.setdefault(key.decode("ascii", "replace").lower(), value.decode("utf-8", "replace"))
        data = data[1 + data[0] :]
    return found
