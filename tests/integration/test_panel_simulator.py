"""ebus-panel-sim, other people's device tree, live on a mosquitto: followed, killed, restarted."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from span_trio import ConnectionReason, PanelOptions, SpanCredentials, SpanPanelSnapshot, open_span_panel
from tests.busy import PATIENCE
from tests.integration.broker import Broker
from tests.integration.test_parent_child import ROOT, retained
from tests.integration.test_transports import Transport

PEER = "ebus-panel-sim==0.9.0"
LIVE = """
import json, sys, time
from ebus_panel_sim import Emitter, SetterRegistry
from ebus_panel_sim.capture import definition_from_tree, tree_from_retained
from ebus_panel_sim.tick_inputs import TickInputs

port, root, watts, tree = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), json.load(sys.stdin)
definition, _ = definition_from_tree(tree_from_retained(tree), root=root, mask=False)
emitter = Emitter.from_definition(definition, SetterRegistry(), mqtt_cfg={"host": "127.0.0.1", "port": port})
emitter.start()
circuits = [instance.instance_id for instance in definition.manifest.of_class("circuit")]
powers = {name: watts + number for number, name in enumerate(sorted(circuits))}
print(json.dumps(powers), flush=True)
while True:
    emitter.publish_tick(TickInputs(current_time=time.time(), grid_online=True, circuits=powers))
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has ebus-panel-sim, in an environment of its own."""
    home = tmp_path_factory.mktemp("peer")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)  # noqa: S603 - a test's own
    return python


@contextlib.contextmanager
def simulator(peer: Path, broker: Broker, watts: float) -> Iterator[tuple[subprocess.Popen[str], dict[str, float]]]:
    """The house of the recording, live: each circuit draws so much, and one more than the one before."""
    tree = {recorded.message.topic: recorded.message.payload.decode() for recorded in retained()}
    with subprocess.Popen(  # noqa: S603 - likewise
        [peer, "-c", LIVE, str(broker.port), ROOT, str(watts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(tree))
        process.stdin.close()
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


async def start(
    peer: Path, broker: Broker, watts: float, stack: contextlib.ExitStack
) -> tuple[subprocess.Popen[str], dict[str, float]]:
    return await trio.to_thread.run_sync(lambda: stack.enter_context(simulator(peer, broker, watts)))


def shows(powers: dict[str, float]) -> Callable[[SpanPanelSnapshot], bool]:
    """Whether a snapshot has exactly these."""
    wanted = {key.replace("-", ""): watts for key, watts in powers.items()}
    return lambda snapshot: {key: circuit.instant_power_w for key, circuit in snapshot.circuits.items()} == wanted


@pytest.mark.parametrize("transport", ["mqtt", "ws"])
async def test_it_is_followed_through_a_kill_and_a_restart(tmp_path: Path, peer: Path, transport: Transport) -> None:
    with Broker(tmp_path) as broker, contextlib.ExitStack() as stack:
        options = PanelOptions(transport=transport, mqtt_port=broker.port, ws_port=broker.ws_port)
        process, powers = await start(peer, broker, 100.0, stack)
        with trio.fail_after(PATIENCE):
            async with open_span_panel(
                "127.0.0.1", credentials=SpanCredentials(serial_number=ROOT), options=options
            ) as panel:
                edges = panel.edges()
                assert (await anext(edges)).online
                before = await panel.wait_for(shows(powers))
                await trio.sleep(3)
                assert panel.live
                assert panel.snapshot.pending_devices == ()
                process.send_signal(signal.SIGKILL)
                edge = await anext(edges)
                assert (edge.online, edge.reason) == (False, ConnectionReason.DEVICE_STATE)
                _, powers = await start(peer, broker, 500.0, stack)
                assert (await anext(edges)).online
                after = await panel.wait_for(shows(powers))
                assert after.circuits.keys() == before.circuits.keys()
                assert not after.away_devices
                assert not after.pending_devices
                assert (panel.statistics().epochs, panel.statistics().dropped) == (1, {})


async def test_it_is_commanded(tmp_path: Path, peer: Path) -> None:
    """It follows whatever it is told, but for islanding, which it asserts only while its battery is not heard of."""
    with Broker(tmp_path) as broker, contextlib.ExitStack() as stack:
        await start(peer, broker, 100.0, stack)
        options = PanelOptions(transport="mqtt", mqtt_port=broker.port)
        credentials = SpanCredentials(serial_number=ROOT)
        async with open_span_panel("127.0.0.1", credentials=credentials, options=options) as panel:
            circuit, charger = next(iter(panel.snapshot.circuits)), next(iter(panel.snapshot.evse))
            outcomes = [
                await panel.set_circuit_relay(circuit, "OPEN"),
                await panel.set_circuit_relay(circuit, "OPEN"),
                await panel.set_circuit_relay(circuit, "CLOSED"),
                await panel.set_circuit_priority(circuit, "NEVER"),
                await panel.set_circuit_priority(circuit, "OFF_GRID"),
                await panel.set_evse_charge_limit(charger, 16),
                await panel.assert_islanding_state("ON_GRID", within=0.5),
            ]
            said = [str(outcome.result) for outcome in outcomes]
            assert said == ["confirmed", "no-op", *["confirmed"] * 4, "accepted"]
            assert outcomes[-1].value == "NONE"
            assert panel.snapshot.evse[charger].charge_current_limit_a == 16
