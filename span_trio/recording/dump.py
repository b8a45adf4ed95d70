"""Dumps of topics as people post them: what ``mosquitto_sub -v`` prints, one message a line.

Read are ``topic payload`` (``-v``, or ``-F '%t %p'``), and the same behind any of a retain flag (``%r``) and a time
(``%U``, or ``%I``), in any order. A payload of several lines is taken together where it is JSON. ``(null)`` is how
mosquitto_sub prints a zero-length payload.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from ..errors import SpanPanelValidationError
from ..homie import Message
from .lines import Recorded, read_recording

__all__ = ["read_dump", "read_session"]

_COLUMN: Final = re.compile(
    r"(?:(?P<retain>[01])|(?P<unix>[0-9]{9,11}(?:\.[0-9]{1,9})?)|(?P<iso>[0-9]{4}-[0-9-]{5}T\S+)) "
)
_MESSAGE: Final = re.compile(r"(?P<topic>[^\s/{}\[\]\"]*/\S*)(?: (?P<payload>.*))?")
_NULL: Final = {"", "(null)"}


def read_session(lines: Iterable[str]) -> Iterator[Recorded]:
    """The messages of a recording or of a dump: what it is, its first line that is not blank tells.

    Raises:
        SpanPanelValidationError: as `read_recording` and `read_dump`.
    """
    rest = iter(lines)
    blank: list[str] = []
    for line in rest:
        text = line.removeprefix("\ufeff")
        if text.strip():
            whole = chain(blank, [text], rest)
            yield from read_recording(whole) if text.lstrip().startswith("{") else read_dump(whole)
            return
        blank.append("")


def read_dump(lines: Iterable[str]) -> Iterator[Recorded]:
    """The messages of a dump; blank lines are passed over.

    Without retain flags, the messages count as replayed until a topic comes a second time. Without times, all of them
    come at once.

    Raises:
        SpanPanelValidationError: a line does not begin with a topic; says which.
    """
    clock, seen = _Clock(), set[str]()
    live = False
    for number, head, topic, payload in _messages(lines):
        live = live or topic in seen
        seen.add(topic)
        retain = head["retain"] == "1" if "retain" in head else not live
        data = b"" if payload in _NULL else payload.encode(errors="surrogateescape")
        yield Recorded(clock.passed(number, head), Message(topic, data, retain))


def _messages(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str], str, str]]:
    """Line number, what stands before the topic, the topic, and the payload."""
    last: tuple[int, dict[str, str], str, str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        head: dict[str, str] = {}
        while (column := _COLUMN.match(text)) is not None:
            head |= {name: found for name, found in column.groupdict().items() if found is not None}
            text = text[column.end() :]
        match = _MESSAGE.fullmatch(text)
        if match is not None:
            if last is not None:
                yield last
            last = number, head, match["topic"], match["payload"] or ""
        elif last is not None and last[3].startswith(("{", "[")):
            last = (*last[:3], f"{last[3]}\n{line.rstrip()}")
        elif text.strip():
            raise SpanPanelValidationError(
                f"line {number} is neither one of a recording nor of a dump (a topic, a blank, the payload)"
            )
    if last is not None:
        yield last


class _Clock:
    """When messages came, s since the first one; never earlier than the one before (clocks are set)."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._t = 0.0

    def passed(self, number: int, head: dict[str, str]) -> float:
        if "unix" in head:
            time = float(head["unix"])
        elif "iso" in head:
            try:
                time = dt.datetime.fromisoformat(head["iso"]).timestamp()
            except (ValueError, OverflowError):
                raise SpanPanelValidationError(f"line {number} of the dump has a time that cannot be read") from None
        else:
            return self._t
        if self._began is None:
            self._began = time
        self._t = max(self._t, time - self._began)
        return self._t
