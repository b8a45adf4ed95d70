"""The lines of a recording: JSON, one message each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..errors import SpanPanelValidationError
from ..homie import Message

__all__ = ["Recorded", "read_recording", "record_line"]


class Recorded(NamedTuple):
    """A message and when it came, s since the beginning of the recording."""

    t: float
    message: Message


def record_line(recorded: Recorded) -> str:
    """One line of a recording, without the line end."""
    topic, payload, retain = recorded.message
    text = payload.decode(errors="surrogateescape")
    return json.dumps({"t": round(recorded.t, 4), "topic": topic, "payload": text, "retain": retain, "qos": 0})


def read_recording(lines: Iterable[str]) -> Iterator[Recorded]:
    """The messages of a recording; blank lines are passed over.

    Raises:
        SpanPanelValidationError: a line is not one of a recording; says which.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
            payload = _text(entry["payload"]).encode(errors="surrogateescape")
            recorded = Recorded(float(entry["t"]), Message(_text(entry["topic"]), payload, bool(entry["retain"])))
            if not 0 <= recorded.t < math.inf:
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise SpanPanelValidationError(f"line {number} is not one of a recording") from None
        yield recorded


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
