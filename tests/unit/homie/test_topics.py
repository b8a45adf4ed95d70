"""The topic grammar of Homie 5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import (
    Topic,
    TopicError,
    TopicKind,
    device_filter,
    is_valid_id,
    parse_topic,
    property_topic,
    set_topic,
)

IDS = st.text("abcxyz0189-", min_size=1, max_size=8)


@pytest.mark.parametrize("text", ["a", "0", "-", "nt-2143-c1akc", "lugs-upstream", "x" * 1000])
def test_an_id_is_made_of_small_letters_digits_and_hyphens(text: str) -> None:
    assert is_valid_id(text)


@pytest.mark.parametrize("text", ["", "Lugs", "lugs_up", "$state", "a b", "a/b", "a\n", "é", "٣", "+", "#", "\x00"])
def test_nothing_else_is_an_id(text: str) -> None:
    assert not is_valid_id(text)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("ebus/5/nt-1/$state", Topic("ebus", "nt-1", TopicKind.STATE)),
        ("ebus/5/nt-1/$description", Topic("ebus", "nt-1", TopicKind.DESCRIPTION)),
        ("ebus/5/nt-1/$alert/battery", Topic("ebus", "nt-1", TopicKind.ALERT, name="battery")),
        ("ebus/5/nt-1/$log/debug", Topic("ebus", "nt-1", TopicKind.LOG, name="debug")),
        ("ebus/5/nt-1/$log/info", Topic("ebus", "nt-1", TopicKind.LOG, name="info")),
        ("ebus/5/nt-1/$log/warn", Topic("ebus", "nt-1", TopicKind.LOG, name="warn")),
        ("ebus/5/nt-1/$log/error", Topic("ebus", "nt-1", TopicKind.LOG, name="error")),
        ("ebus/5/nt-1/$log/fatal", Topic("ebus", "nt-1", TopicKind.LOG, name="fatal")),
        ("ebus/5/nt-1/meter/active-power", Topic("ebus", "nt-1", TopicKind.PROPERTY, "meter", "active-power")),
        ("ebus/5/nt-1/switch/relay/$target", Topic("ebus", "nt-1", TopicKind.TARGET, "switch", "relay")),
        ("ebus/5/nt-1/switch/relay/set", Topic("ebus", "nt-1", TopicKind.SET, "switch", "relay")),
        ("homie/5/x/a/b", Topic("homie", "x", TopicKind.PROPERTY, "a", "b")),
    ],
)
def test_a_topic_is_taken_apart(text: str, topic: Topic) -> None:
    assert parse_topic(text) == topic


@pytest.mark.parametrize(
    ("text", "domain"),
    [("kitchen/ebus/5/x/a/b", "kitchen/ebus"), ("5/5/5/5/a/b", "5/5"), ("a/5/5/x/$state", "a/5")],
)
def test_a_domain_may_have_levels_before_it(text: str, domain: str) -> None:
    topic = parse_topic(text, levels=2)
    assert topic.domain == domain
    assert text.startswith(f"{domain}/5/{topic.device}/")


@pytest.mark.parametrize("text", ["ebus/5/x/a/b", "kitchen//5/x/a/b", "/ebus/5/x/a/b", "kitchen/ebus", "kitchen", ""])
def test_a_domain_has_as_many_levels_as_are_said(text: str) -> None:
    with pytest.raises(TopicError):
        parse_topic(text, levels=2)


@pytest.mark.parametrize(
    "tail",
    [
        "$stats",
        "$fw/name",
        "$state/more",
        "$description/",
        "$alert",
        "$alert/",
        "$alert/Not_an_id",
        "$alert/a/b",
        "$log",
        "$log/verbose",
        "$log/info/deeper",
        "$",
        "meter/power/",
        "meter/power/$unit",
        "meter/power/$target/deeper",
        "meter/power/set/deeper",
    ],
)
def test_what_a_later_homie_5_may_add_is_no_error(tail: str) -> None:
    topic = parse_topic(f"ebus/5/nt-1/{tail}")

    assert (topic.device, topic.kind) == ("nt-1", TopicKind.OTHER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ebus",
        "ebus/5",
        "ebus/5/nt-1",
        "ebus/5/nt-1/",
        "/5/nt-1/$state",
        "ebus/4/nt-1/$state",
        "ebus/5.0/nt-1/$state",
        "ebus//nt-1/$state",
        "ebus/5//$state",
        "ebus/5/NT-1/$state",
        "ebus/5/nt_1/$state",
        "ebus/5/$broadcast/security/alert",
        "ebus/5/nt-1/meter",  # a node has no topics of its own
        "ebus/5/nt-1/meter/",
        "ebus/5/nt-1/meter/$name",
        "ebus/5/nt-1/Meter/power",
        "ebus/5/nt-1/meter/active_power",
        "ebus/5/nt-1//power",
        "ebus/5/nt-1/meter//set",
        "$SYS/broker/uptime",
    ],
)
def test_what_breaks_the_grammar_is_a_topic_error(text: str) -> None:
    with pytest.raises(TopicError):
        parse_topic(text)


@given(st.text(st.sampled_from("ab5$/+#-A \x00"), max_size=24) | st.text(max_size=24))
def test_no_text_raises_anything_but_a_topic_error(text: str) -> None:
    try:
        topic = parse_topic(text)
    except TopicError:
        return
    assert text.startswith(f"{topic.domain}/5/{topic.device}/")


@given(IDS, IDS, IDS)
def test_built_topics_are_read_back(device: str, node: str, name: str) -> None:
    value, command = property_topic("ebus", device, node, name), set_topic("ebus", device, node, name)

    assert parse_topic(value) == Topic("ebus", device, TopicKind.PROPERTY, node, name)
    assert parse_topic(command) == Topic("ebus", device, TopicKind.SET, node, name)


def test_a_devices_filter_is_a_peer_of_its_childs() -> None:
    assert (device_filter("ebus", "nt-1"), device_filter("ebus", "nt-1-pv")) == ("ebus/5/nt-1/#", "ebus/5/nt-1-pv/#")
