"""A read-only mapping that, unlike `types.MappingProxyType`, can be pickled, deep-copied, hashed and owned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

__all__ = ["FrozenMap"]

K = TypeVar("K")
V_co = TypeVar("V_co", covariant=True)


class FrozenMap(Mapping[K, V_co], Generic[K, V_co]):
    """An immutable mapping in insertion order. It takes over the dict that it is given: do not change that any more."""

    __slots__ = ("_items",)

    def __init__(self, items: dict[K, V_co] | None = None) -> None:
        self._items: dict[K, V_co] = {} if items is None else items

    def __getitem__(self, key: K) -> V_co:
        """The value of ``key``."""
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        """The keys, in order."""
        return iter(self._items)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        """Equal to any mapping with the same items; identical values are not compared."""
        if isinstance(other, FrozenMap):
            return bool(self._items == cast("Any", other)._items)
        return super().__eq__(other)

    def __hash__(self) -> int:
        """Hashable if all values are."""
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        """The items."""
        return f"FrozenMap({self._items!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the items."""
        return FrozenMap, (self._items,)
