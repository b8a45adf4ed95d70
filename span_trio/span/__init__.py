"""What a SPAN panel's topics mean. Pure: no I/O, no clock.

`flat` and `fields` (builder and tables for firmware to r202627), `schema` (what properties are where a description is
bare), `convert` and `derive` (rules over values), `panels` (which devices are panels), `phases` (legs of the service).
"""

from .derive import firmware_build
from .fields import circuit_id
from .flat import FlatBuilder
from .panels import find_panels
from .phases import (
    PhaseDistribution,
    are_tabs_opposite_phase,
    get_phase_distribution,
    get_tab_phase,
    suggest_balanced_pairing,
    validate_solar_tabs,
)
from .schema import FLAT, HomieSchema, NodeType

__all__ = [
    "FLAT",
    "FlatBuilder",
    "HomieSchema",
    "NodeType",
    "PhaseDistribution",
    "are_tabs_opposite_phase",
    "circuit_id",
    "find_panels",
    "firmware_build",
    "get_phase_distribution",
    "get_tab_phase",
    "suggest_balanced_pairing",
    "validate_solar_tabs",
]
