"""span-panel-api's part of `bench_connect.py`; runs in a Python that has that package. Prints seconds, as JSON."""

import asyncio
import json
import sys
import time

from span_panel_api import MqttClientConfig, SpanMqttClient  # type: ignore[import-not-found]

TIMES, WITHIN = 60, 8.0


async def main() -> None:
    """Connect, take a snapshot, close; again and again."""
    serial, port, http_port, transport = sys.argv[1:]
    config = MqttClientConfig("127.0.0.1", serial, "x", mqtts_port=int(port), use_tls=transport == "tls")
    taken: list[float] = []
    deadline = time.perf_counter() + WITHIN
    await asyncio.sleep(0)
    while len(taken) < TIMES and time.perf_counter() < deadline:
        began = time.perf_counter()
        client = SpanMqttClient("127.0.0.1", serial, config, panel_http_port=int(http_port))
        await client.connect()
        snapshot = await client.get_snapshot()
        await client.close()
        taken.append(time.perf_counter() - began)
        if not snapshot.circuits:
            raise RuntimeError("no circuits")
    print(json.dumps(taken[1:]))


asyncio.run(main())
