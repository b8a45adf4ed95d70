"""An MQTT 3.1.1 broker for trio: what a panel's broker (mosquitto) is to its clients, with a switch for every fault.

It serves streams, and does not care whose: memory streams under a virtual clock, or TCP, TLS and WebSocket from
listeners that the caller owns. What it does for a client is written down in `sessions`, what goes wrong on the way in
`connection` and `faults`, what queues and what is dropped in `outbox`.

Not like mosquitto: QoS 2 is granted to no subscription (clients may publish at QoS 2), sessions are not kept beyond
their connection, MQTT 5 is refused (CONNACK 1), and there are no ``$SYS`` topics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import trio

from ...mqtt.framing import MAX_PACKET
from .connection import Connection
from .faults import BrokerFaults
from .filters import is_topic
from .hub import Authenticate, BrokerHub, May, OnPublish, OnReceive
from .sessions import Client

__all__ = ["Authenticate", "Broker", "BrokerFaults", "Client", "May", "OnPublish", "OnReceive", "SessionInfo"]

_MAX_PAYLOAD: Final = 16 * 2**20


@attrs.frozen
class SessionInfo:
    """One logged-in client, at the moment of asking.

    Attributes:
        client_id: as the client said, or as it was named when it said nothing.
        username: if given.
        since: when its connection began, on trio's clock.
        keepalive: s; 0: none.
        subscriptions: filter to granted QoS.
        packets_received: whole packets.
        packets_sent: queued to be sent.
        dropped: packets that found the queue full.
        bytes_received: of MQTT.
        bytes_sent: likewise.
    """

    client_id: str
    username: str | None
    since: float
    keepalive: int
    subscriptions: Mapping[str, int]
    packets_received: int
    packets_sent: int
    dropped: int
    bytes_received: int
    bytes_sent: int


class Broker:
    """A broker. It runs nothing by itself: `serve` does, once for each connection.

    Everything but `serve` is synchronous and may be called at any time from trio's thread, also from the callbacks. The
    callbacks are synchronous, must not block, and may publish; what they raise comes out of the `serve` (or the `drop`
    …) that called them.

    Args:
        authenticate: user name and password to a CONNACK code; ``None``: anybody may log in.
        may_subscribe: of a client and a filter; ``None``: anything. A refused filter gets SUBACK 0x80.
        may_publish: of a client and a topic; ``None``: anything. What is refused, a will too, is dropped silently and
            acknowledged all the same, as the panel's broker does.
        on_receive: told of every message of a client, a will too, before anything is done about it, and whether it may.
        on_publish: told of every message that a client was allowed to publish, a will too, after it was delivered.
        queue_limit: packets that may wait for one client; the next is dropped, whatever it is. ``None``: no limit but
            32 MiB, which always holds.
        max_packet: bytes; a client that sends a larger one is thrown out.
        max_retained: bytes of retained messages; what is more is delivered and not kept, which is logged.
    """

    def __init__(
        self,
        *,
        authenticate: Authenticate | None = None,
        may_subscribe: May | None = None,
        may_publish: May | None = None,
        on_receive: OnReceive | None = None,
        on_publish: OnPublish | None = None,
        queue_limit: int | None = 1000,
        max_packet: int = MAX_PACKET,
        max_retained: int = 64 * 2**20,
    ) -> None:
        self._hub = BrokerHub(
            authenticate=authenticate,
            may_subscribe=may_subscribe,
            may_publish=may_publish,
            on_receive=on_receive,
            on_publish=on_publish,
            queue_limit=queue_limit,
            max_retained=max_retained,
        )
        self._max_packet = max_packet
        self._connections: dict[Connection, None] = {}  # in order

    # --- clients ---

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one client until the connection ends, whoever ends it; the stream is then closed.

        Raises nothing that the client or the network could cause. This is a checkpoint. When cancelled, the stream is
        closed at once and the client's will, if any, is published.

        Args:
            stream: connected; a TLS stream need not have done its handshake. Owned from now on.
        """
        if self.faults.hang_up:
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(self._hub, stream, max_packet=self._max_packet)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    @property
    def sessions(self) -> Mapping[str, SessionInfo]:
        """Who is logged in, by client id, as of now."""
        found: dict[str, SessionInfo] = {}
        for connection in self._connections:
            session = connection.session
            if session.client is not None and session.why_ended is None:
                found[session.client.client_id] = SessionInfo(
                    *session.client,
                    connection.since,
                    session.keepalive,
                    dict(session.subscriptions.filters),
                    session.packets_received,
                    session.packets_sent,
                    session.outbox.dropped + session.window.dropped,
                    connection.bytes_received,
                    connection.bytes_sent,
                )
        return found

    # --- messages ---

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        """Publish from inside, as the panel itself: no access list applies, and ``on_publish`` is not told.

        Args:
            topic: without wildcards.
            payload: with ``retain``, an empty one deletes what is retained.
            retain: keep it for those who subscribe later.
            qos: 0 or 1; every client gets it at that of its subscription, if that is lower.

        Raises:
            ValueError: the topic is none, the payload is larger than 16 MiB, or the QoS is another.
        """
        if topic not in self.retained and not is_topic(topic):
            raise ValueError(f"{topic!r} is no topic to publish to")
        if len(payload) > _MAX_PAYLOAD:
            raise ValueError(f"a payload of {len(payload)} bytes is too large")
        if qos not in {0, 1}:
            raise ValueError(f"QoS {qos!r} is neither 0 nor 1")
        self._hub.publish(topic, payload, qos, retain=retain)

    @property
    def retained(self) -> Mapping[str, bytes]:
        """The retained messages, topic to payload, oldest topic first: a live, read-only view.

        A replay has them in another order: see `retained`.
        """
        return self._hub.store.payloads

    def clear_retained(self, prefix: str = "") -> int:
        """Forget the retained messages whose topics begin with ``prefix``, and tell nobody; returns how many.

        A broker that lost its store (probe "the broker comes back empty", lesson F "5 of 56 topics back").
        """
        return self._hub.store.clear(prefix)

    # --- faults ---

    @property
    def faults(self) -> BrokerFaults:
        """What is wrong at the moment. May be set at any time, and holds at once, for connections that exist too."""
        return self._hub.faults

    @faults.setter
    def faults(self, faults: BrokerFaults) -> None:
        self._hub.change_faults(faults)

    @property
    def queue_limit(self) -> int | None:
        """Packets that may wait for one client, beyond what its socket takes; ``None``: no limit. May be set."""
        return self._hub.queue_limit

    @queue_limit.setter
    def queue_limit(self, limit: int | None) -> None:
        self._hub.queue_limit = limit

    def drop(self, client_id: str | None = None) -> int:
        """Close the connection of a client, or all of them; returns how many.

        What is queued is still sent (for a second at most), then comes FIN. Wills are published at once. What a broker
        does that is restarted (lesson D "the reconnect loop dies for ever", probe "the broker is away for 20 s").
        """
        return self._end(client_id, reset=False)

    def reset(self, client_id: str | None = None) -> int:
        """As `drop`, by RST, at once: a broker that was killed, a router that was restarted (lesson D, likewise).

        A stream that has no socket (looked for along ``transport_stream``) is closed forcefully instead.
        """
        return self._end(client_id, reset=True)

    def restart(self, retained: Mapping[str, bytes] | None = None) -> None:
        """Reset every connection, as `reset` does, and come back with what was on the disk.

        Nobody publishes anything by that: what was retained says what was, and not that anybody is there. (For the time
        in which a broker is not there, set `BrokerFaults.hang_up`.)

        Args:
            retained: topic to payload, as ``dict(broker.retained)`` was when the broker last wrote it down; ``None``:
                what is retained now; ``{}``: the disk is empty.
        """
        self.reset()
        if retained is not None:
            self._hub.store.clear("")
            for topic, payload in retained.items():
                self.publish(topic, payload, retain=True)

    def _end(self, client_id: str | None, *, reset: bool) -> int:
        session = None if client_id is None else self._hub.sessions.get(client_id)
        ended = 0
        for connection in self._connections:
            if client_id is None or connection.session is session:
                ended += connection.session.why_ended is None
                connection.end("reset by the broker" if reset else "dropped by the broker", reset=reset)
        return ended

    def inject(self, data: bytes) -> None:
        """Send bytes as they are to every client that is logged in, behind what is queued.

        Malformed packets, messages with topics that are no UTF-8, half a packet: the probes of hostile input.
        """
        for session in self._hub.sessions.values():
            session.send(data)
