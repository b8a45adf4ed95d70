"""A panel that is not ready in time: the error names what is missing."""

from __future__ import annotations

import attrs
import pytest
import trio

from span_trio import SpanPanelTimeoutError, fetch_snapshot
from tests.unit.link.broker import Broker, Connection, Kind, Packet, nothing
from tests.unit.link.house import OPTIONS, house, nothing_left, opened, raised, topic
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time

NOT_READY: dict[str, tuple[dict[str, bytes], str]] = {
    "no $state": (house({"$state": None}), f"$state of {ROOT}"),
    "$state init": (house({"$state": "init"}), f"$state of {ROOT} is 'init', not 'ready'"),
    "$state lost": (house({"$state": "lost"}), f"$state of {ROOT} is 'lost', not 'ready'"),
    "no $description": (house({"$description": None}), f"$description of {ROOT}"),
    "a malformed $description": (house({"$description": "{"}), f"$description of {ROOT} (malformed: "),
    "nothing": ({}, f"$state of {ROOT}"),
}


@pytest.mark.parametrize(("retained", "missing"), NOT_READY.values(), ids=NOT_READY)
async def test_a_panel_that_is_not_ready_in_time_is_told_with_what_is_missing(
    retained: dict[str, bytes], missing: str
) -> None:
    broker = Broker(retained)
    async with nothing_left(broker):
        error = await raised(broker, ready_timeout=20)
    assert isinstance(error, SpanPanelTimeoutError)
    assert str(error).startswith("the panel at panel is not ready in time; missing: ")
    assert any(each.startswith(missing) for each in error.missing)
    assert all(each in str(error) for each in error.missing)
    assert trio.current_time() == 20.0
    assert broker.connection.said_goodbye


async def test_what_is_missing_may_be_a_child() -> None:
    error = await raised(Broker(house(children=["car"]), takes=7), ready_timeout=10)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing == ("$description of car",)
    assert trio.current_time() == 10.0


async def test_what_is_missing_may_be_the_end_of_the_replay() -> None:
    broker = Broker(house(), instead={Kind.PINGREQ: nothing})
    error = await raised(broker, ready_timeout=1)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing[0] == f"the end of the replay of {ROOT}"


async def test_what_is_missing_may_be_a_connection() -> None:
    broker = Broker(instead={Kind.CONNECT: nothing})
    async with nothing_left(broker):
        error = await raised(broker, ready_timeout=2)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing[0] == "unreachable: not connected yet"
    assert trio.current_time() == 2.0


async def test_what_is_missing_may_be_a_connection_to_ask_who_the_panel_is() -> None:
    broker = Broker(instead={Kind.CONNECT: nothing})
    options = attrs.evolve(OPTIONS, ready_timeout=2)
    async with nothing_left(broker):
        with pytest.raises(SpanPanelTimeoutError) as caught:
            await fetch_snapshot("panel", options=options, dialer=broker.dial)
    assert caught.value.missing == ("a connection",)
    assert trio.current_time() == 2.0


async def test_what_is_missing_may_be_a_link_that_is_lost_again_and_again() -> None:
    broker = Broker(house(), instead={Kind.SUBSCRIBE: lambda connection, _: connection.hang_up()})
    async with nothing_left(broker):
        error = await raised(broker, ready_timeout=5)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing[0] == "link lost: the peer closed it"
    assert trio.current_time() == 5.0
    assert len(broker.connections) > 5


async def test_ready_is_when_there_is_a_current_snapshot_not_when_there_was_one() -> None:
    """Live at the end of the replay, and not any more before anybody ran."""
    broker = Broker(house())

    def turn(connection: Connection, packet: Packet) -> None:
        connection.answer(packet)
        if len(connection.of(Kind.PINGREQ)) == 1:
            broker.publish(topic("$state"), "init")

    broker.instead[Kind.PINGREQ] = turn

    async def boot() -> None:
        await trio.sleep(3)
        broker.publish(topic("$state"), "ready")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot)
        async with opened(broker) as panel:
            assert trio.current_time() == pytest.approx(3.0, abs=0.01)
            assert panel.live
            assert panel.live_since is not None
            assert panel.live_since.monotonic == pytest.approx(3.0, abs=0.01)
