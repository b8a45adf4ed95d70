"""The question that opening a relay asks, at a real terminal."""

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from span_trio.cli import asking, control
from tests.unit.cli.helpers import ESCAPE


@pytest.fixture
def terminal() -> Iterator[tuple[int, Any]]:
    """A terminal: what a person types goes into the first, what a program reads comes out of the second."""
    if sys.platform == "win32":
        pytest.skip("no terminals to be had")
    keyboard, screen = os.openpty()
    with os.fdopen(screen, encoding="utf-8") as stdin:
        yield keyboard, stdin
        os.close(keyboard)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("y\n", True),
        ("  YES \n", True),
        ("n\n", False),
        ("\n", False),
        ("yesterday\n", False),
        ("\x04", False),
        ("n\x7fy\n", True),
    ],
)
async def test_only_yes_is_yes(
    typed: str, meant: bool, terminal: tuple[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard, stdin = terminal
    os.write(keyboard, typed.encode())
    with trio.fail_after(5):
        assert await control.ask(f"Open{ESCAPE}?", stdin) is meant
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.rstrip("\n") == "Open\ufffd[2J\ufffd\ufffd31m\ufffd\ufffd\ufffd? [y/N] "


async def test_a_question_holds_up_nobody_and_can_be_cancelled(terminal: tuple[int, Any]) -> None:
    _, stdin = terminal
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        with trio.move_on_after(0.01) as scope:
            await control.ask("Open?", stdin)
        nursery.cancel_scope.cancel()
    assert scope.cancelled_caught
    assert ticks > 1


def test_a_question_needs_a_person_who_sees_it(terminal: tuple[int, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, a_terminal = terminal
    found: dict[tuple[bool, bool], bool] = {}
    for stdin in (a_terminal, io.StringIO()):
        for stderr in (a_terminal, io.StringIO()):
            monkeypatch.setattr(sys, "stdin", stdin)
            monkeypatch.setattr(sys, "stderr", stderr)
            found[stdin is a_terminal, stderr is a_terminal] = asking.at_terminal()
    assert found == {(True, True): True, (True, False): False, (False, True): False, (False, False): False}
