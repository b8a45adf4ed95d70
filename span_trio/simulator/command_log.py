"""What a panel was told to do: a log, for tests of those who told it. No clock.

The rules of this room:

* A command is in the log as it came, once for each time that it came, before anything acts on it: also one that is then
  lost, delayed or refused.
* The log is bounded, and says how much it has forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, overload

import attrs

from .command_faults import CommandFaults
from .house.switchboard import Answer, CommandResult

__all__ = ["CommandLog", "ReceivedCommand"]


@attrs.frozen(kw_only=True)
class ReceivedCommand:
    """A message to a topic that ends in ``/set``, as it arrived at a panel's broker.

    Attributes:
        number: counts from 1, without gaps: what is missing has been forgotten.
        time: of arrival, s, on trio's clock.
        client_id: whose.
        topic: whole, ``/set`` included.
        payload: as text, at most 1,000 characters of it; what is no UTF-8 is U+FFFD.
        qos: as sent.
        retain: likewise.
        dup: likewise: the sender says that it may have come before.
        answer: what the firmware makes of it as things stand, whatever a switch then does. DENIED: the broker drops it;
            AWAY: the service, or the child, is not there to hear it; RETAINED: this hardware hears no such command.
        faults: what will be done about it beyond that.
    """

    number: int
    time: float
    client_id: str
    topic: str
    payload: str
    qos: int
    retain: bool
    dup: bool
    answer: Answer
    faults: CommandFaults = attrs.field(factory=CommandFaults)

    @property
    def accepted(self) -> bool:
        """Whether the firmware does as it is told, or need not."""
        return CommandResult(self.answer).accepted

    @property
    def heard(self) -> bool:
        """Whether it got as far as the firmware at all."""
        return self.answer not in {Answer.DENIED, Answer.AWAY, Answer.RETAINED}


class CommandLog(Sequence[ReceivedCommand]):
    """The commands that a panel received, oldest first. To others than the panel it is read-only.

    Args:
        limit: how many are kept; the oldest are forgotten.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self.received: int = 0
        """How many there were, the forgotten ones included."""
        self._kept: Final[deque[ReceivedCommand]] = deque(maxlen=limit)

    @property
    def dropped(self) -> int:
        """How many were forgotten."""
        return self.received - len(self._kept)

    def append(self, command: ReceivedCommand) -> None:
        """Another one."""
        self.received += 1
        self._kept.append(command)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> ReceivedCommand: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ReceivedCommand, ...]: ...

    def __getitem__(self, index: int | slice) -> ReceivedCommand | tuple[ReceivedCommand, ...]:
        return tuple(self._kept)[index] if isinstance(index, slice) else self._kept[index]

    def __repr__(self) -> str:
        return f"<CommandLog of {len(self)}, {self.dropped} dropped>"
