"""The broadcast against a plain list: any writer, readers of all kinds at any speed, cancelled at any point.

Everything that happens goes into one list, in the order in which it happens (which is one, in one thread). What a
reader gets is checked, in the very step in which it gets it, against what a plain function makes of that list.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bounds import enough
from tests.unit.broadcast_helpers import KINDS, ClosedError, Edge, broadcast, edges
from tests.unit.link.house import run

MAX_READERS = 6
COUNTED = ("value", "edge", "missed", "skipped", "cancelled", "obsolete", "over")


class Listener:
    """A reader, and what it should get: of the list of all that happened, what is behind its two marks."""

    def __init__(self, world: World, kind: str) -> None:
        self.world = world
        self.kind = kind
        self.reader: Any = KINDS[kind](world.numbers)
        past, current = world.happened, not world.closed
        self.values_from = len(past) - (bool(past) and isinstance(past[-1], int) and current)
        self.edges_had = max(0, sum(isinstance(item, Edge) for item in past) - current)
        self.skipped = self.missed = 0
        self.last: Edge | None = None
        self.scope: trio.CancelScope | None = None
        """Around a question that is open."""

    def take(self) -> int | Edge | None:
        """What is next, which counts as taken; ``None``: nothing."""
        happened = self.world.happened
        found: int | Edge | None = None
        if self.kind != "values":
            found = self._take_edge([item for item in happened if isinstance(item, Edge)])
        if found is None and self.kind != "edges" and happened and not self.world.closed:
            found = self._take_value(happened)
        return found

    def _take_edge(self, happened: list[Edge]) -> Edge | None:
        unread, missed = happened[self.edges_had :], 0
        while len(unread) > self.world.held:
            unread, missed = unread[2:], missed + 2
        if not unread:
            return None
        self.edges_had += missed + 1
        self.missed += missed
        self.world.counted["missed"] += missed > 0
        return attrs.evolve(unread[0], missed=missed)

    def _take_value(self, happened: list[int | Edge]) -> int | None:
        unread = [item for item in happened[self.values_from :] if isinstance(item, int)]
        newest = happened[-1]
        if not unread or isinstance(newest, Edge):
            return None
        self.values_from = len(happened)
        self.skipped += len(unread) - 1
        self.world.counted["skipped"] += len(unread) > 1
        return newest

    def check(self, got: int | Edge | None) -> None:
        """It just got this, or was told that it is over."""
        assert got == self.take()
        assert self.kind == "edges" or self.reader.skipped == self.skipped
        assert self.kind == "values" or self.reader.missed == self.missed
        if isinstance(got, Edge):
            # I1, for this reader: each edge is of the other kind than the one before.
            assert self.last is None or got.number == self.last.number + 1 + got.missed
            assert got.missed % 2 == 0
            self.last = got
        elif got is not None:
            # I2: the value is of the time after the newest edge, and this reader has had that.
            assert self.world.era[got] == self.world.numbers.edges
            assert self.kind == "values" or self.last is None or self.last.number == self.world.numbers.edges
        self.world.counted["over" if got is None else "edge" if isinstance(got, Edge) else "value"] += 1

    async def ask(self) -> None:
        """One question."""
        assert self.scope is not None
        with self.scope as scope:
            try:
                self.check(await anext(self.reader))
            except ClosedError:
                assert self.world.closed
                self.check(None)
        if scope.cancelled_caught:
            self.world.counted["cancelled"] += 1
        self.scope = None


class World:
    """The writer's side, and the list."""

    def __init__(self, held: int, counted: Counter[str]) -> None:
        self.held = held
        self.counted = counted
        self.numbers = broadcast(held=held)
        self.happened: list[int | Edge] = []
        self.era: dict[int, int] = {}
        self.closed = False
        self.listeners: list[Listener] = []

    async def live(self, steps: list[tuple[str, int]]) -> None:
        """Do all that."""
        async with trio.open_nursery() as nursery:
            for step, number in steps:
                await self._do(step, number, nursery)
            await self._settle()
            nursery.cancel_scope.cancel()

    async def _do(self, step: str, number: int, nursery: trio.Nursery) -> None:
        which = self.listeners[number % len(self.listeners)] if self.listeners else None
        match step:
            case "publish":
                self._publish()
            case "edges":
                self._edges(number % 4 + 1)
            case "flap":
                self._edges(2)
                self._publish()
            case "make" if len(self.listeners) < MAX_READERS:
                self.listeners.append(Listener(self, list(KINDS)[number % 3]))
            case "ask" if which is not None and which.scope is None:
                which.scope = trio.CancelScope()
                nursery.start_soon(which.ask)
            case "cancel" if which is not None and which.scope is not None:
                which.scope.cancel()
            case "drop" if which is not None and which.scope is None:
                self.listeners.remove(which)
            case "tick":
                await trio.lowlevel.checkpoint()
            case "settle":
                await self._settle()
            case "close":
                self.numbers.close(ClosedError)
                self.closed = True

    def _publish(self) -> None:
        value = len(self.era)
        self.numbers.publish(value)
        if not self.closed:
            self.era[value] = self.numbers.edges
            self.happened.append(value)

    def _edges(self, count: int) -> None:
        if not self.closed:
            waiting = any(listener.scope is not None for listener in self.listeners)
            self.counted["obsolete"] += waiting and bool(self.happened) and isinstance(self.happened[-1], int)
            self.happened += [Edge(self.numbers.edges + index + 1) for index in range(count)]
        edges(self.numbers, count)

    async def _settle(self) -> None:
        """Whoever can get something has got it when nothing moves any more (I7): who still waits, waits rightly."""
        await trio.testing.wait_all_tasks_blocked()
        for listener in self.listeners:
            if listener.scope is not None:
                assert listener.take() is None
                assert not self.closed


# A life is bytes: hypothesis makes (and shortens) long ones cheaply. Half a byte says what, the other half who or how.
STEPS = [
    *("ask", "ask", "ask", "ask", "publish", "publish", "edges", "flap"),
    *("tick", "tick", "settle", "cancel", "cancel", "make", "drop", "publish"),
]
LIVES = st.binary(min_size=40, max_size=120)


def steps_of(life: bytes) -> list[tuple[str, int]]:
    return [(STEPS[byte & 0xF], byte >> 4) for byte in life]


def test_machine_every_reader_gets_what_a_plain_list_says() -> None:
    """And all that can happen does, in some life: a machine that never misses an edge proves nothing about that."""
    counted: Counter[str] = Counter()

    @given(held=st.integers(2, 4), early=LIVES, ends=st.booleans(), late=LIVES)
    def lives(held: int, early: bytes, ends: bool, late: bytes) -> None:
        steps = [("make", 0), ("make", 1), ("make", 2), *steps_of(early), *[("close", 0)] * ends, *steps_of(late)]
        counted["steps"] += len(steps)
        run(World(held, counted).live, steps)

    lives()
    for each in COUNTED:
        assert enough(counted[each], counted["steps"], 0.002), (each, counted)
