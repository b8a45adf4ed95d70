"""Publish a flood at QoS 1 from bare packets, which takes a tenth of the time that a client library takes.

``publisher.py PORT COUNT TOPIC…``: a process of its own, as a panel is. Each payload is the message's number.
"""

import itertools
import socket
import sys

WINDOW = 250
"""So many packets are on their way at most; then their acknowledgements are awaited."""
CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05flood"
DISCONNECT = b"\xe0\x00"
ACKNOWLEDGEMENT = 4
"""Bytes, of a CONNACK and of a PUBACK."""


def publish(topic: bytes, payload: bytes, number: int) -> bytes:
    """A PUBLISH, shorter than 128 bytes."""
    body = len(topic).to_bytes(2, "big") + topic + (number % 65_535 + 1).to_bytes(2, "big") + payload
    return bytes([0x32, len(body)]) + body


def main() -> None:
    """Publish."""
    port, count, *topics = sys.argv[1:]
    turns = itertools.cycle([topic.encode() for topic in topics])
    with socket.create_connection(("127.0.0.1", int(port))) as broker, broker.makefile("rb") as answers:
        broker.sendall(CONNECT)
        answers.read(ACKNOWLEDGEMENT)
        for first in range(0, int(count), WINDOW):
            numbers = range(first, min(first + WINDOW, int(count)))
            broker.sendall(b"".join(publish(next(turns), str(number).encode(), number) for number in numbers))
            answers.read(ACKNOWLEDGEMENT * len(numbers))
        broker.sendall(DISCONNECT)


main()
