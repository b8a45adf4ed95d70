"""``virtual_time``: a mark for tests, or for a module of them, that shall not sleep for real."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: async tests, on a clock that jumps when all tasks wait")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_async = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if is_async and item.get_closest_marker("virtual_time") is not None:
            item.add_marker(pytest.mark.trio(run=_run), append=False)  # pytest-trio takes the first that says how


def _run(
    main: Callable[[], Awaitable[Any]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> object:
    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)
