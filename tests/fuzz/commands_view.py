"""What a client has been told over one link, and so what it can know: read off the log, in plain words.

A client takes a while to take in what it has read, though no time passes: whatever is asked here is asked of an
*instant*, and is certain only if it was so before it, and all through it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .commands_broker import Delivery
from .commands_house import ROOT, Description, House, topic

__all__ = ["NEVER", "Told", "View"]

NEVER: Final = float("inf")
_SETTLE: Final = 2.0  # s: so long the values of before a panel's restart count as of before, unless they come again
_STATE: Final = topic(f"{ROOT}/$state")
_GONE: Final = {b"lost", b"disconnected", b""}


class Told(NamedTuple):
    """A message that the client has read; ``seq`` is its place in the log."""

    seq: int
    at: float
    payload: bytes
    retained: bool


class View:
    """One link, from the client's end.

    Args:
        number: which.
        house: whose.
        over_seq: the place in the log where it was lost, or closed by the client.
        over_at: when.
    """

    def __init__(self, number: int, house: House, over_seq: float = NEVER, over_at: float = NEVER) -> None:
        self.number = number
        self.house = house
        self.up_at = NEVER
        """When the broker accepted the login."""
        self.over_seq = over_seq
        self.over_at = over_at
        self.answered = [(-NEVER, -NEVER)]
        """When PINGRESPs were read, and when the pings that they answer were sent."""
        self.was_stalled = False
        """Whether it had to wait until it could write: then a ping is older than it looks from here."""
        self.replayed_at = NEVER
        """When the last ping since the subscription was answered, and so the whole replay was read."""
        self.acknowledged: dict[int, float] = {}
        """Packet id -> when its PUBACK was read."""
        self.told: dict[str, list[Told]] = {}
        """By topic."""
        self._granted = False
        self._pings = self._pongs = 0  # since the subscription
        self._pinged: list[float] = []  # when
        self._of_before: set[str] = set()  # topics whose value is of before a restart
        self._phase = "here"  # or away, back
        self._away_at = self._back_at = -NEVER
        self._gone: set[str] = set()  # children
        self._returned: dict[str, float] = {}  # child -> when
        self._by_payload = {each.payload: each for each in house.descriptions.values()}

    # --- what happens ---

    def note(self, kind: str, at: float) -> None:
        """See `Event`."""
        match kind:
            case "asked":
                self._pings = self._pongs = 0
                self.replayed_at = NEVER
            case "pinged":
                self._pings += 1
                self._pinged.append(at)
            case "stalled":  # who can tell which pings wait? The replay may be waited for for as long as they do
                self.was_stalled = True
            case _:
                raise AssertionError(kind)

    def read(self, seq: int, at: float, delivery: Delivery) -> None:
        match delivery.kind:
            case "connack":
                self.up_at = at
            case "suback":
                self._granted = True
            case "puback":
                self.acknowledged.setdefault(delivery.mid, at)
            case "pingresp":
                self.answered.append((at, self._pinged[delivery.mid - 1]))
                self._pongs += self._granted
                if self._granted and not self.was_stalled and self._pongs >= self._pings:
                    self.replayed_at = min(self.replayed_at, at)
            case _:
                retained = delivery.kind == "retained"
                self.told.setdefault(delivery.topic, []).append(Told(seq, at, delivery.payload, retained))
                self._learn(at, delivery, retained=retained)

    def _learn(self, at: float, delivery: Delivery, *, retained: bool) -> None:
        if delivery.topic == _STATE:
            if delivery.payload in {b"lost", b"disconnected"}:
                if self._phase != "away":
                    some = {name for name, told in self.told.items() if "$" not in name and told[-1].payload}
                    self._of_before = {name for name in some if not name.endswith("/set")}
                    self._away_at = at
                self._phase = "away"
            elif delivery.payload == b"ready" and self._phase == "away":
                self._phase, self._back_at = "back", at
            elif delivery.payload != b"ready" and self._phase == "back" and at < self._back_at + _SETTLE:
                self._phase = "away"  # it has to begin anew; what was published again counts all the same
        elif delivery.topic.endswith("/$state"):
            self._learn_of_a_child(at, delivery.topic.split("/")[2], delivery.payload)
        elif retained:
            self._of_before.add(delivery.topic)
        else:
            self._of_before.discard(delivery.topic)
        if self._phase == "back" and not self._awaited(at):
            self._phase = "here"

    def _learn_of_a_child(self, at: float, child: str, state: bytes) -> None:
        if state in _GONE:
            self._gone.add(child)
        elif state == b"ready" and child in self._gone:
            self._gone.discard(child)
            self._returned[child] = at

    # --- what may be known ---

    def asked_at(self, at: float) -> float:
        """When the newest ping was sent whose answer was read before this instant."""
        return max(asked for read, asked in self.answered if read < at)

    def possible(self, name: str, at: float) -> set[bytes]:
        """What may be taken for the newest payload of a topic in this instant; an empty one: there is none."""
        found: set[bytes] = set()
        for told in reversed(self.told.get(name, ())):
            found.add(told.payload)
            if told.at < at:
                return found
        return found | {b""}

    def descriptions(self, path: str, at: float) -> list[Description]:
        """What the device of a path may have described itself as; the panel, if there is no path."""
        name = topic(f"{path.partition('/')[0] or ROOT}/$description")
        return [self._by_payload[each] for each in self.possible(name, at) if each]

    def was_gone(self, path: str, told: Told) -> bool:
        """Whether the panel, or the device of a path, was gone when a message came."""
        return any(
            next((each.payload for each in reversed(self.told.get(name, ())) if each.seq < told.seq), b"ready") in _GONE
            for name in (_STATE, topic(f"{path.partition('/')[0]}/$state"))
        )

    def returns_until(self, path: str) -> float:
        """Until when the device of a path may count as one that has just come back."""
        return self._returned.get(path.partition("/")[0], -NEVER) + _SETTLE

    def certainly_live(self, at: float, settled_at: float) -> bool:
        """Whether nobody may say that the panel is not live. ``settled_at``: see `settles_at`."""
        return (
            max(self.up_at, self.replayed_at, settled_at) < at < self.over_at
            and self.possible(_STATE, at) == {b"ready"}
            and b"" not in self.possible(topic(f"{ROOT}/$description"), at)
        )

    @property
    def settles_at(self) -> float:
        """When the values of before the newest restart count as current, at the latest."""
        return self._back_at + _SETTLE

    def certainly_not_live(self, at: float) -> str:
        """Why nobody may say that the panel is live; empty: it may be."""
        if not self._granted or self.up_at > at:
            return "before the subscription was granted"
        if b"ready" not in self.possible(_STATE, at):
            return f"while $state was {self.possible(_STATE, at)}"
        if self._phase == "back" and self._away_at < at < self.settles_at:
            return f"while {len(self._awaited(at))} values were of before"
        return ""

    def _awaited(self, at: float) -> set[str]:
        """Which values of before count, by every description that there may be."""
        paths = {name.removeprefix(topic("")) for name in self._of_before}
        return {path for path in paths if all(path in each.lasting for each in self.descriptions(path, at))}
