"""A simulated panel on ports of this machine, in a thread of its own: the commands run trio themselves."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from span_trio.cli import asking, commands, onboarding
from span_trio.credentials import SpanCredentials
from span_trio.simulator import Listening, SimulatedPanel, listening, open_simulated_panel
from tests.unit.cli.helpers import run

__all__ = ["Simulated", "at_terminal", "simulated", "told"]

_T = TypeVar("_T")


@attrs.define
class Simulated:
    """The panel, where it listens, and the thread that it lives in."""

    panel: SimulatedPanel
    where: Listening
    token: trio.lowlevel.TrioToken
    over: trio.Event

    def do(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call something of the panel's, in its thread."""
        return trio.from_thread.run_sync(function, *arguments, trio_token=self.token)

    @property
    def serial(self) -> str:
        return self.panel.serial_number

    @property
    def ports(self) -> list[str]:
        """The options that lead to its REST API."""
        return [f"--http-port={self.where.http_port}", f"--https-port={self.where.https_port}"]

    @property
    def clients(self) -> list[str]:
        return list(self.where.rest.clients)

    def register(self, *arguments: Any) -> Result:
        """Register by the passphrase, and trust whoever answers."""
        given = ("register", self.where.host, *self.ports, "--yes", *arguments)
        return run(*given, environment={"SPAN_TRIO_PASSPHRASE": self.panel.passphrase})

    def registered(self, home: Path) -> SpanCredentials:
        """Register, and return what is stored."""
        result = self.register()
        assert result.exit_code == 0, result.output
        return self.stored(home)

    def stored(self, home: Path) -> SpanCredentials:
        return SpanCredentials.from_json((home / "panels" / f"{self.serial}.json").read_text())

    def lose_privileges(self, home: Path) -> None:
        """What is stored has a token of the lesser kind, from now on."""
        token = self.where.rest.add_client("lesser", full=False).token
        changed = attrs.evolve(self.stored(home), access_token=token)
        (home / "panels" / f"{self.serial}.json").write_text(changed.to_json())


@contextmanager
def simulated(**options: Any) -> Generator[Simulated, None, None]:
    """As long as the block lasts."""
    began: Queue[Simulated | BaseException] = Queue()

    async def live() -> None:
        async with open_simulated_panel("8", **options) as panel, listening(panel) as where:
            over = trio.Event()
            began.put(Simulated(panel, where, trio.lowlevel.current_trio_token(), over))
            await over.wait()

    def main() -> None:
        try:
            trio.run(live)
        except BaseException as error:  # noqa: BLE001 - for the other thread
            began.put(error)

    thread = threading.Thread(target=main)
    thread.start()
    try:
        found = began.get(timeout=10)
        if isinstance(found, BaseException):
            raise found
        try:
            yield found
        finally:
            found.do(found.over.set)
    finally:
        thread.join(10)
    assert not thread.is_alive()


def at_terminal(*arguments: Any, types: str = "", check: bool = True) -> Result:
    """Run a command where somebody is there, who types this."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (asking, onboarding):
            patched.setattr(module, "at_terminal", lambda: True)
        result = CliRunner().invoke(commands.cli, list(map(str, arguments)), input=types)
    if check:
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in result.output
    return result


def told(result: Result) -> Any:
    """The one JSON object that a command printed."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)
