"""Recorded sessions: JSON lines, one message each, and playing them through the same core as a live panel.

A line is ``{"t": seconds, "topic": …, "payload": text, "retain": as delivered, "qos": 0}``. A payload that is not UTF-8
survives as lone surrogates (Python's ``surrogateescape``). Pure but for the lines that the caller reads and writes.

`lines` (reading and writing), `dump` (what ``mosquitto_sub -v`` prints), `playing`, `redaction` (what may be handed
on), with `descriptions` and `placeholders` for what is in it.
"""

from .dump import read_dump, read_session
from .lines import Recorded, read_recording, record_line
from .playing import Played, find_panel, play
from .redaction import Redactor

__all__ = [
    "Played",
    "Recorded",
    "Redactor",
    "find_panel",
    "play",
    "read_dump",
    "read_recording",
    "read_session",
    "record_line",
]
