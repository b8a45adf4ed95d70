"""Everything about a connection that has a sensible default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import attrs

from .errors import SpanPanelValidationError
from .homie import Limits
from .span import HomieSchema

__all__ = ["PanelOptions"]


def _check(fits: Callable[[Any], bool], what: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not fits(value):
            raise SpanPanelValidationError(f"{attribute.name} must be {what}, not {value!r}")

    return validate


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - no NaN


def _fits(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


_positive = _check(lambda value: _is_number(value) and value > 0, "a positive number")
_not_negative = _check(lambda value: _is_number(value) and value >= 0, "a number, 0 or more")
_port = _check(lambda value: type(value) is int and 0 < value < 65_536, "a port number")
_size = _check(lambda value: type(value) is int and value > 0, "a whole number, 1 or more")
_keepalive = _check(lambda value: type(value) is int and 0 < value < 65_536, "whole seconds, 1 to 65535")  # two bytes
_domain = _check(lambda value: _fits(r"[^/+#\0]+", value), "one level of a topic, without wildcards")
_fingerprint = _check(
    lambda value: value is None or _fits(r"(?i)([0-9a-f]{2}:?){31}[0-9a-f]{2}", value), "a SHA-256 in hex, or None"
)


@attrs.frozen(kw_only=True)
class PanelOptions:
    """How to connect, and how long to wait for what. All times in seconds.

    Raises:
        SpanPanelValidationError: a value cannot be meant.
    """

    transport: Literal["mqtts", "mqtt"] = attrs.field(
        default="mqtts", validator=_check(lambda value: value in ("mqtts", "mqtt"), "'mqtts' or 'mqtt'")
    )
    """MQTT over TLS, as a panel offers it, or plain, for a broker of your own."""
    mqtts_port: int | None = attrs.field(default=None, validator=attrs.validators.optional(_port))
    """``None``: as the panel told when it was registered with, else 8883."""
    mqtt_port: int = attrs.field(default=1883, validator=_port)
    http_port: int = attrs.field(default=80, validator=_port)
    """Of the REST API, for what needs no secret: the CA certificate."""
    https_port: int = attrs.field(default=443, validator=_port)
    """Of the REST API over the pinned CA."""
    ca_sha256: str | None = attrs.field(default=None, validator=_fingerprint)
    """The fingerprint that a fetched CA must have (hex, colons and case do not matter)."""
    domain: str = attrs.field(default="ebus", validator=_domain)
    """The Homie domain."""
    schema: HomieSchema | None = None
    """The panel's REST schema, if it is known already."""
    fetch_schema: bool = True
    """Whether to ask the REST API for the schema when the tree does not tell the panel's size (r202603)."""

    snapshot_interval: float = attrs.field(default=1.0, validator=_not_negative)
    """At most one snapshot in this time; 0: one for each batch of messages. See `SpanPanel.snapshot_interval`."""
    ready_timeout: float = attrs.field(default=30.0, validator=_positive)
    """For everything up to the first complete snapshot."""
    connect_timeout: float = attrs.field(default=8.0, validator=_positive)
    """For one connect: name resolution, TCP, TLS and login."""
    step_timeout: float = attrs.field(default=3.0, validator=_positive)
    """For each of those steps."""
    keepalive: int = attrs.field(default=8, validator=_keepalive)
    """A peer is asked for a sign of life this often, and given up after 1.5 times this."""
    settle: float = attrs.field(default=2.0, validator=_not_negative)
    """How long values of before a panel's restart may go unrepublished until they count as current again."""
    child_patience: float = attrs.field(default=10.0, validator=_not_negative)
    """How long a new child device may keep the panel from being live."""
    close_grace: float = attrs.field(default=1.0, validator=_not_negative)
    """How long closing may take, to say goodbye properly."""

    limits: Limits = attrs.field(factory=Limits)
    """How much is kept at most, whatever a peer sends."""
    max_packet: int = attrs.field(default=4 * 2**20, validator=_size)
    """The largest MQTT packet that is taken, bytes."""
