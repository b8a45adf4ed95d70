"""A real mosquitto of our own, on free ports of the loopback interface, and a way to publish to it."""

from __future__ import annotations

import contextlib
import datetime as dt
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
import trio
import trustme
from paho.mqtt.enums import CallbackAPIVersion

from span_trio.homie import Message
from span_trio.recording import Recorded, read_recording
from tests.busy import PATIENCE
from tests.ports import held_port

__all__ = ["COLD", "ROOT", "Broker", "Publisher", "replayed", "until"]

COLD = Path(__file__).parents[1] / "captures" / "flat32-a-cold.jsonl"
ROOT = "sim-32t-001"


@functools.cache
def program(name: str) -> str:
    """The path of a program of mosquitto's. Its absence is a failure: a test that was not run has not passed."""
    # Debian keeps the broker in /usr/sbin, which not every user has on PATH.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        raise FileNotFoundError(f"these tests need {name}: apt-get install mosquitto mosquitto-clients")
    return found


@functools.cache
def _recording() -> tuple[Recorded, ...]:
    with COLD.open(encoding="utf-8") as lines:
        return tuple(read_recording(lines))


def replayed() -> list[Recorded]:
    """The recorded house, as a broker that has just connected replays it."""
    return [recorded for recorded in _recording() if recorded.message.retain]


class Broker:
    """A mosquitto in a folder of its own.

    ``port`` lets everybody in, and so do ``tls_port``, ``ws_port`` and ``wss_port``, those over TLS by a certificate
    for ``host`` that ``ca`` has signed. ``login_port`` asks for user and password (`USERS`), ``login_tls_port``,
    ``login_ws_port`` and ``login_wss_port`` do too; their ACL lets `BLIND` read nothing. The ports are its own until
    `close`, also while it does not run, so that it can be started again on them.

    Args:
        folder: its own.
        settings: more lines for its configuration.
        plugin: likewise, for ``port`` alone.
        host: where to listen.
        prefix: what to start it with, as the words of a command: in another network namespace, say.
        websockets: whether to offer those.
        persistent: whether what is retained is on disk at once, and there again when it was killed and is started.
    """

    BLIND = "blind"
    PASSWORD = "correct horse battery staple"
    USERS = (ROOT, BLIND)

    def __init__(
        self,
        folder: Path,
        *settings: str,
        plugin: Sequence[str] = (),
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        websockets: bool = True,
        persistent: bool = False,
    ) -> None:
        self.host, self.folder = host, folder
        self._held = contextlib.ExitStack()
        here = "127.0.0.1" if prefix else host  # in another namespace nobody else takes ports: they only must differ
        ports = [self._held.enter_context(held_port(here)) for _ in range(8)]
        self.port, self.tls_port, self.ws_port, self.wss_port = ports[:4]
        self.login_port, self.login_tls_port, self.login_ws_port, self.login_wss_port = ports[4:]
        self.listening_at = 0.0
        """When ``port`` was seen open, after the newest start; by `time.monotonic`."""
        self.ca = trustme.CA()
        self.certify(host)
        (folder / "passwords").touch(mode=0o600)
        for user in self.USERS:
            self.set_password(user, self.PASSWORD)
        (folder / "acl").write_text(f"user {ROOT}\ntopic read ebus/#\nuser {self.BLIND}\ntopic write ebus/#\n")
        (folder / "acl").chmod(0o600)
        everybody = ["allow_anonymous true"]
        users = [
            "allow_anonymous false",
            f"password_file {folder / 'passwords'}",
            f"acl_file {folder / 'acl'}",
        ]
        tls = [
            f"cafile {folder / 'ca.pem'}",
            f"certfile {folder / 'certificate.pem'}",
            f"keyfile {folder / 'key.pem'}",
        ]
        ws = ["protocol websockets", "socket_domain ipv4"]
        listeners = {
            self.port: [*everybody, *plugin],
            self.tls_port: [*everybody, *tls],
            self.login_port: users,
            self.login_tls_port: [*users, *tls],
        }
        if websockets:
            listeners |= {
                self.ws_port: [*ws, *everybody],
                self.wss_port: [*ws, *everybody, *tls],
                self.login_ws_port: [*ws, *users],
                self.login_wss_port: [*ws, *users, *tls],
            }
        self._ports = list(listeners)
        lines = [
            "per_listener_settings true",
            f"persistence {str(persistent).lower()}",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "log_type error",
            "log_type warning",
            "log_type notice",
            f"log_dest file {folder / 'log'}",
            *settings,
        ]
        for port, what in listeners.items():
            lines += [f"listener {port} {host}", *what]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it becomes another user, who may not read the folder
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._command = [*prefix, program("mosquitto"), "-c", str(folder / "mosquitto.conf")]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ca_pem(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    @property
    def log(self) -> str:
        """What it has said so far, notices included."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    # --- before it starts, or between two starts ---

    def certify(self, *names: str, ca: trustme.CA | None = None, not_after: dt.datetime | None = None) -> None:
        """Give it a certificate for these names, of ``ca`` or else its own; good from the next start on."""
        ca = ca or self.ca
        # Python's default of "now" would make one that is over already end before it begins.
        not_before = None if not_after is None else not_after - dt.timedelta(days=1)
        certificate = ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        ca.cert_pem.write_to_path(self.folder / "ca.pem")
        certificate.private_key_pem.write_to_path(self.folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "certificate.pem")

    def set_password(self, user: str, password: str) -> None:
        """Good from the next start on."""
        command = [program("mosquitto_passwd"), "-b", str(self.folder / "passwords"), user, password]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command

    # --- from start to end ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and let go of its ports."""
        if self._process is not None:
            self.resume()
            self.kill()
        self._held.close()

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        deadline = time.monotonic() + PATIENCE
        for port in self._ports:
            while not _listens(self.host, port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"mosquitto does not listen:\n{self.log}")
                time.sleep(0.002)
            if port == self.port:
                self.listening_at = time.monotonic()

    def kill(self) -> None:
        """As the power being cut, but that the kernel closes the sockets."""
        self._signal(signal.SIGKILL)
        self._wait()

    def terminate(self) -> None:
        """As somebody does who stops the service."""
        self._signal(signal.SIGTERM)
        self._wait()

    def suspend(self) -> None:
        """It stays connected and says nothing: a peer that is gone without a word."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # --- what it carries ---

    def feed(self, messages: Iterable[Message]) -> None:
        """Publish, retained, and wait until the broker has it all."""
        with Publisher(self.port, self.host) as publisher:
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


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=5):
        return True
    return False


class Publisher:
    """paho with its own thread, at QoS 1; leaving waits until the broker has acknowledged everything."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.max_queued_messages_set(0)
        self._host, self._port = host, port
        self._sent: list[paho.MQTTMessageInfo] = []

    def __enter__(self) -> Self:
        self._client.connect(self._host, self._port)
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
