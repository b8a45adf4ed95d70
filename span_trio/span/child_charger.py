"""A charger's fields in the parent/child schema, and how it spells its limits."""

from __future__ import annotations

from typing import Final

from ..enums import EvseStatus, LockState
from ..model.devices import SpanEvseSnapshot
from .convert import known, member, number, whole
from .parts import Part
from .steps import NAMEPLATE, target, value
from .tables import Step, Table, fixed, table_of

__all__ = ["EVSE", "charge_limit_names", "other_spellings"]

_CHARGE_LIMITS: Final = (  # spellings, in the order in which they count: capability, ceiling, user's limit (section 4)
    ("charge-limit", "installer-max", "owner-limit"),
    ("config", "max-charge-current", "user-max-charge-current"),
)
_CHARGE_LIMIT_PATHS: Final = tuple(f"{capability}/{name}" for capability, *names in _CHARGE_LIMITS for name in names)


def charge_limit_names(part: Part) -> tuple[str, str, str]:
    """How this charger spells its limits: the first spelling of which it declares, or publishes, either property."""
    for capability, ceiling, limit in _CHARGE_LIMITS:
        for name in (ceiling, limit):
            if part.declared(capability, name) is not None or part.value(capability, name) is not None:
                return capability, ceiling, limit
    return _CHARGE_LIMITS[-1]


def _ceiling(part: Part) -> int | None:
    capability, ceiling, _ = charge_limit_names(part)
    return whole(part.value(capability, ceiling))


def _limit(part: Part) -> int | None:
    """The user's limit; equal to the ceiling it is none, but left over from before r202639 (section 4)."""
    capability, _, limit = charge_limit_names(part)
    found = whole(part.value(capability, limit))
    return None if found == _ceiling(part) else found


def _limit_target(part: Part) -> int | None:
    capability, _, limit = charge_limit_names(part)
    return whole(part.target(capability, limit))


def _limit_settable(part: Part) -> bool:
    capability, _, limit = charge_limit_names(part)
    return part.here and part.settable(capability, limit)


def _effective_limit(part: Part) -> int | None:
    limit = _limit(part)
    return _ceiling(part) if limit is None else limit


def other_spellings(part: Part) -> frozenset[str]:
    """The properties of limits that this charger spells in more than one way: those that no field is read from."""
    own, *_ = charge_limit_names(part)
    return frozenset(path for path in _CHARGE_LIMIT_PATHS if not path.startswith(f"{own}/"))


EVSE: Final[Table] = table_of(
    SpanEvseSnapshot,
    {
        **NAMEPLATE,
        "node_id": fixed(""),  # the builder knows
        "device_id": Step(lambda part: part.id),
        "status": value("status/status", known(EvseStatus)),
        "lock_state": value("switch/lock-state", known(LockState)),
        "lock_state_target": target("switch/lock-state", member(LockState)),
        "lock_state_settable": Step(lambda part: part.here and part.settable("switch", "lock-state")),
        "advertised_current_a": value("meter/advertised-current", number),
        "charge_current_limit_a": Step(_limit, _CHARGE_LIMIT_PATHS),
        "charge_current_ceiling_a": Step(_ceiling, _CHARGE_LIMIT_PATHS),
        "charge_current_limit_target_a": Step(_limit_target, _CHARGE_LIMIT_PATHS),
        "charge_current_limit_settable": Step(_limit_settable, _CHARGE_LIMIT_PATHS),
        "effective_charge_current_limit_a": Step(_effective_limit, _CHARGE_LIMIT_PATHS),
    },
)
