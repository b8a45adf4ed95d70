"""One panel: messages and link events in, edges and snapshots to be published out. Pure: time is an argument.

Puts the three machines of the core together: `Accumulator` (is the tree live?), `FlatBuilder` (what does it say?) and
`Throttle` (when is that due?). The accumulator task feeds it from a link, a replay from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .errors import SpanPanelStaleDataError
from .homie import Accumulator, ConnectionEdge, Instant, Message
from .options import PanelOptions
from .snapshot import SpanPanelSnapshot
from .span import FLAT, FlatBuilder, HomieSchema
from .throttle import Throttle

__all__ = ["PanelTracker"]


class PanelTracker:
    """What is known of one panel, and what was published of it.

    Args:
        serial_number: the id of the panel's Homie root.
        options: see `PanelOptions`.
    """

    def __init__(self, serial_number: str, options: PanelOptions) -> None:
        self.tree: Final = Accumulator(
            serial_number,
            domain=options.domain,
            fallback=FLAT if options.schema is None else options.schema.over(FLAT),
            limits=options.limits,
            settle=options.settle,
            first_patience=options.ready_timeout / 2,
            patience=options.child_patience,
            max_silence=options.silence_limit,
        )
        self.throttle: Final = Throttle(options.snapshot_interval)
        self.messages: int = 0
        """How many were received."""
        self.heard_at: Instant = Instant(0.0, 0.0)
        """When the newest message came."""
        self.built: int = 0
        """How many different snapshots were built; the ``seq`` of the newest."""
        self._schema = options.schema
        self._builder = FlatBuilder(serial_number, self._schema)
        self._newest: SpanPanelSnapshot | None = None
        self._published: SpanPanelSnapshot | None = None

    # --- in ---

    def link_up(self, epoch: int, at: Instant) -> None:
        """A new link: what was known of the panel is forgotten."""
        self._builder = FlatBuilder(self.tree.root, self._schema)
        self._newest = None
        self.tree.link_up(epoch, at)

    def receive(self, messages: Sequence[Message], at: Instant) -> None:
        """Messages, in wire order."""
        self.messages += len(messages)
        self.heard_at = at
        self.tree.receive(messages, at)
        dirty = self.tree.forest.dirty
        if dirty:
            self.throttle.changed(at.monotonic, urgent=dirty.urgent)

    def tick(self, at: Instant) -> None:
        """Time has passed."""
        if self.tree.deadline is not None and self.tree.deadline <= at.monotonic:
            self.tree.tick(at)

    def adopt(self, schema: HomieSchema, at: Instant) -> None:
        """The panel's REST schema has become known. Once in a panel's life, and awaited: worth a snapshot at once."""
        self._schema = self._builder.schema = schema
        self.tree.set_fallback(schema.over(FLAT))
        self.tree.forest.touch(self.tree.root)
        self.throttle.changed(at.monotonic, urgent=True)

    # --- out ---

    @property
    def panel_size(self) -> int | None:
        """Of the newest snapshot; ``None`` while that does not tell, or there is none."""
        return None if self._newest is None else self._newest.panel_size

    @property
    def deadline(self) -> float:
        """When to call `tick` and `publish`, if nothing else happens; infinity for never."""
        due = self.throttle.due if self.tree.live else None
        return min((time for time in (self.tree.deadline, due) if time is not None), default=float("inf"))

    def take_edges(self) -> list[ConnectionEdge]:
        """The edges since the last call."""
        edges = self.tree.take_edges()
        if edges:
            self._published = None
        return edges

    @property
    def snapshot(self) -> SpanPanelSnapshot:
        """The panel now; the same object as before if it is equal to it. Costs what has changed.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
        """
        tree, newest = self.tree, self._newest
        if tree.obstacle is not None:
            raise SpanPanelStaleDataError(*tree.obstacle)
        dirty = tree.forest.take_dirty()
        if newest is not None and not dirty:
            return newest
        snapshot = self._builder.build(
            tree.forest,
            dirty,
            pending=tree.pending,
            seq=self.built + 1,
            epoch=tree.epoch,
            received_at=self.heard_at,
        )
        if newest is not None and snapshot == newest:
            return newest
        self.built += 1
        self._newest = snapshot
        return snapshot

    def publish(self, at: Instant) -> SpanPanelSnapshot | None:
        """The snapshot that is due now and was not published yet, if there is one.

        The first one after an edge is due at once, and does not move the throttle's floor: it comes in the middle of a
        burst as often as not, and the rest of that is not late for it.
        """
        before, due = self._published, self.throttle.due
        if not self.tree.live or (before is not None and (due is None or due > at.monotonic)):
            return None
        snapshot = self._published = self.snapshot
        if before is None or snapshot is before:
            self.throttle.reset()
        else:
            self.throttle.published(at.monotonic)
        return None if snapshot is before else snapshot
