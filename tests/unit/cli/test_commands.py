"""`span-trio snapshot` and `watch` against a panel that is not there; exit codes; help; logs."""

import errno
import importlib.metadata
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import click
import pytest
import trio
from click.testing import CliRunner

from span_trio import cli, errors
from span_trio.cli import commands
from span_trio.credentials import SpanCredentials
from span_trio.enums import ConnectionReason, RefusalReason
from span_trio.homie import ConnectionEdge, Instant
from span_trio.panel import SpanPanelUpdate
from span_trio.snapshot import SpanPanelSnapshot
from tests.unit.cli.helpers import ESCAPE, FakePanel, fails, house, run

# --- snapshot ---


def test_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = FakePanel(monkeypatch)
    result = run("snapshot", "panel.local")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert " of 24 circuits closed  most: " in result.stdout
    assert [host for host, _, _ in panel.given] == ["panel.local"]


def test_one_snapshot_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch)
    result = run("snapshot", "panel.local", "--json")
    assert result.stdout.count("\n") == 1
    assert SpanPanelSnapshot.from_dict(json.loads(result.stdout)) == house()


# --- watch ---

ONLINE, OFFLINE = (
    ConnectionEdge(
        online=reason is ConnectionReason.LIVE,
        reason=reason,
        detail=detail,
        state=state,
        epoch=1,
        at=Instant(0.0, 1_790_000_000.0 + when),
    )
    for reason, detail, state, when in [
        (ConnectionReason.LIVE, "", "ready", 0),
        (ConnectionReason.DEVICE_STATE, f"a{ESCAPE}z", f"a{ESCAPE}z", 2),
    ]
)


class WatchedPanel(FakePanel):
    """Online, two snapshots, offline, online again, a third snapshot; then somebody presses ctrl-C."""

    def updates(self) -> "WatchedPanel":
        self.script = iter((ONLINE, 1, 2, OFFLINE, ONLINE, 3))
        return self

    def __aiter__(self) -> "WatchedPanel":
        return self

    async def __anext__(self) -> SpanPanelUpdate:
        await trio.lowlevel.checkpoint()
        update = next(self.script, None)
        if update is None:
            raise KeyboardInterrupt
        if isinstance(update, ConnectionEdge):
            return update
        return attrs.evolve(house(), seq=update, received_at=Instant(0.0, 1_790_000_000.0 + update))


def test_a_line_for_every_snapshot_and_every_edge_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = WatchedPanel(monkeypatch)
    result = run("watch", "panel.local", environment={"TZ": "UTC"})
    assert (result.exit_code, result.stderr) == (130, "")
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    # s, when the snapshot's newest message came, or when the edge was
    assert [when[-2:] for when, _ in lines] == ["20", "21", "22", "22", "20", "23"]
    told = ["circuits" if "circuits" in what else what.strip() for _, what in lines]
    offline = "offline, device state: a\ufffd[2J\ufffd\ufffd31m\ufffd\ufffd\ufffdz"
    assert told == ["online", "circuits", "circuits", offline, "online", "circuits"]
    assert panel.closed


@pytest.mark.parametrize("count", [1, 3])
def test_so_many_snapshots(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = WatchedPanel(monkeypatch)
    result = run("watch", "panel.local", "--snapshots", count, "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [1, 2, 3][:count]
    assert panel.closed


def test_in_json_edges_are_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    WatchedPanel(monkeypatch)
    result = run("watch", "panel.local", "--snapshots", 3, "--json")
    assert [line.split()[1].rstrip(",") for line in result.stderr.splitlines()] == ["online", "offline", "online"]


def test_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = WatchedPanel(monkeypatch)
    run("watch", "panel.local", "--snapshots", 1, "--interval", "0.25")
    run("watch", "panel.local", "--snapshots", 1)
    assert [options.snapshot_interval for _, _, options in panel.given] == [0.25, 1.0]
    assert "snapshot_interval must be a number, 0 or more" in fails(2, "watch", "panel.local", "--interval", "nan")
    assert "snapshot_interval must be a number, 0 or more" in fails(2, "watch", "panel.local", "--interval", "-1")


# --- what goes wrong ---

EXIT_CODES = {
    errors.SpanPanelError("x"): 1,
    errors.SpanPanelValidationError("x"): 2,
    errors.SpanPanelConnectionError("x"): 3,
    errors.SpanPanelCertificateError("x", trusted_sha256="ab", advertised_sha256="cd"): 3,
    errors.SpanPanelTimeoutError("x", ("y",)): 3,
    errors.SpanPanelAuthError("x"): 4,
    errors.SpanPanelAPIError("x", endpoint="GET /", status=404): 1,
    errors.SpanPanelServerError("x"): 1,
    errors.SpanPanelRateLimitError("x"): 1,
    errors.SpanPanelFaultError("x"): 1,
    errors.SpanPanelUnsupportedError("x"): 1,
    errors.SpanPanelOutcomeUnknownError("x"): 12,
    errors.SpanPanelPrivilegeError("x"): 4,
    errors.SpanPanelNotStoredError("x", SpanCredentials()): 2,
    errors.SpanPanelStaleDataError(ConnectionReason.LINK_LOST, "x"): 1,
    errors.SpanPanelDataModelError("x", "2.0"): 1,
    errors.SpanPanelCommandError(RefusalReason.NOT_SETTABLE, "x"): 21,
    errors.SpanPanelUnknownTargetError(RefusalReason.NO_SUCH_CIRCUIT, "x"): 20,
    errors.SpanPanelLockedError(RefusalReason.ALWAYS_ON, "x"): 21,
    errors.SpanPanelCommandValueError(RefusalReason.OUT_OF_RANGE, "x"): 22,
    errors.SpanPanelNotAuthorisedError(RefusalReason.NOT_AUTHORISED, "x"): 21,
    errors.SpanPanelClosedError(): 1,
    errors.SpanPanelInternalError("x"): 1,
}


def test_every_error_has_its_exit_code_here() -> None:
    assert {type(error).__name__ for error in EXIT_CODES} == set(errors.__all__)


@pytest.mark.parametrize("command", ["snapshot", "watch"])
@pytest.mark.parametrize(("error", "code"), EXIT_CODES.items(), ids=lambda value: type(value).__name__)
def test_an_error_is_one_sentence_and_an_exit_code(
    command: str, error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakePanel(monkeypatch, error)
    assert fails(code, command, "panel.local") == str(error)


def test_the_exit_codes_are_documented() -> None:
    assert commands.__doc__ is not None
    for code in {*EXIT_CODES.values(), 10, 11, 12, 13, 23, 130}:
        assert re.search(rf"\b{code} ", commands.__doc__)


def test_an_error_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch, errors.SpanPanelConnectionError(f"a{ESCAPE}z [bold]not markup[/bold]"))
    sentence = fails(3, "snapshot", "panel.local")
    assert sentence == "a\ufffd[2J\ufffd\ufffd31m\ufffd\ufffd\ufffdz [bold]not markup[/bold]"


def test_an_error_of_the_system_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert fails(1, "snapshot", "panel.local") == "[Errno 28] No space left on device"


def test_a_reader_that_has_gone_is_left_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = run("snapshot", "panel.local")
    assert (result.exit_code, result.output) == (1, "")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(commands.cli, ["snapshot", "panel.local"], catch_exceptions=False)


# --- logs ---


@contextmanager
def fresh_root() -> Iterator[None]:
    """The root logger as a program finds it: pytest has put handlers there, and `basicConfig` would keep off."""
    root, httpx = logging.getLogger(), logging.getLogger("httpx")
    before = (root.handlers[:], root.level, httpx.level)
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        httpx.setLevel(before[2])


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], {"error"}),
        (["-v"], {"error", "info"}),
        (["-vv"], {"error", "info", "debug"}),
        (["-v", "-vv"], {"error", "info", "debug"}),
    ],
)
def test_what_is_logged(flags: list[str], shown: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def talkative(*_: Any, **__: Any) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        ours = logging.getLogger("span_trio.panel")
        ours.error("error of %s", f"nt-1{ESCAPE}")
        ours.info("info")
        ours.debug("debug")
        logging.getLogger("httpx").info("httpx")
        return house()

    monkeypatch.setattr(commands, "fetch_snapshot", talkative)
    with fresh_root():
        result = run(*flags, "snapshot", "panel.local")
    assert result.exit_code == 0
    assert {word for word in ("error", "info", "debug", "httpx") if word in result.stderr} == shown
    assert "nt-1\ufffd[2J" in result.stderr


@pytest.mark.parametrize(("logger", "shown"), [("panel", False), ("link", False), ("trust", True), ("store", True)])
def test_warnings_about_trust_and_secrets_are_always_shown(
    logger: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def warns(*_: Any, **__: Any) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        logging.getLogger(f"span_trio.{logger}").warning("beware")
        return house()

    monkeypatch.setattr(commands, "fetch_snapshot", warns)
    with fresh_root():
        result = run("snapshot", "panel.local")
    assert ("beware" in result.stderr) == shown


def test_the_whole_of_an_error_is_there_for_those_who_ask_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    FakePanel(monkeypatch, errors.SpanPanelInternalError("a bug"))
    with fresh_root():
        result = CliRunner().invoke(commands.cli, ["-vv", "snapshot", "panel.local"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("span-trio: a bug\n")


# --- help ---


def test_every_command_explains_itself() -> None:
    assert set(commands.cli.commands) >= {"snapshot", "watch", "record", "replay"}
    top = run("--help")
    for name, command in commands.cli.commands.items():
        for flag in ("--help", "-h"):
            result = run(name, flag)
            assert (result.exit_code, result.stderr) == (0, "")
            assert f"Usage: cli {name} [OPTIONS]" in result.stdout
            for parameter in command.params:
                assert max(parameter.opts, key=len) in result.stdout or isinstance(parameter, click.Argument)
        assert name in top.stdout


@pytest.mark.parametrize("command", [commands.cli, *commands.cli.commands.values()], ids=lambda command: command.name)
def test_every_option_and_command_has_a_help_text(command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


def test_the_version() -> None:
    assert run("--version").stdout == f"span-trio, version {importlib.metadata.version('span-trio')}\n"


@pytest.mark.parametrize("arguments", [["snapshot"], ["nonsense"], ["watch", "h", "--snapshots", "0"], ["record", "h"]])
def test_wrong_usage(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


# --- the program itself ---


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "span_trio.cli.commands")
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == "span-trio needs click: pip install 'span-trio[cli]'"


def test_standard_output_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["span-trio", "--version"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert out.getvalue().startswith("span-trio, version ")


def test_a_terminal_that_cannot_show_a_name_shows_something(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["span-trio", "snapshot", "panel.local"])
    FakePanel(monkeypatch)
    monkeypatch.setattr(commands, "one_line", lambda *_: "Küche")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    sys.stdout.flush()
    assert out.getvalue() == b"K?che\n"
