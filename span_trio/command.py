"""What is said of a command: what was asked, how far it got, and the record of both."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .arguments import shown
from .enums import CommandResult, Control
from .homie import Instant
from .wiretext import printable

__all__ = ["Command", "CommandOutcome", "CommandRecord", "on_one_relay"]


def on_one_relay(reaches: Sequence[str]) -> str:
    """What else a command reaches, in words, to be put behind whose it is; nothing if that is all."""
    return f" (one relay with {', '.join(reaches[1:])})" if reaches[1:] else ""


@attrs.frozen
class Command:
    """A command, as it was asked for.

    Attributes:
        control: what is commanded.
        subject: whose: a circuit's id, a charger's key, the panel's serial number, ``device/node/property``.
        wanted: the value, as given.
        within: the deadline, s from the call.
        called_at: when.
        epoch: over which link it may go; not over a later one (I10).
        reaches: the ids of all circuits that it reaches, its own first: see `OfferedControl.reaches`. It is refused if
            it comes to reach others before it is written.
        reaches_unknown: those of them that are no circuits of this panel.
    """

    control: Control
    subject: str
    wanted: object
    within: float
    called_at: Instant
    epoch: int
    reaches: tuple[str, ...] = ()
    reaches_unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In words, on one line. What a property without a field is set to is left out: it may be private (I16)."""
        if self.control is Control.PROPERTY:
            return printable(f"{self.control} {self.subject}{on_one_relay(self.reaches)}")
        return printable(f"{self.control} of {self.subject}{on_one_relay(self.reaches)} to {shown(self.wanted)}")


@attrs.frozen
class CommandOutcome:
    """How far a command got, and what was seen.

    Attributes:
        command: what was asked.
        result: see `CommandResult`.
        detail: the particulars, in words.
        sent_at: when it was written to the link; ``None``: it was not.
        acknowledged_at: when the broker said that it has it; ``None``: it did not.
        ended_at: when this was decided.
        value: the property's value on the wire then, as text; ``None``: none is known.
        target: its ``$target``, where the panel publishes one.
        requester: who asked for the relay's state, as the panel says; every client is USER. Relays only.
    """

    command: Command
    result: CommandResult
    ended_at: Instant
    detail: str = ""
    sent_at: Instant | None = None
    acknowledged_at: Instant | None = None
    value: str | None = None
    target: str | None = None
    requester: str | None = None

    @property
    def reaches(self) -> tuple[str, ...]:
        """The ids of all circuits that the command reached, if it acted: see `Command.reaches`."""
        return self.command.reaches

    @property
    def is_done(self) -> bool:
        """Whether the value is known to be the wanted one: confirmed, or already so."""
        return self.result in {CommandResult.CONFIRMED, CommandResult.NO_OP}

    @property
    def may_still_act(self) -> bool:
        """Whether it was written and nobody knows what became of it: do not just send it again."""
        return self.sent_at is not None and self.result is not CommandResult.CONFIRMED

    def __str__(self) -> str:
        """In words, on one line."""
        return printable(f"{self.command}: {self.result}" + (f" ({self.detail})" if self.detail else ""))


@attrs.frozen
class CommandRecord:
    """A command and what became of the call: for ``audit``.

    Attributes:
        command: what was asked.
        outcome: what the call returned; of one that was cancelled after it was written, what was known by then.
        error: what it raised instead: a refusal, the exception of ``authorise``; or what cancelled it.
    """

    command: Command
    outcome: CommandOutcome | None = None
    error: BaseException | None = None
