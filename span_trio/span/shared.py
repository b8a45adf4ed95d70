"""Circuits that hang on one relay: whoever opens one opens all of them (facts, hardware 3.0).

Each says which others it shares its relay with. It is enough if one of two says so, and what is shared with a third is
shared with all: a relay is one thing, whoever names it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

import attrs

from ..enums import RefusalReason
from ..homie import Node, PropertyDescription
from .convert import text
from .offered import OfferedControl, Place
from .parts import Kind, Part

__all__ = ["SharedRelays"]

_Lock: TypeAlias = Callable[[Part, Node, PropertyDescription], RefusalReason | None]


class SharedRelays:
    """Who hangs on the same relay as whom.

    Args:
        parts: the devices of the tree.
        members: the ids of all its devices, described or not.
        lock: what stands against a property of a part.
    """

    def __init__(self, parts: Iterable[Part], members: Collection[str], lock: _Lock) -> None:
        self._parts: Final = {part.id: part for part in parts}
        self._members: Final = members
        self._lock: Final = lock
        self._groups: Final = _groups(self._parts.values())

    def complete(self, offered: OfferedControl) -> OfferedControl:
        """A control with all that it reaches, and locked by whatever locks one of them."""
        own = self._parts[offered.device_id]
        is_relay = "switch" in own.nodes and offered.place == _relay(own)
        if own.kind is not Kind.CIRCUIT and not is_relay:
            return offered
        reached = self._groups.get(own.id, (own.id,))
        circuits = {name for name in reached if name in self._parts and self._parts[name].kind is Kind.CIRCUIT}
        offered = attrs.evolve(
            offered,
            reaches=reached,
            reaches_unknown=tuple(name for name in reached if name not in circuits),
        )
        if not is_relay:
            return offered
        others = [self._parts[name] for name in reached[1:] if name in self._parts]
        locks = [offered.refusal, *map(self._lock_of, reached[1:])]
        return attrs.evolve(
            offered,
            refusal=next((lock for lock in locks if lock is not None), None),
            shared=tuple(_relay(other) for other in others if "switch" in other.nodes),
        )

    def _lock_of(self, name: str) -> RefusalReason | None:
        """What stands against moving the relay of a device; of what is not in the tree nobody knows anything."""
        part = self._parts.get(name)
        if part is None:  # declared, and not described yet
            return RefusalReason.AWAY if name in self._members else None
        node, declared = part.nodes.get("switch"), part.declared("switch", "relay")
        if node is not None and declared is not None:
            return self._lock(part, node, declared)
        return RefusalReason.NOT_SETTABLE if part.kind is Kind.CIRCUIT else None


def _relay(part: Part) -> Place:
    return part.id, part.nodes["switch"].id, "relay"


def _groups(parts: Iterable[Part]) -> Mapping[str, tuple[str, ...]]:
    """By device id: the ids of all that hang on the same relay, its own first; only where there are others."""
    shares: dict[str, set[str]] = {}
    for part in parts:
        for other in _ids(part):
            if other != part.id:
                shares.setdefault(part.id, set()).add(other)
                shares.setdefault(other, set()).add(part.id)
    return {device: (device, *sorted(_reached(device, shares) - {device})) for device in shares}


def _ids(part: Part) -> list[str]:
    node = part.nodes.get("switch")  # how it is wired counts of a device that is away, too
    said = text(None if node is None else node.values.get("shared-with-device-ids")) or ""
    return [each for each in map(str.strip, said.split(",")) if each]


def _reached(device: str, shares: Mapping[str, set[str]]) -> set[str]:
    reached, edge = {device}, {device}
    while edge:
        edge = {other for each in edge for other in shares[each]} - reached
        reached |= edge
    return reached
