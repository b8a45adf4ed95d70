"""Houses with a few things to command, what may be asked of them, and how their devices may answer.

Plain data. The oracle reads what a command means from here, and from nothing of the library. `HOUSES` are two: a flat
panel, and one of hardware 3.0 (`commands_house3`), some of whose circuits share a relay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from span_trio.simulator.broker.packets import Publish

__all__ = ["FLAT", "OTHERS", "PLANS", "ROOT", "Ask", "Description", "House", "asks", "describe", "topic"]

ROOT: Final = "nt-2143-c1akc"
FIRST: Final = f"{ROOT}/{'1' * 32}"
SECOND: Final = f"{ROOT}/{'2' * 32}"
DRIVE: Final = f"{ROOT}/sd-2231-00042"


def topic(path: str) -> str:
    """The topic of a path: a device, and what is below it."""
    return f"ebus/5/{path}"


class Description(NamedTuple):
    """A device's ``$description``, and what it makes of the properties that may be commanded; by path."""

    device: str
    payload: bytes
    offered: frozenset[str]
    settable: frozenset[str]
    lasting: frozenset[str]
    """All properties that have a value, and are no events."""


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

    @property
    def moves(self) -> bool:
        """Whether it moves something, or may: then it goes behind a ping."""
        return self.method in {"set_circuit_relay", "set_evse_lock", "set_property"}

    def means(self, publish: Publish) -> bool:
        """Whether that is what is to be published for it."""
        return (publish.topic, publish.payload) == (topic(self.path) + "/set", self.payload)

    def __str__(self) -> str:
        return f"{self.method}({', '.join(text[-9:] for text in self.arguments)})"


def asks(what: str, method: str, path: str, *subject: str, good: str = "", bad: str = "") -> dict[str, Ask]:
    """Commands for these values, which can be meant, and those, which cannot."""
    some = {f"{what} {text}": Ask(method, (*subject, text), path, text.encode()) for text in good.split()}
    return some | {f"{what} {text}": Ask(method, (*subject, text), path) for text in bad.split()}


class House(NamedTuple):
    """A panel."""

    retained: Mapping[str, bytes]
    """By topic."""
    descriptions: Mapping[str, Description]
    """By a name of the schedule's."""
    asks: Mapping[str, Ask]
    """By circuit or control, and value."""
    often: tuple[str, ...]
    """Of them, what is asked most."""
    deeds: tuple[tuple[Any, ...], ...]
    """What else may happen here: steps of the machine."""
    flags: Callable[[str], tuple[str, frozenset[bytes]]]
    """What locks a path: the topic of a flag, and its payloads that do not lock."""
    scenes: tuple[tuple[tuple[float, tuple[Any, ...]], ...], ...] = ()
    """Several steps, with the time before each, that belong together."""
    children: bool = False
    """Whether a device of its own stands behind a path, whose ``$state`` counts, too."""
    event: str = f"{SECOND}/shed-priority"
    """The path of a property that is declared as an event: nobody may queue it, and it has no value that lasts."""
    sharing: str = ""
    """The topic that says which circuits share a relay."""
    reaches: Callable[[str, bytes], tuple[str, ...]] = lambda _path, _shares: ()
    """The ids of the circuits that a command to a path reaches, its own first, by what the topic of sharing says."""
    hardware: Callable[[str, bytes], frozenset[str]] = lambda path, _: frozenset({path})
    """The paths that stand for the same piece of hardware."""

    @property
    def texts(self) -> Mapping[str, frozenset[bytes]]:
        """By topic of a command: what may be written there."""
        paths = {ask.path for ask in self.asks.values()}
        return {
            f"{topic(path)}/set": frozenset(ask.payload for ask in self.asks.values() if ask.path == path)
            for path in paths
        }


# --- a flat panel -----------------------------------------------------------------------------------------------------

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
    FIRST.partition("/")[2]: ("circuit", _CIRCUIT),
    SECOND.partition("/")[2]: ("circuit", {**_CIRCUIT, "shed-priority": {**_PRIORITY, "retained": False}}),
    DRIVE.partition("/")[2]: (
        "evse",
        {"max-charge-current": {"datatype": "integer"}, "user-max-charge-current": _LIMIT},
    ),
}


def describe(
    device: str,
    kind: str,
    nodes: Mapping[str, tuple[str, Mapping[str, Any]]],
    *,
    without: str = "",
    locked: str = "",
    **more: Any,
) -> Description:
    """A device's description.

    Args:
        device: its id.
        kind: the end of its type.
        nodes: by id, the end of its type and its properties.
        without: a node, or a path below the device, that is left out.
        locked: a path that is not settable.
        more: of the description itself.
    """
    described: dict[str, Any] = {}
    offered: set[str] = set()
    settable: set[str] = set()
    lasting: set[str] = set()
    for node, (node_kind, declared) in nodes.items():
        if node == without:
            continue
        some = {name: dict(each) for name, each in declared.items() if f"{node}/{name}" != without}
        for name, each in some.items():
            path = f"{device}/{node}/{name}"
            if each.get("settable") and f"{node}/{name}" == locked:
                each["settable"] = False
            if each.get("settable") is not None:
                offered.add(path)
            if each.get("settable"):
                settable.add(path)
            if each.get("retained", True):
                lasting.add(path)
        described[node] = {"type": f"energy.ebus.{node_kind}", "properties": some}
    whole = {"homie": "5.0", "version": 1, "type": f"energy.ebus.device.{kind}", "name": device, "nodes": described}
    payload = json.dumps(whole | more).encode()
    return Description(device, payload, frozenset(offered), frozenset(settable), frozenset(lasting))


def _described(**changes: str) -> Description:
    nodes = {name: (f"device.{kind}", declared) for name, (kind, declared) in _NODES.items()}
    return describe(ROOT, "distribution-enclosure", nodes, **changes)


_DESCRIPTIONS: Final = {
    "whole": _described(),
    "locked": _described(locked=f"{FIRST.partition('/')[2]}/relay"),
    "without the first": _described(without=FIRST.partition("/")[2]),
    "without a limit": _described(without=f"{DRIVE.partition('/')[2]}/user-max-charge-current"),
}
_FLAGS: Final = {"relay": "always-on", "shed-priority": "never-backup"}


def _flags(path: str) -> tuple[str, frozenset[bytes]]:
    node, _, name = path.rpartition("/")
    return topic(f"{node}/{_FLAGS.get(name, '')}"), frozenset({b"", b"false"})


def _reaches(path: str, _: bytes) -> tuple[str, ...]:
    _, node, name = path.split("/")
    return (node,) if name in _FLAGS else ()


FLAT: Final = House(
    retained={
        topic(path): payload
        for path, payload in {
            f"{ROOT}/$state": b"ready",
            f"{ROOT}/$description": _DESCRIPTIONS["whole"].payload,
            f"{ROOT}/core/model": b"MAIN_32",
            f"{ROOT}/core/software-version": b"spanos2/r202627/05",
            f"{ROOT}/core/dominant-power-source": b"GRID",
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
    },
    descriptions=_DESCRIPTIONS,
    asks={
        **asks("first", "set_circuit_relay", f"{FIRST}/relay", "1" * 32, good="OPEN CLOSED", bad="BOGUS"),
        **asks("second", "set_circuit_relay", f"{SECOND}/relay", "2" * 32, good="OPEN CLOSED", bad="UNKNOWN"),
        **asks(
            "limit",
            "set_evse_charge_limit",
            f"{DRIVE}/user-max-charge-current",
            "sd-2231-00042",
            good="10 16 32",
            bad="33 many",
        ),
        **asks("priority", "set_circuit_priority", f"{FIRST}/shed-priority", "1" * 32, good="NEVER OFF_GRID"),
        **asks("event", "set_circuit_priority", f"{SECOND}/shed-priority", "2" * 32, good="NEVER"),
        **asks("source", "set_dominant_power_source", f"{ROOT}/core/dominant-power-source", good="BATTERY GRID"),
        **asks("nobody", "set_circuit_relay", "", "nobody", bad="OPEN"),
        **asks("unmapped", "set_circuit_relay", "", "unmapped_tab_7", bad="OPEN"),
    },
    often=("first OPEN", "first CLOSED", "limit 10", "limit 16"),
    deeds=(
        *(("publish", f"{FIRST}/relay", payload) for payload in (b"OPEN", b"CLOSED", b"")),
        *(("publish", f"{FIRST}/relay/$target", payload) for payload in (b"OPEN", b"CLOSED", b"")),
        *(("publish", f"{DRIVE}/user-max-charge-current", payload) for payload in (b"10", b"32", b"")),
        ("publish", f"{DRIVE}/user-max-charge-current/$target", b"10"),
        *(("publish", f"{FIRST}/always-on", payload) for payload in (b"true", b"", b"false", b"perhaps")),
        *(("publish", f"{FIRST}/never-backup", payload) for payload in (b"true", b"false")),
        *(("describe", name) for name in ("whole", *_DESCRIPTIONS, "whole")),
    ),
    flags=_flags,
    reaches=_reaches,
)

OTHERS: Final[Mapping[bytes, bytes]] = {
    b"OPEN": b"CLOSED",
    b"CLOSED": b"OPEN",
    b"NEVER": b"OFF_GRID",
    b"OFF_GRID": b"NEVER",
    b"BATTERY": b"GRID",
    b"GRID": b"BATTERY",
    b"LOCKED": b"UNLOCKED",
    b"UNLOCKED": b"LOCKED",
    b"10": b"16",
    b"16": b"10",
    b"32": b"6",
    b"1": b"2",
    b"2": b"1",
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
    "lost before the value": ((0, "ack"), (0.1, "lost"), (0.2, "value")),
    "lost and back around the value": ((0, "lost"), (0, "value"), (0, "ready"), (0, "ack")),
    "lost and back before the value": ((0, "ack"), (0.1, "lost"), (0.2, "ready"), (0.4, "value")),
    "gone before the value": ((0, "ack"), (0.1, "gone"), (0.1, "value"), (0.3, "there")),
    "gone before the target": ((0.1, "gone"), (0.1, "target"), (0.3, "there")),
}
