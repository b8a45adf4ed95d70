"""How a snapshot class is made from a table: field <- how to make it, and the properties that it depends on.

Rows are kept, and only what depends on a property that has changed is made again: of a circuit that is four fields out
of thirty-six, each second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import attrs

from ..frozenmap import FrozenMap

__all__ = ["Dependents", "Step", "Table", "defaults", "dependents", "fixed", "keep", "keep_map", "row", "table_of"]

_T = TypeVar("_T")


@attrs.frozen
class Step:
    """How to make a field's value from its subject (a node, or a device), and the properties that it depends on."""

    make: Callable[[Any], Any]
    names: tuple[str, ...] = ()


Table: TypeAlias = Mapping[str, Step]
"""The fields of a class, in its order, so that values can be handed over by position."""

Dependents: TypeAlias = Mapping[str, tuple[tuple[int, Callable[[Any], Any]], ...]]
"""For each property: the positions of the fields that depend on it, and how to make them."""


def fixed(value: Any) -> Step:
    """What is not told here."""
    return Step(lambda _: value)


def table_of(cls: type[Any], steps: Mapping[str, Step]) -> Table:
    """These steps in the order of a class's fields; a field without a step has its default.

    Raises:
        TypeError: a step is for no field, or a field has neither step nor default.
    """
    table = {field.name: steps.get(field.name) or fixed(field.default) for field in attrs.fields(cls)}
    unknown = steps.keys() - table.keys()
    bare = [field.name for field in attrs.fields(cls) if field.name not in steps and field.default is attrs.NOTHING]
    if unknown or bare:
        raise TypeError(f"{cls.__name__}: no field {sorted(unknown)}, no step for {bare}")
    return table


def defaults(cls: type[Any]) -> dict[str, Any]:
    """What each field of a class is by default, in order; ``None`` for one that must be given."""
    found: dict[str, Any] = {}
    for field in attrs.fields(cls):
        default: Any = field.default
        found[field.name] = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
        if default is attrs.NOTHING:
            found[field.name] = None
    return found


def row(table: Table, subject: Any) -> list[Any]:
    """The values of a table's fields."""
    return [step.make(subject) for step in table.values()]


def dependents(table: Table) -> Dependents:
    """The same table, by property."""
    names = {name for step in table.values() for name in step.names}
    return {
        name: tuple((place, step.make) for place, step in enumerate(table.values()) if name in step.names)
        for name in names
    }


def keep(old: _T | None, new: _T) -> _T:
    """The old object, if the new one is equal: what did not change stays the same object."""
    return old if old is not None and old == new else new


def keep_map(old: FrozenMap[str, _T], new: FrozenMap[str, _T]) -> FrozenMap[str, _T]:
    """Like `keep`. The order counts too, which is the description's: what is made of several depends on it."""
    return old if old == new and [*old] == [*new] else new
