"""An open panel as a user holds it: on a broker in memory that does what panels and brokers do, and worse."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    SpanPanelTimeoutError,
    SpanPanelValidationError,
    fetch_snapshot,
    onboard,
    open_span_panel,
)
from span_trio.link import fingerprint
from span_trio.onboard import trust
from tests.unit.link.broker import Broker, Kind, Pieces, nothing
from tests.unit.link.certificates import certificates, other_ca
from tests.unit.link.house import CREDENTIALS, OPTIONS, fewer, house, opened, raised, run, topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN, ROOT, SMALL, describe

pytestmark = pytest.mark.virtual_time

STATE, POWER, RELAY = topic("$state"), topic(f"{KITCHEN}/active-power"), topic(f"{KITCHEN}/relay")


def power(snapshot: SpanPanelSnapshot) -> float | None:
    return snapshot.circuits[KITCHEN].instant_power_w


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_it_opens_with_the_first_complete_snapshot() -> None:
    broker = Broker(house())
    with trio.testing.assert_checkpoints():
        manager = opened(broker)
        panel = await manager.__aenter__()
    assert panel.live
    assert panel.serial_number == ROOT
    assert panel.host == "panel"
    assert panel.snapshot.serial_number == ROOT
    assert panel.snapshot.panel_size == 32
    assert repr(panel) == f"<SpanPanel {ROOT} at panel: live>"
    with trio.testing.assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_it_opens_when_the_panel_has_become_ready() -> None:
    broker = Broker(house({"$state": "init"}))

    async def boot() -> None:
        await trio.sleep(7)
        broker.publish(STATE, "ready")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(boot)
        async with opened(broker) as panel:
            assert trio.current_time() == 7.0
            assert panel.live


async def test_it_opens_without_a_child_that_does_not_come() -> None:
    async with opened(Broker(house(children=["car"])), ready_timeout=20) as panel:
        assert trio.current_time() == 10.0
        assert panel.snapshot.pending_devices == ("car",)


async def test_a_panel_whose_serial_number_is_not_known_is_asked() -> None:
    broker = Broker(house())
    credentials = SpanCredentials(broker_username="me", broker_password="secret")
    async with open_span_panel("panel", credentials=credentials, options=OPTIONS, dialer=broker.dial) as panel:
        assert panel.serial_number == ROOT
    first, second = broker.connections
    assert first.said_goodbye
    assert second.said_goodbye
    assert second.received[0].texts[1:] == ["me", "secret"]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_broker_with_none_or_several_panels_is_told(count: int) -> None:
    retained = {name.replace(ROOT, f"nt-{n}"): payload for n in range(count) for name, payload in house().items()}
    broker = Broker(retained)
    manager = open_span_panel("panel", options=OPTIONS, dialer=broker.dial)
    with pytest.raises(SpanPanelValidationError if count else SpanPanelConnectionError):
        await manager.__aenter__()
    assert [connection.said_goodbye for connection in broker.connections] == [True]


# --- whom to trust ----------------------------------------------------------------------------------------------------


async def trusted(monkeypatch: pytest.MonkeyPatch, served: str | Exception, **options: Any) -> list[tuple[str, int]]:
    """What `trust` asks of the panel's web server, which serves this."""
    asked: list[tuple[str, int]] = []

    async def download(host: str, *, port: int) -> str:
        asked.append((host, port))
        await trio.lowlevel.checkpoint()
        if isinstance(served, Exception):
            raise served
        return served

    monkeypatch.setattr(onboard, "download_ca_cert", download)
    pinned = options.pop("pinned", None)
    context = await trust("panel", SpanCredentials(ca_pem=pinned), PanelOptions(**options))
    assert (context is None) == (options.get("transport") == "mqtt")
    return asked


async def test_a_pinned_ca_is_trusted_and_no_other_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await trusted(monkeypatch, AssertionError(), pinned=certificates().ca_pem) == []


async def test_without_a_pinned_ca_the_panel_s_is_trusted_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await trusted(monkeypatch, certificates().ca_pem, http_port=8080) == [("panel", 8080)]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert fingerprint(certificates().ca_pem) in record.getMessage()


async def test_a_plain_transport_trusts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await trusted(monkeypatch, AssertionError(), transport="mqtt") == []


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("written", [str, str.upper, lambda text: ":".join(text[n : n + 2] for n in range(0, 64, 2))])
async def test_a_fingerprint_that_fits_is_believed(pinned: bool, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = certificates().ca_pem
    await trusted(monkeypatch, ca, pinned=ca if pinned else None, ca_sha256=written(fingerprint(ca)))


@pytest.mark.parametrize("pinned", [True, False])
async def test_a_fingerprint_that_does_not_fit_is_an_error(pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, expected = certificates().ca_pem, fingerprint(other_ca())
    with pytest.raises(SpanPanelConnectionError, match=f"{fingerprint(ca)}, expected {expected}"):
        await trusted(monkeypatch, ca, pinned=ca if pinned else None, ca_sha256=expected)


async def test_a_panel_that_does_not_hand_out_its_ca_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpanPanelAPIError):
        await trusted(monkeypatch, SpanPanelAPIError("no certificate"))


async def test_the_dialer_gets_the_context() -> None:
    broker = Broker(house())
    credentials = attrs.evolve(CREDENTIALS, ca_pem=certificates().ca_pem)
    async with open_span_panel("panel", credentials=credentials, dialer=broker.dial):
        [(_, port, tls)] = broker.dialled
    assert port == 8883
    assert tls is not None


# --- snapshots --------------------------------------------------------------------------------------------------------


async def test_snapshots_begin_with_the_current_one_and_the_latest_wins() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        reader = panel.snapshots()
        with trio.testing.assert_checkpoints():
            assert power(await anext(reader)) == 150.5
        for number in range(1, 6):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        assert power(await anext(reader)) == 5.0
        assert reader.skipped == 4
        assert power(await anext(panel.snapshots())) == 5.0


async def test_the_snapshot_is_fresh_between_two_publishes() -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=1000) as panel:
        await trio.sleep(1)
        broker.publish(POWER, "-1")
        await trio.sleep(1)
        reader = panel.snapshots()
        assert power(await anext(reader)) == 1.0
        broker.publish(POWER, "-2")
        await trio.sleep(1)
        assert power(panel.snapshot) == 2.0
        assert panel.snapshot is panel.snapshot
        with trio.move_on_after(100):
            await anext(reader)
            raise AssertionError


async def test_snapshots_know_when_and_of_which_epoch_they_are() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await trio.sleep(5)
        broker.publish(POWER, "-1")
        await trio.sleep(5)
        snapshot = panel.snapshot
        assert snapshot.seq == 2
        assert snapshot.epoch == 1
        assert snapshot.received_at is not None
        assert snapshot.received_at.monotonic == 5.0


async def test_i7_many_readers_get_the_same_and_a_sleeping_one_costs_nothing() -> None:
    broker = Broker(house())
    got: list[list[float | None]] = [[] for _ in range(50)]

    async def read(panel: SpanPanel, into: list[float | None], pause: float) -> None:
        async for snapshot in panel.snapshots():
            into.append(power(snapshot))
            await trio.sleep(pause)

    async with opened(broker) as panel, trio.open_nursery() as nursery:
        for number, into in enumerate(got):
            nursery.start_soon(read, panel, into, 1000.0 if number % 2 else 0.0)
        for number in range(1, 20):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert got[::2] == [[150.5, *map(float, range(1, 20))]] * 25
    assert got[1::2] == [[150.5]] * 25


async def test_breaking_out_of_a_loop_leaves_nothing_behind() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            async for _ in panel.snapshots():
                break
        assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("after", range(12))
async def test_i2_no_snapshot_is_delivered_that_was_computed_before_an_edge(after: int) -> None:
    """`$state` lost so many steps after a publish, while readers wait, sleep, or are about to run."""
    broker = Broker(house())
    got: list[float | None] = []

    async def read(panel: SpanPanel) -> None:
        async for snapshot in panel.snapshots():
            if not panel.live:
                got.append(power(snapshot))  # noqa: PERF401 - it never ends

    async with opened(broker, snapshot_interval=0) as panel, trio.open_nursery() as nursery:
        held = panel.snapshots()
        for _ in range(5):
            nursery.start_soon(read, panel)
        await trio.testing.wait_all_tasks_blocked()
        broker.publish(POWER, "-1")
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        broker.publish(STATE, "lost")
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        with trio.move_on_after(100) as scope:
            await anext(held)
        assert scope.cancelled_caught
        with pytest.raises(SpanPanelStaleDataError):
            _ = panel.snapshot
        nursery.cancel_scope.cancel()


# --- live and not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["init", "lost", "disconnected", "sleeping", "alert", "BOGUS", ""])
async def test_a_panel_that_is_not_ready_has_no_snapshot_and_says_why(state: str) -> None:
    broker = Broker(house())
    async with opened(broker, settle=2.0) as panel:
        assert panel.live_since is not None
        assert panel.live_since.monotonic == 0.0
        await trio.sleep(3)
        broker.publish(STATE, state)
        await trio.sleep(3)
        assert not panel.live
        assert panel.live_since is None
        reason = state or "not published"
        with pytest.raises(SpanPanelStaleDataError, match=f"the panel is not live: device state: {reason}") as caught:
            _ = panel.snapshot
        assert caught.value.reason == f"device state: {reason}"
        assert repr(panel) == f"<SpanPanel {ROOT} at panel: not live, device state: {reason}>"
        broker.publish(STATE, "ready")
        await trio.sleep(3)
        assert panel.live
        assert panel.live_since.monotonic == (8.0 if state in {"lost", "disconnected", ""} else 6.0)
        assert power(panel.snapshot) == 150.5


async def test_an_iterator_waits_through_an_outage() -> None:
    broker = Broker(house())
    async with opened(broker, settle=0) as panel:
        reader = panel.snapshots()
        await anext(reader)
        broker.publish(STATE, "lost")
        await trio.sleep(100)

        async def come_back() -> None:
            await trio.sleep(50)
            broker.publish(POWER, "-1")
            broker.publish(STATE, "ready")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            assert power(await anext(reader)) == 1.0
        assert trio.current_time() == 150.0
        assert reader.skipped == 0


# --- the interval -----------------------------------------------------------------------------------------------------


async def test_the_interval_may_be_changed_and_takes_effect_at_once() -> None:
    broker = Broker(house())
    async with opened(broker, snapshot_interval=1000) as panel:
        assert panel.snapshot_interval == 1000
        reader = panel.snapshots()
        await anext(reader)
        for number in (1, 2):
            await trio.sleep(1)
            broker.publish(POWER, f"-{number}")
        await trio.sleep(1)
        assert power(await anext(reader)) == 1.0
        panel.snapshot_interval = 0.5
        assert panel.snapshot_interval == 0.5
        assert power(await anext(reader)) == 2.0
        assert trio.current_time() == 3.0


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), "1", None, True, [1]])
async def test_an_interval_that_cannot_be_meant_is_refused(value: Any) -> None:
    async with opened(Broker(house())) as panel:
        with pytest.raises(SpanPanelValidationError, match="snapshot_interval"):
            panel.snapshot_interval = value
        assert panel.snapshot_interval == 1.0


# --- ping and statistics ----------------------------------------------------------------------------------------------


async def test_a_ping_is_the_round_trip_to_the_broker() -> None:
    broker = Broker(house())
    async with opened(broker) as panel, trio.open_nursery() as nursery:
        with trio.testing.assert_checkpoints():
            assert await panel.ping() == 0.0

        async def answer() -> None:
            await trio.sleep(0.25)
            broker.connection.release()

        broker.connection.hold()
        nursery.start_soon(answer)
        assert await panel.ping() == 0.25


async def test_a_ping_over_a_lost_link_says_so() -> None:
    broker = Broker(house())

    async def body(panel: SpanPanel) -> None:
        broker.connection.hang_up()
        with trio.CancelScope(shield=True):
            for _ in range(2):  # lost meanwhile, and lost before
                with pytest.raises(SpanPanelConnectionError, match="the link was lost"):
                    await panel.ping()
                await trio.sleep(1)

    assert type(await raised(broker, body)) is SpanPanelConnectionError


async def test_a_ping_that_waits_when_the_panel_is_closed_ends() -> None:
    broker = Broker(house())
    outcomes: list[type[BaseException]] = []

    async def ping(panel: SpanPanel) -> None:
        try:
            await panel.ping()
        except SpanPanelError as error:
            outcomes.append(type(error))

    async with trio.open_nursery() as nursery:
        async with opened(broker) as panel:
            broker.connection.hold()
            nursery.start_soon(ping, panel)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SpanPanelClosedError):
            await panel.ping()
    assert len(outcomes) == 1


async def test_a_ping_without_a_link_says_so() -> None:
    async with opened(Broker(house())) as panel:
        link, panel._service.link = panel._service.link, None
        with pytest.raises(SpanPanelConnectionError, match="there is no link"):
            await panel.ping()
        assert panel.statistics().bytes_received == 0
        panel._service.link = link


async def test_statistics_count() -> None:
    broker = Broker({**house(), topic("core/$nonsense"): b"x"})
    async with opened(broker) as panel:
        await trio.sleep(3)
        broker.publish(POWER, "-1")
        broker.publish(topic("core/l1-voltage"), "not a number")
        await trio.sleep(2)
        statistics = panel.statistics()
        assert statistics.messages == len(house()) + 3
        assert statistics.bytes_received == broker.connection.said
        assert statistics.bytes_sent == sum(len(packet.body) + 2 for packet in broker.connection.received)
        assert statistics.snapshots == 2
        assert statistics.epochs == 1
        assert statistics.replays_assumed == 0
        assert statistics.devices == 1
        assert statistics.topics == len(house()) + 1
        assert statistics.last_message_age == 2.0
        assert sum(statistics.dropped.values()) == 2
        assert panel.statistics() == statistics
        assert panel.statistics() is not statistics
        assert panel.statistics().dropped is not panel.statistics().dropped


async def test_i9_what_is_no_mqtt_ends_in_one_error_behind_the_good_part() -> None:
    broker = Broker(house())
    opened_as: list[SpanPanel] = []

    async def body(panel: SpanPanel) -> None:
        opened_as.append(panel)
        broker.connection.say(packets.publish(POWER, b"-1") + packets.packet(0x00) + packets.publish(POWER, b"-2"))
        await trio.sleep_forever()

    error = await raised(broker, body)
    assert type(error) is SpanPanelConnectionError
    assert "protocol error" in str(error)
    assert opened_as[0].statistics().messages == len(house()) + 1


# --- brokers that drop ------------------------------------------------------------------------------------------------


async def test_a_replay_that_was_dropped_is_asked_for_in_parts() -> None:
    broker = Broker(house(), queue=11)  # one topic too many
    async with opened(broker) as panel:
        assert panel.statistics().replays_assumed == 0
        assert panel.statistics().topics == len(house())
        assert power(panel.snapshot) == 150.5
        broker.queue = None
        broker.publish(POWER, "-1")
        await trio.sleep(2)
        assert power(panel.snapshot) == 1.0
        assert await panel.ping() == 0.0
    whole, attributes, nodes = broker.connection.of(Kind.SUBSCRIBE)
    assert whole.texts == [f"ebus/5/{ROOT}/#"]
    assert broker.connection.of(Kind.UNSUBSCRIBE)[0].texts == whole.texts
    assert f"ebus/5/{ROOT}/+" in attributes.texts
    assert sorted(nodes.texts) == sorted([f"ebus/5/{ROOT}/core/#", f"ebus/5/{ROOT}/{KITCHEN}/#"])


async def test_a_broker_that_answers_no_ping_is_believed_when_it_is_quiet_and_that_is_counted() -> None:
    broker = Broker(house(), instead={Kind.PINGREQ: nothing})
    async with opened(broker) as panel:
        assert panel.statistics().replays_assumed == 1
        assert power(panel.snapshot) == 150.5
        assert 6 <= trio.current_time() < 7


async def test_a_message_too_large_makes_the_panel_not_live_and_the_link_goes_on() -> None:
    broker = Broker(house())
    async with opened(broker, max_packet=10_000) as panel:
        broker.publish(topic(f"{KITCHEN}/name"), "x" * 20_000)
        await trio.sleep(2)
        assert panel.statistics().dropped["too large"] == 1
        with pytest.raises(SpanPanelStaleDataError, match=f"pending device: {ROOT}"):
            _ = panel.snapshot
        assert await panel.ping() == 0.0


# --- one shot ---------------------------------------------------------------------------------------------------------


async def test_fetching_is_opening_for_one_snapshot() -> None:
    broker = Broker(house())
    with trio.testing.assert_checkpoints():
        snapshot = await fetch_snapshot("panel", credentials=CREDENTIALS, options=OPTIONS, dialer=broker.dial)
    assert power(snapshot) == 150.5
    assert broker.connection.said_goodbye
    assert broker.connection.closed


async def test_fetching_raises_what_opening_raises() -> None:
    broker = Broker(connack=5)
    with pytest.raises(SpanPanelAuthError):
        await fetch_snapshot("panel", credentials=CREDENTIALS, options=OPTIONS, dialer=broker.dial)


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
