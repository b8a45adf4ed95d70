"""What the machines play with: a small panel, what it may publish, and what of that is rubbish.

Few devices, nodes and properties, so that rules meet again and again; but one of everything that the core treats
differently. Whatever the model must know of a description or a topic is written down here beside it, and not found out
by the parsers under test.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

ROOT: Final = "nt-2143-c1akc"
KID, TOY, STRANGER = "kid", "toy", "stranger"
MEMBERS: Final = (ROOT, KID, TOY)
_TYPE: Final = "energy.ebus.device."

# --- nodes and properties: kind -> property -> datatype ---------------------------------------------------------------

KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "distribution-enclosure.core": {"door": "enum", "breaker-rating": "integer"},
    "lugs": {"direction": "enum", "active-power": "float", "imported-energy": "float"},
    "circuit": {
        "name": "string",
        "relay": "enum",
        "active-power": "float",
        "exported-energy": "float",
        "imported-energy": "float",
        "space": "integer",
    },
    "pv": {"feed": "string", "relative-position": "enum"},
    "thing": {"power": "float"},
}
NODES: Final[Mapping[str, str]] = {
    "core": "distribution-enclosure.core",
    "up": "lugs",
    "c1": "circuit",
    "c2": "circuit",
    "pv": "pv",
}
ODD: Final = {"active-power": "string", "relay": "boolean", "exported-energy": "integer"}
"""How an odd firmware declares some."""
SIZE: Final = 6


class Node(NamedTuple):
    """A described node: its kind, the datatypes of what it declares, and whether it tells the panel's size."""

    kind: str
    properties: Mapping[str, str] | None  # None: bare
    tells_size: bool = False


class Described(NamedTuple):
    """What a well-formed description says."""

    nodes: Mapping[str, Node]
    children: tuple[str, ...]
    root: str | None = None
    """Whose child it says it is."""


def _declared(kind: str, how: str) -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = {name: {"datatype": datatype} for name, datatype in KINDS[kind].items()}
    if how == "odd":
        declared = {name: {"datatype": ODD.get(name, KINDS[kind][name])} for name in declared}
        declared.pop("name", None)
        if "imported-energy" in declared:
            declared["imported-energy"]["retained"] = False  # an event: never state
    for name, declaration in declared.items():
        if declaration["datatype"] == "enum":
            declaration["format"] = "A,B"
        if name == "space":
            declaration["format"] = f"1:{SIZE}:1"
    return declared


def _describe(
    kinds: Mapping[str, str], hows: Mapping[str, str], children: tuple[str, ...], root: str | None = None
) -> tuple[bytes, Described]:
    """A description in which each node is described in full, bare or oddly; or not at all."""
    document: dict[str, Any] = {}
    nodes: dict[str, Node] = {}
    for name, how in hows.items():
        kind = kinds[name]
        document[name] = {"type": _TYPE + kind}
        if how == "bare":
            nodes[name] = Node(kind, None)
            continue
        declared = _declared(kind, how)
        document[name]["properties"] = declared
        shown = {key: value["datatype"] for key, value in declared.items() if value.get("retained", True)}
        nodes[name] = Node(kind, shown, "space" in shown)
    whole: dict[str, Any] = {"nodes": document, "children": list(children)} | ({} if root is None else {"root": root})
    return json.dumps(whole, separators=(",", ":")).encode(), Described(nodes, children, root)


def _root_descriptions() -> dict[bytes, Described]:
    shapes = [
        dict.fromkeys(NODES, "full"),
        dict.fromkeys(NODES, "bare"),
        dict.fromkeys(NODES, "odd"),
        dict.fromkeys(reversed(NODES), "full"),
        {"core": "full", "c1": "full"},
        {"core": "bare", "up": "bare", "c1": "odd", "c2": "full"},
        {"up": "full", "pv": "bare", "c2": "bare"},
        {},
    ]
    families = [(), (KID,), (KID, TOY), (TOY,)]
    return dict(_describe(NODES, shape, family) for shape, family in itertools.product(shapes, families))


def _other_descriptions(
    families: list[tuple[str, ...]], roots: tuple[str | None, ...] = (None,)
) -> dict[bytes, Described]:
    kinds = {"n": "thing", "m": "thing"}
    shapes: list[dict[str, str]] = [{"n": "full"}, {"n": "full", "m": "full"}, {"m": "bare"}, {}]
    every = itertools.product(roots, shapes, families)
    return dict(_describe(kinds, shape, family, root) for root, shape, family in every)


DESCRIPTIONS: Final[Mapping[str, Mapping[bytes, Described]]] = {
    ROOT: _root_descriptions(),
    KID: _other_descriptions([(), (TOY,), (ROOT,)], (None, ROOT, STRANGER)),
    TOY: _other_descriptions([(), (KID,)], (None, ROOT, STRANGER, KID)),
    STRANGER: _other_descriptions([(ROOT,), (), (KID,), (TOY,)]),
}
BAD_DESCRIPTIONS: Final = [
    *(b"[]", b"null", b"{", b"\xff\xfe", b"[" * 3000, b'{"homie":"4.0.0"}', b'{"nodes":[]}', b'{"version":"x"}'),
    *(b'{"root":5}', b"\x00", b'"ready"'),
]
FULL: Final = next(payload for payload, said in DESCRIPTIONS[ROOT].items() if not said.children)
WITH_KID: Final = next(payload for payload, said in DESCRIPTIONS[ROOT].items() if said.children == (KID,))

# --- topics -----------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a topic goes. ``kind``: state, description, alert, log, property or target."""

    device: str
    kind: str
    node: str = ""
    name: str = ""


def topic(tail: str) -> str:
    """A topic of the domain."""
    return f"ebus/5/{tail}"


def _places() -> dict[str, Place]:
    places: dict[str, Place] = {}
    for device in DESCRIPTIONS:
        places[topic(f"{device}/$state")] = Place(device, "state")
        places[topic(f"{device}/$description")] = Place(device, "description")
        kinds = NODES if device == ROOT else {"n": "thing", "m": "thing"}
        for node, kind in kinds.items():
            for name in (*KINDS[kind], "unknown") if device == ROOT else KINDS[kind]:
                places[topic(f"{device}/{node}/{name}")] = Place(device, "property", node, name)
    for node in ("c1", "c2"):
        places[topic(f"{ROOT}/{node}/relay/$target")] = Place(ROOT, "target", node, "relay")
    places[topic(f"{ROOT}/$alert/hot")] = Place(ROOT, "alert")
    places[topic(f"{ROOT}/$log/warn")] = Place(ROOT, "log")
    places[topic(f"{STRANGER}/$log/warn")] = Place(STRANGER, "log")
    return places


PLACES: Final[Mapping[str, Place]] = _places()
STATE: Final = topic(f"{ROOT}/$state")
DESCRIPTION: Final = topic(f"{ROOT}/$description")
SAID: Final = [topic(f"{device}/$description") for device in DESCRIPTIONS]
VALUES: Final[Mapping[str, list[str]]] = {
    device: [text for text, place in PLACES.items() if place.device == device and place.kind == "property"]
    for device in DESCRIPTIONS
}
COUNTERS: Final = [text for text in VALUES[ROOT] if text.endswith("-energy")]
ASIDE: Final = [text for text, place in PLACES.items() if place.kind in {"target", "alert", "log"}]
BAD_TOPICS: Final = [
    *("", "/", "ebus", "ebus/5", "ebus/5/", f"ebus/5/{ROOT}", f"ebus/5/{ROOT}/", f"ebus/4/{ROOT}/$state", "#", "\0"),
    *(f"ebus/5/{ROOT.upper()}/$state", f"ebus/5/{ROOT}/$stats/x", f"ebus/5/{ROOT}/core", f"ebus/5/{ROOT}/core/"),
    *(f"ebus/5/{ROOT}/core/door/x/y", f"ebus/5/{ROOT}/$alert/", f"ebus/5/{ROOT}/$state/x", f"other/5/{ROOT}/$state"),
    *(
        f"ebus/5/{ROOT}/core/door/set",
        f"ebus/5/{ROOT}/c1/relay/set",
        f"ebus/5/{ROOT}/c\u00e4/relay",
        "ebus/5/$x/$state",
    ),
    *(f"ebus/5/{ROOT}/$log/loud", f"ebus/5/{ROOT}/+/door", f"ebus/5//{ROOT}/$state", f"ebus/5/{ROOT}\n/$state"),
]

# --- payloads ---------------------------------------------------------------------------------------------------------

STATES: Final = [b"init", b"lost", b"disconnected", b"sleeping", b"alert", b"READY", b"\xff", b"ready ", b""]
GOOD: Final[Mapping[str, list[bytes]]] = {
    "float": [b"1", b"2.5", b"-3", b"0", b"-0.0", b"7e2"],
    "integer": [b"1", b"2", b"4", b"3.0"],
    "enum": [b"OPEN", b"CLOSED", b"odd"],
    "string": [b"Kitchen", b"\x00", b"2"],
}
PARTICULAR: Final[Mapping[str, list[bytes]]] = {
    "direction": [b"UPSTREAM", b"upstream", b"DOWNSTREAM"],
    "feed": [b"c1", b"C-2", b"c9"],
    "relative-position": [b"IN_PANEL", b"UPSTREAM"],
    "unknown": [b"x", b"1"],
    "power": [b"1", b"2"],
}
BAD: Final = [b"NaN", b"\xff", b"1_0", b" 1", b"1e999", b"maybe", b"\xef\xbb\xbf1", "\u0661".encode(), b"9" * 700]


def payloads(text: str) -> list[bytes]:
    """What may be published on a topic of `VALUES` and be meant."""
    place = PLACES[text]
    if place.name in PARTICULAR:
        return PARTICULAR[place.name]
    kind = NODES.get(place.node, "thing") if place.device == ROOT else "thing"
    return GOOD[KINDS[kind][place.name]]


def decode(payload: bytes, datatype: str) -> Any:
    """What a payload of the pools says; ``None`` for nothing."""
    if payload == b"\x00":
        return "" if datatype == "string" else None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    if text.startswith("\ufeff"):
        return None
    match datatype:
        case "string" | "enum":
            return text
        case "float":
            return _FLOATS.get(payload)
        case "integer":
            return _INTEGERS.get(payload)
        case _:
            return {"true": True, "false": False}.get(text)


_FLOATS: Final = {b"0": 0.0, b"-0.0": 0.0, b"1": 1.0, b"2": 2.0, b"2.5": 2.5, b"-3": -3.0, b"3.0": 3.0, b"4": 4.0}
_FLOATS[b"7e2"] = 700.0
_INTEGERS: Final = {b"0": 0, b"-0.0": 0, b"1": 1, b"2": 2, b"3.0": 3, b"4": 4, b"-3": -3}
