"""Whatever a client sends, however cut, whenever cancelled: the broker stays whole, and nobody else notices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from span_trio.homie import Message
from span_trio.mqtt.framing import Framer
from span_trio.simulator.broker.broker import Broker, BrokerFaults, Client
from tests.fuzz.bounds import enough
from tests.unit.link.house import SteppingCancel, run
from tests.unit.mqtt import packets
from tests.unit.mqtt.streams import cut, cuts
from tests.unit.simulator.peers import Peer, Will, connect, pubcomp, pubrec, pubrel

HALF = settings(max_examples=settings().max_examples // 2)  # each of these is a whole life of a broker or two
TOPICS = ["a", "b", "a/b", "a/c", "a/b/c", "/", "$a/b"]
FILTERS = [*TOPICS, "#", "+", "a/#", "a/+", "+/b", "+/+/c", "$a/#"]

_mids = st.integers(1, 4)
_qos = st.integers(0, 2)
_topics = st.sampled_from(TOPICS)
_filters = st.lists(st.sampled_from(FILTERS), min_size=1, max_size=3)
_connects = st.builds(
    connect,
    st.sampled_from(["one", "two", ""]),
    will=st.none() | st.builds(Will, _topics, st.just(b"gone"), st.booleans(), _qos),
)
_valid = st.one_of(
    st.builds(packets.publish, _topics, st.binary(max_size=3), st.booleans(), _qos, _mids),
    st.builds(packets.subscribe, _mids, _filters, _qos),
    st.builds(packets.unsubscribe, _mids, _filters),
    st.builds(lambda make, mid: make(mid), st.sampled_from([packets.puback, pubrec, pubrel, pubcomp]), _mids),
    st.just(packets.pingreq()),
)
_noise = st.one_of(
    st.binary(max_size=8),
    st.builds(packets.packet, st.integers(0, 255), st.binary(max_size=8)),
    st.builds(lambda raw, at: raw[: at % len(raw)], _valid, st.integers(0, 99)),
    st.just(packets.disconnect()),
    st.just(connect(level=5)),
    _connects,
)
_polite = st.builds(
    lambda hello, qos, more: [hello, packets.subscribe(9, ["a/#"], qos), *more],
    _connects,
    _qos,
    st.lists(_valid, min_size=2, max_size=12),
)
_scripts = st.builds(
    lambda script, noise, at: [*script[: at % 13], *noise, *script[at % 13 :]],
    _polite,
    st.lists(_noise, max_size=2),
    st.integers(0, 99),
)


async def say(broker: Broker, nursery: trio.Nursery, pieces: Iterable[bytes]) -> bytes:
    """All that the broker answers to a client that says this and hangs up."""
    near, far = memory_stream_pair()
    nursery.start_soon(broker.serve, far)
    try:
        for piece in pieces:
            await near.send_all(piece)
        await near.send_eof()
    except trio.BrokenResourceError:
        pass  # the broker has hung up
    return await Peer(near).everything()


def test_whatever_a_client_sends_nobody_else_notices() -> None:
    seen: Counter[str] = Counter()

    async def main(pieces: Iterable[bytes], faults: BrokerFaults) -> None:
        broker = Broker()
        async with trio.open_nursery() as nursery:
            watcher = await Peer.subscribed(broker, nursery, "watcher", "watched/#")
            broker.faults = faults
            answer = await say(broker, nursery, pieces)
            broker.faults = BrokerFaults()
            kinds = {frame.raw[0] & 0xF0 for frame in Framer().frames(answer)}
            seen.update(["runs"], logged_in=answer.startswith(packets.connack()), delivered=0x30 in kinds)
            assert list(broker.sessions) == ["watcher"]
            broker.publish("watched/x", b"!")
            await watcher.send(packets.pingreq())
            await watcher.expect(packets.publish("watched/x", b"!"), packets.pingresp())
            nursery.cancel_scope.cancel()

    @HALF
    @given(
        _scripts,
        cuts,
        st.sampled_from([BrokerFaults(), BrokerFaults(drip=True), BrokerFaults(slow=1e3), BrokerFaults(mute=True)]),
    )
    def one(script: Sequence[bytes], where: list[int], faults: BrokerFaults) -> None:
        run(main, cut(b"".join(script), where), faults)

    one()
    assert enough(seen["logged_in"], seen["runs"], 0.4)
    assert enough(seen["delivered"], seen["runs"], 0.1)


@HALF
@given(_scripts, cuts)
def test_where_a_client_is_cut_does_not_matter(script: Sequence[bytes], where: list[int]) -> None:
    async def main(pieces: Iterable[bytes]) -> tuple[bytes, dict[str, bytes], list[tuple[Client, Message]], str]:
        told: list[tuple[Client, Message]] = []
        broker = Broker(on_publish=lambda *message: told.append(message))
        broker.publish("a/b", b"old", retain=True)
        async with trio.open_nursery() as nursery:
            answer = await say(broker, nursery, pieces)
        return answer, dict(broker.retained), told, repr(broker.sessions)

    stream = b"".join(script)
    assert run(main, cut(stream, where)) == run(main, [stream])


# --- an oracle that shares no code with the broker ---


def covers(pattern: str, topic: str) -> bool:
    levels = [{"+": "[^/]*", "#": ".*"}.get(level, re.escape(level)) for level in pattern.split("/")]
    expression = "/".join(levels).removesuffix("/.*") + ("(/.*)?" if len(levels) > 1 and levels[-1] == ".*" else "")
    return re.fullmatch(expression, topic) is not None and (topic[0] != "$" or pattern[0] == "$")


_steps = st.lists(
    st.tuples(st.just("subscribe"), st.integers(0, 1), st.sampled_from(FILTERS))
    | st.tuples(st.just("unsubscribe"), st.integers(0, 1), st.sampled_from(FILTERS))
    | st.tuples(st.sampled_from(["publish", "keep", "clear"]), st.just(0), _topics),
    max_size=20,
)


@HALF
@given(_steps)
def test_everybody_gets_what_was_asked_for_in_order(steps: Sequence[tuple[str, int, str]]) -> None:
    async def main() -> None:
        broker = Broker()
        retained: dict[str, bytes] = {}
        filters: list[set[str]] = [set(), set()]
        async with trio.open_nursery() as nursery:
            peers = [await Peer.log_in(broker, nursery, connect(name)) for name in ("one", "two")]
            for number, (what, who, text) in enumerate(steps):
                payload = b"" if what == "clear" else b"%d" % number
                match what:
                    case "subscribe":
                        filters[who].add(text)
                        await peers[who].send(packets.subscribe(1, [text]))
                        await peers[who].expect(packets.suback(1))
                        expected = {packets.publish(*kept, True) for kept in retained.items() if covers(text, kept[0])}
                        assert await peers[who].packets(len(expected)) == expected
                    case "unsubscribe":
                        filters[who].discard(text)
                        await peers[who].send(packets.unsubscribe(1, [text]))
                        await peers[who].expect(packets.unsuback(1))
                    case _:
                        broker.publish(text, payload, retain=what != "publish")
                        for peer, asked in zip(peers, filters, strict=True):
                            if any(covers(pattern, text) for pattern in asked):
                                await peer.expect(packets.publish(text, payload))
                        if what == "keep":
                            retained[text] = payload
                        elif what == "clear":
                            retained.pop(text, None)
            for peer in peers:
                await peer.send(packets.disconnect())
                await peer.expect_end()

    run(main)


# --- cancellation ---


def cancelled_conversations() -> Iterator[int]:
    """A conversation cancelled before its first step, its second …; until it has ended before that."""
    script = [connect(will=Will("w", retain=True)), packets.subscribe(1, ["#"], 1), packets.publish("a", b"x", True, 1)]
    faults = [BrokerFaults(), BrokerFaults(freeze=True), BrokerFaults(mute=True), BrokerFaults(slow=5)]

    async def main(cancel: SteppingCancel) -> bool:
        broker = Broker()
        near, far = memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def converse() -> None:
                for packet, fault in zip(script, faults, strict=False):
                    broker.faults = fault
                    await near.send_all(packet)
                    await trio.sleep(1)
                broker.faults = faults[-1]
                await near.send_all(packets.disconnect())

            nursery.start_soon(converse)
            with cancel.cancelling() as scope:
                await broker.serve(far)
            nursery.cancel_scope.cancel()
        assert not broker.sessions
        await Peer(near).everything()
        return scope.cancelled_caught

    step = 1
    while True:
        cancel = SteppingCancel(step)
        if not run(main, cancel, instruments=[cancel]):
            return
        yield step
        step += 1


def test_serving_can_be_cancelled_at_every_step_and_leaves_nothing_behind() -> None:
    assert len(list(cancelled_conversations())) > 20
