"""A house with a few things to command, what may be asked of it, and how its device may answer.

Plain data. The oracle reads what a command means from here, and from nothing of the library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from span_trio.simulator.packets import Publish

__all__ = [
    "ASKS",
    "DESCRIPTIONS",
    "DRIVE",
    "FIRST",
    "OTHERS",
    "PLANS",
    "RETAINED",
    "ROOT",
    "SECOND",
    "UNRETAINED",
    "Ask",
    "Description",
    "topic",
]

ROOT: Final = "nt-2143-c1akc"
FIRST: Final = "1" * 32
SECOND: Final = "2" * 32
DRIVE: Final = "sd-2231-00042"


def topic(path: str) -> str:
    """The topic of a path below the panel."""
    return f"ebus/5/{ROOT}/{path}"


# --- what it says of itself ---

_RELAY: Final = {"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED", "settable": True}
_PRIORITY: Final = {"datatype": "enum", "format": "UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER", "settable": True}
_CIRCUIT: Final[Mapping[str, Any]] = {
    "name": {"datatype": "string"},
    "space": {"datatype": "integer"},
    "relay": _RELAY,
    "relay-requester": {"datatype": "enum", "format": "UNKNOWN,NONE,USER,PCS"},
    "shed-priority": _PRIORITY,
    "always-on": {"datatype": "boolean"},
    "never-backup": {"datatype": "boolean"},
}
_LIMIT: Final = {"datatype": "integer", "unit": "A", "settable": True}
_NODES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "core": (
        "distribution-enclosure.core",
        {
            "model": {"datatype": "enum", "format": "MAIN_16,MAIN_32"},
            "software-version": {"datatype": "string"},
            "dominant-power-source": {"datatype": "enum", "format": "GRID,BATTERY,PV,UNKNOWN", "settable": True},
        },
    ),
    FIRST: ("circuit", _CIRCUIT),
    SECOND: ("circuit", {**_CIRCUIT, "shed-priority": {**_PRIORITY, "retained": False}}),
    DRIVE: ("evse", {"max-charge-current": {"datatype": "integer"}, "user-max-charge-current": _LIMIT}),
}
UNRETAINED: Final = f"{SECOND}/shed-priority"
"""Declared as an event: nobody may queue it, and it has no value that lasts."""


class Description(NamedTuple):
    """A ``$description``, and what it makes of the properties that may be commanded."""

    payload: bytes
    offered: frozenset[str]
    settable: frozenset[str]
    lasting: frozenset[str]
    """All properties that have a value, and are no events."""


def _describe(*, without: str = "", locked: str = "") -> Description:
    nodes: dict[str, Any] = {}
    offered: set[str] = set()
    settable: set[str] = set()
    lasting: set[str] = set()
    for node, (kind, declared) in _NODES.items():
        if node == without:
            continue
        some = {name: dict(each) for name, each in declared.items() if f"{node}/{name}" != without}
        for name, each in some.items():
            if each.get("settable") and f"{node}/{name}" == locked:
                each["settable"] = False
            if each.get("settable") is not None:
                offered.add(f"{node}/{name}")
            if each.get("settable"):
                settable.add(f"{node}/{name}")
            if each.get("retained", True):
                lasting.add(f"{node}/{name}")
        nodes[node] = {"type": f"energy.ebus.device.{kind}", "properties": some}
    whole = {"homie": "5.0", "version": 1, "type": "energy.ebus.device.distribution-enclosure", "nodes": nodes}
    return Description(json.dumps(whole).encode(), frozenset(offered), frozenset(settable), frozenset(lasting))


DESCRIPTIONS: Final[Mapping[str, Description]] = {
    "whole": _describe(),
    "locked": _describe(locked=f"{FIRST}/relay"),
    "without the first": _describe(without=FIRST),
    "without a limit": _describe(without=f"{DRIVE}/user-max-charge-current"),
}

RETAINED: Final[Mapping[str, bytes]] = {
    topic(path): payload
    for path, payload in {
        "$state": b"ready",
        "$description": DESCRIPTIONS["whole"].payload,
        "core/model": b"MAIN_32",
        "core/software-version": b"spanos2/r202627/05",
        "core/dominant-power-source": b"GRID",
        f"{FIRST}/name": b"Kitchen",
        f"{FIRST}/space": b"1",
        f"{FIRST}/relay": b"CLOSED",
        f"{FIRST}/relay-requester": b"NONE",
        f"{FIRST}/shed-priority": b"OFF_GRID",
        f"{SECOND}/name": b"Garage",
        f"{SECOND}/space": b"2",
        f"{SECOND}/relay": b"CLOSED",
        f"{DRIVE}/max-charge-current": b"32",
        f"{DRIVE}/user-max-charge-current": b"16",
    }.items()
}


# --- what may be asked of it ---


class Ask(NamedTuple):
    """A command: a method of the panel and its arguments; the path it is of and its text, if it can be meant at all."""

    method: str
    arguments: tuple[str, ...]
    path: str
    payload: bytes = b""
    """Empty: outside of what the property takes."""

    @property
    def is_relay(self) -> bool:
        return self.method == "set_circuit_relay"

    def means(self, publish: Publish) -> bool:
        """Whether that is what is to be published for it."""
        return (publish.topic, publish.payload) == (topic(self.path) + "/set", self.payload)

    def __str__(self) -> str:
        return f"{self.method}({', '.join(text[:4] for text in self.arguments)})"


def _asks(what: str, method: str, path: str, *subject: str, good: str = "", bad: str = "") -> dict[str, Ask]:
    some = {f"{what} {text}": Ask(method, (*subject, text), path, text.encode()) for text in good.split()}
    return some | {f"{what} {text}": Ask(method, (*subject, text), path) for text in bad.split()}


ASKS: Final[Mapping[str, Ask]] = {
    **_asks("first", "set_circuit_relay", f"{FIRST}/relay", FIRST, good="OPEN CLOSED", bad="BOGUS"),
    **_asks("second", "set_circuit_relay", f"{SECOND}/relay", SECOND, good="OPEN CLOSED", bad="UNKNOWN"),
    **_asks(
        "limit", "set_evse_charge_limit", f"{DRIVE}/user-max-charge-current", DRIVE, good="10 16 32", bad="33 many"
    ),
    **_asks("priority", "set_circuit_priority", f"{FIRST}/shed-priority", FIRST, good="NEVER OFF_GRID"),
    **_asks("event", "set_circuit_priority", UNRETAINED, SECOND, good="NEVER"),
    **_asks("source", "set_dominant_power_source", "core/dominant-power-source", good="BATTERY GRID"),
    **_asks("nobody", "set_circuit_relay", "", "nobody", bad="OPEN"),
    **_asks("unmapped", "set_circuit_relay", "", "unmapped_tab_7", bad="OPEN"),
}
"""By circuit or control, and value."""
OTHERS: Final[Mapping[bytes, bytes]] = {
    b"OPEN": b"CLOSED",
    b"CLOSED": b"OPEN",
    b"NEVER": b"OFF_GRID",
    b"OFF_GRID": b"NEVER",
    b"BATTERY": b"GRID",
    b"GRID": b"BATTERY",
    b"10": b"16",
    b"16": b"10",
    b"32": b"6",
}
"""For each value another one."""


# --- how its device, and the broker before it, answer a command ---

PLANS: Final[Mapping[str, tuple[tuple[float, str], ...]]] = {
    "at once": ((0, "ack"), (0, "value")),
    "value first": ((0, "value"), (0.01, "ack")),
    "soon": ((0, "ack"), (0.2, "value")),
    "late": ((0.1, "ack"), (1.3, "value")),
    "too late": ((0, "ack"), (2.5, "value")),
    "much too late": ((0, "ack"), (6.0, "value")),
    "never": ((0, "ack"),),
    "not a word": (),
    "twice": ((0, "ack"), (0.1, "value"), (0.2, "value")),
    "at the deadline": ((0, "ack"), (2.0, "value")),
    "another value": ((0, "ack"), (0.1, "other")),
    "another value, then this one": ((0, "ack"), (0, "other"), (0.5, "value")),
    "this one, then another": ((0, "value"), (0, "other"), (0, "ack")),
    "target first": ((0, "target"), (0, "ack"), (0.5, "value"), (0.5, "no target")),
    "target only": ((0, "ack"), (0.1, "target")),
    "target, and not a word of the broker": ((0.1, "target"),),
    "another target": ((0, "ack"), (0.1, "other target"), (0.2, "value")),
    "stored": ((0, "ack"), (0.1, "stored")),
    "nonsense": ((0, "ack"), (0.1, "nonsense")),
    "acknowledged late": ((1.0, "ack"),),
    "acknowledged behind the value": ((0.3, "value"), (0.3, "ack")),
}
