"""The moments of closing: the grace, the body's own error, cancellation at any step, and what is held afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from span_trio import (
    HomieSchema,
    SpanPanel,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
)
from span_trio import service as service_module
from span_trio.link import Link
from span_trio.tracker import PanelTracker
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.house import SteppingCancel, house, nothing_left, opened, raised, run, topic
from tests.unit.span.helpers import KITCHEN, ROOT

pytestmark = pytest.mark.virtual_time

BARE = '{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'

# --- what is held afterwards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["snapshots", "edges", "updates"])
async def test_what_is_held_after_the_end_raises_and_never_just_ends(what: str) -> None:
    broker = Broker(house())
    outside: list[str] = []

    async def watch(reader: Any) -> None:
        try:
            async for _ in reader:
                outside.append("something")  # noqa: PERF401 - it does not end
        except SpanPanelClosedError:
            outside.append("closed")

    async with trio.open_nursery() as nursery:
        async with opened(broker) as panel:
            held = getattr(panel, what)()
            nursery.start_soon(watch, getattr(panel, what)())
            await trio.sleep(1)
        await trio.sleep(1)
        assert outside == ["something"] * (2 if what == "updates" else 1) + ["closed"]
    if what != "snapshots":
        assert (await anext(held)).online  # an edge is history, and stays true
    for reader in (held, getattr(panel, what)()):
        for _ in range(2):
            with pytest.raises(SpanPanelClosedError):
                await anext(reader)


async def test_a_panel_that_is_closed_says_so() -> None:
    broker = Broker(house())
    async with opened(broker) as panel:
        pass
    with pytest.raises(SpanPanelClosedError):
        _ = panel.snapshot
    with pytest.raises(SpanPanelClosedError):
        await panel.ping()
    with pytest.raises(SpanPanelClosedError):
        await panel.wait_live()
    with pytest.raises(SpanPanelClosedError):
        await panel.wait_for(lambda _: True)
    assert not panel.live
    assert panel.live_since is None
    assert repr(panel) == f"<SpanPanel {ROOT} at panel: closed>"
    assert panel.statistics().messages == len(house())


# --- the grace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("how", ["does not read", "does not hang up"])
async def test_i11_closing_takes_the_grace_at_most(how: str, grace: float) -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing})
    async with nothing_left(broker), opened(broker, close_grace=grace):
        if how == "does not read":
            broker.connection.freeze()
    assert trio.current_time() == grace


async def test_i12_an_error_of_a_body_whose_panel_takes_its_time_to_close_comes_out_as_it_is() -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing})
    error = ValueError("the body's")
    scope = trio.CancelScope()

    async def body(_: SpanPanel) -> None:
        scope.cancel()
        raise error

    async with nothing_left(broker):
        with scope:
            assert await raised(broker, body) is error
    assert error.__context__ is None
    assert trio.current_time() == 1.0


async def test_i12_a_link_lost_when_the_body_has_ended_is_no_error() -> None:
    broker = Broker(house(), instead={Kind.DISCONNECT: nothing})

    async def hang_up() -> None:
        await trio.sleep(0.5)
        broker.connection.hang_up()

    async with trio.open_nursery() as nursery, opened(broker):
        nursery.start_soon(hang_up)
    assert trio.current_time() == 0.5


# --- the body's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, OSError("before"), KeyError("the cause")], ids=repr)
async def test_i12_an_error_of_the_body_keeps_its_cause_and_its_context(context: Exception | None) -> None:
    broker = Broker(house())
    error = ValueError("the body's")

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


async def test_i12_a_cancellation_within_the_body_is_its_own_business() -> None:
    broker = Broker(house())
    async with nothing_left(broker), opened(broker) as panel:
        with trio.move_on_after(1) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        assert panel.live


async def test_i12_that_the_body_was_cancelled_for_a_failure_is_no_context_of_it() -> None:
    broker = Broker(house())

    async def body(_: SpanPanel) -> None:
        broker.connack = 4
        broker.connection.hang_up()
        await trio.sleep_forever()

    error = await raised(broker, body, auth_grace=0.0)
    assert type(error) is SpanPanelAuthError
    assert error.__cause__ is None
    assert error.__suppress_context__


# --- at the same moment -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["the body raises", "the body ends"])
def test_i12_a_bug_at_the_very_moment_the_body_leaves_is_one_error_or_a_note(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: set[str] = set()

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async def main(steps: int) -> None:
        broker = Broker(house())
        error = ValueError("the body's")

        async def body() -> None:
            monkeypatch.setattr(PanelTracker, "receive", bug)
            broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
            for _ in range(steps):
                await trio.lowlevel.cancel_shielded_checkpoint()
            if own:
                raise error

        came_out: Exception | None = None
        async with nothing_left(broker):
            try:
                async with opened(broker):
                    await trio.sleep(1)
                    await body()
            except (ValueError, SpanPanelInternalError) as caught:
                came_out = caught
        monkeypatch.undo()
        assert not isinstance(came_out, ValueError) or came_out is error
        outcomes.add(f"{type(came_out).__name__}, {len(getattr(came_out, '__notes__', []))} notes")

    for steps in range(12):
        run(main, steps)
    seen = (
        {"ValueError, 0 notes", "ValueError, 1 notes"}
        if own
        else {"NoneType, 0 notes", "SpanPanelInternalError, 0 notes"}
    )
    assert outcomes == seen


# --- cancelled at any step --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_i11_cancelled_at_any_step_of_two_sessions_it_leaves_nothing_and_says_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the first step of connecting to the last of closing, with a broker that reads a few bytes at a time."""
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
                    edges = panel.edges()
                    await anext(edges)
                    broker.connection.hang_up()
                    await anext(edges)
                    assert (await anext(edges)).epoch == 2
                    broker.publish(topic(f"{KITCHEN}/relay"), "OPEN")
                    snapshots = panel.snapshots()
                    while (await anext(snapshots)).circuits[KITCHEN].relay_state != "OPEN":
                        pass
                    await trio.sleep(10)
            return scope.cancelled_caught

    for step in range(1, 1000):
        logins.clear()
        canceller, broker = SteppingCancel(step), Broker(house(), sip=9)
        cancelled = run(main, canceller, broker, instruments=[canceller])
        if len(logins) == 2 or (len(logins) == 1 and not broker.connections[0].hung_up):
            assert broker.connection.said_goodbye, step
        if not cancelled:
            break
    assert 80 < step < 999
    assert len(logins) == 2


@pytest.mark.slow
def test_i12_a_panel_that_fails_for_good_as_the_body_leaves_is_an_error_if_the_body_could_know() -> None:
    outcomes: set[bool] = set()

    async def main(steps: int) -> None:
        broker, failed, came_out = Broker(house()), False, False
        async with nothing_left(broker):
            try:
                async with opened(broker, auth_grace=0.0) as panel:
                    await trio.sleep(1)
                    broker.connack = 4
                    broker.connection.hang_up()
                    for _ in range(steps):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    failed = panel._service.failure is not None
            except SpanPanelAuthError:
                came_out = True
        assert came_out == failed, steps
        outcomes.add(failed)

    for steps in range(60):
        run(main, steps)
    assert outcomes == {True, False}


async def test_i12_of_two_failures_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused for good, and then a bug, while the body has still something to do."""
    broker = Broker(house({"$description": BARE, "core/model": None}))

    async def get_homie_schema(*_: object, **__: object) -> HomieSchema:
        await trio.sleep(3)
        if trio.current_time() < 5:
            raise SpanPanelConnectionError("no connection")
        raise ZeroDivisionError("a bug")

    async def body(_: SpanPanel) -> None:
        broker.connack = 4
        broker.connection.hang_up()
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    monkeypatch.setattr(service_module, "get_homie_schema", get_homie_schema)
    async with nothing_left(broker):
        assert type(await raised(broker, body, auth_grace=0.0)) is SpanPanelAuthError
