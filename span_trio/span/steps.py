"""Steps of the parent/child schema's tables: from ``capability/property`` of a `Part` to a field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..enums import LinkStatus
from ..homie import Value
from ..model.circuit import SpanConnectionSnapshot
from .convert import member, number, text, words
from .derive import negated
from .parts import Part
from .tables import Step, Table

__all__ = ["NAMEPLATE", "changed", "ids", "negative", "record", "record_paths", "target", "value"]


def _split(path: str) -> tuple[str, str]:
    capability, _, name = path.partition("/")
    return capability, name


def value(path: str, convert: Callable[[Value | None], Any]) -> Step:
    """A property's value."""
    capability, name = _split(path)
    return Step(lambda part: convert(part.value(capability, name)), (path,))


def target(path: str, convert: Callable[[Value | None], Any]) -> Step:
    """A property's ``$target``."""
    capability, name = _split(path)
    return Step(lambda part: convert(part.target(capability, name)), (path,))


def negative(value: Value | None) -> float | None:
    """A number in the opposite frame."""
    return negated(number(value))


def changed(*paths: str) -> Step:
    """When the newest of these properties changed, Unix s."""
    places = [_split(path) for path in paths]

    def newest(part: Part) -> int | None:
        times = [part.changed(*place) for place in places]
        return max((int(time) for time in times if time is not None), default=None)

    return Step(newest, paths)


def ids(path: str) -> Step:
    """A comma list of other devices' ids."""
    capability, name = _split(path)

    def others(part: Part) -> tuple[str, ...] | None:
        found = words(part.value(capability, name))
        return None if found is None else tuple(other for other in found if other != part.id)

    return Step(others, (path,))


_STATUS: Final = member(LinkStatus)


def record_paths(verb: str) -> tuple[str, str, str]:
    """The properties of a connection record, ``feeds`` or ``fed-by``: id, type and status."""
    return f"connection/{verb}-device-id", f"connection/{verb}-device-type", f"connection/{verb}-device-status"


def record(verb: str) -> Step:
    """What a connection record says; ``None`` where it says nothing."""
    places = [_split(path) for path in record_paths(verb)]

    def read(part: Part) -> SpanConnectionSnapshot | None:
        device, kind, status = (part.value(*place) for place in places)
        found = SpanConnectionSnapshot(text(device) or None, text(kind) or None, _STATUS(status))
        return None if found == _NO_RECORD else found

    return Step(read, record_paths(verb))


_NO_RECORD: Final = SpanConnectionSnapshot()

NAMEPLATE: Final[Table] = {
    "vendor_name": value("info/vendor-name", text),
    "model": value("info/model", text),
    "part_number": value("info/part-number", text),
    "serial_number": value("info/serial-number", text),
    "software_version": value("info/firmware-version", text),
}
"""What a device behind a circuit says of itself."""
