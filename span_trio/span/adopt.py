"""What has no class or no field: devices and properties, carried as they are published. Nothing is hidden.

What is private (`private`) is the exception, and stands nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..homie import Datatype, Node, PropertyDescription, set_topic
from ..snapshot import AdoptedDevice, AdoptedProperty, ExtensionProperty
from .child_charger import other_spellings
from .child_fields import KNOWN
from .convert import text
from .panels import PANEL_TYPE
from .parts import Kind, Part
from .private import is_private
from .published import described

__all__ = ["FoundProperty", "adopted", "extensions", "properties"]


class FoundProperty(NamedTuple):
    """A property of a device, declared or (of a bare node) published."""

    capability: str
    node: Node
    declared: PropertyDescription
    value: str | None


def properties(part: Part) -> Iterator[FoundProperty]:
    """Every property of a device, by its capabilities as they are known."""
    for capability, node in part.nodes.items():
        for declared in described(node):
            yield FoundProperty(capability, node, declared, part.text_of(capability, declared.id))


def _shown(part: Part) -> Iterator[FoundProperty]:
    description = part.device.description
    of_panel = part.kind is Kind.PANEL or (description is not None and description.type == PANEL_TYPE)
    return (found for found in properties(part) if not is_private(found.declared.id, of_panel=of_panel))


def adopted(part: Part) -> AdoptedDevice:
    """A device, whole."""
    description, device = part.device.description, part.device
    domain = part.forest.domain
    info = {name: text(part.value("info", name)) for name in _INFO}
    return AdoptedDevice(
        device_id=device.id,
        device_type=(None if description is None else description.type) or "",
        name=None if description is None else description.name,
        vendor_name=info["vendor-name"],
        model=info["model"],
        serial_number=info["serial-number"],
        software_version=info["firmware-version"],
        hardware_version=info["hardware-version"],
        parent=None if description is None else description.parent,
        proxied=description is not None and description.root is not None,
        properties=tuple(
            AdoptedProperty(
                node_id=found.node.id,
                property_id=found.declared.id,
                datatype=found.declared.datatype or Datatype.STRING,
                unit=found.declared.unit,
                format=found.declared.format_text,
                settable=found.declared.settable,
                value=found.value,
                set_topic=set_topic(domain, device.id, found.node.id, found.declared.id)
                if found.declared.settable
                else None,
            )
            for found in _shown(part)
        ),
    )


_INFO: Final = ("vendor-name", "model", "serial-number", "firmware-version", "hardware-version")


_SUBJECTS: Final = {Kind.UPSTREAM: "lugs", Kind.DOWNSTREAM: "lugs", Kind.OUTSIDE: "circuit"}


def extensions(part: Part) -> tuple[ExtensionProperty, ...]:
    """The properties that have no field, on a device that has a class; those that say something, or can be set."""
    known = KNOWN[part.kind] - (other_spellings(part) if part.kind is Kind.EVSE else frozenset())
    return tuple(
        ExtensionProperty(
            subject_kind=_SUBJECTS.get(part.kind, part.kind.value),
            subject_key=None if part.kind is Kind.PANEL else part.id,
            node_id=found.node.id,
            property_id=found.declared.id,
            datatype=found.declared.datatype or Datatype.STRING,
            unit=found.declared.unit,
            format=found.declared.format_text,
            settable=found.declared.settable,
            value=found.value,
        )
        for found in _shown(part)
        if f"{found.capability}/{found.declared.id}" not in known
        and (found.value is not None or found.declared.settable)
    )
