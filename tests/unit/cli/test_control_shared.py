"""Circuits on one relay, on the command line: whoever is asked is told what else goes off."""

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from rich.console import Console

from span_trio import SpanPanel
from span_trio.cli import control, offers
from tests.unit.cli.control_helpers import run_virtually, says
from tests.unit.cli.helpers import ESCAPE, fails, run
from tests.unit.commanding import Desk, Order, acknowledge
from tests.unit.span.child_house import ROOT, describe, house, messages_of

FREEZER, SOCKETS, LIGHTS = "freezer52", "sockets53", "lights54"
NAMES = {FREEZER: "Freezer", SOCKETS: "Sockets", LIGHTS: "Lights"}


def relay(circuit: str) -> str:
    return f"ebus/5/{circuit}/switch/relay"


def shared(circuit: str) -> str:
    return f"ebus/5/{circuit}/switch/shared-with-device-ids"


def obey(desk: Desk, order: Order) -> None:
    acknowledge(desk, order)
    desk.broker.publish(order.property_topic, order.payload)


def retained() -> dict[str, bytes]:
    found = {f"ebus/5/{name}": text for name, text in messages_of(house(**dict.fromkeys(NAMES, "circuit"))).items()}
    what = describe("circuit", parent=ROOT, switch__shared_with_device_ids={"datatype": "string"})
    for number, (circuit, name) in enumerate(NAMES.items(), 1):
        found |= {
            f"ebus/5/{circuit}/$description": json.dumps(what),
            f"ebus/5/{circuit}/info/name": name,
            f"ebus/5/{circuit}/info/spaces": str(number),
            f"ebus/5/{circuit}/meter/active-power": f"-{100 * number}.0",
            relay(circuit): "CLOSED",
        }
    found |= {shared(FREEZER): SOCKETS, shared(SOCKETS): FREEZER}
    return {name: text.encode() for name, text in found.items()}


@attrs.define
class Shop:
    """A panel at every address, two of whose circuits hang on one relay."""

    desk: Desk = attrs.field(factory=lambda: Desk(retained=retained(), answer=obey))
    answer: bool = True
    while_asked: Callable[[SpanPanel], Awaitable[object]] | None = None
    questions: list[str] = attrs.field(factory=list[str])
    panel: SpanPanel | None = None

    @asynccontextmanager
    async def open_span_panel(self, _host: str, **arguments: Any) -> AsyncGenerator[SpanPanel, None]:
        async with self.desk.opened(alone=False, audit=arguments.get("audit")) as self.panel:
            yield self.panel

    async def ask(self, question: str) -> bool:
        self.questions.append(question)
        if self.while_asked is not None and self.panel is not None:
            await self.while_asked(self.panel)
        return self.answer


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    here = Shop()
    for place in (control, offers):
        monkeypatch.setattr(place, "open_span_panel", here.open_span_panel)
        monkeypatch.setattr(place, "run", run_virtually)
    monkeypatch.setattr(control, "ask", here.ask)
    monkeypatch.setattr(control, "need_terminal", lambda _: None)
    return here


def test_the_question_names_what_else_opens(shop: Shop) -> None:
    sentence = says(0, "relay", "h", "Sockets", "open")
    (question,) = shop.questions
    assert question == (
        "Open Sockets (sockets53, position 2)? Freezer (freezer52, position 1) hangs on the same relay and will open "
        "with it. It is CLOSED; Sockets draws 200 W now, Freezer draws 100 W now; what hangs on them loses power."
    )
    assert sentence.startswith("confirmed: the relay of Sockets (one relay with Freezer) is OPEN, which the panel ")


def test_a_circuit_alone_is_asked_about_alone(shop: Shop) -> None:
    assert says(0, "relay", "h", "Lights", "open").startswith("confirmed: the relay of Lights is OPEN, ")
    assert shop.questions == [
        "Open Lights (lights54, position 3)? It is CLOSED, and it draws 300 W now; what hangs on it loses power."
    ]


def test_what_the_panel_has_not_is_named_by_its_id(shop: Shop) -> None:
    shop.desk.broker.retained[shared(FREEZER)] = f"{SOCKETS}, else{ESCAPE}where".encode()
    says(0, "relay", "h", "Freezer", "open")
    assert " and Sockets (" in shop.questions[0]
    assert "else" in shop.questions[0]
    assert " hang on the same relay and will open with it. " in shop.questions[0]


def test_who_said_yes_to_one_does_not_open_two(shop: Shop) -> None:
    async def share(panel: SpanPanel) -> None:
        shop.desk.broker.publish(shared(LIGHTS), FREEZER)
        await panel.ping()

    shop.while_asked = share
    assert fails(21, "relay", "h", "Lights", "open") == (
        "the relay of Lights (lights54, position 3) (one relay with Freezer, Sockets): reaches other circuits by now"
    )
    assert shop.desk.orders == []


def test_who_went_offline_while_asked_is_told_so(shop: Shop) -> None:
    async def lose(_: SpanPanel) -> None:
        shop.desk.broker.publish(f"ebus/5/{ROOT}/$state", "lost")
        await trio.sleep(0.1)

    shop.while_asked = lose
    assert fails(3, "relay", "h", "Sockets", "open").endswith("; nothing was sent")


def test_a_locked_partner_is_named_before_anybody_is_asked(shop: Shop) -> None:
    shop.desk.broker.retained[f"ebus/5/{FREEZER}/switch/relay-controllable"] = b"false"
    assert fails(21, "relay", "h", "Sockets", "open") == (
        "the relay of Sockets (sockets53, position 2) (one relay with Freezer): not controllable"
    )
    assert shop.questions == []


def test_the_outcome_for_programs_names_all(shop: Shop) -> None:
    said = json.loads(run("relay", "h", "Sockets", "open", "--yes", "--json").stdout)
    assert said["command"]["reaches"] == [SOCKETS, FREEZER]
    assert said["command"]["reaches_unknown"] == []
    assert shop.questions == []


@pytest.mark.usefixtures("shop")
def test_the_list_says_what_shares_a_relay() -> None:
    rows = [re.split(" {2,}", line) for line in run("controls", "h").stdout.splitlines()]
    ends = {(row[0], row[1]): row[6:] for row in rows}
    assert ends["relay", "Sockets"] == [SOCKETS, "one relay with Freezer"]
    assert ends["priority", "Freezer"] == [FREEZER, "one relay with Sockets"]
    assert ends["relay", "Lights"] == [LIGHTS]
    offered = json.loads(run("controls", "h", "--json").stdout)
    assert [each["reaches"] for each in offered if each["subject"] == SOCKETS] == 2 * [[SOCKETS, FREEZER]]


@pytest.mark.usefixtures("shop")
def test_the_list_for_people_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(offers, "_out", terminal)
    with terminal.capture() as captured:
        run("controls", "h")
    shown = captured.get()
    assert "CLOSED, one relay with Freezer" in shown
    assert shown.count("one relay with") == 4
