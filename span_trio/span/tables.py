"""How a snapshot class is made from a table: field <- how to make it, and the properties that it depends on.

Rows are kept, and only what depends on a property that has changed is made again: of a circuit that is four fields out
of twenty-four, each second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import attrs

from ..frozenmap import FrozenMap

__all__ = ["Dependents", "Step", "Table", "dependents", "fixed", "keep", "keep_map", "row"]

_T = TypeVar("_T")


@attrs.frozen
class Step:
    """How to make a field's value from its subject (a node, or a device), and the properties that it depends on."""

    make: Callable[[Any], Any]
    names: tuple[str, ...] = ()


Table: TypeAlias = Mapping[str, Step]
"""The fields of a class, in its order, so that values can be handed over by position (a test holds it)."""

Dependents: TypeAlias = Mapping[str, tuple[tuple[int, Callable[[Any], Any]], ...]]
"""For each property: the positions of the fields that depend on it, and how to make them."""


def fixed(value: Any) -> Step:
    """What is not told here."""
    return Step(lambda _: value)


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
