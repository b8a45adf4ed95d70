"""One house, published by flat firmware and by firmware of data model 1.x, and what the library makes of either.

`DIFFERENCES` is the whole list of what may differ, with the reason; each line says how exactly it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import attrs

from span_trio.enums import DominantPowerSource, RelayRequester, ShedPriority
from span_trio.frozenmap import FrozenMap
from span_trio.homie import Instant, Message
from span_trio.options import PanelOptions
from span_trio.simulator.firmware.flat import FlatPublisher
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.house.house import House
from span_trio.snapshot import Change, SpanPanelSnapshot
from span_trio.span.positions import PANEL_SIZES, POSITIONS
from span_trio.tracker import PanelTracker

AT: Final = Instant(0.0, 1_790_000_000.0)


class Side:
    """One firmware of a house, and the tracker of a client that hears all of it."""

    def __init__(self, publisher: FlatPublisher | ParentChildPublisher) -> None:
        self.publisher = publisher
        self.tracker = PanelTracker(publisher.device_id, PanelOptions(snapshot_interval=0, max_silence=math.inf))
        self.tracker.link_up(1, AT)
        for device, text in publisher.descriptions().items():
            self._receive({f"{device}/$description": text.encode(), f"{device}/$state": b"ready"}, retain=True)
        self.hear(publisher.values(), retain=True)

    def hear(self, values: dict[str, bytes], *, retain: bool = False) -> None:
        self._receive({f"{self.publisher.prefix}{topic}": value for topic, value in values.items()}, retain=retain)
        while self.tracker.tree.next_subscription() is not None:
            self.tracker.tree.barrier(AT, passed=True)

    def _receive(self, values: dict[str, bytes], *, retain: bool) -> None:
        self.tracker.receive([Message(f"ebus/5/{topic}", value, retain) for topic, value in values.items()], AT)

    def look(self) -> SpanPanelSnapshot:
        return self.tracker.snapshot


class Pair:
    """Both firmwares of one house, at the same instant."""

    def __init__(self, house: House, build: int = 202639) -> None:
        self.house = house
        self.build = build
        self.tree = ParentChildPublisher(house, build)
        self.flat, self.child = Side(FlatPublisher(house)), Side(self.tree)

    @property
    def locked(self) -> frozenset[str]:
        """Circuits that this build locks for what is on them."""
        return frozenset(self.tree.tree.fixed)

    @property
    def asserted(self) -> bool:
        sources = self.house.sources
        return sources.asserted_islanding is not None or sources.dominant != sources.known

    def feed(self, name: str | None) -> str:
        """The id of a circuit."""
        return next(circuit.id for circuit in self.house.circuits if circuit.spec.name == name)

    @property
    def has_battery_record(self) -> bool:
        """Whether a connection says what the battery hangs on."""
        target = self.tree.tree.id_of("bess")
        upstream = self.tree.tree.upstream
        feeds = {device.id for device in self.tree.tree.feeds.values()}
        return target in feeds or (upstream is not None and upstream.id == target)

    def differences(self) -> list[Change]:
        """All of them, between what the two clients show now."""
        for side in (self.flat, self.child):
            side.hear(side.publisher.changes())
        flat, child = (_same_keys(side.look(), self.tree) for side in (self.flat, self.child))
        return list(child.changes(flat))

    def unlisted(self) -> list[Change]:
        """The differences that `DIFFERENCES` does not allow."""
        return [change for change in self.differences() if not any(line.allows(self, change) for line in DIFFERENCES)]


def _same_keys(snapshot: SpanPanelSnapshot, tree: ParentChildPublisher) -> SpanPanelSnapshot:
    """Inverters and chargers by a name that both schemas have: the first inverter is ``pv``, chargers go by circuit."""
    first, flat = tree.tree.id_of("pv-0"), snapshot.serial_number.lower()
    inverters = {
        "pv" if inverter.device_id in (first, flat) else key: inverter
        for key, inverter in snapshot.pv_inverters.items()
    }
    chargers = {charger.feed_circuit_id or key: charger for key, charger in snapshot.evse.items()}
    return attrs.evolve(snapshot, pv_inverters=FrozenMap(inverters), evse=FrozenMap(chargers))


# --- what may differ --------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """Where the two may differ (patterns), when and how, and why."""

    paths: str
    how: Callable[[Pair, Change], bool]
    reason: str

    def allows(self, pair: Pair, change: Change) -> bool:
        where = "/".join(change.path)
        return any(fnmatchcase(where, path) for path in self.paths.split()) and self.how(pair, change)


def _always(_: Pair, __: Change) -> bool:
    return True


def _only_1x(_: Pair, change: Change) -> bool:
    return change.old is None or change.old == ()


def _only_flat(_: Pair, change: Change) -> bool:
    return change.new is None


def _merged(_: Pair, change: Change) -> bool:
    return bool(change.new == MERGED.get(change.old))


def _locked(pair: Pair, change: Change) -> bool:
    return change.path[1] in pair.locked and change.new == LOCKED[change.path[2]]


def _unmanaged(pair: Pair, change: Change) -> bool:
    return change.new is None and not pair.house.by_id[change.path[1]].spec.pcs_managed


def _by_priority(pair: Pair, change: Change) -> bool:
    circuit = pair.house.by_id[change.path[1]]
    can = circuit.priority != ShedPriority.NEVER and not circuit.spec.always_on
    return circuit.spec.sheddable is not None and (change.old, change.new) == (circuit.sheddable, can)


def _not_off_grid(pair: Pair, change: Change) -> bool:
    """On 1.x it is said of a circuit that would be backed up if its priority were another."""
    off_grid = pair.house.by_id[change.path[1]].priority == ShedPriority.OFF_GRID
    return not off_grid and (change.old, change.new) == (True, False)


def _is_ceiling(pair: Pair, change: Change) -> bool:
    most = {pair.feed(evse.feed): evse.max_current_a for evse in pair.house.spec.evse}
    return (change.old, change.new) == (most[change.path[1]], None)


def _no_size(pair: Pair, change: Change) -> bool:
    return pair.house.spec.model_name not in PANEL_SIZES and change.new in (None, ())


def _by_model(pair: Pair, change: Change) -> bool:
    """Flat firmware declares positions from 1 on; 1.x names a model, whose positions are known."""
    positions = POSITIONS.get(pair.house.spec.model_name)
    ends = positions and {"first_position": positions[0], "last_position": positions[-1]}
    return bool(ends) and (change.path == ("unmapped_tabs",) or change.new == ends.get(change.path[0]))


def _no_mid(pair: Pair, _: Change) -> bool:
    return pair.house.spec.bess is None


def _asserted(pair: Pair, _: Change) -> bool:
    return pair.asserted


def _no_source(_: Pair, change: Change) -> bool:
    return (change.old, change.new) == (DominantPowerSource.NONE, None)


def _no_record(pair: Pair, change: Change) -> bool:
    return change.new is None and not pair.has_battery_record


def _several(pair: Pair, _: Change) -> bool:
    return len(pair.house.spec.all_pv) > 1


def _more(pair: Pair, change: Change) -> bool:
    return _several(pair, change) and change.old is None and len(change.path) == 2


def _one_for_all(pair: Pair, change: Change) -> bool:
    return _several(pair, change) and pair.build == 202633


def _also_pv(pair: Pair, change: Change) -> bool:
    own = {pair.feed(pv.feed) for pv in pair.house.spec.all_pv[1:] if pv.feed is not None}
    return change.path[1] in own and change.new in ("pv", "IN_PANEL")


def _pv_placed(pair: Pair, change: Change) -> bool:
    return change.new is None and pair.house.spec.all_pv[0].feed is None


MERGED: Final = {
    RelayRequester.BACKUP: RelayRequester.LOAD_SHED,
    RelayRequester.PCS_FAIL_SAFE: RelayRequester.PCS,
    RelayRequester.INVERTER: RelayRequester.PCS,
    RelayRequester.ALWAYS_ON: RelayRequester.CONFIGURATION,
    RelayRequester.NEVER_BACKUP: RelayRequester.CONFIGURATION,
}
LOCKED: Final[Mapping[str, Any]] = {
    "relay_requester": RelayRequester.CONFIGURATION,
    "priority": ShedPriority.NEVER,
    "is_user_controllable": False,
    "is_sheddable": False,
    "is_never_backup": False,
    "always_on": True,
}

DIFFERENCES: Final = (
    Line("firmware_version", _always, "another build"),
    Line("mid shed_* lugs_at_service_entrance data_model_version asserted_*", _only_1x, "only 1.x has them"),
    Line("upstream_fed_by downstream_feeds circuits/*/feeds", _only_1x, "only 1.x has records of connections"),
    Line("circuits/*/relay_controllable", _only_1x, "flat has flags in its place"),
    Line("extension_properties", _always, "either has its own; they have other names"),
    Line("battery/power_w battery/communication_state pcs/binding_constraint", _only_1x, "only 1.x has them"),
    Line("pv/connected pv_inverters/pv/connected evse/*/connected", _only_1x, "only 1.x has a record of these links"),
    Line("pv/device_id pv_inverters/pv/device_id", _always, "on a flat panel it is the panel's"),
    Line("battery/device_id evse/*/device_id", _always, "on a flat panel it is the panel's"),
    Line("pv/node_id pv_inverters/pv/node_id evse/*/node_id", _always, "a key; flat: the node, 1.x: circuit or serial"),
    Line("grid_islandable", _only_flat, "no firmware of 1.x publishes it"),
    Line("first_position last_position unmapped_tabs", _by_model, "1.x goes by the model"),
    Line(
        "panel_size *_position unmapped_tabs",
        _no_size,
        "only the model tells a size there, and no panel has so few positions",
    ),
    Line("circuits/*/relay_requester", _merged, "1.x has fewer of them"),
    Line("circuits/*/pcs_priority", _unmanaged, "1.x publishes it where it counts"),
    Line("circuits/*/is_never_backup", _not_off_grid, "on 1.x it follows from priority and lock"),
    Line("circuits/*/is_sheddable", _by_priority, "flat publishes it, on 1.x it follows from priority and lock"),
    Line(" ".join(f"circuits/*/{field}" for field in LOCKED), _locked, "r202639 locks what inverters and battery feed"),
    Line("evse/*/charge_current_limit_a", _is_ceiling, "on 1.x a limit that is the ceiling is none"),
    Line("dominant_power_source dsm_state current_run_config", _no_mid, "without a MID, 1.x has nothing that says it"),
    Line(
        "dominant_power_source grid_state dsm_state current_run_config", _asserted, "each schema asserts another thing"
    ),
    Line("dominant_power_source", _no_source, "a MID names what forms the grid; nothing is no name"),
    Line("pv/*", _several, "flat tells of one inverter, 1.x what they share"),
    Line("pv_inverters/*", _more, "flat tells of one inverter"),
    Line("pv_inverters/pv/feed_circuit_id", _one_for_all, "r202633 has one inverter, which feeds them all"),
    Line("pv_inverters/pv/relative_position", _one_for_all, "r202633 has one inverter, which feeds them all"),
    Line("circuits/*/device_type circuits/*/relative_position", _also_pv, "flat tells of one inverter"),
    Line(
        "battery/connected battery/relative_position",
        _no_record,
        "1.x has a record of what is on a circuit, or first ahead of the panel",
    ),
    Line(
        "pv/relative_position pv_inverters/pv/relative_position", _pv_placed, "1.x records what is connected, no places"
    ),
)
