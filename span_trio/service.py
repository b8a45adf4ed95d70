"""What runs behind an open panel: its tasks, and how they end.

The rules of this room:

* Two tasks: the connection task (`Connection.run`) sends lists of events over a bounded memory channel to the
  accumulator task (`PanelAccumulator.run`). A third looks the panel's size up over REST where the tree does not
  tell, a fourth tells the user's ``audit`` of commands.
* What a retry cannot mend is data: the connection task returns it, and the body of the ``async with`` is cancelled.
  Anything else that fails is one `SpanPanelInternalError` with its cause (I12).
* The tasks are shielded, so they outlive the body's ``finally`` blocks when somebody cancels from outside. `close` ends
  them, within the grace of the link (I11).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from .accumulate import PanelAccumulator
from .background import interrupt_in
from .errors import SpanPanelClosedError, SpanPanelError, SpanPanelInternalError
from .link import Connection, LinkEvent
from .options import PanelOptions
from .rest import get_homie_schema
from .wiretext import get_logger

__all__ = ["PanelService"]

_log = get_logger("span_trio.panel")

_CHANNEL_SIZE: Final = 64  # lists of events; a full channel makes the reader wait, which does not count as silence
_SCHEMA_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # s; HTTP may be minutes behind MQTT after a boot (lessons C)


class PanelService:
    """The background of one open panel."""

    def __init__(self, host: str, accumulator: PanelAccumulator, connection: Connection, options: PanelOptions) -> None:
        self.accumulator: Final = accumulator
        self.connection: Final = connection
        self.body_scope: Final = trio.CancelScope()
        """Around the body: cancelled when the background fails."""
        self.failure: BaseException | None = None
        """Why the body was cancelled."""
        self.closed: bool = False
        self._host = host
        self._options = options
        self._schema_tried = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """All tasks, until `close`. Never raises, but for cancellation."""
        send, receive = trio.open_memory_channel[list[LinkEvent]](_CHANNEL_SIZE)
        with self._scope:
            try:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(self._learn_schema)
                    tasks.start_soon(self.accumulator.commands.auditor.run)
                    tasks.start_soon(self._until_failure, partial(self.accumulator.run, receive))
                    await self._until_failure(partial(self.connection.run, send))
            except* (KeyboardInterrupt, SystemExit) as group:
                self._fail(interrupt_in(group) or group)
            except* Exception as group:  # noqa: BLE001 - whatever it is, one error comes out
                error = SpanPanelInternalError("a background task of span_trio failed")
                error.__cause__ = group
                self._fail(error)

    @trio.lowlevel.enable_ki_protection
    async def _until_failure(self, run: Callable[[], Awaitable[SpanPanelError]]) -> None:
        failure = await run()
        if not self.closed:  # or nobody waits for anything any more
            self._fail(failure)

    def _fail(self, error: BaseException) -> None:
        """End the ``async with`` block with this error; the first one counts."""
        self.failure = self.failure or error
        self.body_scope.cancel()

    @trio.lowlevel.enable_ki_protection  # the tasks are shielded: without this they would never end
    def close(self) -> None:
        """The body has left: end the tasks. Iterators that are still held raise from now on."""
        self.closed = True
        self.accumulator.broadcast.close(SpanPanelClosedError)
        self.accumulator.commands.close()
        self._scope.cancel()

    async def wait_ready(self) -> None:
        """Wait for the first complete snapshot, and until there is a current one."""
        await anext(self.accumulator.broadcast.values())

    async def wait_size(self) -> None:
        """Wait for the panel's size, or for a first try to learn it that failed."""
        if self.accumulator.tracker.wants_schema:
            await self._schema_tried.wait()

    @trio.lowlevel.enable_ki_protection
    async def _learn_schema(self) -> None:
        """Where the tree does not tell the panel's size, ask the REST API until it answers."""
        await self.accumulator.first.wait()
        pauses = iter(_SCHEMA_PAUSES)
        asking = self._options.fetch_schema and self._options.source == "panel"
        while asking and not await self._has_learnt_schema():
            self._schema_tried.set()
            await trio.sleep(next(pauses, _SCHEMA_PAUSES[-1]))
        self._schema_tried.set()

    async def _has_learnt_schema(self) -> bool:
        tracker = self.accumulator.tracker
        if not tracker.wants_schema:
            return True
        try:
            tls = await self.connection.tls()
            port = self._options.http_port if tls is None else self._options.https_port
            self.accumulator.adopt(await get_homie_schema(self._host, port=port, tls=tls))
        except SpanPanelError as error:
            _log.info("the size of panel %s is not known: %s", tracker.tree.root, error)
            return False
        return True
