"""A panel that is read by way of a bridge: two mosquittos, the second with the configuration that the docs show."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelSnapshot,
    SpanPanelTimeoutError,
    fetch_snapshot,
    open_span_panel,
)
from tests.busy import PATIENCE, allowed
from tests.faults.proxy import Proxy
from tests.integration.bridge import bridge_to
from tests.integration.broker import ROOT, Broker, Publisher, replayed, until
from tests.integration.test_open import recorded_house

HOST = "127.0.0.1"
POWER = f"ebus/5/{ROOT}/upstream-lugs/active-power"
SILENCE = 2.0


class Bridged(NamedTuple):
    """The panel's broker, and the one that carries its tree as well."""

    panel: Broker
    bridge: Broker

    def options(self, transport: Literal["mqtt", "mqtts"] = "mqtt", **more: Any) -> PanelOptions:
        """Of the bridge, which asks for a login of its own."""
        ports = {"mqtt_port": self.bridge.login_port, "mqtts_port": self.bridge.login_tls_port, **more}
        return PanelOptions(transport=transport, source="bridge", snapshot_interval=0, **ports)

    @property
    def credentials(self) -> SpanCredentials:
        """A user of the bridge's, and its CA: nothing of the panel's but the name."""
        return SpanCredentials(
            serial_number=ROOT, broker_username=ROOT, broker_password=Broker.PASSWORD, ca_pem=self.bridge.ca_pem
        )

    def feed(self) -> None:
        """The panel publishes all that it has."""
        self.panel.feed_house()

    def publish(self, power: float) -> None:
        """As the panel does."""
        with Publisher(self.panel.port) as publisher:
            publisher.publish(POWER, str(power), retain=True)


@contextmanager
def bridged(folder: Path, **instead: str) -> Generator[Bridged]:
    """Both, with the recorded house, all of which the bridge has."""
    for name in ("panel", "bridge"):
        (folder / name).mkdir()
    with Broker(folder / "panel", websockets=False) as panel:
        panel.feed_house()
        with Broker(folder / "bridge", *bridge_to(panel, **instead), websockets=False) as bridge:
            wait_through(bridge)
            yield Bridged(panel, bridge)


def wait_through(bridge: Broker) -> None:
    """Until the bridge carries the whole house."""
    deadline = time.monotonic() + PATIENCE
    here = SpanCredentials(serial_number=ROOT)
    plain = PanelOptions(
        max_silence=math.inf, transport="mqtt", mqtt_port=bridge.port, ready_timeout=0.3, fetch_schema=False
    )

    async def is_through() -> bool:
        try:
            return await fetch_snapshot(HOST, credentials=here, options=plain) == recorded_house()
        except Exception:  # noqa: BLE001 - not yet
            return False

    while not trio.run(is_through):
        assert time.monotonic() < deadline, bridge.log


@pytest.fixture
def both(tmp_path: Path) -> Generator[Bridged]:
    with bridged(tmp_path) as pair:
        yield pair


@asynccontextmanager
async def opened(pair: Bridged, **more: Any) -> AsyncGenerator[SpanPanel, None]:
    with trio.fail_after(PATIENCE):
        options = pair.options(max_silence=SILENCE, **more)
        async with open_span_panel(HOST, credentials=pair.credentials, options=options) as panel:
            yield panel


def recorded_power() -> float:
    power = recorded_house().instant_grid_power_w
    assert power is not None
    return power


@contextmanager
def speaking(pair: Bridged) -> Generator[threading.Event]:
    """The panel publishes a value now and then; always the same one."""
    end, power = threading.Event(), recorded_power()

    def speak() -> None:
        while not end.wait(0.2):
            pair.publish(power)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield end
    finally:
        end.set()
        thread.join()


async def read(pair: Bridged, credentials: SpanCredentials | None = None, **options: Any) -> SpanPanelSnapshot:
    """A snapshot, of a panel that speaks."""
    return await fetch_snapshot(HOST, credentials=credentials or pair.credentials, options=pair.options(**options))


# --- what is read by way of a bridge ---


@pytest.mark.parametrize("transport", ["mqtt", "mqtts"])
def test_the_house_is_the_same_by_the_bridges_own_port_login_and_ca(both: Bridged, transport: str) -> None:
    with speaking(both):
        assert trio.run(partial(read, both, transport=transport)) == recorded_house()


def test_a_value_that_changes_is_passed_on_and_kept(both: Bridged) -> None:
    async def main() -> None:
        async with opened(both) as panel:
            await trio.to_thread.run_sync(both.publish, 777.0)
            await panel.wait_for(lambda snapshot: snapshot.instant_grid_power_w == 777.0)

    with speaking(both):
        trio.run(main)
    both.publish(777.0)
    assert trio.run(at_broker, both.bridge) == 777.0


def test_the_panels_own_credentials_and_ca_are_not_the_bridges(both: Bridged) -> None:
    with pytest.raises(SpanPanelAuthError):
        trio.run(read, both, attrs.evolve(both.credentials, broker_username="nobody"))
    with pytest.raises(SpanPanelCertificateError, match="certificate verify failed"):
        trio.run(partial(read, both, attrs.evolve(both.credentials, ca_pem=both.panel.ca_pem), transport="mqtts"))


async def at_broker(broker: Broker) -> float | None:
    """The power that a client gets there that comes now."""
    await trio.sleep(0.3)
    plain = PanelOptions(max_silence=math.inf, transport="mqtt", mqtt_port=broker.port, fetch_schema=False)
    here = SpanCredentials(serial_number=ROOT)
    return (await fetch_snapshot(HOST, credentials=here, options=plain)).instant_grid_power_w


def test_without_try_private_a_later_client_gets_a_value_of_before(tmp_path: Path) -> None:
    """Why the configuration leaves it alone: nothing on the wire tells that this value is old."""
    with bridged(tmp_path, try_private="false") as pair:
        pair.publish(777.0)
        assert trio.run(at_broker, pair.panel) == 777.0
        assert trio.run(at_broker, pair.bridge) == recorded_power()


@pytest.mark.parametrize("setting", [{"notifications": "true"}, {"cleansession": "false"}])
def test_settings_that_do_not_matter(tmp_path: Path, setting: dict[str, str]) -> None:
    with bridged(tmp_path, **setting) as pair:
        pair.publish(777.0)
        assert trio.run(at_broker, pair.bridge) == 777.0


def test_nothing_of_ours_gets_to_the_panel(both: Bridged) -> None:
    with Publisher(both.bridge.port) as publisher:
        publisher.publish(POWER, "666", retain=True)
    assert trio.run(at_broker, both.bridge) == 666
    assert trio.run(at_broker, both.panel) == recorded_power()


# --- a panel that is dead behind a living bridge ---


def test_a_publisher_that_falls_silent_and_speaks_again(both: Bridged) -> None:
    async def main() -> None:
        async with opened(both) as panel:
            edges = panel.edges()
            assert (await anext(edges)).online
            quiet.set()
            began = trio.current_time()
            edge = await anext(edges)
            assert (edge.online, edge.reason, edge.state) == (False, ConnectionReason.SILENT_PANEL, "ready")
            assert edge.detail == "no value for 2 s"
            assert SILENCE - 0.5 < trio.current_time() - began < SILENCE + allowed(0.5)
            await trio.to_thread.run_sync(both.feed)
            edge = await anext(edges)
            assert (edge.online, edge.epoch) == (True, 1)
            assert panel.snapshot == recorded_house()

    with speaking(both) as quiet:
        trio.run(main)


def test_a_panel_that_speaks_is_not_silent(both: Bridged) -> None:
    async def main() -> None:
        async with opened(both) as panel:
            await panel.wait_live(held_for=2 * SILENCE)
            assert panel.statistics().epochs == 1

    with speaking(both):
        trio.run(main)


def test_a_panel_whose_broker_dies_and_comes_back(both: Bridged) -> None:
    async def main() -> None:
        async with opened(both) as panel:
            quiet.set()
            edges = panel.edges()
            assert (await anext(edges)).online
            both.panel.kill()
            assert (await anext(edges)).reason is ConnectionReason.SILENT_PANEL
            await trio.to_thread.run_sync(both.panel.start)
            await trio.to_thread.run_sync(both.feed)
            edge = await anext(edges)
            assert (edge.online, edge.epoch) == (True, 1)
            await panel.wait_for(lambda snapshot: snapshot == recorded_house())

    with speaking(both) as quiet:
        trio.run(main)


def test_what_the_bridge_has_retained_is_no_sign_of_life(both: Bridged) -> None:
    """Our link breaks while the panel is silent, and the whole house is replayed: it stays silent."""

    async def main() -> None:
        proxy = Proxy(both.bridge.login_port)
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.run)
            async with opened(both, mqtt_port=proxy.port) as panel:
                quiet.set()
                edges = panel.edges()
                assert (await anext(edges)).online
                assert (await anext(edges)).reason is ConnectionReason.SILENT_PANEL
                heard = panel.statistics().messages
                proxy.drop()
                await until(lambda: panel.statistics().epochs == 2)
                await until(lambda: panel.statistics().messages == heard + len(replayed()))
                await until(lambda: _reason(panel) is ConnectionReason.SILENT_PANEL)
                await trio.sleep(0.5)
                assert _reason(panel) is ConnectionReason.SILENT_PANEL
                await trio.to_thread.run_sync(both.feed)
                edge = await anext(edges)
                assert (edge.online, edge.epoch) == (True, 2)
            nursery.cancel_scope.cancel()

    with speaking(both) as quiet:
        trio.run(main)


def _reason(panel: SpanPanel) -> ConnectionReason | None:
    return None if panel.obstacle is None else panel.obstacle.reason


def test_a_panel_that_was_silent_from_the_beginning_does_not_open(both: Bridged) -> None:
    with pytest.raises(SpanPanelTimeoutError) as caught:
        trio.run(partial(read, both, ready_timeout=1.0))
    assert caught.value.missing == ("silent panel: no value yet",)


def test_a_bridge_that_connects_anew_passes_for_life_for_a_while(tmp_path: Path) -> None:
    """What the panel's broker has retained comes through a bridge as if it were new: nothing on the wire tells."""

    async def main() -> None:
        proxy = Proxy(panel.login_tls_port)
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.run)
            with Broker(tmp_path / "bridge", *bridge_to(panel, address=f"{HOST}:{proxy.port}")) as bridge:
                pair = Bridged(panel, bridge)
                with speaking(pair) as quiet:
                    async with opened(pair) as opened_panel:
                        quiet.set()
                        edges = opened_panel.edges()
                        seen = [await anext(edges), await anext(edges)]
                        proxy.drop()
                        seen += [await anext(edges), await anext(edges)]
            nursery.cancel_scope.cancel()
        assert [edge.reason for edge in seen[1::2]] == [ConnectionReason.SILENT_PANEL] * 2
        assert seen[3].at.monotonic - seen[2].at.monotonic < SILENCE + allowed(0.5)

    (tmp_path / "panel").mkdir()
    (tmp_path / "bridge").mkdir()
    with Broker(tmp_path / "panel", websockets=False) as panel:
        panel.feed_house()
        trio.run(main)
