"""What a user holds: the classes that a snapshot is made of. `span_trio.snapshot` has them all."""

from .circuit import SpanCircuitSnapshot, SpanConnectionSnapshot
from .devices import SpanBatterySnapshot, SpanEvseSnapshot, SpanMidSnapshot, SpanPcsSnapshot, SpanPVSnapshot
from .meters import group_by_meter
from .unmodelled import AdoptedDevice, AdoptedProperty, ExtensionProperty

__all__ = [
    "AdoptedDevice",
    "AdoptedProperty",
    "ExtensionProperty",
    "SpanBatterySnapshot",
    "SpanCircuitSnapshot",
    "SpanConnectionSnapshot",
    "SpanEvseSnapshot",
    "SpanMidSnapshot",
    "SpanPVSnapshot",
    "SpanPcsSnapshot",
    "group_by_meter",
]
