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

_RENAMED: Final = re.compile(r" (?:#\d+|\(\d+\))\Z")  # what a responder appends when a name is taken
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """A name in lower case as DNS knows it: ASCII only, and as long as before."""
    return name.translate(_LOWER)


@attrs.frozen
class Instance:
    """The name of a service, taken apart.

    Attributes:
        base: what the names of all services of a device begin with, folded (``span-nt-2143-c1akc``).
        service: a key of `SERVICES`.
        spelled: the base as it was spelled.
    """

    base: str
    service: str
    spelled: str


def take_apart(name: str) -> Instance | None:
    """The parts of the name of a service that may be a panel's, or ``None``."""
    folded = fold(name)
    for service, (ending, suffix) in _ENDINGS.items():
        if folded.endswith(ending):
            label = _RENAMED.sub("", name[: -len(ending)])
            if suffix and fold(label).endswith(suffix):
                label = label[: -len(suffix)]
            elif suffix and service != "ebus":  # there public simulators have no suffix
                return None
            base = fold(label)
            return Instance(base, service, label) if base.startswith("" if service == "info" else PREFIX) else None
    return None


_ENDINGS: Final = {key: ("." + fold(service.type), fold(service.suffix)) for key, service in SERVICES.items()}


def name_of(base: str, service: str) -> str:
    """The name that a service of a device must have."""
    return f"{base}{SERVICES[service].suffix}.{SERVICES[service].type}"


def read_text(data: bytes) -> dict[str, str]:
    """The properties in a TXT record, keys in lower case; of equal keys the first counts. Never raises.

    What is not UTF-8 has U+FFFD in its place; a key with no value is left out.
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        key, _, value = data[at + 1 : end].partition(b"=")
        if key and value:
            found.setdefault(key.decode("ascii", "replace").lower(), value.decode("utf-8", "replace"))
        at = end
    return found
