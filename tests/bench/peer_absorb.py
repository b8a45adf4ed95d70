"""span-panel-api's part of `bench_tree.py`; runs in a Python that has that package.

Prints the microseconds of a message, and of a snapshot with one circuit dirty and with 24, as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from span_panel_api.mqtt.accumulator import HomiePropertyAccumulator  # type: ignore[import-not-found]
from span_panel_api.mqtt.homie import HomieDeviceConsumer  # type: ignore[import-not-found]

ROUNDS = 7


def best(run: Callable[[], object], times: int) -> float:
    """Microseconds each, of the best round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            run()
        rounds.append(time.perf_counter() - began)
    return 1e6 * min(rounds) / times


def main() -> None:
    """Measure."""
    path, root = sys.argv[1:]
    recording = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    store = HomiePropertyAccumulator(root)
    panel = HomieDeviceConsumer(store, 32)
    for entry in recording:
        store.handle_message(entry["topic"], entry["payload"])
    live = [(entry["topic"], entry["payload"]) for entry in recording if not entry["retain"]]
    named = [entry["topic"].rsplit("/", 1)[0] for entry in recording if entry["topic"].endswith("/relay-requester")]
    powers = [f"{name}/active-power" for name in dict.fromkeys(named)][:24]
    value = 0

    def absorb() -> None:
        for topic, payload in live:
            store.handle_message(topic, payload)

    def look(topics: list[str]) -> None:
        nonlocal value
        value += 1
        for topic in topics:
            store.handle_message(topic, str(value))
        panel.build_snapshot()

    message = best(absorb, 1) / len(live)
    one, many = best(lambda: look(powers[:1]), 50), best(lambda: look(powers), 50)
    print(json.dumps([message, one - message, many - message * len(powers)]))


main()
