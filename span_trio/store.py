"""Credentials in a file that nobody else can read, written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import trio

from .credentials import SpanCredentials
from .errors import SpanPanelValidationError

__all__ = ["load_credentials", "save_credentials"]


async def load_credentials(path: str | os.PathLike[str]) -> SpanCredentials | None:
    """What is stored; ``None`` if there is no such file. A checkpoint.

    Raises:
        SpanPanelValidationError: the file cannot be read, or holds something else. Its content is not quoted.
    """
    try:
        text = await trio.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SpanPanelValidationError(f"cannot read {os.fspath(path)}: {type(error).__name__}") from None
    return SpanCredentials.from_json(text)


async def save_credentials(path: str | os.PathLike[str], credentials: SpanCredentials) -> None:
    """Store them, atomically and with mode 0600: at every moment the file is the old one or the new one.

    It is written, flushed to the disk and renamed in a thread, and that is not interrupted by a cancellation.

    Raises:
        SpanPanelValidationError: the file cannot be written; nothing was changed.
    """
    try:
        await trio.to_thread.run_sync(_replace, Path(path), credentials.to_json().encode())
    except OSError as error:
        raise SpanPanelValidationError(f"cannot write {os.fspath(path)}: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
