"""What a person is asked, and what only a person may decide.

Questions go to stderr: standard output is for what a command says. Nothing of trio runs while somebody thinks.
"""

from __future__ import annotations

import sys

import click

from ..errors import SpanPanelError, SpanPanelValidationError
from .text import printable

__all__ = ["DeclinedError", "at_terminal", "confirm", "need_terminal", "note", "prompt_hidden"]


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


def note(*lines: str) -> None:
    """Say something that is no result."""
    for line in lines:
        click.echo(printable(line), err=True)


def confirm(question: str, *, declined: str) -> None:
    """Ask, and wait for a line. Only yes is yes; the end of the input is no.

    Raises:
        DeclinedError: the answer was no.
    """
    click.echo(printable(f"{question} [y/N]") + " ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        click.echo(err=True)
    if line.strip().lower() not in {"y", "yes"}:
        raise DeclinedError(declined)


def prompt_hidden(question: str) -> str:
    """A line that is not shown, without the blanks around it; may be empty."""
    try:
        answer: str = click.prompt(question, default="", show_default=False, hide_input=True, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None
    return answer.strip()
