"""The calls of a run and what is on record of them: whose each command is that was written, and what audit was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import attrs
import trio

from span_trio import CommandOutcome, CommandRecord
from span_trio.simulator.broker.packets import Publish

from .commands_broker import Event, Heard
from .commands_house import FLAT, Ask, House
from .commands_view import NEVER, View

__all__ = ["CHECKS", "NOBODYS", "Call", "Demand", "History", "Violation", "Write", "judge_audit", "owners"]

CHECKS: Final = frozenset(
    {
        "deadline",  # each call ends by its deadline; one that waits for the value, not before it
        "outcome",  # ... in one outcome or one documented error
        "owned",  # what was written is owned up to by one call, and the other way round
        "twice",  # no command is written twice
        "behind",  # ... or behind the end of its call, or of the panel
        "late",  # ... or at its deadline, or behind it
        "epoch",  # ... or over another link than that of its call, or over one that is known to be lost
        "live",  # ... or while the panel is not live
        "lock",  # ... or while it, or what shares its relay, is locked, or not offered
        "reach",  # ... or where it reaches circuits that it did not name when it was called
        "format",  # ... or outside of the format, retained, or at another QoS than its property's
        "ping",  # what moves something is written only behind the answer to a ping of the last second
        "look",  # behind a long sleep, nothing is written or taken for done before a ping of afterwards was answered
        "turn",  # commands to one property, or to one relay, take turns
        "confirmed",  # CONFIRMED: the value was seen, at this very instant; whenever it was seen, CONFIRMED
        "never",  # behind UNCONFIRMED of what moves something, it never acts
        "accepted",  # ACCEPTED: acknowledged, or taken as the target; UNCONFIRMED: neither
        "unknown",  # UNKNOWN: the link ended at this very instant; whenever it did, UNKNOWN
        "failed",  # FAILED: there was no time left, or no link, or the broker did not answer
        "no-op",  # NO_OP: it is so, nothing else is meant, nothing is on its way; and then nothing is written
        "refusal",  # a refusal is true
        "said",  # what is said of value, target, requester and times is so
        "audit",  # one record for each call, in order
    }
)
Demand = Callable[[object, str, str], None]
"""That something holds, by a check, in words."""
NOBODYS: Final = View(-1, FLAT)
_CLOSE_GRACE: Final = 1.0


class Violation(AssertionError):
    """Something was not as it must be; begins with the word of its check."""


@attrs.define(eq=False)
class Call:
    """A call of a command, and what came of it."""

    ask: Ask
    hook: str
    within: float
    called: float
    wanted: str
    scope: trio.CancelScope
    ended: float | None = None
    outcome: CommandOutcome | None = None
    error: BaseException | None = None
    refusal: Exception | None = None
    """What ``authorise`` raised."""
    authorised: int = 0
    """How often it was asked."""
    link: View | None = None
    """The link of the call."""
    write: Write | None = None
    reaches: tuple[str, ...] | None = None
    """What it is said to reach; ``None``: nobody was told."""

    def __str__(self) -> str:
        end = self.error.__class__.__name__ if self.outcome is None else f"{self.outcome.result}"
        ended = NEVER if self.ended is None else self.ended
        return f"{self.ask} within {self.within:g}, {self.called:.3f}..{ended:.3f}: {end}"


@attrs.define(eq=False)
class Write:
    """A command that was handed to a stream."""

    seq: int
    at: float
    link: View
    packet: Publish
    owner: Call
    hardware: frozenset[str]
    """The paths that may have stood for the same piece of hardware then."""


class History(NamedTuple):
    """All that is known of a run."""

    house: House
    events: list[Event]
    heard: list[Heard]
    calls: list[Call]
    records: list[CommandRecord]
    audit: str
    missed: int
    """How many calls ``audit`` is said to have been too slow for."""


# --- whose is what was written ---


class _Span(NamedTuple):
    """Where in the log a call begins and ends, and when it says that it was written."""

    begin: int
    end: float
    sent_at: float | None
    """-1: it may have been, nobody told; ``None``: it was not."""


def owners(history: History, demand: Demand) -> dict[int, Call | None]:
    """The call that each of what was written is of, by its place in the log."""
    spans: dict[Call, _Span] = {}
    for seq, event in enumerate(history.events):
        if event.kind == "called":
            spans[event.what] = _Span(seq, NEVER, _sent_at(event.what, history))
        elif event.kind == "ended":
            spans[event.what] = spans[event.what]._replace(end=seq)
    found: dict[int, Call | None] = {}
    for seq, event in enumerate(history.events):
        if event.kind == "wrote":
            fits = [call for call, span in spans.items() if span.begin < seq and call.ask.means(event.what)]
            free = [call for call in fits if call not in found.values()]
            found[seq] = owner = _owner(seq, event.at, free, spans)
            if owner is None:
                over = [call for call in free if spans[call].end < seq]
                check = "twice" if len(free) < len(fits) else "behind" if over else "owned"
                those = "; ".join(map(str, fits)) or "nobody asked for it"
                demand(False, check, f"{event.what} was written at {event.at:.3f}; {those}")
    for call, span in spans.items():
        claims = span.sent_at is not None and span.sent_at >= 0
        demand(call in found.values() or not claims, "owned", f"it says that it was written: {call}")
    return found


def _sent_at(call: Call, history: History) -> float | None:
    outcome = call.outcome
    if isinstance(call.error, trio.Cancelled):
        records = [each for each in history.records if each.command.wanted is call.wanted]
        if not records:
            return -1
        outcome = records[0].outcome
    sent = None if outcome is None else outcome.sent_at
    return None if sent is None else sent.monotonic


def _owner(seq: int, at: float, free: Sequence[Call], spans: dict[Call, _Span]) -> Call | None:
    """Of those that say that they were written then, the one that ended first; or one of whom nobody told."""
    those = [call for call in free if spans[call].sent_at in {at, -1} and seq < spans[call].end]
    return min(those, key=lambda call: (spans[call].sent_at != at, spans[call].end), default=None)


# --- what audit was told ---


def judge_audit(history: History, demand: Demand, closing: float) -> None:
    """One record for each call, in the order in which they ended, unless ``audit`` was too slow for it."""
    ended = [event.what for event in history.events if event.kind == "ended"]
    heard = [next(call for call in ended if call.wanted is each.command.wanted) for each in history.records]
    demand(len(set(map(id, heard))) == len(heard), "audit", "it was told of a call twice")
    order = [ended.index(call) for call in heard]
    demand(order == sorted(order), "audit", f"it was told in another order: {order}")
    for call, record in zip(heard, history.records, strict=True):
        is_same = record.error is call.error and (record.outcome is call.outcome or call.error is not None)
        demand(is_same, "audit", f"it was told {record} of {call}")
        written = call.write is not None
        told = record.outcome is not None
        demand(call.outcome is not None or told == written, "audit", f"it was told {record.outcome} of {call}")
    if history.audit in {"", "raises"}:
        kinds = [event.kind for event in history.events]
        before = history.events[: kinds.index("closing")]
        called = [event.what for event in before if event.kind == "called"]
        in_time = [call for call in called if call.ended < closing + _CLOSE_GRACE]
        missing = [call for call in in_time if call not in heard]
        demand(len(missing) <= history.missed, "audit", f"it was not told of {'; '.join(map(str, missing))}")
    elif history.audit == "hangs":
        demand(len(heard) == min(1, len(ended)) or closing != NEVER, "audit", f"it was told of {len(heard)} calls")
