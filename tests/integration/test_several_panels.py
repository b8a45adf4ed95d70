"""Several panels in one program: a task each in a nursery, and none notices what another one suffers."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from span_trio import (
    ConnectionEdge,
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelSnapshot,
    open_span_panel,
)
from tests.busy import PATIENCE
from tests.integration.broker import ROOT, Broker, Publisher, until

HOST = "127.0.0.1"
POWER = f"ebus/5/{ROOT}/upstream-lugs/active-power"


@attrs.define
class Followed:
    """What the task of one panel has come to know."""

    broker: Broker
    panel: SpanPanel | None = None
    edges: list[ConnectionEdge] = attrs.field(factory=list)
    newest: SpanPanelSnapshot | None = None
    error: SpanPanelError | None = None

    async def follow(self, options: PanelOptions, credentials: SpanCredentials) -> None:
        """As a program would: what is fatal for one panel ends its task, and nothing else."""
        try:
            async with open_span_panel(HOST, credentials=credentials, options=options) as self.panel:
                async for update in self.panel.updates():
                    if isinstance(update, ConnectionEdge):
                        self.edges.append(update)
                    else:
                        self.newest = update
        except SpanPanelError as error:
            self.error = error

    async def moves(self, power: float) -> None:
        """Publish, and wait until it has come through."""

        def publish() -> None:
            with Publisher(self.broker.port) as publisher:
                publisher.publish(POWER, str(power), retain=True)

        await trio.to_thread.run_sync(publish)
        with trio.fail_after(PATIENCE):
            await until(lambda: self.newest is not None and self.newest.instant_grid_power_w == power)


@asynccontextmanager
async def two_houses(folder: Path) -> AsyncGenerator[tuple[Followed, Followed], None]:
    async with AsyncExitStack() as stack:
        brokers = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            brokers.append(stack.enter_context(Broker(folder / name, websockets=False)))
            brokers[-1].feed_house()
        nursery = await stack.enter_async_context(trio.open_nursery())
        one, other = (Followed(broker) for broker in brokers)
        for followed in (one, other):
            options = PanelOptions(
                transport="mqtt",
                mqtt_port=followed.broker.login_port,
                snapshot_interval=0,
                auth_grace=0.2,
                max_silence=math.inf,
            )
            credentials = SpanCredentials(serial_number=ROOT, broker_password=Broker.PASSWORD)
            nursery.start_soon(followed.follow, options, credentials)
        with trio.fail_after(PATIENCE):
            await until(lambda: one.newest is not None and other.newest is not None)
        yield one, other
        nursery.cancel_scope.cancel()


async def test_two_panels_are_followed_at_once(tmp_path: Path) -> None:
    async with two_houses(tmp_path) as (one, other):
        await one.moves(111.0)
        await other.moves(222.0)
        assert one.newest is not None
        assert one.newest.instant_grid_power_w == 111.0


async def test_the_death_of_one_broker_is_no_edge_of_the_other_panel(tmp_path: Path) -> None:
    async with two_houses(tmp_path) as (one, other):
        one.broker.kill()
        with trio.fail_after(PATIENCE):
            await until(lambda: len(one.edges) == 2)
        for power in (1.0, 2.0, 3.0):
            await other.moves(power)
        assert [edge.reason for edge in one.edges] == [ConnectionReason.LIVE, ConnectionReason.LINK_LOST]
        assert [edge.reason for edge in other.edges] == [ConnectionReason.LIVE]
        assert other.panel is not None
        assert (other.panel.live, other.panel.statistics().epochs) == (True, 1)
        one.broker.start()
        one.broker.feed_house()
        with trio.fail_after(PATIENCE):
            await until(lambda: len(one.edges) == 3)
        await one.moves(111.0)
        await other.moves(222.0)
        assert len(other.edges) == 1


async def test_what_is_fatal_for_one_panel_ends_its_task_alone(tmp_path: Path) -> None:
    async with two_houses(tmp_path) as (one, other):
        one.broker.set_password(ROOT, "another one")
        one.broker.kill()
        one.broker.start()
        with trio.fail_after(PATIENCE):
            await until(lambda: one.error is not None)
        assert isinstance(one.error, SpanPanelAuthError)
        await other.moves(7.0)
        assert [edge.reason for edge in other.edges] == [ConnectionReason.LIVE]
        assert other.error is None


async def test_one_that_cannot_be_opened_harms_no_other(tmp_path: Path) -> None:
    async with two_houses(tmp_path) as (one, _):
        nobody = PanelOptions(transport="mqtt", mqtt_port=1)
        with pytest.raises(SpanPanelConnectionError):
            async with open_span_panel(HOST, credentials=SpanCredentials(serial_number=ROOT), options=nobody):
                pass
        await one.moves(7.0)
        assert len(one.edges) == 1
