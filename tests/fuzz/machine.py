"""The state machine: what a panel, a broker, a network and a reader may do to each other, one rule each."""

from __future__ import annotations

import random
from collections import Counter
from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from span_trio.enums import ConnectionReason
from span_trio.homie import Message

from . import house
from .house import DESCRIPTION, DESCRIPTIONS, PLACES, ROOT, STATE
from .world import OPTIONS, TOO_LARGE, Barrier, Large, Violation, World

__all__ = ["PanelMachine"]

_MEMBER_VALUES: Final = [text for device in house.MEMBERS for text in house.VALUES[device]]
_READINGS: Final = [*house.COUNTERS, *(house.topic(f"{ROOT}/{node}/active-power") for node in ("up", "c1", "c2"))]
_LINK: Final = [ConnectionReason.LINK_LOST, ConnectionReason.UNREACHABLE, ConnectionReason.SILENT_PEER]

_LAGS: Final = (True, 1)

# Each is made once: building strategies costs more than drawing from them.
_small = st.integers(0, 7)
_seeds = st.integers(0, 2**32)
_copies = st.sampled_from([1, 1, 1, 2, 3])
How = tuple[bool, int]
"""Whether delivery lags, and how often each message is delivered."""
_how: st.SearchStrategy[How] = st.sampled_from([(False, 1)] * 4 + [(False, 2), (False, 3), (True, 1), (True, 1)])
_values = st.sampled_from(_MEMBER_VALUES)
_spans = st.sampled_from([0.004, 0.016, 0.1, 0.9, 1.0, 2.0, 2.0, 10.0, 15.0, 20.0, 61.0])
_family = st.sampled_from([*4 * (ROOT,), *2 * (house.KID, house.TOY), house.STRANGER])


class PanelMachine(RuleBasedStateMachine):
    """One life of a panel's watcher."""

    steps: ClassVar[int] = 0
    runs: ClassVar[int] = 0
    reached: ClassVar[Counter[str]] = Counter()

    world: World

    @initialize(options=st.sampled_from(OPTIONS), seed=_seeds, connected=st.sampled_from([True, True, True, False]))
    def begin(self, options: object, seed: int, connected: bool) -> None:
        """A panel has retained this or that; mostly it is a good one, and we are connected to it."""
        type(self).runs += 1
        self.world = World(options, seed)  # type: ignore[arg-type]
        world, dice, retained = self.world, self.world.dice, self.world.retained
        retained[STATE] = b"ready" if dice.random() < 0.9 else dice.choice(house.STATES[:-1])
        description = dice.choice([house.FULL, house.WITH_KID, dice.choice(list(DESCRIPTIONS[ROOT]))])
        retained[DESCRIPTION] = description
        for device in (house.KID, house.TOY, house.STRANGER):
            if dice.random() < 0.8:
                retained[house.topic(f"{device}/$description")] = dice.choice(list(DESCRIPTIONS[device]))
        for text in _MEMBER_VALUES:
            if dice.random() < 0.5:
                world.publish(text, dice.choice(house.payloads(text)))
        if connected:
            self.connect()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.reached.update(self.world.reached)

    # --- helpers ---

    def publish(self, text: str, payload: bytes, how: How = (False, 1)) -> None:
        """The panel publishes; it may be a while until that is delivered."""
        lag, copies = how
        self.world.publish(text, payload)
        if not lag:
            self.flush(copies=copies)

    def flush(self, count: int = 10_000, copies: int = 1) -> None:
        world = self.world
        now, world.wire = world.wire[:count], world.wire[count:]
        if now:
            world.feed(now, copies)

    def connect(self) -> None:
        """A link, all that is asked for, and nothing amiss."""
        self.world.connect()
        for _ in range(100):
            if not self.world.wire:
                return
            self.flush()
        raise Violation("time: it never ceases to subscribe")

    def mend(self) -> None:
        """The panel is a good one again."""
        self.publish(STATE, b"ready")
        self.publish(DESCRIPTION, self.world.dice.choice([house.FULL, house.WITH_KID]))

    # --- rules: the link ---

    @precondition(lambda self: not self.world.up)
    @rule(mended=st.booleans(), whole=st.sampled_from([True, True, False]), count=_small, copies=_copies)
    def link_up(self, mended: bool, whole: bool, count: int, copies: int) -> None:
        type(self).steps += 1
        if mended:
            self.mend()
        if whole:
            self.connect()
        else:
            self.world.connect()
            self.flush(count, copies)

    @rule(reason=st.sampled_from(_LINK))
    def link_down(self, reason: ConnectionReason) -> None:
        type(self).steps += 1
        self.world.disconnect(reason)

    @precondition(lambda self: self.world.up)
    @rule(store=st.sampled_from(["kept", "mended", "lost"]))
    def replaced_link(self, store: str) -> None:
        """Lost and there again; meanwhile the panel may have come to itself, or the broker have lost its store."""
        type(self).steps += 1
        self.world.disconnect(ConnectionReason.LINK_LOST)
        if store == "lost":
            self.world.retained.clear()
        elif store == "mended":
            self.mend()
        self.connect()

    @precondition(lambda self: self.world.wire)
    @rule(count=st.sampled_from([1, 3, 10_000, 10_000]), copies=_copies)
    def deliver(self, count: int, copies: int) -> None:
        type(self).steps += 1
        self.flush(count, copies)

    @precondition(lambda self: any(isinstance(item, Barrier) for item in self.world.wire))
    @rule(kept=_small, passed=st.booleans())
    def cut_short(self, kept: int, passed: bool) -> None:
        """The broker drops the rest of a replay; its barrier too, or not."""
        type(self).steps += 1
        self.world.wire = [*self.world.wire[:kept], Barrier(passed=passed)]
        if not any(isinstance(item, Barrier) for item in self.world.wire[:-1]):
            self.flush()
        else:
            self.world.wire.pop()

    @rule(count=st.integers(1, 6))
    def lose_barriers(self, count: int) -> None:
        """The broker drops what it cannot queue."""
        type(self).steps += 1
        self.world.lost_barriers = count

    @precondition(lambda self: self.world.up)
    @rule(copies=_copies)
    def replay_again(self, copies: int) -> None:
        """All that is retained once more, as retained: what comes of subscribing twice."""
        type(self).steps += 1
        world = self.world
        again: list[Message | Large] = [
            Large(text) if payload is TOO_LARGE else Message(text, payload, retain=True)
            for text, payload in world.retained.items()
        ]
        world.dice.shuffle(again)
        world.wire += again
        self.flush(copies=copies)

    # --- rules: the panel ---

    @rule(text=_values, index=_small, how=_how)
    def value(self, text: str, index: int, how: How) -> None:
        type(self).steps += 1
        choice = house.payloads(text)
        self.publish(text, choice[index % len(choice)], how)

    @rule(text=st.sampled_from(_READINGS), index=_small, why=st.sampled_from([b"init", b"lost", b"", None]))
    def interrupt(self, text: str, index: int, why: bytes | None) -> None:
        """A reading changes, and before that can be published the panel is not live any more."""
        type(self).steps += 1
        choice = house.payloads(text)
        self.publish(text, choice[index % len(choice)])
        self.publish(text, choice[(index + 1) % len(choice)])
        if why is None:
            self.world.disconnect(ConnectionReason.LINK_LOST)
        else:
            self.publish(STATE, why)

    @rule(seed=_seeds, copies=_copies)
    def burst(self, seed: int, copies: int) -> None:
        """Many values at once, and now and then a ``$state`` among them."""
        type(self).steps += 1
        dice = random.Random(seed)  # noqa: S311
        for text in dice.sample(_MEMBER_VALUES, 8):
            self.publish(text, dice.choice(house.payloads(text)), _LAGS)
            if dice.random() < 0.05:
                self.publish(STATE, dice.choice([*house.STATES, b"ready"]), _LAGS)
        self.flush(copies=copies)

    @rule(text=_values, payload=st.sampled_from(house.BAD), how=_how)
    def bad_value(self, text: str, payload: bytes, how: How) -> None:
        type(self).steps += 1
        self.publish(text, payload, how)

    @rule(
        text=st.sampled_from([*_MEMBER_VALUES, *3 * house.COUNTERS, *house.ASIDE, STATE, *house.SAID, *house.SAID]),
        how=_how,
    )
    def clear(self, text: str, how: How) -> None:
        type(self).steps += 1
        self.publish(text, b"", how)

    @rule(device=_family, index=st.integers(0, 47), how=_how)
    def describe(self, device: str, index: int, how: How) -> None:
        type(self).steps += 1
        choice = list(DESCRIPTIONS[device])
        self.publish(house.topic(f"{device}/$description"), choice[index % len(choice)], how)

    @rule(seed=_seeds, how=_how)
    def claim(self, seed: int, how: How) -> None:
        """Another tree has a child of ours, says something of it, and perhaps lets it go, all in some order."""
        type(self).steps += 1
        dice = random.Random(seed)  # noqa: S311
        kid, stranger = (house.topic(f"{device}/$description") for device in (house.KID, house.STRANGER))
        theirs = [payload for payload, said in DESCRIPTIONS[house.KID].items() if said.root == house.STRANGER]
        listing = [payload for payload, said in DESCRIPTIONS[house.STRANGER].items() if house.KID in said.children]
        value = dice.choice(house.VALUES[house.KID])
        deeds = [(kid, dice.choice(theirs)), (stranger, dice.choice(listing)), (value, b"2")]
        ends = [
            (stranger, dice.choice([b"", *DESCRIPTIONS[house.STRANGER]])),
            (kid, dice.choice([*DESCRIPTIONS[house.KID]])),
        ]
        self.publish(DESCRIPTION, house.WITH_KID, how)
        for text, payload in (*dice.sample(deeds, dice.randrange(1, 4)), *dice.sample(ends, dice.randrange(3))):
            self.publish(text, payload, how)

    @rule(device=_family, payload=st.sampled_from(house.BAD_DESCRIPTIONS))
    def describe_badly(self, device: str, payload: bytes) -> None:
        type(self).steps += 1
        self.publish(house.topic(f"{device}/$description"), payload)

    @rule(state=st.sampled_from(house.STATES), how=_how)
    def state(self, state: bytes, how: How) -> None:
        type(self).steps += 1
        self.publish(STATE, state, how)

    @rule(how=_how)
    def ready(self, how: How) -> None:
        type(self).steps += 1
        self.publish(STATE, b"ready", how)

    @rule(last=st.sampled_from([b"init", b"lost", b"disconnected", b""]), seed=_seeds, whole=st.booleans())
    def restart(self, last: bytes, seed: int, whole: bool) -> None:
        """The publisher goes, in its manner, and comes back with some or all of what it had, in some order."""
        type(self).steps += 1
        world, dice = self.world, random.Random(seed)  # noqa: S311
        self.publish(STATE, last, (dice.random() < 0.5, 1))
        news = [text for text in world.retained if text in PLACES and PLACES[text].kind == "property"]
        said = [(text, world.retained[text]) for text in news if whole or dice.random() < 0.7]
        said.append((DESCRIPTION, dice.choice([house.FULL, house.WITH_KID, *DESCRIPTIONS[ROOT]])))
        dice.shuffle(said)
        if dice.random() < 0.5:
            said.insert(0, (STATE, b"init"))
        said.insert(dice.choice([0, len(said)]), (STATE, b"ready"))
        for text, payload in said:
            if payload is not TOO_LARGE:
                self.publish(text, payload, (dice.random() < 0.8, 1))
        self.flush()

    @rule(text=st.sampled_from([*house.ASIDE, *house.VALUES[house.STRANGER]]), index=_small, retain=st.booleans())
    def aside(self, text: str, index: int, retain: bool) -> None:
        """Alerts, logs, targets; and foreign trees, of which nothing may be seen."""
        type(self).steps += 1
        payload = [b"OPEN", b"CLOSED", b"hot", b"", b"\xff"][index % 5]
        if self.world.up:
            self.world.feed([Message(text, payload, retain)])

    @precondition(lambda self: self.world.up)
    @rule(
        text=st.sampled_from(house.BAD_TOPICS),
        good=_values,
        index=_small,
        payload=st.sampled_from([b"", b"ready", b"1", b"\xff", b"[" * 3000]),
    )
    def malformed(self, text: str, good: str, index: int, payload: bytes) -> None:
        """What is good in a batch is kept."""
        type(self).steps += 1
        choice = house.payloads(good)
        self.world.wire.append(Message(text, payload))
        self.world.publish(good, choice[index % len(choice)])
        self.world.wire.append(Message(text, payload))
        self.flush()

    @precondition(lambda self: self.world.up)
    @rule(
        text=st.sampled_from([*_MEMBER_VALUES, STATE, *house.SAID, *house.ASIDE, *house.BAD_TOPICS]),
        stays=st.booleans(),
    )
    def too_large(self, text: str, stays: bool) -> None:
        type(self).steps += 1
        if stays and text in PLACES and PLACES[text].kind != "log":
            self.world.retained[text] = TOO_LARGE
        self.world.feed([Large(text)])

    # --- rules: time, and whoever looks on ---

    @rule(span=_spans)
    def wait(self, span: float) -> None:
        """Time passes, and whoever wants to be called then is."""
        type(self).steps += 1
        world = self.world
        until = world.now + span
        for _ in range(300):
            deadline = world.tracker.deadline
            if deadline > until:
                break
            world.now = max(world.now, deadline)
            world.feed([])
            if world.wire and world.dice.random() < 0.8:
                self.flush()
        else:
            raise Violation("time: it wants to be called again and again")
        world.now = until
        world.feed([])

    @rule(span=_spans)
    def sleep(self, span: float) -> None:
        """Time passes, and nobody is called until it has."""
        type(self).steps += 1
        self.world.now += span
        self.world.feed([])

    @rule()
    def look(self) -> None:
        type(self).steps += 1
        self.world.look()

    @rule(index=st.integers(0, 2))
    def read(self, index: int) -> None:
        type(self).steps += 1
        self.world.read(index)
