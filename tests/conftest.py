"""How hard hypothesis tries: `SPAN_TRIO_HYPOTHESIS=fuzz pytest` (or quick, the default, or ci); and `limit.py`."""

import os

import pytest
from hypothesis import settings

from tests import limit

# The clock decides nothing: no deadline, and the same examples every time, so that a test that
# passed here passes there. Only the fuzz profile rolls real dice, and remembers what it found.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("ci", settings.get_profile("quick"), max_examples=80, print_blob=True)
settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)

settings.load_profile(os.environ.get("SPAN_TRIO_HYPOTHESIS", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(limit)
