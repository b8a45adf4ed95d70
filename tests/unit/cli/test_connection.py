"""The options by which every command finds its panel: where each goes, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from span_trio.cli.panels import read_text
from span_trio.credentials import SpanCredentials
from span_trio.errors import SpanPanelValidationError
from span_trio.options import PanelOptions
from tests.unit.cli.helpers import FakePanel, fails, run
from tests.unit.test_credentials import everything_about

SECRET = "correct-horse-battery"
HASH = "ab" * 32


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> FakePanel:
    monkeypatch.delenv("SPAN_TRIO_PASSWORD", raising=False)
    return FakePanel(monkeypatch)


def given(panel: FakePanel, *arguments: Any, **environment: str) -> tuple[SpanCredentials, PanelOptions]:
    result = run("snapshot", "panel.local", *arguments, environment=environment)
    assert result.exit_code == 0, result.output
    ((_, credentials, options),) = panel.given
    panel.given.clear()
    assert SECRET not in result.output
    return credentials, options


def file(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_nothing_said_is_the_defaults(panel: FakePanel) -> None:
    assert given(panel) == (SpanCredentials(), PanelOptions())


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--transport", "mqtt"], PanelOptions(transport="mqtt")),
        (["--port", "18883"], PanelOptions(mqtts_port=18883)),
        (["--transport", "mqtt", "--port", "11883"], PanelOptions(transport="mqtt", mqtt_port=11883)),
        (["--http-port", "8081", "--https-port", "8443"], PanelOptions(http_port=8081, https_port=8443)),
        (["--ca-sha256", HASH], PanelOptions(ca_sha256=HASH)),
        (["--timeout", "2.5"], PanelOptions(ready_timeout=2.5)),
        (["--domain", "kitchen/ebus"], PanelOptions(domain="kitchen/ebus")),
    ],
)
def test_where_the_options_go(arguments: list[str], options: PanelOptions, panel: FakePanel) -> None:
    assert given(panel, *arguments) == (SpanCredentials(), options)


def test_who_and_whom_to_trust(panel: FakePanel, tmp_path: Path) -> None:
    ca = file(tmp_path, "-----BEGIN CERTIFICATE-----")
    credentials, _ = given(panel, "--serial", "nt-1", "--username", "me", "--ca", ca)
    assert credentials == SpanCredentials(serial_number="nt-1", broker_username="me", ca_pem=ca.read_text())


# --- the password ---


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"  {SECRET} \n\n"])
def test_a_password_in_a_file(content: str, panel: FakePanel, tmp_path: Path) -> None:
    credentials, _ = given(panel, "--password-file", file(tmp_path, content))
    assert credentials.broker_password == SECRET


def test_a_password_in_the_environment(panel: FakePanel) -> None:
    credentials, _ = given(panel, SPAN_TRIO_PASSWORD=SECRET)
    assert credentials.broker_password == SECRET


def test_a_variable_that_is_empty_says_nothing(panel: FakePanel) -> None:
    credentials, _ = given(panel, SPAN_TRIO_PASSWORD="")
    assert credentials.broker_password is None


def test_the_file_counts_more_than_the_environment(panel: FakePanel, tmp_path: Path) -> None:
    credentials, _ = given(panel, "--password-file", file(tmp_path, SECRET), SPAN_TRIO_PASSWORD="other")
    assert credentials.broker_password == SECRET


def test_credentials_from_a_file_and_what_is_said_counts_more(panel: FakePanel, tmp_path: Path) -> None:
    stored = SpanCredentials(
        serial_number="nt-1", broker_username="one", broker_password=f"{SECRET}-1", passphrase=f"{SECRET}-2"
    )
    path = file(tmp_path, stored.to_json())
    assert given(panel, "--credentials", path)[0] == stored
    credentials, _ = given(panel, "--credentials", path, "--serial", "nt-2", SPAN_TRIO_PASSWORD=SECRET)
    assert credentials.serial_number == "nt-2"
    assert (credentials.broker_username, credentials.broker_password) == ("one", SECRET)
    assert credentials.passphrase == f"{SECRET}-2"


def test_no_option_takes_a_secret_itself() -> None:  # the list of processes would show it to everybody
    text = run("snapshot", "--help").stdout
    assert "--password " not in text
    assert "--passphrase" not in text
    assert "SPAN_TRIO_PASSWORD" in text


# --- what is refused ---


@pytest.mark.parametrize(
    "content", ["", "{", f'{{"passphrase": "{SECRET}"', f'["{SECRET}"]', f'{{"passphrase": ["{SECRET}"]}}']
)
def test_credentials_that_are_none_are_refused_and_not_quoted(content: str, panel: FakePanel, tmp_path: Path) -> None:
    sentence = fails(2, "snapshot", "panel.local", "--credentials", file(tmp_path, content))
    assert SECRET not in sentence
    assert not panel.given


@pytest.mark.parametrize("option", ["--credentials", "--password-file", "--ca"])
def test_a_file_that_is_no_text(option: str, panel: FakePanel, tmp_path: Path) -> None:
    path = file(tmp_path, b"\xff\xfe" + SECRET.encode())
    assert fails(2, "snapshot", "panel.local", option, path) == f"cannot read {path}: it is not text"
    assert not panel.given


def test_a_file_that_is_no_text_is_in_no_exception(tmp_path: Path) -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        read_text(file(tmp_path, b"\xff\xfe" + SECRET.encode()))
    assert SECRET not in everything_about(caught.value)


@pytest.mark.parametrize("option", ["--credentials", "--password-file", "--ca"])
def test_a_file_that_cannot_be_read(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    path = file(tmp_path, SECRET)
    monkeypatch.setattr(Path, "read_text", refuse)
    assert fails(2, "snapshot", "panel.local", option, path) == f"cannot read {path}: Permission denied"


@pytest.mark.parametrize("option", ["--credentials", "--password-file", "--ca"])
def test_a_file_that_is_not_there(option: str) -> None:
    result = run("snapshot", "panel.local", option, "no-such-file")
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--serial", ""],
        ["--serial", "#"],
        ["--serial", "NT-2143-C1AKC"],
        ["--ca-sha256", ""],
        ["--ca-sha256", "abc"],
        ["--timeout", "nan"],
        ["--timeout", "0"],
        ["--timeout", "-1"],
    ],
)
def test_what_cannot_be_meant(arguments: list[str], panel: FakePanel) -> None:
    assert " must be " in fails(2, "snapshot", "panel.local", *arguments)
    assert not panel.given


@pytest.mark.parametrize(
    "arguments",
    [["--port", "0"], ["--port", "65536"], ["--transport", "udp"], ["--http-port", "x"], ["--timeout", "x"]],
)
def test_what_click_refuses(arguments: list[str]) -> None:
    result = run("snapshot", "panel.local", *arguments)
    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[0]}'" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="modes as POSIX has them")
def test_credentials_that_others_may_write_are_refused_and_those_they_may_read_are_warned_of(
    panel: FakePanel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, SpanCredentials(serial_number="nt-1", passphrase=SECRET).to_json())
    path.chmod(0o666)
    assert "others may write to it" in fails(2, "snapshot", "panel.local", "--credentials", path)
    assert not panel.given
    path.chmod(0o644)
    assert run("snapshot", "panel.local", "--credentials", path).exit_code == 0
    assert f"others may read {path}" in caplog.text
