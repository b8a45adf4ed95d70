"""What the calls return: frozen, typed, and with a repr that holds no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from ..credentials import SpanCredentials
from ..errors import SpanPanelError
from ..frozenmap import FrozenMap

__all__ = ["DetectionResult", "RegisteredClient", "RotatedPassphrase", "V2AuthResponse", "V2StatusInfo"]

_NO_GROUPS: Final[FrozenMap[str, tuple[str, ...]]] = FrozenMap()


@attrs.frozen
class V2StatusInfo:
    """What a panel tells everybody. ``proximity_proven`` is ``None`` before r202609, which does not tell."""

    serial_number: str
    firmware_version: str
    proximity_proven: bool | None = None
    hardware_version: str | None = None


@attrs.frozen
class DetectionResult:
    """What a probe found.

    Attributes:
        api_version: ``"v2"``; or ``"v1"``: there is something, and it has no v2 API; or ``None``: not known.
        status_info: of a panel with the v2 API.
        error: why it is not known; ``None`` if it is. (Not compared: errors never are equal.)
    """

    api_version: Literal["v1", "v2"] | None = None
    status_info: V2StatusInfo | None = None
    error: SpanPanelError | None = attrs.field(default=None, eq=False)

    @property
    def probe_failed(self) -> bool:
        """Whether nothing was found out: nobody answered, or it is still starting."""
        return self.api_version is None


@attrs.frozen
class V2AuthResponse:
    """A registration. Its repr holds no secret.

    ``broker_password`` and ``passphrase`` are ``None`` where the panel cannot read them (r202639).
    """

    serial_number: str
    hostname: str
    issued_at_ms: int
    broker_username: str
    broker_host: str
    mqtts_port: int
    ws_port: int
    wss_port: int
    access_token: str = attrs.field(repr=False)
    broker_password: str | None = attrs.field(default=None, repr=False)
    passphrase: str | None = attrs.field(default=None, repr=False)

    def credentials(self, ca_pem: str | None = None) -> SpanCredentials:
        """What to store of it. The host is not: the one that you reach the panel by is (lesson span#193)."""
        return SpanCredentials(
            serial_number=self.serial_number,
            broker_username=self.broker_username,
            broker_password=self.broker_password,
            ca_pem=ca_pem,
            access_token=self.access_token,
            passphrase=self.passphrase,
            mqtts_port=self.mqtts_port,
            ws_port=self.ws_port,
            wss_port=self.wss_port,
        )


@attrs.frozen
class RegisteredClient:
    """An entry of a panel's list of clients.

    Attributes:
        name: as it was registered.
        description: as it was registered; ``None``: without one.
        issued_at: Unix time, s; ``None``: the panel does not say.
        allowed_endpoint_groups: HTTP method in lower case -> what this client may use it on.
    """

    name: str
    description: str | None = None
    issued_at: int | None = None
    allowed_endpoint_groups: Mapping[str, tuple[str, ...]] = _NO_GROUPS


@attrs.frozen
class RotatedPassphrase:
    """What `SpanRestClient.regenerate_passphrase` brings: the only copy there is. Its repr holds no secret.

    Attributes:
        broker_password: for MQTT, from now on and for every client of the panel.
        passphrase: registers further clients; the old one does not any more.
    """

    broker_password: str = attrs.field(repr=False)
    passphrase: str = attrs.field(repr=False)
