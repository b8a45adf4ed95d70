"""`discover_panels` and `discovering_panels`: a task that listens, a task that asks, and what they have found."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, Collection
from typing import Final, NoReturn

import attrs
import trio
from trio.lowlevel import ParkingLot

from ..background import open_background
from ..errors import SpanPanelClosedError, SpanPanelValidationError
from .links import MDNS_PORT, Heard, Network, open_network
from .messages import Kind, Message, Question, decode, encode
from .neighbours import DiscoveredPanel, find_panels, find_questions
from .records import Records
from .services import BROWSED, SERVICES

__all__ = ["PanelFinder", "discover_panels", "discovering_panels"]

_BREATH: Final = 0.05  # s; what arrives within is looked at together
_QUIET: Final = 0.5  # s without news of a panel until it is handed out: its services come in several packets …
_ALONE: Final = 2.0  # … or so long, while it has not said who it is: an answer may have been lost
_LONGEST: Final = 3.0  # s, however much news there is
_FIRST_PAUSE: Final = 1.0  # s between queries, doubled each time …
_LAST_PAUSE: Final = 3600.0  # … up to this (RFC 6762, section 5.2)

_MAX_SIGHTINGS: Final = 4096


@attrs.define
class _Sighting:
    """A panel, as it is known now and as it was handed out."""

    panel: DiscoveredPanel
    since: float
    changed: float
    told: DiscoveredPanel | None = None

    def ready_at(self) -> float:
        """When it can be handed out, s."""
        if self.panel == self.told:
            return math.inf
        return min(self.changed + (_QUIET if self.panel.properties else _ALONE), self.since + _LONGEST)


class PanelFinder:
    """The panels on the local network, as an async iterator: each once, and again when something about it has changed.

    The serial number tells whether it is one that came before. It never ends by itself; a panel that goes away is not
    mentioned, and comes again only if it comes back otherwise. It is for one task: another that asks meanwhile gets a
    ``trio.BusyResourceError``.
    """

    def __init__(self, network: Network, port: int) -> None:
        self._network: Final = network
        self._port: Final = port
        self._records: Final = Records()
        self._sightings: Final[dict[str, _Sighting]] = {}
        self._here: dict[str, DiscoveredPanel] = {}
        self._asked: Final[set[Question]] = set()
        self._news = trio.Event()
        self._lot: Final = ParkingLot()
        self._waited_for = False
        self._closed = False

    @property
    def panels(self) -> tuple[DiscoveredPanel, ...]:
        """All that are known now, by serial number; those with an address only."""
        return tuple(self._here[key] for key in sorted(self._here))

    def __aiter__(self) -> PanelFinder:
        """Itself."""
        return self

    async def __anext__(self) -> DiscoveredPanel:
        """The next panel that is new, or has changed. A checkpoint; cancelling it loses nothing.

        Raises:
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        if self._waited_for:
            raise trio.BusyResourceError("another task waits for this finder: a finder is for one task")
        self._waited_for = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise SpanPanelClosedError("the discovery is closed")
                first = min(self._sightings.values(), key=_Sighting.ready_at, default=None)
                ready_at = math.inf if first is None else first.ready_at()
                if first is not None and ready_at <= trio.current_time():
                    first.told = first.panel
                    return first.panel
                with trio.move_on_at(ready_at):
                    await self._lot.park()
        finally:
            self._waited_for = False

    def hear(self, heard: Heard) -> None:
        """Take note of a packet."""
        if heard.sender.port != self._port:  # RFC 6762, section 6: nobody answers from another port
            return
        message = decode(heard.packet)
        if message is not None and self._records.hear(
            message,
            interface=heard.interface,
            scope=heard.scope,
            source=heard.sender.address,
            now=trio.current_time(),
        ):
            self._news.set()

    async def ask(self) -> NoReturn:
        """Ask at 0, 1, 3, 7 … s, and in between as soon as there is something new to ask; and look, for ever."""
        pause, due, first = _FIRST_PAUSE, trio.current_time(), True
        while True:
            open_questions = find_questions(self._records)
            questions = [question for question in open_questions if question not in self._asked]
            if trio.current_time() >= due:
                browse = [Question(SERVICES[service].type, Kind.PTR, unicast=first) for service in BROWSED]
                questions, first = [*browse, *open_questions], False
                due = trio.current_time() + pause
                pause = min(2 * pause, _LAST_PAUSE)
            self._asked.clear()
            self._asked.update(open_questions)
            if questions:
                for packet in encode(Message(query=True, questions=tuple(questions))):
                    await self._network.send(packet)
            with trio.move_on_at(due):
                await self._news.wait()
            await trio.sleep(_BREATH)
            self._news = trio.Event()
            self.look()

    def look(self) -> None:
        """Work out what the records add up to."""
        now = trio.current_time()
        self._records.forget(now)
        self._here = find_panels(self._records)
        for key, panel in self._here.items():
            seen = self._sightings.get(key)
            if seen is None:
                if len(self._sightings) < _MAX_SIGHTINGS:
                    self._sightings[key] = _Sighting(panel, now, now)
            elif seen.panel != panel:
                if seen.panel == seen.told:
                    seen.since = now
                seen.panel, seen.changed = panel, now
        for key in self._sightings.keys() - self._here.keys():  # gone again, before anybody had asked
            seen = self._sightings[key]
            if seen.told is None:
                del self._sightings[key]
            else:
                seen.panel = seen.told
        self._lot.unpark_all()

    def close(self) -> None:
        """Who waits, now or later, gets an error."""
        self._closed = True
        self._lot.unpark_all()


@contextlib.asynccontextmanager
async def discovering_panels(
    *, interfaces: Collection[str] | None = None, port: int = MDNS_PORT, network: Network | None = None
) -> AsyncGenerator[PanelFinder, None]:
    """Look for panels on the local network, as long as the block lasts.

    ::

        async with discovering_panels() as found:
            async for panel in found:
                print(panel.serial_number, panel.host)

    Args:
        interfaces: names (``eth0``) or addresses of the network interfaces to look on; ``None`` for all but the
            loopback interface. Those that come later are not looked on.
        port: the UDP port of mDNS. Another one is for tests.
        network: what to use in place of sockets.

    Raises:
        SpanPanelConnectionError: no network interface can be used.
        SpanPanelValidationError: there is no such network interface.

    Entering and leaving are checkpoints. When the block ends, however it does, the sockets are closed; there are no
    threads. Who still waits for a panel then gets a `SpanPanelClosedError`.
    """
    async with contextlib.AsyncExitStack() as opened:
        if network is None:
            network = await opened.enter_async_context(open_network(interfaces, port=port))
        finder = PanelFinder(network, port)
        opened.callback(finder.close)
        nursery = await opened.enter_async_context(open_background())
        nursery.start_soon(network.listen, finder.hear)
        nursery.start_soon(finder.ask)
        yield finder


async def discover_panels(
    within: float = 5.0,
    *,
    interfaces: Collection[str] | None = None,
    port: int = MDNS_PORT,
    network: Network | None = None,
) -> tuple[DiscoveredPanel, ...]:
    """The panels that answer within some seconds, by serial number, each once.

    Args:
        within: s. It takes that long, because nobody knows how many there are. Questions go out at 0, 1 and 3 s.
        interfaces: as of `discovering_panels`.
        port: likewise.
        network: likewise.

    Raises:
        SpanPanelConnectionError: no network interface can be used.
        SpanPanelValidationError: there is no such network interface, or ``within`` is no time.

    A checkpoint, which may be cancelled at any time.
    """
    if not 0 < within < math.inf:
        raise SpanPanelValidationError(f"within must be a positive number of seconds, not {within!r}")
    async with discovering_panels(interfaces=interfaces, port=port, network=network) as finder:
        await trio.sleep(within)
        finder.look()
        return finder.panels
