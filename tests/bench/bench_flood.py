"""50,000 updates through a real mosquitto, as fast as they can be published: what absorbing them costs.

CPU seconds are this process's; publisher and broker have their own. A reader takes every snapshot. Beside it, paho
alone with its own thread and socket, which only counts.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from functools import partial

import paho.mqtt.client as paho
import trio
from common import HERE, ROOT, Broker, replayed, table, with_house
from paho.mqtt.enums import CallbackAPIVersion

from span_trio import PanelOptions, SpanCredentials, open_span_panel

COUNT = 50_000
TOPICS = sorted(message.topic for _, message in replayed() if message.topic.endswith("/active-power"))


def publisher(broker: Broker) -> list[str]:
    """The command that publishes the flood."""
    script = HERE / "publisher.py"
    return [sys.executable, str(script), str(broker.port), str(COUNT), *TOPICS]


async def by_span_trio(broker: Broker, *, tls: bool) -> tuple[float, float, int]:
    """CPU seconds, seconds, and snapshots that a reader has seen."""
    credentials = SpanCredentials(serial_number=ROOT, ca_pem=broker.ca_pem)
    options = PanelOptions(
        max_silence=math.inf,
        transport="mqtts" if tls else "mqtt",
        mqtts_port=broker.tls_port,
        mqtt_port=broker.port,
    )
    seen = 0

    async def read() -> None:
        nonlocal seen
        async for _ in panel.snapshots():
            seen += 1

    async with open_span_panel("127.0.0.1", credentials=credentials, options=options) as panel:
        before, began = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(partial(trio.run_process, publisher(broker)))
            expected = panel.statistics().messages + COUNT
            while panel.statistics().messages < expected:  # noqa: ASYNC110 - nobody tells, and it must cost nothing
                await trio.sleep(0.02)
            spent = time.process_time() - before
            seconds = time.perf_counter() - began
            nursery.cancel_scope.cancel()
    return spent, seconds, seen


def by_paho(broker: Broker) -> tuple[float, float, int]:
    """The same of paho, which counts."""
    received, done = 0, threading.Event()

    def count(*_: object) -> None:
        nonlocal received
        received += 1
        if received == COUNT:
            done.set()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = count
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe("ebus/5/+/+/active-power", 0)
    subscribed.wait(10)
    time.sleep(0.2)  # the replay of those topics, which does not count
    received = 0
    before, began = time.process_time(), time.perf_counter()
    with subprocess.Popen(publisher(broker)):  # noqa: S603 - our own command
        complete = done.wait(40)
        spent, seconds = time.process_time() - before, time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    if not complete:
        print(f"paho got {received} of {COUNT}: the broker has dropped the rest.")
    return spent, seconds, 0


def main() -> None:
    """Measure, and print."""
    with with_house() as broker:
        runs = {
            "paho, counting": by_paho(broker),
            "span_trio, TCP": trio.run(partial(by_span_trio, broker, tls=False)),
            "span_trio, TLS": trio.run(partial(by_span_trio, broker, tls=True)),
        }
    reference = runs["paho, counting"][0]
    table(
        f"{COUNT} updates",
        ["", "messages a CPU s", "to paho", "us a message", "messages a s", "snapshots"],
        [
            [
                name,
                f"{COUNT / spent:.0f}",
                f"{reference / spent:.2f}",
                f"{1e6 * spent / COUNT:.1f}",
                f"{COUNT / seconds:.0f}",
                str(seen or ""),
            ]
            for name, (spent, seconds, seen) in runs.items()
        ],
    )


if __name__ == "__main__":
    main()
