"""No command says a secret: not on stdout, not on stderr, and in no log record, however it ends."""

import contextlib
import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner

from span_trio.cli import commands
from span_trio.simulator import RestFault
from tests.unit.cli.simulated import Simulated, at_terminal, simulated

NEW = "another-secret"
"""What a hostile server puts wherever a secret of its own belongs."""

HOSTILE = {
    "none": None,
    "401": RestFault(status=401, detail=NEW),
    "403": RestFault(status=403, detail=NEW),
    "422": RestFault(
        status=422, body=f'{{"detail": [{{"loc": ["body"], "msg": "{NEW}", "input": "{NEW}"}}]}}'.encode()
    ),
    "500": RestFault(status=500, detail=NEW),
    "half": RestFault(body=f'{{"ebusBrokerPassword": "{NEW}", "hopPassphrase": "{NEW}'.encode()),
    "text": RestFault(body=NEW.encode(), headers={"Content-Type": "text/html"}),
    "other": RestFault(body=f'{{"clients": {{"{NEW}": ["{NEW}"]}}, "accessToken": "{NEW}"}}'.encode()),
    "gone": RestFault(hang_up=True),
}

COMMANDS: dict[str, list[str]] = {
    "register": ["register", "HOST", "--again", "--yes", "PORTS"],
    "register --door": ["register", "HOST", "--again", "--yes", "--door", "PORTS"],
    "panels": ["panels"],
    "status": ["status", "HOST", "PORTS"],
    "ca fetch": ["ca", "fetch", "HOST", "PORTS"],
    "ca verify": ["ca", "verify", "HOST", "PORTS"],
    "clients list": ["clients", "list", "HOST", "PORTS"],
    "clients show": ["clients", "show", "HOST", "OWN", "PORTS"],
    "clients delete": ["clients", "delete", "HOST", "OWN", "--own", "--yes", "PORTS"],
    "fqdn get": ["fqdn", "get", "HOST", "PORTS"],
    "fqdn set": ["fqdn", "set", "HOST", "panel.home", "--wait", "0", "PORTS"],
    "fqdn delete": ["fqdn", "delete", "HOST", "PORTS"],
    "passphrase rotate": ["passphrase", "rotate", "HOST", "--yes", "PORTS"],
    "snapshot": ["snapshot", "HOST"],
    "watch": ["watch", "HOST", "--snapshots", "1"],
    "record": ["record", "HOST", "FILE", "--seconds", "0.05"],
    "forget": ["forget", "HOST", "--yes", "--delete-client", "PORTS"],
}
ELSEWHERE = {
    "demo",  # it opens a panel of its own
    "discover",  # needs no secret
    "replay",  # likewise
    "simulate",  # prints what opens a panel that is not real: that is what it is for
}
COMMANDING = {"charge-limit", "controls", "evse-lock", "islanding", "priority", "relay"}
"""They open a panel as `snapshot` does."""


def leaves(group: click.Group, *above: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield " ".join((*above, name))


def test_every_command_is_looked_at() -> None:
    looked_at = {name.partition(" --")[0] for name in COMMANDS}
    assert set(leaves(commands.cli)) - COMMANDING == looked_at | ELSEWHERE


class Everything(logging.Handler):
    """Keeps each log record, as it is and as it reads."""

    def __init__(self) -> None:
        super().__init__(0)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said += [repr(record.__dict__), record.getMessage(), self.format(record)]


@contextlib.contextmanager
def listening_to_logs() -> Generator[list[str], None, None]:
    """Every record of any logger; the command sets up the root logger as it does in a program."""
    root, heard = logging.getLogger(), Everything()
    before = root.handlers[:], root.level
    root.handlers.clear()

    class Forwarding(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            heard.handle(record)
            return True

    setting_up = logging.basicConfig

    def basic_config(**how: Any) -> None:
        setting_up(**how)
        for handler in root.handlers:
            handler.filters.insert(0, Forwarding())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logging, "basicConfig", basic_config)
        try:
            yield heard.said
        finally:
            root.handlers[:], level = before
            root.setLevel(level)


@pytest.fixture(scope="module")
def house() -> Iterator[Simulated]:
    with simulated() as found:
        found.where.rest.ca_limit = None
        found.where.rest.certificate_after = 3600  # or it would drop who happens to be connected
        yield found


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_secret_is_said(name: str, hostile: str, house: Simulated, home: Path, tmp_path: Path) -> None:
    house.where.rest.heal()
    secrets = {NEW} if hostile != "none" else set[str]()

    def learn() -> None:
        stored = house.stored(home)
        known = (stored.broker_password, stored.access_token, stored.passphrase, house.panel.passphrase)
        secrets.update(str(secret) for secret in known)

    stored = house.registered(home)
    learn()
    if name == "register --door":
        house.do(house.where.rest.press_door)
    fault = HOSTILE[hostile]
    if fault is not None:
        for endpoint in {"*", "PUT /auth/passphrase", "POST /auth/register"} - (
            {"*"} if name.startswith(("register", "passphrase")) else set()
        ):
            house.where.rest.fail(endpoint, fault)
    words = {"HOST": [house.serial], "PORTS": house.ports, "OWN": [stored.client_name], "FILE": [tmp_path / "file"]}
    arguments = [part for word in COMMANDS[name] for part in words.get(word, [word])]
    with listening_to_logs() as logged:
        environment = {"SPAN_TRIO_PASSPHRASE": house.panel.passphrase}
        result = CliRunner().invoke(commands.cli, ["-vv", *map(str, arguments)], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if name != "forget":
        learn()
    if hostile == "none" or name in {"panels", "snapshot", "watch", "record"}:
        assert result.exit_code == 0, result.stderr
    assert logged or name == "panels"
    if (name, hostile) != ("clients list", "other"):  # a name is no secret, whatever it says
        assert not [secret for secret in secrets for said in (result.stdout, result.stderr, *logged) if secret in said]


def test_what_is_typed_is_not_said(house: Simulated, home: Path) -> None:
    house.where.rest.heal()
    for typed in (house.panel.passphrase, "correct-horse"):
        with listening_to_logs() as logged:
            result = at_terminal(
                "-vv", "register", house.where.host, *house.ports, "--again", "--yes", types=f"{typed}\n", check=False
            )
        assert typed not in result.output + "".join(logged)
    assert attrs.asdict(house.stored(home))["passphrase"] == house.panel.passphrase
