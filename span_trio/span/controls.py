"""What of a panel can be commanded, and what stands against it. Pure; both schemas.

The rules of this room:

* A control is looked for in the tree of now, by the *type* of its device or node; no topic is put together from what a
  caller says (lesson "write topic built for BESS, unmapped tab, unknown id").
* Flat firmware declares the same on every circuit: there the flags are the locks, and no flag means permitted. A
  parent/child device is commanded only where its own description says settable, by JSON's true; firmware locks by
  omission. A flag that cannot be read locks.
* What may be written is `offered`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from ..arguments import shown
from ..enums import Control, DominantPowerSource, GridState, RefusalReason
from ..errors import SpanPanelCommandValueError, SpanPanelLockedError, SpanPanelUnknownTargetError
from ..homie import (
    Datatype,
    Device,
    Forest,
    Node,
    PropertyDescription,
)
from .adopt import properties
from .child_charger import charge_limit_names
from .convert import flag, whole
from .fields import charger_keys as flat_charger_keys
from .fields import circuit_id
from .model import DataModel
from .offered import OfferedControl, Place, encode, in_words, offer
from .parts import Kind, Part, charger_keys, parts_of
from .schema import NodeType
from .shared import SharedRelays

__all__ = ["controls", "find_control", "resolve_command"]

_ISLANDING_OF_SOURCE: Final[Mapping[str, GridState]] = {  # what a dominant power source of the flat schema asserts
    DominantPowerSource.GRID: GridState.ON_GRID,
    DominantPowerSource.BATTERY: GridState.OFF_GRID,
    DominantPowerSource.PV: GridState.OFF_GRID,
    DominantPowerSource.GENERATOR: GridState.OFF_GRID,
}
_FLAGS: Final[Mapping[str, tuple[str, RefusalReason]]] = {  # of a flat circuit's properties: what locks them, and why
    "relay": ("always-on", RefusalReason.ALWAYS_ON),
    "shed-priority": ("never-backup", RefusalReason.NEVER_BACKUP),
}
_OF_CIRCUITS: Final = {Control.RELAY, Control.PRIORITY}
_CIRCUITS: Final = {Kind.CIRCUIT, Kind.OUTSIDE}
_UNMAPPED: Final = "unmapped_tab_"
_NOBODY: Final[Mapping[Control, RefusalReason]] = {
    Control.RELAY: RefusalReason.NO_SUCH_CIRCUIT,
    Control.PRIORITY: RefusalReason.NO_SUCH_CIRCUIT,
    Control.DOMINANT_POWER_SOURCE: RefusalReason.NO_SUCH_CONTROL,
    Control.ISLANDING: RefusalReason.NO_SUCH_CONTROL,
    Control.CHARGE_LIMIT: RefusalReason.NO_SUCH_CHARGER,
    Control.CHARGER_LOCK: RefusalReason.NO_SUCH_CHARGER,
    Control.PROPERTY: RefusalReason.NO_SUCH_PROPERTY,
}


def controls(forest: Forest, root: str, model: DataModel) -> Iterator[OfferedControl]:
    """Everything that the tree offers now, locked or not: whatever declares itself as settable, above all."""
    named, others = _all(forest, root, model)
    covered: set[Place] = set()
    for offered in named:
        covered.add(offered.place)
        yield offered
    for offered in others:
        if offered.declaration.settable and offered.place not in covered:
            yield offered


def find_control(forest: Forest, root: str, model: DataModel, control: Control, subject: str) -> OfferedControl | None:
    """What a command would be of, locked or not; ``None`` if there is no such control."""
    if control is Control.DOMINANT_POWER_SOURCE and model is DataModel.PARENT_CHILD:
        control = Control.ISLANDING
    wanted = _folded(model, control, subject)
    for offered in controls(forest, root, model):
        if (offered.control, offered.subject) == (control, wanted):
            return offered
        by_place = control is Control.PROPERTY and "/".join(offered.place) == subject
        if by_place and offered.control is Control.CHARGER_LOCK:  # its command adds a name, and no rule
            return attrs.evolve(offered, control=control, subject=subject)
    return None


def _folded(model: DataModel, control: Control, subject: str) -> str:
    """A subject as it is known by: the flat schema writes one circuit's id with dashes and without."""
    return circuit_id(subject) if control in _OF_CIRCUITS and model is not DataModel.PARENT_CHILD else subject


def _all(forest: Forest, root: str, model: DataModel) -> tuple[Iterator[OfferedControl], Iterator[OfferedControl]]:
    """What has a command of its own; and every property that is declared, as if it had none."""
    if model is not DataModel.PARENT_CHILD:
        panel = forest.devices[root]
        return _flat_controls(panel), _flat_properties(panel)
    parts = parts_of(forest, root)
    relays = SharedRelays(parts, forest.members(root), _lock)
    return map(relays.complete, _child_controls(parts, root)), map(relays.complete, _child_properties(parts))


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
        return offered, encode(offered, wanted)
    offered = _find(forest, root, model, Control.ISLANDING, subject)
    if not (isinstance(wanted, str) and wanted in _ISLANDING_OF_SOURCE):
        what = f"the {control} of {subject} cannot be set to {shown(wanted)}, only to "
        raise SpanPanelCommandValueError(RefusalReason.OUTSIDE_FORMAT, what + " or ".join(_ISLANDING_OF_SOURCE))
    return offered, encode(offered, _ISLANDING_OF_SOURCE[wanted])


def _find(forest: Forest, root: str, model: DataModel, control: Control, subject: str) -> OfferedControl:
    offered = find_control(forest, root, model, control, subject)
    if offered is not None:
        if offered.refusal is not None:
            raise SpanPanelLockedError(offered.refusal, str(offered))
        return offered
    reason = _NOBODY[control]
    if subject.startswith(_UNMAPPED):
        reason = RefusalReason.UNMAPPED_POSITION
    elif control is Control.PROPERTY:
        reason = _no_property(forest, root, model, subject)
    elif _is_there(forest, root, model, _folded(model, control, subject)):
        reason = RefusalReason.NO_SUCH_CONTROL
    kind = SpanPanelLockedError if reason is RefusalReason.NOT_SETTABLE else SpanPanelUnknownTargetError
    raise kind(reason, in_words(control, subject))


def _no_property(forest: Forest, root: str, model: DataModel, subject: str) -> RefusalReason:
    named, others = _all(forest, root, model)
    if any("/".join(offered.place) == subject for offered in named):
        return RefusalReason.MODELLED
    if any(offered.subject == subject for offered in others):
        return RefusalReason.NOT_SETTABLE
    return RefusalReason.NO_SUCH_PROPERTY


def _property(node: Node, declared: PropertyDescription, lock: RefusalReason | None) -> OfferedControl:
    subject = f"{node.device.id}/{node.id}/{declared.id}"
    return offer(Control.PROPERTY, subject, (node, declared.id, lock), declared)


# --- flat -------------------------------------------------------------------------------------------------------------


def _flat_controls(panel: Device) -> Iterator[OfferedControl]:
    for circuit, node in _flat_circuits(panel).items():
        for control, name in ((Control.RELAY, "relay"), (Control.PRIORITY, "shed-priority")):
            yield from _flat(control, circuit, node, name, _flat_lock(node, *_FLAGS[name]))
    for node in panel.nodes_of_type(NodeType.CORE)[:1]:
        yield from _flat(Control.DOMINANT_POWER_SOURCE, panel.id, node, "dominant-power-source", None)
    for key, node in flat_charger_keys(panel.nodes_of_type(NodeType.EVSE)).items():
        declared = node.declared("user-max-charge-current")  # in its own description: r202627 on
        if declared is not None:
            ceiling = whole(node.values.get("max-charge-current"))
            yield offer(Control.CHARGE_LIMIT, key, (node, declared.id, _settable(declared)), declared, ceiling)
        connector = node.declared("lock-state")
        if connector is not None and connector.settable:  # of most firmware a reading, and no control that is locked
            yield offer(Control.CHARGER_LOCK, key, (node, connector.id, None), connector)


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
        found = offer(control, subject, (node, name, lock or _settable(declared)), declared)
        yield attrs.evolve(found, reaches=(subject,)) if control in _OF_CIRCUITS else found


def _flat_properties(panel: Device) -> Iterator[OfferedControl]:
    for node in panel.nodes.values():
        described = None if node.description is None else node.description.properties
        for declared in (described or {}).values():
            locks = _FLAGS.get(declared.id) if node.type == NodeType.CIRCUIT else None
            lock = None if locks is None else _flat_lock(node, *locks)
            yield _property(node, declared, lock or _settable(declared))


def _flat_lock(node: Node, name: str, reason: RefusalReason) -> RefusalReason | None:
    return None if _permits(node, name, when=False) else reason


def _permits(node: Node, name: str, *, when: bool) -> bool:
    """Whether a flag, if there is one, says what permits; one that cannot be read does not, however it is declared."""
    value = node.values.get(name)
    return name not in node.unreadable and (value is None or flag(value) is when)


def _settable(declared: PropertyDescription) -> RefusalReason | None:
    return None if declared.settable else RefusalReason.NOT_SETTABLE


# --- parent/child -----------------------------------------------------------------------------------------------------


def _child_controls(parts: Sequence[Part], root: str) -> Iterator[OfferedControl]:
    for part in parts:
        if part.kind is Kind.CIRCUIT:
            yield from _child(Control.RELAY, part.id, part, ("switch", "relay"))
            yield from _child(Control.PRIORITY, part.id, part, ("load-shed", "priority"))
    yield from _child(Control.ISLANDING, root, parts[0], ("shed", "asserted-islanding-state"))
    for key, part in charger_keys([part for part in parts if part.kind is Kind.EVSE]).items():
        capability, ceiling, limit = charge_limit_names(part)
        yield from _child(Control.CHARGE_LIMIT, key, part, (capability, limit), whole(part.value(capability, ceiling)))
        if part.settable("switch", "lock-state"):
            yield from _child(Control.CHARGER_LOCK, key, part, ("switch", "lock-state"))


def _child_properties(parts: Iterable[Part]) -> Iterator[OfferedControl]:
    for part in parts:
        for found in properties(part):
            lock = _lock(part, found.node, found.declared)
            yield _property(found.node, found.declared, lock)


def _child(
    control: Control, subject: str, part: Part, path: tuple[str, str], ceiling: int | None = None
) -> Iterator[OfferedControl]:
    capability, name = path
    node, declared = part.nodes.get(capability), part.declared(capability, name)
    if node is not None and declared is not None:
        yield offer(control, subject, (node, name, _lock(part, node, declared)), declared, ceiling)


def _lock(part: Part, node: Node, declared: PropertyDescription) -> RefusalReason | None:
    if not part.here:
        return RefusalReason.AWAY
    if part.kind is Kind.OUTSIDE:  # it measures, and nothing else
        return RefusalReason.NOT_CONTROLLABLE
    # A declaration may be stale after recommissioning: either may say no (section 4).
    if declared.id == "relay" and not _permits(node, "relay-controllable", when=True):
        return RefusalReason.NOT_CONTROLLABLE
    return _settable(declared)


def _is_there(forest: Forest, root: str, model: DataModel, subject: str) -> bool:
    """Whether whoever is meant exists, and merely has no such control."""
    if model is DataModel.PARENT_CHILD:
        parts = parts_of(forest, root)
        chargers = charger_keys([part for part in parts if part.kind is Kind.EVSE])
        return subject in chargers or subject in {part.id for part in parts if part.kind in _CIRCUITS}
    panel = forest.devices[root]
    return subject in _flat_circuits(panel) or subject in flat_charger_keys(panel.nodes_of_type(NodeType.EVSE))
