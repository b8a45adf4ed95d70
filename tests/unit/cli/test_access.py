"""`clients`, `fqdn` and `passphrase`: what is asked first, what is stored, and what is said when it is not known."""

import json
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from span_trio import SpanPanelValidationError
from span_trio.cli import access
from span_trio.credentials import SpanCredentials
from span_trio.simulator import RestFault
from tests.unit.cli.helpers import ESCAPE, fails, run
from tests.unit.cli.simulated import Simulated, at_terminal, simulated, told


@pytest.fixture
def panel(home: Path) -> Iterator[Simulated]:
    """Registered with."""
    with simulated() as found:
        found.registered(home)
        yield found


def other(panel: Simulated, name: str = "other") -> str:
    panel.where.rest.add_client(name, full=True)
    return name


# --- clients ---


def test_the_list_says_which_entry_is_ours(panel: Simulated, home: Path) -> None:
    other(panel)
    mine = panel.stored(home).client_name
    lines = run("clients", "list", panel.serial, *panel.ports).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [f"{mine} (this one)", "other"]
    shown = [
        json.loads(line)
        for line in run("clients", "list", panel.serial, *panel.ports, "--json").stdout.split("\n")[:-1]
    ]
    assert [(client["name"], client["own"]) for client in shown] == [(mine, True), ("other", False)]
    assert shown[0]["allowed_endpoint_groups"]["put"] == ["auth"]


def test_one_client(panel: Simulated) -> None:
    other(panel, "a b/c")
    assert "name:        a b/c" in run("clients", "show", panel.serial, "a b/c", *panel.ports).stdout
    assert told(run("clients", "show", panel.serial, "a b/c", *panel.ports, "--json"))["own"] is False


@pytest.mark.parametrize("command", [["show"], ["delete", "--yes"]])
def test_a_client_that_is_not_there_is_20(command: list[str], panel: Simulated) -> None:
    name, *options = command
    assert "has no client nobody" in fails(20, "clients", name, panel.serial, "nobody", *panel.ports, *options)


def test_deleting_asks_first(panel: Simulated) -> None:
    arguments = ("clients", "delete", panel.serial, other(panel), *panel.ports)
    assert "nobody is there" in fails(2, *arguments)
    assert at_terminal(*arguments, types="no\n").exit_code == 23
    assert len(panel.clients) == 2
    assert at_terminal(*arguments, types="yes\n").exit_code == 0
    assert "other" not in panel.clients


def test_our_own_entry_takes_a_word_of_its_own(panel: Simulated, home: Path) -> None:
    arguments = ("clients", "delete", panel.serial, panel.stored(home).client_name, *panel.ports, "--yes")
    assert "--own" in fails(2, *arguments)
    assert len(panel.clients) == 1
    assert told(run(*arguments, "--own", "--json"))["deleted"] is True
    assert not panel.clients


def test_what_the_panel_tells_of_clients_cannot_control_the_terminal(panel: Simulated) -> None:
    other(panel, ESCAPE)
    panel.where.rest.add_client("far", full=True)
    panel.where.rest.clients["far"] = attrs.evolve(
        panel.where.rest.clients["far"], issued_at=10**18, description=ESCAPE
    )
    assert run("clients", "list", panel.serial, *panel.ports).exit_code == 0  # which looks at each character
    assert run("clients", "show", panel.serial, "far", *panel.ports).exit_code == 0


EVERYTHING = (
    ["clients", "list"],
    ["clients", "show", "x"],
    ["clients", "delete", "x", "--yes"],
    ["fqdn", "get"],
    ["fqdn", "set", "panel.home"],
    ["fqdn", "delete"],
    ["passphrase", "rotate", "--yes"],
)


def with_host(command: list[str], host: str) -> list[str]:
    return [*command[:2], host, *command[2:]]


@pytest.mark.parametrize("command", EVERYTHING, ids=" ".join)
def test_without_credentials_it_says_how_to_get_them(command: list[str]) -> None:
    assert fails(2, *with_host(command, "10.0.0.9")) == "no credentials for 10.0.0.9: span-trio register 10.0.0.9"


@pytest.mark.parametrize("command", EVERYTHING, ids=" ".join)
@pytest.mark.parametrize("missing", ["access_token", "ca_pem"])
def test_credentials_without_token_or_ca_do_nothing(
    command: list[str], missing: str, panel: Simulated, home: Path, tmp_path: Path
) -> None:
    lacking = SpanCredentials.from_json(
        json.dumps({**json.loads(panel.stored(home).to_json()), missing: None, "ca_sha256": None})
    )
    (tmp_path / "lacking").write_text(lacking.to_json())
    arguments = with_host(command, panel.where.host)
    sentence = fails(2, *arguments, *panel.ports, "--credentials", tmp_path / "lacking")
    assert f"hold no {missing.replace('_', ' ').replace('ca pem', 'CA certificate')}" in sentence


@pytest.mark.parametrize("command", [each for each in EVERYTHING if each[0] != "fqdn"], ids=" ".join)
def test_a_token_of_the_lesser_kind_is_4(command: list[str], panel: Simulated, home: Path) -> None:
    panel.lose_privileges(home)
    before = panel.panel.passphrase
    assert fails(4, *with_host(command, panel.serial), *panel.ports)
    assert panel.panel.passphrase == before


@pytest.mark.parametrize("command", EVERYTHING, ids=" ".join)
def test_nobody_there_is_3(command: list[str], panel: Simulated) -> None:
    assert fails(3, *with_host(command, panel.serial), "--http-port=1", "--https-port=1")


# --- the domain name ---


def test_a_name_is_set_and_the_certificate_is_waited_for(panel: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_LOOK_EVERY", 0.02)
    panel.where.rest.certificate_after = 0.1
    names = ("fqdn", "get", panel.serial, *panel.ports, "--json")
    assert told(run(*names)) == {"fqdn": None}
    result = run("fqdn", "set", panel.serial, "Panel.Home.", *panel.ports)
    assert (result.exit_code, result.stdout) == (0, "Panel.Home.\n")
    assert told(run(*names)) == {"fqdn": "Panel.Home."}
    assert run("fqdn", "delete", panel.serial, *panel.ports).exit_code == 0
    assert told(run(*names)) == {"fqdn": None}


def test_a_certificate_that_does_not_follow_is_3(panel: Simulated) -> None:
    panel.where.rest.certificate_after = 60
    arguments = ("fqdn", "set", panel.serial, "panel.home", *panel.ports)
    assert "panel.home is set" in fails(3, *arguments, "--wait", "0.05")
    assert run(*arguments, "--wait", "0").exit_code == 0


def test_a_name_that_the_panel_refuses_is_1(panel: Simulated) -> None:
    assert "422" in fails(1, "fqdn", "set", panel.serial, "no name", *panel.ports)


def test_a_firmware_that_cannot_says_so(home: Path) -> None:
    with simulated(build=202603) as panel:
        panel.registered(home)
        assert "firmware" in fails(1, "fqdn", "set", panel.serial, "panel.home", *panel.ports)
        assert told(run("fqdn", "get", panel.serial, *panel.ports, "--json")) == {"fqdn": None}


# --- the passphrase ---


def rotate(panel: Simulated, *arguments: Any) -> list[Any]:
    return ["passphrase", "rotate", panel.serial, *panel.ports, *arguments]


def agree(panel: Simulated, home: Path) -> bool:
    """Whether what is stored is what the panel accepts."""
    stored = panel.stored(home)
    accepted = panel.panel.credentials
    return (stored.passphrase, stored.broker_password) == (panel.panel.passphrase, accepted.broker_password)


def test_who_will_lose_access_is_said_and_only_a_yes_changes_it(panel: Simulated, home: Path) -> None:
    other(panel, "the-dashboard")
    before = panel.stored(home)
    assert "nobody is there" in fails(2, *rotate(panel))
    result = at_terminal(*rotate(panel), types="n\n")
    assert result.exit_code == 23
    assert "the-dashboard" in result.stderr
    assert str(before.client_name) not in result.stderr
    assert panel.stored(home) == before
    assert at_terminal(*rotate(panel), types="y\n").exit_code == 0
    assert panel.stored(home).passphrase != before.passphrase
    assert agree(panel, home)


def test_both_are_in_the_file_and_nowhere_else(panel: Simulated, home: Path) -> None:
    other(panel, "the-dashboard")
    result = run(*rotate(panel, "--yes", "--json"))
    shown = told(result)
    assert shown["clients_that_lost_access"] == ["the-dashboard"]
    assert Path(shown["file"]).stat().st_mode & 0o777 == 0o600
    stored = panel.stored(home)
    for secret in (stored.passphrase, stored.broker_password, stored.access_token):
        assert str(secret) not in result.output


def test_credentials_in_a_file_are_written_back_to_it(panel: Simulated, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(panel.stored(home).to_json())
    arguments = ("passphrase", "rotate", panel.where.host, *panel.ports, "--credentials", file, "--yes")
    assert run(*arguments).exit_code == 0
    assert SpanCredentials.from_json(file.read_text()).passphrase == panel.panel.passphrase


@pytest.mark.parametrize("fault", [RestFault(status=500), RestFault(status=500, done=True), RestFault(body=b"{}")])
def test_an_outcome_that_is_not_known_is_12_and_says_what_to_do(fault: RestFault, panel: Simulated, home: Path) -> None:
    before = panel.stored(home)
    panel.where.rest.fail("PUT /auth/passphrase", fault)
    sentence = fails(12, *rotate(panel, "--yes"))
    assert f"span-trio register {panel.serial} --again" in sentence
    assert panel.stored(home) == before


def test_a_file_that_cannot_be_written_keeps_the_passphrase(
    panel: Simulated, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    monkeypatch.setattr(access, "check_store", full)
    fails(2, *rotate(panel, "--yes"))
    assert agree(panel, home)


def test_a_disk_that_is_full_too_late_loses_nothing(
    panel: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    monkeypatch.setattr(access, "save_credentials", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sentence = fails(2, *rotate(panel, "--yes"))
    (file,) = tmp_path.glob("span-*.json")
    assert str(file) in sentence
    assert SpanCredentials.from_json(file.read_text()).passphrase == panel.panel.passphrase


def test_what_another_program_has_stored_meanwhile_is_not_undone(
    panel: Simulated, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_minds(*_: Any) -> None:
        return

    def think(*_: Any, **__: Any) -> None:
        assert run(*rotate(panel, "--yes")).exit_code == 0
        panel.where.rest.fail("PUT /auth/passphrase", RestFault(status=500))

    monkeypatch.setattr(access, "confirm", think)
    monkeypatch.setattr(access, "need_terminal", nobody_minds)
    assert run(*rotate(panel)).exit_code == 12
    assert agree(panel, home)


def test_ctrl_c_while_it_is_changed_comes_too_late(panel: Simulated, home: Path) -> None:
    panel.where.rest.fail("PUT /auth/passphrase", RestFault(delay=0.2))
    before = panel.panel.passphrase

    def interrupt() -> None:
        for _ in range(1000):
            if panel.panel.passphrase != before:
                signal.raise_signal(signal.SIGINT)
                return
            threading.Event().wait(0.005)

    pressing = threading.Thread(target=interrupt)
    pressing.start()
    result = run(*rotate(panel, "--yes"))
    pressing.join()
    assert result.exit_code == 0
    assert "interrupted too late" in result.stderr
    assert panel.panel.passphrase != before
    assert agree(panel, home)


def test_ctrl_c_before_it_was_asked_for_changes_nothing(panel: Simulated, home: Path) -> None:
    panel.where.rest.fail("GET /auth/clients", RestFault(delay=5))
    pressing = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    pressing.start()
    assert run(*rotate(panel, "--yes")).exit_code == 130
    assert agree(panel, home)
