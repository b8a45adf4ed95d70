"""All builds of firmware, and what publishes a house as they do."""

from __future__ import annotations

from typing import Final

from ...errors import SpanPanelValidationError
from ..house.house import House
from ..house.spec import HouseSpec
from . import flat_schema, parent_child_schema
from .flat import FlatPublisher
from .parent_child import ParentChildPublisher
from .publishing import Publisher

__all__ = ["BUILDS", "HARDWARE_3_BUILD", "check_build", "default_build", "publisher_of"]

BUILDS: Final = (*flat_schema.RELEASES, *parent_child_schema.RELEASES)
"""Every public build of firmware, oldest first: flat to 202627, with device trees from 202633 on."""
HARDWARE_3_BUILD: Final = 202639
"""The first build that was seen on hardware 3.0."""


def default_build(spec: HouseSpec) -> int:
    """What a house's panel runs if nothing is said: the last flat build, or what runs on hardware 3.0."""
    return HARDWARE_3_BUILD if spec.hardware_3 else max(flat_schema.RELEASES)


def check_build(build: int, spec: HouseSpec | None = None) -> int:
    """A build that there is; with a house, one that runs on its panel.

    Raises:
        SpanPanelValidationError: there is none with this number, or it does not run there.
    """
    if build not in BUILDS:
        raise SpanPanelValidationError(f"there is no firmware {build}: choose from {', '.join(map(str, BUILDS))}")
    if spec is not None and spec.hardware_3 and build < HARDWARE_3_BUILD:
        raise SpanPanelValidationError(
            f"firmware {build} does not run on hardware 3.0 ({spec.model_name}): the first one is {HARDWARE_3_BUILD}"
        )
    return build


def publisher_of(house: House, build: int, *, bare: bool = False) -> Publisher:
    """What publishes a house as a build of firmware does.

    Raises:
        SpanPanelValidationError: there is no such build, or it does not run on this panel.
    """
    if check_build(build, house.spec) in flat_schema.RELEASES:
        return FlatPublisher(house, build, bare=bare)
    return ParentChildPublisher(house, build, bare=bare)
