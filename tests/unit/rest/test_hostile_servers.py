"""Every endpoint against a peer that is slow, hangs up, speaks something else, or is not there: bounded, and said."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest
import trio

from span_trio.errors import (
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelOutcomeUnknownError,
)
from tests.unit.rest.panels import (
    CALLS,
    ECHO,
    GOOD,
    PASSPHRASE,
    SECRETS,
    TLS,
    Panel,
    Serve,
    answer,
    ask,
    leaks,
    logged,
    opened,
    saying,
    server_tls,
)

pytestmark = pytest.mark.virtual_time

ROTATE = "PUT /api/v2/auth/passphrase"
SAID = f"{ECHO} {PASSPHRASE}".encode()


def seconds(call: str) -> float:
    return 5.0 if call.startswith("GET") else 15.0


async def lost(call: str, panel: Panel, **how: Any) -> SpanPanelError:
    """The error of a call that gets no answer, with no secret in it nor in any log of it."""
    with logged() as log, panel.there():
        error = await ask(CALLS[call], **how)
        await trio.testing.wait_all_tasks_blocked()
    assert panel.open == 0  # and nothing is left open
    assert isinstance(error, SpanPanelError)
    assert leaks(error, ECHO, *SECRETS) == []
    assert [word for word in (ECHO, *SECRETS) if word in log.text()] == []
    return error


# --- who takes his time ---


async def _silence(_: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def _drip(stream: trio.abc.Stream) -> None:
    for byte in answer(SAID * 10):
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.9)  # always something, never enough


async def _drip_headers(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-Patience: " + SAID + b"\r\n")
        await trio.sleep(0.9)


async def _interim_answers(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 102 " + SAID + b"\r\n\r\n")
        await trio.sleep(0.9)


async def _drip_chunks(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"1\r\n \r\n")
        await trio.sleep(0.9)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("serve", [_silence, _drip, _drip_headers, _interim_answers, _drip_chunks])
async def test_a_slow_answer_is_given_up_in_time(call: str, serve: Serve) -> None:
    began = trio.current_time()
    error = await lost(call, Panel(serve))
    assert trio.current_time() - began == pytest.approx(seconds(call), abs=0.1)
    assert type(error) is (SpanPanelOutcomeUnknownError if call == ROTATE else SpanPanelConnectionError)
    assert f"within {seconds(call):g} s" in str(error)


@pytest.mark.parametrize("call", CALLS)
async def test_the_time_limit_can_be_said(call: str) -> None:
    began = trio.current_time()
    assert "within 1.5 s" in str(await lost(call, Panel(_silence), timeout=1.5))
    assert trio.current_time() - began == pytest.approx(1.5)


@pytest.mark.parametrize("call", CALLS)
async def test_interim_answers_are_no_answers(call: str) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    with Panel(saying(interim * 3 + answer(GOOD[call]))).there():
        assert not isinstance(await ask(CALLS[call]), BaseException)


# --- who hangs up, or is no panel ---

NO_HTTP = [
    b"",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 OK\r\nA",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + SAID,
    b"HTTP/9.9 " + SAID + b"\r\n\r\n",
    b"SSH-2.0-" + SAID + b"\r\n\r\n",
    b"\x16\x03\x01" + SAID,
    b"HTTP/1.1 200 OK\r\n" + SAID + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + SAID + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + SAID + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100_000,
    b"HTTP/1.1 99999 OK\r\n\r\n",
]


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("said", NO_HTTP, ids=lambda said: ascii(said[:60]))
async def test_what_is_no_http_is_no_connection(call: str, said: bytes) -> None:
    error = await lost(call, Panel(saying(said)))
    assert type(error) is (SpanPanelOutcomeUnknownError if call == ROTATE else SpanPanelConnectionError)


@pytest.mark.parametrize("call", CALLS)
async def test_chunks_that_are_none_break_off(call: str) -> None:
    error = await lost(call, Panel(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz" + SAID + b"\r\n")))
    assert "broke off" in str(error)


@pytest.mark.parametrize("call", CALLS)
async def test_an_address_that_refuses_has_changed_nothing(call: str) -> None:
    panel = Panel(_silence)
    panel.refusing = True
    error = await lost(call, panel)
    assert type(error) is SpanPanelConnectionError
    assert str(error) == f"{call} at panel.test:80 failed: Connection refused"
    assert len(panel.dialled) == 1


async def test_what_the_caller_is_handling_is_not_why() -> None:
    panel = Panel(_silence)
    panel.refusing = True
    try:
        raise ssl.SSLCertVerificationError(1, f"of something else, {ECHO}")
    except ssl.SSLError:
        with panel.there():
            error = await ask(CALLS[ROTATE])
        assert type(error) is SpanPanelConnectionError
        assert str(error).endswith("failed: Connection refused")


# --- TLS ---

PINNED = [call for call in CALLS if not call.endswith("/ca")]


@pytest.mark.parametrize("call", PINNED)
async def test_all_but_the_ca_goes_over_tls_where_there_is_one(call: str) -> None:
    panel = Panel(saying(answer(GOOD[call])), tls=server_tls())
    with panel.there():
        assert not isinstance(await ask(CALLS[call], tls=TLS), BaseException)
    assert panel.dialled == [("panel.test", 443)]


@pytest.mark.parametrize("call", PINNED)
async def test_a_certificate_for_somebody_else_gets_nothing_to_read(call: str) -> None:
    panel = Panel(saying(answer(GOOD[call])), tls=server_tls("other.test"))
    error = await lost(call, panel, tls=TLS)
    assert type(error) is SpanPanelCertificateError
    assert "panel.test" in str(error)
    assert panel.requests == []


@pytest.mark.parametrize("call", PINNED)
async def test_a_certificate_of_another_ca_gets_nothing_to_read(call: str) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    panel = Panel(saying(answer(GOOD[call])), tls=server_tls())
    assert type(await lost(call, panel, tls=stranger)) is SpanPanelCertificateError
    assert panel.requests == []


async def _no_tls(stream: trio.abc.Stream) -> None:
    await stream.send_all(answer(SAID, "400 Bad Request"))


async def test_plain_http_where_tls_was_expected() -> None:
    panel = Panel(_no_tls)

    async def speak_first(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await _no_tls(stream)
        await stream.aclose()

    panel._handle = speak_first  # type: ignore[method-assign]
    error = await lost(ROTATE, panel, tls=TLS)
    assert type(error) is SpanPanelConnectionError


class _Deaf(Panel):
    """Accepts, and never says a word: the TLS handshake hangs."""

    def __init__(self) -> None:
        super().__init__(_silence)
        self.ended = False

    async def _handle(self, stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass
        self.ended = True


@pytest.mark.parametrize("call", PINNED)
async def test_a_handshake_that_hangs_ends_in_time_and_leaves_nothing_open(call: str) -> None:
    panel = _Deaf()
    began = trio.current_time()
    error = await lost(call, panel, tls=TLS)
    assert type(error) is SpanPanelConnectionError  # also of the rotation: nothing was sent
    assert trio.current_time() - began == pytest.approx(seconds(call))
    await trio.testing.wait_all_tasks_blocked()
    assert panel.ended


async def test_a_handshake_that_is_cancelled_leaves_nothing_open() -> None:
    panel = _Deaf()
    with panel.there():
        async with opened(tls=TLS) as rest, trio.open_nursery() as nursery:
            nursery.start_soon(rest.list_clients)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert panel.ended


# --- cancellation ---


@pytest.mark.parametrize("call", [call for call in CALLS if call != ROTATE])
async def test_cancellation_is_cancellation_and_closes_the_connection(call: str) -> None:
    panel = Panel(_silence)
    with panel.there():
        began = trio.current_time()
        async with opened() as rest, trio.open_nursery() as nursery:
            nursery.start_soon(CALLS[call], rest)
            await trio.testing.wait_all_tasks_blocked()
            assert panel.requests
            nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert panel.open == 0


async def test_a_rotation_that_is_cancelled_brings_both_secrets_all_the_same() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await trio.sleep(7)
        await stream.send_all(answer(GOOD[ROTATE]))

    got: list[Any] = []
    with Panel(serve).there(), trio.move_on_after(1) as scope:
        async with opened() as rest:
            got.append(await rest.regenerate_passphrase())
        got.append("no checkpoint so far")
        await trio.lowlevel.checkpoint()
        got.append("never")
    assert scope.cancelled_caught
    assert [len(got), got[0].passphrase, got[0].broker_password] == [
        2,
        "phrase-from-the-panel",
        "password-from-the-panel",
    ]


async def test_a_rotation_that_is_cancelled_before_it_is_sent_is_not_sent() -> None:
    panel = _Deaf()
    with panel.there(), trio.move_on_after(1) as scope:
        async with opened(tls=TLS) as rest:
            await rest.regenerate_passphrase()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1)


async def test_a_rotation_that_is_cancelled_does_not_wait_for_ever() -> None:
    with Panel(_silence).there(), trio.move_on_after(1):
        async with opened() as rest:
            with pytest.raises(SpanPanelOutcomeUnknownError):
                await rest.regenerate_passphrase()
    assert trio.current_time() == pytest.approx(15)


async def test_calls_of_several_tasks_do_not_wait_for_each_other() -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await trio.sleep(3)
        await stream.send_all(answer(GOOD["GET /api/v2/status"]))

    with Panel(serve).there():
        async with opened() as rest, trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(rest.get_status))
    assert trio.current_time() == pytest.approx(3)
