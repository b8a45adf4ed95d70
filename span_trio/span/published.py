"""What a node's properties are, and what of them was published as text: for what is carried as it is."""

from __future__ import annotations

from collections.abc import Iterator

from ..homie import Forest, Node, PropertyDescription

__all__ = ["described", "published"]


def described(node: Node) -> Iterator[PropertyDescription]:
    """Every property of a node: those that it declares or, of a bare node, those that have a value."""
    properties = None if node.description is None else node.description.properties
    if properties is None:  # what a bare node has is in no order of its own: a broker's is not one
        yield from map(PropertyDescription, sorted(node.values))
    else:
        yield from properties.values()


def published(forest: Forest, node: Node, name: str) -> str | None:
    """A property as published, readable or not, if it shows: declared, or of a bare node, and no event."""
    declared = node.declared(name)
    if declared is None and (node.description is None or node.description.properties is not None):
        return None
    payload = forest.payload(node.device.id, node.id, name)
    if not payload or not (declared is None or declared.retained):
        return None
    return "" if payload == b"\x00" else payload.decode(errors="replace")  # Homie's way to publish the empty text
