"""Houses of hardware 3.0 for tests: one with one of everything, and generated ones."""

from __future__ import annotations

from typing import Any, Final

import attrs
from hypothesis import strategies as st

from span_trio.simulator.house.devices import LoadKind, MeasuredOutside, OutsideMeterSpec, PcsSpec
from span_trio.simulator.house.spec import CircuitSpec, HouseSpec
from tests.unit.simulator.house_helpers import house_specs, small_house

PANEL_3: Final = "xg-1-small"
SHARED: Final = ("Bedroom", "Study", "Attic")
"""Circuits of `modern_house` behind one relay; the first two have one meter, and one position, too."""
_SIZES: Final = {"MAIN_16": 16, "MLO_24": 24, "MAIN_40": 40, "MLO_48": 48}


def modern_house(**more: Any) -> HouseSpec:
    """One of everything, on a MLO_48: `small_house` with shared relays and meters, and three meters outside."""
    bedroom, study, attic = (
        CircuitSpec(name=name, space=space, breaker_a=15, load=LoadKind.STANDBY, watts=watts, **shares)
        for name, space, watts, shares in (
            (SHARED[0], 12, 100.0, {"id": "circuit-52"}),
            (SHARED[1], 12, 200.0, {"relay_of": "Bedroom", "meter_of": "Bedroom"}),
            (SHARED[2], 14, 400.0, {"relay_of": "Bedroom"}),
        )
    )
    before = small_house()
    values: dict[str, Any] = {
        "serial_number": "XG-1-Small",
        "spaces": 48,
        "hardware_version": "3.0",
        "main_breaker_a": None,
        "service_rating_a": 200,
        "overcurrent_protection_a": 125,
        "site_name": "Home",
        "address_lines": "1 Invented Way",
        "pcs": PcsSpec(feed_limit_a=80),
        "circuits": (*before.circuits, bedroom, study, attic),
        "outside_meters": (
            OutsideMeterSpec(number=3),
            OutsideMeterSpec(number=7, measures=MeasuredOutside.LOAD, load=LoadKind.STANDBY, watts=50.0),
        ),
    }
    return attrs.evolve(before, **{**values, **more})


@st.composite
def modern_specs(draw: st.DrawFn) -> HouseSpec:
    """Small houses of all kinds, on panels of hardware 3.0."""
    spec = draw(house_specs())
    model = draw(st.sampled_from([model for model, size in _SIZES.items() if size >= spec.spaces]))
    first = 9 if model in {"MAIN_16", "MAIN_40"} else 1
    circuits = [attrs.evolve(circuit, space=circuit.space + first - 1) for circuit in spec.circuits]
    sources = {circuit.name for circuit in spec.circuits if spec.id_of(circuit) in spec.source_ids}
    alone = [circuit for circuit in circuits if circuit.name not in sources]
    for leader in draw(st.lists(st.sampled_from(alone), max_size=4)) if alone else []:
        shares = draw(st.sampled_from([("relay_of",), ("meter_of",), ("relay_of", "meter_of")]))
        circuits.append(
            CircuitSpec(
                name=f"Circuit {len(circuits)} of {leader.name}",
                space=leader.space,
                breaker_a=15,
                load=draw(st.sampled_from(LoadKind)),
                priority=leader.priority,
                **dict.fromkeys(shares, leader.name),
            )
        )
    ahead = any(pv.relative_position == "UPSTREAM" for pv in spec.all_pv)
    kinds = [kind for kind in MeasuredOutside if ahead or kind is not MeasuredOutside.SOLAR]
    measured = draw(st.lists(st.sampled_from(kinds), max_size=3))
    return attrs.evolve(
        spec,
        serial_number="XG-3-Drawn",
        spaces=_SIZES[model],
        hardware_version="3.0",
        main_breaker_a=None if model.startswith("MLO") else 100,
        circuits=tuple(circuits),
        outside_meters=tuple(OutsideMeterSpec(number=n, measures=kind) for n, kind in enumerate(measured, 1)),
    )
