"""The records of others, as far as they may concern a panel. Pure, and bounded whatever is heard."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

import attrs

from .messages import ADDRESSES, Kind, Message, Place, Record
from .services import SERVICES, fold, take_apart

__all__ = ["Fact", "Records"]

_MAX_NAMES: Final = 1024  # of some 50 panels
_MAX_EACH: Final = 16
_MAX_TEXT: Final = 2048
_FORGOTTEN: Final = 2.5 * 3600  # s; everything is asked for each hour, see `finder`


@attrs.define
class Fact:
    """A record that was heard on one of our interfaces.

    Attributes:
        record: as it was heard first.
        since: when that was, s.
        at: when it was heard last, s.
        order: tells two of the same moment apart.
    """

    record: Record
    since: float
    at: float
    order: int


class Records:
    """What was said and not taken back, by name and kind.

    A lifetime (TTL) counts only where it is 0: addresses live for two minutes, and nobody wants to be asked every two
    minutes. What changes is announced, what ends is taken back, and what was not heard for long is forgotten.
    """

    def __init__(self) -> None:
        self._facts: Final[dict[tuple[str, Kind], dict[tuple[int, object], Fact]]] = {}
        self._hosts: set[str] = set()
        self._told: set[str] = set()
        self.speakers: set[str] = set()
        """Those of the addresses told from which something was heard."""
        self._count = 0

    def hear(self, message: Message, *, interface: int, scope: str, source: str, now: float) -> bool:
        """Take note of a message; whether anything is new. Only answers count.

        Args:
            message: any.
            interface: the index of ours on which it came: what is said on one takes nothing back on another.
            scope: what makes a link-local address of there one that can be used here: ``eth0``.
            source: the address that it came from.
            now: s, on any clock.
        """
        if message.query:
            return False
        new = False
        for record in sorted(message.answers, key=lambda record: record.kind in ADDRESSES):  # after what names hosts
            if self._matters(record):
                new = self._take(_scoped(record, scope), interface, now) or new
        if source in self._told and source not in self.speakers:
            self.speakers.add(source)
            new = True
        return new

    def of(self, name: str, kind: Kind) -> list[Fact]:
        """What is told of a name."""
        return list(self._facts.get((fold(name), kind), {}).values())

    def services(self) -> Iterator[tuple[str, Kind, list[Fact]]]:
        """All names of services, folded, and what is told of each."""
        for (name, kind), facts in self._facts.items():
            if kind not in ADDRESSES:
                yield name, kind, list(facts.values())

    def forget(self, now: float) -> None:
        """Drop what has not been heard for long, and what depends on it."""
        for key, facts in list(self._facts.items()):
            for place in [place for place, fact in facts.items() if fact.at < now - _FORGOTTEN]:
                del facts[place]
            if not facts:
                del self._facts[key]
        data = [fact.record.data for facts in self._facts.values() for fact in facts.values()]
        self._hosts = {fold(place.host) for place in data if isinstance(place, Place)}
        self._told = {text for text in data if isinstance(text, str)}
        self.speakers &= self._told

    def _matters(self, record: Record) -> bool:
        match record.kind, record.data:
            case ((Kind.A | Kind.AAAA), _):
                return fold(record.name) in self._hosts
            case Kind.PTR, str(target):
                instance = take_apart(target)
                return instance is not None and SERVICES[instance.service].type == fold(record.name)
            case Kind.TXT, bytes(text):
                return len(text) <= _MAX_TEXT and take_apart(record.name) is not None
            case Kind.SRV, _:
                return take_apart(record.name) is not None
            case _:
                return False

    def _take(self, record: Record, interface: int, now: float) -> bool:
        key, content = _key(record)
        if record.kind == Kind.PTR and not record.ttl:  # the service is gone, with all that was told of it
            gone = [self._drop((key[0], kind), interface) for kind in (Kind.PTR, Kind.SRV, Kind.TXT)]
            return any(gone)
        facts = self._facts.pop(key, {})
        changed = False
        if record.flush:  # what came a moment ago may be of the same breath (RFC 6762, section 10.2)
            old = [it for it, fact in facts.items() if it[0] == interface and it[1] != content and fact.at < now - 1.0]
            changed = bool(old)
            for it in old:
                del facts[it]
        place = (interface, content)
        if not record.ttl:
            changed = facts.pop(place, None) is not None or changed
        elif place in facts:
            facts[place].at = now
        elif len(facts) < _MAX_EACH:
            self._add(facts, place, record, now)
            changed = True
        if facts:
            self._facts[key] = facts  # at the end: what was heard longest ago makes room first
        while len(self._facts) > _MAX_NAMES:
            del self._facts[next(iter(self._facts))]
        return changed

    def _add(
        self, facts: dict[tuple[int, object], Fact], place: tuple[int, object], record: Record, now: float
    ) -> None:
        self._count += 1
        facts[place] = Fact(record, now, now, self._count)
        match record.data:
            case Place(host, _):
                self._hosts.add(fold(host))
            case str(text):
                self._told.add(text)
            case _:
                pass

    def _drop(self, key: tuple[str, Kind], interface: int) -> bool:
        facts = self._facts.pop(key, {})
        left = {place: fact for place, fact in facts.items() if place[0] != interface}
        if left:
            self._facts[key] = left
        return len(left) < len(facts)


def _key(record: Record) -> tuple[tuple[str, Kind], object]:
    """Where a record is kept, and its content. What points at a service is kept with that service."""
    match record.data:
        case str(target) if record.kind == Kind.PTR:
            return (fold(target), Kind.PTR), None
        case Place(host, port):
            return (fold(record.name), record.kind), (fold(host), port)
        case data:
            return (fold(record.name), record.kind), data


def _scoped(record: Record, scope: str) -> Record:
    """A link-local address says nothing without the link."""
    if record.kind == Kind.AAAA and isinstance(record.data, str) and ipaddress.ip_address(record.data).is_link_local:
        return attrs.evolve(record, data=f"{record.data}%{scope}")
    return record
