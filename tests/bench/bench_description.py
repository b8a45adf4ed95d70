"""How long one `$description` keeps everything else in the program waiting, at worst; and what a reconnect parses.

In memory, one process. Each figure is the worst of several different documents of its kind, taken one after the other:
the same one twice costs nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from common import table

from span_trio.errors import SpanPanelStaleDataError
from span_trio.homie import Instant, Message
from span_trio.options import PanelOptions
from span_trio.recording import read_recording
from span_trio.tracker import PanelTracker

ROUNDS = 6
ROOT = "nt-1"
NOW = Instant(0.0, 0.0)
KIB = 1024
CORE = {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}
TREE = Path(__file__).parents[1] / "captures" / "parentchild-a-cold.jsonl"


def padded(make: Callable[[int], dict[str, object]], size: int) -> Callable[[int], bytes]:
    """A document of about that size: as many things in it as fit."""
    count = size
    while len(json.dumps(make(count))) > size:
        count = count * size // len(json.dumps(make(count))) if count > 8 else count - 1
    return lambda version: json.dumps({"version": version, **make(count)}).encode()


def properties(count: int) -> dict[str, object]:
    return {"nodes": {**CORE, "n": {"properties": {f"p{number}": {"datatype": "float"} for number in range(count)}}}}


def members(count: int) -> dict[str, object]:
    enum = {"datatype": "enum", "format": ",".join(f"M{number}" for number in range(count))}
    return {"nodes": {**CORE, "n": {"properties": {"p": enum}}}}


def arrays(count: int) -> dict[str, object]:
    return {"nodes": CORE, "junk": [[] for _ in range(count)]}


def bare(version: int) -> bytes:
    """It says nothing of the properties, or they are not there; in turn."""
    nodes = {} if version % 2 else {f"n{number}": {} for number in range(130)}
    return json.dumps({"version": version, "nodes": {**CORE, **nodes}}).encode()


def blocked(document: Callable[[int], bytes], *, topics: int = 0) -> tuple[float, int]:
    """How long a document takes until the next message can be taken, s; and its size."""
    tracker = PanelTracker(ROOT, PanelOptions(max_silence=math.inf))
    tracker.link_up(1, NOW)
    tracker.tree.next_subscription()
    topic = f"ebus/5/{ROOT}/$description"
    tracker.receive([Message(f"ebus/5/{ROOT}/$state", b"ready"), Message(topic, document(0))], NOW)
    tracker.tree.barrier(NOW, passed=True)
    for number in range(topics):
        tracker.receive([Message(f"ebus/5/{ROOT}/n{number // 500}/p{number}", b"1.5")], NOW)
    worst, size = 0.0, 0
    for version in range(1, ROUNDS):
        message = Message(topic, document(version))
        began = time.perf_counter()
        tracker.receive([message], NOW)
        try:
            _ = tracker.snapshot
        except SpanPanelStaleDataError:  # it was refused, and there is none of before
            tracker.tree.forest.take_dirty()
        worst, size = max(worst, time.perf_counter() - began), len(message.payload)
    return worst, size


def reconnect() -> tuple[float, int]:
    """The descriptions of a real tree, as a broker replays them to a new link; the quickest."""
    with TREE.open(encoding="utf-8") as lines:
        messages = [recorded.message for recorded in read_recording(lines) if recorded.message.retain]
    found = [message for message in messages if message.topic.endswith("$description")]
    best = float("inf")
    for _ in range(ROUNDS):
        tracker = PanelTracker("ebus-40t-001", PanelOptions(max_silence=math.inf))
        tracker.link_up(1, NOW)
        began = time.perf_counter()
        tracker.receive(found, NOW)
        best = min(best, time.perf_counter() - began)
    return best, sum(len(message.payload) for message in found)


def main() -> None:
    rows = [
        (f"{size // KIB} KiB of {what.__name__}", *blocked(padded(what, size)))
        for size in (800 * KIB, 200 * KIB, 60 * KIB)
        for what in (properties, members, arrays)
    ]
    rows += [(f"few bytes, {topics:,} topics", *blocked(bare, topics=topics)) for topics in (60_000, 8_000, 1_000)]
    rows.append(("a tree of 33 devices again", *reconnect()))
    table(
        "one $description",
        ["what is in it", "bytes", "blocked, ms"],
        [(what, f"{size:,}", f"{1000 * seconds:.1f}") for what, seconds, size in rows],
    )


if __name__ == "__main__":
    main()
