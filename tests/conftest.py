"""Which tests run, how hard hypothesis tries, in which order; and `limit.py`.

`pytest` runs what a change to the library can break, in seconds. `pytest --all` runs what CI runs: the slow ones, too,
and those of the CLI and of the simulator. What is named runs whatever it is.

`SPAN_TRIO_HYPOTHESIS=ci pytest` has hypothesis make more examples (or fuzz; quick is the default).
`SPAN_TRIO_ORDER=SEED pytest` runs files, and the tests in each, in an order of chance.
"""

import os
import random
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests import limit

# The clock decides nothing: no deadline, and the same examples every time, so that a test that
# passed here passes there. Only the fuzz profile rolls real dice, and remembers what it found.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10)
settings.register_profile("ci", settings.get_profile("quick"), max_examples=50, print_blob=True)
settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)

settings.load_profile(os.environ.get("SPAN_TRIO_HYPOTHESIS", "quick"))

FAST: Final = "not slow"
SUITES_OF_THEIR_OWN: Final = tuple(Path(__file__).parent / "unit" / room for room in ("cli", "simulator"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run slow tests, too, and those of the CLI and the simulator")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(limit)
    config.addinivalue_line("markers", "slow: takes more than 0.2 s, or is of the CLI or the simulator; see `--all`")
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if everything and not (config.option.all or config.option.markexpr or config.option.keyword):
        config.option.markexpr = FAST  # pytest-xdist hands it to its workers


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """They are not even read where none of their tests runs."""
    return True if config.option.markexpr == FAST and collection_path in SUITES_OF_THEIR_OWN else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(room in item.path.parents for room in SUITES_OF_THEIR_OWN):
            item.add_marker("slow")
    seed = os.environ.get("SPAN_TRIO_ORDER")
    if seed:
        dice = random.Random(seed)  # noqa: S311 - the same in every worker
        files = sorted({item.path for item in items})
        place = {path: dice.random() for path in files}
        items.sort(key=lambda item: (place[item.path], dice.random()))
