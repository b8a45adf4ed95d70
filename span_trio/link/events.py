"""What a session tells: messages, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import trio

from ..homie import Message, Obstacle

if TYPE_CHECKING:
    from .session import Link

__all__ = ["Answered", "ConnectFailed", "LinkEvent", "LinkLost", "LinkUp", "Oversize", "ReplayEnd"]


class ReplayEnd(NamedTuple):
    """The barrier of the outstanding subscription came, or failed."""

    passed: bool


class Answered(NamedTuple):
    """A ping was answered: what the broker sent before it is in the events before.

    When it was sent, and who waits for it: to be set by whoever takes this.
    """

    sent_at: float
    waiter: trio.Event | None


class Oversize(NamedTuple):
    """A message on ``topic`` was larger than the limit, and was passed over."""

    topic: str


class LinkUp(NamedTuple):
    """A session has begun; all events up to its `LinkLost` are its."""

    link: Link
    epoch: int


class ConnectFailed(NamedTuple):
    """There still is no session; why."""

    why: Obstacle


class LinkLost(NamedTuple):
    """The session is over; the last event there is."""

    why: Obstacle


LinkEvent: TypeAlias = "list[Message] | ReplayEnd | Answered | Oversize | LinkUp | LinkLost | ConnectFailed"
