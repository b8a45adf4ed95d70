"""MQTT over WebSocket as a stream: whole, in order, bounded, and with no errors but trio's."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from unittest import mock

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import check_two_way_stream, memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import WebSocketConnection

from span_trio import SpanPanelConnectionError
from span_trio.link import websocket
from span_trio.link.websocket import accept_websocket, open_websocket
from tests.unit.link.house import SteppingCancel, run
from tests.unit.link.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX,
    PING,
    PONG,
    TEXT,
    Below,
    Peer,
    closing,
    connected,
    frame,
    frames_of,
    living,
)

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["draining", "one by one"])
def _queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the queue of trio-websocket that is private, and without it."""
    if request.param == "one by one":
        monkeypatch.setattr(websocket, "_QUEUE", "not_there")


either_way = pytest.mark.usefixtures("_queue")


async def received(stream: trio.abc.Stream) -> bytes:
    """All there is, to the end."""
    data = b""
    while more := await stream.receive_some():
        data += more
    return data


# --- a stream ---


@either_way
async def test_both_ends_are_streams() -> None:
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())

        async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            ours, theirs = memory_stream_pair()
            ready: list[trio.abc.Stream] = []

            async def client() -> None:
                async with open_websocket(ours, "panel", 9001, max_message=MAX) as stream:
                    ready.insert(0, stream)
                    await trio.sleep_forever()

            async def server() -> None:
                async with accept_websocket(theirs, max_message=MAX) as stream:
                    ready.append(stream)
                    await trio.sleep_forever()

            nursery.start_soon(client)
            nursery.start_soon(server)
            await wait_all_tasks_blocked()
            first, second = ready
            return first, second

        await check_two_way_stream(make, None)
        nursery.cancel_scope.cancel()


async def test_it_asks_for_mqtt() -> None:
    for host, name in (("panel", b"panel"), ("192.0.2.7", b"192.0.2.7"), ("fe80::1%eth0", b"[fe80::1]")):
        ours, theirs = memory_stream_pair()
        peer = Peer(theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.accept)
            async with open_websocket(ours, host, 9001, path="/elsewhere", max_message=MAX):
                pass
        assert peer.request.startswith(b"GET /elsewhere HTTP/1.1\r\nHost: " + name + b":9001\r\n")
        assert b"Sec-WebSocket-Protocol: mqtt\r\n" in peer.request


async def test_what_is_sent_is_one_binary_message() -> None:
    async with connected() as (stream, peer, _):
        await stream.send_all(b"CONNECT")
        await stream.send_all(memoryview(b"SUBSCRIBE"))
        assert await peer.heard() == [(BINARY, b"CONNECT"), (BINARY, b"SUBSCRIBE")]


@either_way
async def test_many_messages_come_in_one_go() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(*(frame(b"%04d" % number) for number in range(1000)))
        await wait_all_tasks_blocked()
        assert await stream.receive_some() == b"".join(b"%04d" % number for number in range(1000))


@either_way
async def test_no_more_is_taken_than_was_asked_for() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(b"12345"), frame(b"67"))
        await wait_all_tasks_blocked()
        assert [await stream.receive_some(size) for size in (2, 1, 4)] == [b"12", b"3", b"4567"]
        for _ in range(10):  # of what was taken to the last byte, nothing counts any more
            await peer.send(frame(bytes(MAX // 2)))
            assert await stream.receive_some(MAX // 2) == bytes(MAX // 2)


async def test_a_burst_wakes_a_waiting_reader_once() -> None:
    async with connected() as (stream, peer, _), trio.open_nursery() as nursery:
        pieces: list[bytes] = []

        @nursery.start_soon
        async def _() -> None:
            pieces.append(bytes(await stream.receive_some()))

        await wait_all_tasks_blocked()
        await peer.send(*(frame(b"%04d" % number) for number in range(1000)))
        await wait_all_tasks_blocked()
        assert pieces == [b"".join(b"%04d" % number for number in range(1000))]


@either_way
async def test_what_came_with_the_handshake_is_not_lost() -> None:
    async with connected(frame(b"early")) as (stream, peer, _):
        assert await stream.receive_some() == b"early"
        await peer.send(frame(b""), frame(b"later"))
        assert await stream.receive_some() == b"later"


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.booleans())),
    st.lists(st.integers(1, 400), max_size=30),
    st.lists(st.none() | st.integers(1, 500), min_size=1),
    st.sampled_from(["_recv_channel", "not_there"]),
)
def test_any_cuts_give_the_same_bytes(
    messages: list[tuple[bytes, list[int], bool]], chunks: list[int], reads: list[int | None], queue: str
) -> None:
    """However messages are cut into fragments, the whole into segments, and whoever reads how much; pings between."""

    async def main() -> None:
        async with connected() as (stream, peer, _), trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                wire = b"".join(_fragments(messages)) + closing(1000)
                for size in [*chunks, len(wire) or 1]:
                    if wire:
                        await peer.send(wire[:size])
                        await trio.lowlevel.checkpoint()
                        wire = wire[size:]

            data, sizes = b"", itertools.cycle(reads)
            while more := await stream.receive_some(next(sizes)):
                data += more
            assert data == b"".join(message for message, _, _ in messages)

    with mock.patch.object(websocket, "_QUEUE", queue):
        run(main)


def _fragments(messages: list[tuple[bytes, list[int], bool]]) -> Iterator[bytes]:
    for message, cuts, pinged in messages:
        edges = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
        for number, (start, end) in enumerate(itertools.pairwise(edges), 1):
            yield frame(message[start:end], CONTINUATION if number > 1 else BINARY, final=number == len(edges) - 1)
            if pinged:
                yield frame(b"still there?", PING)


# --- cancelling ---


@pytest.mark.slow
def test_cancelling_at_any_step_of_receiving_loses_nothing() -> None:
    async def main(canceller: SteppingCancel) -> bool:
        async with connected() as (stream, peer, _), trio.open_nursery() as nursery:
            sent = b"".join(b"%02d" % number for number in range(20))

            @nursery.start_soon
            async def _() -> None:
                for number in range(20):
                    await peer.send(frame(b"%02d" % number))
                    await trio.lowlevel.checkpoint()

            data = b""
            with canceller.cancelling() as scope:
                while len(data) < len(sent):
                    data += await stream.receive_some(3)
            while len(data) < len(sent):
                data += await stream.receive_some()
            assert data == sent
            return scope.cancelled_caught

    for queue in ("_recv_channel", "not_there"):
        with mock.patch.object(websocket, "_QUEUE", queue):
            for step in range(1, 500):
                canceller = SteppingCancel(step)
                if not run(main, canceller, instruments=[canceller]):
                    break
            assert 20 < step < 499


@pytest.mark.slow
def test_cancelling_at_any_step_of_a_life_leaves_nothing() -> None:
    async def main(canceller: SteppingCancel) -> bool:
        ours, theirs = memory_stream_pair()
        below, peer = Below(ours), Peer(theirs)
        async with trio.open_nursery() as nursery:
            before = living()

            @nursery.start_soon
            async def _() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    await peer.accept(frame(b"hello"))
                while data := await theirs.receive_some():
                    if (CLOSE, b"\x03\xe8") in frames_of(bytes(data)):
                        with contextlib.suppress(trio.BrokenResourceError):
                            await peer.send(closing(1000))

            with canceller.cancelling() as scope:
                async with open_websocket(below, "panel", 9001, max_message=MAX) as stream:
                    await stream.send_all(b"CONNECT")
                    assert await stream.receive_some() == b"hello"
                    await stream.aclose()
            assert below.closed
            assert living() <= before + 1
            nursery.cancel_scope.cancel()
        return scope.cancelled_caught

    for step in range(1, 500):
        canceller = SteppingCancel(step)
        if not run(main, canceller, instruments=[canceller]):
            break
    assert 20 < step < 499


@pytest.mark.parametrize("cancelled", [False, True])
@either_way
async def test_what_a_block_raises_comes_out_as_it_is(*, cancelled: bool) -> None:
    mine = KeyError("mine")
    ours, theirs = memory_stream_pair()
    peer = Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept)

        async def block() -> None:
            with trio.CancelScope() as scope:
                async with open_websocket(ours, "panel", 9001, max_message=MAX):
                    await peer.send(frame(b"text", TEXT), frame(b"unheard of", 5))
                    if cancelled:
                        scope.cancel()
                    raise mine

        with pytest.raises(KeyError) as caught:
            await block()
    assert caught.value is mine


@either_way
async def test_who_is_cancelled_may_still_say_goodbye_and_hear_the_answer() -> None:
    ours, theirs = memory_stream_pair()
    peer = Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept)
        with trio.CancelScope() as scope:
            async with open_websocket(ours, "panel", 9001, max_message=MAX) as stream:
                try:
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await stream.send_all(b"DISCONNECT")
                        assert await peer.heard() == [(BINARY, b"DISCONNECT")]
                        await peer.send(frame(b"bye"), closing(1000))
                        assert await received(stream) == b"bye"
        assert scope.cancelled_caught


# --- no WebSocket ---

UPGRADE = b"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
LONG = b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 70_000


@pytest.mark.parametrize(
    ("answer", "hangs_up", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", False, "HTTP status 404"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False, "HTTP status 404"),
        (b"HTTP/1.0 503 Not now\r\n\r\nto the end", True, "HTTP status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", False, "HTTP status 200"),
        (LONG, False, "HTTP status 200"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", False, "HTTP status 103"),
        (b"", True, "hung up during the handshake"),
        (b"HTTP/1.1 101 Switching", True, "hung up during the handshake"),
        (UPGRADE + b"\r\n", False, "answers the upgrade wrongly"),
        (UPGRADE + b"Sec-WebSocket-Accept: guessed\r\n\r\n", False, "answers the upgrade wrongly"),
        (b"220 mail.example.org ESMTP\r\n\r\n", False, "speaks no WebSocket"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", True, "hung up|speaks no WebSocket"),
        (b"\x20\x02\x00\x00" * 30_000, False, "speaks no WebSocket"),
        (b"HTTP/1.1 101 " + b"\xff" * 70_000, False, "no WebSocket with panel:9001/mqtt"),
    ],
)
async def test_a_peer_that_gives_no_websocket_is_one_sentence(answer: bytes, *, hangs_up: bool, sentence: str) -> None:
    ours, theirs = memory_stream_pair()
    below, before = Below(ours), living()
    await theirs.send_all(answer)
    if hangs_up:
        await theirs.send_stream.aclose()
    with pytest.raises(SpanPanelConnectionError, match=sentence) as caught:
        async with open_websocket(below, "panel", 9001, max_message=MAX):
            raise AssertionError
    assert str(caught.value).startswith("no WebSocket with panel:9001/mqtt: ")
    assert hangs_up or caught.value.__cause__ is not None
    assert below.closed
    assert below.taken <= 140_000
    assert living() == before
    assert trio.current_time() == 0


@pytest.mark.parametrize("subprotocol", [None, "mqttv3.1"])
async def test_a_websocket_that_is_not_for_mqtt_is_one_sentence(subprotocol: str | None) -> None:
    ours, theirs = memory_stream_pair()
    peer = Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: peer.accept(subprotocol=subprotocol))
        with pytest.raises(SpanPanelConnectionError, match="no WebSocket with panel:9001/mqtt: "):
            async with open_websocket(ours, "panel", 9001, max_message=MAX):
                raise AssertionError


@pytest.mark.parametrize(("host", "path"), [("panel", "/with a blank"), ("panel\n", "/mqtt")])
async def test_what_cannot_be_asked_for_is_one_sentence(host: str, path: str) -> None:
    below = Below(memory_stream_pair()[0])
    with pytest.raises(SpanPanelConnectionError, match="it cannot be asked for: "):
        async with open_websocket(below, host, 9001, path=path, max_message=MAX):
            raise AssertionError
    assert below.closed


@pytest.mark.parametrize("when", ["asking", "listening"])
async def test_a_stream_that_breaks_during_the_handshake_is_one_sentence(when: str) -> None:
    def break_it() -> None:
        raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")

    below = Below(memory_stream_pair()[0])
    if when == "asking":
        below.on_send = break_it
    else:
        below.on_receive = break_it
    with pytest.raises(SpanPanelConnectionError, match=r"mqtt: it broke: .*reset by peer") as caught:
        async with open_websocket(below, "panel", 9001, max_message=MAX):
            raise AssertionError
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    assert below.closed


async def test_a_silent_peer_is_given_up_in_time() -> None:
    below, before = Below(memory_stream_pair()[0]), living()
    with pytest.raises(SpanPanelConnectionError, match=r"no WebSocket handshake .* within 3 s") as caught:
        async with open_websocket(below, "panel", 9001, max_message=MAX, timeout=3):
            raise AssertionError
    assert not caught.value.answered
    assert below.closed
    assert (trio.current_time(), living()) == (3, before)


async def test_a_scope_around_it_limits_the_handshake_too() -> None:
    below, before = Below(memory_stream_pair()[0]), living()
    with trio.move_on_after(2) as scope:
        async with open_websocket(below, "panel", 9001, max_message=MAX):
            raise AssertionError
    assert scope.cancelled_caught
    assert below.closed
    assert (trio.current_time(), living()) == (2, before)


async def test_a_time_limit_of_the_handshake_does_not_limit_the_block() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Peer(theirs).accept)
        async with open_websocket(ours, "panel", 9001, max_message=MAX, timeout=3):
            await trio.sleep(10)


# --- how it ends ---


@pytest.mark.parametrize("code", [1000, 1001, None])
@either_way
async def test_a_websocket_that_is_closed_is_heard_to_the_end(code: int | None) -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(b"the last "), frame(b"words"), closing(code, "bye"))
        assert await received(stream) == b"the last words"
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.send_all(b"more")
        assert caught.value.__cause__ is None
        assert [opcode for opcode, _ in await peer.heard()] == [CLOSE]
        await peer.stream.aclose()
        assert await stream.receive_some() == b""


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (closing(1011, "out of\x1b memory"), r"closed with code 1011: 'out of\\x1b memory'"),
        (closing(4000), "closed with code 4000"),
        (frame(b"\xff", CLOSE), "closed with code 1002"),
        (frame(b"hello", TEXT), "text, which MQTT is not"),
        (frame(b"\xff\xfe", TEXT), "closed with code 1007"),
        (frame(b"hello", 5), "closed with code 1002"),
        (frame(b"hello", CONTINUATION), "closed with code 1002"),
        (b"\xf2\x00", "closed with code 1002"),
    ],
)
@either_way
async def test_what_is_no_mqtt_breaks_the_stream_behind_what_came_before(end: bytes, sentence: str) -> None:
    async with connected() as (stream, peer, below):
        await peer.send(frame(b"good"), end, frame(b"behind"))
        assert await stream.receive_some() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match=sentence) as caught:
                await stream.receive_some()
            assert caught.value.__cause__ is None
        with trio.move_on_after(1):
            await stream.aclose()
        assert below.closed


@either_way
async def test_a_peer_that_hangs_up_is_heard_to_that_point() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(b"good"), frame(b"half a frame")[:-3])
        await peer.stream.aclose()
        assert await stream.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError, match="hung up without closing"):
            await stream.receive_some()
        for what in (stream.send_all(b"more"), stream.wait_send_all_might_not_block()):
            with trio.testing.assert_checkpoints():
                with pytest.raises(trio.BrokenResourceError, match="hung up without closing") as caught:
                    await what
                assert caught.value.__cause__ is None
        await stream.aclose()


@either_way
async def test_a_stream_that_breaks_says_why() -> None:
    def break_it() -> None:
        raise trio.BrokenResourceError from ConnectionResetError(104, "Connection reset by peer")

    async with connected() as (stream, peer, below):
        below.on_receive = break_it
        await peer.send(frame(b"good"))
        assert await stream.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError, match=r"the stream below broke: .*reset by peer") as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


@either_way
async def test_a_stream_that_raises_something_else_breaks_it_with_that_cause() -> None:
    def fail() -> None:
        raise ValueError("a bug below")

    async with connected() as (stream, peer, below):
        assert stream.transport_stream is below  # type: ignore[attr-defined]
        below.on_receive = fail
        await peer.send(frame(b"good"))
        assert await stream.receive_some() == b"good"
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError, match="the WebSocket failed: a bug below") as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ValueError)


@either_way
async def test_a_stream_that_breaks_in_sending_wakes_the_reader() -> None:
    def break_it() -> None:
        raise trio.BrokenResourceError from BrokenPipeError(32, "Broken pipe")

    async with connected() as (stream, _, below), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.BrokenResourceError) as caught:
                await stream.receive_some()
            assert isinstance(caught.value.__cause__, BrokenPipeError)

        await wait_all_tasks_blocked()
        below.on_send = break_it
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.send_all(b"PINGREQ")
        assert isinstance(caught.value.__cause__, BrokenPipeError)


@either_way
async def test_a_stream_that_is_closed_below_breaks_it() -> None:
    async with connected() as (stream, _, below):
        await below.aclose()
        with pytest.raises(trio.BrokenResourceError, match="the WebSocket failed: the stream below was closed"):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"more")
        with pytest.raises(trio.BrokenResourceError):
            await stream.wait_send_all_might_not_block()


# --- bounds ---


@either_way
async def test_a_message_may_be_as_large_as_the_limit_and_no_larger() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(bytes(MAX)))
        assert await stream.receive_some() == bytes(MAX)
        await peer.send(frame(bytes(MAX + 1)))
        with pytest.raises(trio.BrokenResourceError, match="code 1009"):
            await stream.receive_some()


@either_way
async def test_a_large_message_is_read_on_as_soon_as_somebody_waits_for_it() -> None:
    async with connected() as (stream, peer, below):
        await peer.send(frame(bytes(MAX)))
        await wait_all_tasks_blocked()
        assert below.taken < MAX
        with trio.fail_after(1):
            assert await stream.receive_some() == bytes(MAX)


@either_way
async def test_what_trips_up_the_protocol_s_task_breaks_the_stream() -> None:
    async with connected(max_message=10) as (stream, peer, below):
        too_much = frame(bytes(11), final=False), frame(bytes(11), CONTINUATION, final=False)
        await peer.send(*too_much)  # trio-websocket says goodbye twice, and its parser does not let it
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"more")
        await stream.aclose()
        assert below.closed


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["empty", "single"])
async def test_a_message_in_endless_fragments_breaks_the_stream(parts: str) -> None:
    async with connected(max_message=1000) as (stream, peer, below):
        piece = frame(b"" if parts == "empty" else b"z", CONTINUATION, final=False)
        await peer.send(frame(b"", final=False), piece * 500, frame(b"!", CONTINUATION))
        assert (await stream.receive_some())[-1:] == b"!"
        await peer.send(frame(b"", final=False), piece * 100_000)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert below.taken < 200_000


@either_way
async def test_a_peer_is_not_read_from_while_nobody_takes() -> None:
    async with connected() as (stream, peer, below):
        await peer.send(frame(bytes(1000)) * 1000)
        await wait_all_tasks_blocked()
        assert below.taken < 140_000
        data = b""
        while len(data) < 1_000_000:
            data += await stream.receive_some()
            assert below.taken - len(data) < 200_000


@pytest.mark.slow
async def test_the_peer_feels_a_slow_reader() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with (
        trio.open_nursery() as nursery,
        contextlib.AsyncExitStack() as stack,
    ):
        peer = Peer(theirs)
        nursery.start_soon(peer.accept)
        stream = await stack.enter_async_context(open_websocket(ours, "panel", 9001, max_message=MAX))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await peer.send(frame(b"0123456789") * 100_000)
        assert scope.cancelled_caught
        assert await stream.receive_some()


async def test_a_ping_is_answered_while_nobody_takes() -> None:
    async with connected() as (_, peer, _):
        await peer.send(frame(b"data"), frame(b"there?", PING))
        assert await peer.heard() == [(PONG, b"there?")]


async def test_who_takes_lets_the_peer_go_on() -> None:
    async with connected() as (stream, peer, _):
        await peer.send(frame(bytes(1000)) * 100, frame(b"there?", PING))
        await wait_all_tasks_blocked()
        assert await stream.receive_some()
        assert await peer.heard() == [(PONG, b"there?")]


async def test_a_ping_may_come_while_somebody_waits_to_send() -> None:
    async with connected() as (stream, peer, below), trio.open_nursery() as nursery:
        below.clogged = trio.Event()
        nursery.start_soon(stream.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        await peer.send(frame(b"there?", PING))
        await wait_all_tasks_blocked()
        below.clogged.set()
        assert await peer.heard() == [(PONG, b"there?")]


# --- closing ---


@either_way
async def test_closing_says_goodbye_and_waits_for_the_peer_s() -> None:
    async with connected() as (stream, peer, below), trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        assert await peer.heard() == [(CLOSE, b"\x03\xe8")]
        for is_closed in (False, True):
            assert below.closed == is_closed
            for what in (stream.receive_some(), stream.send_all(b"x"), stream.wait_send_all_might_not_block()):
                with (
                    trio.testing.assert_checkpoints(),
                    pytest.raises(trio.ClosedResourceError, match="this stream was closed"),
                ):
                    await what
            if not is_closed:
                await peer.send(frame(b"too late"), closing(1000))
            await wait_all_tasks_blocked()


async def test_what_goes_wrong_inside_has_a_cause_when_sending_and_is_nothing_when_closing() -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("a bug inside")

    async with connected() as (stream, _, below):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WebSocketConnection, "send_message", fail)
            patch.setattr(WebSocketConnection, "aclose", fail)
            with pytest.raises(trio.BrokenResourceError) as caught:
                await stream.send_all(b"data")
            assert isinstance(caught.value.__cause__, ValueError)
            await stream.aclose()
        assert below.closed


@pytest.mark.parametrize("clogged", [False, True])
async def test_closing_waits_for_a_dead_peer_as_long_as_the_caller_says(*, clogged: bool) -> None:
    async with connected() as (stream, _, below):
        if clogged:
            below.clogged = trio.Event()
        with trio.move_on_after(1) as scope:
            await stream.aclose()
        assert scope.cancelled_caught
        assert (trio.current_time(), below.closed) == (1, True)


async def test_closing_by_force_does_not_wait() -> None:
    async with connected() as (stream, peer, below):
        await trio.aclose_forcefully(stream)
        assert below.closed
        assert not await peer.stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        await stream.aclose()


async def test_closing_a_second_time_ends_the_waiting() -> None:
    async with connected() as (stream, _, below), trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(stream)
        assert below.closed


@either_way
async def test_closing_does_not_wait_for_a_peer_that_hangs_up() -> None:
    async with connected() as (stream, peer, below), trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert below.closed


@either_way
async def test_closing_does_not_listen_for_ever_to_a_peer_that_goes_on_sending() -> None:
    async with connected() as (stream, peer, below):
        await peer.send(frame(bytes(1000)) * 10_000)
        await stream.aclose()
        assert below.closed
        assert below.taken < 4 * MAX + 300_000


@either_way
@pytest.mark.parametrize("sent", [frame(bytes(MAX + 1)), frame(b"there?", PING)])
async def test_closing_ends_when_the_protocol_s_task_trips_over_what_still_comes(sent: bytes) -> None:
    async with connected() as (stream, peer, below), trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose)
        await wait_all_tasks_blocked()
        await peer.send(sent)
        await wait_all_tasks_blocked()
        assert below.closed


@either_way
async def test_closing_wakes_who_waits_for_data_at_once() -> None:
    async with connected() as (stream, _, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()
            assert trio.current_time() == 0

        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await stream.aclose()


@either_way
async def test_closing_wakes_who_waits_to_send() -> None:
    async with connected() as (stream, _, below), trio.open_nursery() as nursery:
        below.clogged = trio.Event()

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"data")

        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(stream)
        below.clogged.set()


@either_way
async def test_nobody_is_left_waiting_when_the_block_ends() -> None:
    before = living()
    async with trio.open_nursery() as nursery:
        async with connected() as (stream, _, _):

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await stream.receive_some()

            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert living() == before


@either_way
async def test_one_task_at_a_time_sends() -> None:
    async with connected() as (stream, _, below), trio.open_nursery() as nursery:
        below.clogged = trio.Event()
        nursery.start_soon(stream.send_all, b"one")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task is sending to this stream"):
            await stream.send_all(b"two")
        with pytest.raises(trio.BusyResourceError, match="another task is sending to this stream"):
            await stream.wait_send_all_might_not_block()
        below.clogged.set()


# --- the other end ---

ASKING = (
    b"GET / HTTP/1.1\r\nHost: panel\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (b"", "hung up"),
        (b"GET / HTTP/1.1\r\nHost: panel\r\n\r\n", "speaks no WebSocket"),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\r\n\r\n", "speaks no WebSocket"),
        (ASKING, "not for MQTT"),
        (ASKING.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat, mqttv3.1\r\n\r\n"), "not for MQTT"),
    ],
)
async def test_a_client_that_wants_something_else_is_one_sentence(request_: bytes, sentence: str) -> None:
    ours, theirs = memory_stream_pair()
    below = Below(ours)
    if request_:
        await theirs.send_all(request_)
    else:
        await theirs.send_stream.aclose()
    with pytest.raises(SpanPanelConnectionError, match=sentence):
        async with accept_websocket(below, max_message=MAX):
            raise AssertionError
    assert below.closed
    if sentence == "not for MQTT":
        assert bytes(await theirs.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_a_client_that_asks_for_nothing_is_given_up_in_time() -> None:
    ours, _ = memory_stream_pair()
    with pytest.raises(SpanPanelConnectionError, match="no WebSocket handshake with a client within 10 s"):
        async with accept_websocket(ours, max_message=MAX, timeout=10):
            raise AssertionError
