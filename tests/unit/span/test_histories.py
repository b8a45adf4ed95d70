"""Histories: a panel and a broker with a life of their own (I6), and peers who publish anything at all (I9)."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import ConnectionReason
from span_trio.homie import Accumulator, Instant, Message, Obstacle
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FLAT, FlatBuilder
from tests.fuzz.bounds import enough
from tests.unit.span.helpers import HOUSE, KITCHEN, ROOT, FlatPanel, describe, full_house

# --- I6 ---------------------------------------------------------------------------------------------------------------

COUNTERS: Final[Mapping[str, Callable[[SpanPanelSnapshot], float | None]]] = {
    "lugs-upstream/imported-energy": lambda panel: panel.main_meter_energy_consumed_wh,
    "lugs-upstream/exported-energy": lambda panel: panel.main_meter_energy_produced_wh,
    "lugs-downstream/imported-energy": lambda panel: panel.feedthrough_energy_consumed_wh,
    f"{KITCHEN}/exported-energy": lambda panel: panel.circuits[KITCHEN].consumed_energy_wh,
    f"{KITCHEN}/imported-energy": lambda panel: panel.circuits[KITCHEN].produced_energy_wh,
}


METERED: Final = {node: HOUSE[node] for node in ("core", "lugs-upstream", "lugs-downstream", KITCHEN)}


class House:
    """A panel with counters, a broker that retains, and a subscriber that comes and goes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dice = random.Random(5)  # noqa: S311 - the same orders every time
        self.retained = {
            "$state": "ready",
            "$description": json.dumps(describe(METERED)),
            "lugs-upstream/direction": "UPSTREAM",
            "lugs-downstream/direction": "DOWNSTREAM",
            **{topic: str(8_000_000 + number) for number, topic in enumerate(COUNTERS)},
        }
        self.accumulator = Accumulator(ROOT, fallback=FLAT)
        self.builder = FlatBuilder(ROOT)
        self.moved: set[str] = set()
        """The counters that the panel has moved, or taken back, since the last snapshot."""
        self.reconnect()

    @property
    def instant(self) -> Instant:
        return Instant(self.now, 1_790_000_000 + self.now)

    def publish(self, topic: str, payload: str) -> None:
        if topic in COUNTERS and payload != self.retained.get(topic):
            self.moved.add(topic)
        self.retained[topic] = payload
        self.deliver(topic, payload, retain=False)

    def deliver(self, topic: str, payload: str, *, retain: bool) -> None:
        self.accumulator.receive([Message(f"ebus/5/{ROOT}/{topic}", payload.encode(), retain)], self.instant)

    def count(self, topic: str, step: int) -> None:
        self.publish(topic, str(max(int(self.retained[topic] or "0") + step, 0)))

    def state(self, state: str) -> None:
        self.publish("$state", state)

    def restart(self, last_word: str) -> None:
        """The publisher goes, in its manner, and comes back with the same counters and a new description."""
        self.state(last_word)
        self.publish("$description", json.dumps({**describe(METERED), "version": int(self.now)}))
        for topic in self.retained:
            if not topic.startswith("$"):
                self.publish(topic, self.retained[topic])
        self.state("ready")

    def reconnect(self) -> None:
        self.accumulator.link_down(Obstacle(ConnectionReason.LINK_LOST, "reset by peer"), self.instant)
        self.accumulator.link_up(self.accumulator.epoch + 1, self.instant)
        self.builder = FlatBuilder(ROOT)
        assert self.accumulator.next_subscription() is not None
        for topic, payload in self.dice.sample(list(self.retained.items()), len(self.retained)):
            if payload:
                self.deliver(topic, payload, retain=True)
        self.accumulator.barrier(self.instant, passed=True)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.accumulator.tick(self.instant)

    def look(self) -> SpanPanelSnapshot | None:
        if not self.accumulator.live:
            return None
        forest = self.accumulator.forest
        return self.builder.build(
            forest, forest.take_dirty(), pending=(), seq=1, epoch=self.accumulator.epoch, received_at=self.instant
        )


COUNTER = st.sampled_from(sorted(COUNTERS))
DEEDS = st.one_of(
    st.tuples(st.just("count"), COUNTER, st.sampled_from([1, 250, 0, -9_000_000])),  # the last: a reset
    st.tuples(st.just("publish"), COUNTER, st.just("")),  # r202603 clears what is retained
    st.tuples(st.just("state"), st.sampled_from(["init", "ready", "lost", "disconnected", "sleeping"])),
    st.tuples(st.just("restart"), st.sampled_from(["init", "lost", "disconnected"])),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0])),
)


def test_i6_a_counter_never_moves_unless_the_panel_published_that_move() -> None:
    seen: Counter[str] = Counter()

    @given(st.lists(DEEDS, max_size=15))
    def run(deeds: list[tuple[Any, ...]]) -> None:
        house, before = House(), None
        for name, *arguments in [("wait", 0.0), *deeds]:
            getattr(house, name)(*arguments)
            snapshot = house.look()
            if snapshot is None:
                seen["not live"] += 1
                continue
            for topic, read in COUNTERS.items():
                value, said = read(snapshot), house.retained[topic]
                assert value == (float(said) if said else None)
                if before is not None and value != read(before):
                    assert topic in house.moved
                    seen["moves"] += 1
            seen["reconnects"] += before is not None and snapshot.epoch != before.epoch
            before = snapshot
            house.moved.clear()
        seen["runs"] += 1

    run()
    for what in ("moves", "reconnects", "not live"):
        assert enough(seen[what], seen["runs"], 1 / 4), what  # or this proves little


# --- I9 ---------------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "core",
        KITCHEN,
        "relay",
        "active-power",
        "space",
        "$target",
        "set",
        "$state",
        "$description",
        "$x",
        "",
        "ä",
        "+",
        "#",
    ]
)
TOPICS = st.lists(PIECES, min_size=1, max_size=4).map("/".join)
WORDS = st.sampled_from(
    [
        *("nodes", "properties", "type", "datatype", "format", "settable", "retained", "core", KITCHEN, "space"),
        *("energy.ebus.device.circuit", "float", "integer", "enum", "1:32:1", "1:1e300:1", "x,y", ""),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
NODE = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(FLAT))},
    optional={"properties": st.dictionaries(st.sampled_from(["space", "relay", "feed"]), JSON, max_size=3) | JSON},
)
DOCUMENTS = JSON | st.fixed_dictionaries(
    {"nodes": st.dictionaries(st.sampled_from(["core", KITCHEN, "x"]), NODE | JSON)}
)
ANYTHING = st.one_of(
    st.tuples(TOPICS, st.binary(max_size=8)),
    st.tuples(TOPICS, st.sampled_from([b"1e300", b"9" * 19, b"9" * 400, b"-1", b"OPEN", b"true", b"[" * 10_000])),
    st.tuples(st.just("$description"), DOCUMENTS.map(lambda document: json.dumps(document).encode())),
)


@given(st.lists(ANYTHING, max_size=6))
def test_i9_whatever_is_published_there_is_a_snapshot_of_it(messages: list[tuple[str, bytes]]) -> None:
    panel = FlatPanel()
    for topic, payload in messages:
        panel.message(topic, payload)
    if ROOT in panel.forest.devices:
        snapshot = panel.snapshot()
        assert snapshot == panel.from_scratch()
        assert SpanPanelSnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict(), allow_nan=False))) == snapshot
        assert hash(snapshot) == hash(attrs.evolve(snapshot, seq=0))


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"null", b"[" * 200_000, b"{", b"", b"\xef\xbb\xbf{}", b"5" * 5_000_000, b'{"nodes": []}', b'"nodes"'],
    ids=lambda payload: ascii(payload[:12]),
)
def test_probe_a_malformed_description_never_replaces_a_good_one_and_an_empty_one_clears_it(payload: bytes) -> None:
    panel = full_house()
    before = panel.snapshot()
    panel.message("$description", payload)
    after = panel.snapshot()
    assert (after == before) is bool(payload)
    assert (len(after.circuits) == 0) is not bool(payload)
    assert panel.redescribe(HOUSE) == before


@pytest.mark.parametrize(
    ("node", "shows"),
    [
        ({"type": "energy.ebus.device.circuit"}, True),
        ("energy.ebus.device.circuit", False),
        ({"type": 5}, False),
        ([], False),
    ],
)
def test_probe_a_node_that_is_a_string_or_a_type_that_is_a_number_costs_that_node(node: Any, shows: bool) -> None:
    panel = FlatPanel()
    core = {"type": "energy.ebus.device.distribution-enclosure.core"}
    panel.message("$description", json.dumps({"nodes": {"core": core, "c1": node}}))
    snapshot = panel.publish("core", door="OPEN")
    assert snapshot.door_state == "OPEN"
    assert bool(snapshot.circuits) is shows


def test_probe_70000_circuits_are_no_house() -> None:
    panel = full_house()
    before = panel.snapshot()
    nodes = ",".join(f'"c{number}":{{"type":"energy.ebus.device.circuit"}}' for number in range(70_000))
    panel.message("$description", f'{{"nodes":{{{nodes}}}}}')
    assert panel.snapshot() == before


def test_probe_a_second_description_drops_a_node_and_a_third_brings_it_back_with_what_is_retained() -> None:
    panel = full_house()
    before = panel.snapshot()
    assert KITCHEN not in panel.redescribe({node: HOUSE[node] for node in HOUSE if node != KITCHEN}).circuits
    assert panel.redescribe(HOUSE).circuits == before.circuits
