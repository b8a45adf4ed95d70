"""Values that no topic carries: rules over reported ones, with the tables of the flat schema's facts.

Every rule answers "unknown" when what it needs was not reported; none takes silence for a reading (lessons A: an
off-grid state inferred from nothing reported yet).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from ..enums import DominantPowerSource, DsmState, GridState, RunConfig
from ..snapshot import SpanPVSnapshot

__all__ = [
    "FEEDTHROUGH_BUILD",
    "dsm_state",
    "firmware_build",
    "negated",
    "run_config",
    "shared_inverter",
    "tabs_of",
]

FEEDTHROUGH_BUILD: Final = 202621
"""Downstream lugs carry real power and energy from this build on (changelog r202621, docs issue 13)."""

_BUILD: Final = re.compile(r"r[0-9]{6}")
_NOISE_W: Final = 1.0  # a meter without load hovers around zero (span-panel-api 2.6.1)
_GRID: Final = DominantPowerSource.GRID
_OWN_SOURCES: Final = frozenset({DominantPowerSource.BATTERY, DominantPowerSource.PV, DominantPowerSource.GENERATOR})
_T = TypeVar("_T")


def firmware_build(version: str | None) -> int | None:
    """The release build in a firmware version (``spanos2/r202603/05`` -> 202603); ``None`` if there is none."""
    segments = (version or "").split("/")
    return next((int(segment[1:]) for segment in segments if _BUILD.fullmatch(segment)), None)


def negated(value: float | None) -> float | None:
    """The value in the opposite frame; zero keeps no sign (lesson "-0 W")."""
    return None if value is None else 0.0 - value


def tabs_of(space: int | None, dipole: bool | None) -> tuple[int, ...]:
    """The positions of a circuit: a two-pole breaker takes the next row of the same side too."""
    if space is None or space < 1:
        return ()
    return (space, space + 2) if dipole else (space,)


def dsm_state(
    *,
    has_battery: bool,
    grid_state: str | None,
    source: str | None,
    grid_powers: Iterable[float | None],
    islandable: bool | None = None,
) -> DsmState:
    """Whether the house is on the grid, by the first rule that applies.

    Args:
        has_battery: a battery is commissioned; its ``grid_state`` is the authority then.
        grid_state: as the battery reports it.
        source: the dominant power source.
        grid_powers: measurements (W) of the power to or from the grid; ``None`` for one not reported. They tell only
            where the panel says that something else than the grid is dominant, and may be islanded: a meter hovers
            around zero.
        islandable: whether the panel can run off the grid, as it says. Without a battery, one that cannot is on it.
    """
    if has_battery and grid_state is not None and grid_state in _BY_GRID_STATE:
        return _BY_GRID_STATE[grid_state]
    if source == _GRID or (islandable is False and not has_battery):
        return DsmState.DSM_ON_GRID
    reported = [abs(power) for power in grid_powers if power is not None]
    if source not in _OWN_SOURCES or not reported:
        return DsmState.UNKNOWN
    return DsmState.DSM_ON_GRID if max(reported) > _NOISE_W else DsmState.DSM_OFF_GRID


_BY_GRID_STATE: Final[Mapping[str, DsmState]] = {
    GridState.ON_GRID: DsmState.DSM_ON_GRID,
    GridState.OFF_GRID: DsmState.DSM_OFF_GRID,
}
_OFF_GRID_CONFIGS: Final[Mapping[str, RunConfig]] = {
    DominantPowerSource.BATTERY: RunConfig.PANEL_BACKUP,
    DominantPowerSource.PV: RunConfig.PANEL_OFF_GRID,
    DominantPowerSource.GENERATOR: RunConfig.PANEL_OFF_GRID,
}


def run_config(state: DsmState, islandable: bool | None, source: str | None) -> RunConfig:
    """How the panel runs, from the DSM state."""
    if state is DsmState.DSM_ON_GRID:
        return RunConfig.PANEL_ON_GRID
    if state is DsmState.DSM_OFF_GRID and islandable:
        return _OFF_GRID_CONFIGS.get(source or "", RunConfig.UNKNOWN)
    return RunConfig.UNKNOWN


def shared_inverter(inverters: Iterable[SpanPVSnapshot]) -> SpanPVSnapshot | None:
    """The lone inverter; of several, what they share: there is no primary one (lesson span#269).

    Sizes add up if all are known; the links are all up, or one is down, or that is unknown.
    """
    many = list(inverters)
    if len(many) < 2:
        return many[0] if many else None
    sizes = [inverter.nameplate_capacity_w for inverter in many]
    links = {inverter.connected for inverter in many}
    return SpanPVSnapshot(
        vendor_name=_shared(inverter.vendor_name for inverter in many),
        model=_shared(inverter.model for inverter in many),
        nameplate_capacity_w=None if None in sizes else sum(size for size in sizes if size is not None),
        relative_position=_shared(inverter.relative_position for inverter in many),
        connected=False if False in links else None if None in links else True,
    )


def _shared(values: Iterable[_T | None]) -> _T | None:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
