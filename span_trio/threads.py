"""Work that blocks, in threads that nobody has to wait for.

A file may be on a network mount whose server is gone: what asks for it then waits in the kernel, for hours, and no
cancellation reaches it there. The rules of this room, through which all of span_trio's own threads go:

* What only reads is abandoned when it is cancelled (ctrl-C does that, too). The thread ends when the kernel lets it.
* What writes is not cut short by a cancellation, but has a limit. That is in real time, whatever trio's clock is: a
  virtual one knows nothing of threads.
* At most one thread is stuck for each ``place``. Others wait for it, as long as they like, and threads that look up
  addresses are not among them.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

import trio

__all__ = ["read_in_thread", "write_in_thread"]

_T = TypeVar("_T")

_readers: Final[trio.lowlevel.RunVar[dict[str, trio.CapacityLimiter]]] = trio.lowlevel.RunVar("span_trio readers")
_writers: Final[dict[str, Future[Any]]] = {}


async def read_in_thread(place: str, function: Callable[..., _T], *arguments: Any) -> _T:
    """Call ``function(*arguments)``, which changes nothing, in a thread.

    A checkpoint. When cancelled, the thread is abandoned: it may go on, and what comes of it is dropped.
    """
    try:
        readers = _readers.get()
    except LookupError:
        _readers.set(readers := dict[str, trio.CapacityLimiter]())
    limiter = readers.setdefault(place, trio.CapacityLimiter(1))
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=limiter)


async def write_in_thread(place: str, function: Callable[..., _T], *arguments: Any, within: float) -> _T:
    """Call ``function(is_late, *arguments)`` in a thread, and wait for it to the end, but no longer than ``within``.

    Args:
        place: what is written to.
        function: gets a function first that tells whether nobody waits any more, for it to ask before it commits.
        arguments: the others.
        within: s, in real time.

    Raises:
        TimeoutError: it has not ended within that time, or one before it at the same place has not.

    A checkpoint if cancelled already; no cancellation cuts it short.
    """
    return await trio.to_thread.run_sync(_write, place, function, arguments, within)


def _write(place: str, function: Callable[..., _T], arguments: tuple[Any, ...], within: float) -> _T:
    ends_at = time.monotonic() + within
    late = threading.Event()
    ours: Future[_T] = Future()

    def work() -> None:
        try:
            ours.set_result(function(late.is_set, *arguments))
        except BaseException as error:  # noqa: BLE001, ASYNC103 - raised where it is waited for
            ours.set_exception(error)
        if _writers.get(place) is ours:
            del _writers[place]

    if _has_ended(_writers.get(place), ends_at):
        _writers[place] = ours
        threading.Thread(target=work, name=f"span_trio writes {place}", daemon=True).start()
        if _has_ended(ours, ends_at):
            return ours.result()
        late.set()
    raise TimeoutError(errno.ETIMEDOUT, f"it does not answer within {within:g} s")


def _has_ended(writer: Future[Any] | None, ends_at: float) -> bool:
    return writer is None or bool(wait([writer], max(0.0, ends_at - time.monotonic())).done)
