"""How far a command got, in one sentence or as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..command import CommandOutcome, on_one_relay
from ..enums import CommandResult
from ..homie import Instant
from .targets import Target

__all__ = ["as_json", "sentence"]


def sentence(outcome: CommandOutcome, reached: Sequence[Target] = ()) -> str:
    """How far it got, and what that means.

    Args:
        outcome: of the command.
        reached: who was commanded, and all that was reached with it; by itself, their ids.
    """
    command, result = outcome.command, outcome.result
    names = [str(each) for each in reached] or outcome.reaches or (command.subject,)
    what = f"the {command.control} of {names[0]}{on_one_relay(names)}"
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


def as_json(outcome: CommandOutcome, target: Target) -> dict[str, Any]:
    """The same for programs."""
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
            "reaches": command.reaches,
            "reaches_unknown": command.reaches_unknown,
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
