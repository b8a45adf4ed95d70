"""The connection task: one session after another, for as long as a panel is open.

The rules of this room:

* Each session has an epoch, a new paho client and, told by `LinkUp`, a new tree. Between sessions nothing is to be
  believed.
* What a retry may mend is retried for ever, with full jitter, and told as a `ConnectFailed`: names are resolved anew,
  credentials that were refused are read from their source again. An exception that nobody expected, be it from a
  dialer or from where the credentials come from, is logged and retried too: this task does not die silently (lesson D,
  "reconnect loop dies for ever").
* However long an outage lasts, each reason is logged once in it, and not more than `_TOLD_AT_MOST` of them.
* Only this ends it, and by a return value: the very first connect fails (who opens a panel wants to know);
  the credentials are refused for longer than ``auth_grace``; the panel has another CA, asked `_PROBES` times over a
  minute, since what it says over plain HTTP is evidence and no proof.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Final, cast

import attrs
import trio

from ..background import unprotected
from ..credentials import SpanCredentials, fingerprint
from ..enums import ConnectionReason
from ..errors import (
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelInternalError,
    SpanPanelValidationError,
)
from ..homie import Obstacle
from ..options import PanelOptions
from ..wiretext import get_logger
from .backoff import CEILING, SILENT_CEILING, SOON, Backoff
from .connect import broker_port, open_link, the_dialer
from .dial import Dialer
from .events import ConnectFailed, LinkEvent, LinkUp
from .session import Link
from .trust import diagnose, load_trust

__all__ = ["Connection"]

_log = get_logger("span_trio.link")

_PROBES: Final = 3
_PROBE_EVERY: Final = 30.0  # s; a panel answers ten requests for its CA in a minute, or fewer (facts, REST section 3)
_TOLD_AT_MOST: Final = 20
_SESSION_COUNTS: Final = CEILING  # s; one that lasted less does not reset the backoff, or two clients of one id would
# take turns as fast as they can connect


class Connection:
    """Keeps a session with one broker.

    Args:
        host: name or address; resolved anew for each attempt.
        credentials: to begin with; with a serial number.
        ca_pem: whom to trust; ``None``: whom this system trusts. Without TLS it does not matter.
        options: as of the panel.
        ask: gives the credentials of now; asked when those of before were refused.
        fetch_ca: gives the CA that the panel hands out now; ``None``: there is nobody to ask.
        dialer: how to get a stream, if not by `dial`.
        backoff: how long to wait.
    """

    def __init__(
        self,
        host: str,
        credentials: SpanCredentials,
        ca_pem: str | None,
        options: PanelOptions,
        *,
        ask: Callable[[], Awaitable[SpanCredentials]],
        fetch_ca: Callable[[], Awaitable[str]] | None,
        dialer: Dialer | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.epoch: int = 0
        """The number of the newest session."""
        self.ca_pem: str | None = ca_pem
        self._host = host
        self._credentials = credentials
        self._options = options
        self._ask = ask
        self._fetch_ca = fetch_ca
        self._dialer = dialer
        self._backoff = Backoff() if backoff is None else backoff
        self._tls: ssl.SSLContext | None = None
        self._ready = False  # a session has led to a live tree
        self._refused_since: float | None = None
        self._verdict: SpanPanelCertificateError | None = None  # the newest probe's
        self._verdict_at = float("-inf")
        self._agreeing = 0  # probes in a row that found the same other CA
        self._told: set[Obstacle | str] = set()  # in this outage
        self._replacing = trio.Lock()
        self._retired: set[str | None] = set()  # passwords that were replaced: never tried again (lesson D, rotation)

    async def tls(self) -> ssl.SSLContext | None:
        """The context for whom is trusted now; ``None`` for a plain transport."""
        if self._tls is None and self._options.encrypted:
            self._tls = await load_trust(self.ca_pem)
        return self._tls

    async def replace(self, make: Callable[[SpanCredentials], Awaitable[SpanCredentials]]) -> SpanCredentials:
        """Make other credentials of those of now; nobody logs in meanwhile, and with the old ones never again."""
        async with self._replacing:
            before = self._credentials
            self._credentials = await make(before)
            self._retired.add(before.broker_password)
            self._retired.discard(self._credentials.broker_password)
            return self._credentials

    async def run(self, events: trio.MemorySendChannel[list[LinkEvent]]) -> SpanPanelError:
        """Keep connected until that cannot be; returns why. When cancelled, the session is ended in order (I11)."""
        while True:
            async with self._replacing:
                pass
            why, ceiling, fatal = await self._attempt(events)
            if fatal is not None:
                return fatal
            self._tell(why)
            await trio.sleep(self._backoff.pause(ceiling=ceiling))

    async def _attempt(
        self, events: trio.MemorySendChannel[list[LinkEvent]]
    ) -> tuple[Obstacle, float, SpanPanelError | None]:
        """One session, if it comes to that: why there is none now, how long to wait at most, and what is fatal."""
        try:
            lost = await self._session(events)
        except Exception as error:  # noqa: BLE001 - whatever it is: told, and tried again
            failure = error
        else:
            if lost.reason is not ConnectionReason.REFUSED:
                return lost, CEILING, None
            failure = SpanPanelAuthError(f"{lost.detail} to the tree of {self._credentials.serial_number}")
        why, ceiling, fatal = await self._explain(failure)
        await events.send([ConnectFailed(why)])
        return why, ceiling, fatal

    async def _session(self, events: trio.MemorySendChannel[list[LinkEvent]]) -> Obstacle:
        link: Link
        async with open_link(self._host, self._credentials, self._options, await self.tls(), self._dialer) as link:
            self.epoch += 1
            self._agreeing, self._verdict_at = 0, float("-inf")
            began = trio.current_time()
            await events.send([LinkUp(link, self.epoch)])
            await link.run(events)
        if link.lost is None:
            raise RuntimeError("a session ended without a reason")
        if link.succeeded:
            self._ready = True
            if trio.current_time() - began >= _SESSION_COUNTS:
                self._backoff.reset()
                self._told.clear()
        if link.succeeded or link.lost.reason is not ConnectionReason.REFUSED:
            self._refused_since = None
        return link.lost

    async def _explain(self, failure: Exception) -> tuple[Obstacle, float, SpanPanelError | None]:
        fatal: SpanPanelError | None
        fresh = False  # there is something new to try
        match failure:
            case SpanPanelAuthError() | SpanPanelValidationError():  # the latter: they cannot even be sent
                fatal = failure if self._is_refused_for_good() else None
                if fatal is None:
                    fresh = await self._ask_again()
                return Obstacle(ConnectionReason.REFUSED, str(failure)), SOON if fresh else SILENT_CEILING, fatal
            case _:
                self._refused_since = None  # it has to be refused all the time
        match failure:
            case SpanPanelCertificateError():
                verdict = await self._probe(failure)
                replaced = verdict.advertised_sha256 is not None
                reason = ConnectionReason.CA_CHANGED if replaced else ConnectionReason.CERTIFICATE
                fatal = verdict if self.epoch == 0 or self._is_replaced_for_good() else None
                if fatal is None:
                    fresh = await self._ask_again()
                return Obstacle(reason, str(verdict)), SOON if fresh else CEILING, fatal
            case SpanPanelConnectionError(answered=answered):
                fatal = failure if self.epoch == 0 else None
                why = Obstacle(ConnectionReason.UNREACHABLE, str(failure))
                return why, CEILING if answered else SILENT_CEILING, fatal
            case _:
                why = Obstacle(ConnectionReason.UNREACHABLE, f"unexpected {_kind(failure)}")
                if self.epoch == 0:
                    fatal = SpanPanelInternalError(f"connecting to {self._host} failed in a way that nobody expected")
                    fatal.__cause__ = failure
                    return why, SILENT_CEILING, fatal
                if self._is_news(f"connecting: {_kind(failure)}"):
                    _log.error("connecting to %s fails in a way that nobody expected", self._host, exc_info=failure)
                return why, SILENT_CEILING, None

    def _is_refused_for_good(self) -> bool:
        now = trio.current_time()
        if self._refused_since is None:
            self._refused_since = now
        return not self._ready or now - self._refused_since >= self._options.auth_grace

    def _is_replaced_for_good(self) -> bool:
        return self._agreeing >= _PROBES and self._options.on_ca_change == "raise"

    async def _probe(self, refused: SpanPanelCertificateError) -> SpanPanelCertificateError:
        """What is wrong with the certificate; looked into now and then."""
        now = trio.current_time()
        if self._verdict is not None and now < self._verdict_at + _PROBE_EVERY:
            return self._verdict
        before, self._verdict_at = self._verdict, now
        verdict = refused
        try:
            verdict = await diagnose(
                refused,
                self._host,
                broker_port(self._credentials, self._options),
                self.ca_pem,
                dialer=the_dialer(self._options, self._dialer),
                fetch_ca=self._fetch_ca,
            )
        except Exception as error:  # noqa: BLE001 - no reason to end
            if self._is_news(f"diagnosing: {_kind(error)}"):
                _log.exception("looking into the certificate of %s fails in a way that nobody expected", self._host)
        self._verdict = verdict
        if verdict.advertised_sha256 is None:
            self._agreeing = 0
        elif before is not None and before.advertised_sha256 == verdict.advertised_sha256:
            self._agreeing += 1
        else:
            self._agreeing = 1
        return verdict

    async def _ask_again(self) -> bool:
        """Somebody may have changed the credentials where they come from, or pinned another CA. Returns whether.

        As long as a connect may last: a source that hangs must not keep us from trying what we have.
        """
        fresh: SpanCredentials | None = None
        before = self._credentials, self.ca_pem
        try:
            with trio.move_on_after(self._options.connect_timeout):
                fresh = await unprotected(self._ask)
            if fresh is None:
                self._warn("cannot be had anew: their source does not answer")
            elif fresh.serial_number not in {None, self._credentials.serial_number}:
                self._warn("are those of another panel now, and are not used")
            elif fresh.broker_password in self._retired:
                self._warn("are those of before the passphrase was changed, and are not used")
            else:
                await self._adopt(fresh)
        except SpanPanelError as error:
            self._warn(f"cannot be had anew: {error}")
        except Exception as error:  # noqa: BLE001 - of the user's making; its message may hold what is secret
            self._warn(f"cannot be had anew: their source raises {_kind(error)}")
        return before != (self._credentials, self.ca_pem)

    async def _adopt(self, fresh: SpanCredentials) -> None:
        if self._options.encrypted and fresh.ca_pem is not None and fresh.ca_pem != self.ca_pem:
            found, expected = fingerprint(fresh.ca_pem), (self._options.ca_sha256 or "").replace(":", "").lower()
            if expected not in {"", found}:
                raise SpanPanelValidationError(f"their CA has SHA-256 {found}, expected {expected}")
            self._tls = await load_trust(fresh.ca_pem)
            self.ca_pem = fresh.ca_pem
            self._agreeing, self._verdict_at = 0, float("-inf")
            _log.warning("the CA of %s that is trusted was replaced: SHA-256 %s", self._host, found)
        self._credentials = attrs.evolve(fresh, serial_number=self._credentials.serial_number)

    # --- what is told to the log ---

    def _warn(self, what: str) -> None:
        if self._is_news(what):
            _log.warning("the credentials for %s %s", self._host, what)

    def _tell(self, why: Obstacle) -> None:
        if self._is_news(why):
            _log.info("no session with %s: %s", self._host, why)

    def _is_news(self, what: Obstacle | str) -> bool:
        if what in self._told or len(self._told) >= _TOLD_AT_MOST:
            return False
        self._told.add(what)
        return True


def _kind(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseException", error.exceptions[0])
    return type(error).__name__
