"""A panel of hardware 3.0: circuits that share a relay, a charger whose lock can be set, and a property of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .commands_house import FLAT, ROOT, Description, House, asks, describe, topic

__all__ = ["HOUSES", "SHARED"]

FIRST, SECOND, THIRD, DRIVE = "circuit1", "circuit2", "circuit3", "drive-1"
_CIRCUITS: Final = (FIRST, SECOND, THIRD)
SHARED: Final = f"{FIRST}/switch/shared-with-device-ids"
"""Who shares a relay: the first circuit says so, and that is enough."""
_CAPABILITY: Final = "capability."


def _node(name: str, /, **properties: Any) -> tuple[str, Mapping[str, Any]]:
    return f"{_CAPABILITY}{name}", {key.replace("_", "-"): value for key, value in properties.items()}


_STRING: Final = {"datatype": "string"}
_CIRCUIT: Final = {
    "info": _node("info", name=_STRING, spaces=_STRING),
    "switch": _node(
        "switch",
        relay={"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED", "settable": True},
        relay_requester={"datatype": "enum", "format": "UNKNOWN,NONE,USER,PCS"},
        relay_controllable={"datatype": "boolean"},
        shared_with_device_ids=_STRING,
    ),
    "load-shed": _node(
        "load-shed",
        priority={"datatype": "enum", "format": "UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER", "settable": True},
    ),
}
_DRIVE: Final = {
    "info": _node("info", model=_STRING),
    "switch": _node("switch", lock_state={"datatype": "enum", "format": "UNLOCKED,LOCKED", "settable": True}),
    "config": _node(
        "config",
        max_charge_current={"datatype": "integer"},
        user_max_charge_current={"datatype": "integer", "settable": True},
    ),
}
_PANEL: Final = {
    "info": _node("info", model=_STRING, firmware_version=_STRING, data_model_version=_STRING),
    "extra": _node("extra", knob={"datatype": "integer", "format": "1:2", "settable": True}),
}


def _child(device: str, **changes: str) -> Description:
    kind, nodes = ("evse", _DRIVE) if device == DRIVE else ("circuit", _CIRCUIT)
    return describe(device, kind, nodes, root=ROOT, parent=ROOT, **changes)


_DESCRIPTIONS: Final = {
    "whole": describe(ROOT, "distribution-enclosure", _PANEL, children=[*_CIRCUITS, DRIVE]),
    "first": _child(FIRST),
    "first locked": _child(FIRST, locked="switch/relay"),
    "second": _child(SECOND),
    "second locked": _child(SECOND, locked="switch/relay"),
    "third": _child(THIRD),
    "third without a relay": _child(THIRD, without="switch/relay"),
    "drive": _child(DRIVE),
    "drive locked": _child(DRIVE, without="switch/lock-state"),
}


def _flags(path: str) -> tuple[str, frozenset[bytes]]:
    node, _, name = path.rpartition("/")
    return topic(f"{node}/relay-controllable" if name == "relay" else ""), frozenset({b"", b"true"})


def _group(circuit: str, shares: bytes) -> tuple[str, ...]:
    """The circuits on one relay, by what the first one says, this one first."""
    named = [name.strip() for name in shares.decode().split(",") if name.strip()]
    group = {FIRST, *named}
    return (circuit, *sorted(group - {circuit})) if circuit in group else (circuit,)


def _reaches(path: str, shares: bytes) -> tuple[str, ...]:
    circuit = path.partition("/")[0]
    return _group(circuit, shares) if circuit in _CIRCUITS else ()


def _hardware(path: str, shares: bytes) -> frozenset[str]:
    circuit, _, name = path.partition("/")
    if name != "switch/relay":
        return frozenset({path})
    return frozenset(f"{each}/switch/relay" for each in _group(circuit, shares) if each in _CIRCUITS)


_LATE_WORD: Final = (
    (0.0, ("ask", "first OPEN", 0.3, "")),
    (0.4, ("ask", "second CLOSED", 0.3, "")),
    (0.4, ("publish", f"{FIRST}/switch/relay", b"OPEN")),
    (0.0, ("publish", f"{SECOND}/switch/relay", b"OPEN")),
    (0.1, ("ask", "first OPEN", None, "")),
)
HARDWARE_3: Final = House(
    retained={
        topic(path): payload
        for path, payload in {
            f"{ROOT}/$state": b"ready",
            f"{ROOT}/$description": _DESCRIPTIONS["whole"].payload,
            f"{ROOT}/info/model": b"MLO_48",
            f"{ROOT}/info/firmware-version": b"spanos3/r202639/03",
            f"{ROOT}/info/data-model-version": b"1.0",
            f"{ROOT}/extra/knob": b"1",
            **{f"{device}/$state": b"ready" for device in (*_CIRCUITS, DRIVE)},
            f"{FIRST}/$description": _DESCRIPTIONS["first"].payload,
            f"{SECOND}/$description": _DESCRIPTIONS["second"].payload,
            f"{THIRD}/$description": _DESCRIPTIONS["third"].payload,
            f"{DRIVE}/$description": _DESCRIPTIONS["drive"].payload,
            **{f"{circuit}/info/name": circuit.encode() for circuit in _CIRCUITS},
            **{f"{circuit}/info/spaces": b"44" for circuit in _CIRCUITS},
            **{f"{circuit}/switch/relay": b"CLOSED" for circuit in _CIRCUITS},
            f"{FIRST}/load-shed/priority": b"OFF_GRID",
            SHARED: SECOND.encode(),
            f"{DRIVE}/info/model": b"DRIVE",
            f"{DRIVE}/switch/lock-state": b"UNLOCKED",
            f"{DRIVE}/config/max-charge-current": b"32",
            f"{DRIVE}/config/user-max-charge-current": b"16",
        }.items()
    },
    descriptions=_DESCRIPTIONS,
    asks={
        **asks("first", "set_circuit_relay", f"{FIRST}/switch/relay", FIRST, good="OPEN CLOSED", bad="BOGUS"),
        **asks("second", "set_circuit_relay", f"{SECOND}/switch/relay", SECOND, good="OPEN CLOSED", bad="UNKNOWN"),
        **asks("third", "set_circuit_relay", f"{THIRD}/switch/relay", THIRD, good="OPEN CLOSED"),
        **asks("lock", "set_evse_lock", f"{DRIVE}/switch/lock-state", DRIVE, good="LOCKED UNLOCKED", bad="UNKNOWN"),
        **asks(
            "limit", "set_evse_charge_limit", f"{DRIVE}/config/user-max-charge-current", DRIVE, good="10 16", bad="33"
        ),
        **asks("priority", "set_circuit_priority", f"{FIRST}/load-shed/priority", FIRST, good="NEVER OFF_GRID"),
        **asks("knob", "set_property", f"{ROOT}/extra/knob", ROOT, "extra", "knob", good="1 2", bad="3"),
        **asks("nobody", "set_circuit_relay", "", "nobody", bad="OPEN"),
        **asks("unmapped", "set_circuit_relay", "", "unmapped_tab_7", bad="OPEN"),
    },
    often=("first OPEN", "first CLOSED", "second OPEN", "second CLOSED", "lock LOCKED"),
    deeds=(
        *(("publish", f"{FIRST}/switch/relay", payload) for payload in (b"OPEN", b"CLOSED")),
        *(("publish", f"{SECOND}/switch/relay", payload) for payload in (b"OPEN", b"CLOSED", b"")),
        *(("publish", f"{SECOND}/switch/relay/$target", payload) for payload in (b"OPEN", b"")),
        *(("publish", f"{DRIVE}/switch/lock-state", payload) for payload in (b"LOCKED", b"UNLOCKED")),
        *(("publish", f"{SECOND}/switch/relay-controllable", each) for each in (b"false", b"true", b"perhaps", b"")),
        *(("publish", f"{FIRST}/switch/relay-controllable", each) for each in (b"false", b"true")),
        *3 * [("publish", SHARED, SECOND.encode())],
        *(("publish", SHARED, shares) for shares in (b"circuit2,circuit3", b"", b"circuit3, nowhere")),
        *(("publish", f"{SECOND}/$state", payload) for payload in (b"lost", b"ready", b"init", b"ready")),
        *(("publish", f"{DRIVE}/$state", payload) for payload in (b"lost", b"ready")),
        *(("describe", name) for name in (*_DESCRIPTIONS, "first", "second", "drive")),
    ),
    scenes=(
        _LATE_WORD,
        _LATE_WORD,
        *(
            ((0.0, ("ask", what, None, hook)), (gap, step))
            for what in ("first OPEN", "second CLOSED", "third OPEN")
            for hook, gap in (("wait", 0.1), ("", -3.0))
            for step in (
                ("publish", SHARED, b"circuit2,circuit3"),
                ("publish", f"{SECOND}/switch/relay-controllable", b"false"),
            )
        ),
    ),
    flags=_flags,
    children=True,
    event="",
    sharing=topic(SHARED),
    reaches=_reaches,
    hardware=_hardware,
)
HOUSES: Final[Mapping[str, House]] = {"flat": FLAT, "hardware 3": HARDWARE_3}
"""By the name that a schedule has for it."""
