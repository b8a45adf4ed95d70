"""A panel that stamps its values, as a process of its own: ``publisher.py PORT ORIGIN [--will] [--ready-first] …``.

Once a round it publishes every stamped value, and prints the round's number when the broker has it all. It connects
anew, with a new client and nothing left over, as soon as its broker is back, and publishes its whole tree again.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.faults.stamps import PERIOD, current_round, house, stamped_topics
from tests.integration.broker import ROOT

_STATE = f"ebus/5/{ROOT}/$state"
_RETRY = 0.05


class _LostError(Exception):
    """The broker is gone."""


class _Session:
    """One connection to the broker."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._connected, self._gone = threading.Event(), threading.Event()
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.max_inflight_messages_set(1000)
        client.on_connect = lambda *_: self._connected.set()
        client.on_disconnect = lambda *_: self._gone.set()
        if arguments.will:
            client.will_set(_STATE, "lost", qos=1, retain=True)
        client.connect(arguments.host, arguments.port)

    def run(self) -> None:
        """Announce the panel, then stamp, until the broker is gone."""
        self._client.loop_start()
        try:
            while not self._connected.is_set():
                self._rest(time.monotonic() + 0.001)
            self._announce()
            while True:
                number = self._round()
                print(number, flush=True)  # noqa: T201 - read by whoever started us
                self._rest(self._arguments.origin + number * PERIOD)
        except _LostError:
            return
        finally:
            self._client.loop_stop()

    def _announce(self) -> None:
        if self._arguments.ready_first:
            self._publish([(_STATE, "ready")])
            self._rest(time.monotonic() + 0.5)
        else:
            self._publish([(_STATE, "init")])
        self._publish([(topic, payload) for topic, payload, _ in house() if topic != _STATE])
        self._round()
        self._publish([(_STATE, "ready")])

    def _round(self) -> int:
        number = current_round(self._arguments.origin)
        self._publish([(topic, f"-{number}" if topic.endswith("power") else str(number)) for topic in stamped_topics()])
        return number

    def _publish(self, messages: list[tuple[str, str | bytes]]) -> None:
        sent = [self._client.publish(topic, payload, qos=1, retain=True) for topic, payload in messages]
        for info in sent:
            while info.rc != paho.MQTT_ERR_SUCCESS or not info.is_published():
                self._rest(time.monotonic() + 0.001)

    def _rest(self, until: float) -> None:
        if self._gone.wait(max(0.0, until - time.monotonic())):
            raise _LostError


def main() -> None:
    """For ever."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("origin", type=float)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--will", action="store_true")
    parser.add_argument("--ready-first", action="store_true")
    arguments = parser.parse_args()
    while True:
        with contextlib.suppress(OSError):
            _Session(arguments).run()
        time.sleep(_RETRY)


if __name__ == "__main__":
    main()
