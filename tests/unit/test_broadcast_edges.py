"""Edges: each in its turn, dropped in pairs for who is too slow and exactly counted; and then the value."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from span_trio.broadcast import EdgeReader, UpdateReader
from tests.unit.broadcast_helpers import Edge, Numbers, broadcast, edges, soon

pytestmark = pytest.mark.virtual_time


async def unread(reader: EdgeReader[int, Edge] | UpdateReader[int, Edge]) -> list[Edge]:
    """All the edges that it has not had."""
    found: list[Edge] = []
    while isinstance(item := await soon(reader), Edge):
        found.append(item)
    return found


def check_account(got: list[Edge], reader: EdgeReader[int, Edge] | UpdateReader[int, Edge]) -> None:
    """They alternate, and each edge says how many its reader did not get before it."""
    for before, edge in itertools.pairwise(got):
        assert edge.number == before.number + 1 + edge.missed
        assert edge.missed % 2 == 0
    assert sum(edge.missed for edge in got) == reader.missed


async def test_edges_come_in_order_beginning_with_the_newest() -> None:
    numbers = broadcast()
    edges(numbers, 5)
    reader = numbers.turns()
    assert await soon(reader) == Edge(5)
    assert await soon(reader) is None
    edges(numbers, 3)
    assert await unread(reader) == [Edge(6), Edge(7), Edge(8)]
    assert reader.missed == 0


async def test_none_is_lost_between_making_a_reader_and_its_first_question() -> None:
    numbers = broadcast()
    first, second = numbers.turns(), numbers.updates()
    edges(numbers, 3)
    third = numbers.turns()
    edges(numbers, 1)
    assert await unread(first) == await unread(second) == [Edge(1), Edge(2), Edge(3), Edge(4)]
    assert await unread(third) == [Edge(3), Edge(4)]


async def test_a_reader_of_edges_is_not_woken_by_values() -> None:
    """A thousand of them cost a panel that publishes every second nothing."""
    numbers, woken = broadcast(online=True), 0
    reader = numbers.turns()
    await anext(reader)

    class Steps(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal woken
            woken += task.name.endswith("read")

    async def read() -> None:
        assert await anext(reader) == Edge(2)

    trio.lowlevel.add_instrument(Steps())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for value in range(10):
            await trio.testing.wait_all_tasks_blocked()
            numbers.publish(value)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 1
        edges(numbers, 1)
    assert woken == 2


# --- the ring ---


@pytest.mark.parametrize("held", [-1, 0, 1])
def test_a_ring_that_cannot_hold_one_of_each_kind_is_refused(held: int) -> None:
    with pytest.raises(ValueError, match=f"2 or more, not {held}"):
        broadcast(held=held)


@pytest.mark.slow
@pytest.mark.parametrize("held", [2, 3, 256, 257])
@pytest.mark.parametrize("kind", [Numbers.turns, Numbers.updates], ids=["edges", "updates"])
async def test_what_does_not_fit_the_ring_is_missed_in_pairs_and_counted(held: int, kind: object) -> None:
    for phase, behind in itertools.product(range(3), [held - 1, held, held + 1, held + 2, held + 3, 3 * held]):
        numbers = broadcast(held=held)
        edges(numbers, phase)
        reader = numbers.turns() if kind is Numbers.turns else numbers.updates()
        had = await unread(reader)
        assert had == [Edge(phase)] * bool(phase)
        edges(numbers, behind)
        got = await unread(reader)
        check_account(had + got, reader)
        missed = max(0, behind - held + (behind - held) % 2)
        assert got[0] == Edge(phase + missed + 1, missed)
        assert got[-1] == Edge(phase + behind, missed if len(got) == 1 else 0)
        assert reader.missed == missed
        assert len(got) in ({behind} if behind <= held else {held, held - 1})


@pytest.mark.parametrize("held", [2, 3, 4, 5])
@pytest.mark.parametrize("pace", [1, 2, 3, 4, 5, 6, 7, 11])
async def test_edges_alternate_for_every_laggard_whatever_the_phase(held: int, pace: int) -> None:
    """One edge taken after each so many: a reader that never catches up."""
    numbers = broadcast(held=held)
    readers = [numbers.turns() for _ in range(pace)]
    got: list[list[Edge]] = [[] for _ in readers]
    for number in range(1, 30 * pace):
        edges(numbers, 1)
        at = number % pace
        got[at].append(await anext(readers[at]))
    for index, reader in enumerate(readers):
        check_account(got[index], reader)
        got[index] += await unread(reader)
        check_account(got[index], reader)
        assert len(got[index]) + reader.missed == numbers.edges
        assert got[index][-1].number == numbers.edges


async def test_an_edge_that_was_marked_for_one_is_not_marked_for_another() -> None:
    numbers = broadcast(held=4, online=True)
    slow, quick = numbers.turns(), numbers.turns()
    got = [await anext(quick)]
    for _ in range(9):
        edges(numbers, 1)
        got.append(await anext(quick))
    assert got == [Edge(number) for number in range(1, 11)]
    assert await unread(slow) == [Edge(7, 6), Edge(8), Edge(9), Edge(10)]
    assert (slow.missed, quick.missed) == (6, 0)


# --- both ---


async def test_updates_are_the_edges_first_and_then_the_value() -> None:
    numbers = broadcast(online=True)
    numbers.publish(1)
    reader = numbers.updates()
    assert [await anext(reader), await anext(reader)] == [Edge(1), 1]
    numbers.publish(2)
    edges(numbers, 2)
    numbers.publish(3)
    numbers.publish(4)
    assert [await anext(reader) for _ in range(3)] == [Edge(2), Edge(3), 4]
    assert await soon(reader) is None
    assert (reader.skipped, reader.missed) == (2, 0)


async def test_i2_behind_an_offline_edge_comes_no_value_before_the_next_edge() -> None:
    numbers = broadcast(online=True)
    reader = numbers.updates()
    numbers.publish(1)
    assert await anext(reader) == Edge(1)
    edges(numbers, 1)  # the value was next
    assert await anext(reader) == Edge(2)
    assert await soon(reader) is None
    edges(numbers, 1)
    assert await anext(reader) == Edge(3)
    numbers.publish(2)
    assert await soon(reader) == 2


async def test_a_laggard_of_updates_gets_the_value_of_its_last_edge_s_time() -> None:
    numbers = broadcast(held=2, online=True)
    reader = numbers.updates()
    assert await anext(reader) == Edge(1)
    for value in range(10):
        edges(numbers, 2)
        numbers.publish(value)
    assert [await anext(reader) for _ in range(3)] == [Edge(20, 18), Edge(21), 9]
    assert (reader.skipped, reader.missed) == (9, 18)
