"""The time: on trio's clock, which a test can hold, and on the wall."""

from __future__ import annotations

import time

import trio

from .homie import Instant

__all__ = ["drift", "now"]


def now() -> Instant:
    """Now, on trio's clock and on the wall."""
    return Instant(trio.current_time(), time.time())


def drift() -> float:
    """By how much (s) the wall clock is ahead of the one that stands still while the machine sleeps: both real."""
    return time.time() - time.monotonic()
