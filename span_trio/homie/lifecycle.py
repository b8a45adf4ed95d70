"""The lifecycle of a device, and whether its values can be believed (convention, "Device Lifecycle").

The five values of ``$state`` say what a device is doing. They do not say whether the values that we hold are still its
own, and that takes memory: a publisher that was ``lost`` and says ``ready`` again may not have republished one of
hundreds of retained values of its previous life (recorded: 454 of them). Hence one more machine, driven by
`TRANSITIONS` and by nothing else:

* `Lifecycle.AWAY`, `Lifecycle.RETURNING` and `Lifecycle.SETTLING` are the states in which the values of before are
  *unconfirmed*.
* Only `Event.CONFIRMED` leads from `Lifecycle.SETTLING` to `Lifecycle.READY`. It is raised when every value of before
  has been published again, or cleared, or when a stated time has passed (firmware from r202639 on does not resend what
  did not change).
* ``init`` and ``sleeping`` alone do not make values unconfirmed: a reconfiguration keeps them, and clearing them showed
  as counters that dip to zero (span-panel-api 2.5.2 to 2.5.4).
* A ``$state`` that Homie 5 does not know (``alert`` of v3, a typing error) is not ready; nothing else follows from it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "UNCONFIRMED", "DeviceState", "Event", "Lifecycle", "effective_state", "event_of_state"]


class DeviceState(enum.StrEnum):
    """The values of ``$state``."""

    INIT = "init"
    READY = "ready"
    DISCONNECTED = "disconnected"
    SLEEPING = "sleeping"
    LOST = "lost"


class Lifecycle(enum.Enum):
    """What a device's ``$state``, and its history, make of it."""

    UNKNOWN = "no valid $state yet"
    PAUSED = "not ready; values stay valid"
    READY = "ready; values are its own"
    AWAY = "gone; values are of before"
    RETURNING = "announced again, not ready; values are of before"
    SETTLING = "ready again; values are of before until confirmed"


class Event(enum.Enum):
    """What drives the lifecycle."""

    PAUSE = "init, sleeping, or a text that is no state"
    READY = "ready"
    LEAVE = "lost or disconnected"
    DELETE = "a zero-length $state: the device no longer exists"
    CONFIRMED = "every value of before was published again, or the settle time has passed"


UNCONFIRMED: Final = frozenset({Lifecycle.AWAY, Lifecycle.RETURNING, Lifecycle.SETTLING})

_L, _E = Lifecycle, Event
_GONE: Final = {_E.LEAVE: _L.AWAY, _E.DELETE: _L.AWAY}
TRANSITIONS: Final[Mapping[Lifecycle, Mapping[Event, Lifecycle]]] = {
    _L.UNKNOWN: {_E.PAUSE: _L.PAUSED, _E.READY: _L.READY, _E.LEAVE: _L.AWAY, _E.DELETE: _L.UNKNOWN},
    _L.PAUSED: {_E.PAUSE: _L.PAUSED, _E.READY: _L.READY, **_GONE},
    _L.READY: {_E.PAUSE: _L.PAUSED, _E.READY: _L.READY, **_GONE},
    _L.AWAY: {_E.PAUSE: _L.RETURNING, _E.READY: _L.SETTLING, **_GONE},
    _L.RETURNING: {_E.PAUSE: _L.RETURNING, _E.READY: _L.SETTLING, **_GONE},
    _L.SETTLING: {_E.PAUSE: _L.RETURNING, _E.READY: _L.SETTLING, **_GONE, _E.CONFIRMED: _L.READY},
}
"""Every transition there is. `Event.CONFIRMED` means something only while settling."""

_EVENTS: Final[Mapping[str, Event]] = {
    DeviceState.READY: Event.READY,
    DeviceState.LOST: Event.LEAVE,
    DeviceState.DISCONNECTED: Event.LEAVE,
    "": Event.DELETE,
}


def event_of_state(text: str) -> Event:
    """The event that a ``$state`` payload is; the empty text is its deletion."""
    return _EVENTS.get(text, Event.PAUSE)


def effective_state(own: str | None, root: str | None) -> str | None:
    """The effective state of a child: its own, unless the root is lost (convention: only ``lost`` cascades)."""
    return root if root == DeviceState.LOST else own
