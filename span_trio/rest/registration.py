"""Becoming one of a panel's clients (``/auth/register``)."""

from __future__ import annotations

import secrets
import ssl
from typing import Any, Final

import attrs

from ..credentials import SpanCredentials
from ..errors import SpanPanelAPIError, SpanPanelAuthError
from .http import Answer, request

__all__ = ["V2AuthResponse", "register_v2", "unique_name"]

_REGISTER: Final = "/api/v2/auth/register"
_REFUSED: Final = frozenset({401, 403, 422})
_NO_PASSPHRASE: Final = "Dashboard password is not available"  # noqa: S105 - of r202639, when it cannot read its own


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


def unique_name(base: str) -> str:
    """A client name that no panel has seen: a name that is taken fails, and costs the proof of the door."""
    return f"{base}-{secrets.token_hex(4)}"


async def register_v2(
    host: str, name: str, passphrase: str | None = None, *, port: int = 443, tls: ssl.SSLContext | None
) -> V2AuthResponse:
    """Register a client. Every call adds an entry to the panel's list: store what comes back.

    Args:
        host: name or address of the panel.
        name: of the client, not used before; see `unique_name`.
        passphrase: the panel's; ``None`` to rely on the door having been pressed three times within 15 minutes.
        port: of its HTTPS server, or of its HTTP server where ``tls`` is ``None``.
        tls: whom to trust with the passphrase; ``None`` sends it in the clear.

    Raises:
        SpanPanelAuthError: passphrase, name or proof not accepted.
        SpanPanelConnectionError: no connection, no answer in time (the entry may exist all the same), or TLS failed.
        SpanPanelServerError: the panel is still starting.
        SpanPanelAPIError: the panel cannot read its own passphrase, or answers something else.
    """
    body = {"name": name} if passphrase is None else {"name": name, "hopPassphrase": passphrase}
    answer = await request("POST", host, port, _REGISTER, tls=tls, body=body, accept=_REFUSED)
    if answer.status in _REFUSED:
        if answer.status == 422 and _detail(answer) == _NO_PASSPHRASE:
            raise answer.error(SpanPanelAPIError, "says that the panel cannot read its own passphrase")
        raise SpanPanelAuthError(f"the panel does not accept the registration ({answer.status})")
    document = answer.json()

    def text(key: str) -> str:
        return answer.field(document, key, str)

    def number(key: str) -> int:
        return answer.field(document, key, int)

    def secret(key: str) -> str | None:
        return None if document.get(key) is None else text(key)

    return V2AuthResponse(
        serial_number=text("serialNumber"),
        hostname=text("hostname"),
        issued_at_ms=number("iatMs"),
        broker_username=text("ebusBrokerUsername"),
        broker_host=text("ebusBrokerHost"),
        mqtts_port=number("ebusBrokerMqttsPort"),
        ws_port=number("ebusBrokerWsPort"),
        wss_port=number("ebusBrokerWssPort"),
        access_token=text("accessToken"),
        broker_password=secret("ebusBrokerPassword"),
        passphrase=secret("hopPassphrase"),
    )


def _detail(answer: Answer) -> Any:
    try:
        return answer.json().get("detail")
    except SpanPanelAPIError:
        return None
