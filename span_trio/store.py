"""Credentials in a file that nobody else can read, written as a whole or not at all.

The rules of this room:

* A store is a regular file, or a symbolic link to one. Anything else (a pipe, a device) is refused without being read:
  it could keep us waiting for ever, and could not be read a second time.
* What a file holds is in no exception, nor in the context of one: a `UnicodeDecodeError` carries what it could not
  decode.
* As ssh does it: a store that others may write to is refused, and of one that others may read there is a warning.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, TypeAlias

from .credentials import SpanCredentials
from .errors import SpanPanelValidationError
from .threads import read_in_thread, write_in_thread
from .wiretext import get_logger

__all__ = ["check_private", "check_store", "load_credentials", "save_credentials"]

_log = get_logger("span_trio.store")

_Path: TypeAlias = "str | os.PathLike[str]"

WRITES_WITHIN: Final = 5.0
"""Seconds that writing may take; a disk that spins up needs them."""
_LIMIT: Final = 2**20  # bytes; credentials are 3 KiB
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH

_warned: Final[set[str]] = set()


class _UnfitError(Exception):
    """Why a file cannot be a store, in words."""


async def load_credentials(path: _Path) -> SpanCredentials | None:
    """What is stored; ``None`` if there is no such file.

    It is read in a thread, which is abandoned when this is cancelled: so a network mount that does not answer keeps
    nobody. That it takes as long as it takes is for the caller to limit. A checkpoint.

    Raises:
        SpanPanelValidationError: the file cannot be read, is no regular file, belongs to another user, may be written
            by others, or holds something else. Its content is not quoted.
    """
    try:
        text = await read_in_thread(os.fspath(path), _read, Path(path))
        return None if text is None else SpanCredentials.from_json(text)
    except OSError as error:
        why = error.strerror
    except (_UnfitError, SpanPanelValidationError) as error:
        why = str(error)
    raise SpanPanelValidationError(f"cannot read {os.fspath(path)}: {why}")


def check_private(path: Path) -> None:
    """Refuse a file that others may write to, and warn of one that they may read, as `load_credentials` does.

    Raises:
        SpanPanelValidationError: others may write to it, or it is not there any more.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # or it is a pipe, from whoever has started us
            _check_privacy(path, status)
    except OSError as error:
        raise SpanPanelValidationError(f"cannot read {path}: {error.strerror}") from None
    except _UnfitError as error:
        raise SpanPanelValidationError(f"cannot read {path}: {error}") from None


async def save_credentials(path: _Path, credentials: SpanCredentials) -> None:
    """Store them, atomically and with mode 0600: at every moment the file is the old one or the new one.

    Where ``path`` is a symbolic link, the file that it leads to is replaced, and the link stays. It is written, flushed
    to the disk and renamed in a thread. A cancellation does not interrupt that; it takes 5 s at most.

    Raises:
        SpanPanelValidationError: the file cannot be written, or not in that time; nothing was changed.
    """
    await _write(path, _replace, credentials.to_json().encode())


async def check_store(path: _Path) -> None:
    """See whether credentials can be stored there, before anything is done that cannot be undone.

    A file of their size is written beside the target, and removed again. Otherwise like `save_credentials`.

    Raises:
        SpanPanelValidationError: they cannot; says why.
    """
    await _write(path, _try, bytes(4096))


async def _write(path: _Path, how: Callable[[Callable[[], bool], Path, bytes], None], data: bytes) -> None:
    try:
        await write_in_thread(os.fspath(path), how, Path(path), data, within=WRITES_WITHIN)
    except OSError as error:
        why = error.strerror
    except _UnfitError as error:
        why = str(error)
    else:
        return
    raise SpanPanelValidationError(f"cannot write {os.fspath(path)}: {why}")


# --- in threads -------------------------------------------------------------------------------------------------------


def _read(path: Path) -> str | None:
    try:
        _check_kind(path.stat())  # before it is opened, which does something to some devices
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        _check_kind(status := os.fstat(descriptor))
        _check_privacy(path, status)
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise _UnfitError("it is too large to hold credentials")
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode()
    raise _UnfitError("it is not UTF-8")


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _UnfitError("it is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise _UnfitError("it is no regular file")


def _check_privacy(path: Path, status: os.stat_result) -> None:
    if os.name == "nt":  # where modes say nothing
        return
    mode, user = stat.S_IMODE(status.st_mode), os.geteuid()
    if user and status.st_uid not in {0, user}:
        raise _UnfitError("it belongs to another user, who may write to it")
    if mode & _OTHERS_WRITE:
        raise _UnfitError(f"others may write to it (mode {mode:04o}), and say whom to trust: chmod 600")
    if mode & _OTHERS_READ and str(path) not in _warned:
        _warned.add(str(path))
        _log.warning("others may read %s (mode %04o), which holds secrets: chmod 600", path, mode)


def _replace(is_late: Callable[[], bool], path: Path, data: bytes) -> None:
    with _written(path, data) as (temporary, target):
        if is_late():  # who waited has said that nothing was changed
            raise _UnfitError("it took too long")
        temporary.replace(target)


def _try(_: Callable[[], bool], path: Path, data: bytes) -> None:
    with _written(path, data) as (__, target):
        if target.exists() and target.stat().st_dev != target.parent.stat().st_dev:
            raise _UnfitError("it is a mount of its own, which cannot be replaced: mount its directory instead")


@contextlib.contextmanager
def _written(path: Path, data: bytes) -> Generator[tuple[Path, Path], None, None]:
    """A new file with this content, and the one that it may replace, in the same directory; removed if it does not."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    before: os.stat_result | None = None
    with contextlib.suppress(FileNotFoundError):
        _check_kind(before := target.stat())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if before is not None and os.name != "nt" and os.geteuid() == 0:
            os.chown(temporary, before.st_uid, before.st_gid)  # root may keep it for somebody else
        yield temporary, target
    finally:
        with contextlib.suppress(OSError):  # it has been renamed
            temporary.unlink()
