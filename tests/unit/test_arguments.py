"""Arguments that are not what they have to be: an error of our tree that names them, and never anything else."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from span_trio import (
    CommandRecord,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelError,
    SpanPanelValidationError,
    fetch_snapshot,
    open_span_panel,
    register_panel,
)
from span_trio.homie import Limits
from tests.unit.commanding import Desk
from tests.unit.link.broker import Broker
from tests.unit.link.house import CREDENTIALS, house, opened
from tests.unit.span.helpers import KITCHEN

pytestmark = pytest.mark.virtual_time

SECRET = "correct-horse"
NO_TIMES: list[Any] = ["5", b"5", math.nan, -1, -math.inf, True, None, [1], 1j, 10**400, 10**5000, object()]
NO_DEADLINES = [*(value for value in NO_TIMES if value is not None), 0, 0.0, math.inf]
NO_TEXTS: list[Any] = [1, None, b"kitchen", ["a"], {}, object(), 1.5, True]
WEIRD: list[Any] = [
    *NO_TEXTS,
    math.nan,
    math.inf,
    10**400,
    10**5000,
    [10**5000],
    {1: 2},
    [[]],
    lambda: None,
    "\ud800",
    "a\n\x1b[31m",
    "",
]


def each(name: str, values: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, values, ids=[f"{type(value).__name__} {n}" for n, value in enumerate(values)])


Call = Callable[[SpanPanel, Any], Awaitable[object]]
COMMANDS: dict[str, tuple[Call, Call, Callable[..., Awaitable[object]]]] = {
    "relay": (
        lambda panel, who: panel.set_circuit_relay(who, "OPEN"),
        lambda panel, value: panel.set_circuit_relay(KITCHEN, value),
        lambda panel, within: panel.set_circuit_relay(KITCHEN, "OPEN", within=within),
    ),
    "priority": (
        lambda panel, who: panel.set_circuit_priority(who, "NEVER"),
        lambda panel, value: panel.set_circuit_priority(KITCHEN, value),
        lambda panel, within: panel.set_circuit_priority(KITCHEN, "NEVER", within=within),
    ),
    "charge limit": (
        lambda panel, who: panel.set_evse_charge_limit(who, 16),
        lambda panel, value: panel.set_evse_charge_limit("sd-2231-00042", value),
        lambda panel, within: panel.set_evse_charge_limit("sd-2231-00042", 16, within=within),
    ),
    "source": (
        lambda panel, who: panel.set_property(who, "core", "relay", "OPEN"),
        lambda panel, value: panel.set_dominant_power_source(value),
        lambda panel, within: panel.set_dominant_power_source("BATTERY", within=within),
    ),
    "islanding": (
        lambda panel, who: panel.set_property(panel.serial_number, who, "relay", "OPEN"),
        lambda panel, value: panel.assert_islanding_state(value),
        lambda panel, within: panel.assert_islanding_state("ON_GRID", within=within),
    ),
    "property": (
        lambda panel, who: panel.set_property(panel.serial_number, "core", who, "OPEN"),
        lambda panel, value: panel.set_property(panel.serial_number, "core", "relay", value),
        lambda panel, within: panel.set_property(panel.serial_number, "core", "relay", "OPEN", within=within),
    ),
}
every = pytest.mark.parametrize("command", list(COMMANDS))


async def refused(call: Awaitable[object]) -> SpanPanelError:
    with pytest.raises(SpanPanelError) as caught:
        await call
    return caught.value


# --- commands ---------------------------------------------------------------------------------------------------------


@every
async def test_a_command_to_what_is_no_text_is_refused_and_audited(command: str) -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        heard.append(record)

    desk, errors = Desk(), []
    async with desk.opened(audit=audit) as panel:
        for value in NO_TEXTS:
            error = await refused(COMMANDS[command][0](panel, value))
            assert isinstance(error, SpanPanelValidationError)
            assert "must be text, not a" in str(error)
            errors.append(error)
    assert [record.error for record in heard] == errors
    assert desk.orders == []


@every
async def test_a_command_for_any_value_whatever_ends_in_one_of_our_errors(command: str) -> None:
    loop: list[Any] = []
    loop.append(loop)
    desk = Desk()
    async with desk.opened() as panel:
        for value in [*WEIRD, loop]:
            assert isinstance(await refused(COMMANDS[command][1](panel, value)), SpanPanelError)
    assert desk.orders == []


@every
async def test_a_command_within_no_time_is_refused_and_audited(command: str) -> None:
    heard: list[CommandRecord] = []

    async def audit(record: CommandRecord) -> None:
        heard.append(record)

    desk, errors = Desk(), []
    async with desk.opened(audit=audit) as panel:
        for within in NO_DEADLINES:
            error = await refused(COMMANDS[command][2](panel, within))
            assert isinstance(error, SpanPanelValidationError)
            assert str(error).startswith("within must be a number of seconds above 0, not ")
            errors.append(error)
    assert [record.error for record in heard] == errors
    assert [record.command.within for record in heard] == NO_DEADLINES
    assert desk.orders == []


# --- the rest of a panel ----------------------------------------------------------------------------------------------


@each("held_for", NO_TIMES)
async def test_what_is_held_for_no_time_is_not_waited_for(held_for: Any) -> None:
    async with opened(Broker(house())) as panel:
        for call in (
            panel.wait_live(held_for=held_for),
            panel.wait_for(lambda _: True, held_for=held_for),
        ):
            assert str(await refused(call)).startswith("held_for must be a number of seconds, 0 or more, not ")


async def _async_predicate(_: object) -> bool:
    raise AssertionError


class _AsyncPredicate:
    async def __call__(self, _: object) -> bool:
        raise AssertionError


@each("predicate", [None, "live", 1, True, [], _async_predicate, _AsyncPredicate()])
async def test_a_predicate_that_would_be_true_of_anything_is_refused(predicate: Any) -> None:
    async with opened(Broker(house())) as panel:
        with trio.fail_after(1):
            error = await refused(panel.wait_for(predicate))
        assert str(error).startswith("predicate must be an ordinary function, not a")


@each("seconds", NO_TIMES)
async def test_an_interval_that_is_no_time_changes_nothing(seconds: Any) -> None:
    async with opened(Broker(house())) as panel:
        before = panel.snapshot_interval
        with pytest.raises(SpanPanelValidationError, match=r"^snapshot_interval must be "):
            panel.snapshot_interval = seconds
        assert panel.snapshot_interval == before


# --- opening one ------------------------------------------------------------------------------------------------------

OPENING: list[tuple[str, Any]] = [
    *(("host", value) for value in (1, None, b"panel", ["panel"], Path("panel"))),
    *(("credentials", value) for value in ({"passphrase": SECRET}, SECRET, 1, [SECRET], True, b"")),
    *(("store", value) for value in (1, b"span.json", ["span.json"], {"passphrase": SECRET}, True, SpanCredentials())),
    *(("passphrase", value) for value in (1, SECRET.encode(), [SECRET], {"passphrase": SECRET}, True)),
    *(("options", value) for value in ({"transport": "mqtt"}, "mqtt", 1, PanelOptions, [])),
    *((name, value) for name in ("dialer", "authorise", "audit") for value in (True, "yes", 1, [], {})),
]


@pytest.mark.parametrize(("name", "value"), OPENING, ids=[f"{name} {n}" for n, (name, _) in enumerate(OPENING)])
async def test_a_panel_is_not_opened_with_an_argument_of_another_type(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {"host": "panel", "credentials": CREDENTIALS, name: value}
    opens: list[Callable[..., Awaitable[object]]] = [_open]
    if name not in {"authorise", "audit"}:
        opens.append(fetch_snapshot)
    for call in opens:
        error = await refused(call(**arguments))
        assert isinstance(error, SpanPanelValidationError)
        assert str(error).startswith(f"{name} must be ")
        assert SECRET not in repr(error)


async def _open(**arguments: Any) -> None:
    async with open_span_panel(arguments.pop("host"), **arguments):
        raise AssertionError("it was opened")


@each("found", [None, {"passphrase": SECRET}, SECRET, 1, object()])
async def test_a_source_of_credentials_gives_credentials_or_is_refused(found: Any) -> None:
    async def source() -> Any:
        await trio.lowlevel.checkpoint()
        return found

    for credentials in (source, lambda: found, lambda: CREDENTIALS):
        error = await refused(_open(host="panel", credentials=credentials))
        assert isinstance(error, SpanPanelValidationError)
        assert str(error).startswith("credentials must be SpanCredentials, or an async function that gives them, not ")
        assert SECRET not in repr(error)


@pytest.mark.parametrize("name", ["devices", "topics", "payload_bytes"])
@each("value", [-1, "1", 1.0, True, None, math.nan])
def test_a_limit_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises(SpanPanelValidationError, match=f"^{name} must be a whole number, 0 or more, not "):
        Limits(**{name: value})


@each("answer", ["no", 1, "yes", None, False, [0]])
async def test_a_fingerprint_is_confirmed_by_true_and_nothing_else(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(*_: object) -> str:
        await trio.lowlevel.checkpoint()
        return "a CA"

    async def confirm(_: str) -> Any:
        await trio.lowlevel.checkpoint()
        return answer

    monkeypatch.setattr("span_trio.onboard._fetch_ca", fetched)
    monkeypatch.setattr("span_trio.onboard.fingerprint", lambda _: "00")
    error = await refused(register_panel("panel", passphrase=SECRET, confirm=confirm))
    assert str(error) == "the CA was not confirmed"
