"""Stored panels: which one a HOST means, what is listed, and how one is forgotten."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import trio

from span_trio import SpanCredentials, SpanPanelSnapshot
from span_trio.cli import commands, panels
from tests.unit.cli.helpers import ESCAPE, fails, house, run
from tests.unit.cli.simulated import Simulated, at_terminal, simulated, told

SECRET = "correct-horse-battery"


def store(home: Path, serial: str, **fields: Any) -> Path:
    credentials = SpanCredentials(serial_number=serial, broker_password=SECRET, access_token=SECRET, **fields)
    path = home / "panels" / f"{serial}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(credentials.to_json())
    return path


class Opened:
    """Stands for `fetch_snapshot`, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, dict[str, Any]]] = []

    async def fetch_snapshot(self, host: str, **how: Any) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        how.pop("options")
        self.given.append((host, how))
        return house()

    @asynccontextmanager
    async def open_span_panel(self, host: str, **how: Any) -> AsyncGenerator[Any, None]:
        await self.fetch_snapshot(host, **how)
        yield self

    def updates(self) -> "Opened":
        return self

    def __aiter__(self) -> "Opened":
        return self

    async def __anext__(self) -> SpanPanelSnapshot:
        await trio.lowlevel.checkpoint()
        return house()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    opened = Opened()
    monkeypatch.setattr(commands, "fetch_snapshot", opened.fetch_snapshot)
    monkeypatch.setattr(commands, "open_span_panel", opened.open_span_panel)
    return opened


# --- which one is meant ---


@pytest.mark.parametrize("command", [["snapshot"], ["watch", "--snapshots", "1"]])
@pytest.mark.parametrize("name", ["nt-1", "NT-1", "panel.home", "Panel.Home."])
def test_a_stored_panel_is_opened_by_serial_number_or_host_with_its_store(
    command: list[str], name: str, opened: Opened, home: Path
) -> None:
    path = store(home, "nt-1", host="panel.home")
    store(home, "nt-2", host="10.0.0.2")
    assert run(*command, name).exit_code == 0
    assert opened.given == [("panel.home", {"store": path})]


def test_without_a_host_it_is_the_panels_own_name(opened: Opened, home: Path) -> None:
    path = store(home, "nt-1")
    run("snapshot", "nt-1")
    run("snapshot", "span-nt-1.local")
    assert opened.given == [("span-nt-1.local", {"store": path})] * 2


def test_what_is_not_stored_is_a_host(opened: Opened, home: Path) -> None:
    store(home, "nt-1", host="panel.home")
    run("snapshot", "nt-11")
    assert opened.given == [("nt-11", {"credentials": SpanCredentials()})]


def test_a_host_of_several_panels_is_refused_with_their_names(opened: Opened, home: Path) -> None:
    store(home, "nt-1", host="10.0.0.2")
    path = store(home, "nt-2", host="10.0.0.2")
    sentence = fails(20, "snapshot", "10.0.0.2")
    assert "nt-1" in sentence
    assert "nt-2" in sentence
    assert not opened.given
    run("snapshot", "10.0.0.2", "--serial", "nt-2")
    assert opened.given == [("10.0.0.2", {"store": path})]


def test_a_serial_number_counts_more_than_a_host_of_that_name(opened: Opened, home: Path) -> None:
    store(home, "nt-1", host="10.0.0.1")
    store(home, "nt-2", host="nt-1")
    run("snapshot", "nt-1")
    assert [host for host, _ in opened.given] == ["10.0.0.1"]


def test_another_serial_number_at_that_host_is_not_the_stored_panel(opened: Opened, home: Path) -> None:
    store(home, "nt-1", host="10.0.0.1")
    run("snapshot", "10.0.0.1", "--serial", "nt-9")
    assert opened.given == [("10.0.0.1", {"credentials": SpanCredentials(serial_number="nt-9")})]


def test_what_is_said_counts_more_than_what_is_stored(opened: Opened, home: Path, tmp_path: Path) -> None:
    store(home, "nt-1", host="10.0.0.1")
    other = SpanCredentials(serial_number="nt-7")
    (tmp_path / "other").write_text(other.to_json())
    run("snapshot", "10.0.0.1", "--no-store")
    run("snapshot", "10.0.0.1", "--credentials", tmp_path / "other")
    run("snapshot", "nt-1", "--username", "me")
    changed = SpanCredentials("nt-1", "me", SECRET, access_token=SECRET, host="10.0.0.1")
    assert opened.given == [
        ("10.0.0.1", {"credentials": SpanCredentials()}),
        ("10.0.0.1", {"credentials": other}),
        ("10.0.0.1", {"credentials": changed}),
    ]


def test_a_file_that_cannot_be_read_is_in_the_way_of_its_own_panel_only(opened: Opened, home: Path) -> None:
    broken, good = store(home, "nt-1", host="10.0.0.1"), store(home, "nt-2", host="10.0.0.2")
    broken.write_text(f'{{"access_token": "{SECRET}"')
    run("snapshot", "10.0.0.2")
    assert opened.given == [("10.0.0.2", {"store": good})]
    sentence = fails(2, "snapshot", "nt-1")
    assert str(broken) in sentence
    assert SECRET not in sentence


def test_other_files_are_no_panels(home: Path) -> None:
    directory = store(home, "nt-1").parent
    for name in (".nt-1.json.0a1b2c3d", "README", "No Panel.json"):
        (directory / name).write_text("{")
    assert told(run("panels", "--json"))["serial_number"] == "nt-1"


def test_by_itself_it_is_the_directory_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPAN_TRIO_HOME")

    def get_app_dir(name: str) -> str:
        return str(tmp_path / name)

    monkeypatch.setattr(click, "get_app_dir", get_app_dir)
    assert panels.path_of("nt-1") == tmp_path / "span-trio" / "panels" / "nt-1.json"


# --- the list ---


def test_the_list_has_no_secret(home: Path) -> None:
    store(home, "nt-1", host="10.0.0.1", client_name="span-trio-01")
    store(home, "nt-2")
    store(home, "nt-3").write_text(SECRET)
    result = run("panels")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["nt-1", "10.0.0.1", "span-trio-01", "-"],
        ["nt-2", "span-nt-2.local", "-", "-"],
    ]
    assert "nt-3.json" in result.stderr
    lines = run("panels", "--json").stdout.splitlines()
    assert [json.loads(line)["serial_number"] for line in lines] == ["nt-1", "nt-2"]
    assert SECRET not in result.output + "".join(lines)


@pytest.mark.parametrize("code", [5, 12, 20, 23])
def test_the_exit_codes_of_these_commands_are_documented(code: int) -> None:
    assert f" {code} " in str(commands.__doc__).replace("\n", " ")


def test_an_empty_list_says_what_to_do() -> None:
    result = run("panels")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "span-trio register HOST" in result.stderr
    assert run("panels", "--json").output == ""


def test_what_is_stored_cannot_control_the_terminal(home: Path) -> None:
    store(home, "nt-1", host=ESCAPE, client_name=ESCAPE)
    assert run("panels").exit_code == 0  # which looks at each character


# --- forgetting ---


def test_only_a_yes_forgets(home: Path) -> None:
    path = store(home, "nt-1", host="10.0.0.1")
    assert at_terminal("forget", "nt-1", types="n\n").exit_code == 23
    assert "nobody is there" in fails(2, "forget", "nt-1")
    assert path.exists()
    assert at_terminal("forget", "10.0.0.1", types="y\n").exit_code == 0
    assert not path.exists()


def test_who_is_not_stored_cannot_be_forgotten(home: Path) -> None:
    store(home, "nt-1")
    assert fails(20, "forget", "nt-2", "--yes") == "no stored panel is called nt-2"


@pytest.fixture
def panel() -> Iterator[Simulated]:
    with simulated() as found:
        yield found


def test_forgetting_leaves_the_entry_unless_told(panel: Simulated) -> None:
    panel.register()
    assert told(run("forget", panel.serial, "--yes", "--json")) == {
        "serial_number": panel.serial,
        "client_deleted": False,
    }
    assert len(panel.clients) == 1
    panel.register()
    assert run("forget", panel.serial, *panel.ports, "--yes", "--delete-client").exit_code == 0
    assert len(panel.clients) == 1


def test_an_entry_that_is_gone_already_is_no_hindrance(panel: Simulated, home: Path) -> None:
    mine = panel.registered(home).client_name
    panel.where.rest.clients["other"] = panel.where.rest.clients.pop(str(mine))  # so the token is good
    assert run("forget", panel.serial, *panel.ports, "--yes", "--delete-client").exit_code == 0
    assert panel.clients == ["other"]


def test_what_cannot_be_deleted_is_not_forgotten(panel: Simulated, home: Path) -> None:
    before = panel.registered(home)
    arguments = ("forget", panel.serial, "--yes", "--delete-client")
    fails(3, *arguments, "--http-port=1", "--https-port=1")
    panel.lose_privileges(home)
    assert fails(4, *arguments, *panel.ports)
    assert panel.stored(home).client_name == before.client_name


def test_an_entry_that_nobody_knows_is_not_guessed(home: Path) -> None:
    path = store(home, "nt-1")
    assert "does not tell its entry" in fails(2, "forget", "nt-1", "--yes", "--delete-client")
    assert path.exists()
