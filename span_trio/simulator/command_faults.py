"""What can go wrong with commands at the panel, as long as a switch says so."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import attrs

from ..enums import Control

__all__ = ["CommandFaults"]


def _controls(controls: Control | Iterable[Control]) -> frozenset[Control]:
    return frozenset([controls] if isinstance(controls, Control) else controls)


def _known(_: object, __: object, controls: frozenset[Any]) -> None:
    if not all(isinstance(control, Control) for control in controls):
        raise ValueError("what is wrong can only be restricted to controls: Control.RELAY and its like")


def _finite(_: object, __: object, seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a delay of {seconds} s cannot be meant")


@attrs.frozen(kw_only=True)
class CommandFaults:
    """What a panel does with commands beyond what its firmware does. Without arguments: nothing.

    Immutable; ``panel.command_faults = CommandFaults(lose=True)`` begins a fault, ``panel.command_faults =
    CommandFaults()`` ends it. A command is dealt with by what stood when it arrived, also if that is later. (What a
    broker does to commands is in `BrokerFaults`: ``deny``, ``mute``, ``freeze``, ``swallow``.)

    Raises:
        ValueError: a value cannot be meant.
    """

    lose: bool = False
    """The command is lost within the panel: nothing is done, nothing is said (lesson E, "nothing by the deadline")."""

    delay: float = attrs.field(default=0.0, validator=_finite)
    """So many seconds, on trio's clock, before the panel looks at the command at all; a relay takes its own time behind
    that. Each command waits by itself, so that one that came later may act earlier if this was changed meanwhile. What
    waits when the panel's service ends is forgotten, and of what waits only 10,000 are kept."""

    duplicate: bool = False
    """Every answer twice: the same value again, right behind the first (with ``$target``, behind a second one)."""

    contradict: bool = False
    """The panel takes the command and does otherwise: a relay goes to, or stays in, the state that was not asked for;
    anything else stays as it is. What stands then is published, though it may be what stood before. A ``$target`` says
    first what was asked for, and then what stands."""

    clamp: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    """No charge limit is set above this, A: a lower one is set instead, silently."""

    only: frozenset[Control] = attrs.field(default=frozenset(Control), converter=_controls, validator=_known)
    """Commands of other controls than these are dealt with as by firmware."""

    def of(self, control: Control | None) -> CommandFaults:
        """What of this is about a control: all, or nothing."""
        return self if control in self.only else CommandFaults()
