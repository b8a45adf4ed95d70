"""The records of others, as far as they may concern a panel. Pure, and bounded whatever is heard."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, Final

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
    """A record that was heard on one of our interfaces: as it was heard first, as how manieth, and when last, s."""

    record: Record
    order: int
    at: float


class Records:
    """What was said and not taken back, by name and kind.

    A lifetime (TTL) counts only where it is 0: addresses live for two minutes, and nobody wants to be asked every two
    minutes. What changes is announced, what ends is taken back, and what was not heard for long is forgotten.
    """

    def __init__(self) -> None:
        self._facts: Final[dict[tuple[str, Kind], dict[tuple[int, object], Fact]]] = {}
        self._hosts: set[str] = set()
        self.speakers: Final[dict[str, None]] = {}
        """The addresses from which something was heard."""
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
        new = mattered = False
        answers = () if message.query else message.answers
        for record in sorted(answers, key=lambda record: record.kind in ADDRESSES):  # after what names hosts
            if self._matters(record):
                new = self._take(_scoped(record, scope), interface, now) or new
                mattered = True
        if mattered and source not in self.speakers:
            self.speakers[source] = None
            _trim(self.speakers)
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
        for key in list(self._facts):
            self._drop(key, lambda _place, fact: fact.at < now - _FORGOTTEN)
        data = [fact.record.data for facts in self._facts.values() for fact in facts.values()]
        self._hosts = {fold(place.host) for place in data if isinstance(place, Place)}

    def _matters(self, record: Record) -> bool:
        match record.kind, record.data:
            case ((Kind.A | Kind.AAAA), _):
                return fold(record.name) in self._hosts
            case Kind.PTR, str(target):
                instance = take_apart(target)
                return instance is not None and SERVICES[instance.service].type == fold(record.name)
            case ((Kind.TXT | Kind.SRV), data):
                return take_apart(record.name) is not None and not (isinstance(data, bytes) and len(data) > _MAX_TEXT)
            case _:
                return False

    def _take(self, record: Record, interface: int, now: float) -> bool:
        key, place = _key(record), (interface, _content(record))
        if record.kind == Kind.PTR and not record.ttl:  # the service is gone, with all that was told of it
            kinds = (Kind.PTR, Kind.SRV, Kind.TXT)
            gone = [self._drop((key[0], kind), lambda it, _: it[0] == interface) for kind in kinds]
            return any(gone)
        changed = self._drop(
            key,
            lambda it, fact: (
                not record.ttl
                if it == place  # what came a moment ago may be of the same breath (RFC 6762, section 10.2)
                else record.flush and it[0] == interface and fact.at < now - 1.0
            ),
        )
        if record.ttl:
            facts = self._facts.setdefault(key, {})
            if place in facts:
                facts[place].at = now
            elif len(facts) < _MAX_EACH:
                self._count += 1
                facts[place] = Fact(record, self._count, now)
                changed = True
                if isinstance(record.data, Place):
                    self._hosts.add(fold(record.data.host))
        _trim(self._facts)
        return changed

    def _drop(self, key: tuple[str, Kind], is_over: Callable[[tuple[int, object], Fact], bool]) -> bool:
        """Drop some of what is told of a name; whether there was any. The rest comes to the end: see `_trim`."""
        facts = self._facts.pop(key, {})
        kept = {place: fact for place, fact in facts.items() if not is_over(place, fact)}
        if kept:
            self._facts[key] = kept
        return len(kept) < len(facts)


def _trim(kept: dict[Any, Any]) -> None:
    """What was heard longest ago makes room first."""
    while len(kept) > _MAX_NAMES:
        del kept[next(iter(kept))]


def _key(record: Record) -> tuple[str, Kind]:
    """Where a record is kept: what points at a service, with that service."""
    return fold(str(record.data) if record.kind == Kind.PTR else record.name), record.kind


def _content(record: Record) -> object:
    match record.data:
        case Place(host, port):
            return fold(host), port
        case data:
            return None if record.kind == Kind.PTR else data


def _scoped(record: Record, scope: str) -> Record:
    """A link-local address says nothing without the link."""
    if record.kind == Kind.AAAA and isinstance(record.data, str) and ipaddress.ip_address(record.data).is_link_local:
        return attrs.evolve(record, data=f"{record.data}%{scope}")
    return record
