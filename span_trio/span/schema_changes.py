"""What changed between two schemas of a panel: a firmware upgrade, told in words. Pure.

The rules of this room:

* Two schemas are of one generation if both are flat, or neither is. Across generations nothing is compared but the
  versions: the same property stands elsewhere, and the hashes are hashes of different things (lessons C).
* What is new, or gone, as a whole is one change and not one for each of its properties.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs

from ..homie import PropertyDescription
from ..wiretext import printable
from .schema import HomieSchema

__all__ = ["SchemaChange", "SchemaChangeKind", "schema_changes"]

_Tree: TypeAlias = Mapping[str, Any]  # of trees and, at the bottom, property declarations

_ATTRIBUTES: Final[Mapping[str, str]] = {  # of a declaration, as the panel calls them
    "name": "name",
    "datatype": "datatype",
    "unit": "unit",
    "format": "format_text",
    "settable": "settable",
    "retained": "retained",
}


class SchemaChangeKind(enum.StrEnum):
    """What happened to it."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@attrs.frozen
class SchemaChange:
    """One difference between two schemas.

    Attributes:
        path: what differs: a key of the schema itself (``"firmwareVersion"``), or the way to a declaration, such as
            ``"energy.ebus.device.circuit/space"`` (flat) or ``"circuit/meter/active-power"``.
        kind: what happened to it.
        attribute: of a declaration that changed: ``name``, ``datatype``, ``unit``, ``format``, ``settable``
            or ``retained``.
        old: as it was; ``None``: not stated, or not there.
        new: as it is now; likewise.
    """

    path: str
    kind: SchemaChangeKind
    attribute: str | None = None
    old: str | bool | None = None
    new: str | bool | None = None

    def __str__(self) -> str:
        """In one line."""
        if self.kind is not SchemaChangeKind.CHANGED:
            return printable(f"{self.path}: {self.kind}")
        what = "" if self.attribute is None else f"{self.attribute} "
        return printable(f"{self.path}: {what}{self.old!r} -> {self.new!r}")


def schema_changes(old: HomieSchema, new: HomieSchema) -> tuple[SchemaChange, ...]:
    """What is different in ``new``, in the order: versions, hash, declarations by path. Nothing: they say the same.

    A hash that differs where no declaration does means that something changed that this library does not read.
    """
    return tuple(_changes(old, new))


def _changes(old: HomieSchema, new: HomieSchema) -> Iterator[SchemaChange]:
    yield from _text("firmwareVersion", old.firmware_version, new.firmware_version)
    yield from _text("dataModelVersion", old.data_model_version, new.data_model_version)
    if old.is_flat != new.is_flat:
        return
    yield from _text("typesSchemaHash" if new.is_flat else "deviceClassesSchemaHash", old.schema_hash, new.schema_hash)
    yield from _tree("", old.own_types, new.own_types)
    yield from _tree("", old.device_classes, new.device_classes)


def _text(path: str, old: str | None, new: str | None) -> Iterator[SchemaChange]:
    if old != new:
        yield SchemaChange(path, SchemaChangeKind.CHANGED, None, old, new)


def _tree(above: str, old: _Tree, new: _Tree) -> Iterator[SchemaChange]:
    for name in sorted(old.keys() | new.keys()):
        path = f"{above}{name}"
        if name not in old:
            yield SchemaChange(path, SchemaChangeKind.ADDED)
        elif name not in new:
            yield SchemaChange(path, SchemaChangeKind.REMOVED)
        elif isinstance(old[name], PropertyDescription):
            yield from _declaration(path, old[name], new[name])
        else:
            yield from _tree(f"{path}/", cast("_Tree", old[name]), cast("_Tree", new[name]))


def _declaration(path: str, old: PropertyDescription, new: PropertyDescription) -> Iterator[SchemaChange]:
    for attribute, field in _ATTRIBUTES.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield SchemaChange(path, SchemaChangeKind.CHANGED, attribute, _plain(before), _plain(after))


def _plain(value: Any) -> str | bool | None:
    return str(value) if isinstance(value, str) else value  # a datatype is an enum
