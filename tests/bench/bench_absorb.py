"""What a message costs on its way from bytes to snapshot, and what a snapshot costs. In memory, one process.

Each figure is the best of several rounds, taken in turn, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import groupby

import paho.mqtt.client as paho
from common import COLD, ROOT, table

from span_trio.homie import Forest, Instant, Message
from span_trio.mqtt import Codec, Messages
from span_trio.mqtt.memory import MemoryClient
from span_trio.options import PanelOptions
from span_trio.recording import Recorded, read_recording
from span_trio.span import FLAT, FlatBuilder
from span_trio.tracker import PanelTracker

ROUNDS = 15
CONNACK = b"\x20\x02\x00\x00"
BURSTS_A_READ = 8
NOW = Instant(0.0, 0.0)


def packet(message: Message) -> bytes:
    """A PUBLISH."""
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic + message.payload
    size, length = len(body), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([0x30 | message.retain, *length, size]) + body


with COLD.open(encoding="utf-8") as _lines:
    RECORDING: list[Recorded] = list(read_recording(_lines))
REPLAY = [message for _, message in RECORDING if message.retain]
LIVE = [message for _, message in RECORDING if not message.retain]
# What arrives within a second is there in one read.
READS = [
    b"".join(packet(recorded.message) for recorded in burst)
    for _, burst in groupby((item for item in RECORDING if not item.message.retain), key=lambda item: int(item.t))
]


def connected() -> Codec:
    """A codec that is logged in."""
    codec = Codec(client_id="bench")
    codec.receive(CONNACK)
    return codec


def live_tracker(**options: float) -> PanelTracker:
    """A panel that is live."""
    tracker = PanelTracker(ROOT, PanelOptions(**{"max_silence": math.inf, **options}))  # type: ignore[arg-type]
    tracker.link_up(1, NOW)
    tracker.tree.next_subscription()
    tracker.receive(REPLAY, NOW)
    tracker.tree.barrier(NOW, passed=True)
    assert tracker.publish(NOW) is not None
    return tracker


# --- a message ---


def by_paho() -> Callable[[], object]:
    """What it costs to have paho decode it, for comparison."""
    client = MemoryClient("bench")
    client.connect("..", 1)
    client.feed(CONNACK)
    received: list[paho.MQTTMessage] = []
    client.on_message = lambda _client, _userdata, message: received.append(message)
    return lambda: [client.feed(data) for data in READS]


def by_codec() -> Callable[[], object]:
    """Framing and decoding."""
    codec = connected()
    return lambda: [codec.receive(data) for data in READS]


def by_forest() -> Callable[[], object]:
    """Where the value goes, and what it means."""
    forest = Forest("ebus", fallback=FLAT)
    for message in REPLAY:
        forest.absorb(message, 0.0)

    def absorb() -> None:
        for message in LIVE:
            forest.absorb(message, 0.0)
        forest.take_dirty()

    return absorb


def whole() -> Callable[[], object]:
    """Bytes to published snapshots, one for each burst."""
    codec, tracker, clock = connected(), live_tracker(snapshot_interval=0.0), [0.0]

    def absorb() -> None:
        for data in READS:
            clock[0] += 1.0
            at = Instant(clock[0], clock[0])
            for event in codec.receive(data):
                assert isinstance(event, Messages)
                tracker.receive(event.batch, at)
            tracker.tick(at)
            tracker.publish(at)

    return absorb


# --- a snapshot ---


def dirty(count: int | None) -> Callable[[], object]:
    """A snapshot after the power of so many circuits has changed; `None`: after a new description, from scratch."""
    tracker = live_tracker()
    powers = [
        message.topic for message in REPLAY if message.topic.endswith("/active-power") and "lugs" not in message.topic
    ]
    assert len(powers) == 24
    value = [0]

    def look() -> float:
        value[0] += 1
        payload = str(value[0]).encode()
        if count is None:
            tracker.tree.forest.touch(ROOT)
        else:
            tracker.receive([Message(topic, payload) for topic in powers[:count]], NOW)
        began = time.perf_counter()
        _ = tracker.snapshot
        return time.perf_counter() - began

    return look


def first() -> Callable[[], object]:
    """The first snapshot of a panel."""
    forest = Forest("ebus", fallback=FLAT)
    for message in REPLAY:
        forest.absorb(message, 0.0)
    forest.touch(ROOT)
    everything = forest.take_dirty()

    def look() -> float:
        builder = FlatBuilder(ROOT)
        began = time.perf_counter()
        builder.build(forest, everything, pending=(), seq=1, epoch=1, received_at=NOW)
        return time.perf_counter() - began

    return look


def best(cases: dict[str, Callable[[], object]], *, inside: bool = False) -> dict[str, float]:
    """The best time of each, seconds; ``inside``: as the function itself has measured it."""
    taken: dict[str, float] = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS * (20 if inside else 1)):
        for name, function in cases.items():
            began = time.perf_counter()
            result = function()
            seconds = result if inside and isinstance(result, float) else time.perf_counter() - began
            taken[name] = min(taken[name], seconds)
    return taken


def main() -> None:
    """Measure, and print."""
    messages = best(
        {
            "paho decodes (not used)": by_paho(),
            "framing and codec": by_codec(),
            "forest": by_forest(),
            "whole path, a snapshot each burst": whole(),
        }
    )
    micros = {name: 1e6 * seconds / len(LIVE) for name, seconds in messages.items()}
    total = micros["whole path, a snapshot each burst"]
    table(
        f"A message of {len(LIVE)} in {len(READS)} bursts",
        ["", "us", "of the whole"],
        [[name, f"{cost:.2f}", f"{cost / total:.2f}"] for name, cost in micros.items()],
    )

    snapshots = best(
        {
            "nothing dirty": dirty(0),
            "one circuit dirty": dirty(1),
            "all 24 circuits dirty": dirty(24),
            "the description is new": dirty(None),
            "the first one": first(),
        },
        inside=True,
    )
    one = snapshots["one circuit dirty"]
    table(
        "A snapshot of 24 circuits",
        ["", "us", "to one circuit"],
        [[name, f"{1e6 * cost:.1f}", f"{cost / one:.2f}"] for name, cost in snapshots.items()],
    )


if __name__ == "__main__":
    main()
