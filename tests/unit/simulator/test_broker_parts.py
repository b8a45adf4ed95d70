"""The pure parts of the broker by themselves: filters, queues, the retained store, the faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.simulator.broker.faults import BrokerFaults
from span_trio.simulator.broker.filters import Subscriptions, is_filter, is_topic, matches
from span_trio.simulator.broker.outbox import MAX_WAITING, Outbox, Outgoing, Window
from span_trio.simulator.broker.retained import Retained, RetainedStore

# --- filters ---


@pytest.mark.parametrize("text", ["a", "/", "a/b", "a//b", "/a", "a/", "$SYS/x", " ", "é", "a" * 65_535, "/" * 200])
def test_topics(text: str) -> None:
    assert is_topic(text)
    assert is_filter(text)


@pytest.mark.parametrize("text", ["", "a\0", "a\tb", "\x7f", "\ud800", "\ufdd0", "a" * 65_536, "é" * 32_768, "/" * 201])
def test_what_is_neither_a_topic_nor_a_filter(text: str) -> None:
    assert not is_topic(text)
    assert not is_filter(text)


@pytest.mark.parametrize("text", ["#", "+", "a/#", "/#", "+/#", "a/+", "a/+/b", "+/+", "/+", "+/"])
def test_filters_that_are_no_topics(text: str) -> None:
    assert is_filter(text)
    assert not is_topic(text)


@pytest.mark.parametrize("text", ["#/", "#/a", "a#", "a/#b", "##", "a+", "+a", "a/b+/c", "++", "a/#/#", "a/#/+"])
def test_what_is_no_filter(text: str) -> None:
    assert not is_filter(text)


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "a/", "a/B", "/a/b"]),
        ("#", ["a", "a/b", "/", "a/$b"], ["$a", "$a/b"]),
        ("+", ["a"], ["a/b", "/a", "$a"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c"], ["ab", "b/a"]),
        ("a/+", ["a/b", "a/"], ["a", "a/b/c"]),
        ("+/b/#", ["a/b", "/b", "a/b/c/d"], ["$a/b", "a/c"]),
        ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/c/d", "a/b"]),
        ("$a/#", ["$a", "$a/b"], ["a"]),
        ("$a/+", ["$a/b"], ["$a"]),
        ("+/+", ["a/b", "/"], ["a", "a/b/c"]),
    ],
)
def test_what_a_filter_covers(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    assert [topic for topic in covered + not_covered if matches(pattern, topic)] == covered


def test_the_highest_qos_of_those_that_cover() -> None:
    subscriptions = Subscriptions()
    for pattern, qos in [("a/#", 0), ("a/b", 1), ("+/c", 0)]:
        assert subscriptions.add(pattern, qos)
    assert [subscriptions.qos(topic) for topic in ("a/b", "a/c", "x/c", "x")] == [1, 0, 0, None]
    assert [subscriptions.qos(topic) for topic in ("a/b", "a/c", "x/c", "x")] == [1, 0, 0, None]
    subscriptions.discard("a/b")
    subscriptions.discard("never there")
    assert subscriptions.qos("a/b") == 0
    assert subscriptions.add("x", 1)
    assert subscriptions.qos("x") == 1
    assert subscriptions.filters == {"a/#": 0, "+/c": 0, "x": 1}


def test_subscriptions_are_bounded() -> None:
    subscriptions = Subscriptions()
    size = 2**18 // 4 - 64
    names = [str(number) * size for number in range(4)]
    assert all(subscriptions.add(name, 0) for name in names)
    assert not subscriptions.add("b", 0)
    assert subscriptions.add(names[3], 1)  # in place of itself
    subscriptions.discard(names[3])
    assert subscriptions.add("b", 0)
    assert subscriptions.qos(names[0]) == 0  # too long to be remembered
    for name in names:
        subscriptions.discard(name)
    for number in range(10_000):
        assert subscriptions.qos(f"x{number}") is None
    assert len(subscriptions._remembered) < 8193


# --- queues ---


def test_beyond_the_socket_and_the_queue_packets_are_dropped() -> None:
    outbox = Outbox()
    assert [outbox.put(bytes([n]) * 10, room=15, limit=2) for n in range(6)] == [True] * 4 + [False] * 2
    assert outbox.dropped == 2
    assert outbox.take(10) == bytes([0]) * 10
    assert outbox.put(b"x", room=15, limit=2)  # one of the queue has moved up
    assert not outbox.put(b"y", room=15, limit=2)
    assert outbox.take(99) + outbox.take(99) == bytes([1]) * 10 + bytes([2]) * 10 + bytes([3]) * 10 + b"x"
    assert outbox.take(99) == b""


def test_without_a_limit_only_bytes_count() -> None:
    outbox = Outbox()
    assert all(outbox.put(b"x", room=0, limit=None) for _ in range(5000))
    large = bytes(MAX_WAITING - 5000)
    assert outbox.put(large, room=0, limit=None)
    assert not outbox.put(b"x", room=0, limit=None)
    assert outbox.take(9) == b"x"
    assert outbox.put(b"x", room=0, limit=None)


def test_a_closed_outbox_takes_and_gives_nothing() -> None:
    outbox = Outbox()
    outbox.put(b"x", room=0, limit=1)
    outbox.close()
    assert not outbox.put(b"y", room=9, limit=9)
    assert outbox.take(9) == b""
    assert outbox.dropped == 0


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=5), st.sampled_from([0, 3, 12])) | st.integers(1, 7)))
def test_what_is_taken_in_comes_out_whole_and_in_order(steps: list[tuple[bytes, int] | int]) -> None:
    outbox = Outbox()
    went_in = came_out = b""
    for step in steps:
        if isinstance(step, int):
            taken = outbox.take(step)
            assert len(taken) <= step
            assert taken or came_out == went_in
            came_out += taken
        elif outbox.put(step[0], room=step[1], limit=3):
            went_in += step[0]
    assert came_out + b"".join(iter(lambda: outbox.take(7), b"")) == went_in


def test_twenty_are_in_flight_and_the_others_wait() -> None:
    window = Window()
    for number in range(23):
        window.put(Outgoing(str(number), b"", retain=False), limit=22)
    sent = list(iter(window.next, None))
    assert [(mid, message.topic) for mid, message in sent] == [(n + 1, str(n)) for n in range(20)]
    window.acknowledge(99)
    assert window.next() is None
    window.acknowledge(2)
    assert window.next() == (21, Outgoing("20", b"", retain=False))
    assert window.next() is None
    assert window.dropped == 1


def test_a_packet_id_that_is_in_use_is_passed_over() -> None:
    window = Window()
    window.put(Outgoing("first", b"", retain=False), limit=1)
    assert window.next() is not None  # 1, which is never acknowledged
    for number in range(0xFFFF):
        window.put(Outgoing("more", b"", retain=False), limit=None)
        following = window.next()
        assert following is not None
        assert following[0] == (number + 1) % 0xFFFF + 1 if number < 0xFFFE else following[0] == 2
        window.acknowledge(following[0])


def test_what_waits_for_an_acknowledgement_is_bounded_in_bytes() -> None:
    window = Window()
    window.put(Outgoing("a", bytes(MAX_WAITING - 1), retain=False), limit=None)
    window.put(Outgoing("b", b"", retain=False), limit=None)
    assert window.dropped == 1
    assert window.next() is not None
    window.put(Outgoing("b", b"", retain=False), limit=None)
    assert window.dropped == 1


# --- the store ---


def test_the_store_keeps_the_last_of_each_topic() -> None:
    store = RetainedStore(10_000)
    for topic, payload in [("b", b"1"), ("a/x", b"2"), ("b", b"3"), ("gone", b"4"), ("gone", b""), ("never", b"")]:
        assert store.put(topic, payload, 1)
    assert dict(store.payloads) == {"b": b"3", "a/x": b"2"}
    assert list(store.covered_by("#")) == [Retained("b", b"3", 1), Retained("a/x", b"2", 1)]
    assert list(store.covered_by("a/+")) == [Retained("a/x", b"2", 1)]
    assert store.clear("a") == 1
    assert store.clear("") == 1
    assert store.clear("") == 0
    assert not store.payloads


def test_a_replay_goes_through_the_tree() -> None:
    store = RetainedStore(100_000)
    for topic in ("o/a", "o/b/x", "o/a/x", "$p", "o/b", "p/a/y", "p/a/x", "o/a/w", "q"):
        store.put(topic, b"x", 0)
    for pattern, topics in [
        ("o/#", ["o/a", "o/a/x", "o/a/w", "o/b", "o/b/x"]),
        ("o/a/#", ["o/a/x", "o/a/w", "o/a"]),
        ("o/+/#", ["o/a/x", "o/a/w", "o/a", "o/b/x", "o/b"]),
        ("+/+/x", ["o/a/x", "o/b/x", "p/a/x"]),
        ("#", ["o/a", "o/a/x", "o/a/w", "o/b", "o/b/x", "p/a/y", "p/a/x", "q"]),
        ("+", ["q"]),
        ("q/#", ["q"]),
        ("q/+", []),
        ("o/b", ["o/b"]),
        ("$p", ["$p"]),
        ("$p/#", ["$p"]),
        ("nothing/+", []),
    ]:
        assert [message.topic for message in store.covered_by(pattern)] == topics, pattern


@given(st.lists(st.tuples(st.sampled_from(["a", "a/b", "a/b/c", "a/c", "b", "/", "b/b"]), st.booleans())))
def test_what_was_deleted_leaves_nothing_in_the_tree(steps: list[tuple[str, bool]]) -> None:
    store = RetainedStore(100_000)
    kept: set[str] = set()
    for topic, keep in steps:
        assert store.put(topic, b"x" * keep, 0)
        kept = kept | {topic} if keep else kept - {topic}
        assert {message.topic for message in store.covered_by("#")} == kept == set(store.payloads)
    for topic in kept:
        store.put(topic, b"", 0)
    assert not store._root.children
    assert not store._size


def test_the_store_is_bounded_and_keeps_nothing_old() -> None:
    store = RetainedStore(2 * (1 + 100 + 300))
    assert store.put("a", bytes(100), 0)
    assert store.put("b", bytes(100), 0)
    assert not store.put("c", b"x", 0)
    assert store.put("a", bytes(range(100)), 0)
    assert not store.put("a", bytes(101), 0)  # and the old value would be a lie
    assert list(store.payloads) == [message.topic for message in store.covered_by("#")] == ["b"]
    assert not store.put("c/d", bytes(100), 0)  # levels cost too
    assert store.put("c", bytes(100), 0)
    assert store.put("b", b"", 0)
    assert store.put("d", bytes(100), 0)


# --- faults ---


@pytest.mark.parametrize(
    "make",
    [
        lambda: BrokerFaults(slow=0),
        lambda: BrokerFaults(refuse_login=0),
        lambda: BrokerFaults(refuse_login=256),
        lambda: BrokerFaults(replay_limit=-1),
    ],
    ids=["slow", "login 0", "login 256", "replay"],
)
def test_a_fault_that_cannot_be_meant(make: Callable[[], BrokerFaults]) -> None:
    with pytest.raises(ValueError, match=r"slow|refuse_login|replay_limit"):
        make()
