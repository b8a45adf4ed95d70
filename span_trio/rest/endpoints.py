"""What there is to ask, and what each refusal means: a table (facts, REST sections 2 and 3).

`docs/reference/rest.md` has the same in words, and a test walks that page.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from ..errors import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelError,
    SpanPanelFaultError,
    SpanPanelOutcomeUnknownError,
    SpanPanelPrivilegeError,
    SpanPanelRateLimitError,
    SpanPanelServerError,
    SpanPanelUnsupportedError,
)

__all__ = [
    "CA",
    "CLIENT",
    "CLIENTS",
    "DELETE_CLIENT",
    "DELETE_FQDN",
    "ENDPOINTS",
    "FQDN",
    "REGISTER",
    "ROTATE",
    "SCHEMA",
    "SET_FQDN",
    "STATUS",
    "Access",
    "Endpoint",
    "Refusal",
]

Refusal: TypeAlias = tuple[type[SpanPanelError], str]
"""What is raised, and what it says behind the status."""


class Access(enum.Enum):
    """What a call carries."""

    OPEN = "nothing that is secret, either way"
    SECRET = "a secret in the body, either way"  # noqa: S105 - it says so
    TOKEN = "an access token"  # noqa: S105


_ANY: Final[Mapping[int, Refusal]] = {
    404: (SpanPanelUnsupportedError, "the firmware does not offer it"),
    405: (SpanPanelUnsupportedError, "the firmware does not offer it"),
    429: (SpanPanelRateLimitError, "it was asked too often"),
}
_LOST: Final = "it may have changed its passphrase or not"
_TOKEN: Final[Mapping[int, Refusal]] = {
    401: (SpanPanelAuthError, "the access token is not good (any more): register again"),
    403: (
        SpanPanelPrivilegeError,
        "the access token has reduced privileges: register again, with the passphrase and under another name",
    ),
}
_NOBODY: Final[Mapping[int, Refusal]] = dict.fromkeys(
    (404, 422), (SpanPanelAPIError, "it knows no client of that name")
)
_NO_CA: Final[Mapping[int, Refusal]] = dict.fromkeys(
    (403, 404, 413), (SpanPanelFaultError, "the panel cannot hand out its CA")
)
_UNREGISTERED: Final[Mapping[int, Refusal]] = dict.fromkeys(
    (401, 403, 422), (SpanPanelAuthError, "it does not accept the passphrase, the name, or that the door was pressed")
)
_UNROTATED: Final[Mapping[int, Refusal]] = {412: (SpanPanelAuthError, "it saw no access token")}
_NO_NAME: Final[Mapping[int, Refusal]] = {
    403: (SpanPanelUnsupportedError, "firmware before r202615 does so to everybody"),  # lesson D, docs#10
    422: (SpanPanelAPIError, "it does not accept that name"),
}


_READS: Final = 5.0
_CHANGES: Final = 15.0


@attrs.frozen
class Endpoint:
    """One of them.

    Attributes:
        method: of HTTP.
        path: behind the host; ``{name}`` is to be filled in, percent-encoded.
        access: what it carries.
        refusals: status -> what that means here; `refusal` knows the rest.
        accept: statuses besides 2xx that are no refusal.
        irrevocable: whether an answer that is lost is worse than a failure.
        limit: bytes of an answer that are read.
    """

    method: str
    path: str
    access: Access
    refusals: Mapping[int, Refusal] = attrs.field(factory=dict[int, Refusal])
    accept: frozenset[int] = frozenset()
    irrevocable: bool = False
    limit: int = 4 * 2**20

    def __str__(self) -> str:
        """As errors name it."""
        return f"{self.method} {self.path}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that to ask twice is to ask once."""
        return self.method == "GET"

    @property
    def timeout(self) -> float:
        """Seconds for one try; more where something is changed, since there not to know is worse."""
        return _READS if self.reads else _CHANGES

    def refusal(self, status: int) -> Refusal | None:
        """What this status means here; ``None``: it is no refusal."""
        if 200 <= status < 300 or status in self.accept:
            return None
        if status >= 500:
            return (SpanPanelOutcomeUnknownError, _LOST) if self.irrevocable else (SpanPanelServerError, "")
        return self.refusals.get(status) or _ANY.get(status) or (SpanPanelAPIError, "")


STATUS: Final = Endpoint("GET", "/api/v2/status", Access.OPEN)
CA: Final = Endpoint("GET", "/api/v2/certificate/ca", Access.OPEN, _NO_CA, limit=2**16)
SCHEMA: Final = Endpoint("GET", "/api/v2/homie/schema", Access.OPEN)
REGISTER: Final = Endpoint("POST", "/api/v2/auth/register", Access.SECRET, _UNREGISTERED)
CLIENTS: Final = Endpoint("GET", "/api/v2/auth/clients", Access.TOKEN, _TOKEN)
CLIENT: Final = Endpoint("GET", "/api/v2/auth/clients/{name}", Access.TOKEN, {**_TOKEN, **_NOBODY})
DELETE_CLIENT: Final = Endpoint("DELETE", "/api/v2/auth/clients/{name}", Access.TOKEN, {**_TOKEN, **_NOBODY})
ROTATE: Final = Endpoint("PUT", "/api/v2/auth/passphrase", Access.TOKEN, {**_TOKEN, **_UNROTATED}, irrevocable=True)
FQDN: Final = Endpoint("GET", "/api/v2/dns/fqdn", Access.TOKEN, _TOKEN, accept=frozenset({404}))
SET_FQDN: Final = Endpoint("POST", "/api/v2/dns/fqdn", Access.TOKEN, {**_TOKEN, **_NO_NAME})
DELETE_FQDN: Final = Endpoint("DELETE", "/api/v2/dns/fqdn", Access.TOKEN, _TOKEN, accept=frozenset({404}))

ENDPOINTS: Final = (
    STATUS,
    CA,
    SCHEMA,
    REGISTER,
    CLIENTS,
    CLIENT,
    DELETE_CLIENT,
    ROTATE,
    FQDN,
    SET_FQDN,
    DELETE_FQDN,
)
