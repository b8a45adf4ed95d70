"""What long runs keep to: the time that they were given, and shares of runs that chance allows."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, TypeVar

__all__ = ["batches", "enough", "in_processes"]

Share = TypeVar("Share")
"""What a piece of work comes to."""

_BATCH: Final = 25
"""Examples that hypothesis makes between two looks at the clock: a second of them, or less."""

_CHANCE: Final = 1e-4
"""How often `enough` may be wrong of a machine that gets there exactly as often as it must."""


def batches(examples: int, until: float) -> Iterator[int]:
    """Split so many examples; no batch begins behind ``until``, by `time.time`."""
    while examples > 0 and time.time() < until:
        yield min(examples, _BATCH)
        examples -= _BATCH


def in_processes(work: Callable[[int], Share], pieces: int, processes: int, until: float) -> Iterator[Share]:
    """Do so many pieces of work, so many at a time; none begins behind ``until``, and what is yielded is done.

    Leaving it ends the processes, whatever they are at.
    """
    done: SimpleQueue[Share] = SimpleQueue()
    begun = ended = 0
    # Each does a few pieces and is replaced, since hypothesis keeps much of what it has seen.
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=4) as pool:
        while True:
            while begun < min(pieces, ended + processes) and time.time() < until:
                pool.apply_async(work, (begun,), callback=done.put)
                begun += 1
            if ended == begun:
                return
            yield done.get()
            ended += 1


def enough(count: int, runs: int, share: float) -> bool:
    """Whether it can be that ``share`` of all runs get there, if ``count`` of these ``runs`` did.

    Fewer than the share do not say that it cannot: of 1,000 runs, chance alone may leave 1 of the 10 that 1 % would be.
    Of 20,000 runs it leaves 150 of 200.
    """
    if runs == 0 or count >= share * runs:
        return runs > 0

    def chance_of(hits: int) -> float:
        ways = math.lgamma(runs + 1) - math.lgamma(hits + 1) - math.lgamma(runs - hits + 1)
        return math.exp(ways + hits * math.log(share) + (runs - hits) * math.log1p(-share))

    return math.fsum(map(chance_of, range(count + 1))) > _CHANCE
