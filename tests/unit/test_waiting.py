"""`SpanPanel.wait_live` and `SpanPanel.wait_for`: what held is what held without a break, and nothing holds offline."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from span_trio import SpanPanel, SpanPanelClosedError, SpanPanelSnapshot
from tests.unit.link.broker import Broker
from tests.unit.link.house import house, opened, topic
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")

Wait = Callable[[SpanPanel, float], Awaitable[object]]


NEVER = 1000.0
"""Who waits so long waits for ever."""


async def live(panel: SpanPanel, held_for: float) -> None:
    with trio.fail_after(NEVER):
        await panel.wait_live(held_for=held_for)


async def anything(panel: SpanPanel, held_for: float) -> SpanPanelSnapshot:
    with trio.fail_after(NEVER):
        return await panel.wait_for(lambda _: True, held_for=held_for)


either = pytest.mark.parametrize("wait", [live, anything])
"""Both: what is true of every snapshot is true as long as the panel is live."""


def closed(snapshot: SpanPanelSnapshot) -> bool:
    return snapshot.circuits[KITCHEN].relay_state == "CLOSED"


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


class Waiter:
    """A task that waits, and when and with what it came back."""

    def __init__(self, nursery: trio.Nursery, wait: Callable[[], Awaitable[object]]) -> None:
        self.at: float | None = None
        self.result: object = None
        nursery.start_soon(self._run, wait)

    async def _run(self, wait: Callable[[], Awaitable[object]]) -> None:
        with trio.testing.assert_checkpoints(), trio.fail_after(NEVER):
            self.result = await wait()
        self.at = trio.current_time()


def at_once(broker: Broker, *says: tuple[str, str]) -> None:
    """Publish all that in one piece, which makes one batch."""
    broker.connection.hold()
    for path, payload in says:
        broker.publish(path, payload)
    broker.connection.release()


# --- at once ---


class MySteps(trio.abc.Instrument):
    """Counts the steps that a task takes from now on."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task is self.task


@either
async def test_what_holds_already_takes_one_checkpoint(wait: Wait) -> None:
    async with opened(Broker(house())) as panel:
        steps = MySteps()
        trio.lowlevel.add_instrument(steps)
        result = await wait(panel, 0.0)
        trio.lowlevel.remove_instrument(steps)
        assert steps.taken == 1
        assert result in (None, panel.snapshot)
        assert trio.current_time() == 0.0


async def test_live_for_long_enough_already_does_not_wait() -> None:
    """At the boundary too. (`wait_for` knows nothing of the time before it was asked.)"""
    async with opened(Broker(house())) as panel:
        for held_for in (5.0, 4.999):
            await trio.sleep_until(5)
            await panel.wait_live(held_for=held_for)
            assert trio.current_time() == 5.0
        await panel.wait_live(held_for=5.5)
        assert trio.current_time() == 5.5
        await panel.wait_for(closed, held_for=2)
        assert trio.current_time() == 7.5


# --- held, without a break ---


@either
async def test_who_waits_is_back_at_the_very_moment(wait: Wait) -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        broker.publish(STATE, "init")
        await trio.sleep(3)
        waiters = [Waiter(nursery, partial(wait, panel, held_for)) for held_for in (0.0, 0.125, 10.0)]
        await trio.sleep(4)
        assert [waiter.at for waiter in waiters] == [None] * 3
        broker.publish(STATE, "ready")
        await trio.sleep(11)
        assert [waiter.at for waiter in waiters] == [7.0, 7.125, 17.0]


@either
async def test_a_break_begins_the_time_anew(wait: Wait) -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: wait(panel, 10.0))
        for _ in range(3):
            await trio.sleep(9)
            broker.publish(STATE, "init")
            await trio.sleep(1)
            broker.publish(STATE, "ready")
        await trio.sleep(9.5)
        assert waiter.at is None
    assert waiter.at == 40.0


@either
async def test_a_break_that_is_over_within_its_batch_is_one_too(wait: Wait) -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: wait(panel, 10.0))
        edges = panel.edges()
        await trio.sleep(6)
        at_once(broker, (STATE, "init"), (STATE, "ready"))
        assert [(await anext(edges)).online for _ in range(3)] == [True, False, True]
        assert trio.current_time() == 6.0
    assert waiter.at == 16.0


@either
async def test_a_lost_link_is_a_break(wait: Wait) -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: wait(panel, 10.0))
        edges = panel.edges()
        await trio.sleep(6)
        broker.connection.hang_up()
        assert [(await anext(edges)).online for _ in range(3)] == [True, False, True]
        back = trio.current_time()
    assert waiter.at == back + 10.0


@either
@pytest.mark.parametrize("gone", [9.999, 10.0, 10.001])
async def test_a_break_around_the_deadline_never_gives_what_is_not(wait: Wait, gone: float) -> None:
    broker = Broker(house())
    found: list[tuple[float, bool]] = []
    async with opened(broker) as panel, trio.open_nursery() as nursery:

        async def watch() -> None:
            await wait(panel, 10.0)
            found.append((trio.current_time(), panel.live))

        nursery.start_soon(watch)
        await trio.sleep(gone)
        broker.publish(STATE, "init")
        await trio.sleep(90)
        broker.publish(STATE, "ready")
    in_time, late = (10.0, True), (100.0 + gone, True)
    assert found[0] in {9.999: [late], 10.0: [in_time, late], 10.001: [in_time]}[gone]


async def test_a_predicate_that_was_false_begins_the_time_anew() -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: panel.wait_for(closed, held_for=10))
        await trio.sleep(6)
        broker.publish(RELAY, "OPEN")
        await trio.sleep(2)
        broker.publish(RELAY, "CLOSED")
    assert waiter.at == 18.0


async def test_a_snapshot_that_was_replaced_before_the_predicate_saw_it_is_a_break() -> None:
    """Nobody knows what it would have said of it, so nobody says that it held."""
    broker = Broker(house())
    async with opened(broker, snapshot_interval=0) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: panel.wait_for(closed, held_for=10))
        await trio.sleep(6)
        broadcast, now = panel._broadcast, panel.snapshot
        broker.publish(RELAY, "OPEN")
        broadcast.publish(panel.snapshot)
        broadcast.publish(now)
        broker.publish(RELAY, "CLOSED")
    assert waiter.at == 16.0


async def test_the_newest_snapshot_comes_back_however_much_has_changed_while_it_held() -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        waiter = Waiter(nursery, lambda: panel.wait_for(closed, held_for=10))
        for value in range(1, 9):
            await trio.sleep(1.2)
            broker.publish(POWER, str(-value))
        await trio.sleep(1)
        newest = await anext(panel.snapshots())
    assert waiter.at == 10.0
    assert waiter.result is newest
    assert power(newest) == 8.0


# --- the predicate ---


async def test_not_live_is_true_of_nothing() -> None:
    broker = Broker(house())
    seen: list[bool] = []
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        broker.publish(STATE, "lost")
        await trio.sleep(1)

        def ask(_: SpanPanelSnapshot) -> bool:
            seen.append(panel.live)
            return True

        waiter = Waiter(nursery, lambda: panel.wait_for(ask))
        broker.publish(POWER, "-1.0")
        await trio.sleep(50)
        assert (seen, waiter.at) == ([], None)
        broker.publish(STATE, "ready")
        await trio.sleep(50)
    assert seen == [True]
    assert waiter.at is not None


async def test_a_predicate_is_asked_once_of_each_snapshot_and_anew_after_an_outage() -> None:
    broker = Broker(house())
    seen: list[float | None] = []
    async with opened(broker, snapshot_interval=0) as panel, trio.open_nursery() as nursery:

        def ask(snapshot: SpanPanelSnapshot) -> bool:
            seen.append(power(snapshot))
            return len(seen) > 5

        waiter = Waiter(nursery, lambda: panel.wait_for(ask, held_for=1))
        for value in (1, 2, 2, 3):
            await trio.sleep(1)
            broker.publish(POWER, str(-value))
        await trio.sleep(1)
        assert seen == [150.5, 1.0, 2.0, 3.0]
        broker.publish(STATE, "init")
        await trio.sleep(1)
        broker.publish(STATE, "ready")
        await trio.sleep(1)
        broker.publish(POWER, "-4")
        await trio.sleep(5)
    assert seen == [150.5, 1.0, 2.0, 3.0, 3.0, 4.0]
    assert waiter.at == 8.0


async def test_what_is_true_in_any_way_is_true() -> None:
    async with opened(Broker(house())) as panel:
        assert await panel.wait_for(lambda snapshot: snapshot.circuits) is panel.snapshot


async def test_i7_what_a_predicate_raises_comes_out_there_and_nowhere_else() -> None:
    broker = Broker(house())
    error = ZeroDivisionError("the predicate's")
    async with opened(broker) as panel, trio.open_nursery() as nursery:

        def fail(snapshot: SpanPanelSnapshot) -> bool:
            if power(snapshot) == 1.0:
                raise error
            return False

        other = Waiter(nursery, lambda: panel.wait_for(lambda snapshot: power(snapshot) == 1.0, held_for=5))
        reader = panel.snapshots()
        await anext(reader)

        async def say() -> None:
            await trio.sleep(3)
            broker.publish(POWER, "-1.0")

        nursery.start_soon(say)
        with pytest.raises(ZeroDivisionError) as caught:
            await panel.wait_for(fail)
        assert caught.value is error
        with pytest.raises(ZeroDivisionError):
            await panel.wait_for(fail)  # of the current one, at once
        at = trio.current_time()
        assert power(await anext(reader)) == 1.0
        await trio.sleep(6)
        assert panel.live
    assert other.at == at + 5.0


# --- how it ends otherwise ---


@either
@pytest.mark.parametrize("before", ["ready", "init"])
async def test_who_waits_when_the_block_ends_is_told(wait: Wait, before: str) -> None:
    broker = Broker(house())
    told: list[float] = []

    async def hold(panel: SpanPanel) -> None:
        with pytest.raises(SpanPanelClosedError):
            await wait(panel, math.inf)
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery, opened(broker) as panel:
        broker.publish(STATE, before)
        nursery.start_soon(hold, panel)
        await trio.sleep(5)
    assert told == [5.0]
    with trio.testing.assert_checkpoints(), pytest.raises(SpanPanelClosedError):
        await wait(panel, 0.0)


@either
@pytest.mark.parametrize("state", ["ready", "init"])
async def test_who_is_cancelled_leaves_nothing_behind(wait: Wait, state: str) -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        broker.publish(STATE, state)
        await trio.sleep(1)
        with trio.move_on_after(3) as scope:
            await wait(panel, 50.0)
        assert scope.cancelled_caught
        assert trio.current_time() == 4.0
        assert not panel._broadcast._news
        assert not panel._broadcast._turns
        broker.publish(STATE, "ready")
        await wait(panel, 0.5)


@either
async def test_who_is_cancelled_already_waits_for_nothing(wait: Wait) -> None:
    async with opened(Broker(house())) as panel:
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait(panel, 0.0)
        assert scope.cancelled_caught


@either
async def test_a_cancellation_at_the_deadline_is_not_taken_for_it(wait: Wait) -> None:
    """Theirs and ours at the same moment: if it returns, what it says is so."""
    async with opened(Broker(house())) as panel:
        with trio.move_on_after(10) as scope:
            await wait(panel, 10.0)
            assert panel.live
        assert trio.current_time() == 10.0
        assert panel.live
        assert scope.cancel_called
