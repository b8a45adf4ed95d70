"""What span_trio has no class or no field for."""

from __future__ import annotations

import attrs

from ..plain import Plain

__all__ = ["AdoptedDevice", "AdoptedProperty", "ExtensionProperty"]


@attrs.frozen
class AdoptedProperty(Plain):
    """A property of an `AdoptedDevice`; ``value`` as text."""

    node_id: str
    property_id: str
    datatype: str
    unit: str | None = None
    format: str | None = None
    settable: bool = False
    value: str | None = None
    set_topic: str | None = None


@attrs.frozen
class AdoptedDevice(Plain):
    """A device of a type that span_trio has no class for, carried whole. Parent/child only."""

    device_id: str
    device_type: str
    name: str | None = None
    vendor_name: str | None = None
    model: str | None = None
    serial_number: str | None = None
    software_version: str | None = None
    hardware_version: str | None = None
    parent: str | None = None
    proxied: bool = False
    properties: tuple[AdoptedProperty, ...] = ()


@attrs.frozen
class ExtensionProperty(Plain):
    """A property that span_trio has no field for, on a device that it has a class for. Parent/child only."""

    subject_kind: str
    subject_key: str | None
    node_id: str
    property_id: str
    datatype: str
    unit: str | None = None
    format: str | None = None
    settable: bool = False
    value: str | None = None
