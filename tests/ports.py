"""Ports of this machine that belong to a test for as long as it needs them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator

__all__ = ["held_port"]


@contextlib.contextmanager
def held_port(host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> Generator[int]:
    """Hold a free port of ``host`` until the block ends.

    Meanwhile the system gives it to nobody else, neither to a socket that asks for any port nor to an outgoing
    connection. A server that sets ``SO_REUSEADDR``, as mosquitto and trio do, can listen there, stop, and listen again.
    While none does, connecting is refused.
    """
    with socket.socket(socket.AF_INET, kind) as holder:
        # In this order: a socket that may share a UDP port may be given one that is already shared.
        holder.bind((host, 0))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port: int = holder.getsockname()[1]
        yield port
