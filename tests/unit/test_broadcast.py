"""Values: the latest wins, what is obsolete reaches nobody (I2), and no reader is anybody else's business (I7)."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from span_trio.broadcast import ValueReader
from tests.unit.broadcast_helpers import KINDS, Edge, Numbers, broadcast, edges, every_kind, soon
from tests.unit.link.house import SteppingCancel, run

pytestmark = pytest.mark.virtual_time


def feed(numbers: Numbers, kind: str) -> None:
    """Something new for a reader of this kind."""
    if kind == "edges":
        edges(numbers, 1)
    else:
        numbers.publish(numbers.version + 1)


# --- latest wins ---


async def test_a_reader_gets_the_current_value_at_once_and_once() -> None:
    numbers = broadcast()
    numbers.publish(1)
    reader = numbers.values()
    assert await soon(reader) == 1
    assert await soon(reader) is None


async def test_the_latest_wins_and_what_was_skipped_is_counted() -> None:
    numbers = broadcast()
    numbers.publish(1)
    reader = numbers.values()
    assert await anext(reader) == 1
    for value in range(2, 6):
        numbers.publish(value)
    assert await anext(reader) == 5
    assert reader.skipped == 3
    numbers.publish(6)
    assert await anext(reader) == 6
    assert reader.skipped == 3


async def test_a_reader_answers_for_what_was_published_since_it_was_made_and_for_nothing_before() -> None:
    numbers = broadcast(online=True)
    for value in range(1, 4):
        numbers.publish(value)
    reader, both = numbers.values(), numbers.updates()
    assert await anext(numbers.values()) == 3
    for value in range(4, 9):
        numbers.publish(value)
    assert await anext(reader) == 8
    assert reader.skipped == 5  # 3 to 7
    assert [await anext(both), await anext(both)] == [Edge(1), 8]
    assert both.skipped == 5


async def test_what_an_edge_made_obsolete_was_skipped_too() -> None:
    numbers = broadcast(online=True)
    early = numbers.values()
    numbers.publish(1)
    numbers.publish(2)
    edges(numbers, 2)
    late = numbers.values()
    assert await soon(early) is None
    numbers.publish(3)
    assert [await anext(early), await anext(late)] == [3, 3]
    assert (early.skipped, late.skipped) == (2, 0)


async def test_a_reader_waits_for_the_first_and_for_the_next() -> None:
    numbers = broadcast()
    got: list[tuple[int, float]] = []

    async def read() -> None:
        async for value in numbers.values():
            got.append((value, trio.current_time()))  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for value in range(3):
            await trio.sleep(10)
            numbers.publish(value)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [(0, 10.0), (1, 20.0), (2, 30.0)]


async def test_an_equal_value_is_a_new_value() -> None:
    numbers = broadcast()
    numbers.publish(1)
    reader = numbers.values()
    assert await anext(reader) == 1
    numbers.publish(1)
    assert await soon(reader) == 1


# --- I2 ---


@pytest.mark.parametrize("edge_count", [1, 2])
async def test_i2_a_value_of_before_an_edge_is_delivered_to_nobody(edge_count: int) -> None:
    numbers = broadcast(online=True)
    held = [numbers.values(), numbers.values()]
    got: list[int] = []

    async def read() -> None:
        async for value in numbers.values():
            got.append(value)  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        numbers.publish(1)  # which wakes the task …
        edges(numbers, edge_count)  # … before it runs
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        assert await soon(held[0]) is None
        assert await soon(numbers.values()) is None
        numbers.publish(2)
        await trio.testing.wait_all_tasks_blocked()
        assert got == [2]
        assert [await soon(reader) for reader in held] == [2, 2]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("change", ["replaced", "ended by an edge", "closed"])
async def test_i2_what_has_changed_when_a_reader_runs_is_not_delivered_any_more(change: str) -> None:
    orders: set[tuple[int, ...]] = set()
    for _ in range(50):  # in whatever order the two run
        numbers, got = broadcast(online=True), list[int]()
        numbers.publish(1)
        reader = numbers.values()

        async def read(reader: ValueReader[int, Edge] = reader, got: list[int] = got) -> None:
            with contextlib.suppress(ZeroDivisionError):
                got.append(await anext(reader))

        async def alter(numbers: Numbers = numbers, got: list[int] = got) -> None:
            if change == "replaced":
                numbers.publish(2)
            elif change == "closed":
                numbers.close(ZeroDivisionError)
            else:
                edges(numbers, 1)
            got.append(0)
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(alter)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        orders.add(tuple(got))
    assert orders <= {(1, 0), (0, 2), (0,)}
    assert (0, 2) in orders if change == "replaced" else (0,) in orders


# --- I7 ---


async def test_i7_a_slow_reader_a_dead_one_and_one_that_raises_cost_the_others_nothing() -> None:
    numbers = broadcast()
    got: list[int] = []
    slow: list[int] = []
    dead = numbers.values()

    async def read() -> None:
        async for value in numbers.values():
            got.append(value)  # noqa: PERF401 - it never ends

    async def read_slowly() -> None:
        async for value in numbers.values():
            slow.append(value)
            await trio.sleep(25)

    async def fail() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async for value in numbers.values():
                1 / (value - value)

    async with trio.open_nursery() as nursery:
        for task in (read, read_slowly, fail):
            nursery.start_soon(task)
        for value in range(100):
            await trio.sleep(1)
            numbers.publish(value)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == list(range(100))
    assert len(slow) == 4
    assert await anext(dead) == 99
    assert dead.skipped == 99


@every_kind
async def test_i7_whoever_writes_waits_for_nobody_and_runs_nobody(kind: str) -> None:
    """Not even the function that marks edges: it is a reader's who missed some."""
    marked: list[int] = []

    def mark(edge: Edge, missed: int) -> Edge:
        marked.append(missed)
        return edge

    numbers = Numbers(held=2, mark=mark)
    reader, got = KINDS[kind](numbers), list[int | Edge]()

    async def read() -> None:
        async for item in reader:
            got.append(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_no_checkpoints():
            edges(numbers, 9)
            numbers.publish(1)
        assert (got, marked) == ([], [])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(got) == {"values": 1, "edges": 1, "updates": 2}[kind]
    assert marked == ([] if kind == "values" else [8])


# --- a checkpoint, and cancelled at one ---


@every_kind
async def test_asking_is_a_checkpoint_also_when_something_is_there(kind: str) -> None:
    numbers = broadcast()
    reader = KINDS[kind](numbers)
    feed(numbers, kind)
    with trio.testing.assert_checkpoints():
        await anext(reader)

    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with trio.testing.assert_checkpoints():
                await anext(reader)

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        feed(numbers, kind)


@every_kind
async def test_a_reader_that_never_waits_lets_others_run(kind: str) -> None:
    numbers = broadcast()
    reader = KINDS[kind](numbers)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(100):
            feed(numbers, kind)
            await anext(reader)
        nursery.cancel_scope.cancel()
    assert turns > 90


@every_kind
@pytest.mark.parametrize("ready", [True, False])
async def test_a_reader_that_is_cancelled_has_taken_nothing(kind: str, ready: bool) -> None:
    numbers = broadcast()
    reader = KINDS[kind](numbers)
    if ready:
        feed(numbers, kind)
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(reader)
    assert scope.cancelled_caught
    if not ready:
        feed(numbers, kind)
    assert await soon(reader) in {1, Edge(1)}
    assert await soon(reader) is None


@every_kind
def test_a_reader_cancelled_at_any_step_loses_nothing_and_gets_nothing_twice(kind: str) -> None:
    async def cancelled_at(step: int) -> bool:
        """Whether there was such a step."""
        cancelling = SteppingCancel(step)
        trio.lowlevel.add_instrument(cancelling)
        numbers = broadcast()
        reader = KINDS[kind](numbers)
        got: list[int | Edge] = []

        async def read() -> None:
            with cancelling.cancelling():
                async for item in reader:
                    got.append(item)
                    if len(got) == 4:
                        return
            async for item in reader:  # once more, by the same reader
                got.append(item)
                if len(got) == 4:
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for _ in range(4):  # so slowly that nothing is skipped
                feed(numbers, kind)
                await trio.sleep(1)
        assert got == ([Edge(number) for number in range(1, 5)] if kind == "edges" else [1, 2, 3, 4])
        return cancelling.taken >= step

    steps = 1
    while run(cancelled_at, steps):
        steps += 1
    assert steps > 5


# --- one task to a reader ---


@every_kind
async def test_a_second_task_is_told_that_a_reader_is_for_one(kind: str) -> None:
    """Each of the two would miss what the other gets, and the edges of neither would alternate."""
    numbers = broadcast()
    reader = KINDS[kind](numbers)
    got: list[int | Edge] = []

    async def read() -> None:
        got.append(await anext(reader))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1), pytest.raises(trio.BusyResourceError):
            await anext(reader)
        feed(numbers, kind)
    assert len(got) == 1  # the first was not disturbed
    feed(numbers, kind)
    assert await soon(reader) is not None  # one after the other they may


@every_kind
async def test_a_reader_whose_task_was_cancelled_is_free_again(kind: str) -> None:
    numbers = broadcast()
    reader = KINDS[kind](numbers)
    with trio.move_on_after(1):
        await anext(reader)
    feed(numbers, kind)
    assert await soon(reader) is not None
