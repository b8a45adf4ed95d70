"""The one way to a terminal: whatever is printed passes `printable`, so that no text from the wire controls it.

Every other module of the command line writes with what is here; a test holds that. `Text` and `Terminal` stand for
rich's own: a panel's text gets into a picture as a `Text`, a cell of a table or a printed line, and each of these is
made harmless when it is made or, at the last, when it is rendered. What is printed as JSON is ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import click
import rich.text
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..wiretext import printable

__all__ = ["ERR", "OUT", "Terminal", "Text", "ask_for", "columns", "note", "say", "say_json", "stacked"]


class Text(rich.text.Text):
    """As rich's, on one line; of text that a terminal does not obey."""

    def __init__(self, text: str = "", *arguments: Any, **options: Any) -> None:
        super().__init__(printable(text), *arguments, **options)

    def append(self, text: rich.text.Text | str, style: Any = None) -> Text:
        """As rich's."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class Terminal(Console):
    """As rich's `Console`, without its markup, its words for emoji and its colouring of numbers."""

    def __init__(self, **options: Any) -> None:
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
        super().__init__(**(plain | options))

    def render_str(self, text: str, **options: Any) -> rich.text.Text:
        """As of any console: the cells of a table, and what is printed."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console: everything ends up here, in pieces of text."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)


OUT: Final = Terminal()
ERR: Final = Terminal(stderr=True)


def say(*lines: str) -> None:
    """Print results, on the standard output."""
    for line in lines:
        OUT.print(line)


def note(*lines: str) -> None:
    """Print what is no result, on the standard error output."""
    for line in lines:
        ERR.print(line)


def say_json(value: Any) -> None:
    """Print a result for a program, on one line."""
    click.echo(json.dumps(value))


def ask_for(question: str) -> None:
    """Print a question, behind which the answer is typed."""
    click.echo(printable(question) + " ", nl=False, err=True)


def prompt_hidden(question: str) -> str:
    """A line that is not shown, without the blanks around it; may be empty."""
    try:
        answer: str = click.prompt(printable(question), default="", show_default=False, hide_input=True, err=True)
    except click.Abort:
        raise KeyboardInterrupt from None
    return answer.strip()


def columns(*rows: Iterable[str]) -> list[str]:
    """Lines of columns."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def stacked(*lines: Text) -> rich.text.Text:
    """Texts, one below the other."""
    return rich.text.Text("\n").join(lines)
