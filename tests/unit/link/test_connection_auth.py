"""Credentials that are refused: an error at first; later asked for again and again, for as long as the grace."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    SpanCredentials,
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelValidationError,
)
from span_trio.link.session import Link
from tests.unit.link.broker import Broker, Connection, Kind, Packet
from tests.unit.link.certificates import certificates
from tests.unit.link.house import house
from tests.unit.link.keeping import Bench, keeping
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time

OLD = SpanCredentials(ROOT, "me", "the-old-password", access_token="the-token", passphrase="the-passphrase")
NEW = attrs.evolve(OLD, broker_password="the-new-password")
SECRETS = ("the-old-password", "the-new-password", "the-token", "the-passphrase")
WHOLE = f"ebus/5/{ROOT}/#"


def lock(broker: Broker, password: str) -> None:
    """From now on only this password is accepted."""

    def connect(connection: Connection, packet: Packet) -> None:
        broker.connack = 0 if packet.texts[-1] == password else 4
        connection.answer(packet)

    broker.instead[Kind.CONNECT] = connect


def refuse(broker: Broker, how: str) -> None:
    """Refuse the login, or the subscription; or nothing any more."""
    broker.connack = 5 if how == "login" else 0
    broker.refused = {WHOLE} if how == "subscription" else set()


HOWS = pytest.mark.parametrize("how", ["login", "subscription"])


# --- before the panel was live ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [4, 5])
async def test_a_login_refused_at_first_is_an_error_at_once(code: int) -> None:
    async with keeping(Broker(house(), connack=code), live=False) as bench:
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelAuthError
        assert (len(bench.dials), bench.asks, bench.ended_at) == (1, [], 0.0)


async def test_a_subscription_refused_at_first_is_an_error_at_once() -> None:
    async with keeping(Broker(house(), refused=[WHOLE]), live=False) as bench:
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelAuthError
        assert ROOT in str(bench.failure)
        assert (len(bench.dials), bench.asks, bench.ended_at) == (1, [], 0.0)


@HOWS
async def test_what_is_refused_before_the_panel_was_ever_live_is_an_error_whatever_the_grace(how: str) -> None:
    broker = Broker(house({"$state": "init"}))
    async with keeping(broker, live=False) as bench:
        await trio.sleep(10)
        refuse(broker, how)
        broker.connection.hang_up()
        await bench.until(lambda: bench.failure)
        assert type(bench.failure) is SpanPanelAuthError
        assert bench.asks == []


@pytest.mark.parametrize("code", [1, 2, 3, 99])
async def test_another_refusal_is_no_matter_of_credentials(code: int) -> None:
    broker = Broker(house())
    async with keeping(broker, auth_grace=10) as bench:
        broker.connack = code
        await bench.hang_up()
        await trio.sleep(100)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.UNREACHABLE
        assert bench.asks == []
        broker.connack = 0
        await bench.until(lambda: bench.live)
    async with keeping(Broker(connack=code), live=False) as first:
        await first.until(lambda: first.failure)
        assert type(first.failure) is SpanPanelConnectionError


# --- later ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@HOWS
async def test_a_panel_that_refuses_for_a_while_is_waited_for(how: str) -> None:
    broker = Broker(house())
    async with keeping(broker) as bench:
        refuse(broker, how)
        await bench.hang_up()
        await trio.sleep(890)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.REFUSED
        refuse(broker, "nothing")
        await bench.until(lambda: bench.live, 8.2)
        assert [edge.online for edge in bench.edges] == [True, False, True]


@pytest.mark.slow
@HOWS
@pytest.mark.parametrize("grace", [0.0, 60.0, 900.0])
async def test_a_panel_that_refuses_for_longer_than_the_grace_ends_it_with_one_error(how: str, grace: float) -> None:
    broker = Broker(house())
    async with keeping(broker, auth_grace=grace) as bench:
        await trio.sleep(100)
        refuse(broker, how)
        await bench.hang_up()
        await bench.until(lambda: bench.failure, 1000)
        assert type(bench.failure) is SpanPanelAuthError
        assert 100 + grace <= bench.ended_at <= 100 + grace + 8.2


async def test_the_source_is_asked_after_every_refusal() -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD) as bench:
        lock(broker, "the-new-password")
        await bench.hang_up()
        await trio.sleep(60)
        assert len(bench.asks) == len(bench.dials) - 1 > 9
        bench.given = NEW
        # The next attempt is made with what the source gave before it; the one behind it, soon.
        await bench.until(lambda: bench.live, 8.3)
        assert broker.connection.received[0].texts[1:] == ["me", "the-new-password"]


async def test_a_source_that_is_right_already_costs_one_more_attempt() -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD) as bench:
        await trio.sleep(10)
        bench.given = NEW
        lock(broker, "the-new-password")
        await bench.hang_up()
        await bench.until(lambda: bench.live, 0.3)
        assert len(bench.asks) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SpanPanelValidationError("span.json does not exist any more"), "span.json does not exist any more"),
        (SpanPanelError("no such luck"), "no such luck"),
        (ZeroDivisionError("the-old-password"), "their source raises ZeroDivisionError"),
        (ExceptionGroup("the-old-password", [OSError("the-old-password")]), "their source raises OSError"),
    ],
    ids=repr,
)
async def test_a_source_that_raises_is_told_and_what_we_have_is_tried_on(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD) as bench:
        bench.given = error
        lock(broker, "none")
        await bench.hang_up()
        await trio.sleep(300)
        assert len(bench.asks) > 30
        [message] = [message for message in caplog.messages if "cannot be had anew" in message]
        assert told in message
        assert "the-old-password" not in caplog.text
        lock(broker, "the-old-password")
        await bench.until(lambda: bench.live)
    assert bench.failure is None


async def test_a_source_that_hangs_does_not_keep_the_rest_from_going_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD, auth_grace=100) as bench:
        monkeypatch.setattr(bench.connection, "_ask", trio.sleep_forever)
        lock(broker, "none")
        await bench.hang_up()
        await bench.until(lambda: bench.failure, 120)
        assert type(bench.failure) is SpanPanelAuthError
        assert len(bench.dials) > 5
        assert sum("does not answer" in message for message in caplog.messages) == 1


async def test_credentials_of_another_panel_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD) as bench:
        bench.given = attrs.evolve(NEW, serial_number="nt-9999-zzzzz", ca_pem=certificates().ca_pem)
        lock(broker, "the-new-password")
        await bench.hang_up()
        await trio.sleep(60)
        assert not bench.live
        assert sum("another panel" in message for message in caplog.messages) == 1
        used = {connection.received[0].texts[-1] for connection in broker.connections}
        assert used == {"the-old-password"}
        bench.given = attrs.evolve(NEW, serial_number=None)  # of whom it is not said
        await bench.until(lambda: bench.live)


async def test_credentials_that_cannot_be_sent_are_refused_until_there_are_others() -> None:
    broker = Broker(house())
    async with keeping(broker, credentials=OLD) as bench:
        bench.given = attrs.evolve(NEW, broker_password="\ud800")
        lock(broker, "the-new-password")
        await bench.hang_up()
        await trio.sleep(60)
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.REFUSED
        bench.given = NEW
        await bench.until(lambda: bench.live)


async def test_a_password_that_was_replaced_is_used_again_only_if_it_is_made_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker(house())

    def become(credentials: SpanCredentials) -> Callable[[SpanCredentials], Awaitable[SpanCredentials]]:
        async def make(_before: SpanCredentials) -> SpanCredentials:
            await trio.lowlevel.checkpoint()
            return credentials

        return make

    async with keeping(broker, credentials=OLD) as bench:
        assert await bench.connection.replace(become(NEW)) is NEW
        bench.given = OLD
        lock(broker, "another")
        await bench.hang_up()
        await trio.sleep(30)
        assert "before the passphrase was changed" in caplog.text
        lock(broker, "the-new-password")
        await bench.until(lambda: bench.live)
        await trio.sleep(10)  # so that the log hears of the next outage, too
        caplog.clear()
        await bench.connection.replace(become(OLD))
        lock(broker, "another")
        await bench.hang_up()
        await trio.sleep(30)
        assert "before the passphrase was changed" not in caplog.text
        lock(broker, "the-old-password")
        await bench.until(lambda: bench.live)


# --- intermittent refusals --------------------------------------------------------------------------------------------


async def test_a_session_in_between_begins_the_grace_anew() -> None:
    broker = Broker(house())
    async with keeping(broker, auth_grace=60) as bench:
        for _ in range(5):
            refuse(broker, "login")
            await bench.hang_up()
            await trio.sleep(50)
            refuse(broker, "nothing")
            await bench.until(lambda: bench.live)
            await trio.sleep(10)
        assert bench.failure is None


async def test_an_outage_in_between_begins_the_grace_anew() -> None:
    """A panel that was refused when it went down, and is again while it boots, has not refused all the time."""
    broker = Broker(house())
    async with keeping(broker, auth_grace=60) as bench:
        refuse(broker, "login")
        await bench.hang_up()
        await trio.sleep(30)
        bench.fault = SpanPanelConnectionError("refused")
        await trio.sleep(300)
        bench.fault = None
        await trio.sleep(50)
        assert bench.failure is None
        assert bench.obstacle is not None
        assert bench.obstacle.reason is ConnectionReason.REFUSED
        refuse(broker, "nothing")
        await bench.until(lambda: bench.live)


async def test_a_subscription_refused_in_mid_session_has_the_whole_grace() -> None:
    """Though the login was refused, once, long before."""
    broker = Broker(house())
    async with keeping(broker, auth_grace=60) as bench:
        refuse(broker, "login")
        await bench.hang_up()
        await trio.sleep(10)
        refuse(broker, "nothing")
        await bench.until(lambda: bench.live)
        await trio.sleep(3600)
        link = bench.accumulator.link
        assert isinstance(link, Link)
        link._lose(ConnectionReason.REFUSED, "the broker refuses the subscription")
        refuse(broker, "subscription")
        await trio.sleep(30)
        assert bench.failure is None
        refuse(broker, "nothing")
        await bench.until(lambda: bench.live)


# --- secrets ----------------------------------------------------------------------------------------------------------


def texts(error: BaseException | None) -> str:
    """All that an error and what is behind it say."""
    return "" if error is None else f"{error!r}{error}{texts(error.__cause__)}{texts(error.__context__)}"


async def test_no_secret_is_in_the_log_nor_in_an_error_nor_in_an_edge(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broker = Broker(house())

    def told(bench: Bench) -> str:
        return f"{caplog.text}{bench.edges}{bench.obstacle}{texts(bench.failure)}{bench.connection!r}"

    async with keeping(broker, credentials=OLD, auth_grace=60) as bench:
        lock(broker, "another")
        await bench.hang_up()
        for given in (NEW, attrs.evolve(NEW, serial_number="nt-1"), OSError("no"), attrs.evolve(NEW, ca_pem="no PEM")):
            bench.given = given
            await trio.sleep(10)
            assert not [secret for secret in SECRETS if secret in told(bench)]
        await bench.until(lambda: bench.failure)
        assert not [secret for secret in SECRETS if secret in told(bench)]
