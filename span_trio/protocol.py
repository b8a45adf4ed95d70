"""What a program may rely on, as types: write a handler against these, and test it with whatever has the methods.

The names are those of span-panel-api; the methods are ours. `SpanPanel` is all of them.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol, runtime_checkable

from .command import CommandOutcome
from .enums import Control, DominantPowerSource, GridState, LockState, RelayState, ShedPriority
from .homie import ConnectionEdge, Instant
from .snapshot import SpanPanelSnapshot
from .span import FieldMetadata, OfferedControl

__all__ = [
    "CAPABILITY_OF_CONTROL",
    "CircuitControlProtocol",
    "PanelCapability",
    "PanelControlProtocol",
    "SpanPanelClientProtocol",
    "StreamingCapableProtocol",
]


class PanelCapability(enum.Flag):
    """What a panel can do now, in one value. `SpanPanel.controls` says it circuit by circuit."""

    NONE = 0
    PUSH_STREAMING = enum.auto()
    """Snapshots come by themselves. Always."""
    EBUS_MQTT = enum.auto()
    """It is read over MQTT. Always."""
    CIRCUIT_CONTROL = enum.auto()
    """A circuit's relay or priority may be commanded."""
    BATTERY_SOE = enum.auto()
    """A battery reports its state of charge."""
    POWER_SOURCE_CONTROL = enum.auto()
    """The dominant power source may be set, or on a parent/child panel islanding asserted."""
    CHARGE_LIMIT_CONTROL = enum.auto()
    """A charger's limit may be set."""
    PROPERTY_CONTROL = enum.auto()
    """A property that no other command is for may be set."""
    CHARGER_LOCK_CONTROL = enum.auto()
    """A charger's connector may be locked and unlocked."""


CAPABILITY_OF_CONTROL: Final[Mapping[Control, PanelCapability]] = {
    Control.RELAY: PanelCapability.CIRCUIT_CONTROL,
    Control.PRIORITY: PanelCapability.CIRCUIT_CONTROL,
    Control.DOMINANT_POWER_SOURCE: PanelCapability.POWER_SOURCE_CONTROL,
    Control.ISLANDING: PanelCapability.POWER_SOURCE_CONTROL,
    Control.CHARGE_LIMIT: PanelCapability.CHARGE_LIMIT_CONTROL,
    Control.CHARGER_LOCK: PanelCapability.CHARGER_LOCK_CONTROL,
    Control.PROPERTY: PanelCapability.PROPERTY_CONTROL,
}


class SpanPanelClientProtocol(Protocol):
    """A panel that can be read.

    Not for ``isinstance``: that would ask a panel that is not live for its snapshot (Python 3.11).
    """

    @property
    def serial_number(self) -> str:
        """The panel's."""
        ...

    @property
    def capabilities(self) -> PanelCapability:
        """What it can do now."""
        ...

    @property
    def live(self) -> bool:
        """Whether there is current data."""
        ...

    @property
    def live_since(self) -> Instant | None:
        """Since when."""
        ...

    @property
    def snapshot(self) -> SpanPanelSnapshot:
        """The panel now."""
        ...

    def field_metadata(self) -> Mapping[str, FieldMetadata]:
        """What it declares of each field."""
        ...

    async def wait_live(self, *, held_for: float = 0.0) -> None:
        """Wait until there is current data."""
        ...

    async def ping(self) -> float:
        """The round trip to the broker, s."""
        ...


@runtime_checkable
class StreamingCapableProtocol(Protocol):
    """A panel that tells of changes by itself."""

    def snapshots(self) -> AsyncIterator[SpanPanelSnapshot]:
        """The newest snapshot, whenever asked."""
        ...

    def edges(self) -> AsyncIterator[ConnectionEdge]:
        """The moments at which it goes online or offline."""
        ...

    def updates(self) -> AsyncIterator[SpanPanelSnapshot | ConnectionEdge]:
        """Both."""
        ...


@runtime_checkable
class CircuitControlProtocol(Protocol):
    """A panel whose circuits can be commanded."""

    async def set_circuit_relay(
        self, circuit_id: str, state: RelayState | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Open or close a circuit's relay."""
        ...

    async def set_circuit_priority(
        self, circuit_id: str, priority: ShedPriority | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Say when a circuit is shed."""
        ...


@runtime_checkable
class PanelControlProtocol(Protocol):
    """A panel that can be commanded as a whole."""

    def controls(self) -> tuple[OfferedControl, ...]:
        """What can be commanded now."""
        ...

    async def set_dominant_power_source(
        self, value: DominantPowerSource | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Say what feeds the house."""
        ...

    async def assert_islanding_state(self, value: GridState | str, *, within: float | None = None) -> CommandOutcome:
        """Say whether the house is on the grid, while the battery cannot."""
        ...

    async def set_evse_charge_limit(
        self, node_id: str, amps: int | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Limit a charger's current."""
        ...

    async def set_evse_lock(
        self, node_id: str, state: LockState | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Lock or unlock a charger's connector."""
        ...

    async def set_property(
        self, device_id: str, node_id: str, property_id: str, value: object, *, within: float | None = None
    ) -> CommandOutcome:
        """Set a property that no other command is for."""
        ...
