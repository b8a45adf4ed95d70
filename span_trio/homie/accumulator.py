"""One tree of devices as its controller must see it: from messages and link events to *live* and *not live*.

The rules of this room:

* Live is: link up, and its owner in no doubt, and replay barrier passed, and root ``$state`` = ready, and no pending
  device, and values confirmed, and (where that is limited) not silent. ``Accumulator._obstacle`` is that sentence;
  nothing else decides.
* It is judged message by message, in wire order: a batch may merge snapshots, never edges (I1). Edges alternate, the
  first is online.
* A device's replay is complete when its *own* barrier has passed. A device that is declared as a child is pending until
  then, and until it is described. Pending children are waited for with a deadline each; then the tree is live without
  them. The root is waited for without one.
* What else a live tree needs is the caller's to say (`Demand`): homie does not know what the tree means.
* Other trees may be on the broker, and their devices may have the ids of ours (I13, ``kinship``). So, once a tree has
  children, the descriptions of *all* devices are asked for, and it is not live before they are known. It is not live
  either while another tree lists one of its children: one topic cannot carry two devices' values. A child that merely
  says that it is another tree's is waited for like one that is pending, and then left out.
* A child that comes back after it was lost or disconnected has values of before, too: for ``settle`` its lifecycle says
  so. It takes nobody else away.
* A device that has overflowed is asked for again, by itself, with growing pauses: what was too much may be gone (I8).
* Time is an argument: `Accumulator.deadline` says when `Accumulator.tick` wants to be called; nothing here reads a
  clock.
* Each epoch has a new `Forest`; what a barrier or a message of an older epoch says is not heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from ..enums import ConnectionReason
from .edges import ConnectionEdge, Obstacle
from .forest import Forest
from .hearing import Hearing
from .kinship import Stranger, in_words
from .lifecycle import UNCONFIRMED, DeviceState, Lifecycle
from .messages import Instant, Message
from .overflow import Retries
from .slots import Fallback, Limits
from .subscriptions import Request, SubscriptionPlan
from .topics import state_topic

__all__ = ["Accumulator", "Demand"]

Demand: TypeAlias = Callable[[Forest], tuple[Obstacle, bool] | None]
"""What a tree that is live otherwise still needs, and whether it is to be waited for with a limit."""

_GIVEN_UP: Final = float("-inf")
_NEVER: Final = float("inf")
_READY: Final = DeviceState.READY.encode()
_DOUBTED: Final = {Lifecycle.READY: Lifecycle.SETTLING, Lifecycle.PAUSED: Lifecycle.RETURNING}


class Accumulator:
    """Feeds a `Forest` and judges one tree in it.

    Args:
        root: the id of the root device.
        domain: the Homie domain.
        fallback: declarations for bare descriptions.
        limits: of each epoch's forest.
        settle: how long (s) unconfirmed values may stay unrepublished after ``ready``.
        first_patience: how long (s) the first live may wait for a pending child.
        patience: how long (s) a pending child may keep the tree from being live later on.
        watch: whether to ask for the descriptions of all devices on the broker. Without it they are expected to come
            unasked, as in a recording, and are kept.
        demand: what else it needs to be live; what has a limit is waited for for ``patience``.
        max_silence: how long (s) no value may be published until the tree counts as silent. Where it is limited, what a
            broker has retained is no sign of life: the tree is silent until the first value of an epoch, and until the
            first one behind a ``$state`` other than ready. After a silence that was longer, or before a first value
            that was long in coming, what was known has to be confirmed, as after ``lost``.
    """

    def __init__(
        self,
        root: str,
        *,
        domain: str = "ebus",
        fallback: Fallback | None = None,
        limits: Limits | None = None,
        settle: float = 2.0,
        first_patience: float = 15.0,
        patience: float = 10.0,
        max_silence: float = float("inf"),
        watch: bool = True,
        demand: Demand = lambda _: None,
    ) -> None:
        self.root: Final = root
        self.domain: Final = domain
        self.limits: Final = Limits() if limits is None else limits
        self.settle: Final = settle
        self.first_patience: Final = first_patience
        self.patience: Final = patience
        self.max_silence: Final = max_silence
        self.watch: Final = watch
        self.demand: Final = demand
        self.fallback = fallback
        self._state_topic: Final = state_topic(domain, root)
        self.epoch: int = 0
        self.forest: Forest = self._new_forest()
        self.obstacle: Obstacle | None = Obstacle(ConnectionReason.UNREACHABLE, "not connected yet")
        """Why the tree is not live now; ``None`` while it is."""
        self._link: Obstacle | None = self.obstacle
        self._edges: list[ConnectionEdge] = []
        self._was_live = False
        self._reset()

    def _new_forest(self) -> Forest:
        forest = Forest(self.domain, fallback=self.fallback, limits=self.limits)
        forest.pin(self.root)
        return forest

    def _reset(self) -> None:
        self._hearing = Hearing(self.max_silence, settle=self.settle)
        self._doubt: Obstacle | None = None  # the caller's
        self._members: list[str] = [self.root]
        self._strangers: Mapping[str, Stranger] = {}  # listed children that are another tree's, too or instead
        self._plan = SubscriptionPlan(self.domain)
        self._requested: set[str] = set()
        self._complete: set[str] = set()
        self._pending: dict[str, float] = {}  # child id -> when to stop waiting for it
        self._lifecycle = Lifecycle.UNKNOWN  # the root's, when it was looked at last
        self._unconfirmed: set[str] = set()  # topics whose values are of before
        self._awaited: set[str] = set()  # while settling: those of them that show
        self._settled_at = 0.0
        self._demanding = False  # the demand alone is in the way
        self._demand_until = _NEVER
        self._returning: dict[str, float] = {}  # child that has come back -> when its values are its own
        self._retries = Retries()

    # --- input ---

    def link_up(self, epoch: int, now: Instant) -> None:
        """A new link: forget everything of the one before."""
        self.epoch = epoch
        self.forest = self._new_forest()
        self._link = None
        self._reset()
        self._judge(now)

    def link_down(self, why: Obstacle, now: Instant) -> None:
        """The link is gone; or more is known about why there is none."""
        self._link = why
        self._judge(now)

    def doubt(self, why: Obstacle | None, now: Instant) -> None:
        """Until the caller says ``None``, what is known of this epoch is not to be relied on; or no more in doubt."""
        self._doubt = why
        self._judge(now)

    def receive(self, messages: Iterable[Message], now: Instant) -> None:
        """Messages of this epoch, in wire order."""
        forest, wall, hearing = self.forest, now.wall, self._hearing
        forest.doubted = set(self._strangers)
        for message in messages:
            if forest.absorb(message, wall):
                if message.topic == self._state_topic:
                    hearing.turn(now.monotonic, ready=message.payload == _READY)
                self._reshape(now)
            elif self._lifecycle in UNCONFIRMED:
                self._confirm(message, now)
            if hearing.counts:
                self._hear(message, now)
            if self._demanding:
                self._judge(now)

    def overflow(self, topic: str, now: Instant) -> None:
        """A message on ``topic`` was too large to be taken: what it said is not known."""
        self.forest.overflow(topic)
        self._unconfirmed.discard(topic)
        self._reshape(now)

    def barrier(self, now: Instant, *, passed: bool) -> None:
        """The replay barrier of the last subscription passed; or it did not, though the broker was quiet."""
        complete = self._plan.passed(self.forest) if passed else self._plan.failed()
        self._complete.update(complete)
        self._reshape(now)

    def judge(self, now: Instant) -> None:
        """Something that the demand looks at has changed."""
        self._judge(now)

    def tick(self, now: Instant) -> None:
        """It is `deadline`, or later."""
        self._hearing.tick(now.monotonic)
        for device in self._retries.due(now.monotonic):
            if self._plan.asks_for(device, self.forest):
                self._retries.postpone(device, now.monotonic)
            else:  # as if it were new
                self._retries.asked(device)
                self.forest.forgive(device)
                self._plan.forget(device)
                self._requested.discard(device)
                self._complete.discard(device)
        self._reshape(now)

    def set_fallback(self, fallback: Fallback) -> None:
        """Declarations for bare descriptions, learnt late."""
        self.fallback = fallback
        self.forest.set_fallback(fallback)

    # --- output ---

    @property
    def live(self) -> bool:
        """Whether the tree is live."""
        return self.obstacle is None

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called (on the monotonic clock), if nothing else happens."""
        times = [self._pending[child] for child in self._blocking]
        if self._lifecycle is Lifecycle.SETTLING:
            times.append(self._settled_at)
        times.extend(self._retries.times)
        times.extend(self._returning.values())
        if self._demanding and self._demand_until != _GIVEN_UP:
            times.append(self._demand_until)
        if self._link is None:
            times.extend(self._hearing.deadlines)
        return min(times, default=None)

    @property
    def pending(self) -> tuple[str, ...]:
        """The children that are declared and not usable yet, or another tree's; waited for or given up."""
        return tuple(self._pending)

    def is_certain(self, device: str) -> bool:
        """Whether all of the newest messages of ``device`` are our tree's: while they came, nobody else had it."""
        return device in self._members and device not in self.forest.doubted

    def take_edges(self) -> list[ConnectionEdge]:
        """The edges since the last call."""
        edges, self._edges = self._edges, []
        return edges

    def next_subscription(self) -> Request | None:
        """What to subscribe to next; ``None`` while there is nothing, or a `barrier` is outstanding."""
        watched = self._has_watched
        if not watched:
            self._plan.watch()
        room = self.limits.devices - len(self._requested)
        wanted = self._members if watched else [self.root]  # whether a child is ours is not known before
        fresh = [device for device in wanted if device not in self._requested][:room]
        self._requested.update(fresh)
        self._plan.want(fresh)
        request = self._plan.next(self.forest)
        if self._plan.watches_all:  # from now on, and not while it is still to come: a broker may send more than asked
            self.forest.asked = self._requested
        return request

    @property
    def assumed(self) -> int:
        """How many subscriptions of this epoch were believed to be replayed because the broker was quiet."""
        return self._plan.assumed

    def missing(self) -> tuple[str, ...]:
        """What a live tree still needs, in words, for the error of somebody who waited in vain."""
        state = self.forest.devices[self.root].state_text
        missing: list[str] = []
        if self._link is not None:
            missing.append(str(self._link))
        elif self.root not in self._complete:
            missing.append(f"the end of the replay of {self.root}")
        if state is None:
            missing.append(f"$state of {self.root}")
        elif state != DeviceState.READY:
            missing.append(f"$state of {self.root} is {state!r}, not 'ready'")
        missing += [self._missing(device) for device in self._members if not self._usable(device)]
        if self._strangers:
            missing.append(str(Obstacle(ConnectionReason.CONFLICT, in_words(self._strangers))))
        if not missing and self.obstacle is not None:
            missing.append(str(self.obstacle))
        return tuple(missing)

    def _missing(self, device: str) -> str:
        found = self.forest.devices.get(device)
        if found is not None and found.description is not None:
            return f"the values of {device} ({'too many' if found.overflowed else 'replay incomplete'})"
        error = None if found is None else found.description_error
        return f"$description of {device}" + (f" (malformed: {error})" if error else "")

    # --- judgement ---

    def _reshape(self, now: Instant) -> None:
        """A ``$state``, a ``$description`` or a barrier came: see anew who belongs to the tree."""
        self._members = self.forest.members(self.root)
        strangers, self._strangers = self._strangers, self.forest.kinship.tree(self.root).strangers
        self._complete.update(self._plan.covered(self.forest))
        if self.root in self._complete:
            self._hearing.begin(now.monotonic)
        waiting: dict[str, float] = {}
        for child in (*self._members[1:], *self._strangers):
            if not (self._usable(child) or self._is_contested(child)):
                patience = self.patience if self._was_live else self.first_patience
                until = self._pending.get(child, now.monotonic + patience)
                waiting[child] = until if until > now.monotonic else _GIVEN_UP
        if waiting.keys() != self._pending.keys() or strangers.keys() != self._strangers.keys():
            self.forest.touch(self.root)  # the snapshot names them, or is without them
        self._pending = waiting
        devices = self.forest.devices
        overflowed = [name for name in self._members if name in devices and devices[name].overflowed]
        self._retries.update(overflowed, members=self._members, complete=self._complete, now=now.monotonic)
        self._welcome(now)
        self._weigh(now)
        self._judge(now)

    def _hear(self, message: Message, now: Instant) -> None:
        """A value of a device of ours is a sign of life; what others publish (commands, say) is none."""
        hearing, topic = self._hearing, message.topic
        if message.retain:
            hearing.replayed = hearing.replayed or self.forest.holds(topic)
            return
        if self.forest.holder(topic) not in self._members or self.root not in self._complete:
            return
        root = self.forest.devices[self.root]
        if (
            hearing.leaves_doubt(now.monotonic) and root.lifecycle in _DOUBTED
        ):  # what came before the silence has to come again
            self._unconfirmed = self.forest.value_topics() - {topic}
            root.lifecycle = _DOUBTED[root.lifecycle]
        if hearing.hear(now.monotonic):
            self._reshape(now)

    def _welcome(self, now: Instant) -> None:
        """Children that have come back: their values of before have `settle` to be published again."""
        returning: dict[str, float] = {}
        for name in self._members[1:]:
            child = self.forest.devices.get(name)
            if child is not None and child.lifecycle is Lifecycle.SETTLING:
                until = self._returning.get(name, now.monotonic + self.settle)
                if until > now.monotonic:
                    returning[name] = until
                else:
                    self.forest.confirm(child)
                    self.forest.touch(name)
        self._returning = returning

    def _weigh(self, now: Instant) -> None:
        """Which values are of before? The root's lifecycle says when to ask."""
        root = self.forest.devices[self.root]
        before, self._lifecycle = self._lifecycle, root.lifecycle
        if self._lifecycle is Lifecycle.AWAY and before is not Lifecycle.AWAY:
            self._unconfirmed = self.forest.value_topics()
        elif self._lifecycle is Lifecycle.SETTLING:
            if before is not Lifecycle.SETTLING:
                self._settled_at = now.monotonic + self.settle
            self._awaited = self._unconfirmed & self.forest.value_topics(self._members, shown=True)
            # A device that is not there yet may show more of them.
            if now.monotonic >= self._settled_at or not (self._awaited or self._waiting()):
                self.forest.confirm(root)
                self._lifecycle = root.lifecycle

    @property
    def _has_watched(self) -> bool:
        """Whether it is known what else is on the broker, as far as that matters: not to a tree without children."""
        return not self.watch or self._plan.watched or not (self._members[1:] or self._strangers)

    def _is_contested(self, device: str) -> bool:
        return device in self._strangers and self._strangers[device].is_contested

    def _usable(self, device: str) -> bool:
        found = self.forest.devices.get(device)
        if device in self._strangers or device not in self._complete or not self._plan.covers(device, self.forest):
            return False
        return found is not None and found.description is not None and not found.overflowed

    def _confirm(self, message: Message, now: Instant) -> None:
        """While values are unconfirmed: a live message confirms its topic, a replayed one is itself of before."""
        topic = message.topic
        if message.retain and self.forest.holds(topic):
            self._unconfirmed.add(topic)
        elif topic in self._unconfirmed:
            self._unconfirmed.remove(topic)
            self._awaited.discard(topic)
            if self._lifecycle is Lifecycle.SETTLING and not self._awaited:
                self._reshape(now)

    @property
    def _blocking(self) -> list[str]:
        return [child for child in self._pending if self._pending[child] != _GIVEN_UP]

    def _waiting(self) -> list[str]:
        return [device for device in (self.root, *self._blocking) if not self._usable(device)]

    def _judge(self, now: Instant) -> None:
        obstacle = self._obstacle()
        self._demanding = False
        if obstacle is None:
            obstacle = self._demanded(now)
        if (obstacle is None) != (self.obstacle is None):
            reason, detail = obstacle or Obstacle(ConnectionReason.LIVE)
            state = self.forest.devices[self.root].state_text
            self._edges.append(ConnectionEdge(obstacle is None, reason, detail, state, self.epoch, now))
            self._was_live = True
        self.obstacle = obstacle

    def _demanded(self, now: Instant) -> Obstacle | None:
        wanted = self.demand(self.forest)
        self._demanding = wanted is not None
        if wanted is None:
            self._demand_until = _NEVER
            return None
        obstacle, limited = wanted
        if limited and self._demand_until == _NEVER:
            self._demand_until = now.monotonic + self.patience
        if not limited or now.monotonic < self._demand_until:
            return obstacle
        self._demand_until = _GIVEN_UP
        return None

    def _obstacle(self) -> Obstacle | None:
        if self._link is not None:
            return self._link
        if self._doubt is not None:
            return self._doubt
        if self.root not in self._complete:
            return Obstacle(ConnectionReason.REPLAY)
        root = self.forest.devices[self.root]
        if root.state_text != DeviceState.READY:
            return Obstacle(
                ConnectionReason.DEVICE_STATE, "not published" if root.state_text is None else root.state_text
            )
        blocking = [name for name in self._strangers if self._is_contested(name) or name in self._blocking]
        if blocking:
            conflict = {name: self._strangers[name] for name in blocking}
            return Obstacle(ConnectionReason.CONFLICT, in_words(conflict))
        waiting = self._waiting()
        if waiting:
            return Obstacle(ConnectionReason.PENDING_DEVICE, ", ".join(waiting))
        if not self._has_watched:
            return Obstacle(ConnectionReason.REPLAY)
        if root.lifecycle is not Lifecycle.READY:
            return Obstacle(ConnectionReason.UNCONFIRMED)
        return self._hearing.obstacle
