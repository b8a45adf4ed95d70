"""What a connected panel costs: CPU for each second of a recorded house, a snapshot a second.

The recorded minute is published again and again at its own pace, some 50 messages in a burst each second, by a process
of its own. Beside span_trio and at the same time, span-panel-api follows the same broker in a virtual environment of
its own, where that can be had.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench_connect import PEER, peer, rest_api
from common import COLD, HERE, ROOT, Broker, table, with_house

from span_trio.homie import Message
from span_trio.recording import read_recording

WARM_UP = 5.0
SECONDS = float(os.environ.get("SPAN_TRIO_BENCH_SECONDS", "30"))
CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05panel"  # no keepalive
SPIN = 0.002  # s: a thread that sleeps does not wake up in time
TARGETS = {"TCP": 0.75, "TLS": 0.9}
"""Of what the other takes."""


def publish(broker: Broker, stop: threading.Event) -> None:
    """The live part of the recording, at its pace, for as long as it is wanted; retained, as a panel does.

    In bare packets: a client library would stretch the bursts, which last some 5 ms.
    """
    with COLD.open(encoding="utf-8") as lines:
        live = [recorded for recorded in read_recording(lines) if not recorded.message.retain]
    first, last = live[0].t, live[-1].t
    packets = [(recorded.t - first, retained(recorded.message)) for recorded in live]
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", broker.port)) as panel:
        panel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        panel.sendall(CONNECT)
        for tile in itertools.count():
            for offset, packet in packets:
                due = began + tile * (last - first + 1.0) + offset
                if stop.wait(max(due - time.monotonic() - SPIN, 0)):
                    return
                while time.monotonic() < due:
                    pass
                panel.sendall(packet)


def retained(message: Message) -> bytes:
    """A PUBLISH at QoS 0, retained."""
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic + message.payload
    size, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)
        size.append(digit | (0x80 if rest else 0))
        if not rest:
            return b"\x31" + bytes(size) + body


def start(python: Path | str, script: str, *arguments: str) -> subprocess.Popen[str]:
    """One of the two."""
    command = [str(python), str(HERE / script), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command


def result(process: subprocess.Popen[str]) -> tuple[float, float] | None:
    """CPU ms a second, and snapshots a second."""
    out, _ = process.communicate(timeout=WARM_UP + SECONDS + 60)
    if process.returncode:
        return None
    cpu, snapshots = json.loads(out)
    return 1000 * cpu / SECONDS, snapshots / SECONDS


def main() -> None:
    """Measure, and print."""
    rows: list[list[str]] = []
    verdicts: list[str] = []
    with with_house() as broker, rest_api(broker) as http_port, peer() as python:
        if python is None:
            print(f"{PEER} cannot be installed here: nothing to compare with.")
        stop = threading.Event()
        publisher = threading.Thread(target=publish, args=(broker, stop))
        publisher.start()
        try:
            for name, port, transport in (("TCP", broker.port, "tcp"), ("TLS", broker.tls_port, "tls")):
                arguments = (ROOT, str(port), str(http_port), transport, str(WARM_UP), str(SECONDS))
                other = None if python is None else start(python, "peer_steady.py", *arguments)
                mine = result(start(sys.executable, "ours_steady.py", *arguments, str(broker.folder / "ca.pem")))
                theirs = None if other is None else result(other)
                row = [name, *([f"{mine[0]:.2f}", f"{mine[1]:.2f}"] if mine else ["failed", ""])]
                if mine and theirs:
                    ratio = mine[0] / theirs[0]
                    row += [f"{theirs[0]:.2f}", f"{theirs[1]:.2f}", f"{ratio:.2f}"]
                    verdicts.append(
                        f"Target over {name}: {TARGETS[name]:.2f} or less. "
                        f"{'Reached.' if ratio <= TARGETS[name] else 'Missed.'}"
                    )
                elif python is not None:
                    row += ["failed", "", ""]
                rows.append(row)
        finally:
            stop.set()
            publisher.join()
    columns = ["", "span_trio ms/s", "snapshots/s"]
    columns += [] if python is None else ["span-panel-api 2.6.4 ms/s", "snapshots/s", "ratio"]
    table(f"CPU of a connected panel, over {SECONDS:.0f} s", columns, rows)
    print("\n" + "\n".join(verdicts))


if __name__ == "__main__":
    main()
