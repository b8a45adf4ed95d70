"""That the checks of `commands_oracle` bite: take a guard of the commands away, and one of them must notice.

``nox -s fuzz -- --commands --mutations`` applies each of these in turn, and demands a violation of that one check.
When this was written each was noticed within 750 runs, most within 100, the same ones every time.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import attrs
import trio

from span_trio import Command, CommandResult, SpanPanelStaleDataError, auditor, commands, flights
from span_trio.auditor import Auditor
from span_trio.commands import Commands
from span_trio.enums import ConnectionReason
from span_trio.flights import Flight
from span_trio.homie import Accumulator, Forest, Message
from span_trio.homie.kinship import Kinship, Tree
from span_trio.link import Link, Publication
from span_trio.link.pings import Pings
from span_trio.link.publication import Publications
from span_trio.lookout import Lookout

from . import commands_mutations3  # noqa: F401 - it registers more of them
from .commands_guards import MUTATIONS, attempt, instead, prove
from .mutations import Mutation

__all__ = ["MUTATIONS", "attempt", "prove"]

_controls: Final = importlib.import_module("span_trio.span.controls")  # a function has its name


# --- the last moment before a command is written ---

_publishing: Final = Link.publishing


def gate(check: str, name: str, *changes: Callable[[], AbstractContextManager[object]]) -> None:
    """Register that the last question is answered as if things were otherwise."""

    def publishing(self: Link, topic: str, payload: bytes, *, qos: int, may_go: Callable[[], bool]) -> Any:
        def may_go_all_the_same() -> bool:
            with contextlib.ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change())
                return may_go()

        return _publishing(self, topic, payload, qos=qos, may_go=may_go_all_the_same)

    MUTATIONS.append(Mutation(check, name, Link, "publishing", publishing))


def _always(owner: Any, attribute: str, value: object) -> Callable[[], AbstractContextManager[object]]:
    return partial(patch.object, owner, attribute, property(lambda _: value), create=True)


def _returns(owner: Any, attribute: str, value: object) -> Callable[[], AbstractContextManager[object]]:
    return partial(patch.object, owner, attribute, lambda *_: value)


_unchecked: Final = _returns(Commands, "_check", None)
gate(
    "late",
    "the deadline is not asked for again",
    partial(patch.object, commands, "trio", SimpleNamespace(current_time=lambda: 0.0)),
)
gate("live", "liveness is not asked for again", _always(Accumulator, "obstacle", None), _unchecked)
gate("lock", "locks are not asked for again", _unchecked)
gate("ping", "the age of the broker's answer is not asked for again", _returns(Commands, "_is_fresh", True))
gate("epoch", "a link that is known to be lost will do", _always(Link, "lost", None))


@instead("twice", Publications, "take")
def each_is_handed_over_twice(self: Publications) -> bytes:
    data = _take(self)
    return data * 2 if data[:1] in {b"\x30", b"\x32"} else data


_take: Final = Publications.take


@instead("failed", Publications, "take")
def nothing_may_go(self: Publications) -> bytes:
    while self._queue:
        self._queue.popleft().over.set()
    return b""


@instead("behind", Publications, "withdraw")
def who_is_cancelled_stays_in_the_queue(self: Publications, publication: Publication) -> None:
    self._awaited.discard(publication)


@instead("accepted", Publications, "acknowledge")
def the_broker_is_not_heard(_self: Publications, _mid: int) -> None:
    return


@instead("deadline", Publications, "acknowledge")
def what_the_broker_has_is_done(self: Publications, mid: int) -> None:
    publication = self._by_mid.get(mid)
    _acknowledge(self, mid)
    if publication is not None:
        publication.over.set()


_acknowledge: Final = Publications.acknowledge


@instead("format", Link, "publishing")
def an_event_is_queued_by_the_broker(
    self: Link, topic: str, payload: bytes, *, qos: int, may_go: Callable[[], bool]
) -> Any:
    return _publishing(self, topic, payload, qos=max(qos, 1), may_go=may_go)


@instead("format", _controls, "encode")
def any_text_will_do(_offered: Any, wanted: object) -> bytes:
    return str(wanted).encode()


# --- the way there ---


class _Any(int):
    """An epoch that is equal to every other."""

    __slots__ = ()
    __hash__ = int.__hash__

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False


@instead("epoch", commands, "Command")
def any_epoch_will_do(*arguments: Any) -> Command:
    command = Command(*arguments)
    return attrs.evolve(command, epoch=_Any(command.epoch))


@instead("ping", Commands, "_ping")
async def nobody_asks_whether_the_broker_answers(self: Commands, _deadline: float) -> None:
    self._is_fresh = lambda *_: True  # type: ignore[method-assign]


_pong: Final = Link._pong


@instead("ping", Link, "_pong")
def an_answer_is_as_new_as_its_reading(self: Link) -> Any:
    items = _pong(self)
    self._pings.asked_at = trio.current_time()
    return items


_another_ping: Final = Pings.send


@instead("ping", Pings, "send")
def the_answer_of_one_that_was_given_up_is_that_of_the_next(self: Pings, waiter: trio.Event | None) -> int:
    while self._line and self._line[0].sent_at + 2.0 < trio.current_time():
        forgotten = self._line.popleft().waiter
        if forgotten is not None:
            forgotten.set()
    return _another_ping(self, waiter)


@instead("never", Link, "give_up")
def what_nobody_has_acknowledged_may_come_later(_self: Link, _why: str) -> None:
    return


@instead("look", Lookout, "look")
def nobody_looks_behind_a_pause(_self: Lookout, _now: float, _drift: float, *, has_turn: bool) -> None:
    del has_turn


_look: Final = Lookout.look


@instead("look", Lookout, "look")
def who_asks_has_looked(self: Lookout, now: float, drift: float, *, has_turn: bool) -> str | None:
    del has_turn
    return _look(self, now, drift, has_turn=True)


@instead("turn", commands, "trio")
class NobodyWaitsForHisTurn:
    """trio with a lock that locks nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    class Lock:
        async def acquire(self) -> None:
            await trio.lowlevel.checkpoint()

        def release(self) -> None:
            return


MUTATIONS[-1] = MUTATIONS[-1]._replace(name="nobody waits for his turn", replacement=NobodyWaitsForHisTurn())


@instead("twice", Commands, "_send")
async def what_was_lost_is_sent_again(self: Commands, command: Command) -> Any:
    outcome = await _send(self, command)
    if outcome.result is CommandResult.UNKNOWN and not self._closed:
        with trio.move_on_at(command.called_at.monotonic + command.within):
            while self._tracker.tree.obstacle is not None or self.link is None:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.01)
            return await _send(self, attrs.evolve(command, epoch=self._tracker.tree.epoch))
    return outcome


_send: Final = Commands._send


@instead("deadline", Commands, "_ask")
async def authorise_has_all_the_time_in_the_world(self: Commands, authorise: Any, command: Command, _: float) -> None:
    await _ask(self, authorise, command, trio.current_time() + 50)


_ask: Final = Commands._ask


@instead("refusal", Commands, "_check")
def a_second_link_is_none(self: Commands, command: Command) -> Any:
    if self._tracker.tree.epoch > 1:
        raise SpanPanelStaleDataError(ConnectionReason.LINK_LOST)
    return _check(self, command)


_check: Final = Commands._check


@instead("outcome", Commands, "close")
def a_closed_panel_is_merely_not_live(self: Commands) -> None:
    self.link_lost()


# --- nothing to do ---


@instead("no-op", Commands, "_is_so")
def what_is_on_its_way_is_not_asked_for(self: Commands, topic: str, flight: Any) -> bool:
    with patch.object(self._flights, "_unsettled", {}):
        return _is_so(self, topic, flight)


@instead("no-op", Commands, "_is_so")
def the_target_is_not_asked_for(self: Commands, topic: str, flight: Any) -> bool:
    with patch.object(Forest, "target", lambda *_: None):
        return _is_so(self, topic, flight)


@instead("no-op", Commands, "_is_so")
def what_is_so_is_commanded_all_the_same(_self: Commands, _topic: str, _flight: Any) -> bool:
    return False


@instead("no-op", Commands, "link_lost")
def what_was_written_is_forgotten_with_its_link(self: Commands) -> None:
    self._flights._unsettled.clear()
    _link_lost(self)


_is_so: Final = Commands._is_so
_link_lost: Final = Commands.link_lost

# --- what came of it ---

_saw: Final = Commands.saw
_take_message: Final = Flight.take


@instead("confirmed", Commands, "saw")
def what_is_retained_confirms(self: Commands, messages: Iterable[Message]) -> None:
    _saw(self, [message._replace(retain=False) for message in messages])


@instead("confirmed", Commands, "saw")
def the_command_itself_confirms(self: Commands, messages: Iterable[Message]) -> None:
    _saw(self, [message._replace(topic=message.topic.removesuffix("/set")) for message in messages])


@instead("confirmed", Commands, "saw")
def a_target_confirms(self: Commands, messages: Iterable[Message]) -> None:
    _saw(self, [message._replace(topic=message.topic.removesuffix("/$target")) for message in messages])


@instead("confirmed", flights, "_means")
def any_value_confirms(*_: object) -> bool:
    return True


@instead("confirmed", Flight, "take")
def it_is_watched_for_only_when_the_broker_has_it(self: Any, message: Message, *, is_target: bool) -> None:
    if self.publication.acknowledged_at is not None or not self.publication.qos:
        _take_message(self, message, is_target=is_target)


@instead("accepted", Flight, "take")
def the_target_is_not_watched_for(self: Any, message: Message, *, is_target: bool) -> None:
    if not is_target:
        _take_message(self, message, is_target=False)


@instead("unknown", Commands, "link_lost")
def nobody_hears_of_a_lost_link(self: Commands) -> None:
    self.link = None


@instead("owned", Commands, "_judge")
def what_nobody_answered_has_failed(self: Commands, flight: Any) -> Any:
    outcome = _judge(self, flight)
    if outcome.result is CommandResult.UNCONFIRMED:
        return attrs.evolve(outcome, result=CommandResult.FAILED, sent_at=None)
    return outcome


_judge: Final = Commands._judge


@instead("said", commands, "_shown")
def nobody_knows_the_value(_payload: bytes | None) -> None:
    return None


# --- audit ---


@instead("owned", Commands, "_known_of")
def of_a_cancelled_command_nothing_is_known(_self: Commands, _command: Command) -> None:
    return None


@instead("audit", Commands, "_tell")
def refusals_are_not_worth_a_record(self: Commands, record: Any) -> None:
    if record.error is None:
        _tell(self, record)


_tell: Final = Commands._tell


@instead("audit", Auditor, "_hear")
async def who_raises_hears_no_more(self: Auditor, audit: auditor.Audit) -> None:
    is_broken = False

    async def once(record: Any) -> None:
        nonlocal is_broken
        try:
            if not is_broken:
                await audit(record)
        except Exception:
            is_broken = True
            raise

    await _hear(self, once)


_hear: Final = Auditor._hear


# --- another panel's devices ---

gate("across", "membership is not asked for again", _always(Accumulator, "obstacle", None), _unchecked)


@instead("across", Kinship, "_reach")
def whoever_is_listed_belongs(self: Kinship, root: str, _claims: object) -> Tree:
    with patch.object(Kinship, "others", lambda *_: ()):
        return _reach(self, root, {})


_reach: Final = Kinship._reach


@instead("theirs", Accumulator, "is_certain")
def the_word_of_another_panel_counts(_self: Accumulator, _device: str) -> bool:
    return True
