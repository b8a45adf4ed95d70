"""From credentials to a session within one limit, and asking a broker which panel it carries."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator

import pytest
import trio

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanelAuthError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelValidationError,
)
from span_trio.homie import Message
from span_trio.link import Link, find_serial, open_link
from span_trio.link import connect as connect_module
from span_trio.link.connect import broker_port
from span_trio.link.events import LinkEvent
from span_trio.mqtt import Codec
from span_trio.options import Transport
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.certificates import certificates
from tests.unit.link.house import CREDENTIALS, OPTIONS, SteppingCancel, house, run, topic
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time


@contextlib.asynccontextmanager
async def linked(
    broker: Broker, credentials: SpanCredentials = CREDENTIALS, **options: float
) -> AsyncGenerator[Link, None]:
    """A link to the broker, closed behind the block."""
    some = PanelOptions(transport="mqtt", **options)  # type: ignore[arg-type]
    async with open_link("panel", credentials, some, None, broker.dial) as link:
        yield link


async def leave(link: Link) -> None:
    """End a session in order."""
    send, _ = trio.open_memory_channel[list[LinkEvent]](1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.run(send)


async def come_and_go(broker: Broker, credentials: SpanCredentials = CREDENTIALS, **options: float) -> None:
    """A session in which nothing is done."""
    async with linked(broker, credentials, **options) as link:
        await leave(link)


# --- connect ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "login"),
    [
        (SpanCredentials(serial_number=ROOT), []),
        (SpanCredentials(serial_number=ROOT, broker_password="secret"), [ROOT, "secret"]),
        (SpanCredentials(serial_number=ROOT, broker_username="me", broker_password="secret"), ["me", "secret"]),
        (SpanCredentials(broker_username="me"), ["me"]),
    ],
)
async def test_it_logs_in_with_the_credentials(credentials: SpanCredentials, login: list[str]) -> None:
    broker = Broker()
    with trio.testing.assert_checkpoints():
        await come_and_go(broker, credentials)
    assert broker.connection.received[0].texts[1:] == login
    assert broker.connection.said_goodbye


async def test_a_link_that_is_not_run_is_closed_behind_the_block() -> None:
    broker = Broker()
    async with linked(broker):
        assert not broker.connection.closed
    assert broker.connection.closed


@pytest.mark.parametrize("error", [ValueError("the block's"), KeyboardInterrupt(), OSError("the block's")], ids=repr)
async def test_what_the_block_raises_comes_out_and_the_stream_is_closed(error: BaseException) -> None:
    broker = Broker()
    with pytest.raises(type(error)) as caught:
        async with linked(broker):
            raise error
    assert caught.value is error
    assert broker.connection.closed


async def test_the_limit_is_for_connecting_and_not_for_the_session() -> None:
    async with linked(Broker()):
        await trio.sleep(1000)


async def test_every_connection_has_its_own_client_id() -> None:
    broker = Broker()
    for _ in range(3):
        await come_and_go(broker)
    ids = {connection.received[0].texts[0] for connection in broker.connections}
    assert len(ids) == 3
    assert all(each.startswith("span-trio-") and len(each) <= 32 for each in ids)


async def test_the_keepalive_is_told_to_the_broker() -> None:
    broker = Broker()
    await come_and_go(broker, keepalive=30)
    assert broker.connection.received[0].body[8:10] == (30).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("transport", "told", "given", "usual"),
    [("mqtt", 1883, 11, 1883), ("mqtts", 2, 12, 8883), ("ws", 3, 13, 9001), ("wss", 4, 14, 9002)],
)
def test_the_port_is_that_of_the_options_or_as_the_panel_told_or_the_usual(
    transport: Transport, told: int, given: int, usual: int
) -> None:
    credentials = SpanCredentials(mqtts_port=2, ws_port=3, wss_port=4)
    all_given = PanelOptions(transport=transport, mqtt_port=11, mqtts_port=12, ws_port=13, wss_port=14)
    assert broker_port(credentials, all_given) == given
    assert broker_port(credentials, PanelOptions(transport=transport)) == told
    assert broker_port(SpanCredentials(), PanelOptions(transport=transport)) == usual


@pytest.mark.parametrize("encrypted", [False, True])
async def test_the_dialer_gets_host_port_and_whom_to_trust(encrypted: bool) -> None:
    broker = Broker()
    tls = certificates().client if encrypted else None
    options = PanelOptions(transport="mqtts" if encrypted else "mqtt", mqtt_port=11, mqtts_port=22)
    async with open_link("panel", CREDENTIALS, options, tls, broker.dial):
        assert broker.dialled == [("panel", 22 if encrypted else 11, tls)]


@pytest.mark.parametrize("error", [OSError("no tunnel"), trio.BrokenResourceError("no tunnel")], ids=repr)
async def test_what_a_dialer_of_the_user_s_raises_is_told(error: Exception) -> None:
    async def dial(*_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(SpanPanelConnectionError, match=r"^connecting to panel:1883 failed: no tunnel$") as caught:
        async with open_link("panel", CREDENTIALS, OPTIONS, None, dial):
            raise AssertionError
    assert caught.value.__cause__ is error


async def test_without_a_dialer_it_dials_with_the_step_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    told: list[float] = []

    async def dial(host: str, port: int, tls: ssl.SSLContext | None, *, step_timeout: float) -> trio.abc.Stream:
        told.append(step_timeout)
        return await broker.dial(host, port, tls)

    monkeypatch.setattr(connect_module, "dial", dial)
    async with open_link("panel", CREDENTIALS, PanelOptions(step_timeout=1.25), None):
        pass
    assert told == [1.25]


async def test_a_dialer_that_does_not_come_back_costs_the_connect_timeout() -> None:
    with pytest.raises(SpanPanelConnectionError, match=r"^no connection to panel:1883 within 8 s$") as caught:
        await come_and_go(Broker(takes=100))
    assert not caught.value.answered
    assert trio.current_time() == 8.0


async def test_a_login_that_begins_late_has_what_is_left_of_the_connect_timeout() -> None:
    broker = Broker(instead={Kind.CONNECT: nothing}, takes=7)
    with pytest.raises(SpanPanelConnectionError, match="within 8 s"):
        await come_and_go(broker)
    assert trio.current_time() == 8.0
    assert broker.connection.closed


async def test_a_refused_login_is_an_auth_error() -> None:
    with pytest.raises(SpanPanelAuthError):
        await come_and_go(Broker(connack=4))


async def test_credentials_that_are_no_text_are_refused_before_anything_is_dialled() -> None:
    broker = Broker()
    with pytest.raises(SpanPanelValidationError):
        await come_and_go(broker, SpanCredentials(serial_number=ROOT, broker_password="\ud800"))
    assert broker.connections == []


@pytest.mark.parametrize("long", ["broker_username", "broker_password"])
async def test_credentials_that_are_too_long_are_refused_before_anything_is_dialled(long: str) -> None:
    broker = Broker()
    with pytest.raises(SpanPanelValidationError):
        await come_and_go(
            broker, SpanCredentials(**{"serial_number": ROOT, "broker_password": "x", long: "x" * 65_536})
        )
    assert broker.connections == []


@pytest.mark.slow
def test_cancelling_at_any_step_closes_the_stream() -> None:
    async def main(canceller: SteppingCancel, broker: Broker) -> bool:
        with canceller.cancelling() as scope:
            await come_and_go(broker)
        return scope.cancelled_caught

    for step in range(1, 200):
        canceller, broker = SteppingCancel(step), Broker(sip=1)
        cancelled = run(main, canceller, broker, instruments=[canceller])
        assert all(connection.closed for connection in broker.connections)
        if not cancelled:
            break
    assert step > 10
    assert broker.connection.said_goodbye


# --- which panel ------------------------------------------------------------------------------------------------------


async def serial_on(broker: Broker) -> str:
    """Ask the broker."""
    try:
        with trio.testing.assert_checkpoints():
            async with linked(broker) as link:
                return await find_serial(link, OPTIONS)
    finally:
        assert broker.connection.closed


OTHER = {name.replace(ROOT, "nt-9999-zzzzz"): payload for name, payload in house().items()}
STRANGER = {topic("$state", "lamp"): b"ready", topic("$description", "lamp"): b'{"homie": "5.0", "nodes": {}}'}
BARE = '{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'


@pytest.mark.parametrize(
    "retained",
    [
        house(),
        {**STRANGER, **house()},
        house({"$state": "init"}),
        house({"$state": None}),
        house({"$description": BARE}),
    ],
    ids=["alone", "with a stranger", "in init", "without a state", "barely described"],
)
async def test_the_one_panel_on_a_broker_is_found(retained: dict[str, bytes]) -> None:
    broker = Broker(retained)
    assert await serial_on(broker) == ROOT
    assert broker.connection.said_goodbye
    [subscribe] = broker.connection.of(Kind.SUBSCRIBE)
    assert subscribe.texts == ["ebus/5/+/$state", "ebus/5/+/$description"]


@pytest.mark.parametrize("retained", [{}, STRANGER, house({"$description": "{"}), house({"$description": None})])
async def test_a_broker_without_a_panel_is_told(retained: dict[str, bytes]) -> None:
    with pytest.raises(SpanPanelConnectionError, match="no SPAN panel under ebus/5/"):
        await serial_on(Broker(retained))


async def test_of_several_panels_one_must_be_named() -> None:
    with pytest.raises(SpanPanelValidationError, match=f"several panels, say which: {ROOT}, nt-9999-zzzzz"):
        await serial_on(Broker({**OTHER, **house()}))


async def test_a_broker_that_shows_no_barrier_is_believed_when_it_is_quiet() -> None:
    assert await serial_on(Broker(house(), instead={Kind.PINGREQ: nothing})) == ROOT
    assert trio.current_time() < 2.5


async def test_a_refused_question_is_an_auth_error() -> None:
    with pytest.raises(SpanPanelAuthError, match="refuses"):
        await serial_on(Broker(house(), refused=["ebus/5/+/$state"]))


@pytest.mark.parametrize("said", range(0, 2000, 99))
async def test_a_link_that_is_lost_meanwhile_says_how(said: int) -> None:
    broker = Broker(house(), ends_at=4 + said)
    with pytest.raises(SpanPanelConnectionError, match="the link was lost: the peer closed it"):
        await serial_on(broker)


async def test_a_message_too_large_is_passed_over() -> None:
    broker = Broker({topic("$description", "zeppelin"): bytes(9000), **house()})
    async with open_link("panel", CREDENTIALS, PanelOptions(max_packet=8000), None, broker.dial) as link:
        assert await find_serial(link, OPTIONS) == ROOT


async def test_a_bug_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ZeroDivisionError("a bug")

    def receive(_codec: Codec, _data: bytes) -> list[Message]:
        raise bug

    broker = Broker(house())
    async with linked(broker) as link:
        monkeypatch.setattr(Codec, "receive", receive)
        with pytest.raises(SpanPanelInternalError) as caught:
            await find_serial(link, OPTIONS)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.subgroup(lambda error: error is bug) is not None
    assert broker.connection.closed


@pytest.mark.slow
def test_cancelling_the_question_at_any_step_closes_with_a_goodbye() -> None:
    async def main(canceller: SteppingCancel, broker: Broker) -> bool:
        before = trio.lowlevel.current_statistics().tasks_living
        async with linked(broker) as link:
            with canceller.cancelling() as scope:
                await find_serial(link, OPTIONS)
        assert trio.lowlevel.current_statistics().tasks_living == before
        return scope.cancelled_caught

    for step in range(1, 200):
        canceller, broker = SteppingCancel(step), Broker(house(), sip=1)
        cancelled = run(main, canceller, broker, instruments=[canceller])
        assert broker.connection.closed
        assert broker.connection.said_goodbye
        if not cancelled:
            break
    assert step > 10
