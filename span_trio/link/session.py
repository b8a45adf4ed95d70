"""One MQTT session over a stream: some tasks around the codec, and one way out.

The rules of this room:

* A session begins with a whole CONNECT/CONNACK exchange (`Link.start`) and runs (`Link.run`) until it is lost or
  cancelled. Losing it is an expected event: `run` returns why.
* The reader hands on one list of events per read. It waits for nobody but the channel it feeds.
* The writer is the only one that sends, and is never cut in mid packet: it is shielded, and on the way out it has a
  grace to send what is queued and DISCONNECT behind it (I11).
* Life is a *whole packet* received. We ask for one every ``keepalive`` and give up after 1.5 times that. Time in which
  we did not read (a suspended machine, a full channel) is not counted: before we give anything up we look once more.
* One subscription is outstanding at a time, and so is its replay barrier (`barrier`).
* What is published leaves when the writer is free, or never (`publication`). And a session that ends before it was
  acknowledged takes back what the kernel still holds of it (`discard_unsent`), instead of leaving it to be delivered
  for minutes.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator
from typing import Final

import trio

from ..background import close_forcefully, closed_on_failure
from ..enums import ConnectionReason
from ..errors import SpanPanelAuthError, SpanPanelConnectionError
from ..homie import Obstacle, Request
from ..mqtt import Broken, Codec, ConnAck, Event, Messages, Oversized, Pong, PubAck, SubAck
from ..wiretext import get_logger
from .barrier import LAST_LOOK, Barrier
from .events import Answered, LinkEvent, LinkLost, Oversize, ReplayEnd
from .pings import Pings
from .publication import Publication, Publications
from .streams import discard_unsent

__all__ = ["Link"]

_log = get_logger("span_trio.link")
_READ_SIZE: Final = 65_536
_ENOUGH: Final = 4096  # bytes: more came together already
_GATHER: Final = 0.008  # s: a burst comes as many small packets, and waking up costs ten times what parsing costs
_REFUSALS: Final = {
    1: "unacceptable protocol version",
    2: "client id refused",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorised",
}
_AUTH_REFUSALS: Final = {4, 5}


class Link:
    """One MQTT session. Made by `start`; to be run once."""

    def __init__(self, stream: trio.abc.Stream, codec: Codec, *, keepalive: float, close_grace: float) -> None:
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.lost: Obstacle | None = None
        """Why the session is over; ``None`` while it is not, and when it was ended from this side."""
        self.succeeded: bool = False
        """Whether it has led to a live tree; for whoever decides how soon to try again."""
        self._stream = stream
        self._codec = codec
        self._keepalive = keepalive
        self._close_grace = close_grace
        self._requests: deque[Request] = deque()
        self._requested = trio.Event()
        self._queued = trio.Event()  # there is something to send
        self._closing = False
        self._send_scope = trio.CancelScope(shield=True)
        self._barrier: Barrier | None = None
        self._pings = Pings()
        self._waiters: set[trio.Event] = set()  # of those and of pings whose answer is on its way
        self._publications = Publications(codec)
        self._task_scope = trio.CancelScope()
        self._reading = True  # and not waiting for whoever takes the events
        self._alive_at = 0.0  # when a whole packet came last
        self._nap = trio.CancelScope()  # of the reader, which lets small packets gather

    # --- the beginning ---

    @classmethod
    async def start(
        cls, stream: trio.abc.Stream, codec: Codec, *, keepalive: float, close_grace: float, step_timeout: float
    ) -> Link:
        """Log in over ``stream``, which is closed if that fails or is cancelled.

        Args:
            stream: as `dial` made it; the link owns it from now on.
            codec: new.
            keepalive: s; see the rules of the room.
            close_grace: s, for DISCONNECT on the way out.
            step_timeout: s, for the broker's answer.

        Raises:
            SpanPanelAuthError: the broker refuses user name and password.
            SpanPanelConnectionError: anything else.
        """
        link = cls(stream, codec, keepalive=keepalive, close_grace=close_grace)
        async with closed_on_failure(stream):
            with trio.move_on_after(step_timeout) as scope:
                await link._log_in()
            if scope.cancelled_caught:
                why = f"the broker did not answer the login within {step_timeout:g} s"
                raise SpanPanelConnectionError(why, answered=False)
        return link

    async def _log_in(self) -> None:
        events: list[Event] = []
        try:
            connect = self._codec.take_outgoing()
            await self._stream.send_all(connect)
            self.bytes_sent += len(connect)
            while not events:
                data = await self._stream.receive_some(_READ_SIZE)
                if not data:
                    raise SpanPanelConnectionError("the broker hung up during the login")
                self.bytes_received += len(data)
                events = self._codec.receive(bytes(data))
        except trio.BrokenResourceError as error:
            raise SpanPanelConnectionError(f"the link broke during the login: {error.__cause__ or error}") from error
        match events[0]:
            case ConnAck(code=0) if len(events) == 1:
                return
            case ConnAck(code=code) if code:
                why = f"the broker refuses the login: {_REFUSALS.get(code, f'code {code}')}"
                raise SpanPanelAuthError(why) if code in _AUTH_REFUSALS else SpanPanelConnectionError(why)
            case Broken(why=why):
                raise SpanPanelConnectionError(f"the peer does not speak MQTT: {why}")
            case _:
                raise SpanPanelConnectionError("the peer does not speak MQTT: no CONNACK at first")

    # --- the session ---

    async def run(self, events: trio.MemorySendChannel[list[LinkEvent]]) -> None:
        """Pump until the session is lost; sends a `LinkLost` last, and closes the stream in any case.

        When cancelled, what is queued and a DISCONNECT are still sent, within the grace; no `LinkLost` then.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                try:
                    with self._task_scope:
                        async with trio.open_nursery() as tasks:
                            self._alive_at = trio.current_time()
                            tasks.start_soon(self._read, events)
                            tasks.start_soon(self._watch)
                            tasks.start_soon(self._keep_alive)
                            tasks.start_soon(self._subscribe, events)
                finally:
                    self._begin_close()
        finally:
            if self.lost is not None or self._publications.is_unsettled:
                discard_unsent(self._stream)
            await close_forcefully(self._stream)
        if self.lost is not None:
            await events.send([LinkLost(self.lost)])

    def give_up(self, why: str) -> None:
        """End the session at once, as if it were lost: what was written and not acknowledged shall not come later."""
        self._lose(ConnectionReason.LINK_LOST, why)

    def _lose(self, reason: ConnectionReason, detail: str) -> None:
        """The session is over; the first reason counts."""
        if self.lost is None:
            self.lost = Obstacle(reason, detail)
        self._task_scope.cancel()

    # --- in ---

    @trio.lowlevel.enable_ki_protection
    async def _read(self, events: trio.MemorySendChannel[list[LinkEvent]]) -> None:
        gathered = False
        while self.lost is None:
            data = await self._receive()
            packets = self._codec.packets
            items, broken = self._translate(self._codec.receive(data))
            if items:
                self._reading = False
                with contextlib.suppress(trio.WouldBlock):
                    events.send_nowait(items)  # the next read is a checkpoint, and one is enough
                    self._reading = True
                if not self._reading:
                    await events.send(items)
                    self._reading = True
            if broken is not None:
                self._lose(ConnectionReason.PROTOCOL_ERROR, broken)
            elif self._codec.packets > packets:
                self._alive_at = trio.current_time()
            gathered = not gathered and 0 < len(data) < _ENOUGH and not self._is_awaited
            if gathered:
                with trio.move_on_after(_GATHER) as self._nap:
                    await trio.sleep_forever()

    @property
    def _is_awaited(self) -> bool:
        """Whether somebody waits for what comes next."""
        return self._barrier is not None or self._pings.is_awaited or bool(self._publications)

    async def _receive(self) -> bytes:
        """Some bytes; none when the link is lost."""
        data = b""
        try:
            data = bytes(await self._stream.receive_some(_READ_SIZE))
        except trio.BrokenResourceError as error:
            self._lose(ConnectionReason.LINK_LOST, f"it broke: {error.__cause__ or error}")
        else:
            if not data:
                self._lose(ConnectionReason.LINK_LOST, "the peer closed it")
        self.bytes_received += len(data)
        return data

    @trio.lowlevel.enable_ki_protection
    async def _watch(self) -> None:
        """Give a silent peer up; not before the reader has had a look at what came while nobody looked."""
        patience = 1.5 * self._keepalive
        while True:
            await trio.sleep_until(self._alive_at + patience)
            await trio.sleep(LAST_LOOK)
            if not self._reading:
                self._alive_at = trio.current_time()
            if trio.current_time() >= self._alive_at + patience:
                self._lose(ConnectionReason.SILENT_PEER, f"no whole packet for {patience:g} s")

    def _translate(self, events: list[Event]) -> tuple[list[LinkEvent], str | None]:
        """What to hand on; and what was no MQTT behind it, if anything."""
        items: list[LinkEvent] = []
        for event in events:
            match event:
                case Messages(batch=batch):
                    if self._barrier is not None:
                        self._barrier.count(batch)
                    items.append(batch)
                case Pong():
                    items += self._pong()
                case PubAck(mid=mid):
                    self._publications.acknowledge(mid)
                case SubAck(mid=mid, refused=refused):
                    self._subscribed(mid, refused=refused)
                case Oversized(topic=topic):
                    items.append(Oversize(topic))
                case Broken(why=why):
                    return items, why
                case ConnAck():
                    return items, "a second CONNACK"
        return items, None

    # --- subscriptions and their barriers ---

    def subscribe(self, request: Request) -> None:
        """Queue a subscription. Its `ReplayEnd` comes behind its replay; one is outstanding at a time."""
        self._requests.append(request)
        self._requested.set()

    @trio.lowlevel.enable_ki_protection
    async def _subscribe(self, events: trio.MemorySendChannel[list[LinkEvent]]) -> None:
        while True:
            await self._requested.wait()
            self._requested = trio.Event()
            while self._requests:
                request = self._requests.popleft()
                if request.drop:
                    self._codec.unsubscribe(request.drop)
                barrier = self._barrier = Barrier(
                    self._codec.subscribe(request.filters),
                    dispensable=" ".join(request.filters) if request.may_be_refused else "",
                )
                self._send_ping(None)
                if not await barrier.wait_acknowledged(1.5 * self._keepalive):
                    self._lose(ConnectionReason.SILENT_PEER, "the broker does not answer a subscription")
                if not await barrier.wait():
                    self._barrier = None
                    await events.send([ReplayEnd(passed=False)])

    def _subscribed(self, mid: int, *, refused: bool) -> None:
        barrier = self._barrier
        if barrier is None or barrier.mid != mid:
            return
        if refused and not barrier.dispensable:
            self._lose(ConnectionReason.REFUSED, "the broker refuses the subscription")
        else:
            if refused:
                _log.warning("the broker refuses a subscription to %s: going on without it", barrier.dispensable)
            barrier.acknowledge()  # and so the PINGRESP behind it is the barrier

    def _pong(self) -> list[LinkEvent]:
        ping = self._pings.answer()
        items: list[LinkEvent] = [] if ping is None else [Answered(*ping)]
        barrier = self._barrier
        if barrier is not None and barrier.pong():
            self._barrier = None
            items.append(ReplayEnd(passed=barrier.has_passed))
        return items

    # --- out ---

    @property
    def asked_at(self) -> float:
        """When the newest ping that is known to be answered was sent, on trio's clock; minus infinity: none was.

        When its answer was read proves nothing: it may have waited for us in the kernel.
        """
        return self._pings.asked_at

    def ask(self) -> None:
        """Send a PINGREQ, as `ping` does, for its `Answered`."""
        self._send_ping(trio.Event())

    async def ping(self) -> float:
        """A PINGREQ round trip, s; everything that came before the answer has been taken then.

        One whose answer the broker dropped is given up when the next PINGREQ is due; `asked_at` says which it was.

        Raises:
            SpanPanelConnectionError: the link was lost meanwhile.
        """
        if self._closing:
            raise SpanPanelConnectionError("the link was lost")
        answered = trio.Event()
        began = trio.current_time()
        self._waiters.add(answered)
        self._send_ping(answered)
        try:
            await answered.wait()
        finally:
            self._waiters.discard(answered)
        if self._closing:
            raise SpanPanelConnectionError("the link was lost")
        return trio.current_time() - began

    @contextlib.contextmanager
    def publishing(
        self, topic: str, payload: bytes, *, qos: int, may_go: Callable[[], bool]
    ) -> Generator[Publication, None, None]:
        """Publish a message, and hear what becomes of it. On the way out it is withdrawn, if it has not left yet."""
        publication = Publication(topic, payload, qos, may_go)
        if self._closing:
            publication.over.set()
        else:
            self._publications.add(publication)
            self._nap.cancel()  # somebody waits for the answer
            self._queued.set()
        try:
            yield publication
        finally:
            self._publications.withdraw(publication)

    def _send_ping(self, waiter: trio.Event | None) -> None:
        for _ in range(self._pings.send(waiter)):
            self._codec.ping()
            if self._barrier is not None:
                self._barrier.pings += 1
        self._nap.cancel()  # somebody measures
        self._queued.set()

    @trio.lowlevel.enable_ki_protection
    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self._keepalive)
            self._send_ping(None)

    @trio.lowlevel.enable_ki_protection
    async def _write(self) -> None:
        with self._send_scope:
            try:
                while True:
                    data = self._codec.take_outgoing()
                    if not data and self._publications.is_queued:
                        await self._stream.wait_send_all_might_not_block()  # what is taken must go at once
                        data = self._codec.take_outgoing() or self._publications.take()
                    if data:
                        await self._stream.send_all(data)
                        self.bytes_sent += len(data)
                    elif self._closing:
                        break
                    else:
                        await self._queued.wait()
                        self._queued = trio.Event()
                await self._drain()
            except trio.BrokenResourceError as error:
                self._lose(ConnectionReason.LINK_LOST, f"it broke: {error.__cause__ or error}")

    @trio.lowlevel.enable_ki_protection  # the writer is shielded: without what follows it would never end
    def _begin_close(self) -> None:
        """Let the writer finish: DISCONNECT behind what is queued, within the grace."""
        self._closing = True
        self._publications.end()
        if self.lost is None:
            self._codec.disconnect()
            self._send_scope.deadline = trio.current_time() + self._close_grace
        else:
            self._send_scope.cancel()
        self._queued.set()
        for waiter in self._waiters:
            waiter.set()

    async def _drain(self) -> None:
        """Wait for the broker to hang up: closing on unread data would reset the link and could undo DISCONNECT."""
        if self.lost is None:
            with contextlib.suppress(trio.BrokenResourceError):
                while await self._stream.receive_some(_READ_SIZE):
                    pass
