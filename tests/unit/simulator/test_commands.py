"""What becomes of commands at a panel in a box, as a client sees it on the wire: both schemas, all controls."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from span_trio.enums import Control
from span_trio.simulator import BrokerFaults
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.command_helpers import BASE, BOTH, FLAT, TREE, Commander, commanding, virtual
from tests.unit.simulator.house_helpers import circuit_id
from tests.unit.simulator.parent_child_helpers import BESS, EVSE, PANEL

RELAY, PRIORITY, LIMIT = Control.RELAY, Control.PRIORITY, Control.CHARGE_LIMIT


def answers(who: Commander) -> list[Answer]:
    return [command.answer for command in who.panel.commands]


# --- relays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("delay", [None, 0.7])
def test_a_relay_takes_its_time_and_then_says_that_a_user_did_it(build: int, delay: float | None) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            if delay is not None:
                who.panel.relay_delay = delay
            relay = who.at(RELAY)
            await who.command(relay, b"OPEN", wait=2)
            (opened,) = (item for item in who.heard if item.topic == relay)
            (requester,) = (item for item in who.heard if item.topic == f"{relay}-requester")
            assert opened.payload == b"OPEN"
            assert requester.payload == b"USER"
            assert opened.at == requester.at == pytest.approx(0.5 + (0.05 if delay is None else delay))

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize(("delay", "first"), [(0, b"OPEN"), (0.05, b"")])
def test_only_a_relay_without_delay_answers_before_the_broker_acknowledges(
    build: int, delay: float, first: bytes
) -> None:
    """Both orders are the client's to bear: lesson E, "waiter must be armed before publish"."""

    async def main() -> None:
        async with commanding(build) as who:
            who.panel.relay_delay = delay
            relay = who.at(RELAY)
            await who.command(relay, b"OPEN", wait=0.1)
            assert sorted(payload for _, payload in who.said("", relay)) == [b"", b"OPEN"]
            assert who.said("", relay)[0][1] == first

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
def test_commands_to_one_relay_act_in_their_order(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            relay = who.at(RELAY)
            for state in (b"OPEN", b"CLOSED"):
                await who.command(relay, state, wait=0)
            await trio.sleep(0.3)
            assert who.take(relay) == [b"OPEN", b"CLOSED"]

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
def test_a_relay_that_is_locked_before_it_has_moved_does_not_move(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            relay = who.at(RELAY)
            await who.command(relay, b"OPEN")
            who.panel.recommission(circuit_id(who.panel.house, "Lights"), always_on=True)
            await trio.sleep(2)
            assert b"OPEN" not in who.take(relay)
            assert answers(who) == [Answer.DONE]  # as things stood

    virtual(main)


def test_no_relay_takes_less_than_no_time() -> None:
    async def main() -> None:
        async with commanding(FLAT) as who:
            for wrong in (-0.1, float("nan"), float("inf")):
                with pytest.raises(ValueError, match="no relay"):
                    who.panel.relay_delay = wrong

    virtual(main)


# --- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BOTH)
def test_each_lock_locks_one_control_and_is_silence(build: int) -> None:
    """Flat section 5, 1.x section 4: a locked relay has a writable priority, and the reverse."""

    async def main() -> None:
        async with commanding(build) as who:
            for control, name, payload in (
                (RELAY, "Fridge", b"OPEN"),  # always on
                (RELAY, "Fridge", b"CLOSED"),
                (PRIORITY, "Pump", b"NEVER"),  # never backed up
            ):
                await who.command(who.at(control, name), payload, wait=0.1)
                assert who.take() == []
            assert answers(who) == [Answer.LOCKED] * 3
            await who.command(who.at(PRIORITY, "Fridge"), b"OFF_GRID")
            await who.command(who.at(RELAY, "Pump"), b"OPEN", wait=0.1)
            assert who.retained(who.at(PRIORITY, "Fridge")) == b"OFF_GRID"
            assert who.retained(who.at(RELAY, "Pump")) == b"OPEN"

    virtual(main)


def test_from_r202639_on_the_circuits_of_inverter_and_battery_obey_nobody() -> None:
    async def main(build: int) -> list[Answer]:
        async with commanding(build) as who:
            for name in ("Solar", "Battery"):
                await who.command(who.at(RELAY, name), b"OPEN")
                await who.command(who.at(PRIORITY, name), b"OFF_GRID")
            return answers(who)

    assert virtual(lambda: main(202633)) == [Answer.DONE] * 4
    assert virtual(lambda: main(TREE)) == [Answer.LOCKED] * 4


# --- values -----------------------------------------------------------------------------------------------------------

WRONG = {
    RELAY: [b"UNKNOWN", b"open", b" OPEN", b"OPEN\n", b"BOGUS", b"", b"\0", b"true", b"\xff", b"OPEN\0"],
    PRIORITY: [b"UNKNOWN", b"NONE", b"never", b"", b"SOC", b"0"],
    Control.DOMINANT_POWER_SOURCE: [b"WIND", b"grid", b""],
    Control.ISLANDING: [b"NONE", b"UNKNOWN", b"", b"GRID", b"on_grid"],
    LIMIT: [b"16.0", b"16.5", b"+16", b" 16", b"1e1", b"0x10", b"", b"A", "١٦".encode(), b"9" * 19],
}


@pytest.mark.parametrize("build", BOTH)
def test_what_is_no_value_of_a_control_is_ignored(build: int) -> None:
    """Probe "state BOGUS": some publishers open the relay. Not this one."""

    async def main() -> None:
        async with commanding(build) as who:
            who.panel.house.battery_link_lost(0)
            await trio.sleep(1)
            who.take()
            controls = WRONG.keys() - {Control.ISLANDING if build == FLAT else Control.DOMINANT_POWER_SOURCE}
            for control in controls:
                for payload in WRONG[control]:
                    await who.command(who.at(control), payload, wait=0)
            await trio.sleep(5)
            assert who.take(*map(who.at, controls)) == []
            assert set(answers(who)) == {Answer.INVALID}

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
def test_what_is_no_control_is_ignored(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            lights = circuit_id(who.panel.house, "Lights")
            no_circuit = who.at(RELAY).replace(lights, "0" * 32)
            others = {
                FLAT: ["core/relay", "core/door", f"{lights}/name", "sd-1/status", "unmapped_tab_5/relay"],
                TREE: ["status/relay", "shed/policy", "core/dominant-power-source"],
            }
            topics = [no_circuit, *(f"{PANEL}/{path}" for path in others[build]), f"{EVSE}/config/max-charge-current"]
            for topic in topics:
                await who.command(topic, b"OPEN", wait=0)
            await trio.sleep(0.1)
            assert [topic for topic, _ in who.said(*topics)] == []
            assert answers(who) == [Answer.NO_SUCH] * len(topics)

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
def test_a_priority_is_set_at_once(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            priority = who.at(PRIORITY)
            for value in (b"OFF_GRID", b"NEVER", b"SOC_THRESHOLD"):
                await who.command(priority, value)
                assert who.take(priority) == [value]

    virtual(main)


@pytest.mark.parametrize("build", [FLAT, 202633, TREE])
def test_what_is_so_already_is_said_again_by_r202633_alone(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            await who.command(who.at(PRIORITY), b"SOC_THRESHOLD")
            assert who.take(who.at(PRIORITY)) == ([b"SOC_THRESHOLD"] if build == 202633 else [])
            assert answers(who) == [Answer.UNCHANGED]

    virtual(main)


@pytest.mark.parametrize("build", BOTH)
def test_a_charge_limit_is_brought_into_its_range_silently(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            limit = who.at(LIMIT)
            for asked, given in ((b"16", b"16"), (b"2", b"6"), (b"99", b"40"), (b"-5", b"6"), (b"040", b"40")):
                await who.command(limit, asked)
                assert who.retained(limit) == given
            assert answers(who) == [Answer.DONE, *[Answer.CLAMPED] * 3, Answer.DONE]

    virtual(main)


def test_before_r202627_there_is_no_charge_limit() -> None:
    async def main() -> None:
        async with commanding(202621) as who:
            await who.command(f"{PANEL}/sd-1/user-max-charge-current", b"16")
            assert answers(who) == [Answer.NO_SUCH]

    virtual(main)


# --- the source of power ----------------------------------------------------------------------------------------------


def test_a_power_source_has_no_effect_before_r202609_and_the_battery_takes_it_back() -> None:
    async def main(build: int) -> tuple[list[bytes], bytes | None, list[Answer]]:
        async with commanding(build) as who:
            source = who.at(Control.DOMINANT_POWER_SOURCE)
            await who.command(source, b"BATTERY")
            said = who.take(source)
            await trio.sleep(15)  # the battery is heard, and knows better
            return said, who.retained(source), answers(who)

    assert virtual(lambda: main(202603)) == ([], b"GRID", [Answer.NO_EFFECT])
    assert virtual(lambda: main(202609)) == ([b"BATTERY"], b"GRID", [Answer.DONE])


def test_a_stale_power_source_that_was_corrected_stands_until_the_battery_is_back() -> None:
    """Flat section 5: this is what it is for."""

    async def main() -> None:
        async with commanding(FLAT) as who:
            house, source = who.panel.house, who.at(Control.DOMINANT_POWER_SOURCE)
            house.grid_lost()
            house.battery_link_lost(0)
            house.grid_back()
            await trio.sleep(2)
            assert who.retained(source) == b"BATTERY"
            await who.command(source, b"GRID")
            await trio.sleep(3600)
            assert who.retained(source) == b"GRID"
            house.grid_lost()
            house.battery_link_back()
            await trio.sleep(2)
            assert who.retained(source) == b"BATTERY"

    virtual(main)


def test_an_islanding_state_is_heard_only_while_the_battery_is_not() -> None:
    async def main() -> None:
        async with commanding(TREE) as who:
            asserted = who.at(Control.ISLANDING)
            await who.command(asserted, b"OFF_GRID")
            who.panel.lose_child(f"{BESS}-mid")  # which alone does not count
            await who.command(asserted, b"OFF_GRID")
            who.panel.house.battery_link_lost(0)
            await trio.sleep(1)
            assert who.retained(f"{BESS}/status/communication-state") == b"LOST"
            assert b"OFF_GRID" not in who.take(asserted)
            await who.command(asserted, b"OFF_GRID")
            await who.command(asserted, b"NONE")
            assert who.take(asserted) == [b"OFF_GRID"]
            assert answers(who) == [*[Answer.NOT_NOW] * 2, Answer.DONE, Answer.INVALID]
            who.panel.house.battery_link_back()
            await trio.sleep(32)
            assert who.retained(asserted) == b"NONE"

    virtual(main)


def test_a_panel_whose_battery_was_removed_has_nothing_to_assert() -> None:
    async def main() -> None:
        async with commanding(TREE) as who:
            who.panel.house.battery_link_lost(0)
            who.panel.remove_child(BESS)
            await who.command(who.at(Control.ISLANDING), b"OFF_GRID")
            assert answers(who) == [Answer.NO_SUCH]

    virtual(main)


# --- nobody there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BOTH)
def test_nothing_is_heard_while_the_service_is_away_and_what_waits_is_forgotten(build: int) -> None:
    async def main() -> None:
        async with commanding(build) as who:
            who.panel.relay_delay = 2
            await who.command(who.at(RELAY), b"OPEN")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(who.panel.restart)
                await trio.sleep(1)
                await who.command(who.at(PRIORITY), b"NEVER")
            await trio.sleep(5)
            assert answers(who) == [Answer.DONE, Answer.AWAY]
            assert [command.heard for command in who.panel.commands] == [True, False]
            assert who.retained(who.at(RELAY)) == b"CLOSED"
            assert who.retained(who.at(PRIORITY)) == b"SOC_THRESHOLD"

    virtual(main)


@pytest.mark.parametrize(("state", "answer"), [("lost", Answer.AWAY), ("init", Answer.DONE)])
def test_a_child_that_is_away_hears_nothing_and_one_in_init_does(state: str, answer: Answer) -> None:
    async def main() -> None:
        async with commanding(TREE, targets=True) as who:
            who.panel.lose_child(EVSE, state)
            who.take()
            await who.command(who.at(LIMIT), b"16")
            assert answers(who) == [answer]
            assert who.take(who.at(LIMIT), f"{who.at(LIMIT)}/$target") == []
            who.panel.restore_child(EVSE)
            assert who.retained(who.at(LIMIT)) == (b"16" if state == "init" else None)

    virtual(main)


# --- the access list --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BOTH)
def test_what_the_broker_may_not_pass_on_it_acknowledges_and_drops(build: int) -> None:
    """REST section 7: no error code."""

    async def main() -> None:
        async with commanding(build) as who:
            relay, priority = who.at(RELAY), who.at(PRIORITY)
            who.panel.broker.faults = BrokerFaults(deny={f"{BASE}{relay}/set"})
            await who.command(relay, b"OPEN", wait=0.1)
            assert who.said("", relay) == [("", b"")]  # PUBACK, and no more
            await who.command(priority, b"NEVER")
            assert who.take(priority) == [b"NEVER"]
            who.panel.broker.faults = BrokerFaults()
            await who.command(relay, b"OPEN", wait=0.1)
            assert who.take(relay) == [b"OPEN"]
            assert answers(who) == [Answer.DENIED, Answer.DONE, Answer.DONE]
            assert [command.heard for command in who.panel.commands] == [False, True, True]

    virtual(main)


@pytest.mark.parametrize("what", ["ebus/5/+/#/set", "", "a+"])
def test_what_is_no_filter_cannot_be_denied(what: str) -> None:
    with pytest.raises(ValueError, match="no filter"):
        BrokerFaults(deny={what})
    assert BrokerFaults(deny="a/b").deny == {"a/b"}


def test_commands_to_what_was_decommissioned_and_to_what_is_no_property_are_dropped() -> None:
    async def main() -> None:
        async with commanding(TREE) as who:
            lights = circuit_id(who.panel.house, "Lights")
            gone: Any = (who.at(LIMIT), b"16")
            who.panel.remove_child(EVSE)
            await who.command(*gone)
            for path in ("switch", "$state", "switch/relay/$target", ""):
                await who.command(f"{lights}/{path}", b"OPEN")
            assert set(answers(who)) == {Answer.DENIED}
            who.panel.add_child(EVSE)
            await who.command(*gone)
            await who.command("another/switch/relay", b"OPEN")  # another publisher's tree
            assert answers(who)[5:] == [Answer.DONE, Answer.NO_SUCH]

    virtual(main)
