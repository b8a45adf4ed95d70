"""DNS messages, to bytes and back. The only place that imports zeroconf."""

from __future__ import annotations

import enum
import ipaddress
from typing import Any, Final, TypeAlias, cast

import attrs
import zeroconf

from ..wiretext import get_logger

__all__ = ["ADDRESSES", "MAX_PACKET", "Kind", "Message", "Place", "Question", "Record", "decode", "encode"]

_log = get_logger("span_trio.discovery")
_wire: Final = cast("Any", zeroconf)  # it exports these names, and its annotations do not say so

MAX_PACKET: Final = 9000
"""Bytes of an mDNS message, at most (RFC 6762, section 17)."""
_RESPONSE: Final = 0x8400  # QR and AA
_INTERNET: Final = 1
_ANY_CLASS: Final = 255
_TOP: Final = 0x8000  # of a record's class: flush the cache; of a question's: answer by unicast
_MAX_LABEL: Final = 63
_MAX_NAME: Final = 253


class Kind(enum.IntEnum):
    """The types of records that matter here."""

    A = 1
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


ADDRESSES: Final = (Kind.A, Kind.AAAA)
_KINDS: Final = frozenset(Kind)


@attrs.frozen
class Place:
    """What a SRV record tells: a host and a port."""

    host: str
    port: int


Data: TypeAlias = str | bytes | Place
"""Of a PTR a name, of A and AAAA an address in text, of a TXT its bytes, of a SRV a place."""


@attrs.frozen
class Question:
    """A question. Names end in a dot."""

    name: str
    kind: Kind
    unicast: bool = False
    """Whether the answer may be for us alone (QU)."""


@attrs.frozen
class Record:
    """A record. Names end in a dot."""

    name: str
    kind: Kind
    data: Data
    ttl: int = 4500
    """s; 0 takes it back."""
    flush: bool = True
    """Whether it replaces what was said before of the same name and kind."""


@attrs.frozen
class Message:
    """A message: a query asks ``questions`` and tells in ``answers`` what it knows; anything else answers."""

    query: bool
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    id: int = 0


def decode(packet: bytes) -> Message | None:
    """What a packet says that matters here; ``None`` if it is no DNS message. Never raises."""
    try:
        incoming = _wire.DNSIncoming(packet)
        if not incoming.valid:
            return None
        asked = [asked for asked in incoming.questions if _matters(asked, _INTERNET, _ANY_CLASS)]
        said = [(said, _data(said)) for said in incoming.answers() if _matters(said, _INTERNET)]
        questions = tuple(Question(it.name, Kind(it.type), bool(it.unicast)) for it in asked)
        answers = (
            Record(it.name, Kind(it.type), data, int(it.ttl), bool(it.unique)) for it, data in said if data is not None
        )
        return Message(incoming.is_query(), questions, tuple(answers), id=incoming.id)
    except Exception:  # noqa: BLE001 - a parser of strangers' bytes that is not ours: none of them may end a program
        _log.debug("no DNS message: %.80r", packet, exc_info=True)
        return None


def encode(message: Message) -> tuple[bytes, ...]:
    """The packets of a message: more than one if it is long. Names must fit DNS."""
    outgoing = _wire.DNSOutgoing(0 if message.query else _RESPONSE, message.id == 0, message.id)
    for question in message.questions:
        klass = _INTERNET | _TOP if question.unicast else _INTERNET
        outgoing.add_question(_wire.DNSQuestion(question.name, int(question.kind), klass))
    for record in message.answers:
        outgoing.add_answer_at_time(_to_wire(record), 0)
    for record in message.additional:
        outgoing.add_additional_answer(_to_wire(record))
    return tuple(outgoing.packets())


def _matters(entry: Any, *classes: int) -> bool:
    return entry.type in _KINDS and entry.class_ in classes and _spelled(entry.name)


def _data(record: Any) -> Data | None:
    match record.type:
        case Kind.PTR:
            return record.alias if _spelled(record.alias) else None
        case Kind.SRV:
            return Place(record.server, record.port) if _spelled(record.server) else None
        case Kind.TXT:
            return bytes(record.text)
        case _:
            return str(ipaddress.ip_address(bytes(record.address)))  # spelled as `links` spells who has sent it


def _to_wire(record: Record) -> Any:
    head = (record.name, int(record.kind), _INTERNET | _TOP if record.flush else _INTERNET, record.ttl)
    match record.data:
        case Place(host, port):
            return _wire.DNSService(*head, 0, 0, port, host)
        case bytes(text):
            return _wire.DNSText(*head, text)
        case target if record.kind == Kind.PTR:
            return _wire.DNSPointer(*head, target)
        case address:
            return _wire.DNSAddress(*head, ipaddress.ip_address(address).packed)


def _spelled(name: str) -> bool:
    """Whether a name that was read can be written again, which is how more is asked about it."""
    labels = name.removesuffix(".").split(".")
    return (
        len(name.encode()) <= _MAX_NAME
        and "\N{REPLACEMENT CHARACTER}" not in name
        and all(0 < len(label.encode()) <= _MAX_LABEL for label in labels)
    )
