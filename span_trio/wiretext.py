"""The one place that makes text from the wire harmless for terminals, logs and exceptions.

What a panel, a broker or a stranger on the network says is text: names, states, versions, topics. It may hold escape
sequences that control a terminal, line breaks that forge a line of a log, characters that turn the writing round, or
four megabytes. Snapshots carry it as it is; whoever shows it lets it pass `printable`:

* every `SpanPanelError` does so with its message, and every ``str()`` of what is made to be read (edges, outcomes …);
* every logger of ours, which `get_logger` makes, does so with its arguments;
* the command line writes through ``cli.output`` alone, which does so with everything.

JSON needs none of it: there, everything but ASCII is escaped.
"""

from __future__ import annotations

import logging
from typing import Any, Final

__all__ = ["get_logger", "printable"]

_LONGEST: Final = 4_096


def printable(text: str) -> str:
    """Text on one line that a terminal shows and does not obey; what is not printable is replaced, the end cut off."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def get_logger(name: str) -> logging.Logger:
    """A logger whose arguments pass `printable`, and whose tracebacks do, line by line.

    The texts of its messages are ours: what comes from elsewhere has to be an argument.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_tame)
    return logger


def _tame(record: logging.LogRecord) -> bool:
    arguments = record.args
    if isinstance(arguments, tuple):
        record.args = tuple(map(_shown, arguments))
    if record.exc_info and not record.exc_text:
        lines = logging.Formatter().formatException(record.exc_info).split("\n")
        record.exc_text = "\n".join(map(printable, lines))  # which formatters take as it is
    return True


def _shown(argument: Any) -> Any:
    """An argument as it is, unless its text is harmful."""
    if isinstance(argument, (int, float)):
        return argument
    text = str(argument)
    return argument if printable(text) == text else printable(text)
