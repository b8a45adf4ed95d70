"""The parent/child schema (firmware r202633 on): circuits, lugs, battery, MID, inverters and chargers are devices.

The rules of this room:

* The devices of the tree are `parts`, known by type; a value's way is one line of a table in `child_fields`.
* Incremental: rows are kept, a changed property makes again the fields that depend on it, and what did not change is
  the same object as before. A device that changes its shape or its ``$state`` has everything made again; a full rebuild
  gives an equal snapshot (I4).
* What needs more than one device is put in here: roles and links from the connection records, the battery's sign from
  the firmware, islanding from the MID and the panel.
* Nothing is hidden: what has no field is in ``extension_properties``, a device without a class in ``adopted_devices``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import attrs

from ..frozenmap import FrozenMap
from ..homie import Dirty, Forest, Instant, Lifecycle
from ..snapshot import (
    AdoptedDevice,
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from .adopt import adopted, extensions
from .child_fields import BATTERY, CIRCUIT, EVSE, KNOWN, MID, PV, TABLES
from .convert import flag, text
from .derive import PANEL_SIZES, firmware_build, negated, shared_inverter
from .islanding import dsm_of, islanding, power_source, run_config_of
from .parts import Feed, Kind, Part, charger_keys, direction_of, feeds, kind_of
from .tables import dependents, keep, keep_map, row

__all__ = ["ParentChildBuilder"]

SIGN_BUILD: Final = 202639
"""The battery's own meter counts discharging as positive from this build on; before, charging (changelog r202639)."""

_Steps: TypeAlias = dict[str, tuple[tuple[int, int, Callable[[Any], Any]], ...]]


def _steps(kind: Kind) -> dict[str, _Steps]:
    """Capability -> property -> what depends on it: a table's number, a place in it, how to make that."""
    tables = [dependents(table) for table in TABLES[kind]]
    steps: dict[str, _Steps] = {}
    for path in KNOWN[kind]:
        capability, _, name = path.partition("/")
        steps.setdefault(capability, {})[name] = tuple(
            (number, place, make) for number, table in enumerate(tables) for place, make in table.get(path, ())
        )
    return steps


_STEPS: Final = {kind: _steps(kind) for kind in Kind}
_NO_STEPS: Final[_Steps] = {}
_ONE_OF: Final = frozenset({Kind.BESS, Kind.MID})
_ROLES: Final = {Kind.PV: "pv", Kind.EVSE: "evse"}
_LUGS: Final = ("power", "imported", "exported", "l1_current", "l2_current")


def _place(table: Any, field: str) -> int:
    return list(table).index(field)


_CIRCUIT_ROLE, _CIRCUIT_POSITION = _place(CIRCUIT, "device_type"), _place(CIRCUIT, "relative_position")
_BATTERY_POWER, _BATTERY_LINK = _place(BATTERY, "power_w"), _place(BATTERY, "connected")
_PV_FEED, _PV_POSITION, _PV_LINK, _PV_KEY = (
    _place(PV, field) for field in ("feed_circuit_id", "relative_position", "connected", "node_id")
)
_EVSE_KEY, _EVSE_FEED, _EVSE_LINK = (_place(EVSE, field) for field in ("node_id", "feed_circuit_id", "connected"))
_MID_NAME: Final = _place(MID, "grid_forming_device_name")


@attrs.define(eq=False)
class _Made:
    """A part, the rows of its tables, and what was made of it."""

    part: Part
    rows: list[list[Any]]
    adopted: bool = False
    """It has no class of its own, or no place beside one that has."""
    extensions: tuple[ExtensionProperty, ...] = ()
    capabilities: dict[int, str] = attrs.field(factory=dict[int, str])


class ParentChildBuilder:
    """Builds the snapshots of one panel over one epoch. See the rules of the room.

    Args:
        root: the panel's device id, which is its serial number.
    """

    def __init__(self, root: str) -> None:
        self.root: Final = root
        self._made: dict[str, _Made] = {}
        self._by_kind: dict[Kind, list[_Made]] = {}
        self._lugs: dict[str, _Made] = {}
        self._feeds: dict[str, Feed] = {}
        self._built = False
        self._reshaped = True  # what belongs to the tree, or is here, is new
        self._rewire = True
        self._stale: set[Kind] = set()  # of which something is to be made again
        self._stale_circuits: dict[str, _Made] = {}
        self._stale_extensions: dict[str, _Made] = {}
        self._circuits = FrozenMap[str, SpanCircuitSnapshot]()
        self._inverters = FrozenMap[str, SpanPVSnapshot]()
        self._pv: SpanPVSnapshot | None = None
        self._chargers = FrozenMap[str, SpanEvseSnapshot]()
        self._battery: SpanBatterySnapshot | None = None
        self._mid: SpanMidSnapshot | None = None
        self._pcs: SpanPcsSnapshot | None = None
        self._adopted: tuple[AdoptedDevice, ...] = ()
        self._adopted_stale = True
        self._capable: bool | None = None
        self._capable_stale = True
        self._extensions: tuple[ExtensionProperty, ...] = ()
        self._away = FrozenMap[str, str]()
        self._unmapped: tuple[int, ...] = ()
        self._mapped_size: int | None = None
        self._told: tuple[str | None, bool] | None = None  # by which firmware the battery's sign was told, and how

    def build(
        self, forest: Forest, dirty: Dirty, *, pending: tuple[str, ...], seq: int, epoch: int, received_at: Instant
    ) -> SpanPanelSnapshot:
        """A snapshot of the tree now, of which ``dirty`` is what changed since the last call."""
        if not self._built or dirty.devices:
            self._classify(forest)
            self._built = True
        else:
            self._refresh(dirty)
        return self._assemble(pending, seq, epoch, received_at)

    # --- what is there ---

    def _classify(self, forest: Forest) -> None:
        """Everything anew: who belongs to the tree, and what each of them is."""
        self._made, self._by_kind = {}, {kind: [] for kind in Kind}
        away: dict[str, str] = {}
        circuits: set[str] = set()
        for name in forest.members(self.root):
            device = forest.devices.get(name)
            if device is None or device.description is None:
                continue  # pending: the snapshot names it elsewhere
            kind = Kind.PANEL if name == self.root else kind_of(device.description.type)
            here = kind is Kind.PANEL or device.lifecycle is Lifecycle.READY
            if not here:
                away[name] = device.state_text or ""
            part = Part.of(device, kind, forest, here=here)
            made = self._made[name] = _Made(part, [row(table, part) for table in TABLES[kind]])
            made.capabilities = {id(node): capability for capability, node in part.nodes.items()}
            made.adopted = kind is Kind.OTHER or (kind in _ONE_OF and bool(self._by_kind[kind]))
            if kind is Kind.CIRCUIT:  # two that are one but for dashes
                made.adopted = made.rows[0][0] in circuits
                circuits.add(made.rows[0][0])
            self._by_kind[kind].append(made)
        self._away = keep_map(self._away, FrozenMap(away))
        self._reshaped = self._rewire = self._adopted_stale = self._capable_stale = True
        self._stale = set(Kind)
        self._stale_circuits = {made.part.id: made for made in self._by_kind[Kind.CIRCUIT] if not made.adopted}
        self._stale_extensions = {name: made for name, made in self._made.items() if not made.adopted}

    def _refresh(self, dirty: Dirty) -> None:
        """Make again the fields that depend on what has changed."""
        for node, names in dirty.nodes.items():
            made = self._made.get(node.device.id)
            capability = None if made is None else made.capabilities.get(id(node))
            if made is None or capability is None:
                continue
            part = made.part
            steps = _STEPS[part.kind].get(capability, _NO_STEPS)
            for name in names:
                for number, place, make in steps.get(name, ()):
                    made.rows[number][place] = make(part)
                if name not in steps and not made.adopted:
                    self._stale_extensions[part.id] = made
            self._spread(made, capability)

    def _spread(self, made: _Made, capability: str) -> None:
        """What else depends on a capability of a part."""
        kind = made.part.kind
        if kind is not Kind.PANEL or capability == "pcs":  # of the panel's own, that is the one part
            self._stale.add(kind)
        if made.adopted:
            self._adopted_stale = True
        elif kind is Kind.CIRCUIT:
            self._stale_circuits[made.part.id] = made
        if capability == "connection":
            self._rewire = True
        elif capability == "info":
            self._rewire = self._rewire or kind is Kind.LUGS  # which of them they are
            self._stale |= {Kind.MID, Kind.BESS}  # the name of what forms the grid; the firmware that tells a sign
        elif capability == "power-flows":
            self._stale.add(Kind.BESS)
        elif capability == "grid-forming":
            self._capable_stale = True

    def _first(self, kind: Kind) -> _Made | None:
        return next(iter(self._by_kind[kind]), None)

    # --- parts ---

    def _wire(self) -> None:
        """Who feeds whom; circuits whose role changed are made again."""
        if not self._rewire:
            return
        self._rewire = False
        self._lugs = {}
        for made in self._by_kind[Kind.LUGS]:
            self._lugs.setdefault(direction_of(made.part), made)
        upstream, downstream = self._lugs.get("UPSTREAM"), self._lugs.get("DOWNSTREAM")
        circuits = [made.part for made in self._by_kind[Kind.CIRCUIT]]
        self._feeds = feeds(
            circuits, None if upstream is None else upstream.part, None if downstream is None else downstream.part
        )
        for made in self._by_kind[Kind.CIRCUIT]:
            values = made.rows[0]
            role, position = self._role(made.part)
            if (values[_CIRCUIT_ROLE], values[_CIRCUIT_POSITION]) != (role, position):
                values[_CIRCUIT_ROLE], values[_CIRCUIT_POSITION] = role, position
                if not made.adopted:
                    self._stale_circuits[made.part.id] = made
        self._stale |= {Kind.PV, Kind.EVSE, Kind.BESS}

    def _role(self, circuit: Part) -> tuple[str, Any]:
        target = self._made.get(text(circuit.value("connection", "feeds-device-id")) or "")
        role = None if target is None else _ROLES.get(target.part.kind)
        if target is None or role is None:
            return "circuit", None
        feed = self._feeds.get(target.part.id)
        return role, feed.position if role == "pv" and feed is not None else None

    def _make_circuits(self) -> bool:
        """Make again those that are stale. Returns whether the positions that they occupy are others."""
        old, stale = self._circuits, self._stale_circuits
        moved = self._reshaped
        if not stale and not moved:
            return False
        new = {} if moved else dict(old)
        for made in stale.values():
            key = made.rows[0][0]
            before = old.get(key)
            new[key] = now = keep(before, SpanCircuitSnapshot(*made.rows[0]))
            moved = moved or before is None or before.tabs != now.tabs
        self._stale_circuits = {}
        self._circuits = keep_map(old, FrozenMap(new))
        return moved

    def _make_inverters(self) -> FrozenMap[str, SpanPVSnapshot]:
        made_of: dict[str, SpanPVSnapshot] = {}
        for made in self._by_kind[Kind.PV]:
            feed = self._feeds.get(made.part.id)
            values = list(made.rows[0])
            key = feed.circuit if feed is not None and feed.circuit is not None else made.part.id
            values[_PV_KEY] = key
            if feed is not None:
                values[_PV_FEED], values[_PV_POSITION], values[_PV_LINK] = feed
            made_of[key] = keep(self._inverters.get(key), SpanPVSnapshot(*values))
        return keep_map(self._inverters, FrozenMap(made_of))

    def _make_chargers(self) -> FrozenMap[str, SpanEvseSnapshot]:
        made_of: dict[str, SpanEvseSnapshot] = {}
        for key, part in charger_keys([made.part for made in self._by_kind[Kind.EVSE]]).items():
            feed = self._feeds.get(part.id)
            values = list(self._made[part.id].rows[0])
            values[_EVSE_KEY] = key
            if feed is not None:
                values[_EVSE_FEED], _, values[_EVSE_LINK] = feed
            made_of[key] = keep(self._chargers.get(key), SpanEvseSnapshot(*values))
        return keep_map(self._chargers, FrozenMap(made_of))

    def _make_battery(self, panel: Part) -> SpanBatterySnapshot | None:
        made = self._first(Kind.BESS)
        if made is None:
            return None
        values = list(made.rows[0])
        if self._counts_charging(panel, values[_BATTERY_POWER]):
            values[_BATTERY_POWER] = negated(values[_BATTERY_POWER])
        feed = self._feeds.get(made.part.id)
        if feed is not None:
            values[_BATTERY_LINK] = feed.connected
        return keep(self._battery, SpanBatterySnapshot(*values))

    def _counts_charging(self, panel: Part, power: float | None) -> bool:
        """Whether the battery's meter counts charging as positive.

        By the firmware's build. Without a readable one, the sign of the panel's own flow tells (which is charging), as
        soon as both are not zero, and from then on; before that, it is taken for the old frame (section 9).
        """
        firmware = text(panel.value("info", "firmware-version"))
        build = firmware_build(firmware)
        if build is not None:
            return build < SIGN_BUILD
        flow = self._made[self.root].rows[1][1]
        if (self._told is None or self._told[0] != firmware) and power and flow:
            self._told = firmware, (power > 0) == (flow > 0)
        return self._told is None or self._told[0] != firmware or self._told[1]

    def _make_mid(self) -> SpanMidSnapshot | None:
        made = self._first(Kind.MID)
        if made is None:
            return None
        values = list(made.rows[0])
        forming = self._made.get(text(made.part.value("grid", "grid-forming-entity")) or "")
        if forming is not None:
            name = text(forming.part.value("info", "name"))
            description = forming.part.device.description
            values[_MID_NAME] = name or (None if description is None else description.name)
        return keep(self._mid, SpanMidSnapshot(*values))

    def _size(self, model: str | None) -> int | None:
        return PANEL_SIZES.get(model or "")

    def _make_parts(self, root: _Made) -> None:
        """Make again those of the kinds that are stale."""
        stale, self._stale = self._stale, set()
        if Kind.PV in stale:
            self._inverters = self._make_inverters()
            self._pv = keep(self._pv, shared_inverter(self._inverters.values()))
        if Kind.EVSE in stale:
            self._chargers = self._make_chargers()
        if Kind.BESS in stale:
            self._battery = self._make_battery(root.part)
        if Kind.MID in stale:
            self._mid = self._make_mid()
        if Kind.PANEL in stale:
            self._pcs = keep(self._pcs, SpanPcsSnapshot(*root.rows[3])) if "pcs" in root.part.nodes else None

    def _forming(self) -> tuple[str | None, Kind | None]:
        """What forms the grid, as the MID says, and what that is."""
        mid = self._first(Kind.MID)
        entity = None if mid is None else text(mid.part.value("grid", "grid-forming-entity"))
        made = self._made.get(entity or "")
        return entity, None if made is None else made.part.kind

    def _islandable(self) -> bool | None:
        """Whether any device can form a grid, where one says so (SPAN's publish nothing)."""
        if self._capable_stale:
            self._capable_stale = False
            said = [flag(made.part.value("grid-forming", "capable")) for made in self._made.values()]
            said = [each for each in said if each is not None]
            self._capable = any(said) if said else None
        return self._capable

    # --- the whole ---

    def _make_strangers(self) -> None:
        if self._adopted_stale:
            self._adopted_stale = False
            others = tuple(adopted(made.part) for made in self._made.values() if made.adopted)
            self._adopted = keep(self._adopted, others)
        if self._stale_extensions:
            for made in self._stale_extensions.values():
                made.extensions = extensions(made.part)
            self._stale_extensions = {}
            every = itertools.chain.from_iterable(made.extensions for made in self._made.values())
            self._extensions = keep(self._extensions, tuple(every))

    def _map_tabs(self, size: int | None) -> None:
        self._mapped_size = size
        occupied = {tab for circuit in self._circuits.values() for tab in circuit.tabs}
        self._unmapped = tuple(tab for tab in range(1, (size or 0) + 1) if tab not in occupied)

    def _assemble(self, pending: tuple[str, ...], seq: int, epoch: int, received_at: Instant) -> SpanPanelSnapshot:
        root = self._made[self.root]
        core, flows, shed, _ = root.rows
        size = self._size(core[2])
        self._wire()
        if self._make_circuits() or size != self._mapped_size:
            self._map_tabs(size)
        self._make_parts(root)
        self._make_strangers()
        self._reshaped = False
        has_mid = self._first(Kind.MID) is not None
        entity, kind = self._forming()
        asserted = text(root.part.value("shed", "asserted-islanding-state"))
        reported = None if self._mid is None else self._mid.islanding_state
        grid_state, state = islanding(asserted, reported, flows[2], has_mid=has_mid)
        upstream, downstream = self._lugs.get("UPSTREAM"), self._lugs.get("DOWNSTREAM")
        values: list[Any] = [
            text(root.part.value("info", "serial-number")) or self.root,
            *core,
            power_source(entity, kind, has_mid=has_mid),
            self._islandable(),
            *_interleaved(upstream, downstream),
            *flows,
            grid_state,
            dsm_of(state),
            run_config_of(entity, kind, state),
            size,
            self._unmapped,
            self._circuits,
            self._battery,
            self._pv,
            self._inverters,
            self._chargers,
            self._pcs,
            self._mid,
            None if upstream is None else not text(upstream.part.value("connection", "fed-by-device-id")),
            *shed,
            self._adopted,
            self._extensions,
            self._away,
            pending,
            seq,
            epoch,
            received_at,
        ]
        return SpanPanelSnapshot(*values)


def _interleaved(upstream: _Made | None, downstream: _Made | None) -> Iterable[float | None]:
    """The lugs' readings, in the order of the snapshot's fields."""
    up = (None,) * len(_LUGS) if upstream is None else upstream.rows[0]
    down = (None,) * len(_LUGS) if downstream is None else downstream.rows[0]
    return (up[0], down[0], up[1], up[2], down[1], down[2], up[3], up[4], down[3], down[4])
