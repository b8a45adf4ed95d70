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
        assert running.link.asked_at == 0.0
        message, answered = events_of([await running.next()])
        assert message == Message("a", b"1", False)
        assert isinstance(answered, Answered)
        assert answered.sent_at == 0.0
        assert answered.waiter is not None
        answered.waiter.set()
        await trio.testing.wait_all_tasks_blocked()
        assert returned.is_set()


async def test_when_the_newest_answered_ping_was_sent_is_known() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        assert running.link.asked_at == float("-inf")
        await trio.sleep(8)
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.asked_at == 8.0
        broker.instead[Kind.PINGREQ] = nothing
        await trio.sleep(2)
        running.link._send_ping(None)
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.asked_at == 8.0


async def test_an_answer_that_was_read_late_is_as_old_as_its_question() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        await trio.sleep(1)
        broker.connection.hold()
        with trio.move_on_after(6):
            await running.link.ping()
        assert running.link.asked_at == float("-inf")
        broker.connection.release()
        await trio.testing.wait_all_tasks_blocked()
        assert (running.link.asked_at, trio.current_time()) == (1.0, 7.0)


async def test_an_answer_that_nobody_asked_for_proves_nothing() -> None:
    broker = Broker()
    async with run_link(broker) as running:
        broker.connection.say(packets.pingresp())
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.asked_at == float("-inf")


async def test_the_answer_of_a_ping_that_was_given_up_is_not_taken_for_that_of_the_next() -> None:
    """It lay in the kernel while the program did not read; and the broker has been frozen ever since."""
    broker = Broker()
    async with run_link(broker) as running, trio.open_nursery() as nursery:
        broker.connection.hold()
        nursery.start_soon(running.link.ping)
        await trio.sleep(3)
        broker.instead[Kind.PINGREQ] = nothing
        nursery.start_soon(running.link.ping)
        await trio.testing.wait_all_tasks_blocked()
        broker.connection.release()
        await trio.testing.wait_all_tasks_blocked()
        assert running.link.asked_at == 0.0
        nursery.cancel_scope.cancel()


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
        assert running.link.asked_at == float("-inf")


@pytest.mark.parametrize(("pause", "more"), [(2.0, 0), (2.01, 1)])
async def test_for_each_ping_that_was_given_up_one_more_is_sent(pause: float, more: int) -> None:
    """Nobody can tell whose an answer is: so that this one has an answer of its own in any case."""
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
        assert [packet.kind for packet in broker.connection.received].count(Kind.PINGREQ) == 2 + more
        broker.connection.say(packets.pingresp())
        await trio.testing.wait_all_tasks_blocked()
        assert (second.is_set(), running.link.asked_at) == (False, 0.0)
        broker.connection.say(packets.pingresp())
        await trio.testing.wait_all_tasks_blocked()
        assert (second.is_set(), running.link.asked_at) == (True, pause)
        nursery.cancel_scope.cancel()
