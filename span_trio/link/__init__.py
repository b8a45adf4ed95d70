"""From a host name to a stream of messages: the shell around the codec. trio lives from here on up.

`streams` (TCP and TLS), `websocket`, `dial` (host and port to a stream), `session` (one MQTT session over a stream),
`events` (what it tells), `barrier` (when a replay is over), `publication` (what is published), `connect` (all of it,
once), `trust` (TLS contexts, and what is wrong with a certificate), `backoff`, `connection` (all of it, again and
again).
"""

from .backoff import Backoff
from .connect import broker_port, find_serial, open_link, the_dialer
from .connection import Connection
from .dial import Dialer, dial
from .events import Answered, ConnectFailed, LinkEvent, LinkLost, LinkUp, Oversize, ReplayEnd
from .publication import Publication
from .session import Link
from .trust import diagnose, load_trust, tls_context

__all__ = [
    "Answered",
    "Backoff",
    "ConnectFailed",
    "Connection",
    "Dialer",
    "Link",
    "LinkEvent",
    "LinkLost",
    "LinkUp",
    "Oversize",
    "Publication",
    "ReplayEnd",
    "broker_port",
    "diagnose",
    "dial",
    "find_serial",
    "load_trust",
    "open_link",
    "the_dialer",
    "tls_context",
]
