"""That the checks bite: take a guard away, and the machine must fail, by the check of the invariant it guards.

`nox -s fuzz -- --mutations` applies each of these in turn, has the machine check that one invariant only, and demands a
violation. When this was written they were caught after so many runs and steps, the same ones every time:

====  ==================================================  =====  ======
      mutation                                             runs   steps
====  ==================================================  =====  ======
I1    every new obstacle is an edge                           2       0
I1    edges of one batch are merged                           8     375
I1    a slow reader loses single edges                       34    1562
I2    the cell survives an edge                               6     273
I2    what was published before an edge counts behind it      6     231
I2    the last snapshot is served while not live              6     231
I3    a value that comes before its description is lost       2       6
I3    grandchildren do not belong                             6     205
I4    circuits do not follow what they feed                 297   13537
I4    only what is urgent is dirty                           12     543
I5    the tree survives its link                             12     535
I5    an empty payload is an empty text                     220   10259
I5    what does not parse leaves the old value               12     535
I6    a counter that is cleared is zero                      73    3388
I6    a counter that does not parse is zero                 401   17455
I8    any number of devices is kept                          34    1536
I8    any number of bytes is kept                            10     399
I8    what does not fit is only counted                       8     345
I8    what overflowed is never asked for again               34    1592
I9    a malformed topic raises                                4     112
I9    a malformed message costs the rest of its batch         4     112
I13   a childs own root is not asked for                      6     223
I13   what was said of a child before is forgotten          585   25387
I13   what another tree has left behind counts             1054   46034
I13   what a child has named is never over                   12     535
I13   who else lists a child is not asked for                 8     337
I13   who has listed a child is forgotten                    18     792
I13   what was kept of a stranger stays                       6     223
I13   what is retained for a stranger counts                544   23693
I13   what comes of a stranger is kept                        6     223
live  ready confirms the values of before                    12     535
live  a silence leaves no doubt                             366   16042
live  what is retained is a sign of life                      3      49
live  who comes back need not speak                         366   16014
live  a first value may be late and leaves no doubt        2451  104568
live  the first values of a tree need no time              4992  212929
live  a device is usable before its barrier                  18     746
live  other trees are not looked for                         14     577
live  a conflict passes like a device that is pending        12     513
time  what was published is still due                        16     711
====  ==================================================  =====  ======
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import attrs
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from span_trio.broadcast import Broadcast
from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, ConnectionEdge, Forest, Instant, Message, accumulator, kinship
from span_trio.homie.hearing import Hearing
from span_trio.homie.kinship import Kinship
from span_trio.homie.lifecycle import TRANSITIONS, Event, Lifecycle
from span_trio.homie.overflow import Retries
from span_trio.homie.slots import Ledger, PropertySlot, Slot
from span_trio.homie.topics import parse_topic
from span_trio.span import FlatBuilder
from span_trio.throttle import Throttle
from span_trio.tracker import PanelTracker

from .machine import PanelMachine
from .world import INVARIANTS, Violation, World


class Mutation(NamedTuple):
    """A guard taken away: which invariant it guards, and what stands in its place."""

    invariant: str
    name: str
    owner: Any
    attribute: str
    replacement: Any


MUTATIONS: Final[list[Mutation]] = []


def instead(invariant: str, owner: Any, attribute: str) -> Callable[[Any], Any]:
    """Register what stands in place of an attribute; the name says how it is wrong."""

    def register(replacement: Any) -> Any:
        name = getattr(replacement, "fget", replacement).__name__.replace("_", " ")
        MUTATIONS.append(Mutation(invariant, name, owner, attribute, replacement))
        return replacement

    return register


# --- I1 ---------------------------------------------------------------------------------------------------------------


@instead("I1", Accumulator, "_judge")
def every_new_obstacle_is_an_edge(self: Accumulator, now: Instant) -> None:
    obstacle = self._obstacle()
    if obstacle != self.obstacle:
        reason = ConnectionReason.LIVE if obstacle is None else obstacle.reason
        self._edges.append(ConnectionEdge(obstacle is None, reason, "", None, self.epoch, now))
        self._was_live = True
    self.obstacle = obstacle


@instead("I1", Accumulator, "take_edges")
def edges_of_one_batch_are_merged(self: Accumulator) -> list[ConnectionEdge]:
    edges, self._edges = self._edges, []
    return edges[-1:]


@instead("I1", Broadcast, "edge_after")
def a_slow_reader_loses_single_edges(self: Broadcast[Any, Any], seen: int) -> Any:
    oldest = self.edges - len(self._ring) + 1
    number = max(seen + 1, oldest)
    return self._ring[number - oldest], number, number - seen - 1


# --- I2 ---------------------------------------------------------------------------------------------------------------


@instead("I2", Broadcast, "edge")
def the_cell_survives_an_edge(self: Broadcast[Any, Any], edge: Any) -> None:
    self._ring.append(edge)
    self.edges += 1


@instead("I2", PanelTracker, "take_edges")
def what_was_published_before_an_edge_counts_behind_it(self: PanelTracker) -> list[ConnectionEdge]:
    return self.tree.take_edges()


@instead("I2", PanelTracker, "snapshot")
@property
def the_last_snapshot_is_served_while_not_live(self: PanelTracker) -> Any:
    if not self.tree.live and self._newest is not None:
        return self._newest
    return _snapshot.fget(self)  # type: ignore[attr-defined]


_snapshot = PanelTracker.snapshot


# --- I3 ---------------------------------------------------------------------------------------------------------------

_put = Slot.put


@instead("I3", Slot, "put")
def a_value_that_comes_before_its_description_is_lost(self: Slot, payload: bytes, retain: bool, wall: float) -> Any:
    if isinstance(self, PropertySlot) and self.node.description is None:
        payload = b""
    return _put(self, payload, retain, wall)


@instead("I3", Forest, "members")
def grandchildren_do_not_belong(self: Forest, root: str) -> list[str]:
    device = self.devices.get(root)
    children = () if device is None or device.description is None else device.description.children
    return list(dict.fromkeys((root, *children)))


# --- I4 ---------------------------------------------------------------------------------------------------------------


_cast = FlatBuilder._cast


@instead("I4", FlatBuilder, "_cast")
def circuits_do_not_follow_what_they_feed(self: FlatBuilder) -> set[str]:
    _cast(self)
    return set()


@instead("I4", Ledger, "touch")
def only_what_is_urgent_is_dirty(self: Ledger, node: Any, name: str, *, urgent: bool) -> None:
    if urgent:
        _touch(self, node, name, urgent=True)


_touch = Ledger.touch


# --- I5 ---------------------------------------------------------------------------------------------------------------


@instead("I5", Accumulator, "_new_forest")
def the_tree_survives_its_link(self: Accumulator) -> Forest:
    if not hasattr(self, "forest"):
        return _new_forest(self)
    return self.forest


_new_forest = Accumulator._new_forest


@instead("I5", Slot, "put")
def an_empty_payload_is_an_empty_text(self: Slot, payload: bytes, retain: bool, wall: float) -> Any:
    return _put(self, payload or b"\x00", retain, wall)


_show = PropertySlot._show


@instead("I5", PropertySlot, "_show")
def what_does_not_parse_leaves_the_old_value(self: PropertySlot) -> bool:
    old = self.shown.get(self.name)
    changed = _show(self)
    if self.raw and self.name not in self.shown and old is not None:
        self.shown[self.name] = old
    return changed


# --- I6 ---------------------------------------------------------------------------------------------------------------


@instead("I6", Slot, "put")
def a_counter_that_is_cleared_is_zero(self: Slot, payload: bytes, retain: bool, wall: float) -> Any:
    return _put(self, payload or (b"0" if self.name.endswith("-energy") else b""), retain, wall)


@instead("I6", PropertySlot, "_show")
def a_counter_that_does_not_parse_is_zero(self: PropertySlot) -> bool:
    changed = _show(self)
    if self.raw and self.datatype is not None and self.name.endswith("-energy"):
        self.shown.setdefault(self.name, 0.0)
    return changed


# --- I8 ---------------------------------------------------------------------------------------------------------------


@instead("I8", Forest, "_device")
def any_number_of_devices_is_kept(self: Forest, name: str) -> Any:
    limits = self._ledger.limits
    self._ledger.limits = attrs.evolve(limits, devices=limits.devices + 1)
    try:
        return _device(self, name)
    finally:
        self._ledger.limits = limits


_device = Forest._device


@instead("I8", Ledger, "reserve")
def any_number_of_bytes_is_kept(self: Ledger, _device: Any, size: int) -> bool:
    self.payload_bytes += size
    return True


@instead("I8", Ledger, "overflow")
def what_does_not_fit_is_only_counted(self: Ledger, _device: Any, reason: str) -> None:
    self.dropped[reason] += 1


@instead("I8", Retries, "update")
def what_overflowed_is_never_asked_for_again(_self: Retries, *_: object, **__: object) -> None:
    return


# --- I9 ---------------------------------------------------------------------------------------------------------------


@instead("I9", Forest, "_understand")
def a_malformed_topic_raises(self: Forest, text: str) -> Any:
    topic = parse_topic(text)
    return topic if topic.domain == self.domain else None


_receive = Accumulator.receive


@instead("I9", Accumulator, "receive")
def a_malformed_message_costs_the_rest_of_its_batch(
    self: Accumulator, messages: Iterable[Message], now: Instant
) -> None:
    for message in messages:
        before = self.forest.dropped.total()
        _receive(self, [message], now)
        if self.forest.dropped.total() != before:
            break


# --- I13 --------------------------------------------------------------------------------------------------------------


@instead("I13", Kinship, "others")
def a_childs_own_root_is_not_asked_for(_self: Kinship, _device: str, _root: str) -> tuple[str, ...]:
    return ()


@instead("I13", kinship, "_add")
def what_was_said_of_a_child_before_is_forgotten(_names: object, _device: str, _name: str) -> None:
    return


@instead("I13", Kinship, "was_listed_outside")
def what_another_tree_has_left_behind_counts(_self: Kinship, _device: str, _root: str) -> bool:
    return False


@instead("I13", Kinship, "_release")
def what_a_child_has_named_is_never_over(_self: Kinship, _root: str) -> None:
    return


@instead("I13", Kinship, "claimants")
def who_else_lists_a_child_is_not_asked_for(_self: Kinship, _device: str, _outside: object) -> set[str]:
    return set()


@instead("I13", Forest, "_find_claims")
def who_has_listed_a_child_is_forgotten(_self: Forest) -> dict[str, set[str]]:
    return {}


@instead("I13", Forest, "_disown")
def what_was_kept_of_a_stranger_stays(_self: Forest, _name: str) -> None:
    return


_disown = Forest._disown


@instead("I13", Forest, "_disown")
def what_is_retained_for_a_stranger_counts(self: Forest, name: str) -> None:
    _disown(self, name)
    self._suspects.discard(name)


@instead("I13", Forest, "_is_foreign")
def what_comes_of_a_stranger_is_kept(_self: Forest, _device: str) -> bool:
    return False


# --- live, and the clock ----------------------------------------------------------------------------------------------


MUTATIONS.append(
    Mutation("live", "ready confirms the values of before", TRANSITIONS[Lifecycle.AWAY], Event.READY, Lifecycle.READY)
)
MUTATIONS.append(Mutation("live", "a silence leaves no doubt", accumulator, "_DOUBTED", {}))


@instead("live", Hearing, "begin")
def what_is_retained_is_a_sign_of_life(self: Hearing, _now: float) -> None:
    self._unheard = False


@instead("live", Hearing, "turn")
def who_comes_back_need_not_speak(_self: Hearing, _now: float, *, ready: bool) -> None:
    del ready


@instead("live", Hearing, "leaves_doubt")
def a_first_value_may_be_late_and_leaves_no_doubt(self: Hearing, _now: float) -> bool:
    return self._silent


_hear = Hearing.hear


@instead("live", Hearing, "hear")
def the_first_values_of_a_tree_need_no_time(self: Hearing, now: float) -> bool:
    self.replayed = True
    return _hear(self, now)


@instead("live", Accumulator, "_usable")
def a_device_is_usable_before_its_barrier(self: Accumulator, device: str) -> bool:
    found = self.forest.devices.get(device)
    return found is not None and found.description is not None and not found.overflowed


@instead("live", Accumulator, "_has_watched")
@property
def other_trees_are_not_looked_for(_self: Accumulator) -> bool:
    return True


@instead("live", Accumulator, "_is_contested")
def a_conflict_passes_like_a_device_that_is_pending(_self: Accumulator, _device: str) -> bool:
    return False


@instead("time", Throttle, "published")
def what_was_published_is_still_due(self: Throttle, at: float) -> None:
    self._floor_from = at


# --- the proof --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def applied(mutation: Mutation) -> Generator[None, None, None]:
    """The library with this guard taken away."""
    if isinstance(mutation.owner, dict):
        change: Any = patch.dict(mutation.owner, {mutation.attribute: mutation.replacement})
    else:
        change = patch.object(mutation.owner, mutation.attribute, mutation.replacement)
    with change:
        yield


class Verdict(NamedTuple):
    """What came of a mutation; ``why`` is empty if the machine saw nothing."""

    runs: int
    steps: int
    why: str


def attempt(mutation: Mutation, profile: settings) -> Verdict:
    """Run the machine on a mutated library, checking the one invariant."""
    runs, steps = PanelMachine.runs, PanelMachine.steps
    why = ""
    with applied(mutation), patch.object(World, "checks", frozenset({mutation.invariant})):
        try:
            run_state_machine_as_test(PanelMachine, settings=profile)
        except Violation as violation:
            why = str(violation)
    return Verdict(PanelMachine.runs - runs, PanelMachine.steps - steps, why)


def run_all(profile: settings, say: Callable[[str], None]) -> bool:
    """Whether every mutation was seen, by the check of its invariant."""
    good = True
    for mutation in MUTATIONS:
        verdict = attempt(mutation, profile)
        seen = verdict.why.startswith(f"{mutation.invariant}:")
        good = good and seen
        how = f"after {verdict.runs} runs, {verdict.steps} steps" if seen else f"NOT CAUGHT {verdict}"
        say(f"{mutation.invariant:4}  {mutation.name:55}  {how}")
    unguarded = INVARIANTS - {mutation.invariant for mutation in MUTATIONS}
    if unguarded:
        say(f"no mutation for {sorted(unguarded)}")
    return good and not unguarded
