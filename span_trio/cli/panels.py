"""The panels that are stored on this machine: where their credentials are, and which one is meant.

The rules of this room:

* A panel is a file, ``<serial number>.json``, that only its owner can read, as `SpanCredentials.to_json` writes it. The
  directory is ``panels`` in what ``SPAN_TRIO_HOME`` names, or else in the program's own directory of settings.
* A serial number is one panel; a host may be that of several. What could be meant in two ways is refused.
* A file that cannot be read is in nobody's way but that of who asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click

from ..credentials import SpanCredentials
from ..errors import SpanPanelAPIError, SpanPanelError, SpanPanelValidationError
from ..homie import is_valid_id
from ..store import check_private
from ..wiretext import get_logger

__all__ = [
    "HOME_VARIABLE",
    "StoredPanel",
    "UnclearNameError",
    "find_stored",
    "path_of",
    "read_credentials",
    "read_text",
    "stored_panels",
]

_log = get_logger("span_trio.cli")

HOME_VARIABLE: Final = "SPAN_TRIO_HOME"


class UnclearNameError(SpanPanelError):
    """Nobody is called so, or more than one."""


@attrs.frozen
class StoredPanel:
    """A panel, and the file that opens it."""

    path: Path
    credentials: SpanCredentials

    @property
    def serial_number(self) -> str:
        """As the file's name has it."""
        return self.path.stem

    @property
    def host(self) -> str:
        """Where it was registered with; by itself the panel's own name on its network."""
        return self.credentials.host or f"span-{self.serial_number}.local"

    def __str__(self) -> str:
        """Who and where."""
        return f"{self.serial_number} at {self.host}"


def _directory() -> Path:
    home = os.environ.get(HOME_VARIABLE) or click.get_app_dir("span-trio")
    return Path(home) / "panels"


def path_of(serial_number: str) -> Path:
    """Where the credentials of a panel belong; the directory is made, for its owner only.

    Raises:
        SpanPanelAPIError: this is no serial number.
        SpanPanelValidationError: the directory cannot be made.
    """
    if not is_valid_id(serial_number):
        raise SpanPanelAPIError(f"the panel calls itself {serial_number[:60]!r}, which is no serial number")
    directory = _directory()
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SpanPanelValidationError(f"cannot make {directory}: {error.strerror}") from None
    return directory / f"{serial_number}.json"


def read_text(path: Path) -> str:
    """What is in a file.

    Raises:
        SpanPanelValidationError: it cannot be read, or is no text.
    """
    why = "it is not text"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        why = str(error.strerror)
    except UnicodeDecodeError:  # which carries it all: raised from here, the other would have it as its context
        pass
    raise SpanPanelValidationError(f"cannot read {path}: {why}")


def read_credentials(path: Path) -> SpanCredentials:
    """The credentials in a file, which holds secrets.

    Raises:
        SpanPanelValidationError: it cannot be read, holds something else, or others may write to it.
    """
    text = read_text(path)
    check_private(path)
    return SpanCredentials.from_json(text)


def _read(path: Path) -> StoredPanel:
    try:
        return StoredPanel(path, read_credentials(path))
    except SpanPanelValidationError as error:
        if str(path) in str(error):
            raise
        raise SpanPanelValidationError(f"cannot read {path}: {error}") from None


def _paths() -> list[Path]:
    try:
        return sorted(path for path in _directory().iterdir() if path.suffix == ".json" and is_valid_id(path.stem))
    except OSError:  # there is none yet
        return []


def stored_panels() -> Iterator[StoredPanel | SpanPanelValidationError]:
    """All of them by serial number; in place of one that cannot be read, why."""
    for path in _paths():
        try:
            yield _read(path)
        except SpanPanelValidationError as error:
            yield error


def find_stored(name: str, serial_number: str | None = None) -> StoredPanel | None:
    """The one whose serial number, or else whose host, this is.

    Args:
        name: as it was typed.
        serial_number: says which one, if that is known.

    Raises:
        UnclearNameError: several are at that host.
        SpanPanelValidationError: its file cannot be read.
    """
    wanted = _folded(name)
    own = [path for path in _paths() if path.stem == wanted]
    if own:
        return _read(own[0]) if serial_number in {None, wanted} else None
    found: list[StoredPanel] = []
    for stored in stored_panels():
        if isinstance(stored, SpanPanelValidationError):
            _log.warning("%s", stored)
        elif wanted == _folded(stored.host) and serial_number in {None, stored.serial_number}:
            found.append(stored)
    if len(found) > 1:
        raise UnclearNameError(
            f"{len(found)} panels are stored for {name}: {', '.join(map(str, found))}; say the serial number of one"
        )
    return found[0] if found else None


def _folded(host: str) -> str:
    return host.lower().removesuffix(".")
