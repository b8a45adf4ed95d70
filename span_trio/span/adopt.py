"""What nobody modelled: devices without a class, and properties without a field. Nothing is hidden (section 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..homie import Datatype, Node, PropertyDescription, set_topic
from ..snapshot import AdoptedDevice, AdoptedProperty, ExtensionProperty
from .child_fields import KNOWN
from .convert import text
from .fields import circuit_id
from .parts import Kind, Part
from .private import is_private

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
        described = None if node.description is None else node.description.properties
        # What a bare node has is in no order of its own: a broker's is not one.
        bare = {name: PropertyDescription(name) for name in sorted(node.values)}
        declared = bare if described is None else described
        for name, declaration in declared.items():
            yield FoundProperty(capability, node, declaration, part.text_of(capability, name))


def _shown(part: Part) -> Iterator[FoundProperty]:
    of_panel = part.kind is Kind.PANEL
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


_INFO = ("vendor-name", "model", "serial-number", "firmware-version", "hardware-version")


def extensions(part: Part) -> tuple[ExtensionProperty, ...]:
    """The properties that have no field, on a device that has a class; those that say something, or can be set."""
    key = None if part.kind is Kind.PANEL else circuit_id(part.id) if part.kind is Kind.CIRCUIT else part.id
    return tuple(
        ExtensionProperty(
            subject_kind=part.kind.value,
            subject_key=key,
            node_id=found.node.id,
            property_id=found.declared.id,
            datatype=found.declared.datatype or Datatype.STRING,
            unit=found.declared.unit,
            format=found.declared.format_text,
            settable=found.declared.settable,
            value=found.value,
        )
        for found in _shown(part)
        if f"{found.capability}/{found.declared.id}" not in KNOWN[part.kind]
        and (found.value is not None or found.declared.settable)
    )
