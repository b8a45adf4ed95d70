"""What can be wrong with an answer of the REST API, as long as a switch says so. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["RestFault"]


@attrs.frozen(kw_only=True)
class RestFault:
    """What is wrong with the answers of an endpoint (`~span_trio.simulator.rest.state.RestState.fail`).

    A fault that has an answer of its own (``status``, ``detail``, ``body``, ``hang_up``) comes in place of what was
    asked for, unless ``done``; the others spoil the endpoint's own answer.

    Raises:
        ValueError: a value cannot be meant.
    """

    status: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.and_(attrs.validators.ge(200), attrs.validators.le(599))),
    )
    """The status code. Without ``detail`` and ``body``, an error says its name, and 204 nothing."""

    detail: str | None = None
    """The panel's text for an error, ``{"detail": …}``."""

    body: bytes | None = None
    """The whole body: the page of a proxy, half a document, ten megabytes, nothing (lesson C, "200 with a truncated
    body during boot")."""

    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """More headers, or others: ``Content-Type``, ``Location``, ``Retry-After``."""

    keep: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    """Only so many bytes of the body, as if that were all: an application that is not up yet (lesson C, likewise)."""

    cut: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    """The connection ends behind so many bytes of the body, though more are promised. Needs ports (`listening`)."""

    hang_up: bool = False
    """The connection ends before any answer. Needs ports (`listening`)."""

    delay: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds between what was asked for, if it is done, and the answer."""

    drip: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    """Bytes a second of the body, one at a time."""

    done: bool = False
    """Whether what was asked for is done all the same, and only its answer is lost: a rotated passphrase that nobody
    was told (facts, REST section 5, "outcome unknown")."""

    @property
    def replaces(self) -> bool:
        """Whether it has an answer of its own."""
        return self.hang_up or not (self.status is None and self.detail is None and self.body is None)
