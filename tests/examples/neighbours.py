"""The local network of the examples, as discovery finds it: the panels of `tests.examples.house`, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import attrs
import trio

from span_trio.discovery.links import Heard, Hearer, Peer
from span_trio.discovery.messages import Message, encode
from span_trio.simulator import find_house, open_simulated_panel
from span_trio.simulator.mdns import records_of
from tests.examples.house import PANELS
from tests.unit.discovery.network import Ports

__all__ = ["open_neighbourhood"]


class _Neighbourhood:
    async def listen(self, hear: Hearer) -> None:
        for address, serial_number in PANELS.items():
            spec = attrs.evolve(find_house("32"), serial_number=serial_number)
            async with open_simulated_panel(spec, build=202639) as simulated:
                records = records_of(simulated, Ports(address), (address,))
                for packet in encode(Message(query=False, answers=tuple(records))):
                    hear(Heard(packet, Peer(0, address, 5353), 2, "eth0"))
        await trio.sleep_forever()

    async def send(self, packet: bytes, to: Peer | None = None) -> None:
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def open_neighbourhood(*_: object, **__: object) -> AsyncGenerator[_Neighbourhood, None]:
    """In place of `span_trio.discovery.links.open_network`."""
    yield _Neighbourhood()
