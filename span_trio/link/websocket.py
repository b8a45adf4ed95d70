"""MQTT over WebSocket: a stream, upgraded, is a stream again.

The rules of this room:

* trio-websocket speaks the protocol in a task of its own and queues what it has read, a message at a time. Brokers put
  one packet in a message, and waking up costs more than a packet does. So nobody waits for the queue: a reader waits
  until that task has dealt with all that had come, and takes everything there is.
* The queue is unbounded, and what may get into it is not (I8): while nobody takes, the task reads on for 64 KiB, and no
  further. So the peer feels who is slow.
* What trio-websocket, wsproto and h11 raise does not come out. A handshake fails with one sentence; later on there are
  the errors that trio's streams have.
* A task that trio-websocket leaves waiting for a dead peer is not waited for: what it reads tells when it has ended.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Final, TypeAlias, cast

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from ..background import close_forcefully, closed_on_failure, open_background
from ..errors import SpanPanelConnectionError

__all__ = ["accept_websocket", "open_websocket"]

_SUBPROTOCOL: Final = "mqtt"
_ENOUGH: Final = 65_536
_DILUTION: Final = 4  # bytes on the wire for one of a message, at most: it may come in fragments of one byte
_NORMAL: Final = {1000, 1001, 1005}  # done, going away, and a close that gives no reason
_ABNORMAL: Final = 1006  # no close at all
_STATUS: Final = re.compile(rb"HTTP/\d\.\d (\d{3})")
_STATUS_ENDS: Final = len("HTTP/1.1 101")

_QUEUE: Final = "_recv_channel"  # private to trio-websocket; without it, `pump` takes one message at a time

_Wrap: TypeAlias = Callable[[trio.Nursery, "_Wire"], Awaitable[WebSocketConnection]]


@contextlib.asynccontextmanager
async def open_websocket(
    stream: trio.abc.Stream,
    host: str,
    port: int,
    *,
    path: str = "/mqtt",
    max_message: int,
    timeout: float = math.inf,  # noqa: ASYNC109 - a scope cannot end before a nursery that was opened in it
) -> AsyncGenerator[trio.abc.Stream, None]:
    """Ask the peer for MQTT over WebSocket; the block has a stream that speaks it.

    Args:
        stream: connected, with its TLS handshake done. Owned from now on: closed at the latest when the block ends.
        host: name or address, as it was dialled.
        port: likewise.
        path: what to ask for, with a leading slash.
        max_message: bytes. A larger message breaks the stream; a message usually is one packet.
        timeout: s, for the handshake.

    Raises:
        SpanPanelConnectionError: the peer refuses, is no WebSocket server, speaks no MQTT over it, hangs up, or does
            not answer in time; the message says which.

    What the block raises comes out unchanged. Its end closes at once; for an orderly end, call ``aclose`` before.
    """
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    where = f"{name}:{port}{path}"

    async def wrap(nursery: trio.Nursery, wire: _Wire) -> WebSocketConnection:
        connection = await wrap_client_stream(
            nursery,
            cast("Any", wire),  # it is declared to need a socket, and does not
            f"{name}:{port}",
            path,
            subprotocols=[_SUBPROTOCOL],
            message_queue_size=sys.maxsize,
            max_message_size=max_message,
            receive_buffer_size=_ENOUGH,
        )
        if connection.subprotocol != _SUBPROTOCOL:
            raise SpanPanelConnectionError(f"no WebSocket with {where}: the peer accepts it, but not for MQTT")
        return connection

    async with _upgraded(stream, wrap, where, max_message, timeout) as websocket:
        yield websocket


@contextlib.asynccontextmanager
async def accept_websocket(
    stream: trio.abc.Stream,
    *,
    max_message: int,
    timeout: float = math.inf,  # noqa: ASYNC109 - as above
) -> AsyncGenerator[trio.abc.Stream, None]:
    """The other end of `open_websocket`: whatever path is asked for, as long as MQTT is to be spoken.

    Raises:
        SpanPanelConnectionError: the peer wants something else, hangs up, or asks for nothing in time.
    """

    async def wrap(nursery: trio.Nursery, wire: _Wire) -> WebSocketConnection:
        request = await wrap_server_stream(
            nursery,
            wire,
            message_queue_size=sys.maxsize,
            max_message_size=max_message,
            receive_buffer_size=_ENOUGH,
        )
        if _SUBPROTOCOL not in request.proposed_subprotocols:
            await request.reject(400)
            raise SpanPanelConnectionError("the peer asks for a WebSocket, and not for MQTT")
        return await request.accept(subprotocol=_SUBPROTOCOL)

    async with _upgraded(stream, wrap, "a client", max_message, timeout) as websocket:
        yield websocket


@contextlib.asynccontextmanager
async def _upgraded(
    stream: trio.abc.Stream, wrap: _Wrap, what: str, max_message: int, seconds: float
) -> AsyncGenerator[_WebSocket, None]:
    wire = _Wire(stream)
    try:
        async with open_background() as nursery:
            try:
                websocket = await _shake_hands(nursery, wire, wrap, what, seconds)
                wire.restrict(_DILUTION * max_message + _ENOUGH)
                try:
                    yield websocket
                finally:
                    await close_forcefully(websocket)
            finally:
                wire.life.cancel()
    finally:
        await close_forcefully(stream)


async def _shake_hands(nursery: trio.Nursery, wire: _Wire, wrap: _Wrap, what: str, seconds: float) -> _WebSocket:
    done: list[_WebSocket] = []

    @trio.lowlevel.enable_ki_protection
    async def carry() -> None:
        """Whatever the peer makes trio-websocket raise ends it, and is no bug of ours."""
        with wire.life:
            try:
                async with trio.open_nursery() as reading:
                    websocket = _WebSocket(wire, await wrap(reading, wire))
                    if not websocket.drains:
                        reading.start_soon(websocket.pump)
                    done.append(websocket)
                    wire.settled.set()
            except* Exception as errors:  # noqa: BLE001
                wire.crash = _innermost(errors)
            finally:
                wire.end()
                wire.farewell.cancel()

    nursery.start_soon(carry)
    with trio.move_on_after(seconds):
        await wire.settled.wait()
    if done:
        return done[0]
    if not wire.settled.is_set():
        raise SpanPanelConnectionError(f"no WebSocket handshake with {what} within {seconds:g} s", answered=False)
    if isinstance(wire.crash, SpanPanelConnectionError):
        raise wire.crash
    raise SpanPanelConnectionError(f"no WebSocket with {what}: {wire.refusal}") from wire.broken or wire.crash


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


class _Wire(trio.abc.Stream):
    """The stream below, as trio-websocket sees it.

    It knows when trio-websocket has dealt with what it has read, which is when it reads on, and lets it do so only
    while somebody takes what came of it.
    """

    def __init__(self, below: trio.abc.Stream) -> None:
        self.below = below
        self.settled = trio.Event()  # the handshake is done, or will never be
        self.life = trio.CancelScope(shield=True)  # of trio-websocket's task: whoever is cancelled may say goodbye yet
        self.farewell = trio.CancelScope()  # around a goodbye that only makes sense as long as somebody reads
        self.crash: BaseException | None = None  # what ended trio-websocket's task
        self.broken: trio.BrokenResourceError | None = None
        self.hung_up = False
        self.over = False
        self._limit: float = _ENOUGH
        self._greeting = b""
        self._unread = 0  # bytes, since somebody took something
        self._free = True  # read on, though nobody takes
        self._wanted = False
        self._waiting = trio.lowlevel.ParkingLot()
        self._gate = trio.lowlevel.ParkingLot()
        self._sending = trio.Lock()  # trio-websocket sends pongs when it likes

    def restrict(self, limit: int) -> None:
        """The handshake is done. From now on so many bytes may come without a whole message in them."""
        self._limit = limit
        self._free = False

    def release(self) -> None:
        """Nobody will take anything any more; the peer's goodbye is read nevertheless, if it comes soon."""
        self._free = True
        self._gate.unpark_all()

    def taken(self) -> None:
        """All that came has been handed on."""
        self._unread = 0
        self._gate.unpark_all()

    def tell(self) -> None:
        """Wake who waits for `news`."""
        self._waiting.unpark_all()

    def end(self) -> None:
        """Nothing more will be read."""
        self.over = True
        self.settled.set()
        self.tell()

    async def news(self) -> None:
        """Wait until something that was read has been dealt with."""
        self._wanted = True
        self._gate.unpark_all()
        try:
            await self._waiting.park()
        finally:
            self._wanted = False

    @property
    def refusal(self) -> str:
        """Why there is no WebSocket, as far as the peer's first words tell."""
        status = _STATUS.match(self._greeting)
        if status is not None and status[1] != b"101":
            return f"the peer answers with HTTP status {status[1].decode()}"
        if self.broken is not None:
            return f"it broke: {self.broken.__cause__ or self.broken}"
        if self.hung_up:
            return "the peer hung up during the handshake"
        if status is None and self._greeting:
            return "the peer speaks no WebSocket"
        if self._greeting:
            return "the peer answers the upgrade wrongly"
        return f"it cannot be asked for: {self.crash}"

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.tell()
        while self._unread >= _ENOUGH and not (self._wanted or self._free):
            await self._gate.park()
        try:
            if self._unread > self._limit:
                raise trio.BrokenResourceError(f"the peer sent {self._unread} bytes, and no whole message")
            data = await self.below.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self.broken = error
            self.end()
            raise
        self._greeting += data[: _STATUS_ENDS - len(self._greeting)]
        if not data:
            self.hung_up = True
            self.end()
        self._unread += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            async with self._sending:
                await self.below.send_all(data)
        except trio.BrokenResourceError as error:
            self.broken = error
            self.end()  # trio-websocket gives up now, though reading may go on waiting
            raise

    async def wait_send_all_might_not_block(self) -> None:
        async with self._sending:
            await self.below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.end()
        with contextlib.suppress(trio.BrokenResourceError):  # then it is closed well enough
            await self.below.aclose()


class _Turn:
    """What one task may do at a time."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(f"another task is {self._doing} this stream")
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class _WebSocket(trio.abc.Stream):
    """A WebSocket after its handshake. Text has no place in it: MQTT is binary."""

    def __init__(self, wire: _Wire, connection: WebSocketConnection) -> None:
        self._wire = wire
        self._connection = connection
        queue = cast("object", getattr(connection, _QUEUE, None))
        self._queue = (
            cast("trio.MemoryReceiveChannel[bytes | str]", queue)
            if isinstance(queue, trio.MemoryReceiveChannel)
            else None
        )
        self._held = bytearray()
        self._ended = False  # nothing comes behind what is held
        self._text = False
        self._closed = False
        self._receiving = _Turn("receiving from")
        self._sending = _Turn("sending to")

    @property
    def transport_stream(self) -> trio.abc.Stream:
        """The stream below."""
        return self._wire.below

    @property
    def drains(self) -> bool:
        """Whether the queue can be emptied without waiting."""
        return self._queue is not None

    # --- in ---

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if max_bytes is not None:
            if not isinstance(max_bytes, int):  # pyright: ignore[reportUnnecessaryIsInstance] # as trio's streams do
                raise TypeError("max_bytes must be an integer")
            if max_bytes < 1:
                raise ValueError("max_bytes must be positive")
        with self._receiving:
            if self._there_is_something():
                await trio.lowlevel.checkpoint()
            else:
                while not self._there_is_something():
                    await self._wire.news()
            # No await from here on: what is handed on is not lost by a cancellation.
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            if self._held:
                return self._take(max_bytes)
            self._raise_unless_ended_well()
            return b""

    def _there_is_something(self) -> bool:
        """Whether there are bytes, or an end."""
        if self._queue is not None and not self._held:
            self._empty(self._queue)
        return bool(self._held) or self._ended or self._closed

    def _empty(self, queue: trio.MemoryReceiveChannel[bytes | str]) -> None:
        try:
            while not self._ended:
                self._hold(queue.receive_nowait())
        except trio.WouldBlock:
            return
        except (trio.EndOfChannel, trio.ClosedResourceError):
            self._ended = True

    def _hold(self, message: bytes | str) -> None:
        if isinstance(message, str):
            self._text = self._ended = True
        else:
            self._held += message

    def _take(self, max_bytes: int | None) -> bytearray:
        held = self._held
        if max_bytes is None or max_bytes >= len(held):
            self._held = bytearray()
            self._wire.taken()
            return held
        taken = held[:max_bytes]
        del held[:max_bytes]
        return taken

    def _raise_unless_ended_well(self) -> None:
        if self._text:
            raise trio.BrokenResourceError("the peer sent text, which MQTT is not")
        reason = self._connection.closed
        if reason is None or reason.code not in _NORMAL:
            raise self._broken()

    def _broken(self) -> trio.BrokenResourceError:
        """What to raise, with the cause that there is: the network's, or what trio-websocket made of it."""
        wire, reason = self._wire, self._connection.closed
        if wire.broken is not None:
            why = f"the stream below broke: {wire.broken.__cause__ or wire.broken}"
        elif reason is not None and reason.code != _ABNORMAL:
            why = f"the WebSocket was closed with code {reason.code:d}: {reason.reason!r}"
        elif wire.hung_up:
            why = "the peer hung up without closing the WebSocket"
        else:
            why = f"the WebSocket failed: {wire.crash or 'the stream below was closed'}"
        error = trio.BrokenResourceError(why)
        error.__cause__ = wire.crash if wire.broken is None else wire.broken.__cause__
        return error

    async def pump(self) -> None:
        """Keep the queue empty, as long as there is one."""
        while not self._ended:
            try:
                self._hold(await self._connection.get_message())
            except ConnectionClosed:
                self._ended = True
            self._wire.tell()

    # --- out ---

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending, self._only_trios_errors():
            await self._check_open()
            if data:
                await self._connection.send_message(bytes(data))
            else:
                await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending, self._only_trios_errors():
            await self._check_open()
            await self._wire.wait_send_all_might_not_block()

    async def _check_open(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this stream was closed")
        if self._wire.over:  # nobody would answer a ping or a close, nor hear of the answer
            await trio.lowlevel.checkpoint()
            raise self._broken()

    @contextlib.contextmanager
    def _only_trios_errors(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed meanwhile") from None
            if isinstance(error, trio.BrokenResourceError):
                raise
            broken = self._broken()
            raise broken from broken.__cause__ or (None if isinstance(error, ConnectionClosed) else error)

    # --- the end ---

    async def aclose(self) -> None:
        """Say goodbye and wait for the peer's, without a limit; then, or when cancelled, close the stream below.

        Where goodbyes make no sense any more, or when called a second time, there are none.
        """
        first, self._closed = not self._closed, True
        self._wire.tell()
        self._wire.release()
        async with closed_on_failure(self._wire):
            if first:
                with self._wire.farewell, contextlib.suppress(Exception):  # it is closed, whatever the reason
                    await self._connection.aclose()
        await self._wire.aclose()
