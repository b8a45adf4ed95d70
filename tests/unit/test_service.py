"""The panel's size, where its tree does not tell: asked for over REST, in the background."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from span_trio import (
    HomieSchema,
    SpanPanelAPIError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelServerError,
)
from span_trio import service as service_module
from tests.unit.link.broker import Broker
from tests.unit.link.house import house, nothing_left, opened, raised, topic

pytestmark = pytest.mark.virtual_time

BARE = '{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'
UNSIZED = house({"$description": BARE, "core/model": None})
"""A house that does not tell its panel's size."""


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


async def tasks_of(broker: Broker, **options: Any) -> int:
    """How many tasks a panel has that has been open for a while."""
    before = trio.lowlevel.current_statistics().tasks_living
    async with opened(broker, **options):
        await trio.sleep(1000)
        return trio.lowlevel.current_statistics().tasks_living - before


@pytest.mark.slow
async def test_no_task_asks_on_once_the_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, DOWN, schema(40))
    usual = await tasks_of(Broker(UNSIZED), fetch_schema=False)
    assert await tasks_of(Broker(house())) == usual
    assert await tasks_of(Broker(UNSIZED), schema=schema(24)) == usual
    assert await tasks_of(Broker(UNSIZED)) == usual


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


async def test_i12_a_bug_in_the_rest_room_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resting(monkeypatch, ZeroDivisionError("a bug"))
    broker = Broker(UNSIZED)
    async with nothing_left(broker):
        assert type(await raised(broker)) is SpanPanelInternalError
