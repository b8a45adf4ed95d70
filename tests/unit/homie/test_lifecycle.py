"""The lifecycle of a device: what each `$state` makes of it, and which states the values of before survive."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from span_trio.homie import Device, DeviceState, Event, Forest, Lifecycle, effective_state

from .helpers import absorb

UNKNOWN, PAUSED, READY = Lifecycle.UNKNOWN, Lifecycle.PAUSED, Lifecycle.READY
AWAY, RETURNING, SETTLING = Lifecycle.AWAY, Lifecycle.RETURNING, Lifecycle.SETTLING

UNCONFIRMED = {AWAY, RETURNING, SETTLING}

CONFIRM = "(confirm)"
HISTORIES: dict[Lifecycle, list[str]] = {  # a way to get there
    UNKNOWN: [],
    PAUSED: ["init"],
    READY: ["ready"],
    AWAY: ["lost"],
    RETURNING: ["lost", "init"],
    SETTLING: ["lost", "ready"],
}
EVENTS: dict[str, Event] = {  # what a `$state` means
    "init": Event.PAUSE,
    "sleeping": Event.PAUSE,
    "alert": Event.PAUSE,  # of Homie 3 and 4
    "BOGUS": Event.PAUSE,
    "Ready": Event.PAUSE,
    "ready": Event.READY,
    "lost": Event.LEAVE,
    "disconnected": Event.LEAVE,
    "": Event.DELETE,
    CONFIRM: Event.CONFIRMED,
}
# Where a state is left for, if it is left. Read from the rules: whoever leaves or is deleted is away; so is one that is
# heard of first when it is gone already, but not one of which nothing but a deletion is heard. Whoever was away is
# settling when it says ready, and returning when it says anything else. Only a confirmation ends that.
NEXT: dict[Lifecycle, dict[Event, Lifecycle]] = {
    UNKNOWN: {Event.PAUSE: PAUSED, Event.READY: READY, Event.LEAVE: AWAY, Event.DELETE: UNKNOWN},
    PAUSED: {Event.PAUSE: PAUSED, Event.READY: READY, Event.LEAVE: AWAY, Event.DELETE: AWAY},
    READY: {Event.PAUSE: PAUSED, Event.READY: READY, Event.LEAVE: AWAY, Event.DELETE: AWAY},
    AWAY: {Event.PAUSE: RETURNING, Event.READY: SETTLING, Event.LEAVE: AWAY, Event.DELETE: AWAY},
    RETURNING: {Event.PAUSE: RETURNING, Event.READY: SETTLING, Event.LEAVE: AWAY, Event.DELETE: AWAY},
    SETTLING: {
        Event.PAUSE: RETURNING,
        Event.READY: SETTLING,
        Event.LEAVE: AWAY,
        Event.DELETE: AWAY,
        Event.CONFIRMED: READY,
    },
}


def device_after(history: list[str]) -> tuple[Forest, Device]:
    forest = Forest("ebus")
    absorb(forest, "house/$alert/stays", "so that the device is not forgotten with its $state")
    device = forest.devices["house"]
    for state in history:
        happen(forest, device, state)
    return forest, device


def happen(forest: Forest, device: Device, what: str) -> None:
    if what == CONFIRM:
        forest.confirm(device)
    else:
        absorb(forest, "house/$state", what)


@pytest.mark.parametrize("before", Lifecycle)
def test_each_lifecycle_is_reached_as_the_table_says(before: Lifecycle) -> None:
    assert device_after(HISTORIES[before])[1].lifecycle is before


@pytest.mark.parametrize(
    ("before", "what"),
    [(before, what) for before in Lifecycle for what, kind in EVENTS.items() if kind in NEXT[before]],
)
def test_every_state_leads_where_the_rules_say(before: Lifecycle, what: str) -> None:
    forest, device = device_after(HISTORIES[before])

    happen(forest, device, what)

    assert device.lifecycle is NEXT[before][EVENTS[what]]


@pytest.mark.parametrize("before", [before for before in Lifecycle if Event.CONFIRMED not in NEXT[before]])
def test_a_confirmation_means_nothing_but_while_settling(before: Lifecycle) -> None:
    forest, device = device_after(HISTORIES[before])

    with pytest.raises(KeyError):
        forest.confirm(device)

    assert device.lifecycle is before


def test_there_are_five_states_and_ready_is_one() -> None:
    assert {str(state) for state in DeviceState} == {"init", "ready", "disconnected", "sleeping", "lost"}


@given(st.lists(st.sampled_from(list(EVENTS)), max_size=12))
def test_what_is_unconfirmed_stays_so_until_it_is_confirmed(history: list[str]) -> None:
    forest, device = device_after([])
    for what in history:
        before = device.lifecycle
        if what == CONFIRM and before is not SETTLING:
            continue
        happen(forest, device, what)
        event(f"{before.name} to {device.lifecycle.name}")
        if before in UNCONFIRMED and device.lifecycle not in UNCONFIRMED:
            assert what == CONFIRM


@given(st.lists(st.sampled_from([what for what in EVENTS if what != CONFIRM]), max_size=12))
def test_who_was_gone_is_never_ready_again_by_itself(history: list[str]) -> None:
    gone = known = False
    for what in history:
        gone = gone or what in {"lost", "disconnected"} or (known and not what)
        known = known or what != ""

    lifecycle = device_after(history)[1].lifecycle

    assert (lifecycle in UNCONFIRMED) == gone


@pytest.mark.parametrize(
    ("own", "root", "effective"),
    [
        ("ready", None, "ready"),
        ("ready", "ready", "ready"),
        ("lost", "ready", "lost"),
        ("ready", "lost", "lost"),
        ("disconnected", "lost", "lost"),
        (None, "lost", "lost"),
        ("ready", "disconnected", "ready"),  # the convention cascades lost, and nothing else
        ("ready", "init", "ready"),
        ("ready", "sleeping", "ready"),
        (None, "ready", None),
        ("BOGUS", "ready", "BOGUS"),
    ],
)
def test_the_effective_state_is_the_own_one_unless_the_root_is_lost(
    own: str | None, root: str | None, effective: str | None
) -> None:
    assert effective_state(own, root) == effective
