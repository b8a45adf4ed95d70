"""The log of what a panel in a box was told to do."""

from __future__ import annotations

import attrs
import pytest
import trio

from span_trio.enums import Control
from span_trio.simulator import BrokerFaults, CommandLog, ReceivedCommand
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.command_helpers import BASE, FLAT, TREE, commanding, virtual

RELAY = Control.RELAY


def test_the_log_says_what_came_when_and_from_whom() -> None:
    async def main() -> None:
        async with commanding(TREE) as who:
            began = trio.current_time()
            relay, log = who.at(RELAY), who.panel.commands
            who.panel.broker.faults = BrokerFaults(deny={"#"})
            await who.command(relay, b"OPEN", wait=1)
            who.panel.broker.faults = BrokerFaults()
            await who.command(relay, b"OPEN", wait=1, retain=True, dup=True)
            await who.command(relay, b"\xffOPEN" * 1000, qos=0)
            assert who.retained(f"{relay}/set") == b"OPEN"
            assert log[0] == ReceivedCommand(
                number=1,
                time=began,
                client_id="commander",
                topic=f"{BASE}{relay}/set",
                payload="OPEN",
                qos=1,
                retain=False,
                dup=False,
                answer=Answer.DENIED,
            )
            assert log[1] == attrs.evolve(
                log[0], number=2, time=pytest.approx(began + 1), retain=True, dup=True, answer=Answer.DONE
            )
            assert (log[2].payload[:7], len(log[2].payload)) == ("\ufffdOPEN\ufffdO", 1000)
            assert (log[2].qos, log[2].dup, log[2].answer) == (0, False, Answer.INVALID)
            assert [command.accepted for command in log] == [False, True, False]
            assert len(who.panel.commands) == 3

    virtual(main)


def test_what_is_no_command_is_not_in_the_log_and_what_a_mute_broker_never_took_neither() -> None:
    async def main() -> None:
        async with commanding(FLAT) as who:
            who.panel.publish("core/door/set", b"OPEN")  # the panel's own
            who.panel.broker.faults = BrokerFaults(mute=True)
            await who.command(who.at(RELAY), b"OPEN")
            who.panel.broker.faults = BrokerFaults()
            assert list(who.panel.commands) == []

    virtual(main)


def test_the_log_is_bounded_and_says_what_it_has_forgotten() -> None:
    log = CommandLog(limit=3)
    assert (len(log), log.dropped, list(log)) == (0, 0, [])
    commands = [
        ReceivedCommand(
            number=number,
            time=0.0,
            client_id="",
            topic="a/set",
            payload=str(number),
            qos=0,
            retain=False,
            dup=False,
            answer=Answer.NO_SUCH,
        )
        for number in range(1, 6)
    ]
    for command in commands:
        log.append(command)
    assert list(log) == commands[2:]
    assert (log[0], log[-1], log[1:]) == (commands[2], commands[4], tuple(commands[3:]))
    assert (len(log), log.dropped, log.received) == (3, 2, 5)
    assert repr(log) == "<CommandLog of 3, 2 dropped>"
