"""The shell under fire: an open panel on a stream in memory, and a broker whose bytes are cut, spoilt and cut off.

A *day* is what happens at the broker's end: values, states, hang-ups, restarts, and time in between, on a clock that
jumps. It is watched as a program would watch it. What the client was given to read is recorded byte by byte and read by
a parser of our own, so that every value of every snapshot can be traced to bytes that were sent over this very link.

What must hold is said at each property. They are plain functions of what hypothesis draws; `run_all` and the unit tests
say how often.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from span_trio import ConnectionEdge, SpanPanelError, SpanPanelSnapshot, SpanPanelStaleDataError
from span_trio.homie import Dirty, Forest, Instant, Message
from span_trio.span import FLAT, FlatBuilder
from tests.unit.link.broker import Broker, Pieces
from tests.unit.link.house import SteppingCancel, house, nothing_left, opened, run, topic
from tests.unit.span.helpers import KITCHEN, ROOT, SMALL, describe

from .bounds import batches

__all__ = ["PROPERTIES", "REACHED", "run_all"]

RETAINED: Final = house({"$description": json.dumps(describe(SMALL, bare=True))})
"""A small house with a short description: so that other things are spoilt than that, too."""
AT_THE_DOOR: Final = {"", "SpanPanelAuthError", "SpanPanelConnectionError", "SpanPanelTimeoutError"}
"""The errors of a panel that could not be opened. Once it was live, nothing of all this ends it."""

REACHED: Final[Counter[str]] = Counter()
"""How the days ended, over all runs of this process."""

Deed: TypeAlias = "tuple[str, str, bytes | float]"
_POWER, _RELAY, _ENERGY, _NAME = (f"{KITCHEN}/{name}" for name in ("active-power", "relay", "exported-energy", "name"))
_DEEDS: Final[list[Deed]] = [
    *[("publish", _POWER, payload) for payload in (b"-1", b"-2.5", b"0", b"NaN", b"")],
    *[("publish", _RELAY, payload) for payload in (b"OPEN", b"CLOSED", b"")],
    *[("publish", _ENERGY, payload) for payload in (b"9002", b"9003")],
    *[("publish", "$state", payload) for payload in (b"init", b"ready", b"ready", b"lost", b"ready", b"")],
    *[("wait", "", seconds) for seconds in (0.01, 0.5, 1.5, 3.0)],
    *[("publish", "$description", b"[]"), ("publish", _NAME, b"\xff"), ("publish", "core/door", b"OPEN")],
]
_HANG_UPS: Final[list[Deed]] = [("hang up", "", b""), ("hang up", _RELAY, b""), ("hang up", "core/door", b"")]
"""The broker goes; what it had retained of a property may be gone then."""

_sizes = st.lists(st.integers(1, 30) | st.integers(100, 2000), max_size=40)
_STATES: Final = [deed for deed in _DEEDS if deed[1] == "$state"]
_days = st.lists(st.sampled_from([*_DEEDS, *_STATES]), min_size=3, max_size=12)
_troubled = st.lists(st.sampled_from([*_DEEDS, *_HANG_UPS, *_HANG_UPS]), min_size=3, max_size=12)


class Heard(trio.abc.Stream):
    """A stream that remembers what was read from it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.data = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self.data += data
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()

    def messages(self) -> Iterator[Message]:
        """Every PUBLISH in it, by MQTT 3.1.1, section 3.3; up to where it is no MQTT any more."""
        data, at = bytes(self.data), 0
        while at + 1 < len(data):
            size = shift = 0
            start = at + 1
            while start < len(data) and start <= at + 4:
                size |= (data[start] & 0x7F) << shift
                shift += 7
                start += 1
                if data[start - 1] < 0x80:
                    break
            else:
                return
            body = data[start : start + size]
            if len(body) < size:
                return
            if data[at] & 0xF0 == 0x30:
                end = 2 + int.from_bytes(body[:2], "big")
                text = body[2:end].decode(errors="surrogateescape")
                if len(body) >= end and not any("\udc80" <= letter <= "\udcff" for letter in text):
                    yield Message(text, body[end:], bool(data[at] & 1))
            at = start + size


class Day(NamedTuple):
    """How a day ended: its edges in words, its last snapshot, or the error that came out."""

    edges: tuple[tuple[bool, str, str | None, int], ...]
    last: SpanPanelSnapshot | None
    error: str


class Watch:
    """A panel on a broker, watched for a day."""

    def __init__(self, sizes: Iterable[int] = (), **options: Any) -> None:
        self.heard: list[Heard] = []
        self.sizes = list(sizes)
        self.broker = Broker(RETAINED, through=self._through, **options)
        self.edges: list[ConnectionEdge] = []
        self.newest: SpanPanelSnapshot | None = None
        """What was published since the last edge."""

    def _through(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        self.heard.append(Heard(Pieces(stream, self.sizes)))
        return self.heard[-1]

    async def live_through(self, deeds: Iterable[Deed], *, mend: bool) -> SpanPanelSnapshot | None:
        """A day; at its end the broker is mended, the panel publishes all, and it must be live. What it shows then."""
        async with opened(self.broker, ready_timeout=20) as panel, trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, panel.updates())
            for deed in deeds:
                await self._do(deed)
            await trio.sleep(3)
            if mend:
                await self._mend()
            last = None
            try:
                last = panel.snapshot
            except SpanPanelStaleDataError:
                assert not mend, f"not live after all was mended: {panel.obstacle}"
            if last is not None:
                self._check_scratch(last)
                assert self.newest == last, "I2: what was published last is not what the panel shows"
            nursery.cancel_scope.cancel()
        return last

    async def _do(self, deed: Deed) -> None:
        match deed:
            case ("publish", path, bytes(payload)):
                self.broker.publish(topic(path), payload) if payload else self._clear(topic(path))
                await trio.lowlevel.checkpoint()
            case ("wait", _, float(seconds)):
                await trio.sleep(seconds)
            case (_, path, _):
                self.broker.connection.hang_up()
                self.broker.retained.pop(topic(path), None)
                await trio.sleep(0.05)

    def _clear(self, text: str) -> None:
        if text in self.broker.retained:
            self.broker.publish(text, b"")

    async def _mend(self) -> None:
        broker = self.broker
        if broker.ends_at is not None and broker.connection.said > broker.ends_at:
            dead = broker.connection
            await trio.sleep(14)
            assert dead.closed, "I9: it clings to a link that is dead"
        broker.flip = broker.ends_at = None
        broker.retained.update(RETAINED)
        broker.connection.hang_up()
        await trio.sleep(60)

    async def _follow(self, updates: Any) -> None:
        async for update in updates:
            if isinstance(update, ConnectionEdge):
                assert update.online is not (self.edges[-1].online if self.edges else False), "I1"
                self.edges.append(update)
                self.newest = None
            else:
                assert self.edges[-1].online, "I2: a snapshot behind an offline edge"
                assert update.epoch == self.edges[-1].epoch, "I2: a snapshot of another epoch"
                self._check_traces(update)
                self.newest = update

    def _check_traces(self, snapshot: SpanPanelSnapshot) -> None:
        """Every value was sent over this link (I5)."""
        sent = {message.payload for message in self.heard[-1].messages()}
        texts = {payload.decode(errors="replace") for payload in sent}
        numbers = {abs(number) for number in map(_number, texts) if number is not None}
        for circuit in snapshot.circuits.values():
            for number in (circuit.instant_power_w, circuit.consumed_energy_wh, circuit.breaker_rating_a):
                assert number is None or abs(number) in numbers, f"I5: {number}"
            for text in (circuit.name, circuit.relay_state, circuit.priority):
                assert text in {None, "", "UNKNOWN"} or text in texts, f"I5: {text}"
        for text in (snapshot.door_state, snapshot.model, snapshot.firmware_version, snapshot.main_relay_state):
            assert text in {None, "", "UNKNOWN"} or text in texts, f"I5: {text}"

    def _check_scratch(self, last: SpanPanelSnapshot) -> None:
        """The last snapshot is what anybody would build of what was sent over this link (I4)."""
        forest = Forest("ebus", fallback=FLAT)
        for message in self.heard[-1].messages():
            forest.absorb(message, 0.0)
        scratch = FlatBuilder(ROOT).build(
            forest, Dirty(), pending=last.pending_devices, seq=1, epoch=1, received_at=Instant(0.0, 0.0)
        )
        assert last == scratch, f"I4: {list(last.changes(scratch))}"

    def run(self, deeds: Iterable[Deed], *, mend: bool = False) -> Day:
        """Live through it; no longer than it may take, and nothing is left."""

        async def main() -> Day:
            error, last = "", None
            with trio.fail_after(300):
                async with nothing_left(self.broker):
                    try:
                        last = await self.live_through(deeds, mend=mend)
                    except SpanPanelError as failure:
                        error = type(failure).__name__
            assert error in AT_THE_DOOR, f"I9: {error}"
            assert not (error and self.edges), f"I9: it was live, and ended by {error}"
            edges = tuple((edge.online, str(edge.reason), edge.state, edge.epoch) for edge in self.edges)
            return Day(edges, last, error)

        return run(main)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@functools.cache
def _length() -> int:
    """How many bytes a broker says until a panel is live, and a little more."""
    watch = Watch()
    watch.run([("publish", _POWER, b"-1"), ("wait", "", 1.0)])
    return watch.broker.connections[0].said + 40


# --- properties -------------------------------------------------------------------------------------------------------


def any_split_gives_the_same_edges_and_the_same_last_snapshot(deeds: list[Deed], sizes: list[int]) -> None:
    """I3."""
    whole, pieces = Watch().run(deeds), Watch(sizes).run(deeds)
    assert pieces == whole
    REACHED["split: live twice" if len(whole.edges) > 2 else "split: live"] += 1


def a_spoilt_byte_ends_in_the_right_panel_or_an_edge_and_is_recovered_from(
    deeds: list[Deed], place: float, mask: int, sizes: list[int]
) -> None:
    """I9, I5: what could not be opened says why; what was open is live and right again when the broker is."""
    day = Watch(sizes, flip=(int(place * 1.3 * _length()), mask)).run(deeds, mend=True)
    REACHED[f"spoilt: {day.error or ('stayed live' if len(day.edges) < 4 else 'recovered')}"] += 1
    if day.last is not None:
        assert day.last == _repaired()


def a_stream_that_ends_anywhere_is_recovered_from(
    deeds: list[Deed], place: float, mute: bool, sizes: list[int]
) -> None:
    """I9: cut off, or silent from there on."""
    day = Watch(sizes, ends_at=int(place * 1.5 * _length()), mute=mute).run(deeds, mend=True)
    REACHED[f"cut off: {day.error or 'recovered'}"] += 1
    if day.last is not None:
        assert day.last == _repaired()


@functools.cache
def _repaired() -> SpanPanelSnapshot:
    last = Watch().run([], mend=True).last
    assert last is not None
    return last


def cancelled_at_any_step_of_a_troubled_day_it_leaves_nothing(deeds: list[Deed], step: int, sizes: list[int]) -> None:
    """I11."""
    cancel = SteppingCancel(step)
    watch = Watch(sizes, sip=16)

    async def main() -> bool:
        with trio.fail_after(300):
            async with nothing_left(watch.broker):
                with cancel.cancelling() as scope:
                    await watch.live_through(deeds, mend=True)
        return scope.cancelled_caught

    REACHED["cancelled" if run(main, instruments=[cancel]) else "not cancelled"] += 1


_places = st.floats(0, 1, exclude_max=True)
PROPERTIES: Final[dict[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = {
    any_split_gives_the_same_edges_and_the_same_last_snapshot: (_days, _sizes),
    a_spoilt_byte_ends_in_the_right_panel_or_an_edge_and_is_recovered_from: (
        _troubled, _places, st.integers(1, 255), _sizes,
    ),
    a_stream_that_ends_anywhere_is_recovered_from: (_troubled, _places, st.booleans(), _sizes),
    cancelled_at_any_step_of_a_troubled_day_it_leaves_nothing: (_troubled, st.integers(1, 400), _sizes),
}  # fmt: skip


def run_one(name: Callable[..., None], profile: settings) -> None:
    """One property, so many examples."""
    profile(given(*PROPERTIES[name])(name))()


def run_all(profile: settings, examples: int, until: float) -> None:
    """All of them, so many examples each; or fewer, if it gets late."""
    for name in PROPERTIES:
        for batch in batches(examples, until):
            run_one(name, settings(profile, max_examples=batch))
