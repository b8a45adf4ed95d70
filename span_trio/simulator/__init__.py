"""A SPAN panel in a box: a house, its firmware, its broker and its REST API, under trio.

`open_simulated_panel` runs one in memory; `listening` gives it ports (extra ``simulator``). The rooms:
`house` and what it is made of (`spec`, `loads`, `weather`, `battery`, `charger` and more), `houses` (built in, or from
a file), `flat` and `parent_child` (how firmware publishes it; `firmware` knows which), `announcer` (how that gets on
the wire), `controls` and `desk` (what becomes of commands), `broker` and what it is made of, `rest` likewise,
`logins`, `listen`, `panel` (all of it).
"""

from __future__ import annotations

import typing

from .broker import Broker, BrokerFaults
from .command_faults import CommandFaults
from .command_log import CommandLog, ReceivedCommand
from .firmware import BUILDS, check_build
from .house import House
from .houses import BUILT_IN, built_in, built_in_text, find_house, load_house
from .opening import open_simulated_panel
from .panel import SimulatedPanel
from .rest_faults import RestFault
from .spec import HouseSpec

if typing.TYPE_CHECKING:
    from .listen import Listening as Listening
    from .listen import listening as listening

__all__ = [
    "BUILDS",
    "BUILT_IN",
    "Broker",
    "BrokerFaults",
    "CommandFaults",
    "CommandLog",
    "House",
    "HouseSpec",
    "Listening",
    "ReceivedCommand",
    "RestFault",
    "SimulatedPanel",
    "built_in",
    "built_in_text",
    "check_build",
    "find_house",
    "listening",
    "load_house",
    "open_simulated_panel",
]


def __getattr__(name: str) -> object:
    """Import `listen` when it is wanted: it needs the extra ``simulator``, and the rest does not."""
    if name in {"Listening", "listening"}:
        from . import listen  # noqa: PLC0415

        return getattr(listen, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
