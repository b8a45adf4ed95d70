# ruff: noqa: T201 - it prints a table
"""The faults, for real: ``python -m tests.faults.run [--quick] [ROW …]``; prints a table.

Each row is a process of its own, with brokers of its own. Rows about milliseconds run one at a time, the others
meanwhile. The exit code is 1 if a row fails: a bound, a zero that is none, an edge with another reason. The rows of
``--quick`` run side by side, maybe on a busy machine: one that was only slow is played again by itself, up to twice.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator
from functools import partial

import attrs
import trio

from tests.faults.lab import Lab, Result
from tests.faults.rows import ROWS, Row

for _room in ("brokers", "links", "trust", "panels", "leaving", "paused"):
    importlib.import_module(f"tests.faults.{_room}")

_LIMIT = 150.0
_IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
_AT_A_TIME = 8
_HEADER = ("fault", "to offline edge", "repair to online", "down", "older", "left")


# --- one row, in a process of its own ---


def play(name: str, *, repeats: int) -> None:
    """Play a row, and print what came of it. Ends with its parent, and nothing it has started survives it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if ROWS[name].alone:
        with contextlib.suppress(PermissionError):
            os.nice(-10)  # brokers too: what else this machine does is not to be measured
    logging.getLogger("span_trio").setLevel(logging.CRITICAL)
    result = Result()

    async def main() -> None:
        async with Lab.open(repeats=repeats) as lab:
            lab.result = result
            await ROWS[name].play(lab)

    try:
        trio.run(main)
    except BaseException:  # noqa: BLE001 - told
        result.failures.append(traceback.format_exc())
    if result.left:
        result.failures.append(f"{result.left} tasks and sockets left")
    print(json.dumps(attrs.asdict(result)))


def _end_with_parent() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


# --- all rows ---


def judge(result: Result) -> None:
    """Add to the failures what must be none, however slow the machine is."""
    for what, count in (("snapshots while down", result.while_down), ("values older than the repair", result.older)):
        if count:
            result.failures.append(f"{count} {what}")


def too_slow(row: Row, result: Result, *, slack: float) -> list[str]:
    """The times that are beyond a bound; of those in milliseconds, beyond ``slack`` times that.

    Where there is slack there are few repeats too, so the way back, which is a matter of chance, gets twice its bound.
    """
    found: list[str] = []
    offline = slack * row.offline if row.alone and row.offline is not None else row.offline
    online = min(slack, 2.0) * row.online if row.online is not None else None
    for what, times, bound in (("offline", result.offline, offline), ("online", result.online, online)):
        if bound is not None and (not times or statistics.median(times) > bound):
            found.append(f"to the {what} edge: {_times(times)}, and {bound:g} s is the bound")
    return found


def _times(times: list[float]) -> str:
    if not times:
        return "-"
    shown = [f"{1000 * t:.1f} ms" if t < 0.1 else f"{t:.2f} s" for t in (statistics.median(times), max(times))]
    return shown[0] if len(times) == 1 else f"{shown[0]} (of {len(times)}, max {shown[1]})"


def can_unshare() -> bool:
    """Whether this machine lets us have network namespaces, and cables between them."""
    test = "ip link add here type veth peer name there && unshare --net true && command -v nsenter"
    try:
        done = subprocess.run([*_IN_NAMESPACE, "sh", "-c", test], capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return False
    return done.returncode == 0


class _Runner:
    def __init__(self, repeats: int, *, quick: bool) -> None:
        self.results: dict[str, Result] = {}
        self._repeats = repeats
        self._again = 2 if quick else 0
        self._alone = trio.CapacityLimiter(3 if quick else 1)
        self._slack = 10.0 if quick else 1.0  # who is quick does not wait for the others' noise to end
        self._some = trio.CapacityLimiter(_AT_A_TIME)
        self._namespaces = can_unshare()

    async def run(self, rows: list[Row]) -> None:
        possible = [row for row in rows if self._namespaces or not row.namespace]
        for row in rows:
            if row not in possible:
                self.results[row.name] = Result(note="not possible here: no network namespaces")
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as everything:
                everything.start_soon(_stop_at, signals, everything.cancel_scope)
                async with trio.open_nursery() as nursery:
                    for row in sorted(possible, key=lambda row: not row.alone):
                        nursery.start_soon(self._run, row)
                for row in possible:
                    await self._judge_times(row)
                everything.cancel_scope.cancel()

    async def _run(self, row: Row) -> None:
        async with self._alone if row.alone else self._some:
            self.results[row.name] = await self._play(row)

    async def _judge_times(self, row: Row) -> None:
        """Play a row again that was only slow. If it is slow each time it has failed."""
        result = self.results[row.name]
        slow = too_slow(row, result, slack=self._slack)
        for _ in range(self._again):
            if not slow or result.failures:
                break
            before, result = slow, await self._play(row)
            result.note = "; ".join(part for part in (result.note, f"slower before {', '.join(before)}") if part)
            slow = too_slow(row, result, slack=self._slack)
        result.failures += slow
        self.results[row.name] = result

    async def _play(self, row: Row) -> Result:
        prefix = _IN_NAMESPACE if row.namespace else ()
        command = [*prefix, sys.executable, "-W", "error::ResourceWarning", "-m", "tests.faults.run", "--row", row.name]
        command += ["--repeats", str(self._repeats)]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        said = b""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with trio.move_on_after(_LIMIT):
                async for data in process.stdout:
                    said += data
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # brokers and publishers too
            with trio.CancelScope(shield=True):
                await process.wait()
                await process.stdin.aclose()
                await process.stdout.aclose()
        *_, last = said.splitlines() or [b""]
        try:
            result = Result(**json.loads(last))
        except ValueError:
            return Result(failures=[f"no result within {_LIMIT:g} s: {said.decode()!r}"])
        judge(result)
        return result


async def _stop_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def report(results: dict[str, Result]) -> bool:
    """Print the table, and what failed below it; whether all is well."""
    lines = [_HEADER]
    for name in ROWS:
        if name in results:
            found = results[name]
            counts = (str(found.while_down), str(found.older), str(found.left))
            lines.append((name, _times(found.offline), _times(found.online), *counts))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    for line, name in zip(lines, ("", *(name for name in ROWS if name in results)), strict=True):
        found = results.get(name, Result())
        end = "" if not name else "FAILED" if found.failures else "ok"
        reasons = ", ".join(dict.fromkeys(found.reasons))
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"{text}  {end:6}  {'; '.join(part for part in (reasons, found.note) if part)}".rstrip())
    failed = {name: found.failures for name, found in results.items() if found.failures}
    for name, failures in failed.items():
        print(f"\n{name}:")
        for failure in failures:
            print(f"  {failure}")
    return not failed


def main() -> None:
    """Run the rows that are asked for, or all, or the quick ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="the beginning of a row's name")
    parser.add_argument("--quick", action="store_true", help="only the short ones")
    parser.add_argument("--repeats", type=int, help="how often to do what is over soon (5, or 2 of the short ones)")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        play(arguments.row, repeats=arguments.repeats)
        return
    wanted = [
        row
        for row in ROWS.values()
        if (row.quick or not arguments.quick) and (not arguments.rows or row.name.startswith(tuple(arguments.rows)))
    ]
    repeats = arguments.repeats or (2 if arguments.quick else 5)
    runner = _Runner(repeats, quick=arguments.quick)
    began = time.monotonic()
    trio.run(partial(runner.run, wanted))
    good = report(runner.results) and len(runner.results) == len(wanted)
    print(f"\n{len(runner.results)} rows in {time.monotonic() - began:.0f} s")
    sys.exit(not good)


if __name__ == "__main__":
    main()
