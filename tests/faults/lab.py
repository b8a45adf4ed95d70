"""What a row of the table is made of: brokers, publishers, proxies, watched panels, and outages."""

from __future__ import annotations

import contextlib
import inspect
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from span_trio import ConnectionReason, PanelOptions, SpanCredentials, SpanPanel, open_span_panel
from tests.faults.proxy import Proxy
from tests.faults.stamps import current_round
from tests.faults.watch import Watch
from tests.integration.broker import ROOT, Broker

__all__ = ["HOST", "WHO", "Lab", "Publisher", "Result", "trio_time", "wait_until"]

HOST: Final = "127.0.0.1"
WHO: Final = SpanCredentials(serial_number=ROOT)
_REPOSITORY: Final = Path(__file__).parents[2]
_SETTLED: Final = 2.3  # s; a session that lasted less counts as a failure, and the next connect may wait
_PATIENCE: Final = 30.0
_EARLIER: Final = 0.05  # s; by which a repair may be noticed here later than there
_LEFT_WITHIN: Final = 2.0

Action = Callable[[], "Awaitable[float | None] | float | None"]


def trio_time(monotonic: float) -> float:
    """What trio's clock showed when `time.monotonic` was this."""
    return trio.current_time() - (time.monotonic() - monotonic)


async def wait_until(condition: Callable[[], bool], within: float = _PATIENCE) -> None:
    """Look now and then."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - of things that tell nobody
            await trio.sleep(0.005)


@attrs.define
class Result:
    """What came of a row."""

    offline: list[float] = attrs.field(factory=list)
    online: list[float] = attrs.field(factory=list)
    reasons: list[str] = attrs.field(factory=list)
    while_down: int = 0
    older: int = 0
    left: int = 0
    judged: int = 0
    failures: list[str] = attrs.field(factory=list)
    note: str = ""


class Publisher:
    """A `publisher.py`. In an outage it does what panels do."""

    def __init__(self, command: list[str], origin: float) -> None:
        self.acknowledged = 0
        """The newest round that the broker has all of."""
        self._command = command
        self._origin = origin
        self._process: trio.Process | None = None

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep reading what it says; again after each `start`."""
        task_status.started()
        while True:
            await self.start()
            process = self._process
            assert process is not None
            assert process.stdout is not None
            text = b""
            async with process.stdout:
                async for data in process.stdout:
                    text += data
                    *lines, text = text.split(b"\n")
                    if lines:
                        self.acknowledged = int(lines[-1])
            await process.wait()
            while self._process is process:  # noqa: ASYNC110 - killed, and not started again yet
                await trio.sleep(0.01)

    async def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is None or self._process.returncode is not None:
            self._process = await trio.lowlevel.open_process(self._command, stdout=subprocess.PIPE, cwd=_REPOSITORY)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def round(self) -> int:
        """In which it is now, or would be."""
        return current_round(self._origin)


class Lab:
    """Things for one row, all of which end with it. Made by `Lab.open`."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack, nursery: trio.Nursery, repeats: int) -> None:
        self.result = Result()
        self.repeats = repeats
        """How often to do what is over soon, and a matter of chance."""
        self.folder = folder
        self.nursery = nursery
        self._stack = stack
        self._origin = time.monotonic()
        self._brokers = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *, repeats: int) -> AsyncGenerator[Lab, None]:
        """A lab; what it leaves behind is counted."""
        files, tasks = _sockets(), trio.lowlevel.current_statistics().tasks_living
        with tempfile.TemporaryDirectory() as folder:
            async with trio.open_nursery() as nursery:
                async with contextlib.AsyncExitStack() as stack:
                    lab = cls(Path(folder), stack, nursery, repeats)
                    yield lab
                nursery.cancel_scope.cancel()
        lab.result.left = len(_sockets() - files) + trio.lowlevel.current_statistics().tasks_living - tasks

    # --- things ---

    async def broker(self, *settings: str, websockets: bool = False, **more: Any) -> Broker:
        """A mosquitto that runs."""
        self._brokers += 1
        folder = self.folder / f"broker-{self._brokers}"
        folder.mkdir()
        broker = await trio.to_thread.run_sync(lambda: Broker(folder, *settings, websockets=websockets, **more))
        self._stack.callback(broker.__exit__)
        await trio.to_thread.run_sync(broker.start)
        return broker

    async def publisher(self, broker: Broker, *arguments: str, prefix: Sequence[str] = ()) -> Publisher:
        """A panel at ``broker`` that has published all it has."""
        command = [*prefix, sys.executable, "-m", "tests.faults.publisher", str(broker.port), str(self._origin)]
        publisher = Publisher([*command, "--host", broker.host, *arguments], self._origin)
        await self.nursery.start(publisher.run)
        self._stack.push_async_callback(partial(_end, publisher))
        await wait_until(lambda: publisher.acknowledged > 0)
        return publisher

    async def proxy(self, port: int) -> Proxy:
        proxy = Proxy(port)
        await self.nursery.start(proxy.run)
        return proxy

    async def panel(self, port: int, *, credentials: Any = WHO, host: str = HOST, **options: Any) -> Watch:
        """A panel over plain TCP, or whatever ``options`` say, that is watched from its first moment."""
        wanted: dict[str, Any] = {"transport": "mqtt", "mqtt_port": port, "snapshot_interval": 0.2, **options}
        store = wanted.pop("store", None)
        opened: SpanPanel = await self._stack.enter_async_context(
            open_span_panel(
                host, credentials=None if store else credentials, store=store, options=PanelOptions(**wanted)
            )
        )
        watch = Watch(opened)
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(watch.run)
        await watch.edge(online=True, within=_PATIENCE)
        await trio.sleep(_SETTLED)
        return watch

    async def side_by_side(self, play: Callable[[Lab, int], Awaitable[None]], count: int) -> None:
        """The same several times at once; each with a stack of its own, since things end in the reverse order."""

        async def one(number: int) -> None:
            async with contextlib.AsyncExitStack() as stack:
                lab = Lab(self.folder / str(number), stack, self.nursery, self.repeats)
                lab.folder.mkdir()
                lab.result = self.result
                await play(lab, number)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)

    # --- an outage ---

    async def outage(
        self,
        watch: Watch,
        harm: Action,
        mend: Action | None = None,
        *,
        reasons: Collection[ConnectionReason],
        down: float = 0.0,
        oldest: Callable[[], int],
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Do harm, wait for the offline edge, mend it, and wait for the online edge.

        Args:
            watch: who sees it.
            harm: returns when it was done, if not when it was called.
            mend: likewise; ``None``: the harm was done and over at once.
            reasons: one of them must be the offline edge's.
            down: how long from harm to mend, s, at least.
            oldest: called when it is about to be mended: the oldest round that there may be behind the online edge.
            meanwhile: what to look at before it is mended.
        """
        result = self.result
        for edge in watch.unexpected():
            result.failures.append(f"an edge before the fault: {edge}")
        harmed_at = await _do(harm)
        offline = await watch.edge(online=False, within=_PATIENCE)
        result.offline.append(offline.at - harmed_at)
        result.reasons.append(str(offline.edge.reason))
        if offline.edge.reason not in reasons:
            result.failures.append(f"the reason is {offline.edge.reason}: {offline.edge.detail}")
        if meanwhile is not None:
            await meanwhile()
        await trio.sleep_until(harmed_at + down)
        round_then = oldest()
        mended_at = harmed_at if mend is None else await _do(mend)
        online = await watch.edge(online=True, within=2 * _PATIENCE)
        result.online.append(online.at - mended_at)
        if online.at < mended_at - _EARLIER:
            result.failures.append(f"online {mended_at - online.at:.3f} s before the repair")
        await trio.sleep(_SETTLED)
        judged = watch.judge(min(mended_at, online.edge.at.monotonic), round_then)
        result.judged += judged
        if not judged:
            result.failures.append("no snapshot after the online edge")

    def account(self, watch: Watch) -> None:
        """Add what was seen to the result."""
        result = self.result
        result.while_down += watch.while_down
        result.older += watch.older
        result.failures += watch.untrue
        if watch.holes:
            result.failures.append(f"{watch.holes} values were not there after an online edge")
        for edge in watch.unexpected():
            result.failures.append(f"an edge behind the last: {edge}")


async def _do(action: Action) -> float:
    began = trio.current_time()
    done = action()
    at = await done if inspect.isawaitable(done) else done
    return began if at is None else at


async def _end(publisher: Publisher) -> None:
    await trio.lowlevel.checkpoint()
    publisher.signal(signal.SIGKILL)
    await trio.sleep(0.05)


def _sockets() -> set[str]:
    """The sockets of this process."""
    found: set[str] = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            if target.startswith("socket:"):
                found.add(target)
    return found
