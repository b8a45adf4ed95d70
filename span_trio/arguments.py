"""What public calls are given: whether it is what it has to be, and how to quote it in an error."""

from __future__ import annotations

import math
import reprlib
import sys
from inspect import iscoroutinefunction
from typing import Any, Final

from .errors import SpanPanelValidationError

__all__ = ["demand", "demand_function", "demand_type", "is_count", "is_number", "is_time", "quoted", "shown"]

_SHOWN: Final = 60  # characters


def shown(value: object) -> str:
    """A value in words: briefly, whatever it is."""
    text = str(value) if isinstance(value, str) and value.isprintable() else quoted(value)
    return text if len(text) < _SHOWN else f"{text[:_SHOWN]}…"


def quoted(value: object) -> str:
    """As `shown`, with text in quotation marks."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an int of more digits than Python writes
        return f"{_a(value)} too long to be quoted"


def is_number(value: object) -> bool:
    """Whether it is a number that can be reckoned with: no NaN, no bool, and none that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return not math.isnan(value) if isinstance(value, float) else abs(value) <= sys.float_info.max


def is_count(value: object, *, least: int = 0) -> bool:
    """Whether it is a whole number that something may be counted up to."""
    return type(value) is int and least <= value <= sys.maxsize


def is_time(value: object) -> bool:
    """Whether it is a number of seconds: 0 or more; infinity means for ever."""
    return is_number(value) and value >= 0  # type: ignore[operator] # it is a number


def demand(holds: object, name: str, what: str, value: object) -> None:
    """Refuse an argument that is not what it has to be; its value is quoted, so it must be no secret.

    Raises:
        SpanPanelValidationError: names it.
    """
    if not holds:
        raise SpanPanelValidationError(f"{name} must be {what}, not {quoted(value)}")


def demand_type(value: object, kinds: Any, name: str, what: str) -> None:
    """Refuse an argument of another type. Its value, which may be a secret, is not quoted.

    Args:
        value: the argument.
        kinds: one type or several, as ``isinstance`` takes them.
        name: what the argument is called.
        what: what it has to be, in words.

    Raises:
        SpanPanelValidationError: names it.
    """
    if not isinstance(value, kinds):
        raise SpanPanelValidationError(f"{name} must be {what}, not {_a(value)}")


def demand_function(value: object, name: str) -> None:
    """Refuse what cannot be called, and what would have to be awaited: a coroutine is true, whatever comes of it.

    Raises:
        SpanPanelValidationError: names it.
    """
    if not callable(value) or iscoroutinefunction(value) or iscoroutinefunction(type(value).__call__):
        raise SpanPanelValidationError(f"{name} must be an ordinary function, not {_a(value)}")


def _a(value: object) -> str:
    if iscoroutinefunction(value):
        return "an async one"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
