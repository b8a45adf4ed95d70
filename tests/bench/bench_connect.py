"""How long one complete snapshot takes: connect, wait for the whole replay, close. With stored credentials.

Beside it, span-panel-api does the same in a virtual environment of its own, where that can be had. It asks the panel's
REST API on each connect, so a small one is there for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import trio
from common import HERE, ROOT, Broker, median_ms, table, with_house

from span_trio import PanelOptions, SpanCredentials, fetch_snapshot

TIMES = 60
TARGET_MS = 18.0
"""Over TLS."""
PEER = "span-panel-api==2.6.4"
SCHEMA = HERE.parent / "captures" / "flat32.rest.homie-schema.json"


def ours(broker: Broker, *, tls: bool) -> list[float]:
    """Seconds for each of `TIMES` snapshots."""
    credentials = SpanCredentials(serial_number=ROOT, ca_pem=broker.ca_pem)
    transport: Literal["mqtts", "mqtt"] = "mqtts" if tls else "mqtt"
    options = PanelOptions(max_silence=math.inf, transport=transport, mqtts_port=broker.tls_port, mqtt_port=broker.port)

    async def measure() -> list[float]:
        await trio.lowlevel.checkpoint()
        taken = []
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            snapshot = await fetch_snapshot("127.0.0.1", credentials=credentials, options=options)
            taken.append(time.perf_counter() - began)
            assert len(snapshot.circuits) == 24
        return taken[1:]  # the first one warms up

    return trio.run(measure)


@contextmanager
def rest_api(broker: Broker) -> Iterator[int]:
    """The two answers of a panel's REST API that span-panel-api asks for."""
    answers = {"/api/v2/certificate/ca": broker.ca_pem.encode(), "/api/v2/homie/schema": SCHEMA.read_bytes()}

    class Panel(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Panel) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextmanager
def peer() -> Iterator[Path | None]:
    """A Python that has span-panel-api; `None` if it cannot be installed."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin", "python")
        try:
            venv.create(folder, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER]
            subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603 - our own command
        except (OSError, subprocess.SubprocessError):
            yield None
        else:
            yield python


def theirs(python: Path, broker: Broker, http_port: int, *, tls: bool) -> list[float] | None:
    """Seconds for each snapshot that span-panel-api takes within a few seconds."""
    port = broker.tls_port if tls else broker.port
    arguments = [ROOT, str(port), str(http_port), "tls" if tls else "tcp"]
    command = [str(python), str(HERE / "peer_connect.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - likewise
    with contextlib.suppress(ValueError):
        taken: list[float] = json.loads(done.stdout)
        return taken
    print(done.stderr, file=sys.stderr)
    return None


def main() -> None:
    """Measure, and print."""
    rows = []
    with with_house() as broker, rest_api(broker) as http_port, peer() as python:
        if python is None:
            print(f"{PEER} cannot be installed here: nothing to compare with.")
        for name, tls in (("TCP", False), ("TLS", True)):
            mine = ours(broker, tls=tls)
            other = None if python is None else theirs(python, broker, http_port, tls=tls)
            row = [name, f"{median_ms(mine):.1f}", f"{1000 * min(mine):.1f}", f"{1000 * max(mine):.1f}"]
            if python is not None:
                row += (
                    ["failed", ""]
                    if not other
                    else [f"{median_ms(other):.1f}", f"1 : {median_ms(other) / median_ms(mine):.0f}"]
                )
            rows.append(row)
    columns = ["", "span_trio ms", "min", "max", *([] if python is None else ["span-panel-api 2.6.4 ms", "ratio"])]
    table(f"One snapshot of 24 circuits, median of {TIMES}", columns, rows)
    reached = float(rows[1][1]) <= TARGET_MS
    print(f"\nTarget over TLS: {TARGET_MS:.0f} ms or less. {'Reached.' if reached else 'Missed.'}")


if __name__ == "__main__":
    main()
