"""The commands. Each is a few lines around the library; what goes wrong is one sentence on stderr.

Exit codes: 0 done, 1 anything else, 2 wrong usage or settings, 3 no connection or not ready in time, 4 credentials
refused, or their privileges do not suffice, 5 the panel has another CA (``ca verify``), 12 it is not known whether it
was done, 20 nobody, or more than one, is called so, 23 the person said no, 130 interrupted. Of what was commanded:
0 confirmed or so already, 10 accepted, 11 unconfirmed, 12 unknown, 13 failed; 21 locked, 22 not a value of it.
"""

from __future__ import annotations

import datetime as dt
import errno
import functools
import json
import logging
import math
import sys
from collections.abc import Iterator
from typing import IO, Any, Final

import attrs
import click
import trio
from rich.logging import RichHandler

from ..errors import (
    SpanPanelAuthError,
    SpanPanelCommandError,
    SpanPanelCommandValueError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelOutcomeUnknownError,
    SpanPanelTimeoutError,
    SpanPanelUnknownTargetError,
    SpanPanelValidationError,
)
from ..opening import fetch_snapshot, open_span_panel
from ..options import PanelOptions
from ..recording import Played, find_panel, play, read_session
from ..snapshot import SpanPanelSnapshot
from ..span import HomieSchema
from ..wiretext import get_logger, printable
from .access import clients, fqdn, passphrase
from .asking import DeclinedError
from .connection import Panel, Positive, panel_options, run
from .control import OfflineError, charge_limit, evse_lock, islanding, priority, relay
from .demo import demo, simulate
from .discover import discover
from .identity import ChangedCaError, ca, status
from .live import show
from .offers import controls
from .onboarding import forget, panels, register
from .output import ERR, OUT, note, say, say_json
from .panels import UnclearNameError
from .record import record_session
from .targets import UnclearTargetError
from .text import one_line

__all__ = ["cli"]

_log = get_logger("span_trio.cli")

_EXIT_CODES: Final[tuple[tuple[type[SpanPanelError], int], ...]] = (
    (UnclearTargetError, 20),
    (SpanPanelUnknownTargetError, 20),
    (SpanPanelCommandValueError, 22),  # which is one of the next two as well
    (SpanPanelCommandError, 21),
    (ChangedCaError, 5),
    (DeclinedError, 23),
    (SpanPanelOutcomeUnknownError, 12),
    (UnclearNameError, 20),
    (SpanPanelValidationError, 2),
    (SpanPanelConnectionError, 3),
    (SpanPanelTimeoutError, 3),
    (OfflineError, 3),
    (SpanPanelAuthError, 4),
)


class _Commands(click.Group):
    """A group whose commands end in one sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SpanPanelError as error:
            _log.debug("in full", exc_info=error)
            note(f"span-trio: {error}")
            sys.exit(next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1))
        except OSError as error:
            if error.errno == errno.EPIPE:  # `span-trio watch … | head`: click leaves quietly
                raise
            note(f"span-trio: {error}")
            sys.exit(1)
        except click.ClickException as error:  # what was typed may have come from elsewhere
            error.message = printable(error.message)  # type: ignore[misc] # not ours, and not yet shown
            raise
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", "-v", count=True, help="Say what is going on; twice for everything.")
@click.version_option(package_name="span-trio", prog_name="span-trio")
def cli(verbose: int) -> None:
    """Read and control a SPAN electrical panel."""
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    handler = RichHandler(console=ERR, show_path=False)
    handler.addFilter(_tame)
    if not verbose:
        handler.addFilter(_is_grave)
    logging.basicConfig(level=levels[min(verbose, 2)], format="%(message)s", handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines say less than ours


def _is_grave(record: logging.LogRecord) -> bool:
    """An error; or a warning about who is trusted, or who may read secrets."""
    return record.levelno >= logging.ERROR or record.name in {"span_trio.store", "span_trio.trust"}


def _tame(record: logging.LogRecord) -> bool:
    """Other people's loggers say what they heard."""
    record.msg, record.args = printable(record.getMessage()), None
    return True


@cli.command()
@panel_options
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def snapshot(panel: Panel, as_json: bool) -> None:
    """Connect to HOST, print one complete snapshot, and leave."""
    run(_snapshot, panel, as_json)


async def _snapshot(panel: Panel, as_json: bool) -> None:
    taken = await fetch_snapshot(panel.host, **panel.how)
    _print_snapshot(taken, dt.datetime.now().astimezone(), as_json=as_json)


@cli.command()
@panel_options
@click.option("--interval", type=float, default=1.0, show_default=True, help="Seconds between snapshots, at least.")
@click.option("--snapshots", "count", type=click.IntRange(1), help="Leave after so many.")
@click.option("--json", "as_json", is_flag=True, help="Everything, one JSON object a line.")
def watch(panel: Panel, interval: float, count: int | None, as_json: bool) -> None:
    """Watch the panel at HOST: a dashboard on a terminal, a line for each snapshot elsewhere."""
    options = attrs.evolve(panel.options, snapshot_interval=interval)
    run(_watch, attrs.evolve(panel, options=options), count, as_json)


async def _watch(panel: Panel, count: int | None, as_json: bool) -> None:
    async with open_span_panel(panel.host, **panel.how) as opened:
        await show(opened, OUT, count=count, as_json=as_json)


@cli.command()
@panel_options
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True))
@click.option("--redact", is_flag=True, help="Mask everything that is not known to be harmless.")
@click.option("--seconds", type=Positive(), default=math.inf, help="Leave after recording for so long.")
def record(panel: Panel, file: IO[str], redact: bool, seconds: float) -> None:
    """Write what the panel at HOST publishes to FILE, one JSON object a line; end it with ctrl-C.

    Commands and credentials are never in it. FILE is opened when the first message comes.
    """
    recorded = 0
    with ERR.status("connecting …") as status:

        def progress(messages: int, passed: float) -> None:
            nonlocal recorded
            recorded = messages
            status.update(f"{messages} messages in {passed:.0f} s")

        session = functools.partial(record_session, panel, file, redact=redact, seconds=seconds, progress=progress)
        try:
            run(session)
        except KeyboardInterrupt:
            if not recorded:
                raise
    note(f"{recorded} messages recorded to {file.name}")


@cli.command()
@click.argument("file", type=click.File(encoding="utf-8", errors="surrogateescape"))
@click.option("--json", "as_json", is_flag=True, help="Do not play: print the last snapshot as JSON.")
@click.option("--schema", type=click.File(encoding="utf-8"), help="The panel's REST schema (JSON).")
@click.option("--serial", help="Which panel, if the recording has several.")
@click.option("--domain", default="ebus", show_default=True, help="The first levels of its topics.")
@click.option("--speed", type=Positive(), default=1.0, show_default=True, help="How many times as fast.")
def replay(
    file: IO[str], *, as_json: bool, schema: IO[str] | None, serial: str | None, domain: str, speed: float
) -> None:
    """Play FILE through the same core as a live panel: a recording, or a dump of topics (mosquitto_sub -v)."""
    recording = list(read_session(file))
    options = PanelOptions(schema=None if schema is None else _read_schema(schema), domain=domain)
    played = play(recording, serial or find_panel(recording, domain=domain), options)
    if as_json:
        last = [what for _, what in played if isinstance(what, SpanPanelSnapshot)][-1]
        _print_snapshot(last, "", as_json=True)
    else:
        run(_play, played, speed)


async def _play(played: Iterator[Played], speed: float) -> None:
    await trio.lowlevel.checkpoint()
    began = trio.current_time()
    for t, what in played:
        await trio.sleep_until(began + t / speed)
        when = f"{t:8.3f} s"
        if isinstance(what, SpanPanelSnapshot):
            _print_snapshot(what, when, as_json=False)
        else:
            say(f"{when}  {what}")


def _read_schema(file: IO[str]) -> HomieSchema:
    try:
        return HomieSchema.from_json(json.load(file))
    except (ValueError, RecursionError) as error:
        raise SpanPanelValidationError(f"{file.name} is not a schema: {error}") from None


def _print_snapshot(taken: SpanPanelSnapshot, when: dt.datetime | str, *, as_json: bool) -> None:
    if as_json:
        say_json(taken.to_dict())
    else:
        say(one_line(taken, when))


_COMMANDS: Final = (
    (discover, register, panels, forget, status, ca, clients, fqdn, passphrase),
    (controls, relay, priority, charge_limit, evse_lock, islanding),
    (demo, simulate),
)
for _command in (each for some in _COMMANDS for each in some):
    cli.add_command(_command)
