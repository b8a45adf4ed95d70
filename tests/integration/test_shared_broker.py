"""Several panels of hardware 3.0 on one mosquitto, each by a bridge of its own: with a prefix for each, and without."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from span_trio import (
    CommandResult,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelTimeoutError,
    open_span_panel,
)
from span_trio.simulator import SimulatedPanel, open_simulated_panel
from tests.busy import PATIENCE
from tests.integration.broker import Broker
from tests.integration.test_simulator_broker import listen, run

HOST = "127.0.0.1"
HOUSES = {"kitchen": "mlo-24", "garage": "main-40"}
PREFIXED = {
    "a level before": (("topic ebus/5/# in 0 {name}/", "topic ebus/5/+/+/+/set out 1 {name}/"), "{name}/ebus"),
    "another domain": (
        ("topic 5/# in 0 ebus-{name}/ ebus/", "topic 5/+/+/+/set out 1 ebus-{name}/ ebus/"),
        "ebus-{name}",
    ),
}
"""The lines of a bridge, and the domain that is read there."""
every = pytest.mark.parametrize(("topics", "domain"), PREFIXED.values(), ids=PREFIXED)


class Shared(NamedTuple):
    """Some panels, and the broker that carries them all."""

    panels: dict[str, SimulatedPanel]
    broker: Broker
    domain: str

    def options(self, name: str, **more: Any) -> PanelOptions:
        domain = self.domain.format(name=name)
        return PanelOptions(transport="mqtt", mqtt_port=self.broker.port, source="bridge", domain=domain, **more)

    def credentials(self, name: str) -> SpanCredentials:
        return SpanCredentials(serial_number=self.panels[name].serial_number)

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncGenerator[SpanPanel, None]:
        credentials, options = self.credentials(name), self.options(name, ready_timeout=PATIENCE)
        async with open_span_panel(HOST, credentials=credentials, options=options) as panel:
            yield panel


def bridge(name: str, panel: SimulatedPanel, port: int, topics: tuple[str, ...]) -> list[str]:
    credentials = panel.credentials
    return [
        f"connection {name}",
        f"address {HOST}:{port}",
        "bridge_protocol_version mqttv311",
        f"remote_username {credentials.login[0]}",
        f"remote_password {credentials.login[1]}",
        "cleansession true",
        "notifications false",
        "restart_timeout 1 2",
        *(topic.format(name=name) for topic in topics),
    ]


@asynccontextmanager
async def shared(folder: Path, topics: tuple[str, ...], domain: str) -> AsyncGenerator[Shared, None]:
    """Two panels in boxes, and a mosquitto with a bridge to each."""
    async with trio.open_nursery() as nursery:
        async with (
            open_simulated_panel(HOUSES["kitchen"]) as kitchen,
            open_simulated_panel(HOUSES["garage"]) as garage,
        ):
            panels = {"kitchen": kitchen, "garage": garage}
            lines: list[str] = []
            for name, panel in panels.items():
                lines += bridge(name, panel, await listen(panel.broker, nursery), topics)
            broker = Broker(folder, *lines, websockets=False)
            await trio.to_thread.run_sync(broker.start)
            try:
                yield Shared(panels, broker, domain)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(broker.kill)
        nursery.cancel_scope.cancel()


def common(some: Shared) -> set[str]:
    kitchen, garage = ({*panel.publisher.devices} for panel in some.panels.values())
    return kitchen & garage


@every
async def test_each_panel_of_two_with_the_same_ids_is_right_by_its_prefix(
    tmp_path: Path, topics: tuple[str, ...], domain: str
) -> None:
    async with shared(tmp_path, topics, domain) as some, some.opened("kitchen") as one, some.opened("garage") as other:
        assert "circuit-1" in common(some)
        for name, panel in (("kitchen", one), ("garage", other)):
            in_the_box = some.panels[name]
            snapshot = panel.snapshot
            assert snapshot.serial_number == in_the_box.serial_number
            names = {circuit.name for circuit in in_the_box.house.spec.circuits}
            assert {circuit.name for circuit in snapshot.circuits.values()} - {None} == names
            assert (snapshot.pending_devices, dict(snapshot.away_devices)) == ((), {})


@every
async def test_a_command_reaches_the_one_panel_and_not_the_other(
    tmp_path: Path, topics: tuple[str, ...], domain: str
) -> None:
    async with shared(tmp_path, topics, domain) as some, some.opened("kitchen") as panel:
        kitchen, garage = some.panels.values()
        offered = {each.device_id: each.subject for each in panel.controls() if str(each.control) == "relay"}
        circuit = next(offered[device] for device in sorted(offered) if device in common(some))
        was = panel.snapshot.circuits[circuit].relay_state
        outcome = await panel.set_circuit_relay(circuit, "OPEN" if was == "CLOSED" else "CLOSED", within=PATIENCE)
        assert outcome.result is CommandResult.CONFIRMED
        assert len(kitchen.commands) == 1
        assert len(garage.commands) == 0


async def test_without_prefixes_neither_is_live_and_each_names_the_other(tmp_path: Path) -> None:
    async with shared(tmp_path, ("topic ebus/5/# in 0",), "ebus") as some:
        await arrived(some)
        for name, other in (("kitchen", "garage"), ("garage", "kitchen")):
            with pytest.raises(SpanPanelTimeoutError) as caught:
                async with open_span_panel(
                    HOST, credentials=some.credentials(name), options=some.options(name, ready_timeout=2.0)
                ):
                    raise AssertionError("it is live")
            (missing,) = [each for each in caught.value.missing if each.startswith("conflicting devices")]
            assert some.panels[other].serial_number in missing
            assert "circuit-" in missing


async def arrived(some: Shared) -> None:
    """Wait until both panels have described themselves: until then a child may be taken for ours."""
    roots = {f"ebus/5/{panel.serial_number}/$description" for panel in some.panels.values()}
    found: set[str] = set()
    with trio.fail_after(PATIENCE):
        while not roots <= found:
            every_description = ("-t", "ebus/5/+/$description", "-F", "%t", "-W", "1")
            found = set((await run("mosquitto_sub", some.broker.port, *every_description))[1])
