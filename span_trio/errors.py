"""Everything that span_trio raises on purpose.

::

    SpanPanelError
     +-- SpanPanelAuthError            credentials or subscription refused
     |    +-- SpanPanelPrivilegeError  ... because the access token is of the lesser kind that a door proof gives
     +-- SpanPanelConnectionError      no link to the panel, or the link was lost
     |    +-- SpanPanelCertificateError ... because of its certificate, or of another CA
     +-- SpanPanelTimeoutError         the panel did not become ready in time; names what is missing
     +-- SpanPanelValidationError      an argument, a file or a setting cannot be meant
     |    +-- SpanPanelNotStoredError  ... so that new credentials are not in the store, but with this error
     +-- SpanPanelAPIError             the REST API answered something it should not have
     |    +-- SpanPanelServerError     ... because it is down or still starting: worth a retry
     |    +-- SpanPanelRateLimitError  ... because it was asked too often; says when to ask again
     |    +-- SpanPanelFaultError      ... because it cannot read its own passphrase, or its own CA
     |    +-- SpanPanelUnsupportedError    ... because its firmware does not offer that
     |    +-- SpanPanelOutcomeUnknownError ... so that it may have done what it was asked to do, or not
     +-- SpanPanelDataModelError       the panel publishes a data model that is not known, or not readable
     +-- SpanPanelCommandError         a command was refused, and nothing was sent; names the reason
     |    +-- SpanPanelUnknownTargetError   ... there is no such circuit, charger or property, or no such control of it
     |    +-- SpanPanelLockedError          ... it is there, and must not be commanded
     |    +-- SpanPanelCommandValueError    ... the value is outside of what it takes (and a SpanPanelValidationError)
     |    +-- SpanPanelNotAuthorisedError   ... the program's own `authorise` said no, or nothing in time
     +-- SpanPanelStaleDataError       there is no current data; names the reason
     +-- SpanPanelClosedError          used after its async with block had ended
     +-- SpanPanelInternalError        a bug in span_trio: please report it

No message, attribute or cause of these carries a secret, and no message has anything in it that a terminal would obey.
Cancellation is never turned into one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .enums import ConnectionReason, RefusalReason
from .wiretext import printable

if TYPE_CHECKING:
    from .credentials import SpanCredentials

__all__ = [
    "SpanPanelAPIError",
    "SpanPanelAuthError",
    "SpanPanelCertificateError",
    "SpanPanelClosedError",
    "SpanPanelCommandError",
    "SpanPanelCommandValueError",
    "SpanPanelConnectionError",
    "SpanPanelDataModelError",
    "SpanPanelError",
    "SpanPanelFaultError",
    "SpanPanelInternalError",
    "SpanPanelLockedError",
    "SpanPanelNotAuthorisedError",
    "SpanPanelNotStoredError",
    "SpanPanelOutcomeUnknownError",
    "SpanPanelPrivilegeError",
    "SpanPanelRateLimitError",
    "SpanPanelServerError",
    "SpanPanelStaleDataError",
    "SpanPanelTimeoutError",
    "SpanPanelUnknownTargetError",
    "SpanPanelUnsupportedError",
    "SpanPanelValidationError",
]


class SpanPanelError(Exception):
    """The base of every error that span_trio raises.

    What a panel said is quoted in messages with what is not printable replaced; attributes have it as it was said.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(printable(each) if isinstance(each, str) else each for each in arguments))


class SpanPanelAuthError(SpanPanelError):
    """The panel refused the credentials, or the broker refused the subscription to the panel's tree."""


class SpanPanelConnectionError(SpanPanelError):
    """There is no link: the address refuses, nothing answers, TLS fails, or the link was lost.

    Attributes:
        answered: whether somebody was there: what refuses or hangs up may be asked again sooner than silence.
    """

    def __init__(self, message: str, *, answered: bool = True) -> None:
        super().__init__(message)
        self.answered = answered


class SpanPanelCertificateError(SpanPanelConnectionError):
    """TLS failed: the certificate is not good for this host, or is not of the CA that is trusted.

    Attributes:
        trusted_sha256: the fingerprint of the CA that is trusted; ``None`` if that is not the question.
        advertised_sha256: of the CA that the panel hands out, where that is another one: it was replaced (a firmware
            upgrade or a factory reset can do that), or this is not your panel. A person has to decide.
    """

    def __init__(
        self, message: str, *, trusted_sha256: str | None = None, advertised_sha256: str | None = None
    ) -> None:
        super().__init__(message)
        self.trusted_sha256 = trusted_sha256
        self.advertised_sha256 = advertised_sha256


class SpanPanelTimeoutError(SpanPanelError):
    """The panel was not ready within ``ready_timeout``.

    Attributes:
        missing: what was still awaited, in words (``"$state of nt-2143-c1akc"``).
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class SpanPanelValidationError(SpanPanelError, ValueError):
    """An argument, a file or a setting cannot be meant; nothing was done."""


class SpanPanelNotStoredError(SpanPanelValidationError):
    """New credentials could not be stored: this error holds the only copy. Save it.

    Attributes:
        credentials: a `SpanCredentials`; neither its repr nor this error's shows a secret.
    """

    def __init__(self, message: str, credentials: SpanCredentials) -> None:
        super().__init__(message)
        self.credentials = credentials


class SpanPanelAPIError(SpanPanelError):
    """The REST API answered something it should not have.

    Attributes:
        endpoint: method and path (``"GET /api/v2/status"``).
        status: the HTTP status, or ``None`` when there was no answer.
    """

    def __init__(self, message: str, *, endpoint: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.status = status


class SpanPanelServerError(SpanPanelAPIError):
    """The panel's web server is down or still starting (5xx, a truncated body): worth a retry."""


class SpanPanelRateLimitError(SpanPanelAPIError):
    """The REST API was asked too often.

    Attributes:
        retry_after: how long to leave it alone, s; ``None`` where the panel does not say.
    """

    def __init__(
        self, message: str, *, endpoint: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, endpoint=endpoint, status=status)
        self.retry_after = retry_after


class SpanPanelFaultError(SpanPanelAPIError):
    """The panel cannot read its own passphrase, or its own CA certificate. What you gave it is not what is wrong."""


class SpanPanelUnsupportedError(SpanPanelAPIError):
    """The panel's firmware does not offer that."""


class SpanPanelOutcomeUnknownError(SpanPanelAPIError):
    """Whether the panel has changed its passphrase is not known: no answer came, or none that tells the new one.

    The old one may be good no more. Register again: with the passphrase that SPAN's app shows, or by the door.
    """


class SpanPanelPrivilegeError(SpanPanelAuthError):
    """The access token is of the lesser kind that a door proof gives, and the panel wants the other.

    Register again, with the passphrase (the first registration answered it) and under another name.
    """


class SpanPanelDataModelError(SpanPanelError):
    """The panel publishes a data model that this version of span_trio does not know, or whose version is unreadable.

    Read by another model its values would look plausible and be wrong. A newer span_trio may know it.

    Attributes:
        version: as published.
    """

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


class SpanPanelCommandError(SpanPanelError):
    """A command was refused before anything was sent, and never will be sent.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: RefusalReason, what: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.reason = reason


class SpanPanelUnknownTargetError(SpanPanelCommandError):
    """There is no such circuit, charger or property, or no such control of it."""


class SpanPanelLockedError(SpanPanelCommandError):
    """It is there, and must not be commanded: commissioned so, not declared as settable, or its device is away."""


class SpanPanelCommandValueError(SpanPanelCommandError, SpanPanelValidationError):
    """The value is outside of what the property takes; it is never clamped or rounded on the way."""


class SpanPanelNotAuthorisedError(SpanPanelCommandError):
    """The program's own ``authorise`` said no, or nothing by the command's deadline."""


class SpanPanelStaleDataError(SpanPanelError):
    """There is no current data: the panel is not live. Old data is never handed out instead.

    Attributes:
        reason: why not, now. The offline edge has the same, unless more has become known since.
        detail: the particulars.
    """

    def __init__(self, reason: ConnectionReason, detail: str = "") -> None:
        super().__init__(f"the panel is not live: {reason}: {detail}" if detail else f"the panel is not live: {reason}")
        self.reason = reason
        self.detail = detail


class SpanPanelClosedError(SpanPanelError):
    """A panel, or an iterator of it, was used after its ``async with`` block had ended."""

    def __init__(self, message: str = "the panel is closed") -> None:
        super().__init__(message)


class SpanPanelInternalError(SpanPanelError):
    """Something failed that cannot fail: a bug in span_trio. The cause is attached; please report it."""
