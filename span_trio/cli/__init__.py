"""``span-trio``: a panel on the command line. Needs the extra ``cli``."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        from .commands import cli  # noqa: PLC0415 - so that a missing extra is a sentence and not a traceback
    except ModuleNotFoundError as error:
        sys.exit(f"span-trio needs {error.name}: pip install 'span-trio[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="replace")
    cli()
