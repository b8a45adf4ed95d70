"""What the tests of the simulated house share: houses to be built on, generated houses, and things that happen."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from span_trio.enums import DoorState, RelativePosition, ShedPriority
from span_trio.simulator.house.devices import BessSpec, EvseSpec, FeedthroughSpec, LoadKind, PcsSpec, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import built_in, load_house
from span_trio.simulator.house.meters import Readings
from span_trio.simulator.house.spec import CircuitSpec, HouseSpec

HOUR: Final = 3600
MIDNIGHT: Final = int(dt.datetime(2026, 7, 15, 7, tzinfo=dt.UTC).timestamp())
"""In San Francisco, in summer."""
NOON: Final = MIDNIGHT + 12 * HOUR
EVENING: Final = MIDNIGHT + 21 * HOUR


EARLIER: Final = ("cabin", "main-32", "upstream-battery", "two-chargers")
"""Houses of earlier hardware, which run any firmware; see `earlier`."""
HARDWARE_3: Final = ("main-16", "mlo-24", "main-40", "mlo-48")
"""Built-in houses of hardware 3.0."""


def earlier(name: str) -> HouseSpec:
    """One of `EARLIER`: built in, or from a file beside this one. (Those are larger than any panel of their time.)"""
    path = Path(__file__).parent / "houses" / f"{name}.toml"
    return load_house(path) if path.exists() else built_in(name)


def circuit(name: str, space: int, breaker_a: int = 20, **more: Any) -> CircuitSpec:
    return CircuitSpec(name=name, space=space, breaker_a=breaker_a, **more)


def small_house(**more: Any) -> HouseSpec:
    """A house with one of everything; nothing in it is sheddable unless it says so."""
    values: dict[str, Any] = {
        "serial_number": "nt-1-small",
        "spaces": 16,
        "main_breaker_a": 100,
        "circuits": (
            circuit("Lights", 1, 15, load=LoadKind.LIGHTS, priority=ShedPriority.SOC_THRESHOLD),
            circuit("Fridge", 2, load=LoadKind.FRIDGE, always_on=True),
            circuit("Solar", 3, 30, dipole=True),
            circuit("Battery", 4, 40, dipole=True),
            circuit("Charger", 7, 50, dipole=True, priority=ShedPriority.OFF_GRID),
            circuit("Pump", 8, load=LoadKind.POOL_PUMP, never_backup=True, priority=ShedPriority.OFF_GRID),
            circuit("Standby", 10, load=LoadKind.STANDBY, watts=200.0),
        ),
        "pv": PvSpec(nameplate_w=6000, feed="Solar"),
        "bess": BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=60),
        "evse": (EvseSpec(serial_number="SD-1", feed="Charger", max_current_a=40),),
        "feedthrough": FeedthroughSpec(load=LoadKind.STANDBY, watts=100),
        **more,
    }
    return HouseSpec(**values)


def plain_house(*loads: float, **more: Any) -> HouseSpec:
    """A house of steady loads: circuits ``Load 0``, ``Load 1`` … of these powers (W, about), on 50 A."""
    spec: dict[str, Any] = {
        "serial_number": "nt-2-plain",
        "spaces": 200,
        "main_breaker_a": 200,
        "circuits": tuple(
            circuit(f"Load {i}", 1 + 4 * (i // 2) + i % 2, 50, dipole=True, load=LoadKind.STANDBY, watts=watts)
            for i, watts in enumerate(loads)
        ),
    }
    return HouseSpec(**{**spec, **more})


def dice() -> random.Random:
    return random.Random(1)  # noqa: S311 - no secret


def circuit_id(house: House, name: str) -> str:
    return next(circuit.id for circuit in house.circuits if circuit.spec.name == name)


def relay_of(house: House, name: str) -> tuple[str, str]:
    found = house.by_id[circuit_id(house, name)]
    return found.relay, found.requester


def drawn(house: House, name: str) -> float:
    names = [circuit.spec.name for circuit in house.circuits]
    return house.read().drawn_w[names.index(name)]


def counters(now: Readings) -> list[float]:
    """All energy counters, Wh."""
    up, down = now.upstream, now.downstream
    lugs = [up.imported_wh, up.exported_wh, down.imported_wh, down.exported_wh]
    outside = [wh for meter in now.outside for wh in (meter.imported_wh, meter.exported_wh)]
    return [*now.consumed_wh, *now.produced_wh, *lugs, *outside]


def powers(now: Readings) -> list[float]:
    """What moves each of `counters`, W."""

    def both(watts: list[float]) -> list[list[float]]:
        return [[max(w, 0.0) for w in watts], [max(-w, 0.0) for w in watts]]

    circuits, lugs = both(list(now.drawn_w)), both([now.upstream.power_w, now.downstream.power_w])
    outside = [watts for meter in now.outside for watts in (max(meter.power_w, 0.0), max(-meter.power_w, 0.0))]
    return [*circuits[0], *circuits[1], lugs[0][0], lugs[1][0], lugs[0][1], lugs[1][1], *outside]


def state(house: House) -> object:
    """Everything that a house tells."""
    return (
        house.read(),
        [(c.relay, c.requester, c.priority, c.sheddable) for c in house.circuits],
        [(c.status, c.lock_state, c.limit_a) for c in house.chargers.values()],
        (house.powered, house.islanded, house.door, house.sources.dominant, house.sources.grid_state),
        house.sources.connected,
        house.pcs and (house.pcs.active, house.pcs.binding),
    )


# --- what always holds -----------------------------------------------------------------------------------------------


def check_sums(house: House) -> Readings:
    """What holds at any moment, exactly."""
    now = house.read()
    flows = now.flows
    assert now.upstream.power_w - sum(now.drawn_w) - now.downstream.power_w == 0
    assert flows.pv + flows.battery + flows.grid + flows.site == 0
    assert flows.pv <= 0 <= flows.site
    every = [*now.drawn_w, *counters(now), now.upstream.power_w, now.downstream.power_w, *vars_of(flows)]
    assert all(math.isfinite(value) and str(value) != "-0.0" for value in every)
    assert all(value >= 0 for value in [*counters(now), *now.current_a, now.l1_current_a, now.l2_current_a])
    assert all(watts * 8 == round(watts * 8) for watts in [*now.drawn_w, *vars_of(flows)])
    assert 0 <= now.soc_percent <= 100
    for item, watts, amps in zip(house.circuits, now.drawn_w, now.current_a, strict=True):
        if not (item.closed and house.powered):
            assert watts == amps == 0
        if watts == 0:
            assert amps == 0
    if not house.powered:
        assert (now.l1_voltage, now.l2_voltage, flows.site, now.l1_current_a) == (0, 0, 0, 0)
    if not house.sources.grid:
        assert flows.grid == 0
    for meter, reading in zip(house.spec.outside_meters, now.outside, strict=True):
        expected = {"grid": -flows.grid, "load": max(reading.power_w, 0), "solar": max(reading.power_w, flows.pv)}
        assert reading.power_w == expected[meter.measures]
    for item in house.circuits:
        assert {(other.relay, other.requester) for other in item.switch.circuits} == {(item.relay, item.requester)}
    if house.battery is not None:
        assert -house.battery.spec.power_w <= flows.battery <= house.battery.spec.power_w
    return now


def vars_of(flows: object) -> list[float]:
    return [getattr(flows, name) for name in ("pv", "battery", "grid", "site")]


# --- things that happen -----------------------------------------------------------------------------------------------


class Happening(NamedTuple):
    """Something done to a house; ``what`` is for the reader of a failing test."""

    what: str
    do: Callable[[House], object]


def _nth(house: House, index: int) -> str:
    """One of its circuits; of a house without any, one that it has not."""
    return house.circuits[index % len(house.circuits)].id if house.circuits else "none"


def _relay(index: int, to: str) -> Happening:
    return Happening(f"{index} {to}", lambda house: house.set_relay(_nth(house, index), to))


def _priority(index: int, to: str) -> Happening:
    return Happening(f"{index} {to}", lambda house: house.set_priority(_nth(house, index), to))


def _limit(index: int, amps: int) -> Happening:
    def do(house: House) -> None:
        for node in list(house.chargers)[: index + 1]:
            house.set_charge_limit(node, amps)

    return Happening(f"limit {index} {amps}", do)


_indices = st.integers(0, 40)
happenings = st.one_of(
    st.builds(_relay, _indices, st.sampled_from(["OPEN", "CLOSED", "UNKNOWN", "BOGUS"])),
    st.builds(_priority, _indices, st.sampled_from([*ShedPriority, "BOGUS"])),
    st.builds(_limit, st.integers(0, 2), st.integers(-5, 60)),
    st.sampled_from(
        [
            Happening("grid lost", House.grid_lost),
            Happening("grid lost", House.grid_lost),
            Happening("grid back", House.grid_back),
            Happening("link lost", House.battery_link_lost),
            Happening("link back", House.battery_link_back),
            Happening("source BATTERY", lambda house: house.set_dominant_power_source("BATTERY")),
            Happening("source GRID", lambda house: house.set_dominant_power_source("GRID")),
            Happening("source BOGUS", lambda house: house.set_dominant_power_source("BOGUS")),
            Happening("door", lambda house: house.set_door(DoorState.OPEN)),
        ]
    ),
)
"""Whatever can happen to a house."""


# --- generated houses -------------------------------------------------------------------------------------------------


@st.composite
def house_specs(draw: st.DrawFn) -> HouseSpec:
    """Small houses of all kinds."""
    size = draw(st.sampled_from([8, 16, 24]))
    free = set(range(1, size + 1))
    circuits: list[CircuitSpec] = []
    for space in range(1, size + 1):
        if space in free and draw(st.booleans()):
            dipole = space + 2 in free and draw(st.booleans())
            free -= {space, space + 2} if dipole else {space}
            locks = draw(st.sampled_from(["", "", "always_on", "never_backup"]))
            circuits.append(
                CircuitSpec(
                    name=f"Circuit {space}",
                    space=space,
                    breaker_a=draw(st.sampled_from([15, 20, 50])),
                    dipole=dipole,
                    load=draw(st.none() | st.sampled_from(LoadKind)),
                    priority=draw(st.sampled_from([p for p in ShedPriority if p != "UNKNOWN"])),
                    always_on=locks == "always_on",
                    never_backup=locks == "never_backup",
                    sheddable=draw(st.none() | st.booleans()),
                    pcs_managed=locks != "always_on" and draw(st.booleans()),
                    pcs_priority=draw(st.integers(0, 9)),
                )
            )
    fed = [i for i, item in enumerate(circuits) if item.dipole]
    feeds: list[str] = []
    for i in fed[:4]:
        old = circuits[i]
        circuits[i] = CircuitSpec(name=old.name, space=old.space, breaker_a=50, dipole=True, priority=old.priority)
        feeds.append(old.name)
    behind = draw(st.booleans())
    outside = [RelativePosition.UPSTREAM, *([RelativePosition.DOWNSTREAM] if behind else [])]

    def landed() -> dict[str, Any]:
        if feeds and draw(st.booleans()):
            return {"feed": feeds.pop()}
        return {"position": draw(st.sampled_from(outside))}

    pv = PvSpec(nameplate_w=draw(st.sampled_from([800.0, 7000.0])), **landed()) if draw(st.booleans()) else None
    more = [] if pv is None else [PvSpec(nameplate_w=2000.0, **landed()) for _ in range(draw(st.integers(0, 2)))]
    return HouseSpec(
        serial_number="NT-3-Drawn",
        spaces=size,
        main_breaker_a=100,
        circuits=tuple(circuits),
        pv=pv,
        inverters=tuple(more),
        bess=BessSpec(
            nameplate_kwh=draw(st.sampled_from([0.05, 10.0])),
            power_w=draw(st.sampled_from([700.0, 5000.0])),
            soc_percent=draw(st.sampled_from([0.0, 3.0, 49.0, 60.0, 100.0])),
            islandable=draw(st.integers(0, 3)) > 0,
            **landed(),
        )
        if draw(st.booleans())
        else None,
        evse=tuple(
            EvseSpec(serial_number=f"SD-{name[-2:].strip()}", feed=name, max_current_a=40) for name in feeds[:2]
        ),
        pcs=PcsSpec(
            feed_limit_a=draw(st.sampled_from([None, 1.0, 80.0])),
            off_grid_limit_a=draw(st.sampled_from([None, 2.0])),
        )
        if draw(st.booleans())
        else None,
        feedthrough=FeedthroughSpec(load=draw(st.sampled_from(LoadKind))) if behind else None,
    )
