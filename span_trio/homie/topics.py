"""Homie 5 topic grammar (convention, "Topic IDs" and "Base topic").

The rules of this room:

* A topic is ``<domain>/5/<device>/…``; the ``5`` is the major version and never changes. The domain is one level,
  unless a bridge has put levels of its own before it.
* An id is one or more of ``a-z 0-9 -``. ``$`` starts attributes and nothing else; nodes have no topics of their own.
* A child device is a *peer* of its root on the wire (``ebus/5/<child>/…``), never a sub-topic of it.
* What the grammar does not know (``$foo``, deeper levels) is `TopicKind.OTHER`: ignored, not an error, because
  every Homie 5.x may add to it. What breaks the grammar is a `TopicError`.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

__all__ = [
    "LOG_LEVELS",
    "Topic",
    "TopicError",
    "TopicKind",
    "description_topic",
    "device_filter",
    "is_valid_id",
    "parse_topic",
    "property_topic",
    "set_topic",
    "state_topic",
]

VERSION: Final = "5"
LOG_LEVELS: Final = frozenset({"debug", "info", "warn", "error", "fatal"})
_ID: Final = re.compile(r"[a-z0-9-]+")


class TopicError(ValueError):
    """The topic is not one of a Homie 5 device."""


class TopicKind(enum.Enum):
    """What a topic below a device carries."""

    STATE = "$state"
    DESCRIPTION = "$description"
    ALERT = "$alert"
    LOG = "$log"
    PROPERTY = "property"
    TARGET = "$target"
    SET = "set"
    OTHER = "other"


class Topic(NamedTuple):
    """A topic taken apart. ``name`` is the property id, alert id or log level, else empty; so is ``node``."""

    domain: str
    device: str
    kind: TopicKind
    node: str = ""
    name: str = ""


def is_valid_id(text: str) -> bool:
    """Whether ``text`` is a legal id of a device, node, property or alert."""
    return _ID.fullmatch(text) is not None


def parse_topic(topic: str, *, levels: int = 1) -> Topic:
    """Take a topic apart.

    Args:
        topic: of a device.
        levels: how many of its levels are the domain: by the convention one; more where a bridge has put some before.

    Raises:
        TopicError: it is not ``<domain>/5/<device>/…``, or an id in it is illegal. A ``$broadcast`` topic belongs
            to no device and is one of these.
    """
    *head, rest = topic.split("/", levels)
    domain = "/".join(head)
    version, _, rest = rest.partition("/")
    device, _, rest = rest.partition("/")
    if not all(head) or len(head) != levels or version != VERSION or not is_valid_id(device) or not rest:
        raise TopicError("not a topic of a Homie 5 device")
    if rest.startswith("$"):
        return Topic(domain, device, *_attribute(rest))
    return Topic(domain, device, *_property(rest))


def _attribute(rest: str) -> tuple[TopicKind, str, str]:
    if rest in {"$state", "$description"}:
        return TopicKind(rest), "", ""
    attribute, _, name = rest.partition("/")
    if attribute == "$alert" and is_valid_id(name):
        return TopicKind.ALERT, "", name
    if attribute == "$log" and name in LOG_LEVELS:
        return TopicKind.LOG, "", name
    return TopicKind.OTHER, "", ""


def _property(rest: str) -> tuple[TopicKind, str, str]:
    node, _, rest = rest.partition("/")
    name, slash, suffix = rest.partition("/")
    if not is_valid_id(node) or not is_valid_id(name):
        raise TopicError("illegal id of a node or property")
    if not slash:
        return TopicKind.PROPERTY, node, name
    kind = {"$target": TopicKind.TARGET, "set": TopicKind.SET}.get(suffix, TopicKind.OTHER)
    return kind, node, name


def state_topic(domain: str, device: str) -> str:
    """The topic of a device's ``$state``."""
    return f"{domain}/{VERSION}/{device}/$state"


def property_topic(domain: str, device: str, node: str, name: str) -> str:
    """The topic that carries a property's value."""
    return f"{domain}/{VERSION}/{device}/{node}/{name}"


def set_topic(domain: str, device: str, node: str, name: str) -> str:
    """The topic to which a command for a property is published (never retained)."""
    return f"{property_topic(domain, device, node, name)}/set"


def description_topic(domain: str, device: str) -> str:
    """The topic of a device's ``$description``; for the device ``+``, the subscription to those of all devices."""
    return f"{domain}/{VERSION}/{device}/$description"


def device_filter(domain: str, device: str) -> str:
    """The subscription that carries everything of one device, and nothing of its children."""
    return f"{domain}/{VERSION}/{device}/#"
