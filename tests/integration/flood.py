"""Publish a flood, as fast as it goes: ``flood.py PORT COUNT PREFIX TOPIC…``. A process of its own, as a panel is."""

import itertools
import sys

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    """Publish ``COUNT`` messages over all topics in turn; each payload is its number."""
    port, count, *topics = sys.argv[1:]
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    sent = [
        client.publish(topic, str(number), qos=1)
        for number, topic in zip(range(int(count)), itertools.cycle(topics), strict=False)
    ]
    for info in sent:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


main()
