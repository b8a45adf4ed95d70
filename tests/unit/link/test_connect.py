"""From credentials to a session within one limit, and asking a broker which panel it carries."""

from __future__ import annotations

import ssl
from importlib import import_module

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
from span_trio.link import Link, connect, find_serial
from span_trio.link.session import LinkEvent
from span_trio.mqtt import Codec
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.certificates import certificates
from tests.unit.link.house import CREDENTIALS, OPTIONS, SteppingCancel, house, run, topic
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time


async def linked(broker: Broker, credentials: SpanCredentials = CREDENTIALS, **options: float) -> Link:
    """A link to the broker."""
    return await connect("panel", credentials, PanelOptions(transport="mqtt", **options), None, broker.dial)  # type: ignore[arg-type]


async def leave(link: Link) -> None:
    """Close a link."""
    send, _ = trio.open_memory_channel[list[LinkEvent]](1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.run(send)


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
        link = await linked(broker, credentials)
    assert broker.connection.received[0].texts[1:] == login
    await leave(link)
    assert broker.connection.said_goodbye


async def test_every_connection_has_its_own_client_id() -> None:
    broker = Broker()
    for _ in range(3):
        await leave(await linked(broker))
    ids = {connection.received[0].texts[0] for connection in broker.connections}
    assert len(ids) == 3
    assert all(each.startswith("span-trio-") and len(each) <= 32 for each in ids)


async def test_the_keepalive_is_told_to_the_broker() -> None:
    broker = Broker()
    await leave(await linked(broker, keepalive=30))
    assert broker.connection.received[0].body[8:10] == (30).to_bytes(2, "big")


@pytest.mark.parametrize("encrypted", [False, True])
async def test_the_port_is_that_of_the_transport(encrypted: bool) -> None:
    broker = Broker()
    tls = certificates().client if encrypted else None
    options = PanelOptions(mqtt_port=11, mqtts_port=22)
    await leave(await connect("panel", CREDENTIALS, options, tls, broker.dial))
    assert broker.dialled == [("panel", 22 if encrypted else 11, tls)]


async def test_without_a_dialer_it_dials_with_the_step_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    told: list[float] = []

    async def dial(host: str, port: int, tls: ssl.SSLContext | None, *, step_timeout: float) -> trio.abc.Stream:
        told.append(step_timeout)
        return await broker.dial(host, port, tls)

    monkeypatch.setattr(import_module("span_trio.link.connect"), "dial", dial)
    await leave(await connect("panel", CREDENTIALS, PanelOptions(step_timeout=1.25), None))
    assert told == [1.25]


async def test_a_dialer_that_does_not_come_back_costs_the_connect_timeout() -> None:
    with pytest.raises(SpanPanelConnectionError, match=r"^no connection to panel:1883 within 8 s$"):
        await linked(Broker(takes=100))
    assert trio.current_time() == 8.0


async def test_a_login_that_begins_late_has_what_is_left_of_the_connect_timeout() -> None:
    broker = Broker(instead={Kind.CONNECT: nothing}, takes=7)
    with pytest.raises(SpanPanelConnectionError, match="within 8 s"):
        await linked(broker)
    assert trio.current_time() == 8.0
    assert broker.connection.closed


async def test_a_refused_login_is_an_auth_error() -> None:
    with pytest.raises(SpanPanelAuthError):
        await linked(Broker(connack=4))


async def test_credentials_that_are_no_text_are_refused_before_anything_is_dialled() -> None:
    broker = Broker()
    with pytest.raises(SpanPanelValidationError):
        await linked(broker, SpanCredentials(serial_number=ROOT, broker_password="\ud800"))
    assert broker.connections == []


@pytest.mark.parametrize("long", ["broker_username", "broker_password"])
async def test_credentials_that_are_too_long_are_refused_before_anything_is_dialled(long: str) -> None:
    broker = Broker()
    with pytest.raises(SpanPanelValidationError):
        await linked(broker, SpanCredentials(**{"serial_number": ROOT, "broker_password": "x", long: "x" * 65_536}))
    assert broker.connections == []


def test_cancelling_at_any_step_closes_the_stream() -> None:
    async def main(canceller: SteppingCancel, broker: Broker) -> bool:
        with canceller.cancelling() as scope:
            await leave(await linked(broker))
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
            return await find_serial(await linked(broker), OPTIONS)
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
    with pytest.raises(SpanPanelConnectionError, match="the peer closed the link"):
        await serial_on(broker)


async def test_a_message_too_large_is_passed_over() -> None:
    broker = Broker({topic("$description", "zeppelin"): bytes(9000), **house()})
    link = await connect("panel", CREDENTIALS, PanelOptions(max_packet=8000), None, broker.dial)
    assert await find_serial(link, OPTIONS) == ROOT


async def test_a_bug_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ZeroDivisionError("a bug")

    def receive(_codec: Codec, _data: bytes) -> list[Message]:
        raise bug

    broker = Broker(house())
    link = await linked(broker)
    monkeypatch.setattr(Codec, "receive", receive)
    with pytest.raises(SpanPanelInternalError) as caught:
        await find_serial(link, OPTIONS)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.subgroup(lambda error: error is bug) is not None
    assert broker.connection.closed


def test_cancelling_the_question_at_any_step_closes_with_a_goodbye() -> None:
    async def main(canceller: SteppingCancel, broker: Broker) -> bool:
        before = trio.lowlevel.current_statistics().tasks_living
        link = await linked(broker)
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
