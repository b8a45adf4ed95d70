"""Commands that were written: whose each is, and what of it the panel has reported.

The value is watched for in the stream of messages, from the moment at which the command leaves. Only a live message of
the same link confirms; none behind a ``$state`` by which the panel, or the property's own device, is gone, and none of
a device that another panel has, too. What a broker has retained proves nothing. What was written and not confirmed is
remembered, across links, for as long as it may still act.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TypeGuard

import attrs

from .command import Command
from .homie import Datatype, Event, InvalidPayload, Message, Value, decode_value, event_of_state
from .link import Publication
from .span import OfferedControl

__all__ = ["Flight", "Flights", "same"]

_UNSETTLED_HELD: Final = 64
_GONE: Final = {Event.LEAVE, Event.DELETE}


@attrs.define(eq=False)
class Flight:
    """A command that is being sent, or has been."""

    command: Command
    offered: OfferedControl
    wanted: Value
    speakers: frozenset[str]  # the $state topics of those who must not be gone for their word to count
    publication: Publication | None = None
    held_back: str | None = None  # why it was not let go when it could be written
    confirmed: bool = False
    targeted: bool = False  # the panel has taken it as its target
    link_lost: bool = False
    shared: tuple[str, ...] = ()  # other topics that stand for the same piece of hardware
    number: int = 0  # in the order in which they were begun

    @property
    def is_out(self) -> bool:
        """Whether it was written, and so may act."""
        return self.publication is not None and self.publication.sent_at is not None

    @property
    def is_unanswered(self) -> bool:
        """Whether it was written, its link goes on, and neither the broker nor the panel has said anything of it."""
        sent = self.publication
        is_silent = sent is not None and sent.sent_at is not None and sent.acknowledged_at is None
        return is_silent and not (self.confirmed or self.targeted or self.link_lost)

    def take(self, message: Message, *, is_target: bool) -> None:
        """A live message on the property's topic, or on its ``$target``."""
        if not self.is_out or not _means(message.payload, self.offered, self.wanted):
            return
        if is_target:
            self.targeted = True
        else:
            self.confirmed = True
            self.end()

    def end(self) -> None:
        """Stop waiting."""
        if self.publication is not None:
            self.publication.over.set()


class Flights:
    """The commands of one panel that are out, or may still act."""

    def __init__(self) -> None:
        self.landed: Flight | None = None
        """The one that has ended last."""
        self._there: dict[str, bool] = {}  # by $state topic: whether that speaker is not gone
        self._flying: dict[str, Flight] = {}  # by topic: one at a time
        self._unsettled: dict[str, list[Flight]] = {}  # by topic: written and not confirmed, the newest last
        self._begun = 0

    def saw(self, messages: Iterable[Message], is_certain: Callable[[str], bool] = lambda _: True) -> None:
        """Messages of the current link, in wire order; ``is_certain``: of which devices they are the panel's own."""
        if not self._flying and not self._unsettled:
            return
        for message in messages:
            if message.topic in self._there:
                self._there[message.topic] = event_of_state(message.payload.decode(errors="replace")) not in _GONE
            if message.retain:
                continue
            topic = message.topic.removesuffix("/$target")
            flight = self._flying.get(topic) or next(reversed(self._unsettled.get(topic, [])), None)
            if flight is None or not is_certain(flight.offered.device_id):
                continue
            if all(self._there[speaker] for speaker in flight.speakers):
                flight.take(message, is_target=topic != message.topic)
                if flight.confirmed:
                    self._settle(topic, flight)

    def link_lost(self) -> None:
        """The link is over: nothing more will be reported of what is still out."""
        self._there = dict.fromkeys(self._there, False)  # until the next link says otherwise
        for flight in self._flying.values():
            flight.link_lost = True
            flight.end()

    @contextlib.contextmanager
    def flying(self, topic: str, flight: Flight) -> Generator[None, None, None]:
        """Watch for what is reported of a command, for as long as its call waits. Its speakers are there."""
        self._there.update(dict.fromkeys(flight.speakers, True))
        self._flying[topic] = flight
        self._begun += 1
        flight.number = self._begun
        try:
            yield
        finally:
            del self._flying[topic]
            self.landed = flight
            if flight.is_out and not flight.confirmed:  # what was confirmed settled all, in `saw`
                others = (each for each in self._unsettled.get(topic, ()) if not same(each.wanted, flight.wanted))
                self._unsettled[topic] = [*others, flight][-_UNSETTLED_HELD:]

    def may_undo(self, topic: str, wanted: Value, shared: Iterable[str] = ()) -> bool:
        """Whether an earlier command for another value may still act, on this topic or those that it is shared with."""
        earlier = (each for name in (topic, *shared) for each in self._unsettled.get(name, ()))
        return not all(same(each.wanted, wanted) for each in earlier)

    def _settle(self, topic: str, flight: Flight) -> None:
        """It is so: this one and what was written before it has been dealt with."""
        for name in (topic, *flight.shared):
            later = [each for each in self._unsettled.pop(name, ()) if each.number > flight.number]
            if later:
                self._unsettled[name] = later


def _means(payload: bytes, offered: OfferedControl, wanted: Value) -> bool:
    try:
        return same(decode_value(payload, Datatype(offered.datatype)), wanted)
    except InvalidPayload:
        return False


def same(value: Value | None, wanted: Value) -> bool:
    """Whether they are equal; within JSON, too, true is not 1 (lesson A). However deep."""
    pairs: list[tuple[Any, Any]] = [(value, wanted)]
    while pairs:
        said, meant = pairs.pop()
        if _is_object(said) and _is_object(meant) and said.keys() == meant.keys():
            pairs += [(said[key], meant[key]) for key in meant]
        elif _is_array(said) and _is_array(meant) and len(said) == len(meant):
            pairs += zip(said, meant, strict=True)
        elif isinstance(said, bool) is not isinstance(meant, bool) or said != meant:
            return False
    return True


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
