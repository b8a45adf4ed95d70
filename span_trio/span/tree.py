"""The parent/child schema (firmware r202633 on): circuits, lugs, battery, MID, inverters and chargers are devices.

The rules of this room:

* The devices of the tree are `parts`, known by what they declare; a value's way is one line of a table in
  `child_fields`.
* Incremental: rows are kept, a changed property makes again the fields that depend on it, and what did not change is
  the same object as before. A device that changes its shape or its ``$state`` has everything made again; a full rebuild
  gives an equal snapshot (I4).
* What needs more than one device is put in here: roles and links from the connection records, the battery's sign from
  the firmware, islanding from the MID and the panel.
* Nothing is hidden: what has no field is in ``extension_properties``, a device without a class, or without a place
  beside another of its class, in ``adopted_devices``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

import attrs

from ..frozenmap import FrozenMap
from ..homie import Dirty, Forest, Instant, Node
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
from .battery_sign import BatterySign
from .child_fields import BATTERY, CIRCUIT, EVSE, KNOWN, MID, PANEL, PV, TABLES
from .convert import flag, text
from .derive import firmware_build, negated, shared_inverter
from .islanding import dsm_of, islanding, power_source, run_config_of
from .parts import Feed, Kind, Part, charger_keys, feeds, inverter_keys, kind_of, parts_of
from .positions import POSITIONS, Positions
from .tables import defaults, dependents, keep, keep_map, row

__all__ = ["ParentChildBuilder"]

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
_NO_NAMES: Final = frozenset[str]()
_ONE_OF: Final = frozenset({Kind.UPSTREAM, Kind.DOWNSTREAM, Kind.BESS, Kind.MID})
_CIRCUITS: Final = frozenset({Kind.CIRCUIT, Kind.OUTSIDE})
_ROLES: Final = {Kind.PV: "pv", Kind.EVSE: "evse"}
_LIMITS: Final = frozenset({"config", "charge-limit"})  # of which a charger may have one that nothing is read from
_BLANK: Final = defaults(SpanPanelSnapshot)


def _place(table: Any, field: str) -> int:
    return list(table).index(field)


_CIRCUIT_ROLE, _CIRCUIT_POSITION = _place(CIRCUIT, "device_type"), _place(CIRCUIT, "relative_position")
_BATTERY_POWER: Final = _place(BATTERY, "power_w")
_FEED: Final = ("feed_circuit_id", "relative_position", "connected")
_BATTERY_FEED, _BATTERY_POSITION, _BATTERY_LINK = (_place(BATTERY, field) for field in _FEED)
_PV_FEED, _PV_POSITION, _PV_LINK = (_place(PV, field) for field in _FEED)
_PV_KEY: Final = _place(PV, "node_id")
_EVSE_KEY, _EVSE_FEED, _EVSE_LINK = (_place(EVSE, field) for field in ("node_id", "feed_circuit_id", "connected"))
_CHARGING: Final = _place(PANEL, "power_flow_battery")
_MID_NAME: Final = _place(MID, "grid_forming_device_name")


@attrs.define(eq=False)
class _Made:
    """A part, the rows of its tables, and what was made of it."""

    part: Part
    rows: list[list[Any]]
    adopted: bool
    """It has no class of its own, or no place beside one that has."""
    extensions: tuple[ExtensionProperty, ...] = ()
    capabilities: dict[int, str] = attrs.field(factory=dict[int, str])


class ParentChildBuilder:
    """Builds the snapshots of one panel over one epoch. See the rules of the room.

    Args:
        root: the panel's device id, which is its serial number.
        sign: what this link has told of the battery's sign so far; by itself, nothing.
    """

    def __init__(self, root: str, sign: BatterySign | None = None) -> None:
        self.root: Final = root
        self.sign: Final = BatterySign() if sign is None else sign
        self.positions: Positions = Positions()
        """Those of the newest snapshot."""
        self._made: dict[str, _Made] = {}
        self._by_kind: dict[Kind, list[_Made]] = {}
        self._feeds: dict[str, Feed] = {}
        self._existing: range | None = None
        self._has_mid = False
        self._built = False
        self._reshaped = True  # what belongs to the tree, or is here, is new
        self._rewire = True
        self._stale: set[Kind] = set()  # of which something is to be made again
        self._stale_circuits: dict[str, _Made] = {}
        self._stale_extensions: dict[str, _Made] = {}
        self._adopted_stale = True
        self._capable_stale = True
        self._capable: bool | None = None
        self._circuits = FrozenMap[str, SpanCircuitSnapshot]()
        self._inverters = FrozenMap[str, SpanPVSnapshot]()
        self._pv: SpanPVSnapshot | None = None
        self._chargers = FrozenMap[str, SpanEvseSnapshot]()
        self._battery: SpanBatterySnapshot | None = None
        self._mid: SpanMidSnapshot | None = None
        self._pcs: SpanPcsSnapshot | None = None
        self._adopted: tuple[AdoptedDevice, ...] = ()
        self._extensions: tuple[ExtensionProperty, ...] = ()
        self._away = FrozenMap[str, str]()
        self._alerts = FrozenMap[str, FrozenMap[str, str]]()

    def build(
        self, forest: Forest, dirty: Dirty, *, pending: tuple[str, ...], seq: int, epoch: int, received_at: Instant
    ) -> SpanPanelSnapshot:
        """A snapshot of the tree now, of which ``dirty`` is what changed since the last call."""
        if not self._built or dirty.devices or not self._refresh(dirty):
            self._classify(forest)
            self._built = True
        self._wire()
        moved = self._make_circuits()
        self._make_parts(dirty)
        self._make_strangers()
        self._reshaped = False
        return self._assemble(moved=moved, pending=pending, seq=seq, epoch=epoch, received_at=received_at)

    # --- what is there ---

    def _classify(self, forest: Forest) -> None:
        """Everything anew: who belongs to the tree, and what each of them is."""
        self._made, self._by_kind = {}, {kind: [] for kind in Kind}
        for part in parts_of(forest, self.root):
            kind, rows = part.kind, [row(table, part) for table in TABLES[part.kind]]
            is_adopted = kind is Kind.OTHER or (kind in _ONE_OF and bool(self._by_kind[kind]))
            made = self._made[part.id] = _Made(part, rows, is_adopted)
            made.capabilities = {id(node): capability for capability, node in part.nodes.items()}
            self._by_kind[kind].append(made)
        parts = [made.part for made in self._made.values()]
        away = {part.id: part.device.state_text or "" for part in parts if not part.here}
        alerts = {part.id: FrozenMap({**part.device.alerts}) for part in parts if part.here and part.device.alerts}
        self._away = keep_map(self._away, FrozenMap(away))
        self._alerts = keep_map(self._alerts, FrozenMap(alerts))
        self._has_mid = bool(self._by_kind[Kind.MID]) or self._may_have_mid()
        self._reshaped = self._rewire = self._adopted_stale = self._capable_stale = True
        self._stale = set(Kind)
        self._stale_circuits = {name: made for name, made in self._made.items() if made.part.kind in _CIRCUITS}
        self._stale_extensions = {name: made for name, made in self._made.items() if not made.adopted}

    def _may_have_mid(self) -> bool:
        """Whether a battery has a child that has not said what it is."""
        descriptions = [made.part.device.description for made in self._by_kind[Kind.BESS]]
        return any(child not in self._made for each in descriptions if each is not None for child in each.children)

    def _refresh(self, dirty: Dirty) -> bool:
        """Make again the fields that depend on what has changed; false if a device is of another kind now."""
        for node, names in dirty.nodes.items():
            made = self._made.get(node.device.id)
            capability = None if made is None else made.capabilities.get(id(node))
            if made is None or capability is None:
                continue
            if capability == "info" and "direction" in names and _is_other(made.part):
                return False
            part = made.part
            steps = _STEPS[part.kind].get(capability, _NO_STEPS)
            unread = part.kind is Kind.EVSE and capability in _LIMITS
            for name in names:
                for number, place, make in steps.get(name, ()):
                    made.rows[number][place] = make(part)
                if (unread or name not in steps) and not made.adopted:
                    self._stale_extensions[part.id] = made
            self._spread(made, capability)
        return True

    def _spread(self, made: _Made, capability: str) -> None:
        """What else depends on a capability of a part."""
        kind = made.part.kind
        if kind is not Kind.PANEL or capability == "pcs":  # of the panel's own, that is the one part
            self._stale.add(kind)
        if made.adopted:
            self._adopted_stale = True
        elif kind in _CIRCUITS:
            self._stale_circuits[made.part.id] = made
        if capability == "connection":
            self._rewire = True
        elif capability == "info":
            self._stale |= {Kind.MID, Kind.BESS}  # the name of what forms the grid; the firmware that tells a sign
        elif capability == "power-flows":
            self._stale.add(Kind.BESS)
        elif capability == "grid-forming":
            self._capable_stale = True

    def _first(self, kind: Kind) -> _Made | None:
        return next(iter(self._by_kind[kind]), None)

    def _part(self, kind: Kind) -> Part | None:
        made = self._first(kind)
        return None if made is None else made.part

    # --- parts ---

    def _wire(self) -> None:
        """Who feeds whom; circuits whose role changed are made again."""
        if not self._rewire:
            return
        self._rewire = False
        circuits = [made.part for made in self._by_kind[Kind.CIRCUIT]]
        self._feeds = feeds(circuits, self._part(Kind.UPSTREAM), self._part(Kind.DOWNSTREAM))
        for made in self._by_kind[Kind.CIRCUIT]:
            values = made.rows[0]
            role, position = self._role(made.part)
            if (values[_CIRCUIT_ROLE], values[_CIRCUIT_POSITION]) != (role, position):
                values[_CIRCUIT_ROLE], values[_CIRCUIT_POSITION] = role, position
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
        for key, made in stale.items():
            before = old.get(key)
            new[key] = now = keep(before, SpanCircuitSnapshot(*made.rows[0]))
            moved = moved or before is None or before.tabs != now.tabs
        self._stale_circuits = {}
        self._circuits = keep_map(old, FrozenMap(new))
        return moved

    def _make_inverters(self) -> FrozenMap[str, SpanPVSnapshot]:
        made_of: dict[str, SpanPVSnapshot] = {}
        for key, part in inverter_keys([made.part for made in self._by_kind[Kind.PV]], self._feeds).items():
            feed = self._feeds.get(part.id)
            values = list(self._made[part.id].rows[0])
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

    def _make_battery(self, panel: Part, dirty: Dirty) -> SpanBatterySnapshot | None:
        made = self._first(Kind.BESS)
        if made is None:
            return None
        values = list(made.rows[0])
        firmware = text(panel.value("info", "firmware-version"))
        flow, meter = panel.nodes.get("power-flows"), made.part.nodes.get("meter")
        one_burst = "battery" in _names(dirty, flow) and "active-power" in _names(dirty, meter)
        charging = self._made[self.root].rows[0][_CHARGING]
        self.sign.observe(firmware, values[_BATTERY_POWER], charging, one_burst=one_burst)
        if self.sign.counts_charging(firmware_build(firmware)):
            values[_BATTERY_POWER] = negated(values[_BATTERY_POWER])
        feed = self._feeds.get(made.part.id)
        if feed is not None:
            values[_BATTERY_FEED], values[_BATTERY_POSITION], values[_BATTERY_LINK] = feed
        return keep(self._battery, SpanBatterySnapshot(*values))

    def _make_mid(self) -> SpanMidSnapshot | None:
        made = self._first(Kind.MID)
        if made is None:
            return None
        values = list(made.rows[0])
        forming = self._made.get(text(made.part.value("grid", "grid-forming-entity")) or "")
        if forming is not None:
            values[_MID_NAME] = forming.part.called
        return keep(self._mid, SpanMidSnapshot(*values))

    def _make_parts(self, dirty: Dirty) -> None:
        """Make again those of the kinds that are stale."""
        root = self._made[self.root]
        stale, self._stale = self._stale, set()
        if Kind.PV in stale:
            self._inverters = self._make_inverters()
            self._pv = keep(self._pv, shared_inverter(self._inverters.values()))
        if Kind.EVSE in stale:
            self._chargers = self._make_chargers()
        if Kind.BESS in stale:
            self._battery = self._make_battery(root.part, dirty)
        if Kind.MID in stale:
            self._mid = self._make_mid()
        if Kind.PANEL in stale:
            self._pcs = keep(self._pcs, SpanPcsSnapshot(*root.rows[1])) if "pcs" in root.part.nodes else None

    def _forming(self) -> tuple[str | None, Kind | None]:
        """What forms the grid, as the MID says, and what that is."""
        mid = self._part(Kind.MID)
        entity = None if mid is None else text(mid.value("grid", "grid-forming-entity"))
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

    def _assemble(self, *, moved: bool, **about: Any) -> SpanPanelSnapshot:
        values = dict(_BLANK)  # by name, in the order of the fields
        for kind in (Kind.PANEL, Kind.UPSTREAM, Kind.DOWNSTREAM):
            made = self._first(kind)
            if made is not None:
                values.update(zip(TABLES[kind][0], made.rows[0], strict=True))
        existing = POSITIONS.get(values["model"] or "")
        if moved or existing != self._existing:
            self._existing = existing
            self.positions = Positions.of(existing, self._circuits.values())
        entity, former = self._forming()
        reported = None if self._mid is None else self._mid.islanding_state
        grid_state, state = islanding(values["asserted_islanding_state"], reported, has_mid=self._has_mid)
        values.update(
            dominant_power_source=power_source(entity, former, has_mid=self._has_mid),
            grid_islandable=self._islandable(),
            grid_state=grid_state,
            dsm_state=dsm_of(state),
            current_run_config=run_config_of(entity, former, state),
            panel_size=self.positions.size,
            first_position=self.positions.first,
            last_position=self.positions.last,
            unmapped_tabs=self.positions.unmapped,
            circuits=self._circuits,
            battery=self._battery,
            pv=self._pv,
            pv_inverters=self._inverters,
            evse=self._chargers,
            pcs=self._pcs,
            mid=self._mid,
            adopted_devices=self._adopted,
            extension_properties=self._extensions,
            alerts=self._alerts,
            away_devices=self._away,
        )
        values["pending_devices"] = about.pop("pending")
        values.update(about)
        return SpanPanelSnapshot(*values.values())


def _is_other(part: Part) -> bool:
    """Whether what a device says of itself makes it another kind of device now."""
    description = part.device.description
    direction = text(part.value("info", "direction"))
    return part.kind is not Kind.PANEL and description is not None and kind_of(description, direction) is not part.kind


def _names(dirty: Dirty, node: Node | None) -> AbstractSet[str]:
    return _NO_NAMES if node is None else dirty.nodes.get(node, _NO_NAMES)
