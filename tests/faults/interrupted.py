# ruff: noqa: T201 - it talks to whoever started it
"""A program that has a panel open, for somebody to press ctrl-C: ``python -m tests.faults.interrupted``.

For each line of its input (the `Round`, as JSON) it opens a panel, reads it for a while and closes it, and says when it
begins with what. It waits for the ctrl-C then, if that has not come yet, and says what came of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from span_trio import PanelOptions, SpanCredentials, open_span_panel

__all__ = ["RUNS_FOR", "Round"]

RUNS_FOR = 0.1


@attrs.frozen
class Round:
    """What to do.

    Attributes:
        transport: and where.
        port: likewise.
        ca_pem: whom to trust.
        fails: whether the body raises an error of its own in the end.
        closes_within: the grace, s.
        patient: whether to wait for a ctrl-C at the end.
    """

    transport: Any
    port: int
    ca_pem: str
    fails: bool
    closes_within: float
    patient: bool = True


async def play(what: Round) -> None:
    """Open, read, close."""
    ports: dict[str, Any] = {f"{what.transport}_port": what.port}
    options = PanelOptions(transport=what.transport, close_grace=what.closes_within, max_silence=math.inf, **ports)
    say("opening")
    async with open_span_panel("127.0.0.1", credentials=SpanCredentials(ca_pem=what.ca_pem), options=options) as panel:
        say("running")
        with trio.move_on_after(RUNS_FOR):
            async for _ in panel.updates():
                pass
        say("closing")
        if what.fails:
            raise LookupError("the body's own")


async def main(what: Round) -> None:
    """As a program that goes on behind its panel, whatever became of it."""
    with contextlib.suppress(LookupError):
        await play(what)
    say("behind")
    if what.patient:
        await trio.sleep_forever()


def say(phase: str) -> None:
    print(json.dumps({"phase": phase, "at": time.monotonic()}), flush=True)


def sockets() -> int:
    """How many this process has."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def once(what: Round) -> None:
    """One round, and what came out of it."""
    before = sockets()
    try:
        trio.run(main, what)
    except KeyboardInterrupt:
        came_out = "ctrl-C"
    except BaseException as error:  # noqa: BLE001 - that is the question
        came_out = repr(error)
    else:
        came_out = "nothing"
    print(json.dumps({"came_out": came_out, "left": sockets() - before}), flush=True)


if __name__ == "__main__":
    logging.disable()
    for line in sys.stdin:
        once(Round(**json.loads(line)))
