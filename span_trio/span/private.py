"""Which properties tell where a house is, or whose it is: they are in no snapshot, log or recording made for others.

One short list for both schemas (invariant I16). It goes by the property's own id, on every device and node, since the
panel publishes these under ``info`` and ``status`` (flat: ``core``) and newer firmware may move them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PRIVATE", "is_private"]

PRIVATE: Final = frozenset(
    {
        *("address-lines", "locality", "region", "country-code", "postal-code"),
        *("latitude", "longitude", "wifi-ssid", "utility-meter-serial-number"),
    }
)
"""Property ids that are private wherever they occur."""
_PANEL: Final = frozenset({"name"})  # the site's; every other device's name is what users call it


def is_private(property_id: str, *, of_panel: bool) -> bool:
    """Whether a property's value stays out of snapshots, extensions, adopted devices and logs.

    ``of_panel`` says that it is a property of the panel itself (flat: of a node that is no part), not of a circuit, a
    battery or another device.
    """
    return property_id in PRIVATE or (of_panel and property_id in _PANEL)
