"""Everything about a connection that has a sensible default."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs

from .arguments import demand, is_count, is_time
from .homie import Limits
from .span import HomieSchema

__all__ = ["PanelOptions", "Transport"]

Transport: TypeAlias = Literal["mqtts", "mqtt", "wss", "ws"]


def _check(fits: Callable[[Any], bool], what: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        demand(fits(value), attribute.name, what, value)

    return validate


def _fits(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _one_of(*words: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    return _check(lambda value: value in words, "one of " + ", ".join(map(repr, words)))


_positive = _check(lambda value: is_time(value) and value > 0, "a positive number")
_not_negative = _check(is_time, "a number, 0 or more")
_flag = _check(lambda value: isinstance(value, bool), "True or False")
_port = _check(lambda value: type(value) is int and 0 < value < 65_536, "a port number")
_size = _check(partial(is_count, least=1), "a whole number, 1 or more")
_keepalive = _check(lambda value: type(value) is int and 0 < value < 65_536, "whole seconds, 1 to 65535")  # two bytes
_domain = _check(lambda value: _fits(r"[^/+#\0]+(/[^/+#\0]+)*", value), "levels of a topic, without wildcards")
_fingerprint = _check(
    lambda value: value is None or _fits(r"(?i)([0-9a-f]{2}:?){31}[0-9a-f]{2}", value), "a SHA-256 in hex, or None"
)


@attrs.frozen(kw_only=True)
class PanelOptions:
    """How to connect, and how long to wait for what. All times in seconds.

    Raises:
        SpanPanelValidationError: a value cannot be meant.
    """

    transport: Transport = attrs.field(default="mqtts", validator=_one_of("mqtts", "mqtt", "wss", "ws"))
    """MQTT over TLS, plain (which no panel offers, but a broker of your own), or over WebSocket with or without TLS."""
    mqtts_port: int | None = attrs.field(default=None, validator=attrs.validators.optional(_port))
    """``None``: as the panel told when it was registered with, else 8883."""
    mqtt_port: int = attrs.field(default=1883, validator=_port)
    wss_port: int | None = attrs.field(default=None, validator=attrs.validators.optional(_port))
    """``None``: as the panel told when it was registered with, else 9002."""
    ws_port: int | None = attrs.field(default=None, validator=attrs.validators.optional(_port))
    """``None``: as the panel told when it was registered with, else 9001."""
    websocket_path: str = attrs.field(
        default="/mqtt", validator=_check(lambda value: _fits(r"/[!-~]*", value), "a path")
    )
    source: Literal["panel", "bridge"] = attrs.field(default="panel", validator=_one_of("panel", "bridge"))
    """Whether the broker is the panel's own, or one that carries the panel's tree: fed by a bridge, say. Of a bridge no
    REST API is asked; its certificate must be of the CA in the credentials, or else of one that this system trusts."""
    http_port: int = attrs.field(default=80, validator=_port)
    """Of the REST API, for what needs no secret: the CA certificate."""
    https_port: int = attrs.field(default=443, validator=_port)
    """Of the REST API over the pinned CA."""
    ca_sha256: str | None = attrs.field(default=None, validator=_fingerprint)
    """The fingerprint that a fetched CA must have (hex, colons and case do not matter)."""
    domain: str = attrs.field(default="ebus", validator=_domain)
    """The Homie domain: ``ebus``, or what a bridge has made of it; with a prefix before it, ``kitchen/ebus``."""
    schema: HomieSchema | None = attrs.field(
        default=None, validator=_check(lambda value: value is None or isinstance(value, HomieSchema), "a HomieSchema")
    )
    """The panel's REST schema, if it is known already."""
    on_ca_change: Literal["raise", "wait"] = attrs.field(default="raise", validator=_one_of("raise", "wait"))
    """What to do when the panel, asked three times over a minute, hands out another CA than the trusted one: end the
    block with a `SpanPanelCertificateError`, or go on trying."""
    fetch_schema: bool = attrs.field(default=True, validator=_flag)
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
    max_silence: float = attrs.field(default=60.0, validator=_positive)
    """How long no value may come until the panel is not live any more, though its broker is alive. A panel speaks about
    once a second. What the broker has retained does not count: in every session the panel is live with the first value
    that it publishes, a second later or so, and again so after it was not ready. Infinity: there is no limit, and what
    is retained is believed."""
    auth_grace: float = attrs.field(default=900.0, validator=_not_negative)
    """How long a panel that was live may refuse the credentials until that ends the block: somebody rotates the
    passphrase, a panel boots. Until then they are read from their source, and tried, again and again."""
    close_grace: float = attrs.field(default=1.0, validator=_not_negative)
    """How long closing may take, to say goodbye properly."""

    limits: Limits = attrs.field(factory=Limits, validator=_check(lambda value: isinstance(value, Limits), "a Limits"))
    """How much is kept at most, whatever a peer sends."""
    max_packet: int = attrs.field(default=4 * 2**20, validator=_size)
    """The largest MQTT packet that is taken, bytes."""
    edges_held: int = attrs.field(
        default=256, validator=_check(partial(is_count, least=2), "a whole number, 2 or more")
    )
    """How many edges are kept for slow readers."""

    @property
    def encrypted(self) -> bool:
        """Whether the transport is one over TLS."""
        return self.transport in {"mqtts", "wss"}
