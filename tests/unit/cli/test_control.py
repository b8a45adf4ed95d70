"""``relay``, ``priority``, ``charge-limit`` and ``islanding`` against a simulated panel: how far each got, asking."""

import json
import signal

import pytest
import trio

from span_trio.simulator import BrokerFaults, CommandFaults, SimulatedPanel
from span_trio.simulator.broker.packets import PacketType
from tests.unit.cli.control_helpers import KITCHEN, Box, says
from tests.unit.cli.helpers import fails, run

# --- how far it got ---


async def lose(simulated: SimulatedPanel) -> None:
    simulated.command_faults = CommandFaults(lose=True)
    await trio.lowlevel.checkpoint()


async def lose_and_say_nothing(simulated: SimulatedPanel) -> None:
    simulated.broker.faults = BrokerFaults(swallow={PacketType.PUBACK})
    await lose(simulated)


async def fall_silent(simulated: SimulatedPanel) -> None:
    simulated.broker.faults = BrokerFaults(mute=True)
    await trio.lowlevel.checkpoint()


async def drop_when_told(simulated: SimulatedPanel) -> None:
    await wait_until_told(simulated)
    simulated.broker.drop()


async def wait_until_told(simulated: SimulatedPanel) -> None:
    while not simulated.commands:  # noqa: ASYNC110 - virtual time
        await trio.sleep(0.01)


def test_confirmed(box: Box) -> None:
    sentence = says(0, "relay", "h", "kitchen lights", "open", "--yes")
    assert sentence.startswith("confirmed: the relay of Kitchen Lights is OPEN, which the panel reported 5")
    assert box.told == [("relay/set", "OPEN")]


def test_so_already(box: Box) -> None:
    sentence = says(0, "relay", "h", "Kitchen Lights", "closed")
    assert sentence == "no-op: the relay of Kitchen Lights is CLOSED already; nothing was sent"
    assert box.told == []


def test_accepted(box: Box) -> None:
    box.opened = lose
    assert says(10, "relay", "h", "Kitchen Lights", "open", "--yes", "--within", "3.5") == (
        "accepted: the broker has it, but the relay of Kitchen Lights (last known: CLOSED) was not reported as OPEN "
        "within 3.5 s; it may still act, or have been dropped: look before you repeat it"
    )


def test_unconfirmed(box: Box) -> None:
    box.opened = lose_and_say_nothing
    assert says(11, "relay", "h", "Kitchen Lights", "open", "--yes") == (
        "unconfirmed: the relay of Kitchen Lights (last known: CLOSED) was told OPEN, and nothing came back within "
        "5 s; it may still act: do not just repeat it, look first"
    )


def test_unknown(box: Box) -> None:
    box.opened, box.beside = lose, drop_when_told
    assert says(12, "relay", "h", "Kitchen Lights", "open", "--yes") == (
        "unknown: the relay of Kitchen Lights (last known: CLOSED) was told OPEN, and then the link was lost; "
        "it may still act: do not just repeat it, look first"
    )
    assert box.told == [("relay/set", "OPEN")]


def test_failed(box: Box) -> None:
    box.opened, box.answer = fall_silent, True
    assert says(13, "relay", "h", "Kitchen Lights", "open") == (
        "failed: the broker did not answer a ping in time; nothing was sent for the relay of Kitchen Lights, "
        "nor will it be"
    )
    assert box.told == []


@pytest.mark.usefixtures("box")
def test_the_outcome_as_json() -> None:
    result = run("relay", "h", "Kitchen Lights", "open", "--yes", "--json")
    told = json.loads(result.stdout)
    assert all(isinstance(told["times"].pop(name), float) for name in ("called", "sent", "acknowledged", "ended"))
    assert told == {
        "command": {
            "control": "relay",
            "subject": "57699a4684bd57559054fe73a9031840",
            "name": "Kitchen Lights",
            "wanted": "OPEN",
            "within": 5.0,
            "reaches": ["57699a4684bd57559054fe73a9031840"],
            "reaches_unknown": [],
        },
        "result": "confirmed",
        "detail": "",
        "may_still_act": False,
        "times": {},
        "value": "OPEN",
        "target": None,
        "requester": "USER",
    }


def test_json_says_what_is_open_and_when_nothing_was_sent(box: Box) -> None:
    result = run("relay", "h", "Kitchen Lights", "closed", "--json")
    assert json.loads(result.stdout)["times"]["sent"] is None
    box.opened = lose
    result = run("relay", "h", "Kitchen Lights", "open", "--yes", "--json")
    assert result.exit_code == 10
    assert json.loads(result.stdout)["may_still_act"]


def test_ctrl_c_says_that_what_was_written_may_still_act(box: Box) -> None:
    async def interrupt(simulated: SimulatedPanel) -> None:
        await wait_until_told(simulated)
        signal.raise_signal(signal.SIGINT)

    box.opened, box.beside = lose, interrupt
    result = run("relay", "h", "Kitchen Lights", "open", "--yes")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.startswith("span-trio: not waited for to the end: accepted: the broker has it, but the relay")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_before_anything_was_written_says_nothing(box: Box) -> None:
    async def interrupt(_: SimulatedPanel) -> None:
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    box.answer, box.beside = True, interrupt
    result = run("relay", "h", "Kitchen Lights", "open")
    assert (result.exit_code, result.output, box.told) == (130, "", [])


# --- the others ---


@pytest.mark.parametrize("word", ["off-grid", "OFF_GRID", "Off-Grid"])
def test_a_priority(word: str, box: Box) -> None:
    sentence = says(0, "priority", "h", "Kitchen Lights", word)
    assert sentence.startswith("confirmed: the priority of Kitchen Lights is OFF_GRID, which the panel reported ")
    assert box.told == [("shed-priority/set", "OFF_GRID")]


@pytest.mark.parametrize("charger", [[], ["sd-2231-00042"], ["garage charger"]])
def test_a_charge_limit(charger: list[str], box: Box) -> None:
    sentence = says(0, "charge-limit", "h", *charger, 16)
    assert sentence.startswith("confirmed: the charge limit of Garage Charger is 16, ")
    assert box.told == [("user-max-charge-current/set", "16")]


def test_which_charger(box: Box) -> None:
    box.house, box.build = "mlo-48", 202639
    assert fails(20, "charge-limit", "h", 16) == (
        "there are 2 chargers: Charger Left (dt-2602-00871, positions 17 and 19), "
        "Charger Right (dt-2602-00872, positions 18 and 20); say the id of one"
    )
    assert says(0, "charge-limit", "h", "charger left", 16).startswith("confirmed: the charge limit of Charger Left ")


def test_no_charger(box: Box) -> None:
    box.house = "8"
    assert fails(20, "charge-limit", "h", 16) == "this panel has no charger"


async def lose_the_battery(simulated: SimulatedPanel) -> None:
    simulated.house.battery_link_lost()
    await trio.sleep(301)


@pytest.mark.parametrize("word", ["off-grid", "OFF_GRID"])
def test_islanding(word: str, box: Box) -> None:
    box.build, box.before = 202639, lose_the_battery
    sentence = says(0, "islanding", "h", word)
    assert sentence.startswith("confirmed: the islanding assertion of nt-2143-c32aa is OFF_GRID, ")
    assert box.told == [("asserted-islanding-state/set", "OFF_GRID")]


@pytest.mark.usefixtures("box")
def test_islanding_is_a_matter_of_newer_firmware() -> None:
    assert fails(20, "islanding", "h", "off-grid") == "the islanding assertion of nt-2143-c32aa: no such control"


# --- asking ---


def test_opening_asks_in_full_and_yes_is_yes(box: Box) -> None:
    box.answer = True
    says(0, "relay", "h", "Kitchen Lights", "open")
    (question,) = box.questions
    assert question.startswith(f"Open {KITCHEN}? It is CLOSED, and it draws ")
    assert question.endswith(" W now; what hangs on it loses power.")
    assert box.told == [("relay/set", "OPEN")]


@pytest.mark.parametrize("command", [["relay", "h", "Kitchen Lights", "open"], ["islanding", "h", "on-grid"]])
def test_no_is_no(command: list[str], box: Box) -> None:
    box.build, box.answer = 202639, False
    assert fails(23, *command) == "nothing was sent"
    assert len(box.questions) == 1
    assert box.told == []


def test_asserting_on_grid_asks(box: Box) -> None:
    box.build, box.answer = 202639, True
    says(10, "islanding", "h", "on-grid")
    assert box.questions == [
        "Assert that nt-2143-c32aa is on the grid? Nothing is shed any more then, which may drain the battery."
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["relay", "h", "Kitchen Lights", "closed"],
        ["relay", "h", "Kitchen Lights", "open", "--yes"],
        ["priority", "h", "Kitchen Lights", "never"],
        ["charge-limit", "h", "16"],
    ],
)
def test_no_question(command: list[str], box: Box) -> None:
    box.answer = False
    assert run(*command).exit_code == 0
    assert box.questions == []


@pytest.mark.parametrize("command", [["relay", "h", "Kitchen Lights", "open"], ["islanding", "h", "on-grid"]])
def test_nobody_there_is_no_yes(command: list[str], box: Box) -> None:
    assert "nobody is there to be asked" in fails(2, *command)
    assert box.questions == box.told == []


def test_what_is_refused_anyway_is_not_asked_for(box: Box) -> None:
    box.answer = True
    fails(21, "relay", "h", "Refrigerator", "open")
    fails(20, "relay", "h", "Fridge Freezer", "open")
    assert box.questions == []


def test_a_panel_that_went_offline_meanwhile_is_not_told(box: Box) -> None:
    async def stop(simulated: SimulatedPanel) -> None:
        await trio.sleep(1)
        simulated.stop("lost")

    box.answer, box.beside = True, stop
    sentence = fails(3, "relay", "h", "Kitchen Lights", "open")
    assert sentence == "the panel is not live: device state: lost; nothing was sent"
    assert box.told == []
