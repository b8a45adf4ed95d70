"""Getting on board as somebody types it, with a simulated panel on real ports: register, and go on without HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from span_trio import SpanPanelSnapshot
from span_trio.background import open_background
from span_trio.simulator import Listening, listening, open_simulated_panel
from tests.busy import PATIENCE

PROGRAM = Path(sys.executable).with_name("span-trio")


@attrs.define
class Doors:
    """What is in front of the panel's HTTP and HTTPS servers, as long as they are open."""

    http_port: int
    https_port: int
    scope: trio.CancelScope

    @property
    def options(self) -> list[str]:
        return [f"--http-port={self.http_port}", f"--https-port={self.https_port}"]

    def close(self) -> None:
        self.scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@asynccontextmanager
async def open_doors(where: Listening) -> AsyncGenerator[Doors, None]:
    """Ports that lead to the panel's web servers, and can be closed while its broker goes on."""

    async def lead(port: int, stream: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(where.host, port) as inner, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, stream, inner)
            await _pump(inner, stream)
            nursery.cancel_scope.cancel()

    async with open_background() as nursery:
        outer: list[int] = []
        for port in (where.http_port, where.https_port):
            serve = partial(trio.serve_tcp, partial(lead, port), 0, host=where.host)
            (listener,) = await nursery.start(serve)
            outer.append(listener.socket.getsockname()[1])
        yield Doors(outer[0], outer[1], nursery.cancel_scope)


async def span_trio(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            [str(PROGRAM), *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={"SPAN_TRIO_HOME": str(home), **environment},
        )


@pytest.mark.parametrize("way", ["passphrase", "door"])
async def test_after_registering_a_panel_is_watched_with_its_http_ports_closed(way: str, tmp_path: Path) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        async with open_doors(where) as doors:
            arguments = ["register", where.host, *doors.options, "--yes", "--json"]
            if way == "door":
                where.rest.press_door()
                registered = await span_trio(*arguments, "--door", home=tmp_path)
            else:
                registered = await span_trio(*arguments, home=tmp_path, SPAN_TRIO_PASSPHRASE=simulated.passphrase)
            assert registered.returncode == 0, registered.stderr
            serial = json.loads(registered.stdout)["serial_number"]
        for port in (doors.http_port, doors.https_port):
            with pytest.raises(OSError, match="failed"):
                await trio.open_tcp_stream(where.host, port)
        assert (await span_trio("status", serial, *doors.options, home=tmp_path)).returncode == 3
        requests = len(where.rest.clients)

        for name in (serial, where.host):
            watched = await span_trio("watch", name, *doors.options, "--snapshots", "1", "--json", home=tmp_path)
            assert watched.returncode == 0, watched.stderr
            snapshot = SpanPanelSnapshot.from_dict(json.loads(watched.stdout))
            assert snapshot.serial_number == simulated.serial_number
            assert len(snapshot.circuits) == 5
        assert len(where.rest.clients) == requests == 1


async def test_a_watch_follows_a_passphrase_that_another_program_rotates(tmp_path: Path) -> None:
    async with open_simulated_panel("8") as simulated, listening(simulated) as where:
        ports = [f"--http-port={where.http_port}", f"--https-port={where.https_port}"]
        arguments = ["register", where.host, *ports, "--yes"]
        registered = await span_trio(*arguments, home=tmp_path, SPAN_TRIO_PASSPHRASE=simulated.passphrase)
        assert registered.returncode == 0, registered.stderr
        serial, before = simulated.serial_number, simulated.passphrase
        async with open_background() as nursery:
            start = partial(
                trio.run_process,
                [str(PROGRAM), "watch", serial, "--interval", "0"],
                stdout=subprocess.PIPE,
                env={"SPAN_TRIO_HOME": str(tmp_path), "TZ": "UTC"},
                check=False,
            )
            watching: trio.Process = await nursery.start(start)
            assert watching.stdout is not None
            said = b""
            with trio.fail_after(PATIENCE):
                while said.count(b"circuits closed") < 2:
                    said += await watching.stdout.receive_some()
                rotated = await span_trio("passphrase", "rotate", serial, *ports, "--yes", home=tmp_path)
                assert rotated.returncode == 0, rotated.stderr
                assert simulated.passphrase != before
                while said.count(b"  online") < 2 or b"circuits closed" not in said.rpartition(b"  online")[2]:
                    data = await watching.stdout.receive_some()
                    assert data, said
                    said += data
            watching.terminate()
            await watching.wait()
        assert said.count(b"  offline") == 1
        assert simulated.passphrase.encode() not in said + rotated.stdout + rotated.stderr
