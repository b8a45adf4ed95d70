"""span-panel-api's part of `bench_steady.py`; runs in a Python that has that package.

Prints the CPU seconds that it took, and how many snapshots it handed out, as JSON.
"""

import asyncio
import json
import sys
import time

from span_panel_api import MqttClientConfig, SpanMqttClient  # type: ignore[import-not-found]


async def main() -> None:
    """Connect, then follow the panel for so many seconds."""
    serial, port, http_port, transport, warm_up, seconds = sys.argv[1:]
    config = MqttClientConfig("127.0.0.1", serial, "x", mqtts_port=int(port), use_tls=transport == "tls")
    client = SpanMqttClient("127.0.0.1", serial, config, snapshot_interval=1.0, panel_http_port=int(http_port))
    await client.connect()
    taken = 0

    async def take(_snapshot: object) -> None:
        nonlocal taken
        await asyncio.sleep(0)
        taken += 1

    client.register_snapshot_callback(take)
    await client.start_streaming()
    await asyncio.sleep(float(warm_up))
    began, before = time.process_time(), taken
    await asyncio.sleep(float(seconds))
    print(json.dumps([time.process_time() - began, taken - before]))
    await client.close()


asyncio.run(main())
