"""A panel's devices on its broker: how they announce themselves, change and leave. No clock, no house.

The rules of this room (facts on 1.x, sections 4 and 6; Homie sections 5, 7 and 11):

* A device says ``init``, its description, its values, ``ready``: children before their parents, the panel last.
* A description changes between ``init`` and ``ready`` only.
* A device that goes is first without ``$state``, then without its values and alerts, and at last without its
  ``$description``; its parent has announced itself without it before, its descendants go before it.
* What a publisher does otherwise in all this are its `Habits`.
* Of a device that is away nothing is published: what it said last stays.
* All or nothing (Homie section 10): with ``targets``, each value that can be set comes behind its ``$target``, always;
  without, never. The ``$target`` is what a command asked for, byte for byte, until the command is done with; else the
  value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..homie import DeviceState
from .broker.broker import Broker
from .firmware.publishing import Publisher, TreeChange

__all__ = ["DOMAIN", "Announcer"]

DOMAIN: Final = "ebus"
_BASE: Final = f"{DOMAIN}/5/"


class Announcer:
    """Puts what a publisher tells on a broker.

    Args:
        broker: the panel's.
        publisher: of its firmware; may be another later.
        targets: whether it publishes ``$target``.

    Attributes:
        targets: likewise.
        away: the devices that are, by id.
        gone: ids of those that were removed once.
    """

    def __init__(self, broker: Broker, publisher: Publisher, *, targets: bool = False) -> None:
        self.publisher = publisher
        self.targets: Final = targets
        self.away: set[str] = set()
        self.gone: set[str] = set()
        self._broker: Final = broker
        self._aims: dict[str, tuple[int, bytes]] = {}  # by topic as the publisher tells it

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
                self._tell(full, payload)

    def _tell(self, full: str, payload: bytes) -> None:
        """Publish a value, by its topic below ``ebus/5/``."""
        topic, target = full.removeprefix(self.publisher.prefix), f"{_BASE}{full}/$target"
        if not payload and target in self._broker.retained:
            self._broker.publish(target, b"", retain=True)
        if payload and self.targets and self.publisher.setting(topic) is not None:
            _, aim = self._aims.get(topic, (0, payload))
            self._broker.publish(target, aim, retain=True)
        self._broker.publish(f"{_BASE}{full}", payload, retain=True)

    # --- targets ---

    def aim(self, topic: str, target: bytes, number: int) -> None:
        """A command was accepted: this is the ``$target`` until `settle`, whatever values come meanwhile.

        Args:
            topic: as the publisher tells it.
            target: what is aimed at.
            number: of the command; the latest counts.
        """
        full = f"{self.publisher.prefix}{topic}"
        if self.targets:
            self._aims[topic] = number, target
            if full.partition("/")[0] not in self.away:
                self._broker.publish(f"{_BASE}{full}/$target", target, retain=True)

    def settle(self, topic: str, number: int) -> None:
        """A command is done with: if it was the latest, the value is its own ``$target`` again."""
        if self._aims.get(topic, (number, b""))[0] == number:
            self._aims.pop(topic, None)

    def settle_all(self) -> None:
        """There are no commands any more."""
        self._aims.clear()

    # --- announcements ---

    def announce(self, device: str, description: str, values: Mapping[str, bytes], *, init: bool = True) -> None:
        """One device says what it is, and that it is there."""
        if init:
            self.set_state(device, DeviceState.INIT)
        self.publish(device, "$description", description.encode())
        for suffix, payload in values.items():
            self._tell(f"{device}/{suffix}", payload)
        self.set_state(device, DeviceState.READY)

    def announce_all(self, *, init: bool = True, without: Iterable[str] = ()) -> None:
        """All devices say what they are, but for some values (whole topics, as the publisher tells them)."""
        self.away.clear()
        left_out = set(without)
        told = {topic: payload for topic, payload in self.publisher.values().items() if topic not in left_out}
        values, descriptions = self.split(told), self.publisher.descriptions()
        for device, description in descriptions.items():
            self.announce(device, description, values.get(device, {}), init=init)
        if self.publisher.habits.parent_again:
            panel = self.publisher.device_id
            self.announce(panel, descriptions[panel], {}, init=init)

    def say_goodbye(self, state: str) -> None:
        """The panel's service ends, and says so: of all its devices, or of the panel alone."""
        devices = self.publisher.devices if self.publisher.habits.all_say_goodbye else [self.publisher.device_id]
        for device in devices:
            self.set_state(device, state)

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
                    self._tell(f"{device}/{suffix}", payload)
        for device in change.gone:
            self.away.discard(device)
            self.remove(device)

    def remove(self, device: str) -> None:
        """Delete whatever is retained below a device: its ``$state`` first, its ``$description`` last."""
        self.gone.add(device)
        prefix = f"{_BASE}{device}/"
        names = sorted(topic.removeprefix(prefix) for topic in self._broker.retained if topic.startswith(prefix))
        turns = {"$state": 0, "$description": 3}
        for name in sorted(names, key=lambda name: turns.get(name, 2 if name.startswith("$") else 1)):
            self._broker.publish(f"{prefix}{name}", b"", retain=True)

    def clear_values(self, devices: Iterable[str]) -> None:
        """Delete every retained value of these devices; their attributes stay."""
        for topic in self._value_topics(devices):
            for name in (f"{topic}/$target", topic):
                if name in self._broker.retained:
                    self._broker.publish(name, b"", retain=True)

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
