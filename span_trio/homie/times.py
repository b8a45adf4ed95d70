"""Dates and times of ISO 8601, and durations, as Homie 5 writes them: tolerant in what is read.

Python's own parser reads other things in each of its versions, takes any character for the ``T``, and makes midnight of
a date that has no time.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

__all__ = ["parse_datetime", "parse_duration"]

_DATETIME: Final = re.compile(
    r"(?P<year>[0-9]{4})"
    r"(?:-?(?P<month>[0-9]{2})-?(?P<day>[0-9]{2})|-?(?P<ordinal>[0-9]{3})|-?W(?P<week>[0-9]{2})-?(?P<weekday>[1-7]))"
    r"[Tt ](?P<hour>[0-9]{2})"
    r"(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,64}))?)?)?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<east>[0-9]{2})(?::?(?P<east_minutes>[0-9]{2}))?)?"
)
_DURATION: Final = re.compile(
    r"PT(?:(?P<hours>[0-9]{1,20})H)?(?:(?P<minutes>[0-9]{1,20})M)?"
    r"(?:(?P<seconds>[0-9]{1,20})(?:[.,](?P<fraction>[0-9]{1,64}))?S)?"
)


def parse_datetime(text: str) -> dt.datetime:
    """Parse a date with a time; aware if it has a zone. Fractions beyond microseconds are cut off.

    The date may be one of month and day, of the week (``2026-W09-7``) or of the year (``2026-060``); with or without
    dashes and colons; before the time stands a ``T``, a ``t`` or a blank. ``24:00`` is midnight at the end of the day,
    and a leap second is the first second of the next minute.

    Raises:
        ValueError: it is none, or there is no such time.
        OverflowError: it is after the year 9999.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 date and time")
    hour, minute, second, micro = (
        _number(match["hour"]),
        _number(match["minute"]),
        _number(match["second"]),
        _micro(match),
    )
    if minute > 59 or second > 60 or (hour > 23 and (hour, minute, second, micro) != (24, 0, 0, 0)):
        raise ValueError("no time of the day")
    midnight = dt.datetime.combine(_date(match), dt.time(tzinfo=_zone(match)))
    return midnight + dt.timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)


def parse_duration(text: str) -> dt.timedelta:
    """Parse ``PT[xH][xM][xS]``; the seconds may have a fraction, which is cut off beyond microseconds.

    Raises:
        ValueError: it is none.
        OverflowError: it is longer than a timedelta.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not a duration PT[xH][xM][xS]")
    hours, minutes, seconds = (_number(match[name]) for name in ("hours", "minutes", "seconds"))
    # In whole seconds, since timedelta rounds large numbers of hours.
    return dt.timedelta(seconds=3600 * hours + 60 * minutes + seconds, microseconds=_micro(match))


def _number(text: str | None) -> int:
    return int(text or 0)


def _micro(match: re.Match[str]) -> int:
    return int((match["fraction"] or "")[:6].ljust(6, "0"))


def _date(match: re.Match[str]) -> dt.date:
    year = int(match["year"])
    if match["week"] is not None:
        return dt.date.fromisocalendar(year, int(match["week"]), int(match["weekday"]))
    if match["ordinal"] is None:
        return dt.date(year, int(match["month"]), int(match["day"]))
    day = dt.date(year, 1, 1) + dt.timedelta(int(match["ordinal"]) - 1)
    if day.year != year:
        raise ValueError("no such day of the year")
    return day


def _zone(match: re.Match[str]) -> dt.timezone | None:
    if match["zone"] is None:
        return None
    hours, minutes = _number(match["east"]), _number(match["east_minutes"])
    if hours > 23 or minutes > 59:
        raise ValueError("no offset from UTC")
    east = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-east if match["sign"] == "-" else east)
