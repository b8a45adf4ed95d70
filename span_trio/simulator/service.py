"""What runs in a simulated panel: a house, its firmware and its broker, on trio's clock; its starts and ends.

The rules of this room:

* It publishes as the firmware does: ``init``, description, values, ``ready`` of each device, then one burst a second of
  what changed. Flat firmware has one device; from r202633 on, the panel is the root of a tree.
* House time is trio's time, ``speed`` times as fast: under a virtual clock a day takes as long as its arithmetic.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from types import EllipsisType
from typing import Final

import attrs
import trio

from ..errors import SpanPanelValidationError
from ..homie import Message
from .announcer import Announcer
from .broker.broker import Broker
from .broker.packets import Publish, Will
from .broker.sessions import Client
from .command_log import CommandLog
from .desk import CommandDesk
from .firmware.builds import check_build, publisher_of
from .firmware.parent_child import ParentChildPublisher
from .firmware.publishing import Publisher
from .house.house import House
from .house.spec import HouseSpec
from .logins import Logins

__all__ = ["PanelService"]

_BURST: Final = 1.0


class PanelService:
    """The panel's service, which starts, publishes, and ends. `SimulatedPanel` is one, with all that happens to it."""

    def __init__(
        self, spec: HouseSpec, *, seed: int, at: float, speed: float, build: int, bare: bool, targets: bool
    ) -> None:
        self.house: Final = House(spec, seed, at)
        self.logins: Final = Logins(spec.device_id)
        self.broker: Final = Broker(
            authenticate=self.logins.judge,
            may_publish=self._may_publish,
            on_receive=self._on_receive,
            on_publish=self._on_publish,
        )
        self.names_late: float | None = None
        """Seconds after ``ready`` at which names come, from the next start on (lesson B, "named by UUID")."""
        self.http_up: bool = True
        self._speed: Final = speed
        self._bare: Final = bare
        self._began: Final = (trio.current_time(), at)
        self._nursery: trio.Nursery | None = None
        self._announcer: Final = Announcer(self.broker, self._install(build), targets=targets)
        self._desk: Final = CommandDesk(self._announcer, self._catch_up)
        self.commands: Final[CommandLog] = self._desk.log

    def _install(self, build: int) -> Publisher:
        publisher = publisher_of(self.house, build, bare=self._bare)
        self.house.fix_sources(fixed=publisher.release.fixes_sources)
        return publisher

    @property
    def publisher(self) -> Publisher:
        """How the house is published."""
        return self._announcer.publisher

    @property
    def serial_number(self) -> str:
        """The panel's, which is the id of its Homie device."""
        return self.publisher.device_id

    # --- the broker's questions ---

    def _may_publish(self, client: Client, topic: str) -> bool:
        return self._desk.may_publish(client, topic)

    def _on_receive(self, client: Client, message: Publish | Will, may: bool) -> None:
        self._desk.on_receive(client, message, may)

    def _on_publish(self, client: Client, message: Message) -> None:
        self._desk.on_publish(client, message)

    # --- life ---

    @contextlib.asynccontextmanager
    async def running(self, nursery: trio.Nursery) -> AsyncGenerator[None, None]:
        """Live in this nursery, as long as the block lasts."""
        self._nursery = nursery
        self.start()
        nursery.start_soon(self._desk.run)
        nursery.start_soon(self._publish_bursts)
        try:
            yield
        finally:
            self._nursery = None

    async def _publish_bursts(self) -> None:
        while True:
            if self._desk.open:
                self._desk.act()  # so that it does not matter whose turn is first
                self._catch_up()
                self._publish_changes()
            await trio.sleep(_BURST)

    def _catch_up(self) -> None:
        """Let the house live until now."""
        began, at = self._began
        self.house.advance(at + (trio.current_time() - began) * self._speed)

    def _publish_changes(self) -> None:
        self._announcer.send(self.publisher.changes())

    def publish(self, suffix: str, payload: bytes, *, retain: bool = True, device: str | None = None) -> None:
        """Publish anything below the panel's device, or another: a value, an attribute, rubbish."""
        self._announcer.publish(device or self.serial_number, suffix, payload, retain=retain)

    def set_state(self, text: str, *, device: str | None = None) -> None:
        """Publish a ``$state``, of the panel or another device, whatever it says; the values go on.

        Poisoned before r202615 by others' wills.
        """
        self._announcer.set_state(device or self.serial_number, text)

    def clear_values(self, *, device: str | None = None) -> None:
        """Delete every retained value, or those of one device, as r202603 does when its service restarts."""
        self._announcer.clear_values(self.publisher.devices if device is None else [device])

    def start(self, *, init: bool = True) -> None:
        """Announce every device: ``init`` (or not), description, values, ``ready``; children first, the panel last.

        Children that were away are back.
        """
        self._catch_up()
        for device in self._announcer.away & set(self.publisher.devices):
            self._tree.set_away(device, away=False)
        self.publisher.refresh()
        late: dict[str, bytes] = {}
        if self.names_late is not None:
            values = self.publisher.values()
            late = {topic: payload for topic, payload in values.items() if topic.endswith("/name")}
        self._announcer.announce_all(init=init, without=late)
        self._desk.open = True
        if late and self._nursery is not None:
            self._nursery.start_soon(self._publish_late, late)

    async def _publish_late(self, values: dict[str, bytes]) -> None:
        await trio.sleep(self.names_late or 0.0)
        self._announcer.send(values)

    def stop(self, goodbye: str | EllipsisType | None = ...) -> None:
        """The panel's service ends.

        Args:
            goodbye: its last ``$state``; ``...``: what its firmware says when it is shut down (flat: ``lost``; from
                r202633 on: ``disconnected``); ``lost``, too, is what its will says when it dies; ``None``: none, as
                when it is killed and left no will: values stop, and everything retained stays as it was. Its children
                stay as they were, but on hardware 3.0, where at a clean end they say what the panel says.
        """
        self._desk.close()
        if isinstance(goodbye, EllipsisType):
            self._announcer.say_goodbye(self.publisher.release.goodbye)
        elif goodbye is not None:
            self.set_state(goodbye)

    async def restart(
        self,
        *,
        away: float = 3.0,
        goodbye: str | EllipsisType | None = ...,
        init: bool = True,
        build: int | None = None,
    ) -> None:
        """The panel's service ends and begins again; its broker stays. Returns when it is ``ready``.

        Args:
            away: how long, s.
            goodbye: the last ``$state``; see `stop`.
            init: whether it says ``init`` first.
            build: of other firmware from now on.

        Raises:
            SpanPanelValidationError: there is no such build, or it does not run on this panel.
        """
        self._check(build)
        self.stop(goodbye)
        await trio.sleep(away)
        if not self.publisher.release.keeps_retained:
            self.clear_values()
        self._update(build)
        self.start(init=init)

    async def reboot(
        self, *, away: float = 10.0, forget: bool = False, build: int | None = None, http_late: float = 0.0
    ) -> None:
        """The whole panel goes down, broker included, and comes back. Returns when it is ``ready``.

        An upgrade from flat firmware to device trees leaves the flat topics behind, unless the broker forgets.

        Args:
            away: s, during which connections are refused.
            forget: whether the broker comes back without what it had retained.
            build: of other firmware from now on.
            http_late: how long the REST API goes on to answer 502, s (lesson C: four minutes).

        Raises:
            SpanPanelValidationError: there is no such build, or it does not run on this panel.
        """
        self._check(build)
        self._desk.close()
        self.http_up = False
        await self._restart_broker(away, {} if forget else None)
        if not self.publisher.release.keeps_retained:
            self.clear_values()
        self._update(build)
        self.start()
        if http_late and self._nursery is not None:
            self._nursery.start_soon(self._serve_http, http_late)
        else:
            self.http_up = True

    async def restart_broker(self, *, away: float = 3.0, retained: Mapping[str, bytes] | None = None) -> None:
        """The broker goes down and comes back with what it has on its disk; returns when it is back.

        The panel's service goes on, and announces everything anew when the broker is back. To have a broker with
        nothing behind it, end the service before (``stop(None)``): then nobody speaks until `start`.

        Args:
            away: s, during which connections are refused.
            retained: what the disk holds, as ``dict(broker.retained)`` was at some time; ``None``: everything.
        """
        alive = self._desk.open
        self._desk.close()
        await self._restart_broker(away, retained)
        if alive:
            self.start()

    async def _restart_broker(self, away: float, retained: Mapping[str, bytes] | None) -> None:
        before = self.broker.faults
        self.broker.faults = attrs.evolve(before, hang_up=True)
        self.broker.restart(retained)
        await trio.sleep(away)
        self.broker.faults = before

    async def _serve_http(self, after: float) -> None:
        await trio.sleep(after)
        self.http_up = True

    def _check(self, build: int | None) -> None:
        if build is not None:
            check_build(build, self.house.spec)

    def _update(self, build: int | None) -> None:
        if build is not None:
            self._catch_up()
            self._announcer.publisher = self._install(build)

    @property
    def _tree(self) -> ParentChildPublisher:
        if not isinstance(self.publisher, ParentChildPublisher):
            raise SpanPanelValidationError(f"{self.publisher.release.firmware} has no children")
        return self.publisher
