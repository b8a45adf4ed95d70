"""``demo`` and ``simulate``: a panel in a box, for people and for other programs."""

from __future__ import annotations

import datetime as dt
import importlib
import zoneinfo
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click
import trio

from ..errors import SpanPanelValidationError
from ..opening import open_span_panel
from ..simulator import BUILDS, BUILT_IN, HouseSpec, check_build, find_house, open_simulated_panel
from ..store import save_credentials
from .connection import run
from .live import show
from .output import ERR, OUT, say_json

__all__ = ["demo", "moment", "simulate"]

_PORTS = ("mqtt_port", "mqtts_port", "http_port", "https_port", "ws_port", "wss_port")

until_interrupted: Callable[[], Awaitable[None]] = trio.sleep_forever


def moment(text: str | None, time_zone: str) -> dt.datetime | None:
    """``HH:MM`` today, or an ISO 8601 date and time, where the house is.

    Raises:
        SpanPanelValidationError: it is neither.
    """
    if text is None:
        return None
    zone = zoneinfo.ZoneInfo(time_zone)
    try:
        if len(text) <= len("HH:MM"):
            time = dt.time.fromisoformat(text.zfill(len("HH:MM")))
            return dt.datetime.combine(dt.datetime.now(zone), time, zone)
        return dt.datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        raise SpanPanelValidationError(f"{text!r} is no time: HH:MM, or YYYY-MM-DDTHH:MM") from None


@attrs.frozen
class House:
    """What is simulated."""

    spec: HouseSpec
    seed: int
    at: dt.datetime | None
    speed: float
    build: int | None
    bare: bool


_HOUSE_OPTIONS = (
    click.option(
        "--house",
        default="main-32",
        show_default=True,
        help=f"One of {', '.join(BUILT_IN)} (8, 32, 16, 24, 40 or 48 for short), or a TOML file.",
    ),
    click.option("--seed", default=0, show_default=True, help="Equal seeds, equal days."),
    click.option(
        "--at", help="When the house begins to live: HH:MM today where it is, or a date and time. [default: now]"
    ),
    click.option(
        "--speed",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="How fast its time goes.",
    ),
    click.option(
        "--firmware",
        "build",
        type=int,
        help=f"{', '.join(map(str, BUILDS))}: flat to 202627, device trees from 202633 on; main-16, mlo-24, "
        "main-40 and mlo-48 run 202639 alone.  [default: 202627, or that]",
    ),
    click.option("--bare", is_flag=True, help="Describe as little as the public simulators do."),
)


def _house_options(command: Any) -> Any:
    for option in reversed(_HOUSE_OPTIONS):
        command = option(command)
    return command


def _house(*, house: str, at: str | None, build: int | None, **others: Any) -> House:
    spec = find_house(house)
    if build is not None:
        check_build(build, spec)
    return House(spec=spec, at=moment(at, spec.time_zone), build=build, **others)


def _listening() -> Any:
    """What gives a simulated panel its ports.

    Raises:
        SpanPanelValidationError: the extra that it needs is not there.
    """
    try:
        return importlib.import_module("span_trio.simulator.listen").listening
    except ModuleNotFoundError as error:
        what = f"a panel on real ports needs {error.name}: pip install 'span-trio[cli,simulator]'"
        raise SpanPanelValidationError(what) from None


def _open(house: House) -> Any:
    return open_simulated_panel(
        house.spec, seed=house.seed, at=house.at, speed=house.speed, build=house.build, bare=house.bare
    )


@click.command()
@_house_options
@click.option("--snapshots", "count", type=click.IntRange(1), help="Leave after so many.")
@click.option("--json", "as_json", is_flag=True, help="Everything, one JSON object a line.")
def demo(count: int | None, as_json: bool, **house: Any) -> None:
    """Watch a simulated house: registration, TLS and MQTT over real sockets on this machine."""
    run(_demo, _house(**house), count, as_json)


async def _demo(house: House, count: int | None, as_json: bool) -> None:
    listening = _listening()
    with TemporaryDirectory() as folder, ERR.status("building a house …") as status:
        async with _open(house) as simulated, listening(simulated) as where:
            status.update("registering …")
            async with open_span_panel(
                where.host,
                store=Path(folder) / "span.json",
                passphrase=simulated.passphrase,
                options=where.options,
            ) as panel:
                status.stop()
                await show(panel, OUT, count=count, as_json=as_json)


@click.command()
@_house_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--mqtt-port", type=click.IntRange(0, 65_535), default=1883, show_default=True, help="0: any.")
@click.option("--mqtts-port", type=click.IntRange(0, 65_535), default=8883, show_default=True, help="0: any.")
@click.option("--http-port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="0: any.")
@click.option("--https-port", type=click.IntRange(0, 65_535), default=8443, show_default=True, help="0: any.")
@click.option("--ws-port", type=click.IntRange(0, 65_535), default=9001, show_default=True, help="0: any.")
@click.option("--wss-port", type=click.IntRange(0, 65_535), default=9002, show_default=True, help="0: any.")
@click.option(
    "--credentials",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what opens this panel to a file, for the other commands' --credentials.",
)
@click.option("--announce", is_flag=True, help="By multicast DNS, so that it can be discovered.")
def simulate(
    *,
    host: str,
    file: Path | None,
    announce: bool,
    **options: Any,
) -> None:
    """Run a simulated panel for other programs, until ctrl-C.

    Prints where it listens and what opens it, as one JSON object.
    """
    ports = {name: options.pop(name) for name in _PORTS}
    run(_simulate, _house(**options), host, {**ports, "announce": announce}, file)


async def _simulate(house: House, host: str, how: Mapping[str, Any], file: Path | None) -> None:
    listening = _listening()
    async with _open(house) as simulated:
        try:
            async with listening(simulated, host=host, **how) as where:
                told_ports = {name: getattr(where, name) for name in ("mqtts_port", "ws_port", "wss_port")}
                credentials = attrs.evolve(simulated.credentials, ca_pem=where.ca_pem, **told_ports)
                if file is not None:
                    await save_credentials(file, credentials)
                told = {
                    "serial_number": simulated.serial_number,
                    "host": where.host,
                    **{name: getattr(where, name) for name in _PORTS},
                    "username": credentials.broker_username,
                    "password": credentials.broker_password,
                    "passphrase": simulated.passphrase,
                }
                say_json(told)
                await until_interrupted()
        except OSError as error:
            raise SpanPanelValidationError(f"cannot listen at {host}: {error.strerror or error}") from None
