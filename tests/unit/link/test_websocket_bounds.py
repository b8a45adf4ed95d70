"""How much of a WebSocket is read while nobody takes, or without a whole message, to the byte; and waiting for room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from span_trio.link.websocket import open_websocket
from tests.unit.link.websocket_peer import CONTINUATION, Below, Peer, closing, connected, frame

pytestmark = pytest.mark.virtual_time

ENOUGH = 65_536
"""Bytes that are read while nobody takes any."""


def bulk(size: int) -> bytes:
    """A frame of so many bytes in all."""
    return frame(bytes(size - 4))


async def test_so_much_is_read_while_nobody_takes_and_no_byte_more() -> None:
    async with connected() as (stream, peer, below):
        unread = below.taken  # the handshake counts, too

        async def read(data: bytes) -> int:
            before = below.taken
            await peer.send(data)
            await wait_all_tasks_blocked()
            return below.taken - before

        for _ in range(2):
            assert await read(bulk(ENOUGH - 1 - unread)) == ENOUGH - 1 - unread
            assert await read(b"\x82") == 1
            assert await read(b"\x00") == 0
            assert await stream.receive_some()
            await wait_all_tasks_blocked()
            unread = 1


async def test_who_has_waited_once_and_takes_no_more_is_not_read_for() -> None:
    async with connected() as (stream, peer, below), trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_some)
        await wait_all_tasks_blocked()
        await peer.send(frame(b"data"))
        await wait_all_tasks_blocked()
        await peer.send(frame(bytes(1000)) * 1000)
        await wait_all_tasks_blocked()
        assert below.taken < 3 * ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 1])
async def test_a_message_may_be_spread_over_so_many_bytes_and_no_more(more: int) -> None:
    async with connected(max_message=1000) as (stream, peer, _), trio.open_nursery() as nursery:
        await peer.send(frame(b"first"))
        assert await stream.receive_some() == b"first"
        begun = frame(b"", final=False)
        empty = frame(b"", CONTINUATION, final=False)
        came: list[bytes | str] = []

        async def receive() -> None:
            try:
                came.append(bytes(await stream.receive_some()))
            except trio.BrokenResourceError as error:
                came.append(str(error))

        nursery.start_soon(receive)
        await peer.send(begun + empty * ((4 * 1000 + ENOUGH - 2) // 2 + more))
        await wait_all_tasks_blocked()
        await peer.send(frame(b"!", CONTINUATION))
        await wait_all_tasks_blocked()
        whole = "the stream below broke: the peer sent 69538 bytes, and no whole message"
        assert came == ([whole] if more else [b"!"])


async def test_of_the_first_answer_only_the_status_is_kept() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(bytes(1000)) * 100)
        await stream.receive_some()
        assert stream._wire._greeting == b"HTTP/1.1 101"  # type: ignore[attr-defined]


async def test_who_waits_for_room_waits_for_that_of_the_stream_below() -> None:
    async with connected() as (stream, _, below), trio.open_nursery() as nursery:
        below.clogged = trio.Event()
        there_is = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            await stream.wait_send_all_might_not_block()
            there_is.set()

        await wait_all_tasks_blocked()
        assert not there_is.is_set()
        below.clogged.set()
        await wait_all_tasks_blocked()
        assert there_is.is_set()


async def test_closing_hears_the_goodbye_behind_what_nobody_took() -> None:
    async with connected() as (stream, peer, below):
        await peer.send(frame(bytes(1000)) * 200, closing(1000))
        await wait_all_tasks_blocked()
        assert below.taken < 200_000
        with trio.fail_after(1):
            await stream.aclose()
        assert below.closed


async def test_closing_a_stream_that_breaks_meanwhile_closes_it() -> None:
    class Breaking(Below):
        async def aclose(self) -> None:
            first = not self.closed
            await super().aclose()
            if first:
                raise trio.BrokenResourceError

    ours, theirs = memory_stream_pair()
    below = Breaking(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Peer(theirs).accept)
        async with open_websocket(below, "panel", 9001, max_message=1000) as stream:
            await theirs.aclose()
            await stream.aclose()
            assert below.closed
