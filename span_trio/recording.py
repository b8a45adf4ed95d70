"""Recorded sessions: JSON lines, one message each, and playing them through the same core as a live panel.

A line is ``{"t": seconds, "topic": …, "payload": text, "retain": as delivered, "qos": 0}``. A payload that is not UTF-8
survives as lone surrogates (Python's ``surrogateescape``). Pure but for the lines that the caller reads and writes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from .errors import SpanPanelStaleDataError, SpanPanelValidationError
from .homie import ConnectionEdge, Forest, Instant, Message
from .options import PanelOptions
from .snapshot import SpanPanelSnapshot
from .span import FALLBACK, find_panels
from .tracker import PanelTracker

__all__ = ["Played", "Recorded", "Redactor", "find_panel", "play", "read_recording", "record_line"]


class Recorded(NamedTuple):
    """A message and when it came, s since the beginning of the recording."""

    t: float
    message: Message


class Played(NamedTuple):
    """What came of playing up to ``t``: an edge, or a snapshot that was due."""

    t: float
    what: ConnectionEdge | SpanPanelSnapshot


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


class Redactor:
    """Masks what tells whose panel it is: its serial number wherever it stands, and the values of some properties.

    Ids of other devices are kept, since a tree is nothing without them; look a recording over before you hand it on.
    """

    _PRIVATE: Final = re.compile(r".*/(serial-number|wifi-ssid|postal-code)(/.*)?")
    _SERIAL: Final = "redacted-serial"
    _VALUE: Final = b"redacted"

    def __init__(self, serial_number: str) -> None:
        text = re.escape(serial_number)
        self._serial = re.compile(text, re.IGNORECASE)
        self._serial_bytes = re.compile(text.encode(), re.IGNORECASE)

    def __call__(self, recorded: Recorded) -> Recorded:
        """The same message without what is private."""
        topic, payload, retain = recorded.message
        if self._PRIVATE.fullmatch(topic) and payload and not self._serial_bytes.fullmatch(payload):
            payload = self._VALUE
        payload = self._serial_bytes.sub(self._SERIAL.encode(), payload)
        return recorded._replace(message=Message(self._serial.sub(self._SERIAL, topic), payload, retain))


def find_panel(recording: Iterable[Recorded], *, domain: str = "ebus") -> str:
    """The id of the one panel in a recording.

    Raises:
        SpanPanelValidationError: there is none, or there are several.
    """
    forest = Forest(domain, fallback=FALLBACK)
    for _, message in recording:
        forest.absorb(message, 0.0)
    panels = find_panels(forest)
    if len(panels) == 1:
        return panels[0]
    if panels:
        raise SpanPanelValidationError(f"the recording has several panels, say which: {', '.join(sorted(panels))}")
    raise SpanPanelValidationError(f"the recording has no SPAN panel under {domain}/5/")


def play(recording: Iterable[Recorded], serial_number: str, options: PanelOptions) -> Iterator[Played]:
    """Play a recording: every edge, and every snapshot when it would have been published; the state at its end last.

    The replay counts as complete before the first message that was not retained, or at the end. Lines with commands
    (``…/set``) are nothing that a panel says, and do nothing.

    Raises:
        SpanPanelStaleDataError: at its end the panel is not live; says what is missing.
    """
    tracker = PanelTracker(serial_number, options)
    tracker.link_up(1, Instant(0.0, 0.0))
    t = 0.0
    replaying = True
    for t, message in recording:
        while tracker.deadline < t:
            yield from _step(tracker, tracker.deadline)
        if replaying and not message.retain:
            replaying = False
            _complete(tracker, t)
            yield from _step(tracker, t)
        tracker.receive([message], Instant(t, t))
        if not replaying:
            _complete(tracker, t)
        yield from _step(tracker, t)
    _complete(tracker, t)
    yield from _step(tracker, t)
    if tracker.tree.obstacle is not None:
        raise SpanPanelStaleDataError(tracker.tree.obstacle.reason, "; ".join(tracker.tree.missing()))
    yield Played(t, tracker.snapshot)


def _complete(tracker: PanelTracker, t: float) -> None:
    """Everything that is asked for is there already."""
    while tracker.tree.next_subscription() is not None:
        tracker.tree.barrier(Instant(t, t), passed=True)


def _step(tracker: PanelTracker, t: float) -> Iterator[Played]:
    at = Instant(t, t)
    tracker.tick(at)
    yield from (Played(t, edge) for edge in tracker.take_edges())
    snapshot = tracker.publish(at)
    if snapshot is not None:
        yield Played(t, snapshot)
