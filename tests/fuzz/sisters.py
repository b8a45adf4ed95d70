"""Two panels on one broker whose children have the same ids, in any interleaving: nothing gets across.

Each `Sister` publishes as panels do: children before their root, or, where it gives no ``root``, the root before its
children; it restarts, dies, loses a child or gets one, and goes for good, clearing leaves first. A `Watcher` follows
one of them, with a wire that lags. Whatever a sister publishes bears her mark, so that a foreign value gives itself
away.

What nobody could know is left out, and told in the documentation: a watcher whose subscription reaches the broker while
a sister has described a child that her own description does not list, not yet or no more.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from span_trio import PanelOptions
from span_trio.enums import ConnectionReason
from span_trio.homie import Instant, Message, Obstacle, Request
from span_trio.tracker import PanelTracker

__all__ = ["DEMANDED", "REACHED", "Crossed", "attempt"]

SHARED: Final = ("circuit-1", "circuit-2", "circuit-3")
REACHED: Final[Counter[str]] = Counter()
"""In how many runs of this process it came to what."""
DEMANDED: Final = {
    "live": 0.7,
    "both live at once": 0.15,
    "conflict": 0.4,
    "live again behind a conflict": 0.1,
    "live without a stranger": 0.1,
    "an epoch behind a conflict": 0.03,
    "a circuit was shown": 0.5,
    "a command could be sent": 0.3,
    "a command was refused": 0.3,
}
"""The share of runs that must have come to it."""

_TYPE: Final = "energy.ebus.device."
_TEXT: Final = {"datatype": "string"}
_RELAY: Final = {"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED", "settable": True}
_OFTEN: Final = (10, 1, 1, 3, 1, 1, 1)
"""How often a sister speaks, restarts, dies, goes, removes a child, adds one, describes them again."""
_WATCH: Final = "ebus/5/+/$description"
_CIRCUIT: Final = {
    "info": {"name": _TEXT, "spaces": _TEXT},
    "meter": {"active-power": {"datatype": "float", "unit": "W"}},
    "switch": {"relay": _RELAY},
}
_PANEL: Final = {"info": {"vendor-name": _TEXT, "data-model-version": _TEXT}}
_LUGS: Final = {"info": {"direction": _TEXT}, "meter": {"active-power": {"datatype": "float", "unit": "W"}}}


class Crossed(AssertionError):
    """Something of one panel was seen, or would have been commanded, as the other's."""


class Sister:
    """A panel that publishes."""

    def __init__(self, number: int, dice: random.Random, *, names_root: bool) -> None:
        self.mark = "AB"[number]
        self.number = number
        self.root = f"xg-000{number}"
        self.dice = dice
        self.names_root = names_root
        self.children = [*dice.sample(SHARED, dice.choice([1, 1, 2])), f"{self.root}-lugs"]
        self.script: deque[tuple[str, bytes]] = deque()
        self.announced: set[str] = set()
        """Devices that she has described: she publishes their values, and takes commands for them."""
        self.listed: set[str] = set()
        self.is_up = False
        self.count = 0
        self.published: set[str] = set()

    def value(self) -> int:
        """A number that tells whose it is."""
        self.count += 1
        return 1000 * (self.number + 1) + self.count % 900

    def _describe(self, device: str) -> bytes:
        kind, nodes = ("distribution-enclosure", _PANEL) if device == self.root else ("circuit", _CIRCUIT)
        if device.endswith("-lugs"):
            kind, nodes = "lugs", _LUGS
        described: dict[str, Any] = {
            "type": _TYPE + kind,
            "version": self.count,
            "children": self.children if device == self.root else [],
            "nodes": {
                name: {"type": f"energy.ebus.capability.{name}", "properties": properties}
                for name, properties in nodes.items()
            },
        }
        if device != self.root and self.names_root:
            described["root"] = self.root
            described["parent"] = self.root
        return json.dumps(described).encode()

    def _values(self, device: str) -> list[tuple[str, bytes]]:
        if device == self.root:
            return [("info/vendor-name", f"{self.mark}-{self.value()}".encode()), ("info/data-model-version", b"1.0")]
        power = ("meter/active-power", str(self.value()).encode())
        if device.endswith("-lugs"):
            return [("info/direction", b"UPSTREAM"), power]
        name = ("info/name", f"{self.mark}-{self.value()}".encode())
        return [name, ("info/spaces", b"1"), power, ("switch/relay", b"CLOSED")]

    def _announcement(self, device: str) -> list[tuple[str, bytes]]:
        said = [("$state", b"init"), ("$description", self._describe(device)), *self._values(device)]
        return [(f"{device}/{name}", payload) for name, payload in [*said, ("$state", b"ready")]]

    def announce(self) -> None:
        """Begin to say who she is."""
        self.is_up = True
        for device in self._in_order(self.children):
            self.script += self._announcement(device)

    def act(self) -> None:
        """Something new, when there is nothing more to say."""
        if self.is_up:
            self.dice.choices([self.speak, self.restart, self.die, self.go, self.remove, self.add, self.again], _OFTEN)[
                0
            ]()
        elif self.dice.random() < 0.3:
            self.announce()

    def speak(self) -> None:
        device = self.dice.choice([self.root, *self.children])
        name, payload = self.dice.choice(self._values(device))
        self.script.append((f"{device}/{name}", payload))

    def restart(self) -> None:
        self.script += [(f"{device}/$state", b"disconnected") for device in (*self.children, self.root)]
        self.announce()

    def die(self) -> None:
        self.script.append((f"{self.root}/$state", b"lost"))
        self.is_up = False

    def go(self) -> None:
        """For good: leaves first."""
        for device in (*self.children, self.root):
            self._clear(device)
        self.is_up = False

    def remove(self) -> None:
        if len(self.children) > 1:
            gone = self.children.pop(0)
            self.script += self._announcement(self.root)
            self._clear(gone)

    def add(self) -> None:
        fresh = [device for device in SHARED if device not in self.children]
        if fresh:
            self.children.insert(0, fresh[0])
            for device in self._in_order(fresh[:1]):
                self.script += self._announcement(device)

    def again(self) -> None:
        """Children describe themselves once more."""
        for device in self.dice.sample(self.children, len(self.children)):
            self.script += self._announcement(device)

    def _in_order(self, children: Sequence[str]) -> list[str]:
        return [*children, self.root] if self.names_root else [self.root, *children]

    def _clear(self, device: str) -> None:
        mine = sorted(name for name in self.published if name.startswith(f"{device}/"))
        last = f"{device}/$description"
        self.script += [(name, b"") for name in (*(name for name in mine if name != last), last)]

    def say(self) -> tuple[str, bytes]:
        """The next message."""
        name, payload = self.script.popleft()
        device = name.split("/")[0]
        if name.endswith("$description"):
            (self.announced.add if payload else self.announced.discard)(device)
            if device == self.root:
                self.listed = set(json.loads(payload)["children"]) if payload else set()
        (self.published.add if payload else self.published.discard)(name)
        return name, payload

    @property
    def is_in_between(self) -> bool:
        """Whether a child is described that her own description does not list: not yet, or no more."""
        return not self.listed >= self.announced & {*SHARED}

    def takes(self, device: str) -> bool:
        """Whether a command for a device reaches her."""
        return self.is_up and device in self.announced and device in self.children


class Barrier(NamedTuple):
    """The end of a replay."""


class Watcher:
    """Somebody who follows a sister over a wire that lags."""

    def __init__(self, sister: Sister, other: Sister, retained: dict[str, bytes], dice: random.Random) -> None:
        self.sister, self.other, self.retained, self.dice = sister, other, retained, dice
        self.tracker = PanelTracker(
            sister.root, PanelOptions(snapshot_interval=0, settle=dice.choice([0.0, 2.0]), max_silence=math.inf)
        )
        self.wire: deque[Message | Barrier] = deque()
        self.filters: list[str] = []
        self.asking: Request | None = None
        """A subscription on its way to the broker."""
        self.now = 0.0
        self.reached: set[str] = set()
        self.conflict = 0  # the epoch of the newest

    @property
    def at(self) -> Instant:
        return Instant(self.now, self.now)

    def connect(self) -> None:
        self.wire.clear()
        self.filters, self.asking = [], None
        self.tracker.tree.link_down(Obstacle(ConnectionReason.LINK_LOST), self.at)
        self.tracker.link_up(self.tracker.tree.epoch + 1, self.at)
        self._subscribe()

    def _subscribe(self) -> None:
        self.asking = self.asking or self.tracker.tree.next_subscription()
        if self.asking is None or (_WATCH in self.asking.filters and self.other.is_in_between):
            return
        request, self.asking = self.asking, None
        self.filters += request.filters
        replay = [
            Message(name, kept, retain=True) for name, kept in self.retained.items() if _fits(name, request.filters)
        ]
        self.dice.shuffle(replay)
        self.wire.extend(replay)
        self.wire.append(Barrier())

    def hear(self, name: str, payload: bytes) -> None:
        """The broker passes a message on."""
        self._subscribe()
        if _fits(name, self.filters):
            self.wire.append(Message(name, payload))

    def take(self, count: int) -> None:
        """So much of what is on the wire; a look behind each."""
        for _ in range(count):
            if not self.wire:
                return
            item = self.wire.popleft()
            if isinstance(item, Barrier):
                self.tracker.tree.barrier(self.at, passed=True)
            else:
                self.tracker.receive([item], self.at)
            self._subscribe()
            self.look()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.tracker.deadline <= until:
            self.now = max(self.now, self.tracker.deadline)
            self.tracker.tick(self.at)
            self.tracker.publish(self.at)
        self.now = until
        self.look()

    def look(self) -> None:
        """Nothing that is shown is the other's."""
        tree = self.tracker.tree
        if tree.obstacle is not None:
            if tree.obstacle.reason is ConnectionReason.CONFLICT:
                self.reached.add("conflict")
                self.conflict = tree.epoch
            return
        if tree.epoch > 1 and self.conflict == tree.epoch - 1:
            self.reached.add("an epoch behind a conflict")
        self.reached.add("live again behind a conflict" if self.conflict == tree.epoch else "live")
        snapshot = self.tracker.snapshot
        for circuit in snapshot.circuits.values():
            name, power = circuit.name, circuit.instant_power_w
            if name is not None and name[0] != self.sister.mark:
                raise Crossed(f"{self.sister.root} shows {circuit.circuit_id} by the name of {name}")
            if power is not None and abs(power) // 1000 != self.sister.number + 1:
                raise Crossed(f"{self.sister.root} shows {power} W of {circuit.circuit_id}")
            if name is not None and power is not None:
                self.reached.add("a circuit was shown")
        if set(snapshot.pending_devices) & set(SHARED):
            self.reached.add("live without a stranger")
        both = {f"{self.other.root}-lugs", self.other.root}
        if both & ({*snapshot.away_devices} | {device.device_id for device in snapshot.adopted_devices}):
            raise Crossed(f"{self.sister.root} shows devices of {self.other.root}")

    def command(self) -> None:
        """Behind everything that was said: no command that may be sent reaches the other."""
        self.take(10_000)
        if self.tracker.tree.obstacle is not None:
            self.reached.add("a command was refused")
            return
        for offered in self.tracker.controls():
            if self.other.takes(offered.device_id):
                raise Crossed(f"a command to {offered.subject} of {self.sister.root} reaches {self.other.root}")
            self.reached.add("a command could be sent")


def _fits(name: str, filters: Any) -> bool:
    _, _, device, rest = name.split("/", 3)
    return f"ebus/5/{device}/#" in filters or (rest == "$description" and _WATCH in filters)


class World:
    """One broker, two sisters, a watcher for each."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)  # noqa: S311
        who_names = dice.choice([(True, True), (True, True), (True, False), (False, True), (False, False)])
        self.sisters = [Sister(number, dice, names_root=each) for number, each in enumerate(who_names)]
        self.retained: dict[str, bytes] = {}
        pairs = (self.sisters, self.sisters[::-1])
        self.watchers = [Watcher(sister, other, self.retained, dice) for sister, other in pairs]

    def play(self, steps: int) -> set[str]:
        """So many steps; returns what they came to."""
        self.sisters[0].announce()
        self.publish(self.sisters[0], self.dice.choice([0, 3, 1000, 1000]))
        for watcher in self.watchers:
            watcher.connect()
        for _ in range(steps):
            self.step()
            if all(watcher.tracker.tree.live for watcher in self.watchers):
                self.watchers[0].reached.add("both live at once")
        for watcher in self.watchers:
            watcher.take(10_000)
            watcher.wait(16.0)
        return self.watchers[0].reached | self.watchers[1].reached

    def step(self) -> None:
        dice, sister, watcher = self.dice, self.dice.choice(self.sisters), self.dice.choice(self.watchers)
        roll = dice.random()
        if roll < 0.45:
            if not sister.script:
                sister.act()
            self.publish(sister, dice.choice([1, 2, 5, 30]))
        elif roll < 0.80:
            watcher.take(dice.choice([1, 3, 10, 1000]))
        elif roll < 0.86:
            watcher.connect()
        elif roll < 0.92:
            watcher.wait(dice.choice([0.1, 2.0, 11.0, 16.0]))
        else:
            watcher.command()

    def publish(self, sister: Sister, count: int) -> None:
        for _ in range(min(count, len(sister.script))):
            tail, payload = sister.say()
            name = f"ebus/5/{tail}"
            if payload:
                self.retained[name] = payload
            else:
                self.retained.pop(name, None)
            for watcher in self.watchers:
                watcher.hear(name, payload)


def attempt(seed: int, steps: int = 60) -> set[str]:
    """One interleaving.

    Returns:
        What it came to.

    Raises:
        Crossed: a value or a command got across.
    """
    reached = World(seed).play(steps)
    REACHED.update(reached)
    REACHED["runs"] += 1
    return reached
