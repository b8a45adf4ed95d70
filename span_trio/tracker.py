"""One panel: messages and link events in, edges and snapshots to be published out. Pure: time is an argument.

Puts the three machines of the core together: `Accumulator` (is the tree live?), the builder of the panel's data model
(what does it say?) and `Throttle` (when is that due?). The accumulator task feeds it from a link, a replay from a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .enums import ConnectionReason, Control
from .errors import SpanPanelStaleDataError
from .frozenmap import FrozenMap
from .homie import Accumulator, ConnectionEdge, Dirty, Forest, Instant, Message, Obstacle
from .options import PanelOptions
from .snapshot import SpanPanelSnapshot
from .span import (
    FALLBACK,
    DataModel,
    FieldMetadata,
    FlatBuilder,
    HomieSchema,
    OfferedControl,
    ParentChildBuilder,
    Version,
    awaited,
    controls,
    data_model,
    field_metadata,
    find_control,
    resolve_command,
)
from .throttle import Throttle

__all__ = ["PanelTracker"]


class PanelTracker:
    """What is known of one panel, and what was published of it.

    Args:
        serial_number: the id of the panel's Homie root.
        options: see `PanelOptions`.
        watch: see `Accumulator`.
    """

    def __init__(self, serial_number: str, options: PanelOptions, *, watch: bool = True) -> None:
        self.tree: Final = Accumulator(
            serial_number,
            domain=options.domain,
            fallback=FALLBACK if options.schema is None else options.schema.over(FALLBACK),
            limits=options.limits,
            settle=options.settle,
            first_patience=options.ready_timeout / 2,
            patience=options.child_patience,
            max_silence=options.max_silence if watch else math.inf,  # nobody expects a recording to speak
            watch=watch,
            demand=self._demand,
        )
        self.throttle: Final = Throttle(options.snapshot_interval)
        self.messages: int = 0
        """How many were received, but for descriptions that only tell whose the devices of others are."""
        self.heard_at: Instant = Instant(0.0, 0.0)
        """When the newest message came."""
        self.built: int = 0
        """How many different snapshots were built; the ``seq`` of the newest."""
        self.version: Version = Version(DataModel.FLAT)
        """The data model that the newest snapshot was read by."""
        self._schema = options.schema
        self._builder: FlatBuilder | ParentChildBuilder | None = None
        self._newest: SpanPanelSnapshot | None = None
        self._published: SpanPanelSnapshot | None = None

    # --- in ---

    def link_up(self, epoch: int, at: Instant) -> None:
        """A new link: what was known of the panel is forgotten."""
        self._builder = self._newest = None
        self.tree.link_up(epoch, at)

    def receive(self, messages: Sequence[Message], at: Instant) -> None:
        """Messages, in wire order."""
        overheard = self.tree.forest.overheard
        self.tree.receive(messages, at)
        ours = len(messages) - (self.tree.forest.overheard - overheard)
        if ours:
            self.messages += ours
            self.heard_at = at
        dirty = self.tree.forest.dirty
        if self._info_is_dirty(dirty):
            self.tree.judge(at)
        if dirty:
            self.throttle.changed(at.monotonic, urgent=dirty.urgent)

    def tick(self, at: Instant) -> None:
        """Time has passed."""
        if self.tree.deadline is not None and self.tree.deadline <= at.monotonic:
            self.tree.tick(at)

    def adopt(self, schema: HomieSchema, at: Instant) -> None:
        """The panel's REST schema has become known. Once in a panel's life, and awaited: worth a snapshot at once."""
        self._schema = schema
        if isinstance(self._builder, FlatBuilder):
            self._builder.schema = schema
        self.tree.set_fallback(schema.over(FALLBACK))
        self.tree.forest.touch(self.tree.root)
        self.throttle.changed(at.monotonic, urgent=True)

    # --- out ---

    @property
    def wants_schema(self) -> bool:
        """Whether the REST schema could tell what the newest snapshot does not: the size of a flat panel."""
        newest = self._newest
        return newest is not None and newest.panel_size is None and self.version.model is DataModel.FLAT

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
        builder = self._builder
        if builder is None or dirty.devices or self._info_is_dirty(dirty):
            builder = self._choose_builder()
        snapshot = builder.build(
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

    @property
    def misplaced(self) -> tuple[int, ...]:
        """The positions that circuits of the newest snapshot occupy and that the panel does not have."""
        return () if self._builder is None else self._builder.positions.misplaced

    @property
    def published_version(self) -> Version:
        """The data model that the panel publishes now, whether it is known or not."""
        return data_model(self.tree.forest, self.tree.root)

    def _demand(self, forest: Forest) -> tuple[Obstacle, bool] | None:
        """What a tree needs besides, before it can be read: its data model, and what its meaning depends on."""
        version = data_model(forest, self.tree.root)
        if version.model is DataModel.REFUSED:
            return Obstacle(ConnectionReason.DATA_MODEL, f"version {version.text!r}"), False
        if version.model is DataModel.AWAITED:
            return Obstacle(ConnectionReason.PENDING_DEVICE, f"data-model-version of {self.tree.root}"), False
        missing = awaited(forest, self.tree.root) if version.model is DataModel.PARENT_CHILD else ()
        return (Obstacle(ConnectionReason.PENDING_DEVICE, ", ".join(missing)), True) if missing else None

    def _info_is_dirty(self, dirty: Dirty) -> bool:
        """Whether what tells the data model may have changed."""
        return self.tree.forest.devices[self.tree.root].nodes.get("info") in dirty.nodes

    def _choose_builder(self) -> FlatBuilder | ParentChildBuilder:
        """The one for the panel's data model, which may have changed with its description: an upgrade in mid-life."""
        self.version = data_model(self.tree.forest, self.tree.root)
        if self.version.model is DataModel.PARENT_CHILD:
            if not isinstance(self._builder, ParentChildBuilder):
                self._builder = ParentChildBuilder(self.tree.root)
            return self._builder
        if not isinstance(self._builder, FlatBuilder):
            self._builder = FlatBuilder(self.tree.root, self._schema)
        return self._builder

    def field_metadata(self) -> FrozenMap[str, FieldMetadata]:
        """What the panel declares of each field, as of now.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
        """
        return field_metadata(self.tree.forest, self.tree.root, self._model_of_now(), self._schema)

    def controls(self) -> tuple[OfferedControl, ...]:
        """What can be commanded, locked or not, as of now.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
        """
        return tuple(controls(self.tree.forest, self.tree.root, self._model_of_now()))

    def find_control(self, control: Control, subject: str) -> OfferedControl | None:
        """See `span.find_control`; of what the tree says now, live or not."""
        model = data_model(self.tree.forest, self.tree.root).model
        if model not in {DataModel.FLAT, DataModel.PARENT_CHILD}:
            return None
        return find_control(self.tree.forest, self.tree.root, model, control, subject)

    def resolve_command(self, control: Control, subject: str, wanted: object) -> tuple[OfferedControl, bytes]:
        """See `span.resolve_command`.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
        """
        model = self._model_of_now()
        return resolve_command(self.tree.forest, self.tree.root, model, control=control, subject=subject, wanted=wanted)

    def _model_of_now(self) -> DataModel:
        if self.tree.obstacle is not None:
            raise SpanPanelStaleDataError(*self.tree.obstacle)
        return data_model(self.tree.forest, self.tree.root).model

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
