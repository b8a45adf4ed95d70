"""What the clients of a broker share: who is logged in, what is retained, and the road from one to the others. No I/O.

Publishing is synchronous and waits for nobody: a message is queued for every client that wants it, or dropped for the
client whose queue is full, so that nobody is delayed by anybody.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import trio

from ...homie import Message
from ...wiretext import get_logger
from .faults import BrokerFaults
from .filters import matches
from .outbox import Outgoing
from .packets import Connect, Publish, Will, encode_publish
from .retained import Retained, RetainedStore
from .sessions import Client, Session

__all__ = ["Authenticate", "BrokerHub", "May", "OnPublish", "OnReceive"]

Authenticate: TypeAlias = Callable[[str | None, bytes | None], int]
"""User name and password to a CONNACK code: 0 lets in, 4 (bad user name or password) or 5 (not authorised) do not."""

May: TypeAlias = Callable[[Client, str], bool]
"""Whether a client may subscribe to a filter, or publish to a topic."""

OnReceive: TypeAlias = Callable[[Client, Publish | Will, bool], None]
"""Told of every message that a client published, as it came, before it is passed on; and whether it will be."""

OnPublish: TypeAlias = Callable[[Client, Message], None]
"""Told of every message that a client published and was allowed to; ``retain`` as the client has set it."""

_BAD_CLIENT_ID: Final = 2

_log = get_logger("span_trio.simulator.broker")


def _anybody(_username: str | None, _password: bytes | None) -> int:
    return 0


def _anything(_client: Client, _what: str) -> bool:
    return True


def _nothing(_client: Client, _message: Message) -> None:
    pass


def _silence(_client: Client, _message: Publish | Will, _may: bool) -> None:
    pass


class BrokerHub:
    """The one that all sessions of a broker know (`sessions.Hub`)."""

    def __init__(
        self,
        *,
        authenticate: Authenticate | None,
        may_subscribe: May | None,
        may_publish: May | None,
        on_receive: OnReceive | None,
        on_publish: OnPublish | None,
        queue_limit: int | None,
        max_retained: int,
    ) -> None:
        self.faults: BrokerFaults = BrokerFaults()
        self.faults_changed: trio.Event = trio.Event()
        """Set, and replaced by a new one, when ``faults`` have been changed."""
        self.queue_limit = queue_limit
        self.store: Final = RetainedStore(max_retained)
        self.sessions: Final[dict[str, Session]] = {}
        """Who is logged in, by client id."""
        self._authenticate = authenticate or _anybody
        self._may_subscribe = may_subscribe or _anything
        self._may_publish = may_publish or _anything
        self._on_receive = on_receive or _silence
        self._on_publish = on_publish or _nothing
        self._anonymous = 0
        self._full = False

    def change_faults(self, faults: BrokerFaults) -> None:
        """From now on, these."""
        self.faults = faults
        changed, self.faults_changed = self.faults_changed, trio.Event()
        changed.set()

    # --- for sessions ---

    def judge(self, connect: Connect) -> tuple[Client, int]:
        """As `sessions.Hub.judge`."""
        client = Client(connect.client_id or self._new_id(), connect.username)
        if not connect.client_id and (connect.level == 3 or not connect.clean):
            return client, _BAD_CLIENT_ID
        return client, self.faults.refuse_login or self._authenticate(connect.username, connect.password)

    def _new_id(self) -> str:
        while True:
            self._anonymous += 1
            name = f"auto-{self._anonymous}"
            if name not in self.sessions:
                return name

    def log_in(self, session: Session, client: Client) -> None:
        """As `sessions.Hub.log_in`."""
        old = self.sessions.get(client.client_id)
        if old is not None:
            old.end("another client took over its id")
        if session.why_ended is None:  # a callback, told of the other one's will, may have ended this one
            self.sessions[client.client_id] = session
            _log.info("%r logged in as %r", *client)

    def log_out(self, session: Session, client: Client) -> None:
        """As `sessions.Hub.log_out`."""
        del self.sessions[client.client_id]
        _log.info("%r is gone: %s", client.client_id, session.why_ended)

    def may_subscribe(self, client: Client, pattern: str) -> bool:
        """As `sessions.Hub.may_subscribe`."""
        return self._may_subscribe(client, pattern)

    def take(self, client: Client, message: Publish | Will) -> None:
        """As `sessions.Hub.take`. What the client may not publish is dropped, and nobody is told."""
        topic, payload, qos, retain = message[:4]
        denied = any(matches(pattern, topic) for pattern in self.faults.deny)
        may = not denied and self._may_publish(client, topic)
        self._on_receive(client, message, may)
        if may:
            self.publish(topic, payload, qos, retain=retain)
            self._on_publish(client, Message(topic, payload, retain))

    def replay(self, patterns: Iterable[tuple[str, int]]) -> list[Retained]:
        """As `sessions.Hub.replay`."""
        faults = self.faults
        messages = [
            message._replace(qos=min(message.qos, qos))
            for pattern, qos in patterns
            for message in self.store.covered_by(pattern)
        ]
        if faults.duplicate_replay:
            messages = [message for message in messages for _ in range(2)]
        if faults.shuffle_replay is not None:
            random.Random(faults.shuffle_replay).shuffle(messages)  # noqa: S311 - nobody has to be surprised
        return messages[: faults.replay_limit]

    # --- for everybody ---

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Bring a message to all who want it, and keep it if it is to be retained."""
        if retain:
            full = not self.store.put(topic, payload, qos)
            if full and not self._full:
                _log.warning("the store for retained messages is full; new ones are passed on and not kept")
            self._full = full
        packet = b""  # the same for all who get it at QoS 0
        for session in self.sessions.values():
            granted = session.subscriptions.qos(topic)
            if granted is None:
                continue
            if qos and granted:
                session.send_message(Outgoing(topic, payload, retain=False))
            else:
                packet = packet or encode_publish(topic, payload)
                session.send(packet)
