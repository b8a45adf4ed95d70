"""What a panel declares of each field of a snapshot: unit and datatype, or that it declares nothing.

For consumers that check at the start whether the panel measures in what they expect. Paths are those of a snapshot,
with one word for each class (``circuit.instant_power_w``); of several devices of a class, the first that declares it
counts.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from ..frozenmap import FrozenMap
from ..homie import Forest, Node, PropertyDescription
from . import child_fields, fields
from .model import DataModel
from .parts import Kind, Part, parts_of
from .schema import HomieSchema, NodeType
from .tables import Table

__all__ = ["FieldMetadata", "FieldPresence", "field_metadata"]


class FieldPresence(enum.StrEnum):
    """Whether a panel can fill a field."""

    DECLARED = "declared"
    """The panel declares it, and will publish it."""
    UNDECLARED = "expected, not declared"
    """There is such a device, and it declares no such property."""
    NO_DEVICE = "no such device"
    """There is nothing that could have it."""


@attrs.frozen
class FieldMetadata:
    """What a panel declares of a field.

    Attributes:
        presence: which of three cases it is.
        unit: as declared (``W``, ``Wh``, ``A``); ``None`` if none is. r202603 declares kW for values that are W.
        datatype: Homie's name for it; ``None`` where nothing is declared.
    """

    presence: FieldPresence
    unit: str | None = None
    datatype: str | None = None


def field_metadata(
    forest: Forest, root: str, model: DataModel, schema: HomieSchema | None
) -> FrozenMap[str, FieldMetadata]:
    """For each field that a property fills: what the panel declares of it. Costs a walk over all devices.

    Args:
        forest: of now.
        root: the panel's device id.
        model: which data model it publishes.
        schema: the panel's REST schema, for nodes that are described without properties.
    """
    sections = _child_sections(forest, root) if model is DataModel.PARENT_CHILD else _flat_sections(forest, root)
    found: dict[str, FieldMetadata] = {}
    for prefix, table, subjects in sections:
        for field, paths in table.items():
            if paths:
                found[f"{prefix}.{field}"] = _metadata(subjects, paths[0], schema)
    return FrozenMap(found)


_Nodes: TypeAlias = Mapping[str, Node]  # of one device, by capability; flat: the one node, by ""
_Section: TypeAlias = tuple[str, Mapping[str, tuple[str, ...]], list[_Nodes]]


def _metadata(subjects: list[_Nodes], path: str, schema: HomieSchema | None) -> FieldMetadata:
    if not subjects:
        return FieldMetadata(FieldPresence.NO_DEVICE)
    capability, _, name = path.rpartition("/")
    for subject in subjects:
        node = subject.get(capability)
        declared = None if node is None else _declared(node, name, schema)
        if declared is not None:
            return FieldMetadata(FieldPresence.DECLARED, declared.unit, declared.datatype)
    return FieldMetadata(FieldPresence.UNDECLARED)


def _declared(node: Node, name: str, schema: HomieSchema | None) -> PropertyDescription | None:
    bare = node.description is not None and node.description.properties is None
    if bare and schema is not None:
        return schema.types.get(node.type or "", {}).get(name)
    return node.declared(name)


def _names(table: Table) -> dict[str, tuple[str, ...]]:
    return {field: step.names for field, step in table.items()}


_FLAT: Final = (  # snapshot class, table, node type
    ("panel", fields.CORE, NodeType.CORE),
    ("panel", fields.FLOWS, NodeType.POWER_FLOWS),
    ("circuit", fields.CIRCUIT, NodeType.CIRCUIT),
    ("battery", fields.BATTERY, NodeType.BESS),
    ("panel", fields.GRID, NodeType.BESS),
    ("pv", fields.PV, NodeType.PV),
    ("evse", fields.EVSE, NodeType.EVSE),
    ("pcs", fields.PCS, NodeType.PCS),
)
_LUG_ROLES: Final = {fields.UPSTREAM: NodeType.LUGS_UPSTREAM, fields.DOWNSTREAM: NodeType.LUGS_DOWNSTREAM}


def _flat_sections(forest: Forest, root: str) -> Iterator[_Section]:
    device = forest.devices[root]
    for prefix, table, kind in _FLAT:
        yield prefix, _names(table), [{"": node} for node in device.nodes_of_type(kind)]
    for role, kind in _LUG_ROLES.items():
        nodes = [
            *device.nodes_of_type(kind),
            *(
                node
                for node in device.nodes_of_type(NodeType.LUGS)
                if str(node.values.get("direction", "")).upper() == role
            ),
        ]
        names = {field: (name,) for field, (of, name) in fields.LUGS.items() if of == role}
        yield "panel", names, [{"": node} for node in nodes]


_TREE: Final = (
    ("panel", child_fields.PANEL, Kind.PANEL),
    ("panel", child_fields.UPSTREAM, Kind.UPSTREAM),
    ("panel", child_fields.DOWNSTREAM, Kind.DOWNSTREAM),
    ("circuit", child_fields.CIRCUIT, Kind.CIRCUIT),
    ("battery", child_fields.BATTERY, Kind.BESS),
    ("mid", child_fields.MID, Kind.MID),
    ("pv", child_fields.PV, Kind.PV),
    ("evse", child_fields.EVSE, Kind.EVSE),
)


def _child_sections(forest: Forest, root: str) -> Iterator[_Section]:
    parts: dict[Kind, list[Part]] = {kind: [] for kind in Kind}
    for part in parts_of(forest, root):
        parts[part.kind].append(part)
    panel: list[_Nodes] = [part.nodes for part in parts[Kind.PANEL]]
    yield "pcs", _names(child_fields.PCS), [subject for subject in panel if "pcs" in subject]
    for prefix, table, kind in _TREE:
        yield prefix, _names(table), [part.nodes for part in parts[kind]]
