"""What all firmware has in common when it publishes a house: what a panel asks of a publisher, and bursts. Pure.

The rules of this room:

* A publisher says what a panel's devices are and what their values are; who sends it, and when, is `panel`'s business.
* A burst is cheap: meters are compared as numbers, everything else only when the house's revision has moved.
* What is no longer there is said by an empty payload, once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from ..house.house import House
from ..house.meters import Readings
from ..house.switchboard import CommandResult
from .controls import Setting

__all__ = [
    "SDK_HABITS",
    "Burst",
    "Habits",
    "Publisher",
    "Release",
    "TreeChange",
    "Values",
    "as_json",
    "encode",
    "topics_of",
]


class Release(Protocol):
    """A build of firmware, as far as a panel needs to know."""

    @property
    def build(self) -> int:
        """Its number."""
        ...

    @property
    def firmware(self) -> str:
        """The version as the panel tells it."""
        ...

    @property
    def goodbye(self) -> str:
        """The ``$state`` of the panel after a clean shutdown."""
        ...

    @property
    def limits_publishers(self) -> bool:
        """Whether the broker drops what clients publish elsewhere than to ``…/set``."""
        ...

    @property
    def keeps_retained(self) -> bool:
        """Whether retained values survive a restart of the service."""
        ...

    @property
    def fixes_sources(self) -> bool:
        """Whether the circuits of inverters and battery are locked."""
        ...

    @property
    def tells_hardware(self) -> bool:
        """Whether the REST API's ``/status`` tells the hardware version."""
        ...


@attrs.frozen(kw_only=True)
class Habits:
    """What panels do in one way or another. Without arguments: as earlier hardware does.

    Attributes:
        hashed_versions: the version of a description comes from a hash of its content: equal for equal content, and not
            increasing; else it is the time, ms.
        all_say_goodbye: at a clean end every device says so, descendants first; else the panel alone does.
        parent_again: when its children have been announced, the panel announces itself a second time.
        strict_commands: a retained command is ignored, and a number that is out of its range too; else such a number is
            brought into it.
    """

    hashed_versions: bool = False
    all_say_goodbye: bool = False
    parent_again: bool = False
    strict_commands: bool = False


SDK_HABITS: Final = Habits(hashed_versions=True, all_say_goodbye=True, parent_again=True, strict_commands=True)
"""Of ebus-sdk 0.27, as panels of hardware 3.0 have them here."""


@attrs.frozen
class TreeChange:
    """What has become of a panel's devices.

    Attributes:
        described: those that are new or described anew, with their descriptions; children before their parents.
        gone: those that are no more.
    """

    described: Mapping[str, str]
    gone: Sequence[str]


class Publisher(Protocol):
    """How a house is published."""

    @property
    def release(self) -> Release:
        """The build of the firmware."""
        ...

    @property
    def habits(self) -> Habits:
        """How it announces its devices and hears commands."""
        ...

    @property
    def device_id(self) -> str:
        """The panel's own Homie device."""
        ...

    @property
    def prefix(self) -> str:
        """What stands between ``ebus/5/`` and the topics of `values` and of all else."""
        ...

    @property
    def devices(self) -> Collection[str]:
        """The ids of all devices."""
        ...

    def descriptions(self) -> Mapping[str, str]:
        """Every device and its ``$description``; children before their parents, the panel last."""
        ...

    def values(self) -> dict[str, bytes]:
        """Everything that is to be retained: topic -> payload. `changes` goes on from here."""
        ...

    def changes(self) -> dict[str, bytes]:
        """What is different from what was returned last by this or `values`; at first, everything."""
        ...

    def refresh(self, *, keep: Iterable[str] = ()) -> TreeChange:
        """Describe the house as it is now; what is described as before keeps its description.

        Args:
            keep: devices whose descriptions stay as they are, whatever has changed.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """The answer to ``GET /api/v2/homie/schema``; yours to keep."""
        ...

    def setting(self, topic: str) -> Setting | None:
        """What ``<topic>/set`` sets; ``None``: nothing."""
        ...

    def judge(self, topic: str, payload: bytes) -> CommandResult:
        """What `command` would answer as things stand. Changes nothing."""
        ...

    def command(self, topic: str, payload: bytes) -> CommandResult:
        """Somebody has published to ``<topic>/set``. Whatever comes of it shows in the next `changes`."""
        ...

    def repeat(self, topic: str) -> None:
        """Tell a value that can be set again with the next `changes`, though it has not changed."""
        ...


def encode(value: str | bool | float) -> bytes:
    """A payload; the empty string is one zero byte, since an empty payload would be none."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode() or b"\x00"


def as_json(document: Mapping[str, Any]) -> str:
    """A description as firmware writes it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def topics_of(owners: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, bytes]]:
    """Topics and payloads of what belongs to a node or a device; what is ``None`` is not published."""
    for owner, values in owners:
        for name, value in values.items():
            if value is not None:
                yield f"{owner}/{name}", encode(value)


class Values(Protocol):
    """What a house shows."""

    @property
    def topics(self) -> Sequence[str]:
        """Of the meters."""
        ...

    @property
    def due(self) -> float:
        """When `states` will be different without a change in the house, Unix s."""
        ...

    def read(self, now: Readings) -> list[float]:
        """What the meters show, in the order of `topics`."""
        ...

    def states(self) -> Iterable[tuple[str, bytes]]:
        """Everything else: topics and payloads."""
        ...


class Burst:
    """What of a house is different from what was published last.

    Args:
        house: what is published.
        values: as firmware shows it.
        whole_nodes: when one reading of a node has changed, all of them are sent.
    """

    def __init__(self, house: House, values: Values, *, whole_nodes: bool = False) -> None:
        self._house: Final = house
        self._values: Final = values
        self._topics: Final = values.topics
        self._peers: Final = _peers(self._topics) if whole_nodes else None
        self._meters: list[float] = []
        self._states: dict[str, bytes] = {}
        self._revision: int | None = None
        self._pending: dict[str, bytes] = {}
        self._again: list[str] = []

    def values(self) -> dict[str, bytes]:
        """Everything."""
        self._pending, self._again = {}, []
        self._meters = self._values.read(self._house.read())
        self._renew()
        return {**self._states, **self._shown(range(len(self._topics)))}

    def changes(self) -> dict[str, bytes]:
        """What is different since this or `values` was asked; at first, everything."""
        if self._revision is None and not self._meters and not self._states:
            return self.values()
        meters, before = self._values.read(self._house.read()), self._meters
        moved = [i for i, (value, old) in enumerate(zip(meters, before, strict=True)) if value != old]
        if self._peers is not None:
            moved = sorted({peer for i in moved for peer in self._peers[i]})
        self._meters = meters
        changed, self._pending = self._pending, {}
        if self._house.revision != self._revision or self._house.now >= self._values.due:
            old_states = self._renew()
            changed |= dict.fromkeys(old_states.keys() - self._states.keys(), b"")
            changed |= {topic: payload for topic, payload in self._states.items() if old_states.get(topic) != payload}
        changed |= self._shown(moved)
        again, self._again = self._again, []
        return changed | {topic: self._states[topic] for topic in again if topic in self._states}

    def _renew(self) -> Mapping[str, bytes]:
        """Look at the states again; returns those of before."""
        self._revision = self._house.revision
        before, self._states = self._states, dict(self._values.states())
        return before

    def _shown(self, indices: Iterable[int]) -> dict[str, bytes]:
        return {self._topics[i]: repr(self._meters[i]).encode() for i in indices}

    def touch(self) -> None:
        """Something besides the house has changed."""
        self._revision = None

    def repeat(self, topic: str) -> None:
        """Send a state again with the next `changes`, though it has not changed."""
        self._again.append(topic)

    def succeed(self, other: Burst, gone: Sequence[str]) -> None:
        """Go on from where another burst was, but for devices that are gone.

        Args:
            other: with other topics.
            gone: how the topics begin of which nothing is to be said.
        """
        if not other._meters:  # of which nothing was ever asked
            return
        shown = dict(zip(other._topics, other._meters, strict=True))
        self._meters = [shown.get(topic, math.nan) for topic in self._topics]
        self._pending = {topic: b"" for topic in shown.keys() - set(self._topics) if not topic.startswith(tuple(gone))}
        self._states = {topic: value for topic, value in other._states.items() if not topic.startswith(tuple(gone))}


def _peers(topics: Sequence[str]) -> Sequence[Sequence[int]]:
    """For each topic, the indices of its node's."""
    nodes: dict[str, list[int]] = {}
    for i, topic in enumerate(topics):
        nodes.setdefault(topic.rpartition("/")[0], []).append(i)
    return [nodes[topic.rpartition("/")[0]] for topic in topics]
