"""The bytes of one session: two tasks between a stream and a `Session`, and what goes wrong on the way.

The rules of this room:

* The reader hands packets to the session as they come, and waits for nothing but the stream (and the end of a freeze).
  The writer alone sends, and waits for the stream as long as it takes: who does not read loses what does not fit its
  queue, and delays nobody.
* The session decides when it is over (`Session.end`); then the reader stops at once, and the writer has a grace to send
  what is queued. A reset has no grace.
* Nothing outlives `run`, and the stream is closed whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Final, Protocol

import trio

from ...background import close_forcefully
from ...mqtt.framing import Framer, FramingError
from .packets import PacketError, Publish, Subscribe, decode
from .sessions import Hub, Session

__all__ = ["Connection", "Host"]

_READ_SIZE: Final = 65_536
_GRACE: Final = 1.0  # s, for what is queued, and again for closing politely
_LOGIN_KEEPALIVE: Final = 60  # s, as long as a client has not said its own
_CHUNKS_PER_SECOND: Final = 10  # of a slow link
_LINGER_0: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Host(Hub, Protocol):
    """What a connection needs of its broker."""

    @property
    def faults_changed(self) -> trio.Event:
        """Set when the faults have been changed; another one each time."""
        ...


class Connection:
    """One connection; to be run once.

    Args:
        host: the broker.
        stream: owned from now on.
        max_packet: bytes; whoever sends a larger one is thrown out.
    """

    def __init__(self, host: Host, stream: trio.abc.Stream, *, max_packet: int) -> None:
        self.since: float = trio.current_time()
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.session: Final = Session(host, self._wake)
        self._host = host
        self._stream = stream
        self._max_packet = max_packet
        self._alive_at = self.since
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._work = trio.Event()
        self._finishing = False
        self._reset = False

    async def run(self) -> None:
        """Serve the client until one side ends it. What the broker's callbacks raise comes out."""
        failure: Exception | None = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    try:
                        with self._reading:
                            await self._read()
                    except Exception as error:  # noqa: BLE001 - raised below, and not in a group
                        failure = error
                    self._finishing = True
                    self._scope.deadline = trio.current_time() + _GRACE
                    self._work.set()
            if self._reset:
                _linger_not(self._stream)
            else:
                with trio.move_on_after(_GRACE), contextlib.suppress(trio.BrokenResourceError):
                    await self._stream.aclose()  # TLS says goodbye here, and the peer may not listen
        finally:
            try:
                self.session.end("the broker closed the connection")
            finally:
                await close_forcefully(self._stream)
        if failure is not None:
            raise failure

    def end(self, why: str, *, reset: bool) -> None:
        """End it from outside: by RST where the stream is made of a socket, otherwise behind what is queued."""
        if reset:
            self._reset = True
            self._scope.cancel()
        self.session.end(why)

    def _wake(self) -> None:
        self._work.set()
        if self.session.why_ended is not None:
            self._reading.cancel()

    # --- in ---

    async def _read(self) -> None:
        framer = Framer(self._max_packet)
        while data := await self._receive():
            self.bytes_received += len(data)
            try:
                for frame in framer.frames(data):
                    self._alive_at = trio.current_time()
                    if self._host.faults.mute:
                        continue
                    packet = decode(frame)
                    self.session.handle(packet)
                    if self.session.why_ended is not None:
                        return
                    if isinstance(packet, (Publish, Subscribe)) and not self._host.faults.websocket_queue:
                        # That may have been work: others have their turn. (Not before a burst has been queued whole.)
                        await trio.lowlevel.checkpoint()
            except (FramingError, PacketError) as error:
                self.session.end(f"protocol error: {error}")
                return

    async def _receive(self) -> bytes:
        """Some bytes; none when the session is over."""
        while True:
            data = await self._receive_in_time()
            while self._host.faults.freeze:  # time in which we did not look is nobody's silence
                await self._host.faults_changed.wait()
                self._alive_at = trio.current_time()
            if data is not None or trio.current_time() >= self._alive_at + self._patience:
                break
        if data is None:
            self.session.end(f"silent for {self._patience:g} s")
        elif not data:
            self.session.end("the client hung up")
        return data or b""

    async def _receive_in_time(self) -> bytes | None:
        """Some bytes; ``b""`` when the client has hung up, ``None`` when it has been silent for too long."""
        data: bytes | None = None
        try:
            with trio.CancelScope(deadline=self._alive_at + self._patience):
                data = bytes(await self._stream.receive_some(_READ_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            await trio.lowlevel.checkpoint()
        return data

    @property
    def _patience(self) -> float:
        keepalive = self.session.keepalive if self.session.client else _LOGIN_KEEPALIVE
        return 1.5 * keepalive or float("inf")

    # --- out ---

    async def _write(self) -> None:
        outbox = self.session.outbox
        await trio.lowlevel.checkpoint()
        try:
            while True:
                faults = self._host.faults
                if faults.freeze or faults.mute:
                    await self._host.faults_changed.wait()
                elif data := outbox.take(self._chunk):
                    if faults.slow is not None:
                        with trio.move_on_after(len(data) / faults.slow):
                            await self._host.faults_changed.wait()
                    await self._stream.send_all(data)
                    self.bytes_sent += len(data)
                elif self._finishing:
                    break
                else:
                    self._work = trio.Event()
                    await self._work.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            outbox.close()  # what the client said before it went is still to be read

    @property
    def _chunk(self) -> int:
        faults = self._host.faults
        if faults.drip:
            return 1
        return _READ_SIZE if faults.slow is None else max(1, int(faults.slow / _CHUNKS_PER_SECOND))


def _linger_not(stream: object) -> None:
    """Let the socket below a stream, if there is one, be closed by RST."""
    while stream is not None and not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "transport_stream", None)
    if stream is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
