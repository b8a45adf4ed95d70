"""A SPAN panel in a box: a house, its firmware, its broker and its REST API, under trio.

`open_simulated_panel` runs one in memory; `listening` gives it ports (extra ``simulator``). There are four rooms:

* `house`: what a panel measures (`spec`, `loads`, `weather`, `battery` and more), built in or from a file (`houses`);
* `firmware`: how that is published (`flat`, `parent_child`; `builds` knows which), and what can be set (`controls`);
* `broker`: MQTT 3.1.1, with what can be wrong with it;
* `rest`: the web API, likewise.

Around them are `panel` (all of it; `service` runs it) and what it needs: `announcer` (how its devices get on the wire),
`desk` (what becomes of commands; `command_faults`, `command_log`), `logins`; then `opening`, `listen` and `mdns`.
"""

from __future__ import annotations

import typing

from .broker.broker import Broker, BrokerFaults
from .command_faults import CommandFaults
from .command_log import CommandLog, ReceivedCommand
from .firmware.builds import BUILDS, check_build
from .house.house import House
from .house.houses import BUILT_IN, built_in, built_in_text, find_house, load_house
from .house.spec import HouseSpec
from .opening import open_simulated_panel
from .panel import SimulatedPanel
from .rest.faults import RestFault

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
