"""What the table of closings is made of: a scene, cases, and the bodies of an ``async with``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import attrs
import pytest
import trio

from span_trio import (
    SpanPanel,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
)
from span_trio.tracker import PanelTracker
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import certificates, other_ca
from tests.unit.link.house import topic
from tests.unit.span.helpers import KITCHEN, ROOT

__all__ = [
    "BUG",
    "REFUSED",
    "Case",
    "Scene",
    "breaks_down",
    "breaks_down_and_is_cancelled",
    "breaks_down_and_raises",
    "breaks_down_and_raises_of_its_own",
    "breaks_down_unseen",
    "ends",
    "finds_another_ca",
    "interrupted",
    "is_cancelled",
    "is_cancelled_in_an_outage",
    "is_cancelled_while_it_dials",
    "is_refused",
    "is_refused_the_tree",
    "raises",
    "raises_in_an_outage",
    "raises_when_cancelled",
    "reconnects_when_cancelled",
    "waits",
    "works_on",
    "works_on_when_cancelled",
]

BUG: Final = ZeroDivisionError("a bug")
REFUSED: Final = SpanPanelConnectionError("connecting to panel failed: refused")


class Scene:
    """A broker, a panel that is open on it, and what may befall them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broker: Broker) -> None:
        self.broker = broker
        self.outer = trio.CancelScope()
        self.mine: BaseException | None = None
        """What the body raised."""
        self.done = False
        """Whether the body did what it still had to do."""
        self.dial_fault: Exception | None = None
        self._monkeypatch = monkeypatch
        self._advertised = certificates().ca_pem
        monkeypatch.setattr(import_module("span_trio.opening"), "download_ca_cert", self._download_ca_cert)

    async def _download_ca_cert(self, *_: object, **__: object) -> str:
        await trio.lowlevel.checkpoint()
        return self._advertised

    async def dial(self, *where: Any) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.dial_fault is not None:
            raise self.dial_fault
        return await self.broker.dial(*where)

    def raise_mine(self, error: BaseException) -> None:
        self.mine = error
        raise error

    def break_down(self, error: BaseException = BUG) -> None:
        """A background task fails with this."""

        def receive(*_: object) -> None:
            raise error

        self._monkeypatch.setattr(PanelTracker, "receive", receive)
        self.broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")

    async def lose(self, panel: SpanPanel) -> None:
        """The link is lost, and does not come back."""
        edges = panel.edges()
        await anext(edges)
        self.dial_fault = self.dial_fault or REFUSED
        self.broker.connection.hang_up()
        assert not (await anext(edges)).online

    def replace_ca(self) -> None:
        """The panel has another CA from the next connect on."""
        self._advertised = other_ca()
        self.dial_fault = SpanPanelCertificateError("certificate verify failed")


Body = Callable[[Scene, SpanPanel], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Case:
    """A body (without one: it must not come to that), and what must come of it."""

    body: Body | None = None
    raises: type[BaseException] | None = None
    """What comes out; it must be the very one that the body raised if that raised any."""
    cause: type[BaseException] | None = None
    notes: Sequence[str] = ()
    done: bool = False
    goodbye: bool = True
    takes: tuple[float, float] = (0.0, 0.01)
    broker: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    options: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    before: Callable[[Scene], object] = lambda _: None


# --- bodies -----------------------------------------------------------------------------------------------------------


async def ends(_: Scene, panel: SpanPanel) -> None:
    assert panel.live


async def waits(_: Scene, __: SpanPanel) -> None:
    await trio.sleep_forever()


def raises(error: BaseException) -> Body:
    async def body(scene: Scene, _: SpanPanel) -> None:
        await trio.lowlevel.checkpoint()
        scene.raise_mine(error)

    return body


async def raises_in_an_outage(scene: Scene, panel: SpanPanel) -> None:
    await scene.lose(panel)
    await trio.sleep(10.05)
    scene.raise_mine(ValueError())


async def is_cancelled(scene: Scene, _: SpanPanel) -> None:
    scene.outer.cancel()
    await trio.sleep_forever()


async def is_cancelled_in_an_outage(scene: Scene, panel: SpanPanel) -> None:
    await scene.lose(panel)
    await trio.sleep(10.05)
    scene.outer.cancel()
    await trio.sleep_forever()


async def is_cancelled_while_it_dials(scene: Scene, panel: SpanPanel) -> None:
    scene.broker.takes = 1000
    scene.broker.connection.hang_up()
    await trio.sleep(5)
    assert not panel.live
    scene.outer.cancel()
    await trio.sleep_forever()


async def works_on_when_cancelled(scene: Scene, panel: SpanPanel) -> None:
    scene.outer.cancel()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            scene.broker.publish(topic(f"{KITCHEN}/active-power"), "-77")
            await trio.sleep(20)
            assert panel.snapshot.circuits[KITCHEN].instant_power_w == 77.0
            assert (await anext(panel.snapshots())).circuits[KITCHEN].instant_power_w == 77.0
            assert await panel.ping() < 0.01
            scene.done = True


async def reconnects_when_cancelled(scene: Scene, panel: SpanPanel) -> None:
    scene.outer.cancel()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            scene.broker.connection.hang_up()
            await trio.sleep(20)
            assert panel.snapshot.epoch == 2
            scene.done = True


async def raises_when_cancelled(scene: Scene, _: SpanPanel) -> None:
    scene.outer.cancel()
    try:
        await trio.sleep_forever()
    finally:
        scene.raise_mine(ValueError())


async def breaks_down(scene: Scene, _: SpanPanel) -> None:
    scene.break_down()
    await trio.sleep_forever()


async def breaks_down_unseen(scene: Scene, _: SpanPanel) -> None:
    """One that caught the cancellation, or was shielded from it, has to know."""
    scene.break_down()
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    scene.done = True


async def breaks_down_and_raises(scene: Scene, _: SpanPanel) -> None:
    scene.break_down()
    try:
        await trio.sleep_forever()
    finally:
        scene.raise_mine(ValueError())


async def breaks_down_and_raises_of_its_own(scene: Scene, _: SpanPanel) -> None:
    scene.break_down()
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    scene.raise_mine(ExceptionGroup("the body's", [ValueError()]))


async def breaks_down_and_is_cancelled(scene: Scene, _: SpanPanel) -> None:
    scene.break_down()
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    scene.outer.cancel()
    await trio.sleep_forever()


def interrupted(error: BaseException) -> Body:
    async def body(scene: Scene, _: SpanPanel) -> None:
        scene.break_down(error)
        await trio.sleep_forever()

    return body


async def is_refused(scene: Scene, panel: SpanPanel) -> None:
    scene.broker.connack = 4
    scene.broker.connection.hang_up()
    await works_on(scene, panel, 20)


async def is_refused_the_tree(scene: Scene, panel: SpanPanel) -> None:
    scene.broker.refused = {f"ebus/5/{ROOT}/#"}
    scene.broker.connection.hang_up()
    await works_on(scene, panel, 20)


async def finds_another_ca(scene: Scene, panel: SpanPanel) -> None:
    scene.replace_ca()
    await scene.lose(panel)
    await works_on(scene, panel, 20)


async def works_on(scene: Scene, panel: SpanPanel, seconds: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        assert not panel.live
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        scene.done = True
