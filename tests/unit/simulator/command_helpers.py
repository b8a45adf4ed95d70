"""What the tests of commands share: a client made of bytes that hears everything, and where each control is."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, NamedTuple

import attrs
import trio
from trio.testing import MockClock

from span_trio.enums import Control
from span_trio.mqtt.framing import Framer
from span_trio.simulator import SimulatedPanel, open_simulated_panel
from span_trio.simulator.house.spec import HouseSpec
from tests.unit.mqtt import packets
from tests.unit.simulator.house_helpers import NOON, circuit_id
from tests.unit.simulator.parent_child_helpers import EVSE, PANEL, full_house
from tests.unit.simulator.peers import connect

BASE: Final = "ebus/5/"
FLAT: Final = 202627
TREE: Final = 202639
BOTH: Final = (FLAT, TREE)

_PATHS: Final = {
    FLAT: {
        Control.RELAY: f"{PANEL}/{{}}/relay",
        Control.PRIORITY: f"{PANEL}/{{}}/shed-priority",
        Control.DOMINANT_POWER_SOURCE: f"{PANEL}/core/dominant-power-source",
        Control.CHARGE_LIMIT: f"{PANEL}/sd-1/user-max-charge-current",
    },
    TREE: {
        Control.RELAY: "{}/switch/relay",
        Control.PRIORITY: "{}/load-shed/priority",
        Control.ISLANDING: f"{PANEL}/shed/asserted-islanding-state",
        Control.CHARGE_LIMIT: f"{EVSE}/config/user-max-charge-current",
    },
}


def virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


class Heard(NamedTuple):
    """A message, or (without a topic) a PUBACK."""

    at: float
    topic: str
    payload: bytes


@attrs.define
class Commander:
    """Somebody who is logged in to the panel, hears all that it says, and commands."""

    panel: SimulatedPanel
    stream: trio.abc.Stream
    began: float = attrs.field(factory=trio.current_time)
    heard: list[Heard] = attrs.field(factory=list[Heard])
    """Live messages and acknowledgements, in the order in which they came; times since it logged in."""
    sent: int = 0

    def at(self, control: Control, circuit: str = "Lights") -> str:
        """Where a control is, below ``ebus/5/``."""
        paths = _PATHS[FLAT if self.panel.publisher.release.build <= FLAT else TREE]
        return paths[control].format(circuit_id(self.panel.house, circuit))

    async def command(
        self, topic: str, payload: bytes, wait: float = 0.001, *, qos: int = 1, retain: bool = False, dup: bool = False
    ) -> None:
        """Publish to ``<topic>/set``, and give the panel a moment."""
        self.sent += 1
        name = f"{BASE}{topic}/set"
        await self.stream.send_all(packets.publish(name, payload, retain, qos, self.sent, dup=dup))
        await trio.sleep(wait)

    def take(self, *topics: str) -> list[bytes]:
        """What was said of these topics (of all, if none is named) since the last time."""
        taken, self.heard = self.heard, []
        return [item.payload for item in taken if item.topic and (not topics or item.topic in topics)]

    def said(self, *topics: str) -> list[tuple[str, bytes]]:
        """What was said of these topics, and to which; acknowledgements are said of ``""``."""
        return [(item.topic, item.payload) for item in self.heard if item.topic in topics]

    def retained(self, topic: str) -> bytes | None:
        return self.panel.broker.retained.get(BASE + topic)

    async def listen(self) -> None:
        framer = Framer()
        async for data in self.stream:
            for raw, start, _, _ in framer.frames(bytes(data)):
                now = trio.current_time() - self.began
                if raw[0] == 0x40:
                    self.heard.append(Heard(now, "", b""))
                elif raw[0] == 0x30:
                    end = start + 2 + int.from_bytes(raw[start : start + 2], "big")
                    topic = raw[start + 2 : end].decode().removeprefix(BASE)
                    if not topic.endswith("/set"):
                        self.heard.append(Heard(now, topic, bytes(raw[end:])))


@contextlib.asynccontextmanager
async def commanding(build: int, spec: HouseSpec | None = None, **more: Any) -> AsyncGenerator[Commander, None]:
    """A panel, and somebody who commands it. Bursts come at whole seconds; the first command has half a one."""
    at = dt.datetime.fromtimestamp(NOON, dt.UTC)
    async with (
        open_simulated_panel(full_house() if spec is None else spec, build=build, at=at, **more) as panel,
        trio.open_nursery() as nursery,
    ):
        commander = await join(panel, nursery)
        await trio.sleep(0.5)
        commander.take()
        yield commander
        nursery.cancel_scope.cancel()


async def join(panel: SimulatedPanel, nursery: trio.Nursery) -> Commander:
    """Somebody who listens in this nursery."""
    login = panel.credentials.login
    stream = await panel.dial("memory", 0, None)
    commander = Commander(panel, stream)
    hello = connect("commander", username=login[0], password=(login[1] or "").encode(), keepalive=0)
    await stream.send_all(hello + packets.subscribe(1, ["ebus/#"]))
    nursery.start_soon(commander.listen)
    return commander
