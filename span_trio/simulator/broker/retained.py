"""The retained messages of a broker: the last one of each topic. Pure.

They are kept as mosquitto keeps them, in a tree of topic levels, because that is what a client sees: a replay goes
through the tree, level by level in the order in which each name was first used, and not through the messages as they
were published. What was said alternately by two devices is replayed device by device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["Retained", "RetainedStore"]


class Retained(NamedTuple):
    """A message of the store."""

    topic: str
    payload: bytes
    qos: int


_ALL: Final = -1  # instead of a level: from here on, everything


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Retained | None = None


class RetainedStore:
    """Bounded: what would make it larger than ``max_size`` bytes is not kept, nor is what it would have replaced."""

    _EACH: Final = 300  # what a message costs beyond its bytes
    _LEVEL: Final = 300  # and each level of its topic, at most

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._root = _Node()
        self._nodes: dict[str, _Node] = {}  # those with a message, by topic
        self._payloads: dict[str, bytes] = {}
        self.payloads: Mapping[str, bytes] = MappingProxyType(self._payloads)
        """Topic to payload, oldest topic first: a read-only view."""

    def put(self, topic: str, payload: bytes, qos: int) -> bool:
        """Keep a message; one without a payload deletes what was there. False: the store is full."""
        old = self._payloads.get(topic)
        if old is not None:
            growth = len(payload) - len(old)
        else:
            growth = len(topic) + len(payload) + self._EACH + self._LEVEL * topic.count("/")
        if not payload or self._size + growth > self._max_size:
            if old is not None:
                self._delete(topic)
            return not payload
        node = self._nodes.get(topic)
        if node is None:
            node = self._nodes[topic] = self._path(topic)[-1]
        node.message = Retained(topic, payload, qos)
        self._payloads[topic] = payload
        self._size += growth
        return True

    def _path(self, topic: str) -> list[_Node]:
        """The nodes of a topic, made where there are none, from the root to its own."""
        path = [self._root]
        for level in topic.split("/"):
            path.append(path[-1].children.setdefault(level, _Node()))
        return path

    def _delete(self, topic: str) -> None:
        """Forget the message of a topic, and the nodes that nobody needs any more."""
        payload = self._payloads.pop(topic)
        self._size -= len(topic) + len(payload) + self._EACH + self._LEVEL * topic.count("/")
        self._nodes.pop(topic).message = None
        path = self._path(topic)
        for parent, node, level in zip(path[-2::-1], path[:0:-1], reversed(topic.split("/")), strict=True):
            if node.children or node.message:
                break
            del parent.children[level]

    def covered_by(self, pattern: str) -> Iterator[Retained]:
        """The messages that a filter covers, in the order of the tree.

        A node comes before its children; but what ``a/#`` covers at ``a`` itself comes last.
        """
        levels = pattern.split("/")
        stack = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            if depth in {len(levels), _ALL} and node.message is not None:
                yield node.message
            level = levels[depth] if 0 <= depth < len(levels) else None
            if level == "#":
                stack.append((node, len(levels)))
            below = _ALL if level == "#" or depth == _ALL else depth + 1
            stack += [
                (child, below)
                for name, child in reversed(node.children.items())
                if depth == _ALL or level == name or (level in {"+", "#"} and (depth or not name.startswith("$")))
            ]

    def clear(self, prefix: str) -> int:
        """Forget all topics that begin with ``prefix``; returns how many they were."""
        topics = [topic for topic in self._payloads if topic.startswith(prefix)]
        for topic in topics:
            self._delete(topic)
        return len(topics)
