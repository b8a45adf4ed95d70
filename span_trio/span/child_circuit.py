"""A circuit's fields in the parent/child schema, in the frame that its device declares.

A circuit in the panel counts what comes *into* the panel as positive; snapshots count consumption, so it is turned
round. A meter outside the panel counts what is imported, which is consumption, and is not turned.
"""

from __future__ import annotations

from typing import Final

from ..enums import FeedsRole, RelayRequester, RelayState, ShedPriority
from ..model.circuit import SpanCircuitSnapshot
from .convert import flag, known, member, number, text, whole, words
from .parts import Part
from .steps import changed, ids, negative, record, target, value
from .tables import Step, Table, fixed, table_of

__all__ = ["CIRCUIT", "OUTSIDE"]

_SHED: Final = frozenset({ShedPriority.OFF_GRID, ShedPriority.SOC_THRESHOLD})
"""The priorities with which a panel sheds a circuit by itself; never UNKNOWN (eBus guide), nor a word of later."""


def _tabs(part: Part) -> tuple[int, ...]:
    spaces = part.value("info", "spaces")
    parts = str(spaces).split(",") if type(spaces) in {str, int} else []
    found = [int(each) for each in map(str.strip, parts) if each.isascii() and each.isdigit() and len(each) < 5]
    return tuple(tab for tab in dict.fromkeys(found) if tab > 0)


def _is_240v(part: Part) -> bool | None:
    poles = whole(part.value("breaker", "poles"))
    return None if poles is None else poles >= 2


def _controllable(part: Part) -> bool | None:
    return flag(part.value("switch", "relay-controllable"))


def _always_on(part: Part) -> bool | None:
    """Locked, and not open: a fault opens a relay that is locked, and locks one that is open."""
    controllable = _controllable(part)
    if controllable is None:
        return None
    return not controllable and part.value("switch", "relay") != RelayState.OPEN


def _is_locked(part: Part) -> bool:
    """Whether the relay's flag locks it; one that cannot be read does."""
    if "switch" in part.nodes and "relay-controllable" in part.nodes["switch"].unreadable:
        return True
    return _controllable(part) is False


def _user_controllable(part: Part) -> bool:
    """Declared as settable, and not locked: a declaration may be stale after recommissioning (section 4)."""
    return part.here and part.settable("switch", "relay") and not _is_locked(part)


def _sheddable(part: Part) -> bool | None:
    priority = part.value("load-shed", "priority")
    return None if priority is None else priority in _SHED and not _is_locked(part)


def _never_backup(part: Part) -> bool | None:
    """Of a circuit that the panel would back up. A locked one that is never shed is an inverter's, or a battery's."""
    declared = part.declared("load-shed", "priority")
    if declared is None or declared.settable:
        return None if declared is None else False
    priority = part.value("load-shed", "priority")
    return None if priority is None else priority == ShedPriority.OFF_GRID


_METER: Final = {
    "circuit_id": Step(lambda part: part.id),
    "name": value("info/name", text),
    "current_a": value("meter/current", number),
    "meter_shared_with": ids("meter/shared-with-device-ids"),
    "nominal_voltage_v": value("info/nominal-voltage", number),
    "feeds_role": value("connection/feeds-role", member(FeedsRole)),
    "feeds": record("feeds"),
    "fed_by": record("fed-by"),
    "tags": value("info/tags", words),
    "locations": value("info/locations", words),
    "energy_accum_update_time_s": changed("meter/imported-energy", "meter/exported-energy"),
    "instant_power_update_time_s": changed("meter/active-power"),
}
CIRCUIT: Final[Table] = table_of(
    SpanCircuitSnapshot,
    {
        **_METER,
        "relay_state": value("switch/relay", known(RelayState)),
        "relay_state_target": target("switch/relay", member(RelayState)),
        "relay_requester": value("switch/relay-requester", known(RelayRequester)),
        "relay_controllable": value("switch/relay-controllable", flag),
        "relay_shared_with": ids("switch/shared-with-device-ids"),
        "instant_power_w": value("meter/active-power", negative),
        "consumed_energy_wh": value("meter/exported-energy", number),
        "produced_energy_wh": value("meter/imported-energy", number),
        "breaker_rating_a": value("breaker/rating", whole),
        "tabs": Step(_tabs, ("info/spaces",)),
        "is_240v": Step(_is_240v, ("breaker/poles",)),
        "protection_functions": value("breaker/protection-functions", words),
        "priority": value("load-shed/priority", known(ShedPriority)),
        "priority_target": target("load-shed/priority", member(ShedPriority)),
        "is_user_controllable": Step(_user_controllable, ("switch/relay-controllable",)),
        "is_sheddable": Step(_sheddable, ("load-shed/priority", "switch/relay-controllable")),
        "is_never_backup": Step(_never_backup, ("load-shed/priority",)),
        "always_on": Step(_always_on, ("switch/relay-controllable", "switch/relay")),
        "dedicated": value("info/dedicated", flag),
        "pcs_managed": value("pcs/managed", flag),
        "pcs_priority": value("pcs/priority", whole),
    },
)
OUTSIDE: Final[Table] = table_of(
    SpanCircuitSnapshot,
    {
        **_METER,
        "measures_outside_panel": fixed(True),
        "instant_power_w": value("meter/active-power", number),
        "consumed_energy_wh": value("meter/imported-energy", number),
        "produced_energy_wh": value("meter/exported-energy", number),
        "is_sheddable": fixed(False),
    },
)
