"""Cut a stream of bytes into MQTT packets (MQTT 3.1.1, section 2.2), wherever the stream was cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["MAX_PACKET", "Frame", "Framer", "FramingError"]

MAX_PACKET: Final = 4 * 2**20

_LENGTH_BYTES: Final = 4
_PUBLISH: Final = 0x30


class FramingError(ValueError):
    """The bytes are not MQTT packets."""


class Frame(NamedTuple):
    """A packet: ``raw`` from its first byte, the body beginning at ``start`` and being ``size`` bytes long.

    Of a packet larger than the limit, which is not ``whole``, ``raw`` is only the beginning (of a PUBLISH, up to the
    end of its topic).
    """

    raw: bytes
    start: int
    size: int
    whole: bool


class Framer:
    """Buffers at most one packet, and of one whose body is larger than ``max_packet`` only its beginning (I8)."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        self._max_packet = max_packet
        self._pending: bytearray = bytearray()
        self._need = 0  # until there are so many bytes, looking at ``_pending`` again is a waste of time
        self._skip = 0

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The packets that ``data`` completes.

        Raises:
            FramingError: what comes next is no packet. The packets before it have been yielded.
        """
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        data, self._skip = data[self._skip :], 0
        if self._pending:
            self._pending += data
            if len(self._pending) < self._need:
                return
            data = bytes(self._pending)
            self._pending.clear()
        position, end = 0, len(data)
        while True:
            start, size = 2, data[position + 1] if position + 1 < end else 0x80
            if size & 0x80:  # not the one byte that most have
                start, size = _header(data, position)
            whole = size <= self._max_packet
            want = start + (size if whole else _beginning(data, position, start, size))
            if not start or position + want > end:
                break
            yield Frame(data[position : position + want], start, size, whole)
            position += start + size
        self._skip = max(0, position - end)
        self._pending += data[position:]
        self._need = want


def _header(data: bytes, position: int) -> tuple[int, int]:
    """The lengths of fixed header and body of the packet at ``position``; (0, 0) while they cannot be told yet."""
    size = 0
    for index, byte in enumerate(data[position + 1 : position + 1 + _LENGTH_BYTES]):
        size |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return index + 2, size
        if index == _LENGTH_BYTES - 1:
            raise FramingError("a packet length of more than four bytes")
    return 0, 0


def _beginning(data: bytes, position: int, start: int, size: int) -> int:
    """How much of a body that is too large is wanted: of a PUBLISH its topic, of another packet nothing."""
    if data[position] & 0xF0 != _PUBLISH:
        return 0
    body = position + start
    return min(size, 2 + int.from_bytes(data[body : body + 2], "big"))
