"""Whom a person means: circuits and chargers by what they are called. Pure.

The rules of this room:

* An id is one thing; a name may be that of several. What could be meant in two ways is refused, with the candidates:
  the wrong breaker is worse than none.
* Names are compared as people read them: without case, and without the odd blank. They are a panel's texts, and shown
  by `output` alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

import attrs

from ..errors import SpanPanelError
from ..snapshot import SpanPanelSnapshot

__all__ = ["Target", "UnclearTargetError", "chargers", "choose", "circuits", "named"]

_LIKE: Final = 0.6
_NEAR: Final = 3
_LONGEST: Final = 60  # characters of a name that are shown, or looked at for likeness


class UnclearTargetError(SpanPanelError):
    """Nobody is called so, or more than one."""


@attrs.frozen
class Target:
    """Somebody who can be commanded.

    Attributes:
        id: as the library knows it.
        name: as people do.
        positions: of its breakers.
    """

    id: str
    name: str | None = None
    positions: tuple[int, ...] = ()

    def __str__(self) -> str:
        """What it is called."""
        name = self.name or self.id
        return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"

    @property
    def in_full(self) -> str:
        """What it is called, and how it is told from others."""
        where = " and ".join(map(str, self.positions))
        marks = [self.id] if self.name else []
        marks += [f"position{'s' if len(self.positions) > 1 else ''} {where}"] if where else []
        return f"{self} ({', '.join(marks)})" if marks else str(self)


def circuits(snapshot: SpanPanelSnapshot) -> list[Target]:
    """All circuits of a panel."""
    return [Target(circuit.circuit_id, circuit.name, circuit.tabs) for circuit in snapshot.circuits.values()]


def named(circuit: str, snapshot: SpanPanelSnapshot) -> Target:
    """The circuit with an id; one that the panel has not is called by that."""
    found = snapshot.circuits.get(circuit)
    return Target(circuit) if found is None else Target(circuit, found.name, found.tabs)


def chargers(snapshot: SpanPanelSnapshot) -> list[Target]:
    """All chargers of a panel, each under the name of its circuit."""
    found: list[Target] = []
    for key, charger in snapshot.evse.items():
        feed = snapshot.circuits.get(charger.feed_circuit_id or "")
        found.append(Target(key) if feed is None else Target(key, feed.name, feed.tabs))
    return found


def choose(kind: str, text: str | None, among: Sequence[Target]) -> Target:
    """The one that is meant.

    Args:
        kind: what it is, in one word.
        text: its id or its name; ``None``: the only one that there is.
        among: those that there are.

    Raises:
        UnclearTargetError: there is none, or more than one.
    """
    if text is None:
        found = list(among)
        problem = f"there are {len(found)} {kind}s" if found else f"this panel has no {kind}"
    else:
        found = [each for each in among if each.id == text] or [each for each in among if _is_called(each, text)]
        problem = f"{len(found)} {kind}s are called {text!r}" if found else f"there is no {kind} {text!r}"
    if len(found) == 1:
        return found[0]
    if found:
        raise UnclearTargetError(f"{problem}: {_list(found)}; say the id of one")
    near = [] if text is None else _near(text, among)
    raise UnclearTargetError(f"{problem}; close to it: {_list(near)}" if near else problem)


def _list(targets: Sequence[Target]) -> str:
    return ", ".join(each.in_full for each in targets)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _is_called(target: Target, text: str) -> bool:
    """By name, or by an id in another spelling: with dashes, as the wire has it, or in capitals."""
    is_name = bool(target.name and _folded(target.name)) and _folded(target.name or "") == _folded(text)
    return is_name or target.id.replace("-", "").lower() == text.replace("-", "").lower()


def _near(text: str, among: Sequence[Target]) -> list[Target]:
    wanted = _folded(text[:_LONGEST])
    likely = [(max(_likeness(wanted, name) for name in (each.name or "", each.id)), each) for each in among]
    likely.sort(key=lambda found: -found[0])
    return [each for likeness, each in likely[:_NEAR] if likeness >= _LIKE]


def _likeness(wanted: str, name: str) -> float:
    name = _folded(name[:_LONGEST])
    return 1.0 if wanted and wanted in name else SequenceMatcher(None, wanted, name).ratio()
