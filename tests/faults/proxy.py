"""A TCP proxy that does to a link what networks do."""

from __future__ import annotations

import socket
import struct
from functools import partial

import trio

__all__ = ["Proxy"]

_CUT = 3  # bytes that are held back of a chunk: it ends with a packet, so what is sent ends in mid packet


class Proxy:
    """Forwards to ``port`` on this machine. ``run`` in a nursery; it is open at ``self.port`` when that has started."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.silent = False
        """Whether to forward nothing: accepted, and never heard of again."""
        self.deaf = False
        """Whether to lose what comes back."""
        self.frozen = False
        """Whether to keep everything, both ways, until `thaw`."""
        self.closed = False
        """Whether to hang up on whoever comes."""
        self.ended_at = 0.0
        """When a broker hung up last."""
        self._target = port
        self._thawed = trio.Event()
        self._cut: trio.Event | None = None
        self._reset = False
        self._cut_at = 0.0
        self._links: set[trio.CancelScope] = set()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def cut(self, *, reset: bool) -> float:
        """End the link in the middle of the next packet, by RST or by a FIN of ours alone; returns when that was."""
        self._reset, self._cut = reset, trio.Event()
        await self._cut.wait()
        self._cut = None
        return self._cut_at

    def shut(self) -> None:
        """End all links, and hang up on new ones."""
        self.closed = True
        self.drop()

    def open(self) -> None:
        """Take links again."""
        self.closed = False

    def drop(self) -> None:
        """End all links, and go on taking new ones."""
        for link in self._links:
            link.cancel()

    def thaw(self) -> None:
        """Forward what was kept."""
        self.frozen = False
        self._thawed.set()
        self._thawed = trio.Event()

    def speak(self) -> None:
        """No more silence for links to come; those of before stay as they are."""
        self.silent = False

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            if self.closed:
                raise ConnectionRefusedError
            server = await trio.open_tcp_stream("127.0.0.1", self._target)
        except OSError:
            await client.aclose()
            return
        async with client, server, trio.open_nursery() as nursery:
            self._links.add(nursery.cancel_scope)
            nursery.start_soon(partial(self._forward, client, server, nursery.cancel_scope))
            nursery.start_soon(partial(self._forward, server, client, nursery.cancel_scope, backwards=True))

    async def _forward(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope, *, backwards: bool = False
    ) -> None:
        muted = self.silent
        try:
            async for data in source:
                muted = muted or self.silent
                if self.frozen:
                    await self._thawed.wait()
                if muted or (backwards and self.deaf):
                    continue
                if backwards and self._cut is not None and len(data) > _CUT:
                    await sink.send_all(data[:-_CUT])
                    await self._end(sink)
                    return
                await sink.send_all(data)
            if backwards:
                self.ended_at = trio.current_time()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if not muted:  # of a silent link nobody hears how it ends
            scope.cancel()

    async def _end(self, client: trio.SocketStream) -> None:
        """``self._cut`` is somebody's who waits for it."""
        await trio.sleep(0.02)  # so that what was sent is read, and the reader waits for the rest
        self._cut_at = trio.current_time()
        if self._reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        else:
            await client.send_eof()
        if self._cut is not None:
            self._cut.set()
