"""What opens a panel: who it is, how to log in, whom to trust."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
from typing import Any, cast

import attrs

from .errors import SpanPanelValidationError
from .homie import is_valid_id

__all__ = ["SpanCredentials", "fingerprint"]


def fingerprint(ca_pem: str) -> str:
    """The SHA-256 of the (first) certificate's DER form, in lower-case hex: what a person compares.

    Raises:
        SpanPanelValidationError: the text holds no certificate.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    start, stop = ca_pem.find(begin), ca_pem.find(end)
    try:
        der = ssl.PEM_cert_to_DER_cert(ca_pem[start : stop + len(end)])
    except ValueError:
        raise SpanPanelValidationError("the panel's CA is not a PEM certificate") from None
    return hashlib.sha256(der).hexdigest()


def _check_text(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if not (value is None or isinstance(value, str)):
        raise SpanPanelValidationError(f"{attribute.name} must be text")


def _check_serial(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if not (value is None or (isinstance(value, str) and is_valid_id(value))):
        raise SpanPanelValidationError(f"{attribute.name} must be of a-z, 0-9 and -, as the panel writes it")


def _check_port(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (type(value) is int and 0 < value < 65_536):
        raise SpanPanelValidationError(f"{attribute.name} must be a port number")


def _port() -> Any:
    return attrs.field(default=None, validator=_check_port)


def _secret() -> Any:
    return attrs.field(default=None, repr=False, validator=_check_text)


@attrs.frozen
class SpanCredentials:
    """Credentials of one panel. Neither its repr nor an error of its holds a secret.

    Attributes:
        serial_number: the panel's, which is the id of its Homie root; ``None`` if the broker shall be asked.
        broker_username: ``None`` for the panel's rule, which is the serial number.
        broker_password: ``None`` for a broker that asks for none (a bridge at home; never the panel's own).
        ca_pem: the panel's CA certificate; ``None`` if it shall be fetched, and trusted, on first use.
        access_token: of the REST API.
        passphrase: of the panel; registers further clients.
        mqtts_port: of the broker, as the panel told it; likewise ``ws_port`` and ``wss_port``.
        host: where the panel was registered with; for whoever keeps several. `open_span_panel` is told the host.
        client_name: the name of the entry in the panel's list of clients.

    Raises:
        SpanPanelValidationError: a value cannot be meant; names the field.
    """

    serial_number: str | None = attrs.field(default=None, validator=_check_serial)
    broker_username: str | None = attrs.field(default=None, validator=_check_text)
    broker_password: str | None = _secret()
    ca_pem: str | None = _secret()
    access_token: str | None = _secret()
    passphrase: str | None = _secret()
    mqtts_port: int | None = _port()
    ws_port: int | None = _port()
    wss_port: int | None = _port()
    host: str | None = attrs.field(default=None, validator=_check_text)
    client_name: str | None = attrs.field(default=None, validator=_check_text)

    @property
    def ca_sha256(self) -> str | None:
        """The fingerprint of the CA, for people to compare; ``None`` without one.

        Raises:
            SpanPanelValidationError: what is there is no certificate.
        """
        return None if self.ca_pem is None else fingerprint(self.ca_pem)

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User name and password for the broker; none where there is no password."""
        if self.broker_password is None:
            return self.broker_username, None
        return self.broker_username or self.serial_number, self.broker_password

    def to_json(self) -> str:
        """All of it, secrets included: for a file that nobody else can read."""
        found = attrs.asdict(self)
        with contextlib.suppress(
            SpanPanelValidationError
        ):  # what is no certificate is kept, and refused when it is used
            found["ca_sha256"] = self.ca_sha256
        return json.dumps(found, indent=2)

    @classmethod
    def from_json(cls, text: str) -> SpanCredentials:
        """The inverse of `to_json`; unknown keys are ignored.

        Raises:
            SpanPanelValidationError: it is no such text. The message does not quote it.
        """
        document: object = None
        with contextlib.suppress(ValueError, RecursionError):  # and forget it: a JSONDecodeError carries the text
            document = json.loads(text)
        if not isinstance(document, dict):
            raise SpanPanelValidationError("the credentials are not a JSON object")
        known = cast("dict[str, Any]", document)
        found = cls(**{field.name: known.get(field.name) for field in attrs.fields(cls)})
        if known.get("ca_sha256") is not None and known["ca_sha256"] != found.ca_sha256:
            raise SpanPanelValidationError("the credentials hold another CA than the fingerprint beside it is of")
        return found
