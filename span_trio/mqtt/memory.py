"""A paho client without a socket, a thread or a clock of ours: bytes in, bytes out.

paho is an MQTT client that owns its socket. `MemoryClient` gives it one that is two byte buffers, by overriding the one
private hook that makes it (`_create_socket`), so that trio can own the real stream. `check_hook` feeds a CONNECT and a
CONNACK through it when this module is imported, and fails loudly if a paho release has moved the hook.
"""

from __future__ import annotations

from typing import Final

import paho.mqtt.client as paho
from paho.mqtt import __version__ as paho_version
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

__all__ = ["MemoryClient", "MemorySocket"]

_NOWHERE: Final = ".."  # no name that can be looked up: without the hook, paho would do so and connect


class MemorySocket:
    """What paho calls a socket (its `SocketLike`): ``incoming`` is for it to read, ``outgoing`` is what it wrote."""

    def __init__(self) -> None:
        self.incoming: bytearray = bytearray()
        self.outgoing: bytearray = bytearray()

    def recv(self, buffer_size: int) -> bytes:
        """Some of ``incoming``; `BlockingIOError` when there is none, as of any socket that does not block."""
        if not self.incoming:
            raise BlockingIOError
        data = bytes(self.incoming[:buffer_size])
        del self.incoming[:buffer_size]
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        """Take all of ``buffer``."""
        self.outgoing += buffer
        return len(buffer)

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        """No file."""
        return -1

    def close(self) -> None:
        """paho closes when it was fed what is malformed; what it wrote stays to be sent."""


class MemoryClient(paho.Client):
    """A paho client, MQTT 3.1.1, clean session, on a `MemorySocket`. It never reconnects and never writes by itself."""

    def __init__(self, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self.memory: MemorySocket = MemorySocket()
        self.on_socket_register_write = _leave_it_to_us

    def _create_socket(self) -> MemorySocket:  # the one private hook of paho's that we need
        return self.memory

    def feed(self, packet: bytes) -> MQTTErrorCode:
        """Let paho handle one whole packet (``loop_read`` may take it in several calls)."""
        self.memory.incoming += packet
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        while self.memory.incoming and code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            code = self.loop_read()
        return code

    def take_outgoing(self) -> bytes:
        """What paho wants to send."""
        self.loop_write()
        data = bytes(self.memory.outgoing)
        self.memory.outgoing.clear()
        return data


def _leave_it_to_us(*_: object) -> None:
    """With this callback set, paho queues what it publishes instead of writing it at once."""


def check_hook() -> None:
    """Prove that paho still works on our socket.

    Raises:
        ImportError: it does not.
    """
    try:
        client = MemoryClient("check")
        client.connect(_NOWHERE, 1, keepalive=60)
        connect = client.take_outgoing()
        client.feed(b"\x20\x02\x00\x00")
        if connect[:1] != b"\x10" or not client.is_connected():
            raise ConnectionError("no CONNECT came out, or no CONNACK went in")
    except Exception as error:  # whatever another paho makes of it
        raise ImportError(
            f"span_trio.mqtt does not work with paho-mqtt {paho_version}: its socket hook has moved"
        ) from error


check_hook()
