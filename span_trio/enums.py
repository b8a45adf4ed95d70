"""The words of the wire, and of the connection: enums whose members are ``str`` and equal to their text.

A text that this version does not know stays that text in a snapshot; `WireEnum.of` maps it to UNKNOWN for decisions.
"""

from __future__ import annotations

import enum
from typing import Self

__all__ = [
    "CommandResult",
    "CommunicationState",
    "ConnectionReason",
    "Control",
    "DominantPowerSource",
    "DoorState",
    "DsmState",
    "EvseStatus",
    "FeedsRole",
    "ForecastConfidence",
    "GridState",
    "IslandingAssertion",
    "LimitEnablement",
    "LinkStatus",
    "LockState",
    "MidGridState",
    "RefusalReason",
    "RelativePosition",
    "RelayRequester",
    "RelayState",
    "RunConfig",
    "ShedPriority",
    "VendorCloud",
    "WireEnum",
]


class ConnectionReason(enum.StrEnum):
    """Why a panel is live, or is not: a closed set.

    In the order in which a connection gets past them. What is particular (the raw ``$state``, the ids of the pending
    devices, what the certificate carries) stands beside it as ``detail``.
    """

    UNREACHABLE = "unreachable"
    """Nobody answers, the address refuses, the name is not known, or the peer does not speak MQTT."""
    CERTIFICATE = "certificate"
    """The broker's certificate has expired, is not valid yet, or names another host: tried again until it is mended."""
    CA_CHANGED = "certificate authority changed"
    """The panel hands out another CA than the one that is trusted. Never trusted silently."""
    REFUSED = "refused"
    """User name and password, or the subscription, refused."""
    LINK_LOST = "link lost"
    """The broker, or the network, ended the link."""
    SILENT_PEER = "silent peer"
    """No whole packet for 1.5 times the keepalive: a dead broker, a cut cable."""
    PROGRAM_PAUSED = "program paused"
    """This program did not look for some seconds: its loop was blocked, or the machine slept. What came meanwhile has
    to be taken in first."""
    PROTOCOL_ERROR = "protocol error"
    """What the peer said was no MQTT."""
    REPLAY = "replay incomplete"
    """The broker has not yet told all that it has retained."""
    DEVICE_STATE = "device state"
    """The panel's own ``$state`` is not ``ready``."""
    CONFLICT = "conflicting devices"
    """Another panel on the same broker has devices with the ids of this panel's: one topic cannot carry the values of
    two. Give each panel a prefix of its own (how-to guide on bridges)."""
    PENDING_DEVICE = "pending device"
    """A device that belongs to the panel is not described yet, or its values are not complete."""
    UNCONFIRMED = "values of before not confirmed"
    """The panel was lost and says ``ready``, and has not yet published again what it knew."""
    SILENT_PANEL = "silent panel"
    """The broker is alive, and the panel behind it has said nothing for ``max_silence``, or nothing yet."""
    DATA_MODEL = "data model"
    """The panel publishes a data model that this version of span_trio does not know, or whose version is unreadable."""
    LIVE = "live"
    """Nothing is in the way."""


class Control(enum.StrEnum):
    """What of a panel can be commanded."""

    RELAY = "relay"
    """A circuit's relay."""
    PRIORITY = "priority"
    """When a circuit is shed."""
    DOMINANT_POWER_SOURCE = "dominant power source"
    """Flat schema only; no effect before r202609."""
    ISLANDING = "islanding assertion"
    """Parent/child schema only; heard only while the battery's link is not OK."""
    CHARGE_LIMIT = "charge limit"
    """The user's limit of a charger, A (r202627 on)."""
    CHARGER_LOCK = "charger lock"
    """The lock of a charger's connector, where it can be set (hardware 3.0)."""
    PROPERTY = "property"
    """Any other property that declares itself as settable."""


class CommandResult(enum.StrEnum):
    """How far a command got."""

    CONFIRMED = "confirmed"
    """A live message of the same link reported the wanted value. Strong evidence, no proof that this command did it:
    the panel counts every client as one and the same USER."""
    ACCEPTED = "accepted"
    """The broker acknowledged it, or the panel took it as its ``$target``; the value was not seen by the deadline. An
    access list that drops it looks the same."""
    UNCONFIRMED = "unconfirmed"
    """It was written, and nothing at all came back by the deadline. What moves something has taken its link with it, so
    that our kernel delivers none of it later: it may act only if it had got to the panel's machine by then."""
    UNKNOWN = "unknown"
    """It was written, and then the link ended. It may still act."""
    FAILED = "failed"
    """It was never written, and never will be."""
    NO_OP = "no-op"
    """The value was the wanted one already, nothing is on its way that could change it, and nothing was published."""


class RefusalReason(enum.StrEnum):
    """Why a command was refused before anything was sent: a closed set."""

    NO_SUCH_CIRCUIT = "no such circuit"
    UNMAPPED_POSITION = "no circuit there"
    """An ``unmapped_tab_…``: a breaker position that no circuit occupies."""
    NO_SUCH_CHARGER = "no such charger"
    NO_SUCH_PROPERTY = "no such property"
    NO_SUCH_CONTROL = "no such control"
    """It is there and has nothing of the kind: another schema, an older firmware, no battery."""
    MODELLED = "has a command of its own"
    """A property that another command is for, with its locks and its rules."""
    AWAY = "not ready"
    """The device's own ``$state`` is not ``ready``."""
    ALWAYS_ON = "always on"
    """Commissioned as always on, or its flag cannot be read. Flat schema."""
    NEVER_BACKUP = "never backed up"
    """Commissioned as never backed up, or its flag cannot be read. Flat schema."""
    NOT_CONTROLLABLE = "not controllable"
    """``relay-controllable`` is false, or cannot be read. Parent/child schema."""
    NOT_SETTABLE = "not settable"
    """Its own description does not declare it as settable: firmware locks by omission."""
    REACHES_OTHERS = "reaches other circuits by now"
    """Circuits have come to share the relay since the command was given: it would reach what nobody has agreed to."""
    OUTSIDE_FORMAT = "outside the format"
    """A value that the property does not take; UNKNOWN, and NONE for islanding, among them."""
    OUT_OF_RANGE = "out of range"
    """A current outside of what the charger was commissioned for."""
    NOT_AUTHORISED = "not authorised"
    """``authorise`` said no, or nothing in time."""


class WireEnum(enum.StrEnum):
    """An enum of the wire: members are ``str`` and equal to their text."""

    @classmethod
    def of(cls, text: str | None) -> Self:
        """The member with this text; ``UNKNOWN`` for any other, and for ``None``."""
        try:
            return cls(text or "")
        except ValueError:
            return cls("UNKNOWN")


class RelayState(WireEnum):
    """A relay. OPEN: no current can flow."""

    UNKNOWN = "UNKNOWN"
    OPEN = "OPEN"
    CLOSED = "CLOSED"


class DoorState(WireEnum):
    """The panel's door. UNKNOWN after boot until it is read; on r202603 until somebody moves it."""

    UNKNOWN = "UNKNOWN"
    OPEN = "OPEN"
    CLOSED = "CLOSED"


class RelayRequester(WireEnum):
    """Who asked for the relay's state. Every API client is USER.

    LOAD_SHED and CONFIGURATION are of the parent/child schema, those below them of hardware 3.0.
    """

    UNKNOWN = "UNKNOWN"
    NONE = "NONE"
    BACKUP = "BACKUP"
    USER = "USER"
    PCS = "PCS"
    PCS_FAIL_SAFE = "PCS_FAIL_SAFE"
    ALWAYS_ON = "ALWAYS_ON"
    NEVER_BACKUP = "NEVER_BACKUP"
    INVERTER = "INVERTER"
    FAULT = "FAULT"
    LOAD_SHED = "LOAD_SHED"
    CONFIGURATION = "CONFIGURATION"
    CIRCUIT_SCHEDULER = "CIRCUIT_SCHEDULER"
    CONTROL_MANAGER = "CONTROL_MANAGER"
    MID_CONTROL_DER = "MID_CONTROL_DER"
    MODBUS_CONTROL_REQUEST = "MODBUS_CONTROL_REQUEST"
    NFT_RELAY_CONTROL = "NFT_RELAY_CONTROL"
    BATTERY_SOLAR_MID_RELAY_CONTROL = "BATTERY_SOLAR_MID_RELAY_CONTROL"


class ShedPriority(WireEnum):
    """When a circuit is shed: as soon as off grid, below the SoC threshold, or never."""

    UNKNOWN = "UNKNOWN"
    OFF_GRID = "OFF_GRID"
    SOC_THRESHOLD = "SOC_THRESHOLD"
    NEVER = "NEVER"


class DominantPowerSource(WireEnum):
    """What forms the grid of the house; loads are shed when it is not GRID."""

    UNKNOWN = "UNKNOWN"
    GRID = "GRID"
    BATTERY = "BATTERY"
    PV = "PV"
    GENERATOR = "GENERATOR"
    NONE = "NONE"


class VendorCloud(WireEnum):
    """The panel's connection to SPAN's cloud."""

    UNKNOWN = "UNKNOWN"
    UNCONNECTED = "UNCONNECTED"
    CONNECTED = "CONNECTED"


class GridState(WireEnum):
    """Islanding as the battery (flat) or the MID (parent/child) reports it."""

    UNKNOWN = "UNKNOWN"
    ON_GRID = "ON_GRID"
    OFF_GRID = "OFF_GRID"


class IslandingAssertion(WireEnum):
    """What a client has told a panel about islanding; NONE: nothing, or the panel has dropped it."""

    UNKNOWN = "UNKNOWN"
    NONE = "NONE"
    ON_GRID = "ON_GRID"
    OFF_GRID = "OFF_GRID"


class FeedsRole(WireEnum):
    """What a circuit, or the downstream lugs, are there for."""

    UNKNOWN = "UNKNOWN"
    LOADS = "LOADS"
    SUBPANEL = "SUBPANEL"
    SOLAR = "SOLAR"
    STORAGE = "STORAGE"
    GENERATOR = "GENERATOR"
    MIXED = "MIXED"
    UNUSED = "UNUSED"


class LinkStatus(WireEnum):
    """The panel's view of its link to a device. SPAN publishes OK and LOST."""

    UNKNOWN = "UNKNOWN"
    OK = "OK"
    DEGRADED = "DEGRADED"
    LOST = "LOST"


class MidGridState(WireEnum):
    """The utility's side of a MID. SPAN publishes only UNKNOWN."""

    UNKNOWN = "UNKNOWN"
    UP = "UP"
    DOWN = "DOWN"
    DEGRADED = "DEGRADED"


class DsmState(WireEnum):
    """Demand-side management state (computed)."""

    UNKNOWN = "UNKNOWN"
    DSM_ON_GRID = "DSM_ON_GRID"
    DSM_OFF_GRID = "DSM_OFF_GRID"


class RunConfig(WireEnum):
    """Run configuration (computed)."""

    UNKNOWN = "UNKNOWN"
    PANEL_ON_GRID = "PANEL_ON_GRID"
    PANEL_OFF_GRID = "PANEL_OFF_GRID"
    PANEL_BACKUP = "PANEL_BACKUP"


class RelativePosition(WireEnum):
    """Where a device sits, seen from the panel."""

    UNKNOWN = "UNKNOWN"
    UPSTREAM = "UPSTREAM"
    DOWNSTREAM = "DOWNSTREAM"
    IN_PANEL = "IN_PANEL"


class EvseStatus(WireEnum):
    """A charger's status. Firmware declares up to ten and emits AVAILABLE, PREPARING, CHARGING and UNAVAILABLE."""

    UNKNOWN = "UNKNOWN"
    AVAILABLE = "AVAILABLE"
    PREPARING = "PREPARING"
    CHARGING = "CHARGING"
    SUSPENDED_EV = "SUSPENDED_EV"
    SUSPENDED_EVSE = "SUSPENDED_EVSE"
    FINISHING = "FINISHING"
    RESERVED = "RESERVED"
    FAULTED = "FAULTED"
    UNAVAILABLE = "UNAVAILABLE"


class LockState(WireEnum):
    """The lock of a charger's connector."""

    UNKNOWN = "UNKNOWN"
    UNLOCKED = "UNLOCKED"
    LOCKED = "LOCKED"


class LimitEnablement(WireEnum):
    """Whether a PCS limit is in use."""

    UNKNOWN = "UNKNOWN"
    UNSPECIFIED = "UNSPECIFIED"
    UNCONFIGURED = "UNCONFIGURED"
    DISABLED = "DISABLED"
    ENABLED = "ENABLED"


class CommunicationState(WireEnum):
    """A battery's own report of its link."""

    UNKNOWN = "UNKNOWN"
    OK = "OK"
    DEGRADED = "DEGRADED"
    LOST = "LOST"


class ForecastConfidence(WireEnum):
    """How sure a shed forecast is."""

    UNKNOWN = "UNKNOWN"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
