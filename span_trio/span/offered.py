"""A control that is offered: what it is of, what may be written, and what it is written as. Pure; both schemas.

What may be written is a matter of the declared format *and* of what firmware is known to take: never UNKNOWN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ..arguments import shown
from ..command import on_one_relay
from ..enums import Control, DominantPowerSource, GridState, LockState, RefusalReason, RelayState, ShedPriority
from ..errors import SpanPanelCommandValueError
from ..homie import (
    Datatype,
    EnumFormat,
    InvalidFormat,
    InvalidPayload,
    Node,
    NumberFormat,
    PropertyDescription,
    Value,
    decode_value,
    encode_value,
)
from ..wiretext import printable

__all__ = ["OfferedControl", "Place", "encode", "in_words", "offer"]

_CHOICES: Final[Mapping[Control, tuple[str, ...]]] = {
    Control.RELAY: (RelayState.OPEN, RelayState.CLOSED),
    Control.PRIORITY: (ShedPriority.OFF_GRID, ShedPriority.SOC_THRESHOLD, ShedPriority.NEVER),
    Control.DOMINANT_POWER_SOURCE: tuple(source for source in DominantPowerSource if source != "UNKNOWN"),
    Control.ISLANDING: (GridState.ON_GRID, GridState.OFF_GRID),
    Control.CHARGER_LOCK: (LockState.UNLOCKED, LockState.LOCKED),
}
_REQUESTER: Final = {Control.RELAY: "relay-requester"}
_WORDS: Final = {Datatype.ENUM, Datatype.STRING}
_NUMBERS: Final = {Datatype.INTEGER, Datatype.FLOAT}

Place: TypeAlias = tuple[str, str, str]
"""The ids of a device, a node and a property."""


@attrs.frozen
class OfferedControl:
    """Something that this panel lets its clients command, or would if it were not locked.

    Attributes:
        control: what kind.
        subject: whose: a circuit's id, a charger's key in ``snapshot.evse``, the panel's serial number; of a property
            ``device/node/property``.
        device_id: the Homie device that is told; likewise ``node_id`` and ``property_id``.
        datatype: Homie's, as declared.
        choices: what may be written, where that is one of some words.
        minimum: the lowest number that may be written; likewise ``maximum``. ``None``: nobody says.
        refusal: why it must not be commanded now; ``None`` if it may. A relay that several circuits share is locked by
            whatever locks one of them.
        reaches: the ids of the circuits that the command reaches, its own first. All that hang on one relay are opened
            with it, and shed with it. Empty for what is of no circuit.
        reaches_unknown: those of ``reaches`` that are no circuits of this panel, though the panel names them.
    """

    control: Control
    subject: str
    device_id: str
    node_id: str
    property_id: str
    datatype: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    refusal: RefusalReason | None = None
    reaches: tuple[str, ...] = ()
    reaches_unknown: tuple[str, ...] = ()
    shared: tuple[Place, ...] = attrs.field(default=(), kw_only=True, repr=False, eq=False)
    declaration: PropertyDescription = attrs.field(kw_only=True, repr=False, eq=False)

    @property
    def place(self) -> Place:
        """Device, node and property."""
        return self.device_id, self.node_id, self.property_id

    @property
    def places(self) -> tuple[Place, ...]:
        """All properties that stand for the same piece of hardware, its own first."""
        return self.place, *self.shared

    def __str__(self) -> str:
        """In words, with all that it reaches."""
        return printable(in_words(self.control, self.subject, self.reaches))

    @property
    def requester_id(self) -> str | None:
        """The property of the same node that says who asked last."""
        return _REQUESTER.get(self.control)


_Found: TypeAlias = tuple[Node, str, RefusalReason | None]


def in_words(control: Control, subject: str, reaches: tuple[str, ...] = ()) -> str:
    """A control in words, with all that it reaches."""
    what = f"{control} {subject}" if control is Control.PROPERTY else f"the {control} of {subject}"
    return what + on_one_relay(reaches)


def offer(
    control: Control, subject: str, found: _Found, declared: PropertyDescription, ceiling: int | None = None
) -> OfferedControl:
    """A property as a control.

    Args:
        control: what kind.
        subject: whose.
        found: its node, its id, and what stands against it.
        declared: in its own description.
        ceiling: the highest number that it takes, whatever it declares.
    """
    node, name, refusal = found
    choices: Sequence[str] = _CHOICES.get(control, ())
    low: float | None = None
    high: float | None = ceiling
    match declared.format:
        case EnumFormat(members=members):
            choices = [each for each in choices if each in members] if choices else members
        case NumberFormat(minimum=low, maximum=most):
            high = min((each for each in (most, ceiling) if each is not None), default=None)
        case _:
            pass
    if control is Control.CHARGE_LIMIT and low is None:
        low = 0
    return OfferedControl(
        control,
        subject,
        node.device.id,
        node.id,
        name,
        declared.datatype or (Datatype.INTEGER if control is Control.CHARGE_LIMIT else Datatype.STRING),
        tuple(str(each) for each in choices),
        low,
        high,
        refusal,
        declaration=declared,
    )


def encode(offered: OfferedControl, wanted: object) -> bytes:
    """A value of the property's type, or the text that stands for it on the wire; never clamped."""
    what = f"the {offered.control} of {offered.subject} cannot be set to {shown(wanted)}"
    datatype = Datatype(offered.datatype)
    if offered.choices or offered.control in _CHOICES:  # a format may share none with what firmware takes
        if datatype not in _WORDS or not (isinstance(wanted, str) and wanted in offered.choices):
            raise SpanPanelCommandValueError(RefusalReason.OUTSIDE_FORMAT, f"{what}, only to {_either(offered)}")
        return str(wanted).encode()
    try:
        if offered.control is Control.CHARGE_LIMIT and datatype not in _NUMBERS:  # nobody could hold it to its range
            raise InvalidPayload(f"declared as a {datatype}")
        value = _typed(wanted, datatype)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = offered.minimum, offered.maximum
            if (low is not None and value < low) or (high is not None and value > high):
                limits = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
                raise SpanPanelCommandValueError(RefusalReason.OUT_OF_RANGE, f"{what}, only within {limits}")
        payload = encode_value(value, datatype, offered.declaration.format)
        if datatype in _NUMBERS and not math.isclose(float(payload), value):  # type: ignore[arg-type] # it is a number
            raise InvalidPayload(f"not on a step; {payload.decode()} would be")
    except (InvalidPayload, InvalidFormat, UnicodeError) as error:
        raise SpanPanelCommandValueError(RefusalReason.OUTSIDE_FORMAT, f"{what} ({error})") from None
    return payload


def _typed(wanted: object, datatype: Datatype) -> Value:
    if isinstance(wanted, str) and datatype not in _WORDS:
        return decode_value(wanted.encode(), datatype)
    return wanted  # type: ignore[return-value] # encode_value refuses what it is not


def _either(offered: OfferedControl) -> str:
    return " or ".join(offered.choices) or "nothing that is known"
