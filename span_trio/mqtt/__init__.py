"""MQTT without I/O, and the only place that imports paho.

`codec` (bytes to events, calls to bytes), `framing` (bytes to packets), `memory` (paho on a socket of two buffers).
"""

from .codec import Broken, Codec, ConnAck, Event, Messages, Oversized, Pong, PubAck, SubAck
from .framing import MAX_PACKET

__all__ = ["MAX_PACKET", "Broken", "Codec", "ConnAck", "Event", "Messages", "Oversized", "Pong", "PubAck", "SubAck"]
