"""The inverters of a house, and what the sun makes of them. Pure; time is an argument.

The rules of this room:

* All inverters have the same weather, each has its own size, and its own place: on a circuit, ahead of the panel, or
  behind its downstream lugs.
* What they make is a multiple of `RESOLUTION_W`. When nobody wants it all, the last inverter steps back first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ...enums import RelativePosition
from .battery import RESOLUTION_W
from .devices import PvSpec
from .spec import HouseSpec
from .weather import Solar

__all__ = ["Roof"]


@attrs.frozen
class _Inverter:
    solar: Solar
    circuit: int | None
    """The index of the circuit that it is on."""
    ahead: bool


class Roof:
    """The inverters of a house.

    Args:
        spec: the house.
        dice: makes dice for the clouds: equal ones, however often it is asked.
    """

    def __init__(self, spec: HouseSpec, dice: Callable[[], random.Random]) -> None:
        self._dice: Final = dice
        self._inverters: list[_Inverter] = []
        for pv in spec.all_pv:
            self.add(spec, pv)

    def add(self, spec: HouseSpec, pv: PvSpec) -> int | None:
        """Another inverter; returns the index of the circuit that it is on, if it is on one."""
        index = next((i for i, circuit in enumerate(spec.circuits) if circuit.name == pv.feed), None)
        most = pv.nameplate_w if index is None else spec.circuits[index].most_w
        solar = Solar(pv.nameplate_w, most, spec.latitude, spec.longitude, self._dice())
        self._inverters.append(_Inverter(solar, index, pv.relative_position is RelativePosition.UPSTREAM))
        return index

    def step(self, t: int) -> None:
        """A second has passed."""
        for inverter in self._inverters:
            inverter.solar.step(t)

    def make(self, live: Callable[[int | None], bool]) -> list[float]:
        """What each inverter could make now, W.

        Args:
            live: whether there is voltage on a circuit, or (``None``) outside.
        """
        return [
            inverter.solar.watts // RESOLUTION_W * RESOLUTION_W if live(inverter.circuit) else 0.0
            for inverter in self._inverters
        ]

    def deliver(self, made: Sequence[float], wanted: float, drawn: list[float]) -> tuple[float, float]:
        """Bring what is wanted of it to where it goes.

        Args:
            made: as `make` has it.
            wanted: at most the sum of that, W.
            drawn: by the circuits, W: less, by what comes in there.

        Returns:
            What comes in behind the downstream lugs, and ahead of the panel, W.
        """
        behind = ahead = 0.0
        for inverter, watts in zip(self._inverters, made, strict=True):
            given = min(watts, wanted)
            wanted -= given
            if inverter.circuit is not None:
                drawn[inverter.circuit] -= given
            elif inverter.ahead:
                ahead += given
            else:
                behind += given
        return behind, ahead
