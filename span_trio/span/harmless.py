"""What may be shown of a panel to people who do not live there: the allow-list of redaction (invariant I16).

What is on none of these lists is masked, so a property that newer firmware adds is private until it is put here.
"""

from __future__ import annotations

import re
from typing import Final

from .. import enums
from .bare import CAPABILITIES
from .child_fields import KNOWN
from .parts import CAPABILITY
from .private import PRIVATE
from .schema import FLAT

__all__ = ["ID_WORDS", "JSON_KEYS", "KNOWN_PROPERTIES", "MEMBERS", "TEXTS", "UNITS", "is_member", "is_reference"]

KNOWN_PROPERTIES: Final = (
    frozenset(name for declared in (*FLAT.values(), *CAPABILITIES.values()) for name in declared)
    | {path.rpartition("/")[2] for paths in KNOWN.values() for path in paths}
) - PRIVATE
"""Ids of the properties that are known: their numbers are readings and ratings of the house's equipment."""
TEXTS: Final = frozenset(
    {
        *("vendor-name", "model", "product-name", "part-number", "direction"),
        *("firmware-version", "software-version", "hardware-version", "data-model-version"),
    }
)
"""Ids of the properties whose text says what a thing is, and not which one it is or whose."""
UNITS: Final = frozenset(
    {
        *("W", "kW", "Wh", "kWh", "VA", "kVA", "var", "V", "A", "Ah", "Hz", "%", "°C", "°F", "K"),
        *("s", "min", "h", "rpm", "Pa", "psi", "ppm", "lx", "L", "gal", "m³"),
    }
)
"""Units of what is measured. A number in any other unit (° may be a coordinate) has to be of a known property."""
MEMBERS: Final = frozenset(
    {member.value for kind in enums.WireEnum.__subclasses__() for member in kind}
    | {"UPSTREAM", "DOWNSTREAM", "GRID", "BATTERY", "PV", "GENERATOR", "NONE", "UNKNOWN"}
)
"""Members of known enums, for properties that do not declare theirs."""
JSON_KEYS: Final = frozenset({"algorithm", "parameters", "soc-threshold-shed", "soc-threshold-release"})
"""Keys of JSON values whose numbers are settings."""
ID_WORDS: Final = frozenset(
    {
        *("circuit", "remote", "ct", "lugs", "up", "down", "dn", "upstream", "downstream"),
        *("core", "bess", "mid", "pv", "evse", "pcs", "flows"),
        *(word for kind in CAPABILITIES for word in kind.removeprefix(CAPABILITY).split("-")),
    }
)
"""The words of which ids are made on every panel. What else is in an id may be a serial number, or a name."""

_MEMBER: Final = re.compile(r"[A-Za-z]+[0-9]{0,2}(?:[ _-](?:[A-Za-z]+[0-9]{0,2}|[0-9]{1,2}))*")


def is_member(text: str) -> bool:
    """Whether a text looks like a member of an enum, or another word of a schema, and not like a serial number."""
    return len(text) <= 64 and _MEMBER.fullmatch(text) is not None


def is_reference(property_id: str) -> bool:
    """Whether a property names other devices or nodes: their ids, with commas between them."""
    return property_id.endswith(("-device-id", "-device-ids")) or property_id in {"feed", "grid-forming-entity"}
