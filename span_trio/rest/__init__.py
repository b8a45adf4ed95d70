"""The panel's REST API, and the only place that imports httpx.

`client` (`SpanRestClient`: all of it) and `oneshot` (a function for each call). Below them: `endpoints` (what there is,
and what each refusal means: a table), `http` (one request, bounded, and its failures), `answer` and `reading` (from
bytes to `results`, pure), `trust` (TLS contexts).

The rule of all of them: no message, repr, log record, argument, cause or context of an exception ever holds a secret,
or a piece of what the peer said.
"""

from .client import SpanRestClient
from .oneshot import (
    PlainOptions,
    RestOptions,
    delete_client,
    delete_fqdn,
    detect_api_version,
    download_ca_cert,
    get_client,
    get_fqdn,
    get_homie_schema,
    get_v2_status,
    list_clients,
    regenerate_passphrase,
    register_fqdn,
    register_v2,
    unique_name,
)
from .results import DetectionResult, RegisteredClient, RotatedPassphrase, V2AuthResponse, V2StatusInfo

__all__ = [
    "DetectionResult",
    "PlainOptions",
    "RegisteredClient",
    "RestOptions",
    "RotatedPassphrase",
    "SpanRestClient",
    "V2AuthResponse",
    "V2StatusInfo",
    "delete_client",
    "delete_fqdn",
    "detect_api_version",
    "download_ca_cert",
    "get_client",
    "get_fqdn",
    "get_homie_schema",
    "get_v2_status",
    "list_clients",
    "regenerate_passphrase",
    "register_fqdn",
    "register_v2",
    "unique_name",
]
