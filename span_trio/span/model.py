"""Which data model a panel publishes: the flat one, or a version of the parent/child one.

The tree says it (facts, parent/child, section 1): a flat panel has no ``info/data-model-version``, a parent/child panel
has one, and its major is what counts. Nothing is guessed: values read by the wrong model look plausible and are wrong
(lesson C), so a version that cannot be read is refused, and so is a major that is not known.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

from ..homie import Forest
from .parts import CAPABILITY, Kind, parts_of

__all__ = ["DataModel", "Version", "awaited", "data_model"]

_VERSION: Final = re.compile(r"([0-9]+)(\..*)?")
_USUAL: Final = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")
_KNOWN: Final = 1


class DataModel(enum.Enum):
    """What to make of a panel's tree."""

    FLAT = "flat"
    PARENT_CHILD = "parent/child"
    AWAITED = "declared and not published yet"
    REFUSED = "not known to this version of span_trio"


class Version(NamedTuple):
    """A data model, its version as published (``None``: none), and whether that has an odd form."""

    model: DataModel
    text: str | None = None
    odd: bool = False


def data_model(forest: Forest, root: str) -> Version:
    """The data model of a panel that is described."""
    device = forest.devices[root]
    info = device.nodes.get("info")
    if info is None or info.description is None:
        return Version(DataModel.FLAT)  # what is retained of it is of another firmware
    payload = forest.payload(root, "info", "data-model-version")
    declared = info.declared("data-model-version")
    bare = info.description.properties is None
    if not payload or (declared is None and not bare):
        expected = declared is not None or (bare and info.type == f"{CAPABILITY}info")
        return Version(DataModel.AWAITED if expected else DataModel.FLAT)
    text = payload.decode(errors="replace")
    found = _VERSION.fullmatch(text)
    if found is None or int(found[1][:9]) != _KNOWN:
        return Version(DataModel.REFUSED, text)
    return Version(DataModel.PARENT_CHILD, text, odd=_USUAL.fullmatch(text) is None)


def awaited(forest: Forest, root: str) -> tuple[str, ...]:
    """What a tree must have before it can be read right: worth waiting for, and with a limit (section 2, readiness).

    The model tells the panel's size; the firmware tells the sign of the battery's meter.
    """
    panel, *others = parts_of(forest, root)
    names = ["model", *(["firmware-version"] if any(part.kind is Kind.BESS for part in others) else [])]
    return tuple(
        f"{name} of {root}"
        for name in names
        if panel.declared("info", name) is not None and panel.value("info", name) is None
    )
