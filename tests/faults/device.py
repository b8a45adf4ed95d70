"""A panel that does as it is told, as a process of its own: ``device.py PORT [--host HOST]``.

It publishes the recorded house, follows every ``/set`` after a moment, and prints each that it receives as a line of
JSON before it does anything about it. When its broker is back it announces itself anew, with what it has become.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.integration.broker import ROOT, replayed

_SLOWEST = 0.004  # s, until a relay has moved
_STATE = f"ebus/5/{ROOT}/$state"


def main() -> None:
    """For ever."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    values = {message.topic: message.payload for _, message in replayed() if message.topic != _STATE}
    while True:
        with contextlib.suppress(OSError):
            _serve(arguments.host, arguments.port, values)
        time.sleep(0.02)


def _serve(host: str, port: int, values: dict[str, bytes]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.max_inflight_messages_set(1000)
    gone, subscribed = threading.Event(), threading.Event()

    def take(_client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        topic, payload = message.topic.removesuffix("/set"), message.payload
        line = {"topic": topic, "payload": payload.decode(), "dup": message.dup, "retain": message.retain}
        print(json.dumps(line), flush=True)  # noqa: T201 - read by whoever started us
        time.sleep(random.uniform(0, _SLOWEST))  # noqa: S311 - no secret
        values[topic] = payload
        client.publish(topic, payload, qos=1, retain=True)

    client.on_connect = lambda *_: client.subscribe("ebus/5/+/+/+/set", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_disconnect = lambda *_: gone.set()
    client.on_message = take
    client.connect(host, port)
    client.loop_start()
    try:
        while not subscribed.wait(0.01):
            if gone.is_set():
                return
        for topic, payload in [(_STATE, b"init"), *values.items(), (_STATE, b"ready")]:
            client.publish(topic, payload, qos=1, retain=True)
        print(json.dumps({"topic": "", "payload": "", "dup": False, "retain": False}), flush=True)  # noqa: T201
        gone.wait()
    finally:
        client.loop_stop()


if __name__ == "__main__":
    main()
