"""The flat schema (firmware r202603 to r202627): one Homie device, a node per circuit.

The rules of this room:

* Nodes are known by ``type``, never by id: ids differ between firmware, hardware and simulators.
* A value's way is one line of a table in `fields`: field <- property, converter. Frames and signs are turned there.
* Incremental: `FlatBuilder.build` looks at the nodes that are dirty and makes anew what they feed; everything else is
  the same object as before, and so is a part that was made anew and came out equal. A full rebuild gives an equal
  snapshot (I4).
* Units are never converted: circuit power and PV size are W even where r202603 declares kW.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

import attrs

from ..enums import GridState
from ..frozenmap import FrozenMap
from ..homie import Device, Dirty, Forest, Instant, Node
from ..snapshot import (
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from .convert import member, number, text
from .derive import FEEDTHROUGH_BUILD, PANEL_SIZES, dsm_state, firmware_build, run_config, shared_inverter
from .fields import (
    BATTERY,
    CIRCUIT,
    CORE,
    DOWNSTREAM,
    EVSE,
    FLOWS,
    LUGS,
    NOTHING,
    PCS,
    PV,
    UPSTREAM,
    circuit_id,
)
from .schema import HomieSchema, NodeType, size_of
from .tables import Table, dependents, keep, keep_map, row

__all__ = ["FlatBuilder", "circuit_id"]

_T = TypeVar("_T")

_CIRCUIT_FIELDS: Final = dependents(CIRCUIT)
_ROLE: Final = list(CIRCUIT).index("device_type")
_POSITION: Final = list(CIRCUIT).index("relative_position")
_NO_NAMES: Final = frozenset[str]()
_TYPED_LUGS: Final = {NodeType.LUGS_UPSTREAM: UPSTREAM, NodeType.LUGS_DOWNSTREAM: DOWNSTREAM}
_LUG_TYPES: Final = (*_TYPED_LUGS, NodeType.LUGS)  # a type that tells the role comes before a direction that claims it
_PARENT_CHILD_ONLY: Final = (*(None,) * 11, (), (), FrozenMap[str, str]())


@attrs.define
class _Parts:
    """What the snapshot is put together from, each part as it was made last."""

    core: list[Any] = attrs.field(factory=list[Any])
    lugs: list[Any] = attrs.field(factory=list[Any])
    flows: list[Any] = attrs.field(factory=list[Any])
    circuits: FrozenMap[str, SpanCircuitSnapshot] = attrs.field(factory=FrozenMap[str, SpanCircuitSnapshot])
    battery: SpanBatterySnapshot | None = None
    grid_state: str | None = None
    inverters: FrozenMap[str, SpanPVSnapshot] = attrs.field(factory=FrozenMap[str, SpanPVSnapshot])
    evse: FrozenMap[str, SpanEvseSnapshot] = attrs.field(factory=FrozenMap[str, SpanEvseSnapshot])
    pcs: SpanPcsSnapshot | None = None
    roles: dict[str, tuple[str, str | None]] = attrs.field(factory=dict[str, tuple[str, str | None]])
    size: int | None = None
    unmapped: tuple[int, ...] = ()


class FlatBuilder:
    """Builds the snapshots of one panel over one epoch.

    Args:
        root: the panel's device id, which is its serial number.
        schema: the panel's REST schema, if it is known: tells the panel size where neither description nor model does.
    """

    def __init__(self, root: str, schema: HomieSchema | None = None) -> None:
        self.root: Final = root
        self.schema = schema
        self._parts = _Parts()
        self._nodes: dict[str, list[Node]] = {}
        self._circuit_nodes: dict[str, Node] = {}
        self._made: dict[str, SpanCircuitSnapshot] = {}  # of circuits, by id
        self._rows: dict[str, list[Any]] = {}  # of circuits: what does not change is not made again
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
        self._update({node: names for node, names in touched.items() if node.device is device}, reshaped=reshaped)
        self._built = True
        return self._assemble(pending, seq, epoch, received_at)

    def _classify(self, device: Device) -> None:
        self._nodes = {}
        for name, description in device.described.items():
            self._nodes.setdefault(description.type or "", []).append(device.nodes[name])
        self._circuit_nodes, self._rows = {}, {}
        for node in self._of(NodeType.CIRCUIT):
            self._circuit_nodes.setdefault(circuit_id(node.id), node)

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
            parts.grid_state = None if bess is None else member(GridState)(bess.values.get("grid-state"))
        if dirty(NodeType.PCS):
            parts.pcs = _one(SpanPcsSnapshot, PCS, self._first(NodeType.PCS), parts.pcs)
        if dirty(NodeType.PV):
            parts.inverters = _many(SpanPVSnapshot, PV, self._of(NodeType.PV), parts.inverters)
        if dirty(NodeType.EVSE):
            parts.evse = _many(SpanEvseSnapshot, EVSE, self._of(NodeType.EVSE), parts.evse)
        again = {circuit_id(node.id): names for node, names in touched.items() if node.type == NodeType.CIRCUIT}
        if dirty(NodeType.PV, NodeType.EVSE):
            again = dict.fromkeys(self._cast(), _NO_NAMES) | again
        moved = (again or reshaped) and self._make_circuits(again, reshaped=reshaped)
        if moved or reshaped or dirty(NodeType.CORE):
            self._map_tabs()

    def _lugs(self) -> list[Any]:
        build = firmware_build(self._parts.core[0])
        unreliable = build is not None and build < FEEDTHROUGH_BUILD
        by_role: dict[str, Node] = {}
        for node in self._of(*_LUG_TYPES):
            role = _TYPED_LUGS.get(node.type or "") or text(node.values.get("direction"))
            if role is not None:  # until the direction is known, no role: its readings are nobody's (lesson 3.1.0)
                by_role.setdefault(role.upper(), node)
        return [
            None
            if unreliable and field.startswith("feedthrough")
            else number(by_role.get(role, NOTHING).values.get(name))
            for field, (role, name) in LUGS.items()
        ]

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

    def _map_tabs(self) -> None:
        parts = self._parts
        parts.size = self._panel_size()
        occupied = {tab for circuit in parts.circuits.values() for tab in circuit.tabs}
        parts.unmapped = tuple(tab for tab in range(1, (parts.size or 0) + 1) if tab not in occupied)

    def _panel_size(self) -> int | None:
        """By the circuits' declarations, the REST schema, or the model; never by the highest occupied position."""
        declared = (size_of(node.declared("space")) for node in self._circuit_nodes.values())
        size = max((size for size in declared if size is not None), default=None)
        if size is None and self.schema is not None:
            size = self.schema.panel_size
        model = self._parts.core[2]
        return PANEL_SIZES.get(model) if size is None else size

    # --- the whole ---

    def _assemble(self, pending: tuple[str, ...], seq: int, epoch: int, received_at: Instant) -> SpanPanelSnapshot:
        parts = self._parts
        source, islandable = parts.core[-2:]
        state = dsm_state(
            has_battery=parts.battery is not None,
            grid_state=parts.grid_state,
            source=source,
            grid_powers=(parts.lugs[0], parts.flows[2]),
        )
        core = self._first(NodeType.CORE)
        serial = None if core is None else text(core.values.get("serial-number"))
        values: list[Any] = [
            serial or self.root,  # a flat panel's device id is its serial
            *parts.core,
            *parts.lugs,
            *parts.flows,
            parts.grid_state,
            state,
            run_config(state, islandable, source),
            parts.size,
            parts.unmapped,
            parts.circuits,
            parts.battery,
            shared_inverter(parts.inverters.values()),
            parts.inverters,
            parts.evse,
            parts.pcs,
            *_PARENT_CHILD_ONLY,
            pending,
            seq,
            epoch,
            received_at,
        ]
        return SpanPanelSnapshot(*values)


def _one(cls: Callable[..., _T], table: Table, node: Node | None, old: _T | None) -> _T | None:
    return None if node is None else keep(old, cls(*row(table, node)))


def _many(cls: Callable[..., _T], table: Table, nodes: Sequence[Node], old: FrozenMap[str, _T]) -> FrozenMap[str, _T]:
    return keep_map(old, FrozenMap({node.id: keep(old.get(node.id), cls(*row(table, node))) for node in nodes}))
