"""How it ends: a broadcast that is closed, a reader that is dropped."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from span_trio.broadcast import Broadcast
from tests.unit.broadcast_helpers import (
    KINDS,
    AnyReader,
    ClosedError,
    Edge,
    Numbers,
    broadcast,
    edges,
    every_kind,
    soon,
)

pytestmark = pytest.mark.virtual_time


async def drain(reader: AnyReader) -> list[int | Edge]:
    """What it yields before it raises; from then on it always raises."""
    got: list[int | Edge] = []
    with contextlib.suppress(ClosedError), trio.fail_after(60):
        async for item in reader:
            got.append(item)  # noqa: PERF401 - until it raises
    for _ in range(2):
        with pytest.raises(ClosedError):
            await anext(reader)
    return got


# --- closed ---


@every_kind
@pytest.mark.parametrize("also", ["nothing", "a value", "edges"])
async def test_a_reader_that_waits_gets_the_edges_and_raises(kind: str, also: str) -> None:
    """Also those that came with the end, before it could run."""
    numbers = broadcast(online=True)
    numbers.publish(1)
    reader, got = KINDS[kind](numbers), list[int | Edge]()
    while (item := await soon(reader)) is not None:
        got.append(item)

    async def wait() -> None:
        got.extend(await drain(reader))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        if also == "a value":
            numbers.publish(2)
        elif also == "edges":
            edges(numbers, 2)
        numbers.close(ClosedError)
    first: dict[str, list[int | Edge]] = {"values": [1], "edges": [Edge(1)], "updates": [Edge(1), 1]}
    rest: list[int | Edge] = [Edge(2), Edge(3)] if also == "edges" and kind != "values" else []
    assert got == first[kind] + rest


@every_kind
async def test_a_reader_with_unread_edges_gets_them_and_no_value(kind: str) -> None:
    numbers = broadcast(held=4)
    reader = KINDS[kind](numbers)
    edges(numbers, 6)
    numbers.publish(1)
    numbers.close(ClosedError)
    expected = [] if kind == "values" else [Edge(3, 2), Edge(4), Edge(5), Edge(6)]
    assert await drain(reader) == expected


@every_kind
async def test_a_reader_made_later_gets_nothing_at_all(kind: str) -> None:
    """What was current is so no more."""
    numbers = broadcast(online=True)
    numbers.publish(1)
    numbers.close(ClosedError)
    assert await drain(KINDS[kind](numbers)) == []


@every_kind
async def test_what_is_written_after_the_end_reaches_nobody(kind: str) -> None:
    """Whoever writes may be in the middle of something when it is closed: no reason for an error, or for a value."""
    numbers = broadcast(online=True)
    reader = KINDS[kind](numbers)
    numbers.close(ClosedError)
    numbers.publish(1)
    edges(numbers, 1)
    assert (numbers.value, numbers.version, numbers.edges) == (None, 0, 1)
    assert await drain(reader) == ([] if kind == "values" else [Edge(1)])
    assert await drain(KINDS[kind](numbers)) == []


async def test_the_first_end_counts() -> None:
    numbers = broadcast()
    numbers.close(ClosedError)
    numbers.close(ZeroDivisionError)
    with pytest.raises(ClosedError):
        await anext(numbers.values())


@every_kind
async def test_every_reader_of_a_closed_broadcast_raises_an_error_of_its_own(kind: str) -> None:
    """One that is raised again and again would collect tracebacks, and what they hold."""
    numbers = broadcast()
    numbers.close(ClosedError)
    errors: list[ClosedError] = []
    for _ in range(3):
        with pytest.raises(ClosedError) as caught:
            await anext(KINDS[kind](numbers))
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3


@pytest.mark.parametrize("ask", [Numbers.wait_news, Numbers.wait_turn, lambda numbers: anext(numbers.values())])
async def test_who_catches_the_error_and_asks_again_does_not_stop_the_program(
    ask: Callable[[Numbers], Awaitable[object]],
) -> None:
    numbers = broadcast()
    numbers.close(ClosedError)
    with trio.move_on_after(1) as scope:
        scope.cancel()
        for _ in range(3):
            with pytest.raises(ClosedError):
                await ask(numbers)
    assert scope.cancelled_caught
    with trio.testing.assert_checkpoints(), pytest.raises(ClosedError):
        await ask(numbers)


@pytest.mark.parametrize(("wait", "value_wakes"), [(Numbers.wait_news, True), (Numbers.wait_turn, False)])
async def test_waiting_for_news_or_a_turn_is_ended_by_what_it_waits_for(
    wait: Callable[[Numbers], Awaitable[None]], value_wakes: bool
) -> None:
    for end in ("value", "edge", "close"):
        numbers, woken = broadcast(), trio.Event()

        async def waits(numbers: Numbers = numbers, woken: trio.Event = woken) -> None:
            with trio.testing.assert_checkpoints():
                await wait(numbers)
            woken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            if end == "value":
                numbers.publish(1)
            elif end == "edge":
                edges(numbers, 1)
            else:
                numbers.close(ClosedError)
            await trio.testing.wait_all_tasks_blocked()
            assert woken.is_set() == (end != "value" or value_wakes)
            nursery.cancel_scope.cancel()


# --- dropped ---


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("waited", [False, True])
async def test_a_reader_that_is_dropped_is_gone(kind: str, waited: bool) -> None:
    numbers = broadcast(online=True)
    numbers.publish(1)
    reader = KINDS[kind](numbers)
    await anext(reader)
    if waited:
        with trio.move_on_after(1):
            await drain(reader)
    gone = weakref.ref(reader)
    del reader
    if waited:  # trio's Cancelled holds the frames that it went through, and this task that, until its next step
        await trio.lowlevel.checkpoint()
        gc.collect()
    assert gone() is None


@every_kind
async def test_breaking_out_of_a_loop_leaves_nothing_behind(kind: str) -> None:
    numbers = broadcast(online=True)
    numbers.publish(1)
    before = trio.lowlevel.current_statistics().tasks_living
    async for _ in KINDS[kind](numbers):
        break
    with trio.move_on_after(1):
        async for _ in KINDS[kind](numbers):
            pass
    assert not numbers._news
    assert not numbers._turns
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_values_and_edges_that_nobody_can_get_any_more_are_let_go() -> None:
    class Thing:
        pass

    things = Broadcast[Thing, Thing](held=2, mark=lambda edge, _: edge)
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()
    reader = things.updates()
    for _ in range(6):
        value, edge = Thing(), Thing()
        alive.update((value, edge))
        things.edge(edge)
        things.publish(value)
    del value, edge
    assert len(alive) == 3  # the current value, and a ring of two
    for _ in range(3):
        await anext(reader)
    assert len(alive) == 3  # a reader keeps none
    things.close(ClosedError)
    assert len(alive) == 2
