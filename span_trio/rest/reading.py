"""From an answer to what the caller gets. Pure; whatever the answer is, that or a named error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from ..errors import SpanPanelAPIError
from ..frozenmap import FrozenMap
from ..homie import is_valid_id
from ..span import HomieSchema
from .answer import Answer
from .results import RegisteredClient, RotatedPassphrase, V2AuthResponse, V2StatusInfo
from .trust import single_certificate

__all__ = [
    "no_passphrase",
    "read_ca",
    "read_client",
    "read_clients",
    "read_fqdn",
    "read_registration",
    "read_rotation",
    "read_schema",
    "read_status",
]

_NO_PASSPHRASE: Final = "Dashboard password is not available"  # noqa: S105 - of r202639, when it cannot read its own
_NO_CONTENT: Final = 204
_ALLOWED: Final = "allowed_endpoint_groups"
_GROUPS: Final = ("get", "post", "put", "delete")  # and "patch", which may be missing


def read_status(answer: Answer) -> V2StatusInfo:
    """Of ``/status``."""
    body = answer.json()
    proven = body.get("proximityProven")
    hardware = body.get("hardwareVersion")
    return V2StatusInfo(
        serial_number=_serial(answer, body),
        firmware_version=answer.text(body, "firmwareVersion"),
        proximity_proven=proven if isinstance(proven, bool) else None,
        hardware_version=hardware if isinstance(hardware, str) and hardware.isprintable() else None,
    )


def _serial(answer: Answer, body: Mapping[str, Any]) -> str:
    """Which becomes a topic, a host name, and the name of a file."""
    serial = answer.text(body, "serialNumber")
    if not is_valid_id(serial):
        raise answer.error(SpanPanelAPIError, "gave an answer whose serialNumber is no serial number")
    return serial


def read_ca(answer: Answer) -> str:
    """Of ``/certificate/ca``."""
    text = single_certificate(answer.body)
    if text is None:
        raise answer.error(SpanPanelAPIError, "gave an answer that is not one PEM certificate")
    return text


def read_schema(answer: Answer) -> HomieSchema:
    """Of ``/homie/schema``."""
    document = answer.json()
    try:
        schema = HomieSchema.from_json(document)
    except ValueError as error:
        why = str(error)
    else:
        if "types" in document or schema.data_model_version is not None:
            return schema
        why = "it has neither types nor a dataModelVersion"
    raise answer.error(SpanPanelAPIError, f"gave an answer that is not a schema: {why}")


def no_passphrase(answer: Answer) -> bool:
    """Whether the panel refuses a registration because it cannot read its own passphrase."""
    try:
        return answer.status == 422 and answer.json().get("detail") == _NO_PASSPHRASE
    except SpanPanelAPIError:
        return False


def read_registration(answer: Answer) -> V2AuthResponse:
    """Of ``/auth/register``."""
    body = answer.json()

    def port(name: str) -> int:
        number = answer.field(body, name, int)
        if not 0 < number < 65_536:
            raise answer.error(SpanPanelAPIError, f"gave an answer without {name}")
        return number

    def secret(name: str) -> str | None:
        return None if body.get(name) is None else answer.field(body, name, str) or None

    return V2AuthResponse(
        serial_number=_serial(answer, body),
        hostname=answer.text(body, "hostname"),
        issued_at_ms=answer.field(body, "iatMs", int),
        broker_username=answer.text(body, "ebusBrokerUsername"),
        broker_host=answer.text(body, "ebusBrokerHost"),
        mqtts_port=port("ebusBrokerMqttsPort"),
        ws_port=port("ebusBrokerWsPort"),
        wss_port=port("ebusBrokerWssPort"),
        access_token=answer.text(body, "accessToken"),
        broker_password=secret("ebusBrokerPassword"),
        passphrase=secret("hopPassphrase"),
    )


def read_clients(answer: Answer) -> tuple[RegisteredClient, ...]:
    """Of ``/auth/clients``."""
    entries = cast("dict[str, Any]", answer.field(answer.json(), "clients", dict))
    clients: list[RegisteredClient] = []
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise answer.error(SpanPanelAPIError, "gave an answer without clients[]")
        clients.append(_client(answer, cast("dict[str, Any]", entry), name, "clients[]."))
    return tuple(clients)


def read_client(answer: Answer, name: str) -> RegisteredClient:
    """Of ``/auth/clients/{name}``, asked for or deleted."""
    return RegisteredClient(name) if answer.status == _NO_CONTENT else _client(answer, answer.json(), name, "")


def _client(answer: Answer, entry: Mapping[str, Any], name: str, within: str) -> RegisteredClient:
    groups = cast("dict[str, Any]", answer.field(entry, _ALLOWED, dict, within=within))
    methods = _GROUPS if groups.get("patch") is None else (*_GROUPS, "patch")
    allowed: dict[str, tuple[str, ...]] = {}
    for method in methods:
        names = cast("list[object]", answer.field(groups, method, list, within=f"{within}{_ALLOWED}."))
        allowed[method] = tuple(name for name in names if isinstance(name, str))
        if len(allowed[method]) < len(names):
            raise answer.error(SpanPanelAPIError, f"gave an answer without {within}{_ALLOWED}.{method}[]")
    description, issued_at = entry.get("description"), entry.get("issued_at")
    return RegisteredClient(
        name=name,
        description=description if isinstance(description, str) else None,
        issued_at=issued_at if type(issued_at) is int else None,
        allowed_endpoint_groups=FrozenMap(allowed),
    )


def read_rotation(answer: Answer) -> RotatedPassphrase:
    """Of ``/auth/passphrase``."""
    body = answer.json()

    def secret(name: str) -> str:
        value = answer.field(body, name, str)
        if not value:
            raise answer.error(SpanPanelAPIError, f"gave an answer without {name}")
        return value  # of whatever letters: it is the only copy

    return RotatedPassphrase(broker_password=secret("ebusBrokerPassword"), passphrase=secret("hopPassphrase"))


def read_fqdn(answer: Answer) -> str | None:
    """Of ``/dns/fqdn``: ``None`` and "" are two things."""
    if answer.status in {404, _NO_CONTENT}:
        return None
    body = answer.json()
    if body.get("ebusTlsFqdn") is None:
        return None
    name = answer.field(body, "ebusTlsFqdn", str)
    if not name.isprintable():
        raise answer.error(SpanPanelAPIError, "gave an answer without ebusTlsFqdn")
    return name
