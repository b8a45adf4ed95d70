"""What of a panel can be commanded, and what stands against it. Pure; both schemas.

The rules of this room:

* A control is looked for in the tree of now, by the *type* of its device or node; no topic is put together from what a
  caller says (lesson "write topic built for BESS, unmapped tab, unknown id").
* Flat firmware declares the same on every circuit: there the flags are the locks, and no flag means permitted. A
  parent/child device is commanded only where its own description says settable, by JSON's true; firmware locks by
  omission. A flag that cannot be read locks.
* What may be written is a matter of the declared format *and* of what firmware is known to take: never UNKNOWN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ..arguments import shown
from ..enums import Control, DominantPowerSource, GridState, RefusalReason, RelayState, ShedPriority
from ..errors import SpanPanelCommandValueError, SpanPanelLockedError, SpanPanelUnknownTargetError
from ..homie import (
    Datatype,
    Device,
    EnumFormat,
    Forest,
    InvalidFormat,
    InvalidPayload,
    Lifecycle,
    Node,
    NumberFormat,
    PropertyDescription,
    Value,
    decode_value,
    encode_value,
)
from .adopt import properties
from .child_fields import KNOWN, charge_limit_names
from .convert import flag, whole
from .fields import circuit_id
from .model import DataModel
from .parts import Kind, Part, charger_keys, kind_of
from .schema import NodeType

__all__ = ["OfferedControl", "controls", "resolve_command"]

_ISLANDING_OF_SOURCE: Final[Mapping[str, GridState]] = {  # what a dominant power source of the flat schema asserts
    DominantPowerSource.GRID: GridState.ON_GRID,
    DominantPowerSource.BATTERY: GridState.OFF_GRID,
    DominantPowerSource.PV: GridState.OFF_GRID,
    DominantPowerSource.GENERATOR: GridState.OFF_GRID,
}
_CHOICES: Final[Mapping[Control, tuple[str, ...]]] = {
    Control.RELAY: (RelayState.OPEN, RelayState.CLOSED),
    Control.PRIORITY: (ShedPriority.OFF_GRID, ShedPriority.SOC_THRESHOLD, ShedPriority.NEVER),
    Control.DOMINANT_POWER_SOURCE: tuple(source for source in DominantPowerSource if source != "UNKNOWN"),
    Control.ISLANDING: (GridState.ON_GRID, GridState.OFF_GRID),
}
_REQUESTER: Final = {Control.RELAY: "relay-requester"}
_WORDS: Final = {Datatype.ENUM, Datatype.STRING}
_NUMBERS: Final = {Datatype.INTEGER, Datatype.FLOAT}
_UNMAPPED: Final = "unmapped_tab_"
_NOBODY: Final[Mapping[Control, RefusalReason]] = {
    Control.RELAY: RefusalReason.NO_SUCH_CIRCUIT,
    Control.PRIORITY: RefusalReason.NO_SUCH_CIRCUIT,
    Control.DOMINANT_POWER_SOURCE: RefusalReason.NO_SUCH_CONTROL,
    Control.ISLANDING: RefusalReason.NO_SUCH_CONTROL,
    Control.CHARGE_LIMIT: RefusalReason.NO_SUCH_CHARGER,
    Control.PROPERTY: RefusalReason.NO_SUCH_PROPERTY,
}


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
        refusal: why it must not be commanded now; ``None`` if it may.
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
    declaration: PropertyDescription = attrs.field(kw_only=True, repr=False, eq=False)

    @property
    def requester_id(self) -> str | None:
        """The property of the same node that says who asked last."""
        return _REQUESTER.get(self.control)


_Found: TypeAlias = tuple[Node, str, RefusalReason | None]


def controls(forest: Forest, root: str, model: DataModel) -> Iterator[OfferedControl]:
    """Everything that the tree offers now, locked or not."""
    return _child_controls(forest, root) if model is DataModel.PARENT_CHILD else _flat_controls(forest.devices[root])


def resolve_command(
    forest: Forest, root: str, model: DataModel, *, control: Control, subject: str, wanted: object
) -> tuple[OfferedControl, bytes]:
    """What a command means on this tree, and what is to be published for it.

    A dominant power source is, on a parent/child panel, an assertion of islanding (facts, section 4).

    Raises:
        SpanPanelUnknownTargetError: there is no such control.
        SpanPanelLockedError: there is, and it must not be commanded.
        SpanPanelCommandValueError: the value is none that it takes.
    """
    if control is not Control.DOMINANT_POWER_SOURCE or model is not DataModel.PARENT_CHILD:
        offered = _find(forest, root, model, control, subject)
        return offered, _encode(offered, wanted)
    offered = _find(forest, root, model, Control.ISLANDING, subject)
    if not (isinstance(wanted, str) and wanted in _ISLANDING_OF_SOURCE):
        what = f"the {control} of {subject} cannot be set to {shown(wanted)}, only to "
        raise SpanPanelCommandValueError(RefusalReason.OUTSIDE_FORMAT, what + " or ".join(_ISLANDING_OF_SOURCE))
    return offered, _encode(offered, _ISLANDING_OF_SOURCE[wanted])


def _find(forest: Forest, root: str, model: DataModel, control: Control, subject: str) -> OfferedControl:
    what = f"the {control} of {subject}" if control is not Control.PROPERTY else f"{control} {subject}"
    wanted = circuit_id(subject) if _NOBODY[control] is RefusalReason.NO_SUCH_CIRCUIT else subject
    for offered in controls(forest, root, model):
        if (offered.control, offered.subject) == (control, wanted):
            if offered.refusal is not None:
                raise SpanPanelLockedError(offered.refusal, what)
            return offered
    reason = _NOBODY[control]
    if subject.startswith(_UNMAPPED):
        reason = RefusalReason.UNMAPPED_POSITION
    elif control is Control.PROPERTY:
        reason = _no_property(forest, root, subject) if model is DataModel.PARENT_CHILD else reason
    elif _is_there(forest, root, model, wanted):
        reason = RefusalReason.NO_SUCH_CONTROL
    kind = (
        SpanPanelLockedError
        if reason in {RefusalReason.NOT_SETTABLE, RefusalReason.AWAY}
        else SpanPanelUnknownTargetError
    )
    raise kind(reason, what)


# --- flat -------------------------------------------------------------------------------------------------------------


def _flat_controls(panel: Device) -> Iterator[OfferedControl]:
    for circuit, node in _flat_circuits(panel).items():
        yield from _flat(Control.RELAY, circuit, node, "relay", _flat_lock(node, "always-on", RefusalReason.ALWAYS_ON))
        lock = _flat_lock(node, "never-backup", RefusalReason.NEVER_BACKUP)
        yield from _flat(Control.PRIORITY, circuit, node, "shed-priority", lock)
    for node in panel.nodes_of_type(NodeType.CORE)[:1]:
        yield from _flat(Control.DOMINANT_POWER_SOURCE, panel.id, node, "dominant-power-source", None)
    for node in panel.nodes_of_type(NodeType.EVSE):
        declared = node.declared("user-max-charge-current")  # in its own description: r202627 on
        if declared is not None:
            ceiling = whole(node.values.get("max-charge-current"))
            yield _offer(Control.CHARGE_LIMIT, node.id, (node, declared.id, _settable(declared)), declared, ceiling)


def _flat_circuits(panel: Device) -> dict[str, Node]:
    circuits: dict[str, Node] = {}
    for node in panel.nodes_of_type(NodeType.CIRCUIT):
        circuits.setdefault(circuit_id(node.id), node)
    return circuits


def _flat(
    control: Control, subject: str, node: Node, name: str, lock: RefusalReason | None
) -> Iterator[OfferedControl]:
    is_bare = node.description is not None and node.description.properties is None
    declared = PropertyDescription(name, Datatype.ENUM, settable=True) if is_bare else node.declared(name)
    if declared is not None:
        yield _offer(control, subject, (node, name, lock or _settable(declared)), declared)


def _flat_lock(node: Node, name: str, reason: RefusalReason) -> RefusalReason | None:
    return None if _permits(node, name, when=False) else reason


def _permits(node: Node, name: str, *, when: bool) -> bool:
    """Whether a flag, if there is one, says what permits; one that cannot be read does not, however it is declared."""
    value = node.values.get(name)
    return name not in node.unreadable and (value is None or flag(value) is when)


def _settable(declared: PropertyDescription) -> RefusalReason | None:
    return None if declared.settable else RefusalReason.NOT_SETTABLE


# --- parent/child -----------------------------------------------------------------------------------------------------


def _parts(forest: Forest, root: str) -> list[Part]:
    parts: list[Part] = []
    for name in forest.members(root):
        device = forest.devices.get(name)
        if device is not None and device.description is not None:
            kind = Kind.PANEL if name == root else kind_of(device.description.type)
            here = kind is Kind.PANEL or device.lifecycle is Lifecycle.READY
            parts.append(Part.of(device, kind, forest, here=here))
    return parts


def _child_controls(forest: Forest, root: str) -> Iterator[OfferedControl]:
    parts = _parts(forest, root)
    circuits: dict[str, Part] = {}
    for part in parts:
        if part.kind is Kind.CIRCUIT:
            circuits.setdefault(circuit_id(part.id), part)
    for circuit, part in circuits.items():
        yield from _child(Control.RELAY, circuit, part, ("switch", "relay"))
        yield from _child(Control.PRIORITY, circuit, part, ("load-shed", "priority"))
    yield from _child(Control.ISLANDING, root, parts[0], ("shed", "asserted-islanding-state"))
    for key, part in charger_keys([part for part in parts if part.kind is Kind.EVSE]).items():
        capability, ceiling, limit = charge_limit_names(part)
        yield from _child(Control.CHARGE_LIMIT, key, part, (capability, limit), whole(part.value(capability, ceiling)))
    for part in parts:
        for found in properties(part):
            if found.declared.settable and f"{found.capability}/{found.declared.id}" not in KNOWN[part.kind]:
                subject = f"{part.id}/{found.node.id}/{found.declared.id}"
                lock = None if part.here else RefusalReason.AWAY
                yield _offer(Control.PROPERTY, subject, (found.node, found.declared.id, lock), found.declared)


def _child(
    control: Control, subject: str, part: Part, path: tuple[str, str], ceiling: int | None = None
) -> Iterator[OfferedControl]:
    capability, name = path
    node, declared = part.nodes.get(capability), part.declared(capability, name)
    if node is not None and declared is not None:
        yield _offer(control, subject, (node, name, _child_lock(control, part, node, declared)), declared, ceiling)


def _child_lock(control: Control, part: Part, node: Node, declared: PropertyDescription) -> RefusalReason | None:
    if not part.here:
        return RefusalReason.AWAY
    # A declaration may be stale after recommissioning: either may say no (section 4).
    if control is Control.RELAY and not _permits(node, "relay-controllable", when=True):
        return RefusalReason.NOT_CONTROLLABLE
    return _settable(declared)


def _no_property(forest: Forest, root: str, subject: str) -> RefusalReason:
    device, _, path = subject.partition("/")
    for part in _parts(forest, root):
        for found in properties(part) if part.id == device else ():
            if f"{found.node.id}/{found.declared.id}" == path:
                known = f"{found.capability}/{found.declared.id}" in KNOWN[part.kind]
                return RefusalReason.MODELLED if known else RefusalReason.NOT_SETTABLE
    return RefusalReason.NO_SUCH_PROPERTY


def _is_there(forest: Forest, root: str, model: DataModel, subject: str) -> bool:
    """Whether whoever is meant exists, and merely has no such control."""
    if model is DataModel.PARENT_CHILD:
        parts = _parts(forest, root)
        chargers = charger_keys([part for part in parts if part.kind is Kind.EVSE])
        return subject in chargers or subject in {circuit_id(part.id) for part in parts if part.kind is Kind.CIRCUIT}
    panel = forest.devices[root]
    return subject in _flat_circuits(panel) or subject in {node.id for node in panel.nodes_of_type(NodeType.EVSE)}


# --- what may be written ----------------------------------------------------------------------------------------------


def _offer(
    control: Control, subject: str, found: _Found, declared: PropertyDescription, ceiling: int | None = None
) -> OfferedControl:
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


def _encode(offered: OfferedControl, wanted: object) -> bytes:
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
