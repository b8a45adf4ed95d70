"""What a SPAN panel's topics mean. Pure: no I/O, no clock.

`model` (which data model a panel publishes, and what to wait for); `flat` and `fields` (builder and tables for firmware
to r202627); `tree`, `parts`, `child_fields`, `islanding` and `adopt` (the same for r202633 on); `tables`, `convert` and
`derive` (what both share); `controls`, `offered` and `shared` (what can be commanded, and what else that reaches);
`schema` (what properties are where a description is bare), `schema_changes` (between two of them), `private` (what no
snapshot shows), `panels` (which devices are panels), `phases`.
"""

from typing import Final

from ..homie import Fallback
from .bare import CAPABILITIES
from .controls import controls, find_control, resolve_command
from .derive import firmware_build
from .fields import circuit_id
from .flat import FlatBuilder
from .metadata import FieldMetadata, FieldPresence, field_metadata
from .model import DataModel, Version, awaited, data_model
from .offered import OfferedControl
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
from .schema_changes import SchemaChange, SchemaChangeKind, schema_changes
from .tree import ParentChildBuilder

FALLBACK: Final[Fallback] = {**FLAT, **CAPABILITIES}
"""Declarations for bare descriptions of either schema."""

__all__ = [
    "FALLBACK",
    "FLAT",
    "DataModel",
    "FieldMetadata",
    "FieldPresence",
    "FlatBuilder",
    "HomieSchema",
    "NodeType",
    "OfferedControl",
    "ParentChildBuilder",
    "PhaseDistribution",
    "SchemaChange",
    "SchemaChangeKind",
    "Version",
    "are_tabs_opposite_phase",
    "awaited",
    "circuit_id",
    "controls",
    "data_model",
    "field_metadata",
    "find_control",
    "find_panels",
    "firmware_build",
    "get_phase_distribution",
    "get_tab_phase",
    "resolve_command",
    "schema_changes",
    "suggest_balanced_pairing",
    "validate_solar_tabs",
]
