"""Which devices of a forest are SPAN panels."""

from __future__ import annotations

from ..homie import Device, DeviceState, Forest
from .schema import NodeType

__all__ = ["PANEL_TYPE", "find_panels"]

PANEL_TYPE = "energy.ebus.device.distribution-enclosure"


def find_panels(forest: Forest) -> list[str]:
    """The ids of the panels in a forest, those that are ``ready`` first.

    A panel is a root of the enclosure's type or, where a bare description has no type, with a flat core node.
    """
    panels = [device for device in forest.devices.values() if _is_panel(device)]
    return [device.id for device in sorted(panels, key=lambda panel: panel.state_text != DeviceState.READY)]


def _is_panel(device: Device) -> bool:
    description = device.description
    if description is None or description.root is not None:
        return False
    return description.type == PANEL_TYPE or bool(device.nodes_of_type(NodeType.CORE))
