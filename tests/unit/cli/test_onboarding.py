"""`register`: what is asked before what is sent, the two ways, and what is stored."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from span_trio import SpanPanelValidationError
from span_trio.cli import onboarding
from span_trio.credentials import SpanCredentials, fingerprint
from span_trio.simulator import RestFault
from tests.unit.cli.helpers import fails, run
from tests.unit.cli.simulated import Simulated, at_terminal, simulated, told


@pytest.fixture
def panel() -> Iterator[Simulated]:
    with simulated() as found:
        yield found


def register(panel: Simulated, *arguments: Any) -> list[Any]:
    return ["register", panel.where.host, *panel.ports, *arguments]


# --- by the passphrase ---


def test_a_registration_is_stored_for_its_owner_only(panel: Simulated, home: Path) -> None:
    shown = told(panel.register("--json"))
    file = Path(shown["file"])
    assert file == home / "panels" / f"{panel.serial}.json"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    stored = panel.stored(home)
    assert stored.passphrase == panel.panel.passphrase
    assert (stored.host, stored.client_name) == (panel.where.host, *panel.clients)
    assert shown == {
        "serial_number": panel.serial,
        "host": stored.host,
        "client_name": stored.client_name,
        "ca_sha256": fingerprint(panel.where.ca_pem),
        "file": str(file),
    }


def test_what_comes_next_is_said(panel: Simulated) -> None:
    assert f"span-trio watch {panel.serial}" in panel.register().stderr


def test_the_passphrase_from_a_file(panel: Simulated, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(f" {panel.panel.passphrase}\n")
    assert run(*register(panel, "--yes", "--passphrase-file", tmp_path / "passphrase")).exit_code == 0


def test_a_file_that_is_empty_sends_nothing(panel: Simulated, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("\n")
    assert "is empty" in fails(2, *register(panel, "--yes", "--passphrase-file", tmp_path / "passphrase"))


def test_a_person_sees_the_fingerprint_says_yes_and_types_the_passphrase(panel: Simulated, home: Path) -> None:
    result = at_terminal(*register(panel), types=f"y\n{panel.panel.passphrase}\n")
    assert result.exit_code == 0
    assert fingerprint(panel.where.ca_pem) in result.stderr
    assert panel.panel.passphrase not in result.output
    assert panel.stored(home).client_name in panel.clients


def test_a_wrong_passphrase_is_4_and_leaves_nothing(panel: Simulated, home: Path) -> None:
    result = at_terminal(*register(panel, "--yes"), types="correct-horse\n")
    assert result.exit_code == 4
    assert "correct-horse" not in result.output
    assert not panel.clients
    assert not list((home / "panels").iterdir())


def test_the_name_of_the_entry(panel: Simulated) -> None:
    panel.register("--name", "porch")
    assert [name.rpartition("-")[0] for name in panel.clients] == ["porch"]


# --- whom to trust ---


@pytest.mark.parametrize("answer", ["n", "", "yess", "Y e s"])
def test_only_yes_is_yes_and_nothing_is_sent_without_it(panel: Simulated, answer: str) -> None:
    result = at_terminal(*register(panel), types=f"{answer}\n")
    assert result.exit_code == 23
    assert "the CA is not trusted" in result.stderr
    assert not panel.clients


def test_the_end_of_the_input_is_no(panel: Simulated) -> None:
    assert at_terminal(*register(panel)).exit_code == 23


def test_a_fingerprint_that_is_known_is_not_asked_about(panel: Simulated) -> None:
    result = at_terminal(
        *register(panel, "--ca-sha256", fingerprint(panel.where.ca_pem)), types=f"{panel.panel.passphrase}\n"
    )
    assert result.exit_code == 0
    assert "Trust it" not in result.stderr


def test_another_fingerprint_ends_it(panel: Simulated, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(panel.panel.passphrase)
    arguments = ["--passphrase-file", tmp_path / "passphrase", "--ca-sha256", "ab" * 32]
    assert "expected abab" in fails(3, *register(panel, *arguments))
    assert not panel.clients


@pytest.mark.parametrize("arguments", [["--yes"], ["--door"], ["--door", "--ca-sha256", "abc"]])
def test_where_nobody_can_be_asked_it_says_what_to_give(panel: Simulated, arguments: list[str]) -> None:
    sentence = fails(2, *register(panel, *arguments))
    assert "nobody is there to be asked" in sentence or "ca_sha256 must be" in sentence
    assert not panel.clients


def test_the_door_and_a_passphrase_exclude_each_other(panel: Simulated, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("x")
    result = run(*register(panel, "--door", "--passphrase-file", tmp_path / "passphrase"))
    assert (result.exit_code, "exclude each other" in result.stderr) == (2, True)


# --- by the door ---


def test_a_door_that_was_pressed_registers(panel: Simulated, home: Path) -> None:
    panel.do(panel.where.rest.press_door)
    assert run(*register(panel, "--door", "--yes")).exit_code == 0
    assert panel.stored(home).client_name in panel.clients


def test_the_door_is_waited_for(panel: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onboarding, "_LOOK_EVERY", 0.01)
    say = onboarding.note

    def press(*lines: str) -> None:
        say(*lines)
        if "Waiting" in lines[-1]:
            panel.do(panel.where.rest.press_door)

    monkeypatch.setattr(onboarding, "note", press)
    result = at_terminal(*register(panel, "--yes"), types="\n")  # an empty line: by the door
    assert result.exit_code == 0
    assert "three times" in result.stderr
    assert len(panel.clients) == 1


@pytest.mark.parametrize("wait", [[], ["--wait", "0.05"]])
def test_a_door_that_nobody_presses_is_4_and_wastes_nothing(panel: Simulated, wait: list[str]) -> None:
    result = run(*register(panel, "--door", "--yes", *wait))
    assert result.exit_code == 4
    assert "not pressed three times" in result.stderr
    assert not panel.clients


def test_a_firmware_that_does_not_tell_of_its_door_is_asked_about() -> None:
    with simulated(build=202603) as panel:
        panel.do(panel.where.rest.press_door)
        assert at_terminal(*register(panel, "--door", "--yes"), types="n\n").exit_code == 23
        assert not panel.clients
        assert at_terminal(*register(panel, "--door", "--yes"), types="y\n").exit_code == 0
        assert len(panel.clients) == 1


# --- once is enough ---


def test_what_is_stored_is_not_registered_again(panel: Simulated) -> None:
    panel.register()
    for name in (panel.where.host, panel.serial):
        assert "is stored already" in fails(2, "register", name, *panel.ports, "--yes", "--door")
    assert len(panel.clients) == 1


def test_a_panel_that_is_stored_under_another_host_is_recognised(panel: Simulated, home: Path) -> None:
    moved = attrs.evolve(panel.registered(home), host="192.0.2.1")
    (home / "panels" / f"{panel.serial}.json").write_text(moved.to_json())
    result = panel.register()
    assert (result.exit_code, len(panel.clients)) == (2, 1)
    assert "is stored already" in result.stderr


def test_again_adds_an_entry_and_says_which_is_the_old_one(panel: Simulated, home: Path) -> None:
    before = panel.registered(home).client_name
    result = panel.register("--again")
    assert result.exit_code == 0
    assert f"span-trio clients delete {panel.serial} {before}" in result.stderr
    assert panel.clients == [before, panel.stored(home).client_name]


def test_another_ca_than_the_stored_one_takes_a_person(panel: Simulated, home: Path) -> None:
    before = panel.registered(home)
    panel.do(lambda: panel.where.replace_certificate(new_ca=True))
    refused = panel.register("--again")
    assert refused.exit_code == 2
    assert "another one than the one that is stored" in refused.stderr
    assert panel.stored(home) == before
    types = f"y\n{panel.panel.passphrase}\n"
    assert at_terminal(*register(panel, "--again", "--yes"), types=types).exit_code == 0
    assert panel.stored(home).ca_sha256 == fingerprint(panel.where.ca_pem)


def test_the_ca_that_is_stored_already_is_not_asked_about(panel: Simulated) -> None:
    panel.register()
    result = at_terminal(*register(panel, "--again"), types=f"{panel.panel.passphrase}\n")
    assert (result.exit_code, "Trust it" in result.stderr) == (0, False)


# --- what goes wrong ---


def test_nobody_there_is_3(panel: Simulated) -> None:
    ports = ["--http-port=1", "--https-port=1"]
    assert "GET /api/v2/certificate/ca" in fails(3, "register", panel.where.host, *ports, "--door", "--yes")


@pytest.fixture
def full_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    monkeypatch.setattr("span_trio.onboard.save_credentials", full)


def test_where_nothing_can_be_stored_nobody_is_asked_and_nothing_is_sent(
    panel: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise SpanPanelValidationError("cannot write it: No space left on device")

    monkeypatch.setattr(onboarding, "check_store", full)
    result = at_terminal(*register(panel, "--yes"), types=f"{panel.panel.passphrase}\n")
    assert result.exit_code == 2
    assert "No space left" in result.stderr
    assert "Passphrase" not in result.output
    assert not panel.clients


@pytest.mark.usefixtures("full_too_late")
def test_what_cannot_be_stored_after_all_is_taken_back(
    panel: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = panel.register()
    assert result.exit_code == 2
    assert "taken off the panel's list again" in result.stderr
    assert not panel.clients
    assert not list(tmp_path.glob("span-*.json"))


@pytest.mark.usefixtures("full_too_late")
def test_what_can_be_neither_stored_nor_taken_back_is_put_where_it_can(
    panel: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.where.rest.fail("DELETE /auth/clients/{name}", RestFault(status=503))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = panel.register()
    assert result.exit_code == 2
    (file,) = tmp_path.glob("span-*.json")
    assert str(file) in result.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert SpanCredentials.from_json(file.read_text()).client_name in panel.clients


def test_a_serial_number_that_is_none_makes_no_file(panel: Simulated, home: Path) -> None:
    answer = {"serialNumber": "../evil", "firmwareVersion": "x", "proximityProven": True}
    panel.where.rest.fail("GET /status", RestFault(body=json.dumps(answer).encode()))
    result = panel.register()
    assert result.exit_code == 1
    assert "no serial number" in result.stderr
    assert not panel.clients
    assert not home.exists()
