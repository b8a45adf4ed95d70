"""A SPAN panel without the hardware: a house, its firmware and its broker, on trio's clock.

The rules of this room:

* A panel runs in the nursery of whoever opened it (`open_simulated_panel`), in memory; `listening` gives it ports.
* It publishes as the firmware does: ``init``, description, values, ``ready``, then one burst a second of what changed.
* House time is trio's time, ``speed`` times as fast: under a virtual clock a day takes as long as its arithmetic.
* What is wrong with the broker is in ``panel.broker.faults``; what a panel itself does wrong is a method here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import attrs
import trio
import trio.testing

from ..background import open_background
from ..credentials import SpanCredentials
from ..errors import SpanPanelConnectionError, SpanPanelValidationError
from ..homie import DeviceState, Message
from .broker import Broker, Client
from .flat import FlatPublisher
from .house import House
from .houses import BUILT_IN, built_in, load_house
from .spec import HouseSpec

__all__ = ["SimulatedPanel", "find_house", "open_simulated_panel"]

_DOMAIN: Final = "ebus"
_BURST: Final = 1.0
_SET: Final = "/set"


def find_house(name: str) -> HouseSpec:
    """A built-in house by name, or one from a file.

    Raises:
        SpanPanelValidationError: there is no such house, or the file is not one.
    """
    if name in BUILT_IN:
        return built_in(name)
    if Path(name).suffix == ".toml":
        return load_house(name)
    raise SpanPanelValidationError(f"no house {name!r}: choose from {', '.join(BUILT_IN)}, or give a .toml file")


class SimulatedPanel:
    """One panel. Made by `open_simulated_panel`.

    Attributes:
        house: the model; its commands and events may be used at any time.
        broker: the panel's broker, with its faults.
        publisher: how the house is published.
        passphrase: what registers a client.
        credentials: what opens this panel by MQTT, without a CA.
    """

    def __init__(self, spec: HouseSpec, *, seed: int, at: float, speed: float, build: int, bare: bool) -> None:
        self.house: Final = House(spec, seed, at)
        self.publisher: FlatPublisher = FlatPublisher(self.house, build, bare=bare)
        self.passphrase: Final = f"simulated-{secrets.token_hex(4)}"
        self.credentials: Final = SpanCredentials(
            serial_number=spec.device_id, broker_username=spec.device_id, broker_password=secrets.token_hex(8)
        )
        self.broker: Final = Broker(
            authenticate=self._authenticate, may_publish=self._may_publish, on_publish=self._on_publish
        )
        self.names_late: float | None = None
        """Seconds after ``ready`` at which names come, from the next start on (lesson B, "named by UUID")."""
        self._speed: Final = speed
        self._bare: Final = bare
        self._began: Final = (trio.current_time(), at)
        self._running = False
        self._nursery: trio.Nursery | None = None

    @property
    def serial_number(self) -> str:
        """The panel's, which is the id of its Homie device."""
        return self.publisher.device_id

    # --- the broker's questions ---

    def _authenticate(self, username: str | None, password: bytes | None) -> int:
        login = self.credentials.login
        return 0 if (username, password) == (login[0], (login[1] or "").encode()) else 4

    def _may_publish(self, _client: Client, topic: str) -> bool:
        """From r202615 on: commands, and trees of other devices. Before, anything (facts, REST section 7)."""
        if not self.publisher.release.limits_publishers:
            return True
        ours = f"{_DOMAIN}/5/{self.serial_number}/"
        return topic.startswith(f"{_DOMAIN}/5/") and (not topic.startswith(ours) or topic.endswith(_SET))

    def _on_publish(self, _client: Client, message: Message) -> None:
        prefix = f"{_DOMAIN}/5/{self.serial_number}/"
        if self._running and message.topic.startswith(prefix) and message.topic.endswith(_SET):
            node, _, name = message.topic[len(prefix) : -len(_SET)].partition("/")
            self._catch_up()
            self.publisher.command(node, name, message.payload)
            self._publish_changes()

    # --- life ---

    @contextlib.asynccontextmanager
    async def running(self, nursery: trio.Nursery) -> AsyncGenerator[None, None]:
        """Live in this nursery, as long as the block lasts."""
        self._nursery = nursery
        self.start()
        nursery.start_soon(self._publish_bursts)
        try:
            yield
        finally:
            self._nursery = None

    async def _publish_bursts(self) -> None:
        while True:
            if self._running:
                self._catch_up()
                self._publish_changes()
            await trio.sleep(_BURST)

    def _catch_up(self) -> None:
        """Let the house live until now."""
        began, at = self._began
        self.house.advance(at + (trio.current_time() - began) * self._speed)

    def _publish_changes(self) -> None:
        for suffix, payload in self.publisher.changes().items():
            self.publish(suffix, payload)

    def publish(self, suffix: str, payload: bytes, *, retain: bool = True) -> None:
        """Publish anything below the panel's device: a value, an attribute, rubbish."""
        self.broker.publish(f"{_DOMAIN}/5/{self.serial_number}/{suffix}", payload, retain=retain)

    def set_state(self, text: str) -> None:
        """Publish a ``$state``, whatever it says; the values go on. Poisoned before r202615 by others' wills."""
        self.publish("$state", text.encode())

    def clear_values(self) -> None:
        """Delete every retained value, as r202603 does when its service restarts."""
        prefix = f"{_DOMAIN}/5/{self.serial_number}/"
        for topic in [topic for topic in self.broker.retained if topic.startswith(prefix) and "/$" not in topic]:
            self.broker.publish(topic, b"", retain=True)

    def start(self, *, init: bool = True) -> None:
        """Announce the panel: ``init`` (or not), description, values, ``ready``."""
        self._catch_up()
        if init:
            self.set_state(DeviceState.INIT)
        self.publish("$description", self.publisher.description().encode())
        values = self.publisher.values()
        late = {suffix for suffix in values if self.names_late is not None and suffix.endswith("/name")}
        for suffix, payload in values.items():
            if suffix not in late:
                self.publish(suffix, payload)
        self.set_state(DeviceState.READY)
        self._running = True
        if late and self._nursery is not None:
            self._nursery.start_soon(self._publish_late, {suffix: values[suffix] for suffix in late})

    async def _publish_late(self, values: dict[str, bytes]) -> None:
        await trio.sleep(self.names_late or 0.0)
        for suffix, payload in values.items():
            self.publish(suffix, payload)

    def stop(self, goodbye: str | None = DeviceState.LOST) -> None:
        """The panel's service ends. All flat firmware says ``lost``, or nothing when it dies."""
        self._running = False
        if goodbye is not None:
            self.set_state(goodbye)

    async def restart(
        self, *, away: float = 3.0, goodbye: str | None = DeviceState.LOST, init: bool = True, build: int | None = None
    ) -> None:
        """The panel's service ends and begins again; its broker stays. Returns when it is ``ready``.

        Args:
            away: how long, s.
            goodbye: the last ``$state``; ``None``: none.
            init: whether it says ``init`` first.
            build: of other firmware from now on.
        """
        self.stop(goodbye)
        await trio.sleep(away)
        if not self.publisher.release.keeps_retained:
            self.clear_values()
        if build is not None:
            self.publisher = FlatPublisher(self.house, build, bare=self._bare)
        self.start(init=init)

    async def reboot(self, *, away: float = 10.0, forget: bool = False, build: int | None = None) -> None:
        """The whole panel goes down, broker included, and comes back. Returns when it is ``ready``.

        Args:
            away: s, during which connections are refused.
            forget: whether the broker comes back without what it had retained.
            build: of other firmware from now on.
        """
        self._running = False
        before = self.broker.faults
        self.broker.faults = attrs.evolve(before, hang_up=True)
        self.broker.reset()
        await trio.sleep(away)
        if forget:
            self.broker.clear_retained()
        elif not self.publisher.release.keeps_retained:
            self.clear_values()
        if build is not None:
            self.publisher = FlatPublisher(self.house, build, bare=self._bare)
        self.broker.faults = before
        self.start()

    # --- connections ---

    async def dial(self, _host: str, _port: int, _tls: ssl.SSLContext | None) -> trio.abc.Stream:
        """A connection in memory: to be given to `open_span_panel` as its ``dialer``.

        Raises:
            SpanPanelConnectionError: the simulated panel is closed.
        """
        await trio.lowlevel.checkpoint()
        if self._nursery is None:
            raise SpanPanelConnectionError("the simulated panel is closed")
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.broker.serve, theirs)
        return ours


@contextlib.asynccontextmanager
async def open_simulated_panel(
    house: HouseSpec | str = "32",
    *,
    seed: int = 0,
    at: dt.datetime | None = None,
    speed: float = 1.0,
    build: int = 202627,
    bare: bool = False,
) -> AsyncGenerator[SimulatedPanel, None]:
    """A panel in a box, running, in memory.

    Args:
        house: what it measures: a name of `BUILT_IN`, a TOML file's, or a spec.
        seed: equal seeds, equal days.
        at: when the house begins to live; ``None``: now.
        speed: how fast its time goes.
        build: of the firmware: 202603, 202609, 202615, 202621 or 202627.
        bare: describe as little as the public simulators.

    Raises:
        SpanPanelValidationError: there is no such house or build.
    """
    spec = find_house(house) if isinstance(house, str) else house
    moment = (dt.datetime.now(dt.UTC) if at is None else at).timestamp()
    panel = SimulatedPanel(spec, seed=seed, at=moment, speed=speed, build=build, bare=bare)
    async with open_background() as nursery, panel.running(nursery):
        yield panel
