"""Which filters to subscribe to, one request at a time, so that every replay is known to be whole.

The rules of this room:

* Every device of the tree is subscribed to by itself (``<domain>/5/<device>/#``): foreign trees on a shared broker are
  never asked for, and each device's replay has a barrier of its own. Children go in batches.
* A broker that drops what it cannot queue (mosquitto beyond 1,000 packets a client) drops the barrier too. So a barrier
  that did not come means: ask again for less at a time, a device alone, then its attributes and its nodes in groups,
  each half as large as the one that failed.
* A broker that never shows a barrier is believed when it is quiet, and that is counted in ``assumed``.
* The descriptions of all devices on the broker are asked for once, by themselves: whose a device is cannot be told from
  its own alone. That cannot be narrowed, and is believed when the broker is quiet.
* A device subscribed to by nodes is asked for the nodes that its description grows later.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from .forest import Forest
from .topics import VERSION, description_topic, device_filter

__all__ = ["Request", "SubscriptionPlan"]

BATCH: Final = 20  # devices or nodes a request: at about twenty topics each under 500, half of what mosquitto queues


class Request(NamedTuple):
    """Subscribe to ``filters`` with a barrier behind them, after unsubscribing from ``drop``."""

    filters: tuple[str, ...]
    drop: tuple[str, ...] = ()
    may_be_refused: bool = False
    """Whether to go on without it, where the broker does not grant it."""


class _Stage(enum.Enum):
    WATCH = "the descriptions of all devices"
    WHOLE = "devices, each whole"
    ATTRIBUTES = "one device's attributes"
    NODES = "some nodes of one device"
    QUIET = "one device whole, believed when quiet"


class _Step(NamedTuple):
    stage: _Stage
    devices: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class SubscriptionPlan:
    """The subscriptions of one epoch. At most one request is outstanding."""

    def __init__(self, domain: str) -> None:
        self.domain: Final = domain
        self.assumed: int = 0
        """How many requests were taken as complete because the broker was quiet."""
        self.watched: bool = False
        """Whether the descriptions of all devices have been replayed."""
        self._wanted: deque[str] = deque()
        self._steps: deque[_Step] = deque()
        self._narrow: dict[str, set[str]] = {}  # device subscribed to by nodes -> those nodes
        self._batches: dict[str, int] = {}  # how many nodes at a time, where `BATCH` was too many
        self._watches = False
        self._outstanding: _Step | None = None
        self._in_vain: set[str] = set()  # asked for by nodes in vain: to be believed when quiet, and not before

    def want(self, devices: Iterable[str]) -> None:
        """Subscribe to these devices, not wanted before."""
        self._wanted.extend(devices)

    def watch(self) -> None:
        """Subscribe to the descriptions of all devices, if that was not asked for yet."""
        if not self._watches:
            self._watches = True
            self._steps.append(_Step(_Stage.WATCH))

    @property
    def watches_all(self) -> bool:
        """Whether the descriptions of all devices are subscribed to, or have been."""
        return self.watched or (self._outstanding is not None and self._outstanding.stage is _Stage.WATCH)

    def asks_for(self, device: str, forest: Forest) -> bool:
        """Whether a request for it is outstanding, or still to come."""
        steps = self._steps if self._outstanding is None else (self._outstanding, *self._steps)
        return (
            device in self._wanted or any(device in step.devices for step in steps) or not self.covers(device, forest)
        )

    def forget(self, device: str) -> None:
        """It will be wanted again, from the beginning."""
        self._narrow.pop(device, None)
        self._in_vain.discard(device)

    def next(self, forest: Forest) -> Request | None:
        """The next request, if none is outstanding and there is one. ``forest`` is what is known so far."""
        if self._outstanding is not None:
            return None
        step = self._next_step(forest)
        self._outstanding = step
        return None if step is None else self._request(step)

    def passed(self, forest: Forest) -> tuple[str, ...]:
        """The barrier of the outstanding request came. Returns the devices whose replay is complete now."""
        step = self._take()
        self.watched = self.watched or step.stage is _Stage.WATCH
        self._in_vain.difference_update(step.devices)
        if step.stage in {_Stage.ATTRIBUTES, _Stage.NODES}:
            device = step.devices[0]
            self._narrow.setdefault(device, set()).update(step.nodes)
            if not self.covers(device, forest):
                return ()
        return step.devices

    def failed(self) -> tuple[str, ...]:
        """The barrier did not come, though the broker was quiet. Returns the devices to be taken as complete."""
        step = self._take()
        if step.stage is _Stage.WATCH:
            self.watched = True
            self.assumed += 1
            return ()
        device = step.devices[0]
        if step.stage is _Stage.QUIET:
            self.assumed += 1
            self._in_vain.difference_update(step.devices)
            return step.devices
        if step.stage is _Stage.WHOLE and len(step.devices) > 1:
            self._steps.extend(_Step(_Stage.WHOLE, (one,)) for one in step.devices)
        elif step.stage is _Stage.WHOLE:
            self._steps.append(_Step(_Stage.ATTRIBUTES, step.devices))
        elif len(step.nodes) > 1:
            self._batches[device] = len(step.nodes) // 2
        else:
            self._narrow.pop(device, None)
            self._in_vain.add(device)
            self._steps.append(_Step(_Stage.QUIET, step.devices))
        return ()

    def covers(self, device: str, forest: Forest) -> bool:
        """Whether a device that was complete is so still; one subscribed to by nodes may have grown others."""
        return device not in self._in_vain and (device not in self._narrow or not self._uncovered(device, forest))

    def covered(self, forest: Forest) -> list[str]:
        """The devices subscribed to by nodes of which nothing more is to be asked: it may have been described away."""
        return [device for device in self._narrow if not self.asks_for(device, forest)]

    def _take(self) -> _Step:
        step, self._outstanding = self._outstanding, None
        if step is None:
            raise RuntimeError("no request is outstanding")
        return step

    def _uncovered(self, device: str, forest: Forest) -> tuple[str, ...]:
        """The nodes of a device subscribed to by nodes that are described and not subscribed to yet."""
        found = forest.devices.get(device)
        return tuple(node for node in (found.described if found else ()) if node not in self._narrow[device])

    def _next_step(self, forest: Forest) -> _Step | None:
        for device in self._narrow:
            nodes = self._uncovered(device, forest)
            if nodes:
                return _Step(_Stage.NODES, (device,), nodes[: self._batches.get(device, BATCH)])
        if self._steps:
            return self._steps.popleft()
        if not self._wanted:
            return None
        batch = tuple(self._wanted.popleft() for _ in range(min(BATCH, len(self._wanted))))
        return _Step(_Stage.WHOLE, batch)

    def _request(self, step: _Step) -> Request:
        if step.stage is _Stage.WATCH:
            return Request((description_topic(self.domain, "+"),), may_be_refused=True)
        first, *_ = step.devices
        whole = tuple(device_filter(self.domain, device) for device in step.devices)
        base = f"{self.domain}/{VERSION}/{first}"
        match step.stage:
            case _Stage.ATTRIBUTES:
                return Request((f"{base}/+", f"{base}/$alert/+", f"{base}/$log/+"), drop=whole)
            case _Stage.NODES:
                return Request(tuple(f"{base}/{node}/#" for node in step.nodes))
            case _:
                return Request(whole)
