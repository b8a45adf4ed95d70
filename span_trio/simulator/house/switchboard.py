"""The relays of a house: who opens and closes them, and why. Pure, and without a clock.

The rules of this room:

* A relay obeys its locks first: *always-on* is never opened by anybody, *never-backup* keeps its priority. From r202639
  on, circuits with an inverter or a battery on them are *fixed*, which is both. On hardware 3.0 a locked relay locks
  the priority too.
* A relay may have several circuits behind it (tandem breakers, hardware 3.0). It has one state, whoever asked for it by
  which circuit; it is locked if one of them is, and shed if one of them has to be.
* Off grid, circuits are shed by priority, and come back when the reason is gone; what somebody has closed or opened by
  hand meanwhile stays as it was left. The battery's own circuit is never shed.
* A command says what became of it (`CommandResult`); on the wire a refusal is silence.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs

from ...enums import RelayRequester, RelayState, ShedPriority
from ...errors import SpanPanelValidationError
from .spec import CircuitSpec, HouseSpec

__all__ = ["Answer", "Circuit", "CommandResult", "Relay", "Switchboard"]


class Answer(enum.Enum):
    """What became of a command."""

    DONE = "done"
    UNCHANGED = "it was so already"
    CLAMPED = "done, with the nearest value that is allowed"
    LOCKED = "refused: locked"
    NO_SUCH = "refused: there is no such thing"
    INVALID = "refused: not a value of it"
    NOT_NOW = "refused: not as things are"
    NO_EFFECT = "accepted, without effect"
    AWAY = "not heard: whom it was for is away"
    RETAINED = "not heard: it was to be retained"
    DENIED = "not heard: the broker dropped it"


@attrs.frozen
class CommandResult:
    """What became of a command.

    Attributes:
        answer: see `Answer`.
        value: what stands now, as text; empty if there is no such thing.
    """

    answer: Answer
    value: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the house did as it was told, or needed not."""
        return self.answer in {Answer.DONE, Answer.UNCHANGED, Answer.CLAMPED}


NO_SUCH: Final = CommandResult(Answer.NO_SUCH)
COMMISSIONED: Final = frozenset(
    {"name", "breaker_a", "priority", "always_on", "never_backup", "sheddable", "pcs_managed", "pcs_priority"}
)
"""What an installer can change later, by the names of `CircuitSpec`."""


@attrs.define(eq=False)
class Relay:
    """A relay as it stands, and the circuits behind it."""

    requester: RelayRequester = RelayRequester.NONE
    state: RelayState = RelayState.CLOSED
    shed_for: RelayRequester | None = None
    """Why it was opened off grid, if it was; also after somebody closed it by hand."""
    circuits: list[Circuit] = attrs.field(factory=list["Circuit"], repr=False)

    @property
    def locked(self) -> bool:
        """Nobody opens it."""
        return any(circuit.spec.always_on or circuit.fixed for circuit in self.circuits)


@attrs.define(eq=False)
class Circuit:
    """A circuit as it stands."""

    spec: CircuitSpec
    id: str
    carries: bool
    """It feeds the battery: nobody but a user opens it."""
    priority: ShedPriority
    switch: Relay
    """Its relay, which other circuits may share."""
    locks_priority: bool = False
    """A locked relay locks the priority too."""
    overload: bool = False
    """It was too much for the battery, and stays off until the grid is back."""
    fixed: bool = False
    """See the rules of the room."""

    @property
    def relay(self) -> RelayState:
        """Of its relay."""
        return self.switch.state

    @property
    def requester(self) -> RelayRequester:
        """Who asked for that."""
        return self.switch.requester

    @property
    def closed(self) -> bool:
        """Whether current can flow."""
        return self.relay is RelayState.CLOSED

    @property
    def locked(self) -> bool:
        """Nobody opens its relay."""
        return self.switch.locked

    @property
    def priority_locked(self) -> bool:
        """Nobody changes its priority."""
        return self.spec.never_backup or self.fixed or (self.locks_priority and self.locked)

    @property
    def sheddable(self) -> bool:
        """As commissioned; else whether its priority says so and its relay can be opened."""
        if self.spec.sheddable is not None:
            return self.spec.sheddable
        return self.priority is not ShedPriority.NEVER and not self.locked

    def judge_relay(self, state: str) -> CommandResult:
        """What a user who wants this state would be told, and what would stand then."""
        if state not in {RelayState.OPEN, RelayState.CLOSED}:
            return CommandResult(Answer.INVALID, self.relay)
        if self.locked:
            return CommandResult(Answer.LOCKED, self.relay)
        return CommandResult(Answer.UNCHANGED if self.relay == state else Answer.DONE, state)

    def judge_priority(self, priority: str) -> CommandResult:
        """What a user who wants this priority would be told, and what would stand then."""
        if priority not in {ShedPriority.OFF_GRID, ShedPriority.SOC_THRESHOLD, ShedPriority.NEVER}:
            return CommandResult(Answer.INVALID, self.priority)
        if self.priority_locked:
            return CommandResult(Answer.LOCKED, self.priority)
        return CommandResult(Answer.UNCHANGED if self.priority == priority else Answer.DONE, priority)


class Switchboard:
    """All relays of a house.

    Args:
        spec: the house.

    Attributes:
        circuits: in the order of the spec.
        revision: goes up whenever a relay, a requester or a priority has changed.
    """

    def __init__(self, spec: HouseSpec) -> None:
        carrier = None if spec.bess is None else spec.bess.feed
        relays: dict[str, Relay] = {}  # by the name of the circuit that others name
        self.circuits: Final = tuple(
            Circuit(
                circuit,
                spec.id_of(circuit),
                circuit.name == carrier,
                circuit.priority,
                relays.setdefault(circuit.relay_of or circuit.name, Relay()),
                spec.hardware_3,
            )
            for circuit in spec.circuits
        )
        for circuit in self.circuits:
            circuit.switch.circuits.append(circuit)
        self._relays: Final = tuple(relays.values())
        for relay in self._relays:
            if relay.locked:
                relay.requester = RelayRequester.ALWAYS_ON
        self.by_id: Final = {circuit.id: circuit for circuit in self.circuits}
        self.revision: int = 0

    def _move(self, relay: Relay, state: RelayState, requester: RelayRequester) -> None:
        if (relay.state, relay.requester) != (state, requester):
            relay.state, relay.requester = state, requester
            self.revision += 1

    # --- by hand ---

    def set_relay(self, circuit_id: str, state: str) -> CommandResult:
        """Open or close a relay for a user."""
        circuit = self.by_id.get(circuit_id)
        if circuit is None:
            return NO_SUCH
        result = circuit.judge_relay(state)
        if result.accepted:
            self._move(circuit.switch, RelayState(state), RelayRequester.USER)
        return result

    def set_priority(self, circuit_id: str, priority: str) -> CommandResult:
        """Change when a circuit is shed. `shed` acts on it."""
        circuit = self.by_id.get(circuit_id)
        if circuit is None:
            return NO_SUCH
        result = circuit.judge_priority(priority)
        if result.answer is Answer.DONE:
            circuit.priority = ShedPriority(priority)
            self.revision += 1
        return result

    # --- by an installer ---

    def recommission(self, circuit_id: str, **changes: Any) -> None:
        """Change what a circuit was commissioned as: its label, its rating, its locks, its priorities.

        Raises:
            SpanPanelValidationError: there is no such circuit, or that cannot be meant.
        """
        circuit = self.by_id.get(circuit_id)
        if circuit is None:
            raise SpanPanelValidationError(f"there is no circuit {circuit_id!r}")
        if changes.keys() - COMMISSIONED:
            wrong = ", ".join(sorted(changes.keys() - COMMISSIONED))
            raise SpanPanelValidationError(f"{circuit.spec.part}: {wrong} cannot be changed")
        circuit.spec = attrs.evolve(circuit.spec, **changes)
        circuit.priority = changes.get("priority", circuit.priority)
        self._lock(circuit)
        self.revision += 1

    def fix(self, circuit_ids: AbstractSet[str]) -> None:
        """Fix these circuits, and no others."""
        for circuit in self.circuits:
            if circuit.fixed is not (circuit.id in circuit_ids):
                circuit.fixed = not circuit.fixed
                self._lock(circuit)
                self.revision += 1

    def _lock(self, circuit: Circuit) -> None:
        """Bring a relay to where its locks want it."""
        if circuit.locked:
            self._move(circuit.switch, RelayState.CLOSED, RelayRequester.ALWAYS_ON)
        elif circuit.requester is RelayRequester.ALWAYS_ON:
            self._move(circuit.switch, RelayState.CLOSED, RelayRequester.NONE)

    def break_down(self, circuit_id: str) -> None:
        """A relay opens by a fault, locked or not.

        Raises:
            SpanPanelValidationError: there is no such circuit.
        """
        if circuit_id not in self.by_id:
            raise SpanPanelValidationError(f"there is no circuit {circuit_id!r}")
        self._move(self.by_id[circuit_id].switch, RelayState.OPEN, RelayRequester.FAULT)

    # --- by the state of the grid ---

    def shed(self, *, off_grid: bool, low: bool) -> None:
        """Open what has to be shed, close what need no longer be.

        Args:
            off_grid: something other than the grid feeds the house.
            low: the battery is below its threshold.
        """
        for relay in self._relays:
            for circuit in relay.circuits:
                circuit.overload = circuit.overload and off_grid
            reasons = [_reason(circuit, low=low) for circuit in relay.circuits] if off_grid else []
            reason = next(filter(None, reasons), None)
            held = relay.requester is RelayRequester.PCS
            if reason is not None and relay.shed_for is None and (relay.state is RelayState.CLOSED or held):
                self._move(relay, RelayState.OPEN, reason)
            if reason is None and relay.shed_for is not None and relay.requester is relay.shed_for:
                self._move(relay, RelayState.CLOSED, RelayRequester.NONE)
            relay.shed_for = reason

    def relieve(self, drawn_w: Sequence[float]) -> bool:
        """Off grid, the battery cannot carry the house: open the largest load that may be opened.

        Args:
            drawn_w: of the circuits, in their order.

        Returns:
            Whether there was one.
        """
        loads = [
            (watts, circuit)
            for watts, circuit in zip(drawn_w, self.circuits, strict=True)
            if watts > 0 and circuit.closed and not circuit.locked
        ]
        if not loads:
            return False
        _, circuit = max(loads, key=lambda load: load[0])
        circuit.overload = True
        circuit.switch.shed_for = RelayRequester.BACKUP
        self._move(circuit.switch, RelayState.OPEN, RelayRequester.BACKUP)
        return True

    # --- by the power control system ---

    def hold(self, circuit: Circuit) -> None:
        """Open a managed circuit, for a limit is exceeded."""
        self._move(circuit.switch, RelayState.OPEN, RelayRequester.PCS)

    def holds(self, circuit: Circuit) -> bool:
        """Whether a circuit is still open for that."""
        return circuit.requester is RelayRequester.PCS

    def let_go(self, circuit: Circuit) -> None:
        """Close a circuit that was held."""
        self._move(circuit.switch, RelayState.CLOSED, RelayRequester.NONE)

    def managed(self, wanted: Callable[[Circuit], bool]) -> list[Circuit]:
        """The circuits that the power control system may open and that are ``wanted``, first to be opened first."""
        may = (
            circuit for circuit in self.circuits if circuit.spec.pcs_managed and not (circuit.carries or circuit.locked)
        )
        found = [circuit for circuit in may if wanted(circuit)]
        return sorted(found, key=lambda circuit: -circuit.spec.pcs_priority)


def _reason(circuit: Circuit, *, low: bool) -> RelayRequester | None:
    """Why a circuit is to be shed off grid, if it is."""
    if circuit.locked or circuit.carries:
        return None
    if circuit.spec.never_backup:
        return RelayRequester.NEVER_BACKUP
    due = circuit.priority is ShedPriority.OFF_GRID or (circuit.priority is ShedPriority.SOC_THRESHOLD and low)
    return RelayRequester.BACKUP if circuit.overload or (due and circuit.sheddable) else None
