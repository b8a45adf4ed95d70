"""Commands to a panel: who is meant, whether it is meant, and how far it got.

The rules of this room:

* What takes power away, or may, asks first. Nobody there to ask is no yes.
* While a person thinks, the panel is read on: the question waits in trio, and ctrl-C ends it. What is not live when the
  answer comes is not commanded.
* How far a command got is said once, in one sentence and an exit code. Whatever ends a command that was written, be it
  ctrl-C, says that it may still act.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, TextIO

import attrs
import click
import trio

from ..command import CommandOutcome, CommandRecord, on_one_relay
from ..enums import CommandResult, Control, GridState, LockState, RefusalReason, RelayState, ShedPriority
from ..errors import (
    SpanPanelError,
    SpanPanelLockedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
    SpanPanelValidationError,
)
from ..opening import open_span_panel
from ..panel import SpanPanel
from ..snapshot import SpanPanelSnapshot
from ..span import OfferedControl
from ..threads import read_in_thread
from .asking import DeclinedError, need_terminal
from .connection import Panel, Positive, panel_options, run
from .dashboard import power
from .output import ask_for, note, say, say_json
from .targets import Target, chargers, choose, circuits, named
from .telling import as_json, sentence

__all__ = ["OfflineError", "ask", "charge_limit", "evse_lock", "islanding", "priority", "relay"]

_EXIT_CODES: Final[Mapping[CommandResult, int]] = {
    CommandResult.CONFIRMED: 0,
    CommandResult.NO_OP: 0,
    CommandResult.ACCEPTED: 10,
    CommandResult.UNCONFIRMED: 11,
    CommandResult.UNKNOWN: 12,
    CommandResult.FAILED: 13,
}


class OfflineError(SpanPanelError):
    """The panel went offline before anything was sent."""


class _Word(click.Argument):
    """One of some words; as the wire has it, ``SOC_THRESHOLD``, will do."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """As of any parameter of click's."""
        return super().type_cast_value(ctx, value.replace("_", "-") if isinstance(value, str) else value)


def _choice(*words: str) -> click.Choice[str]:
    return click.Choice(words, case_sensitive=False)


_WITHIN: Final = click.option(
    "--within", type=Positive(), metavar="SECONDS", help="For all of it. [default: relay: 5, all others: 2]"
)
_AMPS: Final[Any] = click.INT  # click's own types know what comes of a text, and not that it is one
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="The outcome as one JSON object.")
_YES: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


class _Question(NamedTuple):
    """What a person is asked about: the panel, who is meant, and who is reached with it."""

    snapshot: SpanPanelSnapshot
    reached: tuple[Target, ...]


@attrs.frozen(kw_only=True)
class _Wish:
    """What was typed.

    Attributes:
        wanted: the value.
        whom: by id or name; ``None``: there is only one.
        question: what a person must say yes to; ``None``: no question.
    """

    control: Control
    wanted: Any
    whom: str | None = None
    within: float | None
    as_json: bool
    question: Callable[[_Question], str] | None = None


# --- the commands -----------------------------------------------------------------------------------------------------


@click.command()
@panel_options
@click.argument("circuit")
@click.argument("state", cls=_Word, type=_choice("open", "closed"))
@_YES
@_WITHIN
@_JSON
def relay(*, panel: Panel, circuit: str, state: str, yes: bool, **others: Any) -> None:
    """Open or close the relay of CIRCUIT (its name or id); opening asks first."""
    wanted = RelayState(state.upper())
    question = _question_of_opening if wanted == RelayState.OPEN and not yes else None
    _carry_out(panel, _Wish(control=Control.RELAY, wanted=wanted, whom=circuit, question=question, **others))


@click.command()
@panel_options
@click.argument("circuit")
@click.argument("when", cls=_Word, type=_choice("never", "soc-threshold", "off-grid"))
@_WITHIN
@_JSON
def priority(*, panel: Panel, circuit: str, when: str, **others: Any) -> None:
    """Say when CIRCUIT (its name or id) is shed: never, below the battery's threshold, or as soon as off grid."""
    wanted = ShedPriority(when.upper().replace("-", "_"))
    _carry_out(panel, _Wish(control=Control.PRIORITY, wanted=wanted, whom=circuit, **others))


@click.command()
@panel_options
@click.argument("charger", required=False)
@click.argument("amps", required=False, metavar="AMPS")
@_WITHIN
@_JSON
@click.pass_context
def charge_limit(ctx: click.Context, /, *, panel: Panel, charger: str | None, amps: str | None, **others: Any) -> None:
    """Limit the current of CHARGER (its id, or its circuit's name) to AMPS.

    CHARGER may be left out if there is only one.
    """
    whom, wanted = _charger_and(amps, charger, "AMPS", _AMPS, ctx)
    _carry_out(panel, _Wish(control=Control.CHARGE_LIMIT, wanted=wanted, whom=whom, **others))


@click.command()
@panel_options
@click.argument("charger", required=False)
@click.argument("state", required=False, metavar="STATE")
@_WITHIN
@_JSON
@click.pass_context
def evse_lock(ctx: click.Context, /, *, panel: Panel, charger: str | None, state: str | None, **others: Any) -> None:
    """Lock or unlock the connector of CHARGER (its id, or its circuit's name): STATE is "locked" or "unlocked".

    CHARGER may be left out if there is only one. Only for chargers that let their lock be set, on hardware 3.0.
    """
    whom, wanted = _charger_and(state, charger, "STATE", _choice("locked", "unlocked"), ctx)
    _carry_out(panel, _Wish(control=Control.CHARGER_LOCK, wanted=LockState(wanted.upper()), whom=whom, **others))


def _charger_and(
    value: str | None, charger: str | None, name: str, kind: click.ParamType[Any], ctx: click.Context
) -> tuple[str | None, Any]:
    """A charger, which may be left out, and the value behind it."""
    if value is None:
        charger, value = None, charger
    if value is None:
        raise click.UsageError(f"Missing argument '{name}'.", ctx)
    return charger, kind.convert(value, None, ctx)


@click.command()
@panel_options
@click.argument("state", cls=_Word, type=_choice("on-grid", "off-grid"))
@_YES
@_WITHIN
@_JSON
def islanding(*, panel: Panel, state: str, yes: bool, **others: Any) -> None:
    """Say whether the house is on the grid, while its battery cannot; "on-grid" asks first.

    Firmware r202633 and later, and heard only while the battery's communication is lost or degraded.
    """
    wanted = GridState(state.upper().replace("-", "_"))
    question = _question_of_on_grid if wanted == GridState.ON_GRID and not yes else None
    _carry_out(panel, _Wish(control=Control.ISLANDING, wanted=wanted, question=question, **others))


# --- carrying out -----------------------------------------------------------------------------------------------------


def _carry_out(panel: Panel, wish: _Wish) -> NoReturn:
    """Do it, say how far it got, and leave with its exit code."""
    if wish.within == math.inf:
        raise SpanPanelValidationError("--within must have an end")
    if wish.question is not None:
        need_terminal("with --yes it is done without a question")
    records: list[CommandRecord] = []
    try:
        outcome = run(_session, panel, wish, records)
    except BaseException:
        for record in records:
            if record.error is not None and record.outcome is not None:  # ended from outside, after it was written
                note(f"span-trio: not waited for to the end: {sentence(record.outcome)}")
        raise
    sys.exit(_EXIT_CODES[outcome.result])


async def _session(panel: Panel, wish: _Wish, records: list[CommandRecord]) -> CommandOutcome:
    async def audit(record: CommandRecord) -> None:  # without a checkpoint: ctrl-C must not keep it from being told
        records.append(record)

    async with open_span_panel(panel.host, **panel.how, audit=audit) as opened:
        snapshot = opened.snapshot
        target = _target(wish, snapshot, opened.serial_number)
        offered = _check(opened, snapshot, wish.control, target)
        asked = _Question(snapshot, (target, *(named(each, snapshot) for each in offered.reaches[1:])))
        if wish.question is not None:
            if not await ask(wish.question(asked)):
                raise DeclinedError("nothing was sent")
            _check_again(opened, asked, offered)
        outcome = await _send(opened, wish, target.id)
        if wish.as_json:
            say_json(as_json(outcome, target))
        else:
            say(sentence(outcome, [named(each, snapshot) for each in outcome.reaches] or [target]))
    return outcome


def _target(wish: _Wish, snapshot: SpanPanelSnapshot, serial_number: str) -> Target:
    match wish.control:
        case Control.RELAY | Control.PRIORITY:
            return choose("circuit", wish.whom, circuits(snapshot))
        case Control.CHARGE_LIMIT | Control.CHARGER_LOCK:
            return choose("charger", wish.whom, chargers(snapshot))
        case _:
            return Target(serial_number)


def _check(opened: SpanPanel, snapshot: SpanPanelSnapshot, control: Control, target: Target) -> OfferedControl:
    """Refuse before anybody is asked what the library would refuse; and in the words by which it was asked for.

    Returns:
        What is to be commanded.

    Raises:
        SpanPanelUnknownTargetError: there is no such control.
        SpanPanelLockedError: it is locked.
    """
    what = f"the {control} of {target.in_full}"
    found = [each for each in opened.controls() if (each.control, each.subject) == (control, target.id)]
    if not found:
        raise SpanPanelUnknownTargetError(RefusalReason.NO_SUCH_CONTROL, what)
    if found[0].refusal is not None:
        raise SpanPanelLockedError(found[0].refusal, what + _others(found[0], snapshot))
    return found[0]


def _check_again(opened: SpanPanel, asked: _Question, before: OfferedControl) -> None:
    """Refuse what would reach others than those that were asked about, while somebody thought.

    Raises:
        SpanPanelLockedError: it would.
        OfflineError: nobody knows.
    """
    try:
        offered = _check(opened, asked.snapshot, before.control, asked.reached[0])
    except SpanPanelStaleDataError as error:
        raise OfflineError(f"{error}; nothing was sent") from None
    if not set(offered.reaches) <= set(before.reaches):
        what = f"the {offered.control} of {asked.reached[0].in_full}{_others(offered, asked.snapshot)}"
        raise SpanPanelLockedError(RefusalReason.REACHES_OTHERS, what)


def _others(offered: OfferedControl, snapshot: SpanPanelSnapshot) -> str:
    return on_one_relay([str(named(each, snapshot)) for each in offered.reaches])


async def _send(opened: SpanPanel, wish: _Wish, subject: str) -> CommandOutcome:
    commands: Mapping[Control, Callable[..., Any]] = {
        Control.RELAY: partial(opened.set_circuit_relay, subject),
        Control.PRIORITY: partial(opened.set_circuit_priority, subject),
        Control.CHARGE_LIMIT: partial(opened.set_evse_charge_limit, subject),
        Control.CHARGER_LOCK: partial(opened.set_evse_lock, subject),
        Control.ISLANDING: opened.assert_islanding_state,
    }
    try:
        outcome: CommandOutcome = await commands[wish.control](wish.wanted, within=wish.within)
    except SpanPanelStaleDataError as error:
        raise OfflineError(f"{error}; nothing was sent") from None
    return outcome


# --- asking -----------------------------------------------------------------------------------------------------------


def _question_of_opening(asked: _Question) -> str:
    snapshot, (target, *others) = asked
    state = snapshot.circuits[target.id].relay_state
    if not others:
        flow = _flow("it", target, snapshot)
        return f"Open {target.in_full}? It is {state}, and {flow}; what hangs on it loses power."
    also = " and ".join(each.in_full for each in others)
    flows = ", ".join(_flow(str(each), each, snapshot) for each in asked.reached)
    both = f"{also} {'hang' if len(others) > 1 else 'hangs'} on the same relay and will open with it"
    return f"Open {target.in_full}? {both}. It is {state}; {flows}; what hangs on them loses power."


def _flow(name: str, target: Target, snapshot: SpanPanelSnapshot) -> str:
    """What a circuit draws, or feeds in, in words."""
    circuit = snapshot.circuits.get(target.id)
    watts = None if circuit is None else circuit.instant_power_w
    if watts is None:
        return f"what {name} draws is not known"
    return f"{name} feeds in {power(-watts)} now" if watts < 0 else f"{name} draws {power(watts)} now"


def _question_of_on_grid(asked: _Question) -> str:
    whose = asked.reached[0].in_full
    return f"Assert that {whose} is on the grid? Nothing is shed any more then, which may drain the battery."


async def ask(question: str, answers: TextIO | None = None) -> bool:
    """Ask a person, and wait for a line; only yes is yes, and the end of the input is no.

    Args:
        question: in words.
        answers: the terminal; by itself the standard input.

    A checkpoint. Cancelling it harms nothing; the panel is read meanwhile.
    """
    stream: TextIO = sys.stdin if answers is None else answers
    ask_for(f"{question} [y/N]")
    if sys.platform == "win32":  # where only sockets can be waited for
        line = await read_in_thread("the terminal", stream.readline)
    else:
        await trio.lowlevel.wait_readable(stream)  # which a terminal is when there is a whole line
        line = stream.readline()
    if not line:
        note("")
    return line.strip().lower() in {"y", "yes"}
