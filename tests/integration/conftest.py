"""Brokers for the tests: one with the recorded house, for those that only look; one each for those that do harm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.broker import Broker


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that carries the recorded house. To be looked at only."""
    with Broker(tmp_path_factory.mktemp("house")) as broker:
        broker.feed_house()
        yield broker


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, which carries the recorded house."""
    with Broker(tmp_path) as broker:
        broker.feed_house()
        yield broker
