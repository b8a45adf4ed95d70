"""From decoded Homie values to what a snapshot field holds.

The tree's declarations decide how a payload is read; a field has a type of its own. Where the two differ (an integer
declared for a float field, a string for a number by an odd publisher) the value is converted if nothing is lost, and is
``None`` otherwise: a reading that we cannot read is no reading (I5). A ``bool`` is never a number (lesson panel.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..enums import WireEnum
from ..homie import Datatype, InvalidPayload, Value, decode_value

__all__ = ["flag", "known", "member", "number", "panel_model", "reference", "text", "whole", "words"]

_E = TypeVar("_E", bound=WireEnum)


def number(value: Value | None) -> float | None:
    """A float, from any number."""
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    return _reread(value, Datatype.FLOAT, float)


def whole(value: Value | None) -> int | None:
    """An int, from any whole number."""
    if type(value) is int:
        return value
    if type(value) is float:
        return int(value) if value.is_integer() else None
    return _reread(value, Datatype.INTEGER, int)


def flag(value: Value | None) -> bool | None:
    """A bool, from nothing else than true and false."""
    if type(value) is bool:
        return value
    return _reread(value, Datatype.BOOLEAN, bool)


def text(value: Value | None) -> str | None:
    """Text; of a number declared as such, its digits."""
    if type(value) is str:
        return value
    return str(value) if type(value) in {int, float} else None


def panel_model(value: Value | None) -> str | None:
    """A panel's model; a panel that says UNKNOWN has said none."""
    said = text(value)
    return None if said == "UNKNOWN" else said


def words(value: Value | None) -> tuple[str, ...] | None:
    """A comma list, each entry once; the empty text is an empty list."""
    said = text(value)
    return None if said is None else tuple(dict.fromkeys(word for word in map(str.strip, said.split(",")) if word))


def reference(value: Value | None) -> str | None:
    """A circuit id, normalised for comparison: some publishers write it with dashes. Empty means none."""
    return value.replace("-", "").lower() or None if type(value) is str else None


_T = TypeVar("_T", bound=float)


def _reread(value: Value | None, datatype: Datatype, kind: type[_T]) -> _T | None:
    if type(value) is not str or not value:
        return None
    try:
        decoded = decode_value(value.encode(), datatype)
    except InvalidPayload:
        return None
    return decoded if isinstance(decoded, kind) else None


def member(enum: type[_E]) -> Callable[[Value | None], _E | str | None]:
    """A converter to a member of ``enum``; a text that it does not know is kept as it is."""
    members: dict[str, _E] = {item.value: item for item in enum}

    def convert(value: Value | None) -> _E | str | None:
        return members.get(value, value) if type(value) is str and value else None

    return convert


def known(enum: type[_E]) -> Callable[[Value | None], _E | str]:
    """Like `member`; what is not reported reads UNKNOWN."""
    convert, unknown = member(enum), enum.of(None)

    def convert_or_unknown(value: Value | None) -> _E | str:
        return convert(value) or unknown

    return convert_or_unknown
