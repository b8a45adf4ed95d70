"""The flat schema (firmware r202603 to r202627): one Homie device, a node per circuit.

The rules of this room:

* Nodes are known by ``type``, never by id: ids differ between firmware, hardware and simulators.
* A value's way is one line of a table in `fields`: field <- property, converter. Frames and signs are turned there.
* Incremental: `FlatBuilder.build` looks at the nodes that are dirty and makes anew what they feed; everything else is
  the same object as before, and so is a part that was made anew and came out equal. A full rebuild gives an equal
  snapshot (I4).
* Nothing is hidden: what has no field is in ``extension_properties``, and so is everything of a node that has no place
  beside another of its type.
* Units are never converted: circuit power and PV size are W even where r202603 declares kW.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

import attrs

from ..frozenmap import FrozenMap
from ..homie import Datatype, Device, Dirty, Forest, Instant, Node
from ..snapshot import (
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from .convert import number, text
from .derive import FEEDTHROUGH_BUILD, dsm_state, firmware_build, run_config, shared_inverter
from .fields import (
    BATTERY,
    CIRCUIT,
    CORE,
    DOWNSTREAM,
    EVSE,
    FLOWS,
    GRID,
    KNOWN,
    LUGS,
    NOTHING,
    PCS,
    PV,
    UPSTREAM,
    charger_keys,
    circuit_id,
    inverter_keys,
)
from .positions import POSITIONS, Positions
from .private import is_private
from .published import described, published
from .schema import HomieSchema, NodeType, positions_of
from .tables import Table, defaults, dependents, keep, keep_map, row

__all__ = ["FlatBuilder", "circuit_id"]

_T = TypeVar("_T", SpanPVSnapshot, SpanEvseSnapshot)
_O = TypeVar("_O")

_CIRCUIT_FIELDS: Final = dependents(CIRCUIT)
_ROLE: Final = list(CIRCUIT).index("device_type")
_POSITION: Final = list(CIRCUIT).index("relative_position")
_NO_NAMES: Final = frozenset[str]()
_TYPED_LUGS: Final = {NodeType.LUGS_UPSTREAM: UPSTREAM, NodeType.LUGS_DOWNSTREAM: DOWNSTREAM}
_LUG_TYPES: Final = (*_TYPED_LUGS, NodeType.LUGS)  # a type that tells the role comes before a direction that claims it
_CORE: Final = {field: place for place, field in enumerate(CORE)}
_ONE_OF: Final = frozenset({NodeType.CORE, NodeType.BESS, NodeType.PCS, NodeType.POWER_FLOWS})
_MEASURED: Final = frozenset({"active-power", "imported-energy", "exported-energy"})
_SUBJECTS: Final = {  # of extensions; everything else is the panel's
    **dict.fromkeys(_LUG_TYPES, "lugs"),
    NodeType.CIRCUIT: "circuit",
    NodeType.BESS: "battery",
    NodeType.PV: "pv",
    NodeType.EVSE: "evse",
}
_BLANK: Final = defaults(SpanPanelSnapshot)


@attrs.define
class _Parts:
    """What the snapshot is put together from, each part as it was made last."""

    core: list[Any] = attrs.field(factory=list[Any])
    lugs: dict[str, float | None] = attrs.field(factory=dict[str, "float | None"])
    flows: list[Any] = attrs.field(factory=list[Any])
    circuits: FrozenMap[str, SpanCircuitSnapshot] = attrs.field(factory=FrozenMap[str, SpanCircuitSnapshot])
    battery: SpanBatterySnapshot | None = None
    grid_state: str | None = None
    inverters: FrozenMap[str, SpanPVSnapshot] = attrs.field(factory=FrozenMap[str, SpanPVSnapshot])
    evse: FrozenMap[str, SpanEvseSnapshot] = attrs.field(factory=FrozenMap[str, SpanEvseSnapshot])
    pcs: SpanPcsSnapshot | None = None
    roles: dict[str, tuple[str, str | None]] = attrs.field(factory=dict[str, tuple[str, str | None]])
    extensions: tuple[ExtensionProperty, ...] = ()
    alerts: FrozenMap[str, FrozenMap[str, str]] = attrs.field(factory=FrozenMap[str, FrozenMap[str, str]])


class FlatBuilder:
    """Builds the snapshots of one panel over one epoch.

    Args:
        root: the panel's device id, which is its serial number.
        schema: the panel's REST schema, if it is known: tells the positions where neither description nor model does.
    """

    def __init__(self, root: str, schema: HomieSchema | None = None) -> None:
        self.root: Final = root
        self.schema = schema
        self.positions: Positions = Positions()
        """Those of the newest snapshot."""
        self._parts = _Parts()
        self._described: list[Node] = []
        self._nodes: dict[str, list[Node]] = {}  # by type
        self._lug_nodes: dict[str, Node] = {}  # by role
        self._circuit_nodes: dict[str, Node] = {}
        self._made: dict[str, SpanCircuitSnapshot] = {}  # of circuits, by id
        self._rows: dict[str, list[Any]] = {}  # of circuits: what does not change is not made again
        self._known: dict[Node, AbstractSet[str]] = {}  # of each node, what is read into a field
        self._read_by: tuple[dict[str, Node], bool] | None = None  # which lugs are which, when that was told
        self._made_extensions: dict[Node, tuple[ExtensionProperty, ...]] = {}
        self._built = False

    def build(
        self, forest: Forest, dirty: Dirty, *, pending: tuple[str, ...], seq: int, epoch: int, received_at: Instant
    ) -> SpanPanelSnapshot:
        """A snapshot of the tree now, of which ``dirty`` is what changed since the last call."""
        device = forest.devices[self.root]
        reshaped = not self._built or self.root in dirty.devices
        touched: Mapping[Node, AbstractSet[str]] = dirty.nodes
        if reshaped:
            self._classify(device)
            touched = dict.fromkeys(device.nodes.values(), _NO_NAMES)
        touched = {node: names for node, names in touched.items() if node.device is device}
        self._update(touched, reshaped=reshaped)
        self._extend(forest, touched, reshaped=reshaped)
        self._built = True
        return self._assemble(pending=pending, seq=seq, epoch=epoch, received_at=received_at)

    def _classify(self, device: Device) -> None:
        self._nodes, self._described = {}, [device.nodes[name] for name in device.described]
        for node in self._described:
            self._nodes.setdefault(node.type or "", []).append(node)
        self._circuit_nodes, self._rows = {}, {}
        for node in self._of(NodeType.CIRCUIT):
            self._circuit_nodes.setdefault(circuit_id(node.id), node)
        alerts = {device.id: FrozenMap({**device.alerts})} if device.alerts else {}
        self._parts.alerts = keep_map(self._parts.alerts, FrozenMap(alerts))

    def _of(self, *kinds: str) -> list[Node]:
        return [node for kind in kinds for node in self._nodes.get(kind, ())]

    def _first(self, kind: str) -> Node | None:
        return next(iter(self._nodes.get(kind, ())), None)

    # --- parts ---

    def _update(self, touched: Mapping[Node, AbstractSet[str]], *, reshaped: bool) -> None:
        """Make anew what these nodes feed."""
        parts = self._parts
        kinds = {node.type for node in touched}

        def dirty(*wanted: str) -> bool:
            return reshaped or any(kind in kinds for kind in wanted)

        if dirty(NodeType.CORE):
            parts.core = row(CORE, self._first(NodeType.CORE) or NOTHING)
        if dirty(NodeType.CORE, *_LUG_TYPES):
            parts.lugs = self._lugs()
        if dirty(NodeType.POWER_FLOWS):
            parts.flows = row(FLOWS, self._first(NodeType.POWER_FLOWS) or NOTHING)
        if dirty(NodeType.BESS):
            bess = self._first(NodeType.BESS)
            parts.battery = _one(SpanBatterySnapshot, BATTERY, bess, parts.battery)
            (parts.grid_state,) = row(GRID, bess or NOTHING)
        if dirty(NodeType.PCS):
            parts.pcs = _one(SpanPcsSnapshot, PCS, self._first(NodeType.PCS), parts.pcs)
        if dirty(NodeType.PV):
            parts.inverters = _many(SpanPVSnapshot, PV, inverter_keys(self._of(NodeType.PV)), parts.inverters)
        if dirty(NodeType.EVSE):
            parts.evse = _many(SpanEvseSnapshot, EVSE, charger_keys(self._of(NodeType.EVSE)), parts.evse)
        again = {circuit_id(node.id): names for node, names in touched.items() if node.type == NodeType.CIRCUIT}
        if dirty(NodeType.PV, NodeType.EVSE):
            again = dict.fromkeys(self._cast(), _NO_NAMES) | again
        moved = (again or reshaped) and self._make_circuits(again, reshaped=reshaped)
        if moved or reshaped or dirty(NodeType.CORE):
            self.positions = Positions.of(self._existing(), parts.circuits.values())

    def _lugs(self) -> dict[str, float | None]:
        by_role: dict[str, Node] = {}
        for node in self._of(*_LUG_TYPES):
            role = _TYPED_LUGS.get(node.type or "") or text(node.values.get("direction"))
            if role is not None:  # until the direction is known, no role: its readings are nobody's (lesson 3.1.0)
                by_role.setdefault(role.upper(), node)
        self._lug_nodes = by_role
        return {
            field: None
            if field.startswith("feedthrough") and self._unreliable
            else number(by_role.get(role, NOTHING).values.get(name))
            for field, (role, name) in LUGS.items()
        }

    @property
    def _unreliable(self) -> bool:
        """Whether downstream lugs of this firmware publish something else than power and energy there."""
        build = firmware_build(self._core("firmware_version"))
        return build is not None and build < FEEDTHROUGH_BUILD

    def _core(self, field: str) -> Any:
        return self._parts.core[_CORE[field]]

    def _cast(self) -> set[str]:
        """Give the circuits that feed inverters and chargers their roles; the ids of those whose role changed."""
        parts = self._parts
        before, parts.roles = parts.roles, {}
        for charger in parts.evse.values():
            if charger.feed_circuit_id is not None:
                parts.roles[charger.feed_circuit_id] = ("evse", None)
        for inverter in parts.inverters.values():
            if inverter.feed_circuit_id is not None:
                parts.roles[inverter.feed_circuit_id] = ("pv", inverter.relative_position)
        either = {*before, *parts.roles}
        return {circuit for circuit in either if before.get(circuit) != parts.roles.get(circuit)}

    def _make_circuits(self, again: Mapping[str, AbstractSet[str]], *, reshaped: bool) -> bool:
        """Make these circuits anew, or all of them. Returns whether one has moved to other tabs."""
        old = self._made
        new = {} if reshaped else old.copy()
        moved = False
        for circuit in self._circuit_nodes if reshaped else again.keys() & self._circuit_nodes.keys():
            node = self._circuit_nodes[circuit]
            if reshaped:
                values = self._rows[circuit] = row(CIRCUIT, node)
            else:
                values = self._rows[circuit]
                for name in again[circuit]:
                    for place, make in _CIRCUIT_FIELDS.get(name, ()):
                        values[place] = make(node)
            values[_ROLE], values[_POSITION] = self._parts.roles.get(circuit, ("circuit", None))
            before = old.get(circuit)
            new[circuit] = now = keep(before, SpanCircuitSnapshot(*values))
            moved = moved or before is None or before.tabs != now.tabs
        self._made = new
        self._parts.circuits = keep_map(self._parts.circuits, FrozenMap(new))
        return moved

    def _existing(self) -> range | None:
        """By the circuits' declarations, the REST schema, or the model; never by the highest occupied position."""
        declared = [positions_of(node.declared("space")) for node in self._circuit_nodes.values()]
        told = [each for each in declared if each is not None]
        if told:
            return range(min(each.start for each in told), max(each.stop for each in told))
        by_schema = None if self.schema is None else self.schema.positions
        return POSITIONS.get(self._core("model") or "") if by_schema is None else by_schema

    # --- what has no field ---

    def _extend(self, forest: Forest, touched: Mapping[Node, AbstractSet[str]], *, reshaped: bool) -> None:
        lugs = {**self._lug_nodes}, self._unreliable
        if reshaped or lugs != self._read_by:
            self._known, self._read_by, self._made_extensions = self._read(), lugs, {}
        known, made = self._known, self._made_extensions
        stale = [node for node, names in touched.items() if names - known.get(node, names)]
        stale += [node for node in known if node not in made]
        if stale or reshaped:
            made.update((node, tuple(self._extensions_of(forest, node, known[node]))) for node in stale)
            every = itertools.chain.from_iterable(made[node] for node in self._described)
            self._parts.extensions = keep(self._parts.extensions, tuple(every))

    def _read(self) -> dict[Node, AbstractSet[str]]:
        """Of each node that is described, the properties that are read into a field."""
        known: dict[Node, AbstractSet[str]] = {}
        for kind, nodes in self._nodes.items():
            known.update(dict.fromkeys(nodes[:1] if kind in _ONE_OF else nodes, KNOWN.get(kind, _NO_NAMES)))
            known.update(dict.fromkeys(nodes[1:] if kind in _ONE_OF else (), _NO_NAMES))
        doubles = set(self._of(NodeType.CIRCUIT)) - set(self._circuit_nodes.values())
        known.update(dict.fromkeys(doubles, _NO_NAMES))
        for role, node in self._lug_nodes.items():
            known[node] = KNOWN.get(role, _NO_NAMES) - (_MEASURED if role == DOWNSTREAM and self._unreliable else set())
        return known

    def _extensions_of(self, forest: Forest, node: Node, known: AbstractSet[str]) -> Iterator[ExtensionProperty]:
        kind = _SUBJECTS.get(node.type or "", "panel")
        circuit = circuit_id(node.id)
        key = circuit if self._circuit_nodes.get(circuit) is node else node.id
        of_panel = kind == "panel"
        for declared in described(node):
            said = published(forest, node, declared.id)
            if declared.id in known or is_private(declared.id, of_panel=of_panel):
                continue
            if said is not None or declared.settable:
                yield ExtensionProperty(
                    subject_kind=kind,
                    subject_key=None if kind == "panel" else key,
                    node_id=node.id,
                    property_id=declared.id,
                    datatype=declared.datatype or Datatype.STRING,
                    unit=declared.unit,
                    format=declared.format_text,
                    settable=declared.settable,
                    value=said,
                )

    # --- the whole ---

    def _assemble(self, **about: Any) -> SpanPanelSnapshot:
        parts = self._parts
        source, islandable = self._core("dominant_power_source"), self._core("grid_islandable")
        values = dict(_BLANK)  # by name, in the order of the fields
        values.update(zip(CORE, parts.core, strict=True))
        values.update(zip(FLOWS, parts.flows, strict=True))
        values.update(parts.lugs)
        state = dsm_state(
            has_battery=parts.battery is not None,
            grid_state=parts.grid_state,
            source=source,
            grid_powers=(values["instant_grid_power_w"], values["power_flow_grid"]),
            islandable=islandable,
        )
        values.update(
            serial_number=values["serial_number"] or self.root,  # a flat panel's device id is its serial
            grid_state=parts.grid_state,
            dsm_state=state,
            current_run_config=run_config(state, islandable, source),
            panel_size=self.positions.size,
            first_position=self.positions.first,
            last_position=self.positions.last,
            unmapped_tabs=self.positions.unmapped,
            circuits=parts.circuits,
            battery=parts.battery,
            pv=shared_inverter(parts.inverters.values()),
            pv_inverters=parts.inverters,
            evse=parts.evse,
            pcs=parts.pcs,
            extension_properties=parts.extensions,
            alerts=parts.alerts,
            pending_devices=about.pop("pending"),
            **about,
        )
        return SpanPanelSnapshot(*values.values())


def _one(cls: Callable[..., _O], table: Table, node: Node | None, old: _O | None) -> _O | None:
    return None if node is None else keep(old, cls(*row(table, node)))


def _many(
    cls: Callable[..., _T], table: Table, nodes: Mapping[str, Node], old: FrozenMap[str, _T]
) -> FrozenMap[str, _T]:
    place = list(table).index("node_id")
    made: dict[str, _T] = {}
    for key, node in nodes.items():
        values = row(table, node)
        values[place] = key
        made[key] = keep(old.get(key), cls(*values))
    return keep_map(old, FrozenMap(made))
