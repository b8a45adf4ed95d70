"""Playing recorded sessions through the same core as a live panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import SpanPanelStaleDataError, SpanPanelValidationError
from ..homie import ConnectionEdge, Forest, Instant
from ..options import PanelOptions
from ..snapshot import SpanPanelSnapshot
from ..span import FALLBACK, find_panels
from ..tracker import PanelTracker
from .lines import Recorded

__all__ = ["Played", "find_panel", "play"]


class Played(NamedTuple):
    """What came of playing up to ``t``: an edge, or a snapshot that was due."""

    t: float
    what: ConnectionEdge | SpanPanelSnapshot


def find_panel(recording: Iterable[Recorded], *, domain: str = "ebus") -> str:
    """The id of the one panel in a recording.

    Raises:
        SpanPanelValidationError: there is none, or there are several.
    """
    forest = Forest(domain, fallback=FALLBACK)
    for _, message in recording:
        forest.absorb(message, 0.0)
    panels = find_panels(forest)
    if len(panels) == 1:
        return panels[0]
    if panels:
        raise SpanPanelValidationError(f"the recording has several panels, say which: {', '.join(sorted(panels))}")
    raise SpanPanelValidationError(f"the recording has no SPAN panel under {domain}/5/")


def play(recording: Iterable[Recorded], serial_number: str, options: PanelOptions) -> Iterator[Played]:
    """Play a recording: every edge, and every snapshot when it would have been published; the state at its end last.

    The replay counts as complete before the first message that was not retained, or at the end. Lines with commands
    (``…/set``) are nothing that a panel says, and do nothing.

    Raises:
        SpanPanelStaleDataError: at its end the panel is not live; says what is missing.
    """
    tracker = PanelTracker(serial_number, options, watch=False)  # what there is comes unasked
    tracker.link_up(1, Instant(0.0, 0.0))
    t = 0.0
    replaying = True
    for t, message in recording:
        while tracker.deadline < t:
            yield from _step(tracker, tracker.deadline)
        if replaying and not message.retain:
            replaying = False
            _complete(tracker, t)
            yield from _step(tracker, t)
        tracker.receive([message], Instant(t, t))
        if not replaying:
            _complete(tracker, t)
        yield from _step(tracker, t)
    _complete(tracker, t)
    yield from _step(tracker, t)
    if tracker.tree.obstacle is not None:
        raise SpanPanelStaleDataError(tracker.tree.obstacle.reason, "; ".join(tracker.tree.missing()))
    yield Played(t, tracker.snapshot)


def _complete(tracker: PanelTracker, t: float) -> None:
    """Everything that is asked for is there already."""
    while tracker.tree.next_subscription() is not None:
        tracker.tree.barrier(Instant(t, t), passed=True)


def _step(tracker: PanelTracker, t: float) -> Iterator[Played]:
    at = Instant(t, t)
    tracker.tick(at)
    yield from (Played(t, edge) for edge in tracker.take_edges())
    snapshot = tracker.publish(at)
    if snapshot is not None:
        yield Played(t, snapshot)
