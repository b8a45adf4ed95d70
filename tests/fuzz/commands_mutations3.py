"""Guards of what hardware 3.0 and a panel that is gone ask for, taken away; see `commands_mutations`."""

from __future__ import annotations

from typing import Any, Final
from unittest.mock import patch

import attrs

from span_trio import Command, Control, commands
from span_trio.commands import Commands
from span_trio.flights import Flight, Flights
from span_trio.span import OfferedControl
from span_trio.span.shared import SharedRelays

from .commands_guards import MUTATIONS, instead
from .mutations import Mutation

__all__: list[str] = []
_ALL: Final = ("circuit1", "circuit2", "circuit3", "nowhere")


@instead("lock", SharedRelays, "_lock_of")
def what_shares_a_relay_is_not_asked_whether_it_is_locked(_self: SharedRelays, _name: str) -> None:
    return None


@instead("reach", Commands, "_check")
def whom_it_reaches_now_is_not_asked(self: Commands, command: Command) -> Any:
    return _check(self, attrs.evolve(command, reaches=(*command.reaches, *_ALL)))


_check: Final = Commands._check


@instead("reach", SharedRelays, "complete")
def it_names_itself_alone(self: SharedRelays, offered: OfferedControl) -> OfferedControl:
    found = _complete(self, offered)
    return attrs.evolve(found, reaches=found.reaches[:1], reaches_unknown=())


_complete: Final = SharedRelays.complete


@instead("turn", Commands, "_hardware")
def each_circuit_has_turns_of_its_own(_self: Commands, _command: Command, offered: OfferedControl) -> list[str]:
    return ["/".join(offered.place)]


@instead("no-op", Flights, "may_undo")
def what_was_written_to_another_circuit_is_not_asked_for(
    self: Flights, topic: str, wanted: Any, _shared: object = ()
) -> bool:
    return _may_undo(self, topic, wanted)


_may_undo: Final = Flights.may_undo


@instead("no-op", Flights, "_settle")
def a_late_word_settles_what_was_written_later(self: Flights, topic: str, flight: Flight) -> None:
    for name in (topic, *flight.shared):
        self._unsettled.pop(name, None)


@instead("no-op", Commands, "_is_so")
def what_the_other_circuit_says_is_not_asked_for(self: Commands, topic: str, flight: Flight) -> bool:
    with patch.object(flight, "offered", attrs.evolve(flight.offered, shared=())):
        return _is_so(self, topic, flight)


_is_so: Final = Commands._is_so


@instead("confirmed", Commands, "_speakers")
def whoever_is_gone_may_still_speak(_self: Commands, _offered: OfferedControl) -> frozenset[str]:
    return frozenset()


MUTATIONS.append(Mutation("ping", "nothing but a relay goes behind a ping", commands, "_MOVES", {Control.RELAY}))
