"""The switch for ``$target``: what Homie wants of it, and SPAN's firmware does not do."""

from __future__ import annotations

import pytest
import trio

from span_trio.enums import Control
from span_trio.simulator import CommandFaults
from tests.unit.simulator.command_helpers import BASE, BOTH, TREE, commanding, virtual
from tests.unit.simulator.house_helpers import circuit_id
from tests.unit.simulator.parent_child_helpers import BESS, EVSE

RELAY, PRIORITY, LIMIT = Control.RELAY, Control.PRIORITY, Control.CHARGE_LIMIT
both = pytest.mark.parametrize("build", BOTH)


@both
@pytest.mark.parametrize("targets", [False, True])
def test_every_value_that_can_be_set_comes_behind_its_target_or_none_does(build: int, targets: bool) -> None:
    """Homie section 10: all or nothing, from the first value on."""

    async def main() -> None:
        async with commanding(build, targets=targets) as who:
            panel = who.panel
            panel.start()  # and all else that publishes values
            for control, payload in ((RELAY, b"OPEN"), (PRIORITY, b"NEVER"), (LIMIT, b"16")):
                await who.command(who.at(control), payload, wait=0.1)
            panel.house.set_priority(circuit_id(panel.house, "Charger"), "NEVER")
            panel.house.grid_lost()
            await trio.sleep(2)
            panel.recommission(circuit_id(panel.house, "Standby"), always_on=True)
            await panel.restart()
            before: dict[str, bytes] = {}
            settable = set[str]()
            for _, topic, payload in who.heard:
                if topic.endswith("/$target"):
                    before[topic.removesuffix("/$target")] = payload
                elif topic and panel.publisher.setting(topic.removeprefix(panel.publisher.prefix)):
                    settable.add(topic)
                    assert before.pop(topic, None) == (payload if targets else None)
            assert before == {}
            assert len(settable) == 2 * 7 + 2  # relays and priorities, and two of the house
            kept = {topic for topic in panel.broker.retained if topic.endswith("/$target")}
            assert kept == ({f"{BASE}{topic}/$target" for topic in settable} if targets else set())

    virtual(main)


@both
def test_a_target_is_what_was_asked_for_byte_for_byte_and_comes_first(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            relay, limit = who.at(RELAY), who.at(LIMIT)
            await who.command(limit, b"016")
            assert who.said("", limit, f"{limit}/$target")[:-1] == [
                (f"{limit}/$target", b"016"),  # as accepted
                (f"{limit}/$target", b"016"),  # with the value
                (limit, b"16"),
            ]
            who.take()
            who.panel.relay_delay = 1
            await who.command(relay, b"OPEN", wait=0.01)
            assert who.said("", relay, f"{relay}/$target") == [(f"{relay}/$target", b"OPEN"), ("", b"")]
            assert who.retained(relay) == b"CLOSED"  # pending
            await trio.sleep(1.1)
            assert who.retained(relay) == who.retained(f"{relay}/$target") == b"OPEN"
            who.take()
            await who.command(relay, b"OPEN", wait=2)  # which it is: accepted, and nothing moves
            assert who.take(relay, f"{relay}/$target") == [b"OPEN"]

    virtual(main)


@both
def test_a_target_stays_while_its_relay_is_on_the_way_whatever_happens(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            who.panel.relay_delay = 3
            relay = who.at(RELAY, "Charger")  # which is shed off grid
            await who.command(relay, b"CLOSED", wait=0.1)
            who.panel.house.grid_lost()
            await trio.sleep(1)
            assert (who.retained(relay), who.retained(f"{relay}/$target")) == (b"OPEN", b"CLOSED")
            await trio.sleep(3)
            assert (who.retained(relay), who.retained(f"{relay}/$target")) == (b"CLOSED", b"CLOSED")

    virtual(main)


@both
def test_the_latest_of_two_commands_is_the_target_of_both(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            relay = who.at(RELAY)
            await who.command(relay, b"OPEN", wait=0.01)
            await who.command(relay, b"CLOSED", wait=0.2)
            target = f"{relay}/$target"
            assert [*who.said(relay, target)] == [
                (target, b"OPEN"),
                (target, b"CLOSED"),
                (target, b"CLOSED"),
                (relay, b"OPEN"),
                (target, b"CLOSED"),
                (relay, b"CLOSED"),
            ]

    virtual(main)


@both
def test_a_command_that_is_done_leaves_the_target_of_a_later_one_and_a_restart_leaves_none(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            who.panel.relay_delay = 2
            relay, target = who.at(RELAY), f"{who.at(RELAY)}/$target"
            await who.command(relay, b"OPEN", wait=1)
            await who.command(relay, b"CLOSED", wait=1.5)
            who.take()
            who.panel.start()  # says all again
            await trio.sleep(0.01)
            assert who.said(relay, target) == [(target, b"CLOSED"), (relay, b"OPEN")]
            await who.panel.restart(away=0.1)
            assert who.retained(relay) == who.retained(target) == b"OPEN"

    virtual(main)


@both
def test_what_is_clamped_is_the_target_as_clamped(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            await who.command(who.at(LIMIT), b"99")
            assert set(who.take(who.at(LIMIT), f"{who.at(LIMIT)}/$target")) == {b"40"}

    virtual(main)


@both
@pytest.mark.parametrize("contradict", [False, True])
def test_a_target_that_will_not_be_reached_goes_back_to_what_stands(build: int, contradict: bool) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            relay, target = who.at(RELAY), f"{who.at(RELAY)}/$target"
            who.panel.command_faults = CommandFaults(contradict=contradict, duplicate=contradict)
            await who.command(relay, b"OPEN")
            assert (who.retained(relay), who.retained(target)) == (b"CLOSED", b"OPEN")
            if not contradict:
                who.panel.house.recommission(circuit_id(who.panel.house, "Lights"), always_on=True)
            await trio.sleep(0.1)
            assert (who.retained(relay), who.retained(target)) == (b"CLOSED", b"CLOSED")
            answer = [(target, b"CLOSED"), (relay, b"CLOSED")]
            assert who.said(relay, target) == [(target, b"OPEN"), *answer, *(answer if contradict else [])]

    virtual(main)


@both
def test_a_command_that_is_lost_has_no_target_and_a_late_one_a_late_one(build: int) -> None:
    async def main() -> None:
        async with commanding(build, targets=True) as who:
            target = f"{who.at(RELAY)}/$target"
            who.panel.command_faults = CommandFaults(lose=True)
            await who.command(who.at(RELAY), b"OPEN", wait=1)
            assert who.take(target) == []
            who.panel.command_faults = CommandFaults(delay=1)
            await who.command(who.at(RELAY), b"OPEN", wait=0.9)
            assert who.take(target) == []
            await trio.sleep(0.11)
            assert who.take(target) == [b"OPEN"]

    virtual(main)


def test_targets_go_with_their_values() -> None:
    async def main(build: int) -> None:
        async with commanding(build, targets=True) as who:
            panel = who.panel
            if build == TREE:
                panel.house.battery_link_lost(0)
                await who.command(who.at(LIMIT), b"16")
                panel.remove_child(EVSE)
                panel.remove_child(BESS)
                left = [topic for topic in panel.broker.retained if EVSE in topic or "islanding-state" in topic]
                assert left == []
            panel.clear_values()
            await trio.sleep(0.01)
            assert not [topic for topic in panel.broker.retained if topic.endswith("/$target")]
            assert set(who.take(f"{who.at(RELAY)}/$target")) == {b""}

    virtual(lambda: main(202603))
    virtual(lambda: main(TREE))
