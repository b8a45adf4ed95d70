"""Everything that span_trio raises on purpose.

::

    SpanPanelError
     +-- SpanPanelAuthError            credentials or subscription refused
     +-- SpanPanelConnectionError      no link to the panel, or the link was lost
     +-- SpanPanelTimeoutError         the panel did not become ready in time; names what is missing
     +-- SpanPanelValidationError      an argument, a file or a setting cannot be meant
     +-- SpanPanelAPIError             the REST API answered something it should not have
     |    +-- SpanPanelServerError     ... because it is down or still starting: worth a retry
     +-- SpanPanelStaleDataError       there is no current data; names the reason
     +-- SpanPanelClosedError          used after its async with block had ended
     +-- SpanPanelInternalError        a bug in span_trio: please report it

No message, attribute or cause of these carries a secret. Cancellation is never turned into one of them.
"""

from __future__ import annotations

__all__ = [
    "SpanPanelAPIError",
    "SpanPanelAuthError",
    "SpanPanelClosedError",
    "SpanPanelConnectionError",
    "SpanPanelError",
    "SpanPanelInternalError",
    "SpanPanelServerError",
    "SpanPanelStaleDataError",
    "SpanPanelTimeoutError",
    "SpanPanelValidationError",
]


class SpanPanelError(Exception):
    """The base of every error that span_trio raises."""


class SpanPanelAuthError(SpanPanelError):
    """The panel refused the credentials, or the broker refused the subscription to the panel's tree."""


class SpanPanelConnectionError(SpanPanelError):
    """There is no link: the address refuses, nothing answers, TLS fails, or the link was lost."""


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


class SpanPanelStaleDataError(SpanPanelError):
    """There is no current data: the panel is not live. Old data is never handed out instead.

    Attributes:
        reason: why, as text; equal to the reason of the offline edge.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the panel is not live: {reason}")
        self.reason = reason


class SpanPanelClosedError(SpanPanelError):
    """A panel, or an iterator of it, was used after its ``async with`` block had ended."""

    def __init__(self, message: str = "the panel is closed") -> None:
        super().__init__(message)


class SpanPanelInternalError(SpanPanelError):
    """Something failed that cannot fail: a bug in span_trio. The cause is attached; please report it."""
