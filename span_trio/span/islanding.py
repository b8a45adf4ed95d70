"""On the grid or off it, and what forms it: the parent/child schema's rules.

None takes silence for a reading (lessons A: an off-grid state inferred from nothing reported yet), and none looks at
power: a meter hovers around zero, and a state that followed it came and went. Without a MID nothing can be islanded.
"""

from __future__ import annotations

from typing import Final

from ..enums import DominantPowerSource, DsmState, GridState, RunConfig
from .parts import Kind

__all__ = ["dsm_of", "islanding", "power_source", "run_config_of"]

_SOURCES: Final = {Kind.BESS: DominantPowerSource.BATTERY, Kind.PV: DominantPowerSource.PV}
_DSM: Final = {GridState.ON_GRID: DsmState.DSM_ON_GRID, GridState.OFF_GRID: DsmState.DSM_OFF_GRID}
_TOLD: Final = {GridState.ON_GRID.value: GridState.ON_GRID, GridState.OFF_GRID.value: GridState.OFF_GRID}


def islanding(
    asserted: str | None, reported: str | None, *, has_mid: bool
) -> tuple[GridState | str | None, GridState | None]:
    """What the snapshot shows of it; and how it is taken, with what else there is to go by.

    Args:
        asserted: the panel's ``asserted-islanding-state``, which wins (lesson s1 1.1.4).
        reported: the MID's ``islanding-state``, if it is here.
        has_mid: one is declared, here or away.
    """
    told = _TOLD.get(asserted or "")
    if told is not None:
        return told, told
    if has_mid:
        return reported, _TOLD.get(reported or "")
    return None, GridState.ON_GRID


def dsm_of(state: GridState | None) -> DsmState:
    """The demand-side management state."""
    return DsmState.UNKNOWN if state is None else _DSM[state]


def power_source(entity: str | None, kind: Kind | None, *, has_mid: bool) -> DominantPowerSource | None:
    """In the flat vocabulary. Without a MID there is nothing to island (lesson s1 1.0.0).

    Args:
        entity: what forms the grid: ``GRID``, or a device's id.
        kind: what that device is, if it is known.
        has_mid: one is declared, here or away.
    """
    if not has_mid or entity == DominantPowerSource.GRID:
        return DominantPowerSource.GRID
    return None if entity is None else _SOURCES.get(kind or Kind.OTHER, DominantPowerSource.UNKNOWN)


def run_config_of(entity: str | None, kind: Kind | None, state: GridState | None) -> RunConfig:
    """By what forms the grid; where that is not known, by the islanding state."""
    if entity == DominantPowerSource.GRID:
        return RunConfig.PANEL_ON_GRID
    if kind is not None:
        return RunConfig.PANEL_BACKUP if kind is Kind.BESS else RunConfig.PANEL_OFF_GRID
    return RunConfig.PANEL_ON_GRID if state is GridState.ON_GRID else RunConfig.UNKNOWN
