"""One cell, any number of readers, and nobody waits for anybody."""

from __future__ import annotations

import contextlib
import weakref

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio.broadcast import LatestCell, LatestReader
from tests.unit.link.house import run

pytestmark = pytest.mark.virtual_time


class ClosedError(Exception):
    """What readers of a closed cell get."""


async def soon(reader: LatestReader[int]) -> int | None:
    """What a reader gets now; ``None`` if it would wait."""
    with trio.move_on_after(1):
        return await anext(reader)
    return None


async def test_a_reader_gets_the_current_value_at_once_and_once() -> None:
    cell = LatestCell[int]()
    cell.publish(1)
    reader = cell.reader()
    with trio.testing.assert_checkpoints():
        assert await anext(reader) == 1
    assert await soon(reader) is None


async def test_the_latest_wins_and_what_was_skipped_is_counted() -> None:
    cell = LatestCell[int]()
    cell.publish(1)
    reader, late = cell.reader(), cell.reader()
    assert await anext(reader) == 1
    for value in range(2, 6):
        cell.publish(value)
    assert await anext(reader) == 5
    assert reader.skipped == 3
    cell.publish(6)
    assert await anext(reader) == 6
    assert reader.skipped == 3
    assert await anext(late) == 6
    assert late.skipped == 0  # nothing that it could have had


async def test_a_reader_waits_for_the_first_and_for_the_next() -> None:
    cell = LatestCell[int]()
    got: list[tuple[int, float]] = []

    async def read() -> None:
        async for value in cell.reader():
            got.append((value, trio.current_time()))  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for value in range(3):
            await trio.sleep(10)
            cell.publish(value)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [(0, 10.0), (1, 20.0), (2, 30.0)]


async def test_waiting_is_a_checkpoint() -> None:
    cell = LatestCell[int]()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with trio.testing.assert_checkpoints():
                assert await anext(cell.reader()) == 1

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        cell.publish(1)


async def test_an_equal_value_is_a_new_value() -> None:
    cell = LatestCell[int]()
    cell.publish(1)
    reader = cell.reader()
    assert await anext(reader) == 1
    cell.publish(1)
    assert await soon(reader) == 1


async def test_cancelling_a_reader_loses_nothing() -> None:
    cell = LatestCell[int]()
    reader = cell.reader()
    assert await soon(reader) is None
    cell.publish(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(reader)
    assert scope.cancelled_caught
    assert await soon(reader) == 1


async def test_i2_a_value_that_was_cleared_is_delivered_to_nobody() -> None:
    cell = LatestCell[int]()
    reader = cell.reader()
    got: list[int] = []

    async def read() -> None:
        async for value in cell.reader():
            got.append(value)  # noqa: PERF401 - it never ends

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        cell.publish(1)  # which wakes the task …
        cell.clear()  # … before it runs
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        assert await soon(reader) is None
        cell.publish(2)
        await trio.testing.wait_all_tasks_blocked()
        assert got == [2]
        assert await soon(reader) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("change", ["replaced", "cleared"])
async def test_i2_what_has_changed_when_a_reader_runs_is_not_delivered_any_more(change: str) -> None:
    cell = LatestCell[int]()
    got: list[int] = []

    async def read() -> None:
        got.append(await anext(cell.reader()))

    async def alter() -> None:
        if change == "replaced":
            cell.publish(2)
        else:
            cell.clear()
        got.append(0)

    orders: set[tuple[int, ...]] = set()
    for _ in range(50):  # in whatever order the two run
        got.clear()
        cell.publish(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(alter)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        orders.add(tuple(got))
    assert (0, 1) not in orders
    assert orders <= {(1, 0), (0, 2), (0,)}


async def test_i7_a_slow_reader_a_dead_one_and_one_that_raises_cost_the_others_nothing() -> None:
    cell = LatestCell[int]()
    got: list[int] = []
    slow: list[int] = []
    dead = cell.reader()

    async def read() -> None:
        async for value in cell.reader():
            got.append(value)  # noqa: PERF401 - it never ends

    async def read_slowly() -> None:
        async for value in cell.reader():
            slow.append(value)
            await trio.sleep(25)

    async def fail() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async for value in cell.reader():
                1 / (value - value)

    async with trio.open_nursery() as nursery:
        for task in (read, read_slowly, fail):
            nursery.start_soon(task)
        for value in range(100):
            await trio.sleep(1)
            cell.publish(value)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == list(range(100))
    assert len(slow) == 4
    assert await anext(dead) == 99


def test_a_reader_that_is_dropped_leaves_nothing_behind() -> None:
    cell = LatestCell[int]()
    reader = cell.reader()
    gone = weakref.ref(reader)
    del reader
    assert gone() is None


async def test_breaking_out_of_a_loop_leaves_nothing_behind() -> None:
    cell = LatestCell[int]()
    cell.publish(1)
    before = trio.lowlevel.current_statistics().tasks_living
    async for value in cell.reader():
        assert value == 1
        break
    assert cell.news.statistics().tasks_waiting == 0
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_reader_never_just_ends_when_the_cell_is_closed() -> None:
    cell = LatestCell[int]()
    cell.publish(1)
    held, waiting = cell.reader(), cell.reader()
    assert await anext(waiting) == 1

    async def wait() -> None:
        with pytest.raises(ClosedError):
            await anext(waiting)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        cell.close(ClosedError)
    for reader in (held, waiting, cell.reader()):
        for _ in range(3):
            with pytest.raises(ClosedError):
                await anext(reader)


async def test_every_reader_of_a_closed_cell_raises_an_error_of_its_own() -> None:
    """One that is raised again and again would collect tracebacks, and what they hold."""
    cell = LatestCell[int]()
    cell.close(ClosedError)
    errors: list[ClosedError] = []
    for _ in range(3):
        with pytest.raises(ClosedError) as caught:
            await anext(cell.reader())
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3


@given(st.lists(st.sampled_from(["publish", "clear", "read", "read", "other"]), max_size=40))
def test_a_reader_sees_what_is_current_and_nothing_twice(steps: list[str]) -> None:
    async def main() -> None:
        cell = LatestCell[int]()
        reader, other = cell.reader(), cell.reader()
        current: int | None = None
        published = 0
        seen: list[int] = []
        for step in steps:
            if step == "publish":
                current = published = published + 1
                cell.publish(published)
            elif step == "clear":
                cell.clear()
                current = None
            elif step == "other":
                await soon(other)
            else:
                got = await soon(reader)
                assert got == (current if current not in seen else None)
                if got is not None:
                    seen.append(got)
                    assert reader.skipped == (seen[-1] - seen[0] + 1) - len(seen)

    run(main)
