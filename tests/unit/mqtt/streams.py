"""For hypothesis: what a broker may send, next to what must come of it, and ways to cut a stream of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from span_trio.homie import Message
from span_trio.mqtt import ConnAck, Event, Messages, Pong, PubAck, SubAck
from tests.unit.mqtt import packets

__all__ = ["Arrival", "Sent", "crumbs", "cut", "cuts", "flat", "positions", "sessions"]

Arrival: TypeAlias = Message | Event
"""An event, or one message of a `Messages`."""


class Sent(NamedTuple):
    """A packet and what must come of it, if anything."""

    raw: bytes
    arrives: Arrival | None = None


def _sent_publish(topic: str, payload: bytes, retain: bool) -> Sent:
    return Sent(packets.publish(topic, payload, retain), Message(topic, payload, retain))


def _sent_suback(mid: int, codes: list[int]) -> Sent:
    return Sent(packets.suback(mid, codes), SubAck(mid, refused=0x80 in codes))


_mids = st.integers(1, 0xFFFF)
_publishes = st.builds(
    _sent_publish,
    topic=st.text(min_size=1, max_size=6),
    payload=st.binary(max_size=8) | st.integers(120, 200).map(bytes),  # lengths of one byte, and of two
    retain=st.booleans(),
)
_answers = st.one_of(
    st.just(Sent(packets.pingresp(), Pong())),
    st.builds(_sent_suback, _mids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=4)),
    st.integers(0, 5).map(lambda code: Sent(packets.connack(code), ConnAck(code))),
    _mids.map(lambda mid: Sent(packets.puback(mid), PubAck(mid))),
    _mids.map(packets.unsuback).map(Sent),
)

sessions = st.lists(_publishes | _answers, max_size=10)
"""Valid packets of a broker, in an order that need not make sense."""

positions = st.integers(0, 9999)
"""Somewhere in a stream, counting from its beginning again when beyond its end."""

cuts = st.lists(positions, max_size=12)
"""Where to `cut`."""


def cut(stream: bytes, where: Iterable[int]) -> list[bytes]:
    """The stream in pieces, some perhaps empty."""
    edges = [0, *sorted(position % (len(stream) + 1) for position in where), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def crumbs(stream: bytes, size: int = 1) -> list[bytes]:
    """The stream in pieces of ``size`` bytes."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def flat(events: Iterable[Event]) -> list[Arrival]:
    """The events with every message by itself: equal for streams that differ only in where they were cut."""
    arrivals: list[Arrival] = []
    for event in events:
        arrivals.extend(event.batch if isinstance(event, Messages) else [event])
    return arrivals
