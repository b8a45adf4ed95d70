"""Each fault of a broker ends in the right edge, names itself while it lasts, and is got over when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import trio

from span_trio import (
    ConnectionEdge,
    ConnectionReason,
    SpanPanel,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    SpanPanelUpdate,
)
from tests.unit.link.broker import Broker, Connection, Kind, Packet, Pieces, nothing
from tests.unit.link.house import house, nothing_left, opened, topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

POWER, STATE = topic(f"{KITCHEN}/active-power"), topic("$state")
R = ConnectionReason
Do = Callable[[Broker], object]


class Fault(NamedTuple):
    """What befalls the broker, the edge that this is, and what is in the way half a minute later."""

    begin: Do
    edge: ConnectionReason
    later: ConnectionReason | None
    """``None``: it is over as soon as it began."""
    within: float = 0.02
    """How soon the edge comes, s."""
    detail: str = ""
    """Of what is in the way then, or else of the edge."""


def hang_up(broker: Broker) -> None:
    broker.connection.hang_up()


def say(data: bytes) -> Do:
    return lambda broker: broker.connection.say(data)


def restart(**changes: Any) -> Do:
    """The broker restarts, and is another one from then on."""

    def begin(broker: Broker) -> None:
        for name, value in changes.items():
            setattr(broker, name, value)
        broker.connection.hang_up()

    return begin


def instead(kind: Kind, what: Callable[[Connection, Packet], object]) -> Do:
    return restart(instead={kind: what})


def forget(broker: Broker) -> None:
    """It comes back empty, and the panel publishes nothing."""
    broker.retained.clear()
    broker.connection.hang_up()


def forget_all_but_the_state(broker: Broker) -> None:
    for each in broker.retained.keys() - {STATE}:
        del broker.retained[each]
    broker.connection.hang_up()


def freeze(broker: Broker) -> None:
    """A stopped process, a cut cable: whoever connects is not answered either."""
    broker.instead = dict.fromkeys(Kind, nothing)
    broker.connection.freeze()


def slowly(stream: trio.abc.Stream) -> trio.abc.Stream:
    """A byte a second."""

    class Slow(Pieces):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            await trio.sleep(1)
            return await super().receive_some(max_bytes)

    return Slow(stream, iter(lambda: 1, 0))


def say_half(connection: Connection, packet: Packet) -> None:
    """A replay that is cut off: everything up to one message, and nothing behind it."""
    connection.hold()
    connection.answer(packet)
    whole = connection.take_said()
    connection.say(whole[: len(whole) // 2])
    connection.release()
    connection.freeze()


FAULTS: dict[str, Fault] = {
    "the broker hangs up, as when another client comes with our id": Fault(
        hang_up, R.LINK_LOST, None, detail="the peer closed it"
    ),
    "no MQTT": Fault(say(packets.packet(0x00)), R.PROTOCOL_ERROR, None),
    "a packet of an impossible length": Fault(say(b"\x30\xff\xff\xff\xff\x01"), R.PROTOCOL_ERROR, None),
    "half a packet, and it hangs up": Fault(
        lambda broker: (broker.connection.say(packets.publish(POWER, b"-1")[:-2]), hang_up(broker)), R.LINK_LOST, None
    ),
    "a second CONNACK": Fault(say(packets.connack()), R.PROTOCOL_ERROR, None),
    "an answer too large": Fault(say(packets.packet(0x90, bytes(20_000))), R.PROTOCOL_ERROR, None),
    "nothing is said any more": Fault(freeze, R.SILENT_PEER, R.UNREACHABLE, 12.2, "did not answer the login"),
    "nothing is done any more": Fault(
        lambda broker: setattr(broker, "instead", dict.fromkeys(Kind, nothing)),
        R.SILENT_PEER,
        R.UNREACHABLE,
        12.2,
        "did not answer the login",
    ),
    "nobody answers": Fault(restart(takes=1000), R.LINK_LOST, R.UNREACHABLE, detail="within 8 s"),
    "it accepts and says nothing": Fault(
        instead(Kind.CONNECT, nothing), R.LINK_LOST, R.UNREACHABLE, detail="did not answer the login within 3 s"
    ),
    "it accepts and hangs up": Fault(restart(ends_at=0), R.LINK_LOST, R.UNREACHABLE, detail="hung up during the login"),
    "it speaks another protocol": Fault(
        instead(Kind.CONNECT, lambda connection, _: connection.say(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)),
        R.LINK_LOST,
        R.UNREACHABLE,
        detail="does not speak MQTT",
    ),
    **{
        f"the login is refused with code {code}": Fault(restart(connack=code), R.LINK_LOST, R.UNREACHABLE, detail=why)
        for code, why in [(1, "protocol version"), (2, "client id"), (3, "unavailable"), (9, "code 9")]
    },
    **{
        f"the login is refused with code {code}": Fault(restart(connack=code), R.LINK_LOST, R.REFUSED, detail=why)
        for code, why in [(4, "bad user name or password"), (5, "not authorised")]
    },
    "the subscription is refused": Fault(
        restart(refused={f"ebus/5/{ROOT}/#"}), R.LINK_LOST, R.REFUSED, detail="refuses the subscription"
    ),
    "no SUBACK": Fault(
        instead(Kind.SUBSCRIBE, nothing), R.LINK_LOST, R.REPLAY
    ),  # until it is given up after 12 s, and then again
    "the replay is cut and the link hangs": Fault(instead(Kind.SUBSCRIBE, say_half), R.LINK_LOST, R.REPLAY),
    "a byte a second": Fault(restart(through=slowly), R.LINK_LOST, R.UNREACHABLE, detail="did not answer the login"),
    "it comes back empty": Fault(forget, R.LINK_LOST, R.DEVICE_STATE, detail="not published"),
    "it comes back with nothing but the state": Fault(
        forget_all_but_the_state, R.LINK_LOST, R.PENDING_DEVICE, detail=ROOT
    ),
    "it comes back before the panel": Fault(
        lambda broker: (broker.retained.update({STATE: b"init"}), hang_up(broker)),
        R.LINK_LOST,
        R.DEVICE_STATE,
        detail="init",
    ),
    "a message too large": Fault(
        lambda broker: broker.publish(topic(f"{KITCHEN}/name"), "x" * 20_000),
        R.PENDING_DEVICE,
        R.PENDING_DEVICE,
        detail=ROOT,
    ),
}


def mend(broker: Broker) -> None:
    """All is well again, with fresh values: a broker that restarts, where the old one does not answer."""
    broker.instead, broker.connack, broker.refused = {}, 0, set()
    broker.takes, broker.ends_at, broker.through = 0.0, None, None
    broker.retained.update(house({f"{KITCHEN}/active-power": "-42"}))


async def collect(panel: SpanPanel, into: list[tuple[float, SpanPanelUpdate]]) -> None:
    async for update in panel.updates():
        into.append((trio.current_time(), update))  # noqa: PERF401 - it does not end


def edges(updates: Sequence[tuple[float, SpanPanelUpdate]]) -> list[tuple[float, ConnectionEdge]]:
    return [(at, update) for at, update in updates if isinstance(update, ConnectionEdge)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_i1_i2_i5_a_fault_is_an_edge_and_got_over_when_it_ends(fault: Fault) -> None:
    broker = Broker(house())
    updates: list[tuple[float, SpanPanelUpdate]] = []
    async with nothing_left(broker), opened(broker, max_packet=10_000) as panel, trio.open_nursery() as nursery:
        nursery.start_soon(collect, panel, updates)
        await trio.sleep(20)
        fault.begin(broker)
        await trio.sleep(fault.within)
        [_, (offline_at, offline)] = edges(updates)[:2]
        assert not offline.online
        assert (offline.reason, offline.epoch) == (fault.edge, 1)
        assert 20 <= offline_at <= 20 + fault.within
        if fault.later is None:
            assert fault.detail in offline.detail
        else:
            await trio.sleep(30)
            assert not panel.live
            assert panel.obstacle is not None
            assert panel.obstacle.reason is fault.later
            assert fault.detail in panel.obstacle.detail
            with pytest.raises(SpanPanelStaleDataError) as stale:
                _ = panel.snapshot
            assert (stale.value.reason, stale.value.detail) == panel.obstacle
            assert len(edges(updates)) == 2
            mend(broker)
            if not broker.connection.closed:
                broker.connection.hang_up()
        await trio.sleep(20)
        assert panel.live
        assert [edge.online for _, edge in edges(updates)] == [True, False, True]
        newest = edges(updates)[-1][1]
        assert newest.epoch == panel.snapshot.epoch > 1
        down = [update for at, update in updates if offline_at <= at < newest.at.monotonic]
        assert not [update for update in down if isinstance(update, SpanPanelSnapshot)]
        assert panel.snapshot.circuits[KITCHEN].instant_power_w == (150.5 if fault.later is None else 42.0)
        nursery.cancel_scope.cancel()


# --- what costs less than an outage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        restart(through=lambda stream: Pieces(stream, iter(lambda: 1, 0))),
        restart(queue=11),  # one topic too many
        instead(Kind.PINGREQ, lambda connection, _: connection.say(packets.pingresp() * 2)),
    ],
    ids=["single bytes", "a replay that is cut", "two answers for one"],
)
async def test_a_broker_that_is_odd_only_is_lived_with(change: Do) -> None:
    broker = Broker(house())
    async with nothing_left(broker), opened(broker) as panel:
        await trio.sleep(20)
        change(broker)
        await trio.sleep(30)
        assert panel.live
        assert panel.snapshot.epoch == 2
        assert panel.snapshot.circuits[KITCHEN].instant_power_w == 150.5
        assert panel.statistics().topics == len(house())
        assert panel.statistics().replays_assumed == 0


async def test_a_broker_that_shows_no_barrier_any_more_is_believed_when_it_is_quiet() -> None:
    broker = Broker(house())
    answered: list[Packet] = []

    def but_for_barriers(connection: Connection, packet: Packet) -> None:
        answered.append(packet)
        if connection.kinds[-2] is not Kind.SUBSCRIBE:
            connection.answer(packet)

    async with opened(broker) as panel:
        await trio.sleep(20)
        instead(Kind.PINGREQ, but_for_barriers)(broker)
        await trio.sleep(20)
        assert panel.live
        assert (panel.statistics().epochs, panel.statistics().replays_assumed) == (2, 1)
        assert answered


async def test_an_outage_before_the_first_snapshot_costs_time_only() -> None:
    broker = Broker(house(), instead={Kind.SUBSCRIBE: lambda connection, _: connection.hang_up()})

    async def boot() -> None:
        await trio.sleep(10)
        mend(broker)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot)
        async with opened(broker) as panel:
            assert 10 <= trio.current_time() < 12.1
            assert panel.snapshot.epoch > 5
            assert (await anext(panel.edges())).online


async def test_waiting_for_the_panel_waits_through_an_outage() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        reader = panel.snapshots()
        await anext(reader)
        restart(connack=3)(broker)
        await trio.sleep(30)
        assert not panel.live

        async def repair() -> None:
            await trio.sleep(30)
            mend(broker)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(repair)
            with trio.fail_after(32.1):
                await panel.wait_live()
                assert (await anext(reader)).circuits[KITCHEN].instant_power_w == 42.0
        assert reader.skipped == 0
        assert panel.live_since is not None
        await panel.wait_live(held_for=5)
        assert trio.current_time() == pytest.approx(panel.live_since.monotonic + 5)
