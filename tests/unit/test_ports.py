"""Ports that tests hold: nobody else gets them, and a server can come and go there."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.ports import held_port

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOST = "127.0.0.1"


def test_held_ports_are_distinct() -> None:
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(held_port(kind=kind)) for _ in range(100) for kind in (TCP, UDP)]
    assert len(set(ports[::2])) == len(set(ports[1::2])) == 100


@pytest.mark.parametrize("kind", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_held_port_is_given_to_nobody_who_does_not_share(kind: socket.SocketKind) -> None:
    with held_port(kind=kind) as port, socket.socket(socket.AF_INET, kind) as other:
        with pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))
        with pytest.raises(OSError, match="in use"):
            other.bind(("", port))


def test_a_server_can_come_and_go_and_come_again_on_a_held_port() -> None:
    with held_port() as port:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port))
            with socket.create_server((HOST, port)) as server, socket.create_connection((HOST, port)) as client:
                accepted, _ = server.accept()
                client.sendall(b"leaves the port in TIME_WAIT")
                accepted.close()


def test_a_port_is_free_again_after_the_block() -> None:
    with held_port() as port:
        pass
    with socket.socket() as other:
        other.bind((HOST, port))
