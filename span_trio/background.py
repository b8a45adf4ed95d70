"""A nursery for what runs beside a block and ends with it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import trio

__all__ = ["open_background"]


@contextlib.asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery, None]:
    """A nursery whose tasks are cancelled when the block ends, however it does.

    The block's exception travels around the nursery and comes out unchanged, never in a group. A task that raises is a
    bug, which cancels the block and comes out as trio does it.
    """
    body_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, around the nursery
                body_error = error
            nursery.cancel_scope.cancel()
    finally:  # somebody who cancels from outside meanwhile masks nothing (I12)
        if body_error is not None:
            raise body_error
