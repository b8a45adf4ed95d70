"""MQTT 3.1.1 packets as bytes, written from the specification (section 3) and independent of the library.

For tests that play the broker: `connack` to `pingresp` are what a broker sends, `connect` to `disconnect` what it gets.
`packet` makes any other, malformed ones too. Topics may be given as bytes, for those that are no UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "connack",
    "connect",
    "disconnect",
    "packet",
    "pingreq",
    "pingresp",
    "puback",
    "publish",
    "remaining_length",
    "suback",
    "subscribe",
    "unsuback",
    "unsubscribe",
]


# --- any packet ---


def packet(first: int, body: bytes = b"") -> bytes:
    """The packet whose first byte (type and flags) is ``first``."""
    return bytes([first]) + remaining_length(len(body)) + body


def remaining_length(size: int) -> bytes:
    """The second field of a packet: seven bits a byte, lowest first, the eighth bit meaning "there are more"."""
    size, low = divmod(size, 128)
    return bytes([low | 0x80]) + remaining_length(size) if size else bytes([low])


def _integer(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _text(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return _integer(len(raw)) + raw


# --- from a broker ---


def connack(code: int = 0, *, session_present: bool = False) -> bytes:
    """The answer to CONNECT: 0 accepts, 1 to 5 refuse."""
    return packet(0x20, bytes([session_present, code]))


def publish(
    topic: str | bytes, payload: bytes = b"", retain: bool = False, qos: int = 0, mid: int = 1, *, dup: bool = False
) -> bytes:
    """A message; clients send it in the same way. At QoS 0 it has no packet id, whatever ``mid`` is."""
    return packet(0x30 | dup << 3 | qos << 1 | retain, _text(topic) + (_integer(mid) if qos else b"") + payload)


def suback(mid: int, codes: Iterable[int] = (0,)) -> bytes:
    """The answer to SUBSCRIBE: for each filter the QoS granted, or 0x80 when it is refused."""
    return packet(0x90, _integer(mid) + bytes(codes))


def unsuback(mid: int) -> bytes:
    """The answer to UNSUBSCRIBE."""
    return packet(0xB0, _integer(mid))


def puback(mid: int) -> bytes:
    """The answer to a PUBLISH at QoS 1; clients send it in the same way."""
    return packet(0x40, _integer(mid))


def pingresp() -> bytes:
    """The answer to PINGREQ."""
    return packet(0xD0)


# --- from a client ---


def connect(
    client_id: str, *, username: str | None = None, password: str | None = None, keepalive: int = 8, clean: bool = True
) -> bytes:
    """The first packet of a client that leaves no will."""
    flags = clean << 1 | (password is not None) << 6 | (username is not None) << 7
    given = [text for text in (client_id, username, password) if text is not None]
    return packet(0x10, _text("MQTT") + bytes([4, flags]) + _integer(keepalive) + b"".join(map(_text, given)))


def subscribe(mid: int, filters: Iterable[str], qos: int = 0) -> bytes:
    """Ask for the messages of some topics, at one QoS for all."""
    return packet(0x82, _integer(mid) + b"".join(_text(each) + bytes([qos]) for each in filters))


def unsubscribe(mid: int, filters: Iterable[str]) -> bytes:
    """Ask for no more messages of some topics."""
    return packet(0xA2, _integer(mid) + b"".join(map(_text, filters)))


def pingreq() -> bytes:
    """Ask for a PINGRESP."""
    return packet(0xC0)


def disconnect() -> bytes:
    """The last packet of a client that means to go."""
    return packet(0xE0)
