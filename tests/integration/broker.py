"""A real mosquitto of our own, on free ports of the loopback interface, and a way to publish to it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
import pytest
import trio
import trustme
from paho.mqtt.enums import CallbackAPIVersion

from span_trio.homie import Message
from span_trio.recording import Recorded, read_recording

__all__ = ["COLD", "ROOT", "Broker", "Publisher", "replayed", "until"]

COLD = Path(__file__).parents[1] / "captures" / "flat32-a-cold.jsonl"
ROOT = "sim-32t-001"
_START_WITHIN = 10.0


@functools.cache
def program(name: str) -> str:
    """The path of a program of mosquitto's. Its absence is a failure: a test that was not run has not passed."""
    # Debian keeps the broker in /usr/sbin, which not every user has on PATH.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        pytest.fail(f"these tests need {name}: apt-get install mosquitto mosquitto-clients", pytrace=False)
    return found


@functools.cache
def _recording() -> tuple[Recorded, ...]:
    with COLD.open(encoding="utf-8") as lines:
        return tuple(read_recording(lines))


def replayed() -> list[Recorded]:
    """The recorded house, as a broker that has just connected replays it."""
    return [recorded for recorded in _recording() if recorded.message.retain]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class Broker:
    """A mosquitto in a folder of its own.

    ``port`` lets everybody in, ``tls_port`` too, by a certificate for 127.0.0.1 that ``ca`` has signed; ``login_port``
    asks for user and password (`users`), and its ACL lets `BLIND` read nothing.
    """

    BLIND = "blind"
    PASSWORD = "correct horse battery staple"
    USERS = (ROOT, BLIND)

    def __init__(self, folder: Path, *settings: str, plugin: Sequence[str] = ()) -> None:
        self.port, self.tls_port, self.login_port = _free_port(), _free_port(), _free_port()
        self.ca = trustme.CA()
        self.folder = folder
        certificate = self.ca.issue_cert("127.0.0.1")
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        (folder / "passwords").touch(mode=0o600)
        for user in self.USERS:
            command = [program("mosquitto_passwd"), "-b", str(folder / "passwords"), user, self.PASSWORD]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
        (folder / "acl").write_text(f"user {ROOT}\ntopic read ebus/#\nuser {self.BLIND}\ntopic write ebus/#\n")
        (folder / "acl").chmod(0o600)
        lines = [
            "per_listener_settings true",
            "persistence false",
            "log_type error",
            "log_type warning",
            f"log_dest file {folder / 'log'}",
            *settings,
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            *plugin,
            f"listener {self.tls_port} 127.0.0.1",
            "allow_anonymous true",
            f"cafile {folder / 'ca.pem'}",
            f"certfile {folder / 'certificate.pem'}",
            f"keyfile {folder / 'key.pem'}",
            f"listener {self.login_port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {folder / 'passwords'}",
            f"acl_file {folder / 'acl'}",
        ]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it becomes another user, who may not read the folder
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ca_pem(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    def __enter__(self) -> Self:
        command = [program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + _START_WITHIN
        for port in (self.port, self.tls_port, self.login_port):
            while not _listens(port):
                log = self.folder / "log"
                assert self._process.poll() is None, log.read_text() if log.exists() else "mosquitto does not start"
                assert time.monotonic() < deadline, f"mosquitto does not listen within {_START_WITHIN} s"
                time.sleep(0.002)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    def kill(self) -> None:
        """As the power being cut, but that the kernel closes the sockets."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def suspend(self) -> None:
        """It stays connected and says nothing: a peer that is gone without a word."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def feed(self, messages: Iterable[Message]) -> None:
        """Publish, retained, and wait until the broker has it all."""
        with Publisher(self.port) as publisher:
            for topic, payload, _ in messages:
                publisher.publish(topic, payload, retain=True)

    def feed_house(self) -> None:
        self.feed(recorded.message for recorded in replayed())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    while True:
        await trio.lowlevel.checkpoint()
        if condition():
            return


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Publisher:
    """paho with its own thread, at QoS 1; leaving waits until the broker has acknowledged everything."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.max_queued_messages_set(0)
        self._port = port
        self._sent: list[paho.MQTTMessageInfo] = []

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        self._sent.append(self._client.publish(topic, payload, qos=1, retain=retain))

    def flush(self) -> None:
        for info in self._sent:
            info.wait_for_publish(30)
            assert info.is_published()
        self._sent.clear()


@contextlib.contextmanager
def refusing_subscriptions(folder: Path) -> Generator[Broker]:
    """A broker that answers SUBSCRIBE with a refusal, which mosquitto's plain ACL file never does."""
    found = [*Path("/usr/lib").glob("**/mosquitto_dynamic_security.so")]
    assert found, "mosquitto's plug-in for dynamic security is not there (Debian has it in its package)"
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    (folder / "security.json").write_text(json.dumps({"defaultACLAccess": access}))
    plugin = [f"plugin {found[0]}", f"plugin_opt_config_file {folder / 'security.json'}"]
    with Broker(folder, plugin=plugin) as broker:
        yield broker
