"""Houses by name, and houses from a file.

The rules of this room:

* A house file is TOML. Its keys are the fields of the specs, with their names and units: those of `HouseSpec` at the
  top, then ``[pv]``, ``[bess]``, ``[pcs]``, ``[feedthrough]``, and ``[[circuit]]``, ``[[evse]]``, ``[[inverter]]`` and
  ``[[outside_meter]]`` once for each.
* The built-in houses are such files, next to this one: to be read, and to be copied for a house of one's own.
* Whatever is wrong with a file is one `SpanPanelValidationError` that names file, table and key, and what would do.
"""

from __future__ import annotations

import difflib
import enum
import functools
import importlib.resources
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar, cast

import attrs

from ...errors import SpanPanelValidationError
from .devices import BessSpec, EvseSpec, FeedthroughSpec, OutsideMeterSpec, PcsSpec, PvSpec, refuse
from .spec import CircuitSpec, HouseSpec
from .weather import is_time_zone

__all__ = ["BUILT_IN", "built_in", "built_in_text", "find_house", "load_house"]

_T = TypeVar("_T")

_FILES: Final = importlib.resources.files(__name__.rpartition(".")[0]) / "built_in"
BUILT_IN: Final = ("cabin", "main-32", "main-16", "mlo-24", "main-40", "mlo-48")
"""The names of the built-in houses. All but the cabin, a MAIN 32 with few circuits, are named after their panels; the
last four are panels of today (hardware 3.0). Short for them: ``8``, ``32``, ``16``, ``24``, ``40`` and ``48``."""
_SHORT: Final = {"8": "cabin", "32": "main-32", "16": "main-16", "24": "mlo-24", "40": "main-40", "48": "mlo-48"}


def find_house(name: str) -> HouseSpec:
    """A built-in house by name, or one from a file.

    Raises:
        SpanPanelValidationError: there is no such house, or the file is not one.
    """
    if name in BUILT_IN or name in _SHORT:
        return built_in(name)
    if Path(name).suffix == ".toml":
        return load_house(name)
    raise SpanPanelValidationError(f"no house {name!r}: choose from {', '.join(BUILT_IN)}, or give a .toml file")


def built_in(name: str) -> HouseSpec:
    """The built-in house with this name.

    Raises:
        SpanPanelValidationError: there is none.
    """
    return _parse(built_in_text(name), f"house {name}")


def built_in_text(name: str) -> str:
    """The file of a built-in house, to be copied.

    Raises:
        SpanPanelValidationError: there is no such house.
    """
    name = _SHORT.get(name, name)
    if name not in BUILT_IN:
        raise SpanPanelValidationError(f"there is no built-in house {name!r}: choose from {', '.join(BUILT_IN)}")
    return (_FILES / f"{name}.toml").read_text(encoding="utf-8")


def load_house(path: str | os.PathLike[str]) -> HouseSpec:
    """The house that a file describes.

    Raises:
        SpanPanelValidationError: the file cannot be read, or something in it cannot be meant; says what and where.
    """
    source = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SpanPanelValidationError(f"{source}: is not UTF-8 text") from None
    except (OSError, ValueError) as error:  # ValueError: no path at all
        raise SpanPanelValidationError(f"{source}: cannot be read: {error}") from error
    return _parse(text, source)


def _parse(text: str, source: str) -> HouseSpec:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only its own: a number of 5000 digits, a thousand brackets
        raise SpanPanelValidationError(f"{source}: is not TOML: {error}") from None
    try:
        return _house(document)
    except SpanPanelValidationError as error:
        raise SpanPanelValidationError(f"{source}: {error}") from None


# --- tables -----------------------------------------------------------------------------------------------------------

_TABLES: Final[Mapping[str, type[Any]]] = {
    "pv": PvSpec,
    "bess": BessSpec,
    "pcs": PcsSpec,
    "feedthrough": FeedthroughSpec,
}
_LISTS: Final[Mapping[str, tuple[str, type[Any], str]]] = {  # key -> field, class, and what names one of them
    "circuit": ("circuits", CircuitSpec, "name"),
    "evse": ("evse", EvseSpec, "serial_number"),
    "inverter": ("inverters", PvSpec, "serial_number"),
    "outside_meter": ("outside_meters", OutsideMeterSpec, "number"),
}


_FIELDS: Final = frozenset(field for field, _, _ in _LISTS.values())


def _house(document: Mapping[str, Any]) -> HouseSpec:
    for key, (field, _, _) in _LISTS.items():
        if field != key and field in document:
            refuse("", field, f"there is no such key; did you mean {key}?")
    values = dict(document)
    for key, cls in _TABLES.items():
        if key in values:
            if _is_list(values[key]):
                refuse("", key, f"there can be one only: write [{key}], not [[{key}]]")
            values[key] = _spec(cls, key, values[key])
    for key, (field, cls, naming) in _LISTS.items():
        tables = values.pop(key, [])
        if not _is_list(tables):
            refuse("", key, f"write [[{key}]], once for each")
        values[field] = tuple(
            _spec(cls, _part(key, number, table, naming), table) for number, table in enumerate(tables, 1)
        )
    house = _spec(HouseSpec, "", values, also=tuple(_LISTS))
    if not is_time_zone(house.time_zone):
        refuse("", "time_zone", f"there is no time zone {house.time_zone!r} (one is 'America/Denver')")
    return house


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _part(key: str, number: int, table: object, naming: str) -> str:
    """How errors call one of several: by its name, if it has one."""
    name = table.get(naming) if _is_table(table) else None
    return f"{key} {name!r}" if isinstance(name, str) else f"{key} {number}"


def _spec(cls: type[_T], part: str, table: object, also: tuple[str, ...] = ()) -> _T:
    """One table as a spec."""
    if not _is_table(table):
        refuse("", part, "must be a table")
    hints = _hints(cast("Any", cls))
    fields = {field.name: field for field in attrs.fields(cast("Any", cls))}
    for key in table:
        if key not in fields:
            known = [*(name for name in fields if name not in _FIELDS), *also]
            near = difflib.get_close_matches(key, known, 1)
            refuse(part, key, f"there is no such key; did you mean {near[0]}?" if near else "there is no such key")
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in table:
            refuse(part, name, "is missing")
    return cls(**{key: _value(part, key, value, hints[key]) for key, value in table.items()})


def _value(part: str, key: str, value: Any, hint: Any) -> Any:
    """One value, as its field wants it. Specs that were made already pass."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType] if _is_union(hint) else [hint]
    kind = kinds[0]
    if typing.get_origin(kind) is tuple or attrs.has(kind):
        return value
    if issubclass(kind, enum.Enum):
        members = [member.value for member in kind if member.value != "UNKNOWN"]
        if value not in members:
            refuse(part, key, f"must be one of {', '.join(members)}, not {value!r}")
        return kind(value)
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is not kind:
        refuse(part, key, f"must be {_WORDS[kind]}, not {value!r}")
    if kind is float and not math.isfinite(value):
        refuse(part, key, f"must be a number, not {value}")
    return value


@functools.cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}


_WORDS: Final[Mapping[type[Any], str]] = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
