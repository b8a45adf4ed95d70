"""A test that hangs with a broker of its own, for `test_limit.py`; pytest finds it by the name of this file only."""

from __future__ import annotations

import os
import threading

import pytest
import trio

from tests.integration.broker import Broker


@pytest.mark.limit(3, grace=3)
async def test_with_a_broker(own: Broker) -> None:
    await trio.Path(os.environ["SPAN_TRIO_TEST_PID"]).write_text(str(own.pid))
    await trio.to_thread.run_sync(threading.Event().wait)
