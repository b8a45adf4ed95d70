"""Whose child each device is, in plain words: from what was said, and in which order (I13)."""

from __future__ import annotations

from .house import ROOT, Described

__all__ = ["Family"]


class Family:
    """The newest well-formed description of every device, kept or overheard."""

    def __init__(self) -> None:
        self.said: dict[str, Described] = {}
        self.named: dict[str, set[str]] = {}
        """The other roots that each device has named before."""
        self.settled: set[tuple[str, str]] = set()
        """A device, and the root that it names, which has spoken since."""
        self.former: dict[str, set[str]] = {}
        """Who listed a described device before."""
        self.members = [ROOT]
        self.doubts: dict[str, bool] = {}
        """Those that it lists and that are not its own, or not its alone; whether somebody else lists them, too."""
        self.outside: set[str] = set()
        """Devices that are described and neither belong to the root nor say so."""

    def hear(self, device: str, said: Described | None, *, live: bool) -> None:
        old = self.said.pop(device, None)
        if said is not None:
            self.said[device] = said
        new_root = None if said is None else said.root
        if old is not None and old.root not in {None, new_root} and (device, old.root) not in self.settled:
            self.named.setdefault(device, set()).add(old.root or "")
        dropped = set(old.children if old else ()) - set(said.children if said else ())
        for child in dropped & self.said.keys():
            self.former.setdefault(child, set()).add(device)
        self.settled = {pair for pair in self.settled if pair[0] != device}
        if live and said is None:
            self.former.pop(device, None)
        if live:
            for roots in self.named.values():
                roots.discard(device)
            self.settled |= {(name, device) for name, each in self.said.items() if each.root == device}
        self._look()

    def is_anothers(self, device: str) -> bool:
        """Whether it has said so itself, or others call it their root."""
        said = self.said.get(device)
        root = None if said is None else said.root
        is_root = (
            said is not None
            and root is None
            and any(each.root == device for name, each in self.said.items() if name != device)
        )
        return device != ROOT and bool(is_root or root not in {None, ROOT} or self.named.get(device, set()) - {ROOT})

    def _below(self, left_out: set[str]) -> tuple[list[str], list[str]]:
        """Who is reached, not by way of some, and who of those is met."""
        reached, met = [ROOT], list[str]()
        for device in reached:
            said = self.said.get(device)
            for child in said.children if said else ():
                if child in left_out and child not in met:
                    met.append(child)
                if child not in left_out and child not in reached:
                    reached.append(child)
        return reached, met

    def _look(self) -> None:
        others = {child for child in self.listed if self.is_anothers(child)}
        reached, met = self._below(others)
        self.outside = {name for name, said in self.said.items() if name not in reached and said.root != ROOT}
        self.members, met = self._below(others | {child for child in (*reached[1:], *met) if self.listers(child)})
        self.doubts = {child: bool(self.listers(child)) for child in met}

    def has_leftovers(self, device: str) -> bool:
        """Whether another tree has listed a device that was not cleared since."""
        others = self.former.get(device, set()) - {*self.members}
        return any(name not in self.said or self.said[name].root != ROOT for name in others)

    @property
    def listed(self) -> set[str]:
        return {child for said in self.said.values() for child in said.children}

    def listers(self, device: str) -> set[str]:
        """Who outside lists a device."""
        return {name for name in self.outside - {device} if device in self.said[name].children}
