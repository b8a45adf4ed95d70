"""The Homie 5 convention, as a controller sees it. Pure: no I/O, no clock, and nothing of SPAN.

In the order of the data: `topics` and `values` (grammar), `description`, `device` and `slots` (one device), `forest`
(all devices of one epoch), `lifecycle` and `accumulator` (is the tree live?).
"""

from .accumulator import Accumulator, Demand
from .description import (
    DescriptionError,
    DeviceDescription,
    NodeDescription,
    PropertyDescription,
    parse_description,
    parse_properties,
)
from .device import Device, LogEntry, Node
from .edges import ConnectionEdge, Obstacle
from .forest import Forest
from .lifecycle import DeviceState, Event, Lifecycle, effective_state, event_of_state
from .messages import Instant, Message
from .slots import Dirty, Fallback, Limits
from .subscriptions import Request, SubscriptionPlan
from .topics import (
    Topic,
    TopicError,
    TopicKind,
    device_filter,
    is_valid_id,
    parse_topic,
    property_topic,
    set_topic,
    state_topic,
)
from .values import (
    Color,
    ColorFormat,
    Datatype,
    EnumFormat,
    Format,
    InvalidFormat,
    InvalidPayload,
    NumberFormat,
    Value,
    check_format,
    decode_value,
    encode_value,
    parse_format,
)

__all__ = [
    "Accumulator",
    "Color",
    "ColorFormat",
    "ConnectionEdge",
    "Datatype",
    "Demand",
    "DescriptionError",
    "Device",
    "DeviceDescription",
    "DeviceState",
    "Dirty",
    "EnumFormat",
    "Event",
    "Fallback",
    "Forest",
    "Format",
    "Instant",
    "InvalidFormat",
    "InvalidPayload",
    "Lifecycle",
    "Limits",
    "LogEntry",
    "Message",
    "Node",
    "NodeDescription",
    "NumberFormat",
    "Obstacle",
    "PropertyDescription",
    "Request",
    "SubscriptionPlan",
    "Topic",
    "TopicError",
    "TopicKind",
    "Value",
    "check_format",
    "decode_value",
    "device_filter",
    "effective_state",
    "encode_value",
    "event_of_state",
    "is_valid_id",
    "parse_description",
    "parse_format",
    "parse_properties",
    "parse_topic",
    "property_topic",
    "set_topic",
    "state_topic",
]
