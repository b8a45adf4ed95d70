"""The simulator's broker over real sockets: with foreign clients, and side by side with mosquitto."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from span_trio.simulator.broker.broker import Broker, BrokerFaults
from tests.busy import PATIENCE
from tests.integration.broker import Broker as Mosquitto
from tests.integration.broker import program
from tests.unit.link.certificates import certificates
from tests.unit.mqtt import packets
from tests.unit.simulator.peers import Peer, Will, connect, pubcomp, pubrec, pubrel

LOGIN = ("-u", "panel", "-P", "correct horse")


async def listen(broker: Broker, nursery: trio.Nursery, tls: ssl.SSLContext | None = None) -> int:
    """Serve on a free port, which is returned."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    if tls is None:
        nursery.start_soon(trio.serve_listeners, broker.serve, [listener])
    else:
        nursery.start_soon(trio.serve_listeners, broker.serve, [trio.SSLListener(listener, tls)])
    return port


async def run(name: str, port: int, *arguments: str) -> tuple[int, list[str]]:
    """A program of mosquitto's: its exit code, and the lines that it printed."""
    command = [program(name), "-h", "127.0.0.1", "-p", str(port), *arguments]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode().splitlines()


# --- foreign clients ---


def panel() -> Broker:
    """It knows one user, who may publish to …/set alone; what is set becomes the value."""
    broker = Broker(
        authenticate=lambda username, password: 0 if (username, password) == ("panel", b"correct horse") else 5,
        may_publish=lambda _, topic: topic.endswith("/set"),
        on_publish=lambda _, message: broker.publish(message.topic.removesuffix("/set"), message.payload, retain=True),
    )
    for topic, payload in [("ebus/5/p/$state", b"ready"), ("ebus/5/p/core/door", b"CLOSED"), ("other", b"x")]:
        broker.publish(topic, payload, retain=True)
    return broker


@pytest.mark.parametrize("version", ["mqttv31", "mqttv311"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_sub_reads_and_mosquitto_pub_commands(nursery: trio.Nursery, version: str, qos: str) -> None:
    broker = panel()
    port = await listen(broker, nursery)
    options = (*LOGIN, "-V", version, "-q", qos)
    assert await run("mosquitto_pub", port, *options, "-t", "ebus/5/p/relay/set", "-m", "OPEN") == (0, [])
    assert await run("mosquitto_pub", port, *options, "-t", "ebus/5/p/$state", "-m", "lost", "-r") == (0, [])
    listing = ("-t", "ebus/#", "-C", "3", "-F", "%t %p %r")
    assert await run("mosquitto_sub", port, *options, *listing) == (
        0,
        ["ebus/5/p/$state ready 1", "ebus/5/p/core/door CLOSED 1", "ebus/5/p/relay OPEN 1"],
    )


async def test_mosquitto_sub_without_the_password_is_refused(nursery: trio.Nursery) -> None:
    port = await listen(panel(), nursery)
    code, lines = await run("mosquitto_sub", port, "-u", "panel", "-P", "guess", "-t", "#", "-C", "1")
    assert code
    assert "not authorised" in " ".join(lines)


async def test_an_mqtt_5_client_is_told_that_it_is_one(nursery: trio.Nursery) -> None:
    port = await listen(panel(), nursery)
    code, lines = await run("mosquitto_sub", port, *LOGIN, "-V", "mqttv5", "-t", "#", "-C", "1")
    assert code
    assert "Protocol Version" in " ".join(lines)


async def test_mosquitto_sub_over_tls(nursery: trio.Nursery, tmp_path: Path) -> None:
    port = await listen(panel(), nursery, certificates().server)
    ca = trio.Path(tmp_path / "ca.pem")
    await ca.write_text(certificates().ca_pem)
    assert await run("mosquitto_sub", port, *LOGIN, "--cafile", str(ca), "-t", "ebus/5/+/$state", "-C", "1") == (
        0,
        ["ready"],
    )


# --- how a connection ends ---


async def dial(port: int) -> Peer:
    return Peer(await trio.open_tcp_stream("127.0.0.1", port))


@pytest.mark.parametrize("reset", [False, True])
async def test_a_drop_is_a_fin_and_a_reset_an_rst(nursery: trio.Nursery, reset: bool) -> None:
    broker = Broker()
    peer = await dial(await listen(broker, nursery))
    await peer.send(connect())
    await peer.expect(packets.connack())
    if reset:
        assert broker.reset() == 1
        with pytest.raises(trio.BrokenResourceError) as caught:
            await peer.everything()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
    else:
        assert broker.drop() == 1
        await peer.expect_end()
    await peer.stream.aclose()


async def test_hanging_up_on_whoever_comes(nursery: trio.Nursery) -> None:
    broker = Broker()
    broker.faults = BrokerFaults(hang_up=True)
    peer = await dial(await listen(broker, nursery))
    await peer.expect_end()
    await peer.stream.aclose()


# --- side by side with mosquitto ---

ALL_IDS = b"".join(map(packets.puback, range(1, 30)))

SCRIPTS = {
    "replay": [
        packets.publish("A/a", b"1", True) + packets.publish("A/b", b"2", True) + packets.publish("A/c", b"3"),
        packets.subscribe(1, ["A/+"]),
        packets.publish("A/b", b"", True),
        packets.unsubscribe(2, ["A/+", "never"]),
        packets.publish("A/b", b"4", True),
        packets.subscribe(3, ["A/#"], 1),
    ],
    "the order of a replay": [
        b"".join(packets.publish(f"B/{name}", b"1", True) for name in ("a", "b/x", "a/x", "b", "c/a/y", "c/a", "a/w")),
        *(packets.subscribe(1, [pattern]) for pattern in ("B/#", "B/+/+", "+/+/x", "B/b", "B/c/+/#")),
    ],
    "filters that overlap": [
        packets.publish("C/a", b"1", True, 1, 1),
        packets.subscribe(1, ["C/#", "C/a", "C/+"]),
        packets.publish("C/a", b"2"),
        packets.subscribe(2, ["C/a"], 1),
        packets.publish("C/a", b"3", qos=1, mid=2),
    ],
    "the same filter again": [
        packets.publish("D/a", b"1", True),
        *(packets.subscribe(mid, ["D/a"], mid % 2) + packets.publish("D/a", b"2") for mid in (1, 2, 3)),
    ],
    "a parent and empty levels": [
        packets.subscribe(1, ["E/#", "E//+", "E/+/+/x"]),
        *(packets.publish(topic, b"1") for topic in ("E", "E/", "E//", "E/a/b/x", "Ex")),
    ],
    "dollar": [packets.subscribe(1, ["+/F"]), packets.publish("$a/F", b"1"), packets.publish("a/F", b"2")],
    "in flight": [
        b"".join(packets.publish(f"G/{number}", b"1", True, 1, number + 1) for number in range(20)),
        packets.subscribe(1, ["G/#"], 1),
        ALL_IDS,
        packets.publish("G/5", b"2", qos=1, mid=99),
    ],
    "downgrade": [
        packets.subscribe(1, ["H/a"], 0) + packets.subscribe(2, ["H/b"], 1),
        *(packets.publish(f"H/{name}", b"%d" % qos, False, qos, 9) for name in "ab" for qos in (0, 1)),
        ALL_IDS,
    ],
    "qos 2": [
        packets.publish("I/a", b"1", False, 2, 7),
        packets.publish("I/a", b"1", False, 2, 7, dup=True),
        pubrel(7),
        pubrel(7),
    ],
    "acknowledgements of nothing": [packets.puback(5), pubrec(5), pubcomp(5)],
    "many levels": [packets.subscribe(1, ["/" * 200]), packets.publish("/" * 200, b"1")],
    "too many levels": [packets.publish("/" * 201, b"1")],
    "a filter of too many levels": [packets.subscribe(1, ["/" * 201])],
    "a filter that is none": [packets.subscribe(1, ["T", "T#"])],
    "another": [packets.subscribe(1, ["#/T"])],
    "a topic that is none": [packets.publish("T/#")],
    "a topic with a control character": [packets.publish("T\n")],
    "a topic that is no UTF-8": [packets.publish(b"\xff")],
    "qos 3": [packets.publish("T", qos=3)],
    "packet id 0": [packets.publish("T", qos=1, mid=0)],
    "nothing to subscribe to": [packets.subscribe(1, [])],
    "nothing to unsubscribe from": [packets.unsubscribe(1, [])],
    "subscribe with other flags": [packets.packet(0x80, packets.subscribe(1, ["T"])[2:])],
    "dup at qos 0": [packets.subscribe(1, ["T"]), packets.publish("T", b"1", dup=True)],
    "a second connect": [connect("other")],
    "goodbye": [packets.disconnect()],
    "goodbye with flags": [packets.packet(0xE1)],
    "a type that is none": [packets.packet(0xF0)],
    "a length that is none": [b"\x30\xff\xff\xff\xff\x01"],
}

HELLOS = {
    "3.1": connect("T", name="MQIsdp", level=3),
    "3.1 without an id": connect("", name="MQIsdp", level=3),
    "no id": connect(""),
    "no id and not clean": connect("", clean=False),
    "not clean": connect("T", clean=False),
    "a version to come": connect("T", level=6),
    "a version of another name": connect("T", level=3),
    "another protocol": connect("T", name="MQTX"),
    "the reserved flag": connect("T", flags=1),
    "a password without a user": connect("T", password=b"x"),
    "a will": connect("T", will=Will("T/w")),
    "a will to nowhere": connect("T", will=Will("")),
    "a will to everywhere": connect("T", will=Will("T/#")),
    "the qos of no will": connect("T", flags=8),
    "bytes left over": packets.packet(0x10, connect("T")[2:] + b"x"),
    "bytes missing": packets.packet(0x10, connect("T")[2:-1]),
    "not a connect": packets.pingreq(),
}


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with Mosquitto(tmp_path_factory.mktemp("side-by-side")) as broker:
        yield broker.port


async def answers(port: int, *steps: bytes) -> list[bytes]:
    """What comes back for each step, up to a PINGRESP that is not shown or the end of the connection."""
    said: list[bytes] = []
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        for step in steps:
            answer = b""
            try:
                await stream.send_all(step + packets.pingreq())
                while not answer.endswith(packets.pingresp()):
                    data = await stream.receive_some()
                    if not data:
                        return [*said, answer + b"(end)"]
                    answer += data
            except trio.BrokenResourceError:  # by RST, as our PINGREQ was not read
                return [*said, answer + b"(end)"]
            said.append(answer.removesuffix(packets.pingresp()))
    return said


@pytest.mark.parametrize("name", SCRIPTS)
async def test_what_mosquitto_says_we_say(name: str, mosquitto: int, nursery: trio.Nursery) -> None:
    ours = await listen(Broker(), nursery)
    steps = [connect(name), *SCRIPTS[name]]
    with trio.fail_after(PATIENCE):
        assert await answers(ours, *steps) == await answers(mosquitto, *steps)


@pytest.mark.parametrize("name", HELLOS)
async def test_whom_mosquitto_lets_in_we_let_in(name: str, mosquitto: int, nursery: trio.Nursery) -> None:
    ours = await listen(Broker(), nursery)
    with trio.fail_after(PATIENCE):
        assert await answers(ours, HELLOS[name]) == await answers(mosquitto, HELLOS[name])
