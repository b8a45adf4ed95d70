"""What a panel's REST API knows: its clients and what they may do, the door, limits, and what is wrong. No HTTP here.

Times are trio's, but for those that clients are told.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import trio

from .faults import RestFault

__all__ = ["DOOR_WINDOW", "ENDPOINTS", "RestClient", "RestState"]

ENDPOINTS: Final = (
    "GET /status",
    "GET /certificate/ca",
    "GET /homie/schema",
    "POST /auth/register",
    "GET /auth/clients",
    "GET /auth/clients/{name}",
    "DELETE /auth/clients/{name}",
    "PUT /auth/passphrase",
    "GET /dns/fqdn",
    "POST /dns/fqdn",
    "DELETE /dns/fqdn",
)
"""All of the API, below ``/api/v2``."""

DOOR_WINDOW: Final = 15 * 60.0
"""Seconds in which the door's proof can be used."""

_PER: Final = 60.0  # s, of the limit for the CA
_Groups: TypeAlias = Mapping[str, tuple[str, ...]]
_FULL: Final[_Groups] = {
    "get": ("auth", "dns", "homie"),
    "post": ("auth", "dns"),
    "put": ("auth",),
    "delete": ("auth", "dns"),
    "patch": (),
}
_REDUCED: Final[_Groups] = {"get": ("dns", "homie"), "post": ("dns",), "put": (), "delete": (), "patch": ()}


@attrs.frozen
class RestClient:
    """One registered client.

    Attributes:
        issued_at: when it was registered, Unix s.
        token: what it shows; not in the repr.
        groups: method, in small letters -> the first parts of the paths that it may use.
        description: as it said, if it did.
    """

    issued_at: int
    token: str = attrs.field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = _FULL
    description: str | None = None

    def may(self, endpoint: str) -> bool:
        """Whether it may use an endpoint, such as ``PUT /auth/passphrase``."""
        method, path = endpoint.split()
        return path.split("/")[1] in self.groups[method.lower()]

    def as_json(self) -> dict[str, Any]:
        """As the API tells it."""
        told = {} if self.description is None else {"description": self.description}
        groups = {method: list(groups) for method, groups in self.groups.items()}
        return {**told, "issued_at": self.issued_at, "allowed_endpoint_groups": groups}


@attrs.define
class RestState:
    """What the REST API says, and what is wrong with it. Everything may be set at any time.

    Attributes:
        ca_pem: the certificate that ``/certificate/ca`` hands out.
        mqtts_port: as ``/auth/register`` tells it; likewise ``ws_port`` and ``wss_port``.
        starting: answer everything with 502.
        refuse: refuse every registration with this status (401, 403, 422).
        without_password: hand out no broker password and no passphrase (r202639: the panel cannot read its own).
        passphrase_unreadable: answer a registration by passphrase with 422, for the same reason.
        serial_known: else registrations are answered with 503.
        door_waits: a registration without passphrase and without proof waits for the door, until the window would end.
        ca_limit: how often a client may fetch the CA in a minute; ``None``: as often as it likes.
        broker_drops: whether a rotation of the passphrase ends the sessions of the old password.
        broker_late: for how long the broker refuses the new password too, s (lesson D, "the broker refuses the new
            password right after the rotation").
        certificate_after: how long the certificate takes to follow the FQDN, s, where there are ports.
        clients: everybody who registered and was not deleted, by name. Clear it: a factory reset.
        fqdn: what clients have set.
        on_fqdn: called when they have.
    """

    ca_pem: str
    mqtts_port: int = 8883
    ws_port: int = 9001
    wss_port: int = 9002
    starting: bool = False
    refuse: int | None = None
    without_password: bool = False
    passphrase_unreadable: bool = False
    serial_known: bool = True
    door_waits: bool = False
    ca_limit: int | None = 10
    broker_drops: bool = True
    broker_late: float = 0.0
    certificate_after: float = 2.0
    clients: dict[str, RestClient] = attrs.field(factory=dict[str, RestClient])
    fqdn: str | None = None
    on_fqdn: Callable[[], None] | None = attrs.field(default=None, repr=False)
    _proven_until: float = attrs.field(default=-math.inf, init=False, repr=False)
    _pressed: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)
    _fetches: dict[str, deque[float]] = attrs.field(factory=dict[str, deque[float]], init=False, repr=False)
    _faults: dict[str, tuple[RestFault, int | None]] = attrs.field(
        factory=dict[str, tuple[RestFault, "int | None"]], init=False, repr=False
    )
    _registered: int = attrs.field(default=0, init=False, repr=False)

    # --- the door ---

    def press_door(self) -> None:
        """Somebody presses the switch of the door three times: within 15 minutes, one client may register so."""
        self._proven_until = trio.current_time() + DOOR_WINDOW
        pressed, self._pressed = self._pressed, trio.Event()
        pressed.set()

    @property
    def proximity_proven(self) -> bool:
        """Whether the door's proof can be used. To be set, too: ``True`` is `press_door`."""
        return trio.current_time() < self._proven_until

    @proximity_proven.setter
    def proximity_proven(self, proven: bool) -> None:
        if proven:
            self.press_door()
        else:
            self._proven_until = -math.inf

    def use_proof(self) -> bool:
        """Whether there is a proof; from now on, there is none."""
        proven, self.proximity_proven = self.proximity_proven, False
        return proven

    async def wait_for_door(self) -> None:
        """Return when the door has been pressed, or when nobody did for as long as its window lasts."""
        with trio.move_on_after(DOOR_WINDOW):
            await self._pressed.wait()

    # --- clients ---

    def add_client(self, name: str, *, full: bool, description: str | None = None) -> RestClient:
        """Register a client.

        Args:
            name: of the client; another one of that name is no more.
            full: whether it may do everything; else it may not see or delete clients, rotate the passphrase, or delete
                the FQDN.
            description: as it said.
        """
        self._registered += 1
        client = RestClient(
            int(time.time()),
            f"simulated.{self._registered}.{secrets.token_hex(8)}",
            _FULL if full else _REDUCED,
            description,
        )
        self.clients[name] = client
        return client

    def find_client(self, token: str) -> RestClient | None:
        """Whose token that is."""
        return next((client for client in self.clients.values() if client.token == token), None)

    # --- limits ---

    def retry_after(self, host: str) -> int | None:
        """Count a fetch of the CA; seconds until the next, if that was one too many."""
        now = trio.current_time()
        fetches = self._fetches.setdefault(host, deque())
        while fetches and fetches[0] <= now - _PER:
            fetches.popleft()
        if self.ca_limit is not None and len(fetches) >= self.ca_limit:
            oldest = fetches[0] if fetches else now
            return max(1, math.ceil(oldest + _PER - now))
        fetches.append(now)
        return None

    # --- faults ---

    def fail(self, endpoint: str, fault: RestFault, *, times: int | None = None) -> None:
        """From now on, something is wrong with an endpoint.

        Args:
            endpoint: such as ``GET /status`` or ``DELETE /auth/clients/{name}``, or ``*`` for those that have no fault
                of their own.
            fault: what; it replaces the one of before.
            times: for so many requests; ``None``: until `heal`.

        Raises:
            ValueError: there is no such endpoint, or ``times`` is not above 0.
        """
        if endpoint not in {*ENDPOINTS, "*"}:
            raise ValueError(f"no endpoint {endpoint!r}: choose from *, {', '.join(ENDPOINTS)}")
        if times is not None and times < 1:
            raise ValueError(f"{times!r} is no number of requests")
        self._faults[endpoint] = (fault, times)

    def heal(self, endpoint: str | None = None) -> None:
        """Nothing is wrong any more with an endpoint, or with any."""
        if endpoint is None:
            self._faults.clear()
        else:
            self._faults.pop(endpoint, None)

    def take_fault(self, endpoint: str) -> RestFault | None:
        """What is wrong with this request."""
        key = endpoint if endpoint in self._faults else "*"
        if key not in self._faults:
            return None
        fault, times = self._faults[key]
        if times is not None:
            self._faults[key] = (fault, times - 1)
            if times == 1:
                self.heal(key)
        return fault
