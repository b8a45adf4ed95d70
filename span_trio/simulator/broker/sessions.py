"""What a broker does for one client: packets in, packets out. No I/O, no clock; `connection` moves the bytes.

The rules of this room:

* A session ends once (`Session.end`), for whatever reason; ending it is synchronous, and waits for nobody.
* The first packet is CONNECT, and there is one only. A session is known to the `Hub` from its CONNACK 0 on.
* As mosquitto: a message is delivered, also to its sender, before it is acknowledged; SUBACK comes before the replay; a
  replay is made of one replay for each filter, so that filters that overlap bring a message twice, while what is
  published later comes once, at the highest QoS.
* QoS 2 is taken and not given: a client may publish at QoS 2 (the message is passed on at once and its id remembered
  until PUBREL, so that it is passed on once), a subscription is granted QoS 1 at most.
* There are no sessions from before: one that was not clean ends with its connection too, and CONNACK says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from .faults import BrokerFaults
from .filters import Subscriptions
from .outbox import Outbox, Outgoing, Window
from .packets import (
    PINGRESP,
    Ack,
    ClientPacket,
    Connect,
    Disconnect,
    PacketError,
    PacketType,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
    UnsupportedLevel,
    Will,
    encode_ack,
    encode_connack,
    encode_publish,
    encode_suback,
)
from .retained import Retained

__all__ = ["Client", "Hub", "Session"]

_REFUSED: Final = 0x80
_BAD_LEVEL: Final = 1
_ROOM: Final = 2**20  # bytes that a socket takes, at both ends together


class Client(NamedTuple):
    """Who is logged in. ``username`` is ``None`` when none was given."""

    client_id: str
    username: str | None


class Hub(Protocol):
    """What a session needs of its broker."""

    @property
    def faults(self) -> BrokerFaults:
        """What is wrong at the moment."""
        ...

    @property
    def queue_limit(self) -> int | None:
        """Packets that may queue for a client."""
        ...

    def judge(self, connect: Connect) -> tuple[Client, int]:
        """Who wants to log in (a client without an id is given one), and the CONNACK code."""
        ...

    def log_in(self, session: Session, client: Client) -> None:
        """Take a session in; another one under the same id is ended."""
        ...

    def log_out(self, session: Session, client: Client) -> None:
        """Forget a session."""
        ...

    def may_subscribe(self, client: Client, pattern: str) -> bool:
        """Whether a client may subscribe to a filter."""
        ...

    def take(self, client: Client, message: Publish | Will) -> None:
        """Pass on what a client publishes, if it may."""
        ...

    def replay(self, patterns: Iterable[tuple[str, int]]) -> Sequence[Retained]:
        """The retained messages for filters, each at the QoS of its filter at most."""
        ...


class Session:
    """One client, from its first packet to its end.

    Args:
        hub: the broker.
        wake: called when there is something to send, and when the session has ended.
    """

    def __init__(self, hub: Hub, wake: Callable[[], None]) -> None:
        self.client: Client | None = None
        """Set when logged in."""
        self.keepalive: int = 0
        """s; 0: none."""
        self.why_ended: str | None = None
        """In words, once it has."""
        self.packets_received: int = 0
        self.packets_sent: int = 0
        self.subscriptions: Final = Subscriptions()
        self.outbox: Final = Outbox()
        self.window: Final = Window()
        self._hub = hub
        self._wake = wake
        self._will: Will | None = None
        self._taken: set[int] = set()  # the ids of messages of QoS 2 that wait for PUBREL

    # --- the end ---

    def end(self, why: str, *, graceful: bool = False) -> None:
        """The session is over: the hub forgets it, and publishes the will unless it was ``graceful``."""
        if self.why_ended is not None:
            return
        self.why_ended = why
        self._wake()
        if self.client is not None:
            self._hub.log_out(self, self.client)
            if self._will is not None and not graceful:
                self._hub.take(self.client, self._will)

    # --- out ---

    def send(self, packet: bytes) -> None:
        """Queue bytes for the client, or drop them when too much waits."""
        faults = self._hub.faults
        if faults.mute:
            return
        room = 0 if faults.websocket_queue else _ROOM
        self.packets_sent += self.outbox.put(packet, room=room, limit=self._hub.queue_limit)
        self._wake()

    def send_message(self, message: Outgoing) -> None:
        """Queue a message at QoS 1."""
        if not self._hub.faults.mute:
            self.window.put(message, limit=self._hub.queue_limit)
            self._send_window()

    def _send_window(self) -> None:
        while (following := self.window.next()) is not None:
            mid, (topic, payload, retain) = following
            self.send(encode_publish(topic, payload, qos=1, retain=retain, mid=mid))

    def _answer(self, kind: PacketType, packet: bytes) -> None:
        if kind not in self._hub.faults.swallow:
            self.send(packet)

    def _acknowledge(self, kind: PacketType, mid: int) -> None:
        self._answer(kind, encode_ack(kind, mid))

    # --- in ---

    def handle(self, packet: ClientPacket) -> None:
        """Do what a packet asks for.

        Raises:
            PacketError: not now.
            Exception: what the broker's callbacks raise.
        """
        self.packets_received += 1
        if self.client is None:
            self._log_in(packet)
            return
        match packet:
            case Publish():
                self._take(self.client, packet)
            case Subscribe():
                self._subscribe(self.client, packet)
            case Unsubscribe():
                for pattern in packet.filters:
                    self.subscriptions.discard(pattern)
                self._acknowledge(PacketType.UNSUBACK, packet.mid)
            case Ack():
                self._acknowledged(packet)
            case PingReq():
                self._answer(PacketType.PINGRESP, PINGRESP)
            case Disconnect():
                self.end("the client said goodbye", graceful=True)
            case _:
                raise PacketError("a second CONNECT")

    def _log_in(self, packet: ClientPacket) -> None:
        match packet:
            case UnsupportedLevel():
                self._refuse(_BAD_LEVEL)
            case Connect():
                client, code = self._hub.judge(packet)
                if code:
                    self._refuse(code)
                    return
                self._hub.log_in(self, client)
                self.client = client
                self.keepalive = packet.keepalive
                self._will = packet.will
                self._answer(PacketType.CONNACK, encode_connack(0))
            case _:
                raise PacketError("no CONNECT at first")

    def _refuse(self, code: int) -> None:
        self._answer(PacketType.CONNACK, encode_connack(code))
        self.end(f"login refused with code {code}")

    def _take(self, client: Client, message: Publish) -> None:
        if message.qos < 2 or message.mid not in self._taken:
            self._hub.take(client, message)
        if message.qos == 1:
            self._acknowledge(PacketType.PUBACK, message.mid)
        elif message.qos == 2:
            self._taken.add(message.mid)
            self._acknowledge(PacketType.PUBREC, message.mid)

    def _acknowledged(self, ack: Ack) -> None:
        match ack.kind:
            case PacketType.PUBACK:
                self.window.acknowledge(ack.mid)
                self._send_window()
            case PacketType.PUBREC:  # of a message that we never sent: let the client be done with it
                self._acknowledge(PacketType.PUBREL, ack.mid)
            case PacketType.PUBREL:
                self._taken.discard(ack.mid)
                self._acknowledge(PacketType.PUBCOMP, ack.mid)
            case _:  # PUBCOMP
                pass

    def _subscribe(self, client: Client, packet: Subscribe) -> None:
        granted: list[tuple[str, int]] = []
        codes: list[int] = []
        for pattern, wanted in packet.filters:
            qos = min(wanted, 1)
            refused = self._hub.faults.refuse_subscriptions or not self._hub.may_subscribe(client, pattern)
            if refused or not self.subscriptions.add(pattern, qos):
                codes.append(_REFUSED)
            else:
                codes.append(qos)
                granted.append((pattern, qos))
        self._answer(PacketType.SUBACK, encode_suback(packet.mid, codes))
        for topic, payload, qos in self._hub.replay(granted):
            if qos:
                self.send_message(Outgoing(topic, payload, retain=True))
            else:
                self.send(encode_publish(topic, payload, retain=True))
