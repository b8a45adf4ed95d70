"""span_trio's part of `bench_steady.py`: as `peer_steady.py`, and with the same arguments."""

import json
import math
import sys
import time

import trio

from span_trio import PanelOptions, SpanCredentials, SpanPanel, open_span_panel


async def main() -> None:
    """Connect, then follow the panel for so many seconds."""
    serial, port, _http_port, transport, warm_up, seconds, ca_file = sys.argv[1:]
    ca_pem = await trio.Path(ca_file).read_text()
    options = PanelOptions(
        max_silence=math.inf,
        transport="mqtts" if transport == "tls" else "mqtt",
        mqtt_port=int(port),
        mqtts_port=int(port),
        fetch_schema=False,
    )
    credentials = SpanCredentials(serial_number=serial, ca_pem=ca_pem)
    taken = 0

    async def take(panel: SpanPanel) -> None:
        nonlocal taken
        async for _snapshot in panel.snapshots():
            taken += 1

    async with (
        open_span_panel("127.0.0.1", credentials=credentials, options=options) as panel,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take, panel)
        await trio.sleep(float(warm_up))
        began, before = time.process_time(), taken
        await trio.sleep(float(seconds))
        print(json.dumps([time.process_time() - began, taken - before]))
        nursery.cancel_scope.cancel()


trio.run(main)
