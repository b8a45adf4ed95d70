"""A session with a broker behind it, which keeps what is retained and answers each request with a replay."""

from __future__ import annotations

import re
from typing import Any

from span_trio.homie import Message, Request

from .helpers import Session, at, message


class BrokeredSession(Session):
    """A `Session` whose requests are answered.

    Args:
        retained: what the broker keeps, by the tail of the topic.
        largest: payloads that are longer are passed over on the way, and only their topic is told.
        queue: a longer replay is cut after so many messages, and its barrier fails.
        options: of the `Accumulator`.
    """

    def __init__(
        self, retained: dict[str, bytes | str], *, largest: int = 10**9, queue: int = 10**9, **options: Any
    ) -> None:
        super().__init__(**{"watch": True, **options})
        self.retained = dict(retained)
        self.largest = largest
        self.queue = queue
        self.asked: list[tuple[float, Request]] = []
        """Every request, and when."""

    def start(self, epoch: int = 1) -> None:
        """A new link, and what comes of it at once."""
        self.connect(epoch)
        self.serve()

    def publish(self, tail: str, payload: bytes | str) -> None:
        """The publisher publishes, retained, and subscribers hear it."""
        self.retained[tail] = payload
        if not payload:
            del self.retained[tail]
        self._deliver(message(tail, payload))
        self.serve()

    def serve(self) -> None:
        """Answer what is asked."""
        while (request := self.subscribe()) is not None:
            self.answer(request)

    def answer(self, request: Request) -> None:
        """Replay what a request asks for, and its barrier."""
        self.asked.append((self.now, request))
        replay = [
            kept
            for tail, payload in self.retained.items()
            if any(_matches(wanted, (kept := message(tail, payload, retain=True)).topic) for wanted in request.filters)
        ]
        for kept in replay[: self.queue]:
            self._deliver(kept)
        self.barrier(passed=len(replay) <= self.queue)

    def asked_for(self, device: str) -> list[float]:
        """When this device was asked for as a whole."""
        return [when for when, request in self.asked if f"ebus/5/{device}/#" in request.filters]

    def _deliver(self, what: Message) -> None:
        if len(what.payload) > self.largest:
            self.core.overflow(what.topic, at(self.now))
        else:
            self.core.receive([what], at(self.now))


def _matches(wanted: str, topic: str) -> bool:
    pattern = re.escape(wanted).replace(r"\#", ".*").replace(r"\+", "[^/]*")
    return re.fullmatch(pattern, topic) is not None
