"""What a panel of hardware 3.0 has that earlier ones have not, and what no panel has. Pure.

The rules of this room (facts on hardware 3.0):

* The models are MAIN_16, MLO_24, MAIN_40 and MLO_48. MLO panels have no main breaker; in the others it sits where
  earlier panels have their first positions.
* Circuits may share a relay, a meter, or both, and then a position, too. What shares with others brings no power in:
  one meter would mix it up with what they draw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ...homie import is_valid_id
from .devices import MeasuredOutside, refuse

if TYPE_CHECKING:
    from .spec import CircuitSpec, HouseSpec

__all__ = ["FIRST_POSITIONS", "check_hardware", "check_shares"]

FIRST_POSITIONS: Final[Mapping[str, int]] = {"MAIN_16": 9, "MAIN_40": 9}
"""Of hardware 3.0; of all other models it is 1."""

_MODELS: Final = ("MAIN_16", "MLO_24", "MAIN_40", "MLO_48", "UNKNOWN")
_ONLY_HERE: Final = (
    *("outside_meters", "service_rating_a", "overcurrent_protection_a", "site_name", "address_lines", "locality"),
    *("region", "country_code", "utility_meter_serial_number"),
)
_ONLY_IN_CIRCUITS: Final = ("relay_of", "meter_of", "feeds_role", "tags", "locations", "dedicated")
_CIRCUIT_ID: Final = re.compile(r"[0-9a-f]{32}")
_NEEDED: Final = 'needs hardware_version = "3.0"'


def check_hardware(spec: HouseSpec) -> None:
    """Refuse what a panel of this hardware does not have.

    Raises:
        SpanPanelValidationError: there is something.
    """
    _check_main_breaker(spec)
    if not spec.hardware_3:
        _check_earlier(spec)
        return
    if spec.model_name not in _MODELS:
        refuse("", "model", f"of hardware 3.0 there are {', '.join(_MODELS)}, and no {spec.model_name}")
    for circuit in spec.circuits:
        if circuit.id is not None and not (is_valid_id(circuit.id) and not circuit.id.startswith(spec.device_id)):
            refuse(
                circuit.part,
                "id",
                f"must be letters, digits and dashes, and not begin like the panel's: {circuit.id!r}",
            )
    numbers = [meter.number for meter in spec.outside_meters]
    for meter in spec.outside_meters:
        if numbers.count(meter.number) > 1:
            refuse(meter.part, "number", "two meters have this number")
        ahead = any(pv.relative_position == "UPSTREAM" for pv in spec.all_pv)
        if meter.measures is MeasuredOutside.SOLAR and not ahead:
            refuse(meter.part, "measures", "there is no inverter ahead of the panel")


def _check_main_breaker(spec: HouseSpec) -> None:
    without = spec.hardware_3 and spec.model_name.startswith("MLO")
    if without and spec.main_breaker_a is not None:
        refuse("", "main_breaker_a", f"an {spec.model_name} has no main breaker")
    if spec.main_breaker_a is None and not without and spec.model_name != "UNKNOWN":
        refuse("", "main_breaker_a", "is missing")


def _check_earlier(spec: HouseSpec) -> None:
    for key in _ONLY_HERE:
        if getattr(spec, key):
            refuse("", key, _NEEDED)
    if spec.bess is not None and spec.bess.silent:
        refuse("bess", "silent", _NEEDED)
    for circuit in spec.circuits:
        for key in _ONLY_IN_CIRCUITS:
            if getattr(circuit, key) not in {None, ""}:
                refuse(circuit.part, key, _NEEDED)
        if circuit.protection_functions != "OVERCURRENT":
            refuse(circuit.part, "protection_functions", _NEEDED)
        if circuit.id is not None and not _CIRCUIT_ID.fullmatch(circuit.id):
            refuse(circuit.part, "id", f"must be 32 hex digits in lower case, not {circuit.id!r}")


def check_shares(spec: HouseSpec) -> None:
    """Refuse relays and meters that circuits cannot share.

    Raises:
        SpanPanelValidationError: there is one.
    """
    circuits = {circuit.name: circuit for circuit in spec.circuits}
    for circuit in spec.circuits:
        for key in ("relay_of", "meter_of"):
            _check_share(spec, circuit, key, circuits)


def _check_share(spec: HouseSpec, circuit: CircuitSpec, key: str, circuits: Mapping[str, CircuitSpec]) -> None:
    name = getattr(circuit, key)
    if name is None:
        return
    other = circuits.get(name)
    if other is None:
        refuse(circuit.part, key, f"there is no circuit {name!r}")
    if other is circuit:
        refuse(circuit.part, key, "is its own in any case")
    if getattr(other, key) is not None:
        refuse(circuit.part, key, f"{name!r} has that of {getattr(other, key)!r}: name that one")
    for one in (circuit, other):
        if spec.id_of(one) in spec.source_ids:
            refuse(one.part, key, "an inverter or a battery shares neither relay nor meter")
