"""A simulated panel for the commands that command: in memory, on a virtual clock, with its log of what arrived."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from span_trio import PanelOptions, SpanPanel, open_span_panel
from span_trio.simulator import HouseSpec, ReceivedCommand, SimulatedPanel, open_simulated_panel
from tests.unit.cli.helpers import run

__all__ = ["KITCHEN", "OUTLETS", "Box", "run_virtually", "says"]

KITCHEN = "Kitchen Lights (57699a4684bd57559054fe73a9031840, position 1)"
OUTLETS = "Kitchen Outlets (3e08242044115a5da61bba2ad6902625, position 7)"

Step = Callable[[SimulatedPanel], Awaitable[None]]


async def nothing(_: SimulatedPanel) -> None:
    await trio.lowlevel.checkpoint()


@attrs.define
class Box:
    """A simulated panel at every address."""

    house: HouseSpec | str = "32"
    build: int = 202627
    before: Step = nothing
    """Done before the panel is opened."""
    opened: Step = nothing
    """Done when it is."""
    beside: Step = nothing
    """Goes on while the command does."""
    answer: bool | None = None
    """What the person says after two seconds; ``None``: nobody is there."""
    questions: list[str] = attrs.field(factory=list[str])
    received: list[ReceivedCommand] = attrs.field(factory=list[ReceivedCommand])

    @asynccontextmanager
    async def open_span_panel(self, host: str, **arguments: Any) -> AsyncGenerator[SpanPanel, None]:
        """In place of the real one."""
        async with open_simulated_panel(self.house, build=self.build) as simulated, trio.open_nursery() as nursery:
            await self.before(simulated)
            arguments |= {"credentials": simulated.credentials, "options": PanelOptions(transport="mqtt")}
            failure: BaseException | None = None
            try:
                async with open_span_panel(host, dialer=simulated.dial, **arguments) as panel:
                    await self.opened(simulated)
                    nursery.start_soon(self.beside, simulated)
                    yield panel
            except BaseException as error:  # noqa: BLE001 - which this nursery would put into a group
                failure = error
            self.received[:] = simulated.commands
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def ask(self, question: str) -> bool:
        """In place of the terminal."""
        self.questions.append(question)
        await trio.sleep(2)
        return self.answer is True

    @property
    def told(self) -> list[tuple[str, str]]:
        """What the panel was told: the end of the topic, and the payload."""
        return [("/".join(command.topic.split("/")[-2:]), command.payload) for command in self.received]


def run_virtually(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    clock = MockClock(autojump_threshold=0)
    return trio.run(function, *arguments, clock=clock, restrict_keyboard_interrupt_to_checkpoints=True)


def says(code: int, *arguments: Any) -> str:
    """Run a command that is decided: its sentence, which is all that it says."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (code, "", 1), result.output
    return result.stdout.removesuffix("\n")
