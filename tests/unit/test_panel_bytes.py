"""Whatever bytes a broker sends, however they are cut: the same snapshot, or a documented error."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio import (
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    SpanPanelTimeoutError,
)
from tests.unit.link.broker import Broker, Pieces
from tests.unit.link.house import fewer, house, opened, run, topic
from tests.unit.span.helpers import KITCHEN, SMALL, describe

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


# --- any stream of bytes ----------------------------------------------------------------------------------------------


async def live_through(broker: Broker) -> list[SpanPanelSnapshot]:
    """Open the panel, live through a day of it, and take what it shows then."""
    async with opened(broker, ready_timeout=20) as panel:
        broker.publish(POWER, "-1")
        broker.publish(RELAY, "OPEN")
        await trio.sleep(0.5)
        broker.publish(STATE, "init")
        broker.publish(POWER, "-2")
        broker.publish(STATE, "ready")
        await trio.sleep(0.5)
        broker.publish(POWER, "-3")
        await trio.sleep(2)
        return [panel.snapshot, await anext(panel.snapshots())]


def split(sizes: Iterable[int]) -> list[SpanPanelSnapshot]:
    pieces = list(sizes)
    return run(live_through, Broker(house(), through=lambda stream: Pieces(stream, pieces)))


WHOLE = split([])


def test_i3_a_stream_in_single_bytes_gives_the_same_snapshot() -> None:
    assert split([1] * 10_000) == WHOLE
    assert power(WHOLE[0]) == 3.0
    assert WHOLE[0] == WHOLE[1]


@fewer
@given(st.lists(st.integers(1, 30) | st.integers(100, 2000), max_size=60))
def test_i3_any_split_of_the_stream_gives_the_same_snapshot(sizes: list[int]) -> None:
    assert split(sizes) == WHOLE


DOCUMENTED = {
    "live",
    SpanPanelAuthError.__name__,  # a return code was spoilt
    SpanPanelConnectionError.__name__,
    SpanPanelTimeoutError.__name__,
    SpanPanelStaleDataError.__name__,  # raised in the block: it was live, and is not any more
}
LIVED: list[str] = []
"""How the examples below ended: a run that hardly ever gets live proves nothing."""


def spoilt(broker: Broker) -> str:
    """How it ends: in a documented error within the timeout, or live."""

    async def main() -> str:
        try:
            with trio.fail_after(20 + 3 + 1):  # to be ready, to live, to close
                await live_through(broker)
        except SpanPanelError as error:
            return type(error).__name__
        return "live"

    ended = run(main)
    assert all(connection.closed for connection in broker.connections)
    return ended


BARE = house({"$description": json.dumps(describe(SMALL, bare=True))})
"""A house with a short description: so that other things are spoilt than that, too."""


def length() -> int:
    """How many bytes the broker says in a whole life."""
    broker = Broker(BARE)
    run(live_through, broker)
    return broker.connection.said


LENGTH = length()


@fewer
@given(st.integers(0, LENGTH - 1), st.integers(1, 255), st.lists(st.integers(1, 400), max_size=9))
def test_i9_a_byte_that_is_spoilt_ends_in_a_live_panel_or_in_one_error(
    position: int, mask: int, sizes: list[int]
) -> None:
    ended = spoilt(Broker(BARE, flip=(position, mask), through=lambda stream: Pieces(stream, sizes)))
    assert ended in DOCUMENTED
    LIVED.append(ended)


@fewer
@given(st.integers(0, LENGTH), st.booleans())
def test_i9_a_stream_that_ends_anywhere_ends_in_one_error(position: int, mute: bool) -> None:
    ended = spoilt(Broker(BARE, ends_at=position, mute=mute))
    assert ended in DOCUMENTED - {"SpanPanelAuthError"}
    if position < LENGTH / 2:
        assert ended != "live"


def test_i9_enough_of_the_spoilt_streams_were_lived_through() -> None:
    if LIVED:  # the test above has run
        assert len(LIVED) / 4 < LIVED.count("live") < len(LIVED)
