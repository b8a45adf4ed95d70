"""The connection task: tries again for ever, how soon, in which epoch, and what it tells the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio

from span_trio import (
    ConnectionReason,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelValidationError,
)
from span_trio.mqtt import Codec
from tests.unit.link.broker import Broker, Connection, Kind, nothing
from tests.unit.link.house import CREDENTIALS, OPTIONS, house, topic
from tests.unit.link.keeping import Bench, keeping
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

REFUSED = SpanPanelConnectionError("connecting to panel:1883 failed: refused")
POWER = topic(f"{KITCHEN}/active-power")


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


# --- how soon ---------------------------------------------------------------------------------------------------------


async def test_a_lost_link_is_tried_anew_at_once() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        broker.connection.hang_up()
        await trio.sleep(1)
        assert bench.live
        assert bench.dials == pytest.approx([0, 10], abs=0.01)


async def test_an_address_that_refuses_is_tried_at_least_every_two_seconds_for_ever() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        bench.fault = REFUSED
        broker.connection.hang_up()
        await trio.sleep(600)
        waits = gaps(bench.dials[1:])
        assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6] + [2.0] * (len(waits) - 4))
        assert len(waits) > 290
        assert bench.obstacle == (ConnectionReason.UNREACHABLE, str(REFUSED))
        bench.fault = None
        await bench.until(lambda: bench.live, 2.1)


async def test_an_address_that_does_not_answer_is_tried_at_least_every_eight_seconds_and_the_connect_itself() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        broker.takes = 1000
        broker.connection.hang_up()
        await trio.sleep(1000)
        assert gaps(bench.dials[1:])[:9] == pytest.approx(
            [8 + wait for wait in (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8, 8, 8)]
        )
        broker.takes = 0
        await bench.until(lambda: bench.live, 16.1)


@pytest.mark.slow
async def test_what_answers_again_is_tried_sooner_again() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        bench.fault = SpanPanelConnectionError("no answer within 3 s", answered=False)
        broker.connection.hang_up()
        await trio.sleep(100)
        bench.fault = REFUSED
        await trio.sleep(100)
        assert gaps(bench.dials)[-20:] == [pytest.approx(2.0)] * 20


async def test_a_success_begins_anew() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        for _ in range(3):
            await trio.sleep(10)
            bench.fault = REFUSED
            broker.connection.hang_up()
            tried = len(bench.dials)
            await trio.sleep(7.5)
            assert gaps(bench.dials[tried:]) == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
            bench.fault = None
            await bench.until(lambda: bench.live)


@pytest.mark.slow
@pytest.mark.parametrize("ends_after", [0.0, 0.1, 1.5])
async def test_two_clients_of_one_id_that_take_turns_do_not_spin(ends_after: float) -> None:
    """What the broker ends as soon as it is live is no success."""
    broker = Broker(house())
    async with keeping(broker) as bench:
        with trio.move_on_after(50):
            while True:
                await bench.until(lambda: bench.live)
                await trio.sleep(ends_after)
                await bench.hang_up()
        assert 50 / (2.1 + ends_after) < len(bench.dials) < 50 / (2.0 + ends_after) + 10


async def test_a_session_that_never_leads_to_a_live_panel_is_no_success_however_long_it_lasts() -> None:
    broker = Broker(house({"$state": "init"}))
    async with keeping(broker, live=False) as bench:
        for _ in range(10):
            await trio.sleep(100)
            assert len(broker.connections) == len(bench.dials)
            broker.connection.hang_up()
            await trio.sleep(2.1)
        lost = [connection.received[0].at for connection in broker.connections]
        assert bench.dials == lost
        assert gaps(bench.dials)[-1] > 101.9


async def test_chance_decides_how_long_within_the_bound() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        dice = iter([0.9, 0.25, 0.5, 0.0, 0.75])
        bench.chance = lambda: next(dice, 1.0)
        bench.fault = REFUSED
        broker.connection.hang_up()
        await trio.sleep(10)
        assert gaps(bench.dials[1:])[:4] == pytest.approx([0.05, 0.2, 0.0, 1.2])


# --- epochs -----------------------------------------------------------------------------------------------------------


async def test_every_session_is_an_epoch_with_a_client_id_of_its_own() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        for _ in range(4):
            await trio.sleep(10)
            await bench.hang_up()
            await bench.until(lambda: bench.live)
        assert [(edge.online, edge.epoch) for edge in bench.edges] == [
            (online, epoch) for epoch in (1, 2, 3, 4) for online in (True, False)
        ] + [(True, 5)]
        assert [snapshot.epoch for snapshot in bench.snapshots] == [1, 2, 3, 4, 5]
        assert bench.connection.epoch == 5
    assert len({connection.received[0].texts[0] for connection in broker.connections}) == 5


async def test_an_attempt_that_fails_is_no_epoch() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        bench.fault = REFUSED
        broker.connection.hang_up()
        await trio.sleep(100)
        bench.fault = None
        await bench.until(lambda: bench.live)
        assert [edge.epoch for edge in bench.edges] == [1, 1, 2]


async def test_i5_nothing_of_an_earlier_epoch_survives() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        broker.connection.hang_up()
        gone = [POWER, topic(f"{KITCHEN}/name"), topic("core/door")]
        for each in gone:
            del broker.retained[each]
        await bench.until(lambda: len(bench.edges) == 3)
        await trio.sleep(1)
        snapshot = bench.snapshots[-1]
        assert snapshot.epoch == 2
        assert snapshot.circuits[KITCHEN].instant_power_w is None
        assert snapshot.circuits[KITCHEN].name is None
        assert snapshot.door_state == "UNKNOWN"
        assert set(gone).isdisjoint(bench.accumulator.tracker.tree.forest.value_topics())


async def test_the_host_is_given_by_name_to_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets it resolves it: the panel may have moved."""
    hosts: list[str] = []

    async def open_tcp_stream(host: str, _port: int) -> trio.SocketStream:
        hosts.append(host)
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError(111, "refused")

    broker = Broker(house())
    async with keeping(broker) as bench:
        monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
        monkeypatch.setattr(bench.connection, "_dialer", None)
        broker.connection.hang_up()
        await trio.sleep(20)
    assert hosts == ["panel.test"] * len(hosts)
    assert len(hosts) > 10


# --- the very first one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (REFUSED, SpanPanelConnectionError),
        (OSError("no tunnel"), SpanPanelConnectionError),
        (ZeroDivisionError("a bug"), SpanPanelInternalError),
    ],
    ids=repr,
)
async def test_the_first_connect_fails_at_once(fault: Exception, kind: type[Exception]) -> None:
    async with keeping(Broker(), live=False) as bench:
        bench.fault = fault
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is kind
        assert bench.failure is fault or bench.failure.__cause__ is fault
        assert len(bench.dials) == 1
        assert bench.ended_at == 0.0


@pytest.mark.parametrize("password", ["\ud800", "x" * 65_536])
async def test_credentials_that_cannot_be_sent_are_told_at_once(password: str) -> None:
    credentials = type(CREDENTIALS)(CREDENTIALS.serial_number, broker_password=password)
    async with keeping(Broker(), credentials=credentials, live=False) as bench:
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelValidationError
        assert bench.dials == []


async def test_a_session_that_is_lost_before_it_was_live_is_tried_anew() -> None:
    broker = Broker(house(), instead={Kind.SUBSCRIBE: lambda connection, _: connection.hang_up()})
    async with keeping(broker, live=False) as bench:
        await trio.sleep(20)
        assert bench.failure is None
        assert len(broker.connections) > 5
        broker.instead.clear()
        await bench.until(lambda: bench.live)
        assert [edge.online for edge in bench.edges] == [True]


# --- what nobody expected ---------------------------------------------------------------------------------------------


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info]


async def test_an_exception_that_nobody_expected_is_logged_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        bench.fault = ZeroDivisionError("a bug of the dialer's")
        broker.connection.hang_up()
        await trio.sleep(600)
        assert len(bench.dials) > 60
        [record] = tracebacks(caplog)
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[1] is bench.fault
        assert bench.obstacle == (ConnectionReason.UNREACHABLE, "unexpected ZeroDivisionError")
        bench.fault = None
        await bench.until(lambda: bench.live)
    assert bench.failure is None


@pytest.mark.slow
async def test_a_bug_in_a_session_is_logged_once_and_the_next_session_is_tried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bug = ZeroDivisionError("a bug of ours")

    def ping(_: Codec) -> None:
        raise bug

    broker = Broker(house())
    async with keeping(broker) as bench:
        with monkeypatch.context() as patch:
            patch.setattr(Codec, "ping", ping)
            await bench.until(lambda: not bench.live)  # at the next sign of life
            assert bench.edges[-1].reason is ConnectionReason.UNREACHABLE
            await trio.sleep(600)
            assert len(tracebacks(caplog)) == 1
            assert all(connection.closed for connection in broker.connections)
        await bench.until(lambda: bench.live)
        assert bench.failure is None


# --- the log ----------------------------------------------------------------------------------------------------------


def alternating(*faults: Exception) -> Callable[[Bench], None]:
    """A dialer that fails in another way each time."""

    def begin(bench: Bench) -> None:
        async def dial(*_: object) -> trio.abc.Stream:
            bench.dials.append(trio.current_time())
            await trio.lowlevel.checkpoint()
            raise faults[len(bench.dials) % len(faults)]

        bench.connection._dialer = dial

    return begin


@pytest.mark.slow
@pytest.mark.parametrize(
    "begin",
    [
        alternating(REFUSED),
        alternating(REFUSED, SpanPanelConnectionError("unknown name"), OSError("no route to host")),
        alternating(REFUSED, ZeroDivisionError(), KeyError()),
        alternating(*[SpanPanelConnectionError(f"port {port} refuses") for port in range(1000)]),
    ],
    ids=["always the same", "three in turn", "two of them bugs", "never the same twice"],
)
async def test_a_long_outage_writes_a_bounded_number_of_lines(
    begin: Callable[[Bench], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "span_trio")
    broker = Broker(house())
    async with keeping(broker) as bench:
        begin(bench)
        broker.connection.hang_up()
        await trio.sleep(600)
        early = len(caplog.records)
        await trio.sleep(600)
        assert len(bench.dials) > 120
        assert len(caplog.records) == early < 30


async def test_the_next_outage_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "span_trio.link")
    broker = Broker(house())
    async with keeping(broker) as bench:
        for count in (1, 2, 3):
            await trio.sleep(10)
            bench.fault = REFUSED
            broker.connection.hang_up()
            await trio.sleep(60)
            bench.fault = None
            await bench.until(lambda: bench.live)
            assert sum(str(REFUSED) in message for message in caplog.messages) == count


# --- the peer says nothing, or nonsense, at any step ------------------------------------------------------------------


def reset(connection: Connection) -> None:
    connection.hang_up()


def babble(connection: Connection) -> None:
    connection.say(packets.packet(0x00))


@pytest.mark.parametrize("end", [reset, babble])
@pytest.mark.parametrize("step", [Kind.CONNECT, Kind.SUBSCRIBE, Kind.PINGREQ])
async def test_a_broker_that_fails_at_any_step_is_tried_until_it_does_not(
    step: Kind, end: Callable[[Connection], None]
) -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        broker.instead = {step: lambda connection, _: end(connection)}
        broker.connection.hang_up()
        await trio.sleep(60)
        assert not bench.live
        assert 25 < len(bench.dials) < 45
        broker.instead = {}
        await bench.until(lambda: bench.live, 2.1)


async def test_nothing_is_left_open_of_the_sessions_before() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        for connack in (0, 2, 4, 0):
            await trio.sleep(10)
            broker.connack = connack
            broker.connection.hang_up()
            await trio.sleep(10)
            *before, newest = broker.connections
            assert all(connection.closed for connection in before)
            assert newest.closed == bool(connack)
        await bench.until(lambda: bench.live)
    assert all(connection.closed for connection in broker.connections)
    assert broker.connection.said_goodbye


async def test_a_silent_broker_is_given_up_and_tried_again() -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        await trio.sleep(10)
        broker.instead = dict.fromkeys(Kind, nothing)
        await bench.until(lambda: not bench.live)
        assert bench.edges[-1].reason is ConnectionReason.SILENT_PEER
        assert 10 + 12 - 4 < trio.current_time() < 10 + 12.2


def test_of_one_outage_twenty_reasons_are_told_and_each_once() -> None:
    connection = Bench(Broker(), CREDENTIALS, None, OPTIONS).connection
    assert [connection._is_news(f"reason {number // 2}") for number in range(60)] == [True, False] * 20 + [False] * 20
