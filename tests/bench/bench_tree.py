"""What the parent/child schema costs beside the flat one: a message, and a snapshot. In memory, one process.

Both are recorded houses (24 circuits flat, 26 as devices), taken in turn; figures are the best of several rounds.
Beside them span-panel-api's flat parser, in a virtual environment of its own, where that can be had.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench_absorb import NOW, best
from bench_connect import PEER, peer
from common import COLD, HERE, ROOT, table

from span_trio.homie import Forest, Instant, Message
from span_trio.options import PanelOptions
from span_trio.recording import read_recording
from span_trio.span import FALLBACK
from span_trio.tracker import PanelTracker

TREE_ROOT = "ebus-40t-001"
LIMIT = 1.5  # times the flat schema, a message


class House:
    """A recording, and a panel that is live by its replay."""

    def __init__(self, path: Path, root: str) -> None:
        with path.open(encoding="utf-8") as lines:
            recording = [recorded.message for recorded in read_recording(lines)]
        self.root = root
        self.replay = [message for message in recording if message.retain]
        self.live = [message for message in recording if not message.retain]

    def tracker(self) -> PanelTracker:
        """A panel that is live."""
        tracker = PanelTracker(self.root, PanelOptions(max_silence=math.inf, snapshot_interval=0.0))
        tracker.link_up(1, NOW)
        tracker.receive(self.replay, NOW)
        while tracker.tree.next_subscription() is not None:
            tracker.tree.barrier(NOW, passed=True)
        assert tracker.publish(NOW) is not None
        return tracker

    def forest(self) -> Callable[[], object]:
        """Where values go, and what they mean."""
        forest = Forest("ebus", fallback=FALLBACK)
        for message in self.replay:
            forest.absorb(message, 0.0)

        def absorb() -> None:
            for message in self.live:
                forest.absorb(message, 0.0)
            forest.take_dirty()

        return absorb

    def whole(self, batch: int = 50) -> Callable[[], object]:
        """Messages to published snapshots, one for each batch."""
        tracker, clock = self.tracker(), [0.0]

        def absorb() -> None:
            for start in range(0, len(self.live), batch):
                clock[0] += 1.0
                at = Instant(clock[0], clock[0])
                tracker.receive(self.live[start : start + batch], at)
                tracker.tick(at)
                tracker.publish(at)

        return absorb

    def look(self, *topics: str) -> Callable[[], object]:
        """A snapshot after these have changed."""
        tracker, value = self.tracker(), [0]

        def look() -> float:
            value[0] += 1
            tracker.receive([Message(topic, str(value[0]).encode()) for topic in topics], NOW)
            began = time.perf_counter()
            _ = tracker.snapshot
            return time.perf_counter() - began

        return look

    def anew(self) -> Callable[[], object]:
        """A snapshot after the panel's description has changed."""
        tracker = self.tracker()

        def look() -> float:
            tracker.tree.forest.touch(self.root)
            began = time.perf_counter()
            _ = tracker.snapshot
            return time.perf_counter() - began

        return look

    def powers(self) -> list[str]:
        """The powers of the circuits."""
        named = [
            message.topic.rsplit("/", 2)[0] for message in self.replay if message.topic.endswith("/relay-requester")
        ]
        topics = [message.topic for message in self.replay if message.topic.endswith("/active-power")]
        return [topic for topic in topics if any(topic.startswith(name) for name in named)]


def beside(micros: dict[str, float], snapshots: dict[str, float]) -> None:
    """What span-panel-api takes for the flat house."""
    with peer() as python:
        if python is None:
            print(f"\n{PEER} cannot be installed here: nothing to compare with.")
            return
        command = [str(python), str(HERE / "peer_absorb.py"), str(COLD), ROOT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - our own
    names = ("a message, to the store", "a snapshot, one circuit dirty", "a snapshot, 24 circuits dirty")
    ours = (micros["forest flat"], snapshots["one circuit dirty flat"], snapshots["24 circuits dirty flat"])
    trees = (micros["forest tree"], snapshots["one circuit dirty tree"], snapshots["24 circuits dirty tree"])
    table(
        f"Beside {PEER}, flat",
        ["", "theirs us", "flat us", "tree us"],
        [
            [name, f"{their:.1f}", f"{one:.1f}", f"{other:.1f}"]
            for name, their, one, other in zip(names, json.loads(done.stdout), ours, trees, strict=True)
        ],
    )


def main() -> None:
    """Measure, and print."""
    flat = House(COLD, ROOT)
    tree = House(COLD.with_name("parentchild-a-cold.jsonl"), TREE_ROOT)
    power = {"flat": flat.powers()[:24], "tree": tree.powers()[:24]}
    messages = best(
        {
            "forest flat": flat.forest(),
            "forest tree": tree.forest(),
            "absorb and snapshots flat": flat.whole(),
            "absorb and snapshots tree": tree.whole(),
        }
    )
    counts = {"flat": len(flat.live), "tree": len(tree.live)}
    micros = {name: 1e6 * seconds / counts[name[-4:]] for name, seconds in messages.items()}
    table(
        "A message",
        ["", "flat us", "tree us", "ratio"],
        [
            [name, f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}"]
            for name in ("forest", "absorb and snapshots")
            for one, other in [(micros[f"{name} flat"], micros[f"{name} tree"])]
        ],
    )
    flow = {"flat": f"ebus/5/{ROOT}/core/l1-voltage", "tree": f"ebus/5/{TREE_ROOT}/meter/voltage-a"}
    houses = {"flat": flat, "tree": tree}
    cases: dict[str, Callable[[], object]] = {}
    for name, house in houses.items():
        cases |= {
            f"one circuit dirty {name}": house.look(power[name][0]),
            f"one panel value dirty {name}": house.look(flow[name]),
            f"24 circuits dirty {name}": house.look(*power[name]),
            f"a description is new {name}": house.anew(),
        }
    snapshots = {name: 1e6 * seconds for name, seconds in best(cases, inside=True).items()}
    table(
        "A snapshot",
        ["", "flat us", "tree us", "ratio"],
        [
            [name, f"{one:.1f}", f"{other:.1f}", f"{other / one:.2f}"]
            for name in dict.fromkeys(case[:-5] for case in cases)
            for one, other in [(snapshots[f"{name} flat"], snapshots[f"{name} tree"])]
        ],
    )
    beside(micros, snapshots)
    ratio = micros["forest tree"] / micros["forest flat"]
    assert ratio <= LIMIT, ratio


if __name__ == "__main__":
    main()
