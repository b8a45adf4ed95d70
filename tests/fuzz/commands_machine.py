"""Commands under fire: an open panel on a scripted link and device, commanded by several tasks at once.

A `Schedule` is what happens, step by step, with time, or only a few turns of the scheduler, between two of them. `play`
lets it happen on a clock that jumps, and has `commands_oracle` judge it from the log of the broker and the device.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias
from unittest.mock import patch

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from span_trio import (
    Command,
    CommandOutcome,
    CommandRecord,
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelError,
    auditor,
    open_span_panel,
)

from .commands_broker import Broker
from .commands_history import CHECKS, Call, History, Violation
from .commands_house import PLANS, ROOT, Ask, House, topic
from .commands_house3 import HOUSES
from .commands_oracle import judge

__all__ = ["DEMANDED", "REACHED", "Schedule", "Step", "Timed", "World", "play", "run_all"]

Step: TypeAlias = tuple[Any, ...]
"""A word, and what belongs to it: see `World._do`."""
Timed: TypeAlias = tuple[float, Step]
"""How long after the one before, s; or, below 0, how many turns of the scheduler."""


class Schedule(NamedTuple):
    """All that happens in a run."""

    steps: tuple[Timed, ...]
    plans: tuple[str, ...] = ("at once",)
    audit: str = ""
    held: int = 256
    """How many records may wait for ``audit``."""
    house: str = "flat"
    patient: bool = True
    """Whether the panel is closed only when all calls have ended."""


REACHED: Final[Counter[str]] = Counter()
"""In how many runs of this process it came to what; ``runs`` and ``calls`` are counted, too."""

DEMANDED: Final = {
    "confirmed": 0.25,
    "accepted": 0.12,
    "accepted: the target": 0.01,
    "unconfirmed": 0.08,
    "unknown": 0.08,
    "unknown: closed": 0.02,
    "failed": 0.08,
    "failed: early": 0.02,
    "no-op": 0.10,
    "SpanPanelStaleDataError": 0.10,
    "SpanPanelClosedError": 0.03,
    "SpanPanelLockedError": 0.02,
    "SpanPanelUnknownTargetError": 0.03,
    "SpanPanelCommandValueError": 0.03,
    "SpanPanelNotAuthorisedError": 0.02,
    "RefusedError": 0.02,
    "cancelled": 0.03,
    "cancelled: written": 0.01,
    "confirmed in a later epoch": 0.01,
    "heard behind the end of its call": 0.02,
    "written: shared": 0.08,
    "reaches others": 0.003,
    "value of one that is gone": 0.03,
}
"""The share of runs that must have come to it: a machine that never confirms proves nothing."""

_OPTIONS: Final = PanelOptions(transport="mqtt", fetch_schema=False, max_silence=math.inf)
_CREDENTIALS: Final = SpanCredentials(serial_number=ROOT)
_LONGEST: Final = 100.0  # s: no call, and no closing, takes so long
_HOOKS: Final[dict[str, float]] = {"tick": 0, "wait": 0.4, "long": 1.95, "no": 0, "late no": 0.4, "false": 0}
_AUDITS: Final[dict[str, float]] = {"slow": 0.2, "raises late": 0.05, "hangs": float("inf")}


class RefusedError(Exception):
    """What ``authorise`` raises."""


class Text(str):
    """A text of its own, so that a `Command` can be told from any other that means the same."""

    __slots__ = ()


class World:
    """One run."""

    def __init__(self, schedule: Schedule, houses: Mapping[str, House] = HOUSES) -> None:
        self.schedule = schedule
        self.house = houses[schedule.house]
        self.broker = Broker(self._after, self.house, schedule.plans)
        self.calls: list[Call] = []
        self.records: list[CommandRecord] = []
        self.clock = MockClock(autojump_threshold=0)
        self.panel: SpanPanel
        self.missed = 0
        self._tasks: dict[trio.lowlevel.Task, Call] = {}
        self._open = 0
        self._all_ended = trio.Event()
        self._nursery: trio.Nursery

    def run(self) -> History:
        quiet = patch.object(logging.getLogger("span_trio.commands"), "disabled", True)
        with quiet, patch.object(auditor, "_HELD", self.schedule.held):
            trio.run(self._live, clock=self.clock)
        broker = self.broker
        return History(
            self.house, broker.events, broker.heard, self.calls, self.records, self.schedule.audit, self.missed
        )

    async def _live(self) -> None:
        steps = iter(self.schedule.steps)
        async with trio.open_nursery() as self._nursery:
            async with open_span_panel(
                "panel",
                credentials=_CREDENTIALS,
                options=_OPTIONS,
                dialer=self.broker.dial,
                authorise=self._authorise,
                audit=self._audit,
            ) as self.panel:
                for gap, step in steps:
                    await self._pass(gap)
                    if step[0] == "close":
                        break
                    await self._do(step)
                else:
                    if self.schedule.patient:
                        await self._wait()
                self.broker.note("closing", -1)
            self.broker.note("left", -1)
            for gap, step in steps:
                await self._pass(gap)
                await self._do(step)
            await self._wait()
            self.missed = self.panel.statistics().audits_missed
            self._nursery.cancel_scope.cancel()

    async def _pass(self, gap: float) -> None:
        if gap > 0:
            await trio.sleep(gap)
        for _ in range(int(-gap)):
            await trio.lowlevel.checkpoint()

    async def _wait(self) -> None:
        """Until all calls have ended."""
        with trio.move_on_after(_LONGEST):
            while self._open:
                self._all_ended = trio.Event()
                await self._all_ended.wait()
        if self._open:
            raise Violation("deadline: a call does not end")

    def _after(self, delay: float, deed: Callable[[], None]) -> None:
        async def later() -> None:
            await trio.sleep(delay)
            deed()

        self._nursery.start_soon(later)

    # --- what a schedule may say ---

    async def _do(self, step: Step) -> None:  # noqa: C901 - a table would be no shorter
        broker, link = self.broker, self.broker.link
        match step:
            case ("ask", name, within, hook):
                self._ask(self.house.asks[name], within, hook)
            case ("cancel", number):
                still = [call for call in self.calls if call.ended is None]
                if still:
                    still[number % len(still)].scope.cancel()
            case ("sleep", seconds, unstalls):
                await trio.testing.wait_all_tasks_blocked()
                broker.note("slept", -1, seconds)
                self.clock.jump(seconds / 2)
                repr(self.panel)  # asks whether it is live, which is not looking
                self.clock.jump(seconds / 2)
                if unstalls:  # meanwhile there was room
                    link.unstall()
                await trio.testing.wait_all_tasks_blocked()
            case ("publish", path, payload):
                broker.publish(topic(path), payload)
            case ("describe", name):
                described = self.house.descriptions[name]
                broker.publish(topic(f"{described.device}/$description"), described.payload)
            case ("republish",):
                for name, payload in broker.values():
                    broker.publish(name, payload)
            case ("return", whole):
                broker.publish(topic(f"{ROOT}/$state"), b"lost")
                broker.publish(topic(f"{ROOT}/$state"), b"ready")
                for name, payload in broker.values() if whole else ():
                    broker.publish(name, payload)
            case ("replay",):
                broker.replay(link)
            case ("stall",):
                link.stall()
            case ("jam",):
                link.stall()
                self._nursery.start_soon(self._ping)
            case ("unstall",):
                link.unstall()
            case ("freeze", which):
                getattr(link, which).frozen = True
            case ("thaw",):
                for each in broker.links:  # what is still on the cable of an earlier one arrives, too
                    each.up.thaw()
                    each.down.thaw()
            case ("delay", which, seconds):
                getattr(link, which).delay = seconds
            case ("hang up",):
                link.hang_up()
            case ("cut",):
                link.cut = True
            case ("reset", heard):
                link.reset(heard=heard)
            case ("break", share):
                link.breaks_at = share
            case ("pings", deaf, wait):
                broker.deaf_to_pings, broker.pings_wait = deaf, wait
            case ("refuse", refuses):
                broker.refuses = refuses
            case ("close",):
                pass
            case _:
                raise AssertionError(step)

    def _ask(self, ask: Ask, within: float | None, hook: str) -> None:
        limit = within or (5.0 if ask.is_relay else 2.0)
        call = Call(ask, hook, limit, trio.current_time(), Text(ask.arguments[-1]), trio.CancelScope())
        self.calls.append(call)
        self._open += 1
        self._nursery.start_soon(self._call, call, within)

    async def _ping(self) -> None:
        with contextlib.suppress(SpanPanelError):
            await self.panel.ping()

    async def _call(self, call: Call, within: float | None) -> None:
        self._tasks[trio.lowlevel.current_task()] = call
        method: Callable[..., Awaitable[CommandOutcome]] = getattr(self.panel, call.ask.method)
        call.called = trio.current_time()
        self.broker.note("called", len(self.broker.links) - 1, call)
        with call.scope:
            try:
                call.outcome = await method(*call.ask.arguments[:-1], call.wanted, within=within)
                call.reaches = call.outcome.reaches
            except BaseException as error:
                call.error = error
                if isinstance(error, trio.Cancelled):
                    raise
            finally:
                call.ended = trio.current_time()
                self.broker.note("ended", len(self.broker.links) - 1, call)
        self._open -= 1
        self._all_ended.set()

    # --- the program's own ---

    async def _authorise(self, command: Command) -> bool | None:
        call = self._tasks[trio.lowlevel.current_task()]
        call.authorised += 1
        call.reaches = command.reaches
        if command.wanted is not call.wanted:
            raise Violation("audit: authorise is asked about another command")
        if call.hook == "hang":
            await trio.sleep_forever()
        if call.hook:
            await trio.sleep(_HOOKS[call.hook])
        if call.hook.endswith("no"):
            call.refusal = RefusedError()
            raise call.refusal
        return False if call.hook == "false" else None

    async def _audit(self, record: CommandRecord) -> None:
        self.records.append(record)
        if self.schedule.audit in _AUDITS:
            await trio.sleep(_AUDITS[self.schedule.audit])
        if self.schedule.audit.startswith("raises"):
            raise ValueError("audit is broken")


# --- schedules ---

_WITHIN: Final = (None, None, None, 2.0, 1.0, 0.3, 6.0, 20.0)
_HOOKED: Final = (*20 * ("",), *_HOOKS, "hang")
_GAPS: Final = (0.0, 0.0, -1.0, -2.0, -3.0, -5.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0)
_DEEDS: Final[list[Step]] = [
    *(("cancel", number) for number in (0, 1, 0)),
    *(("sleep", seconds, unstalls) for seconds in (0.5, 2.0, 6.0) for unstalls in (False, True)),
    *(("publish", f"{ROOT}/$state", payload) for payload in (b"init", b"ready", b"lost", b"ready", b"ready")),
    ("republish",),
    *(("return", whole) for whole in (True, False)),
    ("replay",),
    *2 * [("stall",), ("unstall",)],
    *(("freeze", which) for which in ("up", "down")),
    *2 * [("thaw",)],
    *(("delay", which, seconds) for which in ("up", "down") for seconds in (0.05, 0.4, 0.0)),
    *3 * [("hang up",)],
    ("cut",),
    *(("reset", heard) for heard in (True, False, True)),
    *(("break", share) for share in (0.0, 0.5, 1.0)),
    *(("pings", deaf, wait) for deaf, wait in ((True, 0.0), (False, 0.6), (False, 1.5), (False, 0.0), (False, 0.0))),
    *(("refuse", refuses) for refuses in (True, False)),
    ("close",),
]

_gaps = st.sampled_from(_GAPS)


def _schedules(name: str) -> st.SearchStrategy[Schedule]:
    """Schedules of any kind in this house."""
    house = HOUSES[name]
    asks: st.SearchStrategy[Step] = st.tuples(
        st.just("ask"),
        st.sampled_from([*4 * house.often, *house.asks]),
        st.sampled_from(_WITHIN),
        st.sampled_from(_HOOKED),
    )
    timed: st.SearchStrategy[Timed] = st.tuples(_gaps, st.one_of(asks, st.sampled_from([*_DEEDS, *house.deeds])))
    alone: st.SearchStrategy[tuple[Timed, ...]] = st.tuples(timed)
    jammed: st.SearchStrategy[tuple[Timed, ...]] = st.tuples(  # a command that waits for the writer
        st.sampled_from([(0.0, ("jam",)), (0.0, ("stall",))]),
        st.tuples(_gaps, asks),
        timed,
        st.tuples(_gaps, st.sampled_from([("unstall",), ("unstall",), ("sleep", 2.0, True)])),
    )
    scenes = [alone, alone, alone, alone, alone, jammed, *([st.sampled_from(house.scenes)] if house.scenes else [])]
    some = st.lists(st.one_of(*scenes), min_size=2, max_size=16).map(
        lambda scenes: [timed for scene in scenes for timed in scene]
    )
    return st.builds(
        Schedule,
        steps=st.builds(lambda early, late: (*early, *late), some, some),
        plans=st.lists(st.sampled_from(list(PLANS)), min_size=1, max_size=4).map(tuple),
        audit=st.sampled_from(["", "", "slow", "raises", "raises late", "hangs"]),
        held=st.sampled_from([256, 256, 2]),
        house=st.just(name),
        patient=st.sampled_from([True, True, False]),
    )


SCHEDULES: Final[st.SearchStrategy[Schedule]] = st.one_of(*map(_schedules, HOUSES))
"""Schedules of any kind."""


def play(schedule: Schedule, checks: frozenset[str] = CHECKS) -> Counter[str]:
    """Let it happen.

    Returns:
        What it came to.

    Raises:
        Violation: something was not as it must be.
    """
    history = World(schedule).run()
    reached = +judge(history, checks)
    REACHED.update(dict.fromkeys(reached, 1))
    REACHED["runs"] += 1
    REACHED["calls"] += len(history.calls)
    return reached


def run_all(profile: settings, checks: frozenset[str] = CHECKS) -> None:
    """Play as many schedules as the profile says; with as many orders of what happens at once."""

    @profile
    @given(schedule=SCHEDULES, _order=st.random_module())
    def holds(schedule: Schedule, _order: object) -> None:
        play(schedule, checks)

    holds()
