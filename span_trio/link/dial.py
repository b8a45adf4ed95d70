"""From a host and port to a stream, in steps that each have a limit and leak nothing when cancelled."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias, cast

import trio

from ..background import closed_on_failure, ungrouped_interrupts
from ..errors import SpanPanelCertificateError, SpanPanelConnectionError
from .streams import TcpStream, TlsStream

__all__ = ["Dialer", "dial"]


Dialer: TypeAlias = Callable[[str, int, ssl.SSLContext | None], Awaitable[trio.abc.Stream]]
"""Host, port and whom to trust (``None``: plain) to a stream that is ready for MQTT. `dial` is one; a tunnel or a panel
in memory may be others."""


async def dial(host: str, port: int, tls: ssl.SSLContext | None, *, step_timeout: float = 3.0) -> trio.abc.Stream:
    """Connect by TCP, and by TLS on top of it where a context is given.

    All addresses of ``host`` are raced (happy eyeballs): a SYN that is lost is repeated only after 1, 3 and 7 s.

    Args:
        host: name or address; the name that the certificate must carry.
        port: TCP port.
        tls: whom to trust; ``None`` for plain TCP.
        step_timeout: the limit of each step, s.

    Raises:
        SpanPanelCertificateError: the certificate is not good for this host, or for whom we trust.
        SpanPanelConnectionError: refused, unknown name, no answer in time, or no TLS; the message says which.

    This is a checkpoint; when cancelled, or when a step fails, the socket is closed.
    """
    where = f"{host}:{port}"
    with (
        _explained(f"connecting to {where}"),
        _limited(f"no answer from {where}", step_timeout),
        ungrouped_interrupts(),
    ):
        tcp = TcpStream(await trio.open_tcp_stream(host, port))
    if tls is None:
        return tcp
    async with closed_on_failure(tcp):
        with _explained(f"TLS with {where}"), _limited(f"no TLS handshake with {where}", step_timeout):
            stream = TlsStream(tcp, tls, host)
            await stream.do_handshake()
            return stream


@contextlib.contextmanager
def _limited(what: str, seconds: float) -> Generator[None, None, None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise SpanPanelConnectionError(f"{what} within {seconds:g} s", answered=False) from None


@contextlib.contextmanager
def _explained(doing: str) -> Generator[None, None, None]:
    """Turn what the network raises into one sentence. The cause is attached; it holds addresses and no secrets."""
    try:
        yield
    except trio.BrokenResourceError as error:  # trio wraps what the TLS library says
        cause = error.__cause__
        refused = isinstance(cause, ssl.SSLCertVerificationError)
        kind = SpanPanelCertificateError if refused else SpanPanelConnectionError
        raise kind(f"{doing} failed: {cause or 'the peer hung up'}") from error
    except (OSError, UnicodeError) as error:  # gaierror and SSLError are the former; the latter: no name at all
        why = _innermost(error)
        answered = isinstance(why, ConnectionError)
        raise SpanPanelConnectionError(f"{doing} failed: {why}", answered=answered) from error


def _innermost(error: Exception) -> BaseException:
    """trio says that all attempts failed, and attaches why: one reason, or a group with one for each address."""
    cause = error.__cause__
    while isinstance(cause, ExceptionGroup):
        cause = cast("ExceptionGroup[Exception]", cause).exceptions[0]
    return cause or error
