"""Commands under fire, to a panel whose circuits another one on the broker has, too, now and then.

The schedules, links and devices are those of `commands_machine`; the panel publishes a device tree, and a sister claims
a circuit of it: by a description that names her, or by one of her own that lists it. What the client has read tells
when a claim is in force. Then no command for that circuit is written (``across``), and what is said of it is nobody's
word: it confirms nothing, and no outcome shows it (``theirs``).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from span_trio import CommandResult

from .commands_broker import Delivery
from .commands_history import Call, Demand, History, Violation
from .commands_house import PLANS, ROOT, House, asks, topic
from .commands_machine import Schedule, Step, Timed, World

__all__ = ["CHECKS", "DEMANDED", "REACHED", "judge", "run_all"]

CHECKS: Final = frozenset({"across", "theirs"})
REACHED: Final[Counter[str]] = Counter()
"""In how many runs of this process it came to what."""
DEMANDED: Final = {
    "confirmed": 0.15,
    "a claim in force": 0.4,
    "a claim that ended": 0.1,
    "written": 0.3,
    "asked while claimed": 0.15,
    "claimed while on its way": 0.05,
}
"""The share of runs that must have come to it."""

SISTER: Final = "xg-0000-barn"
CIRCUITS: Final = ("circuit-1", "circuit-2")
_RELAY: Final = {"datatype": "enum", "format": "UNKNOWN,OPEN,CLOSED", "settable": True}
_TEXT: Final = {"datatype": "string"}


def _described(kind: str, nodes: dict[str, Any], **more: Any) -> bytes:
    typed = {name: {"type": f"energy.ebus.capability.{name}", "properties": each} for name, each in nodes.items()}
    return json.dumps({"homie": "5.0", "type": f"energy.ebus.device.{kind}", "nodes": typed, **more}).encode()


def _circuit(root: str | None) -> bytes:
    nodes: dict[str, Any] = {"info": {"spaces": _TEXT}, "switch": {"relay": _RELAY}}
    return _described("circuit", nodes, **({} if root is None else {"root": root}))


def _panel(*children: str) -> bytes:
    info = {"model": _TEXT, "data-model-version": _TEXT}
    return _described("distribution-enclosure", {"info": info}, children=children)


HOUSE: Final = House(
    retained={
        topic(path): payload
        for path, payload in {
            f"{ROOT}/$state": b"ready",
            f"{ROOT}/$description": _panel(*CIRCUITS),
            f"{ROOT}/info/model": b"MLO_48",
            f"{ROOT}/info/data-model-version": b"1.0",
            **{f"{circuit}/$state": b"ready" for circuit in CIRCUITS},
            **{f"{circuit}/$description": _circuit(ROOT) for circuit in CIRCUITS},
            **{f"{circuit}/info/spaces": str(at).encode() for at, circuit in enumerate(CIRCUITS, 1)},
            **{f"{circuit}/switch/relay": b"CLOSED" for circuit in CIRCUITS},
        }.items()
    },
    descriptions={},
    asks={
        name: ask
        for circuit in CIRCUITS
        for name, ask in asks(
            circuit, "set_circuit_relay", f"{circuit}/switch/relay", circuit, good="OPEN CLOSED"
        ).items()
    },
    often=("circuit-1 OPEN", "circuit-1 CLOSED"),
    deeds=(),
    flags=lambda _: ("", frozenset()),
    children=True,
    event="",
)


# --- what a client can know ---


class Claims:
    """What one link has told of who has a circuit."""

    def __init__(self) -> None:
        self.root: dict[str, str | None] = {}  # by the newest description
        self.named: set[str] = set()  # circuits that have named her before, since she spoke last
        self.settled: set[str] = set()  # circuits that name her still, though she has spoken since
        self.lists: frozenset[str] = frozenset()  # by her own
        self.since: dict[str, float] = {}

    def read(self, delivery: Delivery, at: float) -> None:
        _, _, device, tail = delivery.topic.split("/", 3)
        if tail != "$description":
            return
        said: dict[str, Any] = json.loads(delivery.payload) if delivery.payload else {}
        if device in CIRCUITS:
            if self.root.get(device) == SISTER != said.get("root") and device not in self.settled:
                self.named.add(device)
            self.settled.discard(device)
            self.root[device] = said.get("root")
        elif device == SISTER:
            self.lists = frozenset(said.get("children", ()))
            if delivery.kind == "message":
                self.named.clear()
                self.settled = {circuit for circuit in CIRCUITS if self.root.get(circuit) == SISTER}
        for circuit in CIRCUITS:
            if self.is_claimed(circuit):
                self.since.setdefault(circuit, at)
            else:
                self.since.pop(circuit, None)

    def is_claimed(self, circuit: str) -> bool:
        return self.root.get(circuit) == SISTER or circuit in self.named or circuit in self.lists


def judge(history: History, checks: frozenset[str] = CHECKS) -> Counter[str]:
    """Look at every event of the log in its turn.

    Returns:
        What the run came to.

    Raises:
        Violation: by one of these checks.
    """
    reached: Counter[str] = Counter()
    links: dict[int, Claims] = {}
    newest = Claims()
    good: dict[str, list[tuple[float, bytes]]] = {}
    """By topic: live values that were read while nobody else had the circuit, and when."""

    def demand(holds: object, check: str, what: str) -> None:
        if not holds and check in checks:
            raise Violation(f"{check}: {what}")

    def is_certain(claims: Claims, circuit: str, at: float) -> bool:
        return claims.since.get(circuit, at) < at

    for at, kind, link, what in history.events:
        claims = links.setdefault(link, Claims()) if link >= 0 else newest
        match kind:
            case "begun":
                newest = links[link] = Claims()
            case "read" if what.kind in {"message", "retained"}:
                before = {*claims.since}
                claims.read(what, at)
                reached["a claim in force"] += bool(claims.since)
                reached["a claim that ended"] += bool(before - claims.since.keys())
                circuit = what.topic.split("/")[2]
                if what.kind == "message" and not claims.is_claimed(circuit):
                    good.setdefault(what.topic, []).append((at, what.payload))
            case "wrote":
                circuit = what.topic.split("/")[2]
                reached["written"] += 1
                demand(not is_certain(claims, circuit, at), "across", f"{what.topic} was written at {at:.3f}")
            case "ended":
                name = topic(what.ask.path)
                said = [payload for when, payload in good.get(name, ()) if when == at]
                reached.update(_judge_end(what, newest, at, said, demand))
            case _:
                pass
    return reached


def _judge_end(call: Call, claims: Claims, at: float, said: list[bytes], demand: Demand) -> list[str]:
    """What the call came to; ``said`` are the values that were ours, and were read when it ended."""
    since = claims.since.get(call.ask.arguments[0], at)
    reached = ["asked while claimed"] if since < call.called else []
    outcome = call.outcome
    if outcome is None:
        return reached
    if outcome.sent_at is not None and call.called < since < at:
        reached.append("claimed while on its way")
    if outcome.result is CommandResult.CONFIRMED:
        reached.append("confirmed")
        demand(call.ask.payload in said, "theirs", f"the word of another panel confirmed: {call}")
    shown = (outcome.value, outcome.target, outcome.requester)
    demand(since >= at or shown == (None, None, None), "theirs", f"{shown} is shown, the word of another panel: {call}")
    return reached


# --- schedules ---

_RELAYS: Final[list[Step]] = [
    *(("publish", "circuit-1/switch/relay", payload) for payload in (b"OPEN", b"CLOSED")),
    ("publish", "circuit-1/switch/relay/$target", b"OPEN"),
]
_SAID: Final[list[Step]] = [
    ("publish", "circuit-1/$description", _circuit(SISTER)),
    ("publish", "circuit-1/$description", _circuit(SISTER)),
    ("publish", "circuit-1/$description", _circuit(ROOT)),
    ("publish", "circuit-1/$description", _circuit(None)),
    ("publish", f"{SISTER}/$description", _panel("circuit-1")),
    ("publish", f"{SISTER}/$description", _panel("circuit-2", "circuit-1")),
    ("publish", f"{SISTER}/$description", _panel()),
    ("publish", f"{SISTER}/$description", b""),
    ("publish", f"{SISTER}/$description", b""),
    *_RELAYS,
    ("publish", "circuit-2/switch/relay", b"OPEN"),
    ("publish", "circuit-1/$state", b"ready"),
    *2 * [("stall",), ("unstall",)],
    ("hang up",),
    ("cancel", 0),
]
_OVER: Final[tuple[Timed, ...]] = (
    (0.0, ("publish", f"{SISTER}/$description", b"")),
    (0.0, ("publish", "circuit-1/$description", _circuit(ROOT))),
    (0.0, ("publish", "circuit-1/$state", b"ready")),
)
_gaps = st.sampled_from((0.0, 0.0, -1.0, -3.0, 0.001, 0.01, 0.2, 0.5, 1.0, 3.0, 11.0))
_asks: st.SearchStrategy[Step] = st.tuples(
    st.just("ask"), st.sampled_from([*3 * HOUSE.often, *HOUSE.asks]), st.just(None), st.just("")
)
_alone: st.SearchStrategy[tuple[Timed, ...]] = st.tuples(st.tuples(_gaps, st.one_of(_asks, st.sampled_from(_SAID))))
_jammed: st.SearchStrategy[tuple[Timed, ...]] = st.tuples(
    st.just((0.0, ("stall",))),
    st.tuples(_gaps, _asks),
    st.tuples(_gaps, st.sampled_from(_SAID[:6])),
    st.tuples(_gaps, st.just(("unstall",))),
)
"""A command that has to wait until the writer is free, and a claim meanwhile."""
_crossed: st.SearchStrategy[tuple[Timed, ...]] = st.tuples(
    st.tuples(_gaps, st.sampled_from([("ask", name, None, "") for name in HOUSE.often])),
    st.tuples(st.sampled_from((0.0, -2.0, 0.01, 0.15)), st.sampled_from(_SAID[:6])),
    st.tuples(st.sampled_from((0.0, -1.0, 0.01)), st.sampled_from(_RELAYS)),
    st.tuples(st.sampled_from((0.0, -1.0, 0.01)), st.sampled_from(_RELAYS)),
)
"""A command that is on its way when a claim comes, and what the sister then says of it."""
SCHEDULES: Final[st.SearchStrategy[Schedule]] = st.builds(
    Schedule,
    steps=st.lists(
        st.one_of(*4 * [_alone], _jammed, _crossed, st.just(_OVER), st.just(_OVER)), min_size=3, max_size=16
    ).map(lambda scenes: tuple(timed for scene in scenes for timed in scene)),
    plans=st.lists(st.sampled_from(list(PLANS)), min_size=1, max_size=3).map(tuple),
    audit=st.just(""),
    held=st.just(256),
    patient=st.just(True),
)


def run_all(profile: settings, checks: frozenset[str] = CHECKS) -> None:
    """Play as many schedules as the profile says; with as many orders of what happens at once."""

    @profile
    @given(schedule=SCHEDULES, _order=st.random_module())
    def holds(schedule: Schedule, _order: object) -> None:
        history = World(schedule, {schedule.house: HOUSE}).run()
        reached = +judge(history, checks)
        REACHED.update(dict.fromkeys(reached, 1))
        REACHED["runs"] += 1
        REACHED["calls"] += len(history.calls)

    holds()
