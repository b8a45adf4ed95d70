"""The accumulator task by itself: events of a link in, snapshots out."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from span_trio import (
    ConnectionEdge,
    ConnectionReason,
    HomieSchema,
    PanelOptions,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    accumulate,
)
from span_trio.accumulate import PanelAccumulator, now
from span_trio.commands import Commands
from span_trio.homie import Message, Obstacle, Request
from span_trio.link import ConnectFailed, Link, LinkEvent, LinkLost, LinkUp, Oversize, ReplayEnd
from span_trio.tracker import PanelTracker
from tests.unit.link.house import DEVICE, house, topic
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

POWER, RELAY = f"{KITCHEN}/active-power", f"{KITCHEN}/relay"
PASSED = ReplayEnd(passed=True)


def live(path: str, payload: str, device: str = ROOT) -> Message:
    """A message of the panel."""
    return Message(topic(path, device), payload.encode())


def replay(retained: dict[str, bytes]) -> list[Message]:
    return [Message(name, payload, retain=True) for name, payload in retained.items()]


CLOSED = Obstacle(ConnectionReason.LINK_LOST, "the peer closed it")
REFUSES = Obstacle(ConnectionReason.UNREACHABLE, "connecting to panel:8883 failed: refused")


class Bench:
    """An accumulator that runs, fed by hand. It is the link, too."""

    def __init__(self, **options: Any) -> None:
        tracker = PanelTracker(ROOT, PanelOptions(**{"max_silence": math.inf, **options}))
        self.accumulator = PanelAccumulator(tracker, Commands(tracker), edges_held=8)
        self.requests: list[Request] = []
        self.succeeded = False
        self.edges: list[ConnectionEdge] = []
        self.published: list[tuple[float, SpanPanelSnapshot]] = []
        self._send, self._receive = trio.open_memory_channel[list[LinkEvent]](10)

    def subscribe(self, request: Request) -> None:
        """What it wants of a link."""
        self.requests.append(request)

    async def run(self) -> None:
        await self.accumulator.run(self._receive)

    async def listen(self) -> None:
        async for update in self.accumulator.broadcast.updates():
            if isinstance(update, ConnectionEdge):
                self.edges.append(update)
            else:
                self.published.append((trio.current_time(), update))

    async def link_up(self, epoch: int = 1) -> None:
        """A new session."""
        self.succeeded = False
        await self.say(LinkUp(cast("Link", self), epoch))

    async def say(self, *events: LinkEvent) -> None:
        """One list of events, taken."""
        await self._send.send(list(events))
        await trio.testing.wait_all_tasks_blocked()

    @property
    def power(self) -> list[float | None]:
        """The kitchen's, of each published snapshot."""
        return [snapshot.circuits[KITCHEN].instant_power_w for _, snapshot in self.published]

    @property
    def times(self) -> list[float]:
        """When each snapshot was published."""
        return [time for time, _ in self.published]


@contextlib.asynccontextmanager
async def bench(**options: Any) -> AsyncGenerator[Bench, None]:
    """A bench on which an accumulator runs while the block does."""
    made = Bench(**options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        nursery.start_soon(made.listen)
        await made.link_up()
        yield made
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def live_bench(**options: Any) -> AsyncGenerator[Bench, None]:
    """One whose panel is live since now."""
    async with bench(**options) as made:
        await made.say(replay(house()), PASSED)
        assert made.accumulator.first.is_set()
        yield made


def test_now_is_on_two_clocks() -> None:
    async def main() -> None:
        assert now().monotonic == 0.0
        assert now().wall > 1_700_000_000

    trio.run(main, clock=trio.testing.MockClock())


# --- becoming live ----------------------------------------------------------------------------------------------------


async def test_it_asks_for_the_panel_and_publishes_when_the_replay_is_complete() -> None:
    async with bench() as made:
        assert made.requests == [DEVICE]
        await made.say(replay(house()))
        assert made.published == []
        assert not made.accumulator.first.is_set()
        assert made.accumulator.live_since is None
        await trio.sleep(5)
        await made.say(PASSED)
        assert made.times == [5.0]
        assert made.power == [150.5]
        assert made.accumulator.first.is_set()
        assert made.accumulator.live_since is not None
        assert made.accumulator.live_since.monotonic == 5.0


async def test_it_asks_for_a_child_when_it_hears_of_one() -> None:
    async with bench() as made:
        await made.say(replay(house(children=["car"])), PASSED)
        assert made.requests[1:] == [Request(("ebus/5/+/$description",), may_be_refused=True)]  # whose it is
        await made.say(PASSED)
        assert made.requests[2:] == [Request(("ebus/5/car/#",))]
        assert made.published == []
        await made.say([Message(topic("$description", "car"), b'{"nodes": {}}', retain=True)], PASSED)
        assert made.times == [0.0]


async def test_a_child_that_does_not_come_is_waited_for_with_patience() -> None:
    async with bench(ready_timeout=20) as made:
        await made.say(replay(house(children=["car"])), PASSED)
        await made.say(PASSED)
        await made.say(PASSED)
        await trio.sleep(30)
        assert made.times == [10.0]  # half of the timeout
        assert made.published[0][1].pending_devices == ("car",)


async def test_a_barrier_that_failed_asks_for_less() -> None:
    async with bench() as made:
        await made.say(replay(house()), ReplayEnd(passed=False))
        assert made.published == []
        assert made.requests[1].drop == DEVICE.filters
        await made.say(PASSED)
        assert any(KITCHEN in each for each in made.requests[2].filters)
        await made.say(PASSED)
        assert made.power == [150.5]


# --- publishing -------------------------------------------------------------------------------------------------------


async def test_a_burst_is_published_whole_after_it() -> None:
    async with live_bench() as made:
        for second in (1.0, 2.0, 3.0):
            await trio.sleep_until(second)
            for power in (1, 2, 3):
                await made.say([live(POWER, f"{-second * 10 - power}")])
                await trio.sleep(0.002)
        await trio.sleep(1)
    assert made.power == [150.5, 13.0, 23.0, 33.0]
    assert made.times == pytest.approx([0.0, 1.019, 2.019, 3.019])


async def test_a_relay_is_published_at_once() -> None:
    async with live_bench() as made:
        await trio.sleep(0.3)
        await made.say([live(RELAY, "OPEN"), live(POWER, "-1")])
        await made.say([live(POWER, "-2")])
        await trio.sleep(2)
        assert made.times == pytest.approx([0.0, 0.3, 0.315])
        assert made.power == [150.5, 1.0, 2.0]


async def test_at_interval_0_every_batch_is_published() -> None:
    async with live_bench(snapshot_interval=0) as made:
        for power in (1, 2, 3):
            await made.say([live(POWER, "-99"), live(POWER, f"-{power}")])
        assert made.power == [150.5, 1.0, 2.0, 3.0]
        assert made.times == [0.0] * 4


async def test_what_changes_nothing_is_not_published() -> None:
    async with live_bench(snapshot_interval=0) as made:
        await made.say([live(POWER, "-150.5")])
        await made.say([live(POWER, "-1"), live(POWER, "-150.5")])
        await made.say([Message("ebus/5/stranger/node/name", b"1")])
        await trio.sleep(2)
        assert len(made.published) == 1


async def test_a_snapshot_taken_in_between_is_published_all_the_same() -> None:
    async with live_bench() as made:
        await trio.sleep(1)
        await made.say([live(POWER, "-1")])
        taken = made.accumulator.tracker.snapshot
        await trio.sleep(1)
        assert made.published[-1] == (1.015, taken)


@pytest.mark.parametrize("interval", [0.0, 0.5, 5.0])
async def test_a_changed_interval_takes_effect_at_once(interval: float) -> None:
    async with live_bench(snapshot_interval=100) as made:
        await trio.sleep(1)
        await made.say([live(POWER, "-1")])
        await trio.sleep(1)
        await made.say([live(POWER, "-2")])
        await trio.sleep(1)
        assert made.power == [150.5, 1.0]
        made.accumulator.set_interval(interval)
        await trio.sleep(10)
        assert made.power == [150.5, 1.0, 2.0]
        assert made.times[-1] == pytest.approx(max(3.0, 1.015 + 0.9 * interval + min(0.2 * interval, 1.0)))


async def test_an_interval_and_a_schema_may_be_given_before_it_runs() -> None:
    made = Bench()
    made.accumulator.set_interval(5.0)
    made.accumulator.adopt(HomieSchema())
    assert made.accumulator.tracker.throttle.interval == 5.0
    assert not made.accumulator.tracker.wants_schema


async def test_a_schema_learnt_late_is_published_at_once() -> None:
    bare = '{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'
    schema = HomieSchema.from_json(
        {"types": {"energy.ebus.device.circuit": {"space": {"datatype": "integer", "format": "1:40:1"}}}}
    )
    async with bench() as made:
        await made.say(replay(house({"$description": bare, "core/model": None})), PASSED)
        await trio.sleep(0.2)
        made.accumulator.adopt(schema)
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert [snapshot.panel_size for _, snapshot in made.published] == [None, 40]
        assert made.times == pytest.approx([0.0, 0.2])


# --- edges ------------------------------------------------------------------------------------------------------------


async def test_i2_what_was_published_and_not_delivered_is_withdrawn_when_the_panel_is_not_live() -> None:
    async with live_bench() as made:
        late = made.accumulator.broadcast.values()
        await made.say([live("$state", "lost")])
        assert made.accumulator.broadcast.value is None
        assert made.accumulator.live_since is None
        with trio.move_on_after(100) as scope:
            await anext(late)
        assert scope.cancelled_caught
        with pytest.raises(SpanPanelStaleDataError, match="lost"):
            _ = made.accumulator.tracker.snapshot


async def test_i2_a_batch_that_goes_down_and_up_again_is_a_new_snapshot() -> None:
    async with live_bench() as made:
        await trio.sleep(0.1)
        await made.say([live(POWER, "-1"), live("$state", "init"), live(POWER, "-2"), live("$state", "ready")])
        assert made.power == [150.5, 2.0]
        assert made.times == [0.0, 0.1]
        assert made.accumulator.live_since is not None
        assert made.accumulator.live_since.monotonic == 0.1


async def test_values_of_before_are_current_again_after_the_settle() -> None:
    async with live_bench(settle=3.0) as made:
        await made.say([live("$state", "lost")])
        await trio.sleep(10)
        await made.say([live("$state", "ready")])
        await trio.sleep(10)
        assert made.times == [0.0, 13.0]


async def test_edges_are_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with live_bench() as made:
        await made.say([live("$state", "init")])
    assert caplog.messages == [f"{ROOT} is online", f"{ROOT} is offline, device state: init"]


# --- links come and go ------------------------------------------------------------------------------------------------


async def test_a_lost_link_is_an_edge_behind_the_good_part() -> None:
    async with live_bench() as made:
        await made.say([live(POWER, "-1")], LinkLost(CLOSED))
        assert [(edge.online, edge.reason, edge.detail) for edge in made.edges] == [
            (True, ConnectionReason.LIVE, ""),
            (False, *CLOSED),
        ]
        assert made.accumulator.tracker.messages == len(house()) + 1
        assert made.accumulator.live_since is None
        assert made.accumulator.link is None
        assert made.accumulator.broadcast.value is None


async def test_what_is_in_the_way_later_is_no_further_edge() -> None:
    async with live_bench() as made:
        await made.say(LinkLost(CLOSED), ConnectFailed(REFUSES))
        await made.say(ConnectFailed(REFUSES))
        assert len(made.edges) == 2
        assert made.accumulator.tracker.tree.obstacle == REFUSES


async def test_i5_a_new_session_begins_from_nothing() -> None:
    async with live_bench(snapshot_interval=0) as made:
        await made.say(LinkLost(CLOSED))
        await trio.sleep(5)
        await made.link_up(2)
        assert made.requests == [DEVICE, DEVICE]
        await made.say(replay(house({POWER: None, f"{KITCHEN}/name": None})), PASSED)
        [first, second] = [snapshot for _, snapshot in made.published]
        assert (first.epoch, second.epoch) == (1, 2)
        assert second.circuits[KITCHEN].instant_power_w is None
        assert second.circuits[KITCHEN].name is None
        assert [(edge.online, edge.epoch, edge.at.monotonic) for edge in made.edges] == [
            (True, 1, 0.0),
            (False, 1, 0.0),
            (True, 2, 5.0),
        ]


async def test_a_session_that_comes_back_empty_is_not_live() -> None:
    async with live_bench() as made:
        await made.say(LinkLost(CLOSED))
        await made.link_up(2)
        await made.say(PASSED)
        await trio.sleep(1000)
        assert len(made.edges) == 2
        assert made.accumulator.tracker.tree.obstacle == Obstacle(ConnectionReason.DEVICE_STATE, "not published")


async def test_a_session_is_told_that_it_led_to_a_live_tree() -> None:
    async with bench() as made:
        await made.say(replay(house({"$state": "init"})), PASSED)
        assert not made.succeeded
        await made.say([live("$state", "ready")])
        assert made.succeeded
        await made.say(LinkLost(CLOSED))
        await made.link_up(2)
        assert not made.succeeded
        await made.say(replay(house()), PASSED)
        assert made.succeeded


# --- what is too large ------------------------------------------------------------------------------------------------


async def test_a_message_too_large_clears_what_it_would_have_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async with live_bench(snapshot_interval=0) as made:
        await made.say(Oversize(topic(POWER)))
        assert "too large" in caplog.text
        assert topic(POWER) in caplog.text
        assert made.accumulator.tracker.tree.forest.dropped["too large"] == 1
        assert made.accumulator.tracker.tree.forest.value(ROOT, KITCHEN, "active-power") is None


async def test_a_message_too_large_of_a_stranger_is_nothing_to_us() -> None:
    async with live_bench() as made:
        await made.say(Oversize("zigbee2mqtt/bridge/devices"))
        await trio.sleep(2)
        assert made.accumulator.tracker.tree.live
        assert len(made.published) == 1


# --- others get their turn ---


async def test_others_get_their_turn_while_much_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = [live("$description", json.dumps({"nodes": {}, "version": number}), "car") for number in range(20)]
    monkeypatch.setattr(accumulate, "_TURN", -1.0)  # so that everything takes too long
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with live_bench() as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            before, received = turns, made.accumulator.tracker.messages
            made._send.send_nowait([[*hostile, live(POWER, "-7")], [live(POWER, "-8")]])
            while made.accumulator.tracker.messages < received + 22:
                await trio.lowlevel.checkpoint()
            assert turns - before >= 20  # trio draws who comes first
            nursery.cancel_scope.cancel()
        monkeypatch.undo()
        await trio.sleep(2)
        assert made.power[-1] == 8.0


async def test_a_burst_that_does_not_take_long_is_taken_at_once() -> None:
    async with live_bench(snapshot_interval=0) as made:
        messages = [live(POWER, f"{-number}") for number in range(1_000)]
        await made.say(messages, [live("$description", '{"nodes": {}}', "car"), live(POWER, "-1")])
        assert made.power == [150.5, 1.0]


@given(st.lists(st.lists(st.sampled_from(["$description", "a/b", "x/$description/y"]), max_size=600) | st.just(PASSED)))
def test_portions_are_the_same_events_in_the_same_order(events: list[Any]) -> None:
    given = [[live(path, "x") for path in event] if isinstance(event, list) else event for event in events]
    portions = list(accumulate._portions(given))
    flat = [item for event in portions for item in (event if isinstance(event, list) else [event])]
    assert flat == [item for event in given for item in (event if isinstance(event, list) else [event])]
    for portion in portions:
        if isinstance(portion, list):
            assert 0 < len(portion) <= 256
            assert not any(message.topic.endswith("/$description") for message in portion[:-1])
