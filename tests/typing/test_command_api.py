"""A program that commands a panel, as its author's type checkers see it. Never run."""

from typing import assert_never, assert_type

import trio

from span_trio import (
    CircuitControlProtocol,
    Command,
    CommandOutcome,
    CommandRecord,
    CommandResult,
    Control,
    GridState,
    Instant,
    LockState,
    OfferedControl,
    PanelCapability,
    PanelControlProtocol,
    RefusalReason,
    RelayState,
    ShedPriority,
    SpanPanel,
    SpanPanelClientProtocol,
    SpanPanelCommandError,
    SpanPanelCommandValueError,
    SpanPanelError,
    SpanPanelLockedError,
    SpanPanelNotAuthorisedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
    SpanPanelValidationError,
    StreamingCapableProtocol,
    open_span_panel,
)

# --- commanding ---


async def command(panel: SpanPanel) -> None:
    outcome = await panel.set_circuit_relay("kitchen", RelayState.OPEN)
    assert_type(outcome, CommandOutcome)
    assert_type(await panel.set_circuit_relay("kitchen", "OPEN", within=3), CommandOutcome)
    assert_type(await panel.set_circuit_priority("kitchen", ShedPriority.NEVER), CommandOutcome)
    assert_type(await panel.set_dominant_power_source("GRID"), CommandOutcome)
    assert_type(await panel.assert_islanding_state(GridState.ON_GRID, within=0.5), CommandOutcome)
    assert_type(await panel.set_evse_charge_limit("drive", 16), CommandOutcome)
    assert_type(await panel.set_evse_charge_limit("drive", "16"), CommandOutcome)
    assert_type(await panel.set_evse_lock("drive", LockState.LOCKED), CommandOutcome)
    assert_type(await panel.set_evse_lock("drive", "LOCKED"), CommandOutcome)
    assert_type(await panel.set_property("heater", "control", "plan", {"a": [1]}), CommandOutcome)
    told(outcome)
    asked(outcome.command)


async def wrong(panel: SpanPanel) -> None:
    await panel.set_circuit_relay("kitchen", True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await panel.set_circuit_relay("kitchen")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await panel.set_circuit_relay("kitchen", "OPEN", 5.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await panel.set_evse_charge_limit("drive", 16.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    panel.capabilities = PanelCapability.NONE  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def told(outcome: CommandOutcome) -> None:
    assert_type(outcome.result, CommandResult)
    assert_type((outcome.is_done, outcome.may_still_act), tuple[bool, bool])
    assert_type(outcome.detail, str)
    assert_type(outcome.ended_at, Instant)
    assert_type((outcome.sent_at, outcome.acknowledged_at), tuple[Instant | None, Instant | None])
    assert_type((outcome.value, outcome.target, outcome.requester), tuple[str | None, str | None, str | None])
    outcome.detail = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def asked(command: Command) -> None:
    assert_type(command.control, Control)
    assert_type(command.subject, str)
    assert_type(command.wanted, object)
    assert_type(command.within, float)
    assert_type(command.called_at, Instant)
    assert_type(command.epoch, int)


def advice(result: CommandResult) -> str:
    """Every member; the set is closed, and type checkers know it."""
    match result:
        case CommandResult.CONFIRMED | CommandResult.NO_OP:
            return "done"
        case CommandResult.ACCEPTED | CommandResult.UNCONFIRMED | CommandResult.UNKNOWN:
            return "look again"
        case CommandResult.FAILED:
            return "never sent"
        case _:
            assert_never(result)


def of_circuits(control: Control) -> bool:
    match control:
        case Control.RELAY | Control.PRIORITY:
            return True
        case Control.DOMINANT_POWER_SOURCE | Control.ISLANDING | Control.PROPERTY:
            return False
        case Control.CHARGE_LIMIT | Control.CHARGER_LOCK:
            return False


# --- refusals ---


async def careful(panel: SpanPanel) -> RefusalReason | None:
    try:
        await panel.set_circuit_relay("kitchen", "OPEN")
    except SpanPanelUnknownTargetError as error:
        base: SpanPanelCommandError = error
        return base.reason
    except SpanPanelLockedError as error:
        assert_type(error.reason, RefusalReason)
    except SpanPanelNotAuthorisedError as error:
        return error.reason
    except SpanPanelCommandValueError as error:
        validation: SpanPanelValidationError = error
        meant: ValueError = error
        raise validation from meant
    except SpanPanelStaleDataError as error:
        ours: SpanPanelError = error
        raise ours from None
    return None


# --- hooks ---


async def authorise(command: Command) -> None:
    await trio.lowlevel.checkpoint()
    if command.control is Control.RELAY:
        raise PermissionError(command.subject)


async def audit(record: CommandRecord) -> None:
    await trio.lowlevel.checkpoint()
    assert_type(record.command, Command)
    assert_type(record.outcome, CommandOutcome | None)
    assert_type(record.error, BaseException | None)


async def not_a_hook(number: int) -> None:
    await trio.sleep(number)


async def hooked() -> None:
    async with open_span_panel("192.168.1.100", authorise=authorise, audit=audit) as panel:
        assert_type(panel, SpanPanel)
    open_span_panel("192.168.1.100", audit=not_a_hook)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_span_panel("192.168.1.100", authorise=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- what can be commanded ---


def offered(panel: SpanPanel) -> None:
    for control in panel.controls():
        assert_type(control, OfferedControl)
        assert_type(control.control, Control)
        assert_type(
            (control.subject, control.device_id, control.node_id, control.property_id), tuple[str, str, str, str]
        )
        assert_type(control.choices, tuple[str, ...])
        assert_type((control.minimum, control.maximum), tuple[float | None, float | None])
        assert_type(control.refusal, RefusalReason | None)
    assert_type(panel.capabilities, PanelCapability)
    assert_type(PanelCapability.CIRCUIT_CONTROL in panel.capabilities, bool)
    assert_type(PanelCapability.CIRCUIT_CONTROL | PanelCapability.BATTERY_SOE, PanelCapability)


# --- protocols: a panel is all of them ---


def reads(panel: SpanPanelClientProtocol) -> float | None:
    return panel.snapshot.instant_grid_power_w if panel.live else None


async def streams(panel: StreamingCapableProtocol) -> int:
    async for snapshot in panel.snapshots():
        return len(snapshot.circuits)
    async for edge in panel.edges():
        return edge.epoch
    return 0


async def commands(panel: CircuitControlProtocol) -> bool:
    return (await panel.set_circuit_relay("kitchen", RelayState.CLOSED, within=2.0)).is_done


async def controls(panel: PanelControlProtocol) -> bool:
    return bool(panel.controls()) and (await panel.set_dominant_power_source("GRID")).is_done


async def all_of_them(panel: SpanPanel) -> None:
    reads(panel)
    await streams(panel)
    await commands(panel)
    await controls(panel)
    assert_type(panel.statistics().audits_missed, int)


async def whatever_it_is(thing: object) -> None:
    if isinstance(thing, CircuitControlProtocol):
        assert_type(await thing.set_circuit_priority("kitchen", "NEVER"), CommandOutcome)


class Relays:
    """What a program's test needs of a panel, and no more."""

    async def set_circuit_relay(
        self, circuit_id: str, state: RelayState | str, *, within: float | None = None
    ) -> CommandOutcome:
        await trio.lowlevel.checkpoint()
        raise NotImplementedError(circuit_id, state, within)

    async def set_circuit_priority(
        self, circuit_id: str, priority: ShedPriority | str, *, within: float | None = None
    ) -> CommandOutcome:
        await trio.lowlevel.checkpoint()
        raise NotImplementedError(circuit_id, priority, within)


async def in_a_test() -> None:
    await commands(Relays())
    await controls(Relays())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
