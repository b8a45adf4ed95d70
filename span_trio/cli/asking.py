"""What a person is asked, and what only a person may decide.

Questions go to stderr: standard output is for what a command says. Nothing of trio runs while somebody thinks.
"""

from __future__ import annotations

import sys

from ..errors import SpanPanelError, SpanPanelValidationError
from .output import ask_for, note

__all__ = ["DeclinedError", "at_terminal", "confirm", "need_terminal"]


class DeclinedError(SpanPanelError):
    """The person said no."""


def at_terminal() -> bool:
    """Whether somebody can be asked, and sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def need_terminal(instead: str) -> None:
    """Refuse, before anything is done, what will have to be asked where nobody is.

    Raises:
        SpanPanelValidationError: nobody is there to be asked; says what to give instead.
    """
    if not at_terminal():
        raise SpanPanelValidationError(f"nobody is there to be asked: {instead}")


def confirm(question: str, *, declined: str) -> None:
    """Ask, and wait for a line. Only yes is yes; the end of the input is no.

    Raises:
        DeclinedError: the answer was no.
    """
    ask_for(f"{question} [y/N]")
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        note("")
    if line.strip().lower() not in {"y", "yes"}:
        raise DeclinedError(declined)
