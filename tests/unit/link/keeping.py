"""The connection task on the bench: with a dialer, a source of credentials and a CA that do what a test says."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from span_trio import ConnectionEdge, PanelOptions, SpanCredentials, SpanPanelError, SpanPanelSnapshot
from span_trio.accumulate import PanelAccumulator
from span_trio.commands import Commands
from span_trio.homie import Obstacle
from span_trio.link import Backoff, Connection, LinkEvent
from span_trio.tracker import PanelTracker
from tests.unit.link.broker import Broker
from tests.unit.link.certificates import Certificates, certificates
from tests.unit.link.house import CREDENTIALS
from tests.unit.span.helpers import ROOT

__all__ = ["Bench", "TlsHouse", "keeping"]


class Bench:
    """A `Connection` that runs, an accumulator behind it, and what came of them.

    Before and while it runs, a test may set what its dialer, its credentials' source and its panel do.
    """

    def __init__(self, broker: Broker, credentials: SpanCredentials, ca_pem: str | None, options: PanelOptions) -> None:
        self.broker: Final = broker
        self.fault: Exception | None = None
        """What the dialer raises."""
        self.dials: Final[list[float]] = []
        """When the dialer was called."""
        self.given: SpanCredentials | Exception = credentials
        """What the source of the credentials gives."""
        self.asks: Final[list[float]] = []
        """When it was asked."""
        self.advertised: str | Exception | None = ca_pem
        """What the panel hands out as its CA."""
        self.probes: Final[list[float]] = []
        """When it was asked for that."""
        self.edges: Final[list[ConnectionEdge]] = []
        self.snapshots: Final[list[SpanPanelSnapshot]] = []
        self.obstacles: Final[list[Obstacle]] = []
        """What was in the way, each new one."""
        self.failure: SpanPanelError | None = None
        """What ended it, if something has."""
        self.ended_at = float("inf")
        self.chance: Callable[[], float] = lambda: 1.0
        tracker = PanelTracker(ROOT, options)
        self.accumulator: Final = PanelAccumulator(tracker, Commands(tracker), edges_held=256)
        self.connection: Final = Connection(
            "panel.test",
            credentials,
            ca_pem,
            options,
            ask=self._ask,
            fetch_ca=self._fetch_ca,
            dialer=None if options.encrypted else self._dial,
            backoff=Backoff(self._roll),
        )

    @property
    def live(self) -> bool:
        return self.accumulator.tracker.tree.live

    @property
    def obstacle(self) -> Obstacle | None:
        return self.accumulator.tracker.tree.obstacle

    async def until(self, what: Callable[[], object], seconds: float = 60) -> None:
        """Wait until it is so; not for ever."""
        pause = 0.005
        with trio.fail_after(seconds):
            while not what():
                pause = min(1.05 * pause, 0.2)
                await trio.sleep(pause)

    async def hang_up(self) -> None:
        """The broker hangs up, and that has been noticed."""
        seen = len(self.edges)
        self.broker.connection.hang_up()
        await self.until(lambda: len(self.edges) > seen)

    def _roll(self) -> float:
        return self.chance()

    async def run(self) -> None:
        """All tasks."""
        send, receive = trio.open_memory_channel[list[LinkEvent]](64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.accumulator.run, receive)
            nursery.start_soon(self._listen)
            self.failure = await self.connection.run(send)
            self.ended_at = trio.current_time()
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        async for update in self.accumulator.broadcast.updates():
            (self.edges if isinstance(update, ConnectionEdge) else self.snapshots).append(update)  # type: ignore[arg-type]

    async def _dial(self, host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
        self.dials.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.fault is not None:
            raise self.fault
        return await self.broker.dial(host, port, tls)

    async def _ask(self) -> SpanCredentials:
        self.asks.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    async def _fetch_ca(self) -> str:
        self.probes.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if isinstance(self.advertised, Exception):
            raise self.advertised
        assert self.advertised is not None
        return self.advertised


@contextlib.asynccontextmanager
async def keeping(
    broker: Broker,
    *,
    credentials: SpanCredentials = CREDENTIALS,
    ca_pem: str | None = None,
    live: bool = True,
    **options: Any,
) -> AsyncGenerator[Bench, None]:
    """A connection that is kept while the block lasts; ``live``: from when the panel is live on."""
    bench = Bench(
        broker, credentials, ca_pem, PanelOptions(**{"transport": "mqtt", "max_silence": math.inf, **options})
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        if live:
            await bench.until(lambda: bench.live)
        yield bench
        nursery.cancel_scope.cancel()


# --- TLS in memory ---


class _MemoryTcp:
    """What the library needs of a `trio.SocketStream`, in memory."""

    def __init__(self, stream: trio.StapledStream[MemorySendStream, MemoryReceiveStream]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def setsockopt(self, *_: object) -> None:
        """Nothing to set."""


class TlsHouse:
    """A broker behind TLS, for `span_trio.link.dial`: instead of `trio.open_tcp_stream`. Its certificate may change."""

    def __init__(self, broker: Broker, nursery: trio.Nursery) -> None:
        self.certificates: Certificates = certificates()
        self.dialled: Final[list[tuple[float, str]]] = []
        self.streams: Final[set[trio.abc.Stream]] = set()
        """Its ends of the connections there are."""
        self._broker = broker
        self._nursery = nursery

    async def open_tcp_stream(self, host: str, _port: int) -> _MemoryTcp:
        """Connect to it."""
        self.dialled.append((trio.current_time(), host))
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return _MemoryTcp(ours)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        tls = trio.SSLStream(stream, self.certificates.server, server_side=True, https_compatible=True)
        self.streams.add(stream)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it does not like us
            await self._broker.serve(tls)
        self.streams.remove(stream)
