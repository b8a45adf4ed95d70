"""Values that say when they were published: a round's number, which is a time, in every value of the round."""

from __future__ import annotations

import time
from collections.abc import Iterator

from span_trio import SpanPanelSnapshot
from span_trio.homie import Message
from tests.integration.broker import replayed

__all__ = ["PERIOD", "STAMPED", "current_round", "house", "stamped_topics", "stamps"]

PERIOD = 0.5
"""Seconds a round."""

STAMPED = ("active-power", "exported-energy", "imported-energy")
"""The properties of circuits and lugs that carry the round's number."""

_LUGS = ("upstream-lugs", "downstream-lugs")


def current_round(origin: float) -> int:
    """The number of the round that a publisher is in now. All processes of a machine share that clock."""
    return 1 + int((time.monotonic() - origin) / PERIOD)


def house() -> list[Message]:
    """The recorded house, but for what is stamped."""
    stamped = set(stamped_topics())
    return [message for _, message in replayed() if message.topic not in stamped]


def stamped_topics() -> list[str]:
    """About as many as move in a real panel's burst."""
    topics = [message.topic for _, message in replayed()]
    nodes = {topic.split("/")[3] for topic in topics if topic.endswith("/relay")} | set(_LUGS)
    return [topic for topic in topics if (parts := topic.split("/"))[-1] in STAMPED and parts[3] in nodes]


def stamps(snapshot: SpanPanelSnapshot) -> Iterator[int | None]:
    """The rounds that the values of a snapshot are of; ``None`` for a value that is not there."""
    values = [
        snapshot.instant_grid_power_w,
        snapshot.feedthrough_power_w,
        snapshot.main_meter_energy_consumed_wh,
        snapshot.main_meter_energy_produced_wh,
        snapshot.feedthrough_energy_consumed_wh,
        snapshot.feedthrough_energy_produced_wh,
    ]
    for circuit in snapshot.circuits.values():
        values += [circuit.instant_power_w, circuit.consumed_energy_wh, circuit.produced_energy_wh]
    for value in values:
        yield None if value is None else int(abs(value))
