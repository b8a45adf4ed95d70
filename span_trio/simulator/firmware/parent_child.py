"""A house as firmware of data model 1.x publishes it (r202633, r202639): descriptions, values, commands, schema. Pure.

The rules of this room:

* Topics are relative to ``ebus/5/`` (``<device>/door/state``): every device is a peer of the panel on the wire.
* Which devices there are is `parent_child_tree`'s business, what they show `parent_child_values`', what they declare
  `parent_child_schema`'s.
* What a build does otherwise is said in `ParentChildRelease`; the house knows no builds.
* A description changes when what it says has changed, and its version goes up with it; on hardware 3.0 it comes from a
  hash of what is said, and is another one.
* What hardware 3.0 declares and shows beyond that is in `hardware3_schema` and `hardware3_values`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from ...enums import Control, ShedPriority
from ...errors import SpanPanelValidationError
from ..house.house import House
from ..house.switchboard import NO_SUCH, Answer, CommandResult
from .controls import Setting, judge, obey
from .flat_schema import schema_hash
from .hardware3_schema import OUTSIDE, hardware_3_classes
from .parent_child_schema import DATA_MODEL_VERSION, ParentChildRelease, device_classes, parent_child_release
from .parent_child_tree import BESS, PANEL, DeviceTree, TreeDevice, describe, tree_of
from .parent_child_values import DeviceValues
from .publishing import SDK_HABITS, Burst, Habits, TreeChange, as_json

__all__ = ["ParentChildPublisher"]

_SETTABLE: Final[Mapping[tuple[str, str], Control]] = {
    ("circuit", "switch/relay"): Control.RELAY,
    ("circuit", "load-shed/priority"): Control.PRIORITY,
    ("distribution-enclosure", "shed/asserted-islanding-state"): Control.ISLANDING,
    ("evse", "config/user-max-charge-current"): Control.CHARGE_LIMIT,
}
"""By class and path (facts, section 4)."""
_SETTABLE_ON_3: Final = {**_SETTABLE, ("evse", "switch/lock-state"): Control.CHARGER_LOCK}
"""Likewise, on hardware 3.0."""
_BARE: Final = ("type", "children", "root", "parent")


class ParentChildPublisher:
    """Publishes a house as firmware of data model 1.x does.

    Args:
        house: what is published. Other publishers may publish it as well.
        build: of the firmware; see `RELEASES`.
        bare: describe nothing but types, relatives, and nodes with their types.

    Attributes:
        release: what this build is like.
        habits: how it announces its devices.
        device_id: the panel's Homie device.
        prefix: of all topics: none.
        tree: the devices.

    Raises:
        SpanPanelValidationError: there is no such build.
    """

    def __init__(self, house: House, build: int = 202639, *, bare: bool = False) -> None:
        self.release: Final[ParentChildRelease] = parent_child_release(build)
        self.device_id: Final = house.spec.device_id
        self.prefix: Final = ""
        self._house: Final = house
        self._bare: Final = bare
        self.habits: Final = SDK_HABITS if house.spec.hardware_3 else Habits()
        classes = device_classes(house.spec.model_name)
        self._classes: Final = hardware_3_classes(classes) if house.spec.hardware_3 else classes
        self._withdrawn: dict[str, str] = {}  # id -> key
        self._away: set[str] = set()
        self._full_since: dict[str, float] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self.tree: DeviceTree = self._arrange(())
        self._burst = self._begin()

    # --- the tree -----------------------------------------------------------------------------------------------------

    def _arrange(self, keep: Iterable[str]) -> DeviceTree:
        """See what devices there are, and describe them."""
        house = self._house
        tree = tree_of(house, self.release, set(self._withdrawn.values()))
        before, self._documents = self._documents, {}
        for device in reversed([*tree.devices.values()]):
            document = describe(device, tree, self._classes[device.kind], house)
            old = before.get(device.id, document)
            same = device.id in keep or document == {**old, "version": 0}
            if document is not old and same:
                document = old
            else:
                document["version"] = (
                    _content_version(document)
                    if self.habits.hashed_versions
                    else max(int(house.now * 1000), old["version"] + 1)
                )
            self._documents[device.id] = document
        return tree

    def _begin(self) -> Burst:
        values = DeviceValues(self._house, self.release, self.tree, self._away, self._full_since)
        return Burst(self._house, values, whole_nodes=self.release.resends)

    @property
    def devices(self) -> Collection[str]:
        """As `Publisher.devices`."""
        return self._documents.keys()

    def descriptions(self) -> Mapping[str, str]:
        """As `Publisher.descriptions`."""
        return {device: self._text(document) for device, document in self._documents.items()}

    def _text(self, document: Mapping[str, Any]) -> str:
        if not self._bare:
            return as_json(document)
        nodes = {node: {"type": declared["type"]} for node, declared in document["nodes"].items()}
        return as_json({key: document[key] for key in _BARE if key in document} | {"nodes": nodes})

    def refresh(self, *, keep: Iterable[str] = ()) -> TreeChange:
        """As `Publisher.refresh`."""
        before = self._documents
        self.tree = self._arrange(keep)
        gone = [device for device in before if device not in self._documents]
        burst = self._begin()
        burst.succeed(self._burst, [f"{device}/" for device in gone])
        self._burst = burst
        self._away.difference_update(gone)
        changed = {
            device: self._text(document)
            for device, document in self._documents.items()
            if document is not before.get(device)
        }
        return TreeChange(changed, gone)

    def withdraw(self, device_id: str) -> None:
        """A device is decommissioned; `refresh` acts on it.

        Raises:
            SpanPanelValidationError: there is no such child.
        """
        self._withdrawn[device_id] = self.child(device_id).key

    def commission(self, device_id: str) -> None:
        """A device that was withdrawn is commissioned again; `refresh` acts on it.

        Raises:
            SpanPanelValidationError: it was not.
        """
        if device_id not in self._withdrawn:
            raise SpanPanelValidationError(f"{device_id!r} is no child that was removed")
        del self._withdrawn[device_id]

    def child(self, device_id: str) -> TreeDevice:
        """A device that is not the panel itself.

        Raises:
            SpanPanelValidationError: there is no such child.
        """
        device = self.tree.by_id.get(device_id)
        if device is None or device.key == PANEL:
            raise SpanPanelValidationError(f"there is no child {device_id!r}")
        return device

    def set_away(self, device_id: str, *, away: bool) -> None:
        """Whether the panel does not hear a device, which the record of its connection says.

        Raises:
            SpanPanelValidationError: there is no such child.
        """
        (self._away.add if away else self._away.discard)(self.child(device_id).id)
        self._burst.touch()

    def schema(self) -> dict[str, Any]:
        """As `Publisher.schema`."""
        classes = json.loads(json.dumps({kind: found for kind, found in self._classes.items() if kind != OUTSIDE}))
        return {
            "firmwareVersion": self.release.firmware,
            "homieDomain": "ebus",
            "homieVersion": 5,
            "dataModelVersion": DATA_MODEL_VERSION,
            "deviceClassesSchemaHash": schema_hash(classes),
            "deviceClasses": classes,
        }

    # --- values -------------------------------------------------------------------------------------------------------

    def values(self) -> dict[str, bytes]:
        """As `Publisher.values`."""
        return self._burst.values()

    def changes(self) -> dict[str, bytes]:
        """As `Publisher.changes`."""
        return self._burst.changes()

    # --- commands -----------------------------------------------------------------------------------------------------

    def setting(self, topic: str) -> Setting | None:
        """As `Publisher.setting`."""
        name, _, rest = topic.partition("/")
        device = self.tree.by_id.get(name)
        settable = _SETTABLE_ON_3 if self._house.spec.hardware_3 else _SETTABLE
        control = None if device is None else settable.get((device.kind, rest))
        if device is None or control is None or (control is Control.ISLANDING and BESS not in self.tree.devices):
            return None
        if control in {Control.CHARGE_LIMIT, Control.CHARGER_LOCK}:
            return Setting(control, self._house.spec.evse[device.index].node_id)
        return Setting(control, "" if control is Control.ISLANDING else device.id)

    def judge(self, topic: str, payload: bytes) -> CommandResult:
        """As `Publisher.judge`."""
        setting = self.setting(topic)
        if setting is None:
            return NO_SUCH
        if topic.partition("/")[0] in self._away:
            return CommandResult(Answer.AWAY)
        if setting.of in self.tree.fixed:
            circuit = self._house.by_id[setting.of]
            shown = circuit.relay if setting.control is Control.RELAY else ShedPriority.NEVER
            return CommandResult(Answer.LOCKED, shown)
        result = judge(self._house, setting, payload.decode(errors="replace"))
        if result.answer is Answer.CLAMPED and self.habits.strict_commands:
            limit = self._house.chargers[setting.of].limit_a
            return CommandResult(Answer.INVALID, "" if limit is None else str(limit))
        return result

    def command(self, topic: str, payload: bytes) -> CommandResult:
        """As `Publisher.command`."""
        setting, result = self.setting(topic), self.judge(topic, payload)
        if setting is not None and result.accepted:
            obey(self._house, setting, payload.decode())
            if self.release.resends:
                self.repeat(topic)
        return result

    def repeat(self, topic: str) -> None:
        """As `Publisher.repeat`."""
        self._burst.repeat(topic)


def _content_version(document: Mapping[str, Any]) -> int:
    """A version that is equal for equal content; small enough to be exact as a number in any JSON reader."""
    return int(hashlib.sha256(as_json(document).encode()).hexdigest()[:13], 16)
