"""Which circuits share a meter: its reading is published by each of them, and is to be counted once."""

from __future__ import annotations

from collections.abc import Mapping

from .circuit import SpanCircuitSnapshot

__all__ = ["group_by_meter"]


def group_by_meter(circuits: Mapping[str, SpanCircuitSnapshot]) -> tuple[tuple[SpanCircuitSnapshot, ...], ...]:
    """The circuits in the panel, those that share a meter together; in the order of ``circuits``.

    For sums: the readings of a group are one reading, so take its first circuit's. Meters outside of the panel
    (`SpanCircuitSnapshot.measures_outside_panel`) are in no group: what they measure the panel's lugs may measure, too.
    It is enough if one of two circuits says that they share, and what is shared with a third is shared with all.

    Args:
        circuits: ``snapshot.circuits``, or some of them.
    """
    inside = {key: circuit for key, circuit in circuits.items() if not circuit.measures_outside_panel}
    groups: dict[str, list[str]] = {key: [key] for key in inside}  # the same list for all of a group
    for key, circuit in inside.items():
        for other in circuit.meter_shared_with or ():
            if other in groups and groups[other] is not groups[key]:
                merged = [*groups[key], *groups[other]]
                groups.update(dict.fromkeys(merged, merged))
    order = {key: number for number, key in enumerate(inside)}
    distinct = {id(group): sorted(group, key=order.__getitem__) for group in groups.values()}
    return tuple(tuple(inside[key] for key in group) for group in distinct.values())
