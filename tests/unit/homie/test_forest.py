"""The forest: what was published, what of it shows, what of it changed, and how much of it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from span_trio.errors import SpanPanelValidationError
from span_trio.homie import Datatype, Fallback, Forest, Limits, LogEntry, Message, PropertyDescription
from span_trio.homie.slots import PropertySlot

from .helpers import FLOAT, RELAY, absorb, contents, describe, forest_of, shown

HOUSE = describe({"meter": {"power": FLOAT}, "switch": {"relay": RELAY}, "free": None})


def house(*messages: tuple[str, bytes | str], **options: Any) -> Forest:
    """A described house whose changes were taken note of."""
    forest = forest_of(("house/$state", "ready"), ("house/$description", HOUSE), *messages, **options)
    forest.take_dirty()
    return forest


# --- what shows -------------------------------------------------------------------------------------------------------


def test_a_value_shows_once_it_is_declared_whenever_that_is() -> None:
    values_first = forest_of(("house/meter/power", "5"), ("house/$description", HOUSE))
    values_last = forest_of(("house/$description", HOUSE), ("house/meter/power", "5"))

    assert shown(values_first) == shown(values_last) == {"house/meter/power": 5.0}


def test_a_value_of_nobody_knows_what_does_not_show() -> None:
    forest = house(("house/meter/unheard-of", "5"), ("house/unheard-of/power", "5"), ("other/meter/power", "5"))

    assert shown(forest) == {}
    assert forest.topic_count == 5


def test_the_value_is_the_newest_one() -> None:
    forest = house(("house/meter/power", "5"), ("house/meter/power", "6"))

    assert forest.value("house", "meter", "power") == 6.0


@pytest.mark.parametrize("retain", [False, True])
def test_a_zero_length_payload_clears_a_value(retain: bool) -> None:
    forest = house(("house/meter/power", "5"))

    absorb(forest, "house/meter/power", b"", retain=retain)

    assert forest.value("house", "meter", "power") is None


def test_what_is_declared_as_not_retained_is_never_state() -> None:
    forest = forest_of(
        ("house/$description", describe({"button": {"pressed": {"datatype": "boolean", "retained": False}}})),
        ("house/button/pressed", "true"),
    )

    assert shown(forest) == {}


def test_a_bare_node_shows_every_property_as_text() -> None:
    forest = house(("house/free/power", "5"), ("house/free/name", b"\x00"))

    assert shown(forest) == {"house/free/power": "5", "house/free/name": ""}


FALLBACK: Fallback = {
    "free": {"power": PropertyDescription("power", Datatype.FLOAT)},
    "meter": {"power": PropertyDescription("power", Datatype.INTEGER)},
}


def test_a_bare_node_is_read_by_the_fallback_for_its_type() -> None:
    forest = house(("house/free/power", "5"), ("house/free/name", "Pump"), fallback=FALLBACK)

    assert shown(forest) == {"house/free/power": 5.0, "house/free/name": "Pump"}


def test_what_a_device_declares_itself_is_stronger_than_the_fallback() -> None:
    forest = house(("house/meter/power", "5.5"), ("house/meter/energy", "5"), fallback=FALLBACK)

    assert shown(forest) == {"house/meter/power": 5.5}


def test_a_property_without_a_datatype_has_that_of_the_fallback_or_is_text() -> None:
    description = describe({"free": {"power": {"unit": "W"}, "name": {}}})
    forest = forest_of(
        ("house/$description", description),
        ("house/free/power", "5"),
        ("house/free/name", "6"),
        fallback=FALLBACK,
    )

    assert shown(forest) == {"house/free/power": 5.0, "house/free/name": "6"}


def test_a_bare_node_without_a_type_is_text_whatever_the_fallback() -> None:
    forest = forest_of(
        ("house/$description", b'{"nodes": {"free": {}}}'), ("house/free/power", "5"), fallback={"": FALLBACK["free"]}
    )
    other = forest_of(("house/$description", b'{"nodes": {"free": {}}}'), ("house/free/power", "5"), fallback=FALLBACK)

    assert shown(other) == {"house/free/power": "5"}
    assert shown(forest) == {"house/free/power": 5.0}  # the type that is no type may have a fallback too


@pytest.mark.parametrize(
    ("declared", "fallback", "expected"),
    [
        (None, PropertyDescription("p", Datatype.FLOAT, retained=False), None),  # an event
        (None, PropertyDescription("p"), "5"),
        ({}, PropertyDescription("p", Datatype.FLOAT, retained=False), 5.0),  # its own declaration says what it is
        ({}, PropertyDescription("p"), "5"),
        ({"retained": False}, PropertyDescription("p", Datatype.FLOAT), None),
        ({"datatype": "integer", "retained": False}, PropertyDescription("p", Datatype.FLOAT), None),
    ],
)
def test_a_fallback_tells_the_datatype_where_the_description_does_not(
    declared: dict[str, Any] | None, fallback: PropertyDescription, expected: object
) -> None:
    described = describe({"n": None if declared is None else {"p": declared}})
    forest = forest_of(("house/$description", described), ("house/n/p", "5"), fallback={"n": {"p": fallback}})

    assert forest.value("house", "n", "p") == expected


def test_a_fallback_that_comes_late_reads_anew_what_is_kept() -> None:
    forest = house(("house/free/power", "5"))

    forest.set_fallback(FALLBACK)
    assert shown(forest) == {"house/free/power": 5.0}
    assert [node.id for node in forest.take_dirty().nodes] == ["free"]

    forest.set_fallback({})
    assert shown(forest) == {"house/free/power": "5"}


def test_a_description_that_changes_a_datatype_reads_anew_what_is_kept() -> None:
    forest = forest_of(("house/$description", describe({"n": {"p": {"datatype": "integer"}}})), ("house/n/p", "1"))

    absorb(forest, "house/$description", describe({"n": {"p": {"datatype": "boolean"}}}))
    assert shown(forest) == {}

    absorb(forest, "house/n/p", "true")
    absorb(forest, "house/$description", describe({"n": {"p": {"datatype": "string"}}}))
    assert shown(forest) == {"house/n/p": "true"}


@pytest.mark.parametrize(
    ("datatype", "before", "after"),
    [
        ("json", "[1]", "[true]"),
        ("json", '{"limit": 1}', '{"limit": 1.0}'),
        ("datetime", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"),
    ],
)
def test_a_value_that_is_equal_and_not_the_same_shows(datatype: str, before: str, after: str) -> None:
    forest = forest_of(("house/$description", describe({"n": {"p": {"datatype": datatype}}})), ("house/n/p", before))
    forest.take_dirty()

    absorb(forest, "house/n/p", after)

    alone = forest_of(("house/$description", describe({"n": {"p": {"datatype": datatype}}})), ("house/n/p", after))
    assert contents(forest)["values"] == contents(alone)["values"]
    assert forest.take_dirty().nodes


def test_another_spelling_of_the_same_value_changes_the_payload_and_nothing_else() -> None:
    forest = house(("house/meter/power", "5"))

    absorb(forest, "house/meter/power", "5.0")
    absorb(forest, "house/meter/power", "50e-1")

    assert forest.value("house", "meter", "power") == 5.0
    assert forest.payload("house", "meter", "power") == b"50e-1"
    assert [node.id for node in forest.dirty.nodes] == ["meter"]  # somebody may show it as published
    assert not forest.dirty.urgent


def test_a_target_shows_apart_from_its_value() -> None:
    forest = house(("house/switch/relay", "OPEN"), ("house/switch/relay/$target", "CLOSED"))

    assert forest.value("house", "switch", "relay") == "OPEN"
    assert forest.target("house", "switch", "relay") == "CLOSED"

    absorb(forest, "house/switch/relay", b"")
    assert forest.target("house", "switch", "relay") == "CLOSED"

    absorb(forest, "house/switch/relay/$target", b"")
    assert forest.target("house", "switch", "relay") is None


def test_a_target_that_is_no_value_shows_nothing() -> None:
    forest = house(("house/meter/power/$target", "much"))

    assert forest.target("house", "meter", "power") is None


def test_alerts_stand_until_they_are_cleared() -> None:
    forest = house(("house/$alert/battery", "low, 8%"), ("house/$alert/door", "open"))
    device = forest.devices["house"]

    absorb(forest, "house/$alert/battery", "low, 7%")
    assert device.alerts == {"battery": "low, 7%", "door": "open"}

    absorb(forest, "house/$alert/battery", b"")
    assert device.alerts == {"door": "open"}


def test_logs_are_events_of_which_the_newest_32_are_remembered() -> None:
    forest = house()

    for number in range(40):
        absorb(forest, "house/$log/warn", f"event {number}")
    absorb(forest, "house/$log/info", "x" * 5000)

    logs = forest.devices["house"].logs
    assert (len(logs), logs[0], logs[-1]) == (32, LogEntry("warn", "event 9"), LogEntry("info", "x" * 1024))
    assert forest.topic_count == 2
    assert not forest.dirty


def test_a_log_repeated_is_an_event_repeated() -> None:
    forest = house(("house/$log/warn", "hot"), ("house/$log/warn", "hot"))

    assert len(forest.devices["house"].logs) == 2


def test_text_that_is_not_utf_8_stays_readable() -> None:
    forest = house(("house/$alert/a", b"caf\xe9"), ("house/$log/info", b"\xff"), ("house/$state", b"\xff"))
    device = forest.devices["house"]

    assert device.alerts == {"a": "caf\ufffd"}
    assert device.logs[-1].text == "\ufffd"
    assert device.state_text == "\ufffd"


def test_a_message_of_elsewhere_is_ignored_and_counted() -> None:
    forest = Forest("ebus")

    for topic in ("homie/5/house/$state", "ebus/5/house/$stats", "ebus/5/house/switch/relay/set", "ebus/5/house/a/b/c"):
        assert not forest.absorb(Message(topic, b"ready"), 0.0)
    for topic in ("", "$SYS/broker/uptime", "ebus/4/house/$state", "ebus/5/House/$state", "ebus/5/$broadcast/a"):
        assert not forest.absorb(Message(topic, b"ready"), 0.0)

    assert forest.dropped == {"ignored topic": 4, "malformed topic": 5}
    assert (forest.devices, forest.topic_count) == ({}, 0)


# --- when something changed -------------------------------------------------------------------------------------------


def changed_at(forest: Forest) -> dict[str, float]:
    return forest.devices["house"].nodes["meter"].changed


def test_a_change_is_dated_unless_it_was_a_replay() -> None:
    forest = house()

    absorb(forest, "house/meter/power", "5", retain=True, wall=100.0)
    assert changed_at(forest) == {}

    absorb(forest, "house/meter/power", "6", wall=101.0)
    assert changed_at(forest) == {"power": 101.0}

    absorb(forest, "house/meter/power", "6.0", wall=102.0)
    assert changed_at(forest) == {"power": 101.0}

    absorb(forest, "house/meter/power/$target", "7", wall=103.0)
    assert changed_at(forest) == {"power": 101.0}

    absorb(forest, "house/meter/power/$target", b"", wall=104.0)
    assert changed_at(forest) == {"power": 101.0}


def test_a_value_that_is_gone_has_no_date() -> None:
    forest = house()
    absorb(forest, "house/meter/power", "6", wall=101.0)

    absorb(forest, "house/meter/power", "much", wall=102.0)

    assert changed_at(forest) == {}


# --- what changed -----------------------------------------------------------------------------------------------------


def nodes_and_devices(forest: Forest) -> tuple[list[str], set[str], bool]:
    dirty = forest.take_dirty()
    return [node.id for node in dirty.nodes], dirty.devices, dirty.urgent


def test_all_properties_of_a_node_that_changed_are_dirty() -> None:
    forest = house(("house/free/a", "1"))

    absorb(forest, "house/free/a", "2")
    assert forest.dirty
    absorb(forest, "house/free/b", "2")
    absorb(forest, "house/free/a", "3")

    assert [(node.id, names) for node, names in forest.dirty.nodes.items()] == [("free", {"a", "b"})]


@pytest.mark.parametrize("message", [("house/$state", "init"), ("house/$description", "{")], ids=["state", "malformed"])
def test_what_says_nothing_of_values_makes_none_dirty(message: tuple[str, str]) -> None:
    forest = house(("house/free/a", "1"))
    forest.take_dirty()

    absorb(forest, *message)

    assert forest.dirty.nodes == {}


@pytest.mark.parametrize("then", ["", HOUSE])
def test_why_a_description_is_none_is_told_until_it_is_cleared_or_replaced(then: bytes | str) -> None:
    forest = forest_of(("house/$state", "ready"), ("house/$description", "{"))
    assert forest.devices["house"].description_error

    absorb(forest, "house/$description", then)

    assert forest.devices["house"].description_error is None


def test_i8_the_limits_are_what_the_documentation_says() -> None:
    assert Limits() == Limits(512, 65_536, 64 * 1024 * 1024, 8_192)


@pytest.mark.parametrize("limit", ["devices", "topics", "payload_bytes", "device_topics"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
def test_a_limit_is_a_whole_number(limit: str, value: Any) -> None:
    with pytest.raises(SpanPanelValidationError, match=limit):
        Limits(**{limit: value})


def test_nothing_is_dirty_at_first_and_nothing_after_it_was_taken() -> None:
    forest = Forest("ebus")
    assert not forest.take_dirty()

    absorb(forest, "house/$description", HOUSE)
    assert forest.dirty
    forest.take_dirty()
    assert not forest.dirty


def test_a_node_is_dirty_once_however_often_it_changes() -> None:
    forest = house()

    for value in range(5):
        absorb(forest, "house/meter/power", str(value))

    assert nodes_and_devices(forest) == (["meter"], set(), False)

    absorb(forest, "house/meter/power", "7")
    assert nodes_and_devices(forest) == (["meter"], set(), False)


def test_what_does_not_show_makes_nothing_dirty() -> None:
    forest = house(("house/meter/power", "5"))

    absorb(forest, "house/meter/power", "5")
    absorb(forest, "house/meter/unheard-of", "5")
    absorb(forest, "house/unheard-of/power", "5")
    absorb(forest, "other/$log/info", "5")
    absorb(forest, "house/meter/voltage", b"")

    assert not forest.dirty


@pytest.mark.parametrize(
    ("tail", "payload"),
    [
        ("house/$state", "init"),
        ("house/$state", b""),
        ("house/$alert/a", "text"),
        ("house/$description", describe({})),
        ("house/$description", b""),
    ],
)
def test_a_change_of_its_attributes_makes_a_device_dirty(tail: str, payload: bytes | str) -> None:
    forest = house()

    absorb(forest, tail, payload)

    assert forest.take_dirty().devices == {"house"}


def test_touching_a_device_makes_it_dirty() -> None:
    forest = house()

    forest.touch("house")

    assert nodes_and_devices(forest) == ([], {"house"}, False)


def test_a_vanished_alert_makes_its_device_dirty() -> None:
    forest = house(("house/$alert/a", "text"))

    absorb(forest, "house/$alert/a", b"")

    assert nodes_and_devices(forest) == ([], {"house"}, False)


@pytest.mark.parametrize(
    ("datatype", "before", "after", "urgent"),
    [
        ("enum", "OPEN", "CLOSED", True),
        ("boolean", "true", "false", True),
        ("enum", "OPEN", "", True),  # an end is a change too
        ("boolean", "true", "maybe", True),
        ("enum", "", "OPEN", False),  # nobody was waiting for a first value
        ("float", "1", "2", False),
        ("string", "a", "b", False),
        ("integer", "1", "", False),
    ],
)
def test_somebody_may_wait_for_an_enum_or_a_boolean(datatype: str, before: str, after: str, urgent: bool) -> None:
    declared = {"datatype": datatype, **({"format": "OPEN,CLOSED"} if datatype == "enum" else {})}
    forest = forest_of(("house/$description", describe({"n": {"p": declared}})), ("house/n/p", before))
    forest.take_dirty()

    absorb(forest, "house/n/p", after)

    assert nodes_and_devices(forest) == (["n"], set(), urgent)


def test_a_value_that_is_no_longer_declared_is_a_change_and_not_urgent() -> None:
    forest = house(("house/switch/relay", "OPEN"))

    absorb(forest, "house/$description", describe({"switch": {}}))

    assert nodes_and_devices(forest) == (["switch"], {"house"}, False)


@pytest.mark.parametrize(
    ("tail", "payload", "more"),
    [
        ("house/$state", "init", True),
        ("house/$state", "ready", False),  # it was
        ("house/$state", b"", True),
        ("house/$description", describe({}), True),
        ("house/$description", HOUSE, False),  # it was
        ("house/$description", b"[]", True),  # what is missing may have another name now
        ("house/$description", b"", True),
        ("house/$alert/a", "text", False),
        ("house/$log/info", "text", False),
        ("house/meter/power", "5", False),
        ("house/meter/power/$target", "5", False),
    ],
)
def test_it_says_whether_a_message_may_have_changed_more_than_values(
    tail: str, payload: bytes | str, more: bool
) -> None:
    assert absorb(house(), tail, payload) is more


# --- queries ----------------------------------------------------------------------------------------------------------


def test_what_is_not_there_has_no_value_and_no_target() -> None:
    forest = house()

    for path in (("other", "meter", "power"), ("house", "other", "power"), ("house", "meter", "power")):
        assert forest.value(*path) is None
        assert forest.target(*path) is None


def test_the_members_of_a_tree_are_its_root_its_children_and_theirs() -> None:
    forest = forest_of(
        ("house/$description", describe(children=["a", "b"])),
        ("a/$description", describe(children=["c", "d"], root="house")),
        ("b/$state", "ready"),
        ("c/$description", describe(children=[], root="house", parent="a")),
        ("stranger/$description", describe(root="house", parent="a")),  # says so itself; nobody else does
    )

    assert forest.members("house") == ["house", "a", "b", "c", "d"]
    assert forest.members("a") == ["a", "c", "d"]
    assert forest.members("nobody") == ["nobody"]


def test_the_members_of_a_tree_that_bites_its_tail_are_named_once() -> None:
    forest = forest_of(
        ("house/$description", describe(children=["house", "a", "b"])),
        ("a/$description", describe(children=["b", "house"])),
        ("b/$description", describe(children=["a"])),
    )

    assert forest.members("house") == ["house", "a", "b"]


def test_the_nodes_of_a_type_are_in_the_order_of_the_description() -> None:
    nodes = '{"c": {"type": "lug"}, "b": {"type": "meter"}, "a": {"type": "lug"}, "d": {}}'
    forest = forest_of(("house/a/x", "1"), ("house/$description", f'{{"nodes": {nodes}}}'))
    device = forest.devices["house"]

    assert [node.id for node in device.nodes_of_type("lug")] == ["c", "a"]
    assert [node.id for node in device.nodes_of_type("meter", "lug")] == ["c", "b", "a"]
    assert device.nodes_of_type("none of these") == []


def test_a_device_that_is_not_described_has_no_nodes_of_any_type() -> None:
    device = forest_of(("house/meter/power", "1")).devices["house"]

    assert device.nodes_of_type("meter") == []
    assert device.nodes["meter"].type is None


def test_a_node_knows_what_its_own_device_declares() -> None:
    nodes = house(("house/free/power", "5"), ("house/unheard-of/power", "5")).devices["house"].nodes

    relay = nodes["switch"].declared("relay")
    assert relay is not None
    assert relay.settable
    assert nodes["switch"].declared("unheard-of") is None
    assert nodes["free"].declared("power") is None
    assert nodes["unheard-of"].declared("power") is None
    assert (nodes["switch"].type, nodes["unheard-of"].type) == ("switch", None)


def test_a_device_exists_from_its_state_to_the_deletion_of_its_state() -> None:
    forest = forest_of(("house/$description", HOUSE))
    device = forest.devices["house"]
    assert device.state_text is None

    absorb(forest, "house/$state", "init")
    assert device.state_text == "init"

    absorb(forest, "house/$state", b"")
    assert device.state_text is None


def test_devices_and_nodes_are_themselves_and_can_be_printed_though_each_knows_the_other() -> None:
    one, other = house().devices["house"], house().devices["house"]

    assert one != other
    assert one.nodes["meter"] != other.nodes["meter"]
    assert "device=" not in repr(one.nodes["meter"])
    assert "nodes={'meter': Node(" not in repr(one)


# --- how much is kept (I8) --------------------------------------------------------------------------------------------

MIB = 2**20


def test_i8_512_devices_are_kept_and_no_more() -> None:
    forest = Forest("ebus")
    for number in range(513):
        absorb(forest, f"d{number}/$state", "ready")

    assert (len(forest.devices), "d512" in forest.devices) == (512, False)
    assert forest.dropped == {"too many devices": 1}

    absorb(forest, "d0/$state", b"")
    absorb(forest, "d512/$state", "ready")
    assert "d512" in forest.devices


def test_i8_as_many_topics_are_kept_as_the_limit_says_which_is_65_536() -> None:
    assert Limits().topics == 65_536
    forest = Forest("ebus", limits=Limits(topics=1000))
    for number in range(1000):
        absorb(forest, f"house/n/p{number}", "1")
    assert (forest.topic_count, forest.devices["house"].overflowed) == (1000, False)

    assert absorb(forest, "house/n/p1000", "1")

    assert (forest.topic_count, forest.devices["house"].overflowed) == (1000, True)
    assert forest.dropped == {"too many topics": 1}


def test_i8_a_device_has_8_192_topics_and_no_more() -> None:
    forest = Forest("ebus")
    for number in range(8_192):
        absorb(forest, f"house/n/p{number}", "1")
    absorb(forest, "car/n/p", "1")
    assert not forest.devices["house"].overflowed

    assert absorb(forest, "house/n/p8192", "1")

    assert {name: device.overflowed for name, device in forest.devices.items()} == {"house": True, "car": False}
    assert forest.topic_count == 8_193
    assert forest.dropped == {"too many topics": 1}


class Counted:
    """How many values were read again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slots: list[str] = []
        redeclare = PropertySlot.redeclare

        def counted(slot: PropertySlot) -> None:
            self.slots.append(f"{slot.node.id}/{slot.name}")
            redeclare(slot)

        monkeypatch.setattr(PropertySlot, "redeclare", counted)


def test_a_new_description_reads_again_what_it_describes_differently_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes: dict[str, Any] = {"meter": {"power": FLOAT}, "switch": {"relay": RELAY}, "free": None}
    forest = house(
        ("house/meter/power", "5"), ("house/switch/relay", "OPEN"), ("house/free/x", "1"), ("house/new/y", "2")
    )
    counted = Counted(monkeypatch)
    absorb(forest, "house/$description", describe(nodes, version=2))
    assert counted.slots == []
    assert forest.devices["house"].description is not None
    assert forest.devices["house"].description.version == 2

    absorb(forest, "house/$description", describe({**nodes, "new": None}, version=3))
    assert counted.slots == ["new/y"]
    assert shown(forest)["house/new/y"] == "2"

    absorb(forest, "house/$description", describe({"meter": {}, "switch": nodes["switch"]}, version=4))
    assert counted.slots == ["new/y", "meter/power", "free/x", "new/y"]
    assert shown(forest) == {"house/switch/relay": "OPEN"}

    forest.set_fallback({})
    assert len(counted.slots) == 8  # nothing is what it was


def test_i8_64_mib_of_payload_are_kept_and_no_more() -> None:
    forest = Forest("ebus")
    for number in range(16):
        absorb(forest, f"house/n/p{number}", bytes(4 * MIB))
    assert (forest.payload_bytes, forest.devices["house"].overflowed) == (64 * MIB, False)

    assert absorb(forest, "house/n/p16", b"1")

    assert (forest.payload_bytes, forest.topic_count, forest.devices["house"].overflowed) == (64 * MIB, 16, True)
    assert forest.dropped == {"too many bytes": 1}


def test_what_a_topic_had_makes_room_for_what_it_has() -> None:
    forest = forest_of(("house/n/p", "12345678"), limits=Limits(payload_bytes=10))

    absorb(forest, "house/n/p", "1234567890")
    assert (forest.payload_bytes, forest.devices["house"].overflowed) == (10, False)

    absorb(forest, "house/n/p", "1")
    assert forest.payload_bytes == 1


def test_a_value_that_does_not_fit_takes_the_one_before_it_along() -> None:
    forest = house(("house/meter/power", "5"), limits=Limits(payload_bytes=len(HOUSE) + len("ready5") + 2))

    absorb(forest, "house/meter/power", "5555")

    assert forest.value("house", "meter", "power") is None
    assert forest.payload_bytes == len(HOUSE) + len("ready")


def test_an_overflow_is_told_once_and_marks_the_device_it_hit_only() -> None:
    forest = forest_of(("a/n/p", "1"), ("b/n/p", "1"), limits=Limits(topics=2))

    assert absorb(forest, "a/n/q", "1")
    assert not absorb(forest, "a/n/r", "1")
    assert not absorb(forest, "a/n/p", "2")

    assert (forest.devices["a"].overflowed, forest.devices["b"].overflowed) == (True, False)
    assert forest.dropped == {"too many topics": 2}


def test_a_device_whose_first_topic_does_not_fit_is_known_by_that() -> None:
    forest = forest_of(("a/n/p", "1"), limits=Limits(topics=1))

    absorb(forest, "b/n/p", "1")

    assert forest.devices["b"].overflowed


def test_a_log_needs_no_room() -> None:
    forest = forest_of(("house/n/p", "1"), limits=Limits(topics=1, payload_bytes=1))

    assert not absorb(forest, "house/$log/info", "hello")

    assert not forest.devices["house"].overflowed
    assert [entry.text for entry in forest.devices["house"].logs] == ["hello"]


@pytest.mark.parametrize(
    "tail",
    ["house/n/p{}", "house/n{}/p", "house{}/n/p", "house{}/$state", "house/$alert/a{}", "house{}/$log/info"],
)
def test_i8_what_was_published_and_cleared_leaves_nothing(tail: str) -> None:
    forest = Forest("ebus")

    for number in range(2000):
        absorb(forest, tail.format(number), "1")
        absorb(forest, tail.format(number), b"")

    assert (forest.devices, forest.topic_count, forest.payload_bytes) == ({}, 0, 0)
    assert not forest.dropped
    assert not any(value for value in vars(forest).values() if isinstance(value, dict))


def test_i8_nodes_that_come_and_go_leave_nothing_though_nobody_looks() -> None:
    forest = forest_of(("house/$state", "init"))

    for number in range(200):
        absorb(forest, "house/$description", describe({f"n{number}": {"p": FLOAT}}))
        absorb(forest, f"house/n{number}/p", "1")
        absorb(forest, f"house/n{number}/p", b"")

    assert list(forest.devices["house"].nodes) == ["n199"]
    assert [node.id for node in forest.dirty.nodes] == ["n199"]


def test_a_described_node_stays_when_its_last_value_is_cleared() -> None:
    forest = house(("house/meter/power", "5"), ("house/meter/power", b""))

    assert list(forest.devices["house"].nodes) == ["meter", "switch", "free"]


def test_a_node_that_nobody_describes_any_more_stays_while_it_has_values() -> None:
    forest = house(("house/meter/power", "5"))

    absorb(forest, "house/$description", describe({}))
    assert list(forest.devices["house"].nodes) == ["meter"]

    absorb(forest, "house/meter/power", b"")
    assert list(forest.devices["house"].nodes) == []


def test_a_device_is_forgotten_with_its_last_topic() -> None:
    forest = house(("house/meter/power", "5"), ("house/meter/power/$target", "5"), ("house/$alert/a", "text"))

    for tail in ("$state", "meter/power", "$description", "$alert/a"):
        absorb(forest, f"house/{tail}", b"")
    assert list(forest.devices) == ["house"]

    absorb(forest, "house/meter/power/$target", b"")
    assert forest.devices == {}


def test_a_pinned_device_is_never_forgotten() -> None:
    forest = Forest("ebus", limits=Limits(devices=1))
    forest.pin("house")

    absorb(forest, "stranger/$state", "ready")
    absorb(forest, "house/$state", "ready")
    absorb(forest, "house/$state", b"")

    assert list(forest.devices) == ["house"]


# --- what could not be taken at all -----------------------------------------------------------------------------------


def test_a_message_that_was_too_large_clears_what_it_would_have_replaced() -> None:
    forest = house(("house/meter/power", "5"), ("house/switch/relay", "OPEN"))

    forest.overflow("ebus/5/house/meter/power")

    assert shown(forest) == {"house/switch/relay": "OPEN"}
    assert forest.devices["house"].overflowed
    assert forest.dropped == {"too large": 1}
    assert [node.id for node in forest.take_dirty().nodes] == ["meter"]


def test_a_message_that_was_too_large_is_told_by_nothing_that_follows() -> None:
    forest = house()

    forest.overflow("ebus/5/house/meter/power")

    assert not absorb(forest, "house/meter/power", "5")


@pytest.mark.parametrize("before", [(), (("a/$description", HOUSE),)])
def test_a_message_that_was_too_large_marks_its_device_whether_or_not_it_was_known(before: Any) -> None:
    forest = forest_of(*before)

    forest.overflow("ebus/5/a/$description")

    assert forest.devices["a"].overflowed
    assert forest.devices["a"].description is None


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("ebus/5/house/switch/relay/set", "ignored topic"),  # somebody's command
        ("ebus/5/house/$stats", "ignored topic"),
        ("homie/5/house/meter/power", "ignored topic"),
        ("ebus/5/House/meter/power", "malformed topic"),
        ("rubbish", "malformed topic"),
        ("ebus/5/house/$log/info", "too large"),  # an event
        ("ebus/5/stranger/$state", "too many devices"),
    ],
)
def test_a_message_that_was_too_large_and_is_no_state_marks_nothing(topic: str, reason: str) -> None:
    forest = house(limits=Limits(devices=1))

    forest.overflow(topic)

    assert not forest.devices["house"].overflowed
    assert forest.dropped == {reason: 1}
    assert list(forest.devices) == ["house"]


@pytest.mark.parametrize("known", [True, False])
def test_a_device_that_is_forgiven_is_kept_for_what_is_known_of_it_alone(known: bool) -> None:
    forest = forest_of(*([("house/$state", "ready")] if known else []))
    forest.overflow("ebus/5/house/meter/power")

    forest.forgive("house")

    assert [(device.id, device.overflowed) for device in forest.devices.values()] == [("house", False)] * known


def test_forgiving_a_device_of_which_nothing_is_known_does_nothing() -> None:
    forest = forest_of(("house/$state", "ready"))

    forest.forgive("car")

    assert set(forest.devices) == {"house"}


def test_i8_a_device_that_is_forgiven_can_overflow_and_be_told_of_again() -> None:
    forest = forest_of(("house/$state", "ready"), limits=Limits(topics=1))
    assert absorb(forest, "house/meter/power", "1")
    assert not absorb(forest, "house/meter/power", "1")

    forest.forgive("house")

    assert absorb(forest, "house/meter/power", "1")
    assert forest.devices["house"].overflowed


def test_contents_do_not_depend_on_the_way_there() -> None:
    """Nothing of what came and went is left: only the newest of each topic counts."""
    there = forest_of(("house/$description", HOUSE), ("house/meter/power", "5"), ("house/$alert/a", "b"))
    around = forest_of(
        ("house/$description", describe({"meter": {"power": {"datatype": "boolean"}}})),
        ("house/meter/power", "true"),
        ("house/meter/power", "5"),
        ("house/$alert/c", "d"),
        ("house/$state", "lost"),
        ("house/$alert/a", "b"),
        ("house/$alert/c", b""),
        ("house/$description", HOUSE),
        ("house/$state", b""),
    )

    assert contents(there) == contents(around)
