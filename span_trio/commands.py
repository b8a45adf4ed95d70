"""Commands: from a call to one truthful outcome.

The rules of this room:

* What cannot be meant is refused before anything is sent. Nothing is queued for a later link, nothing is sent twice,
  and nothing leaves behind its deadline, after the epoch of its call, or while the panel is not live: that is asked
  once more at the very moment at which the writer has room (I10).
* Commands to one property take turns, and so do those to circuits that share a relay. What was written and not
  confirmed is remembered, across links: as long as it may still act, "already so" is not believed.
* A command reaches what it reached when it was given, or less; if it has come to reach more, it is refused.
* What is reported of a command is `flights`' business.
* What moves something, or may, is commanded only over a link whose broker has just answered a ping, so that nothing is
  written into a frozen one, to act minutes later (lesson E, "relay fires minutes after an outage").
* A command that moves something and was not acknowledged in time takes its link with it: UNCONFIRMED is to mean never,
  as far as that is in our hands.
* The auditor hears of every call, refusals included.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, Final, TypeAlias

import attrs
import trio

from .arguments import demand, demand_type, is_time
from .auditor import Auditor
from .clock import now
from .command import Command, CommandOutcome, CommandRecord
from .enums import CommandResult, ConnectionReason, Control, RefusalReason
from .errors import (
    SpanPanelClosedError,
    SpanPanelCommandError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelLockedError,
    SpanPanelNotAuthorisedError,
    SpanPanelStaleDataError,
)
from .flights import Flight, Flights, same
from .homie import Datatype, Forest, Instant, Message, Value, decode_value, property_topic, set_topic, state_topic
from .link import Link, Publication
from .span import OfferedControl
from .tracker import PanelTracker
from .wiretext import get_logger

__all__ = ["Authorise", "Commands"]

_log = get_logger("span_trio.commands")

Authorise: TypeAlias = Callable[[Command], Awaitable[bool | None]]
"""Asked before a command is sent: ``None`` or ``True`` let it pass; anything else, or an exception, refuses it."""

RELAY_DEADLINE: Final = 5.0
"""Seconds that a relay command may take; likewise `DEADLINE` for all others (lesson E)."""
DEADLINE: Final = 2.0
_MOVES: Final = {Control.RELAY, Control.CHARGER_LOCK, Control.PROPERTY}
"""What moves something, or may: nobody knows what a property without a command of its own does."""
_FRESH: Final = 1.0  # s: the age of a ping, since it was sent, behind whose answer such a command may be written
_LOST_BEFORE: Final = "the link was lost before it was written"
_UNANSWERED: Final = "the broker did not answer a ping in time"
_AGEING: Final = _FRESH / 2  # s: at which we ask for another: it must not grow too old on the last yards


class Commands:
    """Sends one panel's commands.

    Args:
        tracker: what is known of the panel.
        authorise: see `Authorise`.
        auditor: who is told of every call.
    """

    def __init__(
        self,
        tracker: PanelTracker,
        *,
        authorise: Authorise | None = None,
        auditor: Auditor | None = None,
    ) -> None:
        self.link: Link | None = None
        """The session of now."""
        self.look: Callable[[], None] = lambda: None
        """Called before anything is asked of the tree: whoever feeds it may have been asleep."""
        self.auditor: Final = Auditor(None, grace=0.0) if auditor is None else auditor
        self._tracker = tracker
        self._authorise = authorise
        self._closed = False
        self._turns: dict[str, trio.Lock] = {}  # see `_hardware`
        self._flights: Final = Flights()

    # --- what the accumulator tells ---

    def saw(self, messages: Iterable[Message]) -> None:
        """Messages of the link of now, in wire order; after the tree has taken them."""
        self._flights.saw(messages, self._tracker.tree.is_certain)

    def link_lost(self) -> None:
        """The session is over: nobody will hear of what is still out."""
        self.link = None
        self._flights.link_lost()

    def close(self) -> None:
        """The panel is being closed."""
        self._closed = True
        self.link_lost()

    # --- commands ---

    async def send(self, control: Control, subject: str, wanted: object, within: float | None = None) -> CommandOutcome:
        """Command something, and wait for what becomes of it. See `SpanPanel.set_circuit_relay`."""
        if within is None:
            within = RELAY_DEADLINE if control is Control.RELAY else DEADLINE
        command = Command(control, subject, wanted, within, now(), self._tracker.tree.epoch)
        is_known, command = self._reaching(command)
        self.auditor.expected += 1
        try:
            await trio.lowlevel.checkpoint()
            await self._wait_looked(self._deadline(command))
            if not is_known:  # it was not there when it was called, and may be now
                _, command = self._reaching(command)
            outcome = await self._send(command)
        except BaseException as error:
            self._tell(CommandRecord(command, self._known_of(command), error))
            raise
        else:
            self._tell(CommandRecord(command, outcome))
            return outcome
        finally:
            self.auditor.expected -= 1

    def _reaching(self, command: Command) -> tuple[bool, Command]:
        """Whether there is such a control now; and the command, with all that it reaches."""
        subject: Any = command.subject  # whatever a caller gave that is not type-checked
        found = self._tracker.find_control(command.control, subject) if isinstance(subject, str) else None
        if found is None:
            return False, command
        return True, attrs.evolve(command, reaches=found.reaches, reaches_unknown=found.reaches_unknown)

    def _deadline(self, command: Command) -> float:
        """When its time is over."""
        demand_type(command.subject, str, f"the id for the {command.control}", "text")
        within: object = command.within  # of whatever type
        demand(is_time(within) and 0 < command.within < math.inf, "within", "a number of seconds above 0", within)
        return command.called_at.monotonic + command.within

    async def _send(self, command: Command) -> CommandOutcome:
        deadline = self._deadline(command)
        offered, _ = self._check(command)
        if self._authorise is not None:
            await self._ask(self._authorise, command, deadline)
            await self._wait_looked(deadline)
            offered, _ = self._check(command)
        held: list[trio.Lock] = []
        try:
            with trio.CancelScope(deadline=deadline) as scope:  # noqa: ASYNC912 - there is at least one
                for name in self._hardware(command, offered):
                    turn = self._turns.setdefault(name, trio.Lock())
                    await turn.acquire()
                    held.append(turn)
            if scope.cancelled_caught:
                return self._outcome(command, offered, CommandResult.FAILED, "an earlier command took all the time")
            return await self._take_turn(command, offered, deadline)
        finally:
            for turn in held:
                turn.release()

    async def _wait_looked(self, deadline: float) -> None:
        """Where the program did not look for long: wait until it has, or the link is lost."""
        self.look()
        obstacle, link = self._tracker.tree.obstacle, self.link
        if obstacle is not None and obstacle.reason is ConnectionReason.PROGRAM_PAUSED and link is not None:
            with trio.CancelScope(deadline=deadline), contextlib.suppress(SpanPanelConnectionError):
                await link.ping()

    async def _take_turn(self, command: Command, offered: OfferedControl, deadline: float) -> CommandOutcome:
        await self._wait_looked(deadline)
        self._check(command)
        why = await self._ping(deadline) if command.control in _MOVES else None
        if why is not None:
            return self._outcome(command, offered, CommandResult.FAILED, why)
        offered, payload = self._check(command)  # what was true before may not be any more
        value = decode_value(payload, Datatype(offered.datatype))
        topic, *shared = self._topics(offered)
        flight = Flight(command, offered, value, self._speakers(offered), shared=tuple(shared))
        if self._is_so(topic, flight):
            return self._outcome(command, offered, CommandResult.NO_OP)
        return await self._fly(topic, payload, flight, deadline)

    def _hardware(self, command: Command, offered: OfferedControl) -> list[str]:
        """What a command takes turns at: its property, or the relays of all circuits that it may come to reach.

        In an order that is the same for all, so that no two wait for each other.
        """
        if offered.property_id == "relay" and command.reaches:
            return sorted(f"relay of {circuit}" for circuit in command.reaches)
        return [property_topic(self._tracker.tree.domain, *offered.place)]

    def _topics(self, offered: OfferedControl) -> tuple[str, ...]:
        """The topics of all that stands for the commanded piece of hardware, the property's own first."""
        return tuple(property_topic(self._tracker.tree.domain, *place) for place in offered.places)

    def _known_of(self, command: Command) -> CommandOutcome | None:
        """What is known of a command whose call was cancelled, if it was written."""
        flight = self._flights.landed  # no checkpoint since; it may have been confirmed in the turn of its cancellation
        if flight is None or flight.command is not command or flight.publication is None or not flight.is_out:
            return None
        return self._judge(flight, flight.publication)

    def _check(self, command: Command) -> tuple[OfferedControl, bytes]:
        """What to publish; or why not, as of now.

        Raises:
            SpanPanelClosedError: the panel is closed.
            SpanPanelStaleDataError: it is not live, or not over the link of the call.
            SpanPanelCommandError: see its kinds.
        """
        tracker = self._tracker
        if self._closed:
            raise SpanPanelClosedError
        self.look()
        if tracker.tree.obstacle is not None:
            raise SpanPanelStaleDataError(*tracker.tree.obstacle)
        if tracker.tree.epoch != command.epoch or self.link is None:
            raise SpanPanelStaleDataError(ConnectionReason.LINK_LOST, "the link of the call has ended")
        offered, payload = tracker.resolve_command(command.control, command.subject, command.wanted)
        if not set(offered.reaches) <= set(command.reaches):
            raise SpanPanelLockedError(RefusalReason.REACHES_OTHERS, str(offered))
        return offered, payload

    async def _ask(self, authorise: Authorise, command: Command, deadline: float) -> None:
        answer: object = None
        with trio.CancelScope(deadline=deadline):
            asked = authorise(command)
            demand_type(asked, Awaitable, "what authorise returns", "awaitable")
            answer = await asked
        if trio.current_time() >= deadline:  # whether it was cancelled or, being shielded, could not be
            raise SpanPanelNotAuthorisedError(RefusalReason.NOT_AUTHORISED, f"{command}, for lack of an answer in time")
        if answer is not None and answer is not True:  # what is no clear yes is no
            raise SpanPanelNotAuthorisedError(RefusalReason.NOT_AUTHORISED, str(command))

    async def _ping(self, deadline: float) -> str | None:
        """Why a command that moves something must not follow now; ``None`` if the broker answers."""
        if self._is_fresh(_AGEING):
            return None
        began = trio.current_time()
        try:
            with trio.CancelScope(deadline=deadline):  # noqa: ASYNC912 - whoever calls this has a link
                if self.link is not None:
                    await self.link.ping()
        except SpanPanelConnectionError:
            return _LOST_BEFORE
        if self._is_fresh():
            return None
        has_answered = self.link is not None and self.link.asked_at >= began
        return f"the broker takes more than {_FRESH:g} s to answer a ping" if has_answered else _UNANSWERED

    def _is_fresh(self, age: float = _FRESH) -> bool:
        """Whether the broker has answered a ping that was sent less than so many seconds ago."""
        return self.link is not None and trio.current_time() < self.link.asked_at + age

    def _speakers(self, offered: OfferedControl) -> frozenset[str]:
        """The ``$state`` topics of those whose word on a command counts only while they are not gone."""
        tree = self._tracker.tree
        return frozenset(state_topic(tree.domain, device) for device in (tree.root, offered.device_id))

    def _is_so(self, topic: str, flight: Flight) -> bool:
        """Whether there is nothing to do: it is so, nothing else is meant, and nothing is on its way."""
        forest = self._tracker.tree.forest
        places = flight.offered.places
        targets = (forest.target(*place) for place in places)
        return (
            not self._flights.may_undo(topic, flight.wanted, flight.shared)
            and all(same(forest.value(*place), flight.wanted) for place in places)
            and all(target is None or same(target, flight.wanted) for target in targets)
        )

    async def _fly(self, topic: str, payload: bytes, flight: Flight, deadline: float) -> CommandOutcome:
        """Publish it, and watch the property until it is so, or the deadline."""
        command, offered, link = flight.command, flight.offered, self.link
        if link is None:
            return self._outcome(command, offered, CommandResult.FAILED, _LOST_BEFORE)

        def why_not() -> str | None:
            """Why it must not leave now."""
            if link.lost is not None:  # and perhaps that was not told yet
                return _LOST_BEFORE
            if trio.current_time() >= deadline:
                return "it could not be written in time"
            try:
                self._check(command)
            except SpanPanelError as refusal:  # not live, locked, or gone, while it waited for the writer
                return str(refusal)
            is_frozen = command.control in _MOVES and not self._is_fresh()
            return "the broker's last answer was too old when it could be written" if is_frozen else None

        def may_go() -> bool:
            flight.held_back = why_not()
            return flight.held_back is None

        place = offered.place
        qos = 1 if offered.declaration.retained else 0  # nobody shall queue what is an event (Homie, QoS and retain)
        publishing = link.publishing(set_topic(self._tracker.tree.domain, *place), payload, qos=qos, may_go=may_go)
        with (
            self._flights.flying(topic, flight),
            publishing as flight.publication,
            _recalled(flight, link),
            trio.CancelScope(deadline=deadline),
        ):
            await flight.publication.over.wait()
        if not flight.is_out:
            why = flight.held_back or why_not() or _LOST_BEFORE
            return self._outcome(command, offered, CommandResult.FAILED, why)
        return self._judge(flight, flight.publication)

    def _judge(self, flight: Flight, publication: Publication) -> CommandOutcome:
        """What became of one that was written."""
        if flight.confirmed:
            result, detail = CommandResult.CONFIRMED, ""
        elif flight.link_lost:
            result, detail = CommandResult.UNKNOWN, "the link was lost after it was written"
        elif flight.targeted:
            result, detail = CommandResult.ACCEPTED, "the panel took it as its target"
        elif publication.acknowledged_at is not None:
            result, detail = CommandResult.ACCEPTED, "the broker has it"
        else:
            silence = "the broker has not answered" if publication.qos else "nobody answers an event"
            result, detail = CommandResult.UNCONFIRMED, silence
        return self._outcome(flight.command, flight.offered, result, detail, publication)

    def _outcome(
        self,
        command: Command,
        offered: OfferedControl,
        result: CommandResult,
        detail: str = "",
        publication: Publication | None = None,
    ) -> CommandOutcome:
        tree, at = self._tracker.tree, now()
        said: tuple[str | None, str | None, str | None] = (None, None, None)
        if tree.is_certain(offered.device_id):  # else it may be another panel's word
            said = _said(tree.forest, offered)

        def instant(when: float | None) -> Instant | None:
            return None if when is None else Instant(when, at.wall - (at.monotonic - when))

        return CommandOutcome(
            command,
            result,
            at,
            detail,
            instant(None if publication is None else publication.sent_at),
            instant(None if publication is None else publication.acknowledged_at),
            *said,
        )

    def _tell(self, record: CommandRecord) -> None:
        error = record.error  # the text of one that is not ours may hold anything
        why = str(error) if isinstance(error, SpanPanelError) else type(error).__name__
        if record.command.control is Control.PROPERTY and isinstance(error, SpanPanelCommandError):
            why = error.reason  # for the value, which may be private, is in the text
        _log.info("%s", record.outcome or f"{record.command}: {why}")
        self.auditor.tell(record)


@contextlib.contextmanager
def _recalled(flight: Flight, link: Link) -> Generator[None, None, None]:
    """End the link of a command that moves something, if nobody has acknowledged it when the waiting ends.

    What our kernel, and a cable that was cut, still hold of it would reach the panel whenever they can deliver it.
    """
    try:
        yield
    finally:
        sent = flight.publication
        if flight.is_unanswered and sent is not None and sent.qos and flight.command.control in _MOVES:
            link.give_up(f"the broker has not acknowledged the {flight.command.control} command in time")


def _said(forest: Forest, offered: OfferedControl) -> tuple[str | None, str | None, str | None]:
    """The value of a property, its target, and who asked for it last."""
    place = offered.place
    requester = None if offered.requester_id is None else forest.value(*place[:2], offered.requester_id)
    return _shown(forest.payload(*place)), _text(forest.target(*place)), _text(requester)


def _text(value: Value | None) -> str | None:
    return None if value is None else str(value)


def _shown(payload: bytes | None) -> str | None:
    return payload.decode(errors="replace") if payload else None
