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
from typing import Any, Final, NoReturn, TextIO

import attrs
import click
import trio

from ..command import CommandOutcome, CommandRecord
from ..enums import CommandResult, Control, GridState, LockState, RefusalReason, RelayState, ShedPriority
from ..errors import (
    SpanPanelError,
    SpanPanelLockedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
    SpanPanelValidationError,
)
from ..homie import Instant
from ..opening import open_span_panel
from ..panel import SpanPanel
from ..snapshot import SpanPanelSnapshot
from ..threads import read_in_thread
from .asking import DeclinedError, need_terminal
from .connection import Panel, Positive, panel_options, run
from .dashboard import power
from .output import ask_for, note, say, say_json
from .targets import Target, chargers, choose, circuits

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


@attrs.frozen(kw_only=True)
class _Wish:
    """What was typed.

    Attributes:
        wanted: the value.
        whom: by id or name; ``None``: there is only one.
        question: what a person must say yes to, of a snapshot and who it is about; ``None``: no question.
    """

    control: Control
    wanted: Any
    whom: str | None = None
    within: float | None
    as_json: bool
    question: Callable[[SpanPanelSnapshot, Target], str] | None = None


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
                note(f"span-trio: not waited for to the end: {_sentence(record.outcome)}")
        raise
    sys.exit(_EXIT_CODES[outcome.result])


async def _session(panel: Panel, wish: _Wish, records: list[CommandRecord]) -> CommandOutcome:
    async def audit(record: CommandRecord) -> None:  # without a checkpoint: ctrl-C must not keep it from being told
        records.append(record)

    async with open_span_panel(panel.host, **panel.how, audit=audit) as opened:
        snapshot = opened.snapshot
        target = _target(wish, snapshot, opened.serial_number)
        _check(opened, wish.control, target)
        if wish.question is not None and not await ask(wish.question(snapshot, target)):
            raise DeclinedError("nothing was sent")
        outcome = await _send(opened, wish, target.id)
        if wish.as_json:
            say_json(_as_json(outcome, target))
        else:
            say(_sentence(outcome, target))
    return outcome


def _target(wish: _Wish, snapshot: SpanPanelSnapshot, serial_number: str) -> Target:
    match wish.control:
        case Control.RELAY | Control.PRIORITY:
            return choose("circuit", wish.whom, circuits(snapshot))
        case Control.CHARGE_LIMIT | Control.CHARGER_LOCK:
            return choose("charger", wish.whom, chargers(snapshot))
        case _:
            return Target(serial_number)


def _check(opened: SpanPanel, control: Control, target: Target) -> None:
    """Refuse before anybody is asked what the library would refuse; and in the words by which it was asked for.

    Raises:
        SpanPanelUnknownTargetError: there is no such control.
        SpanPanelLockedError: it is locked.
    """
    what = f"the {control} of {target.in_full}"
    found = [each for each in opened.controls() if (each.control, each.subject) == (control, target.id)]
    if not found:
        raise SpanPanelUnknownTargetError(RefusalReason.NO_SUCH_CONTROL, what)
    if found[0].refusal is not None:
        raise SpanPanelLockedError(found[0].refusal, what)


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


def _question_of_opening(snapshot: SpanPanelSnapshot, target: Target) -> str:
    circuit = snapshot.circuits[target.id]
    watts = circuit.instant_power_w
    flow = "what it draws is not known" if watts is None else f"it draws {power(watts)} now"
    if watts is not None and watts < 0:
        flow = f"it feeds in {power(-watts)} now"
    return f"Open {target.in_full}? It is {circuit.relay_state}, and {flow}; what hangs on it loses power."


def _question_of_on_grid(_: SpanPanelSnapshot, target: Target) -> str:
    return f"Assert that {target.in_full} is on the grid? Nothing is shed any more then, which may drain the battery."


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


# --- telling ----------------------------------------------------------------------------------------------------------


def _sentence(outcome: CommandOutcome, target: Target | None = None) -> str:
    """How far it got, and what that means."""
    command, result = outcome.command, outcome.result
    what = f"the {command.control} of {command.subject if target is None else target}"
    last = f"{what} ({'value not known' if outcome.value is None else f'last known: {outcome.value}'})"
    wanted, within = command.wanted, f"within {command.within:g} s"
    match result:
        case CommandResult.CONFIRMED:
            took = 1000 * (outcome.ended_at.monotonic - (outcome.sent_at or outcome.ended_at).monotonic)
            return f"{result}: {what} is {wanted}, which the panel reported {took:.0f} ms after it was written"
        case CommandResult.NO_OP:
            return f"{result}: {what} is {wanted} already; nothing was sent"
        case CommandResult.FAILED:
            return f"{result}: {outcome.detail}; nothing was sent for {what}, nor will it be"
        case CommandResult.ACCEPTED:
            seen = f"{outcome.detail}, but {last} was not reported as {wanted} {within}"
            return f"{result}: {seen}; it may still act, or have been dropped: look before you repeat it"
        case CommandResult.UNCONFIRMED:
            seen = f"{last} was told {wanted}, and nothing came back {within}"
        case CommandResult.UNKNOWN:
            seen = f"{last} was told {wanted}, and then the link was lost"
    return f"{result}: {seen}; it may still act: do not just repeat it, look first"


def _as_json(outcome: CommandOutcome, target: Target) -> dict[str, Any]:
    command = outcome.command

    def wall(instant: Instant | None) -> float | None:
        return None if instant is None else instant.wall

    return {
        "command": {
            "control": command.control,
            "subject": command.subject,
            "name": target.name,
            "wanted": command.wanted,
            "within": command.within,
        },
        "result": outcome.result,
        "detail": outcome.detail,
        "may_still_act": outcome.may_still_act,
        "times": {
            "called": wall(command.called_at),
            "sent": wall(outcome.sent_at),
            "acknowledged": wall(outcome.acknowledged_at),
            "ended": wall(outcome.ended_at),
        },
        "value": outcome.value,
        "target": outcome.target,
        "requester": outcome.requester,
    }
