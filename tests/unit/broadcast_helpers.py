"""What the tests of the broadcast share: values that are numbers, and edges that know theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import attrs
import pytest
import trio

from span_trio.broadcast import Broadcast, EdgeReader, UpdateReader, ValueReader

__all__ = ["KINDS", "AnyReader", "ClosedError", "Edge", "Numbers", "broadcast", "edges", "every_kind", "soon"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class ClosedError(Exception):
    """What readers of a closed broadcast get."""


@attrs.frozen
class Edge:
    """The so-maniest edge, from 1 on; those with odd numbers are online."""

    number: int
    missed: int = 0


Numbers = Broadcast[int, Edge]
AnyReader = ValueReader[int, Edge] | EdgeReader[int, Edge] | UpdateReader[int, Edge]

KINDS: dict[str, Callable[[Numbers], AnyReader]] = {
    "values": Numbers.values,
    "edges": Numbers.turns,
    "updates": Numbers.updates,
}
"""How each kind of reader is made."""

every_kind = pytest.mark.parametrize("kind", KINDS)


class _Yields(Protocol[T_co]):
    def __anext__(self) -> Awaitable[T_co]: ...


def broadcast(*, held: int = 256, online: bool = False) -> Numbers:
    """A new one; ``online``: with its first edge."""
    made = Numbers(held=held, mark=lambda edge, missed: attrs.evolve(edge, missed=missed))
    edges(made, 1 if online else 0)
    return made


def edges(numbers: Numbers, count: int) -> None:
    """So many more edges."""
    for _ in range(count):
        numbers.edge(Edge(numbers.edges + 1))


async def soon(reader: _Yields[T]) -> T | None:
    """What a reader gets now; ``None`` if it would wait."""
    with trio.move_on_after(1):
        return await reader.__anext__()
    return None
