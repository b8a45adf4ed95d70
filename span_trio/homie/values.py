"""Homie 5 payloads: from bytes to values and back (convention, "Payload").

The rules of this room:

* A payload that is not valid for its datatype is `InvalidPayload`, and its reader shows *no value*: never 0, "" or
  False (invariant I5). A zero-length payload is a deletion and never gets here.
* Reading is exact about the text (no ``1_000``, no ``nan``, no spaces around it, no Arabic digits: Python's own number
  parsers take them all) and liberal where the text is clear: leading zeros, integers as ``3037.0``, every form of an
  ISO 8601 date and time, a duration with a fraction of a second, ``PT`` for none at all, equal labels of a boolean.
  An ``xyz`` color whose x and y leave nothing for z is read as published. A date without a time is no point in time.
* Reading is liberal about the declaration, too: firmware publishes enum members that its format does not list. Whether
  a value fits its format is a separate question, `check_format`.
* Writing is exact about both: `encode_value` writes one form of each value (durations in whole seconds, offsets from
  UTC in minutes), rounds to the step and then refuses what is outside (section "Format"), and refuses a color whose z
  would be less than 0.
* Zero has no sign: ``-0.0`` on the wire is 0.0 here.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

import attrs

from .times import parse_datetime, parse_duration

__all__ = [
    "Color",
    "ColorFormat",
    "Datatype",
    "EnumFormat",
    "Format",
    "InvalidFormat",
    "InvalidPayload",
    "NumberFormat",
    "Value",
    "check_format",
    "decode_value",
    "encode_value",
    "parse_format",
]


_T = TypeVar("_T")


class InvalidPayload(ValueError):
    """The payload, or the value to be written, is not valid for its datatype or format."""


class InvalidFormat(ValueError):
    """The ``format`` of a property declaration is not valid for its datatype."""


class Datatype(enum.StrEnum):
    """The datatypes of Homie 5."""

    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    STRING = "string"
    ENUM = "enum"
    COLOR = "color"
    DATETIME = "datetime"
    DURATION = "duration"
    JSON = "json"


class Color(NamedTuple):
    """A color value: its space (``rgb``, ``hsv`` or ``xyz``) and components. ``xyz`` gives x and y; z = 1 - x - y."""

    space: str
    components: tuple[float, ...]


Value: TypeAlias = "str | int | float | bool | Color | dt.datetime | dt.timedelta | list[Any] | dict[str, Any]"
"""A decoded value. Enum values are their text; JSON values are arrays or objects, to be read and not changed."""


# --- formats ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class NumberFormat:
    """``[min]:[max][:step]`` of an integer or float; both ends inclusive."""

    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None


@attrs.frozen
class EnumFormat:
    """The members of an enum, in the order of the declaration (which means nothing)."""

    members: tuple[str, ...]


@attrs.frozen
class ColorFormat:
    """The color spaces of a color property, preferred first."""

    spaces: tuple[str, ...]


Format: TypeAlias = NumberFormat | EnumFormat | ColorFormat | None
"""A parsed ``format``; ``None`` where the datatype has none, or one that restricts nothing."""

_COLOR_LIMITS: Final[Mapping[str, tuple[float, ...]]] = {
    "rgb": (255, 255, 255),
    "hsv": (360, 100, 100),
    "xyz": (1, 1),
}


def parse_format(datatype: Datatype, text: str | None) -> Format:
    """Parse a property's ``format``.

    Without a format, nothing is restricted: for an enum or a color that is against the convention and tolerated. A
    JSON Schema is not compiled; the convention lets a controller treat every
    array or object as valid then.

    Raises:
        InvalidFormat: the text is not valid for the datatype.
    """
    if text is None:
        return None
    match datatype:
        case Datatype.INTEGER | Datatype.FLOAT:
            return _number_format(text)
        case Datatype.ENUM:
            return EnumFormat(_distinct(text.split(",")))
        case Datatype.COLOR:
            spaces = _distinct(text.split(","))
            if not set(spaces) <= _COLOR_LIMITS.keys():
                raise InvalidFormat("unknown color space")
            return ColorFormat(spaces)
        case Datatype.BOOLEAN:
            labels = text.split(",")  # which may be equal: the wire says true or false whatever they are
            if len(labels) != 2 or "" in labels:
                raise InvalidFormat("a boolean has two labels")
            return None
        case _:
            return None


def _distinct(members: list[str]) -> tuple[str, ...]:
    if "" in members or len(set(members)) != len(members):
        raise InvalidFormat("an empty or repeated entry")
    return tuple(members)


def _number_format(text: str) -> NumberFormat:
    parts = text.split(":")
    if len(parts) not in {2, 3}:
        raise InvalidFormat("expected [min]:[max][:step]")
    try:
        low, high, step = (_float(part.encode()) if part else None for part in (*parts, "")[:3])
    except InvalidPayload as error:
        raise InvalidFormat(str(error)) from None
    if (low is not None and high is not None and low > high) or (step is not None and step <= 0):
        raise InvalidFormat("an empty range or a step that is not positive")
    return NumberFormat(low, high, step)


# --- reading ----------------------------------------------------------------------------------------------------------

# Lengths are bounded so that no text costs more than linear time: int() of a million digits does not.
_INTEGER: Final = re.compile(rb"(-?)0*([0-9]{1,19})(?:\.0*)?")  # lesson "3037.0 dropped": whole, written as a float
_FLOAT: Final = re.compile(rb"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]-?[0-9]+)?")
_INT64: Final = range(-(2**63), 2**63)
_MAX_NUMBER_TEXT: Final = 1_100  # the longest exact binary64 in plain digits, -2**-1074, has 1,077


def _text(payload: bytes) -> str:
    if payload == b"\x00":
        return ""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise InvalidPayload("not UTF-8") from None
    if text.startswith("\ufeff"):
        raise InvalidPayload("starts with a byte-order mark")
    return text


def _word(payload: bytes) -> str:
    text = _text(payload)
    if not text:
        raise InvalidPayload("the empty string is a value of string properties only")
    return text


def _float(payload: bytes) -> float:
    if len(payload) > _MAX_NUMBER_TEXT or _FLOAT.fullmatch(payload) is None:
        raise InvalidPayload("not a number")
    value = float(payload) + 0.0  # -0.0 + 0.0 is 0.0
    if math.isinf(value):
        raise InvalidPayload("larger than a binary64 float")
    return value


def _integer(payload: bytes) -> int:
    match = _INTEGER.fullmatch(payload) if len(payload) <= _MAX_NUMBER_TEXT else None
    if match is None:
        raise InvalidPayload("not a whole number, or one of more than 64 bits")
    value = int(match[1] + match[2])
    if value not in _INT64:
        raise InvalidPayload("larger than a 64-bit integer")
    return value


def _boolean(payload: bytes) -> bool:
    if payload == b"true":
        return True
    if payload == b"false":
        return False
    raise InvalidPayload("neither true nor false")


def _color(payload: bytes) -> Color:
    space, *parts = _word(payload).split(",")
    limits = _COLOR_LIMITS.get(space, ())
    components = tuple(_float(part.encode()) for part in parts)
    if not limits or len(components) != len(limits):
        raise InvalidPayload("not a color")
    if not all(0 <= value <= limit for value, limit in zip(components, limits, strict=True)):
        raise InvalidPayload("a color component is out of range")
    return Color(space, components)


def _datetime(payload: bytes) -> dt.datetime:
    return _time(parse_datetime, payload)


def _duration(payload: bytes) -> dt.timedelta:
    return _time(parse_duration, payload)


def _time(parse: Callable[[str], _T], payload: bytes) -> _T:
    word = _word(payload)
    try:
        return parse(word)
    except (OverflowError, ValueError) as error:
        raise InvalidPayload(str(error)) from None


def _no_constant(name: str) -> NoReturn:
    raise InvalidPayload(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text) + 0.0
    if math.isinf(value):
        raise InvalidPayload("a number larger than a binary64 float")
    return value


def _json(payload: bytes) -> list[Any] | dict[str, Any]:
    return load_json(_word(payload))


def load_json(text: str) -> list[Any] | dict[str, Any]:
    """Parse a JSON array or object; a depth bomb (200,000 times ``[``) is as invalid as any other rubbish."""
    try:
        value: object = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidPayload("JSON nested too deeply") from None
    except ValueError as error:
        raise InvalidPayload(f"not JSON: {error}") from None
    if not isinstance(value, (list, dict)):
        raise InvalidPayload("neither a JSON array nor an object")
    return cast("list[Any] | dict[str, Any]", value)


DECODERS: Final[Mapping[Datatype, Callable[[bytes], Value]]] = {
    Datatype.INTEGER: _integer,
    Datatype.FLOAT: _float,
    Datatype.BOOLEAN: _boolean,
    Datatype.STRING: _text,
    Datatype.ENUM: _word,
    Datatype.COLOR: _color,
    Datatype.DATETIME: _datetime,
    Datatype.DURATION: _duration,
    Datatype.JSON: _json,
}


def decode_value(payload: bytes, datatype: Datatype) -> Value:
    """Decode a property's payload.

    Raises:
        InvalidPayload: it is not valid for the datatype, or empty: that is a deletion, and no value.
    """
    if not payload:
        raise InvalidPayload("a zero-length payload is no value")
    return DECODERS[datatype](payload)


# --- formats and writing ----------------------------------------------------------------------------------------------


def check_format(value: Value, restriction: Format) -> None:
    """Refuse a value outside its property's format.

    Raises:
        InvalidPayload: it is not a member, not in the range, or not in an offered color space.
    """
    match restriction:
        case EnumFormat(members=members) if value not in members:
            raise InvalidPayload(f"not one of {', '.join(members)}")
        case ColorFormat(spaces=spaces) if not isinstance(value, Color) or value.space not in spaces:
            raise InvalidPayload(f"not a color in {', '.join(spaces)}")
        case NumberFormat(minimum=low, maximum=high) if isinstance(value, (int, float)) and (
            (low is not None and value < low) or (high is not None and value > high)
        ):
            raise InvalidPayload(f"outside {_plain(low)}..{_plain(high)}")
        case _:
            return


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def encode_value(
    value: Value, datatype: Datatype, restriction: Format = None, *, current: float | None = None
) -> bytes:
    """Encode a value for ``/set``: rounded to the step, then checked against the format.

    ``current`` is the property's value now: the base of the steps where the format has neither end.

    Raises:
        InvalidPayload: the value has the wrong type, is outside the format, or cannot be written as it is.
    """
    try:
        if isinstance(restriction, NumberFormat) and restriction.step and type(value) in {int, float}:
            value = _to_step(value, datatype, restriction, current)  # type: ignore[arg-type]
        payload = _encode(value, datatype)
    except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise InvalidPayload(str(error)) from None
    written = decode_value(payload, datatype)
    if (
        written != value and datatype is not Datatype.DATETIME
    ):  # in a repeated hour, equal times of two zones are not ==
        raise InvalidPayload(f"cannot be written as a {datatype}")
    if isinstance(written, Color) and written.space == "xyz" and sum(map(_exactly, written.components)) > 1:
        raise InvalidPayload("x and y are more than 1: there is nothing left for z")
    check_format(written, restriction)
    return payload


def _exactly(number: float) -> Fraction:
    return Fraction(str(number))


def _to_step(value: float, datatype: Datatype, restriction: NumberFormat, current: float | None) -> float:
    """Round in decimal, as formats are written: in binary, three steps of 0.1 are more than 0.3."""
    bases = (restriction.minimum, restriction.maximum, current, 0)
    base = _exactly(next(base for base in bases if base is not None))
    step = _exactly(restriction.step or 1)
    rounded = base + math.floor((_exactly(value) - base) / step + Fraction(1, 2)) * step
    return int(rounded) if datatype is Datatype.INTEGER and rounded.denominator == 1 else float(rounded)


def _encode(value: Value, datatype: Datatype) -> bytes:
    match datatype, value:
        case Datatype.BOOLEAN, bool():
            return b"true" if value else b"false"
        case (_, bool()):
            raise InvalidPayload(f"a boolean is not a {datatype}")
        case Datatype.INTEGER, int():
            return str(value).encode()
        case Datatype.FLOAT, int() | float():
            return repr(float(value) + 0.0).replace("e+", "e").encode()
        case Datatype.STRING, "":
            return b"\x00"
        case ((Datatype.STRING | Datatype.ENUM), str()):
            return value.encode()
        case Datatype.COLOR, Color():
            return ",".join(
                (value.space, *(repr(float(part) + 0.0).removesuffix(".0") for part in value.components))
            ).encode()
        case Datatype.DATETIME, dt.datetime():
            return value.isoformat().encode()
        case Datatype.DURATION, dt.timedelta():
            return f"PT{int(value.total_seconds())}S".encode()
        case Datatype.JSON, list() | dict():
            return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        case _:
            raise InvalidPayload(f"a {type(value).__name__} is not a {datatype}")
