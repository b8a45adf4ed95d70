"""A panel's devices on its broker: how they announce themselves, change and leave. No clock, no house.

The rules of this room (facts on 1.x, sections 4 and 6; Homie sections 5, 7 and 11):

* A device says ``init``, its description, its values, ``ready``: children before their parents, the panel last.
* A description changes between ``init`` and ``ready`` only.
* A device that goes is first without ``$state``, then without everything else.
* Of a device that is away nothing is published: what it said last stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..homie import DeviceState
from .broker import Broker
from .publishing import Publisher, TreeChange

__all__ = ["DOMAIN", "Announcer"]

DOMAIN: Final = "ebus"
_BASE: Final = f"{DOMAIN}/5/"


class Announcer:
    """Puts what a publisher tells on a broker.

    Args:
        broker: the panel's.
        publisher: of its firmware; may be another later.

    Attributes:
        away: the devices that are, by id.
    """

    def __init__(self, broker: Broker, publisher: Publisher) -> None:
        self.publisher = publisher
        self.away: set[str] = set()
        self._broker: Final = broker

    def publish(self, device: str, suffix: str, payload: bytes, *, retain: bool = True) -> None:
        """Publish anything below a device."""
        self._broker.publish(f"{_BASE}{device}/{suffix}", payload, retain=retain)

    def set_state(self, device: str, text: str) -> None:
        """Publish a ``$state``."""
        self.publish(device, "$state", text.encode())

    def owner(self, topic: str) -> tuple[str, str] | None:
        """The device of the panel's that a topic belongs to, and what follows; ``None``: it belongs to none."""
        device, _, rest = topic.removeprefix(_BASE).partition("/")
        if not topic.startswith(_BASE) or device not in self.publisher.devices:
            return None
        return device, rest

    def split(self, values: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
        """Values by device, as the publisher tells them."""
        found: dict[str, dict[str, bytes]] = {}
        for topic, payload in values.items():
            device, _, suffix = f"{self.publisher.prefix}{topic}".partition("/")
            found.setdefault(device, {})[suffix] = payload
        return found

    def send(self, values: Mapping[str, bytes]) -> None:
        """Publish values, but for those of devices that are away."""
        for topic, payload in values.items():
            full = f"{self.publisher.prefix}{topic}"
            if not self.away or full.partition("/")[0] not in self.away:
                self._broker.publish(f"{_BASE}{full}", payload, retain=True)

    # --- announcements ---

    def announce(self, device: str, description: str, values: Mapping[str, bytes], *, init: bool = True) -> None:
        """One device says what it is, and that it is there."""
        if init:
            self.set_state(device, DeviceState.INIT)
        self.publish(device, "$description", description.encode())
        for suffix, payload in values.items():
            self.publish(device, suffix, payload)
        self.set_state(device, DeviceState.READY)

    def announce_all(self, *, init: bool = True, without: Iterable[str] = ()) -> None:
        """All devices say what they are, but for some values (whole topics, as the publisher tells them)."""
        self.away.clear()
        left_out = set(without)
        told = {topic: payload for topic, payload in self.publisher.values().items() if topic not in left_out}
        values = self.split(told)
        for device, description in self.publisher.descriptions().items():
            self.announce(device, description, values.get(device, {}), init=init)

    def change(self, change: TreeChange) -> None:
        """Devices are new, are described anew, or are gone; and what else has changed."""
        values = self.split(self.publisher.changes())
        for device, description in change.described.items():
            told = values.pop(device, {})
            if device not in self.away:
                self.announce(device, description, told)
        for device, told in values.items():
            if device not in self.away:
                for suffix, payload in told.items():
                    self.publish(device, suffix, payload)
        for device in change.gone:
            self.away.discard(device)
            self.remove(device)

    def remove(self, device: str) -> None:
        """Delete whatever is retained below a device, its ``$state`` first."""
        prefix = f"{_BASE}{device}/"
        topics = sorted(topic for topic in self._broker.retained if topic.startswith(prefix))
        for topic in sorted(topics, key=lambda topic: topic != f"{prefix}$state"):
            self._broker.publish(topic, b"", retain=True)

    def clear_values(self, devices: Iterable[str]) -> None:
        """Delete every retained value of these devices; their attributes stay."""
        for topic in self._value_topics(devices):
            self._broker.publish(topic, b"", retain=True)

    def _value_topics(self, devices: Iterable[str]) -> list[str]:
        prefixes = tuple(f"{_BASE}{device}/" for device in devices)
        return [topic for topic in self._broker.retained if topic.startswith(prefixes) and "/$" not in topic]

    # --- children that are away ---

    def leave(self, device: str, state: str) -> None:
        """A child is away; nothing of it is published from now on but this."""
        self.set_state(device, state)
        self.away.add(device)

    def come_back(self, device: str) -> None:
        """A child is back, and says everything anew."""
        self.away.discard(device)
        self.send(self.publisher.changes())  # so that nobody misses what `values` takes for told
        values = self.split(self.publisher.values()).get(device, {})
        left_over = dict.fromkeys(self._value_topics([device]), b"")
        cleared = {topic.removeprefix(f"{_BASE}{device}/"): payload for topic, payload in left_over.items()}
        self.announce(device, self.publisher.descriptions()[device], {**cleared, **values})
