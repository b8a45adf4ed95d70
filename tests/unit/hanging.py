"""Tests that hang, for `test_limit.py`; pytest finds them by the name of this file only."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.limit(1)
to_be_killed = pytest.mark.limit(1, grace=1)


async def sleep_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="the one that never ends")


async def test_forever() -> None:
    print("what was printed")  # noqa: T201
    await sleep_in_a_nursery()


@to_be_killed
async def test_shielded() -> None:
    with trio.CancelScope(shield=True):
        try:
            await sleep_in_a_nursery()
        finally:
            await trio.sleep_forever()


async def test_busy() -> None:
    while True:
        await trio.lowlevel.checkpoint()


@to_be_killed
def test_in_a_thread() -> None:
    trio.run(trio.to_thread.run_sync, threading.Event().wait)


def test_child() -> None:
    subprocess.run(["sleep", "987654"], check=True)


@to_be_killed
def test_stubborn() -> None:
    while True:
        try:
            time.sleep(1000)
        except BaseException:  # noqa: BLE001, S112
            continue


@given(st.integers())
def test_property(number: int) -> None:
    trio.run(trio.sleep, 10**9 + abs(number))


@pytest.fixture
def hangs() -> None:
    threading.Event().wait()


@pytest.mark.usefixtures("hangs")
def test_fixture() -> None:
    pass


@pytest.mark.limit(100)
async def test_good() -> None:
    await trio.lowlevel.checkpoint()
