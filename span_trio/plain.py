"""Snapshots to plain data (dicts, lists, text, numbers) and back, driven by the annotations of their classes."""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar, cast

import attrs

from .frozenmap import FrozenMap

__all__ = ["Plain", "from_plain", "to_plain"]

_T = TypeVar("_T")
_Loader = Callable[[Any], Any]


class Plain:
    """To plain data and back, for frozen attrs classes."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data: field names as keys, mappings as dicts, tuples as lists, enums as text, ``None`` as ``None``."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Missing fields take their defaults, unknown ones are ignored.

        Raises:
            ValueError: the data does not have the shape of this class.
        """
        return from_plain(cls, plain)


def to_plain(value: Any) -> Any:
    """Plain data, all the way down."""
    kind = cast("Any", type(value))
    if attrs.has(kind):
        return {field.name: to_plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if kind is FrozenMap:
        return {key: to_plain(item) for key, item in value.items()}
    if kind is tuple:
        return [to_plain(item) for item in value]
    if hasattr(kind, "_asdict"):  # a named tuple
        return value._asdict()
    return value.value if isinstance(value, enum.Enum) else value


def from_plain(cls: type[_T], plain: Mapping[str, Any]) -> _T:
    """Make a ``cls``, a frozen attrs class, from the plain data of one.

    Raises:
        ValueError: the data does not have its shape.
    """
    try:
        given = {**plain}  # a list or a text, with no name in it, would pass for something of which nothing is known
        return cls(**{name: load(given[name]) for name, load in _loaders(cast("Any", cls)).items() if name in given})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not the plain data of a {cls.__name__}: {error}") from None


@functools.cache
def _loaders(cls: Any) -> dict[str, _Loader]:
    hints = typing.get_type_hints(cls)
    return {field.name: _loader(hints[field.name]) for field in attrs.fields(cls)}


def _loader(hint: Any) -> _Loader:
    """How to load a value of this type. The types are those that the snapshot classes use, and no more."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        (load,) = {_loader(kind) for kind in arguments if kind not in {str, type(None)}} or {_same}
        return lambda value: None if value is None else load(value)
    if origin is FrozenMap:
        load = _loader(arguments[1])
        return lambda value: FrozenMap({key: load(item) for key, item in value.items()})
    if origin is tuple:
        load = _loader(arguments[0])
        return lambda value: tuple(map(load, value))
    if attrs.has(hint):
        return functools.partial(from_plain, hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        members = {member.value: member for member in hint}
        return lambda value: members.get(value, value)
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return lambda value: hint(**value)
    return _same


def _same(value: Any) -> Any:
    return value
