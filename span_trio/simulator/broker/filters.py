"""Topics, filters, and what one client is subscribed to. Pure.

The rules are those of MQTT 3.1.1, section 4.7; what mosquitto refuses beyond them (control characters, more than
200 slashes) is refused too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["Subscriptions", "is_filter", "is_text", "is_topic", "matches"]

_MAX_BYTES: Final = 0xFFFF
_MAX_SLASHES: Final = 200
_NOT_TEXT: Final = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_WILDCARDS: Final = re.compile("[+#]")
_FILTER: Final = re.compile(r"(?:(?:\+|[^+#/]*)/)*(?:\+|#|[^+#/]*)", re.DOTALL)


def is_text(text: str) -> bool:
    """Whether brokers take ``text`` as a string: no control characters, no surrogates, no Unicode non-characters."""
    return _NOT_TEXT.search(text) is None


def is_topic(text: str) -> bool:
    """Whether one can publish to ``text``."""
    return _fits(text) and _WILDCARDS.search(text) is None


def is_filter(text: str) -> bool:
    """Whether one can subscribe to ``text``."""
    return _fits(text) and _FILTER.fullmatch(text) is not None


def _fits(text: str) -> bool:
    return bool(text) and is_text(text) and len(text.encode()) <= _MAX_BYTES and text.count("/") <= _MAX_SLASHES


def matches(pattern: str, topic: str) -> bool:
    """Whether a (valid) filter covers a (valid) topic.

    ``a/#`` covers ``a`` too; a wildcard in front covers nothing that begins with ``$``.
    """
    if topic.startswith("$") and pattern.startswith(("+", "#")):
        return False
    given = topic.split("/")
    wanted = pattern.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index == len(given) or level not in {"+", given[index]}:
            return False
    return len(wanted) == len(given)


class Subscriptions:
    """What one client is subscribed to, and at which QoS. Bounded, whatever the client asks for.

    Which topic is covered is worked out once and remembered: a panel says the same few hundred topics every second.
    """

    _MAX_SIZE: Final = 2**18
    _EACH: Final = 64  # what a filter costs beyond its text
    _MAX_REMEMBERED: Final = 8192
    _MAX_TOPIC: Final = 256  # longer ones are not worth remembering

    def __init__(self) -> None:
        self._filters: dict[str, int] = {}
        self._size = 0
        self._remembered: dict[str, int | None] = {}

    @property
    def filters(self) -> Mapping[str, int]:
        """Filter to granted QoS: a read-only view."""
        return MappingProxyType(self._filters)

    def add(self, pattern: str, qos: int) -> bool:
        """Subscribe, in place of the same filter if there is one. False: this client has too many."""
        cost = len(pattern) + self._EACH
        if pattern not in self._filters:
            if self._size + cost > self._MAX_SIZE:
                return False
            self._size += cost
        self._filters[pattern] = qos
        self._remembered.clear()
        return True

    def discard(self, pattern: str) -> None:
        """Unsubscribe; a filter that is not there is none of our business."""
        if self._filters.pop(pattern, None) is not None:
            self._size -= len(pattern) + self._EACH
            self._remembered.clear()

    def qos(self, topic: str) -> int | None:
        """The highest QoS among the filters that cover ``topic``; ``None`` when none does."""
        try:
            return self._remembered[topic]
        except KeyError:
            qos = max((qos for pattern, qos in self._filters.items() if matches(pattern, topic)), default=None)
        if len(topic) <= self._MAX_TOPIC:
            if len(self._remembered) >= self._MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[topic] = qos
        return qos
