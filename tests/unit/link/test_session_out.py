"""What an MQTT session sends: pings, and a goodbye behind what is queued, whenever it is cancelled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio import SpanPanelConnectionError
from span_trio.homie import Request
from span_trio.link import Link, LinkEvent, LinkLost, ReplayEnd
from tests.unit.link.broker import Broker, Connection, Kind, Pieces, nothing
from tests.unit.link.house import (
    RETAINED,
    A,
    Run,
    SteppingCancel,
    events_of,
    fewer,
    gather,
    logged_in,
    run,
    run_link,
    take_answers,
)
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time


# --- pings ------------------------------------------------------------------------------------------------------------


async def test_a_ping_is_a_round_trip() -> None:
    broker = Broker()
    took: dict[str, float] = {}

    async def ping(running: Run, name: str) -> None:
        took[name] = await running.link.ping()

    async with run_link(broker) as running:
        with trio.testing.assert_checkpoints():
            assert await running.link.ping() == 0.0
        broker.connection.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping, running, "first")
            await trio.sleep(0.25)
            nursery.start_soon(ping, running, "second")
            await trio.sleep(0.5)
            broker.connection.release()
    assert took == {"first": 0.75, "second": 0.5}


async def test_a_ping_may_be_cancelled() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        broker.connection.hold()
        with trio.move_on_after(1):
            await running.link.ping()
        assert trio.current_time() == 1.0
        broker.connection.release()
        assert await running.link.ping() == 0.0


async def test_a_dropped_pingresp_does_not_put_later_ones_out_of_step() -> None:
    broker = Broker(RETAINED, queue=6)
    async with run_link(broker) as running:
        running.link.subscribe(A)
        assert events_of(await gather(running, until=ReplayEnd))[-1] == ReplayEnd(passed=False)
        broker.queue = None
        await trio.sleep(1)
        assert await running.link.ping() == 0.0


async def test_i8_a_broker_that_answers_no_ping_fills_no_memory() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        for _ in range(600):
            await trio.sleep(8)
            broker.connection.say(packets.publish("a"))
            await running.next()
        assert len(running.link._pings._line) == 512


@pytest.mark.parametrize("end", [Connection.hang_up, lambda connection: connection.say(packets.packet(0x00))])
async def test_a_ping_over_a_link_that_is_lost_says_so(end: Callable[[Connection], None]) -> None:
    broker = Broker()
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        broker.connection.hold()

        async def ping() -> None:
            with pytest.raises(SpanPanelConnectionError, match="the link was lost"):
                await running.link.ping()

        nursery.start_soon(ping)
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.release = lambda: None  # type: ignore[method-assign]
        broker.connection._held = None
        end(broker.connection)
        await running.done.wait()
        await ping()


async def test_a_ping_when_the_link_is_closed_says_so() -> None:
    async with run_link(Broker()) as running:
        running.scope.cancel()
        await running.done.wait()
        with pytest.raises(SpanPanelConnectionError):
            await running.link.ping()


# --- closing ----------------------------------------------------------------------------------------------------------


async def closed(broker: Broker, *, during: Callable[[Run], None] = lambda _: None, grace: float = 1.0) -> float:
    """Close a session; how long that takes."""
    async with run_link(broker, close_grace=grace) as running:
        await trio.testing.wait_all_tasks_blocked()
        during(running)
        began = trio.current_time()
        running.scope.cancel()
        await running.done.wait()
        assert broker.connection.closed
        assert running.events.statistics().current_buffer_used == 0
        return trio.current_time() - began


async def test_i11_closing_says_goodbye() -> None:
    broker = Broker()
    assert await closed(broker) == 0.0
    assert broker.connection.kinds == [Kind.CONNECT, Kind.DISCONNECT]
    assert broker.connection.said_goodbye


async def test_i11_closing_sends_what_is_queued_before_it_says_goodbye() -> None:
    broker = Broker(sip=1)

    def thaw(running: Run) -> None:
        broker.connection.freeze()
        running.link.subscribe(Request(("a/#",), drop=("b",)))
        running.link._codec.ping()
        running.link._queued.set()
        broker.connection.thaw()

    assert await closed(broker, during=thaw) == 0.0
    assert broker.connection.said_goodbye
    assert Kind.PINGREQ in broker.connection.kinds


@pytest.mark.parametrize("grace", [0.0, 1.0, 2.5])
async def test_i11_closing_takes_the_grace_when_the_peer_does_not_read(grace: float) -> None:
    broker = Broker()
    assert await closed(broker, during=lambda _: broker.connection.freeze(), grace=grace) == grace


@pytest.mark.parametrize("grace", [0.0, 1.0, 2.5])
async def test_i11_closing_takes_the_grace_when_the_peer_does_not_hang_up(grace: float) -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})
    assert await closed(broker, grace=grace) == grace
    assert broker.connection.said_goodbye or not grace


async def test_i11_closing_takes_the_grace_when_the_peer_talks_on() -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})

    async def talk() -> None:
        while not broker.connections or not broker.connection.closed:
            await trio.sleep(0.01)
            if broker.connections:
                broker.connection.say(packets.publish("a", bytes(1000)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        async with run_link(broker, channel=0) as running:
            await trio.sleep(1)
            began = trio.current_time()
            running.scope.cancel()
            await running.done.wait()
            assert trio.current_time() - began == 1.0
    assert broker.connection.said_goodbye


async def test_i11_closing_survives_a_peer_that_breaks_meanwhile() -> None:
    broker = Broker(instead={Kind.DISCONNECT: nothing})

    async def reset() -> None:
        await trio.sleep(0.25)
        raise trio.BrokenResourceError

    def then(_: Run) -> None:
        broker.connection.stream.receive_stream.receive_some_hook = reset

    assert await closed(broker, during=then) == 0.25
    assert broker.connection.said_goodbye


@pytest.mark.slow
def test_i11_cancelling_at_any_step_closes_and_never_cuts_a_packet() -> None:
    """Reads single bytes, so that a sender that can be cut is cut."""
    ended = 0
    for step in range(1, 2000):
        canceller = SteppingCancel(step)
        broker = Broker(RETAINED, sip=1)
        completed: list[Link] = []

        async def session(broker: Broker, completed: list[Link]) -> None:
            link = await logged_in(broker)
            completed.append(link)
            send, receive = trio.open_memory_channel[list[LinkEvent]](1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run, send)
                link.subscribe(A)
                while not isinstance((await receive.receive())[-1], ReplayEnd):
                    pass
                nursery.start_soon(take_answers, receive, trio.open_memory_channel[list[LinkEvent]](9)[0])
                await link.ping()
                await trio.sleep(9)
                nursery.cancel_scope.cancel()

        async def main(canceller: SteppingCancel, broker: Broker, completed: list[Link]) -> bool:
            before = trio.lowlevel.current_statistics().tasks_living
            with canceller.cancelling() as scope:
                await session(broker, completed)
            assert trio.lowlevel.current_statistics().tasks_living == before
            return scope.cancelled_caught

        cancelled = run(main, canceller, broker, completed, instruments=[canceller])
        for connection in broker.connections:
            assert connection.closed, step
            if completed:
                assert connection.said_goodbye, step
                assert connection.received[-1].at <= 9.01
        if not cancelled:
            ended += 1
            break
    assert ended
    assert step > 50


@fewer
@given(st.lists(st.integers(1, 40), max_size=40), st.integers(0, 300), st.integers(1, 255))
def test_i9_a_spoilt_session_ends_once_and_in_one_way(sizes: list[int], position: int, mask: int) -> None:
    broker = Broker(
        RETAINED, flip=(4 + position, mask), through=lambda stream: Pieces(stream, [4, *sizes])
    )  # the login is whole

    async def main() -> None:
        async with run_link(broker) as running:
            running.link.subscribe(A)
            batches = await gather(running, seconds=40)
            ends = [event for event in events_of(batches) if isinstance(event, LinkLost)]
            assert ends == events_of(batches)[-len(ends) :] if ends else not running.done.is_set()
            assert len(ends) <= 1
            assert running.done.is_set() == bool(ends)
        assert broker.connection.closed

    run(main)
