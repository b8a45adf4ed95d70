"""What is published over a link: one message, from the queue to the broker's answer.

A publication is a physical act on the other side, so it waits for nobody: it is turned into bytes only when the writer
can hand them to the stream at once, and a moment before that ``may_go`` is asked. What was not let go, was withdrawn,
or was still queued when the link ended, never leaves (I10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from ..mqtt import Codec

__all__ = ["Publication", "Publications"]


@attrs.define(eq=False)
class Publication:
    """One PUBLISH, never retained.

    Attributes:
        topic: where to.
        payload: what.
        qos: 1, or 0 for what must not be queued by anybody.
        may_go: asked at the last moment; synchronous.
        sent_at: when it was handed to the stream (trio's clock): from then on it may act. ``None``: it did not leave.
        acknowledged_at: when the broker's PUBACK came.
        over: nothing more will become of it here: it was not let go, or the link has ended. Whoever waits may set it.
    """

    topic: str
    payload: bytes
    qos: int
    may_go: Callable[[], bool]
    sent_at: float | None = None
    acknowledged_at: float | None = None
    over: trio.Event = attrs.field(factory=trio.Event)


class Publications:
    """The publications of one link that somebody waits for."""

    def __init__(self, codec: Codec) -> None:
        self._codec: Final = codec
        self._queue: deque[Publication] = deque()
        self._awaited: set[Publication] = set()
        self._by_mid: dict[int, Publication] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits for one."""
        return bool(self._awaited)

    @property
    def is_unsettled(self) -> bool:
        """Whether one has left that the broker has not acknowledged."""
        return bool(self._by_mid)

    @property
    def is_queued(self) -> bool:
        """Whether one has not left yet."""
        return bool(self._queue)

    def add(self, publication: Publication) -> None:
        """Queue it."""
        self._awaited.add(publication)
        self._queue.append(publication)

    def withdraw(self, publication: Publication) -> None:
        """Nobody waits for it any more: if it has not left, it never will."""
        self._awaited.discard(publication)
        if publication in self._queue:
            self._queue.remove(publication)

    def take(self) -> bytes:
        """The bytes of the next one that may go; none if there is none. They must be sent at once."""
        while self._queue:
            publication = self._queue.popleft()
            if not publication.may_go():
                publication.over.set()
                continue
            publication.sent_at = trio.current_time()
            mid = self._codec.publish(publication.topic, publication.payload, qos=publication.qos)
            if publication.qos:
                self._by_mid[mid] = publication
            return self._codec.take_outgoing()
        return b""

    def acknowledge(self, mid: int) -> None:
        """A PUBACK came."""
        publication = self._by_mid.pop(mid, None)
        if publication is not None:
            publication.acknowledged_at = trio.current_time()

    def end(self) -> None:
        """The link is closing: what has not left never will."""
        while self._queue:
            self._queue.popleft().over.set()
