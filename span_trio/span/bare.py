"""What every firmware of the parent/child schema declares, for descriptions that do not say: datatypes only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..homie import Datatype, Fallback, PropertyDescription
from .parts import CAPABILITY

__all__ = ["CAPABILITIES"]

_LIMITS: Final = ("feed", "operator", "off-grid", "requested")
_DATATYPES: Final[Mapping[str, Mapping[Datatype, str]]] = {
    "info": {
        Datatype.STRING: "vendor-name model serial-number hardware-version firmware-version data-model-version name "
        "spaces part-number tags locations",
        Datatype.ENUM: "direction",
        Datatype.FLOAT: "nameplate-capacity nominal-power nominal-voltage",
        Datatype.BOOLEAN: "dedicated",
    },
    "door": {Datatype.ENUM: "state"},
    "status": {
        Datatype.ENUM: "relay cloud-connection communication-state status",
        Datatype.BOOLEAN: "ethernet wifi",
        Datatype.STRING: "time-zone",
    },
    "meter": {
        Datatype.FLOAT: "voltage-a voltage-b current-a current-b current active-power imported-energy exported-energy "
        "advertised-current busbar-current frequency",
        Datatype.STRING: "shared-with-device-ids",
    },
    "breaker": {Datatype.INTEGER: "rating poles", Datatype.ENUM: "protection-functions"},
    "power-flows": {Datatype.FLOAT: "pv battery grid site"},
    "pcs": {
        Datatype.BOOLEAN: "enabled active managed " + " ".join(f"{limit}-import-limit-active" for limit in _LIMITS),
        Datatype.FLOAT: "import-limit " + " ".join(f"{limit}-import-limit" for limit in _LIMITS),
        Datatype.ENUM: "binding-constraint " + " ".join(f"{limit}-import-limit-enablement" for limit in _LIMITS),
        Datatype.INTEGER: "priority",
    },
    "shed-forecast": {
        Datatype.INTEGER: "total-time-remaining time-to-priority-shed full-charge-total-time-remaining "
        "full-charge-time-to-priority-shed",
        Datatype.ENUM: "confidence",
    },
    "shed": {Datatype.ENUM: "asserted-islanding-state", Datatype.JSON: "policy"},
    "switch": {
        Datatype.ENUM: "relay relay-requester lock-state",
        Datatype.BOOLEAN: "relay-controllable",
        Datatype.STRING: "shared-with-device-ids",
    },
    "load-shed": {Datatype.ENUM: "priority"},
    "connection": {
        Datatype.STRING: "fed-by-device-id fed-by-device-type feeds-device-id feeds-device-type",
        Datatype.ENUM: "fed-by-device-status feeds-device-status feeds-role backed-up",
        Datatype.INTEGER: "count service-rating overcurrent-protection",
    },
    "soc": {Datatype.FLOAT: "soc soe"},
    "grid": {Datatype.ENUM: "islanding-state grid-state", Datatype.STRING: "grid-forming-entity"},
    "config": {Datatype.INTEGER: "max-charge-current user-max-charge-current"},
    "charge-limit": {Datatype.INTEGER: "installer-max owner-limit"},
    "grid-forming": {Datatype.BOOLEAN: "capable"},
}
CAPABILITIES: Final[Fallback] = {
    f"{CAPABILITY}{capability}": {
        name: PropertyDescription(name, datatype) for datatype, names in by_datatype.items() for name in names.split()
    }
    for capability, by_datatype in _DATATYPES.items()
}
"""Node type -> property id -> declaration (datatypes only)."""
