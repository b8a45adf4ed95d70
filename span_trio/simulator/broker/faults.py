"""What can be wrong with a broker, as long as a switch says so."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .filters import is_filter
from .packets import PacketType

__all__ = ["BrokerFaults"]


def _kinds(kinds: Iterable[PacketType]) -> frozenset[PacketType]:
    return frozenset(kinds)


def _filters(filters: Iterable[str]) -> frozenset[str]:
    return frozenset([filters] if isinstance(filters, str) else filters)


def _valid(_: object, __: object, filters: frozenset[str]) -> None:
    for text in sorted(filters):
        if not is_filter(text):
            raise ValueError(f"{text!r} is no filter for topics")


@attrs.frozen(kw_only=True)
class BrokerFaults:
    """What is wrong with a broker, for all its clients. Without arguments: nothing.

    Immutable; ``broker.faults = BrokerFaults(mute=True)`` begins a fault in the middle of whatever goes on, and
    ``broker.faults = BrokerFaults()`` ends it. (What happens once and is over, `Broker.drop`, `Broker.inject` and
    `Broker.clear_retained`, are methods.)

    Raises:
        ValueError: a value cannot be meant.
    """

    hang_up: bool = False
    """New connections are closed before a byte was read: the port is open, and nobody is behind it yet. A panel that
    boots does this (lesson D, "the reconnect loop dies for ever")."""

    mute: bool = False
    """Everything is read and nothing is done about it or answered, nor are messages delivered; they are lost. A broker
    that is stuck behind a working network (probe "the broker stops answering", lesson D "silent partition")."""

    freeze: bool = False
    """Neither read nor write: half open, as a cut cable or a stopped process leaves it (probe "the broker stops
    answering (SIGSTOP)", lesson D "silent partition: TCP alive, no traffic"). Nothing is lost: what arrives meanwhile
    is taken when the fault ends, and what should have been sent is sent. No client is given up meanwhile."""

    slow: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    """Bytes a second to each client: a bad wireless link. What does not fit the queue is dropped as by mosquitto
    (lesson B, "the connect finished with a partial tree"; "names arrive after ready")."""

    drip: bool = False
    """One byte at a time: packets and texts are cut everywhere, also within a character."""

    refuse_login: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.and_(attrs.validators.ge(1), attrs.validators.le(255))),
    )
    """The CONNACK code for everybody: 4 or 5 for credentials (lesson D, "the broker refuses the new password right
    after the rotation"; probe "broker password rotated"), 3 for a server that is not available."""

    refuse_subscriptions: bool = False
    """SUBACK 0x80 for every filter: an access list that is not in force yet, or not for us."""

    deny: frozenset[str] = attrs.field(default=frozenset[str](), converter=_filters, validator=_valid)
    """Topics, or filters of them, to which no client may publish: what it says there is acknowledged, and dropped
    silently. ``ebus/5/+/+/relay/set``: an access list that forbids commands (facts, REST section 7)."""

    swallow: frozenset[PacketType] = attrs.field(default=frozenset(), converter=_kinds)
    """Kinds of answers that are never sent. ``{PacketType.PINGRESP}``: no replay barrier, and a peer that looks dead
    though it delivers; PUBACK: a command of which nobody knows (lesson E, "nothing by the deadline"); SUBACK; UNSUBACK,
    which some brokers never send."""

    websocket_queue: bool = False
    """Queue as mosquitto does over WebSocket: a replay of more than 999 topics stops at 999, and the PINGRESP behind it
    is lost too. With `Broker.queue_limit` another number than 1,000 shows the same in small."""

    replay_limit: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    """Only so many retained messages for each SUBSCRIBE, and a PINGRESP behind them as if all were well (lesson B,
    "the connect finished with a partial tree")."""

    duplicate_replay: bool = False
    """Every retained message twice."""

    shuffle_replay: int | None = None
    """A seed: retained messages in another order, the same for the same seed (lesson B, "the broker replays children
    before the root"; lesson A, "the description arrives before the values")."""
