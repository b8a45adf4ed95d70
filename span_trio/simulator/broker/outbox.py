"""What waits to be sent to one client: bounded, and cut off where mosquitto cuts off. Pure.

mosquitto writes a packet straight into the socket. When the socket is full the packet waits in a queue, and when 1,000
wait the next is dropped, whatever it is: a message of QoS 0, but a PINGRESP or a SUBACK just so. `Outbox` does the same
with a socket that it only imagines (``room`` bytes), so that the same happens on a memory stream. Over WebSocket not
one byte leaves before a burst has been queued as a whole: that is a room of 0, and the replay of more than 999 topics
stops at 999.

`Window` is the other queue: messages of QoS 1, of which no more than 20 wait for their PUBACK at a time.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

__all__ = ["MAX_WAITING", "Outbox", "Outgoing", "Window"]

MAX_WAITING: Final = 32 * 2**20
"""Bytes that may wait for one client, in each of the two queues; what is more is dropped."""


class Outbox:
    """Packets on their way to one client, in order."""

    def __init__(self) -> None:
        self.dropped: int = 0
        """Packets that found the queue full."""
        self._room = 0
        self._socket = bytearray()
        self._queue: deque[bytes] = deque()
        self._queued = 0  # bytes in the queue
        self._closed = False

    def put(self, packet: bytes, *, room: int, limit: int | None) -> bool:
        """Queue a packet behind the others, or drop it.

        Args:
            packet: whole; or any bytes, to go out as they are.
            room: bytes that the imagined socket takes before packets have to queue.
            limit: packets that may queue; ``None``: only `MAX_WAITING` counts.
        """
        if self._closed:
            return False
        self._room = room
        if not self._queue and len(self._socket) < room:
            self._socket += packet
        elif (limit is None or len(self._queue) < limit) and self._queued + len(packet) <= MAX_WAITING:
            self._queue.append(packet)
            self._queued += len(packet)
        else:
            self.dropped += 1
            return False
        return True

    def take(self, size: int) -> bytes:
        """The next bytes to be sent, at most ``size``; none when there are none."""
        self._refill()
        data = bytes(self._socket[:size])
        del self._socket[:size]
        self._refill()
        return data

    def _refill(self) -> None:
        while self._queue and (not self._socket or len(self._socket) < self._room):
            packet = self._queue.popleft()
            self._queued -= len(packet)
            self._socket += packet

    def close(self) -> None:
        """Throw away what waits, and take nothing more."""
        self._closed = True
        self._socket.clear()
        self._queue.clear()


class Outgoing(NamedTuple):
    """A message of QoS 1 for one client."""

    topic: str
    payload: bytes
    retain: bool


class Window:
    """Messages of QoS 1: those in flight, and those that wait until one of them is acknowledged."""

    SIZE: Final = 20  # mosquitto's max_inflight_messages

    def __init__(self) -> None:
        self.dropped: int = 0
        """Messages that found the queue full."""
        self._in_flight: set[int] = set()
        self._last = 0
        self._queue: deque[Outgoing] = deque()
        self._queued = 0

    def put(self, message: Outgoing, *, limit: int | None) -> None:
        """Queue a message behind the others, or drop it; see `Outbox.put`."""
        size = len(message.topic) + len(message.payload)
        if (limit is None or len(self._queue) < limit) and self._queued + size <= MAX_WAITING:
            self._queue.append(message)
            self._queued += size
        else:
            self.dropped += 1

    def acknowledge(self, mid: int) -> None:
        """A PUBACK came; one for a message that is not in flight says nothing."""
        self._in_flight.discard(mid)

    def next(self) -> tuple[int, Outgoing] | None:
        """The next message that may be sent, in flight from now on, and its packet id; ``None``: none may."""
        if not self._queue or len(self._in_flight) >= self.SIZE:
            return None
        self._last = self._last % 0xFFFF + 1
        while self._last in self._in_flight:
            self._last = self._last % 0xFFFF + 1
        self._in_flight.add(self._last)
        message = self._queue.popleft()
        self._queued -= len(message.topic) + len(message.payload)
        return self._last, message
