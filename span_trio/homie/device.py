"""What is known of one device: its attributes, its nodes, and what of them shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import attrs

from .description import DeviceDescription, NodeDescription, PropertyDescription
from .lifecycle import Lifecycle
from .values import Value

__all__ = ["Device", "LogEntry", "Node"]

_LOGS_KEPT: Final = 32
_NO_NODES: Final[Mapping[str, NodeDescription]] = {}


class LogEntry(NamedTuple):
    """A ``$log`` message: an event, never state."""

    level: str
    text: str


@attrs.define(eq=False)
class Node:
    """A node of a device. The mappings hold what shows: decoded, declared, retained; by property id."""

    id: str
    device: Device = attrs.field(repr=False)
    description: NodeDescription | None = None
    values: dict[str, Value] = attrs.field(factory=dict[str, Value])
    targets: dict[str, Value] = attrs.field(factory=dict[str, Value])
    changed: dict[str, float] = attrs.field(factory=dict[str, float])
    """Property id -> wall time (Unix s) of the last change that was not a replay."""
    unreadable: set[str] = attrs.field(factory=set[str])
    """Properties whose payload is not valid for their datatype: they have no value, and are not absent either."""
    topics: int = 0
    """How many of its topics are kept; a node with none that nobody describes is forgotten."""

    @property
    def type(self) -> str | None:
        """The declared type; ``None`` while the node is not described."""
        return None if self.description is None else self.description.type

    def declared(self, name: str) -> PropertyDescription | None:
        """The declaration of a property in *this* device's description; ``None`` for a bare node."""
        properties = None if self.description is None else self.description.properties
        return None if properties is None else properties.get(name)


@attrs.define(eq=False)
class Device:
    """A device: its attributes and nodes. It *exists* once ``state_text`` is set; it is usable once described."""

    id: str
    state_text: str | None = None
    """The raw ``$state``; ``None`` if it was never published, or deleted."""
    lifecycle: Lifecycle = Lifecycle.UNKNOWN
    description: DeviceDescription | None = None
    description_error: str | None = None
    """Why the newest ``$description`` was refused; ``None`` when it was not."""
    nodes: dict[str, Node] = attrs.field(factory=dict[str, Node], repr=False)
    alerts: dict[str, str] = attrs.field(factory=dict[str, str])
    """Standing ``$alert`` texts by id."""
    logs: deque[LogEntry] = attrs.field(factory=lambda: deque[LogEntry](maxlen=_LOGS_KEPT), repr=False)
    """The newest ``$log`` messages."""
    overflowed: bool = False
    """Something of this device was dropped because a limit was reached."""
    topics: int = 0
    """How many of its topics are kept; a device with none is forgotten."""

    @property
    def described(self) -> Mapping[str, NodeDescription]:
        """The nodes that the description describes; none while there is no description."""
        return _NO_NODES if self.description is None else self.description.nodes

    def nodes_of_type(self, *types: str) -> list[Node]:
        """The described nodes of these types, in the order of the description."""
        return [self.nodes[node] for node, description in self.described.items() if description.type in types]
