"""Discovery over real multicast, on the loopback interface and on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from span_trio import SpanPanelConnectionError, SpanPanelValidationError
from span_trio.discovery import discover_panels, discovering_panels
from span_trio.simulator import find_house, open_simulated_panel
from span_trio.simulator.mdns import announcing
from tests.busy import PATIENCE
from tests.ports import held_port
from tests.unit.discovery.network import Ports

LOOPBACK = ("127.0.0.1",)
GROUP = "224.0.0.251"
OURS = Ports("127.0.0.1", 8081, 8443, 18883, 19001, 19002)
FDS = Path("/proc/self/fd")


@pytest.fixture
def port() -> Iterator[int]:
    """One that nobody else speaks mDNS on."""
    with held_port(kind=socket.SOCK_DGRAM) as number:
        yield number


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No thread and no socket more than before."""

    def running() -> tuple[int, int]:
        return threading.active_count(), len(list(FDS.iterdir())) if FDS.exists() else 0

    before = running()
    yield
    assert running() == before


def loud_socket() -> socket.socket:
    speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    speaker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return speaker


async def test_two_simulated_panels_are_found_each_once_and_nothing_is_left(port: int) -> None:
    async with open_simulated_panel("8") as eight, open_simulated_panel("32", build=202639) as new:
        with nothing_left():
            async with announcing(eight, OURS, port=port), announcing(new, OURS, port=port):
                serials = []
                with trio.move_on_after(4):
                    async with discovering_panels(interfaces=LOOPBACK, port=port) as found:
                        async for panel in found:
                            serials.append(panel.serial_number)
                            assert panel.host == "127.0.0.1"
                            assert (panel.http_port, panel.https_port, panel.mqtts_port) == (8081, 8443, 18883)
                assert sorted(serials) == sorted([eight.serial_number, new.serial_number])
                at_once = await discover_panels(1, interfaces=LOOPBACK, port=port)
                assert sorted(panel.serial_number for panel in at_once) == sorted(serials)
        assert await discover_panels(0.5, interfaces=LOOPBACK, port=port) == ()


@pytest.mark.parametrize("after", [0, 0.01, 0.3])
async def test_cancelled_nothing_is_left(port: int, after: float) -> None:
    with nothing_left(), trio.move_on_after(after):
        await discover_panels(interfaces=LOOPBACK, port=port)


async def test_it_works_beside_another_program_on_the_port_and_through_rubbish(port: int) -> None:
    async with open_simulated_panel("8") as simulated:
        with loud_socket() as other, nothing_left():
            other.bind(("", port))  # as avahi does
            async with (
                announcing(simulated, OURS, port=port),
                discovering_panels(interfaces=LOOPBACK, port=port) as found,
            ):
                for rubbish in (
                    b"",
                    b"\0" * 12,
                    b"\xff" * 100,
                    b"\0\0\x84\0\0\0\xff\xff\0\0\0\0" + b"\xc0\x0c" * 99,
                    bytes(9500),
                ):
                    other.sendto(rubbish, (GROUP, port))
                    other.sendto(rubbish, ("127.0.0.1", port))
                with trio.fail_after(PATIENCE):
                    assert (await anext(found)).serial_number == simulated.serial_number


async def test_an_interface_that_is_not_there_is_named() -> None:
    with nothing_left(), pytest.raises(SpanPanelValidationError, match=r"no network interface nothing9: there is .*lo"):
        await discover_panels(interfaces=("127.0.0.1", "nothing9"))


async def test_a_port_that_somebody_keeps_to_himself_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("127.0.0.1", 0))
        port = selfish.getsockname()[1]
        with nothing_left(), pytest.raises(SpanPanelConnectionError, match="no network interface for mDNS"):
            await discover_panels(interfaces=LOOPBACK, port=port)


class Listener(ServiceListener):
    """What python-zeroconf finds of one panel: other runs of the tests may have theirs on the same port."""

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.added = threading.Event()
        self.removed = threading.Event()
        self.info: ServiceInfo | None = None

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if self.serial in name:
            self.info = zc.get_service_info(type_, name)
            self.added.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        pass

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if self.serial in name:
            self.removed.set()


async def test_another_mdns_program_finds_a_simulated_panel() -> None:
    spec = attrs.evolve(find_house("8"), serial_number=f"nt-{os.getpid()}-x")
    async with open_simulated_panel(spec) as simulated:
        listener = Listener(simulated.serial_number)
        other = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=list(LOOPBACK)))
        try:
            async with announcing(simulated, OURS):
                browser = await trio.to_thread.run_sync(ServiceBrowser, other, "_secure-mqtt._tcp.local.", listener)
                assert await trio.to_thread.run_sync(listener.added.wait, PATIENCE)
                info = listener.info
                assert info is not None
                assert (info.port, info.parsed_addresses()) == (18883, ["127.0.0.1"])
                assert info.server == f"span-{simulated.serial_number}.local."
                assert info.properties[b"versions"] == b"3.1,3.1.1,5.0"
            assert await trio.to_thread.run_sync(listener.removed.wait, PATIENCE)
            await trio.to_thread.run_sync(browser.cancel)
        finally:
            await trio.to_thread.run_sync(other.close)


async def test_a_panel_announced_by_another_mdns_program_is_found() -> None:
    serial = f"test-{os.getpid()}"
    info = ServiceInfo(
        "_device-info._tcp.local.",
        f"span-{serial}._device-info._tcp.local.",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=0,
        properties={"manufacturer": "SPAN.io", "serial_number": serial, "model": "MAIN_32"},
        server=f"span-{serial}.local.",
    )
    other = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=list(LOOPBACK)))
    try:
        await trio.to_thread.run_sync(other.register_service, info)
        found = {panel.serial_number: panel for panel in await discover_panels(4, interfaces=LOOPBACK)}
        assert (found[serial].model, found[serial].addresses) == ("MAIN_32", ("127.0.0.1",))
    finally:
        await trio.to_thread.run_sync(other.close)


async def test_the_command_finds_it_too(port: int) -> None:
    program = "from span_trio.cli.discover import discover; discover()"
    options = ["--json", "--timeout=2", "--interface=127.0.0.1", f"--mdns-port={port}"]
    async with open_simulated_panel("8") as simulated, announcing(simulated, OURS, port=port):
        with trio.fail_after(PATIENCE):
            done = await trio.run_process([sys.executable, "-c", program, *options], capture_stdout=True)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["serial_number"] == simulated.serial_number
