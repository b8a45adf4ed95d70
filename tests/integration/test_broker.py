"""The tests' own broker: its ports are its own, whoever else draws ports meanwhile."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.integration.broker import Broker


def ports_of(broker: Broker) -> list[int]:
    """All eight."""
    own = [broker.port, broker.tls_port, broker.ws_port, broker.wss_port]
    return [*own, broker.login_port, broker.login_tls_port, broker.login_ws_port, broker.login_wss_port]


def test_brokers_at_the_same_time_share_no_port(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        for number in range(12):
            folder = tmp_path / str(number)
            folder.mkdir()
            ports += ports_of(stack.enter_context(Broker(folder)))
    assert len(set(ports)) == 12 * 8


def test_a_broker_that_was_killed_starts_again_where_it_was(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        for _ in range(3):
            broker.kill()
            with socket.socket() as other:
                for port in ports_of(broker):
                    with pytest.raises(OSError, match="in use"):
                        other.bind((broker.host, port))
            broker.start()
            broker.feed_house()


def test_a_broker_whose_port_somebody_took_says_so(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        broker.kill()
        with socket.create_server((broker.host, broker.port)), pytest.raises(RuntimeError, match="in use"):
            broker.start()
