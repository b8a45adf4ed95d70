"""What came back, and reading it: every way in which it can be wrong is a named error, and none quotes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeVar, cast

import attrs

from ..errors import SpanPanelAPIError, SpanPanelError, SpanPanelRateLimitError, SpanPanelServerError
from .endpoints import Endpoint, Refusal

__all__ = ["Answer", "fail"]

_T = TypeVar("_T")
_E = TypeVar("_E", bound=SpanPanelAPIError)

_NOTHING: Final = object()


@attrs.frozen
class Answer:
    """What came back from ``endpoint``.

    Attributes:
        endpoint: which was asked.
        status: of HTTP.
        body: as far as it was read; of a refusal that says enough, nothing.
        flaw: what is wrong with the body as a whole, and what that is; ``None``: nothing.
        retry_after: what the header of that name says, s.
    """

    endpoint: Endpoint
    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    flaw: Refusal | None = None
    retry_after: float | None = None

    def check(self) -> None:
        """Go on only with what is no refusal, and whole.

        Raises:
            SpanPanelError: as `check_status`.
            SpanPanelServerError: the answer broke off.
            SpanPanelAPIError: it is too large.
        """
        self.check_status()
        if self.flaw is not None:
            kind, why = self.flaw
            raise fail(kind, f"{self.endpoint} gave an answer that {why}", self.endpoint, self.status)

    def check_status(self) -> None:
        """Go on only with what is no refusal.

        Raises:
            SpanPanelError: as `Endpoint.refusal` has it.
        """
        refusal = self.endpoint.refusal(self.status)
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> NoReturn:
        """Raise what the table says."""
        kind, why = refusal
        message = f"{self.endpoint} answered {self.status}" + (f": {why}" if why else "")
        raise fail(kind, message, self.endpoint, self.status, self.retry_after)

    def error(self, kind: type[_E], why: str) -> _E:
        """An error about this answer."""
        return kind(f"{self.endpoint} {why}", endpoint=str(self.endpoint), status=self.status)

    def json(self) -> Mapping[str, Any]:
        """The body, which is to be a JSON object.

        Raises:
            SpanPanelServerError: it is no JSON: half a body, or the page of a proxy, while booting (lessons C).
            SpanPanelAPIError: it is something else.
        """
        document: object = _NOTHING
        deep = False
        try:
            document = json.loads(self.body)
        except RecursionError:
            deep = True
        except ValueError:
            pass
        # Raised here: what json raises carries the whole text, and would come along as the context.
        if deep:
            raise self.error(SpanPanelAPIError, "gave an answer that is nested too deeply")
        if document is _NOTHING:
            raise self.error(SpanPanelServerError, "gave an answer that is not JSON")
        if not isinstance(document, dict):
            raise self.error(SpanPanelAPIError, "gave an answer that is not a JSON object")
        return cast("dict[str, Any]", document)

    def field(self, document: Mapping[str, Any], name: str, kind: type[_T], *, within: str = "") -> _T:
        """A required field of a JSON object.

        Raises:
            SpanPanelAPIError: it is missing, or of another type; names it.
        """
        value = document.get(name)
        if type(value) is not kind:  # not isinstance: true is no port
            raise self.error(SpanPanelAPIError, f"gave an answer without {within}{name}")
        return value

    def text(self, document: Mapping[str, Any], name: str) -> str:
        """A required field that is a word or more.

        Raises:
            SpanPanelAPIError: it is missing, empty, or nothing that can be shown; names it.
        """
        value = self.field(document, name, str)
        if not value or not value.isprintable():
            raise self.error(SpanPanelAPIError, f"gave an answer without {name}")
        return value


def fail(
    kind: type[SpanPanelError],
    message: str,
    endpoint: Endpoint,
    status: int | None = None,
    retry_after: float | None = None,
) -> SpanPanelError:
    """An error of any kind, with as much as that kind can hold."""
    if issubclass(kind, SpanPanelRateLimitError):
        return kind(message, endpoint=str(endpoint), status=status, retry_after=retry_after)
    if issubclass(kind, SpanPanelAPIError):
        return kind(message, endpoint=str(endpoint), status=status)
    return kind(message)
