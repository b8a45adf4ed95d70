"""What a simulated house is: frozen, typed, checked when it is made.

The rules of this room:

* A spec that exists can be simulated: every constructor refuses what cannot be meant, with an error that names the
  part and the field, in the words of a house file (``circuit 'Dryer', space: …``).
* Names are those of a house file's keys, and units stand in them: W, A, years.
* Ids come from the serial number and a name, so that a house is the same house wherever it is built.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from ...enums import FeedsRole, RelativePosition, ShedPriority
from ...homie import is_valid_id
from ...span.derive import tabs_of
from ...span.positions import PANEL_SIZES
from .devices import (
    MOST,
    BessSpec,
    EvseSpec,
    FeedthroughSpec,
    LoadKind,
    OutsideMeterSpec,
    PcsSpec,
    PvSpec,
    need_positive,
    need_text,
    refuse,
)
from .hardware import FIRST_POSITIONS, check_hardware, check_shares

__all__ = ["CircuitSpec", "HouseSpec"]

MAX_SPACES: Final = 200
NODE_IDS: Final = frozenset({"core", "lugs-upstream", "lugs-downstream", "bess", "pv", "pcs", "power-flows"})
"""Of a flat panel: no charger can have one of these for its id."""
_NAMESPACE: Final = uuid.UUID("5a1de3c4-5f0b-5c53-9a3e-0f5b7c1d2e90")
_POLE_V: Final = 120
_MODELS: Final[Mapping[int, str]] = {size: model for model, size in PANEL_SIZES.items()}
_PROTECTIONS: Final = ("OVERCURRENT", "SHORT_CIRCUIT", "GROUND_FAULT", "ARC_FAULT")


@attrs.frozen(kw_only=True)
class CircuitSpec:
    """A circuit: one or two positions behind one relay.

    Attributes:
        name: its label, different from all others.
        space: its (first) breaker position.
        breaker_a: rating, A.
        dipole: a two-pole breaker: 240 V, and the next position of the same side as well.
        load: what hangs on it; outlets if nothing is said, nothing where it feeds a device.
        watts: how much that draws while it is on; what is typical of it if nothing is said.
        priority: when it is shed.
        always_on: its relay is locked closed.
        never_backup: it gets nothing off grid, and its priority is locked.
        sheddable: as commissioned; if nothing is said, it follows from priority and lock.
        pcs_managed: the power control system may open it.
        pcs_priority: rank for that: the highest number is opened first.
        id: 32 hex digits; made from the panel's serial number and the name if nothing is said. On hardware 3.0:
            ``circuit-<n>``, or any other id; a number in the order of the file if nothing is said.
        relay_of: it shares the relay of the circuit with this name (a tandem breaker). This and what follows: hardware
            3.0 only.
        meter_of: likewise, the meter.
        feeds_role: what it is there for; SOLAR if nothing is said and an inverter is on it.
        tags: of its load, separated by commas.
        locations: where in the house, likewise.
        dedicated: to a single load.
        protection_functions: of the breaker, separated by commas.
    """

    name: str
    space: int
    breaker_a: int
    dipole: bool = False
    load: LoadKind | None = None
    watts: float | None = None
    priority: ShedPriority = ShedPriority.NEVER
    always_on: bool = False
    never_backup: bool = False
    sheddable: bool | None = None
    pcs_managed: bool = False
    pcs_priority: int = 0
    id: str | None = None
    relay_of: str | None = None
    meter_of: str | None = None
    feeds_role: FeedsRole | None = None
    tags: str = ""
    locations: str = ""
    dedicated: bool | None = None
    protection_functions: str = "OVERCURRENT"

    def __attrs_post_init__(self) -> None:
        part = self.part
        need_text(part, self)
        need_positive(part, space=self.space, breaker_a=self.breaker_a, watts=self.watts)
        if self.watts is not None and self.watts > self.most_w:
            refuse(part, "watts", f"{self.watts:g} W are more than its breaker of {self.breaker_a} A lets through")
        if self.priority is ShedPriority.UNKNOWN:
            refuse(part, "priority", "must be OFF_GRID, SOC_THRESHOLD or NEVER")
        if self.always_on and self.never_backup:
            refuse(part, "never_backup", "contradicts always_on")
        if self.always_on and self.pcs_managed:
            refuse(part, "pcs_managed", "contradicts always_on: the relay cannot be opened")
        if not 0 <= self.pcs_priority <= MOST:
            refuse(part, "pcs_priority", f"must be 0 to {MOST:,}, not {self.pcs_priority}")
        for function in self.protection_functions.split(","):
            if function not in _PROTECTIONS:
                refuse(part, "protection_functions", f"must be of {', '.join(_PROTECTIONS)}, not {function!r}")

    @property
    def part(self) -> str:
        """How errors call it."""
        return f"circuit {self.name!r}"

    @property
    def tabs(self) -> tuple[int, ...]:
        """The positions that it takes."""
        return tabs_of(self.space, self.dipole)

    @property
    def most_w(self) -> int:
        """What its breaker lets through."""
        return self.breaker_a * self.volts

    @property
    def volts(self) -> int:
        """Nominal, V."""
        return 2 * _POLE_V if self.dipole else _POLE_V


@attrs.frozen(kw_only=True)
class HouseSpec:
    """A house: its panel, its circuits, and what is landed on them.

    Attributes:
        serial_number: of the panel; in lower case, its Homie device id.
        spaces: how many breaker positions the panel has.
        main_breaker_a: rating, A; of all panels but MLO ones of hardware 3.0, which have none.
        circuits: in the order of publication.
        model: as the panel names it; by the number of spaces if nothing is said.
        hardware_version: ``3.0`` is a panel of today: MAIN_16, MLO_24, MAIN_40 or MLO_48.
        years: for how long the counters have been running.
        feedthrough: what hangs on the downstream lugs; none: the panel has no such lugs.
        inverters: further ones, besides ``pv``; of these, firmware before r202639 tells nothing.
        outside_meters: meters outside the panel. These and what follows: hardware 3.0 only.
        service_rating_a: of the utility's service, A.
        overcurrent_protection_a: of the breaker ahead of the panel, A.
        site_name: private, like what follows: the address, and the utility's meter.
    """

    serial_number: str
    spaces: int
    main_breaker_a: int | None = None
    circuits: tuple[CircuitSpec, ...]
    model: str = ""
    vendor_name: str = "SPAN"
    hardware_version: str = "2.0"
    postal_code: str = "94103"
    time_zone: str = "America/Los_Angeles"
    latitude: float = 37.77
    longitude: float = -122.42
    wifi_ssid: str = "Nightshift"
    ethernet: bool = True
    wifi: bool = True
    years: float = 2.0
    pv: PvSpec | None = None
    bess: BessSpec | None = None
    evse: tuple[EvseSpec, ...] = ()
    pcs: PcsSpec | None = None
    feedthrough: FeedthroughSpec | None = None
    inverters: tuple[PvSpec, ...] = ()
    outside_meters: tuple[OutsideMeterSpec, ...] = ()
    service_rating_a: int | None = None
    overcurrent_protection_a: int | None = None
    site_name: str = ""
    address_lines: str = ""
    locality: str = ""
    region: str = ""
    country_code: str = ""
    utility_meter_serial_number: str = ""

    def __attrs_post_init__(self) -> None:
        need_text("", self)
        if not is_valid_id(self.device_id):
            refuse("", "serial_number", "must be letters, digits and dashes")
        if not 1 <= self.spaces <= MAX_SPACES:
            refuse("", "spaces", f"must be 1 to {MAX_SPACES}, not {self.spaces}")
        need_positive(
            "",
            main_breaker_a=self.main_breaker_a,
            service_rating_a=self.service_rating_a,
            overcurrent_protection_a=self.overcurrent_protection_a,
        )
        for key, value, least, most in (
            ("years", self.years, 0, 100),
            ("latitude", self.latitude, -90, 90),
            ("longitude", self.longitude, -180, 180),
        ):
            if not least <= value <= most:
                refuse("", key, f"must be {least} to {most}, not {value}")
        known = PANEL_SIZES.get(self.model)
        if known is not None and known != self.spaces:
            refuse("", "model", f"a {self.model} has {known} spaces, not {self.spaces}")
        if "," in self.model:
            refuse("", "model", "must have no comma")
        check_hardware(self)
        check_shares(self)
        self._check_circuits()
        self._check_feeds()
        self._check_chargers()

    def _check_circuits(self) -> None:
        names: set[str] = set()
        ids = {meter.device_id for meter in self.outside_meters}
        taken: dict[int, list[CircuitSpec]] = {}
        for circuit in self.circuits:
            if circuit.name in names:
                refuse(circuit.part, "name", "two circuits have this name")
            names.add(circuit.name)
            for tab in circuit.tabs:
                if tab > self.positions[-1]:
                    refuse(circuit.part, "space", f"position {tab} is beyond the panel's {self.positions[-1]}")
                if tab < self.positions[0]:
                    refuse(
                        circuit.part,
                        "space",
                        f"position {tab} is none: a {self.model_name} begins at {self.positions[0]}",
                    )
                others, mates = taken.setdefault(tab, []), (*self.on_relay_of(circuit), *self.on_meter_of(circuit))
                if others and not any(other in mates for other in others):
                    refuse(circuit.part, "space", f"position {tab} is taken by {others[0].part}")
                others.append(circuit)
            if self.id_of(circuit) in ids:
                refuse(circuit.part, "id", "two circuits have this id")
            ids.add(self.id_of(circuit))

    def _check_feeds(self) -> None:
        fed: dict[str, str] = {}
        circuits = {circuit.name: circuit for circuit in self.circuits}
        if self.inverters and self.pv is None:
            refuse("", "inverters", "are further ones: the first is pv")
        for part, feed in self._feeds():
            if feed not in circuits:
                refuse(part, "feed", f"there is no circuit {feed!r}")
            if feed in fed:
                refuse(part, "feed", f"circuit {feed!r} already feeds {fed[feed]}")
            for key in ("load", "watts"):
                if getattr(circuits[feed], key) not in {None, LoadKind.NONE}:
                    refuse(circuits[feed].part, key, f"it feeds {part}, and nothing else")
            fed[feed] = part
        for part, device in self._sources():
            behind = device.relative_position is RelativePosition.DOWNSTREAM
            if behind and device.feed is None and self.feedthrough is None:
                refuse(part, "position", "there is nothing behind the downstream lugs: [feedthrough] is missing")

    def _feeds(self) -> Iterator[tuple[str, str]]:
        for part, device in (*self._sources(), *((evse.part, evse) for evse in self.evse)):
            if device.feed is not None:
                yield part, device.feed

    def _sources(self) -> Iterator[tuple[str, PvSpec | BessSpec]]:
        yield from (("pv" if pv is self.pv else f"inverter {pv.serial_number!r}", pv) for pv in self.all_pv)
        if self.bess is not None:
            yield "bess", self.bess

    def _check_chargers(self) -> None:
        nodes = {*NODE_IDS, *(self.id_of(circuit) for circuit in self.circuits)}
        ratings = {circuit.name: circuit.breaker_a for circuit in self.circuits}
        for evse in self.evse:
            if evse.node_id in nodes:
                refuse(evse.part, "serial_number", "its node id is taken")
            nodes.add(evse.node_id)
            if evse.max_current_a > ratings[evse.feed]:
                refuse(evse.part, "max_current_a", f"is more than the breaker's {ratings[evse.feed]} A")

    @property
    def all_pv(self) -> tuple[PvSpec, ...]:
        """All inverters, ``pv`` first."""
        return () if self.pv is None else (self.pv, *self.inverters)

    @property
    def source_ids(self) -> frozenset[str]:
        """The circuits on which inverters and battery are landed, by id."""
        feeds = {device.feed for _, device in self._sources()}
        return frozenset(self.id_of(circuit) for circuit in self.circuits if circuit.name in feeds)

    @property
    def device_id(self) -> str:
        """The panel's Homie device."""
        return self.serial_number.lower()

    @property
    def model_name(self) -> str:
        """The model as the panel publishes it."""
        return self.model or _MODELS.get(self.spaces, f"MAIN_{self.spaces}")

    @property
    def hardware_3(self) -> bool:
        """Whether it is a panel of today."""
        return self.hardware_version.startswith("3.")

    @property
    def positions(self) -> range:
        """Its breaker positions. Those of hardware 3.0 with a main breaker do not begin at 1."""
        first = FIRST_POSITIONS.get(self.model_name, 1) if self.hardware_3 else 1
        return range(first, first + self.spaces)

    def on_relay_of(self, circuit: CircuitSpec) -> tuple[CircuitSpec, ...]:
        """The circuits behind the same relay, this one among them."""
        leader = circuit.relay_of or circuit.name
        return tuple(other for other in self.circuits if (other.relay_of or other.name) == leader)

    def on_meter_of(self, circuit: CircuitSpec) -> tuple[CircuitSpec, ...]:
        """The circuits that the same meter measures, this one among them."""
        leader = circuit.meter_of or circuit.name
        return tuple(other for other in self.circuits if (other.meter_of or other.name) == leader)

    def load_of(self, circuit: CircuitSpec) -> LoadKind:
        """What hangs on a circuit, besides a device that it feeds."""
        if circuit.load is not None:
            return circuit.load
        return LoadKind.NONE if circuit.name in {feed for _, feed in self._feeds()} else LoadKind.OUTLETS

    def id_of(self, circuit: CircuitSpec) -> str:
        """The id of a circuit: 32 hex digits; on hardware 3.0 any id, ``circuit-<n>`` above all."""
        if circuit.id is not None:
            return circuit.id
        if self.hardware_3:
            return f"circuit-{next(n for n, other in enumerate(self.circuits, 1) if other.name == circuit.name)}"
        return uuid.uuid5(_NAMESPACE, f"{self.device_id}/{circuit.name}").hex
