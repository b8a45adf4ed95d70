"""What is published over a link: asked for at the last moment, written once or never, and answered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import Message
from span_trio.link import Publication
from tests.unit.commanding import Narrow, Order
from tests.unit.link.broker import Answer, Broker, Connection, Kind, Packet, nothing
from tests.unit.link.house import Run, SteppingCancel, fewer, run, run_link
from tests.unit.mqtt import packets

pytestmark = pytest.mark.virtual_time

TOPIC = "ebus/5/nt/kitchen/relay/set"


def puback(connection: Connection, packet: Packet) -> None:
    """As a good broker does for one at QoS 1."""
    start = 2 + int.from_bytes(packet.body[:2], "big")
    connection.say(packets.puback(int.from_bytes(packet.body[start : start + 2], "big")))


class Wire:
    """A broker that takes messages, and what was written to it."""

    def __init__(self, publish: Answer = puback, **instead: Answer) -> None:
        self.orders: list[Order] = []
        self.streams: list[Narrow] = []
        kinds = {Kind.PUBLISH: publish, **{Kind[kind]: answer for kind, answer in instead.items()}}
        self.broker = Broker(instead=kinds, through=self.through)

    def through(self, stream: trio.abc.Stream) -> Narrow:
        self.streams.append(Narrow(stream, self.note))
        return self.streams[-1]

    def note(self, data: bytes) -> None:
        if data[0] & 0xF0 == Kind.PUBLISH:
            self.orders.append(Order.of(data))

    @property
    def payloads(self) -> list[bytes]:
        return [order.payload for order in self.orders]


def publishing(
    running: Run, payload: bytes = b"OPEN", *, qos: int = 1, may_go: Callable[[], bool] = lambda: True
) -> contextlib.AbstractContextManager[Publication]:
    return running.link.publishing(TOPIC, payload, qos=qos, may_go=may_go)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_an_acknowledgement_is_read_at_once_behind_a_small_packet() -> None:
    wire = Wire(nothing)
    async with run_link(wire.broker) as running:
        with publishing(running) as publication:
            await settle()
            connection = wire.broker.connection
            connection.say(packets.publish("t", b""))
            await trio.sleep(0.001)
            mid = wire.orders[0].mid
            assert mid is not None
            connection.say(packets.puback(mid))
            await settle()
            assert publication.acknowledged_at == 0.001


async def test_a_publication_leaves_at_once_and_its_acknowledgement_is_noted() -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        await trio.sleep(0.5)
        with publishing(running) as publication:
            await settle()
            assert (publication.sent_at, publication.acknowledged_at) == (0.5, 0.5)
            assert not publication.over.is_set()
    [order] = wire.orders
    assert (order.topic, order.payload, order.flags) == (TOPIC, b"OPEN", 0b0010)  # QoS 1, no DUP, not retained


async def test_at_qos_0_there_is_no_packet_id_and_no_acknowledgement() -> None:
    wire = Wire(nothing)
    async with run_link(wire.broker) as running:
        with publishing(running, qos=0) as publication:
            await settle()
            wire.broker.connection.say(packets.puback(1))
            await settle()
            assert (publication.sent_at, publication.acknowledged_at) == (0.0, None)
    [order] = wire.orders
    assert (order.flags, order.mid, order.payload) == (0, None, b"OPEN")


async def test_an_acknowledgement_of_something_else_is_none_of_this() -> None:
    wire = Wire(nothing)
    async with run_link(wire.broker) as running:
        with publishing(running) as first, publishing(running) as second:
            await settle()
            mids = [order.mid for order in wire.orders]
            assert len(set(mids)) == 2
            wire.broker.connection.say(packets.puback(max(mid or 0 for mid in mids) + 1))
            await trio.sleep(0.25)
            assert [first.acknowledged_at, second.acknowledged_at] == [None, None]
            wire.broker.connection.say(packets.puback(mids[1] or 0))
            await trio.sleep(0.25)
            wire.broker.connection.say(packets.puback(mids[1] or 0) + packets.puback(mids[0] or 0))
            await trio.sleep(0.25)
            assert [first.acknowledged_at, second.acknowledged_at] == [0.5, 0.25]


async def test_whether_it_may_go_is_asked_when_the_writer_is_free_and_not_before() -> None:
    wire = Wire()
    asked: list[float] = []

    def may_go() -> bool:
        asked.append(trio.current_time())
        return True

    async with run_link(wire.broker) as running:
        wire.streams[0].fill()
        running.link._send_ping(None)  # the writer is busy with this
        await settle()
        with publishing(running, may_go=may_go) as publication:
            await trio.sleep(3)
            assert asked == []
            assert publication.sent_at is None
            wire.streams[0].empty()
            await settle()
            assert asked == [3.0]
            assert publication.sent_at == 3.0


async def test_i10_what_may_not_go_never_leaves_and_is_over() -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        with publishing(running, may_go=lambda: False) as refused, publishing(running, b"2") as allowed:
            with trio.fail_after(1):
                await refused.over.wait()
            assert (refused.sent_at, allowed.sent_at) == (None, 0.0)
    assert wire.payloads == [b"2"]


async def test_i10_what_is_withdrawn_while_the_writer_is_busy_never_leaves() -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        wire.streams[0].fill()
        running.link._send_ping(None)
        await settle()
        with publishing(running, b"1") as withdrawn:
            await trio.sleep(1)
        with publishing(running, b"2"):
            wire.streams[0].empty()
            await settle()
        assert withdrawn.sent_at is None
    assert wire.payloads == [b"2"]


async def test_i10_a_full_stream_is_waited_for_before_it_is_asked_and_written() -> None:
    """Bytes that were handed to a stream with no room cannot be taken back, whatever the deadline says."""
    wire = Wire()
    async with run_link(wire.broker) as running:
        wire.streams[0].fill()
        with publishing(running) as publication:
            await trio.sleep(2)
        wire.streams[0].empty()
        await trio.sleep(1)
        assert publication.sent_at is None
    assert wire.orders == []


@pytest.mark.parametrize("end", ["hang up", "no MQTT", "cancel"])
async def test_i10_what_is_queued_when_the_link_ends_never_leaves(end: str) -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        wire.streams[0].fill()
        running.link._send_ping(None)
        await settle()
        with publishing(running) as publication:
            match end:
                case "hang up":
                    wire.broker.connection.hang_up()
                case "no MQTT":
                    wire.broker.connection.say(packets.packet(0x00))
                case _:
                    running.scope.cancel()
            with trio.fail_after(0.5):
                await publication.over.wait()
            wire.streams[0].empty()
            await running.done.wait()
            assert publication.sent_at is None
        with publishing(running) as late:
            assert late.over.is_set()
            await trio.sleep(1)
            assert late.sent_at is None
    assert wire.orders == []
    if end == "cancel":
        assert wire.broker.connection.said_goodbye


async def test_i11_what_is_being_written_when_the_link_is_closed_is_written_whole_and_goodbye_behind_it() -> None:
    wire = Wire()
    wire.broker.sip = 1
    async with run_link(wire.broker) as running:
        with publishing(running) as publication:
            while publication.sent_at is None:
                await trio.lowlevel.checkpoint()
            running.scope.cancel()
            await running.done.wait()
    assert wire.payloads == [b"OPEN"]
    assert [packet.kind for packet in wire.broker.connection.received] == [Kind.CONNECT, Kind.PUBLISH, Kind.DISCONNECT]
    assert wire.broker.connection.said_goodbye


async def test_what_has_left_is_not_withdrawn_and_a_late_acknowledgement_harms_nobody() -> None:
    wire = Wire(nothing)
    async with run_link(wire.broker) as running:
        with publishing(running, b"1") as first:
            await settle()
        wire.broker.connection.say(packets.puback(wire.orders[0].mid or 0))
        with publishing(running, b"2") as second:
            await settle()
            assert second.acknowledged_at is None
        assert not running.done.is_set()
        assert first.sent_at == 0.0
    assert wire.payloads == [b"1", b"2"]


async def test_many_leave_in_order_each_once_and_a_subscription_does_not_overtake_half_a_packet() -> None:
    wire = Wire()
    wire.broker.sip = 3
    async with run_link(wire.broker) as running:
        with contextlib.ExitStack() as stack:
            for number in range(50):
                stack.enter_context(publishing(running, b"%d" % number))
                if number % 10 == 0:
                    running.link._send_ping(None)
            await settle()
        assert not running.done.is_set()
    assert wire.payloads == [b"%d" % number for number in range(50)]
    assert wire.broker.connection.kinds.count(Kind.PUBLISH) == 50


async def test_nobody_naps_while_somebody_waits_for_an_answer() -> None:
    """A reader that lets small packets gather would tell of a confirmation 8 ms late."""
    wire = Wire(nothing)
    async with run_link(wire.broker) as running:
        connection = wire.broker.connection
        connection.say(packets.publish("a"))
        await running.next()  # from here on it naps
        with publishing(running) as publication:
            await settle()
            connection.say(packets.puback(wire.orders[0].mid or 0))
            connection.say(packets.publish("b"))
            [batch] = await running.next()
            assert batch == [Message("b", b"", False)]
            connection.say(packets.publish("c"))
            await running.next()
            assert (publication.sent_at, publication.acknowledged_at, trio.current_time()) == (0.0, 0.0, 0.0)
        connection.say(packets.publish("d"))
        await running.next()
        connection.say(packets.publish("e"))
        await running.next()
        assert trio.current_time() == 0.008


# --- anything at any time ---------------------------------------------------------------------------------------------


def test_i10_cancelling_at_any_step_leaves_nothing_queued_and_nothing_twice() -> None:
    written = 0
    for step in range(1, 200):
        canceller = SteppingCancel(step)

        async def main(canceller: SteppingCancel) -> bool:
            wire = Wire()
            async with run_link(wire.broker) as running:
                sent: list[float | None] = []
                with canceller.cancelling() as scope, publishing(running) as publication:
                    try:
                        await trio.sleep(0.5)
                    finally:
                        sent.append(publication.sent_at)
                await trio.sleep(1)
                assert not running.done.is_set()
                assert len(wire.orders) == (sent != [None])
                return scope.cancelled_caught

        if not run(main, canceller, instruments=[canceller]):
            break
        written += 1
    assert written > 3


@fewer
@given(
    st.lists(
        st.sampled_from(["publish", "refused", "withdraw", "fill", "empty", "ping", "tick", "puback", "hang up"]),
        max_size=30,
    )
)
def test_i10_whatever_happens_each_is_written_at_most_once_and_only_while_somebody_waits(  # noqa: C901 - a list of steps
    steps: list[str],
) -> None:
    async def main() -> None:
        wire = Wire(nothing)
        waiting: list[tuple[bytes, contextlib.ExitStack, Publication]] = []
        withdrawn: set[bytes] = set()
        seen: set[bytes] = set()
        async with run_link(wire.broker) as running:
            for number, step in enumerate(steps):
                match step:
                    case "publish" | "refused":
                        stack = contextlib.ExitStack()
                        go = partial(bool, step == "publish")
                        publication = stack.enter_context(publishing(running, b"%d" % number, may_go=go))
                        waiting.append((b"%d" % number, stack, publication))
                    case "withdraw" if waiting:
                        payload, stack, publication = waiting.pop(0)
                        stack.close()
                        if publication.sent_at is None:
                            withdrawn.add(payload)
                    case "fill":
                        wire.streams[0].fill()
                    case "empty":
                        wire.streams[0].empty()
                    case "ping":
                        if not running.done.is_set():
                            running.link._send_ping(None)
                    case "puback" if wire.orders:
                        wire.broker.connection.say(packets.puback(wire.orders[-1].mid or 0))
                    case "hang up":
                        wire.broker.connection.hang_up()
                    case _:
                        await trio.sleep(0.1)
                seen.update(wire.payloads)
            wire.streams[0].empty()
            await trio.sleep(1)
            for payload, stack, publication in waiting:
                assert (payload in wire.payloads) <= (publication.sent_at is not None)
                stack.close()
        assert len(set(wire.payloads)) == len(wire.payloads)
        assert not withdrawn & set(wire.payloads)
        assert not {b"%d" % number for number, step in enumerate(steps) if step == "refused"} & set(wire.payloads)

    run(main)


async def test_what_else_is_to_be_sent_goes_first_and_by_itself() -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        running.link._send_ping(None)
        with publishing(running):
            await settle()
        assert wire.broker.connection.kinds[-2:] == [Kind.PINGREQ, Kind.PUBLISH]
        wire.streams[0].fill()
        with publishing(running, b"CLOSED"):
            await settle()
            running.link._send_ping(None)
            await settle()
            wire.streams[0].empty()
            await settle()
        assert wire.broker.connection.kinds[-2:] == [Kind.PINGREQ, Kind.PUBLISH]
    assert wire.payloads == [b"OPEN", b"CLOSED"]  # each the first of what was sent at a time


async def test_room_is_waited_for_only_for_a_publication(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        with monkeypatch.context() as patch:
            patch.setattr(wire.streams[0], "wait_send_all_might_not_block", trio.sleep_forever)
            await trio.sleep(20)
            assert await running.link.ping() == 0.0
        with publishing(running):
            await settle()
    assert wire.payloads == [b"OPEN"]


async def test_where_nothing_may_go_nothing_is_written() -> None:
    wire = Wire()
    async with run_link(wire.broker) as running:
        before = running.link.bytes_sent
        with publishing(running, may_go=lambda: False) as publication:
            await publication.over.wait()
            await settle()
        assert running.link.bytes_sent == before
