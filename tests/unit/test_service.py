"""How an open panel ends, whoever ends it (I11, I12; section by section: the body, the outside, the panel, a bug)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, NoReturn

import pytest
import trio

from span_trio import (
    HomieSchema,
    SpanPanel,
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelServerError,
    SpanPanelSnapshot,
    SpanPanelTimeoutError,
    fetch_snapshot,
)
from span_trio import service as service_module
from span_trio.accumulate import PanelAccumulator
from span_trio.broadcast import LatestReader
from span_trio.link import Link
from span_trio.mqtt import Codec
from span_trio.service import PanelService
from span_trio.tracker import PanelTracker
from tests.unit.link.broker import Broker, Connection, Kind, nothing
from tests.unit.link.house import CREDENTIALS, OPTIONS, SteppingCancel, house, opened, raised, run, topic
from tests.unit.mqtt import packets
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

BARE = '{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'
UNSIZED = house({"$description": BARE, "core/model": None})
"""A house that does not tell its panel's size."""


@contextlib.asynccontextmanager
async def nothing_left(broker: Broker) -> AsyncGenerator[None, None]:
    """After the block there is no task more than before, and no stream open."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert all(connection.closed for connection in broker.connections)


# --- the body ends it -------------------------------------------------------------------------------------------------


async def test_i11_a_body_that_ends_closes_with_a_goodbye() -> None:
    broker = Broker(house())
    async with nothing_left(broker), opened(broker) as panel:
        assert panel.live
    assert broker.connection.said_goodbye


ERRORS: list[BaseException] = [
    ValueError("the body's"),
    ExceptionGroup("the body's", [ValueError(), ExceptionGroup("inner", [OSError()])]),
    BaseExceptionGroup("the body's", [KeyboardInterrupt()]),
    StopAsyncIteration("the body's"),
    KeyboardInterrupt(),
    SystemExit(3),
    SpanPanelConnectionError("of another panel"),
    trio.TooSlowError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("context", [None, OSError("before"), KeyError("the cause")], ids=repr)
async def test_i12_an_error_of_the_body_comes_out_as_it_is(error: BaseException, context: Exception | None) -> None:
    broker = Broker(house())
    error.__context__ = error.__cause__ = None

    async def body(_: SpanPanel) -> None:
        if context is None:
            raise error
        try:
            raise context
        except OSError:
            raise error  # noqa: B904 - with a context and no cause
        except KeyError as cause:
            raise error from cause

    async with nothing_left(broker):
        assert await raised(broker, body) is error
    assert error.__context__ is context
    assert error.__cause__ is (context if isinstance(context, KeyError) else None)
    assert not hasattr(error, "__notes__")
    assert broker.connection.said_goodbye


@pytest.mark.parametrize("closing", [0.0, 1.0], ids=["hangs up at once", "does not hang up"])
async def test_i12_an_error_of_a_body_that_was_cancelled_too_comes_out_as_it_is(closing: float) -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing} if closing else None)
    error = ValueError("the body's")
    scope = trio.CancelScope()

    async def body(_: SpanPanel) -> None:
        scope.cancel()
        raise error

    async with nothing_left(broker):
        with scope:
            assert await raised(broker, body) is error
    assert error.__context__ is None
    assert trio.current_time() == closing


async def test_i12_a_cancellation_within_the_body_is_its_own_business() -> None:
    broker = Broker(house())
    async with nothing_left(broker), opened(broker) as panel:
        with trio.move_on_after(1) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert panel.live


@pytest.mark.parametrize("grace", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("how", ["does not read", "does not hang up"])
async def test_i11_closing_takes_the_grace_at_most(how: str, grace: float) -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing})
    async with nothing_left(broker), opened(broker, close_grace=grace):
        if how == "does not read":
            broker.connection.freeze()
    assert trio.current_time() == grace


# --- somebody outside ends it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [Kind.CONNECT, Kind.SUBSCRIBE, Kind.PINGREQ])
async def test_i11_cancelled_from_outside_before_it_is_ready(step: Kind) -> None:
    broker = Broker(house(), instead={step: nothing})
    async with nothing_left(broker):
        with trio.move_on_after(1) as scope:
            async with opened(broker):
                raise AssertionError
        assert scope.cancelled_caught
    assert trio.current_time() == 1.0
    assert broker.connection.said_goodbye == (step is not Kind.CONNECT)


async def test_i11_cancelled_from_outside_the_panel_outlives_the_finally_of_the_body() -> None:
    broker = Broker(house())
    powers: list[float | None] = []
    async with nothing_left(broker):
        with trio.move_on_after(1) as scope:
            async with opened(broker) as panel:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        broker.publish(topic(f"{KITCHEN}/active-power"), "-77")
                        await trio.sleep(20)
                        powers.append(panel.snapshot.circuits[KITCHEN].instant_power_w)
                        powers.append(await panel.ping())
                        async for snapshot in panel.snapshots():
                            powers.append(snapshot.circuits[KITCHEN].instant_power_w)
                            break
        assert scope.cancelled_caught
    assert powers == [77.0, 0.0, 77.0]
    assert trio.current_time() == 21.0
    assert broker.connection.said_goodbye


def test_i11_cancelled_at_any_step_it_leaves_nothing_and_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first step of connecting to the last of closing, with a broker that reads single bytes."""
    logins: list[Link] = []
    start = Link.start

    async def recorded(*args: Any, **options: Any) -> Link:
        link = await start(*args, **options)
        logins.append(link)
        return link

    monkeypatch.setattr(Link, "start", recorded)

    async def main(canceller: SteppingCancel, broker: Broker) -> bool:
        async with nothing_left(broker):
            with canceller.cancelling() as scope:
                async with opened(broker) as panel:
                    await panel.ping()
                    broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
                    snapshots = panel.snapshots()
                    while (await anext(snapshots)).circuits[KITCHEN].relay_state != "OPEN":
                        pass
                    await trio.sleep(10)
            return scope.cancelled_caught

    for step in range(1, 1000):
        logins.clear()
        canceller, broker = SteppingCancel(step), Broker(house(), sip=3)
        cancelled = run(main, canceller, broker, instruments=[canceller])
        if logins:
            assert broker.connection.said_goodbye, step
        if not cancelled:
            break
    assert 80 < step < 999


# --- it is not ready in time ------------------------------------------------------------------------------------------

NOT_READY: dict[str, tuple[dict[str, bytes], str]] = {
    "no $state": (house({"$state": None}), f"$state of {ROOT}"),
    "$state init": (house({"$state": "init"}), f"$state of {ROOT} is 'init', not 'ready'"),
    "$state lost": (house({"$state": "lost"}), f"$state of {ROOT} is 'lost', not 'ready'"),
    "no $description": (house({"$description": None}), f"$description of {ROOT}"),
    "a malformed $description": (house({"$description": "{"}), f"$description of {ROOT} (malformed: "),
    "nothing": ({}, f"$state of {ROOT}"),
}


@pytest.mark.parametrize(("retained", "missing"), NOT_READY.values(), ids=NOT_READY)
async def test_a_panel_that_is_not_ready_in_time_is_told_with_what_is_missing(
    retained: dict[str, bytes], missing: str
) -> None:
    broker = Broker(retained)
    async with nothing_left(broker):
        error = await raised(broker, ready_timeout=20)
    assert isinstance(error, SpanPanelTimeoutError)
    assert str(error).startswith("the panel at panel is not ready in time; missing: ")
    assert any(each.startswith(missing) for each in error.missing)
    assert all(each in str(error) for each in error.missing)
    assert trio.current_time() == 20.0
    assert broker.connection.said_goodbye


async def test_what_is_missing_may_be_a_child() -> None:
    error = await raised(Broker(house(children=["car"]), takes=7), ready_timeout=10)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing == ("$description of car",)
    assert trio.current_time() == 10.0


async def test_what_is_missing_may_be_the_end_of_the_replay() -> None:
    broker = Broker(house(), instead={Kind.PINGREQ: nothing})
    error = await raised(broker, ready_timeout=1)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing[0] == f"the end of the replay of {ROOT}"


async def test_what_is_missing_may_be_a_connection() -> None:
    broker = Broker(instead={Kind.CONNECT: nothing})
    async with nothing_left(broker):
        error = await raised(broker, ready_timeout=2)
    assert isinstance(error, SpanPanelTimeoutError)
    assert error.missing == ("a connection",)
    assert trio.current_time() == 2.0


async def test_ready_is_when_there_is_a_current_snapshot_not_when_there_was_one() -> None:
    snapshot = await fetch_snapshot("panel", credentials=CREDENTIALS, options=OPTIONS, dialer=Broker(house()).dial)
    service = PanelService("panel", PanelAccumulator(PanelTracker(ROOT, OPTIONS)), OPTIONS, None)
    cell = service.accumulator.cell
    ready = trio.Event()

    async def wait() -> None:
        await service.wait_ready()
        assert cell.value is snapshot
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        cell.publish(snapshot)
        cell.clear()  # before anybody ran
        await trio.testing.wait_all_tasks_blocked()
        assert not ready.is_set()
        cell.publish(snapshot)


# --- the panel ends it ------------------------------------------------------------------------------------------------


def reset(connection: Connection) -> None:
    connection.hang_up()


def babble(connection: Connection) -> None:
    connection.say(packets.packet(0x00))


@pytest.mark.parametrize("end", [reset, babble])
@pytest.mark.parametrize("step", [Kind.CONNECT, Kind.SUBSCRIBE, Kind.PINGREQ])
async def test_i12_a_failure_before_it_is_ready_is_one_error(step: Kind, end: Callable[[Connection], None]) -> None:
    broker = Broker(house(), instead={step: lambda connection, _: end(connection)})
    async with nothing_left(broker):
        assert type(await raised(broker)) is SpanPanelConnectionError
    assert trio.current_time() == 0.0


async def test_i12_a_refused_subscription_is_an_auth_error() -> None:
    broker = Broker(house(), refused=[f"ebus/5/{ROOT}/#"])
    async with nothing_left(broker):
        error = await raised(broker)
    assert type(error) is SpanPanelAuthError
    assert ROOT in str(error)
    assert broker.connection.said_goodbye


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (reset, "the link was lost: the peer closed the link"),
        (babble, "the link was lost: protocol error: "),
    ],
)
async def test_i12_a_link_lost_in_the_body_cancels_it_and_is_one_error(
    end: Callable[[Connection], None], why: str
) -> None:
    broker = Broker(house())
    cancelled = 0

    async def body(panel: SpanPanel) -> None:
        nonlocal cancelled
        end(broker.connection)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled += 1
            assert not panel.live
            raise

    async with nothing_left(broker):
        error = await raised(broker, body)
    assert type(error) is SpanPanelConnectionError
    assert str(error).startswith(why)
    assert cancelled == 1
    assert error.__cause__ is None
    assert error.__suppress_context__  # the cancellation of the body is no news
    assert trio.current_time() == 0.0
    assert Kind.DISCONNECT not in broker.connection.kinds


async def test_i12_a_peer_that_is_silent_is_a_failure_after_12_s() -> None:
    broker = Broker(house())

    async def body(_: SpanPanel) -> None:
        broker.connection.freeze()
        await trio.sleep_forever()

    error = await raised(broker, body)
    assert type(error) is SpanPanelConnectionError
    assert "silent peer" in str(error)
    assert 12 <= trio.current_time() < 12.2


async def test_i12_a_reader_in_the_body_is_cancelled_not_ended() -> None:
    broker = Broker(house())

    async def body(panel: SpanPanel) -> None:
        async for _ in panel.snapshots():
            broker.connection.hang_up()
        raise AssertionError

    assert type(await raised(broker, body)) is SpanPanelConnectionError


@pytest.mark.parametrize("how", ["in a finally", "instead of the cancellation"])
async def test_i12_of_an_error_of_the_body_and_a_failure_the_body_s_comes_out_with_a_note(how: str) -> None:
    broker = Broker(house())
    error = ValueError("the body's")

    async def body(_: SpanPanel) -> None:
        broker.connection.hang_up()
        try:
            with trio.CancelScope(shield=how != "in a finally"):
                await trio.sleep(5)
        finally:
            raise error

    async with nothing_left(broker):
        assert await raised(broker, body) is error
    assert error.__notes__ == ["meanwhile, the panel failed: the link was lost: the peer closed the link"]
    assert error.__cause__ is None


async def test_i12_a_body_that_ends_all_the_same_still_gets_the_failure() -> None:
    """One that caught the cancellation, or was shielded from it, has to know."""
    broker = Broker(house())

    async def body(_: SpanPanel) -> None:
        broker.connection.hang_up()
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    assert type(await raised(broker, body)) is SpanPanelConnectionError


async def test_i12_a_link_lost_when_the_body_has_ended_is_no_error() -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing})

    async def hang_up() -> None:
        await trio.sleep(0.5)
        broker.connection.hang_up()

    async with trio.open_nursery() as nursery, opened(broker):
        nursery.start_soon(hang_up)
    assert trio.current_time() == 0.5


async def test_i12_a_link_lost_at_the_very_moment_the_body_ends_is_an_error_if_the_body_could_know() -> None:
    outcomes: set[tuple[bool, bool]] = set()
    for steps in [*range(25)] * 4:
        broker, live, failed = Broker(house()), False, False
        try:
            async with opened(broker) as panel:
                broker.connection.hang_up()
                for _ in range(steps):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                live = panel.live
        except SpanPanelConnectionError:
            failed = True
        outcomes.add((live, failed))
    assert outcomes == {(True, False), (False, True)}


# --- a bug ends it ----------------------------------------------------------------------------------------------------

BUGS: list[tuple[type, str]] = [
    (Codec, "receive"),
    (Codec, "take_outgoing"),
    (Codec, "ping"),
    (PanelTracker, "receive"),
    (PanelTracker, "publish"),
    (PanelTracker, "take_edges"),
    (PanelAccumulator, "_take"),
    (Link, "_pong"),
]


def raiser(error: BaseException) -> Callable[..., NoReturn]:
    def bug(*_: object, **__: object) -> NoReturn:
        raise error

    return bug


@pytest.mark.parametrize(("where", "name"), BUGS, ids=lambda each: each if isinstance(each, str) else each.__name__)
@pytest.mark.parametrize("when", ["before it is ready", "in the body"])
async def test_i12_a_bug_is_one_internal_error_with_its_cause(
    where: type, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(house())
    error = ZeroDivisionError("a bug")
    broken = raiser(error)
    subscribe = Link.subscribe

    def then_break(link: Link, *args: Any) -> None:
        subscribe(link, *args)
        monkeypatch.setattr(where, name, broken)

    async def body(_: SpanPanel) -> None:
        assert when == "in the body"
        monkeypatch.setattr(where, name, broken)
        broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
        await trio.sleep(100)

    if when == "before it is ready":
        monkeypatch.setattr(Link, "subscribe", then_break)
    async with nothing_left(broker):
        internal = await raised(broker, body)
    assert type(internal) is SpanPanelInternalError
    assert str(internal) == "a background task of span_trio failed"
    assert isinstance(internal.__cause__, ExceptionGroup)
    assert internal.__cause__.subgroup(lambda each: each is error) is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("when", ["before it is ready", "in the body"])
async def test_i12_control_c_in_a_background_task_comes_out_as_it_is(
    error: BaseException, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(house())

    async def body(_: SpanPanel) -> None:
        assert when == "in the body"
        monkeypatch.setattr(PanelTracker, "receive", raiser(error))
        broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
        await trio.sleep(100)

    if when == "before it is ready":
        monkeypatch.setattr(PanelTracker, "receive", raiser(error))
    async with nothing_left(broker):
        assert await raised(broker, body) is error


# --- after the end ----------------------------------------------------------------------------------------------------


async def test_what_is_held_after_the_end_raises_and_never_just_ends() -> None:
    broker = Broker(house())
    outside: list[str] = []

    async def watch(reader: LatestReader[SpanPanelSnapshot]) -> None:
        try:
            async for _ in reader:
                outside.append("a snapshot")  # noqa: PERF401 - it does not end
        except SpanPanelClosedError:
            outside.append("closed")

    async with trio.open_nursery() as nursery:
        async with opened(broker) as panel:
            held = panel.snapshots()
            nursery.start_soon(watch, panel.snapshots())
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert outside == ["a snapshot", "closed"]
    for reader in (held, panel.snapshots()):
        for _ in range(2):
            with pytest.raises(SpanPanelClosedError):
                await anext(reader)
    with pytest.raises(SpanPanelClosedError):
        _ = panel.snapshot
    with pytest.raises(SpanPanelClosedError):
        await panel.ping()
    assert not panel.live
    assert panel.live_since is None
    assert repr(panel) == f"<SpanPanel {ROOT} at panel: closed>"
    assert panel.statistics().messages == len(house())


# --- the panel's size over REST ---------------------------------------------------------------------------------------


def schema(size: int) -> HomieSchema:
    types = {"energy.ebus.device.circuit": {"space": {"datatype": "integer", "format": f"1:{size}:1"}}}
    return HomieSchema.from_json({"types": types})


class Rest:
    """In place of `get_homie_schema`: answers in turn, an error or a schema each."""

    def __init__(self, *answers: HomieSchema | Exception, takes: float = 0.0) -> None:
        self.calls: list[tuple[float, str, int, object]] = []
        self._answers = list(answers)
        self._takes = takes

    async def __call__(self, host: str, *, port: int, tls: object) -> HomieSchema:
        self.calls.append((trio.current_time(), host, port, tls))
        await trio.sleep(self._takes)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


DOWN = SpanPanelConnectionError("no connection")


def resting(monkeypatch: pytest.MonkeyPatch, *answers: HomieSchema | Exception, takes: float = 0.0) -> Rest:
    rest = Rest(*answers, takes=takes)
    monkeypatch.setattr(service_module, "get_homie_schema", rest)
    return rest


async def test_a_panel_that_tells_its_size_is_asked_nothing_over_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = resting(monkeypatch)
    async with opened(Broker(house())) as panel:
        assert panel.snapshot.panel_size == 32
        await trio.sleep(100)
    assert rest.calls == []


async def test_the_first_snapshot_waits_for_the_first_try_over_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = resting(monkeypatch, schema(40), takes=3)
    async with opened(Broker(UNSIZED), http_port=8080) as panel:
        assert trio.current_time() == 3.0
        assert panel.snapshot.panel_size == 40
        assert (await anext(panel.snapshots())).panel_size == 40
    assert rest.calls == [(0.0, "panel", 8080, None)]


async def test_a_try_that_fails_is_repeated_with_longer_and_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [DOWN, SpanPanelServerError("booting"), SpanPanelAPIError("no schema"), *[DOWN] * 6]
    rest = resting(monkeypatch, *errors, schema(40))
    async with opened(Broker(UNSIZED)) as panel:
        assert trio.current_time() == 0.0
        assert panel.snapshot.panel_size is None
        reader = panel.snapshots()
        assert (await anext(reader)).panel_size is None
        assert (await anext(reader)).panel_size == 40
        assert trio.current_time() == rest.calls[-1][0]
        await trio.sleep(1000)
    assert [time for time, *_ in rest.calls] == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151]


async def test_a_size_that_the_panel_tells_later_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(UNSIZED)
    rest = resting(monkeypatch, *[DOWN] * 3)
    async with opened(broker) as panel:
        await trio.sleep(5)
        broker.publish(topic("core/model"), "MAIN_40")
        await trio.sleep(1000)
        assert panel.snapshot.panel_size == 40
    assert len(rest.calls) == 3


async def test_a_schema_that_does_not_tell_the_size_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = resting(monkeypatch, HomieSchema())
    async with opened(Broker(UNSIZED)) as panel:
        await trio.sleep(1000)
        assert panel.snapshot.panel_size is None
    assert len(rest.calls) == 1


async def test_rest_is_not_asked_where_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = resting(monkeypatch)
    async with opened(Broker(UNSIZED), fetch_schema=False) as panel:
        assert panel.snapshot.panel_size is None
        await trio.sleep(1000)
    assert rest.calls == []


async def test_a_schema_that_is_known_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = resting(monkeypatch)
    async with opened(Broker(UNSIZED), schema=schema(24)) as panel:
        assert panel.snapshot.panel_size == 24
        await trio.sleep(1000)
    assert rest.calls == []


async def test_a_web_server_that_does_not_answer_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, DOWN, DOWN, takes=5)
    async with opened(Broker(UNSIZED), ready_timeout=3) as panel:
        assert trio.current_time() <= 3.0
        assert panel.snapshot.panel_size is None


async def test_a_web_server_is_not_waited_for_by_a_panel_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, schema(40), takes=1000)
    with trio.move_on_after(1) as scope:
        async with opened(Broker(UNSIZED)):
            raise AssertionError
    assert scope.cancelled_caught
    assert trio.current_time() == 1.0


async def test_i12_of_two_failures_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, DOWN, ZeroDivisionError("a bug, after a second"))
    broker = Broker(UNSIZED)

    async def body(_: SpanPanel) -> None:
        broker.connection.hang_up()
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    async with nothing_left(broker):
        assert type(await raised(broker, body)) is SpanPanelConnectionError


async def test_i12_a_bug_in_the_rest_room_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, ZeroDivisionError("a bug"))
    broker = Broker(UNSIZED)
    async with nothing_left(broker):
        assert type(await raised(broker)) is SpanPanelInternalError
