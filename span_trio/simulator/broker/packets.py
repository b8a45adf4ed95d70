"""MQTT 3.1.1 as a broker sees it: packets of a client to objects, answers to bytes. Pure; no I/O, no state.

The rules of this room:

* `decode` takes what `span_trio.mqtt.framing.Framer` cut out of the stream. It returns one of `ClientPacket` or raises
  `PacketError`, and nothing else, whatever the bytes.
* What comes out is valid: texts are text, topics are topics, filters are filters, packet ids are not 0. Nobody behind
  has to ask again.
* Strict where mosquitto is (flags, ids, strings, bytes left over), lenient where it is and it costs nothing (DUP on a
  message of QoS 0).
* Protocol levels 3 ("MQIsdp") and 4 ("MQTT") are spoken. Any other is an `UnsupportedLevel`, to be answered with
  CONNACK 1; a protocol of another name is malformed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

import attrs

from ...mqtt.framing import Frame
from .filters import is_filter, is_text, is_topic

__all__ = [
    "PINGRESP",
    "Ack",
    "ClientPacket",
    "Connect",
    "Disconnect",
    "PacketError",
    "PacketType",
    "PingReq",
    "Publish",
    "Subscribe",
    "Unsubscribe",
    "UnsupportedLevel",
    "Will",
    "decode",
    "encode_ack",
    "encode_connack",
    "encode_publish",
    "encode_suback",
]


class PacketError(ValueError):
    """A client sent what is no packet of a client. The text says what, without quoting it."""


class PacketType(enum.IntEnum):
    """The upper half of a packet's first byte."""

    CONNECT = 0x10
    CONNACK = 0x20
    PUBLISH = 0x30
    PUBACK = 0x40
    PUBREC = 0x50
    PUBREL = 0x60
    PUBCOMP = 0x70
    SUBSCRIBE = 0x80
    SUBACK = 0x90
    UNSUBSCRIBE = 0xA0
    UNSUBACK = 0xB0
    PINGREQ = 0xC0
    PINGRESP = 0xD0
    DISCONNECT = 0xE0


# --- what a client sends ---


class Will(NamedTuple):
    """What the broker shall publish when the client goes without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@attrs.frozen
class Connect:
    """The first packet.

    Attributes:
        client_id: may be empty.
        username: if given.
        password: if given; in no repr.
        keepalive: s; 0: none.
        clean: whether the client wants a new session.
        will: if any.
        level: 3 or 4.
    """

    client_id: str
    username: str | None
    password: bytes | None = attrs.field(repr=False)
    keepalive: int
    clean: bool
    will: Will | None
    level: int


class UnsupportedLevel(NamedTuple):
    """A CONNECT in a version of MQTT that is not spoken here."""

    level: int


class Publish(NamedTuple):
    """A message. ``mid`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int


class Subscribe(NamedTuple):
    """Filters, each with the QoS that is asked for."""

    mid: int
    filters: tuple[tuple[str, int], ...]


class Unsubscribe(NamedTuple):
    """Filters to be dropped."""

    mid: int
    filters: tuple[str, ...]


class Ack(NamedTuple):
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: PacketType
    mid: int


class PingReq(NamedTuple):
    """A client asks for a PINGRESP."""


class Disconnect(NamedTuple):
    """A client means to go."""


ClientPacket: TypeAlias = Connect | UnsupportedLevel | Publish | Subscribe | Unsubscribe | Ack | PingReq | Disconnect


class _Body:
    """The bytes of a packet behind its fixed header, read from front to back."""

    def __init__(self, frame: Frame) -> None:
        self._raw = frame.raw
        self._at = frame.start

    def __bool__(self) -> bool:
        return self._at < len(self._raw)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise PacketError("a packet shorter than what it announces")
        data = self._raw[self._at : end]
        self._at = end
        return data

    def rest(self) -> bytes:
        return self.take(len(self._raw) - self._at)

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def blob(self) -> bytes:
        return self.take(self.integer(2))

    def text(self) -> str:
        try:
            text = self.blob().decode()
        except UnicodeDecodeError:
            raise PacketError("a string that is not UTF-8") from None
        if not is_text(text):
            raise PacketError("a string with characters that no string may have")
        return text

    def topic(self) -> str:
        return self._checked(is_topic, "a topic that is none")

    def filter(self) -> str:
        return self._checked(is_filter, "a filter that is none")

    def _checked(self, check: Callable[[str], bool], otherwise: str) -> str:
        text = self.text()
        if not check(text):
            raise PacketError(otherwise)
        return text

    def mid(self) -> int:
        mid = self.integer(2)
        if not mid:
            raise PacketError("packet id 0")
        return mid

    def qos(self) -> int:
        return _checked_qos(self.integer(1))


def _checked_qos(qos: int) -> int:
    if qos > 2:
        raise PacketError("a QoS above 2")
    return qos


_LEVELS: Final = {"MQIsdp": 3, "MQTT": 4}
_RESERVED, _CLEAN, _WILL, _WILL_QOS, _WILL_RETAIN, _PASSWORD, _USERNAME = 0x01, 0x02, 0x04, 0x18, 0x20, 0x40, 0x80


def _connect(body: _Body, _: int) -> Connect | UnsupportedLevel:
    name = body.text()
    if name not in _LEVELS:
        raise PacketError("a CONNECT of another protocol")
    level = body.integer(1)
    if level != _LEVELS[name]:
        body.rest()
        return UnsupportedLevel(level)
    flags = body.integer(1)
    if flags & _RESERVED or flags & (_USERNAME | _PASSWORD) == _PASSWORD:
        raise PacketError("a CONNECT with flags that cannot be")
    if not flags & _WILL and flags & (_WILL_QOS | _WILL_RETAIN):
        raise PacketError("a CONNECT with the QoS or the retain flag of no will")
    will_qos = _checked_qos((flags & _WILL_QOS) >> 3)
    keepalive = body.integer(2)
    client_id = body.text()
    will = Will(body.topic(), body.blob(), will_qos, bool(flags & _WILL_RETAIN)) if flags & _WILL else None
    username = body.text() if flags & _USERNAME else None
    password = body.blob() if flags & _PASSWORD else None
    return Connect(client_id, username, password, keepalive, bool(flags & _CLEAN), will, level)


def _publish(body: _Body, flags: int) -> Publish:
    qos = _checked_qos((flags & 0x06) >> 1)
    topic = body.topic()
    mid = body.mid() if qos else 0
    return Publish(topic, body.rest(), qos, bool(flags & 0x01), bool(flags & 0x08), mid)


def _some(body: _Body) -> Iterator[_Body]:
    """The body, as long as there is something in it: at least once."""
    if not body:
        raise PacketError("a packet without a filter")
    while body:
        yield body


def _subscribe(body: _Body, _: int) -> Subscribe:
    return Subscribe(body.mid(), tuple((each.filter(), each.qos()) for each in _some(body)))


def _unsubscribe(body: _Body, _: int) -> Unsubscribe:
    return Unsubscribe(body.mid(), tuple(each.filter() for each in _some(body)))


def _ack(kind: PacketType) -> Callable[[_Body, int], Ack]:
    return lambda body, _: Ack(kind, body.mid())


_Decoder: TypeAlias = tuple[int | None, Callable[[_Body, int], ClientPacket]]
"""The flags that the first byte must have (``None``: any), and what makes an object of the body and the flags."""

_DECODERS: Final[dict[int, _Decoder]] = {
    PacketType.CONNECT: (0, _connect),
    PacketType.PUBLISH: (None, _publish),
    PacketType.PUBACK: (0, _ack(PacketType.PUBACK)),
    PacketType.PUBREC: (0, _ack(PacketType.PUBREC)),
    PacketType.PUBREL: (2, _ack(PacketType.PUBREL)),
    PacketType.PUBCOMP: (0, _ack(PacketType.PUBCOMP)),
    PacketType.SUBSCRIBE: (2, _subscribe),
    PacketType.UNSUBSCRIBE: (2, _unsubscribe),
    PacketType.PINGREQ: (0, lambda _body, _flags: PingReq()),
    PacketType.DISCONNECT: (0, lambda _body, _flags: Disconnect()),
}


def decode(frame: Frame) -> ClientPacket:
    """Make an object of a packet that a client sent.

    Raises:
        PacketError: it is malformed, too large to have been kept whole, or none that a client may send.
    """
    if not frame.whole:
        raise PacketError("a packet larger than what is taken")
    kind, flags = frame.raw[0] & 0xF0, frame.raw[0] & 0x0F
    expected, make = _DECODERS.get(kind, (None, None))
    if make is None:
        raise PacketError("a packet that no client sends")
    if expected is not None and flags != expected:
        raise PacketError("a packet with flags that it cannot have")
    body = _Body(frame)
    packet = make(body, flags)
    if body:
        raise PacketError("a packet longer than what it holds")
    return packet


# --- what a broker sends ---

PINGRESP: Final = bytes([PacketType.PINGRESP, 0])


def encode_connack(code: int) -> bytes:
    """The answer to CONNECT: 0 accepts, 1 to 5 say why not. There never is a session from before."""
    return bytes([PacketType.CONNACK, 2, 0, code])


def encode_publish(topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, mid: int = 0) -> bytes:
    """A message. At QoS 0 it has no packet id."""
    name = topic.encode()
    head = len(name).to_bytes(2, "big") + name + (mid.to_bytes(2, "big") if qos else b"")
    return _packet(PacketType.PUBLISH | qos << 1 | retain, head + payload)


def encode_suback(mid: int, codes: Iterable[int]) -> bytes:
    """The answer to SUBSCRIBE: for each filter the QoS granted, or 0x80: refused."""
    return _packet(PacketType.SUBACK, mid.to_bytes(2, "big") + bytes(codes))


def encode_ack(kind: PacketType, mid: int) -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK."""
    flags = 2 if kind == PacketType.PUBREL else 0
    return _packet(kind | flags, mid.to_bytes(2, "big"))


def _packet(first: int, body: bytes) -> bytes:
    head = bytearray([first])
    size = len(body)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + body
