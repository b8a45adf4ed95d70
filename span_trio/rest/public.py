"""What a panel tells everybody: who it is, its CA certificate, its schema."""

from __future__ import annotations

import ssl

import attrs

from ..errors import SpanPanelAPIError
from ..span import HomieSchema
from .http import request

__all__ = ["V2StatusInfo", "download_ca_cert", "get_homie_schema", "get_v2_status"]


@attrs.frozen
class V2StatusInfo:
    """What a panel tells everybody. ``proximity_proven`` is ``None`` before r202609, which does not tell."""

    serial_number: str
    firmware_version: str
    proximity_proven: bool | None = None
    hardware_version: str | None = None


async def get_v2_status(host: str, *, port: int = 80, tls: ssl.SSLContext | None = None) -> V2StatusInfo:
    """Who the panel at ``host`` is.

    Args:
        host: name or address of the panel.
        port: of its HTTP server, or of its HTTPS server where ``tls`` is given.
        tls: whom to trust; ``None`` for plain HTTP.

    Raises:
        SpanPanelConnectionError: no connection, no answer in time, or TLS failed.
        SpanPanelServerError: the web server is up and the application behind it is not.
        SpanPanelAPIError: any other answer than a status.
    """
    answer = await request("GET", host, port, "/api/v2/status", tls=tls)
    body = answer.json()
    proven = body.get("proximityProven")
    hardware = body.get("hardwareVersion")
    return V2StatusInfo(
        serial_number=answer.field(body, "serialNumber", str),
        firmware_version=answer.field(body, "firmwareVersion", str),
        proximity_proven=proven if isinstance(proven, bool) else None,
        hardware_version=hardware if isinstance(hardware, str) else None,
    )


async def download_ca_cert(host: str, *, port: int = 80) -> str:
    """The panel's CA certificate, PEM text. Over plain HTTP, hence to be believed on first use only, or compared.

    Args:
        host: name or address of the panel.
        port: of its HTTP server.

    Raises:
        SpanPanelConnectionError: no connection, or no answer in time.
        SpanPanelServerError: the web server is still starting (5xx).
        SpanPanelAPIError: any other answer than a certificate.
    """
    answer = await request("GET", host, port, "/api/v2/certificate/ca", tls=None)
    try:
        text = answer.body.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise answer.error(SpanPanelAPIError, "gave an answer that is not a PEM certificate") from None
    return text


async def get_homie_schema(host: str, *, port: int = 80, tls: ssl.SSLContext | None = None) -> HomieSchema:
    """The panel's own schema.

    Args:
        host: name or address of the panel.
        port: of its HTTP server, or of its HTTPS server where ``tls`` is given.
        tls: whom to trust; ``None`` for plain HTTP.

    Raises:
        SpanPanelConnectionError: no connection, no answer in time, or TLS failed.
        SpanPanelServerError: the web server is up and the application behind it is not (5xx, a truncated body).
        SpanPanelAPIError: any other answer than a schema.
    """
    answer = await request("GET", host, port, "/api/v2/homie/schema", tls=tls)
    document = answer.json()
    try:
        schema = HomieSchema.from_json(document)
        if "types" not in document and schema.data_model_version is None:
            raise ValueError("it has neither types nor a dataModelVersion")
    except ValueError as error:
        raise answer.error(SpanPanelAPIError, f"gave an answer that is not a schema: {error}") from None
    return schema
