"""`status` and `ca`: who a panel is, and whether it is the one that is trusted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from span_trio.credentials import fingerprint
from span_trio.simulator import RestFault
from tests.unit.cli.helpers import ESCAPE, fails, run
from tests.unit.cli.simulated import Simulated, simulated, told

NOBODY = ("127.0.0.1", "--http-port=1", "--https-port=1")


@pytest.fixture
def panel() -> Iterator[Simulated]:
    with simulated() as found:
        yield found


# --- status ---


def test_the_status_of_a_stranger(panel: Simulated) -> None:
    shown = told(run("status", panel.where.host, *panel.ports, "--json"))
    assert shown == {
        "host": panel.where.host,
        "api_version": "v2",
        "proven": False,
        "serial_number": panel.serial,
        "firmware_version": panel.panel.publisher.release.firmware,
        "hardware_version": None,
        "proximity_proven": False,
    }


def test_a_stored_panel_proves_who_it_is(panel: Simulated) -> None:
    panel.register()
    panel.do(panel.where.rest.press_door)
    shown = told(run("status", panel.serial, *panel.ports, "--json"))
    assert (shown["proven"], shown["proximity_proven"]) == (True, True)
    text = run("status", panel.serial, *panel.ports).stdout
    assert "proven:        by the CA that is stored" in text
    assert "pressed three times" in text


def test_another_ca_is_not_the_stored_panel(panel: Simulated) -> None:
    panel.register()
    panel.do(lambda: panel.where.replace_certificate(new_ca=True))
    assert "certificate" in fails(3, "status", panel.serial, *panel.ports)
    assert run("status", panel.where.host, "--no-store", *panel.ports).exit_code == 0


def test_nobody_there_is_3() -> None:
    assert fails(3, "status", *NOBODY)


def test_a_panel_that_starts_is_1(panel: Simulated) -> None:
    panel.where.rest.starting = True
    assert "502" in fails(1, "status", panel.where.host, *panel.ports)


def test_a_panel_without_the_api_says_so(panel: Simulated) -> None:
    panel.where.rest.fail("GET /status", RestFault(status=404))
    result = run("status", panel.where.host, *panel.ports)
    assert (result.exit_code, result.stdout.split()[:3]) == (0, ["api", "version:", "v1"])


# --- the CA ---


def test_the_ca_goes_to_stdout_and_its_fingerprint_to_stderr(panel: Simulated, tmp_path: Path) -> None:
    result = run("ca", "fetch", panel.where.host, *panel.ports)
    assert (result.exit_code, result.stdout) == (0, panel.where.ca_pem)
    assert fingerprint(panel.where.ca_pem) in result.stderr
    out = tmp_path / "ca.pem"
    assert run("ca", "fetch", panel.where.host, *panel.ports, "--out", out).stdout == ""
    assert out.read_text() == panel.where.ca_pem
    shown = told(run("ca", "fetch", panel.where.host, *panel.ports, "--json"))
    assert shown["ca_sha256"] == fingerprint(shown["ca_pem"])


def test_only_the_expected_ca_is_fetched(panel: Simulated, tmp_path: Path) -> None:
    out = tmp_path / "ca.pem"
    fails(3, "ca", "fetch", panel.where.host, *panel.ports, "--ca-sha256", "ab" * 32, "--out", out)
    assert not out.exists()


def test_a_file_that_cannot_be_written_is_one_sentence(panel: Simulated, tmp_path: Path) -> None:
    result = run("ca", "fetch", panel.where.host, *panel.ports, "--out", tmp_path / "no" / "where")
    assert (result.exit_code, "cannot write" in result.stderr) == (2, True)


def test_the_ca_is_verified(panel: Simulated) -> None:
    panel.register()
    result = run("ca", "verify", panel.serial, *panel.ports)
    assert (result.exit_code, result.stderr) == (0, "")
    assert fingerprint(panel.where.ca_pem) in result.stdout
    assert told(run("ca", "verify", panel.serial, *panel.ports, "--json"))["verified"] is True


def test_another_ca_is_5_with_both_fingerprints(panel: Simulated, home: Path) -> None:
    old = panel.registered(home).ca_sha256
    panel.do(lambda: panel.where.replace_certificate(new_ca=True))
    sentence = fails(5, "ca", "verify", panel.serial, *panel.ports)
    assert str(old) in sentence
    assert fingerprint(panel.where.ca_pem) in sentence
    assert '"verified": false' in run("ca", "verify", panel.serial, *panel.ports, "--json").stdout
    assert str(old) in run("ca", "fetch", panel.serial, *panel.ports).stderr


def test_who_hands_out_the_trusted_ca_has_to_prove_it(panel: Simulated) -> None:
    """What comes in the clear is evidence, and no proof."""
    panel.register()
    handed_out = panel.where.ca_pem
    panel.do(lambda: panel.where.replace_certificate(new_ca=True))
    panel.where.rest.ca_pem = handed_out
    assert "certificate" in fails(3, "ca", "verify", panel.serial, *panel.ports)


def test_a_ca_in_a_file(panel: Simulated, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(panel.where.ca_pem)
    arguments = ("ca", "verify", panel.where.host, *panel.ports)
    assert "no CA is stored" in fails(2, *arguments)
    assert run(*arguments, "--ca", tmp_path / "ca.pem").exit_code == 0
    (tmp_path / "ca.pem").write_text("no PEM")
    fails(2, *arguments, "--ca", tmp_path / "ca.pem")


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_without_an_answer_it_is_3(command: str, panel: Simulated) -> None:
    panel.register()
    fails(3, "ca", command, panel.serial, "--http-port=1", "--https-port=1")


def test_a_panel_cannot_control_the_terminal(panel: Simulated) -> None:
    answer = {"serialNumber": "nt-1", "firmwareVersion": ESCAPE, "hardwareVersion": ESCAPE}
    panel.where.rest.fail("GET /status", RestFault(body=json.dumps(answer).encode()))
    assert run("status", panel.where.host, *panel.ports).exit_code in {0, 1}  # which looks at each character
