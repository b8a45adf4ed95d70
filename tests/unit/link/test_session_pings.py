"""A ping over a session: its answer's place among the messages, when the newest came, and who waits for it."""

from __future__ import annotations

import pytest
import trio

from span_trio import SpanPanelConnectionError
from span_trio.homie import Message
from span_trio.link import Answered
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.house import events_of, run_link
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time


async def test_a_ping_returns_only_when_what_came_before_its_answer_has_been_taken() -> None:
    broker = Broker()
    async with run_link(broker, channel=64) as running, trio.open_nursery() as nursery:
        returned = trio.Event()

        @nursery.start_soon
        async def ping() -> None:
            await running.link.ping()
            returned.set()

        broker.connection.hold()
        broker.connection.say(packets.publish("a", b"1"))
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.release()
        await trio.sleep(7)
        assert not returned.is_set()
        assert running.link.answered_at == 0.0
        message, answered = events_of([await running.next()])
        assert message == Message("a", b"1", False)
        assert isinstance(answered, Answered)
        answered.waiter.set()
        await trio.testing.wait_all_tasks_blocked()
        assert returned.is_set()


async def test_when_the_newest_ping_was_answered_is_known() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        assert running.link.answered_at == float("-inf")
        await trio.sleep(8)
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.answered_at == 8.0
        broker.instead[Kind.PINGREQ] = nothing
        await trio.sleep(2)
        running.link._send_ping(None)
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.answered_at == 8.0


@pytest.mark.parametrize("taken", [False, True], ids=["unanswered", "answered, and nobody took it"])
@pytest.mark.parametrize("end", ["hang up", "cancel"])
async def test_a_ping_is_released_when_the_link_ends(end: str, taken: bool) -> None:
    broker = Broker(instead={} if taken else {Kind.PINGREQ: nothing})
    async with run_link(broker, channel=64) as running, trio.open_nursery() as nursery:
        told: list[float] = []

        async def ping() -> None:
            with pytest.raises(SpanPanelConnectionError, match="the link was lost"):
                await running.link.ping()
            told.append(trio.current_time())

        for _ in range(3):
            nursery.start_soon(ping)
        await trio.sleep(1)
        if end == "cancel":
            running.scope.cancel()
        else:
            broker.connection.hang_up()
        await running.done.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert told == [1.0] * 3
        await ping()


async def test_a_cancelled_ping_leaves_nobody_waiting() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        for _ in range(3):
            with trio.move_on_after(0.1):
                await running.link.ping()
        assert running.link._waiters == set()


async def test_a_ping_is_not_held_up_by_the_gathering_of_small_packets() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        broker.connection.say(packets.publish("a"))
        await trio.sleep(0.001)
        before = running.link.bytes_sent
        assert await running.link.ping() == 0.0
        assert running.link.bytes_sent == before + len(packets.pingreq())


async def test_a_ping_whose_answer_was_dropped_is_given_up_with_the_next_one() -> None:
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running:
        await trio.sleep(1)
        assert await running.link.ping() == 7.0
        assert trio.current_time() == 8.0
        assert running.link.answered_at == float("-inf")


@pytest.mark.parametrize(("pause", "counts"), [(2.0, False), (2.01, True)])
async def test_an_answer_two_seconds_late_may_be_that_of_the_next_ping(pause: float, counts: bool) -> None:
    """Of two pings with one answer, it is the first one's; unless that was given up when the second one was sent."""
    broker = Broker(instead={Kind.PINGREQ: nothing})
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        second = trio.Event()

        @nursery.start_soon
        async def ping() -> None:
            nursery.start_soon(running.link.ping)
            await trio.sleep(pause)
            await running.link.ping()
            second.set()

        await trio.sleep(3)
        broker.connection.say(packets.pingresp())
        await trio.testing.wait_all_tasks_blocked()
        assert second.is_set() == counts
        broker.connection.say(packets.pingresp())
