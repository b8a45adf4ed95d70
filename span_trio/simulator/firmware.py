"""All builds of firmware, and what publishes a house as they do."""

from __future__ import annotations

from typing import Final

from ..errors import SpanPanelValidationError
from . import flat_schema, parent_child_schema
from .flat import FlatPublisher
from .house import House
from .parent_child import ParentChildPublisher
from .publishing import Publisher

__all__ = ["BUILDS", "check_build", "publisher_of"]

BUILDS: Final = (*flat_schema.RELEASES, *parent_child_schema.RELEASES)
"""Every public build of firmware, oldest first: flat to 202627, with device trees from 202633 on."""


def check_build(build: int) -> int:
    """A build that there is.

    Raises:
        SpanPanelValidationError: there is none with this number.
    """
    if build not in BUILDS:
        raise SpanPanelValidationError(f"there is no firmware {build}: choose from {', '.join(map(str, BUILDS))}")
    return build


def publisher_of(house: House, build: int, *, bare: bool = False) -> Publisher:
    """What publishes a house as a build of firmware does.

    Raises:
        SpanPanelValidationError: there is no such build.
    """
    if check_build(build) in flat_schema.RELEASES:
        return FlatPublisher(house, build, bare=bare)
    return ParentChildPublisher(house, build, bare=bare)
