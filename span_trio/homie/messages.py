"""What goes in: messages as a broker delivers them, and the time at which they came."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Instant", "Message"]


class Message(NamedTuple):
    """One PUBLISH. ``retain`` as delivered: true only in a replay of retained messages."""

    topic: str
    payload: bytes
    retain: bool = False


class Instant(NamedTuple):
    """A moment on two clocks: ``monotonic`` (s, the caller's own) for spans, ``wall`` (Unix s) for people."""

    monotonic: float
    wall: float
