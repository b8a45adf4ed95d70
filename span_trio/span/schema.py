"""What a flat panel's properties are, for descriptions that do not say.

A panel's ``$description`` is the authority. Two things stand in where it is bare: `FLAT`, which every firmware shares
and which only has datatypes, and the panel's own REST schema (``GET /api/v2/homie/schema``), parsed by `HomieSchema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from ..homie import Datatype, DescriptionError, Fallback, NumberFormat, PropertyDescription, parse_properties

__all__ = ["FLAT", "HomieSchema", "NodeType", "positions_of"]


class NodeType:
    """The node types of the flat schema."""

    CORE: Final = "energy.ebus.device.distribution-enclosure.core"
    LUGS: Final = "energy.ebus.device.lugs"
    LUGS_UPSTREAM: Final = "energy.ebus.device.lugs.upstream"
    LUGS_DOWNSTREAM: Final = "energy.ebus.device.lugs.downstream"
    CIRCUIT: Final = "energy.ebus.device.circuit"
    BESS: Final = "energy.ebus.device.bess"
    PV: Final = "energy.ebus.device.pv"
    EVSE: Final = "energy.ebus.device.evse"
    PCS: Final = "energy.ebus.device.pcs"
    POWER_FLOWS: Final = "energy.ebus.device.power-flows"


_MAX_SIZE: Final = 1024  # no panel is larger; positions that no circuit occupies are listed, so a size is memory (I8)
_PCS_LIMITS: Final = ("feed", "grid", "off-grid", "requested")

# Per node type and datatype, the properties of r202627 and all before it.
_DATATYPES: Final[Mapping[str, Mapping[Datatype, str]]] = {
    NodeType.CORE: {
        Datatype.STRING: "vendor-name serial-number hardware-version software-version wifi-ssid postal-code time-zone",
        Datatype.ENUM: "model door dominant-power-source relay vendor-cloud",
        Datatype.BOOLEAN: "grid-islandable ethernet wifi",
        Datatype.FLOAT: "l1-voltage l2-voltage",
        Datatype.INTEGER: "breaker-rating",
    },
    NodeType.LUGS: {
        Datatype.ENUM: "direction",
        Datatype.STRING: "feed",
        Datatype.FLOAT: "l1-current l2-current active-power imported-energy exported-energy",
    },
    NodeType.CIRCUIT: {
        Datatype.STRING: "name",
        Datatype.ENUM: "relay relay-requester shed-priority",
        Datatype.INTEGER: "breaker-rating space pcs-priority",
        Datatype.FLOAT: "current active-power imported-energy exported-energy",
        Datatype.BOOLEAN: "dipole pcs-managed sheddable never-backup always-on",
    },
    NodeType.BESS: {
        Datatype.STRING: "vendor-name product-name model serial-number software-version feed",
        Datatype.FLOAT: "nameplate-capacity soc soe",
        Datatype.ENUM: "relative-position grid-state",
        Datatype.BOOLEAN: "connected",
    },
    NodeType.PV: {
        Datatype.STRING: "vendor-name product-name serial-number software-version feed",
        Datatype.FLOAT: "nameplate-capacity",
        Datatype.ENUM: "relative-position",
    },
    NodeType.EVSE: {
        Datatype.STRING: "vendor-name product-name part-number serial-number software-version feed",
        Datatype.ENUM: "lock-state status",
        Datatype.FLOAT: "advertised-current",
        Datatype.INTEGER: "max-charge-current user-max-charge-current",
    },
    NodeType.PCS: {
        Datatype.BOOLEAN: "enabled active " + " ".join(f"{limit}-import-limit-active" for limit in _PCS_LIMITS),
        Datatype.FLOAT: "import-limit " + " ".join(f"{limit}-import-limit" for limit in _PCS_LIMITS),
        Datatype.ENUM: " ".join(f"{limit}-import-limit-enablement" for limit in _PCS_LIMITS),
    },
    NodeType.POWER_FLOWS: {Datatype.FLOAT: "pv battery grid site"},
}

# The typed lugs appear in descriptions and not in the REST schema: they are the base type with another name.
_ALIASES: Final = {NodeType.LUGS_UPSTREAM: NodeType.LUGS, NodeType.LUGS_DOWNSTREAM: NodeType.LUGS}


def _with_aliases(types: dict[str, Mapping[str, PropertyDescription]]) -> Fallback:
    return types | {alias: types[base] for alias, base in _ALIASES.items() if base in types}


FLAT: Final[Fallback] = _with_aliases(
    {
        kind: {
            name: PropertyDescription(name, datatype)
            for datatype, names in by_datatype.items()
            for name in names.split()
        }
        for kind, by_datatype in _DATATYPES.items()
    }
)
"""Node type -> property id -> declaration (datatypes only)."""


@attrs.frozen
class HomieSchema:
    """A panel's own schema, as ``GET /api/v2/homie/schema`` answers it.

    ``data_model_version`` is ``None`` for the flat schema (no such key). ``types`` is for bare descriptions;
    ``device_classes`` is what a schema from r202633 on has instead: class -> capability -> property id -> declaration.
    """

    firmware_version: str | None = None
    data_model_version: str | None = None
    types: Fallback = attrs.field(factory=dict[str, Mapping[str, PropertyDescription]], repr=False)
    schema_hash: str | None = None
    device_classes: Mapping[str, Fallback] = attrs.field(factory=dict[str, Fallback], repr=False)

    @classmethod
    def from_json(cls, body: object) -> HomieSchema:
        """Read the parsed JSON body of the answer.

        Raises:
            ValueError: it has not the shape of a schema.
        """
        if not isinstance(body, dict):
            raise ValueError("the schema is not a JSON object")
        document = cast("dict[str, Any]", body)
        classes: dict[str, Any] = _value(document, "deviceClasses", dict) or {}
        return cls(
            firmware_version=_value(document, "firmwareVersion", str),
            data_model_version=_value(document, "dataModelVersion", str),
            types=_with_aliases(_declarations("types", _value(document, "types", dict) or {})),
            device_classes={name: _declarations("deviceClasses", entry) for name, entry in classes.items()},
            schema_hash=_value(document, "typesSchemaHash", str) or _value(document, "deviceClassesSchemaHash", str),
        )

    @property
    def is_flat(self) -> bool:
        """Whether it is of the flat generation (firmware to r202627)."""
        return self.data_model_version is None

    @property
    def own_types(self) -> Fallback:
        """``types`` as the panel has it: without the other names that descriptions have for some of them."""
        return {
            kind: entry for kind, entry in self.types.items() if entry is not self.types.get(_ALIASES.get(kind, ""))
        }

    @property
    def positions(self) -> range | None:
        """The breaker positions: the range of the format of a circuit's ``space``."""
        return positions_of(self.types.get(NodeType.CIRCUIT, {}).get("space"))

    @property
    def panel_size(self) -> int | None:
        """How many breaker positions there are."""
        return None if self.positions is None else len(self.positions)

    def over(self, base: Fallback) -> Fallback:
        """These declarations, and those of ``base`` for what they leave out."""
        return {kind: {**base.get(kind, {}), **self.types.get(kind, {})} for kind in {**base, **self.types}}


def positions_of(space: PropertyDescription | None) -> range | None:
    """The positions that the declaration of a circuit's ``space`` tells (``1:32:1`` -> 1 … 32)."""
    limits = space.format if space is not None and isinstance(space.format, NumberFormat) else None
    if limits is None or limits.maximum is None:
        return None
    first, last = _position(max(limits.minimum or 1.0, 1.0)), _position(limits.maximum)
    return None if first is None or last is None or last < first else range(first, last + 1)


def _position(limit: float) -> int | None:
    return int(limit) if 1 <= limit <= _MAX_SIZE and limit.is_integer() else None


def _declarations(what: str, document: Any) -> dict[str, Mapping[str, PropertyDescription]]:
    """Node type, or capability -> property id -> declaration."""
    try:
        return {kind: parse_properties(declarations) for kind, declarations in document.items()}
    except (DescriptionError, AttributeError, TypeError) as error:
        raise ValueError(f"{what}: {error}") from None


def _value(body: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} is not a {kind.__name__}")
    return value
