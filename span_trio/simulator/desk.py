"""Where a panel's commands arrive: may they, what is written down, and when something is done about them.

The rules of this room:

* First the log, then the switches (`CommandFaults`), then the firmware.
* A refusal is silence. What was accepted shows as a value, published at once and not with the next burst; with
  ``$target``, that says first what was asked for, byte for byte (Homie sections 9 and 10).
* A relay is a physical thing and takes its time; all else is done when it is accepted, before the broker says PUBACK.
* What is due at the same moment is done in the order in which it arrived, by one task: under a virtual clock equal
  commands have equal answers.
* What waits when the service ends is forgotten.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from ..enums import Control, RelayState
from ..homie import Message
from .announcer import DOMAIN, Announcer
from .broker.packets import Publish, Will
from .broker.sessions import Client
from .command_faults import CommandFaults
from .command_log import CommandLog, ReceivedCommand
from .house.switchboard import Answer

__all__ = ["CommandDesk"]

_BASE: Final = f"{DOMAIN}/5/"
_SET: Final = "/set"
_MOST_WAITING: Final = 10_000
_LONGEST: Final = 1000  # characters of a payload in the log
_OTHER: Final[Mapping[bytes, bytes]] = {
    RelayState.OPEN.encode(): RelayState.CLOSED.encode(),
    RelayState.CLOSED.encode(): RelayState.OPEN.encode(),
}


@attrs.define(eq=False)
class _Command:
    number: int
    topic: str  # as the publisher tells it
    control: Control
    payload: bytes
    faults: CommandFaults
    accepted: bool = False


class CommandDesk:
    """One panel's.

    Args:
        announcer: of its firmware, whatever that is at the time.
        catch_up: lets the house live until now.

    Attributes:
        log: what arrived.
        faults: what is wrong at the moment.
        relay_delay: how long a relay takes, s.
        open: whether the panel's service is there.
    """

    def __init__(self, announcer: Announcer, catch_up: Callable[[], None]) -> None:
        self.log: Final = CommandLog()
        self.faults: CommandFaults = CommandFaults()
        self.relay_delay: float = 0.05
        self.open: bool = False
        self._announcer: Final = announcer
        self._catch_up: Final = catch_up
        self._waiting: list[tuple[float, int, _Command]] = []
        self._number = 0
        self._news = trio.Event()

    def close(self) -> None:
        """The panel's service ends."""
        self.open = False
        self._waiting.clear()
        self._announcer.settle_all()

    # --- the broker's questions ---

    def may_publish(self, _client: Client, topic: str) -> bool:
        """From r202615 on: commands, and trees of other devices, not of former ones. Before: anything.

        (Facts, REST section 7.)
        """
        announcer = self._announcer
        if not announcer.publisher.release.limits_publishers:
            return True
        owner = announcer.owner(topic)
        if owner is None:
            return topic.startswith(_BASE) and topic.split("/")[2] not in announcer.gone
        return topic.endswith(_SET) and owner[1].count("/") == 2

    def on_receive(self, client: Client, message: Publish | Will, may: bool) -> None:
        """A client has published something: see whether it is a command, and write it down."""
        topic, payload, qos, retain = message[:4]
        if topic.endswith(_SET):
            control = self._control(topic)
            answer = self._judge(topic, payload, retain=retain) if may else Answer.DENIED
            self.log.append(
                ReceivedCommand(
                    number=self.log.received + 1,
                    time=trio.current_time(),
                    client_id=client.client_id,
                    topic=topic,
                    payload=payload[: 4 * _LONGEST].decode(errors="replace")[:_LONGEST],
                    qos=qos,
                    retain=retain,
                    dup=isinstance(message, Publish) and message.dup,
                    answer=answer,
                    faults=self.faults.of(control),
                )
            )

    def _topic(self, topic: str) -> str:
        """As the publisher tells it."""
        return topic.removeprefix(_BASE).removeprefix(self._announcer.publisher.prefix).removesuffix(_SET)

    def _control(self, topic: str) -> Control | None:
        announcer = self._announcer
        setting = None if announcer.owner(topic) is None else announcer.publisher.setting(self._topic(topic))
        return None if setting is None else setting.control

    def _judge(self, topic: str, payload: bytes, *, retain: bool) -> Answer:
        if self._announcer.owner(topic) is None:
            return Answer.NO_SUCH
        if not self.open:
            return Answer.AWAY
        if retain and self._announcer.publisher.habits.strict_commands:
            return Answer.RETAINED
        self._catch_up()
        return self._announcer.publisher.judge(self._topic(topic), payload).answer

    def on_publish(self, _client: Client, message: Message) -> None:
        """A client was allowed to publish something: if it is a command, it is the panel's now."""
        topic, control = message.topic, self._control(message.topic)
        if control is None or not topic.endswith(_SET) or not self.open:
            return
        if message.retain and self._announcer.publisher.habits.strict_commands:
            return
        faults = self.faults.of(control)
        self._number += 1
        if not faults.lose and len(self._waiting) < _MOST_WAITING:
            command = _Command(self._number, self._topic(topic), control, message.payload, faults)
            self._put(command, faults.delay)
            self.act()

    # --- the panel's work ---

    async def run(self) -> None:
        """Do what is due when it is, for ever. Cancelled, it forgets nothing, and does nothing more."""
        while True:
            self.act()
            self._news = trio.Event()
            with trio.move_on_at(self._waiting[0][0] if self._waiting else math.inf):
                await self._news.wait()

    def act(self) -> None:
        """Do what is due now."""
        while self._waiting and self._waiting[0][0] <= trio.current_time():
            _, _, command = heapq.heappop(self._waiting)
            self._catch_up()
            if command.accepted or self._accept(command):
                self._obey(command)

    def _put(self, command: _Command, delay: float) -> None:
        heapq.heappush(self._waiting, (trio.current_time() + delay, command.number, command))
        self._news.set()

    def _accept(self, command: _Command) -> bool:
        """Take it or leave it; whether it is to be obeyed at once."""
        announcer, limit = self._announcer, command.faults.clamp
        result = announcer.publisher.judge(command.topic, command.payload)
        if (
            result.accepted
            and command.control is Control.CHARGE_LIMIT
            and limit is not None
            and int(result.value) > limit
        ):
            command.payload = str(limit).encode()
            result = announcer.publisher.judge(command.topic, command.payload)
        if not result.accepted:
            return False
        command.accepted = True
        clamped = result.answer is Answer.CLAMPED
        announcer.aim(command.topic, result.value.encode() if clamped else command.payload, command.number)
        if command.control is not Control.RELAY or not self.relay_delay:
            return True
        self._put(command, self.relay_delay)
        return False

    def _obey(self, command: _Command) -> None:
        """Do it, or what a switch says instead, and publish what stands then."""
        announcer, publisher, topic = self._announcer, self._announcer.publisher, command.topic
        payload = command.payload
        if command.faults.contradict:
            payload = _OTHER[payload] if command.control is Control.RELAY else b""
        obeyed = bool(payload) and publisher.command(topic, payload).accepted
        if command.faults.contradict or (announcer.targets and not obeyed):  # it may be locked since it was accepted
            announcer.settle(topic, command.number)
            publisher.repeat(topic)
        changes = publisher.changes()
        announcer.send(changes)
        if command.faults.duplicate and topic in changes:
            publisher.repeat(topic)
            announcer.send(publisher.changes())
        announcer.settle(topic, command.number)
