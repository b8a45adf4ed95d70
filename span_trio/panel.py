"""A panel, open: what a user holds of it. `opening` makes it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import trio

from .arguments import demand, demand_function, is_time
from .broadcast import EdgeReader, UpdateReader, ValueReader
from .command import CommandOutcome
from .credentials import SpanCredentials
from .enums import ConnectionReason, Control, DominantPowerSource, GridState, LockState, RelayState, ShedPriority
from .errors import SpanPanelConnectionError
from .homie import ConnectionEdge, Instant, Obstacle
from .options import PanelOptions
from .protocol import CAPABILITY_OF_CONTROL, PanelCapability
from .service import PanelService
from .snapshot import SpanPanelSnapshot
from .span import FieldMetadata, OfferedControl
from .statistics import PanelStatistics

__all__ = ["SpanPanel", "SpanPanelUpdate"]

_TIME: Final = "a number of seconds, 0 or more"
_CLOSED: Final = Obstacle(ConnectionReason.LINK_LOST, "the panel is closed")

SpanPanelUpdate: TypeAlias = SpanPanelSnapshot | ConnectionEdge
"""What `SpanPanel.updates` yields."""


class SpanPanel:
    """An open panel. Made by `open_span_panel`, and good as long as its ``async with`` block."""

    def __init__(
        self,
        host: str,
        serial_number: str,
        options: PanelOptions,
        service: PanelService,
        rotate: Callable[[], Awaitable[SpanCredentials]],
    ) -> None:
        self.host: Final = host
        self.serial_number: Final = serial_number
        self._options = options
        self._service = service
        self._rotate = rotate
        self._accumulator = service.accumulator
        self._broadcast = service.accumulator.broadcast
        self._tracker = service.accumulator.tracker
        self._commands = service.accumulator.commands

    def __repr__(self) -> str:
        """Who, where, and whether live."""
        obstacle = self.obstacle
        state = "closed" if self._service.closed else "live" if obstacle is None else f"not live, {obstacle}"
        return f"<SpanPanel {self.serial_number} at {self.host}: {state}>"

    # --- what a user reads ---

    @property
    def snapshot(self) -> SpanPanelSnapshot:
        """The panel now: built from whatever has arrived, also between two publishes. Costs what has changed.

        Raises:
            SpanPanelStaleDataError: the panel is not live: there is no current data.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        self._accumulator.look()
        return self._tracker.snapshot

    def snapshots(self) -> ValueReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over snapshots: the current one at once, then the newest whenever asked.

        Latest wins: a slow loop skips (and counts in ``.skipped``), it never falls behind. It waits while the panel is
        not live. Any number may be held, and ``break`` leaves nothing behind. After the block has ended they raise
        `SpanPanelClosedError`: they never just end.
        """
        return self._broadcast.values()

    def edges(self) -> EdgeReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over the moments at which `live` turns, beginning with the newest one.

        They strictly alternate: a reader that is too slow for the last ``edges_held`` of them misses some in pairs, and
        ``edge.missed`` says how many. Otherwise as `snapshots`.
        """
        return self._broadcast.turns()

    def updates(self) -> UpdateReader[SpanPanelSnapshot, ConnectionEdge]:
        """An async iterator over both: every edge in its turn, and no snapshot between an offline edge and the next.

        Otherwise as `snapshots` and `edges`.
        """
        return self._broadcast.updates()

    @property
    def live(self) -> bool:
        """Whether there is current data.

        That is: connected, replay complete, ``$state`` ready, no device pending, no value of before a restart, not
        silent (`PanelOptions.max_silence`), and looked at: behind five seconds in which this program's loop was blocked
        or the machine slept, what came meanwhile is taken in first.
        """
        return self.obstacle is None

    @property
    def obstacle(self) -> Obstacle | None:
        """Why the panel is not live, now; ``None`` while it is.

        The offline edge says why it ceased to be. What is in the way changes meanwhile: a lost link, then a replay.
        """
        if self._service.closed:
            return _CLOSED
        self._accumulator.look()
        return self._tracker.tree.obstacle

    @property
    def live_since(self) -> Instant | None:
        """When the panel became live; ``None`` while it is not. span-panel-api called the span since then uptime."""
        return self._accumulator.live_since if self.live else None

    async def wait_live(self, *, held_for: float = 0.0) -> None:
        """Wait until the panel is live, and has been for ``held_for`` seconds without a break.

        A checkpoint; cancelling it harms nothing.

        Raises:
            SpanPanelValidationError: ``held_for`` is no time.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        demand(is_time(held_for), "held_for", _TIME, held_for)
        await trio.lowlevel.checkpoint()
        while True:
            self._broadcast.check_open()
            since = self.live_since
            held_at = math.inf if since is None else since.monotonic + held_for
            if held_at <= trio.current_time():
                return
            with trio.CancelScope(deadline=held_at):
                await self._broadcast.wait_turn()

    async def wait_for(
        self, predicate: Callable[[SpanPanelSnapshot], object], *, held_for: float = 0.0
    ) -> SpanPanelSnapshot:
        """Wait until ``predicate`` is true of the published snapshots, and has been for ``held_for`` seconds.

        It begins with the current snapshot. While the panel is not live it is true of nothing, and time begins anew; so
        it does where a snapshot was replaced before it was seen.

        Args:
            predicate: an ordinary function, called once for each snapshot. What it raises comes out here, and harms
                nobody else.
            held_for: how long, s.

        Returns:
            The newest snapshot.

        Raises:
            SpanPanelValidationError: ``predicate`` is no function, or an async one; or ``held_for`` is no time.
            SpanPanelClosedError: the ``async with`` block has ended.

        A checkpoint; cancelling it harms nothing.
        """
        demand_function(predicate, "predicate")
        demand(is_time(held_for), "held_for", _TIME, held_for)
        await trio.lowlevel.checkpoint()
        broadcast = self._broadcast
        version, edges, held_at = -1, -1, math.inf
        while True:
            broadcast.check_open()
            self._accumulator.look()
            snapshot = broadcast.value
            if snapshot is None or broadcast.edges != edges:
                version, edges, held_at = -1, broadcast.edges, math.inf
            if snapshot is not None and broadcast.version != version:
                if broadcast.version - 1 != version:  # nobody knows what it would have said of those between
                    held_at = math.inf
                version = broadcast.version
                held_at = min(held_at, trio.current_time() + held_for) if predicate(snapshot) else math.inf
            if snapshot is not None and held_at <= trio.current_time():
                return snapshot
            with trio.CancelScope(deadline=held_at):
                await broadcast.wait_news()

    @property
    def snapshot_interval(self) -> float:
        """The shortest time between two published snapshots, s; 0 means one for each batch of messages.

        May be set at any time; what is no time is a `SpanPanelValidationError`. A changed enum or boolean on the wire
        (a relay, the door) is published at once all the same, at most ten times a second.
        """
        return self._tracker.throttle.interval

    @snapshot_interval.setter
    def snapshot_interval(self, seconds: float) -> None:
        self._options = attrs.evolve(self._options, snapshot_interval=seconds)  # which checks it
        self._accumulator.set_interval(seconds)

    def field_metadata(self) -> Mapping[str, FieldMetadata]:
        """What the panel declares of each field that one of its properties fills: unit, datatype, and whether at all.

        By path: ``panel.instant_grid_power_w``, ``circuit.instant_power_w``, ``battery.soe_kwh``, ``pv.…``, ``mid.…``.
        Computed fields have none. Reads all descriptions: call it once, not for each snapshot.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        self._accumulator.look()
        return self._tracker.field_metadata()

    # --- what a user commands ---

    def controls(self) -> tuple[OfferedControl, ...]:
        """What can be commanded now, by its own description: circuit by circuit, locked or not, and why.

        Raises:
            SpanPanelStaleDataError: the panel is not live.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        self._accumulator.look()
        return self._tracker.controls()

    @property
    def capabilities(self) -> PanelCapability:
        """The same in one value; while the panel is not live, what does not depend on that."""
        found = PanelCapability.PUSH_STREAMING | PanelCapability.EBUS_MQTT
        if not self.live:
            return found
        battery = self.snapshot.battery
        if battery is not None and battery.soc_percentage is not None:
            found |= PanelCapability.BATTERY_SOE
        for offered in self._tracker.controls():
            if offered.refusal is None:
                found |= CAPABILITY_OF_CONTROL[offered.control]
        return found

    async def set_circuit_relay(
        self, circuit_id: str, state: RelayState | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Open or close a circuit's relay, and wait for what becomes of it.

        Nothing is sent unless the panel is live, the circuit described and not locked, and the broker has answered a
        ping of the last second. What is sent is sent once. The outcome says how far it got: read it, for only
        `CommandOutcome.is_done` means that the relay is as wanted.

        Args:
            circuit_id: a key of ``snapshot.circuits``.
            state: OPEN (no current can flow) or CLOSED.
            within: the deadline, s, for everything: ``authorise``, earlier commands to this relay, and the waiting.
                5 for relays, 2 for all others.

        Raises:
            SpanPanelUnknownTargetError: there is no such circuit, or it has no relay.
            SpanPanelLockedError: the relay must not be commanded.
            SpanPanelCommandValueError: neither OPEN nor CLOSED.
            SpanPanelNotAuthorisedError: ``authorise`` said no, or nothing in time. What it raises comes out unchanged.
            SpanPanelStaleDataError: the panel is not live, or the link of the call ended before it was to be sent. What
                changes while it waits for the link to have room is an outcome: FAILED, with its reason.
            SpanPanelClosedError: the ``async with`` block has ended.
            SpanPanelValidationError: the id is no text, or ``within`` no number of seconds above 0.

        A checkpoint. Cancelling the call withdraws a command that was not written yet; one that was is not undone. If
        the broker has not acknowledged it when the call ends, the link ends, too, so that it does not arrive later.
        """
        return await self._commands.send(Control.RELAY, circuit_id, state, within)

    async def set_circuit_priority(
        self, circuit_id: str, priority: ShedPriority | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Say when a circuit is shed: OFF_GRID, SOC_THRESHOLD or NEVER. Otherwise as `set_circuit_relay`.

        The relay and the priority of a circuit are locked each by its own declaration. Without a battery a priority is
        not known to have any effect.
        """
        return await self._commands.send(Control.PRIORITY, circuit_id, priority, within)

    async def set_dominant_power_source(
        self, value: DominantPowerSource | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Say what feeds the house: loads are shed when it is not GRID. Otherwise as `set_circuit_relay`.

        For a stale value while the battery's link is lost; the battery has its way again when it is back. No effect
        before r202609. On a parent/child panel (r202633 on) GRID asserts ON_GRID, and BATTERY, PV and GENERATOR
        OFF_GRID; see `assert_islanding_state`.
        """
        return await self._commands.send(Control.DOMINANT_POWER_SOURCE, self.serial_number, value, within)

    async def assert_islanding_state(self, value: GridState | str, *, within: float | None = None) -> CommandOutcome:
        """Say whether the house is ON_GRID or OFF_GRID, while the battery cannot. Otherwise as `set_circuit_relay`.

        Parent/child panels only. The panel takes it only while the battery's communication is lost or degraded; else
        nothing happens, which shows as ACCEPTED or UNCONFIRMED. It ends by itself when the battery is back: NONE cannot
        be written. Asserting ON_GRID while the grid is down stops the shedding, and drains the battery.
        """
        return await self._commands.send(Control.ISLANDING, self.serial_number, value, within)

    async def set_evse_charge_limit(
        self, node_id: str, amps: int | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Limit a charger's current, A. Otherwise as `set_circuit_relay`.

        Args:
            node_id: a key of ``snapshot.evse``.
            amps: whole A, within what the charger declares and was commissioned for: nothing is clamped here.
            within: see there.

        From r202627 on, where the charger's own description declares the limit as settable.
        """
        return await self._commands.send(Control.CHARGE_LIMIT, node_id, amps, within)

    async def set_evse_lock(
        self, node_id: str, state: LockState | str, *, within: float | None = None
    ) -> CommandOutcome:
        """Lock or unlock a charger's connector. Otherwise as `set_circuit_relay`, with 2 s for all of it.

        Args:
            node_id: a key of ``snapshot.evse``.
            state: LOCKED or UNLOCKED.
            within: see there.

        Only where the charger's own description declares its lock as settable, as on hardware 3.0.
        """
        return await self._commands.send(Control.CHARGER_LOCK, node_id, state, within)

    async def set_property(
        self, device_id: str, node_id: str, property_id: str, value: object, *, within: float | None = None
    ) -> CommandOutcome:
        """Set a property that no other command is for. Otherwise as `set_circuit_relay`, with 2 s for all of it.

        Only what declares itself as settable: `controls` has them, and so have ``snapshot.adopted_devices`` and
        ``snapshot.extension_properties``. It may move something, so it goes behind a ping as a relay does.

        Args:
            device_id: the Homie device; likewise ``node_id`` and ``property_id``, as those say them.
            value: of the property's datatype, or its text on the wire.
            within: see there.
        """
        place: Any = (device_id, node_id, property_id)
        if all(isinstance(each, str) for each in place):  # what is not is refused in its turn
            place = "/".join(place)
        return await self._commands.send(Control.PROPERTY, place, value, within)

    # --- the link ---

    async def ping(self) -> float:
        """The round trip to the broker, s; what it sent before its answer is in the snapshot then.

        A checkpoint; cancelling it harms nothing.

        Raises:
            SpanPanelConnectionError: there is no link, or it was lost meanwhile.
            SpanPanelClosedError: the ``async with`` block has ended.
        """
        self._broadcast.check_open()
        if self._accumulator.link is None:
            raise SpanPanelConnectionError(f"there is no link: {self.obstacle}")
        return await self._accumulator.link.ping()

    async def regenerate_passphrase(self) -> SpanCredentials:
        """Change the panel's passphrase and its broker's password; this connection goes on with the new one.

        Everybody else who uses the panel loses access: SPAN's dashboard, other programs. What comes back is in the
        store, if there is one, before anything else is done with it; without one, store it yourself. Nobody here logs
        in with the old password again.

        Raises:
            SpanPanelOutcomeUnknownError: it may have been changed, or not: the answer was lost.
            SpanPanelPrivilegeError: the access token is of the lesser kind: register by the passphrase.
            SpanPanelAuthError: the access token is not good.
            SpanPanelNotStoredError: it was changed, and the store cannot be written: the error holds the credentials.
            SpanPanelValidationError: there is no access token, or no TLS.
            SpanPanelConnectionError: it was not changed: the request never got out.
            SpanPanelAPIError: any other answer.
            SpanPanelClosedError: the ``async with`` block has ended.

        A checkpoint. Once the request is out, a cancellation waits for the answer and the store.
        """
        self._broadcast.check_open()
        return await self._rotate()

    def statistics(self) -> PanelStatistics:
        """Counters, for diagnostics."""
        tracker, link = self._tracker, self._accumulator.link
        tree = tracker.tree
        return PanelStatistics(
            messages=tracker.messages,
            bytes_received=0 if link is None else link.bytes_received,
            bytes_sent=0 if link is None else link.bytes_sent,
            dropped=dict(tree.forest.dropped),
            snapshots=tracker.built,
            epochs=tree.epoch,
            replays_assumed=tree.assumed,
            devices=len(tree.forest.devices),
            topics=tree.forest.topic_count,
            data_model=tracker.version.text,
            last_message_age=trio.current_time() - tracker.heard_at.monotonic if tracker.messages else None,
            audits_missed=self._commands.auditor.unheard,
        )
