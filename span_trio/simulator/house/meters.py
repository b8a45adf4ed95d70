"""The meters of a panel: what they add up, and what they show. Pure; time is an argument.

The rules of this room:

* Energy is added up in Ws, at the power that there was; as long as that changes on full seconds, no bit gets lost.
* A meter has a resolution, a power of two: 1/16 Wh (in full: a counter never shows what was not there yet), 1/64 A,
  1/16 V, 1/64 %, 1/1024 kWh. So readings are short as text and exact as numbers.
* Frames are named: a circuit *draws* (W, positive out of the panel), energy is *consumed* and *produced*; lugs, and
  meters outside the panel, have frames of their own, see `MeterReading`; flows have the signs of the wire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs

from ...enums import RelativePosition
from ...span import get_tab_phase
from .devices import LoadKind, MeasuredOutside, OutsideMeterSpec
from .loads import LOADS, watts_of
from .spec import CircuitSpec, HouseSpec

__all__ = ["Counter", "Flows", "MeterReading", "Meters", "Readings"]

_WS_PER_KWH: Final = 3_600_000
_WS_PER_STEP: Final = 225.0
_STEP_WH: Final = 1 / 16
_POLE_V: Final = 120.0
_CABLE_OHM: Final = 0.02
_L1, _L2, _BOTH = 0, 1, 2
_TO_64TH: Final = 1.5 * 2.0**46  # added and taken off again, rounds to a multiple of 1/64


@attrs.frozen
class MeterReading:
    """One pair of lugs, or a meter outside the panel: W, and Wh in both directions as the wire names them.

    The power is positive, and the energy imported, in the meter's own frame: at the upstream lugs from the utility into
    the panel, at the downstream ones from the panel to the sub-panel, outside from the utility to what is measured.
    """

    power_w: float
    imported_wh: float
    exported_wh: float


@attrs.frozen
class Flows:
    """Power flows, W, with the signs of the wire; their sum is 0."""

    pv: float
    """Negative: generating."""
    battery: float
    """Positive: charging."""
    grid: float
    """Positive: exporting."""
    site: float
    """Positive: consuming."""


@attrs.frozen
class Readings:
    """All meters of a house at one moment. Sequences are in the order of the circuits."""

    at: float
    """Unix s."""
    drawn_w: Sequence[float]
    """W from the panel into each circuit; negative: it produces."""
    current_a: Sequence[float]
    """RMS."""
    consumed_wh: Sequence[float]
    """Wh that went from the panel into each circuit."""
    produced_wh: Sequence[float]
    """Wh that came from each circuit into the panel."""
    upstream: MeterReading
    downstream: MeterReading
    l1_current_a: float
    """RMS, at the service entrance."""
    l2_current_a: float
    l1_voltage: float
    l2_voltage: float
    flows: Flows
    soc_percent: float
    """As the battery reported it last; 0 without one, like the next."""
    soe_kwh: float
    outside: Sequence[MeterReading] = ()
    """The meters outside the panel: power is positive, and energy imported, in the direction of consumption."""


class Counter:
    """Energy in two directions, Ws, and the power that moves it now, W."""

    def __init__(self, forward_ws: float, back_ws: float) -> None:
        self.forward_ws: float = forward_ws
        self.back_ws: float = back_ws
        self.watts: float = 0.0

    def account(self, seconds: float) -> None:
        """So much time has passed at the power of now."""
        if self.watts > 0:
            self.forward_ws += self.watts * seconds
        else:
            self.back_ws -= self.watts * seconds

    def read(self, seconds: float) -> MeterReading:
        """What it shows, ``seconds`` after it was last accounted for."""
        added = self.watts * seconds
        return MeterReading(
            self.watts, _shown(self.forward_ws + max(added, 0.0)), _shown(self.back_ws - min(added, 0.0))
        )


def _shown(total_ws: float) -> float:
    return total_ws // _WS_PER_STEP * _STEP_WH


class Meters:
    """The meters of a house; at first, what they show after ``spec.years`` in it.

    Args:
        spec: the house.

    Attributes:
        drawn_w: what each circuit draws now, W.
        upstream: the upstream lugs.
        downstream: the downstream lugs.
        outside: the meters outside the panel, in the order of the spec.
    """

    def __init__(self, spec: HouseSpec) -> None:
        days = round(spec.years * 365)
        daily = [_daily_wh(spec, circuit) for circuit in spec.circuits]
        self._consumed = [float(round(wh * days * 3600)) for wh, _ in daily]
        self._produced = [float(round(wh * days * 3600)) for _, wh in daily]
        self._producers: Final = [i for i, (_, wh) in enumerate(daily) if wh]
        self._legs: Final = [_leg(circuit) for circuit in spec.circuits]
        self._per_va: Final = [1 / LOADS[spec.load_of(circuit)].power_factor for circuit in spec.circuits]
        self.drawn_w: Sequence[float] = [0.0] * len(daily)
        # Balanced: what came in is what went out.
        behind = 0.0 if spec.feedthrough is None else float(days * 3 * _WS_PER_KWH)
        net = sum(self._consumed) - sum(self._produced) + behind
        exported = round(0.4 * sum(self._produced)) + max(-net, 0.0)
        self.upstream: Final = Counter(net + exported, exported)
        self.downstream: Final = Counter(behind, 0.0)
        entrance = net + exported, exported
        self.outside: Final = [Counter(*_outside_ws(spec, meter, days, entrance)) for meter in spec.outside_meters]

    def add_producer(self, index: int) -> None:
        """From now on, this circuit may bring power in."""
        self._producers.append(index)

    def account(self, seconds: float) -> None:
        """So much time has passed at the power of now."""
        drawn = self.drawn_w
        self._consumed = [
            total + watts * seconds if watts > 0.0 else total
            for total, watts in zip(self._consumed, drawn, strict=True)
        ]
        for index in self._producers:
            if drawn[index] < 0.0:
                self._produced[index] -= drawn[index] * seconds
        self.upstream.account(seconds)
        self.downstream.account(seconds)
        for meter in self.outside:
            meter.account(seconds)

    def read(self, at: float, seconds: float, *, powered: bool, flows: Flows, stored: tuple[float, float]) -> Readings:
        """What all of them show.

        Args:
            at: now, Unix s.
            seconds: since energy was last accounted for.
            powered: whether there is voltage.
            flows: the power flows.
            stored: SoC (%) and SoE (kWh) of the battery, exactly.
        """
        drawn, legs = self.drawn_w, self._legs
        added = [watts * seconds for watts in drawn]
        through_l1, through_l2 = self._through()
        l1, l2 = _voltages(at, through_l1, through_l2) if powered else (0.0, 0.0)
        volts = (l1, l2, l1 + l2) if powered else (math.inf,) * 3
        return Readings(
            at,
            drawn,
            [
                abs(watts) * per_va / volts[leg] + _TO_64TH - _TO_64TH
                for watts, per_va, leg in zip(drawn, self._per_va, legs, strict=True)
            ],
            [
                (total + more if more > 0.0 else total) // _WS_PER_STEP * _STEP_WH
                for total, more in zip(self._consumed, added, strict=True)
            ],
            [
                (total - more if more < 0.0 else total) // _WS_PER_STEP * _STEP_WH
                for total, more in zip(self._produced, added, strict=True)
            ],
            self.upstream.read(seconds),
            self.downstream.read(seconds),
            abs(through_l1) / volts[_L1] + _TO_64TH - _TO_64TH,
            abs(through_l2) / volts[_L2] + _TO_64TH - _TO_64TH,
            l1,
            l2,
            flows,
            round(stored[0] * 64) / 64,
            round(stored[1] * 1024) / 1024,
            [meter.read(seconds) for meter in self.outside],
        )

    def _through(self) -> tuple[float, float]:
        """What comes in at the upstream lugs, by leg, W."""
        sums = [0.0, 0.0, self.downstream.watts]
        for watts, leg in zip(self.drawn_w, self._legs, strict=True):
            sums[leg] += watts
        half = sums[_BOTH] / 2
        return sums[_L1] + half, sums[_L2] + half


def _leg(circuit: CircuitSpec) -> int:
    if circuit.dipole:
        return _BOTH
    return _L1 if get_tab_phase(circuit.space) == "L1" else _L2


def _daily_wh(spec: HouseSpec, circuit: CircuitSpec) -> tuple[float, float]:
    """What a circuit consumes and produces on a usual day, Wh."""
    for evse in spec.evse:
        if evse.feed == circuit.name:
            return evse.daily_kwh * 1000, 0.0
    for pv in spec.all_pv:
        if pv.feed == circuit.name:
            return 0.0, pv.nameplate_w * 4.1
    if spec.bess is not None and spec.bess.feed == circuit.name:
        return spec.bess.nameplate_kwh * 550, spec.bess.nameplate_kwh * 500
    return watts_of(spec, circuit) * LOADS[spec.load_of(circuit)].hours, 0.0


def _outside_ws(
    spec: HouseSpec, meter: OutsideMeterSpec, days: int, entrance: tuple[float, float]
) -> tuple[float, float]:
    """What a meter outside the panel has counted in so many days, Ws."""
    loads = [
        float(round((other.watts or LOADS[kind].watts) * LOADS[kind].hours * days * 3600))
        for other in spec.outside_meters
        if other.measures is MeasuredOutside.LOAD and (other is meter or meter.measures is MeasuredOutside.GRID)
        for kind in [other.load or LoadKind.OUTLETS]
    ]
    if meter.measures is MeasuredOutside.GRID:
        return entrance[0] + sum(loads), entrance[1]
    ahead = [pv.nameplate_w * 4.1 for pv in spec.all_pv if pv.relative_position is RelativePosition.UPSTREAM]
    return sum(loads), float(round(sum(ahead) * days * 3600)) if meter.measures is MeasuredOutside.SOLAR else 0.0


def _voltages(at: float, l1_w: float, l2_w: float) -> tuple[float, float]:
    """Around 120 V: the grid's slow swing, a little flicker, and the drop in the cable."""
    slow = 1.3 * math.sin(at / 1150) + 0.4 * math.sin(at / 97)
    l1 = _POLE_V + slow + 0.15 * math.sin(1.9 * at) - _CABLE_OHM / _POLE_V * l1_w
    l2 = _POLE_V + slow + 0.15 * math.sin(2.3 * at) - _CABLE_OHM / _POLE_V * l2_w
    return round(16 * l1) / 16, round(16 * l2) / 16
