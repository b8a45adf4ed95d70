"""What it costs to publish to many readers, and what it costs not to listen. In memory, one process.

By the side of the broadcast stand trio's memory channels, one to each reader: what one would build without it. Each
figure is the best of several rounds, taken in turn, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio
import trio.testing
from common import table

from span_trio.broadcast import Broadcast

ROUNDS = 15
PUBLISHES = 10

Numbers = Broadcast[int, int]


class Cost(NamedTuple):
    """Seconds for one publish: of the writer alone, and until all who wait have it and wait again."""

    writer: float
    all: float


class Case(NamedTuple):
    """Somebody to publish to, once all tasks of its nursery wait."""

    publish: Callable[[int], object]
    waiting: int


def _numbers() -> Numbers:
    numbers = Numbers(held=256, mark=lambda edge, _: edge)
    numbers.edge(1)
    return numbers


async def _take_all(take: Callable[[], Awaitable[object]]) -> None:
    while True:
        await take()


def waiting(nursery: trio.Nursery, readers: int) -> Case:
    """So many that wait for the newest value."""
    numbers = _numbers()
    for _ in range(readers):
        nursery.start_soon(_take_all, numbers.values().__anext__)
    return Case(numbers.publish, readers)


def idle(_nursery: trio.Nursery, readers: int) -> Case:
    """So many that once had a value, and do not ask any more."""
    numbers = _numbers()
    held = [numbers.values() for _ in range(readers)]

    def publish(value: int) -> None:
        numbers.publish(value)
        _ = held

    return Case(publish, 0)


def for_edges(nursery: trio.Nursery, readers: int) -> Case:
    """So many that wait for edges, of which there are none."""
    numbers = _numbers()
    for _ in range(readers):
        nursery.start_soon(_take_all, numbers.turns().__anext__)
    return Case(numbers.publish, 0)


def edges(nursery: trio.Nursery, readers: int) -> Case:
    """So many that wait for edges, and get them."""
    numbers = _numbers()
    for _ in range(readers):
        nursery.start_soon(_take_all, numbers.turns().__anext__)
    return Case(numbers.edge, readers)


def channels(nursery: trio.Nursery, readers: int) -> Case:
    """A memory channel to each of so many."""
    ends = [trio.open_memory_channel[int](1) for _ in range(readers)]
    for _, receive in ends:
        nursery.start_soon(_take_all, receive.receive)

    def publish(value: int) -> None:
        for send, _ in ends:
            send.send_nowait(value)

    return Case(publish, readers)


CASES: dict[str, tuple[Callable[[trio.Nursery, int], Case], int]] = {
    "nobody": (waiting, 0),
    "1,000 readers that do not ask": (idle, 1000),
    "1,000 that wait for edges": (for_edges, 1000),
    "1 that waits": (waiting, 1),
    "10 that wait": (waiting, 10),
    "1,000 that wait": (waiting, 1000),
    "an edge for 1,000": (edges, 1000),
    "a memory channel": (channels, 1),
    "10 memory channels": (channels, 10),
    "1,000 memory channels": (channels, 1000),
}


async def measure(case: Case) -> Cost:
    """The best publish of some."""
    writer = everybody = float("inf")
    for value in range(PUBLISHES):
        await trio.testing.wait_all_tasks_blocked()
        began = time.perf_counter()
        case.publish(value)
        writer = min(writer, time.perf_counter() - began)
        for _ in range(3 if case.waiting else 0):  # they run, take, and wait again, beside us
            await trio.lowlevel.checkpoint()
        everybody = min(everybody, time.perf_counter() - began)
    return Cost(writer, everybody)


async def main() -> None:
    """Measure, and print."""
    best = dict.fromkeys(CASES, Cost(float("inf"), float("inf")))
    async with trio.open_nursery() as nursery:
        cases = {name: make(nursery, readers) for name, (make, readers) in CASES.items()}
        for _ in range(ROUNDS):
            for name, case in cases.items():
                cost = await measure(case)
                best[name] = Cost(*map(min, best[name], cost))
        nursery.cancel_scope.cancel()
    nobody = best["nobody"].writer
    table(
        "A publish, to",
        ["", "writer, us", "to nobody", "until all have it, us", "us each"],
        [
            [
                name,
                f"{1e6 * cost.writer:.2f}",
                f"{cost.writer / nobody:.1f}",
                f"{1e6 * cost.all:.1f}" if cases[name].waiting else "-",
                f"{1e6 * cost.all / cases[name].waiting:.2f}" if cases[name].waiting else "-",
            ]
            for name, cost in best.items()
        ],
    )
    ours, theirs = best["1,000 that wait"], best["1,000 memory channels"]
    print(f"\n1,000 readers to 1,000 memory channels: {ours.writer / theirs.writer:.2f} of the writer's time, ", end="")
    print(f"{ours.all / theirs.all:.2f} of everybody's")


if __name__ == "__main__":
    trio.run(main)
