"""What the benchmarks share: the tests' own broker, the recorded house, and a plain table."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # a script finds only what lies beside it; the broker is the tests' own

from tests.integration.broker import COLD, ROOT, Broker, replayed  # noqa: E402

__all__ = ["COLD", "HERE", "ROOT", "Broker", "median_ms", "replayed", "table", "with_house"]


@contextmanager
def with_house(*settings: str) -> Iterator[Broker]:
    """A broker that carries the recorded house; ``settings`` are more lines for its configuration."""
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder), *settings) as broker:
        broker.feed_house()
        yield broker


def median_ms(seconds: Sequence[float]) -> float:
    """The median, in ms."""
    return 1000 * statistics.median(seconds)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, figures to the right."""
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    print(f"\n{title}")
    for line in lines:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([line[0].ljust(len(first)), *others]).rstrip())
