"""What an open panel counts."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["PanelStatistics"]


@attrs.frozen
class PanelStatistics:
    """Counters since the panel was opened; a new object each time.

    Attributes:
        messages: MQTT messages received; of other devices on the broker, whose descriptions tell whose child is whose,
            none is counted.
        bytes_received: of MQTT, on this link; 0 while there is none.
        bytes_sent: likewise.
        dropped: messages, or parts of descriptions, that were not taken in this epoch; by reason.
        snapshots: different snapshots built.
        epochs: links so far.
        replays_assumed: subscriptions of this epoch that were taken as replayed only because the broker was quiet.
        devices: Homie devices known.
        topics: topics kept.
        data_model: the version of the parent/child data model, as published; ``None`` for the flat one.
        last_message_age: seconds since the newest message; ``None`` before the first.
        audits_missed: commands that ``audit`` was too slow to hear of.
    """

    messages: int
    bytes_received: int
    bytes_sent: int
    dropped: Mapping[str, int]
    snapshots: int
    epochs: int
    replays_assumed: int
    devices: int
    topics: int
    data_model: str | None
    last_message_age: float | None
    audits_missed: int
