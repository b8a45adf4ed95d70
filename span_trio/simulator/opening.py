"""How a simulated panel is opened."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator

from ..background import open_background
from .firmware.builds import default_build
from .house.houses import find_house
from .house.spec import HouseSpec
from .panel import SimulatedPanel

__all__ = ["open_simulated_panel"]


@contextlib.asynccontextmanager
async def open_simulated_panel(
    house: HouseSpec | str = "main-32",
    *,
    seed: int = 0,
    at: dt.datetime | None = None,
    speed: float = 1.0,
    build: int | None = None,
    bare: bool = False,
    targets: bool = False,
) -> AsyncGenerator[SimulatedPanel, None]:
    """A panel in a box, running, in memory.

    Args:
        house: what it measures: a name of `BUILT_IN`, a TOML file's, or a spec.
        seed: equal seeds, equal days.
        at: when the house begins to live; ``None``: now.
        speed: how fast its time goes.
        build: of the firmware: 202603, 202609, 202615, 202621 or 202627 (flat), 202633 or 202639 (device trees).
            Hardware 3.0 runs the last of them alone. ``None``: 202627, or that one.
        bare: describe as little as the public simulators.
        targets: publish the ``$target`` of what can be set, as Homie wants it, and SPAN's firmware does not.

    Raises:
        SpanPanelValidationError: there is no such house or build, or it does not run on this panel.
    """
    spec = find_house(house) if isinstance(house, str) else house
    moment = (dt.datetime.now(dt.UTC) if at is None else at).timestamp()
    build = default_build(spec) if build is None else build
    panel = SimulatedPanel(spec, seed=seed, at=moment, speed=speed, build=build, bare=bare, targets=targets)
    async with open_background() as nursery, panel.running(nursery):
        yield panel
