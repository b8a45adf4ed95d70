"""A panel of hardware 3.0 on its broker: how its devices announce themselves and leave, and a lock that can be set."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio

from span_trio import CommandResult, PanelOptions, open_span_panel
from span_trio.enums import Control
from span_trio.errors import SpanPanelValidationError
from span_trio.homie import DeviceState
from span_trio.simulator import CommandFaults, SimulatedPanel, open_simulated_panel
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.house.house import House
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.command_helpers import TREE, Commander, commanding, virtual
from tests.unit.simulator.hardware3_helpers import PANEL_3, SHARED, modern_house
from tests.unit.simulator.house_helpers import EVENING, HARDWARE_3, NOON, circuit_id
from tests.unit.simulator.test_device_trees import Wire, value

BESS = f"{PANEL_3}-tg121348001234"
MID = f"{BESS}-mid"
CHARGER = f"{PANEL_3}-sd-1"
LOCK = f"{CHARGER}/switch/lock-state"


def announced(wire: Wire) -> list[tuple[str, str]]:
    """Device and state, in order; and ``description``."""
    said = [(topic.partition("/")[0], topic.partition("/")[2], payload.decode()) for topic, payload in wire.take()]
    return [
        (device, text if name == "$state" else "description") for device, name, text in said if name.startswith("$")
    ]


def documents(panel: SimulatedPanel) -> dict[str, dict[str, Any]]:
    return {device: json.loads(value(panel, f"{device}/$description") or "") for device in panel.publisher.devices}


# --- announcements ----------------------------------------------------------------------------------------------------


def test_children_announce_themselves_and_then_the_panel_twice() -> None:
    async def main() -> None:
        async with open_simulated_panel(modern_house()) as panel:
            wire = Wire(panel)
            panel.start()
            said = announced(wire)
            steps = ["init", "description", "ready"]
            assert [text for _, text in said] == steps * (len(panel.publisher.devices) + 1)
            order = [device for device, text in said if text == "init"]
            assert order[-2:] == [PANEL_3, PANEL_3]
            assert order.index(MID) < order.index(BESS)
            assert set(order) == set(panel.publisher.devices)

    virtual(main)


@pytest.mark.parametrize(("goodbye", "of_all"), [(..., True), ("lost", False), (None, False)])
def test_clean_end_is_said_of_every_device_descendants_first(goodbye: Any, of_all: bool) -> None:
    async def main() -> None:
        async with open_simulated_panel(modern_house()) as panel:
            wire = Wire(panel)
            panel.stop(goodbye)
            said = announced(wire)
            if of_all:
                assert {text for _, text in said} == {"disconnected"}
                devices = [device for device, _ in said]
                assert devices[-1] == PANEL_3
                assert devices.index(MID) < devices.index(BESS)
                assert set(devices) == set(panel.publisher.devices)
            else:
                assert said == ([] if goodbye is None else [(PANEL_3, goodbye)])

    virtual(main)


def test_version_is_that_of_the_content_and_no_clock() -> None:
    one, other = (ParentChildPublisher(House(modern_house(), 1, at)) for at in (NOON, EVENING))
    assert one.descriptions() == other.descriptions()
    house = House(modern_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    lights = circuit_id(house, "Lights")
    versions = []
    for always_on in (True, False, True):
        house.recommission(lights, always_on=always_on)
        (text,) = publisher.refresh().described.values()
        versions.append(json.loads(text)["version"])
    assert versions[0] == versions[2] != versions[1]
    assert all(0 < version < 2**53 for version in versions)


def test_removed_child_goes_when_its_parent_has_left_it_out() -> None:
    async def main() -> None:
        async with open_simulated_panel(modern_house()) as panel:
            panel.publish("$alert/hot", b"too hot", device=BESS)
            await trio.sleep(2)
            wire = Wire(panel)
            panel.remove_child(BESS)
            said = [(topic.partition("/")[0], topic.partition("/")[2]) for topic, payload in wire.seen if not payload]
            assert announced(wire)[:3] == [(PANEL_3, "init"), (PANEL_3, "description"), (PANEL_3, "ready")]
            gone = [device for device, _ in said if device in {BESS, MID}]
            assert gone == sorted(gone, key=[MID, BESS].index)
            names = [name for device, name in said if device == BESS]
            assert (names[0], *names[-2:]) == ("$state", "$alert/hot", "$description")
            assert len(names) > 5
            assert BESS not in documents(panel)[PANEL_3]["children"]
            assert not [topic for topic in panel.broker.retained if f"/{BESS}" in topic]

    virtual(main)


@pytest.mark.parametrize("name", HARDWARE_3)
def test_panels_of_today_run_the_firmware_of_today(name: str) -> None:
    async def main() -> None:
        async with open_simulated_panel(name) as panel:
            assert panel.publisher.release.build == 202639
            for change in (panel.restart, panel.reboot):
                with pytest.raises(SpanPanelValidationError, match="does not run on hardware"):
                    await change(build=202633)
            assert value(panel, f"{panel.serial_number}/$state") == DeviceState.READY
        with pytest.raises(SpanPanelValidationError, match="does not run on hardware"):
            async with open_simulated_panel(name, build=202627):
                raise AssertionError

    virtual(main)


# --- commands ---------------------------------------------------------------------------------------------------------


async def told(who: Commander, payload: bytes, wait: float = 0.1) -> list[bytes]:
    """What is said of the lock when it is set to this."""
    who.take()
    await who.command(LOCK, payload, wait=wait)
    return who.take(LOCK)


def test_charger_s_lock_is_set_and_anything_else_is_ignored() -> None:
    async def main() -> None:
        async with commanding(TREE, modern_house()) as who:
            assert who.retained(LOCK) == b"UNLOCKED"
            assert await told(who, b"LOCKED") == [b"LOCKED"]
            assert await told(who, b"LOCKED") == []
            for nonsense in (b"UNKNOWN", b"locked", b"true", b"", b"\xff"):
                assert await told(who, nonsense) == []
            assert await told(who, b"UNLOCKED") == [b"UNLOCKED"]
            answers = [command.answer for command in who.panel.commands]
            assert answers == [Answer.DONE, Answer.UNCHANGED, *[Answer.INVALID] * 5, Answer.DONE]

    virtual(main)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (CommandFaults(lose=True), []),
        (CommandFaults(delay=3), []),
        (CommandFaults(duplicate=True), [b"LOCKED"] * 2),
        (CommandFaults(contradict=True), [b"UNLOCKED"]),
    ],
    ids=["lost", "late", "twice", "otherwise"],
)
def test_charger_s_lock_has_the_faults_of_other_settings(faults: CommandFaults, said: list[bytes]) -> None:
    async def main() -> None:
        async with commanding(TREE, modern_house()) as who:
            who.panel.command_faults = faults
            assert await told(who, b"LOCKED") == said
            if faults.delay:
                await trio.sleep(4)
                assert who.take(LOCK) == [b"LOCKED"]

    virtual(main)


def test_retained_command_and_number_out_of_range_are_ignored() -> None:
    async def main() -> None:
        async with commanding(TREE, modern_house()) as who:
            limit, relay = (
                f"{CHARGER}/config/user-max-charge-current",
                f"{circuit_id(who.panel.house, 'Lights')}/switch/relay",
            )
            await who.command(relay, b"OPEN", wait=1, retain=True)
            for amps in (b"2", b"99", b"16.5"):
                await who.command(limit, amps)
            assert (who.retained(relay), who.retained(limit)) == (b"CLOSED", b"40")
            assert [command.answer for command in who.panel.commands] == [Answer.RETAINED, *[Answer.INVALID] * 3]
            assert [command.heard for command in who.panel.commands] == [False, *[True] * 3]
            await who.command(limit, b"16")
            assert who.retained(limit) == b"16"

    virtual(main)


def test_charger_s_lock_is_set_by_our_own_client() -> None:
    async def main() -> None:
        options = PanelOptions(transport="mqtt", fetch_schema=False)
        async with (
            open_simulated_panel(modern_house()) as simulated,
            open_span_panel("m", credentials=simulated.credentials, options=options, dialer=simulated.dial) as panel,
        ):
            (charger,) = panel.snapshot.evse
            outcome = await panel.set_evse_lock(charger, "LOCKED")
            assert outcome.result is CommandResult.CONFIRMED
            assert value(simulated, LOCK) == "LOCKED"
            simulated.command_faults = CommandFaults(lose=True, only=Control.CHARGER_LOCK)
            outcome = await panel.set_evse_lock(charger, "UNLOCKED")
            assert outcome.result is CommandResult.ACCEPTED

    virtual(main)


def test_locked_charger_does_not_charge() -> None:
    spec = modern_house()
    house = House(attrs.evolve(spec, evse=(attrs.evolve(spec.evse[0], daily_kwh=60),)), 1, EVENING)
    charger = house.chargers["sd-1"]
    while not charger.watts:
        house.advance(house.now + 600)
    assert house.set_charger_lock("sd-1", "LOCKED").answer is Answer.DONE
    assert (charger.watts, charger.status) == (0, "PREPARING")
    house.set_charger_lock("sd-1", "UNLOCKED")
    assert charger.watts > 1000
    assert house.set_charger_lock("nobody", "LOCKED").answer is Answer.NO_SUCH


def test_relay_that_is_shared_is_one_command_and_one_answer_each() -> None:
    async def main() -> None:
        async with commanding(TREE, modern_house(), targets=True) as who:
            ids = [circuit_id(who.panel.house, name) for name in SHARED]
            await who.command(f"{ids[1]}/switch/relay", b"OPEN", wait=0.2)
            said = who.said(*(f"{device}/switch/relay" for device in ids))
            assert sorted(said) == sorted((f"{device}/switch/relay", b"OPEN") for device in ids)
            assert len(who.panel.commands) == 1
            assert {who.retained(f"{device}/switch/relay/$target") for device in ids} == {b"OPEN"}

    virtual(main)


def test_our_own_client_knows_what_else_a_simulated_relay_opens() -> None:
    async def main() -> None:
        options = PanelOptions(transport="mqtt", fetch_schema=False)
        async with (
            open_simulated_panel(modern_house()) as simulated,
            open_span_panel("m", credentials=simulated.credentials, options=options, dialer=simulated.dial) as panel,
        ):
            keys = {found.name: key for key, found in panel.snapshot.circuits.items()}
            shared = {keys[name] for name in SHARED}
            offered = {each.subject: each for each in panel.controls() if each.control is Control.RELAY}
            assert {key for key in offered if len(offered[key].reaches) > 1} == shared
            outcome = await panel.set_circuit_relay(keys["Study"], "OPEN")
            assert (outcome.result, set(outcome.reaches)) == (CommandResult.CONFIRMED, shared)
            await trio.sleep(1.5)
            assert {panel.snapshot.circuits[key].relay_state for key in shared} == {"OPEN"}
            assert not any(panel.snapshot.circuits[key].instant_power_w for key in shared)
            assert len(simulated.commands) == 1

    virtual(main)
