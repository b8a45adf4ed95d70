"""By what key a device is known in a snapshot: one rule for both schemas.

An inverter goes by the circuit that feeds it, a charger by its serial number: these survive an upgrade of the firmware
and a replacement of the panel's ids. Where that is missing or not its own, the device's id (flat: its node's) is the
key, so that two devices never collapse into one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["unique_keys"]


def unique_keys(devices: Sequence[tuple[str | None, str]]) -> list[str]:
    """A key for each of these devices: what it would go by if that is its alone, else its id.

    Args:
        devices: of each, what it would go by, and its id, which is unique.
    """
    wanted = Counter(key for key, _ in devices)
    ids = {own for _, own in devices}
    return [key if key and wanted[key] == 1 and (key == own or key not in ids) else own for key, own in devices]
