"""MQTT 3.1.1 as a pair of buffers: feed bytes, get events; call methods, get bytes. No I/O, no clock.

The rules of this room:

* Packets are framed before paho sees them: so PINGRESP is seen in its place among the messages (that is the replay
  barrier), size is bounded before anything is buffered, and paho is handed whole packets only. An inbound QoS 0 PUBLISH
  is decoded here (1 us against paho's 8); everything that has state is paho's.
* Events come in wire order; neighbouring messages come as one `Messages`.
* Nothing that a peer sends raises. What breaks the protocol is one last event, `Broken`, behind the good part; what is
  merely malformed (a topic that is no UTF-8) is dropped and counted.
* paho's callbacks append to the event list and do nothing else: an exception in one would have paho deliver the packet
  again, for ever (today's clients spin at 55,000 exceptions a second on one odd ``$description``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import paho.mqtt.client as paho

from ..errors import SpanPanelValidationError
from ..homie import Message
from .framing import MAX_PACKET, Frame, Framer, FramingError
from .memory import MemoryClient

__all__ = ["Broken", "Codec", "ConnAck", "Event", "Messages", "Oversized", "Pong", "PubAck", "SubAck"]

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xC0, 0xD0, 0xE0
_QOS_0: Final = 0xF6  # the bits of kind and QoS: equal to `_PUBLISH` for one at QoS 0
_RETAIN: Final = 0x01
_LONGEST_TEXT: Final = 0xFFFF  # bytes
_REFUSED: Final = 0x80  # a return code of SUBACK


class Messages(NamedTuple):
    """Neighbouring messages, in order."""

    batch: list[Message]


class ConnAck(NamedTuple):
    """The broker's answer to CONNECT: 0, or why it refuses (4: bad user name or password, 5: not authorised)."""

    code: int


class SubAck(NamedTuple):
    """The broker's answer to a SUBSCRIBE."""

    mid: int
    refused: bool


class PubAck(NamedTuple):
    """The broker's answer to a PUBLISH at QoS 1: it has it. It comes for one that an access list drops, too."""

    mid: int


class Pong(NamedTuple):
    """A PINGRESP."""


class Oversized(NamedTuple):
    """A message larger than the limit was passed over."""

    topic: str


class Broken(NamedTuple):
    """The peer does not speak MQTT, or no longer. The last event there is."""

    why: str


Event: TypeAlias = Messages | ConnAck | SubAck | PubAck | Pong | Oversized | Broken


def _size_of(text: str) -> int | None:
    """Of its UTF-8, bytes; ``None``: it has none. The error that says so carries the text, and is forgotten here."""
    with contextlib.suppress(UnicodeEncodeError):
        return len(text.encode())
    return None


class Codec:
    """One MQTT session, from CONNECT (queued at once) to DISCONNECT.

    Args:
        client_id: unique per connection: brokers end a session when another one takes over its id.
        username: to log in with, if any.
        password: to log in with, if any.
        keepalive: seconds, as told to the broker. Sending `ping` in time is up to the caller.
        max_packet: bytes; a larger inbound message is passed over, not buffered (I8).

    Raises:
        SpanPanelValidationError: the user name or the password is no text, or too long.
    """

    def __init__(
        self,
        *,
        client_id: str,
        username: str | None = None,
        password: str | None = None,
        keepalive: int = 8,
        max_packet: int = MAX_PACKET,
    ) -> None:
        self.packets: int = 0
        """Whole packets received."""
        self.dropped: int = 0
        """Messages dropped because their topic was no text."""
        self._framer = Framer(max_packet)
        self._events: list[Event] = []
        self._batch: list[Message] = []
        self._broken = False
        self._disconnected = False
        self._outgoing = bytearray()
        self._client = MemoryClient(client_id)
        self._client.on_subscribe = self._on_subscribe
        self._client.max_inflight_messages_set(0)  # or paho would hold a command back, and send it later
        if username is not None:
            sizes = [_size_of(text) for text in (username, password or "")]
            if None in sizes:
                raise SpanPanelValidationError("the user name or the password for MQTT is no text")
            if max(size or 0 for size in sizes) > _LONGEST_TEXT:
                raise SpanPanelValidationError("the user name or the password for MQTT is too long")
            self._client.username_pw_set(username, password)
        self._client.connect("memory", 1, keepalive=keepalive)

    # --- out ---

    def subscribe(self, filters: Iterable[str]) -> int:
        """Queue a SUBSCRIBE at QoS 0 (at QoS 1 every barrier overtakes the replay); returns its packet id."""
        _, mid = self._client.subscribe([(topic, 0) for topic in filters])
        return mid or 0

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Queue an UNSUBSCRIBE."""
        self._client.unsubscribe(list(filters))

    def publish(self, topic: str, payload: bytes, *, qos: int) -> int:
        """Queue a PUBLISH, never retained; returns its packet id. At QoS 1 a `PubAck` with that id is to come.

        It is sent once: paho sends again only on a new connection, and a codec has none.
        """
        return self._client.publish(topic, payload, qos=qos).mid

    def ping(self) -> None:
        """Queue a PINGREQ, behind everything queued so far."""
        self._queue(bytes([_PINGREQ, 0]))

    def disconnect(self) -> None:
        """Queue a DISCONNECT, and nothing ever after it. What still comes in is taken as before."""
        self._queue(bytes([_DISCONNECT, 0]))
        self._disconnected = True  # unknown to paho, which would close its socket and take nothing more

    def take_outgoing(self) -> bytes:
        """Everything queued: whole packets, in the order of the calls."""
        self._queue(b"")
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def _queue(self, packet: bytes) -> None:
        """Queue a packet behind all that paho has queued."""
        if not self._disconnected:
            self._outgoing += self._client.take_outgoing() + packet

    # --- in ---

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer, cut anywhere; returns what they complete."""
        if self._broken:
            return []
        try:
            for frame in self._framer.frames(data):
                if frame.raw[0] & _QOS_0 == _PUBLISH:  # nearly all there is
                    self.packets += 1
                    self._publish(frame)
                else:
                    self._take(frame)
        except (FramingError, _BrokenError) as error:
            self._event(Broken(str(error)))
            self._broken = True
        self._end_batch()
        events, self._events = self._events, []
        return events

    def _take(self, frame: Frame) -> None:
        self.packets += 1
        first = frame.raw[0]
        kind = first & 0xF0
        if kind == _PUBLISH:
            # A broker must not, and acknowledging could be made to pile up without bound (I8).
            raise _BrokenError("a PUBLISH at a QoS that was not asked for")
        if not frame.whole:
            raise _BrokenError("a packet too large that is no PUBLISH")
        if kind == _PINGRESP and not frame.size:
            self._event(Pong())
        else:
            self._hand_to_paho(frame, kind)

    def _publish(self, frame: Frame) -> None:
        raw, start, _, whole = frame
        body = start + 2 + int.from_bytes(raw[start : start + 2], "big")
        if body > len(raw):
            raise _BrokenError("a PUBLISH shorter than its topic")
        try:
            topic = raw[start + 2 : body].decode()
        except UnicodeDecodeError:
            self.dropped += 1
            return
        if whole:
            self._batch.append(Message(topic, raw[body:], raw[0] & _RETAIN != 0))
        else:
            self._event(Oversized(topic))

    def _hand_to_paho(self, frame: Frame, kind: int) -> None:
        raw = frame.raw
        if kind == _PINGREQ:  # paho would answer
            raise _BrokenError("a PINGREQ, which only a client may send")
        if kind == _SUBACK and frame.size < 3:  # paho would take no answer for a yes
            raise _BrokenError("a SUBACK without a return code")
        if kind == _PUBACK and frame.size == 2:  # paho's callback tells of QoS 0 as well, when that is written
            self._event(PubAck(int.from_bytes(raw[frame.start : frame.start + 2], "big")))
        if kind == _CONNACK and frame.size == 2:  # paho does not report codes 1 and 2
            code = raw[frame.start + 1]
            self._event(ConnAck(code))
            if code:
                return
        try:
            result = self._client.feed(raw)
        except Exception as error:  # noqa: BLE001 - paho's parsers raise what they like on malformed packets
            raise _BrokenError(f"a malformed packet ({type(error).__name__})") from None
        if result != paho.MQTT_ERR_SUCCESS:
            raise _BrokenError(f"a malformed packet ({paho.error_string(result)})")

    def _event(self, event: Event) -> None:
        self._end_batch()
        self._events.append(event)

    def _end_batch(self) -> None:
        if self._batch:
            self._events.append(Messages(self._batch))
            self._batch = []

    # --- paho's callback ---

    def _on_subscribe(self, _client: Any, _userdata: Any, mid: int, codes: Sequence[Any], _properties: Any) -> None:
        self._event(SubAck(mid, refused=any(code.value >= _REFUSED for code in codes)))


class _BrokenError(Exception):
    """A peer broke the protocol: `Codec.receive` makes it an event."""
