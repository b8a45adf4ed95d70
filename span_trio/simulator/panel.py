"""A SPAN panel without the hardware: a house, its firmware and its broker, on trio's clock.

The rules of this room:

* A panel runs in the nursery of whoever opened it (`opening`), in memory; `listening` gives it ports. How it runs is in
  `service`.
* What is wrong with the broker is in ``panel.broker.faults``, with commands in ``panel.command_faults``; what else a
  panel does wrong is a method here, or of its service.
"""

from __future__ import annotations

import math
import ssl
from typing import Any

import trio
import trio.testing

from ..credentials import SpanCredentials
from ..errors import SpanPanelConnectionError
from ..homie import DeviceState
from .command_faults import CommandFaults
from .house.devices import PvSpec
from .service import PanelService

__all__ = ["SimulatedPanel"]


class SimulatedPanel(PanelService):
    """One panel. Made by `open_simulated_panel`.

    Attributes:
        house: the model; its commands and events may be used at any time.
        broker: the panel's broker, with its faults.
        commands: what clients told it to do, as that arrived; bounded.
        http_up: whether the REST API answers; else it is 502.
        logins: its secrets, and how often a password from before a rotation was tried.
    """

    # --- secrets ---

    @property
    def passphrase(self) -> str:
        """What registers a client, until it is rotated."""
        return self.logins.passphrase

    @property
    def credentials(self) -> SpanCredentials:
        """What opens this panel by MQTT, without a CA, until the passphrase is rotated."""
        return self.logins.credentials

    def rotate_passphrase(self, *, drop: bool = True, late: float = 0.0) -> None:
        """Another passphrase, and another password for the broker (facts, REST section 5).

        Args:
            drop: whether the sessions of the old password end; nobody logs in with it any more in any case.
            late: for how long the broker refuses the new password too, s.
        """
        self.logins.rotate(late=late)
        if drop:
            self.broker.drop()

    # --- commands ---

    @property
    def command_faults(self) -> CommandFaults:
        """What is wrong with commands at the moment; may be set at any time, for those that arrive from then on."""
        return self._desk.faults

    @command_faults.setter
    def command_faults(self, faults: CommandFaults) -> None:
        self._desk.faults = faults

    @property
    def relay_delay(self) -> float:
        """How long a relay takes from its command to its new state, s on trio's clock; may be set. 0: no time."""
        return self._desk.relay_delay

    @relay_delay.setter
    def relay_delay(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"no relay takes {seconds} s")
        self._desk.relay_delay = seconds

    # --- what an installer does ---

    def recommission(self, circuit_id: str, *, redescribe: bool = True, **changes: Any) -> None:
        """A circuit is commissioned anew: from r202633 on it says ``init`` and ``ready``, and the panel stays as it is.

        Args:
            circuit_id: of the circuit.
            redescribe: whether it describes itself anew; firmware may fail to, until it restarts (facts, section 4).
            changes: see `House.recommission`.

        Raises:
            SpanPanelValidationError: there is no such circuit, or that cannot be meant.
        """
        self._catch_up()
        self.house.recommission(circuit_id, **changes)
        self._renew(keep=() if redescribe else (circuit_id,))

    def add_inverter(self, pv: PvSpec) -> None:
        """Another inverter is commissioned; r202639 then gives each another id, and earlier firmware tells nothing.

        Raises:
            SpanPanelValidationError: that cannot be meant in this house.
        """
        self._catch_up()
        self.house.add_inverter(pv)
        self._renew()

    def remove_child(self, device_id: str) -> None:
        """A child is decommissioned, and its children: described no more, and all that was retained of it deleted.

        Raises:
            SpanPanelValidationError: there is no such child, or the firmware is flat.
        """
        self._catch_up()
        self._tree.withdraw(device_id)
        self._renew()

    def add_child(self, device_id: str) -> None:
        """A child that was removed is commissioned again, by the id that it had.

        Raises:
            SpanPanelValidationError: it was not removed, or the firmware is flat.
        """
        self._catch_up()
        self._tree.commission(device_id)
        self._renew()

    def _renew(self, keep: tuple[str, ...] = ()) -> None:
        self._announcer.change(self.publisher.refresh(keep=keep))

    # --- children that are away ---

    def lose_child(self, device_id: str, state: str = DeviceState.LOST) -> None:
        """A child is away (``lost``, ``disconnected``, ``init``): what it said last stays.

        In ``init`` it still obeys, and the panel hears it: its connection record stays OK.

        Raises:
            SpanPanelValidationError: there is no such child, or the firmware is flat.
        """
        self._catch_up()
        self._tree.set_away(device_id, away=state != DeviceState.INIT)
        self._announcer.leave(device_id, state)
        self._publish_changes()

    def restore_child(self, device_id: str) -> None:
        """A child is back: ``init``, its description, its values, ``ready``.

        Raises:
            SpanPanelValidationError: there is no such child, or the firmware is flat.
        """
        self._catch_up()
        self._tree.set_away(device_id, away=False)
        self._announcer.come_back(device_id)

    # --- connections ---

    async def dial(self, _host: str, _port: int, _tls: ssl.SSLContext | None) -> trio.abc.Stream:
        """A connection in memory: to be given to `open_span_panel` as its ``dialer``.

        Raises:
            SpanPanelConnectionError: the simulated panel is closed.
        """
        await trio.lowlevel.checkpoint()
        if self._nursery is None:
            raise SpanPanelConnectionError("the simulated panel is closed")
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.broker.serve, theirs)
        return ours
