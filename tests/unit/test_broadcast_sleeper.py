"""A subscriber asleep for an hour among live ones costs no one anything (I7, I8), and wakes to what is true then."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing

from span_trio import ConnectionEdge, PanelOptions, SpanPanel, SpanPanelSnapshot, open_span_panel
from span_trio.broadcast import Broadcast, EdgeReader, UpdateReader, ValueReader
from span_trio.simulator import SimulatedPanel, open_simulated_panel
from tests.unit.link.house import run

HOUR = 3600
TICK = 2
SPELL = 6
"""Seconds between two values, and between two edges."""
HELD = 256


@attrs.frozen(eq=False)
class Thing:
    """A value or an edge; which of its kind, when, and how many edges were missed."""

    number: int
    at: float
    missed: int = 0


Things = Broadcast[Thing, Thing]
AnyReader = ValueReader[Thing, Thing] | EdgeReader[Thing, Thing] | UpdateReader[Thing, Thing]
KINDS: dict[str, Callable[[Things], AnyReader]] = {
    "values": Things.values,
    "edges": Things.turns,
    "updates": Things.updates,
}


class Steps(trio.abc.Instrument):
    """Counts the steps of those awake."""

    taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task.name.endswith("listen")


class Hour:
    """An hour of one broadcast, and what it was like for those awake."""

    def __init__(self) -> None:
        self.things = Things(held=HELD, mark=lambda edge, missed: attrs.evolve(edge, missed=missed))
        self.alive: weakref.WeakSet[Thing] = weakref.WeakSet()
        self.got: dict[str, list[tuple[int, float]]] = {kind: [] for kind in KINDS}
        """What each live reader got, and how late."""
        self.kept: list[int] = []
        """Values and edges alive, each minute."""

    async def pass_by(self, sleepers: int) -> int:
        """With so many sleepers of each kind, and one of each awake, of whom it counts the steps."""
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        async with trio.open_nursery() as awake:
            for kind in KINDS:
                awake.start_soon(self.listen, kind)
            async with trio.open_nursery() as nursery:
                self.write(0)
                await trio.sleep(TICK / 2)
                for kind in list(KINDS) * sleepers:
                    nursery.start_soon(self.sleep_an_hour, kind)
                for second in range(TICK, HOUR + 3, TICK):
                    await trio.sleep_until(second)
                    self.write(second)
                await trio.sleep(TICK)
                taken = steps.taken
            awake.cancel_scope.cancel()
        return taken

    def write(self, second: int) -> None:
        """What is new at this second."""
        if second % 60 == 0:
            self.kept.append(len(self.alive))
        if second % SPELL == 0:
            edge = Thing(self.things.edges + 1, second)
            self.alive.add(edge)
            self.things.edge(edge)
        if self.things.edges % 2:
            value = Thing(self.things.version + 1, second)
            self.alive.add(value)
            self.things.publish(value)

    async def listen(self, kind: str) -> None:
        """Awake."""
        async for thing in KINDS[kind](self.things):
            self.got[kind].append((thing.number, trio.current_time() - thing.at))

    async def sleep_an_hour(self, kind: str) -> None:
        """And wake to all the edges that are held, and the newest value."""
        things, reader = self.things, KINDS[kind](self.things)
        await anext(reader)
        had, edges_had = int(kind == "values"), things.edges  # an update was the edge
        await trio.sleep(HOUR)
        if not isinstance(reader, ValueReader):
            missed = things.edges - HELD - edges_had
            assert [await self.next_edge(reader) for _ in range(HELD)] == [
                (number, missed if index == 0 else 0)
                for index, number in enumerate(range(things.edges - HELD + 1, things.edges + 1))
            ]
            assert reader.missed == missed
        if not isinstance(reader, EdgeReader):
            thing = await anext(reader)
            assert (thing.number, thing.at) == (things.version, HOUR)
            assert reader.skipped == things.version - had - 1

    async def next_edge(self, reader: AnyReader) -> tuple[int, int]:
        """Its number, and how many were missed before it."""
        edge = await anext(reader)
        return edge.number, edge.missed


@pytest.mark.slow
def test_i7_i8_subscribers_asleep_for_an_hour_cost_nobody_anything_and_wake_to_the_newest() -> None:
    alone, among = Hour(), Hour()
    steps = run(alone.pass_by, 0), run(among.pass_by, 20)
    edges = HOUR // SPELL + 1
    assert [number for number, _ in alone.got["edges"]] == list(range(1, edges + 1))
    assert len(alone.got["values"]) == alone.things.version == 902
    assert {late for got in alone.got.values() for _, late in got} == {0.0}
    assert among.got == alone.got  # order and time of all that the others get …
    assert steps[0] == steps[1]  # … and the work that it takes
    # The ring, the current value, and what each who listens has in hand.
    assert max(among.kept) <= HELD + 1 + len(KINDS)
    assert among.kept[1:] == alone.kept[1:]


# --- an open panel ---


def alive(kind: type) -> int:
    """How many of these there are."""
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


async def flap(panel: SimulatedPanel, spells: int) -> None:
    """Go away and come back so often, without a word in between."""
    for _ in range(spells):
        panel.set_state("init")
        await trio.sleep(SPELL)
        panel.set_state("ready")
        await trio.sleep(SPELL)


@pytest.mark.slow
@pytest.mark.virtual_time
async def test_i7_i8_a_subscriber_of_a_panel_sleeps_through_an_hour_of_flapping() -> None:
    flaps = HOUR // (2 * SPELL)
    async with (
        open_simulated_panel("8") as simulated,
        open_span_panel(
            "panel",
            credentials=simulated.credentials,
            options=PanelOptions(transport="mqtt", snapshot_interval=0, max_silence=math.inf),
            dialer=simulated.dial,
        ) as panel,
        trio.open_nursery() as nursery,
    ):
        late: set[float] = set()
        edges: list[bool] = []
        snapshots = 0

        async def listen(panel: SpanPanel) -> None:
            nonlocal snapshots
            async for update in panel.updates():
                if isinstance(update, ConnectionEdge):
                    assert update.missed == 0
                    edges.append(update.online)
                    late.add(trio.current_time() - update.at.monotonic)
                else:
                    snapshots += 1

        sleeper, only_edges, only_values = panel.updates(), panel.edges(), panel.snapshots()
        assert isinstance(await anext(sleeper), ConnectionEdge)
        assert isinstance(await anext(only_edges), ConnectionEdge)
        first = await anext(only_values)
        simulated.stop(None)  # no bursts: only `$state` speaks
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(listen, panel)
        await flap(simulated, flaps // 4)
        before = alive(ConnectionEdge), alive(SpanPanelSnapshot)
        await flap(simulated, 3 * flaps // 4)
        after = alive(ConnectionEdge), alive(SpanPanelSnapshot)

        assert edges == [True, *[False, True] * flaps]
        assert snapshots == 1 + flaps
        assert late == {0.0}
        assert after[0] - before[0] <= HELD - 1 - flaps // 2  # the ring was not full yet
        assert after[1] <= before[1] + 1

        simulated.start(init=False)
        await trio.testing.wait_all_tasks_blocked()
        missed = 2 * flaps - HELD
        for reader in (sleeper, only_edges):
            edge = await anext(reader)
            assert isinstance(edge, ConnectionEdge)
            assert (edge.online, edge.missed, reader.missed) == (False, missed, missed)
            for online in [True, False] * (HELD // 2 - 1) + [True]:
                edge = await anext(reader)
                assert isinstance(edge, ConnectionEdge)
                assert (edge.online, edge.missed) == (online, 0)
            assert reader.missed == missed
        newest = await anext(only_values)
        assert newest is panel.snapshot
        assert newest.seq > first.seq
        assert only_values.skipped >= flaps
        assert await anext(sleeper) is newest
        nursery.cancel_scope.cancel()
