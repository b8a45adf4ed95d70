"""A nursery for what runs beside a block, and ways to end things while an exception is in flight.

The rules of this room:

* An ``await`` in a ``finally`` or an ``except`` may be cancelled, or raise, and then its exception takes the place of
  the one in flight: a ctrl-C, or a bug, is lost without a trace. So what has to be awaited there is awaited by
  `undisturbed` or `close_forcefully`, and by nothing else. A test looks for every other ``await`` in such a place.
* Ctrl-C can strike between any two lines of any task. The tasks behind a panel are protected from it: trio gives it to
  the main task then, and they are ended in order. What is the user's is called by `unprotected`.
* Out of a nursery comes a group. Out of `open_background` comes one exception, and ctrl-C comes before all others.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

import trio

from .errors import SpanPanelInternalError
from .wiretext import get_logger

__all__ = [
    "close_forcefully",
    "closed_on_failure",
    "interrupt_in",
    "is_cancelled",
    "open_background",
    "protected_exit",
    "undisturbed",
    "ungrouped_interrupts",
    "unprotected",
]

_log = get_logger("span_trio")

_T = TypeVar("_T")
_P = ParamSpec("_P")


async def undisturbed(function: Callable[..., Awaitable[Any]], *arguments: Any, within: float = math.inf) -> None:
    """Await ``function(*arguments)`` on the way out of something, whatever has gone wrong there.

    No cancellation reaches it, and what it raises is logged, so neither takes the place of an exception in flight.
    Only ctrl-C does.

    Args:
        function: what to await.
        arguments: of the function.
        within: s, until it is cancelled.
    """
    with trio.move_on_after(within, shield=True):
        await _only_interrupts(function, *arguments)


async def close_forcefully(resource: trio.abc.AsyncResource) -> None:
    """Close at once, like `trio.aclose_forcefully`, and disturb no exception in flight."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()
        await _only_interrupts(resource.aclose)


async def _only_interrupts(function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    handled = sys.exception()
    lost: KeyboardInterrupt | SystemExit | None = None
    try:
        await function(*arguments)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # what was to be ended has ended
    except Exception:  # noqa: BLE001 - as the docstrings say
        _log.exception("something could not be ended in order")
    except trio.Cancelled as cancelled:  # noqa: ASYNC103 - of the scope around this
        lost = _lost(cancelled, handled)
        if lost is None:
            raise
    if lost is not None:
        raise lost


def _lost(cancelled: trio.Cancelled, handled: BaseException | None) -> KeyboardInterrupt | SystemExit | None:
    """The ctrl-C whose place a cancellation has taken: others' ``aclose`` may await in a ``finally``.

    `trio.StapledStream` has one.
    """
    before = cancelled.__context__
    while before is not None and before is not handled:
        if isinstance(before, (KeyboardInterrupt, SystemExit)):
            return before
        before = before.__context__
    return None


@trio.lowlevel.disable_ki_protection
async def unprotected(function: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """Await ``function(*arguments)``, which ctrl-C may strike: it may do what blocks, though it should not."""
    return await function(*arguments)


@contextlib.asynccontextmanager
async def closed_on_failure(resource: trio.abc.AsyncResource) -> AsyncGenerator[None, None]:
    """Close ``resource`` at once if the block fails or is cancelled; leave it open otherwise."""
    try:
        yield
    except BaseException:
        await close_forcefully(resource)
        raise


@contextlib.contextmanager
def ungrouped_interrupts() -> Generator[None, None, None]:
    """Let ctrl-C out of other people's nurseries as itself: trio's own `trio.open_tcp_stream` has one."""
    interrupt: BaseException | None = None
    try:
        yield
    except BaseExceptionGroup as group:
        interrupt = interrupt_in(group)
        if interrupt is None:
            raise
    if interrupt is not None:
        raise interrupt


def interrupt_in(error: BaseException | None) -> KeyboardInterrupt | SystemExit | None:
    """The ctrl-C, or the exit, that ``error`` is, or that is in this group."""
    return next((each for each in _leaves(error) if isinstance(each, (KeyboardInterrupt, SystemExit))), None)


def is_cancelled(error: BaseException | None) -> bool:
    """Whether a cancellation is in it, which the scope that was cancelled must get back."""
    return any(isinstance(each, trio.Cancelled) for each in _leaves(error))


def _leaves(error: BaseException | None) -> list[BaseException]:
    """The exceptions in a group, however deep; of anything else, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in cast("BaseExceptionGroup[BaseException]", error).exceptions for leaf in _leaves(each)]
    return [] if error is None else [error]


class _ProtectedExit(contextlib.AbstractAsyncContextManager[_T, bool | None]):
    def __init__(self, manager: contextlib.AbstractAsyncContextManager[_T, bool | None]) -> None:
        self._manager: Final = manager

    async def __aenter__(self) -> _T:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)


def protected_exit(
    function: Callable[_P, contextlib.AbstractAsyncContextManager[_T, bool | None]],
) -> Callable[_P, contextlib.AbstractAsyncContextManager[_T, bool | None]]:
    """Keep ctrl-C from striking between the end of an ``async with`` block and the `contextlib.asynccontextmanager`.

    It would not learn that the block has ended, then, and leave its nursery open.
    """

    @functools.wraps(function)
    def protected(*arguments: _P.args, **options: _P.kwargs) -> contextlib.AbstractAsyncContextManager[_T, bool | None]:
        return _ProtectedExit(function(*arguments, **options))

    return protected


@contextlib.asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery, None]:
    """A nursery whose tasks are cancelled when the block ends, however it does.

    One exception comes out, and never in a group of the nursery's: ctrl-C, wherever it has struck; else what the block
    raised, unchanged; else a cancellation from outside.

    Raises:
        SpanPanelInternalError: a task has raised, which is a bug, and cancelled the block. The cause is what it raised.
    """
    own: BaseException | None = None
    passed: BaseException | None = None
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:  # noqa: ASYNC103 - raised below, around the nursery
                if is_cancelled(error):  # perhaps because a task has failed: the nursery's scope takes back what is its
                    passed = error
                    raise
                own = error
            nursery.cancel_scope.cancel()
    except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, where it is nobody's context
        failure = error
    for counts in (interrupt_in(failure), await _pending_interrupt(), own, _without_nursery(failure, passed)):
        if counts is not None:
            raise counts


async def _pending_interrupt() -> KeyboardInterrupt | None:
    """The ctrl-C that waits for the main task to come to a checkpoint, if this is the main task.

    It does not strike a task that waits, and has been cancelled there: so it has not struck while tasks were ended.
    """
    try:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint_if_cancelled()
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def _without_nursery(failure: BaseException | None, passed: BaseException | None) -> BaseException | None:
    """What comes out of a nursery, without its group; ``passed`` is what its block has put in."""
    leaves = _leaves(failure)
    if not isinstance(failure, BaseExceptionGroup):
        return failure
    others = [each for each in leaves if not isinstance(each, trio.Cancelled)]
    if all(each in _leaves(passed) for each in others):
        return leaves[0] if passed is None else passed
    error = SpanPanelInternalError("a background task of span_trio failed")
    error.__cause__ = failure
    return error
