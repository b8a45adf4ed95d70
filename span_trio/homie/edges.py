"""The moments at which *live* turns true or false, and what is in the way while it is false."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from ..enums import ConnectionReason
from ..wiretext import printable
from .messages import Instant

__all__ = ["ConnectionEdge", "Obstacle"]


class Obstacle(NamedTuple):
    """Why a tree is not live: one of a closed set of reasons, and the particulars."""

    reason: ConnectionReason
    detail: str = ""

    def __str__(self) -> str:
        """In words, on one line."""
        return printable(f"{self.reason}: {self.detail}") if self.detail else str(self.reason)


@attrs.frozen
class ConnectionEdge:
    """The moment at which the panel became live, or ceased to be. Edges strictly alternate; the first is online (I1).

    Attributes:
        online: whether the panel is live from here on.
        reason: why not; `ConnectionReason.LIVE` if it is.
        detail: the particulars of the reason, in words: the raw ``$state``, the ids of pending devices, what the
            network said.
        state: the raw ``$state`` of the panel at this moment; ``None`` if it was never published, or deleted.
        epoch: the number of the link, 1, 2, 3 …
        at: when, on trio's clock and on the wall.
        missed: how many edges before this one were dropped because the reader was too slow: an even number.
    """

    online: bool
    reason: ConnectionReason
    detail: str
    state: str | None
    epoch: int
    at: Instant
    missed: int = 0

    def __str__(self) -> str:
        """In words, on one line."""
        return "online" if self.online else f"offline, {Obstacle(self.reason, self.detail)}"
