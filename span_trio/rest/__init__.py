"""The panel's REST API, and the only place that imports httpx.

`http` (one request, bounded), `public` (what needs no secret), `registration` (becoming a client).
"""

from .public import V2StatusInfo, download_ca_cert, get_homie_schema, get_v2_status
from .registration import V2AuthResponse, register_v2, unique_name

__all__ = [
    "V2AuthResponse",
    "V2StatusInfo",
    "download_ca_cert",
    "get_homie_schema",
    "get_v2_status",
    "register_v2",
    "unique_name",
]
