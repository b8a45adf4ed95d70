"""From a host name to a stream of messages: the shell around the codec. trio lives from here on up.

`trust` (TLS contexts), `streams` (TCP and TLS), `dial` (host and port to a stream), `session` (one MQTT session over a
stream), `connect` (all of it).
"""

from .connect import connect, find_serial
from .dial import Dialer, dial
from .session import Link, LinkEvent, LinkLost, Oversize, ReplayEnd
from .trust import fingerprint, tls_context

__all__ = [
    "Dialer",
    "Link",
    "LinkEvent",
    "LinkLost",
    "Oversize",
    "ReplayEnd",
    "connect",
    "dial",
    "find_serial",
    "fingerprint",
    "tls_context",
]
