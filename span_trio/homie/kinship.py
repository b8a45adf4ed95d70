"""Whose child is whose: what the descriptions of one epoch say of roots, parents and children.

A child device is published beside its root, not below it, and nothing keeps two panels on one broker from giving their
children the same ids. So a list of ``children`` alone does not tell whose a device is (I13). A device belongs to a tree
that lists it, at any depth, unless something says that it is another tree's:

* It names another ``root`` itself. That is remembered for the epoch: the newest description may name us, and yet the
  values be another's. It is over when that root publishes its own description again, or clears it: what it has then is
  in its list.
* It is named as a root by others, and names none: then it is a root, and no child of anybody.
* A device outside of the tree lists it, too. One topic cannot carry the values of two devices.
* It gives no ``root``, and a ``parent`` outside of the tree.

The last two are inferred, and the next description can overturn them: a device that gives no ``root`` belongs to
whoever lists it, and is a root of its own until somebody does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from .description import DeviceDescription

__all__ = ["Kinship", "Stranger", "Tree", "in_words"]

_MOST: Final = 65_536  # ids, of devices that nobody asked for
_LONGEST: Final = 4 * 2**20  # characters in them
_NAMES_KEPT: Final = 8  # others that are remembered of a device, by name
_MORE: Final = "…"  # no id
_TOLD: Final = 4  # ids in words


class Stranger(NamedTuple):
    """A device that a tree lists, and that is not its own, or not its alone."""

    others: tuple[str, ...]
    """The roots whose it is, too or instead."""
    is_contested: bool
    """Whether another tree lists it."""


def in_words(strangers: Mapping[str, Stranger]) -> str:
    """Whose they are, and the first of them by name."""
    more = f" and {len(strangers) - _TOLD} more" if len(strangers) > _TOLD else ""
    others = sorted({other for stranger in strangers.values() for other in stranger.others})[:_TOLD]
    has = "has" if len(others) == 1 else "have"
    return f"{', '.join(others)} {has} {', '.join([*strangers][:_TOLD])}{more}, too"


class Tree(NamedTuple):
    """Who belongs to a root."""

    members: Mapping[str, None]
    """Ids, the root first; includes children that are not described yet."""
    strangers: Mapping[str, Stranger]
    outside: frozenset[str] = frozenset()
    """The described devices of other trees."""


class _Kin(NamedTuple):
    """What a description says of relatives."""

    root: str | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()
    is_news: bool = True
    """Whether that root has not spoken since."""


_NOBODY: Final = _Kin()


class Kinship:
    """The newest description of each device, as far as it tells of others. See the rules of the room."""

    def __init__(self) -> None:
        self._said: dict[str, _Kin] = {}
        self._listers: dict[str, set[str]] = {}  # child -> the devices that list it
        self._subjects: Counter[str] = Counter()  # root -> how many name it
        self._named: dict[str, set[str]] = {}  # device -> the roots that it has named before
        self._former: dict[str, set[str]] = {}  # described device -> who listed it before
        self._trees: dict[str, Tree] = {}
        self._overheard: dict[str, tuple[int, int]] = {}  # device nobody asked for -> ids, characters
        self._ids = self._characters = 0  # of those

    # --- input ---

    def note(self, device: str, description: DeviceDescription | None, *, live: bool) -> None:
        """The newest description of a device; ``None``: it has none now. ``live``: it was published just now."""
        self._trees.clear()
        old = self._said.pop(device, _NOBODY)
        for child in old.children:
            self._unlist(child, device)
        if old.root is not None:
            self._subjects[old.root] -= 1
            if not self._subjects[old.root]:
                del self._subjects[old.root]
        ids, characters = self._overheard.pop(device, (0, 0))
        self._ids, self._characters = self._ids - ids, self._characters - characters
        new = _NOBODY
        if description is not None:
            new = self._said[device] = _Kin(description.root, description.parent, description.children)
            for child in new.children:
                self._listers.setdefault(child, set()).add(device)
            if new.root is not None:
                self._subjects[new.root] += 1
        if old.root is not None and old.root != new.root and old.is_news:
            _add(self._named, device, old.root)
        for child in (set(old.children) - set(new.children)) & self._said.keys():
            _add(self._former, child, device)
        if live:
            self._release(device)
            if description is None:  # the last that is cleared of a device
                self._former.pop(device, None)

    def overhear(self, device: str, description: DeviceDescription, *, live: bool) -> bool:
        """Note the description of a device that nobody asked for; false if there is no room for it."""
        names = [device, description.root or "", description.parent or "", *description.children]
        length = sum(map(len, names))
        ids, characters = self._overheard.get(device, (0, 0))
        if self._ids - ids + len(names) > _MOST or self._characters - characters + length > _LONGEST:
            return False
        self.note(device, description, live=live)
        self._overheard[device] = len(names), length
        self._ids, self._characters = self._ids + len(names), self._characters + length
        return True

    def _release(self, root: str) -> None:
        """A root has spoken: it has what it lists, whatever named it before."""
        for name in [name for name, roots in self._named.items() if root in roots]:
            self._named[name].discard(root)
            if not self._named[name]:
                del self._named[name]
        if root in self._subjects:
            for name, said in self._said.items():
                if said.root == root:
                    self._said[name] = said._replace(is_news=False)

    def _unlist(self, child: str, lister: str) -> None:
        listers = self._listers[child]
        listers.discard(lister)
        if not listers:
            del self._listers[child]

    # --- queries ---

    def others(self, device: str, root: str) -> tuple[str, ...]:
        """The roots other than ``root`` that a device has named, or is."""
        home = self._home(root)
        if not self._named and self._subjects.keys() <= {home}:  # as where there is one panel
            return ()
        found = set(self._named.get(device, ()))
        said = self._said.get(device)
        if said is not None and said.root is None and device in self._subjects:
            found.add(device)
        elif said is not None and said.root is not None:
            found.add(said.root)
        found.discard(home)
        return tuple(sorted(found))

    def was_listed_outside(self, device: str, root: str) -> bool:
        """Whether another tree has listed a device, and it was not cleared since."""
        former = self._former.get(device)
        if not former:
            return False
        home, members = self._home(root), self.tree(root).members
        return any(name not in members and self._said.get(name, _NOBODY).root != home for name in former)

    def claims(self, device: str, tree: Tree) -> bool:
        """Whether ``device``, of another tree, is one that ``tree`` lists, or lists one of those."""
        listed = {device, *self._said.get(device, _NOBODY).children}
        return not listed.isdisjoint(tree.strangers)

    def tree(self, root: str) -> Tree:
        """Who belongs to ``root``, and who is listed and does not.

        For a ``root`` that is none: who is below it, of the tree that it says it is in.
        """
        found = self._trees.get(root)
        if found is None:
            home = self._home(root)
            found = self._reach(root, {})
            outside = {name for name in self._said.keys() - found.members.keys() if self._said[name].root != home}
            if outside:
                listed = {*found.members, *found.strangers} - {root}
                claims = {child: self.claimants(child, outside) for child in listed}
                found = self._reach(root, {child: some for child, some in claims.items() if some})
            found = self._trees[root] = found._replace(outside=frozenset(outside))
        return found

    def claimants(self, device: str, outside: AbstractSet[str]) -> AbstractSet[str]:
        """The devices ``outside`` of a tree that have a device: who lists it, and the parent of one without a root."""
        said = self._said.get(device, _NOBODY)
        parents = outside & {said.parent if said.root is None else None}
        return (self._listers.get(device, set()) & outside - {device}) | parents

    @property
    def listed(self) -> AbstractSet[str]:
        """All children that any device lists."""
        return self._listers.keys()

    def _home(self, root: str) -> str:
        return self._said.get(root, _NOBODY).root or root

    def _reach(self, root: str, claims: Mapping[str, AbstractSet[str]]) -> Tree:
        """The tree, but for those that others claim, level by level; cycles guarded."""
        members: dict[str, None] = {root: None}
        strangers: dict[str, Stranger] = {}
        queue = deque([root])
        while queue:
            for child in self._said.get(queue.popleft(), _NOBODY).children:
                if child in members or child in strangers:
                    continue
                claimants = claims.get(child, ())
                others = {*self.others(child, root), *(self._said[name].root or name for name in claimants)}
                if others:
                    is_contested = any(child in self._said[name].children for name in claimants)
                    strangers[child] = Stranger(tuple(sorted(others)), is_contested)
                else:
                    members[child] = None
                    queue.append(child)
        return Tree(members, strangers)


def _add(names: dict[str, set[str]], device: str, name: str) -> None:
    """Remember a name of a device's, within bounds; that there was one is not forgotten."""
    if device in names or len(names) < _MOST:
        kept = names.setdefault(device, set())
        kept.add(name if name in kept or len(kept) < _NAMES_KEPT else _MORE)
